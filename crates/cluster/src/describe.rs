//! An applied entry in the words of the audit log: who did what to what.

use strongroom_store::audit::{ActorKind, ChangeRecord};
use strongroom_vault::limits::USER_NAME_CHARS_MAX;
use strongroom_vault::{Actor, Command, Entry, LogIndex, Outcome, Refusal, State};

/// What is known of an entry before it is applied: `state` still has the login that it may end.
pub(crate) fn before(state: &State, index: LogIndex, entry: &Entry) -> ChangeRecord {
    let (actor, login) = match entry.actor {
        Actor::System => (ActorKind::System, 0),
        Actor::Anonymous => (ActorKind::Anonymous, 0),
        Actor::Login(login) => (ActorKind::Login, login.0),
    };
    let user = match entry.actor {
        Actor::Login(login) => state.login(login).map_or(0, |login| login.user.0),
        Actor::System | Actor::Anonymous => 0,
    };
    let (handles, target_user) = targets(state, &entry.command);
    ChangeRecord {
        index: index.0,
        time_ms: entry.time_ms,
        actor: actor.into(),
        login,
        user,
        command: name(&entry.command).to_owned(),
        handles,
        target_user,
        result: 0,
    }
}

/// Adds what came of it.
pub(crate) fn after(record: &mut ChangeRecord, result: &Result<Outcome, Refusal>) {
    match result {
        Ok(Outcome::Created(handles)) => record.handles = handles.iter().map(|h| h.0).collect(),
        Ok(_) => {}
        Err(refusal) => record.result = refusal.ckr,
    }
}

/// A command's name in the audit log: part of the format, never changed.
fn name(command: &Command) -> &'static str {
    match command {
        Command::CreateCluster { .. } => "create-cluster",
        Command::InitialiseCluster { .. } => "initialise-cluster",
        Command::ActivateCluster { .. } => "activate-cluster",
        Command::InitToken { .. } => "init-token",
        Command::InitPin { .. } => "init-pin",
        Command::CreateUser { .. } => "create-user",
        Command::DeleteUser { .. } => "delete-user",
        Command::ChangePassword { .. } => "change-password",
        Command::ChargeLogin { .. } => "charge-login",
        Command::OpenLogin { .. } => "open-login",
        Command::RefundLogin { .. } => "refund-login",
        Command::CloseLogins { .. } => "close-logins",
        Command::CreateObjects { .. } => "create-objects",
        Command::DestroyObject { .. } => "destroy-object",
        Command::SetMeta { .. } => "set-meta",
    }
}

/// A name as the audit log keeps it. Who is not logged in may give any name, and must not fill the
/// disk with it; one that is too long shows that it is.
fn cut(name: &str) -> String {
    name.chars().take(USER_NAME_CHARS_MAX + 1).collect()
}

/// The objects and the user that a command is about.
fn targets(state: &State, command: &Command) -> (Vec<u64>, String) {
    match command {
        Command::CreateUser { name, .. }
        | Command::DeleteUser { name, .. }
        | Command::ChangePassword { name, .. }
        | Command::ChargeLogin { name, .. } => (Vec::new(), cut(name)),
        Command::OpenLogin { user, .. } | Command::RefundLogin { user, .. } => {
            (Vec::new(), state.user(*user).map(|user| user.name.clone()).unwrap_or_default())
        }
        Command::DestroyObject { handle } | Command::SetMeta { handle, .. } => {
            (vec![handle.0], String::new())
        }
        Command::CreateCluster { .. }
        | Command::InitialiseCluster { .. }
        | Command::ActivateCluster { .. }
        | Command::InitToken { .. }
        | Command::InitPin { .. }
        | Command::CloseLogins { .. }
        | Command::CreateObjects { .. } => (Vec::new(), String::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stranger_cannot_fill_the_audit_log_with_a_name() {
        assert_eq!(cut("crypto_user"), "crypto_user");
        assert_eq!(cut(&"ä".repeat(70_000)).chars().count(), USER_NAME_CHARS_MAX + 1);
    }
}
