//! How a cluster begins: the first entries of its log.

use strongroom_store::Secrets;
use strongroom_vault::{Command, JoinPolicy, Personality, Phase, Replicator};

use crate::administration::propose;
use crate::certificates::own_owner;
use crate::trust::cluster_key;
use crate::{Config, Endpoint, Error, folder};

/// The first entries of a cluster's log, where they are missing; else a check of the options
/// against them.
///
/// # Errors
/// Where they say otherwise, or an entry was not committed.
pub(crate) fn create_cluster(
    config: &Config,
    replicator: &dyn Replicator,
    secrets: &Secrets,
) -> Result<(), Error> {
    let created = {
        let state = replicator.state().read();
        (!state.cluster_id().is_empty())
            .then(|| (state.cluster_id().to_owned(), state.personality()))
    };
    match created {
        None => {
            let cluster_id = folder::id_or_new(config.cluster_id.as_deref(), "cluster-")?;
            tracing::info!(cluster = cluster_id, "creating the cluster");
            propose(
                replicator,
                Command::CreateCluster {
                    masking_domain: secrets.cluster()?.masking_domain,
                    cluster_id,
                    personality: config.personality,
                    join_policy: JoinPolicy::Owner,
                },
            )?;
        }
        Some((cluster_id, personality)) => {
            if config.cluster_id.as_ref().is_some_and(|asked| *asked != cluster_id) {
                return Err(Error::folder(
                    &config.folder,
                    format!("the HSM there is of {cluster_id}"),
                ));
            }
            if personality != config.personality {
                let (is, asked) = (name(personality), name(config.personality));
                return Err(Error::folder(
                    &config.folder,
                    format!("the HSM there has personality {is}, not {asked}"),
                ));
            }
        }
    }
    own_local_cluster(config, replicator, secrets)
}

/// A local HSM of personality `cloudhsm` has no owner but its user: it is initialised at once, so
/// that `cluster activate` is the first step, as on a cluster that somebody else has set up.
fn own_local_cluster(
    config: &Config,
    replicator: &dyn Replicator,
    secrets: &Secrets,
) -> Result<(), Error> {
    let local = matches!(config.endpoint, Endpoint::Local { .. });
    let (phase, cluster_id) = {
        let state = replicator.state().read();
        (state.phase(), state.cluster_id().to_owned())
    };
    if !local || config.personality != Personality::CloudHsm || phase != Phase::Uninitialized {
        return Ok(());
    }
    let owner = own_owner(&cluster_key(secrets, 1)?, &cluster_id)?;
    propose(
        replicator,
        Command::InitialiseCluster {
            cluster_certificate: owner.cluster_certificate,
            trust_anchor: owner.trust_anchor,
        },
    )
}

fn name(personality: Personality) -> &'static str {
    match personality {
        Personality::CloudHsm => "cloudhsm",
        Personality::Token => "token",
    }
}
