//! Objects (PKCS#11 2.40, section 5.7).

use cryptoki_sys::*;
use strongroom_wire::limits::FIND_HANDLES_MAX;
use strongroom_wire::message::{
    self, CopyObject, CreateObject, DestroyObject, FindObjects, Operation, SetAttributes,
};

use crate::abi::raw::Array;
use crate::abi::template::{Template, Wanted};
use crate::error::{Ckr, Result};
use crate::module::{Module, narrow, wide};
use crate::operation::{self, Progress};
use crate::session::Session;
use crate::template::makes_token_object;

/// Refuses a template that makes a token object in a read-only session; remembers that the session
/// will have an object of its own otherwise.
pub(crate) fn admit(session: &Session, template: &message::Template) -> Result<()> {
    if makes_token_object(template) {
        session.must_write()
    } else {
        session.made_object();
        Ok(())
    }
}

/// C_CreateObject.
pub(crate) fn create(
    module: &Module,
    session: &Session,
    template: Template<'_>,
) -> Result<CK_OBJECT_HANDLE> {
    let template = template.to_wire()?;
    admit(session, &template)?;
    let request = Operation::CreateObject(CreateObject { template: Some(template) });
    module.hsm.object(session.handle, request).map(narrow)
}

/// C_CopyObject, which CloudHSM's module does not have. A template that says nothing of CKA_TOKEN
/// makes an object of the kind that is copied.
pub(crate) fn copy(
    module: &Module,
    session: &Session,
    object: CK_OBJECT_HANDLE,
    template: Template<'_>,
) -> Result<CK_OBJECT_HANDLE> {
    if module.is_cloudhsm() {
        return Err(Ckr(CKR_FUNCTION_NOT_SUPPORTED));
    }
    let handle = wide(object);
    let template = template.to_wire()?;
    if template.attributes.iter().any(|attribute| attribute.kind == wide(CKA_TOKEN)) {
        admit(session, &template)?;
    } else {
        may_change(module, session, handle)?;
        session.made_object();
    }
    let request = Operation::CopyObject(CopyObject { handle, template: Some(template) });
    module.hsm.object(session.handle, request).map(narrow)
}

/// C_GetObjectSize, which CloudHSM's module does not have. What an object takes in the HSM, masked
/// and replicated, is nothing that a program could use: of one that is there, the size is
/// CK_UNAVAILABLE_INFORMATION, as SoftHSM2 has it.
pub(crate) fn size(
    module: &Module,
    session: &Session,
    object: CK_OBJECT_HANDLE,
) -> Result<CK_ULONG> {
    if module.is_cloudhsm() {
        return Err(Ckr(CKR_FUNCTION_NOT_SUPPORTED));
    }
    module.hsm.attributes(session.handle, wide(object), vec![wide(CKA_CLASS)])?;
    Ok(CK_UNAVAILABLE_INFORMATION)
}

/// C_DestroyObject.
pub(crate) fn destroy(module: &Module, session: &Session, object: CK_OBJECT_HANDLE) -> Result<()> {
    let handle = wide(object);
    may_change(module, session, handle)?;
    module.keys.remove(handle);
    let answer =
        module.hsm.tell(session.handle, Operation::DestroyObject(DestroyObject { handle }));
    module.keys.remove(handle);
    answer
}

/// C_SetAttributeValue.
pub(crate) fn set_attributes(
    module: &Module,
    session: &Session,
    object: CK_OBJECT_HANDLE,
    template: Template<'_>,
) -> Result<()> {
    let handle = wide(object);
    let template = template.to_wire()?;
    if makes_token_object(&template) {
        session.must_write()?;
    }
    may_change(module, session, handle)?;
    let request = SetAttributes { handle, template: Some(template) };
    let answer = module.hsm.tell(session.handle, Operation::SetAttributes(request));
    module.keys.remove(handle);
    answer
}

/// A read-only session changes session objects only. The HSM doesn't know of read-only sessions,
/// so it is asked what the object is.
fn may_change(module: &Module, session: &Session, handle: u64) -> Result<()> {
    if session.read_write {
        return Ok(());
    }
    let answer = module.hsm.attributes(session.handle, handle, vec![wide(CKA_TOKEN)])?;
    let token = answer.iter().any(|reply| reply.value.first().is_some_and(|&on| on != 0));
    if token { session.must_write() } else { Ok(()) }
}

/// C_GetAttributeValue: one request, whatever the template's size.
pub(crate) fn get_attributes(
    module: &Module,
    session: &Session,
    object: CK_OBJECT_HANDLE,
    wanted: &mut Wanted<'_>,
) -> Result<()> {
    let kinds = wanted.kinds();
    if kinds.is_empty() {
        return Ok(());
    }
    let answers = module.hsm.attributes(session.handle, wide(object), kinds)?;
    let mut failures = Failures::default();
    for (index, answer) in answers.iter().enumerate() {
        match CK_RV::try_from(answer.status) {
            Ok(CKR_OK) => failures.note(wanted.give(index, &answer.value)),
            status => {
                wanted.withhold(index);
                failures.note(Err(Ckr(status.unwrap_or(CKR_DEVICE_ERROR))));
            }
        }
    }
    failures.result()
}

/// Which entries failed, and what the call returns for that: "If more than one case applies to the
/// call … then the call may return any of the error codes" (section 5.7). What can't be helped
/// goes before what a larger buffer helps.
#[derive(Default)]
struct Failures {
    sensitive: bool,
    other: Option<Ckr>,
    too_small: bool,
}

impl Failures {
    fn note(&mut self, result: Result<()>) {
        match result {
            Ok(()) => {}
            Err(Ckr(CKR_ATTRIBUTE_SENSITIVE)) => self.sensitive = true,
            Err(Ckr(CKR_BUFFER_TOO_SMALL)) => self.too_small = true,
            Err(other) => self.other = Some(other),
        }
    }

    fn result(self) -> Result<()> {
        match self {
            Self { sensitive: true, .. } => Err(Ckr(CKR_ATTRIBUTE_SENSITIVE)),
            Self { other: Some(other), .. } => Err(other),
            Self { too_small: true, .. } => Err(Ckr(CKR_BUFFER_TOO_SMALL)),
            _ => Ok(()),
        }
    }
}

/// A search under way.
pub(crate) struct Search {
    template: message::Template,
    /// Found and not yet given, the next one last.
    found: Vec<CK_OBJECT_HANDLE>,
    after: u64,
    more: bool,
}

impl Search {
    fn page(&mut self, module: &Module, session: u64) -> Result<()> {
        let request = FindObjects {
            template: Some(self.template.clone()),
            after: self.after,
            max: FIND_HANDLES_MAX as u32,
        };
        let page = module.hsm.find(session, request)?;
        // A page that brings nothing can't be followed by another.
        self.more = page.more && page.handles.last().is_some_and(|&last| last > self.after);
        self.after = page.handles.last().copied().unwrap_or(self.after);
        self.found = page.handles.into_iter().rev().map(narrow).collect();
        Ok(())
    }
}

/// C_FindObjectsInit: the first page is fetched at once, so that errors come here.
pub(crate) fn find_init(module: &Module, session: &Session, template: Template<'_>) -> Result<()> {
    operation::begin(&mut session.operations().search, || {
        let template = template.to_wire()?;
        let mut search = Search { template, found: Vec::new(), after: 0, more: false };
        search.page(module, session.handle)?;
        Ok(search)
    })
}

/// C_FindObjects.
pub(crate) fn find(
    module: &Module,
    session: &Session,
    out: &mut Array<'_, CK_OBJECT_HANDLE>,
) -> Result<CK_ULONG> {
    let mut given = 0;
    operation::step(&mut session.operations().search, |search| {
        while out.left() > 0 {
            if search.found.is_empty() {
                if !search.more {
                    break;
                }
                search.page(module, session.handle)?;
                continue;
            }
            let count = out.left().min(search.found.len());
            let mut batch = search.found.split_off(search.found.len() - count);
            batch.reverse();
            given += out.push(&batch);
        }
        Ok(Progress::GoesOn)
    })?;
    Ok(narrow(given as u64))
}

/// C_FindObjectsFinal.
pub(crate) fn find_final(session: &Session) -> Result<()> {
    operation::step(&mut session.operations().search, |_| Ok(Progress::Done))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{self, AES};
    use crate::lock::lock;

    fn template<T>(attributes: &mut [CK_ATTRIBUTE], body: impl FnOnce(Template<'_>) -> T) -> T {
        let count = attributes.len() as CK_ULONG;
        // SAFETY: live attributes with live values.
        body(unsafe { Template::new(attributes.as_ptr(), count) }.unwrap())
    }

    #[test]
    fn a_search_gives_all_pages_in_any_portions() {
        let (module, session, state) = fake::token();
        lock(&state).findable = (1..=8).collect();
        template(&mut [], |none| find_init(&module, &session, none)).unwrap();
        let again = template(&mut [], |none| find_init(&module, &session, none));
        assert_eq!(again, Err(Ckr(CKR_OPERATION_ACTIVE)));
        let mut all = Vec::new();
        loop {
            let mut places = [0; 5];
            // SAFETY: live places.
            let mut out = unsafe { Array::new(places.as_mut_ptr(), 5) }.unwrap();
            let count = find(&module, &session, &mut out).unwrap() as usize;
            all.extend_from_slice(&places[..count]);
            if count == 0 {
                break;
            }
        }
        assert_eq!(all, (1..=8).collect::<Vec<CK_OBJECT_HANDLE>>());
        assert_eq!(lock(&state).asked, ["find"; 3]);
        find_final(&session).unwrap();
        assert_eq!(find_final(&session), Err(Ckr(CKR_OPERATION_NOT_INITIALIZED)));
    }

    #[test]
    fn every_entry_is_filled_whatever_happens_to_the_others() {
        let (module, session, state) = fake::token();
        let mut class: CK_ULONG = 0;
        let mut small = [0u8; 1];
        let entry = |kind, value: *mut u8, length: usize| CK_ATTRIBUTE {
            type_: kind,
            pValue: value.cast(),
            ulValueLen: length as CK_ULONG,
        };
        let size = size_of::<CK_ULONG>();
        let mut entries = [
            entry(CKA_VALUE, small.as_mut_ptr(), 1),
            entry(0x8765_4321, std::ptr::null_mut(), 0),
            entry(CKA_KEY_TYPE, small.as_mut_ptr(), 1),
            entry(CKA_CLASS, (&raw mut class).cast(), size),
            entry(CKA_KEY_TYPE, std::ptr::null_mut(), 0),
        ];
        let read = |entries: &mut [CK_ATTRIBUTE]| {
            let count = entries.len() as CK_ULONG;
            // SAFETY: live entries with live values.
            let mut wanted = unsafe { Wanted::new(entries.as_mut_ptr(), count) }.unwrap();
            get_attributes(&module, &session, AES, &mut wanted)
        };
        assert_eq!(read(&mut entries), Err(Ckr(CKR_ATTRIBUTE_SENSITIVE)));
        let none = CK_UNAVAILABLE_INFORMATION;
        let size = size as CK_ULONG;
        assert_eq!(entries.map(|e| e.ulValueLen), [none, none, none, size, size]);
        assert_eq!(class, CKO_SECRET_KEY);
        assert_eq!(lock(&state).asked, ["attributes"]);
        assert_eq!(read(&mut entries[1..2]), Err(Ckr(CKR_ATTRIBUTE_TYPE_INVALID)));
        entries[2].ulValueLen = 1;
        assert_eq!(read(&mut entries[2..3]), Err(Ckr(CKR_BUFFER_TOO_SMALL)));
    }

    #[test]
    fn a_read_only_session_leaves_token_objects_as_they_are() {
        let (module, _, state) = fake::token();
        let reader = fake::open(&module, CKF_SERIAL_SESSION).unwrap();
        let reader = module.session(reader).unwrap();
        let refused = Err(Ckr(CKR_SESSION_READ_ONLY));
        assert_eq!(destroy(&module, &reader, AES), refused);
        let mut on = CK_TRUE;
        let mut token =
            [CK_ATTRIBUTE { type_: CKA_TOKEN, pValue: (&raw mut on).cast(), ulValueLen: 1 }];
        let made = template(&mut token, |token| create(&module, &reader, token));
        assert_eq!(made.map(drop), refused);
        let copied = template(&mut token, |token| copy(&module, &reader, AES, token));
        assert_eq!(copied.map(drop), refused);
        let copied = template(&mut [], |none| copy(&module, &reader, AES, none));
        assert_eq!(copied.map(drop), refused, "the copy of a token object is one");
        // To the fake, an object whose CKA_TOKEN is "forbidden" is a session object.
        lock(&state).forbidden.push(wide(CKA_TOKEN));
        assert_eq!(destroy(&module, &reader, AES), Ok(()));
        let copied = template(&mut [], |none| copy(&module, &reader, AES, none));
        assert_eq!(copied, Ok(fake::COPY));
    }

    #[test]
    fn a_read_only_session_copies_a_token_object_to_one_of_its_own_which_goes_with_it() {
        let (module, _, state) = fake::token();
        let reader = fake::open(&module, CKF_SERIAL_SESSION).unwrap();
        let session = module.session(reader).unwrap();
        let mut off = CK_FALSE;
        let mut own =
            [CK_ATTRIBUTE { type_: CKA_TOKEN, pValue: (&raw mut off).cast(), ulValueLen: 1 }];
        let copied = template(&mut own, |own| copy(&module, &session, AES, own));
        assert_eq!(copied, Ok(fake::COPY));
        let none = template(&mut own, |own| copy(&module, &session, 1, own));
        assert_eq!(none, Err(Ckr(CKR_OBJECT_HANDLE_INVALID)));
        crate::session::close(&module, reader).unwrap();
        assert_eq!(lock(&state).asked, ["copy", "close"]);
    }

    #[test]
    fn an_objects_size_is_told_as_unknown_where_there_is_one() {
        let (module, session, _) = fake::token();
        assert_eq!(size(&module, &session, AES), Ok(CK_UNAVAILABLE_INFORMATION));
        assert_eq!(size(&module, &session, 1), Err(Ckr(CKR_OBJECT_HANDLE_INVALID)));
    }

    #[test]
    fn a_program_for_cloudhsm_finds_no_copying() {
        let (module, state) = fake::module(message::Personality::CloudHsm);
        let session = fake::open(&module, CKF_SERIAL_SESSION | CKF_RW_SESSION).unwrap();
        let session = module.session(session).unwrap();
        let copied = template(&mut [], |none| copy(&module, &session, AES, none));
        assert_eq!(copied, Err(Ckr(CKR_FUNCTION_NOT_SUPPORTED)));
        assert!(lock(&state).asked.is_empty());
    }
}
