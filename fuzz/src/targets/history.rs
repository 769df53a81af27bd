//! Lives of two clusters, one of each personality, with a command of every kind: what the seeds of the
//! vault's targets are made of.

use cryptoki_sys::*;
use strongroom_vault::attributes::{self, Attribute, Origin};
use strongroom_vault::{
    Actor, ClientId, Command, Entry, Handle, JoinPolicy, LogIndex, LoginId, Meta, NewObject,
    ObjectId, Outcome, PasswordVerifier, Personality, Role, State, UserId,
};

use crate::disk::Disk;

/// The entries, and what they lead to.
#[derive(Default)]
pub(super) struct History {
    pub(super) entries: Vec<Entry>,
    pub(super) state: State,
    pub(super) disk: Disk,
}

/// Both.
pub(super) fn all() -> [History; 2] {
    [cloudhsm(), token()]
}

/// Metadata of an AES key of the personality's defaults, a token object.
pub(super) fn aes(personality: Personality) -> Meta {
    let template = [
        Attribute::boolean(CKA_TOKEN, true),
        Attribute::number(CKA_VALUE_LEN, 32),
        Attribute::new(CKA_LABEL, *b"label"),
        Attribute::new(CKA_ID, [1, 2, 3]),
        Attribute::boolean(CKA_ENCRYPT, true),
        Attribute::new(CKA_ALLOWED_MECHANISMS, CKM_AES_GCM.to_le_bytes()),
    ];
    let (class, key_type) = (Some(CKO_SECRET_KEY), Some(CKK_AES));
    let mechanism = Some(CKM_AES_KEY_GEN);
    attributes::draft(Origin::Generate, personality, class, key_type, mechanism, &template)
        .map(|draft| Meta { size_bits: 256, check_value: Some([1, 2, 3]), ..draft.meta })
        .expect("a template that programs use")
}

fn cloudhsm() -> History {
    let mut history = History::default();
    history.begin(Personality::CloudHsm);
    history.must(
        Actor::System,
        Command::InitialiseCluster { cluster_certificate: vec![0x30, 1], trust_anchor: vec![2; 9] },
    );
    history.must(Actor::Anonymous, Command::ActivateCluster { verifier: verifier() });
    let admin = history.login("admin", Role::Admin);
    for name in ["alice", "bob"] {
        let (name, role) = (name.to_owned(), Role::CryptoUser);
        history.must(admin, Command::CreateUser { name, role, verifier: verifier() });
    }
    let alice = history.login("alice", Role::CryptoUser);
    history.objects(alice, Personality::CloudHsm);
    history.must(Actor::Anonymous, charge("nobody"));
    history.must(Actor::Anonymous, charge("alice"));
    let (user, epoch) = history.user("alice");
    history.must(Actor::Anonymous, Command::RefundLogin { user, epoch });
    let change = |name: &str| Command::ChangePassword {
        name: name.to_owned(),
        role: Role::CryptoUser,
        verifier: verifier(),
    };
    history.must(admin, change("bob"));
    let delete = Command::DeleteUser { name: "bob".to_owned(), role: Role::CryptoUser };
    history.must(admin, delete);
    history.close(alice);
    history
}

fn token() -> History {
    let mut history = History::default();
    history.begin(Personality::Token);
    let init = |so_epoch| Command::InitToken {
        label: b"a token                         ".to_vec(),
        so_verifier: verifier(),
        so_epoch,
    };
    history.must(Actor::Anonymous, init(0));
    let so = history.login("so", Role::Admin);
    history.must(so, Command::InitPin { verifier: verifier() });
    let user = history.login("user", Role::CryptoUser);
    history.objects(user, Personality::Token);
    let (_, epoch) = history.user("so");
    history.must(Actor::Anonymous, init(epoch));
    history
}

impl History {
    fn begin(&mut self, personality: Personality) {
        let cluster_id = "cluster-abcdefg2345".to_owned();
        let create = Command::CreateCluster {
            masking_domain: [7; 16],
            cluster_id,
            personality,
            join_policy: JoinPolicy::Automatic,
        };
        self.must(Actor::System, create);
    }

    /// Applies an entry that is accepted.
    fn must(&mut self, actor: Actor, command: Command) -> Outcome {
        let sequence = self.entries.len() as u64 + 1;
        let entry = Entry {
            time_ms: 1_700_000_000_000 + sequence,
            client: ClientId([9; 16]),
            sequence,
            lowest_unanswered: sequence,
            actor,
            command,
        };
        self.entries.push(entry.clone());
        let (result, changes) = self.state.apply(LogIndex(sequence), entry);
        self.disk.write(changes);
        result.expect("an entry of a right history")
    }

    fn user(&self, name: &str) -> (UserId, u64) {
        self.state.user_by_name(name).map(|user| (user.id, user.epoch)).expect("a known user")
    }

    fn login(&mut self, name: &str, role: Role) -> Actor {
        self.must(Actor::Anonymous, Command::ChargeLogin { name: name.to_owned(), role });
        let (user, epoch) = self.user(name);
        match self.must(Actor::Anonymous, Command::OpenLogin { user, epoch, client_key: [7; 32] }) {
            Outcome::LoginOpened(login) => Actor::Login(login),
            other => panic!("no login: {other:?}"),
        }
    }

    fn close(&mut self, actor: Actor) {
        if let Actor::Login(login) = actor {
            self.must(actor, Command::CloseLogins { logins: vec![login, LoginId(u64::MAX)] });
        }
    }

    /// Makes two objects, changes one, destroys the other.
    fn objects(&mut self, actor: Actor, personality: Personality) {
        let Actor::Login(login) = actor else { return };
        let owner = self.state.login(login).map(|login| login.user).expect("an open login");
        let meta = aes(personality);
        let object = |id| NewObject {
            id: ObjectId([id; 16]),
            owner,
            meta: meta.clone(),
            blob: vec![id; 40],
        };
        self.must(actor, Command::CreateObjects { objects: vec![object(1), object(2)] });
        let label = b"another label".to_vec();
        let meta = Meta { label, ..meta };
        self.must(actor, Command::SetMeta { handle: Handle::FIRST, version: 1, meta });
        let second = Handle(Handle::FIRST.0 + 1);
        self.must(actor, Command::DestroyObject { handle: second });
    }
}

fn charge(name: &str) -> Command {
    Command::ChargeLogin { name: name.to_owned(), role: Role::CryptoUser }
}

fn verifier() -> PasswordVerifier {
    PasswordVerifier(b"$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$AAAA".to_vec())
}
