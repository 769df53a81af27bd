//! How a connection is made: to an HSM of a cluster, or to the local HSM.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use strongroom_wire::{limits::HANDSHAKE_MS_MAX, message::HelloReply};

use crate::{
    Config, Error,
    config::{Server, Target},
    connection::{Connection, Failure, Tls, unsent},
    fleet::Fleet,
    local::Local,
    site::Site,
    trust::Anchor,
};

/// How long a connection may take to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Haste {
    /// There is nowhere else to go.
    None,
    /// Another HSM would do.
    Some,
    /// To ask the HSM whether it is there, where no connection is kept for that. A machine under
    /// load takes its time to shake hands; its kernel answers at once, or within this time.
    Ask(Duration),
    /// An application's request waits meanwhile, and does not need this HSM.
    Great,
}

impl Haste {
    /// For the connection, and for all of it with TLS and the first request.
    fn deadlines(self) -> (Instant, Instant) {
        let ms = Duration::from_millis;
        let (connect, all) = match self {
            Self::None => (ms(3_000), ms(HANDSHAKE_MS_MAX)),
            Self::Some => (ms(100), ms(500)),
            Self::Ask(patience) => (patience, patience.max(ms(250))),
            Self::Great => (ms(40), ms(80)),
        };
        let now = Instant::now();
        (now + connect, now + all)
    }
}

/// What a client connects to.
pub(crate) enum Endpoint {
    Cluster(Tls),
    Local(Local),
}

impl Endpoint {
    /// With the HSMs that the configuration names.
    pub(crate) fn new(
        config: &Config,
        library_dir: Option<PathBuf>,
    ) -> Result<(Self, Fleet), Error> {
        Ok(match &config.target {
            Target::Cluster(cluster) => {
                let mut anchor = Anchor::open(cluster)?;
                // The program may go to another folder.
                if let Some(Ok(file)) = config.source.as_deref().map(std::path::absolute) {
                    anchor = anchor.following(file);
                }
                let fleet = Fleet::new(&cluster.servers, &config.zone);
                (Self::Cluster(Tls::new(Arc::new(anchor))?), fleet)
            }
            Target::Local { dir } => {
                let local = Local::new(dir, config.personality, library_dir)?;
                (Self::Local(local), Fleet::local())
            }
        })
    }

    /// Whether it is a cluster's.
    pub(crate) fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }

    /// One connection to the HSM at `address`. What answers there and is no HSM of the cluster is
    /// [`Failure::Distrusted`].
    pub(crate) fn connect(
        &self,
        site: Arc<Site>,
        address: Option<&Server>,
        haste: Haste,
        program: &str,
    ) -> Result<(Connection, HelloReply), Failure> {
        let deadlines = haste.deadlines();
        match (self, address) {
            (Self::Local(local), _) => {
                Connection::unix(site, local.connect()?, program, deadlines.1)
            }
            (Self::Cluster(tls), Some(address)) => {
                Connection::tls(site, address, tls, program, deadlines).map_err(|failure| {
                    match failure {
                        Failure::Final(error) => Failure::Distrusted(error),
                        other => other,
                    }
                })
            }
            (Self::Cluster(_), None) => Err(unsent("the cluster has this HSM no more")),
        }
    }
}
