//! Members: joining, leaving, moving; and what is left of them after a recovery.

use std::collections::BTreeSet;

use cryptoki_sys::{CKR_ACTION_PROHIBITED, CKR_FUNCTION_FAILED};

use super::{Changes, bad};
use crate::codec::{self, Key};
use crate::limits::{CERTIFICATE_BYTES_MAX, HSMS_MAX, JOIN_REQUESTS_MAX, WITNESSES_MAX};
use crate::{
    Action, Endorsement, Fingerprint, JoinPolicy, JoinRequest, Member, NodeId, Outcome, Principal,
    Refusal, State, UserId,
};

impl State {
    pub(super) fn add_member(
        &mut self,
        who: &Principal,
        member: Member,
        endorsement: &Endorsement,
        replaces: Option<NodeId>,
        changes: &mut Changes,
    ) -> Result<Outcome, Refusal> {
        self.authorise(who, &Action::Maintain)?;
        check_member(&member)?;
        match replaces {
            Some(old) => {
                if !self.present(old)?.is_device(&member) {
                    return Err(bad("only the same HSM rejoins under a new number"));
                }
            }
            None => {
                self.check_newcomer(&member)?;
                self.check_endorsement(&member, endorsement)?;
            }
        }
        self.check_place(&member, replaces)?;
        let node = self.progress.next_node;
        let next = node.0.checked_add(1).map(NodeId);
        self.progress.next_node = next.ok_or_else(|| prohibited("all node numbers are used up"))?;
        if let Some(old) = replaces {
            // What was sealed to it while it was away is still for it.
            for (epoch, sealed) in self.forget_member(old, changes) {
                self.put_sealed(epoch, node, sealed, changes);
            }
        }
        self.remove_waiting(&member.fingerprint(), changes);
        self.put_member(Member { node, ..member }, changes);
        self.changed_members(changes);
        Ok(Outcome::MemberAdded(node))
    }

    pub(super) fn request_join(
        &mut self,
        who: &Principal,
        member: Member,
        changes: &mut Changes,
    ) -> Result<Outcome, Refusal> {
        self.authorise(who, &Action::Maintain)?;
        check_member(&member)?;
        if !matches!(self.join_policy(), JoinPolicy::Quorum { .. }) {
            return Err(prohibited("nobody waits for admins' approval under this join policy"));
        }
        self.check_newcomer(&member)?;
        let fingerprint = member.fingerprint();
        let member = Member { node: NodeId(0), ..member };
        let known = self.members.waiting.get(&fingerprint).cloned();
        let request = match known {
            // Admins approved the device, wherever it stands.
            Some(known) if known.member.is_device(&member) => JoinRequest { member, ..known },
            Some(_) => return Err(bad("this device key waits already, with other keys beside it")),
            None => {
                self.make_room_to_wait(changes)?;
                let requested_ms = self.progress.time_ms;
                JoinRequest { member, requested_ms, approvals: BTreeSet::new() }
            }
        };
        self.put_waiting(fingerprint, request, changes);
        Ok(Outcome::Done)
    }

    /// The oldest request without an approval goes when there are too many: whoever still waits
    /// asks again, and nobody keeps others out by asking often.
    fn make_room_to_wait(&mut self, changes: &mut Changes) -> Result<(), Refusal> {
        if self.members.waiting.len() < JOIN_REQUESTS_MAX {
            return Ok(());
        }
        let unapproved = self.members.waiting.iter();
        let unapproved = unapproved.filter(|(_, request)| request.approvals.is_empty());
        let oldest = unapproved.min_by_key(|(_, request)| request.requested_ms);
        let Some(oldest) = oldest.map(|(fingerprint, _)| *fingerprint) else {
            return Err(prohibited("16 HSMs wait for approval already"));
        };
        self.remove_waiting(&oldest, changes);
        Ok(())
    }

    pub(super) fn approve_join(
        &mut self,
        who: &Principal,
        fingerprint: &Fingerprint,
        changes: &mut Changes,
    ) -> Result<Outcome, Refusal> {
        self.authorise(who, &Action::Govern)?;
        let Some(admin) = who.user() else { return Err(Refusal::not_logged_in()) };
        let request = self.members.waiting.get(fingerprint).cloned();
        let mut request =
            request.ok_or_else(|| bad("no HSM with this fingerprint waits for approval"))?;
        if request.approvals.insert(admin) {
            self.put_waiting(*fingerprint, request, changes);
        }
        Ok(Outcome::Done)
    }

    pub(super) fn remove_member(
        &mut self,
        who: &Principal,
        node: NodeId,
        receipt: bool,
        changes: &mut Changes,
    ) -> Result<Outcome, Refusal> {
        self.authorise(who, &Action::Maintain)?;
        let member = self.present(node)?;
        if !member.witness && self.members.hsms().count() == 1 {
            return Err(prohibited("the last HSM cannot be removed: the keys would be lost"));
        }
        self.expel(node, receipt, changes);
        self.changed_members(changes);
        Ok(Outcome::Done)
    }

    pub(super) fn update_member(
        &mut self,
        who: &Principal,
        node: NodeId,
        (address, port_offset, zone): (String, u16, String),
        changes: &mut Changes,
    ) -> Result<Outcome, Refusal> {
        self.authorise(who, &Action::Maintain)?;
        let member = Member { address, port_offset, zone, ..self.present(node)?.clone() };
        check_member(&member)?;
        self.check_place(&member, Some(node))?;
        if self.member(node) != Some(&member) {
            self.put_member(member, changes);
            self.changed_members(changes);
        }
        Ok(Outcome::Done)
    }

    pub(super) fn recovered(
        &mut self,
        who: &Principal,
        fence: u64,
        members: &[NodeId],
        changes: &mut Changes,
    ) -> Result<Outcome, Refusal> {
        self.authorise(who, &Action::Maintain)?;
        if fence <= self.fence() {
            return Err(bad("a recovery raises the fence"));
        }
        let left: BTreeSet<NodeId> = members.iter().copied().collect();
        for &node in &left {
            self.present(node)?;
        }
        if !self.members.hsms().any(|member| left.contains(&member.node)) {
            return Err(bad("a recovery leaves an HSM that holds the keys"));
        }
        let gone: Vec<_> = self.members.present.keys().copied().collect();
        for node in gone.into_iter().filter(|node| !left.contains(node)) {
            self.expel(node, false, changes);
        }
        if let Some(topology) = &mut self.topology {
            topology.fence = fence;
        }
        self.changed_members(changes);
        Ok(Outcome::Done)
    }

    /// The approvals of an admin who is deleted.
    pub(super) fn withdraw_approvals(&mut self, admin: UserId, changes: &mut Changes) {
        let approved = self.members.waiting.iter();
        let approved = approved.filter(|(_, request)| request.approvals.contains(&admin));
        let approved: Vec<_> = approved.map(|(at, request)| (*at, request.clone())).collect();
        for (fingerprint, mut request) in approved {
            request.approvals.remove(&admin);
            self.put_waiting(fingerprint, request, changes);
        }
    }

    /// Forgets all who wait.
    pub(super) fn clear_waiting(&mut self, changes: &mut Changes) {
        for fingerprint in std::mem::take(&mut self.members.waiting).into_keys() {
            changes.delete(Key::Waiting(fingerprint));
        }
    }

    /// Whether the device was never a member.
    fn check_newcomer(&self, member: &Member) -> Result<(), Refusal> {
        let fingerprint = member.fingerprint();
        if self.is_revoked(&fingerprint) {
            return Err(prohibited(
                "this HSM was removed from the cluster, and its device key is revoked: make a new \
                 one from an empty folder",
            ));
        }
        if self.member_by_key(&fingerprint).is_some() {
            return Err(bad("this HSM is a member already"));
        }
        Ok(())
    }

    fn check_endorsement(&self, member: &Member, endorsement: &Endorsement) -> Result<(), Refusal> {
        if self.members.present.is_empty() {
            return Ok(());
        }
        match (self.join_policy(), endorsement) {
            (JoinPolicy::Automatic, _) => Ok(()),
            (JoinPolicy::Owner, Endorsement::Owner { certificate }) => {
                let length = certificate.len();
                if self.trust_anchor().is_none() {
                    Err(prohibited("the cluster has no owner yet who could endorse an HSM"))
                } else if length == 0 || length > CERTIFICATE_BYTES_MAX {
                    Err(bad("a certificate has 1 to 20,000 bytes"))
                } else {
                    Ok(())
                }
            }
            (JoinPolicy::Owner, _) => Err(prohibited(
                "the join policy asks for the owner's certificate of the HSM's host",
            )),
            (JoinPolicy::Quorum { approvals }, _) => {
                let request = self.members.waiting.get(&member.fingerprint());
                let request = request.filter(|request| request.member.is_device(member));
                let Some(request) = request else {
                    return Err(prohibited("the HSM has to ask the admins for approval first"));
                };
                let given = self.approvals(request);
                if given < approvals as usize {
                    return Err(prohibited(format!(
                        "{given} of {approvals} admins have approved this HSM"
                    )));
                }
                Ok(())
            }
        }
    }

    /// Whether there is room for a member, and nobody of its name or at its address.
    fn check_place(&self, member: &Member, replaces: Option<NodeId>) -> Result<(), Refusal> {
        let others = || self.members().filter(|other| Some(other.node) != replaces);
        let same_kind = others().filter(|other| other.witness == member.witness).count();
        let max = if member.witness { WITNESSES_MAX } else { HSMS_MAX };
        if same_kind >= max {
            return Err(Refusal::new(
                CKR_FUNCTION_FAILED,
                format!("a cluster has at most {HSMS_MAX} HSMs and {WITNESSES_MAX} witness"),
            ));
        }
        for other in others() {
            if other.hsm_id == member.hsm_id {
                return Err(bad("another member has this HSM's id"));
            }
            if other.address == member.address && other.port_offset == member.port_offset {
                return Err(bad("another member has this address"));
            }
        }
        Ok(())
    }

    fn present(&self, node: NodeId) -> Result<&Member, Refusal> {
        self.member(node).ok_or_else(|| bad("no member has this number"))
    }

    /// Takes a member away for ever.
    fn expel(&mut self, node: NodeId, receipt: bool, changes: &mut Changes) {
        let Some(member) = self.member(node).cloned() else { return };
        let fingerprint = member.fingerprint();
        self.members.revoked.insert(fingerprint);
        changes.put(Key::Revoked(fingerprint), codec::encode_revoked());
        let _ = self.forget_member(node, changes);
        if let Some(topology) = &mut self.topology
            && !member.witness
        {
            topology.rotation_due = true;
            if !receipt {
                topology.generation = topology.generation.saturating_add(1);
            }
        }
    }

    /// Removes a member's records; gives what was sealed to it.
    fn forget_member(&mut self, node: NodeId, changes: &mut Changes) -> Vec<(u64, Vec<u8>)> {
        if self.members.present.remove(&node).is_some() {
            changes.delete(Key::Member(node));
        }
        let sealed = self.members.sealed.extract_if(.., |(_, to), _| *to == node);
        let sealed: Vec<_> = sealed.map(|((epoch, _), sealed)| (epoch, sealed)).collect();
        for (epoch, _) in &sealed {
            changes.delete(Key::Sealed(*epoch, node));
        }
        sealed
    }

    fn put_member(&mut self, member: Member, changes: &mut Changes) {
        changes.put(Key::Member(member.node), codec::encode_member(&member));
        self.members.present.insert(member.node, member);
    }

    pub(super) fn put_sealed(
        &mut self,
        epoch: u64,
        node: NodeId,
        sealed: Vec<u8>,
        changes: &mut Changes,
    ) {
        changes.put(Key::Sealed(epoch, node), codec::encode_sealed(&sealed));
        self.members.sealed.insert((epoch, node), sealed);
    }

    fn put_waiting(
        &mut self,
        fingerprint: Fingerprint,
        request: JoinRequest,
        changes: &mut Changes,
    ) {
        changes.put(Key::Waiting(fingerprint), codec::encode_join_request(&request));
        self.members.waiting.insert(fingerprint, request);
    }

    fn remove_waiting(&mut self, fingerprint: &Fingerprint, changes: &mut Changes) {
        if self.members.waiting.remove(fingerprint).is_some() {
            changes.delete(Key::Waiting(*fingerprint));
        }
    }

    /// Clients learn of it by the number of this entry.
    fn changed_members(&mut self, changes: &mut Changes) {
        if let Some(topology) = &mut self.topology {
            topology.version = self.progress.applied;
        }
        self.put_topology(changes);
    }
}

fn check_member(member: &Member) -> Result<(), Refusal> {
    match member.invalid() {
        None => Ok(()),
        Some(what) => Err(bad(&format!("the member's {what} is out of range"))),
    }
}

fn prohibited(why: impl Into<String>) -> Refusal {
    Refusal::new(CKR_ACTION_PROHIBITED, why)
}
