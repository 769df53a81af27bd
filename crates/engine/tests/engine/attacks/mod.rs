//! The known attacks on PKCS#11 tokens, each run twice: against the product, which refuses, and against
//! one without the guard, where the attack must succeed, or the test would prove nothing.
//!
//! A guard of the vault's is taken away by `strongroom_vault::guard`. Where a guard is in the backend's
//! arithmetic, the test itself plays the HSM that lacks it, out of what the product computes. Which
//! attacks there are, and what an application has to do, is in `docs/manual/attacks.md`.

mod curves;
mod extraction;
mod oracles;
mod rsa;

use cryptoki_sys::*;
use strongroom_vault::guard::{self, Guard};
use strongroom_wire::message::{Mechanism, Operation, Outcome, Parameter};

use crate::support::*;

/// The value of the key that the attacker is after.
const CANARY: [u8; 32] = *b"what the attacker must not learn";
/// The value of a key that the attacker made.
const KNOWN: [u8; 32] = [0x42; 32];

/// An attack is refused with this code, and without the guard finds the canary.
fn is_refused_only_by(guard: Guard, refusal: u64, attack: impl Fn() -> Result<Vec<u8>, u64>) {
    assert_eq!(attack(), Err(refusal), "the attack should be refused by {guard:?}");
    let found = guard::without(guard, &attack);
    assert_eq!(found.as_deref(), Ok(&CANARY[..]), "without {guard:?} the attack should succeed");
}

/// A request's bytes, or the code with which it is refused.
fn try_bytes(client: &mut Client, operation: Operation) -> Result<Vec<u8>, u64> {
    match client.call(operation) {
        Ok(Some(Outcome::Data(data) | Outcome::Signature(data))) => Ok(data.data.clone()),
        Ok(Some(Outcome::Encrypted(reply))) => Ok(reply.data),
        Ok(other) => panic!("no bytes: {other:?}"),
        Err(refused) => Err(refused.status),
    }
}

/// The handle of a new object, or the code with which it is refused.
fn try_object(client: &mut Client, operation: Operation) -> Result<u64, u64> {
    match client.call(operation) {
        Ok(Some(Outcome::Object(reply))) => Ok(reply.handle),
        Ok(other) => panic!("no object: {other:?}"),
        Err(refused) => Err(refused.status),
    }
}

/// An AES key of this value.
fn aes_of(client: &mut Client, value: &[u8], attributes: &[(u64, &[u8])]) -> u64 {
    let (class, kind) = (number(CKO_SECRET_KEY), number(CKK_AES));
    let mut all: Vec<(u64, &[u8])> =
        vec![(CKA_CLASS, &class), (CKA_KEY_TYPE, &kind), (CKA_VALUE, value), (CKA_TOKEN, TRUE)];
    all.extend_from_slice(attributes);
    client.object(create(&all))
}

fn cbc_pad() -> Option<Mechanism> {
    with(CKM_AES_CBC_PAD, Parameter::Iv(vec![0; 16]))
}

/// Marks a key as trusted, as a CloudHSM's admin.
fn trust(hsm: &Hsm, key: u64) {
    hsm.admin().set(key, template(&[(CKA_TRUSTED, TRUE)])).unwrap();
}
