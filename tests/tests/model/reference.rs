//! The model: what PKCS#11 3.1 says of sessions, the login, objects, and operations that digest and sign.

use std::collections::BTreeMap;

use cryptoki_sys::*;

/// The value of every key.
pub(crate) const KEY: &[u8] = b"a key of thirty-two bytes here..";

/// Who is logged in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Login {
    User,
    So,
}

/// What an object is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Data,
    Key,
}

/// One object.
pub(crate) struct Object {
    /// The session that it goes with; none for a token object.
    session: Option<CK_SESSION_HANDLE>,
    private: bool,
    kind: Kind,
    pub(crate) label: [u8; 4],
}

/// An operation: what it was given in parts, where it was.
#[derive(Default)]
pub(crate) struct Operation {
    parts: Option<Vec<u8>>,
    key: CK_OBJECT_HANDLE,
}

/// One session.
#[derive(Default)]
pub(crate) struct Session {
    writes: bool,
    digest: Option<Operation>,
    sign: Option<Operation>,
}

/// All there is.
#[derive(Default)]
pub(crate) struct Model {
    pub(crate) sessions: BTreeMap<CK_SESSION_HANDLE, Session>,
    pub(crate) objects: BTreeMap<CK_OBJECT_HANDLE, Object>,
    login: Option<Login>,
}

/// Where a session keeps an operation, and what it makes of data.
pub(crate) type Place<'a> = (&'a mut Option<Operation>, fn(&[u8]) -> Vec<u8>);

/// Which operation of a session is meant.
pub(crate) type Sort = fn(&mut Session) -> Place<'_>;

/// SHA-256.
pub(crate) fn digest(session: &mut Session) -> Place<'_> {
    fn sha256(data: &[u8]) -> Vec<u8> {
        aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, data).as_ref().to_vec()
    }
    (&mut session.digest, sha256)
}

/// HMAC-SHA-256 with [`KEY`].
pub(crate) fn mac(session: &mut Session) -> Place<'_> {
    fn hmac(data: &[u8]) -> Vec<u8> {
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, KEY);
        aws_lc_rs::hmac::sign(&key, data).as_ref().to_vec()
    }
    (&mut session.sign, hmac)
}

type Coded<T> = Result<T, CK_RV>;

fn code<T>(result: Coded<T>) -> CK_RV {
    result.err().unwrap_or(CKR_OK)
}

impl Model {
    fn session(&mut self, session: CK_SESSION_HANDLE) -> Coded<&mut Session> {
        self.sessions.get_mut(&session).ok_or(CKR_SESSION_HANDLE_INVALID)
    }

    pub(crate) fn may_open(&self, writes: bool) -> CK_RV {
        let refused = !writes && self.login == Some(Login::So);
        if refused { CKR_SESSION_READ_WRITE_SO_EXISTS } else { CKR_OK }
    }

    /// Whether the handle is new.
    pub(crate) fn open(&mut self, handle: CK_SESSION_HANDLE, writes: bool) -> bool {
        self.sessions.insert(handle, Session { writes, ..Session::default() }).is_none()
    }

    pub(crate) fn close(&mut self, session: CK_SESSION_HANDLE) -> CK_RV {
        if self.sessions.remove(&session).is_none() {
            return CKR_SESSION_HANDLE_INVALID;
        }
        self.objects.retain(|_, object| object.session != Some(session));
        if self.sessions.is_empty() {
            self.login = None;
        }
        CKR_OK
    }

    pub(crate) fn state(&mut self, session: CK_SESSION_HANDLE) -> Coded<CK_STATE> {
        let login = self.login;
        let writes = self.session(session)?.writes;
        Ok(match (login, writes) {
            (Some(Login::So), _) => CKS_RW_SO_FUNCTIONS,
            (Some(Login::User), true) => CKS_RW_USER_FUNCTIONS,
            (Some(Login::User), false) => CKS_RO_USER_FUNCTIONS,
            (None, true) => CKS_RW_PUBLIC_SESSION,
            (None, false) => CKS_RO_PUBLIC_SESSION,
        })
    }

    pub(crate) fn login(&mut self, session: CK_SESSION_HANDLE, who: Login) -> CK_RV {
        if let Err(code) = self.session(session) {
            return code;
        }
        match self.login {
            Some(login) if login == who => CKR_USER_ALREADY_LOGGED_IN,
            Some(_) => CKR_USER_ANOTHER_ALREADY_LOGGED_IN,
            None if who == Login::So && self.sessions.values().any(|session| !session.writes) => {
                CKR_SESSION_READ_ONLY_EXISTS
            }
            None => {
                self.login = Some(who);
                CKR_OK
            }
        }
    }

    pub(crate) fn logout(&mut self, session: CK_SESSION_HANDLE) -> CK_RV {
        if let Err(code) = self.session(session) {
            return code;
        }
        if self.login.take().is_none() {
            return CKR_USER_NOT_LOGGED_IN;
        }
        // "All private session objects from sessions belonging to the application are destroyed";
        // what goes on may be ended, and here a signature is.
        self.objects.retain(|_, object| object.session.is_none() || !object.private);
        for session in self.sessions.values_mut() {
            session.sign = None;
        }
        CKR_OK
    }

    pub(crate) fn may_create(
        &mut self,
        session: CK_SESSION_HANDLE,
        token: bool,
        private: bool,
    ) -> CK_RV {
        let login = self.login;
        match self.session(session) {
            Err(code) => code,
            Ok(session) if token && !session.writes => CKR_SESSION_READ_ONLY,
            Ok(_) if private && login != Some(Login::User) => CKR_USER_NOT_LOGGED_IN,
            Ok(_) => CKR_OK,
        }
    }

    /// Whether the handle is new.
    pub(crate) fn create(
        &mut self,
        handle: CK_OBJECT_HANDLE,
        session: CK_SESSION_HANDLE,
        token: bool,
        private: bool,
        kind: Kind,
        label: [u8; 4],
    ) -> bool {
        let session = (!token).then_some(session);
        self.objects.insert(handle, Object { session, private, kind, label }).is_none()
    }

    /// An object that a session sees.
    pub(crate) fn visible(
        &mut self,
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
    ) -> Coded<&mut Object> {
        self.session(session)?;
        let user = self.login == Some(Login::User);
        let object = self.objects.get_mut(&object).filter(|object| user || !object.private);
        object.ok_or(CKR_OBJECT_HANDLE_INVALID)
    }

    fn changeable(
        &mut self,
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
    ) -> Coded<&mut Object> {
        let writes = self.session(session)?.writes;
        let object = self.visible(session, object)?;
        if object.session.is_none() && !writes { Err(CKR_SESSION_READ_ONLY) } else { Ok(object) }
    }

    pub(crate) fn destroy(
        &mut self,
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
    ) -> CK_RV {
        let result = self.changeable(session, object).map(drop);
        if result.is_ok() {
            self.objects.remove(&object);
        }
        code(result)
    }

    pub(crate) fn rename(
        &mut self,
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
        label: [u8; 4],
    ) -> CK_RV {
        code(self.changeable(session, object).map(|object| object.label = label))
    }

    /// The handles of all that a session sees of a kind, rising.
    pub(crate) fn all(
        &mut self,
        session: CK_SESSION_HANDLE,
        kind: Kind,
    ) -> Coded<Vec<CK_OBJECT_HANDLE>> {
        self.session(session)?;
        let user = self.login == Some(Login::User);
        let seen = |object: &Object| object.kind == kind && (user || !object.private);
        Ok(self.objects.iter().filter(|(_, object)| seen(object)).map(|(&at, _)| at).collect())
    }

    pub(crate) fn cancel(&mut self, session: CK_SESSION_HANDLE, digest: bool, sign: bool) -> CK_RV {
        code(self.session(session).map(|session| {
            if digest {
                session.digest = None;
            }
            if sign {
                session.sign = None;
            }
        }))
    }

    pub(crate) fn begin_digest(&mut self, session: CK_SESSION_HANDLE) -> CK_RV {
        code(self.session(session).and_then(|session| begin(&mut session.digest, 0)))
    }

    pub(crate) fn begin_sign(
        &mut self,
        session: CK_SESSION_HANDLE,
        key: CK_OBJECT_HANDLE,
    ) -> CK_RV {
        let right = match self.visible(session, key).map(|object| object.kind) {
            Ok(Kind::Key) => Ok(()),
            Ok(Kind::Data) | Err(CKR_OBJECT_HANDLE_INVALID) => Err(CKR_KEY_HANDLE_INVALID),
            Err(code) => Err(code),
        };
        code(self.session(session).and_then(|session| {
            if session.sign.is_some() {
                return Err(CKR_OPERATION_ACTIVE);
            }
            right.and_then(|()| begin(&mut session.sign, key))
        }))
    }

    pub(crate) fn update(&mut self, session: CK_SESSION_HANDLE, data: &[u8], sort: Sort) -> CK_RV {
        code(self.session(session).and_then(|session| {
            let operation = sort(session).0.as_mut().ok_or(CKR_OPERATION_NOT_INITIALIZED)?;
            operation.parts.get_or_insert_default().extend_from_slice(data);
            Ok(())
        }))
    }

    /// C_Digest or C_Sign into so much room; nothing in the answer where only the length was asked for.
    pub(crate) fn whole(
        &mut self,
        session: CK_SESSION_HANDLE,
        room: Option<usize>,
        data: &[u8],
        sort: Sort,
    ) -> Coded<Vec<u8>> {
        self.end(session, room, Some(data), sort)
    }

    /// C_DigestFinal or C_SignFinal.
    pub(crate) fn finish(
        &mut self,
        session: CK_SESSION_HANDLE,
        room: Option<usize>,
        sort: Sort,
    ) -> Coded<Vec<u8>> {
        self.end(session, room, None, sort)
    }

    fn end(
        &mut self,
        session: CK_SESSION_HANDLE,
        room: Option<usize>,
        whole: Option<&[u8]>,
        sort: Sort,
    ) -> Coded<Vec<u8>> {
        let key = sort(self.session(session)?).0.as_ref().map(|operation| operation.key);
        let key = key.ok_or(CKR_OPERATION_NOT_INITIALIZED)?;
        let gone = key != 0 && self.visible(session, key).is_err();
        let (place, make) = sort(self.session(session)?);
        let in_parts = place.as_ref().is_some_and(|operation| operation.parts.is_some());
        if whole.is_some() && in_parts {
            *place = None;
            return Err(CKR_OPERATION_ACTIVE);
        }
        match room {
            None => return Ok(Vec::new()),
            Some(room) if room < 32 => return Err(CKR_BUFFER_TOO_SMALL),
            Some(_) => {}
        }
        let parts = place.take().and_then(|operation| operation.parts).unwrap_or_default();
        if gone {
            return Err(CKR_KEY_HANDLE_INVALID);
        }
        Ok(make(whole.unwrap_or(&parts)))
    }
}

fn begin(place: &mut Option<Operation>, key: CK_OBJECT_HANDLE) -> Coded<()> {
    if place.is_some() {
        return Err(CKR_OPERATION_ACTIVE);
    }
    *place = Some(Operation { parts: None, key });
    Ok(())
}
