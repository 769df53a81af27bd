//! An applied entry in the words of the audit log: who did what to what.

use strongroom_store::audit::{ActorKind, ChangeRecord};
use strongroom_vault::limits::{HSM_ID_CHARS_MAX, USER_NAME_CHARS_MAX};
use strongroom_vault::{Actor, Command, Entry, LogIndex, NodeId, Outcome, Refusal, State};

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
        target_hsms: target_hsms(state, &entry.command),
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
        Command::AdoptLogin { .. } => "adopt-login",
        Command::SeeLogins { .. } => "see-logins",
        Command::RefundLogin { .. } => "refund-login",
        Command::CloseLogins { .. } => "close-logins",
        Command::CreateObjects { .. } => "create-objects",
        Command::DestroyObject { .. } => "destroy-object",
        Command::SetMeta { .. } => "set-meta",
        Command::AddMember { .. } => "add-member",
        Command::RequestJoin { .. } => "request-join",
        Command::ApproveJoin { .. } => "approve-join",
        Command::RemoveMember { .. } => "remove-member",
        Command::UpdateMember { .. } => "update-member",
        Command::SetJoinPolicy { .. } => "set-join-policy",
        Command::SetCutOffPolicy { .. } => "set-cut-off-policy",
        Command::SetRecoveryKeys { .. } => "set-recovery-keys",
        Command::RotateSecrets { .. } => "rotate-secrets",
        Command::Remask { .. } => "remask",
        Command::InstallClusterCertificate { .. } => "install-cluster-certificate",
        Command::MergeFailures { .. } => "merge-failures",
        Command::Recovered { .. } => "recovered",
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
        Command::OpenLogin { user, .. }
        | Command::AdoptLogin { user, .. }
        | Command::RefundLogin { user, .. } => {
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
        | Command::SeeLogins { .. }
        | Command::CreateObjects { .. } => (Vec::new(), String::new()),
        Command::Remask { objects } => {
            (objects.iter().map(|(handle, ..)| handle.0).collect(), String::new())
        }
        Command::AddMember { .. }
        | Command::RequestJoin { .. }
        | Command::ApproveJoin { .. }
        | Command::RemoveMember { .. }
        | Command::UpdateMember { .. }
        | Command::SetJoinPolicy { .. }
        | Command::SetCutOffPolicy { .. }
        | Command::SetRecoveryKeys { .. }
        | Command::RotateSecrets { .. }
        | Command::InstallClusterCertificate { .. }
        | Command::MergeFailures { .. }
        | Command::Recovered { .. } => (Vec::new(), String::new()),
    }
}

/// The HSMs that a command is about, by name: `state` still has those that it takes away.
fn target_hsms(state: &State, command: &Command) -> Vec<String> {
    let named = |node: &NodeId| state.member(*node).map(|member| member.hsm_id.clone());
    match command {
        Command::AddMember { member, .. } | Command::RequestJoin { member } => {
            vec![member.hsm_id.chars().take(HSM_ID_CHARS_MAX).collect()]
        }
        Command::ApproveJoin { fingerprint } => {
            let waiting = state.join_requests().find(|(waiting, _)| *waiting == fingerprint);
            waiting.map(|(_, request)| request.member.hsm_id.clone()).into_iter().collect()
        }
        Command::RemoveMember { node, .. } | Command::UpdateMember { node, .. } => {
            named(node).into_iter().collect()
        }
        Command::RotateSecrets { sealed, .. } => {
            sealed.iter().filter_map(|(node, _)| named(node)).collect()
        }
        Command::Recovered { members, .. } => members.iter().filter_map(named).collect(),
        _ => Vec::new(),
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
