//! What an HSM does once a second whatever its clients do.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use strongroom_vault::{Command, Contact, Replicator};
use strongroom_wire::PORT_PEERS;

use crate::Error;
use crate::administration::propose;
use crate::hsm::{Hsm, Member};
use crate::recovery;

const PERIOD: Duration = Duration::from_secs(1);

/// The thread that keeps house, until it is dropped.
pub(crate) struct Housekeeping {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Housekeeping {
    /// Begins.
    ///
    /// # Errors
    /// Where no thread can be had.
    pub(crate) fn start(hsm: Arc<Hsm>) -> Result<Self, Error> {
        let (stop, stopped) = channel();
        let thread = Builder::new()
            .name("housekeeping".to_owned())
            .spawn(move || {
                while stopped.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
                    if let Some(member) = hsm.member() {
                        keep_house(&hsm, &member);
                    }
                }
                // What the last requests left behind.
                if let Some(service) = hsm.member().as_ref().and_then(|m| m.service.as_ref()) {
                    service.engine.housekeeping();
                }
            })
            .map_err(Error::io("starting a thread"))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

fn keep_house(hsm: &Hsm, member: &Member) {
    if let Some(service) = &member.service {
        service.engine.housekeeping();
        if let Err(e) = service.custodian.rotate_if_due() {
            tracing::warn!("new secrets are due and were not agreed on: {e}");
        }
        if let Err(e) = hsm.secrets.forget_masking_before(service.engine.masked_from()) {
            tracing::warn!("masking keys that nothing needs are not forgotten yet: {e}");
        }
        if let Err(e) = recovery::finish(hsm, member) {
            tracing::warn!("the recovery is not in the log yet: {e}");
        }
    }
    if member.node.contact() != Contact::Connected {
        return;
    }
    for moved in moved(hsm, member).into_iter().chain(witnesses_moved(hsm, member)) {
        match propose(&*member.node, moved) {
            Ok(_) => tracing::info!("the members know where one of them stands now"),
            Err(e) => tracing::warn!("the members do not know yet where one of them stands: {e}"),
        }
    }
}

/// A witness knows of no vault and says nothing in it: the leader says where it stands, where the
/// provisioner has told.
fn witnesses_moved(hsm: &Hsm, member: &Member) -> Vec<Command> {
    let (Some(transport), true) = (&hsm.transport, member.node.leads()) else { return Vec::new() };
    let state = member.node.state().read();
    let moved = state.members().filter(|other| other.witness).filter_map(|witness| {
        let told = transport.told(&witness.fingerprint())?;
        let (address, port_offset) = (told.ip().to_string(), told.port().checked_sub(PORT_PEERS)?);
        let same = witness.address == address && witness.port_offset == port_offset;
        let (node, zone) = (witness.node, witness.zone.clone());
        (!same).then_some(Command::UpdateMember { node, address, port_offset, zone })
    });
    moved.collect()
}

/// What has to be said where this HSM was started elsewhere than its members know.
fn moved(hsm: &Hsm, member: &Member) -> Option<Command> {
    let place = &hsm.device.as_ref()?.place;
    let node = member.membership.node();
    let address = place.address.to_string();
    let state = member.node.state().read();
    let known = state.member(node)?;
    let same = known.address == address
        && known.port_offset == place.port_offset
        && known.zone == place.zone;
    (!same).then(|| Command::UpdateMember {
        node,
        address,
        port_offset: place.port_offset,
        zone: place.zone.clone(),
    })
}

impl Drop for Housekeeping {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
