//! Keys of a [`Scheme`].

use crate::backend::raw_key::{Eddsa, RawKey};
use crate::{Error, Scheme, SecretBytes, random};

/// A private key of a scheme.
pub struct SchemePrivate {
    key: RawKey,
    seed: SecretBytes,
    public: Vec<u8>,
}

/// A public key of a scheme.
pub struct SchemePublic {
    key: RawKey,
    public: Vec<u8>,
}

impl SchemePrivate {
    pub(super) fn from_seed(scheme: Scheme, seed: &[u8]) -> Result<Self, Error> {
        Self::checked(RawKey::from_seed(scheme, seed).map_err(|_| Error::KeyInvalid)?)
    }

    /// Accepts a key that the backend made or parsed. One that came without its seed is refused: it
    /// could not be kept.
    pub(super) fn checked(key: RawKey) -> Result<Self, Error> {
        let seed = key.seed().map_err(|_| Error::KeyInvalid)?;
        let public = key.public().map_err(|_| Error::KeyInvalid)?;
        Ok(Self { key, seed, public })
    }

    /// A new key: both standards and both RFCs make one of a random seed. Its two halves are tried on
    /// one another before anybody gets it.
    pub(super) fn generate(scheme: Scheme) -> Result<Self, Error> {
        let mut seed = SecretBytes::zeroed(scheme.seed_bytes());
        random(seed.as_mut_bytes())?;
        let key = Self::from_seed(scheme, seed.as_bytes())?;
        let public = SchemePublic::import(scheme, &key.public)?;
        let failed = Error::backend("a new key's pairwise test");
        match scheme {
            Scheme::Ed25519 => {
                let message = Eddsa::Pure(b"pairwise");
                let signature = message.sign(key.seed().as_bytes(), &key.public);
                signature.and_then(|s| message.verify(&public.public, &s)).map_err(failed)?;
            }
            // Its public value is the private one times the base point; another function checks it.
            Scheme::X25519 => {
                let one: [u8; 32] = random_array()?;
                let theirs = crate::backend::kem::x25519_public(&one);
                let here = agree(key.seed().as_bytes(), &theirs)?;
                let there = agree(&one, &public.public)?;
                if here.as_bytes() != there.as_bytes() {
                    return Err(Error::Backend("a new key's pairwise test"));
                }
            }
            Scheme::MlDsa44 | Scheme::MlDsa65 | Scheme::MlDsa87 => {
                let signature = key.key.ml_dsa_sign(b"pairwise", &[]);
                signature
                    .and_then(|s| public.key.ml_dsa_verify(b"pairwise", &[], &s))
                    .map_err(failed)?;
            }
            Scheme::MlKem512 | Scheme::MlKem768 | Scheme::MlKem1024 => {
                let (secret, ciphertext) = public.key.encapsulate().map_err(&failed)?;
                let same = key.key.decapsulate(&ciphertext).map_err(failed)?;
                if secret.as_bytes() != same.as_bytes() {
                    return Err(Error::Backend("a new key's pairwise test"));
                }
            }
        }
        Ok(key)
    }

    /// Its scheme.
    pub fn scheme(&self) -> Scheme {
        self.key.scheme()
    }

    pub(crate) fn backend(&self) -> &RawKey {
        &self.key
    }

    pub(crate) fn seed(&self) -> &SecretBytes {
        &self.seed
    }

    pub(crate) fn public(&self) -> &[u8] {
        &self.public
    }
}

impl SchemePublic {
    /// A public key of its bytes. ML-KEM's must have all coefficients in range (FIPS 203, 7.2), which
    /// an encapsulation finds out.
    pub(super) fn import(scheme: Scheme, public: &[u8]) -> Result<Self, Error> {
        Self::checked(RawKey::from_public(scheme, public).map_err(|_| Error::KeyInvalid)?)
    }

    /// Accepts a key that the backend parsed.
    pub(super) fn checked(key: RawKey) -> Result<Self, Error> {
        if key.scheme().is_ml_kem() {
            key.encapsulate().map_err(|_| Error::KeyInvalid)?;
        }
        let public = key.public().map_err(|_| Error::KeyInvalid)?;
        Ok(Self { key, public })
    }

    /// Its scheme.
    pub fn scheme(&self) -> Scheme {
        self.key.scheme()
    }

    pub(crate) fn backend(&self) -> &RawKey {
        &self.key
    }

    pub(crate) fn public(&self) -> &[u8] {
        &self.public
    }
}

/// X25519 of two strings of 32 bytes. A peer of small order gives no secret, and an error.
pub(crate) fn agree(private: &[u8], peer: &[u8]) -> Result<SecretBytes, Error> {
    let private = private.try_into().map_err(|_| Error::KeyInvalid)?;
    let peer = peer.try_into().map_err(|_| Error::ParameterInvalid)?;
    crate::backend::kem::x25519(private, peer).map_err(|_| Error::ParameterInvalid)
}

fn random_array<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    random(&mut bytes)?;
    Ok(bytes)
}
