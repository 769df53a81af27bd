//! The simulated world: who is in it, and how its parts reach one another.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use strongroom_engine::Channel;
use strongroom_vault::{Contact, Replicator};
use strongroom_wire::message::{Reply, Request};
use tokio::sync::{mpsc, oneshot};

use crate::bridge;
use crate::dice::Dice;
use crate::history::History;
use crate::hsm::{EPOCH_MS, Hsm};
use crate::mutant::Mutant;
use crate::network::{Lost, Machine, Network, Weather};
use crate::trace::Trace;

/// Everything.
pub struct World {
    /// What happened.
    pub trace: Trace,
    /// What clients saw.
    pub history: History,
    /// The network.
    pub network: Network,
    luck: Dice,
    mutant: Mutex<Option<Mutant>>,
    hsms: Mutex<BTreeMap<Machine, Arc<Hsm>>>,
    /// Machines that are members no more, and may run on.
    gone: Mutex<BTreeMap<Machine, Arc<Hsm>>>,
    recovered: AtomicBool,
}

/// A reply, and how the HSM stood that gave it.
pub struct Answer {
    /// The reply.
    pub reply: Reply,
    /// Whether the HSM knew that it was cut off.
    pub cut_off: bool,
}

type Letter = (Request, oneshot::Sender<Answer>);

/// A client's connection to one HSM.
pub struct Line {
    client: Machine,
    hsm: Machine,
    /// Of the HSM's process.
    life: u64,
    requests: mpsc::UnboundedSender<Letter>,
    /// The TLS channel binding.
    pub binding: [u8; 32],
    /// The ticket that the client attached with.
    pub attached_with: Option<Vec<u8>>,
}

impl World {
    /// An empty world.
    #[must_use]
    pub fn new(seed: u64, weather: Weather, echo: bool) -> Arc<Self> {
        let (trace, luck) = (Trace::new(echo), Dice::new(seed));
        Arc::new(Self {
            history: History::new(trace.clone()),
            network: Network::new(trace.clone(), luck.fork(1), weather),
            trace,
            luck,
            mutant: Mutex::default(),
            hsms: Mutex::default(),
            gone: Mutex::default(),
            recovered: AtomicBool::new(false),
        })
    }

    /// Luck for one part of the world.
    #[must_use]
    pub fn dice(&self, part: u64) -> Dice {
        self.luck.fork(part)
    }

    /// What a clock that is right shows, in milliseconds since 1970.
    #[must_use]
    pub fn true_time_ms(&self) -> u64 {
        EPOCH_MS + self.trace.now_ms()
    }

    /// What is broken on purpose.
    #[must_use]
    pub fn mutant(&self) -> Option<Mutant> {
        *self.mutant.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Breaks something on purpose, from now on.
    pub fn plant(&self, mutant: Mutant) {
        *self.mutant.lock().unwrap_or_else(PoisonError::into_inner) = Some(mutant);
        mutant.plant(self);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Machine, Arc<Hsm>>> {
        self.hsms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an HSM.
    pub fn add(&self, hsm: Arc<Hsm>) {
        self.lock().insert(hsm.machine, hsm);
    }

    /// Takes an HSM away.
    pub fn remove(&self, machine: Machine) -> Option<Arc<Hsm>> {
        self.lock().remove(&machine)
    }

    /// An HSM is a member no more; its machine stays, and its process may run on.
    pub fn expel(&self, machine: Machine) {
        if let Some(hsm) = self.remove(machine) {
            self.gone.lock().unwrap_or_else(PoisonError::into_inner).insert(machine, hsm);
        }
    }

    /// Those that were expelled.
    #[must_use]
    pub fn gone(&self) -> Vec<Arc<Hsm>> {
        self.gone.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// From now on members may be fenced.
    pub fn recover(&self) {
        self.recovered.store(true, Ordering::Relaxed);
    }

    /// Whether the cluster was recovered from a lost majority.
    #[must_use]
    pub fn was_recovered(&self) -> bool {
        self.recovered.load(Ordering::Relaxed)
    }

    /// All members, by machine; a witness is among them.
    #[must_use]
    pub fn hsms(&self) -> Vec<Arc<Hsm>> {
        self.lock().values().cloned().collect()
    }

    /// The members that clients may speak to.
    #[must_use]
    pub fn servers(&self) -> Vec<Machine> {
        let servers = self.hsms().into_iter().filter(|hsm| !hsm.witness);
        servers.map(|hsm| hsm.machine).collect()
    }

    /// One machine, of a member or of one that was.
    #[must_use]
    pub fn hsm(&self, machine: Machine) -> Option<Arc<Hsm>> {
        let member = self.lock().get(&machine).cloned();
        member.or_else(|| {
            self.gone.lock().unwrap_or_else(PoisonError::into_inner).get(&machine).cloned()
        })
    }

    /// Whether an HSM answers a ping, which its engine has no part in.
    pub async fn ping(&self, from: Machine, to: Machine) -> bool {
        let there = self.network.stream(from, 0, to).await.is_ok();
        there && self.network.stream(to, self.network.life(to), from).await.is_ok()
    }

    /// Connects a client to an HSM; `None` where nobody listens.
    pub async fn connect(&self, from: Machine, to: Machine) -> Option<Line> {
        self.network.stream(from, 0, to).await.ok()?;
        let running = self.hsm(to)?.running()?;
        let mut binding = [0; 32];
        binding[..8].copy_from_slice(&self.trace.now_ms().to_be_bytes());
        binding[8] = from;
        binding[9] = to;
        let channel = Channel { binding, local: false, peer: format!("c{from}") };
        let (requests, mut letters) = mpsc::unbounded_channel::<Letter>();
        let (engine, node) = (running.engine?, running.node);
        tokio::spawn(async move {
            let serve = move || {
                let mut connection = engine.connect(channel);
                loop {
                    let letter;
                    (letter, letters) = bridge::block_on(async move {
                        let letter = letters.recv().await;
                        (letter, letters)
                    });
                    let Some((request, answer)) = letter else { break };
                    let is_cut_off = || node.contact() != Contact::Connected;
                    let before = is_cut_off();
                    let reply = connection.handle(request);
                    let cut_off = before || is_cut_off();
                    // A client that is gone needs no answer.
                    let _ = answer.send(Answer { reply, cut_off });
                }
            };
            bridge::run("connection", serve).await;
        });
        self.network.stream(to, running.life, from).await.ok()?;
        let life = running.life;
        Some(Line { client: from, hsm: to, life, requests, binding, attached_with: None })
    }
}

impl Line {
    /// Whether the HSM's process has not closed it.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.requests.is_closed()
    }

    /// Sends a request; its answer comes, or the news that the connection is gone.
    #[must_use]
    pub fn send(
        &self,
        world: &Arc<World>,
        request: Request,
    ) -> oneshot::Receiver<Result<Answer, Lost>> {
        let (give, given) = oneshot::channel();
        let (client, hsm, life) = (self.client, self.hsm, self.life);
        let (network, requests) = (world.network.clone(), self.requests.clone());
        tokio::spawn(async move {
            let exchange = async {
                network.stream(client, 0, hsm).await?;
                let (answer, answered) = oneshot::channel();
                if !network.lives(hsm, life) || requests.send((request, answer)).is_err() {
                    return Err(Lost::Refused);
                }
                let answer = answered.await.map_err(|_| Lost::Refused)?;
                network.stream(hsm, life, client).await?;
                Ok(answer)
            };
            let _ = give.send(exchange.await);
        });
        given
    }
}
