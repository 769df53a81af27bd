//! A region of its own for one test: one HSM over TLS on a loopback address that nobody else uses.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::{Program, Scratch, hsm_process, program};

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A running region; stopped when dropped.
#[derive(Debug)]
pub struct Region {
    /// Its folder's parent, where the test may put files.
    pub scratch: Scratch,
    /// What `strongroom env --json` gives.
    pub environment: BTreeMap<String, String>,
    /// The first HSM's address.
    pub address: String,
    hsms: usize,
    witness: bool,
}

impl Region {
    /// Sets up and starts a region.
    ///
    /// # Panics
    /// Where it does not come up.
    #[must_use]
    pub fn up(name: &str) -> Self {
        Self::cluster(name, 1)
    }

    /// Sets up and starts a region of so many HSMs.
    ///
    /// # Panics
    /// Where it does not come up.
    #[must_use]
    pub fn cluster(name: &str, hsms: usize) -> Self {
        Self::new(name, hsms, false)
    }

    /// Sets up and starts a region of two HSMs, 0 and 1, and a witness, 2.
    ///
    /// # Panics
    /// Where it does not come up.
    #[must_use]
    pub fn with_witness(name: &str) -> Self {
        Self::new(name, 2, true)
    }

    fn new(name: &str, hsms: usize, witness: bool) -> Self {
        let scratch = Scratch::new(name);
        // 127.x.y.z by process and count: tests run side by side, in one process and in several. A
        // region has the addresses of its zones too: (y, y + 1, y + 2) and some z.
        let process = std::process::id();
        let address = format!(
            "127.{}.{}.{}",
            10 + process / 80 % 240,
            1 + process % 80 * 3,
            10 + COUNT.fetch_add(1, Ordering::Relaxed) % 24 * 10
        );
        let mut region = Self { scratch, environment: BTreeMap::new(), address, hsms, witness };
        region.start();
        region.environment = region.read_environment();
        region
    }

    /// The region's folder.
    #[must_use]
    pub fn dir(&self) -> PathBuf {
        self.scratch.file("region")
    }

    /// `strongroom up` on this region, again or for the first time; gives what it printed.
    ///
    /// # Panics
    /// Where it fails.
    pub fn start(&self) -> String {
        self.strongroom("up")
            .args(["--address", &self.address, "--hsms", &self.hsms.to_string()])
            .args((self.witness && self.hsms == 2).then_some("--witness"))
            .text()
    }

    /// `strongroom up --hsms N`: more HSMs, or fewer; `start` then keeps to that number.
    ///
    /// # Panics
    /// Where it fails.
    pub fn resize(&mut self, hsms: usize) -> String {
        self.hsms = hsms;
        self.start()
    }

    /// `strongroom COMMAND --dir …` on this region.
    #[must_use]
    pub fn strongroom(&self, command: &str) -> Program {
        program("strongroom").arg(command).arg("--dir").arg(self.dir())
    }

    /// A program that sees the region as `eval "$(strongroom env)"` shows it.
    #[must_use]
    pub fn program(&self, name: &str) -> Program {
        let mut program = program(name);
        for (variable, value) in &self.environment {
            program = program.env(variable, value);
        }
        program
    }

    /// One variable of `strongroom env`.
    ///
    /// # Panics
    /// Where there is no such variable.
    #[must_use]
    pub fn variable(&self, name: &str) -> &str {
        self.environment.get(name).unwrap_or_else(|| panic!("strongroom env gives no {name}"))
    }

    /// The first admin's password, out of the region's `dev-credentials`.
    ///
    /// # Panics
    /// Where the file is not there or has none.
    #[must_use]
    pub fn admin_password(&self) -> String {
        let text = std::fs::read(self.dir().join("dev-credentials")).expect("made by up");
        let credentials: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
        credentials["admin"]["password"].as_str().expect("an admin's password").to_owned()
    }

    /// `cloudhsm-cli`, and then these words, as the first admin.
    #[must_use]
    pub fn admin(&self, line: &str) -> Program {
        self.as_admin("admin", &self.admin_password(), line)
    }

    /// The same as another admin.
    #[must_use]
    pub fn as_admin(&self, name: &str, password: &str, line: &str) -> Program {
        self.program("cloudhsm-cli")
            .env("CLOUDHSM_ROLE", "admin")
            .env("CLOUDHSM_PIN", format!("{name}:{password}"))
            .args(line.split(' '))
    }

    /// `pkcs11-tool` on the region's module, logged in.
    #[must_use]
    pub fn pkcs11_tool(&self) -> Program {
        let pin = self.variable("CLOUDHSM_PIN").to_owned();
        self.program("pkcs11-tool")
            .args(["--module", self.variable("STRONGROOM_PKCS11")])
            .args(["--login", "--pin", &pin])
    }

    /// The HSM's process.
    ///
    /// # Panics
    /// Where the region is not running.
    #[must_use]
    pub fn process(&self) -> u32 {
        hsm_process(&self.dir()).expect("a running HSM")
    }

    fn read_environment(&self) -> BTreeMap<String, String> {
        let text = self.strongroom("env").arg("--json").text();
        serde_json::from_str(&text).expect("strongroom env --json gives an object of strings")
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        let output = self.strongroom("down").output();
        if !output.status.success() && !std::thread::panicking() {
            panic!("strongroom down failed: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
}
