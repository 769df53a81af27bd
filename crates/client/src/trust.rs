//! Whom the client talks to: exactly leaf ← cluster ← customerCA.
//!
//! In: the certificates that an HSM presents in the TLS handshake, and the customer's CA from the
//! configuration. Out: the cluster's and the HSM's id, or the name of the check that failed and what
//! to do. Nothing that a public web client would accept matters here: no system roots, no host names.
//!
//! The usual verifier (webpki) cannot do this: the cluster's certificate, as the customer makes it
//! with `openssl x509 -req` (OpenSSL up to 3.1), is X.509 v1, without any extension.
//!
//! What is checked, in this order:
//! 1. the HSM presents two certificates: its own (leaf) and its cluster's;
//! 2. the anchor is self-signed, and of an allowed algorithm and strength;
//! 3. the cluster's certificate is issued and signed by the anchor, and may be a CA;
//! 4. the leaf is v3, issued and signed by the cluster, for TLS servers, and no CA;
//! 5. the leaf names a cluster and an HSM in a URI, and the cluster's certificate and, where they
//!    are configured, the id and the pinned key, agree;
//! 6. all three are valid now.
//!
//! The TLS handshake then proves that the peer has the leaf's key.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    CertificateError, DigitallySignedStruct, OtherError, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{WebPkiSupportedAlgorithms, aws_lc_rs},
    pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime},
};
use strongroom_pki::{
    CA_EXTENSIONS, Certificate, HsmName, LEAF_EXTENSIONS, ObjectIdentifier, OutOfTime,
    certificate_in_pem,
};

use crate::{Error, config::Cluster, config::hex, pins::Pins};

/// The check that failed, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distrust(pub String);

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Distrust {}

/// Who an HSM is, as its certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `cluster-…`.
    pub cluster_id: String,
    /// `hsm-…`.
    pub hsm_id: String,
    /// SHA-256 of the cluster key's SubjectPublicKeyInfo: what `cluster_key` pins.
    pub cluster_key: [u8; 32],
}

impl Identity {
    /// The pin as `client.json` has it.
    #[must_use]
    pub fn cluster_key_hex(&self) -> String {
        hex(&self.cluster_key)
    }
}

/// The customer's CA and what is known about the cluster.
pub struct Anchor {
    certificate: Certificate,
    file: String,
    pins: Pins,
    cluster_id: Option<String>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Anchor {
    /// Reads the customer's CA.
    ///
    /// # Errors
    /// [`Error::Config`] where the file cannot be read or is no certificate, [`Error::Trust`] where
    /// it is one that nothing can be trusted by.
    pub fn open(cluster: &Cluster) -> Result<Self, Error> {
        let path = &cluster.hsm_ca_file;
        let pem = crate::config::read_trusted(path)
            .map_err(|reason| Error::Config(format!("hsm_ca_file {}: {reason}", path.display())))?;
        Self::from_pem(&pem, path, cluster)
    }

    /// With pins that follow the configuration's file: see [`crate::config::Cluster::cluster_keys`].
    #[must_use]
    pub fn following(mut self, file: PathBuf) -> Self {
        self.pins.follow(file);
        self
    }

    fn from_pem(pem: &str, path: &Path, cluster: &Cluster) -> Result<Self, Error> {
        let file = path.display().to_string();
        let config = |problem: String| Error::Config(format!("hsm_ca_file {file}: {problem}"));
        let der = certificate_in_pem(pem).map_err(|not_pem| {
            config(format!("must hold the customerCA's certificate in PEM form: {not_pem}"))
        })?;
        let certificate = Certificate::from_der(&der)
            .map_err(|malformed| config(format!("is not an X.509 certificate: {malformed}")))?;
        let anchor = Self {
            certificate,
            file,
            pins: Pins::new(cluster),
            cluster_id: cluster.cluster_id.clone(),
            algorithms: aws_lc_rs::default_provider().signature_verification_algorithms,
        };
        anchor.check_anchor().map_err(|Distrust(why)| Error::Trust(why))?;
        Ok(anchor)
    }

    /// Checks a chain as presented, leaf first, at `now` in seconds since 1970.
    ///
    /// # Errors
    /// The first check that failed.
    pub fn check(&self, leaf: &[u8], rest: &[&[u8]], now: u64) -> Result<Identity, Distrust> {
        let [cluster] = rest else {
            return refuse(format!(
                "chain length: the HSM presents {} certificates, it must present two, its own and \
                 its cluster's",
                rest.len() + 1
            ));
        };
        let cluster = parse("the cluster's certificate", cluster)?;
        let leaf = parse("the HSM's certificate", leaf)?;

        self.pins.read_again();
        self.check_anchor()?;
        self.check_cluster(&cluster)?;
        check_leaf(&leaf, &cluster)?;
        let identity = self.check_names(&leaf, &cluster)?;
        for (certificate, what, remedy) in [
            (&self.certificate, self.file.as_str(), "make a new customerCA and cluster"),
            (&cluster, "the cluster's certificate", "sign the cluster's CSR again"),
            (&leaf, "the HSM's certificate", "restart the HSM, which renews it"),
        ] {
            check_validity(certificate, what, remedy, now)?;
        }
        Ok(identity)
    }

    fn check_anchor(&self) -> Result<(), Distrust> {
        let file = &self.file;
        if self.certificate.issuer != self.certificate.subject {
            return refuse(format!(
                "anchor: {file} is not self-signed (it was issued by another CA): hsm_ca_file must \
                 be the customerCA certificate itself"
            ));
        }
        check_extensions(&self.certificate, file, CA_EXTENSIONS)?;
        self.certificate
            .check_signed_by(&self.certificate)
            .map_err(|why| Distrust(format!("anchor: {file} is not validly self-signed: {why}")))
    }

    fn check_cluster(&self, cluster: &Certificate) -> Result<(), Distrust> {
        let what = "the cluster's certificate";
        if cluster.issuer != self.certificate.subject {
            return refuse(format!(
                "issuer: {what} was not issued by the CA in {}: check that hsm_ca_file is the \
                 customerCA that signed this cluster's CSR",
                self.file
            ));
        }
        cluster.check_signed_by(&self.certificate).map_err(|why| {
            Distrust(format!(
                "signature: {what} is not signed by the CA in {}: {why}: check that hsm_ca_file is \
                 the customerCA that signed this cluster's CSR",
                self.file
            ))
        })?;
        check_extensions(cluster, what, CA_EXTENSIONS)?;
        // A certificate without basicConstraints (v1, or v3 as OpenSSL 3.2 makes it) is taken:
        // what it may do comes from its place in the chain and its subject.
        if cluster.is_ca == Some(false) || cluster.may_sign_certificates == Some(false) {
            return refuse(format!(
                "CA: {what} says that it may not issue certificates: sign the cluster's CSR again, \
                 as `openssl x509 -req` does without extensions"
            ));
        }
        Ok(())
    }

    fn check_names(&self, leaf: &Certificate, cluster: &Certificate) -> Result<Identity, Distrust> {
        let Some(HsmName { cluster_id, hsm_id }) =
            leaf.uris.first().and_then(|uri| HsmName::from_uri(uri))
        else {
            return refuse(
                "name: the HSM's certificate does not name it: it needs one URI \
                 strongroom://<cluster>/<HSM>"
                    .into(),
            );
        };
        if leaf.uris.len() != 1 {
            return refuse("name: the HSM's certificate carries more than one URI".into());
        }
        if !cluster.has_common_name(&cluster_id) {
            return refuse(format!(
                "cluster id: the HSM says that it belongs to {cluster_id}, and the cluster's \
                 certificate is not that cluster's: sign the CSR of {cluster_id}"
            ));
        }
        if let Some(expected) = &self.cluster_id
            && *expected != cluster_id
        {
            return refuse(format!(
                "cluster id: the HSM belongs to {cluster_id}, the configuration names {expected}: \
                 check the server addresses"
            ));
        }
        let cluster_key = cluster.public_key_sha256();
        self.pins.check(&cluster_key).map_err(|why| Distrust(format!("pinned key: {why}")))?;
        Ok(Identity { cluster_id, hsm_id, cluster_key })
    }
}

fn check_leaf(leaf: &Certificate, cluster: &Certificate) -> Result<(), Distrust> {
    let what = "the HSM's certificate";
    if leaf.version != 3 {
        return refuse(format!("version: {what} is not X.509 v3"));
    }
    if leaf.issuer != cluster.subject {
        return refuse(format!(
            "issuer: {what} was not issued by the cluster whose certificate it presents"
        ));
    }
    leaf.check_signed_by(cluster).map_err(|why| {
        Distrust(format!("signature: {what} is not signed by its cluster: {why}"))
    })?;
    leaf.check_key().map_err(|why| Distrust(format!("key: {what}: {why}")))?;
    check_extensions(leaf, what, LEAF_EXTENSIONS)?;
    if leaf.is_ca == Some(true) {
        return refuse(format!("CA: {what} is a CA's, an HSM's must not be"));
    }
    if leaf.may_sign_data == Some(false) {
        return refuse(format!("key usage: {what} is not for digital signatures"));
    }
    if !leaf.for_servers {
        return refuse(format!("extended key usage: {what} is not for TLS servers (serverAuth)"));
    }
    Ok(())
}

fn check_extensions(
    certificate: &Certificate,
    what: &str,
    known: &[ObjectIdentifier],
) -> Result<(), Distrust> {
    match certificate.critical_extension_beyond(known) {
        Some(id) => {
            refuse(format!("extensions: {what} has a critical extension {id} that is not known"))
        }
        None => Ok(()),
    }
}

fn check_validity(
    certificate: &Certificate,
    what: &str,
    remedy: &str,
    now: u64,
) -> Result<(), Distrust> {
    certificate.check_time(now).map_err(|out_of_time| {
        Distrust(match out_of_time {
            OutOfTime::NotYet(from) => {
                format!("validity: {what} is not valid before {from}: check this machine's clock")
            }
            OutOfTime::Expired(at) => {
                format!("validity: {what} expired at {at}: check this machine's clock, or {remedy}")
            }
        })
    })
}

fn parse(what: &str, der: &[u8]) -> Result<Certificate, Distrust> {
    Certificate::from_der(der)
        .map_err(|why| Distrust(format!("form: {what} is not an X.509 certificate: {why}")))
}

fn refuse<T>(why: String) -> Result<T, Distrust> {
    Err(Distrust(why))
}

/// [`Anchor`] as rustls wants it.
pub(crate) struct Verifier(pub(crate) Arc<Anchor>);

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Verifier").field(&self.0.file).finish()
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let rest: Vec<&[u8]> = intermediates.iter().map(AsRef::as_ref).collect();
        match self.0.check(end_entity, &rest, now.as_secs()) {
            Ok(_) => Ok(ServerCertVerified::assertion()),
            Err(distrust) => Err(CertificateError::Other(OtherError(Arc::new(distrust))).into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let leaf = Certificate::from_der(cert)
            .map_err(|_| rustls::Error::from(CertificateError::BadEncoding))?;
        let key = SubjectPublicKeyInfoDer::from(leaf.public_key.as_slice());
        rustls::crypto::verify_tls13_signature_with_raw_key(message, &key, dss, &self.0.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.algorithms.supported_schemes()
    }
}

/// The identity in a chain that has been checked: what the leaf's URI says.
pub(crate) fn identity(anchor: &Anchor, chain: &[CertificateDer<'_>]) -> Result<Identity, Error> {
    let mut chain = chain.iter();
    let leaf = chain.next().map(|der| parse("the HSM's certificate", der));
    let cluster = chain.next().map(|der| parse("the cluster's certificate", der));
    let (Some(leaf), Some(cluster)) = (leaf, cluster) else {
        return Err(Error::Trust("the HSM presented no certificate".into()));
    };
    let distrusted = |Distrust(why)| Error::Trust(why);
    let identity = anchor
        .check_names(&leaf.map_err(distrusted)?, &cluster.map_err(distrusted)?)
        .map_err(distrusted)?;
    // The handshake is over: the HSM has proved its leaf's key, and the cluster has issued it.
    anchor.pins.shown(&identity.cluster_key);
    Ok(identity)
}
