//! Partitions, in a network namespace of the test's own: both ways, one way, and all from all.

use std::time::Duration;

use strongroom_tests::{Load, Network, Region, logged_in};

#[test]
fn whoever_is_cut_off_serves_keys_and_takes_no_change() {
    // First: what this thread starts from here on is inside.
    let network = Network::of_its_own();
    let region = Region::cluster("partition", 3);
    let module = logged_in(&region.patient_config(), region.variable("CLOUDHSM_PIN"));

    let report = Load::on(&module).run(|load| {
        for round in 0..3 {
            // The leader, then a follower, from both others.
            let alone = if round == 0 { region.leader() } else { round };
            let others: Vec<usize> = (0..3).filter(|hsm| *hsm != alone).collect();
            for other in &others {
                network.cut(&region.address_of(alone), &region.address_of(*other));
                // The last round is deaf only: what it says still arrives.
                if round < 2 {
                    network.cut(&region.address_of(*other), &region.address_of(alone));
                }
            }
            load.everybody_goes_on();
            std::thread::sleep(Duration::from_secs(2));
            load.everybody_goes_on();
            network.heal();
            region.wait_until_equal();
        }
    });
    report.assert_nobody_noticed();

    // All from all: no majority anywhere.
    let session = module.session().expect("a session");
    let (public, private) = module.p256_pair(session, Some("before")).expect("a pair");
    for one in 0..3 {
        for other in (0..3).filter(|other| *other != one) {
            network.cut(&region.address_of(one), &region.address_of(other));
        }
    }
    region.wait_until_cut_off();
    let mut signature = [0; 64];
    module
        .sign(session, cryptoki_sys::CKM_ECDSA, private, &[7; 32], &mut signature)
        .expect("keys go on working");
    let refused = module.p256_pair(session, Some("refused")).expect_err("no change is taken");
    assert_eq!(refused.code, cryptoki_sys::CKR_DEVICE_ERROR);
    // A new process can log in, too: an application may have to restart just now.
    let listed = region.pkcs11_tool().args(["--list-objects", "--type", "privkey"]).text();
    assert!(listed.contains("before"), "{listed}");
    network.heal();
    region.wait_until_equal();
    module.p256_pair(session, Some("after")).expect("changes are taken again");
    module
        .verify(session, cryptoki_sys::CKM_ECDSA, public, &[7; 32], &signature)
        .expect("a signature that is right");
    let found = module.find(session, cryptoki_sys::CKO_PRIVATE_KEY, "refused").expect("a search");
    assert!(found.is_empty(), "a change that was refused at once was made: {found:?}");
    module.finalize().expect("C_Finalize");
    drop(region);
    assert!(!network.has_listeners(), "something of the region still listens");
}
