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
        // Another one may be on record there: where two change places, one says so first.
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
            // The one whose secrets become the cluster's.
            return if member.witness { Err(bad("a witness is no first member")) } else { Ok(()) };
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

#[cfg(test)]
mod tests {
    use cryptoki_sys::{CKR_ARGUMENTS_BAD, CKR_USER_NOT_LOGGED_IN};

    use super::*;
    use crate::testing::members::{member, witness};
    use crate::testing::{World, ckr, create_user};
    use crate::{Actor, Command, LogIndex, Personality, Role};

    fn add(member: Member, endorsement: Endorsement) -> Command {
        Command::AddMember { member, endorsement, replaces: None }
    }

    fn remove(node: u64, receipt: bool) -> Command {
        Command::RemoveMember { node: NodeId(node), receipt }
    }

    fn quorum(world: &mut World, approvals: u32) -> Vec<Actor> {
        let admins: Vec<_> =
            (0..approvals).map(|number| world.another_admin(&format!("boss{number}"))).collect();
        let policy = JoinPolicy::Quorum { approvals };
        world.must(admins[0], Command::SetJoinPolicy { policy });
        admins
    }

    #[test]
    fn a_number_is_given_once_though_its_member_goes() {
        let mut world = World::cluster(3);
        world.must(Actor::System, remove(3, true));
        assert_eq!(world.add(member(4)), Ok(Outcome::MemberAdded(NodeId(4))));
        assert_eq!(world.nodes(), [1, 2, 4]);
        world.check();
    }

    #[test]
    fn a_removed_device_never_joins_again() {
        let mut world = World::cluster(2);
        let thief = member(2).fingerprint();
        world.must(Actor::System, remove(2, true));
        assert!(world.state.is_revoked(&thief));
        assert_eq!(ckr(world.add(member(2))), CKR_ACTION_PROHIBITED);
        // Nor under another name, at another place, or as another kind.
        let moved = Member { hsm_id: "hsm-9".to_owned(), ..member(9) };
        let disguised = Member { device_key: member(2).device_key, ..moved };
        assert_eq!(ckr(world.add(disguised)), CKR_ACTION_PROHIBITED);
        let replaces = Some(NodeId(2));
        let endorsement = Endorsement::Provisioner;
        let rejoin = Command::AddMember { member: member(2), endorsement, replaces };
        assert_eq!(ckr(world.apply(Actor::System, rejoin)), CKR_ARGUMENTS_BAD);
        assert_eq!(world.add(member(3)), Ok(Outcome::MemberAdded(NodeId(3))));
        world.check();
    }

    #[test]
    fn the_last_hsm_stays_though_a_witness_is_there() {
        let mut world = World::cluster(1);
        assert!(world.add(witness(2)).is_ok());
        assert_eq!(ckr(world.apply(Actor::System, remove(1, true))), CKR_ACTION_PROHIBITED);
        world.must(Actor::System, remove(2, true));
        assert_eq!(ckr(world.apply(Actor::System, remove(1, true))), CKR_ACTION_PROHIBITED);
        assert_eq!(ckr(world.apply(Actor::System, remove(7, true))), CKR_ARGUMENTS_BAD);
        world.check();
    }

    #[test]
    fn only_the_hsms_change_who_is_a_member() {
        let mut world = World::cluster(2);
        let admin = world.admin();
        let alone = vec![NodeId(1)];
        for command in [
            add(member(3), Endorsement::Provisioner),
            remove(2, true),
            Command::RequestJoin { member: member(3) },
            Command::Recovered { fence: 1, members: alone },
        ] {
            for actor in [admin, Actor::Anonymous] {
                let result = world.apply(actor, command.clone());
                assert_eq!(ckr(result), CKR_ACTION_PROHIBITED, "{command:?}");
            }
        }
        assert_eq!(world.nodes(), [1, 2]);
    }

    #[test]
    fn a_key_that_may_be_out_there_is_followed_by_another() {
        let mut world = World::cluster(4);
        assert_eq!((world.state.generation(), world.state.certified_generation()), (1, 1));
        world.must(Actor::System, remove(4, true));
        assert!(!world.state.cluster_key_compromised(), "it left a receipt");
        assert!(world.state.rotation_due(), "it has seen the secrets");
        world.must(Actor::System, remove(3, false));
        assert!(world.state.cluster_key_compromised());
        assert_eq!((world.state.generation(), world.state.certified_generation()), (2, 1));
        world.check();
    }

    #[test]
    fn a_witness_takes_no_secrets_away() {
        let mut world = World::cluster(2);
        assert!(world.add(witness(3)).is_ok());
        assert_eq!(ckr(world.add(witness(4))), CKR_FUNCTION_FAILED);
        world.must(Actor::System, remove(3, false));
        assert!(!world.state.rotation_due());
        assert!(!world.state.cluster_key_compromised());
        assert!(world.state.is_revoked(&witness(3).fingerprint()));
    }

    #[test]
    fn a_rejoining_hsm_keeps_its_keys_and_gets_another_number() {
        let mut world = World::cluster(2);
        let sealed = vec![(NodeId(1), vec![1]), (NodeId(2), vec![2])];
        world.must(Actor::System, Command::RotateSecrets { epoch: 2, sealed });
        let rejoin = |member: Member| Command::AddMember {
            member,
            endorsement: Endorsement::Admins,
            replaces: Some(NodeId(2)),
        };
        let impostor = Member { sealing_key: vec![9], ..member(2) };
        assert_eq!(ckr(world.apply(Actor::System, rejoin(impostor))), CKR_ARGUMENTS_BAD);
        let outcome = world.must(Actor::System, rejoin(member(2)));
        assert_eq!(outcome, Outcome::MemberAdded(NodeId(3)));
        assert_eq!(world.nodes(), [1, 3]);
        let left: Vec<_> = world.state.rotations(NodeId(3), 1).collect();
        assert_eq!(left, [(2, &[2][..])]);
        assert!(!world.state.is_revoked(&member(2).fingerprint()));
        // Sent again, it finds nobody of that number.
        assert!(world.apply(Actor::System, rejoin(member(2))).is_err());
        world.check();
    }

    #[test]
    fn a_new_member_has_its_own_name_address_and_key() {
        let mut world = World::cluster(2);
        for taken in [
            Member { hsm_id: "hsm-1".to_owned(), ..member(3) },
            Member { address: "127.0.1.1".to_owned(), ..member(3) },
            Member { device_key: member(1).device_key, ..member(3) },
        ] {
            assert_eq!(ckr(world.add(taken)), CKR_ARGUMENTS_BAD);
        }
        let update = |port_offset| Command::UpdateMember {
            node: NodeId(2),
            address: "127.0.1.1".to_owned(),
            port_offset,
            zone: "b".to_owned(),
        };
        let nobody = Command::UpdateMember {
            node: NodeId(2),
            address: "nowhere".to_owned(),
            port_offset: 0,
            zone: String::new(),
        };
        assert_eq!(ckr(world.apply(Actor::System, nobody)), CKR_ARGUMENTS_BAD);
        let before = world.state.topology_version();
        world.must(Actor::System, update(100));
        assert!(world.state.topology_version() > before);
        let now = world.state.topology_version();
        world.must(Actor::System, update(100));
        assert_eq!(world.state.topology_version(), now, "nothing changed");
        world.check();
    }

    #[test]
    fn a_cluster_has_28_hsms() {
        let mut world = World::cluster(28);
        assert_eq!(ckr(world.add(member(29))), CKR_FUNCTION_FAILED);
        assert!(world.add(witness(30)).is_ok());
        world.must(Actor::System, remove(28, true));
        assert!(world.add(member(29)).is_ok());
        world.check();
    }

    #[test]
    fn the_owner_endorses_under_policy_owner() {
        let mut world = World::cluster(1);
        let admin = world.admin();
        world.must(admin, Command::SetJoinPolicy { policy: JoinPolicy::Owner });
        for endorsement in [
            Endorsement::Provisioner,
            Endorsement::Admins,
            Endorsement::Owner { certificate: Vec::new() },
        ] {
            assert!(world.apply(Actor::System, add(member(2), endorsement)).is_err());
        }
        let endorsement = Endorsement::Owner { certificate: vec![0x30] };
        world.must(Actor::System, add(member(2), endorsement));
        world.check();
    }

    #[test]
    fn only_the_first_member_of_an_ownerless_cluster_needs_no_word() {
        let mut world = World::new();
        let create = Command::CreateCluster {
            masking_domain: [1; 16],
            cluster_id: "cluster-1".to_owned(),
            personality: Personality::CloudHsm,
            join_policy: JoinPolicy::Owner,
        };
        let first = add(member(1), Endorsement::Provisioner);
        assert!(world.apply(Actor::System, first.clone()).is_err(), "there is no cluster yet");
        world.must(Actor::System, create);
        assert!(world.add(witness(1)).is_err(), "it would have no secrets to share");
        world.must(Actor::System, first);
        let endorsement = Endorsement::Owner { certificate: vec![0x30] };
        let second = world.apply(Actor::System, add(member(2), endorsement));
        assert_eq!(ckr(second), CKR_ACTION_PROHIBITED);
        world.check();
    }

    #[test]
    fn so_many_different_admins_approve_as_the_policy_asks_for() {
        let mut world = World::cluster(1);
        let admins = quorum(&mut world, 2);
        let join = add(member(2), Endorsement::Admins);
        let approve = Command::ApproveJoin { fingerprint: member(2).fingerprint() };
        assert_eq!(ckr(world.apply(admins[0], approve.clone())), CKR_ARGUMENTS_BAD);
        assert!(world.apply(Actor::System, join.clone()).is_err());
        world.must(Actor::System, Command::RequestJoin { member: member(2) });
        for actor in [Actor::System, Actor::Anonymous] {
            assert_eq!(ckr(world.apply(actor, approve.clone())), CKR_USER_NOT_LOGGED_IN);
        }
        for _ in 0..2 {
            world.must(admins[0], approve.clone());
            assert!(world.apply(Actor::System, join.clone()).is_err(), "one admin is one");
        }
        world.must(admins[1], approve);
        // What was approved is this device, with the key that secrets will be sealed to.
        let other = Member { sealing_key: vec![9], ..member(2) };
        assert!(world.apply(Actor::System, add(other, Endorsement::Admins)).is_err());
        world.check();
        world.must(Actor::System, join);
        assert_eq!(world.state.join_requests().count(), 0);
        world.check();
    }

    #[test]
    fn an_approval_dies_with_its_admin_and_with_the_policy() {
        let mut world = World::cluster(1);
        let admins = quorum(&mut world, 2);
        let approve = Command::ApproveJoin { fingerprint: member(2).fingerprint() };
        world.must(Actor::System, Command::RequestJoin { member: member(2) });
        world.must(admins[1], approve.clone());
        let Actor::Login(login) = admins[1] else { panic!() };
        world.must(admins[1], Command::CloseLogins { logins: vec![login] });
        let delete = Command::DeleteUser { name: "boss1".to_owned(), role: Role::Admin };
        world.must(admins[0], delete);
        world.check();
        world.must(admins[0], create_user("boss1", Role::Admin));
        world.must(admins[0], approve.clone());
        let join = add(member(2), Endorsement::Admins);
        assert!(world.apply(Actor::System, join.clone()).is_err(), "the new boss1 said nothing");
        let policy = JoinPolicy::Quorum { approvals: 1 };
        world.must(admins[0], Command::SetJoinPolicy { policy });
        assert!(world.apply(Actor::System, join.clone()).is_err(), "said under another policy");
        world.must(Actor::System, Command::RequestJoin { member: member(2) });
        world.must(admins[0], approve);
        world.must(Actor::System, join);
        world.check();
    }

    #[test]
    fn those_who_only_ask_keep_nobody_out_who_is_approved() {
        let mut world = World::cluster(1);
        let admins = quorum(&mut world, 1);
        for number in 50..66 {
            world.time_ms += 1;
            world.must(Actor::System, Command::RequestJoin { member: member(number) });
        }
        let fingerprint = member(50).fingerprint();
        world.must(admins[0], Command::ApproveJoin { fingerprint });
        for number in 100..140 {
            world.time_ms += 1;
            world.must(Actor::System, Command::RequestJoin { member: member(number) });
        }
        assert_eq!(world.state.join_requests().count(), JOIN_REQUESTS_MAX);
        // It moved meanwhile, and is still approved.
        let moved = Member { address: "127.0.9.9".to_owned(), ..member(50) };
        world.must(Actor::System, Command::RequestJoin { member: moved.clone() });
        world.must(Actor::System, add(moved, Endorsement::Admins));
        world.check();
    }

    #[test]
    fn a_recovery_leaves_only_whom_it_names_and_is_behind_no_other() {
        let mut world = World::cluster(3);
        assert!(world.add(witness(4)).is_ok());
        let recovered = |fence, members: &[u64]| Command::Recovered {
            fence,
            members: members.iter().copied().map(NodeId).collect(),
        };
        for wrong in [recovered(0, &[1]), recovered(1, &[]), recovered(1, &[4]), recovered(1, &[9])]
        {
            assert!(world.apply(Actor::System, wrong.clone()).is_err(), "{wrong:?}");
        }
        world.must(Actor::System, recovered(5, &[2]));
        assert_eq!(world.nodes(), [2]);
        assert_eq!(world.state.fence(), 5);
        assert!(world.state.rotation_due() && world.state.cluster_key_compromised());
        for gone in [member(1), member(3), witness(4)] {
            assert!(world.state.is_revoked(&gone.fingerprint()));
        }
        assert!(world.apply(Actor::System, recovered(5, &[2])).is_err());
        world.check();
    }

    #[test]
    fn init_token_leaves_the_members() {
        let (mut world, _) = World::token_with_members();
        world.must(Actor::System, remove(2, true));
        let sealed = vec![(NodeId(1), vec![1])];
        world.must(Actor::System, Command::RotateSecrets { epoch: 2, sealed });
        let so_epoch = world.state.user_by_name("so").expect("the SO").epoch;
        world.must(Actor::Anonymous, crate::testing::init_token(so_epoch));
        assert_eq!(world.nodes(), [1]);
        assert!(world.state.is_revoked(&member(2).fingerprint()));
        assert_eq!(world.state.secrets_epoch(), 2);
        assert_eq!(world.state.rotations(NodeId(1), 0).count(), 1);
        world.check();
    }

    #[test]
    fn the_topology_is_as_new_as_the_entry_that_changed_it() {
        let mut world = World::cluster(2);
        let version = world.state.topology_version();
        assert_eq!(version, world.state.applied());
        world.admin();
        assert_eq!(world.state.topology_version(), version);
        world.must(Actor::System, remove(2, true));
        assert_eq!(world.state.topology_version(), LogIndex(version.0 + 3));
    }
}
