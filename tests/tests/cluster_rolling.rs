//! A rolling restart: each HSM stops in order and starts again, under load.

use strongroom_tests::{Load, Region, logged_in, stop};

#[test]
fn nobody_notices_a_rolling_restart() {
    let region = Region::cluster("rolling", 3);
    let module = logged_in(&region.patient_config(), region.variable("CLOUDHSM_PIN"));
    let report = Load::on(&module).run(|load| {
        for round in 0..2 {
            for hsm in 0..3 {
                stop(region.process_of(hsm));
                load.everybody_goes_on();
                region.start();
                if round == 0 {
                    region.wait_until_equal();
                }
            }
        }
    });
    report.assert_nobody_noticed();
    region.wait_until_equal();
    module.finalize().expect("C_Finalize");
}
