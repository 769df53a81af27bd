//! Lives of two clusters, one of each personality, with a command of every kind: what the seeds of the
//! vault's targets are made of.

use cryptoki_sys::*;
use strongroom_vault::attributes::{self, Attribute, Origin};
use strongroom_vault::{
    Actor, ClientId, Command, Endorsement, Entry, Handle, JoinPolicy, LogIndex, LoginId, Member,
    Meta, NewObject, NodeId, ObjectId, Outcome, PasswordVerifier, Personality, Role, State, UserId,
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
    history.members(admin);
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

    /// HSMs come, are approved, move and go; secrets and certificates follow.
    fn members(&mut self, admin: Actor) {
        let add = |number, endorsement, replaces| Command::AddMember {
            member: member(number),
            endorsement,
            replaces,
        };
        self.must(Actor::System, add(1, Endorsement::Provisioner, None));
        let certificate = vec![0x30];
        self.must(Actor::System, add(2, Endorsement::Owner { certificate }, None));
        let policy = JoinPolicy::Quorum { approvals: 1 };
        self.must(admin, Command::SetJoinPolicy { policy });
        for number in [3, 4] {
            self.must(Actor::System, Command::RequestJoin { member: member(number) });
        }
        let fingerprint = member(3).fingerprint();
        self.must(admin, Command::ApproveJoin { fingerprint });
        self.must(Actor::System, add(3, Endorsement::Admins, None));
        let sealed = (1..4).map(|node| (NodeId(node), vec![1; 9])).collect();
        self.must(Actor::System, Command::RotateSecrets { epoch: 2, sealed });
        self.must(Actor::System, add(3, Endorsement::Provisioner, Some(NodeId(3))));
        self.must(Actor::System, Command::RemoveMember { node: NodeId(2), receipt: false });
        let (address, zone) = ("::1".to_owned(), "b".to_owned());
        let update = Command::UpdateMember { node: NodeId(1), address, port_offset: 9, zone };
        self.must(Actor::System, update);
        let keys = vec![vec![1], vec![2]];
        self.must(admin, Command::SetRecoveryKeys { keys, threshold: 2 });
        self.must(admin, Command::SetCutOffPolicy { seconds: 60 });
        let cluster_certificate = vec![0x30, 2];
        let install = Command::InstallClusterCertificate { generation: 2, cluster_certificate };
        self.must(admin, install);
        let id = ObjectId([1; 16]);
        let objects = vec![(Handle::FIRST, id, vec![3; 41])];
        self.must(Actor::System, Command::Remask { objects });
        let (user, epoch) = self.user("alice");
        self.must(Actor::System, Command::MergeFailures { failures: vec![(user, epoch, 1)] });
        self.must(Actor::System, Command::Recovered { fence: 1, members: vec![NodeId(4)] });
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

fn member(number: u8) -> Member {
    Member {
        node: NodeId(0),
        hsm_id: format!("hsm-abcdefg234{number}"),
        witness: false,
        address: format!("127.0.{number}.10"),
        port_offset: 0,
        zone: "strongroom-1a".to_owned(),
        device_key: vec![number; 91],
        sealing_key: vec![number; 32],
    }
}

fn charge(name: &str) -> Command {
    Command::ChargeLogin { name: name.to_owned(), role: Role::CryptoUser }
}

fn verifier() -> PasswordVerifier {
    PasswordVerifier(b"$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$AAAA".to_vec())
}
