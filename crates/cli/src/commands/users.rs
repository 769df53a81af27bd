//! `user …`

use serde_json::{Value, json};
use strongroom_wire::message::{
    ChangePassword, CreateUser, DeleteUser, ListUsers, Operation, Outcome, Role,
};

use super::Session;
use crate::error::Error;
use crate::grammar::{Credentials, Password, UserArg};

/// A role's name in the output.
fn role_name(role: Role) -> &'static str {
    match role {
        Role::CryptoUser => "crypto-user",
        Role::Admin => "admin",
        Role::UnactivatedAdmin => "unactivated-admin",
        Role::ApplianceUser => "internal(APPLIANCE_USER)",
        Role::Unspecified => "unknown",
    }
}

/// The user that a command was about.
pub(super) fn shown(user: &UserArg) -> Value {
    json!({ "username": user.username, "role": role_name(user.role.wire()) })
}

pub(super) fn list(session: &mut Session) -> Result<Value, Error> {
    let Some(Outcome::Users(reply)) = session.backend.call(Operation::ListUsers(ListUsers {}))?
    else {
        return Err(Error::Answer("ListUsers"));
    };
    let users: Vec<Value> = reply
        .users
        .iter()
        .map(|user| {
            json!({
                "username": user.user,
                "role": role_name(user.role()),
                // CloudHSM has three answers, so it is a string.
                "locked": if user.locked { "true" } else { "false" },
                "mfa": [],
                "cluster-coverage": "full"
            })
        })
        .collect();
    Ok(json!({ "users": users }))
}

pub(super) fn create(
    session: &mut Session,
    Credentials { user, .. }: &Credentials,
    password: &Password,
) -> Result<Value, Error> {
    session.backend.call(Operation::CreateUser(CreateUser {
        user: user.username.clone(),
        role: user.role.wire().into(),
        password: password.as_bytes().to_vec(),
    }))?;
    Ok(shown(user))
}

pub(super) fn change_password(
    session: &mut Session,
    Credentials { user, .. }: &Credentials,
    password: &Password,
) -> Result<Value, Error> {
    session.backend.call(Operation::ChangePassword(ChangePassword {
        user: user.username.clone(),
        role: user.role.wire().into(),
        password: password.as_bytes().to_vec(),
        old_password: None,
    }))?;
    Ok(shown(user))
}

pub(super) fn delete(session: &mut Session, user: &UserArg) -> Result<Value, Error> {
    session.backend.call(Operation::DeleteUser(DeleteUser {
        user: user.username.clone(),
        role: user.role.wire().into(),
    }))?;
    Ok(shown(user))
}
