//! `strongroom up`: from nothing to a region that has signed, or the same region started again, grown
//! or shrunk.
//!
//! Each step looks first whether it is done, so that an `up` that was interrupted anywhere is
//! finished by the next, and one on a finished region only starts and signs.

use std::net::{IpAddr, Ipv4Addr};
use std::process::Child;

use strongroom_hsm::new_hsm_id;
use strongroom_wire::admin::HsmState;
use strongroom_wire::message::ClusterPhase;

use crate::administration::Administration;
use crate::arguments::UpOptions;
use crate::error::Error;
use crate::fleet::Started;
use crate::places::{Place, place};
use crate::process::Process;
use crate::region::{Description, HsmDescription, Leaving, Region};
use crate::steps::{Steps, say};
use crate::{
    client_config, first_use, first_users, fleet, foreground, members, owner, private_folder,
    region,
};

/// Where the first HSM listens, where nobody says.
const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 1, 10));
/// How many HSMs a new region has, where nobody says.
const HSMS: usize = 3;

/// Sets the region up and runs it.
///
/// # Errors
/// The step that failed; what came before stays.
pub(crate) fn run(options: &UpOptions) -> Result<(), Error> {
    let region = options.region.region();
    let module = region::module()?;
    let mut steps = Steps::begin();
    say(format_args!("Strongroom region in {}", region.dir().display()));

    let mut description = describe(&region, options, &mut steps)?;
    let mut running = Running::default();
    running.start(&region, &description, options.foreground, &mut steps)?;
    running.complete(&region, &mut description, options.foreground, &mut steps)?;
    first_use::start(&region, &module)?;
    say_what_next(&region, &steps);
    if !running.broken.is_empty() {
        return Err(Error::Broken(running.broken));
    }
    if options.foreground { foreground::stay(&region, running.children) } else { Ok(()) }
}

/// What of a region runs.
#[derive(Default)]
pub(crate) struct Running {
    /// Those that this process has started.
    children: Vec<(HsmDescription, Child)>,
    /// What is wrong with those that do not start.
    pub(crate) broken: Vec<String>,
}

impl Running {
    /// Starts the HSMs that do not run.
    ///
    /// # Errors
    /// Where none runs then. Where some do, the region goes on without the others.
    pub(crate) fn start(
        &mut self,
        region: &Region,
        description: &Description,
        foreground: bool,
        steps: &mut Steps,
    ) -> Result<(), Error> {
        let hsms = &description.hsms;
        let mut first_error = None;
        let mut any = false;
        self.broken.clear();
        for (hsm, started) in hsms.iter().zip(fleet::start(region, description, hsms, foreground)) {
            let place = hsm.clients();
            match started {
                Ok(Started::Before) => {
                    steps.done(format_args!("{} runs already on {place}", hsm.hsm_id));
                    any = true;
                }
                Ok(Started::Now(child)) => {
                    steps.done(format_args!("{} listens on {place}", hsm.hsm_id));
                    self.children.push((hsm.clone(), child));
                    any = true;
                }
                // One that leaves need not come back for it.
                Err(_) if hsm.leaving.is_some() => {}
                Err(e @ Error::Usage(_)) => return Err(e),
                Err(e) => {
                    self.broken.push(format!(
                        "{} does not start: {e}\n`strongroom replace {}{}` makes a new one in its \
                         place",
                        hsm.hsm_id,
                        hsm.hsm_id,
                        region.option()
                    ));
                    first_error = first_error.or(Some(e));
                }
            }
        }
        match first_error {
            Some(e) if !any => Err(e),
            _ => Ok(()),
        }
    }

    /// Brings what runs to what the description says: the cluster has its owner, its members and
    /// users, and clients know them.
    ///
    /// # Errors
    /// The step that failed.
    pub(crate) fn complete(
        &mut self,
        region: &Region,
        description: &mut Description,
        foreground: bool,
        steps: &mut Steps,
    ) -> Result<(), Error> {
        initialise(region, description, steps)?;
        if description.hsms.iter().any(|hsm| !hsm.joins) {
            // From here on there is a cluster: an HSM that loses its folder must not make another.
            description.hsms.iter_mut().for_each(|hsm| hsm.joins = true);
            region.describe(description)?;
        }
        let ids = |description: &Description| -> Vec<String> {
            description.hsms.iter().map(|hsm| hsm.hsm_id.clone()).collect()
        };
        let before = ids(description);
        members::leave(region, description, steps)?;
        if ids(description).iter().any(|id| !before.contains(id)) {
            self.start(region, description, foreground, steps)?;
        }
        members::join(region, description, steps)?;
        let running: Vec<_> = description
            .staying()
            .into_iter()
            .filter(|hsm| !self.broken.iter().any(|broken| broken.starts_with(&hsm.hsm_id)))
            .collect();
        members::tell_addresses(region, &running)?;
        if running.len() > 1 {
            members::settle(region, &description.cluster_id, &running, steps)?;
            let hsms = running.iter().filter(|hsm| !hsm.witness).count();
            let and = if hsms < running.len() { ", and a witness votes" } else { "" };
            steps.done(format_args!("all {hsms} HSMs have the cluster's state{and}"));
        }
        client_config::complete(region, description, steps)?;
        // Before the users: this program's own client is pinned too.
        client_config::renew(region, description, steps)?;
        first_users::make(region, steps)?;
        client_config::renew(region, description, steps)
    }
}

/// The region's folder and description, made where they are missing.
fn describe(region: &Region, options: &UpOptions, steps: &mut Steps) -> Result<Description, Error> {
    private_folder::make(region.dir())?;
    let mut description = match region.find()? {
        Some(description) => {
            steps.done(format_args!("region found: {}", description.cluster_id));
            moved(region, description, options, steps)?
        }
        None => {
            owner::make_provisioner(&region.provisioner())?;
            let cluster_id = new_cluster_id()?;
            steps.done(format_args!("region folder made, for {cluster_id}"));
            Description { cluster_id, hsms: Vec::new() }
        }
    };
    let before = description.clone();
    let count = options.hsms.map_or_else(
        || if before.hsms.is_empty() { HSMS } else { before.serving().len() },
        |hsms| hsms as usize,
    );
    resize(&mut description, count, options)?;
    if description != before {
        region.describe(&description)?;
    }
    Ok(description)
}

/// Describes so many HSMs: new ones after the last, or the last ones leaving. And a witness beside two.
fn resize(description: &mut Description, count: usize, options: &UpOptions) -> Result<(), Error> {
    if options.witness && count != 2 {
        return Err(Error::Usage(format!(
            "a witness is for two HSMs, which have no majority without each other, and not for \
             {count}: --hsms 2 --witness"
        )));
    }
    let stays = |hsm: &HsmDescription| {
        hsm.leaving.as_ref().is_none_or(|leaving| leaving.successor.is_some())
    };
    let staying = |hsm: &&mut HsmDescription| !hsm.witness && stays(hsm);
    let present = description.hsms.iter_mut().filter(staying).count();
    for hsm in description.hsms.iter_mut().filter(staying).skip(count) {
        let force = hsm.leaving.as_ref().is_some_and(|leaving| leaving.force);
        hsm.leaving = Some(Leaving { force, successor: None });
    }
    let (first, port_offset) = match description.hsms.first() {
        Some(first) => (first.address, first.port_offset),
        None => (options.address.unwrap_or(ADDRESS), options.port_offset.unwrap_or_default()),
    };
    let has_witness = description.hsms.iter().any(|hsm| hsm.witness && stays(hsm));
    let mut add = |witness: bool| {
        let place = free_place(description, first)?;
        description.hsms.push(HsmDescription {
            hsm_id: new_hsm_id()?,
            address: place.address,
            port_offset,
            zone: place.zone.to_owned(),
            joins: !description.hsms.is_empty(),
            witness,
            leaving: None,
        });
        Ok::<(), Error>(())
    };
    (present..count).try_for_each(|_| add(false))?;
    if options.witness && !has_witness {
        add(true)?;
    }
    if count != 2 {
        let witness = description.hsms.iter_mut().filter(|hsm| hsm.witness && stays(hsm));
        // One that is lost need not say that it has destroyed what it never had.
        witness.for_each(|hsm| hsm.leaving = Some(Leaving { force: true, successor: None }));
    }
    Ok(())
}

/// The first place that no HSM has. Those that leave still have theirs; who has left has made room.
fn free_place(description: &Description, first: IpAddr) -> Result<Place, Error> {
    let mut number = 0;
    loop {
        let place = place(first, number)?;
        if description.hsms.iter().all(|hsm| hsm.address != place.address) {
            return Ok(place);
        }
        number += 1;
    }
}

/// Has the HSMs listen where the options say from their next start on.
fn moved(
    region: &Region,
    mut description: Description,
    options: &UpOptions,
    steps: &mut Steps,
) -> Result<Description, Error> {
    let Some(first) = description.hsms.first().cloned() else { return Ok(description) };
    let before = description.clone();
    let address = options.address.unwrap_or(first.address);
    let port_offset = options.port_offset.unwrap_or(first.port_offset);
    for (number, hsm) in description.hsms.iter_mut().enumerate() {
        let place = place(address, number)?;
        if (address, port_offset) != (first.address, first.port_offset) {
            (hsm.address, hsm.port_offset) = (place.address, port_offset);
            place.zone.clone_into(&mut hsm.zone);
        } else if hsm.zone.is_empty() {
            // From before there were zones.
            place.zone.clone_into(&mut hsm.zone);
        }
    }
    if description == before {
        return Ok(description);
    }
    for (old, new) in before.hsms.iter().zip(&description.hsms) {
        let (from, to) = (old.clients(), new.clients());
        if from == to {
            continue;
        }
        if Process::of(region, old).is_some() {
            return Err(Error::Usage(format!(
                "{} runs on {from}; after `strongroom down{}` it can be moved to {to}",
                old.hsm_id,
                region.option()
            )));
        }
        steps.done(format_args!("{} moved from {from} to {to}", old.hsm_id));
    }
    region.describe(&description)?;
    Ok(description)
}

fn new_cluster_id() -> Result<String, Error> {
    let id = new_hsm_id()?;
    Ok(format!("cluster-{}", id.trim_start_matches("hsm-")))
}

/// customerCA, and with it the owner's word on the cluster.
fn initialise(region: &Region, description: &Description, steps: &mut Steps) -> Result<(), Error> {
    for (hsm, status) in description.hsms.iter().zip(members::statuses(region, &description.hsms)) {
        let Ok(status) = status else { continue };
        // A witness knows of no owner, nor does an HSM that has nothing of the state yet.
        let founded =
            !hsm.witness && matches!(status.state(), HsmState::Serving | HsmState::CutOff);
        if founded && status.phase() != ClusterPhase::Uninitialized {
            return Ok(());
        }
        if !founded {
            continue;
        }
        let mut administration = Administration::connect(region, hsm)?;
        let files = region.customer_ca();
        owner::make_customer_ca(&files)?;
        steps.done("customerCA made: the region's owner");
        let request = administration.cluster_request()?;
        let certificate = owner::sign_cluster(&files, &request)?;
        steps.done("the cluster's request signed with customerCA");
        let anchor =
            std::fs::read_to_string(&files.certificate).map_err(Error::file(&files.certificate))?;
        administration.initialize(certificate, anchor)?;
        steps.done("cluster initialised: it belongs to customerCA");
        return Ok(());
    }
    Ok(())
}

fn say_what_next(region: &Region, steps: &Steps) {
    let program = std::env::args().next().unwrap_or_else(|| "strongroom".to_owned());
    let option = region.option();
    say(format_args!(
        "Ready after {} ms.\n\
         This is software, not FIPS-validated, and its seal is a file: whoever reads {} reads the \
         keys.\n\n\
         Next:\n  \
         eval \"$({program} env{option})\"\n  \
         pkcs11-tool --module $STRONGROOM_PKCS11 --login --pin $CLOUDHSM_PIN --list-objects\n  \
         {program} status{option}\n  \
         {program} down{option}",
        steps.total_ms(),
        region.dir().display(),
    ));
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::arguments::{Arguments, Command};

    fn options(line: &str) -> UpOptions {
        let line = format!("strongroom up {line}");
        match Arguments::try_parse_from(line.split_whitespace()).map(|parsed| parsed.command) {
            Ok(Command::Up(options)) => options,
            _ => panic!("{line}"),
        }
    }

    fn resized(description: &Description, count: usize) -> Description {
        let mut description = description.clone();
        resize(&mut description, count, &options("")).unwrap();
        description
    }

    #[test]
    fn only_the_first_hsm_makes_a_cluster() {
        let empty = Description { cluster_id: "cluster-1".to_owned(), hsms: Vec::new() };
        let three = resized(&empty, 3);
        let joins: Vec<bool> = three.hsms.iter().map(|hsm| hsm.joins).collect();
        assert_eq!(joins, [false, true, true]);
        let seven = resized(&three, 7);
        assert_eq!(seven.hsms[..3], three.hsms);
        let mut places: Vec<_> = seven.hsms.iter().map(HsmDescription::clients).collect();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), 7);
    }

    #[test]
    fn the_last_hsms_leave_and_stay_in_the_description_until_they_have() {
        let empty = Description { cluster_id: "cluster-1".to_owned(), hsms: Vec::new() };
        let five = resized(&empty, 5);
        let three = resized(&five, 3);
        assert_eq!(three.hsms.len(), 5);
        assert_eq!(three.staying(), five.hsms[..3]);
        let mut gap = five.clone();
        gap.hsms.remove(1);
        let filled = resized(&gap, 5);
        assert_eq!(filled.hsms[4].address, five.hsms[1].address, "who has left has made room");
        assert_eq!(filled.hsms[4].zone, five.hsms[1].zone);
        assert_eq!(resized(&three, 3), three, "an interrupted `up` is only finished");
        // What leaves does not come back: others are made.
        let four = resized(&three, 4);
        assert_eq!(four.hsms.len(), 6);
        assert_eq!(four.staying().len(), 4);
    }

    #[test]
    fn two_hsms_may_have_a_witness_which_leaves_when_there_are_more_or_fewer() {
        let empty = Description { cluster_id: "cluster-1".to_owned(), hsms: Vec::new() };
        let mut two = empty.clone();
        resize(&mut two, 2, &options("--witness")).unwrap();
        let witnesses: Vec<bool> = two.hsms.iter().map(|hsm| hsm.witness).collect();
        assert_eq!(witnesses, [false, false, true]);
        assert_eq!(two.serving().len(), 2);
        assert_eq!(resized(&two, 2), two, "it stays where nobody says otherwise");
        let mut again = two.clone();
        resize(&mut again, 2, &options("--witness")).unwrap();
        assert_eq!(again, two, "there is one");
        for other in [1, 3] {
            let changed = resized(&two, other);
            assert!(changed.hsms[2].witness && changed.hsms[2].leaving.is_some());
            assert_eq!(changed.serving().len(), other);
            assert!(resize(&mut two.clone(), other, &options("--witness")).is_err());
        }
    }

    #[test]
    fn an_hsm_that_is_replaced_counts_as_one() {
        let empty = Description { cluster_id: "cluster-1".to_owned(), hsms: Vec::new() };
        let mut three = resized(&empty, 3);
        let successor = Some("hsm-new".to_owned());
        three.hsms[1].leaving = Some(Leaving { force: true, successor });
        assert_eq!(resized(&three, 3), three);
        let one = resized(&three, 1);
        assert_eq!(one.hsms[1].leaving, Some(Leaving { force: true, successor: None }));
    }
}
