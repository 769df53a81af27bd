//! Port 2224: what the provisioner that started this HSM may ask of it.
//!
//! The connection has proved the provisioner's key; nothing here acts for anybody else.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use strongroom_vault::{Actor, ClientId, Command, Entry, Outcome, Replicator};
use strongroom_wire::admin::{AdminOperation, AdminReply, AdminRequest, Initialize, UpdateAddress};
use strongroom_wire::limits::FRAME_BYTES_BEFORE_ATTACH_MAX;
use strongroom_wire::{API_LEVEL_MAX, API_LEVEL_MIN, PORT_PEERS};

use crate::certificates::{CertificateError, check_owner};
use crate::connection::Service;
use crate::hsm::{Hsm, Member, Part};
use crate::joining::{Invitation, admit};
use crate::status::status;
use crate::{Error, clock, recovery, removal};

/// One connection's service.
pub(crate) struct Administration(pub(crate) Arc<Hsm>);

impl Service for Administration {
    type Request = AdminRequest;
    type Reply = AdminReply;

    fn frame_bytes_max(&self) -> usize {
        FRAME_BYTES_BEFORE_ATTACH_MAX
    }

    fn patience(&self) -> Option<Duration> {
        // Whoever is connected has proved the provisioner's key.
        None
    }

    fn handle(&mut self, request: AdminRequest) -> AdminReply {
        let digest =
            matches!(&request.operation, Some(AdminOperation::Status(asked)) if asked.digest);
        let reply = answer(&self.0, request).unwrap_or_else(|error| {
            tracing::warn!("administration: {error}");
            AdminReply { error, ..AdminReply::default() }
        });
        AdminReply { status: Some(status(&self.0, digest)), ..reply }
    }

    fn malformed(&self) -> AdminReply {
        AdminReply {
            error: "the frame holds no message of this port".to_owned(),
            ..AdminReply::default()
        }
    }
}

/// Does what was asked. What the reply says beside the state of the HSM, which follows.
fn answer(hsm: &Arc<Hsm>, request: AdminRequest) -> Result<AdminReply, String> {
    if !(API_LEVEL_MIN..=API_LEVEL_MAX).contains(&request.api_level) {
        return Err(format!(
            "this HSM speaks message sets {API_LEVEL_MIN} to {API_LEVEL_MAX}, not {}",
            request.api_level
        ));
    }
    let done = AdminReply::default();
    match request.operation {
        Some(AdminOperation::Status(_)) => Ok(done),
        Some(AdminOperation::ClusterCsr(_)) => {
            let member = member(hsm)?;
            let request = service(&member).and_then(|service| service.ownership.request());
            Ok(AdminReply { cluster_csr: request.map_err(|e| e.to_string())?.pem, ..done })
        }
        Some(AdminOperation::Initialize(given)) => {
            initialise(&*member(hsm)?, &given).map_err(|e| e.to_string())?;
            Ok(done)
        }
        Some(AdminOperation::Shutdown(_)) => {
            tracing::info!("the provisioner asks to stop");
            // The accept loop lets this reply leave before it closes the connection.
            hsm.stop.request();
            Ok(done)
        }
        Some(AdminOperation::DeviceInfo(_)) => {
            let device = hsm.device.as_ref().ok_or("a local HSM joins nothing")?;
            let device = device.statement().map_err(|e| e.to_string())?;
            Ok(AdminReply { device: Some(device), ..done })
        }
        Some(AdminOperation::Join(join)) => {
            hsm.invite(Invitation::new(&join)?)?;
            tracing::info!(cluster = join.cluster_id, "waiting for a member's welcome");
            Ok(done)
        }
        Some(AdminOperation::AddHsm(asked)) => {
            let added = admit(hsm, &*member(hsm)?, &asked)?;
            Ok(AdminReply { added: Some(added), ..done })
        }
        Some(AdminOperation::UpdateAddress(moved)) => {
            update_address(hsm, &*member(hsm)?, &moved)?;
            Ok(done)
        }
        Some(AdminOperation::TransferLeadership(_)) => {
            transfer(hsm, &*member(hsm)?)?;
            Ok(done)
        }
        Some(AdminOperation::RemoveHsm(asked)) => {
            let removed = removal::remove(hsm, &*member(hsm)?, &asked)?;
            Ok(AdminReply { removed: Some(removed), ..done })
        }
        Some(AdminOperation::Leave(asked)) => {
            meant(hsm, &asked.hsm_id)?;
            let removed = removal::leave_by_itself(hsm, &*member(hsm)?)?;
            Ok(AdminReply { removed: Some(removed), ..done })
        }
        Some(AdminOperation::Zeroise(asked)) => {
            meant(hsm, &asked.hsm_id)?;
            // It answers nothing more: the end of the connection, and the record in the folder, say it.
            hsm.zeroiser().zeroise("its provisioner says so")
        }
        Some(AdminOperation::RecoveryStatement(asked)) => {
            let recovery = recovery::prepare(hsm, &*member(hsm)?, &asked)?;
            Ok(AdminReply { recovery: Some(recovery), ..done })
        }
        Some(AdminOperation::Recover(asked)) => {
            recovery::recover(hsm, member(hsm)?, &asked)?;
            Ok(done)
        }
        None => Err("the request asks for nothing that this HSM knows".to_owned()),
    }
}

/// What destroys secrets names the HSM that is meant.
fn meant(hsm: &Hsm, hsm_id: &str) -> Result<(), String> {
    let own = &hsm.secrets.hsm_id;
    if hsm_id == own { Ok(()) } else { Err(format!("this HSM is {own}, not {hsm_id}")) }
}

fn member(hsm: &Hsm) -> Result<Arc<Member>, String> {
    match hsm.part() {
        Part::Member(member) => Ok(member),
        Part::Waiting(_) => Err("this HSM is no member of a cluster yet".to_owned()),
        Part::Retired(why) => Err(why.to_owned()),
    }
}

/// What clients are served with, and the owner's certificates are for.
fn service(member: &Member) -> Result<&crate::hsm::Service, Error> {
    let witness = || Error::Configuration("a witness has no keys".to_owned());
    member.service.as_ref().ok_or_else(witness)
}

/// Takes the owner's certificates: checked, then in the log, which every HSM shows to its clients.
fn initialise(member: &Member, given: &Initialize) -> Result<(), Error> {
    let ownership = &service(member)?.ownership;
    let cluster_id = {
        let state = member.node.state().read();
        if state.cluster_key_compromised() {
            drop(state);
            // The owner is known: the certificate is for the key that follows a removal.
            return ownership.install(&given.signed_certificate);
        }
        if state.cluster_certificate().is_some() {
            return Err(CertificateError::AlreadyInitialised.into());
        }
        state.cluster_id().to_owned()
    };
    let owner = check_owner(
        &ownership.newest_key()?.public_key(),
        &cluster_id,
        &given.signed_certificate,
        &given.trust_anchor,
        SystemTime::now(),
    )?;
    propose(
        &*member.node,
        Command::InitialiseCluster {
            cluster_certificate: owner.cluster_certificate,
            trust_anchor: owner.trust_anchor,
        },
    )?;
    tracing::info!(cluster = cluster_id, "initialised: clients may connect");
    Ok(())
}

/// Another member stands elsewhere: this HSM calls it there from now on, so that they can agree on it.
fn update_address(hsm: &Hsm, member: &Member, moved: &UpdateAddress) -> Result<(), String> {
    let transport = hsm.transport.as_ref().ok_or("a local HSM has no peers")?;
    let address = moved.address.parse().map_err(|_| "the address is none".to_owned())?;
    let port = u16::try_from(moved.port_offset).ok().and_then(|n| PORT_PEERS.checked_add(n));
    let port = port.ok_or("the ports are beyond 65535")?;
    if hsm.secrets.hsm_id == moved.hsm_id {
        return Err("an HSM knows its own address from its start".to_owned());
    }
    let status = member.node.status();
    let state = member.node.state().read();
    let device = state
        .members()
        .find(|other| other.hsm_id == moved.hsm_id)
        .map(strongroom_vault::Member::fingerprint)
        .or_else(|| {
            let peers = status.members.iter().map(|other| &other.peer);
            peers.filter(|peer| peer.hsm_id == moved.hsm_id).map(|peer| peer.device_key).next()
        })
        .ok_or_else(|| format!("{} is no member", moved.hsm_id))?;
    transport.moved(device, std::net::SocketAddr::new(address, port));
    Ok(())
}

fn transfer(hsm: &Hsm, member: &Member) -> Result<(), String> {
    let status = member.node.status();
    if status.leader != Some(status.node) {
        return Err("this HSM does not lead".to_owned());
    }
    hsm.runtime.block_on(member.node.transfer_leadership()).map_err(|e| e.to_string())
}

/// Proposes one of the HSM's own entries.
///
/// # Errors
/// Where it was not committed, or refused.
pub(crate) fn propose(replicator: &dyn Replicator, command: Command) -> Result<Outcome, Error> {
    let entry = Entry {
        time_ms: clock::now_ms(),
        // The HSM's own entries are not retried: no idempotency key.
        client: ClientId([0; 16]),
        sequence: 0,
        lowest_unanswered: 0,
        actor: Actor::System,
        command,
    };
    Ok(replicator.propose(entry)?.result?)
}
