//! The owner's part of a region that `up` makes: customerCA, and what it signs.
//!
//! On a cluster for real use the owner does this elsewhere, with a CA whose key no HSM host sees;
//! `docs/spec/wire.md` has the `openssl` commands.

use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PublicKeyData, SigningKey, SubjectPublicKeyInfo,
};
use rustls::pki_types::CertificateDer;
use strongroom_pki::{Certificate, certificate_in_pem};
use strongroom_seal::write_atomically;
use zeroize::Zeroizing;

use crate::error::Error;
use crate::region::{KeyFiles, Region};

/// The years within which the certificates of a region for trying out count.
const FIRST_YEAR: i32 = 2020;
const LAST_YEAR: i32 = 2049;
/// What is made for an HSM that joins, in errors.
const ENDORSEMENT: &str = "owner's certificate of an HSM";

/// Makes the provisioner's key and certificate, where they are missing.
///
/// # Errors
/// Where they cannot be made or written.
pub(crate) fn make_provisioner(files: &KeyFiles) -> Result<(), Error> {
    let mut params = named("Strongroom provisioner");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    make(files, "provisioner's certificate", &params)
}

/// Makes customerCA, where it is missing.
///
/// # Errors
/// As [`make_provisioner`].
pub(crate) fn make_customer_ca(files: &KeyFiles) -> Result<(), Error> {
    make(files, "customerCA", &customer_ca())
}

/// Signs a cluster's request with customerCA. Gives the cluster's certificate, PEM.
///
/// # Errors
/// Where the request does not parse, or a file does not read.
pub(crate) fn sign_cluster(files: &KeyFiles, request: &str) -> Result<String, Error> {
    const WHAT: &str = "cluster certificate";
    let mut request = CertificateSigningRequestParams::from_pem(request).map_err(making(WHAT))?;
    validity(&mut request.params);
    request.params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    request.params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    request.params.use_authority_key_identifier_extension = true;
    let issuer = Issuer::new(customer_ca(), read_key(&files.key)?);
    let certificate = request.signed_by(&issuer).map_err(making(WHAT))?;
    Ok(certificate.pem())
}

/// What clients pin a certificate's key by, from PEM.
///
/// # Errors
/// Where it is no certificate.
pub(crate) fn key_of(certificate: &str) -> Result<[u8; 32], Error> {
    let bad = |problem: String| Error::Certificate { what: "cluster certificate", problem };
    let der = certificate_in_pem(certificate).map_err(|e| bad(e.to_string()))?;
    let certificate = Certificate::from_der(&der).map_err(|e| bad(e.to_string()))?;
    Ok(certificate.public_key_sha256())
}

/// SHA-256 of the key of a device certificate, DER: what members know an HSM by.
///
/// # Errors
/// Where it does not parse.
pub(crate) fn key_of_device(certificate: &[u8]) -> Result<[u8; 32], Error> {
    let certificate = Certificate::from_der(certificate).map_err(|e| Error::Certificate {
        what: "an HSM's device certificate",
        problem: e.to_string(),
    })?;
    Ok(certificate.public_key_sha256())
}

/// The owner's word for an HSM that is to join: certificates, DER, from the join key's under customerCA
/// down to one over the device key. By this host's key, where the owner has enrolled the host; else by a
/// join key of this once, where customerCA's key is here.
///
/// # Errors
/// Where neither is here, a file does not read, or the device's certificate does not parse.
pub(crate) fn endorse(region: &Region, device: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
    let device = Certificate::from_der(device)
        .map_err(|e| Error::Certificate { what: ENDORSEMENT, problem: e.to_string() })?;
    let device = SubjectPublicKeyInfo::from_der(&device.public_key).map_err(making(ENDORSEMENT))?;
    let (host, owner) = (region.host(), region.customer_ca());
    if host.certificate.exists() {
        let (mut chain, issuer) = enrolled(&host)?;
        chain.push(endorsed(&device, &issuer)?);
        return Ok(chain);
    }
    if !owner.key.exists() {
        return Err(Error::Usage(format!(
            "the join policy is `owner`, and nothing here can speak for the owner: it enrols this host \
             by {} and {}",
            host.certificate.display(),
            host.key.display(),
        )));
    }
    let mut join = named("Strongroom join key");
    join.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    join.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let join_key = KeyPair::generate().map_err(making(ENDORSEMENT))?;
    let owner = Issuer::new(customer_ca(), read_key(&owner.key)?);
    let joins = join.signed_by(&join_key, &owner).map_err(making(ENDORSEMENT))?;
    let hsm = endorsed(&device, &Issuer::new(join, join_key))?;
    Ok(vec![joins.der().to_vec(), hsm])
}

/// The certificates by which the owner has enrolled this host, and what signs under the last of them.
fn enrolled(host: &KeyFiles) -> Result<(Vec<Vec<u8>>, Issuer<'static, KeyPair>), Error> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    let bad = |problem: String| Error::file(&host.certificate)(problem);
    let pem = std::fs::read_to_string(&host.certificate).map_err(Error::file(&host.certificate))?;
    let certificates = pem.split(BEGIN).skip(1).map(|rest| format!("{BEGIN}{rest}"));
    let chain = certificates.map(|pem| certificate_in_pem(&pem).map_err(|e| bad(e.to_string())));
    let chain: Vec<Vec<u8>> = chain.collect::<Result<_, _>>()?;
    let last = chain.last().ok_or_else(|| bad("it holds no certificate".to_owned()))?;
    let key = read_key(&host.key)?;
    let certified = Certificate::from_der(last).map_err(|e| bad(e.to_string()))?;
    if certified.public_key != key.subject_public_key_info() {
        return Err(bad(format!(
            "its last certificate is of another key than {}'s",
            host.key.display()
        )));
    }
    let issuer = Issuer::from_ca_cert_der(&CertificateDer::from(last.as_slice()), key)
        .map_err(making(ENDORSEMENT))?;
    Ok((chain, issuer))
}

/// A certificate over an HSM's device key, DER.
fn endorsed(device: &SubjectPublicKeyInfo, issuer: &Issuer<'_, KeyPair>) -> Result<Vec<u8>, Error> {
    let mut hsm = named("Strongroom HSM");
    hsm.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    Ok(hsm.signed_by(device, issuer).map_err(making(ENDORSEMENT))?.der().to_vec())
}

/// Signs with a private key in a PEM file: ECDSA in DER, or RSA in PKCS#1 v1.5. Gives the public key,
/// SubjectPublicKeyInfo in DER, and the signature.
///
/// # Errors
/// Where the file holds no key of P-256, P-384 or RSA.
pub(crate) fn sign(key: &Path, message: &[u8]) -> Result<(Vec<u8>, Vec<u8>), Error> {
    let pair = read_key(key)?;
    let signature = pair.sign(message).map_err(Error::file(key))?;
    Ok((pair.subject_public_key_info(), signature))
}

/// A public key in a PEM file: SubjectPublicKeyInfo in DER.
///
/// # Errors
/// Where it is none.
pub(crate) fn read_public_key(path: &Path) -> Result<Vec<u8>, Error> {
    let pem = std::fs::read_to_string(path).map_err(Error::file(path))?;
    match pem_rfc7468::decode_vec(pem.as_bytes()) {
        Ok(("PUBLIC KEY", der)) => Ok(der),
        Ok((label, _)) => Err(Error::file(path)(format!("it holds a {label}, no PUBLIC KEY"))),
        Err(e) => Err(Error::file(path)(e)),
    }
}

/// A certificate in a PEM file.
///
/// # Errors
/// Where it is none.
pub(crate) fn read_certificate(path: &Path) -> Result<CertificateDer<'static>, Error> {
    let pem = std::fs::read_to_string(path).map_err(Error::file(path))?;
    Ok(certificate_in_pem(&pem).map_err(Error::file(path))?.into())
}

/// A private key in a PEM file.
///
/// # Errors
/// Where it is none.
pub(crate) fn read_key(path: &Path) -> Result<KeyPair, Error> {
    let pem = Zeroizing::new(std::fs::read_to_string(path).map_err(Error::file(path))?);
    KeyPair::from_pem(&pem).map_err(Error::file(path))
}

/// Makes a self-signed certificate and its key. The certificate is written last: where it is there,
/// both are.
fn make(files: &KeyFiles, what: &'static str, params: &CertificateParams) -> Result<(), Error> {
    if files.certificate.exists() {
        return Ok(());
    }
    let key = KeyPair::generate().map_err(making(what))?;
    let certificate = params.self_signed(&key).map_err(making(what))?;
    write_atomically(&files.key, Zeroizing::new(key.serialize_pem()).as_bytes())?;
    Ok(write_atomically(&files.certificate, certificate.pem().as_bytes())?)
}

fn customer_ca() -> CertificateParams {
    let mut params = named("customerCA");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn named(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Strongroom region for development");
    params.distinguished_name.push(DnType::CommonName, common_name);
    validity(&mut params);
    params
}

fn validity(params: &mut CertificateParams) {
    params.not_before = rcgen::date_time_ymd(FIRST_YEAR, 1, 1);
    params.not_after = rcgen::date_time_ymd(LAST_YEAR, 12, 31);
}

fn making(what: &'static str) -> impl FnOnce(rcgen::Error) -> Error {
    move |error| Error::Certificate { what, problem: error.to_string() }
}
