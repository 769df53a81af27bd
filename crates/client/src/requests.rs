//! The way of one request: this thread's connection, or one to the HSM that the fleet chooses; the
//! wait for its answer; and another way where that fails.

use std::{
    collections::BTreeMap,
    sync::{Arc, TryLockError},
    thread,
    time::Duration,
};

use cryptoki_sys::{CKR_KEY_HANDLE_INVALID, CKR_OBJECT_HANDLE_INVALID, CKR_USER_NOT_LOGGED_IN};
use strongroom_wire::message::{
    CloseSession, DestroyObject, Operation, Outcome, Reply, Request, Topology,
};

use crate::{
    Error,
    client::Inner,
    connection::{Connection, Failure, Pong, SLICE, Wait, check_retry, check_status},
    connection::{not_the_callers, unsent},
    endpoint::Haste,
    fleet::{Event, HsmKey, Journey, Load, Look, Moment, Reason, Setback, Standing, Step, Watch},
    login::{self, Generation, Login},
    objects::{Lack, needs_objects},
    pool::{Lease, Taken},
    site::{PING_REST, Site},
    socket::{Direction, Socket},
};

impl Inner {
    /// Carries out one operation.
    pub(crate) fn request(
        &self,
        session: u64,
        operation: Operation,
    ) -> Result<Option<Outcome>, Error> {
        let closes_session = matches!(operation, Operation::CloseSession(_));
        let sequence = self.numbers.begin(operation.is_change());
        let mut request = Request {
            sequence: sequence.number(),
            session,
            operation: Some(operation),
            ..Request::default()
        };
        let reply = self
            .persist(self.config.patience, true, |lease, answers| {
                self.attempt(lease, &mut request, answers)
            })
            .inspect_err(|_| {
                if closes_session {
                    self.objects.closed(session, None);
                }
            })?;
        match reply.status {
            0 => Ok(reply.outcome),
            status => Err(Error::Hsm { status, message: reply.message }),
        }
    }

    /// Tries until there is an answer, a refusal, or no patience left. Where `own`, this thread's own
    /// connection is tried first, and the fleet is asked only where that is of no use.
    pub(crate) fn persist<T>(
        &self,
        patience: Duration,
        own: bool,
        mut attempt: impl FnMut(&mut Lease<'_>, u32) -> Result<T, Failure>,
    ) -> Result<T, Error> {
        let mut journey = Journey::new(patience, self.config.options.retry);
        let mut troubles = Troubles::default();
        let mut chosen_anew = false;
        loop {
            let mine = if own && journey.is_fresh() { self.pool.own() } else { Err(None) };
            let (key, result) = match mine {
                Ok(lease) => self.run(lease, &mut attempt),
                Err(current) => match self.step(&mut journey, current) {
                    (Step::Go(key), chosen) => {
                        chosen_anew = current.is_some();
                        let lease = self.lease(key);
                        // From here on the lease's connection counts.
                        drop(chosen);
                        match lease {
                            Ok(lease) => self.run(lease, &mut attempt),
                            Err(failure) => (key, Err(failure)),
                        }
                    }
                    (Step::Pause(pause), _) => {
                        thread::sleep(pause);
                        continue;
                    }
                    (Step::GiveUp(reason), _) => return Err(troubles.error(reason)),
                },
            };
            let failure = match result {
                Ok(value) => {
                    if chosen_anew && journey.is_fresh() {
                        self.look_around(key);
                    }
                    return Ok(value);
                }
                Err(failure) => failure,
            };
            let setback = troubles.note(key, failure)?;
            let event = journey.setback(&mut self.fleet(), key, self.now(), random(), setback);
            self.tell(event);
            if !matches!(setback.0, Setback::Elsewhere | Setback::Again) {
                self.pool.close_dead(key);
            }
        }
    }

    /// What the fleet says; a request to the HSM that it chose counts from now on.
    fn step(&self, journey: &mut Journey, current: Option<HsmKey>) -> (Step, Option<Chosen>) {
        let mut fleet = self.fleet();
        let step = journey.next(&mut fleet, self.now(), random(), current);
        let Step::Go(key) = step else { return (step, None) };
        let chosen = fleet.load(key).map(|load| {
            load.begin();
            Chosen(load)
        });
        (step, chosen)
    }

    fn run<T>(
        &self,
        mut lease: Lease<'_>,
        attempt: &mut impl FnMut(&mut Lease<'_>, u32) -> Result<T, Failure>,
    ) -> (HsmKey, Result<T, Failure>) {
        let key = lease.site.key;
        let answers = lease.begin();
        let result =
            self.attach_with_login(&mut lease, answers).and_then(|()| attempt(&mut lease, answers));
        let connection_is_good = match &result {
            Ok(_) | Err(Failure::Refused { .. }) => true,
            Err(Failure::Final(error)) => matches!(error, Error::Caller { .. } | Error::Hsm { .. }),
            Err(Failure::Lost { .. } | Failure::Distrusted(_)) => false,
        };
        if connection_is_good {
            lease.answered();
            if result.is_ok() && lease.site.load.standing() != Standing::Good {
                self.heard(key);
            }
            lease.put_back();
        } else {
            // What became of the connection may have become of the HSM.
            lease.site.objects.doubt();
        }
        (key, result)
    }

    /// An idle connection to an HSM, or a new one.
    fn lease(&self, key: HsmKey) -> Result<Lease<'_>, Failure> {
        match self.pool.take(key) {
            Taken::Idle(lease) => Ok(lease),
            Taken::Vacancy(vacancy) => {
                let alternative = self.fleet().has_alternative(key, self.now());
                let haste = if alternative { Haste::Some } else { Haste::None };
                Ok(vacancy.fill(self.connect(key, haste)?))
            }
        }
    }

    pub(crate) fn connect(&self, key: HsmKey, haste: Haste) -> Result<Connection, Failure> {
        let (address, load) = {
            let fleet = self.fleet();
            (fleet.address(key), fleet.load(key))
        };
        let load = load.ok_or_else(|| unsent("the cluster has this HSM no more"))?;
        let site = self.sites.find(key, || load);
        let (mut connection, hello) =
            self.endpoint.connect(site, address.as_ref(), haste, &self.program)?;
        self.note(&hello).map_err(|error| match error {
            Error::Trust(_) if self.endpoint.is_cluster() => Failure::Distrusted(error),
            other => Failure::Final(other),
        })?;
        let (known, load) = {
            let mut fleet = self.fleet();
            let known = fleet.greeted(key, &hello.hsm_id, &hello.zone);
            (known, fleet.load(known))
        };
        if let Some(load) = load.filter(|_| known != key) {
            connection.site = self.sites.find(known, || load);
        }
        self.heard(known);
        Ok(connection)
    }

    /// An HSM gave a sign of life.
    fn heard(&self, key: HsmKey) {
        let event = self.fleet().answered(key, self.now());
        self.tell(event);
    }

    fn tell(&self, event: Option<Event>) {
        match event {
            None => {}
            Some(Event::Died(hsm)) => tracing::warn!(%hsm, "the HSM does not answer"),
            Some(Event::Returned(hsm)) => tracing::warn!(%hsm, "the HSM is back"),
        }
    }

    fn attach_with_login(&self, lease: &mut Lease<'_>, answers: u32) -> Result<(), Failure> {
        if lease.attached == Some(self.logins.generation()) {
            return Ok(());
        }
        let (generation, login) = self.logins.current();
        self.attach(lease, generation, login.as_deref(), answers)
    }

    fn attach(
        &self,
        lease: &mut Lease<'_>,
        generation: Generation,
        login: Option<&Login>,
        answers: u32,
    ) -> Result<(), Failure> {
        let attach = login::attach(&self.client_id, &lease.binding, login);
        let reply = self.ask(lease, 0, Operation::Attach(attach), answers)?;
        check_retry(&reply)?;
        if reply.status == CKR_USER_NOT_LOGGED_IN && login.is_some() {
            tracing::warn!("the HSM has ended the login");
            self.logins.end(generation);
            self.objects.clear();
        }
        check_status(&reply)?;
        lease.set_attached(generation, login.is_some());
        self.follow_topology(lease, reply.topology, answers)
    }

    /// One attempt at a request of the application's.
    fn attempt(
        &self,
        lease: &mut Lease<'_>,
        request: &mut Request,
        answers: u32,
    ) -> Result<Reply, Failure> {
        let needs_objects = request.operation.as_ref().is_some_and(needs_objects);
        if needs_objects && self.objects.is_behind(&lease.site.objects) {
            self.bring_objects(lease, answers)?;
        }
        let mut reply = self.exchange(lease, request, answers)?;
        let missing = [CKR_OBJECT_HANDLE_INVALID, CKR_KEY_HANDLE_INVALID].contains(&reply.status);
        if missing && needs_objects {
            // The HSM may have been restarted behind connections that were idle.
            lease.site.objects.doubt();
            if self.objects.is_behind(&lease.site.objects) {
                self.bring_objects(lease, answers)?;
                reply = self.exchange(lease, request, answers)?;
            }
        }
        if reply.status == CKR_USER_NOT_LOGGED_IN && lease.with_ticket {
            self.check_login(lease, answers);
        }
        check_retry(&reply)?;
        self.keep_objects(lease, request, &mut reply);
        // The answer is here: what becomes of the connection now shows the next time.
        let _ = self.follow_topology(lease, reply.topology, answers);
        Ok(reply)
    }

    fn exchange(
        &self,
        lease: &mut Lease<'_>,
        request: &mut Request,
        answers: u32,
    ) -> Result<Reply, Failure> {
        request.api_level = lease.api_level;
        request.lowest_unanswered = self.numbers.lowest_unanswered();
        let asked = request.operation.as_ref().map(|o| self.seen.ask(o)).unwrap_or_default();
        (request.seen_index, request.needs_index) = (asked.seen, asked.needs);
        let reply = lease.exchange(request, &mut Waiting { client: self, answers, watch: None })?;
        self.seen.answered(asked, &reply);
        Ok(reply)
    }

    /// A request of the client's own, before or after the application's.
    fn ask(
        &self,
        lease: &mut Lease<'_>,
        session: u64,
        operation: Operation,
        answers: u32,
    ) -> Result<Reply, Failure> {
        let sequence = if operation.is_change() { 0 } else { self.numbers.begin(false).number() };
        let mut request =
            Request { sequence, session, operation: Some(operation), ..Request::default() };
        self.exchange(lease, &mut request, answers).map_err(not_the_callers)
    }

    /// An HSM says CKR_USER_NOT_LOGGED_IN also to a login that may not do what it asks for. Whether
    /// the login itself has ended, it says when the ticket is shown again.
    fn check_login(&self, lease: &mut Lease<'_>, answers: u32) {
        if let (generation, Some(login)) = self.logins.current() {
            // What this finds out is kept in the login's state; a lost connection will show again.
            let _ = self.attach(lease, generation, Some(&login), answers);
        }
    }

    /// Asks for the topology where an HSM knows a newer one.
    fn follow_topology(
        &self,
        lease: &mut Lease<'_>,
        version: u64,
        answers: u32,
    ) -> Result<(), Failure> {
        if version <= self.topology() {
            return Ok(());
        }
        let _one_at_a_time = match self.learning.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(()),
        };
        let reply = self.ask(lease, 0, Operation::Topology(Topology {}), answers)?;
        self.set_topology(version);
        let Some(Outcome::Topology(topology)) = &reply.outcome else { return Ok(()) };
        let mut fleet = self.fleet();
        let learned = fleet.learn(topology);
        self.sites.retain(|key| fleet.load(key).is_some());
        drop(fleet);
        if !learned.added.is_empty() || !learned.removed.is_empty() {
            let (added, removed) = (learned.added.join(", "), learned.removed.join(", "));
            tracing::info!(%added, %removed, "the cluster's HSMs");
        }
        Ok(())
    }

    /// Puts onto an HSM what it lacks of the session objects.
    fn bring_objects(&self, lease: &mut Lease<'_>, answers: u32) -> Result<(), Failure> {
        let Lack { gone, restore, change } = self.objects.lack(&lease.site.objects);
        for gone in gone {
            let operation = match gone.handle {
                Some(handle) => Operation::DestroyObject(DestroyObject { handle }),
                None => Operation::CloseSession(CloseSession {}),
            };
            // Where it is not there, all the better.
            check_retry(&self.ask(lease, gone.session, operation, answers)?)?;
        }
        for objects in restore {
            let reply = self.ask(lease, 0, Operation::RestoreObjects(objects), answers)?;
            check_retry(&reply)?;
            if reply.status != 0 {
                // The request itself shows what that means.
                tracing::warn!(why = %reply.message, "the HSM does not take the session objects");
            }
        }
        lease.site.objects.reached(change);
        Ok(())
    }

    fn keep_objects(&self, lease: &Lease<'_>, request: &Request, reply: &mut Reply) {
        let hsm = &lease.site.objects;
        self.objects.keep(std::mem::take(&mut reply.session_objects), hsm);
        match &request.operation {
            Some(Operation::CloseSession(_)) => self.objects.closed(request.session, Some(hsm)),
            Some(Operation::DestroyObject(destroy)) if reply.status == 0 => {
                self.objects.destroyed(destroy.handle, hsm);
            }
            _ => {}
        }
    }

    /// What one thread does for all, when it has chosen its HSM anew: tries one that was dead, and
    /// sees that its own can be asked whether it is alive.
    fn look_around(&self, key: HsmKey) {
        let now = self.now();
        let (probe, alone) = {
            let mut fleet = self.fleet();
            (fleet.due_probe(now, random()), fleet.keys().nth(1).is_none())
        };
        if let Some(probe) = probe {
            self.probe(probe);
        }
        if alone {
            return;
        }
        let load = self.fleet().load(key);
        let Some(load) = load else { return };
        let site = self.sites.find(key, || load);
        let Some(mut slot) = site.try_ping() else { return };
        let rested = slot.as_ref().map(|connection| connection.last_used.elapsed());
        if rested.is_none_or(|rested| rested > PING_REST) {
            self.ping(&site, &mut slot, None);
        }
    }

    fn probe(&self, key: HsmKey) {
        let Some(vacancy) = self.pool.vacancy() else { return };
        match self.connect(key, Haste::Great) {
            Ok(connection) => vacancy.fill(connection).put_aside(),
            Err(failure) => {
                let setback = match failure {
                    Failure::Distrusted(_) | Failure::Final(_) => Setback::Untrusted,
                    Failure::Lost { .. } | Failure::Refused { .. } => Setback::NotConnected,
                };
                let event = self.fleet().failed(key, self.now(), random(), setback);
                self.tell(event);
            }
        }
    }

    /// Asks an HSM whether it is there, and tells the fleet. Ends early where `other` is ready.
    fn ping(
        &self,
        site: &Site,
        slot: &mut Option<Connection>,
        other: Option<(&Socket, Direction)>,
    ) {
        let sequence = self.numbers.begin(false).number();
        if let Some(connection) = slot {
            match connection.ping(sequence, other, self.config.ping_timeout) {
                Ok(Pong::Answered) => return self.heard(site.key),
                Ok(Pong::OtherReady) => {
                    *slot = None;
                    return self.heard(site.key);
                }
                Ok(Pong::Silence) => {
                    *slot = None;
                    let event =
                        self.fleet().failed(site.key, self.now(), random(), Setback::Silent);
                    return self.tell(event);
                }
                // The HSM closes connections that rest; a new one tells.
                Err(_) => *slot = None,
            }
        }
        match self.connect(site.key, Haste::Ask(self.config.ping_timeout)) {
            Ok(connection) => *slot = Some(connection),
            Err(_) => {
                let event = self.fleet().failed(site.key, self.now(), random(), Setback::Silent);
                self.tell(event);
            }
        }
    }
}

/// A request that has an HSM and no connection yet.
struct Chosen(Arc<Load>);

impl Drop for Chosen {
    fn drop(&mut self) {
        self.0.failed();
    }
}

/// A request that waits for its answer: other HSMs are where it may go.
struct Waiting<'a> {
    client: &'a Inner,
    /// The HSM's, when the request began.
    answers: u32,
    watch: Option<(Moment, Watch)>,
}

impl Wait for Waiting<'_> {
    fn wait(&mut self, site: &Site, socket: &Socket, direction: Direction) -> Result<(), Failure> {
        let lost = |setback, reason| Failure::Lost { setback, sent: true, reason };
        let client = self.client;
        loop {
            let now = client.now();
            // The first time, nothing has come for one slice.
            let (asked, watch) = self.watch.get_or_insert_with(|| {
                let asked = now.saturating_sub(SLICE);
                (asked, Watch::new(asked, self.answers))
            });
            let waited = now.saturating_sub(*asked);
            if waited >= client.config.answer_timeout {
                let reason = format!("no answer for {} ms", waited.as_millis());
                return Err(lost(Setback::Broken, reason));
            }
            let look = watch.look(&mut client.fleet(), site.key, now);
            let patience = match look {
                Look::Wait(patience) => patience.min(client.config.answer_timeout - waited),
                Look::Leave => {
                    let reason = format!("the HSM is silent for {} ms", waited.as_millis());
                    return Err(lost(Setback::Silent, reason));
                }
                Look::Ping => {
                    // Where another thread asks, it will tell.
                    if let Some(mut slot) = site.try_ping() {
                        client.ping(site, &mut slot, Some((socket, direction)));
                    }
                    Duration::ZERO
                }
            };
            let ready = Socket::wait_for(&[(socket, direction)], patience);
            if ready.map_err(|e| lost(Setback::Broken, e.to_string()))?.is_some() {
                return Ok(());
            }
        }
    }
}

/// What went wrong on a request's way, for the error that ends it.
#[derive(Default)]
struct Troubles {
    refused: Option<(u64, String)>,
    distrusted: Option<Error>,
    lost: BTreeMap<HsmKey, String>,
}

impl Troubles {
    /// What it is to the fleet, and whether the HSM may have got the request.
    ///
    /// # Errors
    /// Where nothing else would help.
    fn note(&mut self, key: HsmKey, failure: Failure) -> Result<(Setback, bool), Error> {
        match failure {
            Failure::Final(error) => Err(error),
            Failure::Lost { setback, sent, reason } => {
                tracing::debug!(%reason, "connection to the HSM failed");
                self.lost.insert(key, reason);
                Ok((setback, sent))
            }
            Failure::Refused { setback, status, message } => {
                self.refused = Some((status, message));
                // Where it goes elsewhere, nothing was done.
                Ok((setback, setback == Setback::Again))
            }
            Failure::Distrusted(error) => {
                self.distrusted.get_or_insert(error);
                Ok((Setback::Untrusted, false))
            }
        }
    }

    fn error(self, reason: Reason) -> Error {
        let lost: Vec<String> = self.lost.into_values().collect();
        let unreachable = Error::Connection(lost.join("; "));
        let refused = |(status, message)| Error::Hsm { status, message };
        match reason {
            Reason::Refused => self.refused.map_or(unreachable, refused),
            Reason::Untrusted => self.distrusted.unwrap_or(unreachable),
            Reason::NotAgain if lost.is_empty() => self.refused.map_or(unreachable, refused),
            Reason::NotAgain | Reason::Unreachable => unreachable,
        }
    }
}

/// Different in each thread and moment; not for anything secret.
fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}
