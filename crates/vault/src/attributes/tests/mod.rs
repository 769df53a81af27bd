//! Tests of templates and of the rules of attributes, and what they share.

mod programs;
mod properties;
mod rules;

use cryptoki_sys::*;

use super::*;
use crate::{LoginId, Personality, Principal, Refusal, Role, UserId};

const BOTH: [Personality; 2] = [Personality::CloudHsm, Personality::Token];

fn yes(kind: u64) -> Attribute {
    Attribute::boolean(kind, true)
}

fn no(kind: u64) -> Attribute {
    Attribute::boolean(kind, false)
}

fn number(kind: u64, value: u64) -> Attribute {
    Attribute::number(kind, value)
}

fn bytes(kind: u64) -> Attribute {
    Attribute::new(kind, [1, 2, 3])
}

fn named() -> [Attribute; 2] {
    [Attribute::new(CKA_LABEL, *b"name"), Attribute::new(CKA_ID, [1])]
}

fn generate(
    personality: Personality,
    key_type: u64,
    template: &[Attribute],
) -> Result<Draft, Refusal> {
    let class = Some(CKO_SECRET_KEY);
    draft(Origin::Generate, personality, class, Some(key_type), Some(CKM_AES_KEY_GEN), template)
}

/// Public and private key.
fn pair(
    personality: Personality,
    key_type: u64,
    public: &[Attribute],
    private: &[Attribute],
) -> Result<(Draft, Draft), Refusal> {
    let half = |origin, class, template| {
        let mechanism = Some(CKM_EC_KEY_PAIR_GEN);
        draft(origin, personality, Some(class), Some(key_type), mechanism, template)
    };
    Ok((
        half(Origin::GeneratePublic, CKO_PUBLIC_KEY, public)?,
        half(Origin::GeneratePrivate, CKO_PRIVATE_KEY, private)?,
    ))
}

fn create(personality: Personality, template: &[Attribute]) -> Result<Draft, Refusal> {
    draft(Origin::Create, personality, None, None, None, template)
}

fn owner() -> Principal {
    Principal::User { login: LoginId(1), user: UserId(3), role: Role::CryptoUser }
}

fn admin() -> Principal {
    Principal::User { login: LoginId(2), user: UserId(1), role: Role::Admin }
}
