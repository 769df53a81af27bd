//! Port 2224: what the provisioner that started this HSM may ask of it.
//!
//! The connection has proved the provisioner's key; nothing here acts for anybody else.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use strongroom_engine::Engine;
use strongroom_vault::{Actor, ClientId, Command, Entry, Phase, Replicator};
use strongroom_wire::admin::{AdminOperation, AdminReply, AdminRequest, Initialize, StatusReply};
use strongroom_wire::limits::FRAME_BYTES_BEFORE_ATTACH_MAX;
use strongroom_wire::message::ClusterPhase;
use strongroom_wire::{API_LEVEL_MAX, API_LEVEL_MIN};

use crate::certificates::{CertificateError, check_owner};
use crate::connection::Service;
use crate::ownership::{self, Ownership};
use crate::stop::Stop;
use crate::trust::ClientTrust;
use crate::{Error, clock};

/// The HSM as its provisioner sees it.
pub(crate) struct Administration {
    pub(crate) engine: Arc<Engine>,
    pub(crate) replicator: Arc<dyn Replicator>,
    pub(crate) trust: Arc<ClientTrust>,
    pub(crate) ownership: Ownership,
    pub(crate) stop: Stop,
    pub(crate) hsm_id: String,
    pub(crate) seal: &'static str,
    pub(crate) started: Instant,
}

/// One connection's service.
pub(crate) struct AdministrationService(pub(crate) Arc<Administration>);

impl Service for AdministrationService {
    type Request = AdminRequest;
    type Reply = AdminReply;

    fn frame_bytes_max(&self) -> usize {
        FRAME_BYTES_BEFORE_ATTACH_MAX
    }

    fn patience(&self) -> Option<Duration> {
        // Whoever is connected has proved the provisioner's key.
        None
    }

    fn handle(&mut self, request: AdminRequest) -> AdminReply {
        match self.0.answer(request) {
            Ok(cluster_csr) => {
                AdminReply { status: Some(self.0.status()), cluster_csr, ..AdminReply::default() }
            }
            Err(error) => {
                tracing::warn!("administration: {error}");
                AdminReply { error, status: Some(self.0.status()), ..AdminReply::default() }
            }
        }
    }

    fn malformed(&self) -> AdminReply {
        AdminReply {
            error: "the frame holds no message of this port".to_owned(),
            ..AdminReply::default()
        }
    }
}

impl Administration {
    /// Does what was asked; the request's own answer is the CSR, or nothing.
    fn answer(&self, request: AdminRequest) -> Result<String, String> {
        if !(API_LEVEL_MIN..=API_LEVEL_MAX).contains(&request.api_level) {
            return Err(format!(
                "this HSM speaks message sets {API_LEVEL_MIN} to {API_LEVEL_MAX}, not {}",
                request.api_level
            ));
        }
        match request.operation {
            Some(AdminOperation::Status(_)) => Ok(String::new()),
            Some(AdminOperation::ClusterCsr(_)) => self.request().map_err(|e| e.to_string()),
            Some(AdminOperation::Initialize(given)) => {
                self.initialise(&given).map_err(|e| e.to_string())?;
                Ok(String::new())
            }
            Some(AdminOperation::Shutdown(_)) => {
                tracing::info!("the provisioner asks to stop");
                // The accept loop lets this reply leave before it closes the connection.
                self.stop.request();
                Ok(String::new())
            }
            // What needs other HSMs is not served yet.
            _ => Err("the request asks for nothing that this HSM knows".to_owned()),
        }
    }

    /// The request for the cluster's newest key.
    fn request(&self) -> Result<String, Error> {
        Ok(self.ownership.request()?.pem)
    }

    /// Takes the owner's certificates: checked, then in the log, then shown to clients.
    fn initialise(&self, given: &Initialize) -> Result<(), Error> {
        let now = SystemTime::now();
        if self.replicator.state().read().cluster_key_compromised() {
            // The owner is known: the certificate is for the key that follows a removal.
            self.ownership.install(&given.signed_certificate)?;
            return self.trust.follow(&self.replicator.state().read(), now);
        }
        let cluster_id = self.uninitialised_cluster()?;
        let owner = check_owner(
            &self.ownership.newest_key()?.public_key(),
            &cluster_id,
            &given.signed_certificate,
            &given.trust_anchor,
            now,
        )?;
        propose(
            &*self.replicator,
            Command::InitialiseCluster {
                cluster_certificate: owner.cluster_certificate,
                trust_anchor: owner.trust_anchor,
            },
        )?;
        self.trust.follow(&self.replicator.state().read(), now)?;
        tracing::info!(cluster = cluster_id, "initialised: clients may connect");
        Ok(())
    }

    fn uninitialised_cluster(&self) -> Result<String, Error> {
        let state = self.replicator.state().read();
        if state.cluster_certificate().is_some() {
            return Err(CertificateError::AlreadyInitialised.into());
        }
        Ok(state.cluster_id().to_owned())
    }

    fn status(&self) -> StatusReply {
        let state = self.replicator.state().read();
        let phase = match state.phase() {
            Phase::Uninitialized => ClusterPhase::Uninitialized,
            Phase::Initialized => ClusterPhase::Initialized,
            Phase::Active => ClusterPhase::Active,
        };
        StatusReply {
            hsm_id: self.hsm_id.clone(),
            cluster_id: state.cluster_id().to_owned(),
            phase: phase.into(),
            log_index: self.replicator.state().durable().0,
            objects: state.object_count() as u64,
            users: state.users().count() as u64,
            connections: self.engine.connections(),
            seal: self.seal.to_owned(),
            process_id: u64::from(std::process::id()),
            uptime_seconds: self.started.elapsed().as_secs(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            warnings: ownership::warning(&state).into_iter().collect(),
            ..StatusReply::default()
        }
    }
}

/// Proposes one of the HSM's own entries.
///
/// # Errors
/// Where it was not committed, or refused.
pub(crate) fn propose(replicator: &dyn Replicator, command: Command) -> Result<(), Error> {
    let entry = Entry {
        time_ms: clock::now_ms(),
        // The HSM's own entries are not retried: no idempotency key.
        client: ClientId([0; 16]),
        sequence: 0,
        lowest_unanswered: 0,
        actor: Actor::System,
        command,
    };
    replicator.propose(entry)?.result?;
    Ok(())
}
