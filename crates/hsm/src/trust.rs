//! What port 2223 shows: nothing before the cluster has an owner, then a leaf that is always fresh,
//! under the newest certificate that the owner has signed.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use rustls::ServerConfig;
use strongroom_store::Secrets;
use strongroom_vault::State;

use crate::certificates::{Leaf, P256Key};
use crate::{Error, tls};

/// The TLS identity towards clients.
pub(crate) struct ClientTrust {
    secrets: Arc<Secrets>,
    address: IpAddr,
    current: RwLock<Option<Current>>,
}

struct Current {
    config: Arc<ServerConfig>,
    cluster_certificate: Vec<u8>,
    renewal: SystemTime,
}

impl ClientTrust {
    /// For an HSM that listens on `address`.
    pub(crate) fn new(secrets: Arc<Secrets>, address: IpAddr) -> Self {
        Self { secrets, address, current: RwLock::new(None) }
    }

    /// For a new connection; `None` before initialisation.
    pub(crate) fn config(&self) -> Option<Arc<ServerConfig>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.as_ref().map(|current| Arc::clone(&current.config))
    }

    /// Issues a leaf where the owner has signed another certificate than the present leaf's, or the
    /// leaf is old; connections from now on see it.
    ///
    /// # Errors
    /// Where it cannot be made, or this HSM does not have the certificate's key.
    pub(crate) fn follow(&self, state: &State, now: SystemTime) -> Result<(), Error> {
        let Some(certificate) = state.cluster_certificate() else { return Ok(()) };
        let fresh = {
            let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
            current.as_ref().is_some_and(|current| {
                current.cluster_certificate == certificate && current.renewal > now
            })
        };
        if fresh {
            return Ok(());
        }
        let key = cluster_key(&self.secrets, state.certified_generation())?;
        let leaf = Leaf {
            cluster_id: state.cluster_id().to_owned(),
            hsm_id: self.secrets.hsm_id.clone(),
            address: self.address,
        };
        let config = tls::for_clients(leaf.issue(&key, certificate, now)?)?;
        let cluster_certificate = certificate.to_vec();
        let next = Current { config, cluster_certificate, renewal: Leaf::renewal(now) };
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(next);
        tracing::info!(generation = state.certified_generation(), "a new leaf certificate");
        Ok(())
    }
}

/// The cluster's signing key of a generation.
///
/// # Errors
/// Where this HSM has none, or not that one.
pub(crate) fn cluster_key(secrets: &Secrets, generation: u64) -> Result<P256Key, Error> {
    let cluster = secrets.cluster()?;
    let key = cluster.cluster_key(generation).ok_or(Error::Generation(generation))?;
    Ok(P256Key::from_pkcs8("use of the cluster key", key)?)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use strongroom_store::Rotation;
    use strongroom_vault::{Command, JoinPolicy, Personality, State};

    use super::*;
    use crate::agreed::apply;
    use crate::certificates::own_owner;

    const CLUSTER: &str = "cluster-abcdefghijk";

    fn initialised(secrets: &Secrets) -> State {
        let mut state = State::new();
        apply(
            &mut state,
            Command::CreateCluster {
                masking_domain: [1; 16],
                cluster_id: CLUSTER.to_owned(),
                personality: Personality::CloudHsm,
                join_policy: JoinPolicy::Automatic,
            },
        );
        let owner = own_owner(&cluster_key(secrets, 1).unwrap(), CLUSTER).unwrap();
        apply(
            &mut state,
            Command::InitialiseCluster {
                cluster_certificate: owner.cluster_certificate,
                trust_anchor: owner.trust_anchor,
            },
        );
        state
    }

    fn trust(secrets: &Arc<Secrets>) -> ClientTrust {
        ClientTrust::new(Arc::clone(secrets), IpAddr::from([127, 0, 1, 10]))
    }

    #[test]
    fn a_leaf_comes_with_the_owners_certificate_and_goes_before_it_is_old() {
        let secrets = Arc::new(Secrets::generate().unwrap());
        let (trust, now) = (trust(&secrets), SystemTime::now());
        trust.follow(&State::new(), now).unwrap();
        assert!(trust.config().is_none());
        let state = initialised(&secrets);
        trust.follow(&state, now).unwrap();
        let first = trust.config().unwrap();
        trust.follow(&state, now + Duration::from_secs(3600)).unwrap();
        assert!(Arc::ptr_eq(&first, &trust.config().unwrap()));
        trust.follow(&state, Leaf::renewal(now)).unwrap();
        assert!(!Arc::ptr_eq(&first, &trust.config().unwrap()));
    }

    #[test]
    fn a_leaf_is_of_the_generation_that_the_owner_has_signed() {
        let secrets = Arc::new(Secrets::generate().unwrap());
        let (trust, state) = (trust(&secrets), initialised(&secrets));
        let next = secrets.cluster().unwrap().next(Rotation::Exposed { generation: 2 }).unwrap();
        secrets.add_epoch(next).unwrap();
        trust.follow(&state, SystemTime::now()).unwrap();
        assert!(trust.config().is_some());
        assert!(matches!(cluster_key(&secrets, 3), Err(Error::Generation(3))));
    }
}
