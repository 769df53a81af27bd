//! An HSM in memory, for tests: a few keys, real cryptography, and a record of what it was asked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use cryptoki_sys::*;
use strongroom_crypto::mechanism::{self, MECHANISMS};
use strongroom_crypto::{Key, KeyKind, Params};
use strongroom_wire::limits::DATA_BYTES_MAX;
use strongroom_wire::message::{
    self, AttributeReply, AttributesReply, Data, EncryptedReply, FoundReply, MechanismReply,
    MechanismsReply, ObjectReply, Operation, Outcome, Parameter, Personality, Role,
};

use crate::abi::mechanism::Mechanism;
use crate::abi::raw::{Input, Output};
use crate::error::{Ckr, Result};
use crate::hsm::Hsm;
use crate::lock::lock;
use crate::module::{Module, wide};
use crate::session::{self, Session};

/// The AES key's handle.
pub(crate) const AES: CK_OBJECT_HANDLE = 11;
/// A generic secret's handle.
pub(crate) const GENERIC: CK_OBJECT_HANDLE = 12;
/// A P-256 private key's handle.
pub(crate) const EC_PRIVATE: CK_OBJECT_HANDLE = 13;
/// Its public key's handle.
pub(crate) const EC_PUBLIC: CK_OBJECT_HANDLE = 14;
/// The handle of every copy.
pub(crate) const COPY: CK_OBJECT_HANDLE = 98;
/// The AES key itself.
pub(crate) const AES_VALUE: [u8; 32] = [7; 32];
/// The generic secret itself.
pub(crate) const GENERIC_VALUE: [u8; 40] = [8; 40];
/// The only right password.
pub(crate) const PASSWORD: &[u8] = b"password";

/// What a [`Fake`] shares with its test.
#[derive(Default)]
pub(crate) struct State {
    /// The names of the operations that were asked for.
    pub(crate) asked: Vec<&'static str>,
    /// Who is logged in.
    pub(crate) role: Option<Role>,
    /// Uses that keys are refused, as CKA_.
    pub(crate) forbidden: Vec<u64>,
    /// Whether keys have CKA_ALWAYS_AUTHENTICATE.
    pub(crate) always_authenticate: bool,
    /// Whether the values of secret keys may be read.
    pub(crate) readable: bool,
    /// Handles that a search finds.
    pub(crate) findable: Vec<u64>,
}

/// The HSM.
pub(crate) struct Fake {
    personality: Personality,
    keys: BTreeMap<u64, Key>,
    state: Arc<Mutex<State>>,
}

/// A module over a fake HSM, and the fake's state.
pub(crate) fn module(personality: Personality) -> (Module, Arc<Mutex<State>>) {
    let state = Arc::new(Mutex::new(State::default()));
    let private =
        Key::from_stored(KeyKind::EcPrivate(strongroom_crypto::Curve::P256), &[0x5a; 32]).unwrap();
    let public = private.public_key().unwrap();
    let keys = [
        (AES, Key::from_secret(wide(CKK_AES), AES_VALUE.to_vec()).unwrap()),
        (GENERIC, Key::from_secret(wide(CKK_GENERIC_SECRET), GENERIC_VALUE.to_vec()).unwrap()),
        (EC_PRIVATE, private),
        (EC_PUBLIC, public),
    ];
    let keys = keys.into_iter().map(|(handle, key)| (wide(handle), key)).collect();
    (Module::new(Box::new(Fake { personality, keys, state: Arc::clone(&state) })), state)
}

/// A module for generic programs with one read/write session.
pub(crate) fn token() -> (Module, Arc<Session>, Arc<Mutex<State>>) {
    let (module, state) = module(Personality::Token);
    let handle = open(&module, CKF_SERIAL_SESSION | CKF_RW_SESSION).unwrap();
    let session = module.session(handle).unwrap();
    (module, session, state)
}

/// Opens a session.
pub(crate) fn open(module: &Module, flags: CK_FLAGS) -> Result<CK_SESSION_HANDLE> {
    session::open(module, crate::slot::ID, flags).map(session::handle)
}

/// A mechanism with bytes as its parameter, as a caller passes it.
pub(crate) fn with_mechanism<T>(
    kind: CK_MECHANISM_TYPE,
    parameter: &[u8],
    body: impl FnOnce(Option<Mechanism<'_>>) -> T,
) -> T {
    let raw = CK_MECHANISM {
        mechanism: kind,
        pParameter: if parameter.is_empty() {
            std::ptr::null_mut()
        } else {
            parameter.as_ptr().cast_mut().cast()
        },
        ulParameterLen: parameter.len() as CK_ULONG,
    };
    // SAFETY: a live mechanism with a live parameter.
    body(unsafe { Mechanism::new(&raw const raw) }.unwrap())
}

/// Bytes as a caller passes them.
pub(crate) fn input(bytes: &[u8]) -> Input<'_> {
    // SAFETY: live bytes.
    unsafe { Input::new(bytes.as_ptr(), bytes.len() as CK_ULONG) }.unwrap()
}

/// Calls a function that gives output: with a buffer of `room` bytes, or none. What it returned,
/// the length that it told, and the output.
pub(crate) fn output(
    room: Option<usize>,
    body: impl FnOnce(&mut Output<'_>) -> Result<()>,
) -> (Result<()>, usize, Vec<u8>) {
    let mut buffer = vec![0u8; room.unwrap_or(0)];
    let mut length = buffer.len() as CK_ULONG;
    let pointer = if room.is_some() { buffer.as_mut_ptr() } else { std::ptr::null_mut() };
    // SAFETY: live places.
    let result = body(&mut unsafe { Output::new(pointer, &raw mut length) }.unwrap());
    let length = length as usize;
    if result.is_ok() && room.is_some() {
        buffer.truncate(length);
    }
    (result, length, buffer)
}

impl Fake {
    fn key(&self, handle: u64) -> Result<&Key> {
        self.keys.get(&handle).ok_or(Ckr(CKR_OBJECT_HANDLE_INVALID))
    }

    fn attribute(&self, key: &Key, kind: u64) -> Option<Vec<u8>> {
        let number = |number: CK_ULONG| Some(wide(number).to_le_bytes().to_vec());
        let (class, key_type) = (key.kind().class(), key.kind().key_type());
        match (crate::module::narrow(kind), key.kind()) {
            (CKA_CLASS, _) => number(class),
            (CKA_KEY_TYPE, _) => Some(key_type.to_le_bytes().to_vec()),
            (CKA_EC_PARAMS, KeyKind::EcPrivate(curve) | KeyKind::EcPublic(curve)) => {
                Some(curve.params().to_vec())
            }
            (
                CKA_SIGN | CKA_VERIFY | CKA_ENCRYPT | CKA_DECRYPT | CKA_WRAP | CKA_UNWRAP
                | CKA_TOKEN,
                _,
            ) => Some(vec![u8::from(!lock(&self.state).forbidden.contains(&kind))]),
            (CKA_VALUE, KeyKind::Secret(_)) if lock(&self.state).readable => {
                let aes = key_type == wide(CKK_AES);
                Some(if aes { AES_VALUE.to_vec() } else { GENERIC_VALUE.to_vec() })
            }
            (CKA_ALWAYS_AUTHENTICATE, KeyKind::EcPrivate(_)) => {
                Some(vec![u8::from(lock(&self.state).always_authenticate)])
            }
            _ => None,
        }
    }

    fn attributes(&self, handle: u64, kinds: &[u64]) -> Result<Outcome> {
        let key = self.key(handle)?;
        let attributes = kinds
            .iter()
            .map(|&kind| match (self.attribute(key, kind), kind == wide(CKA_VALUE)) {
                (Some(value), _) => AttributeReply { kind, status: wide(CKR_OK), value },
                (None, secret) => {
                    let status =
                        if secret { CKR_ATTRIBUTE_SENSITIVE } else { CKR_ATTRIBUTE_TYPE_INVALID };
                    AttributeReply { kind, status: wide(status), value: Vec::new() }
                }
            })
            .collect();
        Ok(Outcome::Attributes(AttributesReply { attributes }))
    }

    /// Runs a mechanism on data that the real HSM would take.
    fn run<T>(
        &self,
        handle: u64,
        mechanism: Option<&message::Mechanism>,
        data: &[u8],
        act: impl FnOnce(
            &Key,
            &mechanism::Mechanism,
            &Params<'_>,
        ) -> std::result::Result<T, strongroom_crypto::Error>,
    ) -> Result<T> {
        assert!(data.len() <= DATA_BYTES_MAX, "the HSM takes no more");
        let mechanism = mechanism.unwrap();
        let params = match &mechanism.parameter {
            None => Params::None,
            Some(Parameter::Iv(iv)) => Params::Iv(iv),
            Some(Parameter::Gcm(gcm)) => {
                Params::Gcm { iv: &gcm.iv, aad: &gcm.aad, tag_bits: gcm.tag_bits }
            }
            Some(Parameter::MacLength(length)) => Params::MacLength(*length as usize),
            Some(_) => return Err(Ckr(CKR_MECHANISM_PARAM_INVALID)),
        };
        let entry = mechanism::find(mechanism.kind).unwrap();
        act(self.key(handle)?, entry, &params).map_err(|error| Ckr(error.ckr() as CK_RV))
    }

    fn answer(&self, operation: Operation) -> Result<(&'static str, Option<Outcome>)> {
        Ok(match operation {
            Operation::ListMechanisms(_) => {
                let mechanisms = MECHANISMS
                    .iter()
                    .map(|entry| MechanismReply {
                        kind: entry.kind,
                        min_key_size: entry.min_size,
                        max_key_size: entry.max_size,
                        flags: entry.flags,
                    })
                    .collect();
                ("mechanisms", Some(Outcome::Mechanisms(MechanismsReply { mechanisms })))
            }
            Operation::GetAttributes(request) => {
                ("attributes", Some(self.attributes(request.handle, &request.kinds)?))
            }
            Operation::Sign(request) => {
                let mechanism = request.mechanism.as_ref();
                let data =
                    self.run(request.handle, mechanism, &request.data, |key, entry, p| {
                        strongroom_crypto::sign(key, entry, p, &request.data, request.prehashed)
                    })?;
                ("sign", Some(Outcome::Signature(Data { data })))
            }
            Operation::Verify(request) => {
                let mechanism = request.mechanism.as_ref();
                let (data, signature) = (&request.data, &request.signature);
                self.run(request.handle, mechanism, data, |key, entry, params| {
                    let hashed = request.prehashed;
                    strongroom_crypto::verify(key, entry, params, data, hashed, signature)
                })?;
                ("verify", None)
            }
            Operation::MacPart(request) => {
                let (mechanism, state) = (request.mechanism.as_ref(), &request.state);
                let (data, signature) = (&request.data, &request.signature);
                let data =
                    self.run(request.handle, mechanism, data, |key, entry, params| {
                        match (request.last, request.verify) {
                            (false, _) => strongroom_crypto::mac_update(key, entry, state, data),
                            (true, false) => {
                                strongroom_crypto::mac_finish(key, entry, params, state, data)
                            }
                            (true, true) => strongroom_crypto::mac_check(
                                key, entry, params, state, data, signature,
                            )
                            .map(|()| Vec::new()),
                        }
                    })?;
                ("MAC part", Some(Outcome::Data(Data { data })))
            }
            Operation::Encrypt(request) => {
                let mechanism = request.mechanism.as_ref();
                let data =
                    self.run(request.handle, mechanism, &request.data, |key, entry, p| {
                        strongroom_crypto::encrypt(key, entry, p, &request.data)
                    })?;
                ("encrypt", Some(Outcome::Encrypted(EncryptedReply { data, iv: Vec::new() })))
            }
            Operation::Decrypt(request) => {
                let mechanism = request.mechanism.as_ref();
                let data =
                    self.run(request.handle, mechanism, &request.data, |key, entry, p| {
                        strongroom_crypto::decrypt(key, entry, p, &request.data)
                    })?;
                ("decrypt", Some(Outcome::Data(Data { data: data.into_plain() })))
            }
            Operation::FindObjects(request) => {
                let all = lock(&self.state).findable.clone();
                let mut handles: Vec<_> =
                    all.into_iter().filter(|&handle| handle > request.after).collect();
                // Small pages, whatever was asked for.
                let more = handles.len() > 3;
                handles.truncate(3);
                ("find", Some(Outcome::Found(FoundReply { handles, more })))
            }
            Operation::GenerateKey(_) => {
                ("generate", Some(Outcome::Object(ObjectReply { handle: 99 })))
            }
            Operation::CopyObject(request) => {
                self.key(request.handle)?;
                ("copy", Some(Outcome::Object(ObjectReply { handle: wide(COPY) })))
            }
            Operation::Random(request) => {
                let data = vec![9; request.bytes as usize];
                ("random", Some(Outcome::Data(Data { data })))
            }
            Operation::CloseSession(_) => ("close", None),
            Operation::ChangePassword(_) => ("change password", None),
            Operation::DestroyObject(_) => ("destroy", None),
            Operation::SetAttributes(_) => ("set", None),
            _ => return Err(Ckr(CKR_FUNCTION_FAILED)),
        })
    }
}

impl Hsm for Fake {
    fn personality(&self) -> Personality {
        self.personality
    }

    fn call(&self, _session: u64, operation: Operation) -> Result<Option<Outcome>> {
        let (name, outcome) = self.answer(operation)?;
        lock(&self.state).asked.push(name);
        Ok(outcome)
    }

    fn login(&self, _user: &str, role: Role, password: &[u8]) -> Result<()> {
        if password != PASSWORD {
            return Err(Ckr(CKR_PIN_INCORRECT));
        }
        lock(&self.state).role = Some(role);
        Ok(())
    }

    fn prove(&self, _user: &str, _role: Role, password: &[u8]) -> Result<()> {
        if password == PASSWORD { Ok(()) } else { Err(Ckr(CKR_PIN_INCORRECT)) }
    }

    fn logout(&self) -> Result<()> {
        let mut state = lock(&self.state);
        state.role = None;
        state.asked.push("logout");
        Ok(())
    }

    fn role(&self) -> Option<Role> {
        lock(&self.state).role
    }

    fn forget(&self) {}
}
