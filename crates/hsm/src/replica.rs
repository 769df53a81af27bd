//! How a member's node is opened: on the folder's store, as the member that the folder says it is.

use std::collections::BTreeMap;
use std::sync::Arc;

use strongroom_cluster::disk::StoreDisk;
use strongroom_cluster::{Node, Options, Peer, Transport};
use strongroom_store::{Folder, Secrets, Store};
use tokio::runtime::Handle;

use crate::Error;
use crate::membership::Membership;

/// Opens the folder's store, checks all of it, and takes part as `me`. The cluster's first HSM makes
/// itself its only voter where the log has no members yet; another one waits for a leader. With a fence,
/// which is higher than the disk's, it is a cluster of its own from then on: after a recovery.
///
/// # Errors
/// Where the store or the log does not open.
#[allow(clippy::too_many_arguments)]
pub(crate) fn open(
    folder: Folder,
    secrets: &Arc<Secrets>,
    membership: &Membership,
    me: &Peer,
    fence: Option<u64>,
    transport: Arc<dyn Transport>,
    runtime: &Handle,
    options: Options,
) -> Result<Arc<Node>, Error> {
    let (store, state, blobs) = Store::open(folder, Arc::clone(secrets))?;
    if membership.took_part() && store.log_state().last.is_none() && store.applied().0.is_none() {
        // Under its old number it would vote without what it has promised.
        return Err(Error::Store(strongroom_store::Error::Tampered {
            table: "database",
            id: "store.db".to_owned(),
            reason: "it is empty, and this HSM has taken part",
        }));
    }
    let mut disk = StoreDisk::new(store, blobs);
    if membership.founds() {
        Node::bootstrap(&mut disk, membership.node(), me)?;
    }
    if let Some(fence) = fence {
        let alone = BTreeMap::from([(membership.node(), me.clone())]);
        Node::force_membership(&mut disk, membership.node(), fence, &alone)?;
    }
    // A witness opens nothing that is sealed.
    let secrets = (!membership.witness).then(|| Arc::clone(secrets));
    let disk = Box::new(disk);
    Ok(Node::open_blocking(runtime, disk, state, secrets, transport, options)?)
}
