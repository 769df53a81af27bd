//! The client of port 2224: how a region's provisioner asks an HSM.
//!
//! Both ends are pinned: the HSM shows the device certificate that it put into its folder, and the
//! provisioner proves the key that the HSM was started with.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme,
    StreamOwned,
};
use strongroom_wire::admin::{
    AddHsm, AddHsmReply, AdminOperation, AdminReply, AdminRequest, DeviceInfo, Initialize, Join,
    Leave, Recover, RecoverySignature, RecoveryStatement, RecoveryStatementReply, RemovalReply,
    RemoveHsm, Shutdown, SignedDevice, Status, StatusReply, UpdateAddress, Zeroise,
};
use strongroom_wire::limits::FRAME_BYTES_MAX;
use strongroom_wire::message::ClusterCsr;
use strongroom_wire::{API_LEVEL_MAX, frame};

use crate::error::Error;
use crate::owner;
use crate::region::{HsmDescription, Region};

/// For the connection: the HSM is on this machine.
const PATIENCE: Duration = Duration::from_secs(10);
/// For an answer: a member that comes or goes takes agreement of the others, and new secrets.
const ANSWER_PATIENCE: Duration = Duration::from_secs(60);

/// A connection to one HSM's port 2224.
pub(crate) struct Administration {
    stream: StreamOwned<ClientConnection, TcpStream>,
    hsm: HsmDescription,
}

impl Administration {
    /// Connects, and makes sure of the HSM.
    ///
    /// # Errors
    /// [`Error::NotRunning`] where nothing listens; [`Error::Unreachable`] where what listens does
    /// not answer or is not this HSM; [`Error::File`] where the region's own files do not read.
    pub(crate) fn connect(region: &Region, hsm: &HsmDescription) -> Result<Self, Error> {
        let tls = tls(region, hsm)?;
        let unreachable = |e: &dyn std::fmt::Display| unreachable(hsm, e);
        let stream = TcpStream::connect_timeout(&hsm.administration(), PATIENCE)
            .and_then(|stream| {
                stream.set_read_timeout(Some(ANSWER_PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                stream.set_nodelay(true)?;
                Ok(stream)
            })
            .map_err(|e| match e.kind() {
                ErrorKind::ConnectionRefused => Error::NotRunning(hsm.hsm_id.clone()),
                _ => unreachable(&e),
            })?;
        let name = ServerName::IpAddress(hsm.address.into());
        let connection = ClientConnection::new(tls, name).map_err(|e| unreachable(&e))?;
        let mut administration =
            Self { stream: StreamOwned::new(connection, stream), hsm: hsm.clone() };
        let status = administration.status()?;
        if status.hsm_id != hsm.hsm_id {
            return Err(unreachable(&format!("{} answers there", status.hsm_id)));
        }
        Ok(administration)
    }

    /// How the HSM does.
    ///
    /// # Errors
    /// Where it does not answer.
    pub(crate) fn status(&mut self) -> Result<StatusReply, Error> {
        self.look(false)
    }

    /// How the HSM does; with a hash of its state where that is wanted, which takes a while.
    ///
    /// # Errors
    /// Where it does not answer.
    pub(crate) fn look(&mut self, digest: bool) -> Result<StatusReply, Error> {
        let reply = self.ask(AdminOperation::Status(Status { digest }))?;
        reply.status.ok_or_else(|| self.says_nothing())
    }

    /// The cluster's certificate signing request, PEM.
    ///
    /// # Errors
    /// Where the cluster is initialised, or the HSM does not answer.
    pub(crate) fn cluster_request(&mut self) -> Result<String, Error> {
        Ok(self.ask(AdminOperation::ClusterCsr(ClusterCsr {}))?.cluster_csr)
    }

    /// Gives the HSM its owner's certificates, PEM.
    ///
    /// # Errors
    /// The check that they failed.
    pub(crate) fn initialize(
        &mut self,
        signed_certificate: String,
        trust_anchor: String,
    ) -> Result<(), Error> {
        self.ask(AdminOperation::Initialize(Initialize { signed_certificate, trust_anchor }))?;
        Ok(())
    }

    /// Who the HSM is, under its device key.
    ///
    /// # Errors
    /// Where it does not answer.
    pub(crate) fn device(&mut self) -> Result<SignedDevice, Error> {
        let reply = self.ask(AdminOperation::DeviceInfo(DeviceInfo {}))?;
        reply.device.ok_or_else(|| self.says_nothing())
    }

    /// Tells an HSM that waits for a cluster whose welcome to take.
    ///
    /// # Errors
    /// Where it has a cluster already, or does not answer.
    pub(crate) fn join(
        &mut self,
        cluster_id: &str,
        welcomers: Vec<Vec<u8>>,
        trust_anchor: String,
    ) -> Result<(), Error> {
        let cluster_id = cluster_id.to_owned();
        self.ask(AdminOperation::Join(Join { cluster_id, welcomers, trust_anchor }))?;
        Ok(())
    }

    /// Has a member let an HSM in.
    ///
    /// # Errors
    /// Where the cluster refuses, or the member does not answer.
    pub(crate) fn add(
        &mut self,
        device: SignedDevice,
        endorsement: Vec<Vec<u8>>,
    ) -> Result<AddHsmReply, Error> {
        let add = AddHsm { device: Some(device), endorsement };
        let reply = self.ask(AdminOperation::AddHsm(add))?;
        reply.added.ok_or_else(|| self.says_nothing())
    }

    /// Has a member remove another one.
    ///
    /// # Errors
    /// Where the cluster refuses, or the member does not answer.
    pub(crate) fn remove(&mut self, hsm_id: &str, force: bool) -> Result<RemovalReply, Error> {
        let remove = RemoveHsm { hsm_id: hsm_id.to_owned(), force, receipt: Vec::new() };
        let reply = self.ask(AdminOperation::RemoveHsm(remove))?;
        reply.removed.ok_or_else(|| self.says_nothing())
    }

    /// Has the HSM leave its cluster.
    ///
    /// # Errors
    /// Where it refuses, or does not answer.
    pub(crate) fn leave(&mut self) -> Result<RemovalReply, Error> {
        let leave = Leave { hsm_id: self.hsm.hsm_id.clone() };
        let reply = self.ask(AdminOperation::Leave(leave))?;
        reply.removed.ok_or_else(|| self.says_nothing())
    }

    /// Has the HSM destroy its secrets. It answers nothing more: its `record` says that it has.
    ///
    /// # Errors
    /// Where it refuses, or there is no record of it.
    pub(crate) fn zeroise(&mut self, record: &Path) -> Result<(), Error> {
        let zeroise = Zeroise { hsm_id: self.hsm.hsm_id.clone() };
        match self.ask(AdminOperation::Zeroise(zeroise)) {
            Err(Error::Unreachable { .. }) if record.exists() => Ok(()),
            Ok(_) => Err(self.says_nothing()),
            Err(e) => Err(e),
        }
    }

    /// Tells a member where another one listens now.
    ///
    /// # Errors
    /// Where it knows no such member, or does not answer.
    pub(crate) fn update_address(&mut self, hsm: &HsmDescription) -> Result<(), Error> {
        self.ask(AdminOperation::UpdateAddress(UpdateAddress {
            hsm_id: hsm.hsm_id.clone(),
            address: hsm.address.to_string(),
            port_offset: hsm.port_offset.into(),
        }))?;
        Ok(())
    }

    /// What a recovery with these HSMs would do, and what has to be signed for it.
    ///
    /// # Errors
    /// Where there is nothing to recover, or the HSM does not answer.
    pub(crate) fn recovery_statement(
        &mut self,
        survivors: Vec<String>,
    ) -> Result<RecoveryStatementReply, Error> {
        let reply = self.ask(AdminOperation::RecoveryStatement(RecoveryStatement { survivors }))?;
        reply.recovery.ok_or_else(|| self.says_nothing())
    }

    /// Goes on without the majority.
    ///
    /// # Errors
    /// Where the signatures do not do, or the HSM does not answer.
    pub(crate) fn recover(
        &mut self,
        statement: Vec<u8>,
        signatures: Vec<RecoverySignature>,
    ) -> Result<(), Error> {
        self.ask(AdminOperation::Recover(Recover { statement, signatures }))?;
        Ok(())
    }

    /// Asks the HSM to stop; it will, after it has answered.
    ///
    /// # Errors
    /// Where it does not answer.
    pub(crate) fn shut_down(&mut self) -> Result<(), Error> {
        self.ask(AdminOperation::Shutdown(Shutdown {}))?;
        Ok(())
    }

    fn says_nothing(&self) -> Error {
        unreachable(&self.hsm, &"its answer says nothing")
    }

    fn ask(&mut self, operation: AdminOperation) -> Result<AdminReply, Error> {
        let request = AdminRequest { api_level: API_LEVEL_MAX, operation: Some(operation) };
        frame::write(&mut self.stream, &request, FRAME_BYTES_MAX)
            .map_err(|e| unreachable(&self.hsm, &e))?;
        let reply: AdminReply = frame::read(&mut self.stream, FRAME_BYTES_MAX)
            .map_err(|e| unreachable(&self.hsm, &e))?;
        if reply.error.is_empty() { Ok(reply) } else { Err(Error::Refused(reply.error)) }
    }
}

fn unreachable(hsm: &HsmDescription, problem: &dyn std::fmt::Display) -> Error {
    Error::Unreachable {
        hsm: hsm.hsm_id.clone(),
        address: hsm.administration().to_string(),
        problem: problem.to_string(),
    }
}

fn tls(region: &Region, hsm: &HsmDescription) -> Result<Arc<ClientConfig>, Error> {
    let provisioner = region.provisioner();
    let device_file = region.device_certificate(hsm);
    if !device_file.exists() {
        return Err(Error::NotRunning(hsm.hsm_id.clone()));
    }
    let device = owner::read_certificate(&device_file)?;
    let certificate = owner::read_certificate(&provisioner.certificate)?;
    let key: PrivateKeyDer<'static> = owner::read_key(&provisioner.key)?
        .serialize_der()
        .try_into()
        .map_err(Error::file(&provisioner.key))?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = DeviceVerifier { device, provider: Arc::clone(&provider) };
    let failed = |problem: rustls::Error| Error::Certificate {
        what: "TLS of the provisioner",
        problem: problem.to_string(),
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(failed)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_auth_cert(vec![certificate], key)
        .map_err(failed)?;
    Ok(Arc::new(config))
}

/// Accepts exactly one certificate.
#[derive(Debug)]
struct DeviceVerifier {
    device: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for DeviceVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if end_entity.as_ref() == self.device.as_ref() {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2 is not spoken here".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
