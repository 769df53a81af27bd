//! How long a request takes through [`Connection::handle`], without a network: one thread, P-256 and
//! AES-GCM, over a replicator in memory.
//!
//! `cargo run --release -p strongroom-engine --example request_speed`

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement, run by hand")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use cryptoki_sys::*;
use strongroom_crypto::SecretBytes;
use strongroom_engine::{Channel, Connection, Engine, EngineSecrets, Identity, Options, UseLog};
use strongroom_vault::{
    Actor, Change, ClientId, Command, Committed, Entry, JoinPolicy, LogIndex, ObjectId,
    Personality, ReplicationError, Replicator, SharedState, State,
};
use strongroom_wire::message::{self, Operation, Outcome, Request};

struct Memory {
    shared: SharedState,
    blobs: Mutex<HashMap<ObjectId, Vec<u8>>>,
}

impl Replicator for Memory {
    fn propose(&self, entry: Entry) -> Result<Committed, ReplicationError> {
        let mut state = self.shared.write();
        let index = LogIndex(state.applied().0 + 1);
        let (result, changes) = state.apply(index, entry);
        for change in changes {
            if let Change::PutBlob { id, blob } = change {
                self.blobs.lock().unwrap().insert(id, blob);
            }
        }
        drop(state);
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
        Ok(self.blobs.lock().unwrap().get(&id).cloned())
    }
}

struct NoLog;

impl UseLog for NoLog {
    fn append(&self, _block: Vec<u8>) {}
}

fn ask(connection: &mut Connection, operation: Operation) -> Option<Outcome> {
    let request =
        Request { api_level: 1, session: 1, operation: Some(operation), ..Request::default() };
    let reply = connection.handle(request);
    assert_eq!(reply.status, CKR_OK, "{}", reply.message);
    reply.outcome
}

fn template(attributes: &[(u64, &[u8])]) -> Option<message::Template> {
    let attributes = attributes.iter().map(|(kind, value)| {
        let mut attribute = message::Attribute::default();
        attribute.kind = *kind;
        attribute.value = value.to_vec();
        attribute
    });
    Some(message::Template { attributes: attributes.collect() })
}

fn main() {
    let memory =
        Arc::new(Memory { shared: SharedState::new(State::new()), blobs: Mutex::default() });
    let system = |command| {
        let entry = Entry {
            time_ms: 1,
            client: ClientId::default(),
            sequence: 0,
            lowest_unanswered: 0,
            actor: Actor::System,
            command,
        };
        memory.propose(entry).unwrap().result.unwrap();
    };
    system(Command::CreateCluster {
        masking_domain: [7; 16],
        cluster_id: "cluster-abcdefg2345".to_owned(),
        personality: Personality::Token,
        join_policy: JoinPolicy::Owner,
    });
    let secrets = EngineSecrets {
        masking: SecretBytes::new(vec![1; 32]),
        ticket: SecretBytes::new(vec![2; 32]),
    };
    let identity = Identity { hsm_id: "hsm-2345abcdefg".to_owned(), fips_mode: false };
    let engine = Engine::new(
        Arc::clone(&memory) as Arc<dyn Replicator>,
        Arc::new(secrets),
        identity,
        Arc::new(NoLog),
        Options::default(),
    );
    let channel = Channel { binding: [5; 32], local: false, peer: "speed".to_owned() };
    let mut connection = engine.connect(channel);
    let hello = message::Hello { api_level_min: 1, api_level_max: 1, client_name: String::new() };
    ask(&mut connection, Operation::Hello(hello));
    let key = Ed25519KeyPair::generate().unwrap();
    let attach = |connection: &mut Connection, ticket: Vec<u8>| {
        let proof = key.sign(&strongroom_wire::attach_statement(&[5; 32], &[9; 16]));
        let proof = if ticket.is_empty() { Vec::new() } else { proof.as_ref().to_vec() };
        let attach = message::Attach { client_id: vec![9; 16], ticket, proof };
        ask(connection, Operation::Attach(attach));
    };
    let log_in = |connection: &mut Connection, user: &str, role: message::Role, pin: &[u8]| {
        let mut login = message::Login::default();
        login.user = user.to_owned();
        login.role = role.into();
        login.password = pin.to_vec();
        login.client_public_key = key.public_key().as_ref().to_vec();
        match ask(connection, Operation::Login(login)) {
            Some(Outcome::Login(reply)) => attach(connection, reply.ticket),
            _ => unreachable!("no ticket"),
        }
    };
    attach(&mut connection, Vec::new());
    let mut init = message::InitToken::default();
    init.so_pin = b"so-pin".to_vec();
    init.label = vec![b' '; 32];
    ask(&mut connection, Operation::InitToken(init));
    log_in(&mut connection, "so", message::Role::Admin, b"so-pin");
    let mut init = message::InitPin::default();
    init.pin = b"1234".to_vec();
    ask(&mut connection, Operation::InitPin(init));
    log_in(&mut connection, "user", message::Role::CryptoUser, b"1234");

    let curve = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
    for token in [[1_u8], [0]] {
        let pair = message::GenerateKeyPair {
            mechanism: Some(message::Mechanism { kind: CKM_EC_KEY_PAIR_GEN, parameter: None }),
            public_template: template(&[(CKA_EC_PARAMS, &curve), (CKA_TOKEN, &token)]),
            private_template: template(&[(CKA_TOKEN, &token), (CKA_SIGN, &[1])]),
        };
        let handle = match ask(&mut connection, Operation::GenerateKeyPair(pair)) {
            Some(Outcome::Pair(pair)) => pair.private_handle,
            _ => unreachable!("no pair"),
        };
        let kind = if token == [1] { "token" } else { "session" };
        measure(&format!("P-256 sign, {kind} key"), 20_000, || {
            let mut sign = message::Sign::default();
            sign.handle = handle;
            sign.mechanism = Some(message::Mechanism { kind: CKM_ECDSA, parameter: None });
            sign.data = vec![7; 32];
            ask(&mut connection, Operation::Sign(sign));
        });
    }
    measure("1 random byte", 200_000, || {
        ask(&mut connection, Operation::Random(message::Random { bytes: 1 }));
    });
    for token in [[1_u8], [0]] {
        let kind = if token == [1] { "token" } else { "session" };
        measure(&format!("AES key generation, {kind} key"), 5_000, || {
            let length = 32_u64.to_le_bytes();
            let generate = message::GenerateKey {
                mechanism: Some(message::Mechanism { kind: CKM_AES_KEY_GEN, parameter: None }),
                template: template(&[(CKA_VALUE_LEN, &length), (CKA_TOKEN, &token)]),
            };
            ask(&mut connection, Operation::GenerateKey(generate));
        });
    }
}

const ROUNDS: u32 = 100;

/// The best of many short rounds: what the machine's other work did not disturb.
fn measure(what: &str, times: u32, mut once: impl FnMut()) {
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let began = Instant::now();
        for _ in 0..times / ROUNDS {
            once();
        }
        best = best.min(began.elapsed().as_secs_f64() * 1e9 / f64::from(times / ROUNDS));
    }
    println!("{what:32} {best:9.0} ns");
}
