//! Attributes, templates, mechanisms and their parameters.

use prost::{Message, Oneof};

use super::secret_messages;

/// One attribute: CKA_ number and value.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub struct Attribute {
    /// CKA_ number.
    #[prost(uint64, tag = "1")]
    pub kind: u64,
    /// Value; wiped when dropped.
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}

/// A template.
#[derive(Clone, PartialEq, Message)]
pub struct Template {
    /// In the caller's order.
    #[prost(message, repeated, tag = "1")]
    pub attributes: Vec<Attribute>,
}

/// A mechanism and its parameter.
#[derive(Clone, PartialEq, Message)]
pub struct Mechanism {
    /// CKM_ number.
    #[prost(uint64, tag = "1")]
    pub kind: u64,
    /// Its parameter.
    #[prost(oneof = "Parameter", tags = "2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 20, 21")]
    pub parameter: Option<Parameter>,
}

/// Mechanism parameters.
#[derive(Clone, PartialEq, Oneof)]
pub enum Parameter {
    /// An IV: CBC, CFB, OFB (one block), XTS (the tweak), CTR (the counter block), key wrap (8 bytes);
    /// ChaCha20 (the block counter in 4 bytes, little-endian, then the nonce).
    #[prost(bytes, tag = "2")]
    Iv(Vec<u8>),
    /// CK_RSA_PKCS_PSS_PARAMS.
    #[prost(message, tag = "3")]
    Pss(PssParameter),
    /// CK_GCM_PARAMS, and those of AES-CCM and ChaCha20-Poly1305.
    #[prost(message, tag = "4")]
    Gcm(GcmParameter),
    /// CK_RSA_PKCS_OAEP_PARAMS.
    #[prost(message, tag = "5")]
    Oaep(OaepParameter),
    /// CK_ECDH1_DERIVE_PARAMS.
    #[prost(message, tag = "6")]
    Ecdh(EcdhParameter),
    /// CK_EDDSA_PARAMS.
    #[prost(message, tag = "20")]
    Eddsa(EddsaParameter),
    /// CK_SIGN_ADDITIONAL_CONTEXT and CK_HASH_SIGN_ADDITIONAL_CONTEXT.
    #[prost(message, tag = "21")]
    SigningContext(SigningContextParameter),
    /// CK_MAC_GENERAL_PARAMS: the length of a MAC that is cut, in bytes.
    #[prost(uint64, tag = "7")]
    MacLength(u64),
    /// CK_SP800_108_KDF_PARAMS.
    #[prost(message, tag = "8")]
    CounterKdf(CounterKdfParameter),
    /// CK_HKDF_PARAMS.
    #[prost(message, tag = "9")]
    Hkdf(HkdfParameter),
    /// CK_PKCS5_PBKD2_PARAMS2.
    #[prost(message, tag = "10")]
    Pbkdf2(Pbkdf2Parameter),
    /// CK_RSA_AES_KEY_WRAP_PARAMS.
    #[prost(message, tag = "11")]
    RsaAes(RsaAesParameter),
}

/// CK_RSA_PKCS_PSS_PARAMS.
#[derive(Clone, PartialEq, Message)]
pub struct PssParameter {
    /// CKM_SHA…
    #[prost(uint64, tag = "1")]
    pub hash: u64,
    /// CKG_MGF1_…
    #[prost(uint64, tag = "2")]
    pub mgf: u64,
    /// In bytes.
    #[prost(uint64, tag = "3")]
    pub salt_length: u64,
}

/// CK_GCM_PARAMS.
#[derive(Clone, PartialEq, Message)]
pub struct GcmParameter {
    /// Empty or zeroed 12 bytes: the HSM makes it.
    #[prost(bytes = "vec", tag = "1")]
    pub iv: Vec<u8>,
    /// Additional authenticated data.
    #[prost(bytes = "vec", tag = "2")]
    pub aad: Vec<u8>,
    /// In bits.
    #[prost(uint32, tag = "3")]
    pub tag_bits: u32,
}

/// CK_RSA_PKCS_OAEP_PARAMS.
#[derive(Clone, PartialEq, Message)]
pub struct OaepParameter {
    /// CKM_SHA…
    #[prost(uint64, tag = "1")]
    pub hash: u64,
    /// CKG_MGF1_…
    #[prost(uint64, tag = "2")]
    pub mgf: u64,
    /// The label.
    #[prost(bytes = "vec", tag = "3")]
    pub label: Vec<u8>,
}

/// CK_ECDH1_DERIVE_PARAMS.
#[derive(Clone, PartialEq, Message)]
pub struct EcdhParameter {
    /// CKD_…
    #[prost(uint64, tag = "1")]
    pub kdf: u64,
    /// What both sides put into the key derivation function.
    #[prost(bytes = "vec", tag = "2")]
    pub shared_data: Vec<u8>,
    /// The other side's public key: the point, bare or in an OCTET STRING.
    #[prost(bytes = "vec", tag = "3")]
    pub public_data: Vec<u8>,
}

/// CK_EDDSA_PARAMS.
#[derive(Clone, PartialEq, Message)]
pub struct EddsaParameter {
    /// phFlag: whether the message's hash is signed.
    #[prost(bool, tag = "1")]
    pub prehash: bool,
    /// The context.
    #[prost(bytes = "vec", tag = "2")]
    pub context: Vec<u8>,
}

/// CK_SIGN_ADDITIONAL_CONTEXT and CK_HASH_SIGN_ADDITIONAL_CONTEXT.
#[derive(Clone, PartialEq, Message)]
pub struct SigningContextParameter {
    /// CKH_HEDGE_…, CKH_DETERMINISTIC_REQUIRED.
    #[prost(uint64, tag = "1")]
    pub hedge: u64,
    /// The context.
    #[prost(bytes = "vec", tag = "2")]
    pub context: Vec<u8>,
    /// CKM_SHA…, or 0 where the mechanism names the hash.
    #[prost(uint64, tag = "3")]
    pub hash: u64,
}

/// CK_SP800_108_KDF_PARAMS of counter mode, as one string with places in it.
#[derive(Clone, PartialEq, Message)]
pub struct CounterKdfParameter {
    /// CKM_SHA256_HMAC, …, CKM_AES_CMAC.
    #[prost(uint64, tag = "1")]
    pub prf: u64,
    /// All byte arrays, one after the other.
    #[prost(bytes = "vec", tag = "2")]
    pub fixed: Vec<u8>,
    /// Where the counter stands.
    #[prost(message, optional, tag = "3")]
    pub counter: Option<NumberField>,
    /// Where the length of the derived keying material stands, if anywhere.
    #[prost(message, optional, tag = "4")]
    pub length: Option<NumberField>,
    /// CK_SP800_108_DKM_LENGTH_SUM_OF_SEGMENTS.
    #[prost(bool, tag = "5")]
    pub length_of_segments: bool,
    /// Where both stand at the same place: whether the length comes first.
    #[prost(bool, tag = "6")]
    pub length_first: bool,
}

/// A number within the input of a key derivation.
#[derive(Clone, PartialEq, Message)]
pub struct NumberField {
    /// Bytes of the fixed input before it.
    #[prost(uint32, tag = "1")]
    pub at: u32,
    /// Its width in bits.
    #[prost(uint32, tag = "2")]
    pub bits: u32,
    /// Whether its lowest byte comes first.
    #[prost(bool, tag = "3")]
    pub little_endian: bool,
}

/// CK_HKDF_PARAMS.
#[derive(Clone, PartialEq, Message)]
pub struct HkdfParameter {
    /// bExtract.
    #[prost(bool, tag = "1")]
    pub extract: bool,
    /// bExpand.
    #[prost(bool, tag = "2")]
    pub expand: bool,
    /// CKM_SHA…
    #[prost(uint64, tag = "3")]
    pub hash: u64,
    /// Empty for none.
    #[prost(bytes = "vec", tag = "4")]
    pub salt: Vec<u8>,
    /// What the expansion is for.
    #[prost(bytes = "vec", tag = "5")]
    pub info: Vec<u8>,
}

/// CK_PKCS5_PBKD2_PARAMS2.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub struct Pbkdf2Parameter {
    /// The hash of its HMAC, CKM_SHA…
    #[prost(uint64, tag = "1")]
    pub hash: u64,
    /// Wiped when dropped.
    #[prost(bytes = "vec", tag = "2")]
    pub password: Vec<u8>,
    /// The salt.
    #[prost(bytes = "vec", tag = "3")]
    pub salt: Vec<u8>,
    /// How often.
    #[prost(uint32, tag = "4")]
    pub iterations: u32,
}

/// CK_RSA_AES_KEY_WRAP_PARAMS.
#[derive(Clone, PartialEq, Message)]
pub struct RsaAesParameter {
    /// Of the one-time AES key.
    #[prost(uint32, tag = "1")]
    pub aes_bits: u32,
    /// Under what it is encrypted.
    #[prost(message, optional, tag = "2")]
    pub oaep: Option<OaepParameter>,
}

secret_messages! {
    Attribute: value;
    Pbkdf2Parameter: password;
}
