//! What the tests of the store and of replication share: entries that set a cluster up.

// Each test uses some of it.
#![allow(dead_code)]

pub(crate) mod model;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cryptoki_sys::{CKK_AES, CKO_SECRET_KEY};
use strongroom_seal::FileSeal;
use strongroom_store::audit::ChangeRecord;
use strongroom_store::{Applied, Batch, BlobReader, Error, Folder, LogRow, Secrets, Store};
use strongroom_vault::{
    Actor, ClientId, Command, Entry, Flags, Handle, JoinPolicy, LogIndex, LoginId, Meta, NewObject,
    ObjectId, Outcome, PasswordVerifier, Personality, Role, State, UserId,
};

/// Nothing of the folder may hold it.
pub(crate) const CANARY: &str = "canary_9d2f";

/// A crypto user who is logged in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owner {
    pub(crate) user: UserId,
    pub(crate) login: LoginId,
}

impl Owner {
    pub(crate) fn actor(self) -> Actor {
        Actor::Login(self.login)
    }
}

/// The folder's secrets; its seal's key lies beside it.
pub(crate) fn secrets(folder: &Folder) -> Arc<Secrets> {
    let seal = FileSeal::open_or_create(&folder.path().with_extension("seal")).unwrap();
    Arc::new(Secrets::load_or_generate(folder, Arc::new(seal)).unwrap())
}

pub(crate) fn folder(path: &Path) -> Folder {
    Folder::open(path).unwrap()
}

/// An entry without an idempotency key.
pub(crate) fn entry(actor: Actor, command: Command) -> Entry {
    Entry {
        time_ms: 1_700_000_000_000,
        client: ClientId([7; 16]),
        sequence: 0,
        lowest_unanswered: 0,
        actor,
        command,
    }
}

/// Creates a cluster with an admin and a crypto user, and logs the user in.
pub(crate) fn set_up(mut apply: impl FnMut(Entry) -> Outcome) -> Owner {
    let verifier = || PasswordVerifier(format!("$argon2id${CANARY}").into_bytes());
    let cluster_id = format!("cluster-{CANARY}");
    let masking_domain = [3; 16];
    let personality = Personality::CloudHsm;
    let join_policy = JoinPolicy::Automatic;
    let create = Command::CreateCluster { masking_domain, cluster_id, personality, join_policy };
    apply(entry(Actor::System, create));
    let (cluster_certificate, trust_anchor) = (CANARY.as_bytes().to_vec(), b"anchor".to_vec());
    apply(entry(Actor::System, Command::InitialiseCluster { cluster_certificate, trust_anchor }));
    apply(entry(Actor::Anonymous, Command::ActivateCluster { verifier: verifier() }));
    let admin = log_in(&mut apply, UserId(1), 2);
    let create = Command::CreateUser {
        name: CANARY.to_owned(),
        role: Role::CryptoUser,
        verifier: verifier(),
    };
    let Outcome::UserCreated(user) = apply(entry(Actor::Login(admin), create)) else {
        panic!("no user was created")
    };
    let login = log_in(&mut apply, user, 1);
    Owner { user, login }
}

fn log_in(apply: &mut impl FnMut(Entry) -> Outcome, user: UserId, epoch: u64) -> LoginId {
    match apply(entry(Actor::Anonymous, Command::OpenLogin { user, epoch, client_key: [7; 32] })) {
        Outcome::LoginOpened(login) => login,
        other => panic!("no login: {other:?}"),
    }
}

/// A new AES key, as far as the vault and the store can tell.
pub(crate) fn new_key(owner: Owner, label: &str) -> Command {
    Command::CreateObjects { objects: vec![new_object(owner, label)] }
}

pub(crate) fn new_object(owner: Owner, label: &str) -> NewObject {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let mut id = [0; 16];
    id[..8].copy_from_slice(&count.to_be_bytes());
    id[8..12].copy_from_slice(&std::process::id().to_be_bytes());
    let flags = Flags::TOKEN | Flags::PRIVATE | Flags::MODIFIABLE | Flags::DESTROYABLE;
    let meta = Meta {
        class: CKO_SECRET_KEY,
        key_type: Some(CKK_AES),
        flags,
        label: label.as_bytes().to_vec(),
        size_bits: 256,
        ..Meta::default()
    };
    NewObject { id: ObjectId(id), owner: owner.user, meta, blob: blob_of(label) }
}

/// What stands for the sealed body of an object of this label.
pub(crate) fn blob_of(label: &str) -> Vec<u8> {
    format!("{CANARY} sealed body of {label}").into_bytes()
}

/// The one handle of a creation.
pub(crate) fn created(outcome: &Outcome) -> Handle {
    match outcome {
        Outcome::Created(handles) if handles.len() == 1 => handles[0],
        other => panic!("no object was created: {other:?}"),
    }
}

/// A store with the state that it keeps.
pub(crate) struct Hsm {
    pub(crate) store: Store,
    pub(crate) state: State,
    pub(crate) blobs: BlobReader,
}

impl Hsm {
    pub(crate) fn open(path: &Path) -> Self {
        Self::try_open(path).unwrap()
    }

    pub(crate) fn try_open(path: &Path) -> Result<Self, Error> {
        let folder = Folder::open(path)?;
        let secrets = secrets(&folder);
        let (store, state, blobs) = Store::open(folder, secrets)?;
        Ok(Self { store, state, blobs })
    }

    /// Applies and commits entries in one batch.
    pub(crate) fn commit(&mut self, entries: Vec<Entry>) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        let mut batch = Batch::default();
        for entry in entries {
            let index = LogIndex(self.state.applied().0 + 1);
            let (result, changes) = self.state.apply(index, entry);
            let audit = ChangeRecord { index: index.0, ..ChangeRecord::default() };
            batch.applied.push(Applied { index, changes, audit });
            outcomes.push(result.unwrap());
        }
        let row = row(self.store.log_state().next_index());
        batch.applied_to = Some((row.position(), None));
        batch.append.push(row);
        self.store.commit(&batch).unwrap();
        outcomes
    }

    pub(crate) fn apply(&mut self, entry: Entry) -> Outcome {
        self.commit(vec![entry]).pop().unwrap()
    }

    pub(crate) fn set_up(&mut self) -> Owner {
        set_up(|entry| self.apply(entry))
    }

    pub(crate) fn create(&mut self, owner: Owner, label: &str) -> Handle {
        created(&self.apply(entry(owner.actor(), new_key(owner, label))))
    }

    /// Ends as a killed process does: nothing is closed in order.
    pub(crate) fn kill(self) {
        drop(self);
    }
}

pub(crate) fn row(index: u64) -> LogRow {
    LogRow { index, term: 1, leader: 1, payload: vec![index as u8; 40] }
}
