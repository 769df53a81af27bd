//! A full disk: the HSM whose disk it is leaves, the others go on, and it comes back when there is room.

use strongroom_tests::{Load, Region, SmallDisk, logged_in};

#[test]
fn an_hsm_whose_disk_is_full_leaves_and_comes_back() {
    let region = Region::cluster("disk", 3);
    let disk = SmallDisk::mounted(&region.scratch, 48);
    // The leader's folder moves onto a disk of its own, which has room for a while.
    let victim = region.leader();
    region.move_folder(victim, disk.path());
    let module = logged_in(&region.patient_config(), region.variable("CLOUDHSM_PIN"));
    let report = Load::on(&module).run(|load| {
        let filler = disk.fill();
        region.wait_until_gone(victim);
        load.everybody_goes_on();
        std::fs::remove_file(filler).expect("room again");
        region.start();
        region.wait_until_equal();
        load.everybody_goes_on();
    });
    report.assert_nobody_noticed();
    module.finalize().expect("C_Finalize");
}
