//! The state as records: built again from them, and hashed.

use aws_lc_rs::digest;

use super::State;
use crate::Handle;
use crate::codec::{self, Key, Record};

impl State {
    /// Puts one of the store's records. All are put, in any order, and then
    /// [`State::finish_load`] is called.
    ///
    /// # Errors
    /// Where the key or the value is none that this build writes.
    pub fn load(&mut self, key: &[u8], value: &[u8]) -> Result<(), codec::Error> {
        match codec::decode_record(key, value)? {
            Record::Progress(progress) => self.progress = progress,
            Record::Cluster(cluster) => self.cluster = Some(*cluster),
            Record::User(user) => self.users.put(user),
            Record::Login(login) => {
                self.logins.insert(login.id, login);
            }
            Record::Object(object) => self.objects.put(*object),
            Record::Client(client, record) => self.replies.load_client(client, record),
            Record::Reply(client, sequence, reply) => {
                self.replies.load_reply(client, sequence, reply);
            }
            Record::Topology(topology) => self.topology = Some(topology),
            Record::Member(member) => {
                self.members.present.insert(member.node, member);
            }
            Record::Revoked(fingerprint) => {
                self.members.revoked.insert(fingerprint);
            }
            Record::Waiting(fingerprint, request) => {
                self.members.waiting.insert(fingerprint, request);
            }
            Record::Sealed(epoch, node, sealed) => {
                self.members.sealed.insert((epoch, node), sealed);
            }
        }
        Ok(())
    }

    /// Checks that the records that were loaded belong together.
    ///
    /// # Errors
    /// Where some are missing or contradict others: the store has lost or mixed up records.
    pub fn finish_load(&mut self) -> Result<(), codec::Error> {
        let check = |holds: bool, what| holds.then_some(()).ok_or(codec::Error::Inconsistent(what));
        check(self.users.is_consistent(), "users")?;
        let next_user = self.progress.next_user;
        check(next_user >= Self::FIRST_USER, "user numbers")?;
        check(self.users.iter().all(|user| user.id < next_user), "user numbers")?;
        let known = |user| self.users.get(user).is_some();
        check(self.logins.values().all(|login| known(login.user)), "logins")?;
        let mut here = self.logins.keys().filter(|id| !id.began_apart());
        let newest = here.next_back().map_or(0, |id| id.0);
        check(newest <= self.progress.applied.0, "login numbers")?;
        let next_handle = self.progress.next_handle;
        check(next_handle >= Handle::FIRST && !next_handle.is_session(), "handles")?;
        let highest = self.objects.iter().last().map(|object| object.handle);
        check(highest.is_none_or(|handle| handle < next_handle), "handles")?;
        check(self.replies.is_consistent(), "replies")?;
        check(self.topology.is_some() == self.cluster.is_some(), "topology")?;
        check(self.progress.next_node >= Self::FIRST_NODE, "node numbers")?;
        if let Some(topology) = &self.topology {
            check(topology.version <= self.progress.applied, "topology version")?;
            let consistent = self.members.is_consistent(self.progress.next_node, topology);
            check(consistent, "members")?;
        }
        let empty = self.users.len() == 0
            && self.objects.len() == 0
            && self.members.present.is_empty()
            && self.members.revoked.is_empty()
            && self.members.waiting.is_empty()
            && self.members.sealed.is_empty();
        check(self.cluster.is_some() || empty, "cluster")
    }

    /// All records: what a store holds when it has written every change.
    pub fn records(&self) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
        let progress = (Key::Progress, codec::encode_progress(&self.progress));
        let cluster = self.cluster.iter();
        let cluster = cluster.map(|cluster| (Key::Cluster, codec::encode_cluster(cluster)));
        let users = self.users.iter().map(|user| (Key::User(user.id), codec::encode_user(user)));
        let logins = self.logins.values();
        let logins = logins.map(|login| (Key::Login(login.id), codec::encode_login(login)));
        let objects = self.objects.iter();
        let objects =
            objects.map(|object| (Key::Object(object.handle), codec::encode_object(object)));
        let clients = self.replies.iter();
        let clients =
            clients.map(|(id, record, _)| (Key::Client(id), codec::encode_client(record)));
        let replies = self.replies.iter().flat_map(|(id, _, replies)| {
            let replies = replies.iter();
            replies.map(move |(&at, reply)| (Key::Reply(id, at), codec::encode_result(reply)))
        });
        let topology = self.topology.iter();
        let topology = topology.map(|topology| (Key::Topology, codec::encode_topology(topology)));
        std::iter::once(progress)
            .chain(cluster)
            .chain(users)
            .chain(logins)
            .chain(objects)
            .chain(clients)
            .chain(replies)
            .chain(topology)
            .chain(self.member_records())
            .map(|(key, value)| (key.to_bytes(), value))
    }

    /// The records of members, in the order of their tables.
    pub(crate) fn member_records(&self) -> impl Iterator<Item = (Key, Vec<u8>)> {
        let members = &self.members;
        let present = members.present.values();
        let present =
            present.map(|member| (Key::Member(member.node), codec::encode_member(member)));
        let revoked = members.revoked.iter();
        let revoked =
            revoked.map(|&fingerprint| (Key::Revoked(fingerprint), codec::encode_revoked()));
        let waiting = members.waiting.iter();
        let waiting = waiting.map(|(&fingerprint, request)| {
            (Key::Waiting(fingerprint), codec::encode_join_request(request))
        });
        let sealed = members.sealed.iter();
        let sealed = sealed.map(|(&(epoch, node), sealed)| {
            (Key::Sealed(epoch, node), codec::encode_sealed(sealed))
        });
        present.chain(revoked).chain(waiting).chain(sealed)
    }

    /// SHA-256 over all records, in the order of their keys: equal on HSMs with an equal state.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut context = digest::Context::new(&digest::SHA256);
        for (key, value) in self.records() {
            for part in [&key, &value] {
                context.update(&(part.len() as u64).to_be_bytes());
                context.update(part);
            }
        }
        let mut hash = [0; 32];
        hash.copy_from_slice(context.finish().as_ref());
        hash
    }
}
