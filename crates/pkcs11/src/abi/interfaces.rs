//! The function tables, and the functions that hand them out (PKCS#11 2.40, section 5.4; 3.0,
//! sections 3.6 and 5.4). These work before C_Initialize.

use cryptoki_sys::*;

use super::crypto::*;
use super::general::*;
use super::guarded;
use super::keys::*;
use super::message_signing::*;
use super::messages::*;
use super::objects::*;
use super::raw::{Output, Place};
use super::unsupported::*;
use crate::error::Ckr;

/// The version of the 2.40 interface.
pub(super) const VERSION_2_40: CK_VERSION = CK_VERSION { major: 2, minor: 40 };
/// The version of the 3.0 interface.
pub(super) const VERSION_3_0: CK_VERSION = CK_VERSION { major: 3, minor: 0 };

/// The version of the 3.2 interface.
pub(super) const VERSION_3_2: CK_VERSION = CK_VERSION { major: 3, minor: 2 };

/// The name of the standard's interfaces, with its end.
const NAME: &[u8] = b"PKCS 11\0";

/// A table of functions: those of 2.40, then `more`. C_GetInfo tells each table's own version.
macro_rules! table {
    ($type:ident, $version:expr, $get_info:expr, [$($more:ident),* $(,)?]) => {
        table!(@ $type, $version, $get_info,
            C_Initialize, C_Finalize, C_GetFunctionList, C_GetSlotList, C_GetSlotInfo,
            C_GetTokenInfo, C_GetMechanismList, C_GetMechanismInfo, C_InitToken, C_InitPIN,
            C_SetPIN, C_OpenSession, C_CloseSession, C_CloseAllSessions, C_GetSessionInfo,
            C_GetOperationState, C_SetOperationState, C_Login, C_Logout, C_CreateObject,
            C_CopyObject, C_DestroyObject, C_GetObjectSize, C_GetAttributeValue,
            C_SetAttributeValue, C_FindObjectsInit, C_FindObjects, C_FindObjectsFinal,
            C_EncryptInit, C_Encrypt, C_EncryptUpdate, C_EncryptFinal, C_DecryptInit, C_Decrypt,
            C_DecryptUpdate, C_DecryptFinal, C_DigestInit, C_Digest, C_DigestUpdate,
            C_DigestKey, C_DigestFinal, C_SignInit, C_Sign, C_SignUpdate, C_SignFinal,
            C_SignRecoverInit, C_SignRecover, C_VerifyInit, C_Verify, C_VerifyUpdate,
            C_VerifyFinal, C_VerifyRecoverInit, C_VerifyRecover, C_DigestEncryptUpdate,
            C_DecryptDigestUpdate, C_SignEncryptUpdate, C_DecryptVerifyUpdate, C_GenerateKey,
            C_GenerateKeyPair, C_WrapKey, C_UnwrapKey, C_DeriveKey, C_SeedRandom,
            C_GenerateRandom, C_GetFunctionStatus, C_CancelFunction, C_WaitForSlotEvent,
            $($more),*
        )
    };
    (@ $type:ident, $version:expr, $get_info:expr, $($name:ident),+ $(,)?) => {
        $type { version: $version, C_GetInfo: Some($get_info), $($name: Some($name)),+ }
    };
}

static FUNCTIONS_2_40: CK_FUNCTION_LIST = table!(CK_FUNCTION_LIST, VERSION_2_40, C_GetInfo, []);

static FUNCTIONS_3_0: CK_FUNCTION_LIST_3_0 = table!(
    CK_FUNCTION_LIST_3_0,
    VERSION_3_0,
    get_info_3_0,
    [
        C_GetInterfaceList,
        C_GetInterface,
        C_LoginUser,
        C_SessionCancel,
        C_MessageEncryptInit,
        C_EncryptMessage,
        C_EncryptMessageBegin,
        C_EncryptMessageNext,
        C_MessageEncryptFinal,
        C_MessageDecryptInit,
        C_DecryptMessage,
        C_DecryptMessageBegin,
        C_DecryptMessageNext,
        C_MessageDecryptFinal,
        C_MessageSignInit,
        C_SignMessage,
        C_SignMessageBegin,
        C_SignMessageNext,
        C_MessageSignFinal,
        C_MessageVerifyInit,
        C_VerifyMessage,
        C_VerifyMessageBegin,
        C_VerifyMessageNext,
        C_MessageVerifyFinal,
    ]
);

static FUNCTIONS_3_2: CK_FUNCTION_LIST_3_2 = table!(
    CK_FUNCTION_LIST_3_2,
    VERSION_3_2,
    get_info_3_2,
    [
        C_GetInterfaceList,
        C_GetInterface,
        C_LoginUser,
        C_SessionCancel,
        C_MessageEncryptInit,
        C_EncryptMessage,
        C_EncryptMessageBegin,
        C_EncryptMessageNext,
        C_MessageEncryptFinal,
        C_MessageDecryptInit,
        C_DecryptMessage,
        C_DecryptMessageBegin,
        C_DecryptMessageNext,
        C_MessageDecryptFinal,
        C_MessageSignInit,
        C_SignMessage,
        C_SignMessageBegin,
        C_SignMessageNext,
        C_MessageSignFinal,
        C_MessageVerifyInit,
        C_VerifyMessage,
        C_VerifyMessageBegin,
        C_VerifyMessageNext,
        C_MessageVerifyFinal,
        C_EncapsulateKey,
        C_DecapsulateKey,
        C_VerifySignatureInit,
        C_VerifySignature,
        C_VerifySignatureUpdate,
        C_VerifySignatureFinal,
        C_GetSessionValidationFlags,
        C_AsyncComplete,
        C_AsyncGetID,
        C_AsyncJoin,
        C_WrapKeyAuthenticated,
        C_UnwrapKeyAuthenticated,
    ]
);

/// An interface that may be shared: its pointers lead to statics that nobody writes.
#[repr(transparent)]
struct Interface(CK_INTERFACE);

// SAFETY: see the type.
unsafe impl Sync for Interface {}

/// The newest first: it is what a caller without a wish gets. No flags: after a fork the child must
/// call C_Initialize, which is not "fork safe" in the sense of PKCS#11 3.0, section 3.6.
static INTERFACES: [Interface; 3] = [
    Interface(CK_INTERFACE {
        pInterfaceName: NAME.as_ptr().cast_mut(),
        pFunctionList: (&raw const FUNCTIONS_3_2).cast_mut().cast(),
        flags: 0,
    }),
    Interface(CK_INTERFACE {
        pInterfaceName: NAME.as_ptr().cast_mut(),
        pFunctionList: (&raw const FUNCTIONS_3_0).cast_mut().cast(),
        flags: 0,
    }),
    Interface(CK_INTERFACE {
        pInterfaceName: NAME.as_ptr().cast_mut(),
        pFunctionList: (&raw const FUNCTIONS_2_40).cast_mut().cast(),
        flags: 0,
    }),
];

/// The versions of [`INTERFACES`], in their order.
const VERSIONS: [CK_VERSION; 3] = [VERSION_3_2, VERSION_3_0, VERSION_2_40];

/// PKCS#11 2.40, section 5.4.
///
/// # Safety
/// PKCS#11's contract; see [`super`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn C_GetFunctionList(list: CK_FUNCTION_LIST_PTR_PTR) -> CK_RV {
    guarded("C_GetFunctionList", || {
        // SAFETY: PKCS#11's contract.
        let mut list = unsafe { Place::new(list)? };
        list.set((&raw const FUNCTIONS_2_40).cast_mut());
        Ok(())
    })
}

/// PKCS#11 3.0, section 5.4.5.
///
/// # Safety
/// PKCS#11's contract; see [`super`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn C_GetInterfaceList(
    list: CK_INTERFACE_PTR,
    count: CK_ULONG_PTR,
) -> CK_RV {
    guarded("C_GetInterfaceList", || {
        // SAFETY: PKCS#11's contract.
        let mut list = unsafe { Output::new(list, count)? };
        list.write(&INTERFACES.each_ref().map(|interface| interface.0))?;
        Ok(())
    })
}

/// PKCS#11 3.0, section 5.4.6. A null name or version leaves the choice to the library.
///
/// # Safety
/// PKCS#11's contract; see [`super`]. `name` ends with a zero byte.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn C_GetInterface(
    name: CK_UTF8CHAR_PTR,
    version: CK_VERSION_PTR,
    interface: CK_INTERFACE_PTR_PTR,
    flags: CK_FLAGS,
) -> CK_RV {
    guarded("C_GetInterface", || {
        // SAFETY: PKCS#11's contract.
        let mut interface = unsafe { Place::new(interface)? };
        // SAFETY: PKCS#11's contract.
        let version = unsafe { version.as_ref() };
        // SAFETY: PKCS#11's contract: null, or readable up to a zero byte.
        let named = name.is_null() || unsafe { is_name(name) };
        let wanted = |offered: &CK_VERSION| {
            version.is_none_or(|version| {
                (version.major, version.minor) == (offered.major, offered.minor)
            })
        };
        let index = VERSIONS.iter().position(wanted).filter(|_| named && flags == 0);
        let found = &INTERFACES[index.ok_or(Ckr(CKR_FUNCTION_FAILED))?];
        interface.set((&raw const found.0).cast_mut());
        Ok(())
    })
}

/// Whether a C string is [`NAME`]. Reads no further than the string's end.
///
/// # Safety
/// `name` is readable up to a zero byte.
unsafe fn is_name(name: *const u8) -> bool {
    NAME.iter().enumerate().all(|(index, &expected)| {
        // SAFETY: all bytes before this one equal NAME's, whose only zero is its last: the
        // string has not ended yet.
        expected == unsafe { name.add(index).read() }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(name: &[u8], version: Option<CK_VERSION>, flags: CK_FLAGS) -> (CK_RV, CK_VERSION) {
        let mut found: CK_INTERFACE_PTR = std::ptr::null_mut();
        let mut version = version;
        let version = version.as_mut().map_or(std::ptr::null_mut(), std::ptr::from_mut);
        let name = if name.is_empty() { std::ptr::null_mut() } else { name.as_ptr().cast_mut() };
        // SAFETY: live places and a name with its end.
        let code = unsafe { C_GetInterface(name, version, &raw mut found, flags) };
        if code != CKR_OK {
            return (code, CK_VERSION { major: 0, minor: 0 });
        }
        // SAFETY: every function list begins with its version.
        (code, unsafe { (*found).pFunctionList.cast::<CK_VERSION>().read() })
    }

    #[test]
    fn interfaces_are_found_by_name_and_version() {
        let version = |found: (CK_RV, CK_VERSION)| (found.0, found.1.major, found.1.minor);
        assert_eq!(version(interface(b"", None, 0)), (CKR_OK, 3, 2));
        assert_eq!(version(interface(b"", Some(VERSION_3_0), 0)), (CKR_OK, 3, 0));
        assert_eq!(version(interface(b"PKCS 11\0", Some(VERSION_2_40), 0)), (CKR_OK, 2, 40));
        for (name, wanted, flags) in [
            (b"PKCS 1\0".as_slice(), None, 0),
            (b"PKCS 11 \0", None, 0),
            (b"", Some(CK_VERSION { major: 3, minor: 1 }), 0),
            (b"", None, CKF_INTERFACE_FORK_SAFE),
        ] {
            assert_eq!(interface(name, wanted, flags).0, CKR_FUNCTION_FAILED);
        }
    }

    #[test]
    fn before_c_initialize_everything_says_so() {
        let mut count: CK_ULONG = 0;
        // SAFETY: a live place.
        let code = unsafe { C_GetSlotList(1, std::ptr::null_mut(), &raw mut count) };
        assert_eq!(code, CKR_CRYPTOKI_NOT_INITIALIZED);
        // SAFETY: null is allowed.
        assert_eq!(unsafe { C_Finalize(std::ptr::null_mut()) }, CKR_CRYPTOKI_NOT_INITIALIZED);
        // SAFETY: nothing is read.
        assert_eq!(unsafe { C_CloseSession(1) }, CKR_CRYPTOKI_NOT_INITIALIZED);
    }
}
