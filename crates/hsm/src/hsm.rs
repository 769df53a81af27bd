//! One HSM while it runs: what all its ports share, and which part it takes in a cluster.
//!
//! An HSM without a cluster waits for a welcome; with one it is a member, for as long as it runs or
//! until it is retired. What a port may do follows from that alone.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use strongroom_cluster::{Custodian, DeviceKeyHash, Node, Options as NodeOptions, Peer, Transport};
use strongroom_engine::{Engine, Identity, Options, UseLog};
use strongroom_store::{Folder, Secrets};
use strongroom_vault::{ReplicationError, Replicator};
use tokio::runtime::Handle;

use crate::Error;
use crate::cluster_desk::{Counters, Desk};
use crate::custody::EngineKeys;
use crate::device::{Device, peer_of};
use crate::joining::Invitation;
use crate::membership::Membership;
use crate::observer::Watch;
use crate::ownership::Ownership;
use crate::peers::{NoTransport, PeerTransport, Versions};
use crate::replica;
use crate::stop::Stop;
use crate::tamper::Zeroiser;
use crate::trust::ClientTrust;

/// What an HSM is made of at its start.
pub(crate) struct Parts {
    pub(crate) folder: Folder,
    pub(crate) secrets: Arc<Secrets>,
    /// `None` for a local HSM: it has no network.
    pub(crate) device: Option<Device>,
    pub(crate) seal: &'static str,
    pub(crate) stop: Stop,
    pub(crate) started: Instant,
    pub(crate) runtime: Handle,
}

/// One HSM.
pub(crate) struct Hsm {
    pub(crate) secrets: Arc<Secrets>,
    pub(crate) device: Option<Device>,
    pub(crate) seal: &'static str,
    pub(crate) stop: Stop,
    pub(crate) started: Instant,
    pub(crate) runtime: Handle,
    pub(crate) versions: Arc<Versions>,
    /// To the other HSMs; `None` for a local one.
    pub(crate) transport: Option<Arc<PeerTransport>>,
    path: PathBuf,
    /// The data folder's lock, until the store has it. Held while the part changes.
    folder: Mutex<Option<Folder>>,
    part: RwLock<Part>,
    /// The receipt that it has given, once it leaves.
    pub(crate) left: Mutex<Option<Vec<u8>>>,
}

/// Which part an HSM takes.
#[derive(Clone)]
pub(crate) enum Part {
    /// None yet: it takes the welcome that it was invited to.
    Waiting(Option<Arc<Invitation>>),
    /// A member's.
    Member(Arc<Member>),
    /// None ever again, and why.
    Retired(&'static str),
}

/// An HSM as a member of a cluster.
pub(crate) struct Member {
    pub(crate) membership: Membership,
    pub(crate) node: Arc<Node>,
    /// What clients are served with; a witness serves none.
    pub(crate) service: Option<Service>,
    /// Whose word on who the members are it takes, beside the members that it knows.
    pub(crate) invitation: Mutex<Option<Arc<Invitation>>>,
}

/// What clients are served with.
pub(crate) struct Service {
    pub(crate) engine: Arc<Engine>,
    /// `None` for a local HSM: a UNIX socket has no certificates.
    pub(crate) trust: Option<ClientTrust>,
    pub(crate) custodian: Custodian,
    pub(crate) ownership: Ownership,
}

impl Member {
    /// Whether a device key is a member's, as far as it is known here. One that was just let in may
    /// lead before this HSM knows it: the node then hears of it from others.
    ///
    /// A removed one is listened to as well: to be told so.
    fn admits(&self, device: &DeviceKeyHash) -> bool {
        let invitation = self.invitation.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if invitation.is_some_and(|invitation| invitation.welcomers.contains(device)) {
            return true;
        }
        let state = self.node.state().read();
        self.node.knows(device)
            || state.is_revoked(device)
            || state.member_by_key(device).is_some()
            // Nothing has come from the others yet.
            || (state.members().next().is_none()
                && self.membership.peers().any(|(_, peer)| peer.device_key == *device))
    }
}

impl Hsm {
    /// An HSM that takes no part yet.
    pub(crate) fn new(parts: Parts) -> Arc<Self> {
        let Parts { folder, secrets, device, seal, stop, started, runtime } = parts;
        let versions = Arc::new(Versions::default());
        let transport = device.as_ref().map(|device| {
            let identity = device.identity.clone();
            PeerTransport::new(
                runtime.clone(),
                identity,
                Arc::clone(&versions),
                device.place.address,
            )
        });
        Arc::new(Self {
            secrets,
            device,
            seal,
            stop,
            started,
            runtime,
            versions,
            transport,
            path: folder.path().to_owned(),
            folder: Mutex::new(Some(folder)),
            part: RwLock::new(Part::Waiting(None)),
            left: Mutex::default(),
        })
    }

    /// The data folder.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Which part it takes now.
    pub(crate) fn part(&self) -> Part {
        self.part.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// As a member; `None` where it is none.
    pub(crate) fn member(&self) -> Option<Arc<Member>> {
        match self.part() {
            Part::Member(member) => Some(member),
            Part::Waiting(_) | Part::Retired(_) => None,
        }
    }

    /// Whose welcome is to be taken. A later invitation takes the place of an earlier one. A member takes
    /// from its cluster's welcome who the others are now: those that it knows may all be gone.
    ///
    /// # Errors
    /// Where the HSM is a member of another cluster, or was one.
    pub(crate) fn invite(&self, invitation: Invitation) -> Result<(), String> {
        let mut part = self.part.write().unwrap_or_else(PoisonError::into_inner);
        match &*part {
            Part::Waiting(_) => {
                *part = Part::Waiting(Some(Arc::new(invitation)));
                Ok(())
            }
            Part::Member(member) if member.membership.cluster_id == invitation.cluster_id => {
                let mut place = member.invitation.lock().unwrap_or_else(PoisonError::into_inner);
                *place = Some(Arc::new(invitation));
                Ok(())
            }
            Part::Member(member) => {
                Err(format!("this HSM is a member of {} already", member.membership.cluster_id))
            }
            Part::Retired(why) => Err((*why).to_owned()),
        }
    }

    /// Takes part as a member, with the secrets and the membership that are kept by now. Once only.
    ///
    /// # Errors
    /// Where the store or the replication does not open.
    pub(crate) fn take_part(
        self: &Arc<Self>,
        membership: Membership,
    ) -> Result<Arc<Member>, Error> {
        let mut folder = self.lock_folder();
        let Some(taken) = folder.take() else {
            return self.member().ok_or_else(|| Error::Start("it takes part already".to_owned()));
        };
        let member = Arc::new(self.open_member(taken, membership, None)?);
        *self.part.write().unwrap_or_else(PoisonError::into_inner) =
            Part::Member(Arc::clone(&member));
        Ok(member)
    }

    /// Begins to take part anew: keeps `membership`, has `prepare` change the folder, which nobody uses
    /// then, and opens it again; with a fence as a cluster of its own.
    ///
    /// # Errors
    /// Where the folder does not open: the HSM then takes no part.
    pub(crate) fn take_part_again(
        self: &Arc<Self>,
        fence: Option<u64>,
        membership: Membership,
        prepare: impl FnOnce(&Folder) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let _one_at_a_time = self.lock_folder();
        if let Some(old) = self.member() {
            self.retire("it begins anew");
            old.node.stop();
        }
        let folder = Folder::open(&self.path)?;
        // First as whom it begins: what follows means nothing to the member that it was.
        membership.save(&self.path)?;
        prepare(&folder)?;
        let member = Arc::new(self.open_member(folder, membership, fence)?);
        *self.part.write().unwrap_or_else(PoisonError::into_inner) = Part::Member(member);
        Ok(())
    }

    /// A member has said that this HSM was removed. After it has left by itself there is nothing more to
    /// destroy on disk; else its secrets go now.
    pub(crate) fn was_removed(&self) {
        if self.left.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
            self.stop.request();
        } else {
            self.zeroiser().zeroise("it was removed from its cluster");
        }
    }

    /// What destroys its secrets.
    pub(crate) fn zeroiser(&self) -> Zeroiser {
        Zeroiser::new(&self.path, Arc::clone(&self.secrets))
    }

    /// Takes no part any more: what is asked is refused from now on, and why.
    pub(crate) fn retire(&self, why: &'static str) {
        tracing::warn!("retired: {why}");
        *self.part.write().unwrap_or_else(PoisonError::into_inner) = Part::Retired(why);
    }

    /// Whether it listens to the HSM of this device key: to members, and while it has no cluster, to
    /// who may welcome it.
    pub(crate) fn admits(&self, device: &DeviceKeyHash) -> bool {
        match self.part() {
            Part::Waiting(invitation) => {
                invitation.is_some_and(|invitation| invitation.welcomers.contains(device))
            }
            Part::Retired(_) => false,
            Part::Member(member) => member.admits(device),
        }
    }

    fn open_member(
        self: &Arc<Self>,
        folder: Folder,
        membership: Membership,
        fence: Option<u64>,
    ) -> Result<Member, Error> {
        let witness = membership.witness;
        let options = NodeOptions {
            node: membership.node(),
            observer: Some(Arc::new(Watch::new(self, membership.taking_part()))),
            ..NodeOptions::default()
        };
        let transport: Arc<dyn Transport> = match &self.transport {
            Some(transport) => transport.clone(),
            None => Arc::new(NoTransport),
        };
        let me = self.peer();
        let node = replica::open(
            folder,
            &self.secrets,
            &membership,
            &me,
            fence,
            transport,
            &self.runtime,
            options,
        )?;
        if !membership.took_part() {
            membership.taking_part().save(&self.path)?;
        }
        let service = if witness { None } else { Some(self.service(&node)?) };
        Ok(Member { membership, node, service, invitation: Mutex::default() })
    }

    /// This HSM as Raft knows it; a local one has no address.
    fn peer(&self) -> Peer {
        let local = || Peer { hsm_id: self.secrets.hsm_id.clone(), ..Peer::default() };
        self.device.as_ref().and_then(|device| peer_of(&device.as_member())).unwrap_or_else(local)
    }

    fn service(&self, node: &Arc<Node>) -> Result<Service, Error> {
        let replicator = Arc::clone(node) as Arc<dyn Replicator>;
        let ownership = Ownership::new(Arc::clone(&replicator), Arc::clone(&self.secrets));
        let options = Options {
            desk: Arc::new(Desk { node: Arc::clone(node), ownership }),
            local_counters: Some(Arc::new(Counters::new(&self.path, &self.secrets)?)),
            ..Options::default()
        };
        let engine = Engine::new(
            Arc::clone(&replicator),
            Arc::new(EngineKeys(Arc::clone(&self.secrets))),
            Identity { hsm_id: self.secrets.hsm_id.clone(), fips_mode: false },
            Arc::new(AuditOfUse { node: Arc::clone(node), stop: self.stop.clone() }),
            options,
        );
        let trust = self
            .device
            .as_ref()
            .map(|device| ClientTrust::new(Arc::clone(&self.secrets), device.place.address));
        let custodian = Custodian::new(Arc::clone(&replicator), Arc::clone(&self.secrets));
        let ownership = Ownership::new(replicator, Arc::clone(&self.secrets));
        Ok(Service { engine, trust, custodian, ownership })
    }

    fn lock_folder(&self) -> MutexGuard<'_, Option<Folder>> {
        self.folder.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Records of key use go into the store. An HSM that cannot keep them must not use keys.
struct AuditOfUse {
    node: Arc<Node>,
    stop: Stop,
}

impl UseLog for AuditOfUse {
    fn append(&self, block: Vec<u8>) {
        match self.node.append_use_records(block) {
            Ok(()) | Err(ReplicationError::Stopping) => {}
            Err(e) => {
                tracing::error!("records of key use cannot be kept, so this HSM stops: {e}");
                self.stop.request();
            }
        }
    }
}
