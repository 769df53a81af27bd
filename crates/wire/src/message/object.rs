//! Objects: making, reading, changing, finding and destroying them.

use prost::Message;

use super::{Mechanism, Template, secret_messages};

/// C_GenerateKey.
#[derive(PartialEq, Message)]
pub struct GenerateKey {
    /// How.
    #[prost(message, optional, tag = "1")]
    pub mechanism: Option<Mechanism>,
    /// With what.
    #[prost(message, optional, tag = "2")]
    pub template: Option<Template>,
}

/// C_GenerateKeyPair.
#[derive(PartialEq, Message)]
pub struct GenerateKeyPair {
    /// How.
    #[prost(message, optional, tag = "1")]
    pub mechanism: Option<Mechanism>,
    /// The public key's template.
    #[prost(message, optional, tag = "2")]
    pub public_template: Option<Template>,
    /// The private key's template.
    #[prost(message, optional, tag = "3")]
    pub private_template: Option<Template>,
}

/// C_CreateObject.
#[derive(PartialEq, Message)]
pub struct CreateObject {
    /// With what.
    #[prost(message, optional, tag = "1")]
    pub template: Option<Template>,
}

/// C_CopyObject.
#[derive(PartialEq, Message)]
pub struct CopyObject {
    /// Of which object.
    #[prost(uint64, tag = "1")]
    pub handle: u64,
    /// What is different in the copy. Where it says nothing of CKA_TOKEN, the copy is of the
    /// object's kind.
    #[prost(message, optional, tag = "2")]
    pub template: Option<Template>,
}

/// C_DestroyObject.
#[derive(PartialEq, Message)]
pub struct DestroyObject {
    /// Which.
    #[prost(uint64, tag = "1")]
    pub handle: u64,
}

/// C_GetAttributeValue.
#[derive(PartialEq, Message)]
pub struct GetAttributes {
    /// Of which object.
    #[prost(uint64, tag = "1")]
    pub handle: u64,
    /// Which attributes, CKA_ numbers.
    #[prost(uint64, repeated, tag = "2")]
    pub kinds: Vec<u64>,
}

/// C_SetAttributeValue.
#[derive(PartialEq, Message)]
pub struct SetAttributes {
    /// Of which object.
    #[prost(uint64, tag = "1")]
    pub handle: u64,
    /// The new values.
    #[prost(message, optional, tag = "2")]
    pub template: Option<Template>,
}

/// C_FindObjects: the handles above `after` that match, in order.
#[derive(PartialEq, Message)]
pub struct FindObjects {
    /// All of these must match; empty matches all.
    #[prost(message, optional, tag = "1")]
    pub template: Option<Template>,
    /// 0 to begin; then the last handle of the page before.
    #[prost(uint64, tag = "2")]
    pub after: u64,
    /// At most so many; see [`crate::limits::FIND_HANDLES_MAX`].
    #[prost(uint32, tag = "3")]
    pub max: u32,
}

/// A new object.
#[derive(PartialEq, Message)]
pub struct ObjectReply {
    /// Its handle.
    #[prost(uint64, tag = "1")]
    pub handle: u64,
}

/// A new key pair.
#[derive(PartialEq, Message)]
pub struct PairReply {
    /// The public key's handle.
    #[prost(uint64, tag = "1")]
    pub public_handle: u64,
    /// The private key's handle.
    #[prost(uint64, tag = "2")]
    pub private_handle: u64,
}

/// One attribute's value or why there is none.
#[derive(PartialEq, Message)]
#[prost(skip_debug)]
pub struct AttributeReply {
    /// CKA_ number.
    #[prost(uint64, tag = "1")]
    pub kind: u64,
    /// CKR_OK, CKR_ATTRIBUTE_SENSITIVE or CKR_ATTRIBUTE_TYPE_INVALID.
    #[prost(uint64, tag = "2")]
    pub status: u64,
    /// The value; wiped when dropped.
    #[prost(bytes = "vec", tag = "3")]
    pub value: Vec<u8>,
}

/// Answer to [`GetAttributes`], in the request's order.
#[derive(PartialEq, Message)]
pub struct AttributesReply {
    /// One for each that was asked for.
    #[prost(message, repeated, tag = "1")]
    pub attributes: Vec<AttributeReply>,
}

/// Answer to [`FindObjects`].
#[derive(PartialEq, Message)]
pub struct FoundReply {
    /// Handles, rising.
    #[prost(uint64, repeated, tag = "1")]
    pub handles: Vec<u64>,
    /// Whether more may follow.
    #[prost(bool, tag = "2")]
    pub more: bool,
}

secret_messages! {
    AttributeReply: value;
}
