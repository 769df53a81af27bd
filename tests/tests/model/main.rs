//! A reference model of sessions, the login, objects and operations, held against the module: random
//! calls, whose codes and results the model knows beforehand.
//!
//! 30,000 calls in the ordinary test run; `cargo xtask fuzz model` makes 1,000,000, or as many as
//! `STRONGROOM_MODEL_STEPS` says, from the seed `STRONGROOM_MODEL_SEED`.

use std::ptr;

use cryptoki_sys::*;
use strongroom_tests::{LocalToken, Module, SO_PIN, USER_PIN, release};

mod reference;

use reference::{KEY, Kind, Login, Model, digest, mac};

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

#[test]
fn the_module_does_what_the_model_says() {
    let token = LocalToken::initialised("model");
    // SAFETY: the test's only thread; the module reads these at C_Initialize.
    unsafe {
        std::env::set_var("STRONGROOM_DIR", token.dir());
        std::env::set_var("STRONGROOM_PERSONALITY", "token");
        std::env::remove_var("STRONGROOM_CONFIG");
    }
    let module = Module::open(&release().join("libstrongroom_pkcs11.so")).expect("C_Initialize");
    let steps = number("STRONGROOM_MODEL_STEPS", 30_000);
    let seed = number("STRONGROOM_MODEL_SEED", 0x5eed_2026);
    println!("seed {seed}");
    let mut run = Run {
        list: module.functions_3_2().expect("the list of 3.2"),
        slot: module.slot(),
        model: Model::default(),
        state: seed | 1,
        step: 0,
        next_label: 0,
    };
    for step in 0..steps {
        run.step = step;
        run.act();
    }
    module.finalize().expect("C_Finalize");
}

/// The module and its model, call by call.
struct Run<'a> {
    list: &'a CK_FUNCTION_LIST_3_2,
    slot: CK_SLOT_ID,
    model: Model,
    state: u64,
    step: u64,
    next_label: u32,
}

/// Calls a function and gives its code.
macro_rules! call {
    ($run:expr, $function:ident($($argument:expr),* $(,)?)) => {{
        let function = $run.list.$function.expect(stringify!($function));
        // SAFETY: the list is of a library that is loaded; what the arguments point to lives through
        // the call and has the length beside it.
        unsafe { function($($argument),*) }
    }};
}

impl Run<'_> {
    /// A number below `most` (xorshift64).
    fn draw(&mut self, most: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 16) as usize % most
    }

    fn same<T: PartialEq + std::fmt::Debug>(&self, what: &str, module: T, model: T) {
        assert_eq!(module, model, "step {}: {what}: the module, then the model", self.step);
    }

    fn code(&self, what: &str, module: CK_RV, model: CK_RV) {
        let hex = |code| format!("{code:#x}");
        self.same(what, hex(module), hex(model));
    }

    /// A session: mostly one that is open.
    fn session(&mut self) -> CK_SESSION_HANDLE {
        let open = self.model.sessions.len();
        if open == 0 || self.draw(40) == 0 {
            return 0x7fff_0000 + self.draw(3) as CK_SESSION_HANDLE;
        }
        let index = self.draw(open);
        *self.model.sessions.keys().nth(index).expect("so many")
    }

    /// An object: mostly one that is there.
    fn object(&mut self) -> CK_OBJECT_HANDLE {
        let there = self.model.objects.len();
        if there == 0 || self.draw(20) == 0 {
            return 0x7fff_0000 + self.draw(3) as CK_OBJECT_HANDLE;
        }
        let index = self.draw(there);
        *self.model.objects.keys().nth(index).expect("so many")
    }

    fn act(&mut self) {
        if self.draw(400) == 0 {
            return if self.draw(2) == 0 { self.login() } else { self.logout() };
        }
        match self.draw(22) {
            0 => self.open(),
            1 => {
                if self.draw(30) == 0 {
                    self.close_all();
                } else {
                    self.close();
                }
            }
            2 => self.info(),
            3 | 4 => self.create(),
            5 => self.destroy(),
            6 => self.rename(),
            7 => self.read(),
            8 => self.find(),
            9 => self.cancel(),
            10 | 11 => self.begin_digest(),
            12 => self.digest_whole(),
            13 | 14 => self.digest_update(),
            15 => self.digest_final(),
            16 | 17 => self.begin_sign(),
            18 => self.sign_whole(),
            19 | 20 => self.sign_update(),
            _ => self.sign_final(),
        }
    }

    fn open(&mut self) {
        let writes = self.draw(3) > 0;
        if self.model.sessions.len() >= 12 {
            return self.close();
        }
        let flags = CKF_SERIAL_SESSION | if writes { CKF_RW_SESSION } else { 0 };
        let mut handle = 0;
        let code = call!(self, C_OpenSession(self.slot, flags, ptr::null_mut(), None, &mut handle));
        let model = self.model.may_open(writes);
        self.code("C_OpenSession", code, model);
        if code == CKR_OK {
            assert!(self.model.open(handle, writes), "step {}: a handle twice", self.step);
        }
    }

    fn close(&mut self) {
        let session = self.session();
        let code = call!(self, C_CloseSession(session));
        let model = self.model.close(session);
        self.code("C_CloseSession", code, model);
    }

    fn close_all(&mut self) {
        let code = call!(self, C_CloseAllSessions(self.slot));
        self.code("C_CloseAllSessions", code, CKR_OK);
        let all: Vec<_> = self.model.sessions.keys().copied().collect();
        for session in all {
            self.model.close(session);
        }
    }

    fn info(&mut self) {
        let session = self.session();
        let mut info = CK_SESSION_INFO::default();
        let code = call!(self, C_GetSessionInfo(session, &mut info));
        let model = self.model.state(session);
        self.code("C_GetSessionInfo", code, model.err().unwrap_or(CKR_OK));
        if let Ok(state) = model {
            self.same("the session's state", info.state, state);
        }
    }

    fn login(&mut self) {
        let session = self.session();
        let so = self.draw(3) == 0;
        let (who, pin, login) =
            if so { (CKU_SO, SO_PIN, Login::So) } else { (CKU_USER, USER_PIN, Login::User) };
        let (pin, length) = (pin.as_ptr().cast_mut(), pin.len() as CK_ULONG);
        let code = call!(self, C_Login(session, who, pin, length));
        let model = self.model.login(session, login);
        self.code("C_Login", code, model);
    }

    fn logout(&mut self) {
        let session = self.session();
        let code = call!(self, C_Logout(session));
        let model = self.model.logout(session);
        self.code("C_Logout", code, model);
    }

    /// A data object, or an HMAC key of a known value.
    fn create(&mut self) {
        if self.model.objects.len() >= 24 {
            return self.destroy();
        }
        let session = self.session();
        let (token, private) = (self.draw(3) == 0, self.draw(2) == 0);
        let kind = if self.draw(2) == 0 { Kind::Data } else { Kind::Key };
        let label = self.new_label();
        let flag = |on: bool| if on { CK_TRUE } else { CK_FALSE };
        let (is_token, is_private) = (flag(token), flag(private));
        let mut template = vec![
            strongroom_tests::attribute(CKA_TOKEN, &is_token),
            strongroom_tests::attribute(CKA_PRIVATE, &is_private),
            strongroom_tests::bytes(CKA_LABEL, &label),
        ];
        match kind {
            Kind::Data => template.push(strongroom_tests::attribute(CKA_CLASS, &CKO_DATA)),
            Kind::Key => template.extend([
                strongroom_tests::attribute(CKA_CLASS, &CKO_SECRET_KEY),
                strongroom_tests::attribute(CKA_KEY_TYPE, &CKK_GENERIC_SECRET),
                strongroom_tests::bytes(CKA_VALUE, KEY),
                strongroom_tests::attribute(CKA_SIGN, &CK_TRUE),
            ]),
        }
        let mut handle = 0;
        let (start, count) = (template.as_mut_ptr(), template.len() as CK_ULONG);
        let code = call!(self, C_CreateObject(session, start, count, &mut handle));
        let model = self.model.may_create(session, token, private);
        self.code("C_CreateObject", code, model);
        if code == CKR_OK {
            assert!(self.model.create(handle, session, token, private, kind, label));
        }
    }

    fn new_label(&mut self) -> [u8; 4] {
        self.next_label += 1;
        self.next_label.to_be_bytes()
    }

    fn destroy(&mut self) {
        let (session, object) = (self.session(), self.object());
        let code = call!(self, C_DestroyObject(session, object));
        let model = self.model.destroy(session, object);
        self.code("C_DestroyObject", code, model);
    }

    fn rename(&mut self) {
        let (session, object) = (self.session(), self.object());
        let label = self.new_label();
        let mut template = [strongroom_tests::bytes(CKA_LABEL, &label)];
        let code = call!(self, C_SetAttributeValue(session, object, template.as_mut_ptr(), 1));
        let model = self.model.rename(session, object, label);
        self.code("C_SetAttributeValue", code, model);
    }

    fn read(&mut self) {
        let (session, object) = (self.session(), self.object());
        let label = [0u8; 4];
        let mut template = [strongroom_tests::bytes(CKA_LABEL, &label)];
        let code = call!(self, C_GetAttributeValue(session, object, template.as_mut_ptr(), 1));
        let model = self.model.visible(session, object).map(|object| object.label);
        self.code("C_GetAttributeValue", code, model.err().unwrap_or(CKR_OK));
        if let Ok(known) = model {
            // SAFETY: four live bytes, which the module has written behind the compiler's back.
            self.same("a label", unsafe { ptr::from_ref(&label).read_volatile() }, known);
        }
    }

    /// All objects of a class, in one go.
    fn find(&mut self) {
        let session = self.session();
        let kind = if self.draw(2) == 0 { Kind::Data } else { Kind::Key };
        let class = if kind == Kind::Data { CKO_DATA } else { CKO_SECRET_KEY };
        let mut template = [strongroom_tests::attribute(CKA_CLASS, &class)];
        let code = call!(self, C_FindObjectsInit(session, template.as_mut_ptr(), 1));
        let known = self.model.all(session, kind);
        self.code("C_FindObjectsInit", code, known.as_ref().err().copied().unwrap_or(CKR_OK));
        let Ok(known) = known else { return };
        let again = call!(self, C_FindObjectsInit(session, template.as_mut_ptr(), 1));
        self.code("C_FindObjectsInit twice", again, CKR_OPERATION_ACTIVE);
        let mut found = [0; 64];
        let mut count = 0;
        let code = call!(self, C_FindObjects(session, found.as_mut_ptr(), 64, &mut count));
        self.code("C_FindObjects", code, CKR_OK);
        let mut found = found[..count as usize].to_vec();
        found.sort_unstable();
        self.same("what is found", found, known);
        let code = call!(self, C_FindObjectsFinal(session));
        self.code("C_FindObjectsFinal", code, CKR_OK);
    }

    fn cancel(&mut self) {
        let session = self.session();
        let (digest, sign) = (self.draw(2) == 0, self.draw(2) == 0);
        let flags = if digest { CKF_DIGEST } else { 0 } | if sign { CKF_SIGN } else { 0 };
        let code = call!(self, C_SessionCancel(session, flags));
        let model = self.model.cancel(session, digest, sign);
        self.code("C_SessionCancel", code, model);
    }

    /// Some data.
    fn data(&mut self) -> Vec<u8> {
        let length = self.draw(100);
        let byte = self.draw(256) as u8;
        vec![byte; length]
    }

    fn begin_digest(&mut self) {
        let session = self.session();
        let mut mechanism = strongroom_tests::plain(CKM_SHA256);
        let code = call!(self, C_DigestInit(session, &mut mechanism));
        let model = self.model.begin_digest(session);
        self.code("C_DigestInit", code, model);
    }

    fn begin_sign(&mut self) {
        let (session, object) = (self.session(), self.object());
        let mut mechanism = strongroom_tests::plain(CKM_SHA256_HMAC);
        let code = call!(self, C_SignInit(session, &mut mechanism, object));
        let model = self.model.begin_sign(session, object);
        self.code("C_SignInit", code, model);
    }

    fn digest_update(&mut self) {
        let (session, mut data) = (self.session(), self.data());
        let (start, length) = (data.as_mut_ptr(), data.len() as CK_ULONG);
        let code = call!(self, C_DigestUpdate(session, start, length));
        let model = self.model.update(session, &data, digest);
        self.code("C_DigestUpdate", code, model);
    }

    fn sign_update(&mut self) {
        let (session, mut data) = (self.session(), self.data());
        let (start, length) = (data.as_mut_ptr(), data.len() as CK_ULONG);
        let code = call!(self, C_SignUpdate(session, start, length));
        let model = self.model.update(session, &data, mac);
        self.code("C_SignUpdate", code, model);
    }

    /// Room for the output: enough, too little, or none.
    fn room(&mut self) -> Option<usize> {
        match self.draw(4) {
            0 => None,
            1 => Some(self.draw(32)),
            _ => Some(32 + self.draw(8)),
        }
    }

    fn output(
        &mut self,
        what: &str,
        room: Option<usize>,
        make: impl FnOnce(&Self, CK_BYTE_PTR, CK_ULONG_PTR) -> CK_RV,
        model: Result<Vec<u8>, CK_RV>,
    ) {
        let mut out = [0u8; 64];
        let mut length = room.unwrap_or(0) as CK_ULONG;
        let pointer = if room.is_some() { out.as_mut_ptr() } else { ptr::null_mut() };
        let code = make(self, pointer, &mut length);
        self.code(what, code, model.as_ref().err().copied().unwrap_or(CKR_OK));
        if code == CKR_OK || code == CKR_BUFFER_TOO_SMALL {
            self.same("a length", length, 32);
        }
        if let (Ok(known), Some(_)) = (model, room) {
            self.same(what, out[..32].to_vec(), known);
        }
    }

    fn digest_whole(&mut self) {
        let (session, mut data, room) = (self.session(), self.data(), self.room());
        let model = self.model.whole(session, room, &data, digest);
        let (start, size) = (data.as_mut_ptr(), data.len() as CK_ULONG);
        let make =
            |run: &Self, out, length| call!(run, C_Digest(session, start, size, out, length));
        self.output("C_Digest", room, make, model);
    }

    fn sign_whole(&mut self) {
        let (session, mut data, room) = (self.session(), self.data(), self.room());
        let model = self.model.whole(session, room, &data, mac);
        let (start, size) = (data.as_mut_ptr(), data.len() as CK_ULONG);
        let make = |run: &Self, out, length| call!(run, C_Sign(session, start, size, out, length));
        self.output("C_Sign", room, make, model);
    }

    fn digest_final(&mut self) {
        let (session, room) = (self.session(), self.room());
        let model = self.model.finish(session, room, digest);
        let make = |run: &Self, out, length| call!(run, C_DigestFinal(session, out, length));
        self.output("C_DigestFinal", room, make, model);
    }

    fn sign_final(&mut self) {
        let (session, room) = (self.session(), self.room());
        let model = self.model.finish(session, room, mac);
        let make = |run: &Self, out, length| call!(run, C_SignFinal(session, out, length));
        self.output("C_SignFinal", room, make, model);
    }
}
