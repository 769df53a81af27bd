//! Passwords: which are allowed, and their memory-hard verifiers.
//!
//! Argon2id (RFC 9106) at the cost that [`PasswordCost`] says, in one lane. A verifier is a PHC
//! string, so a later change of parameters leaves old ones readable. At most [`HASHES_AT_ONCE`]
//! hashes run at a time: logins must not take the cores from signatures.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use argon2::password_hash::{Output, PasswordHash, Salt, SaltString};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use cryptoki_sys::*;
use strongroom_vault::{Gate, PasswordVerifier, Personality};
use strongroom_wire::limits;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::error::Error;
use crate::options::PasswordCost;

/// Bytes of a salt.
const SALT_BYTES: usize = 16;
/// Bytes of a hash.
const HASH_BYTES: usize = 32;
/// Hashes that run at the same time on one HSM.
const HASHES_AT_ONCE: usize = 1;
/// How long a login waits for its turn.
const PATIENCE: Duration = Duration::from_secs(20);
/// Limits on what a stored verifier may ask for.
const STORED_MEMORY_KIB_MAX: u32 = 256 * 1024;
const STORED_PASSES_MAX: u32 = 16;
const STORED_LANES_MAX: u32 = 16;

/// Checks a new password against the personality's rules.
///
/// # Errors
/// CKR_PIN_LEN_RANGE, or CKR_PIN_INVALID where it holds what a PIN can't.
pub(crate) fn check_rules(personality: Personality, password: &[u8]) -> Result<(), Error> {
    match personality {
        Personality::CloudHsm => {
            let text = std::str::from_utf8(password)
                .map_err(|_| Error::caller(CKR_PIN_INVALID, "a password is UTF-8 text"))?;
            let characters = text.chars().count();
            if !(limits::PASSWORD_CHARS_MIN..=limits::PASSWORD_CHARS_MAX).contains(&characters) {
                return Err(Error::caller(
                    CKR_PIN_LEN_RANGE,
                    format!(
                        "a password has {} to {} characters",
                        limits::PASSWORD_CHARS_MIN,
                        limits::PASSWORD_CHARS_MAX
                    ),
                ));
            }
            if text.chars().any(char::is_control) {
                return Err(Error::caller(
                    CKR_PIN_INVALID,
                    "a password holds no control characters",
                ));
            }
        }
        Personality::Token => {
            if !(limits::PIN_BYTES_MIN..=limits::PIN_BYTES_MAX).contains(&password.len()) {
                return Err(Error::caller(
                    CKR_PIN_LEN_RANGE,
                    format!(
                        "a PIN has {} to {} bytes",
                        limits::PIN_BYTES_MIN,
                        limits::PIN_BYTES_MAX
                    ),
                ));
            }
        }
    }
    Ok(())
}

/// Makes and checks verifiers, a bounded number at a time.
pub(crate) struct Passwords {
    cost: PasswordCost,
    free: AtomicUsize,
    freed: Gate,
}

/// The right to compute one hash.
pub(crate) struct Turn<'a>(&'a Passwords);

impl Passwords {
    pub(crate) fn new(cost: PasswordCost) -> Self {
        Self { cost, free: AtomicUsize::new(HASHES_AT_ONCE), freed: Gate::new() }
    }

    /// Waits for a turn. A login holds it from the charge to the comparison, so the rate of
    /// attempts, and of log entries that they write, is bounded by the hash's cost.
    ///
    /// # Errors
    /// [`Error::Busy`] where too many others wait.
    pub(crate) fn turn(&self) -> Result<Turn<'_>, Error> {
        let take = |free: usize| free.checked_sub(1);
        let taken = || self.free.fetch_update(Ordering::AcqRel, Ordering::Acquire, take).is_ok();
        if !self.freed.wait(PATIENCE, taken) {
            return Err(Error::Busy);
        }
        Ok(Turn(self))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.free.fetch_add(1, Ordering::AcqRel);
        self.0.freed.notify();
    }
}

impl Turn<'_> {
    /// A verifier for a new password.
    ///
    /// # Errors
    /// The random generator's or the hash's.
    pub(crate) fn verifier(&self, password: &[u8]) -> Result<PasswordVerifier, Error> {
        let mut salt = [0; SALT_BYTES];
        strongroom_crypto::random(&mut salt)?;
        let cost = self.0.cost;
        let params = Params::new(cost.memory_kib, cost.passes, 1, Some(HASH_BYTES))
            .map_err(|_| Error::Bug("argon2 parameters"))?;
        let hash = hash(password, &salt, &params)?;
        let salt = SaltString::encode_b64(&salt).map_err(|_| Error::Bug("salt"))?;
        let text = PasswordHash {
            algorithm: Algorithm::Argon2id.ident(),
            version: Some(Version::V0x13.into()),
            params: (&params).try_into().map_err(|_| Error::Bug("argon2 parameters"))?,
            salt: Some(salt.as_salt()),
            hash: Some(Output::new(&hash[..]).map_err(|_| Error::Bug("hash"))?),
        }
        .to_string();
        Ok(PasswordVerifier(text.into_bytes()))
    }

    /// Whether `password` is the verifier's. Without a verifier (an unknown user, one without a
    /// password) it does the same work and is `false`.
    ///
    /// # Errors
    /// [`Error::Damaged`] where the verifier can't be read.
    pub(crate) fn check(
        &self,
        password: &[u8],
        verifier: Option<&PasswordVerifier>,
    ) -> Result<bool, Error> {
        let Some(verifier) = verifier else {
            self.verifier(password)?;
            return Ok(false);
        };
        let stored = Stored::parse(verifier)?;
        let found = hash(password, &stored.salt, &stored.params)?;
        Ok(found[..].ct_eq(stored.hash.as_bytes()).into())
    }
}

/// A verifier taken apart, within the limits on its cost.
pub(crate) struct Stored {
    params: Params,
    salt: Vec<u8>,
    hash: Output,
}

impl Stored {
    /// Reads a verifier that an earlier build may have made, with other parameters.
    ///
    /// # Errors
    /// [`Error::Damaged`].
    pub(crate) fn parse(verifier: &PasswordVerifier) -> Result<Self, Error> {
        let damaged = || Error::Damaged("a password's verifier");
        let text = std::str::from_utf8(&verifier.0).map_err(|_| damaged())?;
        let stored = PasswordHash::new(text).map_err(|_| damaged())?;
        // Looked at first: argon2 multiplies each of them by 8.
        let lanes = stored.params.iter().filter(|(name, _)| name.as_str() == "p");
        if lanes.flat_map(|(_, value)| value.decimal()).any(|lanes| lanes > STORED_LANES_MAX) {
            return Err(damaged());
        }
        let params = Params::try_from(&stored).map_err(|_| damaged())?;
        let (Some(salt), Some(hash)) = (stored.salt, stored.hash) else {
            return Err(damaged());
        };
        if stored.algorithm != Algorithm::Argon2id.ident()
            || stored.version != Some(Version::V0x13.into())
            || params.m_cost() > STORED_MEMORY_KIB_MAX
            || params.t_cost() > STORED_PASSES_MAX
            || hash.len() != HASH_BYTES
        {
            return Err(damaged());
        }
        let mut bytes = [0; Salt::MAX_LENGTH];
        let salt = salt.decode_b64(&mut bytes).map_err(|_| damaged())?.to_vec();
        if salt.len() < argon2::MIN_SALT_LEN {
            return Err(damaged());
        }
        Ok(Self { params, salt, hash })
    }

    /// KiB of memory times passes over them.
    pub(crate) fn cost(&self) -> u64 {
        u64::from(self.params.m_cost()) * u64::from(self.params.t_cost())
    }
}

fn hash(
    password: &[u8],
    salt: &[u8],
    params: &Params,
) -> Result<Zeroizing<[u8; HASH_BYTES]>, Error> {
    let mut memory = vec![Block::default(); params.block_count()];
    let mut out = Zeroizing::new([0; HASH_BYTES]);
    let done = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone())
        .hash_password_into_with_memory(password, salt, &mut out[..], &mut memory);
    memory.fill(Block::default());
    // Argon2's blocks are no `Zeroize`: this keeps the compiler from leaving the wiping out.
    std::hint::black_box(&memory);
    done.map_err(|_| Error::Bug("argon2"))?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verifier_accepts_its_password_and_no_other() {
        let passwords = Passwords::new(PasswordCost::default());
        let turn = passwords.turn().unwrap();
        let verifier = turn.verifier(b"correct horse").unwrap();
        assert!(verifier.0.starts_with(b"$argon2id$v=19$m=19456,t=2,p=1$"));
        assert!(turn.check(b"correct horse", Some(&verifier)).unwrap());
        assert!(!turn.check(b"correct horsf", Some(&verifier)).unwrap());
        assert!(!turn.check(b"", Some(&verifier)).unwrap());
        assert!(!turn.check(b"correct horse", None).unwrap());
    }

    #[test]
    fn a_verifier_that_is_no_phc_string_is_damage() {
        let passwords = Passwords::new(PasswordCost::default());
        let turn = passwords.turn().unwrap();
        for text in [
            &b"\xff"[..],
            b"",
            b"$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ",
            b"$argon2i$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            b"$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            b"$argon2id$v=19$m=19456,t=2,p=1194119456$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            b"$argon2id$v=19$m=4294967295,t=2,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        ] {
            let verifier = PasswordVerifier(text.to_vec());
            assert!(matches!(turn.check(b"x", Some(&verifier)), Err(Error::Damaged(_))));
        }
    }

    #[test]
    fn rules_differ_by_personality() {
        let code = |personality, password: &[u8]| {
            check_rules(personality, password).err().map(|e| e.ckr())
        };
        assert_eq!(code(Personality::CloudHsm, b"1234567"), Some(CKR_PIN_LEN_RANGE));
        assert_eq!(code(Personality::CloudHsm, b"12345678"), None);
        assert_eq!(code(Personality::CloudHsm, "pässwörter".as_bytes()), None);
        assert_eq!(code(Personality::CloudHsm, &[b'x'; 33]), Some(CKR_PIN_LEN_RANGE));
        assert_eq!(
            code(Personality::CloudHsm, b"\xff\xff\xff\xff\xff\xff\xff\xff"),
            Some(CKR_PIN_INVALID)
        );
        assert_eq!(code(Personality::CloudHsm, b"1234567\n"), Some(CKR_PIN_INVALID));
        assert_eq!(code(Personality::Token, b"123"), Some(CKR_PIN_LEN_RANGE));
        assert_eq!(code(Personality::Token, b"1234"), None);
        assert_eq!(code(Personality::Token, &[0; 256]), Some(CKR_PIN_LEN_RANGE));
    }
}
