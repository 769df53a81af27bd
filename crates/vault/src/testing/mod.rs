//! What the crate's tests share: a vault with its store, driven by value; and the tests that look at
//! the whole of it.

pub(crate) mod generate;
pub(crate) mod members;
mod model;
mod replay;

use std::collections::{BTreeMap, BTreeSet};

use cryptoki_sys::*;

use crate::attributes::{Attribute, Origin, draft};
use crate::{
    Actor, Change, ClientId, Command, Entry, Flags, Handle, LogIndex, Meta, NewObject, ObjectId,
    Outcome, PasswordVerifier, Personality, Refusal, Role, State, UserId, codec,
};

/// A state and the records that a store would hold beside it.
pub(crate) struct World {
    pub(crate) state: State,
    pub(crate) records: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) blobs: BTreeSet<ObjectId>,
    pub(crate) time_ms: u64,
    index: u64,
    objects: u128,
}

impl World {
    /// Nothing has happened yet.
    pub(crate) fn new() -> Self {
        Self {
            state: State::new(),
            records: BTreeMap::new(),
            blobs: BTreeSet::new(),
            time_ms: 1_000,
            index: 0,
            objects: 0,
        }
    }

    /// An active CloudHSM cluster, whose admin is `admin`.
    pub(crate) fn cloudhsm() -> Self {
        let mut world = Self::created(Personality::CloudHsm);
        let certificate = vec![0x30];
        world.must(
            Actor::System,
            Command::InitialiseCluster {
                cluster_certificate: certificate.clone(),
                trust_anchor: certificate,
            },
        );
        world.must(Actor::Anonymous, Command::ActivateCluster { verifier: verifier("admin") });
        world
    }

    /// An initialised token with a user's PIN, and its SO and user logged in.
    pub(crate) fn token() -> (Self, Actor, Actor) {
        let mut world = Self::created(Personality::Token);
        world.must(Actor::Anonymous, init_token(0));
        let so = world.login("so", Role::Admin);
        world.must(so, Command::InitPin { verifier: verifier("user") });
        let user = world.login("user", Role::CryptoUser);
        (world, so, user)
    }

    /// A cluster that only exists.
    pub(crate) fn created(personality: Personality) -> Self {
        let mut world = Self::new();
        world.must(
            Actor::System,
            Command::CreateCluster {
                masking_domain: [7; 16],
                cluster_id: "cluster-test".to_owned(),
                personality,
                join_policy: crate::JoinPolicy::Automatic,
            },
        );
        world
    }

    /// Applies a command that is not to be remembered.
    pub(crate) fn apply(&mut self, actor: Actor, command: Command) -> Result<Outcome, Refusal> {
        self.apply_as(ClientId::default(), 0, 0, actor, command)
    }

    /// Applies a command that must succeed.
    pub(crate) fn must(&mut self, actor: Actor, command: Command) -> Outcome {
        match self.apply(actor, command.clone()) {
            Ok(outcome) => outcome,
            Err(refusal) => panic!("{command:?}: {refusal:?}"),
        }
    }

    /// Applies a request under its idempotency key, by way of the log's bytes and of the store.
    pub(crate) fn apply_as(
        &mut self,
        client: ClientId,
        sequence: u64,
        lowest_unanswered: u64,
        actor: Actor,
        command: Command,
    ) -> Result<Outcome, Refusal> {
        let time_ms = self.time_ms;
        self.apply_entry(Entry { time_ms, client, sequence, lowest_unanswered, actor, command })
    }

    pub(crate) fn apply_entry(&mut self, entry: Entry) -> Result<Outcome, Refusal> {
        self.apply_and_store(entry).0
    }

    /// Applies a command, and gives what the store was told too.
    pub(crate) fn changes(
        &mut self,
        actor: Actor,
        command: Command,
    ) -> (Result<Outcome, Refusal>, Vec<Change>) {
        let (time_ms, client) = (self.time_ms, ClientId::default());
        let (sequence, lowest_unanswered) = (0, 0);
        let entry = Entry { time_ms, client, sequence, lowest_unanswered, actor, command };
        self.apply_and_store(entry)
    }

    fn apply_and_store(&mut self, entry: Entry) -> (Result<Outcome, Refusal>, Vec<Change>) {
        let entry =
            codec::decode_entry(&codec::encode_entry(&entry)).expect("an entry's own bytes");
        self.index += 1;
        let (result, changes) = self.state.apply(LogIndex(self.index), entry);
        for change in &changes {
            self.store(change.clone());
        }
        (result, changes)
    }

    fn store(&mut self, change: Change) {
        match change {
            Change::Put { key, value } => drop(self.records.insert(key, value)),
            Change::Delete { key } => {
                assert!(self.records.remove(&key).is_some(), "deletes what is not there: {key:?}");
            }
            Change::PutBlob { id, .. } => drop(self.blobs.insert(id)),
            Change::DeleteBlob { id } => assert!(self.blobs.remove(&id), "no blob {id:?}"),
            Change::Clear => {
                self.records.clear();
                self.blobs.clear();
            }
        }
    }

    /// What the store holds is what the state holds, and makes the same state again.
    pub(crate) fn check(&self) {
        let records: BTreeMap<_, _> = self.state.records().collect();
        assert_eq!(self.records, records);
        let objects = self.state.objects.iter().map(|object| object.id).collect();
        assert_eq!(self.blobs, objects);
        let mut loaded = State::new();
        for (key, value) in &self.records {
            loaded.load(key, value).expect("the state's own record");
        }
        loaded.finish_load().expect("the state's own records");
        assert_eq!(loaded.digest(), self.state.digest());
    }

    /// A login with the right password.
    pub(crate) fn login(&mut self, name: &str, role: Role) -> Actor {
        let charge = Command::ChargeLogin { name: name.to_owned(), role };
        let Outcome::LoginCharged { user: Some(user) } = self.must(Actor::Anonymous, charge) else {
            panic!("{name} is not known");
        };
        let open = Command::OpenLogin { user: user.id, epoch: user.epoch, client_key: [7; 32] };
        let Outcome::LoginOpened(login) = self.must(Actor::Anonymous, open) else {
            panic!("no login");
        };
        Actor::Login(login)
    }

    /// The admin, logged in.
    pub(crate) fn admin(&mut self) -> Actor {
        self.login("admin", Role::Admin)
    }

    /// A new crypto user, logged in.
    pub(crate) fn crypto_user(&mut self, name: &str) -> Actor {
        let admin = self.admin();
        self.must(admin, create_user(name, Role::CryptoUser));
        let Actor::Login(login) = admin else { unreachable!() };
        self.must(admin, Command::CloseLogins { logins: vec![login] });
        self.login(name, Role::CryptoUser)
    }

    /// The user behind a login.
    pub(crate) fn user_of(&self, actor: Actor) -> UserId {
        self.state.principal(actor).ok().and_then(|who| who.user()).unwrap_or(UserId(0))
    }

    /// A command that makes one object of this metadata.
    pub(crate) fn creation(&mut self, actor: Actor, meta: Meta) -> Command {
        self.objects += 1;
        let id = ObjectId(self.objects.to_be_bytes());
        let owner = self.user_of(actor);
        Command::CreateObjects { objects: vec![NewObject { id, owner, meta, blob: vec![1] }] }
    }

    /// A new object.
    pub(crate) fn object(&mut self, actor: Actor, meta: Meta) -> Handle {
        let creation = self.creation(actor, meta);
        match self.must(actor, creation) {
            Outcome::Created(handles) => handles[0],
            other => panic!("{other:?}"),
        }
    }

    /// The metadata of an object that is there.
    pub(crate) fn meta(&self, handle: Handle) -> Meta {
        self.state.object(handle).expect("an object").meta.clone()
    }
}

pub(crate) fn verifier(password: &str) -> PasswordVerifier {
    PasswordVerifier(password.as_bytes().to_vec())
}

pub(crate) fn create_user(name: &str, role: Role) -> Command {
    Command::CreateUser { name: name.to_owned(), role, verifier: verifier("password") }
}

pub(crate) fn init_token(so_epoch: u64) -> Command {
    Command::InitToken { label: vec![b' '; 32], so_verifier: verifier("so"), so_epoch }
}

/// An AES token key as the personality makes it when asked for no more.
pub(crate) fn aes(personality: Personality) -> Meta {
    aes_with(personality, &[])
}

/// The same, with more attributes.
pub(crate) fn aes_with(personality: Personality, more: &[(u64, bool)]) -> Meta {
    let mut template =
        vec![Attribute::boolean(CKA_TOKEN, true), Attribute::number(CKA_VALUE_LEN, 32)];
    template.extend(more.iter().map(|&(kind, on)| Attribute::boolean(kind, on)));
    let mechanism = Some(CKM_AES_KEY_GEN);
    let (class, key_type) = (Some(CKO_SECRET_KEY), Some(CKK_AES));
    draft(Origin::Generate, personality, class, key_type, mechanism, &template)
        .expect("a template for an AES key")
        .meta
}

/// A public key with these flags beside CKA_TOKEN.
pub(crate) fn public_key(flags: Flags) -> Meta {
    let flags = flags | Flags::TOKEN | Flags::DESTROYABLE | Flags::MODIFIABLE;
    Meta { class: CKO_PUBLIC_KEY, key_type: Some(CKK_EC), flags, ..Meta::default() }
}

/// The code of a refusal; CKR_OK where there is none.
pub(crate) fn ckr<T>(result: Result<T, Refusal>) -> u64 {
    result.err().map_or(CKR_OK, |refusal| refusal.ckr)
}
