//! How a leaf certificate names its HSM: a URI `strongroom://<cluster id>/<HSM id>` (RFC 5280,
//! section 4.2.1.6: a uniformResourceIdentifier of the subject's alternative names).

use std::fmt;

const SCHEME: &str = "strongroom://";

/// An HSM and its cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HsmName {
    /// `cluster-…`.
    pub cluster_id: String,
    /// `hsm-…`.
    pub hsm_id: String,
}

impl HsmName {
    /// The name in a URI; `None` where it is none.
    #[must_use]
    pub fn from_uri(uri: &str) -> Option<Self> {
        let (cluster_id, hsm_id) = uri.strip_prefix(SCHEME)?.split_once('/')?;
        (is_id(cluster_id) && is_id(hsm_id))
            .then(|| Self { cluster_id: cluster_id.to_owned(), hsm_id: hsm_id.to_owned() })
    }
}

/// The URI.
impl fmt::Display for HsmName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.cluster_id, self.hsm_id)
    }
}

fn is_id(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_survives_its_uri() {
        let name = HsmName { cluster_id: "cluster-abc".into(), hsm_id: "hsm-2".into() };
        assert_eq!(name.to_string(), "strongroom://cluster-abc/hsm-2");
        assert_eq!(HsmName::from_uri(&name.to_string()), Some(name));
    }

    #[test]
    fn other_uris_name_nobody() {
        let long = format!("strongroom://c/{}", "h".repeat(65));
        for uri in [
            "",
            "strongroom://",
            "strongroom://c",
            "strongroom://c/",
            "strongroom:///h",
            "strongroom://c/h/extra",
            "strongroom://c/h?x",
            "strongroom://ć/h",
            "https://c/h",
            &long,
        ] {
            assert_eq!(HsmName::from_uri(uri), None, "{uri}");
        }
    }
}
