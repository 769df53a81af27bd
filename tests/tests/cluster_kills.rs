//! kill -9 of any HSM of three, again and again, under load: no call fails, nothing acknowledged is lost,
//! nothing deleted comes back.

use std::time::{Duration, Instant};

use strongroom_tests::{Load, Region, full, kill_hard, logged_in};

/// Between two kills.
const PAUSE: Duration = Duration::from_secs(2);

#[test]
fn nobody_notices_that_hsms_are_killed_one_after_another() {
    let region = Region::cluster("kills", 3);
    let module = logged_in(&region.patient_config(), region.variable("CLOUDHSM_PIN"));
    let kills = if full() { 30 } else { 8 };
    let report = Load::on(&module).run(|load| {
        for kill in 0..kills {
            let next = Instant::now() + PAUSE;
            // The leader every second time: followers are lost more cheaply.
            let victim = if kill % 2 == 0 { region.leader() } else { kill % 3 };
            kill_hard(region.process_of(victim));
            load.everybody_goes_on();
            // `up` finds what is down, starts it, and signs.
            region.start();
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
    });
    report.assert_nobody_noticed();
    region.wait_until_equal();
    module.finalize().expect("C_Finalize");
}
