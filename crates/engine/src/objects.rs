//! Objects by handle: found, read, changed, destroyed.

use std::sync::Arc;

use cryptoki_sys::*;
use strongroom_vault::attributes::{self, Attribute, Reading};
use strongroom_vault::{Action, Command, Flags, Handle, Meta, Object, Principal, Refusal, State};
use strongroom_wire::limits;
use strongroom_wire::message::{
    AttributeReply, AttributesReply, DestroyObject, GetAttributes, Outcome, SetAttributes,
};
use strongroom_wire::vendor::CKA_STRONGROOM_OWNER;

use crate::connection::{Call, Connection};
use crate::content::Content;
use crate::error::Error;
use crate::keys;
use crate::session::{Kept, SessionObject};
use crate::template;

/// An object that the caller may see.
pub(crate) enum Seen {
    /// Of the vault, as it was when it was looked at.
    Token(Box<Object>),
    /// Of the client, in this HSM's memory.
    Session(Arc<SessionObject>),
}

impl Seen {
    pub(crate) fn record(&self) -> &Object {
        match self {
            Self::Token(object) => object,
            Self::Session(session) => &session.object,
        }
    }

    pub(crate) fn meta(&self) -> &Meta {
        &self.record().meta
    }

    /// What the object holds beside its metadata.
    pub(crate) fn content(&self, connection: &mut Connection) -> Result<Arc<Content>, Error> {
        match self {
            Self::Token(object) => {
                let domain = connection.glance(State::masking_domain);
                // The blob is there once what was seen of it is durable.
                connection.engine.wait(connection.saw)?;
                connection.engine.content(&domain, object)
            }
            Self::Session(session) => Ok(Arc::clone(&session.content)),
        }
    }
}

impl Connection {
    /// An object by its handle, if the caller may see it.
    ///
    /// # Errors
    /// CKR_OBJECT_HANDLE_INVALID.
    pub(crate) fn object(&mut self, handle: Handle) -> Result<Seen, Error> {
        let (object, ()) = self.look_up(handle, |state, who, object| {
            Ok(state.authorise(who, &Action::See(object))?)
        })?;
        Ok(object)
    }

    /// An object by its handle, and what `check` says of it. Both are of one moment: what is allowed
    /// is allowed of just this metadata. That there is no such object is said only after a look at
    /// everything committed so far: a key made a moment ago on another HSM is there.
    ///
    /// # Errors
    /// CKR_OBJECT_HANDLE_INVALID where there is none, or the check's.
    pub(crate) fn look_up<T>(
        &mut self,
        handle: Handle,
        check: impl Fn(&State, &Principal, &Object) -> Result<T, Error>,
    ) -> Result<(Seen, T), Error> {
        let handle = self.client()?.objects.resolve(handle);
        if handle.is_session() {
            let session = self.client()?.objects.get(handle);
            let session = session.filter(|session| session.is_for(self.login_id()));
            let session = session.ok_or_else(Refusal::no_such_object)?;
            let checked = self.view(|state, who| check(state, who, &session.object))?;
            return Ok((Seen::Session(session), checked));
        }
        let look = |state: &State, who: &Principal| match state.object(handle) {
            Some(object) => {
                let checked = check(state, who, object)?;
                Ok(Some((Seen::Token(Box::new(object.clone())), checked)))
            }
            None => Ok(None),
        };
        if let Some(found) = self.view(look)? {
            return Ok(found);
        }
        self.engine.read_barrier(self.call.seen)?;
        self.view(look)?.ok_or_else(|| Refusal::no_such_object().into())
    }

    /// C_GetAttributeValue.
    pub(crate) fn get_attributes(&mut self, request: &GetAttributes) -> Result<Outcome, Error> {
        if request.kinds.len() > limits::ATTRIBUTE_TYPES_MAX {
            return Err(Error::arguments(format!(
                "ask for at most {} attributes at once",
                limits::ATTRIBUTE_TYPES_MAX
            )));
        }
        let (object, readings) = self.look_up(Handle(request.handle), |state, who, object| {
            state.authorise(who, &Action::See(object))?;
            let readings = request.kinds.iter().map(|kind| state.read(who, object, *kind));
            Ok(readings.collect::<Vec<_>>())
        })?;
        let mut content = None;
        let mut bytes = 0;
        let mut attributes = Vec::with_capacity(request.kinds.len());
        for (kind, reading) in request.kinds.iter().zip(readings) {
            let (status, value) = match reading {
                _ if *kind == CKA_STRONGROOM_OWNER => (CKR_OK, self.owner_name(&object)),
                Reading::Value(value) => (CKR_OK, value),
                Reading::Sensitive => (CKR_ATTRIBUTE_SENSITIVE, Vec::new()),
                Reading::Invalid => (CKR_ATTRIBUTE_TYPE_INVALID, Vec::new()),
                Reading::Body => {
                    if content.is_none() {
                        content = Some(object.content(self)?);
                    }
                    match content.as_ref().and_then(|content| content.attribute(*kind)) {
                        Some(mut value) => (CKR_OK, std::mem::take(&mut *value)),
                        // The object has the attribute, and was given none.
                        None => (CKR_OK, Vec::new()),
                    }
                }
            };
            bytes += value.len();
            attributes.push(AttributeReply { kind: *kind, status, value });
            if bytes > limits::DATA_BYTES_MAX {
                return Err(Error::arguments("ask for fewer attributes at once"));
            }
        }
        Ok(Outcome::Attributes(AttributesReply { attributes }))
    }

    /// The name of an object's owner. A user who owns objects cannot be deleted, so there is one
    /// unless the object has gone meanwhile.
    fn owner_name(&mut self, object: &Seen) -> Vec<u8> {
        let owner = object.record().owner;
        self.glance(|state| state.user(owner).map(|user| user.name.clone().into_bytes()))
            .unwrap_or_default()
    }

    /// C_SetAttributeValue. The answer carries a handle only where a session object became a token
    /// object: the old handle goes on working for this client.
    pub(crate) fn set_attributes(
        &mut self,
        request: SetAttributes,
    ) -> Result<Option<Outcome>, Error> {
        let template = template::attributes(request.template)?;
        let object = match self.object(Handle(request.handle)) {
            // The look for the object may have brought the state to where this request has run.
            Err(_) if self.already_done()? => return Ok(None),
            object => object?,
        };
        match object {
            Seen::Token(object) => {
                if !self.already_done()? {
                    self.set_token_attributes(&object, &template)?;
                } else if Handle(request.handle).is_session() {
                    // The request has made it the token object that it is.
                    self.hand_out_made(&[Handle(request.handle)])?;
                    return keys::object_reply(&[object.handle]).map(Some);
                }
                Ok(None)
            }
            Seen::Session(session) => {
                let becomes_token =
                    template.iter().any(|a| a.kind == CKA_TOKEN && a.as_boolean() == Some(true));
                if becomes_token {
                    if template.iter().any(|a| a.kind == CKA_TOKEN && a.as_boolean() != Some(true))
                    {
                        return Err(Error::caller(
                            CKR_TEMPLATE_INCONSISTENT,
                            "CKA_TOKEN can't be true and something else",
                        ));
                    }
                    return self.keep(&session, template).map(Some);
                }
                self.set_session_attributes(&session, &template)?;
                Ok(None)
            }
        }
    }

    fn set_token_attributes(
        &mut self,
        object: &Object,
        template: &[Attribute],
    ) -> Result<(), Error> {
        let meta = self.changed(object, template)?;
        if meta == object.meta {
            return Ok(());
        }
        let (handle, version) = (object.handle, object.version);
        self.change(Command::SetMeta { handle, version, meta })?;
        Ok(())
    }

    fn set_session_attributes(
        &mut self,
        session: &Arc<SessionObject>,
        template: &[Attribute],
    ) -> Result<(), Error> {
        let meta = self.changed(&session.object, template)?;
        let after = SessionObject {
            object: Object { version: session.object.version + 1, meta, ..session.object.clone() },
            session: session.session,
            login: session.login,
            content: Arc::clone(&session.content),
        };
        let after = Arc::new(after);
        self.hand_out(&Kept::Object(Arc::clone(&after)))?;
        if self.client()?.objects.replace(session, after) {
            Ok(())
        } else {
            Err(Error::caller(CKR_FUNCTION_FAILED, "the object changed meanwhile; try again"))
        }
    }

    /// The metadata after a change that the caller may make.
    fn changed(&mut self, object: &Object, template: &[Attribute]) -> Result<Meta, Error> {
        let personality = self.personality();
        self.view(|state, who| {
            let new = attributes::change(&object.meta, personality, who, template)?;
            state.authorise(who, &Action::ChangeMeta { object, new: &new })?;
            Ok(new)
        })
    }

    /// CKA_TOKEN from false to true: the session object becomes a token object.
    fn keep(
        &mut self,
        session: &Arc<SessionObject>,
        mut template: Vec<Attribute>,
    ) -> Result<Outcome, Error> {
        template.retain(|attribute| attribute.kind != CKA_TOKEN);
        let mut meta = self.changed(&session.object, &template)?;
        if !session.object.meta.flags.contains(Flags::MODIFIABLE) {
            return Err(Error::caller(
                CKR_ACTION_PROHIBITED,
                "the object's CKA_MODIFIABLE is false: it does not change",
            ));
        }
        meta.flags.set(Flags::TOKEN, true);
        // Another HSM may have made it, which does not show in the object that the client restored.
        let made = match self.made_before(&[&meta])?.as_deref() {
            Some(&[made]) => made,
            Some(_) => return Err(Error::Bug("one handle expected")),
            None => {
                self.may_create(&meta)?;
                self.make_of(meta, &session.content)?
            }
        };
        let became = self.client()?.objects.became(session, made);
        self.hand_out(&Kept::Became(became))?;
        keys::object_reply(&[made])
    }

    /// C_DestroyObject.
    pub(crate) fn destroy_object(&mut self, request: &DestroyObject) -> Result<(), Error> {
        let handle = self.client()?.objects.resolve(Handle(request.handle));
        if !handle.is_session() && self.already_done()? {
            return Ok(());
        }
        let Call { sequence, lowest_unanswered, .. } = self.call;
        let object = match self.object(handle) {
            Err(_) if handle.is_session() && self.client()?.objects.destroyed_by(sequence) => {
                return Ok(());
            }
            // The look for the object may have brought the state to where this request has run.
            Err(_) if !handle.is_session() && self.already_done()? => return Ok(()),
            object => object?,
        };
        self.may(&Action::Destroy(object.record()))?;
        match object {
            Seen::Token(object) => {
                self.change(Command::DestroyObject { handle })?;
                self.engine.contents.drop_object(object.id);
            }
            Seen::Session(_) => {
                if !self.client()?.objects.destroy(handle, sequence, lowest_unanswered) {
                    return Err(Refusal::no_such_object().into());
                }
            }
        }
        self.hot.forget(handle);
        Ok(())
    }

    /// C_CloseSession: "all session objects created by the session are destroyed" (PKCS#11 2.40,
    /// 5.6).
    pub(crate) fn close_session(&mut self) {
        let session = self.call.session;
        if let Some(client) = &self.client {
            client.objects.destroy_where(|object| object.session == session);
        }
    }
}

/// Whether the caller may see a key; else why not, in the words of the use that it is wanted for.
pub(crate) fn see_for_use(
    state: &State,
    who: &Principal,
    object: &Object,
    flag: Flags,
) -> Result<(), Error> {
    let Err(hidden) = state.authorise(who, &Action::See(object)) else { return Ok(()) };
    state.authorise(who, &Action::Use { object, flag })?;
    Err(hidden.into())
}
