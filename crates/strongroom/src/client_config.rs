//! `client.json` of a region: the HSMs, the owner's CA and the cluster's key that its clients pin.
//! What a user has set in it beside these stays as it is.

use std::thread;
use std::time::{Duration, Instant};

use strongroom_client::config::{Cluster, Document, Server, Switch, Target};
use strongroom_seal::write_atomically;
use strongroom_wire::admin::StatusReply;
use strongroom_wire::message::{ClusterPhase, Personality};

use crate::error::Error;
use crate::region::{Description, HsmDescription, Region};
use crate::steps::Steps;
use crate::{first_users, members, owner};

/// For new secrets after a removal.
const PATIENCE: Duration = Duration::from_secs(30);
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// Makes the file, or completes it. The HSMs run, and have their owner.
///
/// A pin that is there is kept: where the cluster has another key by now, clients are to refuse it
/// until the owner says otherwise with `configure-… -a`, or signs the new key in [`renew`].
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
    let hsms = description.serving();
    if found == Document::new(&path) {
        document.set_personality(Some(Personality::CloudHsm));
        if hsms.len() == 1 {
            // One HSM has every key at once.
            document.set_option(Switch::DisableKeyAvailabilityCheck, true);
        }
    }
    document.set_hsm_ca_file(&region.customer_ca().certificate);
    document.set_servers(&hsms.iter().map(server).collect::<Vec<_>>());
    document.set_cluster_id(Some(&description.cluster_id));
    pin(&mut document, steps)?;
    if document != found {
        write_atomically(&path, document.to_json().as_bytes())?;
    }
    Ok(())
}

/// Where the cluster has made a new key because the old one may have got out: signs it, and has
/// clients pin it, at first beside the old one, so that those that run notice nothing. Whoever runs this
/// has customerCA, and so is the owner.
///
/// # Errors
/// Where the cluster refuses, or a file does not read.
pub(crate) fn renew(
    region: &Region,
    description: &Description,
    steps: &mut Steps,
) -> Result<(), Error> {
    let hsms = description.serving();
    let is_newer =
        |status: StatusReply| status.generation > 1 && status.phase() == ClusterPhase::Active;
    if !members::statuses(region, &hsms).into_iter().flatten().any(is_newer) {
        return Ok(());
    }
    let (mut speaker, status) = members::speaker(region, &hsms)?;
    // The key comes with new secrets, which are being agreed on.
    let deadline = Instant::now() + PATIENCE;
    let request = loop {
        match speaker.cluster_request() {
            Err(Error::Refused(_)) if Instant::now() < deadline => thread::sleep(ASK_AGAIN),
            other => break other?,
        }
    };
    let certificate = owner::sign_cluster(&region.customer_ca(), &request)?;
    let key = owner::key_of(&certificate)?;

    let path = region.client_config();
    let mut document = Document::open(&path)?;
    let Target::Cluster(cluster) = document.config()?.target else { return Ok(()) };
    let mut unpinned = cluster.clone();
    unpinned.cluster_keys.clear();
    let speaks = hsms.iter().find(|hsm| hsm.hsm_id == status.hsm_id).map(server);
    let Some(speaks) = speaks else { return Ok(()) };
    let shown = strongroom_client::identify(&unpinned, &speaks)?.cluster_key;
    if shown != key {
        // Before any HSM shows it: programs that run read the pins then, and go on.
        let mut pins = cluster.cluster_keys.clone();
        pins.retain(|pin| *pin == shown);
        pins.push(key);
        document.set_cluster_keys(&pins);
        write_atomically(&path, document.to_json().as_bytes())?;
        first_users::install_certificate(region, certificate)?;
        steps.done(format_args!(
            "the cluster's new key, of generation {}, signed with customerCA",
            status.generation
        ));
        wait_until_shown(&key, &unpinned);
    }
    if shown != key || cluster.cluster_keys != [key] {
        document.set_cluster_keys(&[key]);
        write_atomically(&path, document.to_json().as_bytes())?;
        steps.done("clients pin the cluster's new key");
    }
    Ok(())
}

/// Waits until no HSM shows an older key: the pin for that is taken away next. One that does not answer
/// now shows the new key when it has caught up.
fn wait_until_shown(key: &[u8; 32], cluster: &Cluster) {
    let deadline = Instant::now() + PATIENCE;
    let is_older = |server: &Server| {
        strongroom_client::identify(cluster, server).is_ok_and(|who| who.cluster_key != *key)
    };
    while cluster.servers.iter().any(is_older) && Instant::now() < deadline {
        thread::sleep(ASK_AGAIN);
    }
}

fn server(hsm: &HsmDescription) -> Server {
    Server::new(hsm.address.to_string(), hsm.clients().port())
}

/// Records the cluster's key where none is pinned yet, as `configure-… -a` does.
fn pin(document: &mut Document, steps: &mut Steps) -> Result<(), Error> {
    let Target::Cluster(cluster) = document.config()?.target else { return Ok(()) };
    let (true, Some(server)) = (cluster.cluster_keys.is_empty(), cluster.servers.first()) else {
        return Ok(());
    };
    let identity = strongroom_client::identify(&cluster, server)?;
    document.set_cluster_keys(&[identity.cluster_key]);
    steps.done(format_args!("clients pin the cluster's key: {}", identity.cluster_key_hex()));
    Ok(())
}
