//! Setting up: the cluster's first entry, its owner, its first admin; a token's initialisation.

use cryptoki_sys::{CKR_PIN_INCORRECT, CKR_PIN_INVALID};

use super::policies::check_policy;
use super::users::check_verifier;
use super::{Changes, bad};
use crate::codec::{ClusterRecord, TopologyRecord};
use crate::limits::{CERTIFICATE_BYTES_MAX, CLUSTER_ID_CHARS_MAX, TOKEN_LABEL_BYTES};
use crate::state::{Objects, Users};
use crate::{
    Action, Change, JoinPolicy, Outcome, PasswordVerifier, Personality, Phase, Principal, Refusal,
    Role, State, User, UserId,
};

/// CloudHSM's `admin`; the SO in personality `token`.
pub(super) const ADMIN: UserId = UserId(1);
/// CloudHSM's `app_user`.
const APPLIANCE: UserId = UserId(2);

/// Masking domain, id, personality and join policy.
pub(super) type NewCluster = ([u8; 16], String, Personality, JoinPolicy);

impl State {
    pub(super) fn create_cluster(
        &mut self,
        who: &Principal,
        (masking_domain, cluster_id, personality, join_policy): NewCluster,
        changes: &mut Changes,
    ) -> Result<Outcome, Refusal> {
        self.authorise(who, &Action::SetUp)?;
        if self.cluster.is_some() {
            return Err(bad("the cluster exists already"));
        }
        let printable = cluster_id.bytes().all(|byte| byte.is_ascii_graphic());
        if cluster_id.is_empty() || cluster_id.len() > CLUSTER_ID_CHARS_MAX || !printable {
            return Err(bad("a cluster's id has 1 to 64 printable characters"));
        }
        check_policy(join_policy)?;
        self.topology = Some(TopologyRecord { join_policy, ..TopologyRecord::default() });
        self.put_topology(changes);
        self.cluster = Some(ClusterRecord {
            cluster_id,
            masking_domain,
            personality,
            phase: Phase::Uninitialized,
            cluster_certificate: None,
            trust_anchor: None,
            token_label: Vec::new(),
        });
        self.put_cluster(changes);
        if personality == Personality::CloudHsm {
            self.put_user(fixed_user(ADMIN, "admin", Role::UnactivatedAdmin), changes);
            self.put_user(fixed_user(APPLIANCE, "app_user", Role::ApplianceUser), changes);
        }
        Ok(Outcome::Done)
    }

    pub(super) fn initialise_cluster(
        &mut self,
        who: &Principal,
        cluster_certificate: Vec<u8>,
        trust_anchor: Vec<u8>,
        changes: &mut Changes,
    ) -> Result<Outcome, Refusal> {
        self.authorise(who, &Action::SetUp)?;
        self.in_personality(Personality::CloudHsm)?;
        self.in_phase(Phase::Uninitialized)?;
        let wrong = |der: &[u8]| der.is_empty() || der.len() > CERTIFICATE_BYTES_MAX;
        if wrong(&cluster_certificate) || wrong(&trust_anchor) {
            return Err(bad("a certificate has 1 to 20,000 bytes"));
        }
        let Some(cluster) = &mut self.cluster else { return Err(no_cluster()) };
        cluster.cluster_certificate = Some(cluster_certificate);
        cluster.trust_anchor = Some(trust_anchor);
        cluster.phase = Phase::Initialized;
        self.put_cluster(changes);
        self.change_topology(changes, |topology| {
            topology.certified_generation = topology.generation;
        });
        Ok(Outcome::Done)
    }

    pub(super) fn activate(
        &mut self,
        who: &Principal,
        verifier: PasswordVerifier,
        changes: &mut Changes,
    ) -> Result<Outcome, Refusal> {
        self.authorise(who, &Action::Activate)?;
        check_verifier(&verifier)?;
        let admin = self.user(ADMIN).filter(|user| user.role == Role::UnactivatedAdmin).cloned();
        let (Some(admin), Some(cluster)) = (admin, &mut self.cluster) else {
            return Err(no_cluster());
        };
        cluster.phase = Phase::Active;
        self.put_cluster(changes);
        let epoch = admin.epoch + 1;
        let verifier = Some(verifier);
        self.put_user(User { role: Role::Admin, verifier, failures: 0, epoch, ..admin }, changes);
        Ok(Outcome::Done)
    }

    /// PKCS#11, C_InitToken: "When a token is initialized, all objects that can be destroyed are
    /// destroyed … Also, access by the normal user is disabled until the SO sets the normal user's
    /// PIN." CKA_DESTROYABLE speaks of C_DestroyObject only: no object outlives this.
    pub(super) fn init_token(
        &mut self,
        who: &Principal,
        label: Vec<u8>,
        so_verifier: PasswordVerifier,
        so_epoch: u64,
        changes: &mut Changes,
    ) -> Result<Outcome, Refusal> {
        self.authorise(who, &Action::InitToken)?;
        check_verifier(&so_verifier)?;
        if label.len() != TOKEN_LABEL_BYTES {
            return Err(bad("a token's label has 32 bytes, blank-padded"));
        }
        let present = self.user(ADMIN).map_or(0, |so| so.epoch);
        if present != so_epoch {
            return Err(Refusal::new(
                CKR_PIN_INCORRECT,
                "the SO's PIN has changed since it was checked",
            ));
        }
        let Some(cluster) = &mut self.cluster else { return Err(no_cluster()) };
        cluster.phase = Phase::Active;
        cluster.token_label = label;
        // Handles and users' numbers count on, and the SO's epoch rises: nothing that was valid
        // before is valid again.
        self.objects = Objects::default();
        self.users = Users::default();
        self.logins.clear();
        self.replies.clear();
        self.members.waiting.clear();
        changes.0.push(Change::Clear);
        // Members and policies are the cluster's, not the token's.
        for (key, value) in self.member_records() {
            changes.put(key, value);
        }
        self.put_topology(changes);
        self.put_cluster(changes);
        let mut so = fixed_user(ADMIN, "so", Role::Admin);
        so.verifier = Some(so_verifier);
        so.epoch = present + 1;
        self.put_user(so, changes);
        Ok(Outcome::Done)
    }

    /// PKCS#11: C_InitPIN "initializes the normal user's PIN".
    pub(super) fn init_pin(
        &mut self,
        who: &Principal,
        verifier: PasswordVerifier,
        changes: &mut Changes,
    ) -> Result<Outcome, Refusal> {
        self.authorise(who, &Action::InitPin)?;
        check_verifier(&verifier)?;
        if self.user_by_name("user").is_none() {
            let id = self.next_user()?;
            self.put_user(fixed_user(id, "user", Role::CryptoUser), changes);
        }
        let Some(user) = self.user_by_name("user").map(|user| user.id) else {
            return Err(Refusal::new(CKR_PIN_INVALID, "there is no user"));
        };
        self.set_password(user, verifier, None, changes);
        Ok(Outcome::Done)
    }
}

/// A user without a password.
fn fixed_user(id: UserId, name: &str, role: Role) -> User {
    User { id, name: name.to_owned(), role, verifier: None, failures: 0, epoch: 1 }
}

fn no_cluster() -> Refusal {
    bad("the cluster is not created yet")
}

#[cfg(test)]
mod tests {
    use cryptoki_sys::{CKR_FUNCTION_NOT_SUPPORTED, CKR_USER_NOT_LOGGED_IN};

    use super::*;
    use crate::testing::{World, aes, ckr, create_user, init_token, verifier};
    use crate::{Actor, Command, Handle};

    #[test]
    fn a_cluster_goes_from_created_to_active_once() {
        let mut world = World::created(Personality::CloudHsm);
        let initialise =
            Command::InitialiseCluster { cluster_certificate: vec![1], trust_anchor: vec![2] };
        let activate = Command::ActivateCluster { verifier: verifier("admin") };
        assert_eq!(world.state.phase(), Phase::Uninitialized);
        assert!(world.apply(Actor::Anonymous, activate.clone()).is_err());
        assert!(world.apply(Actor::Anonymous, initialise.clone()).is_err());
        world.must(Actor::System, initialise.clone());
        assert_eq!(world.state.phase(), Phase::Initialized);
        assert_eq!(world.state.trust_anchor(), Some(&[2][..]));
        assert!(world.apply(Actor::System, initialise).is_err());
        let admin = world.state.user(ADMIN).map(|user| user.role);
        assert_eq!(admin, Some(Role::UnactivatedAdmin));
        world.must(Actor::Anonymous, activate.clone());
        assert_eq!(world.state.phase(), Phase::Active);
        // Nobody sets the admin's password in this way again.
        assert!(world.apply(Actor::Anonymous, activate.clone()).is_err());
        assert!(world.apply(Actor::System, activate).is_err());
        assert_eq!(world.state.user_by_name("app_user").map(|user| user.id), Some(APPLIANCE));
        world.check();
    }

    #[test]
    fn a_cluster_is_created_once_and_by_its_hsm_only() {
        let mut world = World::new();
        let create = |cluster_id: &str| Command::CreateCluster {
            masking_domain: [1; 16],
            cluster_id: cluster_id.to_owned(),
            personality: Personality::CloudHsm,
            join_policy: JoinPolicy::Owner,
        };
        assert!(world.apply(Actor::Anonymous, create("cluster-1")).is_err());
        assert!(world.apply(Actor::System, create("")).is_err());
        assert!(world.apply(Actor::System, create(&"x".repeat(65))).is_err());
        world.must(Actor::System, create("cluster-1"));
        assert!(world.apply(Actor::System, create("cluster-2")).is_err());
        assert_eq!(world.state.cluster_id(), "cluster-1");
    }

    #[test]
    fn init_token_destroys_everything_and_gives_no_number_twice() {
        let (mut world, so, user) = World::token();
        let key = world.object(user, aes(Personality::Token));
        let so_epoch = world.state.user_by_name("so").expect("the SO").epoch;
        let old_user = world.user_of(user);
        assert!(world.apply(Actor::Anonymous, init_token(so_epoch - 1)).is_err());
        assert_eq!(world.state.object_count(), 1);
        world.must(Actor::Anonymous, init_token(so_epoch));
        assert_eq!(world.state.object_count(), 0);
        assert!(world.state.principal(so).is_err());
        assert!(world.state.principal(user).is_err());
        assert!(world.state.user_by_name("user").is_none());
        world.check();
        // What was known of the SO before is of no use now.
        let stale = Command::OpenLogin { user: ADMIN, epoch: so_epoch, client_key: [7; 32] };
        assert!(world.apply(Actor::Anonymous, stale).is_err());
        let so = world.login("so", Role::Admin);
        world.must(so, Command::InitPin { verifier: verifier("user") });
        let user = world.login("user", Role::CryptoUser);
        assert!(world.user_of(user) > old_user);
        assert!(world.object(user, aes(Personality::Token)) > key);
        world.check();
    }

    #[test]
    fn the_sos_pin_that_init_token_checked_must_still_be_the_sos() {
        let mut world = World::created(Personality::Token);
        world.must(Actor::Anonymous, init_token(0));
        // Two programs initialise the token at once: the second one knew no SO.
        assert_eq!(ckr(world.apply(Actor::Anonymous, init_token(0))), CKR_PIN_INCORRECT);
    }

    #[test]
    fn init_pin_is_the_sos_and_unlocks_the_user() {
        let (mut world, so, user) = World::token();
        let init_pin = || Command::InitPin { verifier: verifier("new") };
        for actor in [user, Actor::Anonymous, Actor::System] {
            assert_eq!(ckr(world.apply(actor, init_pin())), CKR_USER_NOT_LOGGED_IN);
        }
        for _ in 0..5 {
            let charge = Command::ChargeLogin { name: "user".to_owned(), role: Role::CryptoUser };
            world.must(Actor::Anonymous, charge);
        }
        let before = world.user_of(user);
        world.must(so, init_pin());
        assert!(world.state.principal(user).is_err());
        let user = world.login("user", Role::CryptoUser);
        // The same user, so that the objects stay theirs.
        assert_eq!(world.user_of(user), before);
        world.check();
    }

    #[test]
    fn each_personality_refuses_the_others_commands() {
        let (mut token, so, _) = World::token();
        let created = token.apply(so, create_user("alice", Role::CryptoUser));
        assert_eq!(ckr(created), CKR_FUNCTION_NOT_SUPPORTED);
        let mut cloudhsm = World::cloudhsm();
        let admin = cloudhsm.admin();
        let init_pin = Command::InitPin { verifier: verifier("x") };
        for (actor, command) in [(Actor::Anonymous, init_token(0)), (admin, init_pin)] {
            assert_eq!(ckr(cloudhsm.apply(actor, command)), CKR_FUNCTION_NOT_SUPPORTED);
        }
        assert!(cloudhsm.state.object(Handle::FIRST).is_none());
    }
}
