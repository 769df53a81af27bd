//! TLS 1.3 between HSMs: each side shows its device certificate, and is known by the key in it.
//!
//! The certificates are self-signed and their names say nothing: what counts is the SHA-256 of the
//! SubjectPublicKeyInfo, which the cluster's membership holds. The caller expects exactly one key; who
//! is called takes any P-256 key here, and its [`super::Desk`] then says whether it admits that one.

use std::fmt;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, ServerConfig,
    SignatureScheme,
};
use strongroom_cluster::DeviceKeyHash;
use strongroom_crypto::Hash;

use crate::certificates::public_key_of;
use crate::{Error, tls};

/// SHA-256 of the public key in a device's certificate.
///
/// # Errors
/// Where it is no certificate.
pub(super) fn device_key(certificate: &[u8]) -> Result<DeviceKeyHash, rustls::Error> {
    let public_key = public_key_of(certificate).map_err(|_| CertificateError::BadEncoding)?;
    hash(&public_key).ok_or_else(|| CertificateError::BadEncoding.into())
}

fn hash(public_key: &[u8]) -> Option<DeviceKeyHash> {
    Hash::Sha256.digest(public_key).as_slice().try_into().ok()
}

/// This HSM towards others: its device certificate and key.
#[derive(Clone)]
pub(crate) struct DeviceIdentity {
    certified: Arc<CertifiedKey>,
    key: DeviceKeyHash,
}

impl DeviceIdentity {
    /// From the device's certificate with its key.
    ///
    /// # Errors
    /// Where it is no certificate.
    pub(crate) fn new(certified: CertifiedKey) -> Result<Self, Error> {
        let certificate = certified.end_entity_cert()?;
        let key = device_key(certificate)?;
        Ok(Self { certified: Arc::new(certified), key })
    }

    /// SHA-256 of its public key.
    pub(crate) fn key(&self) -> &DeviceKeyHash {
        &self.key
    }

    /// For connections that come in.
    ///
    /// # Errors
    /// Where rustls does not take the configuration.
    pub(super) fn server(&self) -> Result<Arc<ServerConfig>, Error> {
        tls::for_peers(Arc::new(AnyDevice(tls::provider())), Arc::clone(&self.certified))
    }

    /// For a connection to the HSM of this key, and no other.
    ///
    /// # Errors
    /// Where rustls does not take the configuration.
    pub(super) fn client(&self, expected: DeviceKeyHash) -> Result<Arc<ClientConfig>, Error> {
        let provider = tls::provider();
        let verifier = OneDevice { expected, provider: Arc::clone(&provider) };
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(
                &self.certified,
            ))));
        config.resumption = Resumption::disabled();
        config.enable_sni = false;
        Ok(Arc::new(config))
    }
}

/// Accepts whoever proves the key of the certificate that it shows.
struct AnyDevice(Arc<CryptoProvider>);

impl fmt::Debug for AnyDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnyDevice")
    }
}

impl ClientCertVerifier for AnyDevice {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        device_key(end_entity).map(|_| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        // What device keys are: nothing else needs to be parsed.
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

/// Accepts exactly one key.
struct OneDevice {
    expected: DeviceKeyHash,
    provider: Arc<CryptoProvider>,
}

impl fmt::Debug for OneDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OneDevice")
    }
}

impl ServerCertVerifier for OneDevice {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if device_key(end_entity)? == self.expected {
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
        Err(tls12())
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
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

fn tls12() -> rustls::Error {
    rustls::Error::General("TLS 1.2 is not spoken here".to_owned())
}
