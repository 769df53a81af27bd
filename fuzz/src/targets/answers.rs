//! What an HSM answers, to a client that should not have trusted it: everything after the handshake.

use std::collections::VecDeque;
use std::io::Write as _;
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use prost::Message as _;
use strongroom_client::{Client, Config};
use strongroom_wire::frame;
use strongroom_wire::limits::FRAME_BYTES_MAX;
use strongroom_wire::message::*;

use super::wire::operations;
use crate::input::{Fields, framed, frames};

/// A byte, then replies in frames. Where the byte is 0, a reply gets the number of its request, and
/// the client takes what is in it; else all that follows is sent at once, and then nothing more.
pub(super) fn answers(data: &[u8]) -> bool {
    let mut fields = Fields(data);
    let numbered = fields.byte() == 0;
    let rest = fields.rest();
    *script() = if numbered {
        Script { numbered, replies: frames(rest).map(<[u8]>::to_vec).collect() }
    } else {
        Script { numbered, replies: [rest.to_vec()].into() }
    };
    let mut config = Config::local(folder());
    // A connection that ends is tried again for so long.
    config.patience = std::time::Duration::from_nanos(1);
    let Ok(client) = Client::open(config, "fuzz") else { return false };
    // Every result will do: it is the HSM's.
    let _ = client.login("alice", Role::CryptoUser, b"password");
    for operation in operations() {
        if script().replies.is_empty() {
            break;
        }
        let _ = client.call(1, operation);
    }
    let _ = client.refresh();
    let _ = client.info();
    let _ = client.logout();
    true
}

/// What the HSM will say.
struct Script {
    numbered: bool,
    replies: VecDeque<Vec<u8>>,
}

fn script() -> MutexGuard<'static, Script> {
    static SCRIPT: Mutex<Script> = Mutex::new(Script { numbered: false, replies: VecDeque::new() });
    SCRIPT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The folder of a local HSM, which the script plays.
fn folder() -> &'static std::path::Path {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let listener = UnixListener::bind(folder.path().join("hsm.sock")).expect("a socket");
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                std::thread::spawn(move || serve(connection));
            }
        });
        folder
    });
    folder.path()
}

/// Answers requests until the script or the client ends. The client sends one at a time, over all of
/// its connections.
fn serve(mut connection: UnixStream) {
    loop {
        let request: Request = match frame::read(&mut connection, FRAME_BYTES_MAX) {
            Ok(request) => request,
            Err(_) => return,
        };
        let reply = {
            let mut script = script();
            (script.numbered, script.replies.pop_front())
        };
        let (numbered, Some(bytes)) = reply else {
            return drop(connection.shutdown(Shutdown::Both));
        };
        let bytes = match Reply::decode(bytes.as_slice()) {
            _ if !numbered => bytes,
            Ok(reply) => {
                let reply = Reply { sequence: request.sequence, ..reply };
                framed([reply.encode_to_vec()])
            }
            Err(_) => framed([bytes]),
        };
        let sent = connection.write_all(&bytes);
        // A frame may be cut short, and the client waits for its end.
        if sent.is_err() || !numbered && connection.shutdown(Shutdown::Write).is_err() {
            return;
        }
    }
}

/// What an HSM says to a login and to some requests.
pub(super) fn answers_seeds() -> Vec<Vec<u8>> {
    let reply = |outcome| Reply { log_index: 7, outcome, ..Reply::default() };
    let hello = || {
        reply(Some(Outcome::Hello(HelloReply {
            api_level: strongroom_wire::API_LEVEL_MAX,
            hsm_id: "hsm-2345672345a".into(),
            cluster_id: "cluster-7kzqyl3m2ab".into(),
            phase: ClusterPhase::Active.into(),
            personality: Personality::Token.into(),
            server_nonce: vec![7; 32],
            fips_mode: false,
            hsms: 1,
            zone: String::new(),
        })))
    };
    let ticket = LoginReply { ticket: vec![9; 96], user_id: 3, role: Role::CryptoUser.into() };
    let refused = |status| Reply { status, message: "refused".into(), ..reply(None) };
    let day = [
        hello(),
        reply(None),
        reply(Some(Outcome::Login(ticket))),
        reply(None),
        reply(Some(Outcome::Signature(Data { data: vec![1; 64] }))),
        reply(Some(Outcome::Found(FoundReply { handles: vec![1, 2, u64::MAX], more: true }))),
        refused(cryptoki_sys::CKR_USER_NOT_LOGGED_IN),
        refused(cryptoki_sys::CKR_USER_NOT_LOGGED_IN),
        reply(Some(Outcome::Pair(PairReply { public_handle: 1, private_handle: 2 }))),
        hello(),
        reply(None),
    ];
    let bytes = |reply: &Reply| reply.encode_to_vec();
    let raw = (0..).zip(&day).map(|(sequence, reply)| {
        let payload = Reply { sequence, outcome: None, ..Reply::default() }.encode_to_vec();
        framed([if sequence == 0 { bytes(reply) } else { payload }])
    });
    vec![
        [&[0][..], &framed(day.iter().map(bytes))].concat(),
        [&[0][..], &framed(day[..2].iter().map(bytes))].concat(),
        [&[1][..], &framed(raw)].concat(),
    ]
}
