//! Who may do what.
//!
//! [`State::authorise`] runs when a change is proposed or a key is used, and again inside
//! [`State::apply`] on the entry's actor, so that what was allowed when it was proposed and is not
//! any more does not happen. It looks at roles, ownership and an object's attributes, never at
//! passwords: the engine has checked those before it opens a login.
//!
//! | | `cloudhsm` | `token` |
//! |---|---|---|
//! | crypto user | owns, sees and uses its objects; sees and uses all public keys | all objects |
//! | admin | sees all keys' metadata, uses none; users; CKA_TRUSTED | (SO) public objects; PINs |
//! | no login | sees and uses objects with CKA_PRIVATE false | the same, and makes and changes them |

use cryptoki_sys::*;

use crate::attributes::{self, Reading};
use crate::{
    Actor, Flags, LoginId, Meta, Object, Personality, Phase, Refusal, Role, State, User, UserId,
};

/// On whose authority something is done, with what the state knows of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Principal {
    /// The HSM itself, or its provisioner.
    System,
    /// A connection without a login.
    Anonymous,
    /// An open login.
    User {
        /// The login.
        login: LoginId,
        /// Whose it is.
        user: UserId,
        /// Under which role.
        role: Role,
    },
}

impl Principal {
    /// The user logged in; nobody without a login.
    #[must_use]
    pub fn user(&self) -> Option<UserId> {
        match self {
            Self::User { user, .. } => Some(*user),
            Self::System | Self::Anonymous => None,
        }
    }

    /// The role logged in under.
    #[must_use]
    pub fn role(&self) -> Option<Role> {
        match self {
            Self::User { role, .. } => Some(*role),
            Self::System | Self::Anonymous => None,
        }
    }
}

/// What somebody wants to do. Objects may be token objects or an engine's session objects.
#[derive(Clone, Copy, Debug)]
pub enum Action<'a> {
    /// Make an object with this metadata.
    Create {
        /// Of the object.
        meta: &'a Meta,
    },
    /// Know of an object: find it, read its attributes.
    See(&'a Object),
    /// Use a key in an operation that needs this flag (`Flags::SIGN`, …).
    Use {
        /// The key.
        object: &'a Object,
        /// Which flag.
        flag: Flags,
    },
    /// C_WrapKey.
    Wrap {
        /// The wrapping key.
        wrapping: &'a Object,
        /// The key to be wrapped.
        target: &'a Object,
    },
    /// Destroy an object.
    Destroy(&'a Object),
    /// Give an object other metadata.
    ChangeMeta {
        /// The object as it is.
        object: &'a Object,
        /// As it will be.
        new: &'a Meta,
    },
    /// Create and delete users (`cloudhsm`).
    ManageUsers,
    /// Give this user a new password.
    ChangePassword(&'a User),
    /// Set the user's PIN as SO (`token`).
    InitPin,
    /// Create the cluster, give it its owner.
    SetUp,
    /// Give the first admin its password.
    Activate,
    /// C_InitToken; whether the SO's PIN was right is in the command's epoch.
    InitToken,
    /// Try a password; open a login after the hash was right.
    LogIn,
    /// End a login of this user.
    CloseLogin(UserId),
}

impl State {
    /// Who stands behind an actor now.
    ///
    /// # Errors
    /// CKR_USER_NOT_LOGGED_IN where the login has ended: it was closed, the user was deleted, or the
    /// password changed.
    pub fn principal(&self, actor: Actor) -> Result<Principal, Refusal> {
        let id = match actor {
            Actor::System => return Ok(Principal::System),
            Actor::Anonymous => return Ok(Principal::Anonymous),
            Actor::Login(id) => id,
        };
        let login = self.login(id).ok_or_else(Refusal::login_ended)?;
        let user = self.user(login.user).filter(|user| user.epoch == login.epoch);
        let user = user.ok_or_else(Refusal::login_ended)?;
        Ok(Principal::User { login: id, user: user.id, role: user.role })
    }

    /// Whether `who` may see an object at all.
    pub(crate) fn sees(&self, who: &Principal, object: &Object) -> bool {
        if !object.meta.flags.contains(Flags::PRIVATE) {
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

    /// Whether `who` may do `action` in the present state.
    ///
    /// # Errors
    /// With the CKR_ code that PKCS#11 has for the case: CKR_USER_NOT_LOGGED_IN,
    /// CKR_OBJECT_HANDLE_INVALID or CKR_KEY_HANDLE_INVALID for what `who` may not see,
    /// CKR_KEY_FUNCTION_NOT_PERMITTED, CKR_KEY_UNEXTRACTABLE, CKR_KEY_NOT_WRAPPABLE,
    /// CKR_ACTION_PROHIBITED, CKR_ATTRIBUTE_READ_ONLY.
    pub fn authorise(&self, who: &Principal, action: &Action<'_>) -> Result<(), Refusal> {
        match action {
            Action::Create { meta } => self.may_create(who, meta),
            Action::See(object) if self.sees(who, object) => Ok(()),
            Action::See(_) => Err(Refusal::no_such_object()),
            Action::Use { object, flag } => self.may_use(who, object, *flag),
            Action::Wrap { wrapping, target } => self.may_wrap(who, wrapping, target),
            Action::Destroy(object) => {
                self.owns(who, object)?;
                if object.meta.flags.contains(Flags::DESTROYABLE) {
                    Ok(())
                } else {
                    Err(prohibited("the object's CKA_DESTROYABLE is false: it stays"))
                }
            }
            Action::ChangeMeta { object, new } => self.may_change(who, object, new),
            Action::ManageUsers => {
                self.in_personality(Personality::CloudHsm)?;
                needs_role(who, Role::Admin)
            }
            Action::ChangePassword(user) if who.user() == Some(user.id) => Ok(()),
            Action::ChangePassword(_) => {
                self.in_personality(Personality::CloudHsm)?;
                needs_role(who, Role::Admin)
            }
            Action::InitPin => {
                self.in_personality(Personality::Token)?;
                // PKCS#11, C_InitPIN: "can only be called in the 'R/W SO Functions' state. An
                // attempt to call C_InitPIN from a session in any other state fails with error
                // CKR_USER_NOT_LOGGED_IN."
                if who.role() == Some(Role::Admin) {
                    Ok(())
                } else {
                    Err(Refusal::new(CKR_USER_NOT_LOGGED_IN, "log in as the SO first"))
                }
            }
            Action::SetUp if *who == Principal::System => Ok(()),
            Action::SetUp => Err(prohibited("only the HSM's provisioner sets up a cluster")),
            Action::Activate => {
                self.in_personality(Personality::CloudHsm)?;
                self.in_phase(Phase::Initialized)
            }
            Action::InitToken => self.in_personality(Personality::Token),
            Action::LogIn => self.in_phase(Phase::Active),
            Action::CloseLogin(user) => {
                if *who == Principal::System || who.user() == Some(*user) {
                    Ok(())
                } else {
                    Err(prohibited("a login is ended by its own user"))
                }
            }
        }
    }

    fn may_create(&self, who: &Principal, meta: &Meta) -> Result<(), Refusal> {
        self.in_phase(Phase::Active)?;
        if meta.flags.contains(Flags::TRUSTED) && who.role() != Some(Role::Admin) {
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

    fn may_use(&self, who: &Principal, object: &Object, flag: Flags) -> Result<(), Refusal> {
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

    fn may_wrap(&self, who: &Principal, wrapping: &Object, target: &Object) -> Result<(), Refusal> {
        self.may_use(who, wrapping, Flags::WRAP)?;
        if !self.sees(who, target) {
            return Err(self.hidden_key(who));
        }
        // CloudHSM: who only shares a key may not wrap it.
        self.owns(who, target)?;
        let flags = target.meta.flags;
        if !flags.contains(Flags::EXTRACTABLE) {
            return Err(Refusal::new(
                CKR_KEY_UNEXTRACTABLE,
                "the key's CKA_EXTRACTABLE is false: it never leaves the HSM",
            ));
        }
        if flags.contains(Flags::WRAP_WITH_TRUSTED) && !wrapping.meta.flags.contains(Flags::TRUSTED)
        {
            return Err(Refusal::new(
                CKR_KEY_NOT_WRAPPABLE,
                "the key's CKA_WRAP_WITH_TRUSTED is true: wrap it by a key that an admin trusts",
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

    fn may_change(&self, who: &Principal, object: &Object, new: &Meta) -> Result<(), Refusal> {
        let admin = who.role() == Some(Role::Admin);
        if admin && self.personality() == Personality::CloudHsm {
            // It may only mark the key as trusted, which `check_change` sees to.
            self.authorise(who, &Action::See(object))?;
        } else {
            self.owns(who, object)?;
        }
        attributes::check_change(&object.meta, new, self.personality(), who)
    }

    /// Whether `who` may change and destroy an object: its owner; in personality `token` everybody
    /// who sees it (PKCS#11, R/W Public Session: "The application has read/write access to all
    /// public objects"; R/W User Functions: "to all objects").
    fn owns(&self, who: &Principal, object: &Object) -> Result<(), Refusal> {
        if !self.sees(who, object) {
            return Err(Refusal::no_such_object());
        }
        match self.personality() {
            Personality::Token => Ok(()),
            Personality::CloudHsm if who.user() == Some(object.owner) => Ok(()),
            Personality::CloudHsm if who.user().is_none() => Err(Refusal::not_logged_in()),
            Personality::CloudHsm => Err(prohibited("only the object's owner may do this")),
        }
    }

    pub(crate) fn in_phase(&self, phase: Phase) -> Result<(), Refusal> {
        if self.phase() == phase {
            return Ok(());
        }
        Err(match self.phase() {
            Phase::Uninitialized if self.personality() == Personality::Token => Refusal::new(
                CKR_USER_PIN_NOT_INITIALIZED,
                "the token is not initialised: call C_InitToken",
            ),
            Phase::Uninitialized => prohibited("the cluster is not initialised by its owner yet"),
            Phase::Initialized => prohibited("the cluster is not activated: `cluster activate`"),
            Phase::Active => prohibited("the cluster is active already"),
        })
    }

    pub(crate) fn in_personality(&self, personality: Personality) -> Result<(), Refusal> {
        if self.personality() == personality {
            return Ok(());
        }
        Err(Refusal::new(
            CKR_FUNCTION_NOT_SUPPORTED,
            match personality {
                Personality::CloudHsm => "a token of personality `token` has no such users",
                Personality::Token => "personality `cloudhsm` sets up tokens and users elsewhere",
            },
        ))
    }
}

fn needs_role(who: &Principal, role: Role) -> Result<(), Refusal> {
    match who.role() {
        Some(has) if has == role => Ok(()),
        None => Err(Refusal::not_logged_in()),
        Some(_) => Err(prohibited("only an admin may do this")),
    }
}

fn prohibited(why: &str) -> Refusal {
    Refusal::new(CKR_ACTION_PROHIBITED, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attributes::{Attribute, encode_template};
    use crate::testing::{World, aes, aes_with, ckr, public_key};
    use crate::{Command, Handle};

    const CLOUDHSM: Personality = Personality::CloudHsm;
    const TOKEN: Personality = Personality::Token;

    fn ask(world: &World, actor: Actor, action: Action<'_>) -> u64 {
        let who = world.state.principal(actor).expect("an open login");
        ckr(world.state.authorise(&who, &action))
    }

    fn found(world: &World, actor: Actor) -> Vec<Handle> {
        let who = world.state.principal(actor).expect("an open login");
        world.state.find(&who, &[], Handle(0)).map(|(object, _)| object.handle).collect()
    }

    fn object(world: &World, handle: Handle) -> &Object {
        world.state.object(handle).expect("an object")
    }

    #[test]
    fn a_cloudhsm_user_sees_and_uses_their_own_keys_and_all_public_ones() {
        let mut world = World::cloudhsm();
        let alice = world.crypto_user("alice");
        let bob = world.crypto_user("bob");
        let secret = world.object(alice, aes(CLOUDHSM));
        let public = world.object(alice, public_key(Flags::PRIVATE | Flags::VERIFY));
        assert_eq!(found(&world, alice), [secret, public]);
        assert_eq!(found(&world, bob), [public]);
        assert!(found(&world, Actor::Anonymous).is_empty());
        let (secret, public) = (object(&world, secret), object(&world, public));
        let sign = |object| Action::Use { object, flag: Flags::SIGN };
        let verify = |object| Action::Use { object, flag: Flags::VERIFY };
        assert_eq!(ask(&world, alice, sign(secret)), CKR_OK);
        assert_eq!(ask(&world, bob, sign(secret)), CKR_KEY_HANDLE_INVALID);
        assert_eq!(ask(&world, bob, verify(public)), CKR_OK);
        assert_eq!(ask(&world, Actor::Anonymous, sign(secret)), CKR_USER_NOT_LOGGED_IN);
        assert_eq!(ask(&world, alice, sign(public)), CKR_KEY_FUNCTION_NOT_PERMITTED);
        assert_eq!(ask(&world, bob, Action::Destroy(secret)), CKR_OBJECT_HANDLE_INVALID);
        assert_eq!(ask(&world, bob, Action::Destroy(public)), CKR_ACTION_PROHIBITED);
        assert_eq!(ask(&world, alice, Action::Destroy(secret)), CKR_OK);
    }

    #[test]
    fn a_cloudhsm_admin_sees_keys_and_uses_none() {
        let mut world = World::cloudhsm();
        let alice = world.crypto_user("alice");
        let key = world.object(alice, aes(CLOUDHSM));
        let admin = world.admin();
        assert_eq!(found(&world, admin), [key]);
        let key = object(&world, key);
        let used = ask(&world, admin, Action::Use { object: key, flag: Flags::SIGN });
        assert_eq!(used, CKR_KEY_FUNCTION_NOT_PERMITTED);
        assert_eq!(ask(&world, admin, Action::Destroy(key)), CKR_ACTION_PROHIBITED);
        let meta = aes(CLOUDHSM);
        assert_eq!(ask(&world, admin, Action::Create { meta: &meta }), CKR_ACTION_PROHIBITED);
        let mut renamed = key.meta.clone();
        renamed.label = b"mine".to_vec();
        let rename = Action::ChangeMeta { object: key, new: &renamed };
        assert_eq!(ask(&world, admin, rename), CKR_ATTRIBUTE_READ_ONLY);
    }

    #[test]
    fn only_an_admin_makes_a_key_trusted() {
        let mut world = World::cloudhsm();
        let alice = world.crypto_user("alice");
        let handle = world.object(alice, aes_with(CLOUDHSM, &[(CKA_WRAP, true)]));
        let admin = world.admin();
        let mut trusted = world.meta(handle);
        trusted.flags.set(Flags::TRUSTED, true);
        assert_eq!(ask(&world, alice, Action::Create { meta: &trusted }), CKR_ATTRIBUTE_READ_ONLY);
        let set = Command::SetMeta { handle, version: 1, meta: trusted.clone() };
        assert_eq!(ckr(world.apply(alice, set.clone())), CKR_ATTRIBUTE_READ_ONLY);
        world.must(admin, set);
        // Its owner cannot make it decrypt what it wraps.
        let mut decrypting = trusted;
        decrypting.flags.set(Flags::DECRYPT, true);
        let set = Command::SetMeta { handle, version: 2, meta: decrypting };
        assert_eq!(ckr(world.apply(alice, set)), CKR_ATTRIBUTE_READ_ONLY);
    }

    #[test]
    fn a_tokens_so_and_strangers_reach_public_objects_only() {
        let (mut world, so, user) = World::token();
        let secret = world.object(user, aes(TOKEN));
        let public = world.object(Actor::Anonymous, public_key(Flags::VERIFY));
        assert_eq!(found(&world, user), [secret, public]);
        for actor in [so, Actor::Anonymous] {
            assert_eq!(found(&world, actor), [public]);
            let (secret, public) = (object(&world, secret), object(&world, public));
            let used = ask(&world, actor, Action::Use { object: secret, flag: Flags::SIGN });
            assert_eq!(used, CKR_USER_NOT_LOGGED_IN);
            assert_eq!(ask(&world, actor, Action::Destroy(secret)), CKR_OBJECT_HANDLE_INVALID);
            assert_eq!(ask(&world, actor, Action::Destroy(public)), CKR_OK);
            let meta = aes(TOKEN);
            let created = ask(&world, actor, Action::Create { meta: &meta });
            assert_eq!(created, CKR_USER_NOT_LOGGED_IN);
        }
        assert_eq!(ask(&world, user, Action::Destroy(object(&world, public))), CKR_OK);
    }

    #[test]
    fn nothing_is_made_on_a_token_before_it_is_initialised() {
        let world = World::created(TOKEN);
        let meta = public_key(Flags::VERIFY);
        let created = ask(&world, Actor::Anonymous, Action::Create { meta: &meta });
        assert_eq!(created, CKR_USER_PIN_NOT_INITIALIZED);
    }

    #[test]
    fn a_key_leaves_only_wrapped_by_a_key_that_may() {
        let mut world = World::cloudhsm();
        let alice = world.crypto_user("alice");
        let bob = world.crypto_user("bob");
        let mut key = |flags: &[(u64, bool)]| {
            let handle = world.object(alice, aes_with(CLOUDHSM, flags));
            object(&world, handle).clone()
        };
        let plain = key(&[]);
        let kept = key(&[(CKA_EXTRACTABLE, false)]);
        let careful = key(&[(CKA_WRAP_WITH_TRUSTED, true)]);
        let wrapping = key(&[(CKA_WRAP, true)]);
        let mut trusted = wrapping.clone();
        trusted.meta.flags.set(Flags::TRUSTED, true);
        let wrap = |wrapping, target| ask(&world, alice, Action::Wrap { wrapping, target });
        assert_eq!(wrap(&wrapping, &plain), CKR_OK);
        assert_eq!(wrap(&plain, &plain), CKR_KEY_FUNCTION_NOT_PERMITTED);
        assert_eq!(wrap(&wrapping, &kept), CKR_KEY_UNEXTRACTABLE);
        assert_eq!(wrap(&wrapping, &careful), CKR_KEY_NOT_WRAPPABLE);
        assert_eq!(wrap(&trusted, &careful), CKR_OK);
        let action = Action::Wrap { wrapping: &wrapping, target: &plain };
        assert_eq!(ask(&world, bob, action), CKR_KEY_HANDLE_INVALID);
    }

    #[test]
    fn a_wrap_template_keeps_other_keys_in() {
        let mut world = World::cloudhsm();
        let alice = world.crypto_user("alice");
        let handle = world.object(alice, aes_with(CLOUDHSM, &[(CKA_WRAP, true)]));
        let plain = object(&world, handle).clone();
        let with = |template: &[Attribute]| {
            let mut wrapping = plain.clone();
            wrapping.meta.more.insert(CKA_WRAP_TEMPLATE, encode_template(template));
            wrapping
        };
        let wrap =
            |wrapping: &Object| ask(&world, alice, Action::Wrap { wrapping, target: &plain });
        assert_eq!(wrap(&with(&[Attribute::boolean(CKA_TOKEN, true)])), CKR_OK);
        assert_eq!(wrap(&with(&[])), CKR_OK);
        let session_keys = with(&[Attribute::boolean(CKA_TOKEN, false)]);
        assert_eq!(wrap(&session_keys), CKR_KEY_HANDLE_INVALID);
    }
}
