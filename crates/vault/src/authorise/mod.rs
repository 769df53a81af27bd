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

mod objects;
#[cfg(test)]
mod tests;

use cryptoki_sys::*;

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
    /// Copy an object; what the copy may be is [`Action::Create`]'s and
    /// [`attributes::copy`](crate::attributes::copy)'s to say.
    Copy(&'a Object),
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
    /// Decide for the cluster: join and cut-off policy, recovery keys, approval, its certificate.
    Govern,
    /// Keep the cluster going: members, secrets, failures that were counted apart.
    Maintain,
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
            Action::Copy(object) => self.owns(who, object),
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
            Action::Govern => {
                self.in_phase(Phase::Active)?;
                needs_role(who, Role::Admin)
            }
            Action::Maintain if *who != Principal::System => {
                Err(prohibited("only the cluster's HSMs do this"))
            }
            Action::Maintain if self.cluster.is_none() => {
                Err(prohibited("the cluster is not created yet"))
            }
            Action::Maintain => Ok(()),
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
