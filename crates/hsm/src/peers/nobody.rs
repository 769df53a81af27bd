//! The transport of an HSM that has no peers.

use std::time::Duration;

use strongroom_cluster::{Call, Peer, Transport, TransportError};
use strongroom_vault::NodeId;
use strongroom_wire::peer::PeerRequest;

/// Reaches nobody: a local HSM's.
pub(crate) struct NoTransport;

impl Transport for NoTransport {
    fn call(&self, _to: NodeId, _peer: &Peer, _request: PeerRequest, _patience: Duration) -> Call {
        Box::pin(async { Err(TransportError::Unreachable("a local HSM has no peers".to_owned())) })
    }
}
