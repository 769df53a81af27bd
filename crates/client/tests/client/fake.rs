//! An HSM that keeps no keys: it answers the first requests as an HSM does, checks tickets and their
//! proofs, notes every request, and does with the others what a test wants.

use std::{
    collections::HashMap,
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    os::{fd::OwnedFd, unix::net::UnixListener},
    path::Path,
    sync::{Arc, Condvar, Mutex, mpsc},
    thread,
};

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use cryptoki_sys::CKR_USER_NOT_LOGGED_IN;
use rustix::net::Shutdown;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use strongroom_wire::{
    CHANNEL_BINDING_LABEL, attach_statement, frame,
    limits::FRAME_BYTES_MAX,
    message::{
        Attach, ClusterPhase, HelloReply, LoginReply, Operation, Outcome, Personality, Reply,
        Request, TopologyReply,
    },
};

use crate::pki::{CLUSTER_ID, HSM_ID};

/// What the fake noted of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Connections are counted from 0.
    pub(crate) connection: usize,
    /// The operation's name.
    pub(crate) name: String,
    pub(crate) sequence: u64,
    pub(crate) lowest_unanswered: u64,
    pub(crate) seen_index: u64,
    pub(crate) needs_index: Option<u64>,
    pub(crate) session: u64,
    /// Of the connection, as attached.
    pub(crate) client_id: Vec<u8>,
    /// Whether the connection is attached with a ticket.
    pub(crate) logged_in: bool,
}

/// What becomes of a request.
#[allow(clippy::large_enum_variant)] // One lives at a time.
pub(crate) enum Action {
    Answer(Reply),
    /// The connection is cut without an answer.
    Cut,
}

pub(crate) fn answer(outcome: Option<Outcome>) -> Action {
    Action::Answer(Reply { outcome, ..Reply::default() })
}

pub(crate) fn refuse(status: u64) -> Action {
    Action::Answer(Reply { status, message: "refused".into(), ..Reply::default() })
}

type Script = dyn Fn(&Seen, &Operation) -> Action + Send + Sync;

/// The running fake.
pub(crate) struct FakeHsm {
    shared: Arc<Shared>,
    /// While it lives.
    listener: Mutex<Option<OwnedFd>>,
    address: Option<SocketAddr>,
    config: Option<Arc<ServerConfig>>,
}

/// What all HSMs of a cluster know.
#[derive(Default)]
pub(crate) struct Common {
    /// Ticket to public key.
    tickets: Mutex<HashMap<Vec<u8>, Vec<u8>>>,
    topology: Mutex<TopologyReply>,
}

impl Common {
    /// From now on replies name this topology.
    pub(crate) fn set_topology(&self, topology: TopologyReply) {
        *self.topology.lock().unwrap() = topology;
    }
}

struct Shared {
    script: Box<Script>,
    common: Arc<Common>,
    hsm_id: String,
    zone: String,
    state: Mutex<State>,
    /// Woken by a new request, and when `frozen` changes.
    changed: Condvar,
    ends: mpsc::Sender<End>,
    end_reports: Mutex<mpsc::Receiver<End>>,
}

#[derive(Default)]
struct State {
    seen: Vec<Seen>,
    passwords: Vec<Vec<u8>>,
    /// Connections are taken, and nothing is answered.
    frozen: bool,
    cluster_id: Option<String>,
    personality: i32,
    connections: Vec<OwnedFd>,
}

/// How the client ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With TLS's close_notify, or a UNIX socket's end.
    Closed,
    /// Without.
    Broken,
}

impl FakeHsm {
    /// In the data folder of a local HSM.
    pub(crate) fn local(
        dir: &Path,
        script: impl Fn(&Seen, &Operation) -> Action + Send + Sync + 'static,
    ) -> Self {
        Self::unix(&dir.join("hsm.sock"), script)
    }

    pub(crate) fn unix(
        path: &Path,
        script: impl Fn(&Seen, &Operation) -> Action + Send + Sync + 'static,
    ) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let fake = Self {
            shared: Shared::new(script, Arc::default(), HSM_ID, ""),
            listener: Mutex::new(Some(listener.try_clone().unwrap().into())),
            address: None,
            config: None,
        };
        let shared = Arc::clone(&fake.shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                // The fake has gone.
                let Ok(stream) = stream else { return };
                let number = shared.register(stream.try_clone().unwrap().into());
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    let nonce = [number as u8 + 1; 32];
                    shared.serve(number, nonce, nonce.to_vec(), stream);
                });
            }
        });
        fake
    }

    /// On a loopback address, with certificates.
    pub(crate) fn tls(
        config: ServerConfig,
        script: impl Fn(&Seen, &Operation) -> Action + Send + Sync + 'static,
    ) -> Self {
        Self::member(Arc::default(), HSM_ID, "", config, script)
    }

    /// One of a cluster's HSMs.
    pub(crate) fn member(
        common: Arc<Common>,
        hsm_id: &str,
        zone: &str,
        config: ServerConfig,
        script: impl Fn(&Seen, &Operation) -> Action + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let fake = Self {
            shared: Shared::new(script, common, hsm_id, zone),
            listener: Mutex::new(None),
            address: Some(listener.local_addr().unwrap()),
            config: Some(Arc::new(config)),
        };
        fake.listen(listener);
        fake
    }

    fn listen(&self, listener: TcpListener) {
        *self.listener.lock().unwrap() = Some(listener.try_clone().unwrap().into());
        let shared = Arc::clone(&self.shared);
        let config = Arc::clone(self.config.as_ref().unwrap());
        thread::spawn(move || {
            for stream in listener.incoming() {
                // The fake has gone.
                let Ok(stream) = stream else { return };
                let number = shared.register(stream.try_clone().unwrap().into());
                let (shared, config) = (Arc::clone(&shared), Arc::clone(&config));
                thread::spawn(move || {
                    shared.wait_while_frozen();
                    let tls = ServerConnection::new(config).unwrap();
                    let mut stream = StreamOwned::new(tls, stream);
                    if stream.conn.complete_io(&mut stream.sock).is_err() {
                        return shared.ended(End::Broken);
                    }
                    let binding = stream
                        .conn
                        .export_keying_material([0; 32], CHANNEL_BINDING_LABEL, None)
                        .unwrap();
                    shared.serve(number, binding, Vec::new(), stream);
                });
            }
        });
    }

    /// As kill -9: its connections break, new ones are refused.
    pub(crate) fn die(&self) {
        if let Some(listener) = self.listener.lock().unwrap().take() {
            // Ends the listening thread.
            let _ = rustix::net::shutdown(&listener, Shutdown::Both);
        }
        self.cut();
    }

    /// Started again, at the same address.
    pub(crate) fn revive(&self) {
        let listener = loop {
            match TcpListener::bind(self.address()) {
                Ok(listener) => break listener,
                // The old listener's thread has not ended yet.
                Err(_) => thread::yield_now(),
            }
        };
        self.listen(listener);
    }

    /// As SIGSTOP, or a network that swallows all packets.
    pub(crate) fn freeze(&self) {
        self.shared.state.lock().unwrap().frozen = true;
    }

    pub(crate) fn thaw(&self) {
        self.shared.state.lock().unwrap().frozen = false;
        self.shared.changed.notify_all();
    }

    /// Waits until it has seen so many requests of a name.
    pub(crate) fn wait_for(&self, name: &str, times: usize) {
        let state = self.shared.state.lock().unwrap();
        let few =
            |state: &mut State| state.seen.iter().filter(|seen| seen.name == name).count() < times;
        drop(self.shared.changed.wait_while(state, few).unwrap());
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address.expect("an HSM over TLS")
    }

    /// All requests so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.state.lock().unwrap().seen.clone()
    }

    /// The requests of the application.
    pub(crate) fn requests(&self) -> Vec<Seen> {
        let mut seen = self.seen();
        let own = ["Hello", "Attach", "Ping", "Topology"];
        seen.retain(|seen| !own.contains(&seen.name.as_str()));
        seen
    }

    pub(crate) fn passwords(&self) -> Vec<Vec<u8>> {
        self.shared.state.lock().unwrap().passwords.clone()
    }

    pub(crate) fn end_logins(&self) {
        self.shared.common.tickets.lock().unwrap().clear();
    }

    pub(crate) fn set_cluster_id(&self, id: &str) {
        self.shared.state.lock().unwrap().cluster_id = Some(id.into());
    }

    pub(crate) fn set_personality(&self, personality: Personality) {
        self.shared.state.lock().unwrap().personality = personality.into();
    }

    /// Cuts all connections.
    pub(crate) fn cut(&self) {
        for connection in &self.shared.state.lock().unwrap().connections {
            let _ = rustix::net::shutdown(connection, Shutdown::Both);
        }
    }

    /// Waits until a connection has ended, and says how the client ended it.
    pub(crate) fn next_end(&self) -> End {
        self.shared.end_reports.lock().unwrap().recv().unwrap()
    }
}

impl Drop for FakeHsm {
    fn drop(&mut self) {
        self.die();
        self.thaw();
    }
}

impl Shared {
    fn new(
        script: impl Fn(&Seen, &Operation) -> Action + Send + Sync + 'static,
        common: Arc<Common>,
        hsm_id: &str,
        zone: &str,
    ) -> Arc<Self> {
        let (ends, end_reports) = mpsc::channel();
        let state = State { personality: Personality::Token.into(), ..State::default() };
        Arc::new(Self {
            script: Box::new(script),
            common,
            hsm_id: hsm_id.into(),
            zone: zone.into(),
            state: Mutex::new(state),
            changed: Condvar::new(),
            ends,
            end_reports: Mutex::new(end_reports),
        })
    }

    fn register(&self, connection: OwnedFd) -> usize {
        let mut state = self.state.lock().unwrap();
        state.connections.push(connection);
        state.connections.len() - 1
    }

    fn wait_while_frozen(&self) {
        let state = self.state.lock().unwrap();
        drop(self.changed.wait_while(state, |state| state.frozen).unwrap());
    }

    fn cut(&self, connection: usize) {
        let _ = rustix::net::shutdown(
            &self.state.lock().unwrap().connections[connection],
            Shutdown::Both,
        );
    }

    fn ended(&self, end: End) {
        // Most tests don't ask.
        let _ = self.ends.send(end);
    }

    fn serve(
        &self,
        connection: usize,
        binding: [u8; 32],
        nonce: Vec<u8>,
        mut stream: impl Read + Write,
    ) {
        let mut client_id = Vec::new();
        let mut logged_in = false;
        loop {
            let request: Request = match frame::read(&mut stream, FRAME_BYTES_MAX) {
                Ok(request) => request,
                Err(frame::FrameError::Closed) => return self.ended(End::Closed),
                Err(_) => return self.ended(End::Broken),
            };
            self.wait_while_frozen();
            let operation = request.operation.expect("a request asks for something");
            let debug = format!("{operation:?}");
            let mut seen = Seen {
                connection,
                name: debug.split('(').next().unwrap_or_default().to_owned(),
                sequence: request.sequence,
                lowest_unanswered: request.lowest_unanswered,
                seen_index: request.seen_index,
                needs_index: request.needs_index,
                session: request.session,
                client_id: client_id.clone(),
                logged_in,
            };
            let action = match &operation {
                Operation::Hello(_) => answer(Some(self.hello(&nonce))),
                Operation::Ping(_) => answer(None),
                Operation::Topology(_) => {
                    let topology = self.common.topology.lock().unwrap().clone();
                    answer(Some(Outcome::Topology(topology)))
                }
                Operation::Attach(attach) => match self.attach(attach, &binding) {
                    Ok(ticket) => {
                        client_id.clone_from(&attach.client_id);
                        seen.client_id.clone_from(&client_id);
                        logged_in = ticket;
                        answer(None)
                    }
                    Err(status) => refuse(status),
                },
                Operation::Login(login) => {
                    self.state.lock().unwrap().passwords.push(login.password.clone());
                    match (self.script)(&seen, &operation) {
                        Action::Answer(Reply { status: 0, .. }) => {
                            answer(Some(self.login(&login.client_public_key)))
                        }
                        other => other,
                    }
                }
                _ => (self.script)(&seen, &operation),
            };
            self.state.lock().unwrap().seen.push(seen);
            self.changed.notify_all();
            match action {
                Action::Cut => return self.cut(connection),
                Action::Answer(mut reply) => {
                    // A script that sets a sequence wants a wrong one.
                    if reply.sequence == 0 {
                        reply.sequence = request.sequence;
                    }
                    // As an HSM that has lost nothing.
                    if reply.log_index == 0 {
                        reply.log_index = request.seen_index;
                    }
                    reply.topology = self.common.topology.lock().unwrap().version;
                    if frame::write(&mut stream, &reply, FRAME_BYTES_MAX).is_err() {
                        return self.ended(End::Broken);
                    }
                }
            }
        }
    }

    fn hello(&self, nonce: &[u8]) -> Outcome {
        let state = self.state.lock().unwrap();
        Outcome::Hello(HelloReply {
            api_level: 1,
            hsm_id: self.hsm_id.clone(),
            cluster_id: state.cluster_id.clone().unwrap_or(CLUSTER_ID.into()),
            phase: ClusterPhase::Active.into(),
            personality: state.personality,
            server_nonce: nonce.to_vec(),
            fips_mode: false,
            hsms: 1,
            zone: self.zone.clone(),
        })
    }

    fn login(&self, public_key: &[u8]) -> Outcome {
        let mut tickets = self.common.tickets.lock().unwrap();
        let ticket = format!("ticket {}", tickets.len()).into_bytes();
        tickets.insert(ticket.clone(), public_key.to_vec());
        Outcome::Login(LoginReply { ticket, user_id: 3, role: 3 })
    }

    /// Whether the connection is attached with a ticket.
    fn attach(&self, attach: &Attach, binding: &[u8; 32]) -> Result<bool, u64> {
        let client_id: [u8; 16] = attach.client_id.as_slice().try_into().unwrap();
        if attach.ticket.is_empty() {
            return Ok(false);
        }
        let tickets = self.common.tickets.lock().unwrap();
        let key = tickets.get(&attach.ticket).ok_or(CKR_USER_NOT_LOGGED_IN)?;
        UnparsedPublicKey::new(&ED25519, key)
            .verify(&attach_statement(binding, &client_id), &attach.proof)
            .expect("the proof is for this connection");
        Ok(true)
    }
}
