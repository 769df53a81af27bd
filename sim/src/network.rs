//! The virtual network: what is sent arrives late, in another order, twice, or never.
//!
//! Machines have numbers: HSMs from 1, clients from [`FIRST_CLIENT`]. A machine's address is
//! `10.0.0.number`. What happens to a message is drawn when it is sent, so the same seed gives the same
//! fates.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use strongroom_cluster::{Call, DeviceKeyHash, Peer, Transport, TransportError};
use strongroom_vault::NodeId;
use strongroom_wire::peer::{PeerOperation, PeerReply, PeerRequest, PeerResult};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::dice::Dice;
use crate::mutant::Mutant;
use crate::trace::Trace;

/// A machine's number.
pub type Machine = u8;

/// Clients' machines have numbers from here on.
pub const FIRST_CLIENT: Machine = 100;

/// A connection sends what was lost again after so long.
const RESENT: Duration = Duration::from_millis(200);
/// A connection over a cut way breaks after so long.
const STREAM_PATIENCE: Duration = Duration::from_secs(15);
/// How often what is held up looks whether it may go on.
const HELD: Duration = Duration::from_millis(5);

/// How the network is.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// Milliseconds that a message takes, at least and at most.
    pub delay_ms: (u64, u64),
    /// Messages of a thousand that are lost.
    pub lost: u64,
    /// Messages of a thousand that take ten times as long.
    pub late: u64,
    /// Messages of a thousand between HSMs that arrive twice.
    pub twice: u64,
}

impl Weather {
    /// A good local network.
    pub const FAIR: Self = Self { delay_ms: (0, 2), lost: 0, late: 5, twice: 0 };
    /// One that does whatever a network may do.
    pub const FOUL: Self = Self { delay_ms: (0, 12), lost: 20, late: 30, twice: 20 };
}

/// Who answers on a machine.
pub trait Host: Send + Sync {
    /// Answers a request of the HSM with this device key.
    fn handle(
        &self,
        from: DeviceKeyHash,
        request: PeerRequest,
    ) -> Pin<Box<dyn Future<Output = PeerReply> + Send>>;
}

/// The network. Clones are the same one.
#[derive(Clone)]
pub struct Network {
    trace: Trace,
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    dice: Dice,
    weather: Weather,
    /// From whom to whom nothing gets through.
    cut: BTreeSet<(Machine, Machine)>,
    machines: BTreeMap<Machine, Place>,
    mutant: Option<Mutant>,
}

#[derive(Default)]
struct Place {
    /// Rises with each start and each end of the machine's process.
    life: u64,
    host: Option<Arc<dyn Host>>,
    paused: bool,
}

/// Where a message was sent from, and to: a process that has ended since gets and sends nothing.
#[derive(Clone, Copy)]
struct Way {
    from: Machine,
    from_life: u64,
    to: Machine,
}

/// Why a message did not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// Nothing is heard of it.
    Silently,
    /// The machine says that nobody listens.
    Refused,
}

impl Network {
    /// A network without machines.
    #[must_use]
    pub fn new(trace: Trace, dice: Dice, weather: Weather) -> Self {
        let inner =
            Inner { dice, weather, cut: BTreeSet::new(), machines: BTreeMap::new(), mutant: None };
        Self { trace, inner: Arc::new(Mutex::new(inner)) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A process starts on a machine; its life's number.
    pub fn start(&self, machine: Machine, host: Arc<dyn Host>) -> u64 {
        let mut inner = self.lock();
        let place = inner.machines.entry(machine).or_default();
        place.life += 1;
        place.host = Some(host);
        place.life
    }

    /// A machine's next life begins, and nobody listens yet.
    pub fn prepare(&self, machine: Machine) -> u64 {
        let mut inner = self.lock();
        let place = inner.machines.entry(machine).or_default();
        place.life += 1;
        place.life
    }

    /// The process of a life that [`Network::prepare`] gave listens from now on.
    pub fn listen(&self, machine: Machine, host: Arc<dyn Host>) {
        self.lock().machines.entry(machine).or_default().host = Some(host);
    }

    /// The process on a machine ends.
    pub fn end(&self, machine: Machine) {
        let mut inner = self.lock();
        let place = inner.machines.entry(machine).or_default();
        place.life += 1;
        place.host = None;
        place.paused = false;
    }

    /// Holds a machine's process up, or lets it go on: what it would send or get waits.
    pub fn pause(&self, machine: Machine, paused: bool) {
        self.lock().machines.entry(machine).or_default().paused = paused;
    }

    /// Whether a life is still the machine's.
    #[must_use]
    pub fn lives(&self, machine: Machine, life: u64) -> bool {
        self.lock().machines.get(&machine).is_some_and(|place| place.life == life)
    }

    /// The number of the life of a machine's process.
    #[must_use]
    pub fn life(&self, machine: Machine) -> u64 {
        self.lock().life(machine)
    }

    /// Whether a machine's process listens.
    #[must_use]
    pub fn listens(&self, machine: Machine) -> bool {
        self.lock().machines.get(&machine).is_some_and(|place| place.host.is_some())
    }

    /// Breaks what HSMs answer one another.
    pub fn plant(&self, mutant: Mutant) {
        self.lock().mutant = Some(mutant);
    }

    /// Changes how the network is.
    pub fn set_weather(&self, weather: Weather) {
        self.lock().weather = weather;
    }

    /// From now on nothing gets from one machine to another; the other way is as it was.
    pub fn cut(&self, from: Machine, to: Machine) {
        self.lock().cut.insert((from, to));
    }

    /// Cuts both ways between one side and the other.
    pub fn part(&self, one: &[Machine], other: &[Machine]) {
        let mut inner = self.lock();
        for &a in one {
            for &b in other {
                inner.cut.insert((a, b));
                inner.cut.insert((b, a));
            }
        }
    }

    /// Every way is open again.
    pub fn heal(&self) {
        self.lock().cut.clear();
    }

    /// What becomes of a message that is sent now; drawn in one go, so that what is drawn does not
    /// depend on what happens.
    fn draw(&self, way: Way) -> (Option<Duration>, bool) {
        let mut inner = self.lock();
        let weather = inner.weather;
        let mut delay = inner.dice.between(weather.delay_ms.0, weather.delay_ms.1);
        let (lost, late) = (inner.dice.chance(weather.lost), inner.dice.chance(weather.late));
        let twice = inner.dice.chance(weather.twice);
        if late {
            delay = (delay + 1) * 10;
        }
        let gone = lost || inner.cut.contains(&(way.from, way.to)) || !inner.sends(way);
        ((!gone).then(|| Duration::from_millis(delay)), twice)
    }

    /// Takes a message of a connection (TCP) from a process of one machine to another machine: what
    /// is lost is sent again, and a cut way is waited for, for [`STREAM_PATIENCE`].
    ///
    /// # Errors
    /// Where the connection is gone.
    pub async fn stream(&self, from: Machine, from_life: u64, to: Machine) -> Result<(), Lost> {
        let way = Way { from, from_life, to };
        let (delay, _) = self.draw(way);
        sleep(delay.unwrap_or(RESENT)).await;
        let given_up = Instant::now() + STREAM_PATIENCE;
        while self.lock().holds(way) || self.lock().cut.contains(&(from, to)) {
            if Instant::now() >= given_up {
                return Err(Lost::Silently);
            }
            sleep(HELD).await;
        }
        let inner = self.lock();
        let listens = |place: &Place| place.host.is_some();
        let there = inner.machines.get(&to).is_none_or(listens);
        if inner.sends(way) && there { Ok(()) } else { Err(Lost::Refused) }
    }

    async fn arrive(&self, way: Way, delay: Duration) -> Result<Option<Arc<dyn Host>>, Lost> {
        sleep(delay).await;
        while self.lock().holds(way) {
            sleep(HELD).await;
        }
        let inner = self.lock();
        if inner.cut.contains(&(way.from, way.to)) {
            return Err(Lost::Silently);
        }
        if !inner.sends(way) {
            // The connection is gone with the process.
            return Err(Lost::Refused);
        }
        match inner.machines.get(&way.to) {
            Some(place) if place.host.is_some() => Ok(place.host.clone()),
            Some(_) => Err(Lost::Refused),
            // A client's machine: its program takes what comes.
            None => Ok(None),
        }
    }

    /// Takes a request there and its reply back.
    async fn exchange(
        self,
        way: Way,
        key: DeviceKeyHash,
        request: PeerRequest,
        delay: Duration,
    ) -> Result<PeerReply, Lost> {
        let what = describe(&request);
        let host = match self.arrive(way, delay).await {
            Ok(Some(host)) => host,
            Ok(None) => return Err(Lost::Refused),
            Err(lost) => {
                self.trace.note(format_args!("{} > {} {what}: {lost:?}", way.from, way.to));
                return Err(lost);
            }
        };
        self.trace.note(format_args!("{} > {} {what}", way.from, way.to));
        let back = Way { from: way.to, from_life: self.lock().life(way.to), to: way.from };
        let mut reply = host.handle(key, request).await;
        match (self.lock().mutant, &mut reply.result) {
            (Some(Mutant::ForgetfulPeers), Some(PeerResult::Seen(seen))) => {
                (seen.boot, seen.vote, seen.acknowledged) = (0, None, None);
            }
            (Some(Mutant::WildClock), _) => reply.clock_ms = 0,
            (Some(Mutant::NoFence), Some(PeerResult::Fenced(_))) => return Err(Lost::Silently),
            _ => {}
        }
        let (delay, _) = self.draw(back);
        let delay = delay.ok_or(Lost::Silently)?;
        sleep(delay).await;
        while self.lock().holds(back) {
            sleep(HELD).await;
        }
        let inner = self.lock();
        if !inner.sends(back) {
            return Err(Lost::Refused);
        }
        if inner.cut.contains(&(back.from, back.to)) { Err(Lost::Silently) } else { Ok(reply) }
    }
}

impl Inner {
    fn life(&self, machine: Machine) -> u64 {
        self.machines.get(&machine).map_or(0, |place| place.life)
    }

    /// Whether the sender's process is still there.
    fn sends(&self, way: Way) -> bool {
        self.life(way.from) == way.from_life
    }

    fn holds(&self, way: Way) -> bool {
        let paused = |machine| self.machines.get(&machine).is_some_and(|place| place.paused);
        paused(way.from) || paused(way.to)
    }
}

/// A machine's address on port 2225.
#[must_use]
pub fn address(machine: Machine) -> String {
    format!("10.0.0.{machine}:2225")
}

/// The machine at an address.
#[must_use]
pub fn machine_at(address: &str) -> Option<Machine> {
    address.strip_prefix("10.0.0.")?.split(':').next()?.parse().ok()
}

/// The way of one HSM's process to the others.
pub struct Port {
    network: Network,
    machine: Machine,
    life: u64,
    key: DeviceKeyHash,
}

impl Port {
    /// Of a process, which shows this device key.
    #[must_use]
    pub fn new(network: Network, machine: Machine, life: u64, key: DeviceKeyHash) -> Self {
        Self { network, machine, life, key }
    }
}

impl Transport for Port {
    fn call(&self, _: NodeId, peer: &Peer, request: PeerRequest, patience: Duration) -> Call {
        let Some(to) = machine_at(&peer.address) else {
            let reason = "no such address".to_owned();
            return Box::pin(async { Err(TransportError::Unreachable(reason)) });
        };
        let way = Way { from: self.machine, from_life: self.life, to };
        let (network, key) = (self.network.clone(), self.key);
        Box::pin(async move {
            let deadline = Instant::now() + patience;
            let (answer, answered) = oneshot::channel();
            let (delay, twice) = network.draw(way);
            if let Some(delay) = delay {
                if twice {
                    let again = network.clone().exchange(way, key, request.clone(), delay * 3);
                    tokio::spawn(again);
                }
                // On its own: who stops waiting does not take back what is under way.
                tokio::spawn(async move {
                    let _ = answer.send(network.exchange(way, key, request, delay).await);
                });
            }
            match timeout(patience, answered).await {
                Ok(Ok(Ok(reply))) => Ok(reply),
                Ok(Ok(Err(Lost::Refused))) => {
                    Err(TransportError::Unreachable("nobody listens".to_owned()))
                }
                Ok(Ok(Err(Lost::Silently)) | Err(_)) => {
                    sleep_until(deadline).await;
                    Err(TransportError::TimedOut)
                }
                Err(_) => Err(TransportError::TimedOut),
            }
        })
    }
}

/// What a request is, without anything that chance or keys have a part in.
fn describe(request: &PeerRequest) -> String {
    match &request.operation {
        Some(PeerOperation::Append(append)) => format!("append {}", append.entries.len()),
        Some(PeerOperation::Vote(vote)) => {
            format!("vote {}", vote.vote.as_ref().map_or(0, |ballot| ballot.term))
        }
        Some(PeerOperation::PreVote(vote)) => format!("pre-vote {}", vote.term),
        Some(PeerOperation::Seen(_)) => "seen".to_owned(),
        Some(PeerOperation::Forward(_)) => "forward".to_owned(),
        Some(PeerOperation::ReadIndex(_)) => "read-index".to_owned(),
        Some(PeerOperation::SnapshotBegin(_)) => "snapshot-begin".to_owned(),
        Some(PeerOperation::SnapshotChunk(_)) => "snapshot-chunk".to_owned(),
        Some(PeerOperation::SnapshotEnd(_)) => "snapshot-end".to_owned(),
        Some(PeerOperation::Stand(_)) => "stand".to_owned(),
        Some(PeerOperation::Welcome(_)) => "welcome".to_owned(),
        Some(PeerOperation::Leave(_)) => "leave".to_owned(),
        Some(PeerOperation::Survey(_)) => "survey".to_owned(),
        Some(PeerOperation::Rejoin(_)) => "rejoin".to_owned(),
        None => "nothing".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Echo;
    impl Host for Echo {
        fn handle(
            &self,
            _: DeviceKeyHash,
            request: PeerRequest,
        ) -> Pin<Box<dyn Future<Output = PeerReply> + Send>> {
            Box::pin(async move { PeerReply { fence: request.fence, ..PeerReply::default() } })
        }
    }

    fn simulated<T>(work: impl Future<Output = T>) -> T {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().start_paused(true).build().unwrap().block_on(work)
    }

    fn network(weather: Weather) -> (Network, Port, Peer) {
        let network = Network::new(Trace::new(false), Dice::new(1), weather);
        let life = network.start(1, Arc::new(Echo));
        network.start(2, Arc::new(Echo));
        let port = Port::new(network.clone(), 1, life, [1; 32]);
        let peer = Peer {
            hsm_id: "hsm-2".to_owned(),
            address: address(2),
            device_key: [2; 32],
            zone: String::new(),
            witness: false,
        };
        (network, port, peer)
    }

    fn ask(port: &Port, peer: &Peer) -> Call {
        let request = PeerRequest { fence: 7, ..PeerRequest::default() };
        port.call(NodeId(2), peer, request, Duration::from_secs(1))
    }

    #[test]
    fn a_request_crosses_unless_the_way_is_cut_or_nobody_listens() {
        simulated(async {
            let (network, port, peer) = network(Weather::FAIR);
            assert_eq!(ask(&port, &peer).await.unwrap().fence, 7);
            for way in [(1, 2), (2, 1)] {
                network.cut(way.0, way.1);
                let began = Instant::now();
                assert_eq!(ask(&port, &peer).await, Err(TransportError::TimedOut));
                assert_eq!(began.elapsed(), Duration::from_secs(1));
                network.heal();
            }
            network.end(2);
            assert!(matches!(ask(&port, &peer).await, Err(TransportError::Unreachable(_))));
            network.start(2, Arc::new(Echo));
            assert_eq!(ask(&port, &peer).await.unwrap().fence, 7);
            network.end(1);
            assert_eq!(ask(&port, &peer).await, Err(TransportError::TimedOut), "of a dead process");
        });
    }

    #[test]
    fn what_is_sent_to_a_paused_machine_arrives_when_it_goes_on() {
        simulated(async {
            let (network, port, peer) = network(Weather::FAIR);
            network.pause(2, true);
            let call = tokio::spawn(ask(&port, &peer));
            sleep(Duration::from_millis(300)).await;
            assert!(!call.is_finished());
            network.pause(2, false);
            assert_eq!(call.await.unwrap().unwrap().fence, 7);
        });
    }

    #[test]
    fn in_foul_weather_some_messages_are_lost_and_always_the_same_ones() {
        let fates = || {
            simulated(async {
                let (_, port, peer) = network(Weather::FOUL);
                let mut fates = Vec::new();
                for _ in 0..300 {
                    fates.push(ask(&port, &peer).await.is_ok());
                }
                fates
            })
        };
        let first = fates();
        assert!(first.contains(&false) && first.contains(&true));
        assert_eq!(first, fates());
    }
}
