//! The state itself, and reading it.
//!
//! Everything here is metadata in memory; [`crate::Change`]s keep the store's records equal to it,
//! and [`State::load`] builds it again from them.

mod first_version;
mod members;
mod objects;
mod records;
mod replies;
mod runs;
mod users;

pub use first_version::FirstVersion;
pub(crate) use members::Members;
pub(crate) use objects::Objects;
pub(crate) use replies::{Replies, Seen};
pub(crate) use users::Users;

use std::collections::BTreeMap;
use std::fmt;

use crate::attributes::Attribute;
use crate::codec::{ClusterRecord, ProgressRecord, TopologyRecord};
use crate::{
    ClientId, Handle, LogIndex, Login, LoginId, NodeId, Object, Outcome, Principal, Refusal, User,
    UserId,
};

/// How far the cluster's set-up has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// No owner yet (personality `token`: C_InitToken has not run).
    Uninitialized,
    /// The owner's certificates are in; no admin yet.
    Initialized,
    /// In use.
    Active,
}

/// For which programs the token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Personality {
    /// CloudHSM: PIN `user:password`, one slot, no C_InitToken.
    CloudHsm,
    /// A generic token: plain PINs, C_InitToken, C_InitPIN.
    Token,
}

/// The replicated state: users, logins, objects, members, and which requests have been answered.
pub struct State {
    pub(crate) progress: ProgressRecord,
    /// `None` before the log's first command.
    pub(crate) cluster: Option<ClusterRecord>,
    /// `None` as long as `cluster` is.
    pub(crate) topology: Option<TopologyRecord>,
    pub(crate) members: Members,
    pub(crate) users: Users,
    pub(crate) logins: BTreeMap<LoginId, Login>,
    pub(crate) objects: Objects,
    pub(crate) replies: Replies,
}

impl State {
    /// The first user number that is not of a fixed user.
    const FIRST_USER: UserId = UserId(3);
    /// The first member's number.
    const FIRST_NODE: NodeId = NodeId(1);

    /// The state before the log's first entry.
    #[must_use]
    pub fn new() -> Self {
        Self {
            progress: ProgressRecord {
                applied: LogIndex(0),
                time_ms: 0,
                next_handle: Handle::FIRST,
                next_user: Self::FIRST_USER,
                next_node: Self::FIRST_NODE,
            },
            cluster: None,
            topology: None,
            members: Members::default(),
            users: Users::default(),
            logins: BTreeMap::new(),
            objects: Objects::default(),
            replies: Replies::default(),
        }
    }

    /// The last entry that was applied.
    #[must_use]
    pub fn applied(&self) -> LogIndex {
        self.progress.applied
    }

    /// The newest time that an entry carried, in milliseconds since 1970. Never goes back.
    #[must_use]
    pub fn time_ms(&self) -> u64 {
        self.progress.time_ms
    }

    /// How far the set-up has come.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.cluster.as_ref().map_or(Phase::Uninitialized, |cluster| cluster.phase)
    }

    /// For which programs the token is; `CloudHsm` before the cluster is created.
    #[must_use]
    pub fn personality(&self) -> Personality {
        self.cluster.as_ref().map_or(Personality::CloudHsm, |cluster| cluster.personality)
    }

    /// `cluster-…`; empty before the cluster is created.
    #[must_use]
    pub fn cluster_id(&self) -> &str {
        self.cluster.as_ref().map_or("", |cluster| &cluster.cluster_id)
    }

    /// What sealed objects name as theirs; zeros before the cluster is created.
    #[must_use]
    pub fn masking_domain(&self) -> [u8; 16] {
        self.cluster.as_ref().map_or([0; 16], |cluster| cluster.masking_domain)
    }

    /// The owner's certificate of the cluster's key, DER.
    #[must_use]
    pub fn cluster_certificate(&self) -> Option<&[u8]> {
        self.cluster.as_ref()?.cluster_certificate.as_deref()
    }

    /// The owner's own certificate (customerCA), DER.
    #[must_use]
    pub fn trust_anchor(&self) -> Option<&[u8]> {
        self.cluster.as_ref()?.trust_anchor.as_deref()
    }

    /// The token's label: 32 bytes, blank-padded; empty before C_InitToken.
    #[must_use]
    pub fn token_label(&self) -> &[u8] {
        self.cluster.as_ref().map_or(&[], |cluster| &cluster.token_label)
    }

    /// A user by number.
    #[must_use]
    pub fn user(&self, id: UserId) -> Option<&User> {
        self.users.get(id)
    }

    /// A user by name, in any case.
    #[must_use]
    pub fn user_by_name(&self, name: &str) -> Option<&User> {
        self.users.by_name(name)
    }

    /// All users, by number.
    pub fn users(&self) -> impl Iterator<Item = &User> {
        self.users.iter()
    }

    /// An open login.
    #[must_use]
    pub fn login(&self, id: LoginId) -> Option<&Login> {
        self.logins.get(&id)
    }

    /// All open logins, oldest first.
    pub fn logins(&self) -> impl Iterator<Item = &Login> {
        self.logins.values()
    }

    /// A token object, whoever may see it.
    #[must_use]
    pub fn object(&self, handle: Handle) -> Option<&Object> {
        self.objects.get(handle)
    }

    /// How many token objects there are.
    #[must_use]
    pub fn object_count(&self) -> usize {
        self.objects.len()
    }

    /// The token objects above `after`, whoever may see them, by rising handle.
    pub fn objects_after(&self, after: Handle) -> impl Iterator<Item = &Object> {
        self.objects.candidates(&[], after)
    }

    /// The token objects above `after` that `who` may see and that match all of `template`, by
    /// rising handle. Where the second part is true, something in the template (CKA_MODULUS, …) is
    /// only in the object's sealed body, and the caller has to compare that itself.
    ///
    /// An index serves a template with CKA_ID or CKA_LABEL; another one looks at every object.
    pub fn find<'a>(
        &'a self,
        who: &'a Principal,
        template: &'a [Attribute],
        after: Handle,
    ) -> impl Iterator<Item = (&'a Object, bool)> {
        self.objects
            .candidates(template, after)
            .filter_map(move |object| Some((object, self.fits(who, object, template)?)))
    }

    /// As [`State::find`], in steps, since nothing may change while somebody looks: `found_max`
    /// objects at most out of `looks_max`, and the last one looked at, where others may follow.
    pub fn find_step<'a>(
        &'a self,
        who: &Principal,
        template: &[Attribute],
        after: Handle,
        found_max: usize,
        looks_max: usize,
    ) -> (Vec<(&'a Object, bool)>, Option<Handle>) {
        let mut found = Vec::new();
        let mut last = after;
        for (looks, object) in self.objects.candidates(template, after).enumerate() {
            if looks >= looks_max || found.len() >= found_max {
                return (found, Some(last));
            }
            last = object.handle;
            if let Some(body) = self.fits(who, object, template) {
                found.push((object, body));
            }
        }
        (found, None)
    }

    /// Whether `who` sees an object that matches a template, and if so, whether the body decides.
    fn fits(&self, who: &Principal, object: &Object, template: &[Attribute]) -> Option<bool> {
        let mut body = false;
        for attribute in template {
            match self.matches(who, object, attribute) {
                Some(true) => {}
                Some(false) => return None,
                None => body = true,
            }
        }
        self.sees(who, object).then_some(body)
    }

    /// What a client's change gave, where it has run. A change that ran and whose reply is forgotten
    /// gives a refusal; `None` means that it has not run.
    #[must_use]
    pub fn remembered(&self, client: ClientId, sequence: u64) -> Option<Result<Outcome, Refusal>> {
        match self.replies.seen(client, sequence) {
            Seen::Never => None,
            Seen::Answered(result) => Some(result.clone()),
            Seen::Forgotten => Some(Err(Replies::forgotten())),
        }
    }
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

/// Counts, not contents: a state may hold a million labels.
impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("applied", &self.progress.applied)
            .field("phase", &self.phase())
            .field("personality", &self.personality())
            .field("users", &self.users.len())
            .field("logins", &self.logins.len())
            .field("objects", &self.objects.len())
            .field("members", &self.members.present.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use cryptoki_sys::*;

    use super::*;
    use crate::testing::{World, aes};
    use crate::{Actor, Meta};

    fn filled() -> (World, Actor, Vec<Handle>) {
        let mut world = World::cloudhsm();
        let alice = world.crypto_user("alice");
        let handles = (0..20_u8).map(|number| {
            let label = format!("key{}", number % 5).into_bytes();
            let meta = Meta { label, cka_id: vec![number % 4], ..aes(Personality::CloudHsm) };
            world.object(alice, meta)
        });
        let handles = handles.collect();
        (world, alice, handles)
    }

    fn find(world: &World, actor: Actor, template: &[Attribute], after: Handle) -> Vec<Handle> {
        let who = world.state.principal(actor).expect("an open login");
        world.state.find(&who, template, after).map(|(object, _)| object.handle).collect()
    }

    #[test]
    fn a_search_by_index_finds_what_a_search_of_all_finds() {
        let (world, alice, handles) = filled();
        let class = Attribute::number(CKA_CLASS, CKO_SECRET_KEY);
        for number in 0..20_usize {
            let label = Attribute::new(CKA_LABEL, format!("key{}", number % 5));
            let id = Attribute::new(CKA_ID, [(number % 4) as u8]);
            let labelled: Vec<_> = handles.iter().copied().skip(number % 5).step_by(5).collect();
            assert_eq!(find(&world, alice, &[label.clone(), class.clone()], Handle(0)), labelled);
            let both = find(&world, alice, &[label, id], Handle(0));
            assert_eq!(both, [handles[number]]);
        }
        assert_eq!(find(&world, alice, &[class], Handle(0)), handles);
        assert!(find(&world, Actor::Anonymous, &[], Handle(0)).is_empty());
    }

    #[test]
    fn a_search_goes_on_after_a_handle() {
        let (world, alice, handles) = filled();
        let label = [Attribute::new(CKA_LABEL, *b"key0")];
        assert_eq!(find(&world, alice, &label, handles[4]), [handles[5], handles[10], handles[15]]);
        assert_eq!(find(&world, alice, &label, handles[5]), [handles[10], handles[15]]);
        assert_eq!(find(&world, alice, &[], handles[17]), handles[18..]);
        for template in [&label[..], &[]] {
            assert!(find(&world, alice, template, Handle(u64::MAX)).is_empty());
        }
    }

    #[test]
    fn a_search_in_steps_finds_the_same_and_never_looks_for_long() {
        let (world, alice, handles) = filled();
        let label = [Attribute::new(CKA_LABEL, *b"key0")];
        let secret = [Attribute::number(CKA_CLASS, CKO_SECRET_KEY)];
        for (actor, template) in
            [(alice, &label[..]), (alice, &secret[..]), (alice, &[]), (Actor::Anonymous, &[])]
        {
            for (found_max, looks_max) in [(1, 1), (2, 3), (3, 2), (100, 7), (100, 100)] {
                let who = world.state.principal(actor).expect("an open login");
                let (mut all, mut after, mut steps) = (Vec::new(), Some(Handle(0)), 0);
                while let Some(from) = after {
                    let (found, next) =
                        world.state.find_step(&who, template, from, found_max, looks_max);
                    assert!(found.len() <= found_max);
                    all.extend(found.iter().map(|(object, _)| object.handle));
                    after = next;
                    steps += 1;
                }
                assert_eq!(all, find(&world, actor, template, Handle(0)));
                assert!(steps <= 1 + handles.len());
            }
        }
    }

    #[test]
    fn an_object_is_found_by_its_new_label_only() {
        let (mut world, alice, handles) = filled();
        let meta = Meta { label: b"renamed".to_vec(), ..world.meta(handles[0]) };
        world.must(alice, crate::Command::SetMeta { handle: handles[0], version: 1, meta });
        let new = [Attribute::new(CKA_LABEL, *b"renamed")];
        let old = [Attribute::new(CKA_LABEL, *b"key0")];
        assert_eq!(find(&world, alice, &new, Handle(0)), [handles[0]]);
        assert_eq!(find(&world, alice, &old, Handle(0)), [handles[5], handles[10], handles[15]]);
        world.must(alice, crate::Command::DestroyObject { handle: handles[0] });
        assert!(find(&world, alice, &new, Handle(0)).is_empty());
    }

    #[test]
    fn what_only_the_body_knows_is_left_to_the_caller() {
        let mut world = World::cloudhsm();
        let alice = world.crypto_user("alice");
        let mut public = crate::testing::public_key(crate::Flags::VERIFY);
        public.key_type = Some(CKK_RSA);
        world.object(alice, public);
        let who = world.state.principal(alice).expect("an open login");
        let template = [Attribute::new(CKA_MODULUS, [1])];
        let found: Vec<_> = world.state.find(&who, &template, Handle(0)).collect();
        assert!(found.iter().all(|(_, body)| *body));
        assert_eq!(found.len(), 1);
    }
}
