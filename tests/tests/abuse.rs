//! The C ABI under abuse: wrong states, wrong handles, null pointers with lengths, templates and
//! parameters of nonsense. Every call gives a CKR_ code, and afterwards the token works.
//!
//! What a C caller promises, that a pointer's memory is as long as it says, is kept: no library can
//! check it. Everything else is drawn at random from a seed.

use std::ptr;

use cryptoki_sys::*;
use strongroom_tests::{LocalToken, Module, USER_PIN, full, release};

const SEED: u64 = 0x5eed_2026;

#[test]
fn nonsense_gets_an_error_code_and_never_a_crash() {
    let token = LocalToken::initialised("abuse");
    // SAFETY: the test's only thread; the module reads these at C_Initialize.
    unsafe {
        std::env::set_var("STRONGROOM_DIR", token.dir());
        std::env::set_var("STRONGROOM_PERSONALITY", "token");
        std::env::set_var("STRONGROOM_LOG", "off");
        std::env::remove_var("STRONGROOM_CONFIG");
    }
    let module = Module::open(&release().join("libstrongroom_pkcs11.so")).expect("C_Initialize");
    let calls = if full() { 2_000_000 } else { 60_000 };
    let mut abuser = Abuser::new(&module);
    for call in 0..calls {
        let (function, code) = abuser.call();
        assert!(
            code <= CKR_FUNCTION_REJECTED || code & CKR_VENDOR_DEFINED != 0,
            "call {call}: {function} gives {code:#x}, which is no CKR_ code"
        );
    }

    // Whatever state that left, a fresh start works.
    let _ = module.finalize();
    module.initialize().expect("C_Initialize");
    let session = module.session().expect("a session");
    module.login(session, USER_PIN).expect("a login");
    let (public, private) = module.p256_pair(session, None).expect("a key pair");
    let mut signature = [0; 64];
    let length =
        module.sign(session, CKM_ECDSA, private, &[1; 32], &mut signature).expect("a signature");
    module.verify(session, CKM_ECDSA, public, &[1; 32], &signature[..length]).expect("a good one");
    module.finalize().expect("C_Finalize");
}

/// Draws calls.
struct Abuser<'a> {
    functions: &'a CK_FUNCTION_LIST,
    slot: CK_SLOT_ID,
    state: u64,
    /// Handles that were once given, to be right by chance.
    sessions: Vec<CK_SESSION_HANDLE>,
    objects: Vec<CK_OBJECT_HANDLE>,
    buffer: Vec<u8>,
    out: Vec<u8>,
    iv: [u8; 16],
}

/// Calls one function of the list; all are there.
macro_rules! c {
    ($self:ident.$function:ident($($argument:expr),* $(,)?)) => {{
        let function = $self.functions.$function.expect("every function is there");
        // SAFETY: every pointer is null, or points to memory of at least the length beside it that
        // lives until the end of the call.
        (stringify!($function), unsafe { function($($argument),*) })
    }};
}

impl<'a> Abuser<'a> {
    fn new(module: &'a Module) -> Self {
        Self {
            // SAFETY: the list is constant while the module is loaded, which the borrow ensures.
            functions: unsafe { &*module.functions() },
            slot: module.slot(),
            state: SEED,
            sessions: vec![0, 1, CK_ULONG::MAX],
            objects: vec![0, 1, CK_ULONG::MAX, 0x68_0001],
            buffer: vec![0xa5; 4096],
            out: vec![0; 8192],
            iv: [0; 16],
        }
    }

    fn call(&mut self) -> (&'static str, CK_RV) {
        let session = self.pick_session();
        let object = self.pick_object();
        let (data, data_length) = self.input();
        let (out, mut out_length) = self.output();
        let length: *mut CK_ULONG =
            if self.below(12) == 0 { ptr::null_mut() } else { &mut out_length };
        let mut parameter = [0u8; 64];
        let mut gcm = CK_GCM_PARAMS::default();
        let mut pss = CK_RSA_PKCS_PSS_PARAMS::default();
        let mut mechanism = self.mechanism(&mut parameter, &mut gcm, &mut pss);
        let mechanism: *mut CK_MECHANISM =
            if self.below(20) == 0 { ptr::null_mut() } else { &mut mechanism };
        let values = self.values();
        let mut template = self.template(&values);
        let (attributes, count) = self.template_pointer(&mut template);
        let mut handle = 0;
        let mut second = 0;
        match self.below(47) {
            0..=4 => {
                let flags =
                    [CKF_SERIAL_SESSION, CKF_SERIAL_SESSION | CKF_RW_SESSION, 0][self.below(3)];
                let slot = if self.below(6) == 0 { 99 } else { self.slot };
                let called =
                    c!(self.C_OpenSession(slot, flags, ptr::null_mut(), None, &mut handle));
                if called.1 == CKR_OK {
                    self.sessions.push(handle);
                }
                called
            }
            5 => c!(self.C_CloseSession(session)),
            6 if self.below(40) == 0 => c!(self.C_CloseAllSessions(self.slot)),
            6 | 7 => {
                let mut pin = *b"123456";
                let pin: &mut [u8] = if self.below(200) == 0 { &mut pin[..3] } else { &mut pin };
                let user = [CKU_USER, CKU_USER, CKU_CONTEXT_SPECIFIC, 77][self.below(4)];
                c!(self.C_Login(session, user, pin.as_mut_ptr(), pin.len() as CK_ULONG))
            }
            8 if self.below(30) == 0 => c!(self.C_Logout(session)),
            8 | 9 => c!(self.C_GetSessionInfo(session, ptr::null_mut())),
            10 => c!(self.C_GetMechanismList(self.slot, ptr::null_mut(), length)),
            11 => c!(self.C_GetMechanismInfo(self.slot, self.state, ptr::null_mut())),
            12 => c!(self.C_GetTokenInfo(self.state, ptr::null_mut())),
            13 => c!(self.C_CreateObject(session, attributes, count, &mut handle)),
            14 => c!(self.C_DestroyObject(session, object)),
            15 | 16 => c!(self.C_GetAttributeValue(session, object, attributes, count)),
            17 => c!(self.C_SetAttributeValue(session, object, attributes, count)),
            18 => c!(self.C_FindObjectsInit(session, attributes, count)),
            19 => {
                let mut found = [0; 16];
                let mut got = 0;
                let called = c!(self.C_FindObjects(session, found.as_mut_ptr(), 16, &mut got));
                if called.1 == CKR_OK {
                    self.objects.extend_from_slice(&found[..got as usize]);
                }
                called
            }
            20 => c!(self.C_FindObjectsFinal(session)),
            21 => c!(self.C_EncryptInit(session, mechanism, object)),
            22 => c!(self.C_Encrypt(session, data, data_length, out, length)),
            23 => c!(self.C_EncryptUpdate(session, data, data_length, out, length)),
            24 => c!(self.C_EncryptFinal(session, out, length)),
            25 => c!(self.C_DecryptInit(session, mechanism, object)),
            26 => c!(self.C_Decrypt(session, data, data_length, out, length)),
            27 => c!(self.C_DecryptUpdate(session, data, data_length, out, length)),
            28 => c!(self.C_DecryptFinal(session, out, length)),
            29 => c!(self.C_DigestInit(session, mechanism)),
            30 => c!(self.C_Digest(session, data, data_length, out, length)),
            31 => c!(self.C_DigestUpdate(session, data, data_length)),
            32 => c!(self.C_DigestFinal(session, out, length)),
            33 => c!(self.C_SignInit(session, mechanism, object)),
            34 => c!(self.C_Sign(session, data, data_length, out, length)),
            35 => c!(self.C_SignUpdate(session, data, data_length)),
            36 => c!(self.C_SignFinal(session, out, length)),
            37 => c!(self.C_VerifyInit(session, mechanism, object)),
            38 => c!(self.C_Verify(session, data, data_length, data, data_length)),
            39 => {
                let called =
                    c!(self.C_GenerateKey(session, mechanism, attributes, count, &mut handle));
                if called.1 == CKR_OK {
                    self.objects.push(handle);
                }
                called
            }
            40 => {
                let called = c!(self.C_GenerateKeyPair(
                    session,
                    mechanism,
                    attributes,
                    count,
                    attributes,
                    count,
                    &mut handle,
                    &mut second,
                ));
                if called.1 == CKR_OK {
                    self.objects.extend([handle, second]);
                }
                called
            }
            41 => {
                let other = self.pick_object();
                c!(self.C_WrapKey(session, mechanism, object, other, out, length))
            }
            42 => c!(self.C_UnwrapKey(
                session,
                mechanism,
                object,
                data,
                data_length,
                attributes,
                count,
                &mut handle,
            )),
            43 => c!(self.C_DeriveKey(session, mechanism, object, attributes, count, &mut handle)),
            44 => c!(self.C_GenerateRandom(session, out, out_length)),
            45 => {
                let called = c!(self.C_CopyObject(session, object, attributes, count, &mut handle));
                if called.1 == CKR_OK {
                    self.objects.push(handle);
                }
                called
            }
            _ => c!(self.C_SetPIN(session, data, data_length, ptr::null_mut(), data_length)),
        }
    }

    /// Data: null with a length, null without, or real memory of that length.
    fn input(&mut self) -> (*mut u8, CK_ULONG) {
        match self.below(8) {
            0 => (ptr::null_mut(), self.edge()),
            1 => (ptr::null_mut(), 0),
            _ => (self.buffer.as_mut_ptr(), self.below(self.buffer.len()) as CK_ULONG),
        }
    }

    /// Room for output: null (a question for the length), or real memory, sometimes too little.
    fn output(&mut self) -> (*mut u8, CK_ULONG) {
        match self.below(6) {
            0 => (ptr::null_mut(), 0),
            1 => (self.out.as_mut_ptr(), self.below(20) as CK_ULONG),
            _ => (self.out.as_mut_ptr(), self.out.len() as CK_ULONG),
        }
    }

    fn mechanism(
        &mut self,
        parameter: &mut [u8; 64],
        gcm: &mut CK_GCM_PARAMS,
        pss: &mut CK_RSA_PKCS_PSS_PARAMS,
    ) -> CK_MECHANISM {
        const KINDS: [CK_MECHANISM_TYPE; 22] = [
            CKM_AES_KEY_GEN,
            CKM_GENERIC_SECRET_KEY_GEN,
            CKM_EC_KEY_PAIR_GEN,
            CKM_RSA_PKCS,
            CKM_SHA256_RSA_PKCS,
            CKM_SHA256_RSA_PKCS_PSS,
            CKM_RSA_PKCS_PSS,
            CKM_RSA_PKCS_OAEP,
            CKM_ECDSA,
            CKM_ECDSA_SHA256,
            CKM_ECDSA_SHA512,
            CKM_AES_GCM,
            CKM_AES_CBC,
            CKM_AES_CBC_PAD,
            CKM_AES_CTR,
            CKM_AES_ECB,
            CKM_AES_KEY_WRAP,
            CKM_SHA256_HMAC,
            CKM_SHA256,
            CKM_SHA512,
            CKM_VENDOR_DEFINED,
            CK_ULONG::MAX,
        ];
        let kind = KINDS[self.below(KINDS.len())];
        let (pointer, length): (CK_VOID_PTR, usize) = match self.below(8) {
            0 => (ptr::null_mut(), 0),
            1 => (ptr::null_mut(), self.below(64)),
            2 => (parameter.as_mut_ptr().cast(), self.below(64)),
            3 => (self.iv.as_mut_ptr().cast(), 8),
            4 => (self.iv.as_mut_ptr().cast(), 16),
            5 => {
                pss.hashAlg = [CKM_SHA256, CKM_SHA512, 0][self.below(3)];
                pss.mgf = [CKG_MGF1_SHA256, CKG_MGF1_SHA512, 9][self.below(3)];
                pss.sLen = self.edge();
                (ptr::from_mut(pss).cast(), size_of::<CK_RSA_PKCS_PSS_PARAMS>())
            }
            _ => {
                gcm.pIv = if self.below(5) == 0 { ptr::null_mut() } else { self.iv.as_mut_ptr() };
                gcm.ulIvLen =
                    if gcm.pIv.is_null() { self.edge() } else { self.below(17) as CK_ULONG };
                gcm.ulAADLen = if self.below(5) == 0 { self.edge() } else { 0 };
                gcm.ulTagBits = [128, 96, 0, 7, CK_ULONG::MAX][self.below(5)];
                (ptr::from_mut(gcm).cast(), size_of::<CK_GCM_PARAMS>())
            }
        };
        CK_MECHANISM { mechanism: kind, pParameter: pointer, ulParameterLen: length as CK_ULONG }
    }

    /// Memory that the template's attributes may point to.
    fn values(&mut self) -> Vec<Vec<u8>> {
        (0..self.below(7))
            .map(|_| match self.below(6) {
                0 => vec![],
                1 => vec![1],
                2 => vec![0],
                3 => self.edge().to_ne_bytes().to_vec(),
                4 => vec![0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07],
                _ => vec![0x5a; self.below(300)],
            })
            .collect()
    }

    fn template(&mut self, values: &[Vec<u8>]) -> Vec<CK_ATTRIBUTE> {
        const KINDS: [CK_ATTRIBUTE_TYPE; 20] = [
            CKA_CLASS,
            CKA_KEY_TYPE,
            CKA_TOKEN,
            CKA_PRIVATE,
            CKA_LABEL,
            CKA_ID,
            CKA_VALUE,
            CKA_VALUE_LEN,
            CKA_SENSITIVE,
            CKA_EXTRACTABLE,
            CKA_ENCRYPT,
            CKA_SIGN,
            CKA_WRAP,
            CKA_MODULUS,
            CKA_MODULUS_BITS,
            CKA_PUBLIC_EXPONENT,
            CKA_EC_PARAMS,
            CKA_EC_POINT,
            CKA_WRAP_TEMPLATE,
            CK_ULONG::MAX,
        ];
        values
            .iter()
            .map(|value| {
                let null = self.below(12) == 0;
                CK_ATTRIBUTE {
                    type_: KINDS[self.below(KINDS.len())],
                    pValue: if null { ptr::null_mut() } else { value.as_ptr().cast_mut().cast() },
                    ulValueLen: if null { self.edge() } else { value.len() as CK_ULONG },
                }
            })
            .collect()
    }

    fn template_pointer(&mut self, template: &mut [CK_ATTRIBUTE]) -> (*mut CK_ATTRIBUTE, CK_ULONG) {
        match self.below(10) {
            0 => (ptr::null_mut(), self.edge()),
            1 => (ptr::null_mut(), 0),
            _ => (template.as_mut_ptr(), template.len() as CK_ULONG),
        }
    }

    fn pick_session(&mut self) -> CK_SESSION_HANDLE {
        let recent = self.sessions.len().min(8);
        let back = self.below(recent);
        self.sessions[self.sessions.len() - 1 - back]
    }

    fn pick_object(&mut self) -> CK_OBJECT_HANDLE {
        let place = self.below(self.objects.len());
        self.objects[place]
    }

    /// Lengths that arithmetic goes wrong at.
    fn edge(&mut self) -> CK_ULONG {
        const EDGES: [CK_ULONG; 8] = [0, 1, 7, 16, 32, 0x7fff_ffff, 0xffff_ffff, CK_ULONG::MAX];
        EDGES[self.below(EDGES.len())]
    }

    fn below(&mut self, limit: usize) -> usize {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        (self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit
    }
}
