//! Whose welcome an HSM takes, and the welcome itself, as the HSM that joins handles it.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};
use std::time::SystemTime;

use rcgen::PublicKeyData as _;
use strongroom_cluster::DeviceKeyHash;
use strongroom_pki::Certificate;
use strongroom_store::ClusterSecrets;
use strongroom_vault::Replicator as _;
use strongroom_wire::admin::Join;
use strongroom_wire::joining::{WELCOME_INFO, WelcomeMessage};
use strongroom_wire::limits::MEMBERS_MAX;

use crate::certificates::{P256Key, Which, check_cluster_certificate, pem_certificate};
use crate::folder::is_cluster_id;
use crate::hsm::{Hsm, Member, Part};
use crate::membership::Membership;

/// What the provisioner said in [`Join`].
#[derive(Debug)]
pub(crate) struct Invitation {
    pub(crate) cluster_id: String,
    /// Device keys of the members that may welcome this HSM.
    pub(crate) welcomers: HashSet<DeviceKeyHash>,
    /// The owner's customerCA, DER, where it was given.
    trust_anchor: Option<Vec<u8>>,
}

impl Invitation {
    /// # Errors
    /// Where it makes no sense.
    pub(crate) fn new(join: &Join) -> Result<Self, String> {
        if !is_cluster_id(&join.cluster_id) {
            return Err("the cluster's id is malformed".to_owned());
        }
        if join.welcomers.is_empty() || join.welcomers.len() > MEMBERS_MAX {
            return Err(format!("1 to {MEMBERS_MAX} members may be named to welcome an HSM"));
        }
        let welcomers = join.welcomers.iter().map(|key| key.as_slice().try_into());
        let welcomers: Result<_, _> = welcomers.collect();
        let trust_anchor = match join.trust_anchor.as_str() {
            "" => None,
            pem => Some(pem_certificate(Which::TrustAnchor, pem).map_err(|e| e.to_string())?),
        };
        Ok(Self {
            cluster_id: join.cluster_id.clone(),
            welcomers: welcomers.map_err(|_| "a device key's SHA-256 has 32 bytes".to_owned())?,
            trust_anchor,
        })
    }
}

/// Becomes a member, as another one says; a member learns who the others are now. What was given is kept first, so that a crash loses
/// nothing: the welcome can be said again, and the same one twice.
///
/// # Errors
/// Why not.
pub(crate) fn accept_welcome(
    hsm: &Arc<Hsm>,
    from: &DeviceKeyHash,
    message: &WelcomeMessage,
) -> Result<(), String> {
    let invitation = match hsm.part() {
        Part::Waiting(Some(invitation)) => invitation,
        Part::Waiting(None) => return Err("nobody has said whose welcome to take".to_owned()),
        Part::Member(member)
            if member.membership.cluster_id == message.cluster_id
                && member.membership.node().0 == message.node =>
        {
            return take_news(hsm, &member, from, message);
        }
        Part::Member(_) => return Err("it is a member already, as another one".to_owned()),
        Part::Retired(why) => return Err(why.to_owned()),
    };
    let device = hsm.device.as_ref().ok_or("a local HSM joins nothing")?;
    if !invitation.welcomers.contains(from) {
        return Err("it was not told to take this member's welcome".to_owned());
    }
    if message.cluster_id != invitation.cluster_id || message.node == 0 {
        return Err("it was told to join another cluster".to_owned());
    }
    let membership = Membership::welcomed(
        message.cluster_id.clone(),
        message.node,
        device.witness,
        &message.members,
    );
    let secrets = if device.witness { None } else { Some(open_secrets(hsm, message)?) };
    if let Some(secrets) = &secrets {
        check_owner(&invitation, message, secrets)?;
    }
    // The membership first: without secrets it means nothing to an HSM that is no witness.
    membership.save(hsm.path()).map_err(|e| e.to_string())?;
    if let Some(secrets) = secrets {
        hsm.secrets.adopt(secrets).map_err(|e| e.to_string())?;
    }
    hsm.take_part(membership).map_err(|e| e.to_string())?;
    tracing::info!(cluster = message.cluster_id, node = message.node, "joined");
    Ok(())
}

/// Learns who the members are, where this HSM was told to take this one's word for it. A welcome that is
/// only said again changes nothing.
fn take_news(
    hsm: &Hsm,
    member: &Member,
    from: &DeviceKeyHash,
    message: &WelcomeMessage,
) -> Result<(), String> {
    let invitation = member.invitation.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let Some(invitation) = invitation.filter(|invited| invited.welcomers.contains(from)) else {
        return Ok(());
    };
    if member.node.state().read().is_revoked(from) {
        return Err("who welcomes it was removed".to_owned());
    }
    if !member.membership.witness {
        // Only who has the cluster's secrets can say so.
        let secrets = open_secrets(hsm, message)?;
        let own = hsm.secrets.cluster().map_err(|e| e.to_string())?;
        if secrets.masking_domain != own.masking_domain || secrets.epoch() < own.epoch() {
            return Err("the secrets are another cluster's, or older than this HSM's".to_owned());
        }
        check_owner(&invitation, message, &secrets)?;
    }
    tracing::info!("a member says who the others are");
    member.node.introduce(message.members.clone());
    Ok(())
}

fn open_secrets(hsm: &Hsm, message: &WelcomeMessage) -> Result<ClusterSecrets, String> {
    let device = hsm.device.as_ref().ok_or("a local HSM joins nothing")?;
    let bound = message.bound(device.identity.key());
    let opened = hsm
        .secrets
        .sealing_key
        .open(WELCOME_INFO, &bound, &message.sealed_secrets)
        .map_err(|_| "the secrets are not sealed for this HSM as this member".to_owned())?;
    ClusterSecrets::from_bytes(opened.as_bytes()).map_err(|e| e.to_string())
}

/// Where the owner is known, the cluster must be its: the certificate is over a key in the secrets,
/// and under the owner's customerCA.
fn check_owner(
    invitation: &Invitation,
    message: &WelcomeMessage,
    secrets: &ClusterSecrets,
) -> Result<(), String> {
    let Some(anchor) = &invitation.trust_anchor else { return Ok(()) };
    let certificate = Certificate::from_der(&message.cluster_certificate)
        .map_err(|_| "the cluster has no owner yet, and this HSM was told of one".to_owned())?;
    let key = (1..=secrets.generation())
        .rev()
        .filter_map(|generation| secrets.cluster_key(generation))
        .filter_map(|pkcs8| P256Key::from_pkcs8("cluster key", pkcs8).ok())
        .map(|key| key.subject_public_key_info())
        .find(|key| *key == certificate.public_key)
        .ok_or("the cluster's certificate is over another key than its secrets have")?;
    check_cluster_certificate(
        &key,
        &message.cluster_id,
        &message.cluster_certificate,
        anchor,
        SystemTime::now(),
    )
    .map_err(|e| e.to_string())
}
