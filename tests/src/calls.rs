//! Calls of a PKCS#11 module with any mechanism, template and attribute: what tests of single
//! mechanisms need beside the ordinary programs' calls.

use std::ptr;

use cryptoki_sys::*;

use crate::module::call;
use crate::{Called, Module};

/// A mechanism whose parameter is `structure`, which must outlive the call.
#[must_use]
pub fn with_parameter<T>(kind: CK_MECHANISM_TYPE, structure: &mut T) -> CK_MECHANISM {
    CK_MECHANISM {
        mechanism: kind,
        pParameter: ptr::from_mut(structure).cast(),
        ulParameterLen: size_of::<T>() as CK_ULONG,
    }
}

/// The code of a call, CKR_OK where it succeeded.
#[must_use]
pub fn code<T>(called: &Called<T>) -> CK_RV {
    called.as_ref().err().map_or(CKR_OK, |failed| failed.code)
}

/// Longer than any output of these tests, in bytes.
const ROOM: usize = 32 * 1024;

/// What a function writes, given room and where to put the length.
fn output(function: impl FnOnce(*mut CK_BYTE, &mut CK_ULONG) -> Called) -> Called<Vec<u8>> {
    let mut out = vec![0; ROOM];
    let mut length = out.len() as CK_ULONG;
    function(out.as_mut_ptr(), &mut length)?;
    out.truncate(length as usize);
    Ok(out)
}

impl Module {
    /// C_CreateObject.
    ///
    /// # Errors
    /// Its code.
    pub fn create(
        &self,
        session: CK_SESSION_HANDLE,
        template: &[CK_ATTRIBUTE],
    ) -> Called<CK_OBJECT_HANDLE> {
        let mut handle = 0;
        let (start, count) = (template.as_ptr().cast_mut(), template.len() as CK_ULONG);
        call!(self, C_CreateObject(session, start, count, &mut handle))?;
        Ok(handle)
    }

    /// C_GenerateKey.
    ///
    /// # Errors
    /// Its code.
    pub fn generate(
        &self,
        session: CK_SESSION_HANDLE,
        mut mechanism: CK_MECHANISM,
        template: &[CK_ATTRIBUTE],
    ) -> Called<CK_OBJECT_HANDLE> {
        let mut handle = 0;
        let (start, count) = (template.as_ptr().cast_mut(), template.len() as CK_ULONG);
        call!(self, C_GenerateKey(session, &mut mechanism, start, count, &mut handle))?;
        Ok(handle)
    }

    /// The value of one attribute.
    ///
    /// # Errors
    /// The code of C_GetAttributeValue.
    pub fn value(
        &self,
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
        kind: CK_ATTRIBUTE_TYPE,
    ) -> Called<Vec<u8>> {
        let mut value = vec![0u8; ROOM];
        let mut wanted = CK_ATTRIBUTE {
            type_: kind,
            pValue: value.as_mut_ptr().cast(),
            ulValueLen: value.len() as CK_ULONG,
        };
        call!(self, C_GetAttributeValue(session, object, &mut wanted, 1))?;
        value.truncate(wanted.ulValueLen as usize);
        Ok(value)
    }

    /// C_CopyObject.
    ///
    /// # Errors
    /// Its code.
    pub fn copy(
        &self,
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
        template: &[CK_ATTRIBUTE],
    ) -> Called<CK_OBJECT_HANDLE> {
        let mut handle = 0;
        let (start, count) = (template.as_ptr().cast_mut(), template.len() as CK_ULONG);
        call!(self, C_CopyObject(session, object, start, count, &mut handle))?;
        Ok(handle)
    }

    /// C_SetAttributeValue.
    ///
    /// # Errors
    /// Its code.
    pub fn set(
        &self,
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
        template: &[CK_ATTRIBUTE],
    ) -> Called {
        let (start, count) = (template.as_ptr().cast_mut(), template.len() as CK_ULONG);
        call!(self, C_SetAttributeValue(session, object, start, count))
    }

    /// C_FindObjectsInit and C_FindObjectsFinal: whether a template can be searched by.
    ///
    /// # Errors
    /// The code of either.
    pub fn find_by(&self, session: CK_SESSION_HANDLE, template: &[CK_ATTRIBUTE]) -> Called {
        let (start, count) = (template.as_ptr().cast_mut(), template.len() as CK_ULONG);
        call!(self, C_FindObjectsInit(session, start, count))?;
        call!(self, C_FindObjectsFinal(session))
    }

    /// C_GetMechanismList and C_GetMechanismInfo: each mechanism with its flags.
    ///
    /// # Errors
    /// The code of either.
    pub fn mechanisms(&self) -> Called<Vec<(CK_MECHANISM_TYPE, CK_FLAGS)>> {
        let mut kinds = [0; 1024];
        let mut count = kinds.len() as CK_ULONG;
        call!(self, C_GetMechanismList(self.slot(), kinds.as_mut_ptr(), &mut count))?;
        let mut all = Vec::new();
        for kind in &kinds[..count as usize] {
            let mut info = CK_MECHANISM_INFO::default();
            call!(self, C_GetMechanismInfo(self.slot(), *kind, &mut info))?;
            all.push((*kind, info.flags));
        }
        Ok(all)
    }

    /// C_DeriveKey.
    ///
    /// # Errors
    /// Its code.
    pub fn derive(
        &self,
        session: CK_SESSION_HANDLE,
        mut mechanism: CK_MECHANISM,
        base: CK_OBJECT_HANDLE,
        template: &[CK_ATTRIBUTE],
    ) -> Called<CK_OBJECT_HANDLE> {
        let mut handle = 0;
        let (start, count) = (template.as_ptr().cast_mut(), template.len() as CK_ULONG);
        call!(self, C_DeriveKey(session, &mut mechanism, base, start, count, &mut handle))?;
        Ok(handle)
    }

    /// C_WrapKey.
    ///
    /// # Errors
    /// Its code.
    pub fn wrap(
        &self,
        session: CK_SESSION_HANDLE,
        mut mechanism: CK_MECHANISM,
        wrapping: CK_OBJECT_HANDLE,
        key: CK_OBJECT_HANDLE,
    ) -> Called<Vec<u8>> {
        output(|out, length| {
            call!(self, C_WrapKey(session, &mut mechanism, wrapping, key, out, length))
        })
    }

    /// C_UnwrapKey.
    ///
    /// # Errors
    /// Its code.
    pub fn unwrap(
        &self,
        session: CK_SESSION_HANDLE,
        mut mechanism: CK_MECHANISM,
        unwrapping: CK_OBJECT_HANDLE,
        wrapped: &[u8],
        template: &[CK_ATTRIBUTE],
    ) -> Called<CK_OBJECT_HANDLE> {
        let mut handle = 0;
        call!(
            self,
            C_UnwrapKey(
                session,
                &mut mechanism,
                unwrapping,
                wrapped.as_ptr().cast_mut(),
                wrapped.len() as CK_ULONG,
                template.as_ptr().cast_mut(),
                template.len() as CK_ULONG,
                &mut handle,
            )
        )?;
        Ok(handle)
    }

    /// C_SignInit and C_Sign.
    ///
    /// # Errors
    /// The code of either.
    pub fn sign_by(
        &self,
        session: CK_SESSION_HANDLE,
        mut mechanism: CK_MECHANISM,
        key: CK_OBJECT_HANDLE,
        data: &[u8],
    ) -> Called<Vec<u8>> {
        call!(self, C_SignInit(session, &mut mechanism, key))?;
        let (start, count) = (data.as_ptr().cast_mut(), data.len() as CK_ULONG);
        output(|out, length| call!(self, C_Sign(session, start, count, out, length)))
    }

    /// C_VerifyInit and C_Verify.
    ///
    /// # Errors
    /// The code of either.
    pub fn verify_by(
        &self,
        session: CK_SESSION_HANDLE,
        mut mechanism: CK_MECHANISM,
        key: CK_OBJECT_HANDLE,
        data: &[u8],
        signature: &[u8],
    ) -> Called {
        call!(self, C_VerifyInit(session, &mut mechanism, key))?;
        let (start, count) = (data.as_ptr().cast_mut(), data.len() as CK_ULONG);
        let (signed, length) = (signature.as_ptr().cast_mut(), signature.len() as CK_ULONG);
        call!(self, C_Verify(session, start, count, signed, length))
    }

    /// C_EncryptInit and C_Encrypt.
    ///
    /// # Errors
    /// The code of either.
    pub fn encrypt_by(
        &self,
        session: CK_SESSION_HANDLE,
        mut mechanism: CK_MECHANISM,
        key: CK_OBJECT_HANDLE,
        data: &[u8],
    ) -> Called<Vec<u8>> {
        call!(self, C_EncryptInit(session, &mut mechanism, key))?;
        let (start, count) = (data.as_ptr().cast_mut(), data.len() as CK_ULONG);
        output(|out, length| call!(self, C_Encrypt(session, start, count, out, length)))
    }

    /// C_DecryptInit and C_Decrypt.
    ///
    /// # Errors
    /// The code of either.
    pub fn decrypt_by(
        &self,
        session: CK_SESSION_HANDLE,
        mut mechanism: CK_MECHANISM,
        key: CK_OBJECT_HANDLE,
        data: &[u8],
    ) -> Called<Vec<u8>> {
        call!(self, C_DecryptInit(session, &mut mechanism, key))?;
        let (start, count) = (data.as_ptr().cast_mut(), data.len() as CK_ULONG);
        output(|out, length| call!(self, C_Decrypt(session, start, count, out, length)))
    }

    /// C_EncapsulateKey: the new key and the ciphertext.
    ///
    /// # Errors
    /// The code of C_GetInterface or C_EncapsulateKey.
    ///
    /// # Panics
    /// Where the list lacks the function.
    pub fn encapsulate(
        &self,
        session: CK_SESSION_HANDLE,
        kind: CK_MECHANISM_TYPE,
        public: CK_OBJECT_HANDLE,
        template: &[CK_ATTRIBUTE],
    ) -> Called<(CK_OBJECT_HANDLE, Vec<u8>)> {
        let function = self.functions_3_2()?.C_EncapsulateKey.expect("C_EncapsulateKey");
        let mut mechanism = crate::plain(kind);
        let mut call = |out: *mut CK_BYTE, length: &mut CK_ULONG, key: *mut CK_OBJECT_HANDLE| {
            let (start, count) = (template.as_ptr().cast_mut(), template.len() as CK_ULONG);
            // SAFETY: what the arguments point to lives through the call and has the length beside it.
            let code = unsafe {
                function(session, &mut mechanism, public, start, count, out, length, key)
            };
            if code == CKR_OK {
                Ok(())
            } else {
                Err(crate::Failed { function: "C_EncapsulateKey", code })
            }
        };
        let mut length = 0;
        call(ptr::null_mut(), &mut length, ptr::null_mut())?;
        let mut ciphertext = vec![0; length as usize];
        let mut key = 0;
        call(ciphertext.as_mut_ptr(), &mut length, &mut key)?;
        ciphertext.truncate(length as usize);
        Ok((key, ciphertext))
    }

    /// C_DecapsulateKey.
    ///
    /// # Errors
    /// The code of C_GetInterface or C_DecapsulateKey.
    ///
    /// # Panics
    /// Where the list lacks the function.
    pub fn decapsulate(
        &self,
        session: CK_SESSION_HANDLE,
        kind: CK_MECHANISM_TYPE,
        private: CK_OBJECT_HANDLE,
        ciphertext: &[u8],
        template: &[CK_ATTRIBUTE],
    ) -> Called<CK_OBJECT_HANDLE> {
        let function = self.functions_3_2()?.C_DecapsulateKey.expect("C_DecapsulateKey");
        let mut mechanism = crate::plain(kind);
        let mut key = 0;
        // SAFETY: what the arguments point to lives through the call and has the length beside it.
        let code = unsafe {
            function(
                session,
                &mut mechanism,
                private,
                template.as_ptr().cast_mut(),
                template.len() as CK_ULONG,
                ciphertext.as_ptr().cast_mut(),
                ciphertext.len() as CK_ULONG,
                &mut key,
            )
        };
        if code == CKR_OK {
            Ok(key)
        } else {
            Err(crate::Failed { function: "C_DecapsulateKey", code })
        }
    }

    /// C_Digest.
    ///
    /// # Errors
    /// The code of C_DigestInit or C_Digest.
    pub fn digest(
        &self,
        session: CK_SESSION_HANDLE,
        mut mechanism: CK_MECHANISM,
        data: &[u8],
    ) -> Called<Vec<u8>> {
        call!(self, C_DigestInit(session, &mut mechanism))?;
        let (start, count) = (data.as_ptr().cast_mut(), data.len() as CK_ULONG);
        output(|out, length| call!(self, C_Digest(session, start, count, out, length)))
    }

    /// C_EncryptInit, C_EncryptUpdate for each piece, C_EncryptFinal.
    ///
    /// # Errors
    /// The code of any.
    pub fn encrypt_in_parts(
        &self,
        session: CK_SESSION_HANDLE,
        mut mechanism: CK_MECHANISM,
        key: CK_OBJECT_HANDLE,
        pieces: &[&[u8]],
    ) -> Called<Vec<u8>> {
        call!(self, C_EncryptInit(session, &mut mechanism, key))?;
        let mut all = Vec::new();
        for piece in pieces {
            let mut out = vec![0; piece.len() + 64];
            let mut length = out.len() as CK_ULONG;
            let (start, count) = (piece.as_ptr().cast_mut(), piece.len() as CK_ULONG);
            call!(self, C_EncryptUpdate(session, start, count, out.as_mut_ptr(), &mut length))?;
            all.extend_from_slice(&out[..length as usize]);
        }
        all.extend(output(|out, length| call!(self, C_EncryptFinal(session, out, length)))?);
        Ok(all)
    }

    /// C_DecryptInit, C_DecryptUpdate for each piece, C_DecryptFinal.
    ///
    /// # Errors
    /// The code of any.
    pub fn decrypt_in_parts(
        &self,
        session: CK_SESSION_HANDLE,
        mut mechanism: CK_MECHANISM,
        key: CK_OBJECT_HANDLE,
        pieces: &[&[u8]],
    ) -> Called<Vec<u8>> {
        call!(self, C_DecryptInit(session, &mut mechanism, key))?;
        let mut all = Vec::new();
        for piece in pieces {
            let mut out = vec![0; piece.len() + 64];
            let mut length = out.len() as CK_ULONG;
            let (start, count) = (piece.as_ptr().cast_mut(), piece.len() as CK_ULONG);
            call!(self, C_DecryptUpdate(session, start, count, out.as_mut_ptr(), &mut length))?;
            all.extend_from_slice(&out[..length as usize]);
        }
        all.extend(output(|out, length| call!(self, C_DecryptFinal(session, out, length)))?);
        Ok(all)
    }
}
