//! Keys and certificates that are the same in every process, made once with OpenSSL 3.0 as an owner
//! makes them. The keys are public here and protect nothing.
//!
//! A customerCA (P-256) signed the cluster's request without extensions, so that its certificate is
//! X.509 v1; the cluster signed a leaf as an HSM issues it. A second customerCA (RSA-2048, RSA-PSS)
//! signed the same request with extensions.

pub(crate) const CLUSTER_ID: &str = "cluster-7kzqyl3m2ab";

/// customerCA, DER.
pub(crate) const CA: &[u8] = include_bytes!("fixed/ca.der");
/// Its key, PKCS#8.
pub(crate) const CA_KEY: &[u8] = include_bytes!("fixed/ca.p8");
/// The cluster's certificate under [`CA`].
pub(crate) const CLUSTER: &[u8] = include_bytes!("fixed/cluster.der");
/// The cluster's key, PKCS#8.
pub(crate) const CLUSTER_KEY: &[u8] = include_bytes!("fixed/cluster.p8");
/// An HSM's certificate under [`CLUSTER`].
pub(crate) const LEAF: &[u8] = include_bytes!("fixed/leaf.der");
/// The customerCA that signs with RSA-PSS.
pub(crate) const RSA_CA: &[u8] = include_bytes!("fixed/rsa_ca.der");
/// Its RSA-2048 key, PKCS#8.
pub(crate) const RSA_2048: &[u8] = include_bytes!("fixed/rsa_2048.p8");
/// The cluster's certificate under [`RSA_CA`], X.509 v3.
pub(crate) const RSA_CLUSTER: &[u8] = include_bytes!("fixed/rsa_cluster.der");

/// A time at which all of them are valid, in seconds since 1970: the year 2030.
pub(crate) const NOW: u64 = 1_893_456_000;
