//! The cluster as its clients and admins see it: which HSMs there are, who may join, what an operator
//! has to do.

use strongroom_vault::{
    Action, Command, Contact, JoinPolicy, LogIndex, Member, NodeId, Personality, Phase, State,
};
use strongroom_wire::PORT_CLIENTS;
use strongroom_wire::message::{
    self, ApproveJoin, ClusterCsrReply, ClusterInfoReply, InstallClusterCertificate,
    JoinRequestInfo, MemberInfo, MemberRole, Outcome, SetCutOffPolicy, SetJoinPolicy,
    SetRecoveryKeys, TopologyHsm, TopologyReply,
};

use crate::connection::Connection;
use crate::desk::Standing;
use crate::error::Error;

impl Connection {
    /// Which HSMs serve clients.
    pub(crate) fn topology(&mut self) -> Outcome {
        let reply = self.glance(|state| TopologyReply {
            version: state.topology_version().0,
            hsms: serving(state)
                .map(|member| TopologyHsm {
                    hsm_id: member.hsm_id.clone(),
                    address: member.address.clone(),
                    port: port(member),
                    zone: member.zone.clone(),
                })
                .collect(),
        });
        Outcome::Topology(reply)
    }

    /// The newest change of the topology that is on disk here. Asks the state only where that has
    /// changed since the connection asked last: a use of a key takes no lock for it.
    pub(crate) fn topology_version(&mut self) -> u64 {
        let durable = self.durable();
        let (at, known) = self.topology;
        if at == durable {
            return known.0;
        }
        let newest = self.engine.replicator.state().read().topology_version();
        let known = if newest <= durable { newest } else { known };
        self.topology = (durable, known);
        known.0
    }

    /// Members, policies and what the cluster lacks.
    pub(crate) fn cluster_info(&mut self) -> Outcome {
        let standings = self.engine.desk.standings();
        let contact = self.engine.replicator.contact();
        let lost = self.engine.lost_entries();
        let reply = self.glance(|state| ClusterInfoReply {
            members: state.members().map(|member| member_info(member, &standings)).collect(),
            join_policy: Some(wire_policy(state.join_policy())),
            waiting: state
                .join_requests()
                .map(|(fingerprint, request)| JoinRequestInfo {
                    hsm_id: request.member.hsm_id.clone(),
                    address: request.member.address.clone(),
                    fingerprint: fingerprint.to_vec(),
                    approved_by: request
                        .approvals
                        .iter()
                        .filter_map(|id| state.user(*id).map(|user| user.name.clone()))
                        .collect(),
                })
                .collect(),
            cut_off_policy: Some(SetCutOffPolicy { seconds: state.cut_off_seconds() }),
            warnings: warnings(state, contact, &standings, lost),
            generation: state.generation(),
            recovery_keys: Some({
                let (keys, threshold) = state.recovery_keys();
                SetRecoveryKeys { keys: keys.to_vec(), threshold }
            }),
        });
        Outcome::ClusterInfo(reply)
    }

    pub(crate) fn set_join_policy(&mut self, request: SetJoinPolicy) -> Result<(), Error> {
        let policy = match message::JoinPolicy::try_from(request.policy) {
            Ok(message::JoinPolicy::Automatic) => JoinPolicy::Automatic,
            Ok(message::JoinPolicy::Owner) => JoinPolicy::Owner,
            Ok(message::JoinPolicy::Quorum) => JoinPolicy::Quorum { approvals: request.approvals },
            Err(_) => return Err(Error::arguments("there is no such join policy")),
        };
        self.govern(Command::SetJoinPolicy { policy })
    }

    pub(crate) fn approve_join(&mut self, request: &ApproveJoin) -> Result<(), Error> {
        let fingerprint = request.fingerprint.as_slice().try_into();
        let fingerprint =
            fingerprint.map_err(|_| Error::arguments("a fingerprint has 32 bytes"))?;
        self.govern(Command::ApproveJoin { fingerprint })
    }

    pub(crate) fn set_cut_off_policy(&mut self, request: SetCutOffPolicy) -> Result<(), Error> {
        self.govern(Command::SetCutOffPolicy { seconds: request.seconds })
    }

    pub(crate) fn set_recovery_keys(&mut self, request: SetRecoveryKeys) -> Result<(), Error> {
        let SetRecoveryKeys { keys, threshold } = request;
        if keys.len() > strongroom_vault::limits::RECOVERY_KEYS_MAX {
            return Err(Error::arguments("too many recovery keys"));
        }
        for key in &keys {
            self.engine.desk.check_recovery_key(key).map_err(Error::arguments)?;
        }
        self.govern(Command::SetRecoveryKeys { keys, threshold })
    }

    /// A request for a certificate of the cluster's newest key.
    pub(crate) fn cluster_csr(&mut self) -> Result<Outcome, Error> {
        self.may(&Action::Govern)?;
        let (csr, generation) = self.engine.desk.csr().map_err(refused)?;
        Ok(Outcome::ClusterCsr(ClusterCsrReply { csr, generation }))
    }

    pub(crate) fn install_cluster_certificate(
        &mut self,
        request: &InstallClusterCertificate,
    ) -> Result<(), Error> {
        if self.already_done()? {
            return Ok(());
        }
        self.may(&Action::Govern)?;
        if request.signed_certificate.len() > strongroom_wire::limits::CERTIFICATE_BYTES_MAX {
            return Err(Error::arguments("the certificate is too long"));
        }
        let (cluster_certificate, generation) =
            self.engine.desk.check_certificate(&request.signed_certificate).map_err(refused)?;
        self.govern(Command::InstallClusterCertificate { generation, cluster_certificate })
    }

    /// An admin's decision for the cluster.
    fn govern(&mut self, command: Command) -> Result<(), Error> {
        if !self.already_done()? {
            self.may(&Action::Govern)?;
            self.change(command)?;
        }
        Ok(())
    }
}

/// The words are the desk's: what was given can't be used as it stands.
fn refused(why: String) -> Error {
    Error::caller(cryptoki_sys::CKR_FUNCTION_FAILED, why)
}

/// The HSMs that serve clients.
fn serving(state: &State) -> impl Iterator<Item = &Member> {
    state.members().filter(|member| !member.witness)
}

fn port(member: &Member) -> u32 {
    u32::from(PORT_CLIENTS) + u32::from(member.port_offset)
}

/// How many HSMs serve clients, and where the one of this id stands. One that is no member yet counts
/// itself.
pub(crate) fn hsms_and_zone(state: &State, hsm_id: &str) -> (u32, String) {
    let own = serving(state).find(|member| member.hsm_id == hsm_id);
    let hsms = u32::try_from(serving(state).count()).unwrap_or(u32::MAX);
    (hsms.max(1), own.map(|member| member.zone.clone()).unwrap_or_default())
}

fn member_info(member: &Member, standings: &[Standing]) -> MemberInfo {
    let standing = standings.iter().find(|standing| standing.node == member.node);
    MemberInfo {
        hsm_id: member.hsm_id.clone(),
        node: member.node.0,
        address: member.address.clone(),
        port: port(member),
        zone: member.zone.clone(),
        fingerprint: member.fingerprint().to_vec(),
        witness: member.witness,
        role: standing.map_or(MemberRole::Learner, |standing| standing.role).into(),
        lag: standing.map_or(0, |standing| standing.lag),
    }
}

fn wire_policy(policy: JoinPolicy) -> SetJoinPolicy {
    let (policy, approvals) = match policy {
        JoinPolicy::Automatic => (message::JoinPolicy::Automatic, 0),
        JoinPolicy::Owner => (message::JoinPolicy::Owner, 0),
        JoinPolicy::Quorum { approvals } => (message::JoinPolicy::Quorum, approvals),
    };
    SetJoinPolicy { policy: policy.into(), approvals }
}

/// What an operator must know or do.
fn warnings(state: &State, contact: Contact, standings: &[Standing], lost: bool) -> Vec<String> {
    let mut warnings = Vec::new();
    if lost {
        warnings.push(
            "clients have seen a newer state than there is: the cluster was recovered from fewer \
             HSMs, or put back to an older state"
                .to_owned(),
        );
    }
    if let Contact::CutOff { for_ } = contact {
        warnings.push(format!(
            "this HSM has been cut off from the majority for {} s: nothing can be changed here",
            for_.as_secs()
        ));
    }
    if state.cluster_key_compromised() {
        warnings.push(
            "an HSM was removed without proof that it destroyed its secrets: sign the new cluster \
             key (`cluster csr`, `cluster install-certificate`), or clients can be deceived"
                .to_owned(),
        );
    }
    if state.rotation_due() {
        warnings.push("the secrets that a removed HSM knew are being replaced".to_owned());
    }
    let of_owner = state.phase() == Phase::Active && state.personality() == Personality::CloudHsm;
    if of_owner && state.join_policy() == JoinPolicy::Automatic {
        warnings.push(
            "the join policy is `automatic`: whoever runs the control plane can add an HSM and \
             read keys"
                .to_owned(),
        );
    }
    match serving(state).count() {
        1 if of_owner => {
            warnings.push("one HSM: its keys are lost with its disk".to_owned());
        }
        2 if state.members().all(|member| !member.witness) => {
            warnings.push("two HSMs and no witness: changes need both".to_owned());
        }
        _ => {}
    }
    let known = |node: NodeId| standings.iter().any(|standing| standing.node == node);
    if !standings.is_empty() {
        for member in state.members().filter(|member| !known(member.node)) {
            warnings.push(format!("{} has no part in agreement", member.hsm_id));
        }
    }
    warnings
}

/// Before a connection has asked.
pub(crate) const UNKNOWN_TOPOLOGY: (LogIndex, LogIndex) = (LogIndex(u64::MAX), LogIndex(0));
