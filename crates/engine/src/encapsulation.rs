//! Keys that two sides share by a key encapsulation mechanism: C_EncapsulateKey and C_DecapsulateKey.
//!
//! Where the new key comes from nobody can say, so CKA_LOCAL, CKA_ALWAYS_SENSITIVE and
//! CKA_NEVER_EXTRACTABLE are false on both sides (PKCS#11 v3.2, 5.18.8 and 5.18.9).

use cryptoki_sys::*;
use strongroom_crypto::mechanism::DERIVED_BYTES_MIN;
use strongroom_crypto::{Key, SecretBytes};
use strongroom_vault::attributes::{self, Draft, Origin};
use strongroom_vault::{Flags, Handle};
use strongroom_wire::message::{
    DecapsulateKey, EncapsulateKey, EncapsulatedReply, Outcome, Template,
};

use crate::audit::Function;
use crate::connection::Connection;
use crate::error::Error;
use crate::keys::{self, New};
use crate::operations::{self, Purpose, kind, parameter};
use crate::{material, parameters, template};

const ENCAPSULATE: Purpose = operations::purpose(CKF_ENCAPSULATE, Flags::ENCAPSULATE);
const DECAPSULATE: Purpose = operations::purpose(CKF_DECAPSULATE, Flags::DECAPSULATE);

impl Connection {
    /// C_EncapsulateKey.
    pub(crate) fn encapsulate_key(&mut self, request: EncapsulateKey) -> Result<Outcome, Error> {
        let (handle, mechanism) = (request.handle, kind(request.mechanism.as_ref()));
        let result = self.encapsulate_unrecorded(request);
        self.record(Function::Encapsulate, handle, mechanism, result.as_ref().map(drop));
        result
    }

    fn encapsulate_unrecorded(&mut self, mut request: EncapsulateKey) -> Result<Outcome, Error> {
        let (mechanism, public) =
            self.key_for(ENCAPSULATE, request.handle, request.mechanism.as_ref())?;
        let params = parameters::read(mechanism, parameter(request.mechanism.as_ref()))?;
        let draft = self.shared_draft(request.template.take(), &[])?;
        if self.made_before(&[&draft.meta])?.is_some() {
            // The key is there, but what was lost with the answer can't be made again.
            return Err(Error::caller(
                CKR_FUNCTION_FAILED,
                "this key was made, and its ciphertext lost on the way: destroy it, begin again",
            ));
        }
        self.may_create(&draft.meta)?;
        let (secret, ciphertext) =
            strongroom_crypto::encapsulate(public.key()?, mechanism, &params)?;
        let handle = self.make_shared(draft, secret)?;
        Ok(Outcome::Encapsulated(EncapsulatedReply { handle, ciphertext }))
    }

    /// C_DecapsulateKey.
    pub(crate) fn decapsulate_key(&mut self, request: DecapsulateKey) -> Result<Outcome, Error> {
        let (handle, mechanism) = (request.handle, kind(request.mechanism.as_ref()));
        let result = self.decapsulate_unrecorded(request);
        self.record(Function::Decapsulate, handle, mechanism, result.as_ref().map(drop));
        result
    }

    fn decapsulate_unrecorded(&mut self, mut request: DecapsulateKey) -> Result<Outcome, Error> {
        let (mechanism, private) =
            self.key_for(DECAPSULATE, request.handle, request.mechanism.as_ref())?;
        let params = parameters::read(mechanism, parameter(request.mechanism.as_ref()))?;
        operations::check_length(&request.ciphertext, CKR_WRAPPED_KEY_LEN_RANGE)?;
        let inherited = {
            let private = self.object(Handle(request.handle))?;
            attributes::inherited(Origin::Derive, private.meta())
        };
        let draft = self.shared_draft(request.template.take(), &inherited)?;
        if let Some(made) = self.made_before(&[&draft.meta])? {
            return keys::object_reply(&made);
        }
        self.may_create(&draft.meta)?;
        let secret = strongroom_crypto::decapsulate(
            private.key()?,
            mechanism,
            &params,
            &request.ciphertext,
        )?;
        let handle = self.make_shared(draft, secret)?;
        Ok(Outcome::Object(strongroom_wire::message::ObjectReply { handle }))
    }

    fn shared_draft(
        &self,
        template: Option<Template>,
        inherited: &[attributes::Attribute],
    ) -> Result<Draft, Error> {
        let given = attributes::merge(&template::attributes(template)?, inherited)?;
        let personality = self.personality();
        let class = Some(CKO_SECRET_KEY);
        Ok(attributes::draft(Origin::Derive, personality, class, None, None, &given)?)
    }

    fn make_shared(&mut self, draft: Draft, mut secret: SecretBytes) -> Result<u64, Error> {
        let Draft { mut meta, given: mut attributes } = draft;
        let length = match template::take(&mut attributes, CKA_VALUE_LEN) {
            Some(length) => template::ulong(&length, "CKA_VALUE_LEN")?,
            None => secret.len() as u64,
        };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if !(DERIVED_BYTES_MIN..=secret.len()).contains(&length) {
            return Err(strongroom_crypto::Error::KeySize.into());
        }
        secret.truncate(length);
        let key_type = meta.key_type.ok_or(Error::Bug("key type"))?;
        let key = Key::from_secret(material::stored_type(key_type), secret.into_plain())?;
        keys::describe(&mut meta, &key);
        let made = self.make(vec![New { meta, key: Some(key), attributes }])?;
        made.first().map(|handle| handle.0).ok_or(Error::Bug("one handle expected"))
    }
}
