//! An HSM whose log is a vector, and a client that speaks to it without a network.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use cryptoki_sys::{
    CKA_EC_PARAMS, CKA_SIGN, CKA_TOKEN, CKA_VALUE_LEN, CKA_VERIFY, CKM_AES_KEY_GEN,
    CKM_EC_KEY_PAIR_GEN, CKM_ECDSA_SHA256,
};
use strongroom_engine::{
    Channel, Connection, Engine, EpochSecrets, Identity, Options, PasswordCost, UseLog,
};
use strongroom_vault::{Command, JoinPolicy, Personality, Replicator};
use strongroom_wire::message::{
    self, Attach, Attribute, Hello, Login, Mechanism, Operation, Outcome, Parameter, Reply,
    Request, RestoreObjects, Role, SessionObject, Template,
};

pub(crate) use crate::memory::*;

pub(crate) const PASSWORD: &[u8] = b"correct horse";

/// One HSM.
pub(crate) struct Hsm {
    pub(crate) engine: Arc<Engine>,
    pub(crate) memory: Arc<Memory>,
    pub(crate) uses: Arc<Uses>,
}

impl Hsm {
    fn over(memory: Memory) -> Self {
        Self::with(Arc::new(memory))
    }

    /// Another HSM of the cluster, which has just started.
    pub(crate) fn beside(&self) -> Self {
        Self::with(Arc::clone(&self.memory))
    }

    fn with(memory: Arc<Memory>) -> Self {
        let replicator = Arc::clone(&memory) as Arc<dyn Replicator>;
        Self::of(memory, replicator, Options::default())
    }

    /// Another HSM of the cluster, in FIPS mode.
    pub(crate) fn in_fips_mode(&self) -> Self {
        let replicator = Arc::clone(&self.memory) as Arc<dyn Replicator>;
        Self::in_mode(true, Arc::clone(&self.memory), replicator, Options::default())
    }

    /// An HSM whose cluster has `memory` and that takes part in it by `replicator`.
    pub(crate) fn of(
        memory: Arc<Memory>,
        replicator: Arc<dyn Replicator>,
        options: Options,
    ) -> Self {
        Self::in_mode(false, memory, replicator, options)
    }

    fn in_mode(
        fips_mode: bool,
        memory: Arc<Memory>,
        replicator: Arc<dyn Replicator>,
        options: Options,
    ) -> Self {
        let uses = Arc::new(Uses::default());
        let engine = Engine::new(
            replicator,
            Arc::clone(&memory.epochs) as Arc<dyn EpochSecrets>,
            Identity { hsm_id: "hsm-2345abcdefg".to_owned(), fips_mode },
            Arc::clone(&uses) as Arc<dyn UseLog>,
            Options { clock: Arc::new(now_ms), password_cost: PasswordCost::CHEAPEST, ..options },
        );
        Self { engine, memory, uses }
    }

    fn created(personality: Personality) -> Self {
        let memory = Memory::new();
        memory.system(Command::CreateCluster {
            masking_domain: [7; 16],
            cluster_id: "cluster-abcdefg2345".to_owned(),
            personality,
            join_policy: JoinPolicy::Automatic,
        });
        Self::over(memory)
    }

    /// A CloudHSM that has its owner's certificates and no admin.
    pub(crate) fn initialised() -> Self {
        let hsm = Self::created(Personality::CloudHsm);
        hsm.memory.system(Command::InitialiseCluster {
            cluster_certificate: vec![1],
            trust_anchor: vec![2],
        });
        hsm
    }

    /// An active CloudHSM with the admin `admin` and the crypto users `alice` and `bob`.
    pub(crate) fn active() -> Self {
        let hsm = Self::initialised();
        let mut client = hsm.client();
        client.done(Operation::ActivateCluster(activation(PASSWORD)));
        let mut admin = hsm.logged_in("admin", Role::Admin);
        for name in ["alice", "bob"] {
            admin.done(create_user(name, Role::CryptoUser));
        }
        hsm
    }

    /// A token on which C_InitToken has not run.
    pub(crate) fn blank_token() -> Self {
        Self::created(Personality::Token)
    }

    /// A token whose SO and user have the PINs `so-pin` and `1234`.
    pub(crate) fn token() -> Self {
        let hsm = Self::blank_token();
        hsm.client().done(init_token(b"so-pin"));
        let mut so = hsm.client();
        so.log_in("so", Role::Admin, b"so-pin").unwrap();
        so.done(init_pin(b"1234"));
        hsm
    }

    /// The same disk after a restart.
    pub(crate) fn restart(&self) -> Self {
        Self::over(self.memory.restarted())
    }

    /// Makes every change fail from now on.
    pub(crate) fn cut_off(&self, cut_off: bool) {
        self.memory.fails.store(cut_off, Ordering::Relaxed);
    }

    /// Makes the disk slow: what is applied from now on becomes durable when that ends.
    pub(crate) fn lag(&self, lags: bool) {
        self.memory.lags.store(lags, Ordering::Relaxed);
        if !lags {
            let applied = self.memory.shared.read().applied();
            self.memory.shared.publish(applied);
        }
    }

    /// A client without a login.
    pub(crate) fn client(&self) -> Client {
        static NEXT: AtomicU8 = AtomicU8::new(1);
        Client::new(self, [NEXT.fetch_add(1, Ordering::Relaxed); 16])
    }

    pub(crate) fn logged_in(&self, user: &str, role: Role) -> Client {
        let mut client = self.client();
        client.log_in(user, role, PASSWORD).unwrap();
        client
    }

    pub(crate) fn alice(&self) -> Client {
        self.logged_in("alice", Role::CryptoUser)
    }

    pub(crate) fn bob(&self) -> Client {
        self.logged_in("bob", Role::CryptoUser)
    }

    pub(crate) fn admin(&self) -> Client {
        self.logged_in("admin", Role::Admin)
    }

    /// The token's user.
    pub(crate) fn user(&self) -> Client {
        let mut client = self.client();
        client.log_in("user", Role::CryptoUser, b"1234").unwrap();
        client
    }

    /// Whether bytes are anywhere in what a disk would hold.
    pub(crate) fn disk_holds(&self, needle: &[u8]) -> bool {
        let holds = |bytes: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
        self.memory.log.lock().unwrap().iter().any(|entry| holds(entry))
            || self.memory.records.lock().unwrap().values().any(|record| holds(record))
            || self.memory.blobs.lock().unwrap().values().any(|blob| holds(blob))
    }

    /// Flips a bit in every masked blob.
    pub(crate) fn damage_blobs(&self) {
        for blob in self.memory.blobs.lock().unwrap().values_mut() {
            let middle = blob.len() / 2;
            blob[middle] ^= 1;
        }
    }
}

/// A refusal: CKR_ and words.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) status: u64,
    pub(crate) message: String,
}

/// One process of an application, with one connection.
pub(crate) struct Client {
    pub(crate) connection: Connection,
    pub(crate) id: [u8; 16],
    pub(crate) binding: [u8; 32],
    pub(crate) key: Ed25519KeyPair,
    pub(crate) ticket: Vec<u8>,
    pub(crate) session: u64,
    pub(crate) sequence: u64,
    pub(crate) seen_index: u64,
    pub(crate) needs_index: Option<u64>,
    /// Other connections of the client may wait for answers to lower sequences.
    pub(crate) shared: bool,
    /// Its session objects, as replies gave them.
    pub(crate) kept: BTreeMap<u64, SessionObject>,
}

impl Client {
    fn new(hsm: &Hsm, id: [u8; 16]) -> Self {
        let mut binding = [0; 32];
        aws_lc_rs::rand::fill(&mut binding).unwrap();
        let channel = Channel { binding, local: false, peer: "test".to_owned() };
        let mut client = Self {
            connection: hsm.engine.connect(channel),
            id,
            binding,
            key: Ed25519KeyPair::generate().unwrap(),
            ticket: Vec::new(),
            session: 1,
            sequence: 0,
            seen_index: 0,
            needs_index: None,
            shared: false,
            kept: BTreeMap::new(),
        };
        client.call(hello()).unwrap();
        client.attach().unwrap();
        client
    }

    /// Another connection of the same process, with its login.
    pub(crate) fn another(&self, hsm: &Hsm) -> Self {
        let mut other = Self::new(hsm, self.id);
        let pkcs8 = self.key.to_pkcs8().unwrap();
        other.key = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
        other.ticket.clone_from(&self.ticket);
        other.sequence = self.sequence + 1000;
        other.shared = true;
        other.attach().unwrap();
        other
    }

    /// Goes on at another HSM, with all session objects.
    pub(crate) fn moved(&self, hsm: &Hsm) -> Self {
        let mut moved = self.another(hsm);
        moved.kept.clone_from(&self.kept);
        moved.restore().unwrap();
        moved
    }

    /// Puts the session objects that the client has onto its HSM.
    pub(crate) fn restore(&mut self) -> Result<(), Refused> {
        let objects = self.kept.values().cloned().collect();
        self.call(Operation::RestoreObjects(RestoreObjects { objects })).map(drop)
    }

    pub(crate) fn attach(&mut self) -> Result<(), Refused> {
        let proof = if self.ticket.is_empty() {
            Vec::new()
        } else {
            let statement = strongroom_wire::attach_statement(&self.binding, &self.id);
            self.key.sign(&statement).as_ref().to_vec()
        };
        let attach = Attach { client_id: self.id.to_vec(), ticket: self.ticket.clone(), proof };
        self.call(Operation::Attach(attach)).map(|_| ())
    }

    /// Proves a password and attaches with the ticket.
    pub(crate) fn log_in(
        &mut self,
        user: &str,
        role: Role,
        password: &[u8],
    ) -> Result<(), Refused> {
        let mut login = Login::default();
        login.user = user.to_owned();
        login.role = role.into();
        login.password = password.to_vec();
        login.client_public_key = self.key.public_key().as_ref().to_vec();
        match self.call(Operation::Login(login))? {
            Some(Outcome::Login(reply)) => self.ticket = reply.ticket,
            other => panic!("no ticket: {other:?}"),
        }
        self.attach()
    }

    /// Sends one new request.
    pub(crate) fn call(&mut self, operation: Operation) -> Result<Option<Outcome>, Refused> {
        self.sequence += 1;
        let reply = self.send(self.sequence, operation);
        if reply.status == 0 {
            Ok(reply.outcome)
        } else {
            assert!(reply.outcome.is_none(), "a failure carries no outcome");
            assert!(!reply.message.is_empty(), "a failure says why");
            Err(Refused { status: reply.status, message: reply.message })
        }
    }

    /// Sends a request under a sequence of its own.
    pub(crate) fn send(&mut self, sequence: u64, operation: Operation) -> Reply {
        let reply = self.connection.handle(Request {
            api_level: 1,
            sequence,
            lowest_unanswered: if self.shared { 0 } else { sequence },
            seen_index: self.seen_index,
            needs_index: self.needs_index,
            session: self.session,
            operation: Some(operation),
        });
        assert_eq!(reply.sequence, sequence);
        self.seen_index = self.seen_index.max(reply.log_index);
        for object in &reply.session_objects {
            assert_eq!(reply.status, 0, "a failure makes no object");
            self.kept.insert(object.handle, object.clone());
        }
        reply
    }

    /// A request that succeeds with nothing to say.
    pub(crate) fn done(&mut self, operation: Operation) {
        match self.call(operation) {
            Ok(None) => {}
            other => panic!("{other:?}"),
        }
    }

    /// The status with which a request fails.
    pub(crate) fn refused(&mut self, operation: Operation) -> u64 {
        match self.call(operation) {
            Err(refused) => refused.status,
            Ok(outcome) => panic!("not refused: {outcome:?}"),
        }
    }

    /// A request that makes one object.
    pub(crate) fn object(&mut self, operation: Operation) -> u64 {
        match self.call(operation) {
            Ok(Some(Outcome::Object(reply))) => reply.handle,
            other => panic!("no object: {other:?}"),
        }
    }

    /// A request that makes a pair: public, private.
    pub(crate) fn pair(&mut self, operation: Operation) -> (u64, u64) {
        match self.call(operation) {
            Ok(Some(Outcome::Pair(reply))) => (reply.public_handle, reply.private_handle),
            other => panic!("no pair: {other:?}"),
        }
    }

    /// A request that gives bytes.
    pub(crate) fn bytes(&mut self, operation: Operation) -> Vec<u8> {
        match self.call(operation) {
            Ok(Some(Outcome::Data(data) | Outcome::Signature(data))) => data.data.clone(),
            Ok(Some(Outcome::Encrypted(reply))) => reply.data,
            other => panic!("no bytes: {other:?}"),
        }
    }

    /// One attribute: its value, or its status.
    pub(crate) fn attribute(&mut self, handle: u64, kind: u64) -> Result<Vec<u8>, u64> {
        let get = message::GetAttributes { handle, kinds: vec![kind] };
        match self.call(Operation::GetAttributes(get)) {
            Ok(Some(Outcome::Attributes(reply))) => match &reply.attributes[..] {
                [one] if one.status == 0 => Ok(one.value.clone()),
                [one] => Err(one.status),
                _ => panic!("one attribute expected"),
            },
            Err(refused) => Err(refused.status),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn boolean(&mut self, handle: u64, kind: u64) -> bool {
        match self.attribute(handle, kind).unwrap()[..] {
            [value] => value == 1,
            _ => panic!("no CK_BBOOL"),
        }
    }

    pub(crate) fn set(&mut self, handle: u64, template: Template) -> Result<(), u64> {
        let set = message::SetAttributes { handle, template: Some(template) };
        match self.call(Operation::SetAttributes(set)) {
            Ok(_) => Ok(()),
            Err(refused) => Err(refused.status),
        }
    }

    /// All handles that match, over as many pages as it takes.
    pub(crate) fn find(&mut self, template: Template, max: u32) -> Vec<u64> {
        let mut handles = Vec::new();
        loop {
            let after = handles.last().copied().unwrap_or(0);
            let find = message::FindObjects { template: Some(template.clone()), after, max };
            match self.call(Operation::FindObjects(find)) {
                Ok(Some(Outcome::Found(page))) => {
                    assert!(page.handles.len() <= max as usize);
                    assert!(page.handles.first().is_none_or(|first| *first > after));
                    assert!(page.handles.is_sorted());
                    handles.extend(page.handles);
                    if !page.more {
                        return handles;
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

pub(crate) fn hello() -> Operation {
    Operation::Hello(Hello { api_level_min: 1, api_level_max: 1, client_name: "test".to_owned() })
}

pub(crate) fn template(attributes: &[(u64, &[u8])]) -> Template {
    let attributes = attributes
        .iter()
        .map(|(kind, value)| {
            let mut attribute = Attribute::default();
            attribute.kind = *kind;
            attribute.value = value.to_vec();
            attribute
        })
        .collect();
    Template { attributes }
}

pub(crate) const TRUE: &[u8] = &[1];
pub(crate) const FALSE: &[u8] = &[0];

pub(crate) fn number(value: u64) -> [u8; 8] {
    value.to_le_bytes()
}

pub(crate) fn mechanism(kind: u64) -> Option<Mechanism> {
    Some(Mechanism { kind, parameter: None })
}

pub(crate) fn with(kind: u64, parameter: Parameter) -> Option<Mechanism> {
    Some(Mechanism { kind, parameter: Some(parameter) })
}

pub(crate) fn activation(password: &[u8]) -> message::ActivateCluster {
    let mut activate = message::ActivateCluster::default();
    activate.password = password.to_vec();
    activate
}

pub(crate) fn create_user(user: &str, role: Role) -> Operation {
    let mut create = message::CreateUser::default();
    create.user = user.to_owned();
    create.role = role.into();
    create.password = PASSWORD.to_vec();
    Operation::CreateUser(create)
}

pub(crate) fn change_password(user: &str, role: Role, old: Option<&[u8]>, new: &[u8]) -> Operation {
    let mut change = message::ChangePassword::default();
    change.user = user.to_owned();
    change.role = role.into();
    change.old_password = old.map(<[u8]>::to_vec);
    change.password = new.to_vec();
    Operation::ChangePassword(change)
}

pub(crate) fn init_token(so_pin: &[u8]) -> Operation {
    let mut init = message::InitToken::default();
    init.so_pin = so_pin.to_vec();
    init.label = b"test token                      ".to_vec();
    Operation::InitToken(init)
}

pub(crate) fn init_pin(pin: &[u8]) -> Operation {
    let mut init = message::InitPin::default();
    init.pin = pin.to_vec();
    Operation::InitPin(init)
}

pub(crate) fn generate(kind: u64, attributes: &[(u64, &[u8])]) -> Operation {
    Operation::GenerateKey(message::GenerateKey {
        mechanism: mechanism(kind),
        template: Some(template(attributes)),
    })
}

/// An AES-256 token key with these attributes beside.
pub(crate) fn aes(attributes: &[(u64, &[u8])]) -> Operation {
    let length = number(32);
    let mut all: Vec<(u64, &[u8])> = vec![(CKA_VALUE_LEN, &length)];
    if !attributes.iter().any(|(kind, _)| *kind == CKA_TOKEN) {
        all.push((CKA_TOKEN, TRUE));
    }
    all.extend_from_slice(attributes);
    generate(CKM_AES_KEY_GEN, &all)
}

pub(crate) fn generate_pair(
    kind: u64,
    public: &[(u64, &[u8])],
    private: &[(u64, &[u8])],
) -> Operation {
    Operation::GenerateKeyPair(message::GenerateKeyPair {
        mechanism: mechanism(kind),
        public_template: Some(template(public)),
        private_template: Some(template(private)),
    })
}

pub(crate) const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

/// A P-256 token pair for signatures.
pub(crate) fn p256() -> Operation {
    generate_pair(
        CKM_EC_KEY_PAIR_GEN,
        &[(CKA_EC_PARAMS, P256), (CKA_TOKEN, TRUE), (CKA_VERIFY, TRUE)],
        &[(CKA_TOKEN, TRUE), (CKA_SIGN, TRUE)],
    )
}

/// A pair that lives as long as its client's session: public, private.
pub(crate) fn session_pair(client: &mut Client) -> (u64, u64) {
    client.pair(generate_pair(
        CKM_EC_KEY_PAIR_GEN,
        &[(CKA_EC_PARAMS, P256), (CKA_VERIFY, TRUE)],
        &[(CKA_SIGN, TRUE)],
    ))
}

pub(crate) fn create(attributes: &[(u64, &[u8])]) -> Operation {
    Operation::CreateObject(message::CreateObject { template: Some(template(attributes)) })
}

pub(crate) fn copy(handle: u64, attributes: &[(u64, &[u8])]) -> Operation {
    Operation::CopyObject(message::CopyObject { handle, template: Some(template(attributes)) })
}

pub(crate) fn sign(handle: u64, mechanism: Option<Mechanism>, data: &[u8]) -> Operation {
    let mut sign = message::Sign::default();
    sign.handle = handle;
    sign.mechanism = mechanism;
    sign.data = data.to_vec();
    Operation::Sign(sign)
}

pub(crate) fn ecdsa(key: u64) -> Operation {
    sign(key, mechanism(CKM_ECDSA_SHA256), b"data")
}

pub(crate) fn verify(
    handle: u64,
    mechanism: Option<Mechanism>,
    data: &[u8],
    signature: &[u8],
) -> Operation {
    let mut verify = message::Verify::default();
    verify.handle = handle;
    verify.mechanism = mechanism;
    verify.data = data.to_vec();
    verify.signature = signature.to_vec();
    Operation::Verify(verify)
}

pub(crate) fn encrypt(handle: u64, mechanism: Option<Mechanism>, data: &[u8]) -> Operation {
    let mut encrypt = message::Encrypt::default();
    encrypt.handle = handle;
    encrypt.mechanism = mechanism;
    encrypt.data = data.to_vec();
    Operation::Encrypt(encrypt)
}

pub(crate) fn decrypt(handle: u64, mechanism: Option<Mechanism>, data: &[u8]) -> Operation {
    Operation::Decrypt(message::Decrypt { handle, mechanism, data: data.to_vec() })
}

pub(crate) fn wrap(wrapping: u64, mechanism: Option<Mechanism>, handle: u64) -> Operation {
    Operation::WrapKey(message::WrapKey { wrapping_handle: wrapping, mechanism, handle })
}

pub(crate) fn unwrap(
    wrapping: u64,
    mechanism: Option<Mechanism>,
    wrapped: &[u8],
    attributes: &[(u64, &[u8])],
) -> Operation {
    Operation::UnwrapKey(message::UnwrapKey {
        wrapping_handle: wrapping,
        mechanism,
        wrapped: wrapped.to_vec(),
        template: Some(template(attributes)),
    })
}

pub(crate) fn destroy(handle: u64) -> Operation {
    Operation::DestroyObject(message::DestroyObject { handle })
}

pub(crate) fn logout() -> Operation {
    Operation::Logout(message::Logout {})
}
