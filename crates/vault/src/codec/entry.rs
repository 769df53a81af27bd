//! Entries of the log.
//!
//! Ranges of fields (a name's length, a label's) are not checked here: `apply` does, and refuses, so
//! that the client learns of it. An entry that could not be decoded after it was agreed would stop
//! every HSM. Memory is bounded by the entry's own length.

use super::{Error, cluster, messages, meta, open_format, seal_format};
use crate::limits::ENTRY_BYTES_MAX;
use crate::{
    Actor, ClientId, Command, Entry, Handle, LoginId, NewObject, ObjectId, PasswordVerifier,
    Personality, Role, User, UserId,
};

/// An entry as bytes.
#[must_use]
pub fn encode_entry(entry: &Entry) -> Vec<u8> {
    let (actor, login) = match entry.actor {
        Actor::System => (1, 0),
        Actor::Anonymous => (2, 0),
        Actor::Login(login) => (3, login.0),
    };
    seal_format(&messages::Entry {
        time_ms: entry.time_ms,
        client: entry.client.0.to_vec(),
        sequence: entry.sequence,
        lowest_unanswered: entry.lowest_unanswered,
        actor,
        login,
        command: Some(command_to(&entry.command)),
    })
}

/// An entry from bytes.
///
/// # Errors
/// [`Error::UnknownCommand`] where a newer build wrote it; else where the bytes are no entry.
pub fn decode_entry(bytes: &[u8]) -> Result<Entry, Error> {
    let message: messages::Entry = open_format(bytes, ENTRY_BYTES_MAX)?;
    let actor = match message.actor {
        1 => Actor::System,
        2 => Actor::Anonymous,
        3 => Actor::Login(LoginId(message.login)),
        _ => return Err(Error::Invalid("actor")),
    };
    Ok(Entry {
        time_ms: message.time_ms,
        client: ClientId::from_slice(&message.client).ok_or(Error::Invalid("client"))?,
        sequence: message.sequence,
        lowest_unanswered: message.lowest_unanswered,
        actor,
        command: command_from(message.command.ok_or(Error::UnknownCommand)?)?,
    })
}

fn command_to(command: &Command) -> messages::Command {
    use messages::Command as To;
    match command {
        Command::CreateCluster { masking_domain, cluster_id, personality, join_policy } => {
            To::CreateCluster(messages::CreateCluster {
                masking_domain: masking_domain.to_vec(),
                cluster_id: cluster_id.clone(),
                personality: personality_to(*personality),
                join_policy: Some(cluster::policy_to(*join_policy)),
            })
        }
        Command::InitialiseCluster { cluster_certificate, trust_anchor } => {
            To::InitialiseCluster(messages::InitialiseCluster {
                cluster_certificate: cluster_certificate.clone(),
                trust_anchor: trust_anchor.clone(),
            })
        }
        Command::ActivateCluster { verifier } => To::ActivateCluster(verifier_to(verifier)),
        Command::InitToken { label, so_verifier, so_epoch } => To::InitToken(messages::InitToken {
            label: label.clone(),
            so_verifier: Some(verifier_to(so_verifier)),
            so_epoch: *so_epoch,
        }),
        Command::InitPin { verifier } => To::InitPin(verifier_to(verifier)),
        Command::CreateUser { name, role, verifier } => {
            To::CreateUser(named(name, *role, Some(verifier)))
        }
        Command::DeleteUser { name, role } => To::DeleteUser(named(name, *role, None)),
        Command::ChangePassword { name, role, verifier } => {
            To::ChangePassword(named(name, *role, Some(verifier)))
        }
        Command::ChargeLogin { name, role } => To::ChargeLogin(named(name, *role, None)),
        Command::OpenLogin { user, epoch, client_key } => To::OpenLogin(messages::Login {
            user: user.0,
            epoch: *epoch,
            client_key: client_key.to_vec(),
            ..messages::Login::default()
        }),
        Command::AdoptLogin { login, user, epoch, client_key } => To::AdoptLogin(messages::Login {
            user: user.0,
            epoch: *epoch,
            client_key: client_key.to_vec(),
            id: login.0,
            ..messages::Login::default()
        }),
        Command::SeeLogins { logins } => To::SeeLogins(messages::Numbers {
            numbers: logins.iter().map(|login| login.0).collect(),
        }),
        Command::RefundLogin { user, epoch } => {
            To::RefundLogin(messages::UserEpoch { user: user.0, epoch: *epoch })
        }
        Command::CloseLogins { logins } => To::CloseLogins(messages::Numbers {
            numbers: logins.iter().map(|login| login.0).collect(),
        }),
        Command::CreateObjects { objects } => To::CreateObjects(messages::CreateObjects {
            objects: objects.iter().map(new_object_to).collect(),
        }),
        Command::DestroyObject { handle } => {
            To::DestroyObject(messages::Number { number: handle.0 })
        }
        Command::SetMeta { handle, version, meta } => To::SetMeta(messages::SetMeta {
            handle: handle.0,
            version: *version,
            meta: Some(meta::to_message(meta)),
        }),
        Command::AddMember { member, endorsement, replaces } => {
            To::AddMember(cluster::add_member_to(member, endorsement, *replaces))
        }
        Command::RequestJoin { member } => To::RequestJoin(cluster::member_to(member)),
        Command::ApproveJoin { fingerprint } => To::ApproveJoin(cluster::approve_to(fingerprint)),
        Command::RemoveMember { node, receipt } => {
            To::RemoveMember(cluster::remove_to(*node, *receipt))
        }
        Command::UpdateMember { node, address, port_offset, zone } => {
            To::UpdateMember(cluster::update_to(*node, address, *port_offset, zone))
        }
        Command::SetJoinPolicy { policy } => To::SetJoinPolicy(cluster::policy_to(*policy)),
        Command::SetCutOffPolicy { seconds } => {
            To::SetCutOffPolicy(messages::Number { number: *seconds })
        }
        Command::SetRecoveryKeys { keys, threshold } => {
            To::SetRecoveryKeys(cluster::recovery_keys_to(keys, *threshold))
        }
        Command::RotateSecrets { epoch, sealed } => {
            To::RotateSecrets(cluster::rotate_to(*epoch, sealed))
        }
        Command::Remask { objects } => To::Remask(cluster::remask_to(objects)),
        Command::InstallClusterCertificate { generation, cluster_certificate } => {
            To::InstallClusterCertificate(cluster::install_to(*generation, cluster_certificate))
        }
        Command::MergeFailures { failures } => To::MergeFailures(cluster::merge_to(failures)),
        Command::Recovered { fence, members } => {
            To::Recovered(cluster::recovered_to(*fence, members))
        }
    }
}

fn command_from(message: messages::Command) -> Result<Command, Error> {
    use messages::Command as From;
    Ok(match message {
        From::CreateCluster(create) => Command::CreateCluster {
            masking_domain: sixteen(&create.masking_domain, "masking domain")?,
            cluster_id: create.cluster_id,
            personality: personality_from(create.personality)?,
            join_policy: cluster::policy_from(&create.join_policy.ok_or(Error::Malformed)?)?,
        },
        From::InitialiseCluster(initialise) => Command::InitialiseCluster {
            cluster_certificate: initialise.cluster_certificate,
            trust_anchor: initialise.trust_anchor,
        },
        From::ActivateCluster(verifier) => {
            Command::ActivateCluster { verifier: verifier_from(verifier) }
        }
        From::InitToken(init) => Command::InitToken {
            label: init.label,
            so_verifier: given_verifier(init.so_verifier)?,
            so_epoch: init.so_epoch,
        },
        From::InitPin(verifier) => Command::InitPin { verifier: verifier_from(verifier) },
        From::CreateUser(user) => Command::CreateUser {
            name: user.name,
            role: role_from(user.role)?,
            verifier: given_verifier(user.verifier)?,
        },
        From::DeleteUser(user) => {
            Command::DeleteUser { name: user.name, role: role_from(user.role)? }
        }
        From::ChangePassword(user) => Command::ChangePassword {
            name: user.name,
            role: role_from(user.role)?,
            verifier: given_verifier(user.verifier)?,
        },
        From::ChargeLogin(user) => {
            Command::ChargeLogin { name: user.name, role: role_from(user.role)? }
        }
        From::OpenLogin(login) => Command::OpenLogin {
            user: UserId(login.user),
            epoch: login.epoch,
            client_key: client_key(&login.client_key)?,
        },
        From::AdoptLogin(login) => Command::AdoptLogin {
            login: LoginId(login.id),
            user: UserId(login.user),
            epoch: login.epoch,
            client_key: client_key(&login.client_key)?,
        },
        From::SeeLogins(logins) => {
            Command::SeeLogins { logins: logins.numbers.into_iter().map(LoginId).collect() }
        }
        From::RefundLogin(login) => {
            Command::RefundLogin { user: UserId(login.user), epoch: login.epoch }
        }
        From::CloseLogins(logins) => {
            Command::CloseLogins { logins: logins.numbers.into_iter().map(LoginId).collect() }
        }
        From::CreateObjects(create) => {
            let objects = create.objects.into_iter().map(new_object_from);
            Command::CreateObjects { objects: objects.collect::<Result<_, _>>()? }
        }
        From::DestroyObject(destroy) => Command::DestroyObject { handle: Handle(destroy.number) },
        From::SetMeta(set) => Command::SetMeta {
            handle: Handle(set.handle),
            version: set.version,
            meta: meta::from_message(set.meta.ok_or(Error::Malformed)?)?,
        },
        From::AddMember(add) => cluster::add_member_from(add)?,
        From::RequestJoin(member) => Command::RequestJoin { member: cluster::member_from(member)? },
        From::ApproveJoin(approve) => cluster::approve_from(&approve)?,
        From::RemoveMember(remove) => cluster::remove_from(&remove),
        From::UpdateMember(update) => cluster::update_from(update)?,
        From::SetJoinPolicy(policy) => {
            Command::SetJoinPolicy { policy: cluster::policy_from(&policy)? }
        }
        From::SetCutOffPolicy(policy) => Command::SetCutOffPolicy { seconds: policy.number },
        From::SetRecoveryKeys(set) => cluster::recovery_keys_from(set),
        From::RotateSecrets(rotate) => cluster::rotate_from(rotate),
        From::Remask(remask) => cluster::remask_from(remask)?,
        From::InstallClusterCertificate(install) => cluster::install_from(install),
        From::MergeFailures(merge) => cluster::merge_from(merge),
        From::Recovered(recovered) => cluster::recovered_from(recovered),
    })
}

/// Of a login's client.
pub(super) fn client_key(bytes: &[u8]) -> Result<[u8; 32], Error> {
    bytes.try_into().map_err(|_| Error::Invalid("client key"))
}

fn new_object_to(object: &NewObject) -> messages::NewObject {
    messages::NewObject {
        id: object.id.0.to_vec(),
        owner: object.owner.0,
        meta: Some(meta::to_message(&object.meta)),
        blob: object.blob.clone(),
    }
}

fn new_object_from(message: messages::NewObject) -> Result<NewObject, Error> {
    Ok(NewObject {
        id: ObjectId::from_slice(&message.id).ok_or(Error::Invalid("object id"))?,
        owner: UserId(message.owner),
        meta: meta::from_message(message.meta.ok_or(Error::Malformed)?)?,
        blob: message.blob,
    })
}

pub(super) fn user_to(user: &User) -> messages::User {
    messages::User {
        id: user.id.0,
        name: user.name.clone(),
        role: user.role as u32,
        verifier: user.verifier.as_ref().map(verifier_to),
        failures: user.failures,
        epoch: user.epoch,
    }
}

pub(super) fn user_from(message: messages::User) -> Result<User, Error> {
    Ok(User {
        id: UserId(message.id),
        name: message.name,
        role: role_from(message.role)?,
        verifier: message.verifier.map(verifier_from),
        failures: message.failures,
        epoch: message.epoch,
    })
}

fn named(name: &str, role: Role, verifier: Option<&PasswordVerifier>) -> messages::NamedUser {
    messages::NamedUser {
        name: name.to_owned(),
        role: role as u32,
        verifier: verifier.map(verifier_to),
    }
}

fn role_from(role: u32) -> Result<Role, Error> {
    [Role::UnactivatedAdmin, Role::Admin, Role::CryptoUser, Role::ApplianceUser]
        .into_iter()
        .find(|&known| known as u32 == role)
        .ok_or(Error::Invalid("role"))
}

pub(super) fn personality_to(personality: Personality) -> u32 {
    match personality {
        Personality::CloudHsm => 0,
        Personality::Token => 1,
    }
}

pub(super) fn personality_from(personality: u32) -> Result<Personality, Error> {
    match personality {
        0 => Ok(Personality::CloudHsm),
        1 => Ok(Personality::Token),
        _ => Err(Error::Invalid("personality")),
    }
}

fn verifier_to(verifier: &PasswordVerifier) -> messages::Verifier {
    messages::Verifier { phc: verifier.0.clone() }
}

fn verifier_from(mut message: messages::Verifier) -> PasswordVerifier {
    PasswordVerifier(std::mem::take(&mut message.phc))
}

fn given_verifier(message: Option<messages::Verifier>) -> Result<PasswordVerifier, Error> {
    message.map(verifier_from).ok_or(Error::Malformed)
}

pub(super) fn sixteen(bytes: &[u8], what: &'static str) -> Result<[u8; 16], Error> {
    bytes.try_into().map_err(|_| Error::Invalid(what))
}
