//! A client program: what `strongroom-client` decides, over the virtual network.
//!
//! Where a request goes, when it is sent again and when an HSM is dead is decided by the shipped
//! [`strongroom_client::fleet`]; here is only what the real client does with sockets. A client runs on a
//! thread of the bridge.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use strongroom_client::config::{RetryMode, Server};
use strongroom_client::fleet::{Fleet, HsmKey, Journey, Look, PONG, Setback, Step, Watch};
use strongroom_client::seen::{Asked, Seen};
use strongroom_wire::message::{
    Attach, Hello, Login, Operation, Outcome, Reply, Request, Retry, Role, Topology,
};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::bridge::{block_on, pass};
use crate::dice::Dice;
use crate::history::Moment;
use crate::network::{Lost, Machine};
use crate::world::{Answer, Line, World};

/// A client gives a request up after so long without any HSM that serves it.
const PATIENCE: Duration = Duration::from_secs(10);
/// A connection that can't be made in this time is not made.
const CONNECT: Duration = Duration::from_millis(500);
/// An HSM's port for clients.
const PORT: u16 = 2223;
const OK: u64 = 0;

/// One attempt at a request.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    /// When it was sent.
    pub from: Moment,
    /// When its answer came, and what it was: status, and whether the HSM was cut off.
    pub answer: Option<(Moment, u64, bool)>,
}

/// What came of a request.
pub struct Called {
    /// When it was sent first.
    pub from: Moment,
    /// When its answer came.
    pub until: Moment,
    /// All that were sent.
    pub attempts: Vec<Attempt>,
    /// The last answer; `None` where the client gave up.
    pub reply: Option<Reply>,
    /// Whether the HSM that answered was cut off.
    pub cut_off: bool,
}

impl Called {
    /// The status of the answer.
    #[must_use]
    pub fn status(&self) -> Option<u64> {
        self.reply.as_ref().map(|reply| reply.status)
    }

    /// When the attempt was sent that was answered.
    #[must_use]
    pub fn last_sent(&self) -> Moment {
        self.attempts.last().map_or(self.from, |attempt| attempt.from)
    }

    /// Whether an attempt before the last may have done it: its login may have ended before the next
    /// attempt, which was then refused.
    #[must_use]
    pub fn may_have_happened_before(&self) -> bool {
        self.attempts.len() > 1
    }

    /// What the answer carries.
    #[must_use]
    pub fn outcome(&self) -> Option<&Outcome> {
        self.reply.as_ref()?.outcome.as_ref()
    }
}

/// A client program with one thread.
pub struct Client {
    world: Arc<World>,
    machine: Machine,
    /// Of its process.
    pub id: [u8; 16],
    fleet: Fleet,
    lines: BTreeMap<HsmKey, Line>,
    current: Option<HsmKey>,
    key: Ed25519KeyPair,
    ticket: Vec<u8>,
    sequence: u64,
    seen: Seen,
    /// Of the HSM that the request under way went to, when it was sent.
    answers: u32,
    /// The client's luck.
    pub dice: Dice,
    /// When it asked for its last change that was done: what it reads is no older.
    pub wrote: Moment,
}

impl Client {
    /// A program that starts on a client's machine, and knows where some HSMs are.
    ///
    /// # Panics
    /// Where there is no key to be had.
    #[must_use]
    pub fn new(world: Arc<World>, machine: Machine, servers: &[Machine]) -> Self {
        let servers: Vec<_> =
            servers.iter().map(|hsm| Server::new(format!("10.0.0.{hsm}"), PORT)).collect();
        let dice = world.dice(1000 + u64::from(machine));
        let mut id = [0; 16];
        id[0] = machine;
        id[8..].copy_from_slice(&dice.clone().draw().to_be_bytes());
        let key = Ed25519KeyPair::generate().expect("the backend makes keys");
        Self {
            fleet: Fleet::new(&servers, ""),
            world,
            machine,
            id,
            lines: BTreeMap::new(),
            current: None,
            key,
            ticket: Vec::new(),
            sequence: 0,
            seen: Seen::new(),
            answers: 0,
            dice,
            wrote: 0,
        }
    }

    fn now(&self) -> Duration {
        Duration::from_millis(self.world.trace.now_ms())
    }

    /// Sends a request until it is answered or given up, under one number.
    pub fn call(&mut self, operation: &dyn Fn() -> Operation) -> Called {
        self.sequence += 1;
        let mut called = Called {
            from: self.world.history.moment(),
            until: 0,
            attempts: Vec::new(),
            reply: None,
            cut_off: false,
        };
        let mut journey = Journey::new(PATIENCE, RetryMode::Standard);
        loop {
            self.probe();
            let (now, random) = (self.now(), self.dice.draw());
            let key = match journey.next(&mut self.fleet, now, random, self.current) {
                Step::Go(key) => key,
                Step::Pause(time) => {
                    pass(time);
                    continue;
                }
                Step::GiveUp(reason) => {
                    self.world.trace.note(format_args!("c{} gives up: {reason:?}", self.machine));
                    self.world.history.gave_up();
                    break;
                }
            };
            let load = self.fleet.load(key);
            self.answers = load.as_ref().map_or(0, |load| load.begin());
            let from = self.world.history.moment();
            let attempt = self.attempt(key, operation);
            let until = self.world.history.moment();
            let setback = match attempt {
                Ok(answer) => {
                    load.iter().for_each(|load| load.answered());
                    let status = answer.reply.status;
                    let retry = answer.reply.retry();
                    self.world
                        .trace
                        .note(format_args!("c{} got {status:x} {retry:?}", self.machine));
                    let kept = (until, status, answer.cut_off);
                    called.attempts.push(Attempt { from, answer: Some(kept) });
                    match retry {
                        Retry::Never => {
                            self.fleet.answered(key, self.now());
                            self.current = Some(key);
                            called.cut_off = answer.cut_off;
                            self.took(&answer.reply);
                            called.reply = Some(answer.reply);
                            break;
                        }
                        Retry::Elsewhere => (Setback::Elsewhere, true),
                        Retry::Again => (Setback::Again, true),
                    }
                }
                Err(setback) => {
                    load.iter().for_each(|load| load.failed());
                    if setback.1 {
                        called.attempts.push(Attempt { from, answer: None });
                    }
                    self.lines.remove(&key);
                    setback
                }
            };
            let (now, random) = (self.now(), self.dice.draw());
            self.world.trace.note(format_args!("c{} {:?}", self.machine, setback.0));
            journey.setback(&mut self.fleet, key, now, random, setback);
            if self.current == Some(key) {
                self.current = None;
            }
        }
        called.until = self.world.history.moment();
        called
    }

    /// What a reply says beside its outcome.
    fn took(&mut self, reply: &Reply) {
        if reply.topology > self.fleet.topology()
            && let Some(key) = self.current
            && let Ok(answer) = self.exchange(key, 0, Operation::Topology(Topology {}))
            && let Some(Outcome::Topology(topology)) = answer.reply.outcome
        {
            self.fleet.learn(&topology);
        }
    }

    /// Tries an HSM that was dead, when its time has come.
    fn probe(&mut self) {
        let random = self.dice.draw();
        let Some(key) = self.fleet.due_probe(self.now(), random) else { return };
        if self.ping(key) {
            self.fleet.answered(key, self.now());
        } else {
            let random = self.dice.draw();
            self.fleet.failed(key, self.now(), random, Setback::NotConnected);
        }
    }

    fn machine_of(&self, key: HsmKey) -> Option<Machine> {
        crate::network::machine_at(&self.fleet.address(key)?.to_string())
    }

    fn ping(&self, key: HsmKey) -> bool {
        let Some(to) = self.machine_of(key) else { return false };
        let (world, from) = (Arc::clone(&self.world), self.machine);
        block_on(async move { timeout(PONG, world.ping(from, to)).await }).is_ok_and(|pong| pong)
    }

    /// Sends the request to one HSM.
    fn attempt(
        &mut self,
        key: HsmKey,
        operation: &dyn Fn() -> Operation,
    ) -> Result<Answer, (Setback, bool)> {
        if self.lines.get(&key).is_some_and(|line| !line.is_open()) {
            self.lines.remove(&key);
        }
        if !self.lines.contains_key(&key) {
            self.connect(key)?;
        }
        let ticket = self.ticket.clone();
        if self.lines.get(&key).is_some_and(|line| line.attached_with.as_ref() != Some(&ticket))
            && let Some(refusal) = self.attach(key)?
        {
            return Ok(refusal);
        }
        self.exchange(key, self.sequence, operation())
    }

    fn connect(&mut self, key: HsmKey) -> Result<(), (Setback, bool)> {
        let to = self.machine_of(key).ok_or((Setback::NotConnected, false))?;
        let (world, from) = (Arc::clone(&self.world), self.machine);
        let line = block_on(async move { timeout(CONNECT, world.connect(from, to)).await });
        let line = line.ok().flatten().ok_or((Setback::NotConnected, false))?;
        self.lines.insert(key, line);
        let hello =
            Hello { api_level_min: 1, api_level_max: 1, client_name: "simulated".to_owned() };
        let not_connected = |(setback, _)| (setback, false);
        let answer = self.exchange(key, 0, Operation::Hello(hello)).map_err(not_connected)?;
        if let Some(Outcome::Hello(hello)) = answer.reply.outcome {
            let now = self.fleet.greeted(key, &hello.hsm_id, &hello.zone);
            if now != key
                && let Some(line) = self.lines.remove(&key)
            {
                self.lines.insert(now, line);
                return Err((Setback::Broken, false));
            }
            return Ok(());
        }
        self.lines.remove(&key);
        Err((Setback::Elsewhere, false))
    }

    /// Makes the connection one of this client's; the HSM's refusal where the login has ended.
    fn attach(&mut self, key: HsmKey) -> Result<Option<Answer>, (Setback, bool)> {
        let Some(line) = self.lines.get(&key) else { return Err((Setback::Broken, false)) };
        let ticket = self.ticket.clone();
        let proof = if ticket.is_empty() {
            Vec::new()
        } else {
            let statement = strongroom_wire::attach_statement(&line.binding, &self.id);
            self.key.sign(&statement).as_ref().to_vec()
        };
        let attach = Attach { client_id: self.id.to_vec(), ticket: ticket.clone(), proof };
        let answer = self
            .exchange(key, 0, Operation::Attach(attach))
            .map_err(|(setback, _)| (setback, false))?;
        match answer.reply.retry() {
            Retry::Never => {}
            Retry::Elsewhere => return Err((Setback::Elsewhere, false)),
            Retry::Again => return Err((Setback::Again, false)),
        }
        if answer.reply.status != OK {
            return Ok(Some(answer));
        }
        if let Some(line) = self.lines.get_mut(&key) {
            line.attached_with = Some(ticket);
        }
        Ok(None)
    }

    /// One request and its reply, watched.
    fn exchange(
        &mut self,
        key: HsmKey,
        sequence: u64,
        operation: Operation,
    ) -> Result<Answer, (Setback, bool)> {
        let Some(line) = self.lines.get(&key) else { return Err((Setback::Broken, false)) };
        let asked = self.seen.ask(&operation);
        let request = Request {
            api_level: 1,
            sequence,
            lowest_unanswered: sequence,
            seen_index: asked.seen,
            needs_index: asked.needs,
            session: 1,
            operation: Some(operation),
        };
        let mut watch = Watch::new(self.now(), self.answers);
        let mut waiting = line.send(&self.world, request);
        loop {
            let now = self.now();
            let time = match watch.look(&mut self.fleet, key, now) {
                Look::Wait(time) => time,
                Look::Ping => {
                    let (world, from) = (Arc::clone(&self.world), self.machine);
                    let to = self.machine_of(key).unwrap_or(0);
                    let (back, pong);
                    (back, pong, waiting) = block_on(async move {
                        let ping = timeout(PONG, world.ping(from, to));
                        tokio::select! {
                            biased;
                            answer = &mut waiting => (Some(answer), None, waiting),
                            pong = ping => (None, Some(pong.is_ok_and(|pong| pong)), waiting),
                        }
                    });
                    if let Some(answer) = back {
                        self.fleet.answered(key, self.now());
                        return self.received(asked, answer);
                    }
                    if pong == Some(true) {
                        self.fleet.answered(key, self.now());
                    } else {
                        let random = self.dice.draw();
                        self.fleet.failed(key, self.now(), random, Setback::Silent);
                    }
                    continue;
                }
                Look::Leave => return Err((Setback::Silent, true)),
            };
            let answer;
            (answer, waiting) = block_on(async move {
                let answer = timeout(time, &mut waiting).await.ok();
                (answer, waiting)
            });
            if let Some(answer) = answer {
                return self.received(asked, answer);
            }
        }
    }

    fn received(&self, asked: Asked, answer: Received) -> Result<Answer, (Setback, bool)> {
        let Ok(Ok(answer)) = answer else { return Err((Setback::Broken, true)) };
        self.seen.answered(asked, &answer.reply);
        Ok(answer)
    }

    /// Logs in, with all that this takes. The status.
    pub fn log_in(&mut self, user: &str, role: Role, password: &str) -> Called {
        let public_key = self.key.public_key().as_ref().to_vec();
        let (user, password) = (user.to_owned(), password.to_owned());
        let mut called = self.call(&move || {
            let mut login = Login::default();
            login.user.clone_from(&user);
            login.role = role.into();
            login.password = password.clone().into_bytes();
            login.client_public_key.clone_from(&public_key);
            Operation::Login(login)
        });
        if let Some(Reply { outcome: Some(Outcome::Login(reply)), .. }) = &mut called.reply {
            self.ticket = std::mem::take(&mut reply.ticket);
        }
        called
    }

    /// Closes its connections, and chooses an HSM anew for its next request.
    pub fn hang_up(&mut self) {
        self.lines.clear();
        self.current = None;
    }

    /// Forgets its login, without a word to any HSM.
    pub fn forget_login(&mut self) {
        self.ticket.clear();
    }

    /// Whether it has a login, as far as it knows.
    #[must_use]
    pub fn is_logged_in(&self) -> bool {
        !self.ticket.is_empty()
    }
}

type Received = Result<Result<Answer, Lost>, oneshot::error::RecvError>;
