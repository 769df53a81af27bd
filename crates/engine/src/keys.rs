//! New objects: generated, given by C_CreateObject, or unwrapped.
//!
//! A request becomes drafts by the vault's rules, keys by the mechanisms, and then token objects
//! (masked, proposed, durable) or session objects (in memory). A retry of a request whose reply was
//! lost finds what was made the first time, before any key is made again.

use cryptoki_sys::*;
use strongroom_crypto::mechanism::{RSA_BITS_MIN, RSA_BITS_MIN_TOKEN};
use strongroom_crypto::{Hash, Key, Kind, Mechanism, Params, Scheme, mechanism};
use strongroom_vault::attributes::{self, Attribute, Draft, Origin};
use strongroom_vault::{
    Action, Command, Flags, Handle, Meta, NewObject, Object, ObjectId, Outcome, Personality,
    Principal, UserId,
};
use strongroom_wire::message::{
    self, CreateObject, GenerateKey, GenerateKeyPair, ObjectReply, PairReply,
};

use crate::connection::Connection;
use crate::content::Content;
use crate::error::Error;
use crate::session::SessionObject;
use crate::{material, operations, parameters, template};

/// An object to be.
pub(crate) struct New {
    pub(crate) meta: Meta,
    pub(crate) key: Option<Key>,
    pub(crate) attributes: Vec<Attribute>,
}

impl Connection {
    /// C_GenerateKey.
    pub(crate) fn generate_key(&mut self, request: GenerateKey) -> Result<message::Outcome, Error> {
        let mechanism = self.generator(request.mechanism.as_ref(), CKF_GENERATE)?;
        if mechanism.operation == Kind::Pbkdf2 {
            return self.key_of_password(mechanism, request);
        }
        let mut draft = attributes::draft(
            Origin::Generate,
            self.personality(),
            Some(CKO_SECRET_KEY),
            mechanism.key_type,
            Some(mechanism.kind),
            &template::attributes(request.template)?,
        )?;
        if let Some(made) = self.made_before(&[&draft.meta])? {
            return object_reply(&made);
        }
        self.may_create(&draft.meta)?;
        let key_type = draft.meta.key_type.ok_or(Error::Bug("key type"))?;
        let length = material::value_length(key_type, &mut draft.given)?;
        self.engine.self_tested()?;
        let key = strongroom_crypto::generate_secret(material::stored_type(key_type), length)?;
        let made = self.make(vec![generated(draft, key)])?;
        object_reply(&made)
    }

    /// CKM_PKCS5_PBKD2. Who knows the password knows the key: it is no key that only the HSM has ever
    /// had.
    fn key_of_password(
        &mut self,
        mechanism: &Mechanism,
        mut request: GenerateKey,
    ) -> Result<message::Outcome, Error> {
        let mut given = template::attributes(request.template.take())?;
        material::generic_secret_unless_said(&mut given);
        let personality = self.personality();
        let mut draft = attributes::draft(
            Origin::Derive,
            personality,
            Some(CKO_SECRET_KEY),
            None,
            None,
            &given,
        )?;
        drop(given);
        if let Some(made) = self.made_before(&[&draft.meta])? {
            return object_reply(&made);
        }
        self.may_create(&draft.meta)?;
        let key_type = draft.meta.key_type.ok_or(Error::Bug("key type"))?;
        let length = material::value_length(key_type, &mut draft.given)?;
        if !(strongroom_crypto::mechanism::DERIVED_BYTES_MIN..=material::SECRET_BYTES_MAX)
            .contains(&length)
        {
            return Err(strongroom_crypto::Error::KeySize.into());
        }
        self.engine.self_tested()?;
        let parameter = request.mechanism.as_ref().and_then(|given| given.parameter.as_ref());
        let Params::Pbkdf2 { hash, password, salt, iterations } =
            parameters::read(mechanism, parameter)?
        else {
            return Err(Error::Bug("PBKDF2's parameter"));
        };
        let secret = strongroom_crypto::pbkdf2(hash, password, salt, iterations, length)?;
        let key = Key::from_secret(material::stored_type(key_type), secret.into_plain())?;
        let made = self.make(vec![generated(draft, key)])?;
        object_reply(&made)
    }

    /// C_GenerateKeyPair.
    pub(crate) fn generate_key_pair(
        &mut self,
        request: GenerateKeyPair,
    ) -> Result<message::Outcome, Error> {
        let mechanism = self.generator(request.mechanism.as_ref(), CKF_GENERATE_KEY_PAIR)?;
        let draft = |origin, class, template| -> Result<Draft, Error> {
            Ok(attributes::draft(
                origin,
                self.personality(),
                Some(class),
                mechanism.key_type,
                Some(mechanism.kind),
                &template::attributes(template)?,
            )?)
        };
        let mut public = draft(Origin::GeneratePublic, CKO_PUBLIC_KEY, request.public_template)?;
        let mut private =
            draft(Origin::GeneratePrivate, CKO_PRIVATE_KEY, request.private_template)?;
        if let Some(made) = self.made_before(&[&public.meta, &private.meta])? {
            return pair_reply(&made);
        }
        self.may_create(&public.meta)?;
        self.may_create(&private.meta)?;
        self.engine.self_tested()?;
        // All generators check the pair's consistency.
        let private_key =
            self.generate_private(mechanism, &mut public.given, &mut private.given)?;
        let public_key = private_key.public_key().ok_or(Error::Bug("no public half"))?;
        let made =
            self.make(vec![generated(public, public_key), generated(private, private_key)])?;
        pair_reply(&made)
    }

    /// The private key of a new pair, by what the templates say of it.
    fn generate_private(
        &self,
        mechanism: &Mechanism,
        public: &mut Vec<Attribute>,
        private: &mut Vec<Attribute>,
    ) -> Result<Key, Error> {
        let mut params = || template::require(public, CKA_EC_PARAMS, "CKA_EC_PARAMS");
        Ok(match mechanism.operation {
            Kind::GenerateRsa => generate_rsa(public, self.rsa_bits_min())?,
            Kind::GenerateEc => {
                let params = params()?;
                match Scheme::from_params(&params) {
                    // CloudHSM has them "hsm2m non-FIPS only; also CKK_EC, curve given by
                    // CKA_EC_PARAMS".
                    Some(Scheme::Ed25519) if !self.engine.identity.fips_mode => {
                        strongroom_crypto::generate_scheme(Scheme::Ed25519)?
                    }
                    _ => strongroom_crypto::generate_ec(material::curve(&params)?)?,
                }
            }
            Kind::GenerateEdwards | Kind::GenerateMontgomery => {
                let scheme = material::scheme_of_curve(mechanism.key_type, &params()?)?;
                strongroom_crypto::generate_scheme(scheme)?
            }
            Kind::GenerateMlDsa | Kind::GenerateMlKem => {
                let scheme = material::parameter_set(mechanism.key_type, public)?;
                // CloudHSM's programs say it in both templates.
                let same = template::take(private, CKA_PARAMETER_SET).is_none_or(|set| {
                    Some(&set[..])
                        == scheme.parameter_set().map(u64::to_le_bytes).as_ref().map(|set| &set[..])
                });
                if !same {
                    return Err(Error::caller(
                        CKR_TEMPLATE_INCONSISTENT,
                        "the templates say different CKA_PARAMETER_SETs",
                    ));
                }
                strongroom_crypto::generate_scheme(scheme)?
            }
            _ => return Err(Error::Bug("pair mechanism")),
        })
    }

    /// C_CreateObject.
    pub(crate) fn create_object(
        &mut self,
        request: CreateObject,
    ) -> Result<message::Outcome, Error> {
        let given = template::attributes(request.template)?;
        let draft =
            attributes::draft(Origin::Create, self.personality(), None, None, None, &given)?;
        drop(given);
        if let Some(made) = self.made_before(&[&draft.meta])? {
            return object_reply(&made);
        }
        self.may_create(&draft.meta)?;
        let Draft { mut meta, given: mut attributes } = draft;
        self.engine.self_tested()?;
        let key = material::imported(&meta, &mut attributes)?;
        match &key {
            Some(key) => describe(&mut meta, key),
            None if meta.class == CKO_CERTIFICATE => {
                // "CKA_CHECK_VALUE … the first three bytes of the SHA-1 hash of the certificate
                // object's CKA_VALUE attribute" (PKCS#11 2.40, 4.6.1).
                let value = attributes.iter().find(|attribute| attribute.kind == CKA_VALUE);
                meta.check_value =
                    value.and_then(|value| Hash::Sha1.digest(&value.value).first_chunk().copied());
            }
            None => {}
        }
        let made = self.make(vec![New { meta, key, attributes }])?;
        object_reply(&made)
    }

    /// The mechanism of a generation, which takes no parameter.
    fn generator(
        &self,
        given: Option<&message::Mechanism>,
        function: u64,
    ) -> Result<&'static Mechanism, Error> {
        let given = given.ok_or_else(|| Error::arguments("give a mechanism"))?;
        let mechanism = mechanism::find(given.kind)
            .filter(|found| {
                operations::offered(found, self.engine.identity.fips_mode) & function != 0
            })
            .ok_or_else(operations::mechanism_invalid)?;
        let params = parameters::read(mechanism, given.parameter.as_ref())?;
        if self.engine.identity.fips_mode {
            parameters::check_fips(&params)?;
        }
        Ok(mechanism)
    }

    /// Whether the vault would take such an object, before its key is made.
    pub(crate) fn may_create(&mut self, meta: &Meta) -> Result<(), Error> {
        self.may(&Action::Create { meta })
    }

    /// What a request for objects like these made when it was sent before, where it is a retry.
    pub(crate) fn made_before(&mut self, metas: &[&Meta]) -> Result<Option<Vec<Handle>>, Error> {
        let sequence = self.call.sequence;
        if sequence == 0 {
            return Ok(None);
        }
        let is_token: Vec<bool> =
            metas.iter().map(|meta| meta.flags.contains(Flags::TOKEN)).collect();
        let tokens = is_token.iter().filter(|token| **token).count();
        let other = || Error::arguments("this sequence was another request's");
        let token = match tokens {
            0 => Vec::new(),
            _ => match self.remembered()? {
                None => return Ok(None),
                Some(Outcome::Created(made)) if made.len() == tokens => made,
                Some(_) => return Err(other()),
            },
        };
        let session = if tokens == metas.len() {
            Vec::new()
        } else {
            match self.client()?.objects.made_for(sequence) {
                Some(made) if made.len() + tokens == metas.len() => made,
                Some(_) => return Err(other()),
                None if tokens == 0 => return Ok(None),
                None => {
                    return Err(Error::caller(
                        CKR_FUNCTION_FAILED,
                        "this pair was made, and its session half was lost with an HSM",
                    ));
                }
            }
        };
        self.hand_out_made(&session)?;
        interleave(&is_token, token, session).map(Some)
    }

    /// Makes an object of another's content. A token object's material is sealed again, under the
    /// new object's own key.
    pub(crate) fn make_of(&mut self, meta: Meta, content: &Content) -> Result<Handle, Error> {
        let key = content.key.as_ref().map(copy_of).transpose()?;
        let made = self.make(vec![New { meta, key, attributes: content.attributes.clone() }])?;
        made.first().copied().ok_or(Error::Bug("one handle expected"))
    }

    /// Makes objects: all or none. Handles come in the order of the objects.
    pub(crate) fn make(&mut self, objects: Vec<New>) -> Result<Vec<Handle>, Error> {
        self.check_sizes(&objects)?;
        let (domain, owner) = self.view(|state, who| {
            let owner = match who {
                Principal::User { user, .. } => *user,
                Principal::Anonymous | Principal::System => UserId(0),
            };
            Ok((state.masking_domain(), owner))
        })?;
        let mut is_token = Vec::with_capacity(objects.len());
        let mut contents = Vec::new();
        let (mut token, mut session) = (Vec::new(), Vec::new());
        for New { meta, key, attributes } in objects {
            let content = Content::new(&meta, key, attributes);
            is_token.push(meta.flags.contains(Flags::TOKEN));
            if meta.flags.contains(Flags::TOKEN) {
                let id = object_id()?;
                let blob = self.engine.masking.mask(&domain, id, &content)?;
                token.push(NewObject { id, owner, meta, blob });
                contents.push((id, content));
            } else {
                session.push(SessionObject {
                    object: Object {
                        handle: Handle(0),
                        id: ObjectId::default(),
                        owner,
                        version: 0,
                        meta,
                    },
                    session: self.call.session,
                    login: self.login_id(),
                    content,
                });
            }
        }
        let call = self.call;
        let store = &self.client()?.objects;
        let session = if session.is_empty() {
            Vec::new()
        } else {
            store.add(call.sequence, call.lowest_unanswered, session)?
        };
        if let Err(error) = self.hand_out_made(&session) {
            self.client()?.objects.unmake(call.sequence, &session);
            return Err(error);
        }
        if token.is_empty() {
            return interleave(&is_token, Vec::new(), session);
        }
        let token = match self.change(Command::CreateObjects { objects: token }) {
            Ok(Outcome::Created(made)) => made,
            Ok(_) => return Err(Error::Bug("creation")),
            Err(error) => {
                // Of a pair of which one half can't be made, none is.
                self.client()?.objects.unmake(call.sequence, &session);
                return Err(error);
            }
        };
        for (handle, (id, content)) in token.iter().zip(contents) {
            self.engine.contents.put(*handle, id, content);
        }
        interleave(&is_token, token, session)
    }
}

impl Connection {
    /// The smallest RSA modulus here, in bits.
    pub(crate) fn rsa_bits_min(&self) -> u32 {
        match self.personality() {
            Personality::Token if !self.engine.identity.fips_mode => RSA_BITS_MIN_TOKEN,
            Personality::Token | Personality::CloudHsm => RSA_BITS_MIN,
        }
    }

    /// Short RSA keys are for generic programs only.
    fn check_sizes(&self, objects: &[New]) -> Result<(), Error> {
        let least = self.rsa_bits_min();
        let short = |new: &New| {
            let rsa = new.meta.key_type == Some(CKK_RSA);
            rsa && new.key.as_ref().is_some_and(|key| key.size_bits() < least)
        };
        if objects.iter().any(short) {
            return Err(strongroom_crypto::Error::KeySize.into());
        }
        Ok(())
    }
}

fn generate_rsa(given: &mut Vec<Attribute>, bits_min: u32) -> Result<Key, Error> {
    let bits = template::require(given, CKA_MODULUS_BITS, "CKA_MODULUS_BITS")?;
    let bits = template::ulong(&bits, "CKA_MODULUS_BITS")?;
    let bits = u32::try_from(bits).unwrap_or(u32::MAX);
    if bits < bits_min {
        return Err(strongroom_crypto::Error::KeySize.into());
    }
    let exponent = template::require(given, CKA_PUBLIC_EXPONENT, "CKA_PUBLIC_EXPONENT")?;
    strongroom_crypto::generate_rsa(bits, &exponent).map_err(|error| match error {
        // The exponent comes in the template here, not as a parameter.
        strongroom_crypto::Error::ParameterInvalid => Error::caller(
            CKR_ATTRIBUTE_VALUE_INVALID,
            "CKA_PUBLIC_EXPONENT is odd and 65537 or more",
        ),
        error => error.into(),
    })
}

fn generated(draft: Draft, key: Key) -> New {
    let Draft { mut meta, given } = draft;
    describe(&mut meta, &key);
    New { meta, key: Some(key), attributes: given }
}

/// Metadata that follows from the key.
pub(crate) fn describe(meta: &mut Meta, key: &Key) {
    meta.size_bits = key.size_bits();
    meta.check_value = key.check_value();
}

/// Keys are not cloned by accident: this parses one again.
fn copy_of(key: &Key) -> Result<Key, Error> {
    Ok(Key::from_stored(key.kind(), key.to_stored().as_bytes())?)
}

fn object_id() -> Result<ObjectId, Error> {
    let mut id = ObjectId::default();
    strongroom_crypto::random(&mut id.0)?;
    Ok(id)
}

/// Handles in the order of their objects.
fn interleave(
    is_token: &[bool],
    token: Vec<Handle>,
    session: Vec<Handle>,
) -> Result<Vec<Handle>, Error> {
    let (mut token, mut session) = (token.into_iter(), session.into_iter());
    is_token
        .iter()
        .map(|is_token| if *is_token { token.next() } else { session.next() })
        .collect::<Option<_>>()
        .ok_or(Error::Bug("a handle is missing"))
}

pub(crate) fn object_reply(made: &[Handle]) -> Result<message::Outcome, Error> {
    match made {
        [handle] => Ok(message::Outcome::Object(ObjectReply { handle: handle.0 })),
        _ => Err(Error::Bug("one handle expected")),
    }
}

fn pair_reply(made: &[Handle]) -> Result<message::Outcome, Error> {
    match made {
        [public, private] => Ok(message::Outcome::Pair(PairReply {
            public_handle: public.0,
            private_handle: private.0,
        })),
        _ => Err(Error::Bug("two handles expected")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_come_in_the_order_of_their_objects() {
        let handles = interleave(&[false, true], vec![Handle(1)], vec![Handle(2)]).unwrap();
        assert_eq!(handles, [Handle(2), Handle(1)]);
        assert!(interleave(&[true, true], vec![Handle(1)], vec![Handle(2)]).is_err());
    }
}
