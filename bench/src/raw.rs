//! The raw library: aws-lc in this process, with a parsed key, and nothing else.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};

use crate::Work;
use crate::measure::Step;

/// A parsed key.
pub(crate) enum Key {
    Rsa(Box<RsaKeyPair>),
    P256(Box<EcdsaKeyPair>),
    Gcm(Box<LessSafeKey>, usize),
    Random,
}

impl Key {
    pub(crate) fn new(work: Work) -> Result<Self, String> {
        let failed = |_| "aws-lc makes no key".to_owned();
        Ok(match work {
            Work::Rsa2048 => {
                Self::Rsa(Box::new(RsaKeyPair::generate(KeySize::Rsa2048).map_err(failed)?))
            }
            Work::P256 => Self::P256(Box::new(
                EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(failed)?,
            )),
            Work::Gcm1K => Self::Gcm(Box::new(gcm()?), 1024),
            Work::Gcm16K => Self::Gcm(Box::new(gcm()?), 16 * 1024),
            Work::Ecb1K | Work::Empty | Work::DurableKey => Self::Random,
        })
    }

    pub(crate) fn step(&self) -> Result<Step<'_>, String> {
        let random = SystemRandom::new();
        Ok(match self {
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                Box::new(move || {
                    key.sign(&RSA_PKCS1_SHA256, &random, &[7; 32], &mut signature)
                        .map_err(|_| "aws-lc does not sign".to_owned())
                })
            }
            Self::P256(key) => Box::new(move || {
                key.sign(&random, &[7; 32])
                    .map(|_| ())
                    .map_err(|_| "aws-lc does not sign".to_owned())
            }),
            Self::Gcm(key, bytes) => {
                let mut buffer = vec![0x5a; *bytes];
                Box::new(move || {
                    let mut nonce = [0; NONCE_LEN];
                    random.fill(&mut nonce).map_err(|_| "no random".to_owned())?;
                    key.seal_in_place_separate_tag(
                        Nonce::assume_unique_for_key(nonce),
                        Aad::empty(),
                        &mut buffer,
                    )
                    .map(|_| ())
                    .map_err(|_| "aws-lc does not encrypt".to_owned())
                })
            }
            Self::Random => Box::new(move || {
                let mut byte = [0; 1];
                random.fill(&mut byte).map_err(|_| "no random".to_owned())
            }),
        })
    }
}

fn gcm() -> Result<LessSafeKey, String> {
    let key = UnboundKey::new(&AES_256_GCM, &[0x42; 32]).map_err(|_| "aws-lc takes no key")?;
    Ok(LessSafeKey::new(key))
}
