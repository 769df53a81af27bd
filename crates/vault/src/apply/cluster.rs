//! Setting up: the cluster's first entry, its owner, its first admin; a token's initialisation.

use cryptoki_sys::{CKR_PIN_INCORRECT, CKR_PIN_INVALID};

use super::users::check_verifier;
use super::{Changes, bad};
use crate::codec::ClusterRecord;
use crate::limits::{CERTIFICATE_BYTES_MAX, CLUSTER_ID_CHARS_MAX, TOKEN_LABEL_BYTES};
use crate::state::{Objects, Users};
use crate::{
    Action, Change, Outcome, PasswordVerifier, Personality, Phase, Principal, Refusal, Role, State,
    User, UserId,
};

/// CloudHSM's `admin`; the SO in personality `token`.
pub(super) const ADMIN: UserId = UserId(1);
/// CloudHSM's `app_user`.
const APPLIANCE: UserId = UserId(2);

impl State {
    pub(super) fn create_cluster(
        &mut self,
        who: &Principal,
        masking_domain: [u8; 16],
        cluster_id: String,
        personality: Personality,
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
        changes.0.push(Change::Clear);
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
