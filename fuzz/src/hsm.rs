//! Two HSMs without disk and network, one of each personality, from which every case begins anew.
//!
//! They are made once in a process, by real logins, which cost a password hash each. Key values, ids
//! and times are fixed, so that a case does in every process what it did in the one that found it.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use cryptoki_sys::*;
use strongroom_crypto::{Curve, Key, SecretBytes};
use strongroom_engine::{Channel, Connection, Engine, EngineSecrets, Identity, Options, UseLog};
use strongroom_vault::attributes::Attribute as Given;
use strongroom_vault::{
    Actor, ClientId, Command, Committed, Entry, JoinPolicy, LogIndex, ObjectId, Personality,
    ReplicationError, Replicator, SharedState,
};
use strongroom_wire::message::{
    self, Attach, Attribute, CreateObject, Hello, Login, Operation, Outcome, Reply, Request, Role,
    Template,
};

use crate::disk::Disk;
use crate::fixed;

/// The password of everybody who has one.
pub(crate) const PASSWORD: &[u8] = b"correct horse";
/// The client of every case.
pub(crate) const CLIENT: [u8; 16] = [2; 16];
/// Its channel.
const BINDING: [u8; 32] = [8; 32];
const NOW_MS: u64 = 1_893_456_000_000;

/// A replicator of one voter whose disk is memory.
pub(crate) struct Memory {
    shared: SharedState,
    disk: Mutex<Disk>,
}

impl Memory {
    fn new(disk: Disk) -> Self {
        Self { shared: SharedState::new(disk.load()), disk: Mutex::new(disk) }
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How far the log is on disk.
    pub(crate) fn durable(&self) -> u64 {
        self.shared.durable().0
    }

    /// Checks that a restart would find what is in memory.
    pub(crate) fn check(&self) {
        self.disk().check(&self.shared.read());
    }

    fn system(&self, command: Command) {
        let entry = Entry {
            time_ms: NOW_MS,
            client: ClientId::default(),
            sequence: 0,
            lowest_unanswered: 0,
            actor: Actor::System,
            command,
        };
        self.propose(entry).expect("memory").result.expect("a right command");
    }
}

impl Replicator for Memory {
    fn propose(&self, entry: Entry) -> Result<Committed, ReplicationError> {
        let mut disk = self.disk();
        let mut state = self.shared.write();
        let index = LogIndex(state.applied().0 + 1);
        let (result, changes) = state.apply(index, entry);
        disk.write(changes);
        self.shared.publish(index);
        Ok(Committed { index, result })
    }

    fn read_barrier(&self) -> Result<LogIndex, ReplicationError> {
        Ok(self.shared.durable())
    }

    fn state(&self) -> &SharedState {
        &self.shared
    }

    fn blob(&self, id: ObjectId) -> Result<Option<Vec<u8>>, ReplicationError> {
        Ok(self.disk().blobs.get(&id).cloned())
    }
}

struct NoLog;

impl UseLog for NoLog {
    fn append(&self, _block: Vec<u8>) {}
}

/// An HSM and a connection to it.
pub(crate) struct Hsm {
    pub(crate) engine: Arc<Engine>,
    pub(crate) memory: Arc<Memory>,
    pub(crate) connection: Connection,
}

impl Hsm {
    fn over(disk: Disk) -> Self {
        let memory = Arc::new(Memory::new(disk));
        let secrets = Arc::new(EngineSecrets {
            masking: SecretBytes::new(vec![0x11; 32]),
            ticket: SecretBytes::new(vec![0x22; 32]),
        });
        let identity = Identity { hsm_id: "hsm-2345abcdefg".to_owned(), fips_mode: false };
        let replicator = Arc::clone(&memory) as Arc<dyn Replicator>;
        let options = Options { clock: Arc::new(|| NOW_MS), ..Options::default() };
        let engine = Engine::new(replicator, secrets, identity, Arc::new(NoLog), options);
        let peer = "fuzz".to_owned();
        let connection = engine.connect(Channel { binding: BINDING, local: false, peer });
        Self { engine, memory, connection }
    }

    /// A request of the prelude, which succeeds.
    fn must(&mut self, operation: Operation) -> Option<Outcome> {
        // 0: a change that is not retried, so that no sequence of a case is used up.
        let reply = self.send(0, operation);
        assert_eq!(reply.status, CKR_OK, "{}", reply.message);
        reply.outcome
    }

    fn send(&mut self, sequence: u64, operation: Operation) -> Reply {
        self.connection.handle(Request {
            api_level: strongroom_wire::API_LEVEL_MAX,
            sequence,
            lowest_unanswered: sequence,
            seen_index: 0,
            needs_index: None,
            session: 1,
            operation: Some(operation),
        })
    }

    fn hello(&mut self) {
        let client_name = "fuzz".to_owned();
        let hello = Hello {
            api_level_min: strongroom_wire::API_LEVEL_MIN,
            api_level_max: strongroom_wire::API_LEVEL_MAX,
            client_name,
        };
        self.must(Operation::Hello(hello));
    }

    fn attach(&mut self, ticket: &[u8]) {
        let statement = strongroom_wire::attach_statement(&BINDING, &CLIENT);
        let proof = match ticket {
            [] => Vec::new(),
            _ => client_key().sign(&statement).as_ref().to_vec(),
        };
        let attach = Attach { client_id: CLIENT.to_vec(), ticket: ticket.to_vec(), proof };
        self.must(Operation::Attach(attach));
    }

    fn log_in(&mut self, user: &str, role: Role) -> Vec<u8> {
        let login = Login {
            user: user.to_owned(),
            role: role.into(),
            password: PASSWORD.to_vec(),
            client_public_key: client_key().public_key().as_ref().to_vec(),
        };
        let Some(Outcome::Login(reply)) = self.must(Operation::Login(login)) else {
            panic!("a login without a ticket");
        };
        self.attach(&reply.ticket);
        reply.ticket
    }
}

fn client_key() -> &'static Ed25519KeyPair {
    static KEY: OnceLock<Ed25519KeyPair> = OnceLock::new();
    KEY.get_or_init(|| Ed25519KeyPair::from_seed_unchecked(&[9; 32]).expect("a key"))
}

/// Where a case begins: a disk, and the ticket of whoever is logged in.
pub(crate) struct Scene {
    disk: Disk,
    ticket: Vec<u8>,
}

impl Scene {
    /// A new HSM in this state, with an attached connection.
    pub(crate) fn begin(&self) -> Hsm {
        let mut hsm = Hsm::over(self.disk.clone());
        hsm.hello();
        hsm.attach(&self.ticket);
        hsm
    }
}

/// The scenes: of each personality the user with keys, the admin or SO, and nobody; an HSM that is not
/// in use yet.
pub(crate) fn scenes() -> &'static [Scene] {
    static SCENES: OnceLock<Vec<Scene>> = OnceLock::new();
    SCENES.get_or_init(|| {
        let (cloudhsm, token) = (created(Personality::CloudHsm), created(Personality::Token));
        cloudhsm.memory.system(Command::InitialiseCluster {
            cluster_certificate: fixed::CLUSTER.to_vec(),
            trust_anchor: fixed::CA.to_vec(),
        });
        let fresh = [&cloudhsm, &token]
            .map(|hsm| Scene { disk: hsm.memory.disk().clone(), ticket: Vec::new() });
        let mut scenes = in_use(cloudhsm, "admin", "alice");
        scenes.extend(in_use(token, "so", "user"));
        scenes.extend(fresh);
        scenes
    })
}

fn created(personality: Personality) -> Hsm {
    let mut hsm = Hsm::over(Disk::default());
    let cluster_id = fixed::CLUSTER_ID.to_owned();
    let create = Command::CreateCluster {
        masking_domain: [7; 16],
        cluster_id,
        personality,
        join_policy: JoinPolicy::Automatic,
    };
    hsm.memory.system(create);
    hsm.hello();
    hsm.attach(&[]);
    hsm
}

fn in_use(mut hsm: Hsm, admin: &str, user: &str) -> Vec<Scene> {
    let password = PASSWORD.to_vec();
    let cloudhsm = hsm.memory.shared.read().personality() == Personality::CloudHsm;
    if cloudhsm {
        hsm.must(Operation::ActivateCluster(message::ActivateCluster { password }));
    } else {
        let label = b"a token                         ".to_vec();
        hsm.must(Operation::InitToken(message::InitToken { so_pin: password, label }));
    }
    let admins = hsm.log_in(admin, Role::Admin);
    let password = PASSWORD.to_vec();
    hsm.must(if cloudhsm {
        let (user, role) = (user.to_owned(), Role::CryptoUser.into());
        Operation::CreateUser(message::CreateUser { user, role, password })
    } else {
        Operation::InitPin(message::InitPin { pin: password })
    });
    hsm.attach(&[]);
    let users = hsm.log_in(user, Role::CryptoUser);
    for template in objects() {
        hsm.must(Operation::CreateObject(CreateObject { template: Some(wire(&template)) }));
    }
    let scene = |ticket| Scene { disk: hsm.memory.disk().clone(), ticket };
    vec![scene(users), scene(admins), scene(Vec::new())]
}

/// A template as the wire has it.
pub(crate) fn wire(template: &[Given]) -> Template {
    let attributes = template
        .iter()
        .map(|given| Attribute { kind: given.kind, value: given.value.clone() })
        .collect();
    Template { attributes }
}

/// The handle of the first of [`objects`], in every scene that has them.
pub(crate) const FIRST: u64 = 0x68_0001;

/// What the user has: secret keys, an EC pair, an RSA pair, and a certificate.
fn objects() -> Vec<Vec<Given>> {
    let ec = Key::from_ec_private(Curve::P256, &[0x5e; 32]).expect("a good key");
    let rsa = Key::from_pkcs8(fixed::RSA_2048).expect("a good key");
    let parts = rsa.rsa_private_parts().expect("a private key");
    let (modulus, exponent) = (rsa.rsa_modulus(), rsa.rsa_public_exponent());
    let (modulus, exponent) = (modulus.unwrap_or_default(), exponent.unwrap_or_default());
    let curve = Given::new(CKA_EC_PARAMS, Curve::P256.params());
    let point = strongroom_engine::fuzzing::octet_string(&ec.ec_point().unwrap_or_default());
    let both = [CKA_ENCRYPT, CKA_DECRYPT, CKA_SIGN, CKA_VERIFY, CKA_WRAP, CKA_UNWRAP];
    let public = [CKA_ENCRYPT, CKA_VERIFY, CKA_WRAP];
    let private = [CKA_DECRYPT, CKA_SIGN, CKA_UNWRAP, CKA_EXTRACTABLE];
    let extractable = [&both[..], &[CKA_EXTRACTABLE]].concat();
    let secret = |bytes: u8| Given::new(CKA_VALUE, [bytes; 32]);
    vec![
        object(CKO_SECRET_KEY, CKK_AES, &extractable, vec![secret(0x2b)]),
        object(CKO_SECRET_KEY, CKK_AES, &both[..2], vec![secret(0x3c)]),
        object(CKO_SECRET_KEY, CKK_GENERIC_SECRET, &both[2..4], vec![secret(0x4d)]),
        object(
            CKO_PUBLIC_KEY,
            CKK_EC,
            &[CKA_VERIFY],
            vec![curve.clone(), Given::new(CKA_EC_POINT, point)],
        ),
        object(
            CKO_PRIVATE_KEY,
            CKK_EC,
            &[CKA_SIGN, CKA_EXTRACTABLE],
            vec![curve, Given::new(CKA_VALUE, [0x5e; 32])],
        ),
        object(
            CKO_PUBLIC_KEY,
            CKK_RSA,
            &public,
            vec![
                Given::new(CKA_MODULUS, modulus.clone()),
                Given::new(CKA_PUBLIC_EXPONENT, exponent.clone()),
            ],
        ),
        object(
            CKO_PRIVATE_KEY,
            CKK_RSA,
            &private,
            vec![
                Given::new(CKA_MODULUS, modulus),
                Given::new(CKA_PUBLIC_EXPONENT, exponent),
                Given::new(CKA_PRIVATE_EXPONENT, parts.d.as_bytes()),
                Given::new(CKA_PRIME_1, parts.p.as_bytes()),
                Given::new(CKA_PRIME_2, parts.q.as_bytes()),
                Given::new(CKA_EXPONENT_1, parts.dp.as_bytes()),
                Given::new(CKA_EXPONENT_2, parts.dq.as_bytes()),
                Given::new(CKA_COEFFICIENT, parts.qinv.as_bytes()),
            ],
        ),
        vec![
            Given::number(CKA_CLASS, CKO_CERTIFICATE),
            Given::number(CKA_CERTIFICATE_TYPE, CKC_X_509),
            Given::boolean(CKA_TOKEN, true),
            Given::new(CKA_SUBJECT, *b"\x30\x00"),
            Given::new(CKA_VALUE, fixed::LEAF),
        ],
    ]
}

fn object(class: u64, key_type: u64, uses: &[u64], value: Vec<Given>) -> Vec<Given> {
    let mut template = vec![
        Given::number(CKA_CLASS, class),
        Given::number(CKA_KEY_TYPE, key_type),
        Given::boolean(CKA_TOKEN, true),
        Given::new(CKA_LABEL, *b"label"),
        Given::new(CKA_ID, [1]),
    ];
    template.extend(uses.iter().map(|kind| Given::boolean(*kind, true)));
    template.extend(value);
    template
}
