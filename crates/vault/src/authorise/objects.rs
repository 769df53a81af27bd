//! What may be done with objects: by roles, ownership, and the objects' own attributes.

use cryptoki_sys::*;

use super::{Action, Principal, prohibited};
use crate::attributes::{self, Attribute, Reading};
use crate::guard::{Guard, stands};
use crate::{Flags, Meta, Object, Personality, Phase, Refusal, Role, State};

impl State {
    /// What reading one attribute of an object gives to `who`, who may see the object.
    ///
    /// An admin of a CloudHSM sees every key and owns none: the value of one that is neither
    /// sensitive nor unextractable is still its owner's alone.
    #[must_use]
    pub fn read(&self, who: &Principal, object: &Object, kind: u64) -> Reading {
        match attributes::read(&object.meta, kind) {
            Reading::Body if !self.may_read(who, object, kind) => Reading::Sensitive,
            reading => reading,
        }
    }

    /// As [`attributes::matches`]: what `who` may not read matches nothing.
    #[must_use]
    pub fn matches(&self, who: &Principal, object: &Object, attribute: &Attribute) -> Option<bool> {
        attributes::matches(&object.meta, attribute)
            .or_else(|| (!self.may_read(who, object, attribute.kind)).then_some(false))
    }

    fn may_read(&self, who: &Principal, object: &Object, kind: u64) -> bool {
        !attributes::is_material(&object.meta, kind) || self.owns(who, object).is_ok()
    }

    /// Whether `who` may see an object at all.
    pub(crate) fn sees(&self, who: &Principal, object: &Object) -> bool {
        if !object.meta.flags.contains(Flags::PRIVATE) || !stands(Guard::Ownership) {
            return true;
        }
        match (self.personality(), who.role()) {
            (Personality::CloudHsm, Some(Role::Admin)) => object.meta.class != CKO_DATA,
            // CloudHSM: "Public keys are visible to all CUs."
            (Personality::CloudHsm, Some(Role::CryptoUser)) => {
                Some(object.owner) == who.user() || object.meta.class == CKO_PUBLIC_KEY
            }
            (Personality::Token, Some(Role::CryptoUser)) => true,
            // PKCS#11, R/W SO Functions: "The application has read/write access only to public
            // objects on the token, not to private objects."
            _ => false,
        }
    }

    pub(super) fn may_create(&self, who: &Principal, meta: &Meta) -> Result<(), Refusal> {
        self.in_phase(Phase::Active)?;
        let by_admin = who.role() == Some(Role::Admin) || !stands(Guard::TrustedByAdmin);
        if meta.flags.contains(Flags::TRUSTED) && !by_admin {
            return Err(Refusal::new(
                CKR_ATTRIBUTE_READ_ONLY,
                "CKA_TRUSTED is set to true by an admin, after the key is made",
            ));
        }
        let private = meta.flags.contains(Flags::PRIVATE);
        match (self.personality(), who.role()) {
            (_, Some(Role::CryptoUser)) => Ok(()),
            (Personality::CloudHsm, Some(_)) => {
                Err(prohibited("admins manage users; keys are made by crypto users"))
            }
            (Personality::CloudHsm, None) => Err(Refusal::not_logged_in()),
            (Personality::Token, _) if private || *who == Principal::System => {
                Err(Refusal::not_logged_in())
            }
            (Personality::Token, _) => Ok(()),
        }
    }

    pub(super) fn may_use(
        &self,
        who: &Principal,
        object: &Object,
        flag: Flags,
    ) -> Result<(), Refusal> {
        if !self.sees(who, object) {
            return Err(self.hidden_key(who));
        }
        let admin = who.role() == Some(Role::Admin);
        if admin && self.personality() == Personality::CloudHsm {
            return Err(Refusal::new(
                CKR_KEY_FUNCTION_NOT_PERMITTED,
                "admins manage users; keys are used by crypto users",
            ));
        }
        // Its wraps are as safe as it is useless for anything else: AES in counter mode, as an encryption
        // or a MAC, is the key stream under which CKM_AES_GCM wrapped.
        let other_use = flag != Flags::WRAP && flag != Flags::UNWRAP;
        if is_trusted_secret(object) && other_use && stands(Guard::TrustedUse) {
            return Err(Refusal::new(
                CKR_KEY_FUNCTION_NOT_PERMITTED,
                "the key's CKA_TRUSTED is true: it wraps and unwraps, and does nothing else",
            ));
        }
        if object.meta.flags.contains(flag) {
            Ok(())
        } else {
            Err(Refusal::new(
                CKR_KEY_FUNCTION_NOT_PERMITTED,
                "the key's attributes do not permit this use",
            ))
        }
    }

    /// Why a key that exists may not be used by somebody who doesn't see it.
    fn hidden_key(&self, who: &Principal) -> Refusal {
        match (self.personality(), who.role()) {
            (_, None) | (Personality::Token, _) => Refusal::not_logged_in(),
            _ => Refusal::new(
                CKR_KEY_HANDLE_INVALID,
                "no key has this handle, or it is not yours to use",
            ),
        }
    }

    pub(super) fn may_wrap(
        &self,
        who: &Principal,
        wrapping: &Object,
        target: &Object,
    ) -> Result<(), Refusal> {
        self.may_use(who, wrapping, Flags::WRAP)?;
        if !self.sees(who, target) {
            return Err(self.hidden_key(who));
        }
        // CloudHSM: who only shares a key may not wrap it.
        self.owns(who, target)?;
        let flags = target.meta.flags;
        if !flags.contains(Flags::EXTRACTABLE) && stands(Guard::Extractable) {
            return Err(Refusal::new(
                CKR_KEY_UNEXTRACTABLE,
                "the key's CKA_EXTRACTABLE is false: it never leaves the HSM",
            ));
        }
        let wants_trusted = flags.contains(Flags::WRAP_WITH_TRUSTED) || is_trusted_secret(target);
        if wants_trusted
            && !wrapping.meta.flags.contains(Flags::TRUSTED)
            && stands(Guard::WrapWithTrusted)
        {
            return Err(Refusal::new(
                CKR_KEY_NOT_WRAPPABLE,
                "the key's CKA_WRAP_WITH_TRUSTED or CKA_TRUSTED is true: wrap it by a key that an admin \
                 trusts",
            ));
        }
        let Reading::Value(template) = attributes::read(&wrapping.meta, CKA_WRAP_TEMPLATE) else {
            return Ok(());
        };
        // PKCS#11 v3.1, section 4.8: keys that do not match CKA_WRAP_TEMPLATE cannot be wrapped;
        // C_WrapKey then fails with CKR_KEY_HANDLE_INVALID. What only the sealed body could tell
        // does not match either.
        let template = attributes::decode_template(&template)?;
        let matches = |attribute| attributes::matches(&target.meta, attribute) == Some(true);
        if template.iter().all(matches) {
            Ok(())
        } else {
            Err(Refusal::new(
                CKR_KEY_HANDLE_INVALID,
                "the key does not match the wrapping key's CKA_WRAP_TEMPLATE",
            ))
        }
    }

    pub(super) fn may_change(
        &self,
        who: &Principal,
        object: &Object,
        new: &Meta,
    ) -> Result<(), Refusal> {
        let admin = who.role() == Some(Role::Admin);
        if admin && self.personality() == Personality::CloudHsm {
            // It may only mark the key as trusted, which `check_change` sees to.
            self.authorise(who, &Action::See(object))?;
        } else {
            self.owns(who, object)?;
        }
        attributes::check_change(&object.meta, new, self.personality(), who)
    }

    /// Whether `who` may change, copy and destroy an object: its owner; in personality `token` everybody
    /// who sees it (PKCS#11, R/W Public Session: "The application has read/write access to all
    /// public objects"; R/W User Functions: "to all objects").
    pub(super) fn owns(&self, who: &Principal, object: &Object) -> Result<(), Refusal> {
        if !self.sees(who, object) {
            return Err(Refusal::no_such_object());
        }
        match self.personality() {
            Personality::Token => Ok(()),
            Personality::CloudHsm if who.user() == Some(object.owner) => Ok(()),
            Personality::CloudHsm if !stands(Guard::Ownership) => Ok(()),
            Personality::CloudHsm if who.user().is_none() => Err(Refusal::not_logged_in()),
            Personality::CloudHsm => Err(prohibited("only the object's owner may do this")),
        }
    }
}

/// Whether it is a secret key that an admin trusts: what it wraps is as safe as it is.
fn is_trusted_secret(object: &Object) -> bool {
    object.meta.class == CKO_SECRET_KEY && object.meta.flags.contains(Flags::TRUSTED)
}
