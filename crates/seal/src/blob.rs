//! The sealed blob: what all seals that end in a key have in common.
//!
//! ```text
//! "SRSEAL" | format 1 | kind | parameters (by kind) | salt[32] | check[32] | ciphertext | tag[16]
//! ```
//! From the seal's key and the salt come a check value and an AES-256-GCM key. The check tells a
//! wrong passphrase from a damaged file, and commits to the key: no blob opens under two. The key
//! is used for this one blob, so that its nonce is zero. All that is before the ciphertext is the
//! associated data.

use strongroom_crypto::symmetric::{self, AeadKey};
use strongroom_crypto::{SecretBytes, random};

use crate::Error;

const MAGIC: &[u8; 6] = b"SRSEAL";
const FORMAT: u8 = 1;
/// Bytes of a salt.
pub(crate) const SALT_BYTES: usize = 32;
const CHECK_BYTES: usize = 32;
const NONCE: [u8; 12] = [0; 12];

/// Which seal made a blob.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File = 1,
    Passphrase = 2,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Passphrase => "passphrase",
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        [Self::File, Self::Passphrase].into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// A blob taken apart, not yet opened.
pub(crate) struct Parsed<'a> {
    pub(crate) parameters: &'a [u8],
    pub(crate) salt: &'a [u8],
    check: &'a [u8],
    header: &'a [u8],
    ciphertext: &'a [u8],
}

/// A fresh salt.
pub(crate) fn salt() -> Result<[u8; SALT_BYTES], Error> {
    let mut salt = [0; SALT_BYTES];
    random(&mut salt)?;
    Ok(salt)
}

/// Seals under a key that must be of this salt and these parameters alone.
pub(crate) fn seal(
    kind: Kind,
    parameters: &[u8],
    salt: &[u8; SALT_BYTES],
    key: &SecretBytes,
    secret: &[u8],
) -> Result<Vec<u8>, Error> {
    let (check, key) = split(key)?;
    let mut sealed =
        [MAGIC, &[FORMAT, kind as u8][..], parameters, salt, check.as_bytes()].concat();
    let ciphertext = key.seal(NONCE, &sealed, secret);
    sealed.extend_from_slice(&ciphertext);
    Ok(sealed)
}

/// Takes a blob apart that must be of `kind`, with parameters of a known length.
pub(crate) fn parse(
    kind: Kind,
    parameters_bytes: usize,
    sealed: &[u8],
) -> Result<Parsed<'_>, Error> {
    const SHORT: Error = Error::Damaged("the blob is too short");
    let rest = sealed.strip_prefix(MAGIC).ok_or(Error::Damaged("not a sealed blob"))?;
    let (&[format, found], rest) = rest.split_first_chunk::<2>().ok_or(SHORT)?;
    if format != FORMAT {
        return Err(Error::Damaged("the blob is of a format that this version does not know"));
    }
    if found != kind as u8 {
        let found = Kind::from_byte(found).map_or_else(
            || format!("number {found}, which this version does not know"),
            |kind| kind.name().to_owned(),
        );
        return Err(Error::OtherSeal { expected: kind.name(), found });
    }
    let (parameters, rest) = rest.split_at_checked(parameters_bytes).ok_or(SHORT)?;
    let (salt, rest) = rest.split_at_checked(SALT_BYTES).ok_or(SHORT)?;
    let (check, ciphertext) = rest.split_at_checked(CHECK_BYTES).ok_or(SHORT)?;
    let header = &sealed[..sealed.len() - ciphertext.len()];
    Ok(Parsed { parameters, salt, check, header, ciphertext })
}

/// Opens a blob under its key; `wrong` is the error where the key is another.
pub(crate) fn open(
    parsed: &Parsed<'_>,
    key: &SecretBytes,
    wrong: Error,
) -> Result<SecretBytes, Error> {
    let (check, key) = split(key)?;
    if !check.ct_eq(parsed.check) {
        return Err(wrong);
    }
    key.open(NONCE, parsed.header, parsed.ciphertext)
        .map_err(|_| Error::Damaged("the blob has changed since it was sealed"))
}

/// The check value and the encryption key.
fn split(key: &SecretBytes) -> Result<(SecretBytes, AeadKey), Error> {
    let check = symmetric::derive(key.as_bytes(), b"strongroom seal 1 check");
    let key = symmetric::derive(key.as_bytes(), b"strongroom seal 1 key");
    Ok((check, AeadKey::from_secret(&key)?))
}
