//! AWS CloudHSM's own PKCS#11 constants, as its public header names them, and ours.

use cryptoki_sys::{CK_ATTRIBUTE_TYPE, CK_MECHANISM_TYPE, CK_ULONG};

const VENDOR: CK_ULONG = 0x8000_0000;

/// AES-GCM with the HSM's IV in front of the output.
pub const CKM_CLOUDHSM_AES_GCM: CK_MECHANISM_TYPE = VENDOR | 0x1087;
/// RFC 3394 key wrap.
pub const CKM_CLOUDHSM_AES_KEY_WRAP_NO_PAD: CK_MECHANISM_TYPE = VENDOR | 0x2109;
/// Key wrap after PKCS#5 padding to 8-byte blocks.
pub const CKM_CLOUDHSM_AES_KEY_WRAP_PKCS5_PAD: CK_MECHANISM_TYPE = VENDOR | 0x210A;
/// RFC 5649 key wrap with padding.
pub const CKM_CLOUDHSM_AES_KEY_WRAP_ZERO_PAD: CK_MECHANISM_TYPE = VENDOR | 0x216F;
/// SP 800-108's counter mode, with numbers of its own for the parts of its parameter.
pub const CKM_CLOUDHSM_SP800_108_COUNTER_KDF: CK_MECHANISM_TYPE = VENDOR | 1;

/// Ours: the name of the user who owns the object, in UTF-8. Read only, and in no template: for
/// tools that show whose a key is.
pub const CKA_STRONGROOM_OWNER: CK_ATTRIBUTE_TYPE = VENDOR | 0x5352_0001;
