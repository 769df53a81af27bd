//! A cluster of one HSM that no other will join: a local HSM, and most tests.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use strongroom_store::{Folder, Secrets, Store};
use strongroom_vault::{
    Committed, Contact, Entry, LogIndex, ObjectId, ReplicationError, Replicator, SharedState,
};
use strongroom_wire::peer::PeerRequest;
use tokio::runtime::Runtime;

use crate::disk::StoreDisk;
use crate::{Call, Error, Node, Options, Peer, Transport, TransportError};

/// From start to leader takes an fsync or two.
const READY: Duration = Duration::from_secs(30);

/// A node with a runtime of its own and nobody to talk to.
pub struct Alone {
    node: Arc<Node>,
    // After the node, whose tasks run on it.
    _runtime: Runtime,
}

impl Alone {
    /// Opens the folder's store, checks all of it, makes it a cluster where it is none, and waits until
    /// the node leads itself.
    ///
    /// # Errors
    /// [`strongroom_store::Error::Tampered`] within [`Error::Store`] where a record does not check, and
    /// as [`Store::open`] and [`Node::open`].
    pub fn open(folder: Folder, secrets: Arc<Secrets>, options: Options) -> Result<Self, Error> {
        let (store, state, blobs) = Store::open(folder, secrets.clone())?;
        let mut disk = StoreDisk::new(store, blobs);
        let me = Peer { hsm_id: secrets.hsm_id.clone(), ..Peer::default() };
        Node::bootstrap(&mut disk, options.node, &me)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("replicator")
            .enable_time()
            .build()
            .map_err(Error::Thread)?;
        let disk = Box::new(disk);
        let nobody = Arc::new(Nobody);
        let secrets = Some(secrets);
        let node = Node::open_blocking(runtime.handle(), disk, state, secrets, nobody, options)?;
        if !node.ready(READY) {
            return Err(Error::NotNow("the only voter did not elect itself".to_owned()));
        }
        Ok(Self { node, _runtime: runtime })
    }
}

impl Deref for Alone {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.node
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        self.node.stop();
    }
}

impl Replicator for Alone {
    fn propose(&self, entry: Entry) -> Result<Committed, ReplicationError> {
        self.node.propose(entry)
    }

    fn read_barrier(&self) -> Result<LogIndex, ReplicationError> {
        self.node.read_barrier()
    }

    fn state(&self) -> &SharedState {
        self.node.state()
    }

    fn blob(&self, id: ObjectId) -> Result<Option<Vec<u8>>, ReplicationError> {
        self.node.blob(id)
    }

    fn contact(&self) -> Contact {
        self.node.contact()
    }

    fn leader(&self) -> Option<String> {
        self.node.leader()
    }

    fn leads(&self) -> bool {
        self.node.leads()
    }
}

/// There are no others.
struct Nobody;

impl Transport for Nobody {
    fn call(
        &self,
        _to: strongroom_vault::NodeId,
        _peer: &Peer,
        _request: PeerRequest,
        _timeout: Duration,
    ) -> Call {
        let nobody = TransportError::Unreachable("this HSM is alone".to_owned());
        Box::pin(std::future::ready(Err(nobody)))
    }
}
