//! A cluster of one HSM, with a runtime of its own and nobody to talk to.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use strongroom_cluster::disk::StoreDisk;
use strongroom_cluster::{Call, Error, Node, Options, Peer, Transport, TransportError};
use strongroom_store::{Folder, Secrets, Store};
use strongroom_vault::NodeId;
use strongroom_wire::peer::PeerRequest;
use tokio::runtime::Runtime;

/// From start to leader takes an fsync or two.
const READY: Duration = Duration::from_secs(30);

/// The node, which ends when it is dropped.
pub(crate) struct Alone {
    node: Arc<Node>,
    // After the node, whose tasks run on it.
    _runtime: Runtime,
}

impl Alone {
    /// Opens the folder's store, checks all of it, makes it a cluster where it is none, and waits until
    /// the node leads itself.
    pub(crate) fn open(
        folder: Folder,
        secrets: Arc<Secrets>,
        options: Options,
    ) -> Result<Self, Error> {
        let (store, state, blobs) = Store::open(folder, secrets.clone())?;
        let mut disk = StoreDisk::new(store, blobs);
        let me = Peer { hsm_id: secrets.hsm_id.clone(), ..Peer::default() };
        Node::bootstrap(&mut disk, options.node, &me)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("replicator")
            .enable_time()
            .build()
            .unwrap();
        let disk = Box::new(disk);
        let nobody = Arc::new(Nobody);
        let secrets = Some(secrets);
        let node = Node::open_blocking(runtime.handle(), disk, state, secrets, nobody, options)?;
        assert!(node.ready(READY), "the only voter did not elect itself");
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

/// There are no others.
struct Nobody;

impl Transport for Nobody {
    fn call(&self, _to: NodeId, _peer: &Peer, _request: PeerRequest, _timeout: Duration) -> Call {
        let nobody = TransportError::Unreachable("this HSM is alone".to_owned());
        Box::pin(std::future::ready(Err(nobody)))
    }
}
