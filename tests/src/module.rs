//! A PKCS#11 module by its C ABI, as any application loads it: ours, SoftHSM2's, p11-kit's.

use std::path::Path;
use std::ptr;

use cryptoki_sys::*;

/// A CKR_ code other than CKR_OK, with the function that gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed {
    /// `C_…`
    pub function: &'static str,
    /// CKR_…
    pub code: CK_RV,
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} gives {:#x}", self.function, self.code)
    }
}

/// What a call gives.
pub type Called<T = ()> = Result<T, Failed>;

/// A loaded and initialised module and its first slot.
#[derive(Debug)]
pub struct Module {
    functions: *const CK_FUNCTION_LIST,
    slot: CK_SLOT_ID,
    _library: libloading::Library,
}

// SAFETY: after C_Initialize with CKF_OS_LOCKING_OK a module's functions may be called from several
// threads (PKCS#11 v3.1, section 5.4), and the list is constant while the library lives.
unsafe impl Sync for Module {}
// SAFETY: as above; nothing in it belongs to one thread.
unsafe impl Send for Module {}

/// Calls a function of the list, giving its name and code where it fails.
macro_rules! call {
    ($module:expr, $function:ident($($argument:expr),* $(,)?)) => {{
        // SAFETY: the list comes from C_GetFunctionList of a library that is still loaded; what the
        // arguments point to lives through the call and has the type that PKCS#11 names.
        let code = unsafe {
            match (*$module.functions()).$function {
                Some(function) => function($($argument),*),
                None => cryptoki_sys::CKR_FUNCTION_NOT_SUPPORTED,
            }
        };
        if code == cryptoki_sys::CKR_OK {
            Ok(())
        } else {
            Err($crate::Failed { function: stringify!($function), code })
        }
    }};
}

pub(crate) use call;

impl Module {
    /// Loads and initialises a module and takes its first slot with a token.
    ///
    /// # Panics
    /// Where the file is no PKCS#11 module.
    ///
    /// # Errors
    /// The code of C_Initialize or C_GetSlotList.
    pub fn open(path: &Path) -> Called<Self> {
        let shown = path.display();
        // SAFETY: loading a PKCS#11 module runs its initialisers, which is what it is for.
        let library =
            unsafe { libloading::Library::new(path) }.unwrap_or_else(|e| panic!("{shown}: {e}"));
        let mut functions: *mut CK_FUNCTION_LIST = ptr::null_mut();
        {
            type GetList = unsafe extern "C" fn(*mut *mut CK_FUNCTION_LIST) -> CK_RV;
            // SAFETY: every module exports C_GetFunctionList with this type (section 5.4).
            let get: libloading::Symbol<'_, GetList> = unsafe { library.get(b"C_GetFunctionList") }
                .unwrap_or_else(|e| panic!("{shown}: {e}"));
            // SAFETY: the argument points to a live pointer.
            let code = unsafe { get(&mut functions) };
            assert!(
                code == CKR_OK && !functions.is_null(),
                "{shown}: C_GetFunctionList: {code:#x}"
            );
        }
        let mut module = Self { functions, slot: 0, _library: library };
        module.initialize()?;
        let mut slots = [0; 16];
        let mut count = slots.len() as CK_ULONG;
        call!(module, C_GetSlotList(CK_TRUE, slots.as_mut_ptr(), &mut count))?;
        assert!(count > 0, "{shown}: no token");
        module.slot = slots[0];
        Ok(module)
    }

    /// The function list, for `call!`.
    #[must_use]
    pub fn functions(&self) -> *const CK_FUNCTION_LIST {
        self.functions
    }

    /// The functions of the 3.2 interface.
    ///
    /// # Errors
    /// The code of C_GetInterface.
    ///
    /// # Panics
    /// Where the module has no C_GetInterface.
    pub fn functions_3_2(&self) -> Called<&CK_FUNCTION_LIST_3_2> {
        type GetInterface = unsafe extern "C" fn(
            *mut CK_UTF8CHAR,
            *mut CK_VERSION,
            *mut *mut CK_INTERFACE,
            CK_FLAGS,
        ) -> CK_RV;
        let mut version = CK_VERSION { major: 3, minor: 2 };
        let mut interface = ptr::null_mut();
        // SAFETY: a module of 3.0 or later exports C_GetInterface with this type (section 5.4.6).
        let get: libloading::Symbol<'_, GetInterface> =
            unsafe { self._library.get(b"C_GetInterface") }.expect("C_GetInterface");
        // SAFETY: the arguments point to live values, or to nothing.
        let code = unsafe { get(ptr::null_mut(), &mut version, &mut interface, 0) };
        if code != CKR_OK {
            return Err(Failed { function: "C_GetInterface", code });
        }
        // SAFETY: an interface of this version points to such a list, which lives with the library.
        Ok(unsafe { &*(*interface).pFunctionList.cast::<CK_FUNCTION_LIST_3_2>() })
    }

    /// The slot.
    #[must_use]
    pub fn slot(&self) -> CK_SLOT_ID {
        self.slot
    }

    /// C_Initialize for several threads.
    ///
    /// # Errors
    /// Its code.
    pub fn initialize(&self) -> Called {
        let mut arguments =
            CK_C_INITIALIZE_ARGS { flags: CKF_OS_LOCKING_OK, ..CK_C_INITIALIZE_ARGS::default() };
        call!(self, C_Initialize((&raw mut arguments).cast()))
    }

    /// C_Finalize.
    ///
    /// # Errors
    /// Its code.
    pub fn finalize(&self) -> Called {
        call!(self, C_Finalize(ptr::null_mut()))
    }

    /// C_OpenSession, read and write.
    ///
    /// # Errors
    /// Its code.
    pub fn session(&self) -> Called<CK_SESSION_HANDLE> {
        let mut session = 0;
        let flags = CKF_SERIAL_SESSION | CKF_RW_SESSION;
        call!(self, C_OpenSession(self.slot, flags, ptr::null_mut(), None, &mut session))?;
        Ok(session)
    }

    /// C_Login as CKU_USER.
    ///
    /// # Errors
    /// Its code.
    pub fn login(&self, session: CK_SESSION_HANDLE, pin: &str) -> Called {
        let mut pin = pin.as_bytes().to_vec();
        call!(self, C_Login(session, CKU_USER, pin.as_mut_ptr(), pin.len() as CK_ULONG))
    }

    /// C_Logout.
    ///
    /// # Errors
    /// Its code.
    pub fn logout(&self, session: CK_SESSION_HANDLE) -> Called {
        call!(self, C_Logout(session))
    }

    /// C_CloseSession.
    ///
    /// # Errors
    /// Its code.
    pub fn close(&self, session: CK_SESSION_HANDLE) -> Called {
        call!(self, C_CloseSession(session))
    }

    /// C_GenerateKeyPair of RSA-2048 for signatures; the private key's handle last.
    ///
    /// # Errors
    /// Its code.
    pub fn rsa_pair(&self, session: CK_SESSION_HANDLE) -> Called<CK_OBJECT_HANDLE> {
        let bits: CK_ULONG = 2048;
        let public = [
            attribute(CKA_MODULUS_BITS, &bits),
            bytes(CKA_PUBLIC_EXPONENT, &[1, 0, 1]),
            attribute(CKA_VERIFY, &CK_TRUE),
        ];
        let private = [attribute(CKA_SIGN, &CK_TRUE), attribute(CKA_TOKEN, &CK_FALSE)];
        Ok(self.pair(session, CKM_RSA_PKCS_KEY_PAIR_GEN, &public, &private)?.1)
    }

    /// C_GenerateKeyPair of P-256 for signatures, as token objects where `label` names them.
    ///
    /// # Errors
    /// Its code.
    pub fn p256_pair(
        &self,
        session: CK_SESSION_HANDLE,
        label: Option<&str>,
    ) -> Called<(CK_OBJECT_HANDLE, CK_OBJECT_HANDLE)> {
        const CURVE: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
        let token: CK_BBOOL = if label.is_some() { CK_TRUE } else { CK_FALSE };
        let name = label.unwrap_or_default().as_bytes();
        let public = [
            bytes(CKA_EC_PARAMS, &CURVE),
            attribute(CKA_VERIFY, &CK_TRUE),
            attribute(CKA_TOKEN, &token),
            bytes(CKA_LABEL, name),
        ];
        let private =
            [attribute(CKA_SIGN, &CK_TRUE), attribute(CKA_TOKEN, &token), bytes(CKA_LABEL, name)];
        self.pair(session, CKM_EC_KEY_PAIR_GEN, &public, &private)
    }

    /// C_GenerateKeyPair: the public and the private key.
    ///
    /// # Errors
    /// Its code.
    pub fn pair(
        &self,
        session: CK_SESSION_HANDLE,
        kind: CK_MECHANISM_TYPE,
        public: &[CK_ATTRIBUTE],
        private: &[CK_ATTRIBUTE],
    ) -> Called<(CK_OBJECT_HANDLE, CK_OBJECT_HANDLE)> {
        let mut mechanism = plain(kind);
        let (mut public, mut private) = (public.to_vec(), private.to_vec());
        let (mut public_key, mut private_key) = (0, 0);
        call!(
            self,
            C_GenerateKeyPair(
                session,
                &mut mechanism,
                public.as_mut_ptr(),
                public.len() as CK_ULONG,
                private.as_mut_ptr(),
                private.len() as CK_ULONG,
                &mut public_key,
                &mut private_key,
            )
        )?;
        Ok((public_key, private_key))
    }

    /// C_GenerateKey of an AES-256 key that encrypts.
    ///
    /// # Errors
    /// Its code.
    pub fn aes_key(&self, session: CK_SESSION_HANDLE, token: bool) -> Called<CK_OBJECT_HANDLE> {
        let mut mechanism = plain(CKM_AES_KEY_GEN);
        let length: CK_ULONG = 32;
        let token: CK_BBOOL = if token { CK_TRUE } else { CK_FALSE };
        let mut template = [
            attribute(CKA_VALUE_LEN, &length),
            attribute(CKA_TOKEN, &token),
            attribute(CKA_ENCRYPT, &CK_TRUE),
            attribute(CKA_DECRYPT, &CK_TRUE),
        ];
        let mut key = 0;
        call!(
            self,
            C_GenerateKey(
                session,
                &mut mechanism,
                template.as_mut_ptr(),
                template.len() as CK_ULONG,
                &mut key,
            )
        )?;
        Ok(key)
    }

    /// C_SignInit and C_Sign with a mechanism without a parameter; the signature into `out`.
    ///
    /// # Errors
    /// The code of either.
    pub fn sign(
        &self,
        session: CK_SESSION_HANDLE,
        kind: CK_MECHANISM_TYPE,
        key: CK_OBJECT_HANDLE,
        data: &[u8],
        out: &mut [u8],
    ) -> Called<usize> {
        let mut mechanism = plain(kind);
        call!(self, C_SignInit(session, &mut mechanism, key))?;
        let mut length = out.len() as CK_ULONG;
        call!(
            self,
            C_Sign(
                session,
                data.as_ptr().cast_mut(),
                data.len() as CK_ULONG,
                out.as_mut_ptr(),
                &mut length,
            )
        )?;
        Ok(length as usize)
    }

    /// C_VerifyInit and C_Verify with a mechanism without a parameter.
    ///
    /// # Errors
    /// The code of either.
    pub fn verify(
        &self,
        session: CK_SESSION_HANDLE,
        kind: CK_MECHANISM_TYPE,
        key: CK_OBJECT_HANDLE,
        data: &[u8],
        signature: &[u8],
    ) -> Called {
        let mut mechanism = plain(kind);
        call!(self, C_VerifyInit(session, &mut mechanism, key))?;
        call!(
            self,
            C_Verify(
                session,
                data.as_ptr().cast_mut(),
                data.len() as CK_ULONG,
                signature.as_ptr().cast_mut(),
                signature.len() as CK_ULONG,
            )
        )
    }

    /// C_EncryptInit and C_Encrypt with CKM_AES_GCM and a zeroed IV, which both kinds of token take:
    /// by CloudHSM's rule the HSM draws one, others use it as it is.
    ///
    /// # Errors
    /// The code of either.
    pub fn encrypt_gcm(
        &self,
        session: CK_SESSION_HANDLE,
        key: CK_OBJECT_HANDLE,
        data: &[u8],
        out: &mut [u8],
    ) -> Called<usize> {
        let mut iv = [0u8; 12];
        let mut parameter = CK_GCM_PARAMS {
            pIv: iv.as_mut_ptr(),
            ulIvLen: 12,
            ulIvBits: 96,
            pAAD: ptr::null_mut(),
            ulAADLen: 0,
            ulTagBits: 128,
        };
        let mut mechanism = CK_MECHANISM {
            mechanism: CKM_AES_GCM,
            pParameter: (&raw mut parameter).cast(),
            ulParameterLen: size_of::<CK_GCM_PARAMS>() as CK_ULONG,
        };
        self.encrypt(session, &mut mechanism, key, data, out)
    }

    /// C_EncryptInit and C_Encrypt.
    ///
    /// # Errors
    /// The code of either.
    pub fn encrypt(
        &self,
        session: CK_SESSION_HANDLE,
        mechanism: &mut CK_MECHANISM,
        key: CK_OBJECT_HANDLE,
        data: &[u8],
        out: &mut [u8],
    ) -> Called<usize> {
        call!(self, C_EncryptInit(session, mechanism, key))?;
        let mut length = out.len() as CK_ULONG;
        call!(
            self,
            C_Encrypt(
                session,
                data.as_ptr().cast_mut(),
                data.len() as CK_ULONG,
                out.as_mut_ptr(),
                &mut length,
            )
        )?;
        Ok(length as usize)
    }

    /// C_GenerateRandom.
    ///
    /// # Errors
    /// Its code.
    pub fn random(&self, session: CK_SESSION_HANDLE, out: &mut [u8]) -> Called {
        call!(self, C_GenerateRandom(session, out.as_mut_ptr(), out.len() as CK_ULONG))
    }

    /// C_DestroyObject.
    ///
    /// # Errors
    /// Its code.
    pub fn destroy(&self, session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE) -> Called {
        call!(self, C_DestroyObject(session, object))
    }

    /// All objects of one class with one label; with an empty label all of the class.
    ///
    /// # Errors
    /// The code of C_FindObjectsInit, C_FindObjects or C_FindObjectsFinal.
    pub fn find(
        &self,
        session: CK_SESSION_HANDLE,
        class: CK_OBJECT_CLASS,
        label: &str,
    ) -> Called<Vec<CK_OBJECT_HANDLE>> {
        let mut template = vec![attribute(CKA_CLASS, &class)];
        if !label.is_empty() {
            template.push(bytes(CKA_LABEL, label.as_bytes()));
        }
        let count = template.len() as CK_ULONG;
        call!(self, C_FindObjectsInit(session, template.as_mut_ptr(), count))?;
        let mut found = Vec::new();
        loop {
            let mut page = [0; 64];
            let mut got = 0;
            call!(self, C_FindObjects(session, page.as_mut_ptr(), 64, &mut got))?;
            if got == 0 {
                break;
            }
            found.extend_from_slice(&page[..got as usize]);
        }
        call!(self, C_FindObjectsFinal(session))?;
        Ok(found)
    }

    /// CKA_LABEL of an object, as text.
    ///
    /// # Errors
    /// The code of C_GetAttributeValue.
    pub fn label(&self, session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE) -> Called<String> {
        let mut value = [0u8; 256];
        let mut wanted = CK_ATTRIBUTE {
            type_: CKA_LABEL,
            pValue: value.as_mut_ptr().cast(),
            ulValueLen: value.len() as CK_ULONG,
        };
        call!(self, C_GetAttributeValue(session, object, &mut wanted, 1))?;
        Ok(String::from_utf8_lossy(&value[..wanted.ulValueLen as usize]).into_owned())
    }
}

/// A mechanism without a parameter.
#[must_use]
pub fn plain(kind: CK_MECHANISM_TYPE) -> CK_MECHANISM {
    CK_MECHANISM { mechanism: kind, pParameter: ptr::null_mut(), ulParameterLen: 0 }
}

/// An attribute that points to a value, which must outlive the call.
#[must_use]
pub fn attribute<T>(kind: CK_ATTRIBUTE_TYPE, value: &T) -> CK_ATTRIBUTE {
    CK_ATTRIBUTE {
        type_: kind,
        pValue: ptr::from_ref(value).cast_mut().cast(),
        ulValueLen: size_of::<T>() as CK_ULONG,
    }
}

/// An attribute that points to bytes, which must outlive the call.
#[must_use]
pub fn bytes(kind: CK_ATTRIBUTE_TYPE, value: &[u8]) -> CK_ATTRIBUTE {
    CK_ATTRIBUTE {
        type_: kind,
        pValue: value.as_ptr().cast_mut().cast(),
        ulValueLen: value.len() as CK_ULONG,
    }
}
