//! Who answers at an address: what `configure -a` records.

use std::sync::Arc;

use crate::{
    Config, Error,
    config::Target,
    connection::{Connection, Failure, Tls},
    trust::{Anchor, Identity},
};

/// Connects to the first HSM of `config`, checks its certificates as every client does, and says who
/// it is. Nothing is sent but the TLS handshake.
///
/// # Errors
/// [`Error::Config`] where `config` names no cluster or no readable CA, [`Error::Trust`] with the
/// check that failed, [`Error::Connection`] where nobody answers.
pub fn identify(config: &Config) -> Result<Identity, Error> {
    let Target::Cluster(cluster) = &config.target else {
        return Err(Error::Config("a local HSM has no certificate to be known by".into()));
    };
    let tls = Tls::new(Arc::new(Anchor::open(cluster)?))?;
    let server = cluster.servers.first().ok_or_else(|| Error::Config("no HSM is named".into()))?;
    Connection::identify(server, &tls).map_err(|failure| match failure {
        Failure::Lost { reason, .. } => Error::Connection(reason),
        Failure::Final(error) => error,
    })
}
