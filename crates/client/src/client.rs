//! [`Client`]: one application's use of one cluster.
//!
//! In: operations. Out: outcomes. A request goes out on the calling thread's own connection. Where
//! a connection fails, the request goes out again on another one until the patience is over: reads
//! and uses of keys give the same result again; a change keeps its client id and sequence, by which
//! the HSM knows that it has been done and repeats its answer.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use cryptoki_sys::{
    CKR_USER_ALREADY_LOGGED_IN, CKR_USER_ANOTHER_ALREADY_LOGGED_IN, CKR_USER_NOT_LOGGED_IN,
};
use strongroom_wire::message::{
    self, ClusterPhase, HelloReply, Logout, Operation, Outcome, Personality, Reply, Request, Role,
};

use crate::{
    Config, Error,
    config::{RetryMode, personality_name},
    connection::{Failure, check_status, unsent},
    endpoint::Endpoint,
    login::{self, Generation, Login, Logins, ProofKey},
    numbers::Numbers,
    pool::{Lease, Pool, Taken},
    retry::Patience,
};

/// The first connection is given up sooner: a program that starts should say that it cannot.
const FIRST_PATIENCE: Duration = Duration::from_secs(2);

/// What a program says about itself when it opens a client.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Name and version, for the HSM's audit log: `strongroom-pkcs11 0.1.0`.
    pub program: String,
    /// The folder that the program's Strongroom library was loaded from: the `strongroom` binary is
    /// looked for there.
    pub library_dir: Option<PathBuf>,
}

/// What the HSM said about itself and its cluster when a connection was last opened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Info {
    /// `hsm-…`.
    pub hsm_id: String,
    /// `cluster-…`.
    pub cluster_id: String,
    /// How far the cluster's set-up has come.
    pub phase: ClusterPhase,
    /// Which programs the token is for.
    pub personality: Personality,
    /// Whether FIPS mode's rules hold (the software is not validated).
    pub fips_mode: bool,
    /// HSMs in the cluster.
    pub hsms: u32,
}

/// One application's use of one cluster: its connections, its login, its numbers. Clones share
/// them; all methods may be called from any thread.
///
/// After fork, the child must not use its parent's client: it calls [`Client::forget`] and opens
/// its own.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    config: Config,
    program: String,
    endpoint: Endpoint,
    /// Of this process; a child after fork has another.
    client_id: [u8; 16],
    process: u32,
    numbers: Numbers,
    logins: Logins,
    pool: Pool,
    info: Mutex<Option<Info>>,
    /// One login or logout at a time.
    login_turn: Mutex<()>,
}

impl Client {
    /// Connects, for a program of this name and version.
    ///
    /// # Errors
    /// As [`Client::open_with`].
    pub fn open(config: Config, program: &str) -> Result<Self, Error> {
        Self::open_with(config, Options { program: program.into(), library_dir: None })
    }

    /// Connects once, so that a wrong configuration, an HSM that is not to be trusted, or none at
    /// all, shows at once. A local HSM that does not run is started.
    ///
    /// # Errors
    /// [`Error::Config`], [`Error::Trust`], [`Error::Start`], or [`Error::Connection`] after two
    /// seconds (or the configured patience, where that is less).
    pub fn open_with(config: Config, options: Options) -> Result<Self, Error> {
        let mut client_id = [0; 16];
        aws_lc_rs::rand::fill(&mut client_id)
            .map_err(|_| Error::Connection("no random numbers for a client id".into()))?;
        let inner = Inner {
            endpoint: Endpoint::new(&config, options.library_dir)?,
            program: options.program,
            client_id,
            process: std::process::id(),
            numbers: Numbers::new(),
            logins: Logins::new(),
            pool: Pool::new(),
            info: Mutex::new(None),
            login_turn: Mutex::new(()),
            config,
        };
        let patience = inner.config.patience.min(FIRST_PATIENCE);
        inner.persist(patience, || inner.connection().map(Lease::put_back))?;
        Ok(Self(Arc::new(inner)))
    }

    /// The configuration that it was opened with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// What the HSM said when a connection was last opened.
    #[must_use]
    pub fn info(&self) -> Info {
        let info = self.0.info();
        // A client exists only after its first connection; see `open_with`.
        info.clone().expect("a client has connected once")
    }

    /// What the HSM says now, asked over a new connection: for after the phase may have changed.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn refresh(&self) -> Result<Info, Error> {
        let inner = &*self.0;
        inner.persist(inner.config.patience, || {
            if let Some(vacancy) = inner.pool.vacancy() {
                let (connection, hello) = inner.connect()?;
                inner.note(&hello)?;
                vacancy.fill(connection).put_back();
            }
            Ok(())
        })?;
        Ok(self.info())
    }

    /// Carries out an operation in an application's session (0 for none) and gives its outcome,
    /// `None` where there is nothing to say but success.
    ///
    /// # Errors
    /// [`Error::Hsm`] where the HSM refuses; [`Error::Connection`] where the connection fails for
    /// longer than the configured patience.
    pub fn call(&self, session: u64, operation: Operation) -> Result<Option<Outcome>, Error> {
        self.0.request(session, operation)
    }

    /// Proves a password and puts all connections under the login.
    ///
    /// # Errors
    /// CKR_USER_ALREADY_LOGGED_IN, CKR_USER_ANOTHER_ALREADY_LOGGED_IN, or as [`Client::call`].
    pub fn login(&self, user: &str, role: Role, password: &[u8]) -> Result<(), Error> {
        let inner = &*self.0;
        let _turn = inner.login_turn();
        match inner.logins.role() {
            // PKCS#11 2.40, section 5.6: "CKR_USER_ALREADY_LOGGED_IN", "CKR_USER_ANOTHER_ALREADY_
            // LOGGED_IN" for another role.
            Some(present) if present == role => {
                return Err(Error::caller(CKR_USER_ALREADY_LOGGED_IN, "already logged in"));
            }
            Some(_) => {
                return Err(Error::caller(
                    CKR_USER_ANOTHER_ALREADY_LOGGED_IN,
                    "another user is logged in: log out first",
                ));
            }
            None => {}
        }
        let key = ProofKey::generate()?;
        let operation = Operation::Login(message::Login {
            user: user.to_owned(),
            role: role.into(),
            password: password.to_vec(),
            client_public_key: key.public_key(),
        });
        let Some(Outcome::Login(reply)) = inner.request(0, operation)? else {
            return Err(Error::Protocol("a login without a ticket".into()));
        };
        inner.logins.begin(Login::new(role, reply.ticket, key));
        let generation = inner.logins.generation();
        inner
            .persist(inner.config.patience, || inner.connection().map(Lease::put_back))
            .inspect_err(|_| inner.logins.end(generation))
    }

    /// Ends the login, here in any case, and at the HSM.
    ///
    /// # Errors
    /// CKR_USER_NOT_LOGGED_IN, or as [`Client::call`].
    pub fn logout(&self) -> Result<(), Error> {
        let inner = &*self.0;
        let _turn = inner.login_turn();
        let (generation, Some(_)) = inner.logins.current() else {
            return Err(Error::caller(CKR_USER_NOT_LOGGED_IN, "nobody is logged in"));
        };
        let result = inner.request(0, Operation::Logout(Logout {}));
        inner.logins.end(generation);
        match result {
            // It had ended at the HSM already.
            Err(Error::Hsm { status: CKR_USER_NOT_LOGGED_IN, .. }) => Ok(()),
            other => other.map(drop),
        }
    }

    /// The role that is logged in, as far as this client knows.
    #[must_use]
    pub fn logged_in(&self) -> Option<Role> {
        self.0.logins.role()
    }

    /// In a child after fork: closes the parent's idle connections without a word to the HSM (TLS
    /// records of two processes must not mix, and the parent goes on using them) and wipes the
    /// login. Never waits for a lock: the thread that holds it may not exist in the child. A
    /// connection that another of the parent's threads was using at the fork stays open, unused,
    /// until the child ends or executes another program.
    pub fn forget(self) {
        self.0.pool.forget();
        self.0.logins.forget();
    }
}

impl Inner {
    fn request(&self, session: u64, operation: Operation) -> Result<Option<Outcome>, Error> {
        let sequence = self.numbers.begin(operation.is_change());
        let mut request = Request {
            sequence: sequence.number(),
            session,
            operation: Some(operation),
            ..Request::default()
        };
        let reply = self.persist(self.config.patience, || self.attempt(&mut request))?;
        check_status(&reply)?;
        Ok(reply.outcome)
    }

    /// Tries until there is an answer, a refusal, or no patience left.
    fn persist<T>(
        &self,
        patience: Duration,
        mut attempt: impl FnMut() -> Result<T, Failure>,
    ) -> Result<T, Error> {
        let mut patience = Patience::new(patience);
        loop {
            let (sent, reason) = match attempt() {
                Ok(value) => return Ok(value),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Lost { sent, reason }) => (sent, reason),
            };
            self.pool.close_dead();
            if sent && self.config.options.retry == RetryMode::Off {
                return Err(Error::Connection(reason));
            }
            let Some(pause) = patience.next_pause() else {
                return Err(Error::Connection(reason));
            };
            tracing::warn!(%reason, "connection to the HSM failed, trying again");
            thread::sleep(pause);
        }
    }

    fn attempt(&self, request: &mut Request) -> Result<Reply, Failure> {
        let mut lease = self.connection()?;
        request.api_level = lease.api_level;
        request.lowest_unanswered = self.numbers.lowest_unanswered();
        request.seen_index = self.numbers.seen_index();
        let reply = match lease.exchange(request) {
            Ok(reply) => reply,
            Err(failure) => {
                if matches!(failure, Failure::Final(Error::Caller { .. })) {
                    lease.put_back();
                }
                return Err(failure);
            }
        };
        self.numbers.saw(reply.log_index);
        if reply.status == CKR_USER_NOT_LOGGED_IN && lease.with_ticket {
            self.check_login(&mut lease);
        }
        lease.put_back();
        Ok(reply)
    }

    /// An HSM says CKR_USER_NOT_LOGGED_IN also to a login that may not do what it asks for. Whether
    /// the login itself has ended, it says when the ticket is shown again.
    fn check_login(&self, lease: &mut Lease<'_>) {
        if let (generation, Some(login)) = self.logins.current() {
            // What this finds out is kept in the login's state; a lost connection will show again.
            let _ = self.attach(lease, generation, Some(&login));
        }
    }

    /// A connection, attached with the present login.
    fn connection(&self) -> Result<Lease<'_>, Failure> {
        let mut lease = match self.pool.take() {
            Taken::Idle(lease) => lease,
            Taken::Vacancy(vacancy) => {
                let (connection, hello) = self.connect()?;
                self.note(&hello)?;
                vacancy.fill(connection)
            }
        };
        if lease.attached != Some(self.logins.generation()) {
            let (generation, login) = self.logins.current();
            self.attach(&mut lease, generation, login.as_deref())?;
        }
        Ok(lease)
    }

    fn attach(
        &self,
        lease: &mut Lease<'_>,
        generation: Generation,
        login: Option<&Login>,
    ) -> Result<(), Failure> {
        let attach = login::attach(&self.client_id, &lease.binding, login);
        let request = Request {
            api_level: lease.api_level,
            sequence: self.numbers.begin(false).number(),
            seen_index: self.numbers.seen_index(),
            lowest_unanswered: self.numbers.lowest_unanswered(),
            operation: Some(Operation::Attach(attach)),
            ..Request::default()
        };
        let reply = lease.exchange(&request).map_err(|failure| match failure {
            // The caller's own request has not been sent.
            Failure::Lost { reason, .. } => unsent(reason),
            other => other,
        })?;
        if reply.status == CKR_USER_NOT_LOGGED_IN && login.is_some() {
            tracing::warn!("the HSM has ended the login");
            self.logins.end(generation);
        }
        check_status(&reply)?;
        self.numbers.saw(reply.log_index);
        lease.set_attached(generation, login.is_some());
        Ok(())
    }

    fn connect(&self) -> Result<(crate::connection::Connection, HelloReply), Failure> {
        self.endpoint.connect(self.config.answer_timeout, &self.program)
    }

    /// Checks that a new connection leads to where the others do.
    fn note(&self, hello: &HelloReply) -> Result<(), Error> {
        let unknown = |what: &str| Error::Protocol(format!("the HSM is in an unknown {what}"));
        let info = Info {
            hsm_id: hello.hsm_id.clone(),
            cluster_id: hello.cluster_id.clone(),
            phase: ClusterPhase::try_from(hello.phase).map_err(|_| unknown("phase"))?,
            personality: Personality::try_from(hello.personality)
                .map_err(|_| unknown("personality"))?,
            fips_mode: hello.fips_mode,
            hsms: hello.hsms,
        };
        if let Some(expected) = self.config.personality
            && expected != info.personality
        {
            return Err(Error::Config(format!(
                "the configuration (or STRONGROOM_PERSONALITY) asks for personality {}, the HSM has {}",
                personality_name(expected),
                personality_name(info.personality)
            )));
        }
        let mut known = self.info();
        if let Some(known) = &*known
            && known.cluster_id != info.cluster_id
        {
            return Err(Error::Trust(format!(
                "cluster id: this program began with {}, and now {} answers: restart the program",
                known.cluster_id, info.cluster_id
            )));
        }
        *known = Some(info);
        Ok(())
    }

    fn info(&self) -> MutexGuard<'_, Option<Info>> {
        self.info.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn login_turn(&self) -> MutexGuard<'_, ()> {
        self.login_turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // In a child after fork the connections are the parent's: they are closed without a word.
        if std::process::id() == self.process {
            self.pool.close_all();
        }
    }
}
