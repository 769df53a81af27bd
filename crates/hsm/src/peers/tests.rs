//! Port 2225 and its callers against one another, over real sockets.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use strongroom_cluster::{DeviceKeyHash, Peer, Transport, TransportError};
use strongroom_vault::NodeId;
use strongroom_wire::greeting::Lane;
use strongroom_wire::peer::{
    Append, LogEntry, PeerOperation, PeerReply, PeerRequest, PeerResult, PreVote, Received,
    SnapshotEnd,
};
use tokio::io::AsyncReadExt;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::*;
use crate::certificates::{P256Key, Which, certified, device_certificate, pem_certificate};

/// Long enough for a busy machine; no test waits for it unless it fails.
const PATIENCE: Duration = Duration::from_secs(20);

fn identity() -> DeviceIdentity {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
    let pkcs8 = pair.to_pkcs8v1().unwrap();
    let key = P256Key::from_pkcs8("test", pkcs8.as_ref()).unwrap();
    let pem = device_certificate(&key, "hsm-abcdefghijk").unwrap();
    let certificate = pem_certificate(Which::Device, &pem).unwrap();
    let certified = certified(vec![certificate.into()], pkcs8.as_ref()).unwrap();
    DeviceIdentity::new(certified).unwrap()
}

/// Echoes the sender's number as its clock. The end of a snapshot is answered when the gate opens.
struct Echo {
    member: DeviceKeyHash,
    is_member: AtomicBool,
    gate: Arc<Notify>,
}

impl Echo {
    fn for_member(member: &DeviceIdentity) -> Arc<Self> {
        let gate = Arc::new(Notify::new());
        Arc::new(Self { member: *member.key(), is_member: AtomicBool::new(true), gate })
    }
}

impl Desk for Echo {
    fn admits(&self, from: &DeviceKeyHash) -> bool {
        *from == self.member && self.is_member.load(Ordering::Relaxed)
    }

    fn answer(&self, _from: DeviceKeyHash, request: PeerRequest) -> Answer {
        let gate = Arc::clone(&self.gate);
        Box::pin(async move {
            if let Some(PeerOperation::SnapshotEnd(_)) = request.operation {
                gate.notified().await;
            }
            assert_ne!(request.from, 13, "as a bug would");
            PeerReply {
                clock_ms: request.from,
                result: Some(PeerResult::Received(Received {})),
                ..PeerReply::default()
            }
        })
    }
}

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn serve(identity: &DeviceIdentity, desk: Arc<Echo>) -> (PeerServer, Peer) {
    let (listener, address) = listener();
    let versions = Arc::default();
    let server = PeerServer::start(&Handle::current(), listener, identity, versions, desk).unwrap();
    (server, peer(identity, address))
}

fn peer(identity: &DeviceIdentity, address: SocketAddr) -> Peer {
    Peer { address: address.to_string(), device_key: *identity.key(), ..Peer::default() }
}

fn transport(identity: &DeviceIdentity) -> Arc<PeerTransport> {
    PeerTransport::new(Handle::current(), identity.clone(), Arc::default(), LOOPBACK)
}

fn asks(from: u64, operation: PeerOperation) -> PeerRequest {
    PeerRequest { from, operation: Some(operation), ..PeerRequest::default() }
}

fn heartbeat(from: u64) -> PeerRequest {
    asks(from, PeerOperation::Append(Append::default()))
}

async fn ask(
    transport: &Arc<PeerTransport>,
    peer: &Peer,
    request: PeerRequest,
) -> Result<u64, TransportError> {
    let reply = transport.call(NodeId(2), peer, request, PATIENCE).await?;
    Ok(reply.clock_ms)
}

/// A lane that could not connect says so at once for a moment; a voter asks again as well.
async fn ask_until_answered(transport: &Arc<PeerTransport>, peer: &Peer, from: u64) {
    let answered = async {
        while ask(transport, peer, heartbeat(from)).await != Ok(from) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, answered).await.unwrap();
}

#[tokio::test]
async fn a_member_is_answered_and_each_side_knows_the_others_version() {
    let (a, b) = (identity(), identity());
    let (_server, at) = serve(&b, Echo::for_member(&a));
    let versions = Arc::new(Versions::default());
    let transport =
        PeerTransport::new(Handle::current(), a.clone(), Arc::clone(&versions), LOOPBACK);
    assert_eq!(ask(&transport, &at, heartbeat(7)).await, Ok(7));
    assert_eq!(versions.of(b.key()).as_deref(), Some(env!("CARGO_PKG_VERSION")));
}

#[tokio::test]
async fn replies_come_to_their_own_requests() {
    let (a, b) = (identity(), identity());
    let (_server, at) = serve(&b, Echo::for_member(&a));
    let transport = transport(&a);
    let asked: Vec<_> = (0..50)
        .map(|n| {
            let (transport, at) = (Arc::clone(&transport), at.clone());
            tokio::spawn(async move { (n, ask(&transport, &at, heartbeat(100 + n)).await) })
        })
        .collect();
    for asked in asked {
        let (n, answer) = asked.await.unwrap();
        assert_eq!(answer, Ok(100 + n));
    }
}

#[tokio::test]
async fn a_stranger_gets_no_answer() {
    let (a, b, stranger) = (identity(), identity(), identity());
    let (_server, at) = serve(&b, Echo::for_member(&a));
    assert!(ask(&transport(&stranger), &at, heartbeat(1)).await.is_err());
    assert_eq!(ask(&transport(&a), &at, heartbeat(1)).await, Ok(1));
}

#[tokio::test]
async fn nothing_is_said_to_another_hsm_at_a_members_address() {
    let (a, b, impostor) = (identity(), identity(), identity());
    let (_server, mut at) = serve(&impostor, Echo::for_member(&a));
    at.device_key = *b.key();
    let refused = ask(&transport(&a), &at, heartbeat(1)).await;
    assert!(matches!(refused, Err(TransportError::Unreachable(_))), "{refused:?}");
}

#[tokio::test]
async fn a_removed_member_is_refused_on_the_connection_that_it_has() {
    let (a, b) = (identity(), identity());
    let desk = Echo::for_member(&a);
    let (_server, at) = serve(&b, Arc::clone(&desk));
    let transport = transport(&a);
    assert_eq!(ask(&transport, &at, heartbeat(1)).await, Ok(1));
    desk.is_member.store(false, Ordering::Relaxed);
    assert!(ask(&transport, &at, heartbeat(1)).await.is_err());
}

#[tokio::test]
async fn a_snapshot_under_way_delays_neither_a_heartbeat_nor_entries() {
    let (a, b) = (identity(), identity());
    let desk = Echo::for_member(&a);
    let (_server, at) = serve(&b, Arc::clone(&desk));
    let transport = transport(&a);
    let end = asks(3, PeerOperation::SnapshotEnd(SnapshotEnd::default()));
    let snapshot = tokio::spawn({
        let (transport, at) = (Arc::clone(&transport), at.clone());
        async move { ask(&transport, &at, end).await }
    });
    let entries = Append { entries: vec![LogEntry::default()], ..Append::default() };
    assert_eq!(ask(&transport, &at, asks(4, PeerOperation::Append(entries))).await, Ok(4));
    assert_eq!(ask(&transport, &at, heartbeat(5)).await, Ok(5));
    assert!(!snapshot.is_finished());
    desk.gate.notify_one();
    assert_eq!(snapshot.await.unwrap(), Ok(3));
}

#[tokio::test]
async fn a_lost_connection_is_made_anew() {
    let (a, b) = (identity(), identity());
    let (server, at) = serve(&b, Echo::for_member(&a));
    let transport = transport(&a);
    assert_eq!(ask(&transport, &at, heartbeat(1)).await, Ok(1));
    drop(server);
    let refused = ask(&transport, &at, heartbeat(1)).await;
    assert!(refused.is_err(), "{refused:?}");
    let listener = loop {
        // The old server's socket goes when its task does.
        match TcpListener::bind(at.address.parse::<SocketAddr>().unwrap()) {
            Ok(listener) => break listener,
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    };
    listener.set_nonblocking(true).unwrap();
    let desk = Echo::for_member(&a);
    let _server =
        PeerServer::start(&Handle::current(), listener, &b, Arc::default(), desk).unwrap();
    ask_until_answered(&transport, &at, 2).await;
}

#[tokio::test]
async fn a_moved_member_is_found_where_the_operator_says() {
    let (a, b) = (identity(), identity());
    let (_server, at) = serve(&b, Echo::for_member(&a));
    let (_taken, elsewhere) = listener();
    drop(_taken);
    let transport = transport(&a);
    let old = peer(&b, elsewhere);
    assert!(ask(&transport, &old, heartbeat(1)).await.is_err());
    transport.moved(*b.key(), at.address.parse().unwrap());
    ask_until_answered(&transport, &old, 2).await;
}

#[tokio::test]
async fn a_stopped_member_fails_its_own_callers_only() {
    let (a, b) = (identity(), identity());
    let (_server, at) = serve(&b, Echo::for_member(&a));
    // It takes connections, as the kernel does for a stopped process, and says nothing.
    let (_stopped, address) = listener();
    let transport = transport(&a);
    let silent = peer(&identity(), address);
    let short = Duration::from_millis(50);
    let overdue = transport.call(NodeId(3), &silent, heartbeat(1), short);
    assert_eq!(ask(&transport, &at, heartbeat(2)).await, Ok(2));
    assert_eq!(overdue.await, Err(TransportError::TimedOut));
}

#[tokio::test]
async fn strangers_that_say_nothing_do_not_keep_a_member_out() {
    let (a, b) = (identity(), identity());
    let (_server, at) = serve(&b, Echo::for_member(&a));
    let mut strangers = Vec::new();
    for _ in 0..200 {
        strangers.push(tokio::net::TcpStream::connect(&at.address).await.unwrap());
    }
    ask_until_answered(&transport(&a), &at, 1).await;
    // The oldest have been dropped for it.
    let ended = strangers[0].read(&mut [0]).await;
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
}

#[tokio::test]
async fn a_request_that_panics_ends_its_connection_only() {
    let (a, b) = (identity(), identity());
    let (_server, at) = serve(&b, Echo::for_member(&a));
    let transport = transport(&a);
    let broken = ask(&transport, &at, heartbeat(13)).await;
    assert!(matches!(broken, Err(TransportError::Broken(_))), "{broken:?}");
    let vote = asks(4, PeerOperation::PreVote(PreVote::default()));
    while ask(&transport, &at, vote.clone()).await != Ok(4) {}
}

#[tokio::test]
async fn a_request_over_the_lanes_limit_is_not_sent() {
    let (a, b) = (identity(), identity());
    let (_server, at) = serve(&b, Echo::for_member(&a));
    let payload = vec![0; Lane::Append.frame_bytes_max()];
    let entries = Append { entries: vec![LogEntry { place: None, payload }], ..Append::default() };
    let refused = ask(&transport(&a), &at, asks(1, PeerOperation::Append(entries))).await;
    assert!(matches!(refused, Err(TransportError::Broken(_))), "{refused:?}");
}
