//! SIGSTOP: an HSM that neither works nor closes its connections. The leader first, then each in turn.

use std::time::Duration;

use strongroom_tests::{Load, Region, logged_in, signal};

#[test]
fn nobody_waits_for_an_hsm_that_stands_still() {
    let region = Region::cluster("pause", 3);
    let module = logged_in(&region.patient_config(), region.variable("CLOUDHSM_PIN"));
    let report = Load::on(&module).run(|load| {
        for round in 0..4 {
            let victim = if round == 0 { region.leader() } else { round - 1 };
            let process = region.process_of(victim);
            signal(process, "-STOP");
            load.everybody_goes_on();
            // Long enough that another leads, and that this one comes back to a world that went on.
            std::thread::sleep(Duration::from_millis(1500));
            load.everybody_goes_on();
            signal(process, "-CONT");
            load.everybody_goes_on();
        }
    });
    report.assert_nobody_noticed();
    region.wait_until_equal();
    module.finalize().expect("C_Finalize");
}
