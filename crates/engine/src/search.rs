//! C_FindObjects: token objects and the client's session objects, in pages.
//!
//! Handles of session objects are above all others, so a page is token objects first. What the vault
//! can't decide from metadata is compared with the unsealed content; an attribute that may not be
//! read matches nothing.

use std::sync::Arc;

use strongroom_vault::attributes::{self, Attribute, Reading};
use strongroom_vault::{Action, Handle, Meta, Object, Principal, State};
use strongroom_wire::limits;
use strongroom_wire::message::{FindObjects, FoundReply, Outcome};
use subtle::ConstantTimeEq;

use crate::connection::Connection;
use crate::content::Content;
use crate::error::Error;
use crate::objects::Seen;
use crate::template;

/// Objects unsealed for one request before it answers with what it has.
const UNSEALED_MAX: usize = 1024;

/// Objects looked at before the state may change again: under a millisecond's worth.
const LOOKS_MAX: usize = 4096;

/// A page that is being filled.
struct Page {
    handles: Vec<u64>,
    max: usize,
    /// Where to go on.
    after: Handle,
    unsealed: usize,
}

impl Page {
    /// One more than asked for, to know whether there is more.
    fn is_full(&self) -> bool {
        self.handles.len() > self.max
    }
}

impl Connection {
    /// C_FindObjects.
    pub(crate) fn find_objects(&mut self, request: FindObjects) -> Result<Outcome, Error> {
        let template = template::attributes(request.template)?;
        let max = (request.max as usize).clamp(1, limits::FIND_HANDLES_MAX);
        let after = Handle(request.after);
        if after == Handle(0) {
            // What a search does not find is missing: so it begins with everything committed so far.
            self.engine.read_barrier(self.call.seen)?;
        }
        let mut page = self.page(&template, after, max)?;
        let more = page.is_full() || page.unsealed >= UNSEALED_MAX;
        page.handles.truncate(max);
        Ok(Outcome::Found(FoundReply { handles: page.handles, more }))
    }

    fn page(&mut self, template: &[Attribute], after: Handle, max: usize) -> Result<Page, Error> {
        let mut page = Page { handles: Vec::new(), max, after, unsealed: 0 };
        if !after.is_session() {
            self.find_token_objects(template, &mut page)?;
        }
        // Where the budget ran out among the token objects the page ends there.
        if !page.is_full() && page.unsealed < UNSEALED_MAX {
            self.find_session_objects(template, after, &mut page)?;
        }
        Ok(page)
    }

    fn find_token_objects(&mut self, template: &[Attribute], page: &mut Page) -> Result<(), Error> {
        loop {
            // Steps, so that no seal is opened under the state's lock, and no change waits for long.
            let after = page.after;
            let wanted = page.max + 1 - page.handles.len();
            let (found, next) = self.view(|state, who| {
                let (found, next) = state.find_step(who, template, after, wanted, LOOKS_MAX);
                let found = found.into_iter();
                let found: Vec<(Handle, Option<Box<Object>>)> = found
                    .map(|(object, body)| (object.handle, body.then(|| Box::new(object.clone()))))
                    .collect();
                Ok((found, next))
            })?;
            for (handle, undecided) in found {
                if let Some(object) = undecided {
                    page.unsealed += 1;
                    if !self.content_matches(&Seen::Token(object), template)? {
                        continue;
                    }
                }
                page.handles.push(handle.0);
            }
            // A page that ends for its cost must hold a handle to go on from.
            let spent = page.unsealed >= UNSEALED_MAX && !page.handles.is_empty();
            let Some(next) = next else {
                // Nothing follows among the token objects: the cost no longer matters.
                page.unsealed = 0;
                return Ok(());
            };
            page.after = next;
            if page.is_full() || spent {
                return Ok(());
            }
        }
    }

    fn find_session_objects(
        &mut self,
        template: &[Attribute],
        after: Handle,
        page: &mut Page,
    ) -> Result<(), Error> {
        let login = self.login_id();
        let mut objects = self.client()?.objects.after(after);
        objects.retain(|object| object.is_for(login));
        let candidates: Vec<Option<bool>> = self.view(|state, who| {
            Ok(objects
                .iter()
                .map(|session| match decide(state, who, &session.object, template) {
                    Some(false) => Some(false),
                    _ if state.authorise(who, &Action::See(&session.object)).is_err() => {
                        Some(false)
                    }
                    decided => decided,
                })
                .collect())
        })?;
        for (session, decided) in objects.iter().zip(candidates) {
            if page.is_full() {
                break;
            }
            let Object { handle, meta, .. } = &session.object;
            if decided.unwrap_or_else(|| content_equals(meta, &session.content, template)) {
                page.handles.push(handle.0);
            }
        }
        Ok(())
    }

    fn content_matches(&mut self, object: &Seen, template: &[Attribute]) -> Result<bool, Error> {
        let content: Arc<Content> = match object.content(self) {
            Ok(content) => content,
            // Destroyed since it was found.
            Err(error) if error.ckr() == cryptoki_sys::CKR_OBJECT_HANDLE_INVALID => {
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        Ok(content_equals(object.meta(), &content, template))
    }
}

/// Whether an object matches a template, as far as `who` may know; `None` where the content decides.
fn decide(state: &State, who: &Principal, object: &Object, template: &[Attribute]) -> Option<bool> {
    let mut undecided = false;
    for attribute in template {
        match state.matches(who, object, attribute) {
            Some(true) => {}
            Some(false) => return Some(false),
            None => undecided = true,
        }
    }
    if undecided { None } else { Some(true) }
}

/// Whether the content has what metadata could not decide.
fn content_equals(meta: &Meta, content: &Content, template: &[Attribute]) -> bool {
    template.iter().all(|attribute| match attributes::read(meta, attribute.kind) {
        Reading::Body => {
            let value = content.attribute(attribute.kind);
            let value = value.as_ref().map_or(&[][..], |value| value.as_slice());
            value.ct_eq(&attribute.value).into()
        }
        Reading::Value(_) => true,
        Reading::Sensitive | Reading::Invalid => false,
    })
}
