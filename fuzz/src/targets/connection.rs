//! A whole connection: requests of a client that is logged in, or is not, to an engine with its vault.
//!
//! Each gets one reply, whose status is one that PKCS#11 has and blames nobody but the caller; and what
//! is on disk afterwards is what a restart can read.

use cryptoki_sys::*;
use prost::Message as _;
use strongroom_engine::Connection;
use strongroom_vault::Handle;
use strongroom_wire::limits::FRAME_BYTES_MAX;
use strongroom_wire::message::*;

use crate::hsm::{PASSWORD, scenes};
use crate::input::{Fields, frames};

/// Requests of one case: more would say nothing that two cases do not.
const REQUESTS_MAX: usize = 64;
/// Password hashes of one case, some 20 ms each.
const HASHES_MAX: usize = 2;

/// A scene's number, then requests in frames, all but those with passwords.
pub(super) fn requests(data: &[u8]) -> bool {
    play(data, 0)
}

/// The same with passwords.
pub(super) fn passwords(data: &[u8]) -> bool {
    play(data, HASHES_MAX)
}

/// Whether a request succeeds.
fn play(data: &[u8], mut hashes: usize) -> bool {
    let mut taken = false;
    let mut fields = Fields(data);
    let scenes = scenes();
    let mut hsm = scenes[usize::from(fields.byte()) % scenes.len()].begin();
    let mut case = Case { passwords: vec![PASSWORD.to_vec()], made: Vec::new() };
    for frame in frames(fields.rest()).take(REQUESTS_MAX) {
        let Ok(mut request) = Request::decode(frame) else { continue };
        // A client that has seen more than this HSM has waits for it, two seconds long.
        request.seen_index = request.seen_index.min(hsm.memory.durable());
        let Some(operation) = &mut request.operation else { continue };
        for_handles(operation, |handle| case.name(handle));
        let password = password(operation).map(<[u8]>::to_vec);
        if makes_rsa_key(operation) || (password.is_some() && hashes == 0) {
            continue;
        }
        hashes -= usize::from(password.is_some());
        taken |= case.send(&mut hsm.connection, request, password);
    }
    drop(hsm.connection);
    hsm.engine.housekeeping();
    hsm.memory.check();
    taken
}

/// What a case has seen.
struct Case {
    /// All passwords that somebody may have.
    passwords: Vec<Vec<u8>>,
    /// Handles of the session objects that it made.
    made: Vec<u64>,
}

impl Case {
    /// Handles of session objects are random: the input names the first one that it made by the top
    /// bit, the second one by the top bit and a 1.
    fn name(&self, handle: &mut u64) {
        if *handle & Handle::SESSION_BIT != 0 {
            let number = usize::try_from(*handle ^ Handle::SESSION_BIT).unwrap_or(usize::MAX);
            *handle = self.made.get(number).copied().unwrap_or(*handle);
        }
    }

    fn send(
        &mut self,
        connection: &mut Connection,
        request: Request,
        password: Option<Vec<u8>>,
    ) -> bool {
        let sequence = request.sequence;
        let reply = connection.handle(request);
        check(&reply, sequence);
        match &reply.outcome {
            Some(Outcome::Login(_)) => {
                let right = password.is_some_and(|given| self.passwords.contains(&given));
                assert!(right, "a login without a password");
            }
            Some(Outcome::Object(object)) => self.made.push(object.handle),
            Some(Outcome::Pair(pair)) => {
                self.made.extend([pair.public_handle, pair.private_handle]);
            }
            _ => self.passwords.extend(password),
        }
        self.made.retain(|handle| handle & Handle::SESSION_BIT != 0);
        reply.status == CKR_OK
    }
}

fn check(reply: &Reply, sequence: u64) {
    assert_eq!(reply.sequence, sequence);
    assert!(reply.encoded_len() <= FRAME_BYTES_MAX, "a reply has room in a frame");
    if reply.status == CKR_OK {
        return;
    }
    assert!(reply.outcome.is_none(), "a failure has no outcome");
    assert!(STATUSES.contains(&reply.status), "{:#x}: {}", reply.status, reply.message);
    // Under CKR_FUNCTION_FAILED, which also says that something was tried too late.
    assert!(!reply.message.contains("backend failed"), "{}", reply.message);
}

/// The codes that blame the caller, or what the caller wants. CKR_GENERAL_ERROR and CKR_DEVICE_ERROR
/// are not among them: no request may bring an HSM to those.
const STATUSES: [u64; 51] = [
    CKR_ACTION_PROHIBITED,
    CKR_ARGUMENTS_BAD,
    CKR_ATTRIBUTE_READ_ONLY,
    CKR_ATTRIBUTE_SENSITIVE,
    CKR_ATTRIBUTE_TYPE_INVALID,
    CKR_ATTRIBUTE_VALUE_INVALID,
    CKR_CURVE_NOT_SUPPORTED,
    CKR_DATA_INVALID,
    CKR_DATA_LEN_RANGE,
    CKR_DEVICE_MEMORY,
    CKR_DOMAIN_PARAMS_INVALID,
    CKR_ENCRYPTED_DATA_INVALID,
    CKR_ENCRYPTED_DATA_LEN_RANGE,
    CKR_FUNCTION_FAILED,
    CKR_FUNCTION_NOT_SUPPORTED,
    CKR_FUNCTION_REJECTED,
    CKR_KEY_FUNCTION_NOT_PERMITTED,
    CKR_KEY_HANDLE_INVALID,
    CKR_KEY_NOT_WRAPPABLE,
    CKR_KEY_SIZE_RANGE,
    CKR_KEY_TYPE_INCONSISTENT,
    CKR_KEY_UNEXTRACTABLE,
    CKR_MECHANISM_INVALID,
    CKR_MECHANISM_PARAM_INVALID,
    CKR_OBJECT_HANDLE_INVALID,
    CKR_PIN_INCORRECT,
    CKR_PIN_INVALID,
    CKR_PIN_LEN_RANGE,
    CKR_PIN_LOCKED,
    CKR_PUBLIC_KEY_INVALID,
    CKR_SESSION_EXISTS,
    CKR_SESSION_HANDLE_INVALID,
    CKR_SESSION_READ_ONLY,
    CKR_SIGNATURE_INVALID,
    CKR_SIGNATURE_LEN_RANGE,
    CKR_TEMPLATE_INCOMPLETE,
    CKR_TEMPLATE_INCONSISTENT,
    CKR_TOKEN_NOT_INITIALIZED,
    CKR_TOKEN_WRITE_PROTECTED,
    CKR_UNWRAPPING_KEY_HANDLE_INVALID,
    CKR_UNWRAPPING_KEY_SIZE_RANGE,
    CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT,
    CKR_USER_ALREADY_LOGGED_IN,
    CKR_USER_NOT_LOGGED_IN,
    CKR_USER_PIN_NOT_INITIALIZED,
    CKR_USER_TYPE_INVALID,
    CKR_WRAPPED_KEY_INVALID,
    CKR_WRAPPED_KEY_LEN_RANGE,
    CKR_WRAPPING_KEY_HANDLE_INVALID,
    CKR_WRAPPING_KEY_SIZE_RANGE,
    CKR_WRAPPING_KEY_TYPE_INCONSISTENT,
];

/// Making an RSA key takes from a tenth of a second on. A size that is refused takes none.
fn makes_rsa_key(operation: &Operation) -> bool {
    let Operation::GenerateKeyPair(generate) = operation else { return false };
    let kind = generate.mechanism.as_ref().map(|mechanism| mechanism.kind);
    let attributes = generate.public_template.iter().flat_map(|template| &template.attributes);
    matches!(kind, Some(CKM_RSA_PKCS_KEY_PAIR_GEN | CKM_RSA_X9_31_KEY_PAIR_GEN))
        && attributes.filter(|attribute| attribute.kind == CKA_MODULUS_BITS).any(|attribute| {
            let bits = attribute.value.as_slice().try_into().map(u64::from_le_bytes);
            bits.is_ok_and(|bits| (2048..=4096).contains(&bits))
        })
}

/// The password of a request that has one.
fn password(operation: &Operation) -> Option<&[u8]> {
    match operation {
        Operation::Login(m) => Some(&m.password),
        Operation::CreateUser(m) => Some(&m.password),
        Operation::ChangePassword(m) => Some(&m.password),
        Operation::ActivateCluster(m) => Some(&m.password),
        Operation::InitToken(m) => Some(&m.so_pin),
        Operation::InitPin(m) => Some(&m.pin),
        _ => None,
    }
}

fn for_handles(operation: &mut Operation, mut name: impl FnMut(&mut u64)) {
    match operation {
        Operation::CopyObject(m) => name(&mut m.handle),
        Operation::DestroyObject(m) => name(&mut m.handle),
        Operation::GetAttributes(m) => name(&mut m.handle),
        Operation::SetAttributes(m) => name(&mut m.handle),
        Operation::FindObjects(m) => name(&mut m.after),
        Operation::Sign(m) => name(&mut m.handle),
        Operation::Verify(m) => name(&mut m.handle),
        Operation::Encrypt(m) => name(&mut m.handle),
        Operation::Decrypt(m) => name(&mut m.handle),
        Operation::WrapKey(m) => {
            name(&mut m.wrapping_handle);
            name(&mut m.handle);
        }
        Operation::UnwrapKey(m) => name(&mut m.wrapping_handle),
        Operation::DeriveKey(m) => name(&mut m.handle),
        Operation::EncapsulateKey(m) => name(&mut m.handle),
        Operation::DecapsulateKey(m) => name(&mut m.handle),
        _ => {}
    }
}
