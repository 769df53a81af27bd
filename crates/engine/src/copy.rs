//! Copies of objects (C_CopyObject), for personality `token`.
//!
//! A copy is a new object: its material is sealed again under an id of its own, and it belongs to who
//! copies. What it may be is the vault's to say ([`attributes::copy`]): never more than the object.

use strongroom_vault::{Action, Handle, Outcome, Personality, attributes};
use strongroom_wire::message::{self, CopyObject};

use crate::connection::Connection;
use crate::error::Error;
use crate::{keys, template};

impl Connection {
    /// C_CopyObject. CloudHSM has none, so a token for its programs has none either.
    pub(crate) fn copy_object(&mut self, request: CopyObject) -> Result<message::Outcome, Error> {
        self.only(Personality::Token, "a CloudHSM does not copy objects")?;
        if let Some(made) = self.copied_before()? {
            return keys::object_reply(&[made]);
        }
        let template = template::attributes(request.template)?;
        let personality = self.personality();
        let found = self.look_up(Handle(request.handle), |state, who, object| {
            state.authorise(who, &Action::Copy(object))?;
            let meta = attributes::copy(&object.meta, personality, who, &template)?;
            state.authorise(who, &Action::Create { meta: &meta })?;
            Ok(meta)
        });
        let (object, meta) = match found {
            Ok(found) => found,
            // The look for the object may have brought the state to where this request has run.
            Err(error) => match self.copied_before()? {
                Some(made) => return keys::object_reply(&[made]),
                None => return Err(error),
            },
        };
        self.engine.self_tested()?;
        let content = object.content(self)?;
        let made = self.make_of(meta, &content)?;
        keys::object_reply(&[made])
    }

    /// The copy that this request made when it was sent before. Found without the object, which may
    /// be gone since.
    fn copied_before(&mut self) -> Result<Option<Handle>, Error> {
        let sequence = self.call.sequence;
        if sequence == 0 {
            return Ok(None);
        }
        let made = match self.remembered()? {
            Some(Outcome::Created(made)) => made,
            Some(_) => Vec::new(),
            None => match self.client()?.objects.made_for(sequence) {
                Some(made) => {
                    self.hand_out_made(&made)?;
                    made
                }
                None => return Ok(None),
            },
        };
        match made[..] {
            [copy] => Ok(Some(copy)),
            _ => Err(Error::arguments("this sequence was another request's")),
        }
    }
}
