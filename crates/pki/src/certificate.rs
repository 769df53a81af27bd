//! What the checks need to know of one certificate, taken from its DER once.

use aws_lc_rs::digest;
use der::asn1::{AnyRef, ObjectIdentifier};
use der::{Decode, Encode, Reader, SliceReader};
use x509_cert::TbsCertificate;
use x509_cert::certificate::Version;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAltName};
use x509_cert::spki::AlgorithmIdentifierOwned;
use x509_cert::time::Time;

use crate::signature::{self, Fault};

/// id-ce-… (RFC 5280, section 4.2.1).
const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
const SUBJECT_ALT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");
const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
const EXTENDED_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37");
/// id-kp-serverAuth (RFC 5280, section 4.2.1.12).
const SERVER_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");
/// id-at-commonName.
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// The extensions that a check of a CA's certificate looks at.
pub const CA_EXTENSIONS: &[ObjectIdentifier] = &[BASIC_CONSTRAINTS, KEY_USAGE];
/// Those that a check of an HSM's own certificate looks at.
pub const LEAF_EXTENSIONS: &[ObjectIdentifier] =
    &[BASIC_CONSTRAINTS, KEY_USAGE, EXTENDED_KEY_USAGE, SUBJECT_ALT_NAME];

/// Why bytes are no certificate: the parser's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(String);

impl From<der::Error> for Malformed {
    fn from(error: der::Error) -> Self {
        Self(error.to_string())
    }
}

/// A moment outside of a certificate's time, which begins or ended at a date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutOfTime {
    /// Before it.
    NotYet(String),
    /// After it.
    Expired(String),
}

/// One certificate, understood as far as the checks need it.
#[derive(Clone)]
pub struct Certificate {
    /// 1, 2 or 3.
    pub version: u8,
    /// DER: names are compared byte by byte.
    pub issuer: Vec<u8>,
    /// As `issuer`.
    pub subject: Vec<u8>,
    /// SubjectPublicKeyInfo, DER.
    pub public_key: Vec<u8>,
    /// What basicConstraints says; `None` where there is none.
    pub is_ca: Option<bool>,
    /// How many CAs may stand between this one and a leaf, where basicConstraints limits it.
    pub path_length: Option<u8>,
    /// What keyUsage says (keyCertSign); `None` where there is none.
    pub may_sign_certificates: Option<bool>,
    /// What keyUsage says (digitalSignature); `None` where there is none.
    pub may_sign_data: Option<bool>,
    /// Whether extendedKeyUsage has serverAuth.
    pub for_servers: bool,
    /// The URIs of subjectAltName.
    pub uris: Vec<String>,
    der: Vec<u8>,
    common_names: Vec<Vec<u8>>,
    not_before: Time,
    not_after: Time,
    extensions: Vec<(ObjectIdentifier, bool)>,
    algorithm: AlgorithmIdentifierOwned,
    /// TBSCertificate as it came, never an encoding of what was understood.
    signed: Vec<u8>,
    signature: Vec<u8>,
}

impl Certificate {
    /// Parses one certificate.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn from_der(der: &[u8]) -> Result<Self, Malformed> {
        let certificate = x509_cert::Certificate::from_der(der)?;
        let tbs = certificate.tbs_certificate();
        // RFC 5280, section 4.1.1.2: "This field MUST contain the same algorithm identifier as the
        // signature field in the sequence tbsCertificate".
        if tbs.signature() != certificate.signature_algorithm() {
            return Err(Malformed("it names two signature algorithms".to_owned()));
        }
        let mut this = Self {
            version: match tbs.version() {
                Version::V1 => 1,
                Version::V2 => 2,
                Version::V3 => 3,
            },
            issuer: tbs.issuer().to_der()?,
            subject: tbs.subject().to_der()?,
            public_key: tbs.subject_public_key_info().to_der()?,
            is_ca: None,
            path_length: None,
            may_sign_certificates: None,
            may_sign_data: None,
            for_servers: false,
            uris: Vec::new(),
            der: der.to_vec(),
            common_names: common_names(tbs),
            not_before: tbs.validity().not_before,
            not_after: tbs.validity().not_after,
            extensions: Vec::new(),
            algorithm: certificate.signature_algorithm().clone(),
            signed: signed_bytes(der)?,
            signature: certificate.signature().as_bytes().unwrap_or_default().to_vec(),
        };
        for extension in tbs.extensions().into_iter().flatten() {
            this.read_extension(extension)?;
        }
        Ok(this)
    }

    fn read_extension(&mut self, extension: &Extension) -> Result<(), Malformed> {
        let (id, value) = (extension.extn_id, extension.extn_value.as_bytes());
        // RFC 5280, section 4.2: "A certificate MUST NOT include more than one instance of a
        // particular extension."
        if self.extensions.iter().any(|(seen, _)| *seen == id) {
            return Err(Malformed(format!("it has the extension {id} twice")));
        }
        self.extensions.push((id, extension.critical));
        match id {
            BASIC_CONSTRAINTS => {
                let constraints = BasicConstraints::from_der(value)?;
                self.is_ca = Some(constraints.ca);
                self.path_length = constraints.path_len_constraint;
            }
            KEY_USAGE => {
                let usage = KeyUsage::from_der(value)?;
                self.may_sign_certificates = Some(usage.key_cert_sign());
                self.may_sign_data = Some(usage.digital_signature());
            }
            EXTENDED_KEY_USAGE => {
                self.for_servers = ExtendedKeyUsage::from_der(value)?.0.contains(&SERVER_AUTH);
            }
            SUBJECT_ALT_NAME => {
                for name in SubjectAltName::from_der(value)?.0 {
                    if let GeneralName::UniformResourceIdentifier(uri) = name {
                        self.uris.push(uri.as_str().to_owned());
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The bytes that it was parsed from.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Whether the subject has this common name (CN), in an encoding that has ASCII as it is.
    #[must_use]
    pub fn has_common_name(&self, name: &str) -> bool {
        self.common_names.iter().any(|found| found == name.as_bytes())
    }

    /// The first critical extension that is not among those that the caller looks at.
    ///
    /// RFC 5280, section 4.2: "A certificate-using system MUST reject the certificate if it
    /// encounters a critical extension it does not recognize or a critical extension that contains
    /// information that it cannot process."
    #[must_use]
    pub fn critical_extension_beyond(
        &self,
        known: &[ObjectIdentifier],
    ) -> Option<ObjectIdentifier> {
        let unknown = |(id, critical): &&(ObjectIdentifier, bool)| *critical && !known.contains(id);
        self.extensions.iter().find(unknown).map(|(id, _)| *id)
    }

    /// Whether it is valid at `now`, in seconds since 1970.
    ///
    /// # Errors
    /// [`OutOfTime`].
    pub fn check_time(&self, now: u64) -> Result<(), OutOfTime> {
        if now < self.not_before.to_unix_duration().as_secs() {
            return Err(OutOfTime::NotYet(self.not_before.to_string()));
        }
        if now > self.not_after.to_unix_duration().as_secs() {
            return Err(OutOfTime::Expired(self.not_after.to_string()));
        }
        Ok(())
    }

    /// Whether its own key is of an allowed kind and strength.
    ///
    /// # Errors
    /// [`Fault::NotAllowed`].
    pub fn check_key(&self) -> Result<(), Fault> {
        signature::check_key(&self.public_key)
    }

    /// Whether `issuer`'s key made its signature, with an allowed algorithm and a key that is strong
    /// enough. The names are not compared here.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn check_signed_by(&self, issuer: &Self) -> Result<(), Fault> {
        signature::verify(&self.algorithm, &issuer.public_key, &self.signed, &self.signature)
    }

    /// SHA-256 of the SubjectPublicKeyInfo: what pins name a key by.
    #[must_use]
    pub fn public_key_sha256(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest::digest(&digest::SHA256, &self.public_key).as_ref());
        bytes
    }
}

/// The bytes of the first element of the certificate's sequence: TBSCertificate, as it came.
fn signed_bytes(der: &[u8]) -> der::Result<Vec<u8>> {
    let mut reader = SliceReader::new(der)?;
    reader.sequence(|inner| {
        let signed = inner.tlv_bytes()?.to_vec();
        while !inner.is_finished() {
            inner.tlv_bytes()?;
        }
        Ok(signed)
    })
}

fn common_names(tbs: &TbsCertificate) -> Vec<Vec<u8>> {
    tbs.subject()
        .iter()
        .filter(|attribute| attribute.oid == COMMON_NAME)
        .map(|attribute| AnyRef::from(&attribute.value).value().to_vec())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;
    use crate::certificate_in_pem;

    /// What `openssl req -x509` makes with these options.
    fn openssl(options: &[&str]) -> Certificate {
        let folder = tempfile::tempdir().unwrap();
        let output = Command::new("openssl")
            .args(["req", "-x509", "-noenc", "-keyout", "key", "-subj", "/O=Other/CN=cluster-1"])
            .args(options)
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let pem = String::from_utf8(output.stdout).unwrap();
        Certificate::from_der(&certificate_in_pem(&pem).unwrap()).unwrap()
    }

    const EC: [&str; 4] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];

    fn p256(extensions: &[&str]) -> Certificate {
        let mut options = EC.to_vec();
        for extension in extensions {
            options.extend(["-addext", extension]);
        }
        openssl(&options)
    }

    #[test]
    fn extensions_are_read_as_openssl_writes_them() {
        let plain = p256(&[]);
        assert_eq!((plain.version, plain.is_ca, plain.path_length), (3, Some(true), None));
        assert_eq!((plain.may_sign_certificates, plain.may_sign_data), (None, None));
        assert!(plain.uris.is_empty() && !plain.for_servers);
        assert!(plain.has_common_name("cluster-1") && !plain.has_common_name("Other"));

        let leaf = p256(&[
            "keyUsage=critical,digitalSignature",
            "extendedKeyUsage=critical,clientAuth,serverAuth",
            "subjectAltName=URI:strongroom://c/h,DNS:localhost,URI:other:",
        ]);
        assert_eq!((leaf.may_sign_certificates, leaf.may_sign_data), (Some(false), Some(true)));
        assert_eq!(leaf.uris, ["strongroom://c/h", "other:"]);
        assert!(leaf.for_servers);
        assert_eq!(leaf.critical_extension_beyond(LEAF_EXTENSIONS), None);
        assert_eq!(leaf.critical_extension_beyond(CA_EXTENSIONS), Some(EXTENDED_KEY_USAGE));
    }

    #[test]
    fn a_time_has_both_its_ends() {
        let certificate = p256(&[]);
        let (from, until) = (certificate.not_before, certificate.not_after);
        let (from, until) = (from.to_unix_duration().as_secs(), until.to_unix_duration().as_secs());
        assert_eq!(certificate.check_time(from), Ok(()));
        assert_eq!(certificate.check_time(until), Ok(()));
        assert!(matches!(certificate.check_time(from - 1), Err(OutOfTime::NotYet(_))));
        assert!(matches!(certificate.check_time(until + 1), Err(OutOfTime::Expired(_))));
    }

    #[test]
    fn a_signature_counts_only_with_an_allowed_algorithm_and_key() {
        let check = |options: &[&str]| {
            let certificate = openssl(options);
            certificate.check_signed_by(&certificate)
        };
        let rsa = ["-newkey", "rsa:2048"];
        let pss = |salt: &'static str| {
            [&rsa[..], &["-sigopt", "rsa_padding_mode:pss", "-sigopt", salt]].concat()
        };
        assert_eq!(check(&EC), Ok(()));
        assert_eq!(check(&rsa), Ok(()));
        assert_eq!(check(&pss("rsa_pss_saltlen:digest")), Ok(()));
        let sha1_in_mgf1 =
            [&pss("rsa_pss_saltlen:digest")[..], &["-sigopt", "rsa_mgf1_md:sha1"]].concat();
        for (options, named) in [
            (&pss("rsa_pss_saltlen:20")[..], "another salt length"),
            (&sha1_in_mgf1, "another hash in MGF1"),
            (&["-newkey", "rsa:2048", "-sha224"], "SHA-224 with RSA"),
            (&["-newkey", "rsa:1024"], "an RSA key of 1024 bits"),
            (&["-newkey", "ed25519"], "Ed25519"),
            (&["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp256k1"], "secp256k1"),
        ] {
            let fault = check(options).unwrap_err();
            assert!(
                matches!(&fault, Fault::NotAllowed(what) if what.contains(named)),
                "{options:?}: {fault}"
            );
        }
    }

    #[test]
    fn a_signature_by_another_key_is_wrong_and_by_another_kind_of_key_not_allowed() {
        let (one, other) = (p256(&[]), p256(&[]));
        assert_eq!(one.check_signed_by(&other), Err(Fault::Wrong));
        let rsa = openssl(&["-newkey", "rsa:2048"]);
        assert!(matches!(one.check_signed_by(&rsa), Err(Fault::NotAllowed(_))));
    }

    #[test]
    fn an_extension_that_comes_twice_is_malformed() {
        let extension = |id: &str| Extension {
            extn_id: ObjectIdentifier::new_unwrap(id),
            critical: false,
            extn_value: der::asn1::OctetString::new([0x30, 0]).unwrap(),
        };
        let mut certificate = p256(&[]);
        certificate.read_extension(&extension("1.2.3.4")).unwrap();
        assert!(certificate.read_extension(&extension("1.2.3.4")).is_err());
    }

    #[test]
    fn damaged_certificates_are_refused_or_wrong_and_never_panic() {
        let certificate = p256(&["subjectAltName=URI:strongroom://c/h"]);
        let length = certificate.der().len();
        proptest!(|(place in 0..length, byte: u8, cut in 0..=length)| {
            let mut der = certificate.der().to_vec();
            let unchanged = der[place] == byte && cut == length;
            der[place] = byte;
            der.truncate(cut);
            if let Ok(damaged) = Certificate::from_der(&der) {
                let counts = damaged.check_key().is_ok()
                    && damaged.check_signed_by(&certificate).is_ok();
                prop_assert_eq!(counts, unchanged);
            }
        });
    }
}
