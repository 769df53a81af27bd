//! Cryptographic operations, each in one shot.

use prost::Message;

use super::{Mechanism, Template, secret_messages};

/// Random bytes.
#[derive(PartialEq, Message)]
pub struct Random {
    /// How many.
    #[prost(uint32, tag = "1")]
    pub bytes: u32,
}

/// C_Sign.
#[derive(PartialEq, Message)]
#[prost(skip_debug)]
pub struct Sign {
    /// The key.
    #[prost(uint64, tag = "1")]
    pub handle: u64,
    /// How.
    #[prost(message, optional, tag = "2")]
    pub mechanism: Option<Mechanism>,
    /// The data, or its digest where `prehashed`.
    #[prost(bytes = "vec", tag = "3")]
    pub data: Vec<u8>,
    /// Whether the client has hashed already (a mechanism with a hash of its own, RSA and ECDSA).
    #[prost(bool, tag = "4")]
    pub prehashed: bool,
}

/// C_Verify.
#[derive(PartialEq, Message)]
#[prost(skip_debug)]
pub struct Verify {
    /// The key.
    #[prost(uint64, tag = "1")]
    pub handle: u64,
    /// How.
    #[prost(message, optional, tag = "2")]
    pub mechanism: Option<Mechanism>,
    /// The data, or its digest where `prehashed`.
    #[prost(bytes = "vec", tag = "3")]
    pub data: Vec<u8>,
    /// Whether the client has hashed already.
    #[prost(bool, tag = "4")]
    pub prehashed: bool,
    /// The signature.
    #[prost(bytes = "vec", tag = "5")]
    pub signature: Vec<u8>,
}

/// A part of a MAC whose data is longer than one request. Between two parts the client keeps its state,
/// sealed by the HSM, so that another one can go on.
#[derive(PartialEq, Message)]
#[prost(skip_debug)]
pub struct MacPart {
    /// The key.
    #[prost(uint64, tag = "1")]
    pub handle: u64,
    /// How.
    #[prost(message, optional, tag = "2")]
    pub mechanism: Option<Mechanism>,
    /// What the part before answered; empty for the first.
    #[prost(bytes = "vec", tag = "3")]
    pub state: Vec<u8>,
    /// The part's data: whole blocks of 128 bytes, but for the last.
    #[prost(bytes = "vec", tag = "4")]
    pub data: Vec<u8>,
    /// Whether it is the last.
    #[prost(bool, tag = "5")]
    pub last: bool,
    /// Whether the MAC is checked (CKA_VERIFY) and not made (CKA_SIGN).
    #[prost(bool, tag = "6")]
    pub verify: bool,
    /// What the last part is checked against.
    #[prost(bytes = "vec", tag = "7")]
    pub signature: Vec<u8>,
}

/// C_Encrypt, in one shot.
#[derive(PartialEq, Message)]
#[prost(skip_debug)]
pub struct Encrypt {
    /// The key.
    #[prost(uint64, tag = "1")]
    pub handle: u64,
    /// How.
    #[prost(message, optional, tag = "2")]
    pub mechanism: Option<Mechanism>,
    /// Plaintext; wiped when dropped.
    #[prost(bytes = "vec", tag = "3")]
    pub data: Vec<u8>,
}

/// Answer to [`Encrypt`].
#[derive(PartialEq, Message)]
pub struct EncryptedReply {
    /// Ciphertext (with GCM, then the tag).
    #[prost(bytes = "vec", tag = "1")]
    pub data: Vec<u8>,
    /// The IV that the HSM made, else empty.
    #[prost(bytes = "vec", tag = "2")]
    pub iv: Vec<u8>,
}

/// C_Decrypt, in one shot.
#[derive(PartialEq, Message)]
pub struct Decrypt {
    /// The key.
    #[prost(uint64, tag = "1")]
    pub handle: u64,
    /// How.
    #[prost(message, optional, tag = "2")]
    pub mechanism: Option<Mechanism>,
    /// Ciphertext.
    #[prost(bytes = "vec", tag = "3")]
    pub data: Vec<u8>,
}

/// C_WrapKey.
#[derive(PartialEq, Message)]
pub struct WrapKey {
    /// The wrapping key.
    #[prost(uint64, tag = "1")]
    pub wrapping_handle: u64,
    /// How.
    #[prost(message, optional, tag = "2")]
    pub mechanism: Option<Mechanism>,
    /// The key to wrap.
    #[prost(uint64, tag = "3")]
    pub handle: u64,
}

/// C_UnwrapKey.
#[derive(PartialEq, Message)]
pub struct UnwrapKey {
    /// The unwrapping key.
    #[prost(uint64, tag = "1")]
    pub wrapping_handle: u64,
    /// How.
    #[prost(message, optional, tag = "2")]
    pub mechanism: Option<Mechanism>,
    /// The wrapped key.
    #[prost(bytes = "vec", tag = "3")]
    pub wrapped: Vec<u8>,
    /// The new key's template.
    #[prost(message, optional, tag = "4")]
    pub template: Option<Template>,
}

/// C_DeriveKey.
#[derive(PartialEq, Message)]
pub struct DeriveKey {
    /// The base key.
    #[prost(uint64, tag = "1")]
    pub handle: u64,
    /// How.
    #[prost(message, optional, tag = "2")]
    pub mechanism: Option<Mechanism>,
    /// The new key's template.
    #[prost(message, optional, tag = "3")]
    pub template: Option<Template>,
}

/// C_EncapsulateKey.
#[derive(PartialEq, Message)]
pub struct EncapsulateKey {
    /// The public key.
    #[prost(uint64, tag = "1")]
    pub handle: u64,
    /// How.
    #[prost(message, optional, tag = "2")]
    pub mechanism: Option<Mechanism>,
    /// The new key's template.
    #[prost(message, optional, tag = "3")]
    pub template: Option<Template>,
}

/// Answer to [`EncapsulateKey`].
#[derive(PartialEq, Message)]
pub struct EncapsulatedReply {
    /// The new key's handle.
    #[prost(uint64, tag = "1")]
    pub handle: u64,
    /// What the holder of the private key makes the same key of.
    #[prost(bytes = "vec", tag = "2")]
    pub ciphertext: Vec<u8>,
}

/// C_DecapsulateKey.
#[derive(PartialEq, Message)]
pub struct DecapsulateKey {
    /// The private key.
    #[prost(uint64, tag = "1")]
    pub handle: u64,
    /// How.
    #[prost(message, optional, tag = "2")]
    pub mechanism: Option<Mechanism>,
    /// The other side's ciphertext.
    #[prost(bytes = "vec", tag = "3")]
    pub ciphertext: Vec<u8>,
    /// The new key's template.
    #[prost(message, optional, tag = "4")]
    pub template: Option<Template>,
}

/// Bytes.
#[derive(PartialEq, Message)]
#[prost(skip_debug)]
pub struct Data {
    /// Wiped when dropped.
    #[prost(bytes = "vec", tag = "1")]
    pub data: Vec<u8>,
}

/// C_GetMechanismList and C_GetMechanismInfo.
#[derive(PartialEq, Message)]
pub struct ListMechanisms {}

/// One mechanism that the HSM offers.
#[derive(PartialEq, Message)]
pub struct MechanismReply {
    /// CKM_ number.
    #[prost(uint64, tag = "1")]
    pub kind: u64,
    /// CK_MECHANISM_INFO.ulMinKeySize.
    #[prost(uint64, tag = "2")]
    pub min_key_size: u64,
    /// CK_MECHANISM_INFO.ulMaxKeySize.
    #[prost(uint64, tag = "3")]
    pub max_key_size: u64,
    /// CK_MECHANISM_INFO.flags.
    #[prost(uint64, tag = "4")]
    pub flags: u64,
}

/// Answer to [`ListMechanisms`].
#[derive(PartialEq, Message)]
pub struct MechanismsReply {
    /// In the table's order.
    #[prost(message, repeated, tag = "1")]
    pub mechanisms: Vec<MechanismReply>,
}

secret_messages! {
    Sign: data;
    Verify: data;
    MacPart: data;
    Encrypt: data;
    Data: data;
}
