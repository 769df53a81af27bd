//! How a node reaches the others.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use strongroom_vault::NodeId;
use strongroom_wire::peer::{PeerReply, PeerRequest};

use crate::Peer;

/// What [`Transport::call`] gives.
pub type Call = Pin<Box<dyn Future<Output = Result<PeerReply, TransportError>> + Send>>;

/// Why there is no reply. The request may have arrived all the same.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// Nobody is there, or somebody else is.
    #[error("unreachable: {0}")]
    Unreachable(String),
    /// The connection failed under way.
    #[error("the connection failed: {0}")]
    Broken(String),
    /// No reply in time.
    #[error("no reply in time")]
    TimedOut,
}

/// Requests to other members: mutual TLS on port 2225, or a simulated network.
///
/// Requests of one [`PeerRequest::purpose`] to one peer should arrive in the order of the calls;
/// nothing breaks where they don't.
pub trait Transport: Send + Sync + 'static {
    /// Asks `to` and waits for its reply, at most for `timeout`. A call that is dropped may or may not
    /// arrive.
    fn call(&self, to: NodeId, peer: &Peer, request: PeerRequest, timeout: Duration) -> Call;
}
