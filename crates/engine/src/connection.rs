//! One connection: its place among the client's, its caches, and the dispatch of its requests.
//!
//! In: requests, one at a time. Out: one reply each, whatever the request holds. Never: an answer
//! from a state that is older than what the client has seen, or that a crash could take back.

use std::sync::Arc;

use cryptoki_sys::*;
use strongroom_vault::{
    Actor, Command, Entry, LogIndex, LoginId, Personality, Principal, ReplicationError, State,
    UserId,
};
use strongroom_wire::message::{Operation, Outcome, Reply, Request, Retry, SessionObject};

use crate::audit::{Function, Use, UseBuffer};
use crate::cache::HotObjects;
use crate::clients::{ClientContext, LoginContext};
use crate::cluster::UNKNOWN_TOPOLOGY;
use crate::engine::Engine;
use crate::error::Error;

/// What carries a connection.
#[derive(Clone, Debug)]
pub struct Channel {
    /// TLS exporter value under [`strongroom_wire::CHANNEL_BINDING_LABEL`]. Unused where `local`.
    pub binding: [u8; 32],
    /// A UNIX socket whose peer is the HSM's own user: a server nonce stands for the binding.
    pub local: bool,
    /// Who is at the other end, for the log.
    pub peer: String,
}

/// What a request says of itself.
#[derive(Clone, Copy, Default)]
pub(crate) struct Call {
    pub(crate) sequence: u64,
    pub(crate) lowest_unanswered: u64,
    pub(crate) session: u64,
    /// The newest state that the client has seen.
    pub(crate) seen: LogIndex,
}

/// One client connection. Belongs to one thread.
pub struct Connection {
    pub(crate) engine: Arc<Engine>,
    pub(crate) channel: Channel,
    pub(crate) level: Option<u32>,
    /// Does not change once a cluster is created.
    pub(crate) personality: Personality,
    pub(crate) client: Option<Arc<ClientContext>>,
    pub(crate) login: Option<Arc<LoginContext>>,
    uses: Arc<UseBuffer>,
    pub(crate) hot: HotObjects,
    /// For whom `hot` was allowed what it holds.
    pub(crate) hot_actor: Actor,
    /// Of the request that runs.
    pub(crate) call: Call,
    /// The newest state that the running request saw or made.
    pub(crate) saw: LogIndex,
    /// Session objects that the running request made or changed.
    pub(crate) handed_out: Vec<SessionObject>,
    /// The newest change of the topology, and the index at which that was so.
    pub(crate) topology: (LogIndex, LogIndex),
}

impl Connection {
    pub(crate) fn new(engine: Arc<Engine>, channel: Channel) -> Self {
        let uses = engine.uses.open();
        Self {
            engine,
            channel,
            level: None,
            personality: Personality::CloudHsm,
            client: None,
            login: None,
            uses,
            hot: HotObjects::default(),
            hot_actor: Actor::Anonymous,
            call: Call::default(),
            saw: LogIndex(0),
            handed_out: Vec::new(),
            topology: UNKNOWN_TOPOLOGY,
        }
    }

    /// Whether the connection has shown who it is: larger frames are then worth their memory.
    #[must_use]
    pub fn attached(&self) -> bool {
        self.client.is_some() && (self.channel.local || self.login().is_some())
    }

    /// Whether the connection is worth its place while no request comes: it has shown who it is, or
    /// its client keeps session objects here.
    #[must_use]
    pub fn may_rest(&self) -> bool {
        self.attached() || self.client.as_ref().is_some_and(|client| !client.objects.is_empty())
    }

    /// Answers one request. Never panics, whatever the request holds.
    pub fn handle(&mut self, request: Request) -> Reply {
        let Request {
            api_level,
            sequence,
            lowest_unanswered,
            seen_index,
            session,
            needs_index,
            operation,
        } = request;
        let seen = LogIndex(seen_index);
        let needs = needs_index.map_or(seen, |needs| LogIndex(needs).min(seen));
        self.call = Call { sequence, lowest_unanswered, session, seen };
        self.saw = LogIndex(0);
        let result = match operation {
            Some(operation) => self.run(api_level, needs, operation),
            None => Err(Error::arguments("this HSM does not know the operation")),
        };
        // What the answer reflects must be on disk first, or a crash could take it back.
        let result = self.engine.wait(self.saw).and(result);
        let log_index = self.saw.max(seen).min(self.durable()).0;
        let mut session_objects = std::mem::take(&mut self.handed_out);
        let mut retry = Retry::Never;
        let (status, message, outcome) = match result {
            Ok(outcome) => (CKR_OK, String::new(), outcome),
            Err(error) => {
                if matches!(error, Error::Damaged(_) | Error::Bug(_) | Error::SelfTest) {
                    tracing::error!(%error, peer = %self.channel.peer, "a request failed by the HSM's fault");
                }
                session_objects.clear();
                retry = error.retry();
                (error.ckr(), error.to_string(), None)
            }
        };
        Reply {
            sequence,
            log_index,
            status,
            message,
            outcome,
            retry: retry.into(),
            topology: self.topology_version(),
            session_objects,
        }
    }

    fn run(
        &mut self,
        api_level: u32,
        needs: LogIndex,
        operation: Operation,
    ) -> Result<Option<Outcome>, Error> {
        // Health is answered by an HSM that is behind, too.
        if matches!(operation, Operation::Ping(_)) {
            return Ok(None);
        }
        if self.engine.is_draining() {
            return Err(ReplicationError::Stopping.into());
        }
        if self.call.seen > self.durable() && self.attached() {
            self.engine.seen_by_client(self.call.seen);
        }
        self.engine.catch_up(needs)?;
        if let Operation::Hello(hello) = operation {
            return self.hello(&hello).map(Some);
        }
        match self.level {
            Some(level) if level == api_level => {}
            Some(level) => {
                return Err(Error::arguments(format!("this connection speaks level {level}")));
            }
            None => return Err(Error::arguments("a connection begins with Hello")),
        }
        if !is_answered_always(&operation) {
            self.engine.check_contact()?;
        }
        match operation {
            Operation::Ping(_) | Operation::Hello(_) => Ok(None),
            Operation::Topology(_) => Ok(Some(self.topology())),
            Operation::ClusterInfo(_) => Ok(Some(self.cluster_info())),
            Operation::Attach(attach) => self.attach(&attach).map(|()| None),
            Operation::Login(login) => self.log_in(&login).map(Some),
            Operation::HsmInfo(_) => self.hsm_info().map(Some),
            Operation::ListUsers(_) => self.list_users().map(Some),
            Operation::TokenInfo(_) => self.token_info().map(Some),
            Operation::ListMechanisms(_) => Ok(Some(self.list_mechanisms())),
            operation if self.client.is_none() => {
                drop(operation);
                Err(Error::arguments("attach this connection first"))
            }
            operation => self.run_attached(operation),
        }
    }

    fn run_attached(&mut self, operation: Operation) -> Result<Option<Outcome>, Error> {
        match operation {
            Operation::Sign(m) => self.sign(&m).map(Some),
            Operation::Verify(m) => self.verify(&m).map(|()| None),
            Operation::MacPart(m) => self.mac_part(&m),
            Operation::Encrypt(m) => self.encrypt(&m).map(Some),
            Operation::Decrypt(m) => self.decrypt(&m).map(Some),
            Operation::Random(m) => self.random(&m).map(Some),
            Operation::GenerateKey(m) => self.generate_key(m).map(Some),
            Operation::GenerateKeyPair(m) => self.generate_key_pair(m).map(Some),
            Operation::CreateObject(m) => self.create_object(m).map(Some),
            Operation::CopyObject(m) => self.copy_object(m).map(Some),
            Operation::WrapKey(m) => self.wrap_key(&m).map(Some),
            Operation::UnwrapKey(m) => self.unwrap_key(m).map(Some),
            Operation::DeriveKey(m) => self.derive_key(m).map(Some),
            Operation::EncapsulateKey(m) => self.encapsulate_key(m).map(Some),
            Operation::DecapsulateKey(m) => self.decapsulate_key(m).map(Some),
            Operation::DestroyObject(m) => self.destroy_object(&m).map(|()| None),
            Operation::GetAttributes(m) => self.get_attributes(&m).map(Some),
            Operation::SetAttributes(m) => self.set_attributes(m),
            Operation::FindObjects(m) => self.find_objects(m).map(Some),
            Operation::CloseSession(_) => {
                self.close_session();
                Ok(None)
            }
            Operation::Logout(_) => self.log_out().map(|()| None),
            Operation::CreateUser(m) => self.create_user(&m).map(|()| None),
            Operation::DeleteUser(m) => self.delete_user(&m).map(|()| None),
            Operation::ChangePassword(m) => self.change_password(&m).map(|()| None),
            Operation::ActivateCluster(m) => self.activate_cluster(&m).map(|()| None),
            Operation::InitToken(m) => self.init_token(&m).map(|()| None),
            Operation::InitPin(m) => self.init_pin(&m).map(|()| None),
            Operation::RestoreObjects(m) => self.restore_objects(&m).map(|()| None),
            Operation::SetJoinPolicy(m) => self.set_join_policy(m).map(|()| None),
            Operation::ApproveJoin(m) => self.approve_join(&m).map(|()| None),
            Operation::SetCutOffPolicy(m) => self.set_cut_off_policy(m).map(|()| None),
            Operation::SetRecoveryKeys(m) => self.set_recovery_keys(m).map(|()| None),
            Operation::ClusterCsr(_) => self.cluster_csr().map(Some),
            Operation::InstallClusterCertificate(m) => {
                self.install_cluster_certificate(&m).map(|()| None)
            }
            // Answered by `run`, attached or not.
            Operation::Ping(_)
            | Operation::Hello(_)
            | Operation::Attach(_)
            | Operation::Login(_)
            | Operation::HsmInfo(_)
            | Operation::ListUsers(_)
            | Operation::TokenInfo(_)
            | Operation::Topology(_)
            | Operation::ClusterInfo(_)
            | Operation::ListMechanisms(_) => Err(Error::Bug("dispatch")),
        }
    }

    /// For which programs the token is.
    pub(crate) fn personality(&self) -> Personality {
        self.personality
    }

    /// The last entry that is applied and on disk.
    pub(crate) fn durable(&self) -> LogIndex {
        self.engine.replicator.state().durable()
    }

    /// On whose authority the connection acts now.
    pub(crate) fn actor(&self) -> Actor {
        self.login().map_or(Actor::Anonymous, |login| Actor::Login(login.id))
    }

    /// The login that the connection attached with, unless the client has logged out since.
    pub(crate) fn login(&self) -> Option<&Arc<LoginContext>> {
        self.login.as_ref().filter(|login| !login.ended())
    }

    /// The client that the connection is attached to.
    pub(crate) fn client(&self) -> Result<&Arc<ClientContext>, Error> {
        self.client.as_ref().ok_or(Error::Bug("no client"))
    }

    /// Looks at the state, whoever asks.
    pub(crate) fn glance<T>(&mut self, look: impl FnOnce(&State) -> T) -> T {
        let (seen, applied) = {
            let state = self.engine.replicator.state().read();
            (look(&state), state.applied())
        };
        self.saw = self.saw.max(applied);
        seen
    }

    /// Looks at the state as whom the connection acts for.
    ///
    /// # Errors
    /// CKR_USER_NOT_LOGGED_IN where the login has ended, or the closure's.
    pub(crate) fn view<T>(
        &mut self,
        look: impl FnOnce(&State, &Principal) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let actor = self.actor();
        let engine = Arc::clone(&self.engine);
        self.glance(|state| {
            let who = engine.apart.principal(state, actor)?;
            look(state, &who)
        })
    }

    /// Proposes a change as the request that runs: a retry of it gets the same outcome.
    pub(crate) fn change(&mut self, command: Command) -> Result<strongroom_vault::Outcome, Error> {
        self.change_as(self.actor(), command)
    }

    /// As [`Connection::change`], on another authority.
    pub(crate) fn change_as(
        &mut self,
        actor: Actor,
        command: Command,
    ) -> Result<strongroom_vault::Outcome, Error> {
        let Call { sequence, lowest_unanswered, .. } = self.call;
        self.propose(actor, sequence, lowest_unanswered, command)
    }

    /// Proposes a step that a request needs, under no idempotency key: run again, it counts again.
    pub(crate) fn step(
        &mut self,
        actor: Actor,
        command: Command,
    ) -> Result<strongroom_vault::Outcome, Error> {
        self.propose(actor, 0, 0, command)
    }

    fn propose(
        &mut self,
        actor: Actor,
        sequence: u64,
        lowest_unanswered: u64,
        command: Command,
    ) -> Result<strongroom_vault::Outcome, Error> {
        if let Actor::Login(login) = actor
            && self.engine.apart.login(login).is_some()
        {
            // The cluster has to know the login first.
            self.engine.settle()?;
        }
        let entry = Entry {
            time_ms: (self.engine.clock)(),
            client: self.client.as_ref().map(|client| client.id).unwrap_or_default(),
            sequence,
            lowest_unanswered,
            actor,
            command,
        };
        let (index, outcome) = self.engine.propose(entry)?;
        self.saw = self.saw.max(index);
        Ok(outcome)
    }

    /// What the request that runs got when it was sent before, where it is a retry.
    pub(crate) fn remembered(&mut self) -> Result<Option<strongroom_vault::Outcome>, Error> {
        let sequence = self.call.sequence;
        if sequence == 0 {
            return Ok(None);
        }
        let client = self.client()?.id;
        match self.glance(|state| state.remembered(client, sequence)) {
            Some(result) => Ok(Some(result?)),
            None => Ok(None),
        }
    }

    /// Whether the request that runs is a retry of a change that was made, and has nothing to answer
    /// but that.
    pub(crate) fn already_done(&mut self) -> Result<bool, Error> {
        Ok(self.remembered()?.is_some())
    }

    /// Writes one use of a key into the connection's part of the audit log. What is refused to who is
    /// not logged in was no use of a key, and strangers could fill the disk with it.
    pub(crate) fn record(
        &self,
        function: Function,
        handle: u64,
        mechanism: u64,
        result: Result<(), &Error>,
    ) {
        let login = self.login();
        if login.is_none() && result.is_err() {
            return;
        }
        let record = Use {
            time_ms: (self.engine.clock)(),
            login: login.map_or(LoginId(0), |login| login.id),
            user: login.map_or(UserId(0), |login| login.user),
            client: self.client.as_ref().map(|client| client.id).unwrap_or_default(),
            handle: strongroom_vault::Handle(handle),
            mechanism,
            status: result.err().map_or(CKR_OK, Error::ckr),
            function,
        };
        self.uses.record(&record, self.engine.uses.log());
    }
}

/// What an HSM answers however long it has been cut off: it tells where else to go, or ends something.
fn is_answered_always(operation: &Operation) -> bool {
    matches!(
        operation,
        Operation::Topology(_)
            | Operation::ClusterInfo(_)
            | Operation::HsmInfo(_)
            | Operation::ListMechanisms(_)
            | Operation::CloseSession(_)
            | Operation::Logout(_)
    )
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.detach();
        self.engine.uses.close(&self.uses);
        self.engine.disconnected();
    }
}
