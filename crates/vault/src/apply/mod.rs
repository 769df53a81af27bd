//! Applying entries: the only way in which the state changes.
//!
//! A command checks everything first and changes only then, so that a refusal leaves no trace but
//! the entry's number, its time, and the remembered reply.

mod cluster;
mod logins;
mod members;
mod objects;
mod policies;
mod secrets;
mod users;

use cryptoki_sys::{CKR_ARGUMENTS_BAD, CKR_GENERAL_ERROR};

use crate::codec::{self, Key};
use crate::state::{Replies, Seen};
use crate::{
    Change, ClientId, Command, Entry, Handle, LogIndex, Login, LoginId, Object, Outcome, Principal,
    Refusal, State, User, UserId,
};

impl State {
    /// Applies one entry. Entries come by rising index; numbers may be left out.
    ///
    /// Total and deterministic: the same entries give the same state, results and changes. Where the
    /// client's sequence has run before, nothing runs, and the result is the first one's, or a
    /// refusal where that is no longer kept.
    pub fn apply(
        &mut self,
        index: LogIndex,
        entry: Entry,
    ) -> (Result<Outcome, Refusal>, Vec<Change>) {
        if index <= self.progress.applied {
            let refusal = Refusal::new(CKR_GENERAL_ERROR, "this entry has been applied already");
            return (Err(refusal), Vec::new());
        }
        self.progress.applied = index;
        self.progress.time_ms = self.progress.time_ms.max(entry.time_ms);
        let mut changes = Changes::default();
        let result = self.apply_once(entry, &mut changes);
        changes.put(Key::Progress, codec::encode_progress(&self.progress));
        (result, changes.0)
    }

    /// Runs the command, unless its request has run before.
    fn apply_once(&mut self, entry: Entry, changes: &mut Changes) -> Result<Outcome, Refusal> {
        let Entry { client, sequence, lowest_unanswered, actor, command, .. } = entry;
        let remember = sequence != 0 && is_remembered(&command);
        if remember {
            match self.replies.seen(client, sequence) {
                Seen::Answered(result) => return result.clone(),
                Seen::Forgotten => return Err(Replies::forgotten()),
                Seen::Never => self.replies.admit(client, self.progress.time_ms)?,
            }
        }
        // A login that has ended takes no place in the memory; its retry is refused again.
        let who = self.principal(actor)?;
        let result = self.run(who, command, changes);
        // Nor does what a stranger is refused: strangers could fill it.
        if remember && (result.is_ok() || who != Principal::Anonymous) {
            self.remember(client, sequence, lowest_unanswered, &result, changes);
        }
        result
    }

    fn run(
        &mut self,
        who: Principal,
        command: Command,
        changes: &mut Changes,
    ) -> Result<Outcome, Refusal> {
        match command {
            Command::CreateCluster { masking_domain, cluster_id, personality, join_policy } => {
                let cluster = (masking_domain, cluster_id, personality, join_policy);
                self.create_cluster(&who, cluster, changes)
            }
            Command::InitialiseCluster { cluster_certificate, trust_anchor } => {
                self.initialise_cluster(&who, cluster_certificate, trust_anchor, changes)
            }
            Command::ActivateCluster { verifier } => self.activate(&who, verifier, changes),
            Command::InitToken { label, so_verifier, so_epoch } => {
                self.init_token(&who, label, so_verifier, so_epoch, changes)
            }
            Command::InitPin { verifier } => self.init_pin(&who, verifier, changes),
            Command::CreateUser { name, role, verifier } => {
                self.create_user(&who, &name, role, verifier, changes)
            }
            Command::DeleteUser { name, role } => self.delete_user(&who, &name, role, changes),
            Command::ChangePassword { name, role, verifier } => {
                self.change_password(&who, &name, role, verifier, changes)
            }
            Command::ChargeLogin { name, role } => self.charge_login(&who, &name, role, changes),
            Command::OpenLogin { user, epoch, client_key } => {
                self.open_login(&who, user, epoch, client_key, changes)
            }
            Command::AdoptLogin { login, user, epoch, client_key } => {
                self.adopt_login(&who, login, user, epoch, client_key, changes)
            }
            Command::SeeLogins { logins } => self.see_logins(&who, &logins, changes),
            Command::RefundLogin { user, epoch } => self.refund_login(&who, user, epoch, changes),
            Command::CloseLogins { logins } => self.close_logins(&who, logins, changes),
            Command::CreateObjects { objects } => self.create_objects(&who, objects, changes),
            Command::DestroyObject { handle } => self.destroy_object(&who, handle, changes),
            Command::SetMeta { handle, version, meta } => {
                self.set_meta(&who, handle, version, meta, changes)
            }
            Command::AddMember { member, endorsement, replaces } => {
                self.add_member(&who, member, &endorsement, replaces, changes)
            }
            Command::RequestJoin { member } => self.request_join(&who, member, changes),
            Command::ApproveJoin { fingerprint } => self.approve_join(&who, &fingerprint, changes),
            Command::RemoveMember { node, receipt } => {
                self.remove_member(&who, node, receipt, changes)
            }
            Command::UpdateMember { node, address, port_offset, zone } => {
                self.update_member(&who, node, (address, port_offset, zone), changes)
            }
            Command::SetJoinPolicy { policy } => self.set_join_policy(&who, policy, changes),
            Command::SetCutOffPolicy { seconds } => self.set_cut_off_policy(&who, seconds, changes),
            Command::SetRecoveryKeys { keys, threshold } => {
                self.set_recovery_keys(&who, keys, threshold, changes)
            }
            Command::RotateSecrets { epoch, sealed } => {
                self.rotate_secrets(&who, epoch, sealed, changes)
            }
            Command::Remask { objects } => self.remask(&who, objects, changes),
            Command::InstallClusterCertificate { generation, cluster_certificate } => {
                self.install_cluster_certificate(&who, generation, cluster_certificate, changes)
            }
            Command::MergeFailures { failures } => self.merge_failures(&who, &failures, changes),
            Command::Recovered { fence, members } => self.recovered(&who, fence, &members, changes),
        }
    }

    fn remember(
        &mut self,
        client: ClientId,
        sequence: u64,
        lowest_unanswered: u64,
        result: &Result<Outcome, Refusal>,
        changes: &mut Changes,
    ) {
        let now = (self.progress.applied, self.progress.time_ms);
        let gone = self.replies.remember(client, sequence, lowest_unanswered, result.clone(), now);
        changes.put(Key::Reply(client, sequence), codec::encode_result(result));
        for (client, sequence) in gone.replies {
            changes.delete(Key::Reply(client, sequence));
        }
        for client in gone.clients {
            changes.delete(Key::Client(client));
        }
        if let Some(record) = self.replies.record(client) {
            changes.put(Key::Client(client), codec::encode_client(record));
        }
    }

    fn put_cluster(&self, changes: &mut Changes) {
        if let Some(cluster) = &self.cluster {
            changes.put(Key::Cluster, codec::encode_cluster(cluster));
        }
    }

    fn put_topology(&self, changes: &mut Changes) {
        if let Some(topology) = &self.topology {
            changes.put(Key::Topology, codec::encode_topology(topology));
        }
    }

    fn put_user(&mut self, user: User, changes: &mut Changes) {
        changes.put(Key::User(user.id), codec::encode_user(&user));
        self.users.put(user);
    }

    fn remove_user(&mut self, id: UserId, changes: &mut Changes) {
        self.users.remove(id);
        changes.delete(Key::User(id));
    }

    fn put_login(&mut self, login: Login, changes: &mut Changes) {
        changes.put(Key::Login(login.id), codec::encode_login(&login));
        self.logins.insert(login.id, login);
    }

    fn remove_login(&mut self, id: LoginId, changes: &mut Changes) {
        if self.logins.remove(&id).is_some() {
            changes.delete(Key::Login(id));
        }
    }

    fn put_object(&mut self, object: Object, changes: &mut Changes) {
        changes.put(Key::Object(object.handle), codec::encode_object(&object));
        self.objects.put(object);
    }

    fn remove_object(&mut self, handle: Handle, changes: &mut Changes) {
        if let Some(object) = self.objects.remove(handle) {
            changes.delete(Key::Object(handle));
            changes.0.push(Change::DeleteBlob { id: object.id });
        }
    }
}

/// What one entry changes, for the store.
#[derive(Default)]
struct Changes(Vec<Change>);

impl Changes {
    fn put(&mut self, key: Key, value: Vec<u8>) {
        self.0.push(Change::Put { key: key.to_bytes(), value });
    }

    fn delete(&mut self, key: Key) {
        self.0.push(Change::Delete { key: key.to_bytes() });
    }
}

/// Whether a command's reply is kept for retries. Logins are not: one request makes two entries,
/// a repeated one is harmless, and a stranger must not fill the memory.
fn is_remembered(command: &Command) -> bool {
    !matches!(
        command,
        Command::ChargeLogin { .. }
            | Command::OpenLogin { .. }
            | Command::AdoptLogin { .. }
            | Command::SeeLogins { .. }
            | Command::RefundLogin { .. }
            | Command::CloseLogins { .. }
    )
}

/// CKR_ARGUMENTS_BAD.
fn bad(what: &str) -> Refusal {
    Refusal::new(CKR_ARGUMENTS_BAD, what)
}
