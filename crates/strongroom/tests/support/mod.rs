//! One real HSM process, its owner by `openssl`, and what speaks to its ports.

#![allow(dead_code, reason = "each test program uses its part")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{aws_lc_rs, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};
use strongroom_wire::admin::{AdminOperation, AdminReply, AdminRequest, Initialize, Status};
use strongroom_wire::frame;
use strongroom_wire::message::ClusterCsr;
use strongroom_wire::message::{Hello, HelloReply, Operation, Outcome, Reply, Request};

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_strongroom");
/// A peer that says nothing for so long has hung: tests fail rather than wait.
const PATIENCE: Duration = Duration::from_secs(30);

/// An HSM on a loopback address of its own, killed when dropped.
pub(crate) struct Hsm {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) address: IpAddr,
    pub(crate) child: Child,
}

/// A provisioner's certificate and key in a folder.
pub(crate) struct Identity {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Hsm {
    /// Starts one that has no owner yet.
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        make_identity(folder.path(), "provisioner");
        make_identity(folder.path(), "stranger");
        let address = next_address();
        let child = start(folder.path(), address, &[]).unwrap();
        Self { folder, address, child }
    }

    /// Starts one and gives it an owner, with the certificate that `openssl` makes by itself.
    pub(crate) fn start_initialised() -> Self {
        let hsm = Self::start();
        hsm.initialise();
        hsm
    }

    pub(crate) fn initialise(&self) {
        self.admin(AdminOperation::Initialize(self.owner_signs()));
    }

    /// customerCA, and the cluster's certificate, X.509 v1.
    pub(crate) fn owner_signs(&self) -> Initialize {
        let request = self.admin(AdminOperation::ClusterCsr(ClusterCsr {})).cluster_csr;
        std::fs::write(self.path("cluster.csr"), request).unwrap();
        openssl(
            self.folder.path(),
            "req -x509 -new -noenc -days 30 -newkey rsa:2048 -subj /CN=customerCA -keyout ca.key \
             -out ca.crt",
        );
        openssl(
            self.folder.path(),
            "x509 -req -days 30 -in cluster.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out \
             cluster.crt",
        );
        Initialize {
            signed_certificate: std::fs::read_to_string(self.path("cluster.crt")).unwrap(),
            trust_anchor: std::fs::read_to_string(self.path("ca.crt")).unwrap(),
        }
    }

    /// Starts the process again after it has ended.
    pub(crate) fn restart(&mut self) {
        self.child = start(self.folder.path(), self.address, &[]).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap()
    }

    pub(crate) fn clients(&self) -> SocketAddr {
        SocketAddr::new(self.address, 2223)
    }

    pub(crate) fn administration(&self) -> SocketAddr {
        SocketAddr::new(self.address, 2224)
    }

    pub(crate) fn identity(&self, name: &str) -> Identity {
        Identity {
            certificate: CertificateDer::from_pem_file(self.path(&format!("{name}.crt"))).unwrap(),
            key: PrivateKeyDer::from_pem_file(self.path(&format!("{name}.key"))).unwrap(),
        }
    }

    /// One request to port 2224 as the provisioner, which must succeed.
    pub(crate) fn admin(&self, operation: AdminOperation) -> AdminReply {
        let reply = self.try_admin(Some(self.identity("provisioner")), operation).unwrap();
        assert_eq!(reply.error, "");
        reply
    }

    /// One request to port 2224.
    pub(crate) fn try_admin(
        &self,
        identity: Option<Identity>,
        operation: AdminOperation,
    ) -> Result<AdminReply, String> {
        let mut stream = tls(self.administration(), identity)?;
        let request = AdminRequest { api_level: 1, operation: Some(operation) };
        frame::write(&mut stream, &request, 1 << 20).map_err(|e| e.to_string())?;
        frame::read(&mut stream, 1 << 20).map_err(|e| e.to_string())
    }

    pub(crate) fn status(&self) -> strongroom_wire::admin::StatusReply {
        self.admin(AdminOperation::Status(Status { digest: false })).status.unwrap()
    }

    /// A client's connection to port 2223, which trusts anybody.
    pub(crate) fn client(&self) -> Result<Tls, String> {
        tls(self.clients(), None)
    }
}

impl Drop for Hsm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) type Tls = StreamOwned<ClientConnection, TcpStream>;

/// Says hello, and gives the HSM's answer.
pub(crate) fn hello(stream: &mut (impl Read + Write)) -> Result<HelloReply, String> {
    let request = Request {
        api_level: 1,
        sequence: 1,
        operation: Some(Operation::Hello(Hello {
            api_level_min: 1,
            api_level_max: 1,
            client_name: "test".to_owned(),
        })),
        ..Request::default()
    };
    frame::write(stream, &request, 1 << 20).map_err(|e| e.to_string())?;
    let reply: Reply = frame::read(stream, 1 << 20).map_err(|e| e.to_string())?;
    assert_eq!(reply.status, 0, "{}", reply.message);
    match reply.outcome {
        Some(Outcome::Hello(hello)) => Ok(hello),
        _ => Err("no answer to hello".to_owned()),
    }
}

/// Starts an HSM and waits until it says that it is ready; otherwise gives what it said.
pub(crate) fn start(folder: &Path, address: IpAddr, more: &[&str]) -> Result<Child, String> {
    let log = std::fs::File::options().create(true).append(true).open(folder.join("log")).unwrap();
    let mut child = Command::new(PROGRAM)
        .args(["hsm", "--detached", "--listen", &address.to_string(), "--dir"])
        .arg(folder.join("hsm"))
        .arg("--provisioner")
        .arg(folder.join("provisioner.crt"))
        .args(more)
        .env("STRONGROOM_LOG", "trace")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    if line == "ready\n" {
        return Ok(child);
    }
    let status = child.wait().unwrap();
    assert!(!status.success(), "it failed and must say so: {line}");
    Err(line)
}

/// A TLS 1.3 connection; the server's certificate is taken as it is.
pub(crate) fn tls(address: SocketAddr, identity: Option<Identity>) -> Result<Tls, String> {
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups.insert(0, aws_lc_rs::kx_group::X25519MLKEM768);
    let builder = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody));
    let config = match identity {
        Some(Identity { certificate, key }) => {
            builder.with_client_auth_cert(vec![certificate], key).unwrap()
        }
        None => builder.with_no_client_auth(),
    };
    let name = ServerName::IpAddress(address.ip().into());
    let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = TcpStream::connect(address).map_err(|e| e.to_string())?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    while connection.is_handshaking() {
        connection.complete_io(&mut stream).map_err(|e| e.to_string())?;
    }
    Ok(StreamOwned::new(connection, stream))
}

/// `openssl` in a folder; its output.
pub(crate) fn openssl(folder: &Path, arguments: &str) -> Output {
    let output = try_openssl(folder, arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {arguments}: {error}");
    output
}

pub(crate) fn try_openssl(folder: &Path, arguments: &str) -> Output {
    Command::new("openssl")
        .args(arguments.split_whitespace())
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Each test program has an address range of its own by its process id, and each HSM of it one.
pub(crate) fn next_address() -> IpAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [high, low, ..] = std::process::id().to_le_bytes();
    IpAddr::from([127, 100 + (high & 0x3f), low, NEXT.fetch_add(1, Ordering::Relaxed)])
}

fn make_identity(folder: &Path, name: &str) {
    openssl(
        folder,
        &format!(
            "req -x509 -new -noenc -days 30 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -subj \
             /CN={name} -keyout {name}.key -out {name}.crt"
        ),
    );
}

#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("no TLS 1.2".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let provider = aws_lc_rs::default_provider();
        verify_tls13_signature(message, cert, dss, &provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
