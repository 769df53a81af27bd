//! Mechanisms at work with one key: sign, verify, encrypt, decrypt; and random bytes.
//!
//! The order of checks is the order in which PKCS#11's codes are told: the mechanism and its function
//! (CKR_MECHANISM_INVALID), the handle (CKR_KEY_HANDLE_INVALID), the key's type
//! (CKR_KEY_TYPE_INCONSISTENT), its permission (CKR_KEY_FUNCTION_NOT_PERMITTED), the parameter
//! (CKR_MECHANISM_PARAM_INVALID), the data. Each use is recorded, those refused to a login too.

use std::sync::Arc;

use cryptoki_sys::*;
use strongroom_crypto::{Key, Kind, Mechanism, Params, mechanism};
use strongroom_vault::{Action, Flags, Handle, Meta, attributes};
use strongroom_wire::limits;
use strongroom_wire::message::{
    self, Data, Decrypt, Encrypt, EncryptedReply, MacPart, Outcome, Random, Sign, Verify,
};

use crate::audit::Function;
use crate::cache::Hot;
use crate::connection::Connection;
use crate::content::Content;
use crate::error::Error;
use crate::objects::see_for_use;
use crate::parameters;

/// A function of a mechanism: as CKF_, and as the key's permission.
#[derive(Clone, Copy)]
pub(crate) struct Purpose {
    pub(crate) function: u64,
    pub(crate) permission: Flags,
    /// What an invalid handle is called.
    pub(crate) handle_invalid: CK_RV,
    /// What a key of another type is called.
    pub(crate) type_inconsistent: CK_RV,
}

pub(crate) const fn purpose(function: u64, permission: Flags) -> Purpose {
    Purpose {
        function,
        permission,
        handle_invalid: CKR_KEY_HANDLE_INVALID,
        type_inconsistent: CKR_KEY_TYPE_INCONSISTENT,
    }
}

const SIGN: Purpose = purpose(CKF_SIGN, Flags::SIGN);
const VERIFY: Purpose = purpose(CKF_VERIFY, Flags::VERIFY);
const ENCRYPT: Purpose = purpose(CKF_ENCRYPT, Flags::ENCRYPT);
const DECRYPT: Purpose = purpose(CKF_DECRYPT, Flags::DECRYPT);

/// The functions that a mechanism has here.
pub(crate) fn offered(mechanism: &Mechanism, fips_mode: bool) -> u64 {
    if fips_mode { mechanism.flags & !mechanism.not_fips } else { mechanism.flags }
}

pub(crate) fn mechanism_invalid() -> Error {
    Error::caller(CKR_MECHANISM_INVALID, "the HSM does not have this mechanism for this function")
}

impl Connection {
    /// C_Sign.
    pub(crate) fn sign(&mut self, request: &Sign) -> Result<Outcome, Error> {
        let result = self.sign_unrecorded(request);
        let used = result.as_ref().map(drop);
        self.record(Function::Sign, request.handle, kind(request.mechanism.as_ref()), used);
        result
    }

    fn sign_unrecorded(&mut self, request: &Sign) -> Result<Outcome, Error> {
        let (mechanism, content) =
            self.key_for(SIGN, request.handle, request.mechanism.as_ref())?;
        self.refuse_weak_hash(mechanism, content.key()?)?;
        let params = parameters::read(mechanism, parameter(request.mechanism.as_ref()))?;
        check_input(mechanism, &params, &request.data, request.prehashed)?;
        let data = strongroom_crypto::sign(
            content.key()?,
            mechanism,
            &params,
            &request.data,
            request.prehashed,
        )?;
        Ok(Outcome::Signature(Data { data }))
    }

    /// FIPS mode "refuses ECDSA with a digest weaker than the key": of less than half as many bits of
    /// security as the curve has in its field.
    fn refuse_weak_hash(&self, mechanism: &Mechanism, key: &Key) -> Result<(), Error> {
        let (Some(hash), Kind::Ecdsa) = (mechanism.hash, mechanism.operation) else {
            return Ok(());
        };
        // P-521's 260 bits count as 256.
        let wanted = key.size_bits().min(512) as usize;
        if self.engine.identity.fips_mode && 8 * hash.len() < wanted {
            return Err(Error::caller(
                CKR_MECHANISM_INVALID,
                "the digest's security strength is weaker than the key's",
            ));
        }
        Ok(())
    }

    /// C_Verify.
    pub(crate) fn verify(&mut self, request: &Verify) -> Result<(), Error> {
        let result = self.verify_unrecorded(request);
        let used = result.as_ref().map(drop);
        self.record(Function::Verify, request.handle, kind(request.mechanism.as_ref()), used);
        result
    }

    fn verify_unrecorded(&mut self, request: &Verify) -> Result<(), Error> {
        let (mechanism, content) =
            self.key_for(VERIFY, request.handle, request.mechanism.as_ref())?;
        let params = parameters::read(mechanism, parameter(request.mechanism.as_ref()))?;
        check_input(mechanism, &params, &request.data, request.prehashed)?;
        Ok(strongroom_crypto::verify(
            content.key()?,
            mechanism,
            &params,
            &request.data,
            request.prehashed,
            &request.signature,
        )?)
    }

    /// A part of C_Sign or C_Verify by a MAC.
    pub(crate) fn mac_part(&mut self, request: &MacPart) -> Result<Option<Outcome>, Error> {
        let result = self.mac_part_unrecorded(request);
        let function = if request.verify { Function::Verify } else { Function::Sign };
        let used = result.as_ref().map(drop);
        self.record(function, request.handle, kind(request.mechanism.as_ref()), used);
        result
    }

    fn mac_part_unrecorded(&mut self, request: &MacPart) -> Result<Option<Outcome>, Error> {
        let MacPart { handle, mechanism, state, data, signature, .. } = request;
        let purpose = if request.verify { VERIFY } else { SIGN };
        let (found, content) = self.key_for(purpose, *handle, mechanism.as_ref())?;
        let params = parameters::read(found, parameter(mechanism.as_ref()))?;
        check_length(data, CKR_DATA_LEN_RANGE)?;
        let key = content.key()?;
        let data = match (request.last, request.verify) {
            (false, _) => strongroom_crypto::mac_update(key, found, state, data)?,
            (true, false) => strongroom_crypto::mac_finish(key, found, &params, state, data)?,
            (true, true) => {
                strongroom_crypto::mac_check(key, found, &params, state, data, signature)?;
                return Ok(None);
            }
        };
        Ok(Some(Outcome::Data(Data { data })))
    }

    /// C_Encrypt.
    pub(crate) fn encrypt(&mut self, request: &Encrypt) -> Result<Outcome, Error> {
        let result = self.encrypt_unrecorded(request);
        let used = result.as_ref().map(drop);
        self.record(Function::Encrypt, request.handle, kind(request.mechanism.as_ref()), used);
        result
    }

    fn encrypt_unrecorded(&mut self, request: &Encrypt) -> Result<Outcome, Error> {
        let (mechanism, content) =
            self.key_for(ENCRYPT, request.handle, request.mechanism.as_ref())?;
        let params = parameters::read(mechanism, parameter(request.mechanism.as_ref()))?;
        let fresh = parameters::fresh_gcm_iv(self.personality(), mechanism, &params)?;
        check_length(&request.data, CKR_DATA_LEN_RANGE)?;
        let params = parameters::with_iv(params, fresh.as_ref());
        let data = strongroom_crypto::encrypt(content.key()?, mechanism, &params, &request.data)?;
        let iv = fresh.map(Vec::from).unwrap_or_default();
        Ok(Outcome::Encrypted(EncryptedReply { data, iv }))
    }

    /// C_Decrypt.
    pub(crate) fn decrypt(&mut self, request: &Decrypt) -> Result<Outcome, Error> {
        let result = self.decrypt_unrecorded(request);
        let used = result.as_ref().map(drop);
        self.record(Function::Decrypt, request.handle, kind(request.mechanism.as_ref()), used);
        result
    }

    fn decrypt_unrecorded(&mut self, request: &Decrypt) -> Result<Outcome, Error> {
        let (mechanism, content) =
            self.key_for(DECRYPT, request.handle, request.mechanism.as_ref())?;
        let params = parameters::read(mechanism, parameter(request.mechanism.as_ref()))?;
        check_length(&request.data, CKR_ENCRYPTED_DATA_LEN_RANGE)?;
        let plain = strongroom_crypto::decrypt(content.key()?, mechanism, &params, &request.data)?;
        // The reply wipes it when it is sent.
        Ok(Outcome::Data(Data { data: plain.into_plain() }))
    }

    /// C_GenerateRandom.
    pub(crate) fn random(&mut self, request: &Random) -> Result<Outcome, Error> {
        let bytes = request.bytes as usize;
        if bytes > limits::RANDOM_BYTES_MAX {
            return Err(Error::arguments(format!(
                "ask for at most {} random bytes at once",
                limits::RANDOM_BYTES_MAX
            )));
        }
        self.engine.self_tested()?;
        let mut data = vec![0; bytes];
        strongroom_crypto::random(&mut data)?;
        Ok(Outcome::Data(Data { data }))
    }

    /// The mechanism and the key of one operation, after all checks but those of parameter and data.
    ///
    /// The hot path: where this connection was allowed this function of this key at the state's
    /// present index, and has not logged out, nothing is locked.
    pub(crate) fn key_for(
        &mut self,
        purpose: Purpose,
        handle: u64,
        mechanism: Option<&message::Mechanism>,
    ) -> Result<(&'static Mechanism, Arc<Content>), Error> {
        let mechanism = mechanism.ok_or_else(|| Error::arguments("give a mechanism"))?;
        let mechanism = mechanism::find(mechanism.kind)
            .filter(|found| offered(found, self.engine.identity.fips_mode) & purpose.function != 0)
            .ok_or_else(mechanism_invalid)?;
        let handle = Handle(handle);
        let actor = self.actor();
        if actor != self.hot_actor {
            self.hot.clear();
            self.hot_actor = actor;
        }
        let session_changes = self.client()?.objects.changes();
        let index = self.durable();
        if let Some((content, meta)) =
            self.hot.get(handle, purpose.permission, index, session_changes)
        {
            check_key(purpose, mechanism, meta)?;
            return Ok((mechanism, content));
        }
        let (content, hot) = self
            .authorise(purpose, mechanism, handle)
            .map_err(|error| error.renamed(CKR_OBJECT_HANDLE_INVALID, CKR_KEY_HANDLE_INVALID))
            .map_err(|error| error.renamed(CKR_KEY_HANDLE_INVALID, purpose.handle_invalid))?;
        self.hot.put(handle, hot);
        Ok((mechanism, content))
    }

    /// Asks the vault for a use of a key, and takes the key from the cache or unmasks it.
    fn authorise(
        &mut self,
        purpose: Purpose,
        mechanism: &Mechanism,
        handle: Handle,
    ) -> Result<(Arc<Content>, Hot), Error> {
        let flag = purpose.permission;
        // Read first: a change that follows makes what is allowed here void.
        let session_changes = self.client()?.objects.changes();
        let (object, index) = self.look_up(handle, |state, who, object| {
            see_for_use(state, who, object, flag)?;
            check_key(purpose, mechanism, &object.meta)?;
            state.authorise(who, &Action::Use { object, flag })?;
            Ok(state.applied())
        })?;
        let content = object.content(self)?;
        let meta = Arc::new(object.meta().clone());
        let hot = Hot::new(&content, meta, flag, index, session_changes);
        Ok((content, hot))
    }
}

/// Whether the key is one for the mechanism.
fn check_key(purpose: Purpose, mechanism: &Mechanism, meta: &Meta) -> Result<(), Error> {
    let is_key = matches!(meta.class, CKO_SECRET_KEY | CKO_PUBLIC_KEY | CKO_PRIVATE_KEY);
    if !is_key {
        return Err(Error::caller(purpose.handle_invalid, "this object is not a key"));
    }
    if !meta.key_type.is_some_and(|key_type| mechanism.takes(key_type)) {
        return Err(Error::caller(
            purpose.type_inconsistent,
            format!("{} takes another type of key", mechanism.name),
        ));
    }
    if !attributes::allows_mechanism(meta, mechanism.kind) {
        return Err(Error::caller(
            CKR_MECHANISM_INVALID,
            "the key's CKA_ALLOWED_MECHANISMS does not name this mechanism",
        ));
    }
    Ok(())
}

fn check_input(
    mechanism: &Mechanism,
    params: &Params<'_>,
    data: &[u8],
    prehashed: bool,
) -> Result<(), Error> {
    check_length(data, CKR_DATA_LEN_RANGE)?;
    // Ed25519ph's digest is of one length, which the mechanism checks.
    if !prehashed || matches!(params, Params::Eddsa { prehash: true, .. }) {
        return Ok(());
    }
    match mechanism.hash {
        Some(hash) if mechanism.takes_digest() && hash.len() == data.len() => Ok(()),
        Some(_) if mechanism.takes_digest() => {
            Err(Error::caller(CKR_DATA_LEN_RANGE, "the digest is not as long as the hash's"))
        }
        _ => Err(Error::arguments("this mechanism takes no digest in the data's place")),
    }
}

/// An operation's data is bounded.
pub(crate) fn check_length(data: &[u8], too_long: CK_RV) -> Result<(), Error> {
    if data.len() > limits::DATA_BYTES_MAX {
        let max = limits::DATA_BYTES_MAX;
        return Err(Error::caller(too_long, format!("one operation takes at most {max} bytes")));
    }
    Ok(())
}

pub(crate) fn kind(mechanism: Option<&message::Mechanism>) -> u64 {
    mechanism.map_or(0, |mechanism| mechanism.kind)
}

pub(crate) fn parameter(mechanism: Option<&message::Mechanism>) -> Option<&message::Parameter> {
    mechanism.and_then(|mechanism| mechanism.parameter.as_ref())
}
