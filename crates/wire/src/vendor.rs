//! AWS CloudHSM's own PKCS#11 constants, as its public header names them.

use cryptoki_sys::{CK_MECHANISM_TYPE, CK_ULONG};

const VENDOR: CK_ULONG = 0x8000_0000;

/// AES-GCM with the HSM's IV in front of the output.
pub const CKM_CLOUDHSM_AES_GCM: CK_MECHANISM_TYPE = VENDOR | 0x1087;
/// RFC 3394 key wrap.
pub const CKM_CLOUDHSM_AES_KEY_WRAP_NO_PAD: CK_MECHANISM_TYPE = VENDOR | 0x2109;
/// Key wrap after PKCS#5 padding to 8-byte blocks.
pub const CKM_CLOUDHSM_AES_KEY_WRAP_PKCS5_PAD: CK_MECHANISM_TYPE = VENDOR | 0x210A;
/// RFC 5649 key wrap with padding.
pub const CKM_CLOUDHSM_AES_KEY_WRAP_ZERO_PAD: CK_MECHANISM_TYPE = VENDOR | 0x216F;
