//! How a cluster begins: the first entries of its log.

use std::time::Duration;

use strongroom_store::Secrets;
use strongroom_vault::{Command, Endorsement, JoinPolicy, Personality, Phase, Replicator};

use crate::administration::propose;
use crate::certificates::own_owner;
use crate::config::FirstJoinPolicy;
use crate::hsm::{Hsm, Member};
use crate::trust::cluster_key;
use crate::{Config, Endpoint, Error};

/// For a log of one voter to be read and agreed on.
const READY_PATIENCE: Duration = Duration::from_secs(10);

/// The first entries of a cluster's log, with its first member where that has a network, as far as
/// they are missing; else a check of the options against them.
///
/// # Errors
/// Where they say otherwise, or an entry was not committed.
pub(crate) fn create_cluster(config: &Config, hsm: &Hsm, member: &Member) -> Result<(), Error> {
    let replicator: &dyn Replicator = &*member.node;
    let incomplete = {
        let state = replicator.state().read();
        let no_member = state.members().next().is_none();
        state.cluster_id().is_empty() || hsm.device.is_none() || no_member
    };
    // What is in the log may not be in the state yet. With other members there is nothing to make,
    // and they may not run yet.
    if incomplete && !member.node.ready(READY_PATIENCE) {
        return Err(Error::Start("its own log was not agreed on in time".to_owned()));
    }
    let created = {
        let state = replicator.state().read();
        (!state.cluster_id().is_empty())
            .then(|| (state.cluster_id().to_owned(), state.personality()))
    };
    match created {
        None => {
            let cluster_id = member.membership.cluster_id.clone();
            tracing::info!(cluster = cluster_id, "creating the cluster");
            propose(
                replicator,
                Command::CreateCluster {
                    masking_domain: hsm.secrets.cluster()?.masking_domain,
                    cluster_id,
                    personality: config.personality,
                    join_policy: match config.join_policy {
                        FirstJoinPolicy::Automatic => JoinPolicy::Automatic,
                        FirstJoinPolicy::Owner => JoinPolicy::Owner,
                    },
                },
            )?;
        }
        Some(found) => check(config, found)?,
    }
    // Also where the cluster was made before there were members. A local HSM lists none: there is
    // nowhere that a client could reach it but its socket.
    if let Some(device) = &hsm.device
        && replicator.state().read().members().next().is_none()
    {
        propose(
            replicator,
            Command::AddMember {
                member: device.as_member(),
                endorsement: Endorsement::Provisioner,
                replaces: None,
            },
        )?;
    }
    own_local_cluster(config, replicator, &hsm.secrets)
}

/// Whether the options are those of the cluster that was found.
fn check(config: &Config, (cluster_id, personality): (String, Personality)) -> Result<(), Error> {
    if config.cluster_id.as_ref().is_some_and(|asked| *asked != cluster_id) {
        return Err(Error::folder(&config.folder, format!("the HSM there is of {cluster_id}")));
    }
    if personality != config.personality {
        let (is, asked) = (name(personality), name(config.personality));
        return Err(Error::folder(
            &config.folder,
            format!("the HSM there has personality {is}, not {asked}"),
        ));
    }
    Ok(())
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
    .map(drop)
}

fn name(personality: Personality) -> &'static str {
    match personality {
        Personality::CloudHsm => "cloudhsm",
        Personality::Token => "token",
    }
}
