//! How TLS is spoken: version 1.3 only, AES-256-GCM first, the hybrid key exchange first, no
//! session tickets, on port 2224 only with the provisioner's key, and on port 2225 with both sides' device keys.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::aws_lc_rs::{self, cipher_suite, kx_group};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, WantsServerCert};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    CertificateError, ConfigBuilder, DigitallySignedStruct, DistinguishedName, ServerConfig,
    SignatureScheme,
};

use crate::Error;
use crate::certificates::public_key_of;

/// TLS for clients (2223): the leaf certificate and nothing of the client's; a client proves itself
/// by password and ticket.
///
/// # Errors
/// Where rustls does not take the certificate.
pub(crate) fn for_clients(leaf: CertifiedKey) -> Result<Arc<ServerConfig>, Error> {
    Ok(finish(builder()?.with_no_client_auth(), Arc::new(leaf)))
}

/// TLS for administration (2224): the device's certificate, and a client that holds the private
/// key of the provisioner's certificate.
///
/// # Errors
/// Where rustls does not take the certificate, or `provisioner` is none.
pub(crate) fn for_administration(
    device: CertifiedKey,
    provisioner: &CertificateDer<'_>,
) -> Result<Arc<ServerConfig>, Error> {
    let verifier =
        ProvisionerVerifier { public_key: public_key_of(provisioner)?, provider: provider() };
    Ok(finish(builder()?.with_client_cert_verifier(Arc::new(verifier)), Arc::new(device)))
}

/// TLS for other HSMs (2225): the device's certificate, and a caller that `verifier` takes.
///
/// # Errors
/// Where rustls does not take the configuration.
pub(crate) fn for_peers(
    verifier: Arc<dyn ClientCertVerifier>,
    device: Arc<CertifiedKey>,
) -> Result<Arc<ServerConfig>, Error> {
    Ok(finish(builder()?.with_client_cert_verifier(verifier), device))
}

/// Which algorithms are spoken.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: vec![
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_AES_128_GCM_SHA256,
        ],
        kx_groups: vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1],
        ..aws_lc_rs::default_provider()
    })
}

type Builder<State> = ConfigBuilder<ServerConfig, State>;

fn builder() -> Result<Builder<rustls::WantsVerifier>, Error> {
    Ok(ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?)
}

fn finish(builder: Builder<WantsServerCert>, identity: Arc<CertifiedKey>) -> Arc<ServerConfig> {
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(identity)));
    config.ignore_client_order = true;
    // Each connection proves the certificate anew: a resumed one would outlive a changed
    // certificate, and early data could be replayed. Connections are long; there is little to save.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Arc::new(config)
}

/// Accepts exactly one public key, in whatever certificate it comes.
struct ProvisionerVerifier {
    /// SubjectPublicKeyInfo, DER.
    public_key: Vec<u8>,
    provider: Arc<CryptoProvider>,
}

impl fmt::Debug for ProvisionerVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProvisionerVerifier")
    }
}

impl ClientCertVerifier for ProvisionerVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        // The pin is on the key, which the operator replaces by restarting with another file; the
        // certificate's names and times say nothing that the pin does not.
        let presented = public_key_of(end_entity).map_err(|_| CertificateError::BadEncoding)?;
        if presented == self.public_key {
            Ok(ClientCertVerified::assertion())
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
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
