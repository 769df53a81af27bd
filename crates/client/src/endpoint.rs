//! Where new connections go to: the HSMs of a cluster in turn, or the local HSM.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use strongroom_wire::message::HelloReply;

use crate::{
    Config, Error,
    config::{Server, Target},
    connection::{Connection, Failure, Tls, unsent},
    local::Local,
    trust::Anchor,
};

/// What a client connects to.
pub(crate) enum Endpoint {
    Cluster(Servers),
    Local(Local),
}

/// The HSMs of a cluster. All connections of a client go to the one that answered last: session
/// objects live on one HSM.
pub(crate) struct Servers {
    servers: Vec<Server>,
    preferred: AtomicUsize,
    tls: Tls,
}

impl Endpoint {
    pub(crate) fn new(config: &Config, library_dir: Option<PathBuf>) -> Result<Self, Error> {
        match &config.target {
            Target::Cluster(cluster) => Ok(Self::Cluster(Servers {
                servers: cluster.servers.clone(),
                preferred: AtomicUsize::new(0),
                tls: Tls::new(Arc::new(Anchor::open(cluster)?))?,
            })),
            Target::Local { dir } => {
                Local::new(dir, config.personality, library_dir).map(Self::Local)
            }
        }
    }

    /// One connection; each HSM is tried once.
    pub(crate) fn connect(
        &self,
        answer_timeout: Duration,
        program: &str,
    ) -> Result<(Connection, HelloReply), Failure> {
        match self {
            Self::Cluster(servers) => servers.connect(answer_timeout, program),
            Self::Local(local) => Connection::unix(local.connect()?, answer_timeout, program),
        }
    }
}

impl Servers {
    fn connect(
        &self,
        answer_timeout: Duration,
        program: &str,
    ) -> Result<(Connection, HelloReply), Failure> {
        let first = self.preferred.load(Ordering::Relaxed);
        let mut reasons = Vec::new();
        let mut refused = None;
        for step in 0..self.servers.len() {
            let number = (first + step) % self.servers.len();
            match Connection::tls(&self.servers[number], &self.tls, answer_timeout, program) {
                Ok(connected) => {
                    self.preferred.store(number, Ordering::Relaxed);
                    return Ok(connected);
                }
                Err(Failure::Lost { reason, .. }) => reasons.push(reason),
                // Another HSM may be the right one; where none is, this must not be hidden.
                Err(Failure::Final(error)) => drop(refused.get_or_insert(error)),
            }
        }
        match refused {
            Some(error) => Err(error.into()),
            None => Err(unsent(reasons.join("; "))),
        }
    }
}
