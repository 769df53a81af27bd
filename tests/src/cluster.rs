//! Regions of several HSMs under test: which of them leads, their processes, and waiting until they
//! agree.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{Region, Scratch, hsm_process, program, stop};

/// For what a busy machine may need minutes for: a failure, not a measurement.
const PATIENCE: Duration = Duration::from_secs(120);

/// The HSMs of a region, by number from 0 in the order of their making.
impl Region {
    /// `strongroom status --json`, whatever its exit code says.
    ///
    /// # Panics
    /// Where it prints no JSON.
    #[must_use]
    pub fn status(&self) -> Value {
        let output = self.strongroom("status").args(["--json", "--digest"]).output();
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| {
            panic!("strongroom status --json: {e}: {}", String::from_utf8_lossy(&output.stderr))
        })
    }

    /// What `status` says of each HSM.
    ///
    /// # Panics
    /// Where it says nothing of them.
    #[must_use]
    pub fn hsms(&self) -> Vec<Value> {
        self.status()["hsms"].as_array().expect("a list of HSMs").clone()
    }

    /// The number of the HSM that leads, once one does.
    ///
    /// # Panics
    /// Where none comes to lead.
    #[must_use]
    pub fn leader(&self) -> usize {
        let mut leader = None;
        self.wait_until("an HSM leads", |hsms| {
            leader = hsms.iter().position(|hsm| hsm["role"] == "leader");
            leader.is_some()
        });
        leader.expect("waited for")
    }

    /// The address of an HSM, without its port.
    ///
    /// # Panics
    /// Where there is no such HSM.
    #[must_use]
    pub fn address_of(&self, hsm: usize) -> String {
        let described = self.described(hsm);
        described["address"].as_str().expect("an address").to_owned()
    }

    /// The data folder of an HSM.
    ///
    /// # Panics
    /// Where there is no such HSM.
    #[must_use]
    pub fn folder_of(&self, hsm: usize) -> PathBuf {
        self.dir().join("hsms").join(self.id_of(hsm))
    }

    /// The process of an HSM.
    ///
    /// # Panics
    /// Where it does not run.
    #[must_use]
    pub fn process_of(&self, hsm: usize) -> u32 {
        let folder = self.folder_of(hsm);
        hsm_process(&folder).unwrap_or_else(|| panic!("{} is not served", folder.display()))
    }

    /// The region's configuration for clients that wait longer than by default: the disk of a busy
    /// machine may take many seconds for what a start writes.
    ///
    /// # Panics
    /// Where the region has none.
    #[must_use]
    pub fn patient_config(&self) -> PathBuf {
        let mut config = self.config();
        config["patience_ms"] = 60_000.into();
        self.scratch.write("patient.json", config.to_string())
    }

    fn config(&self) -> Value {
        let given = std::fs::read(self.variable("STRONGROOM_CONFIG")).expect("client.json");
        serde_json::from_slice(&given).expect("an object")
    }

    /// The region's configuration for a program that begins at one HSM, and learns of the others there.
    ///
    /// # Panics
    /// Where it can't be read or written.
    #[must_use]
    pub fn config_beginning_at(&self, hsm: usize) -> PathBuf {
        let mut config = self.config();
        let address = self.hsms()[hsm]["address"].clone();
        let address = address.as_str().and_then(|address| address.split_once(':')).expect("a port");
        let servers = config["clusters"][0]["cluster"]["servers"].as_array_mut().expect("servers");
        servers.retain(|server| server["hostname"] == address.0);
        assert_eq!(servers.len(), 1);
        self.scratch.write("one.json", config.to_string())
    }

    /// Waits until all HSMs run, one leads, as many vote as will (or the loss of one may be the loss of
    /// the majority), and all have applied the same entries to the same state. A witness, which has
    /// none, runs too.
    ///
    /// # Panics
    /// Where it does not come to that.
    pub fn wait_until_equal(&self) {
        self.wait_until("all HSMs are equal", |members| {
            let (witnesses, hsms): (Vec<&Value>, Vec<&Value>) =
                members.iter().partition(|hsm| hsm["role"] == "witness");
            let first = &hsms[0];
            hsms.iter().any(|hsm| hsm["role"] == "leader")
                && witnesses.iter().all(|witness| witness["condition"] == "serving")
                && hsms.iter().all(|hsm| {
                    hsm["running"] == true
                        && hsm["cut-off"] == false
                        && hsm["changing"] == false
                        && hsm["log-index"] == first["log-index"]
                        && hsm["state-digest"] == first["state-digest"]
                        && hsm["state-digest"].is_string()
                })
        });
    }

    /// What an HSM is called: `hsm-…`.
    ///
    /// # Panics
    /// Where there is no such HSM.
    #[must_use]
    pub fn id_of(&self, hsm: usize) -> String {
        self.described(hsm)["hsm_id"].as_str().expect("an id").to_owned()
    }

    /// Waits until no HSM has a leader.
    ///
    /// # Panics
    /// Where one keeps it.
    pub fn wait_until_cut_off(&self) {
        self.wait_until("all HSMs are cut off", |hsms| {
            hsms.iter().all(|hsm| hsm["cut-off"] == true)
        });
    }

    /// Waits until an HSM does not run any more.
    ///
    /// # Panics
    /// Where it goes on.
    pub fn wait_until_gone(&self, hsm: usize) {
        self.wait_until("the HSM is gone", |hsms| hsms[hsm]["running"] == false);
    }

    /// Waits until `status` says so.
    ///
    /// # Panics
    /// Where it does not come to that, with what `status` says.
    pub fn wait_until(&self, what: &str, mut is_so: impl FnMut(&[Value]) -> bool) {
        let patience = Instant::now() + PATIENCE;
        loop {
            let hsms = self.hsms();
            if is_so(&hsms) {
                return;
            }
            assert!(Instant::now() < patience, "not so: {what}: {hsms:#?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Moves the data folder of an HSM to another place, with a link where it was, and starts the HSM
    /// again.
    ///
    /// # Panics
    /// Where the system refuses.
    pub fn move_folder(&self, hsm: usize, place: &Path) {
        stop(self.process_of(hsm));
        let folder = self.folder_of(hsm);
        let moved = place.join("hsm");
        program("cp").arg("-a").arg(&folder).arg(&moved).ok();
        std::fs::remove_dir_all(&folder).expect("the old folder removed");
        std::os::unix::fs::symlink(&moved, &folder).expect("a link");
        self.start();
        self.wait_until_equal();
    }

    fn described(&self, hsm: usize) -> Value {
        let text = std::fs::read(self.dir().join("region.json")).expect("region.json");
        let description: Value = serde_json::from_slice(&text).expect("JSON");
        description["hsms"][hsm].clone()
    }
}

/// A file system of a few megabytes, gone when dropped. Needs root.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one of so many MiB.
    ///
    /// # Panics
    /// Where that is not allowed.
    #[must_use]
    pub fn mounted(scratch: &Scratch, mib: u32) -> Self {
        let path = scratch.file("small-disk");
        std::fs::create_dir(&path).expect("a folder");
        program("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={mib}m,mode=700"), "strongroom-test"])
            .arg(&path)
            .ok();
        Self(path)
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Fills it to the last byte with a file, whose path is given.
    ///
    /// # Panics
    /// Where the disk never is full.
    #[must_use]
    pub fn fill(&self) -> PathBuf {
        use std::io::Write as _;
        let path = self.0.join("filler");
        let mut file = std::fs::File::create(&path).expect("a file");
        for size in [1 << 20, 1 << 12, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a process that dies with the test may still hold it.
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
