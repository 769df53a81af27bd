//! [`Client`]: one application's use of one cluster.
//!
//! In: operations. Out: outcomes. A request goes out on the calling thread's own connection, to one
//! HSM. Where that fails it goes to another one, until the patience is over: reads and uses of keys
//! give the same result again; a change keeps its client id and sequence, by which the cluster knows
//! that it has been done and repeats its answer. How that goes is in `requests`.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use cryptoki_sys::{
    CKR_USER_ALREADY_LOGGED_IN, CKR_USER_ANOTHER_ALREADY_LOGGED_IN, CKR_USER_NOT_LOGGED_IN,
};
use strongroom_wire::message::{
    self, ClusterPhase, HelloReply, Logout, Operation, Outcome, Personality, Role,
};

use crate::{
    Config, Error,
    config::personality_name,
    endpoint::{Endpoint, Haste},
    fleet::{Fleet, Moment},
    login::{Login, Logins, ProofKey},
    numbers::Numbers,
    objects::Objects,
    pool::Pool,
    seen::Seen,
    site::Sites,
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

/// What clones share.
pub(crate) struct Inner {
    pub(crate) config: Config,
    pub(crate) program: String,
    pub(crate) endpoint: Endpoint,
    /// Asked only when something is wrong, or now and then.
    fleet: Mutex<Fleet>,
    pub(crate) sites: Sites,
    /// Of the fleet's time.
    origin: Instant,
    /// The version of the topology that was last asked for.
    topology: AtomicU64,
    /// One thread asks for a topology.
    pub(crate) learning: Mutex<()>,
    /// Of this process; a child after fork has another.
    pub(crate) client_id: [u8; 16],
    process: u32,
    pub(crate) numbers: Numbers,
    pub(crate) seen: Seen,
    pub(crate) logins: Logins,
    pub(crate) objects: Objects,
    pub(crate) pool: Pool,
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
        let (endpoint, fleet) = Endpoint::new(&config, options.library_dir)?;
        let inner = Inner {
            endpoint,
            fleet: Mutex::new(fleet),
            sites: Sites::new(),
            origin: Instant::now(),
            topology: AtomicU64::new(0),
            learning: Mutex::new(()),
            program: options.program,
            client_id,
            process: std::process::id(),
            numbers: Numbers::new(),
            seen: Seen::new(),
            logins: Logins::new(),
            objects: Objects::new(),
            pool: Pool::new(),
            info: Mutex::new(None),
            login_turn: Mutex::new(()),
            config,
        };
        let patience = inner.config.patience.min(FIRST_PATIENCE);
        inner.persist(patience, false, |_, _| Ok(()))?;
        inner.warn_of_one_hsm();
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
        inner.persist(inner.config.patience, true, |lease, _| {
            if let Some(vacancy) = inner.pool.vacancy() {
                vacancy.fill(inner.connect(lease.site.key, Haste::None)?).put_back();
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
            .persist(inner.config.patience, true, |_, _| Ok(()))
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
        inner.objects.clear();
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
        self.0.sites.forget();
        self.0.logins.forget();
        self.0.objects.forget();
    }
}

impl Inner {
    pub(crate) fn fleet(&self) -> MutexGuard<'_, Fleet> {
        self.fleet.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As the fleet counts time.
    pub(crate) fn now(&self) -> Moment {
        self.origin.elapsed()
    }

    pub(crate) fn topology(&self) -> u64 {
        self.topology.load(Ordering::Relaxed)
    }

    pub(crate) fn set_topology(&self, version: u64) {
        self.topology.fetch_max(version, Ordering::Relaxed);
    }

    /// CloudHSM's clients refuse keys that are on one HSM alone. Where a cluster has no more, that
    /// would be all: a line in the log, once for each process.
    fn warn_of_one_hsm(&self) {
        static WARNED: AtomicBool = AtomicBool::new(false);
        let one = self.info().as_ref().is_some_and(|info| info.hsms == 1);
        if one
            && self.endpoint.is_cluster()
            && !self.config.options.disable_key_availability_check
            && !WARNED.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                "the cluster has one HSM: keys are lost with it (add HSMs, or set \
                 disable_key_availability_check)"
            );
        }
    }

    /// Checks that a new connection leads to where the others do.
    pub(crate) fn note(&self, hello: &HelloReply) -> Result<(), Error> {
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
            self.sites.close_all();
        }
    }
}
