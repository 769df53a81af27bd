//! `client.json` of a region: the HSMs, the owner's CA and the cluster's key that its clients pin.
//! What a user has set in it beside these stays as it is.

use strongroom_client::config::{Document, Server, Switch, Target};
use strongroom_seal::write_atomically;
use strongroom_wire::message::Personality;

use crate::error::Error;
use crate::region::{Description, Region};
use crate::steps::Steps;

/// Makes the file, or completes it. The HSMs run, and have their owner.
///
/// A pin that is there is kept: where the cluster has another key by now, clients are to refuse it
/// until the owner says otherwise with `configure-… -a`.
///
/// # Errors
/// Where the file does not read, an HSM does not answer or is not to be trusted, or the file cannot
/// be written.
pub(crate) fn complete(
    region: &Region,
    description: &Description,
    steps: &mut Steps,
) -> Result<(), Error> {
    let path = region.client_config();
    let found = Document::open(&path)?;
    let mut document = found.clone();
    if found == Document::new(&path) {
        document.set_personality(Some(Personality::CloudHsm));
        // One HSM has every key at once.
        document.set_option(Switch::DisableKeyAvailabilityCheck, true);
    }
    document.set_hsm_ca_file(&region.customer_ca().certificate);
    let servers: Vec<Server> = description
        .hsms
        .iter()
        .map(|hsm| Server::new(hsm.address.to_string(), hsm.clients().port()))
        .collect();
    document.set_servers(&servers);
    document.set_cluster_id(Some(&description.cluster_id));
    pin(&mut document, steps)?;
    if document != found {
        write_atomically(&path, document.to_json().as_bytes())?;
    }
    Ok(())
}

/// Records the cluster's key where none is pinned yet, as `configure-… -a` does.
fn pin(document: &mut Document, steps: &mut Steps) -> Result<(), Error> {
    let Target::Cluster(cluster) = document.config()?.target else { return Ok(()) };
    let (None, Some(server)) = (cluster.cluster_key, cluster.servers.first()) else {
        return Ok(());
    };
    let identity = strongroom_client::identify(&cluster, server)?;
    document.set_cluster_key(Some(&identity.cluster_key));
    steps.done(format_args!("clients pin the cluster's key: {}", identity.cluster_key_hex()));
    Ok(())
}
