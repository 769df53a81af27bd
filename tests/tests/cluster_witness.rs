//! Two HSMs and a witness: one HSM may be lost, and the witness knows nothing.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use strongroom_seal::FileSeal;
use strongroom_store::{Folder, Secrets};
use strongroom_tests::{Load, Region, kill_hard, logged_in, stop};

const WITNESS: usize = 2;

#[test]
fn two_hsms_and_a_witness_lose_one_hsm_and_nothing_else() {
    let mut region = Region::with_witness("witness");
    region.wait_until_equal();
    assert_eq!(region.hsms()[WITNESS]["role"], "witness");
    let lost = region.leader();
    let lost_id = region.id_of(lost);

    let module = logged_in(&region.patient_config(), region.variable("CLOUDHSM_PIN"));
    let report = Load::on(&module).run(|load| {
        kill_hard(region.process_of(lost));
        fs::remove_dir_all(region.folder_of(lost)).expect("its data is gone");
        load.everybody_goes_on();
    });
    report.assert_nobody_noticed();
    module.finalize().expect("C_Finalize");

    // What labels and names are in the log of the HSMs is none in the witness's files.
    let folder = region.folder_of(WITNESS);
    stop(region.process_of(WITNESS));
    let mut bytes = 0;
    for (path, text) in files(&folder) {
        bytes += text.len();
        for known in ["load-0", "made-0-", "crypto_user", "demo"] {
            assert!(!contains(&text, known), "{known} is in {}", path.display());
        }
    }
    assert!(bytes > 100_000, "it has kept the log: {bytes} bytes");
    {
        let seal = FileSeal::open_or_create(&folder.join("seal.key")).expect("its seal");
        let opened = Folder::open(&folder).expect("nobody uses it");
        let secrets = Secrets::load(&opened, Arc::new(seal)).expect("they open").expect("its own");
        assert!(secrets.cluster().is_err(), "it has none of the cluster's secrets");
    }

    region.strongroom("up").fails();
    region.strongroom("replace").arg(&lost_id).ok();
    region.wait_until_equal();
    // With three HSMs it has no more to do.
    let said = region.resize(3);
    assert!(said.contains("Verified OK"), "{said}");
    region.wait_until_equal();
    assert!(region.hsms().iter().all(|hsm| hsm["role"] != "witness"));
    assert!(!folder.exists());
}

fn files(folder: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(folder).expect("a folder").flatten();
    let paths = entries.map(|entry| entry.path()).filter(|path| path.is_file());
    paths.map(|path| (path.clone(), fs::read(path).expect("a file"))).collect()
}

fn contains(text: &[u8], part: &str) -> bool {
    text.windows(part.len()).any(|window| window == part.as_bytes())
}
