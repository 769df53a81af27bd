//! What a client reads: its configuration, its owner's CA, an HSM's certificates.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use strongroom_client::config::{
    Document, LogLevel, LogRotation, RetryMode, Server, Switch, Target,
};
use strongroom_client::trust::Anchor;
use strongroom_client::{Config, Error};

use crate::certificates::{ca, cluster, pem, signed_part};
use crate::fixed;
use crate::input::{Fields, framed, frames};

/// A chain against a good anchor. First a byte that says what the rest is: 0, certificates in frames,
/// leaf first; 1, a leaf's signed part, which the cluster signs; 2, a cluster certificate's, which
/// customerCA signs.
///
/// Whoever has none of the keys passes with nothing but the certificates that were issued.
pub(super) fn chain(data: &[u8]) -> bool {
    let mut fields = Fields(data);
    let kind = fields.byte();
    let rest = fields.rest();
    let certificates: Vec<Vec<u8>> = match kind {
        1 => vec![cluster().certificate(rest), fixed::CLUSTER.to_vec()],
        2 => vec![fixed::LEAF.to_vec(), ca().certificate(rest)],
        _ => frames(rest).map(<[u8]>::to_vec).collect(),
    };
    let [leaf, rest @ ..] = &certificates[..] else { return false };
    let rest: Vec<&[u8]> = rest.iter().map(Vec::as_slice).collect();
    let Ok(identity) = anchor().check(leaf, &rest, fixed::NOW) else { return false };
    assert_eq!(identity.cluster_id, fixed::CLUSTER_ID);
    if !matches!(kind, 1 | 2) {
        assert_eq!(signed_part(leaf), signed_part(fixed::LEAF), "a forged leaf");
        assert_eq!(signed_part(rest[0]), signed_part(fixed::CLUSTER), "a forged cluster");
    }
    true
}

pub(super) fn chain_seeds() -> Vec<Vec<u8>> {
    let chain = |certificates: &[&[u8]]| [&[0][..], &framed(certificates)].concat();
    let part = |kind, der| [&[kind][..], signed_part(der).expect("a certificate")].concat();
    vec![
        chain(&[fixed::LEAF, fixed::CLUSTER]),
        chain(&[fixed::LEAF, fixed::RSA_CLUSTER]),
        chain(&[fixed::LEAF, fixed::CLUSTER, fixed::CA]),
        chain(&[fixed::LEAF]),
        part(1, fixed::LEAF),
        part(2, fixed::CLUSTER),
        part(2, fixed::RSA_CLUSTER),
    ]
}

fn anchor() -> &'static Anchor {
    static ANCHOR: OnceLock<Anchor> = OnceLock::new();
    ANCHOR.get_or_init(|| open_anchor(&pem(fixed::CA)).expect("a good anchor"))
}

/// The anchor in a PEM text.
///
/// # Errors
/// As [`Anchor::open`].
pub(super) fn open_anchor(pem: &str) -> Result<Anchor, Error> {
    let path = written("customerCA.crt", pem.as_bytes());
    let config = Config::cluster(path, vec![Server::new("127.0.0.1", 2223)]);
    match &config.target {
        Target::Cluster(cluster) => Anchor::open(cluster),
        _ => unreachable!("a cluster was configured"),
    }
}

/// A file of this process's own.
fn written(name: &str, content: &[u8]) -> PathBuf {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| tempfile::tempdir().expect("a temporary folder"));
    let path = folder.path().join(name);
    // A file that is truncated and written anew waits for the disk on some file systems.
    let _ = std::fs::remove_file(&path);
    std::fs::write(&path, content).expect("a temporary file");
    path
}

/// An anchor: 0, a file's content; 1, what stands in it as PEM; 2, the signed part, which customerCA
/// signs itself.
pub(super) fn anchor_file(data: &[u8]) -> bool {
    let mut fields = Fields(data);
    let kind = fields.byte();
    let rest = fields.rest();
    let text = match kind {
        1 => pem(rest),
        2 => pem(&ca().certificate(rest)),
        _ => String::from_utf8_lossy(rest).into_owned(),
    };
    let Ok(anchor) = open_anchor(&text) else { return false };
    // Whether the chain is its own depends on what has become of it.
    let _ = anchor.check(fixed::LEAF, &[fixed::CLUSTER], fixed::NOW);
    true
}

pub(super) fn anchor_file_seeds() -> Vec<Vec<u8>> {
    let text = format!("Certificate:\n    Data:\n{}\n", pem(fixed::CA));
    let signed = signed_part(fixed::CA).expect("a certificate");
    vec![
        [&[0][..], text.as_bytes()].concat(),
        [&[0][..], pem(fixed::RSA_CA).as_bytes()].concat(),
        [&[1][..], fixed::CA].concat(),
        [&[1][..], fixed::RSA_CA].concat(),
        [&[2][..], signed].concat(),
    ]
}

/// A configuration file, read by a program and edited by the configure tools.
pub(super) fn config(data: &[u8]) -> bool {
    let path = written("client.json", data);
    let config = Config::read(&path);
    let Ok(mut document) = Document::open(&path) else {
        assert!(config.is_err(), "what cannot be edited cannot be used");
        return false;
    };
    let usable = config.is_ok();
    assert_eq!(document.config().ok(), config.ok(), "reading writes nothing else");
    edit(&mut document);
    assert_eq!(document.servers(), [Server::new("::1", 1), Server::new("10.0.0.9", 2223)]);
    let again = Document::open(written("edited.json", document.to_json().as_bytes()));
    assert_eq!(again.map(|again| again.to_json()).ok(), Some(document.to_json()));
    // Other keys may still be wrong: then the file stays refused.
    let _ = document.config();
    usable
}

/// Everything that the configure tools do.
fn edit(document: &mut Document) {
    document.set_servers(&[Server::new("10.0.0.1", 2223), Server::new("::1", 1)]);
    document.add_server(&Server::new("10.0.0.9", 2223));
    document.remove_server(&Server::new("10.0.0.1", 2223));
    document.set_hsm_ca_file(Path::new("customerCA.crt"));
    document.set_option(Switch::DisableKeyAvailabilityCheck, true);
    document.set_option(Switch::ValidateKeyAtInit, false);
    document.set_retry_mode(RetryMode::Off);
    document.set_log_terminal(true);
    document.set_log_file(Path::new("run.log"));
    document.set_log_level(LogLevel::Debug);
    document.set_log_rotation(LogRotation::Hourly);
    document.set_cluster_keys(&[[7; 32]]);
    document.set_cluster_id(None);
    document.set_personality(None);
}

pub(super) fn config_seeds() -> Vec<Vec<u8>> {
    let mut edited = Document::new("client.json");
    edit(&mut edited);
    let full = r#"{"clusters":[{"type":"hsm1","cluster":{"hsm_ca_file":"ca.crt",
        "servers":[{"hostname":"10.0.1.10","port":2223,"enable":true},{"hostname":"h","enable":false}],
        "options":{"disable_key_availability_check":true,"default_retry_mode":"standard"}}}],
        "logging":{"log_type":"file","log_file":"l","log_level":"info","log_interval":"daily"},
        "personality":"cloudhsm","cluster_id":"cluster-7kzqyl3m2ab","patience_ms":10000,
        "cluster_key":"00:01:02:03:04:05:06:07:08:09:0a:0b:0c:0d:0e:0f:10:11:12:13:14:15:16:17:18:19:1a:1b:1c:1d:1e:1f",
        "answer_timeout_ms":60000,"unknown":[1.5e300,null,"\ud83d\ude00"]}"#;
    let local = r#"{"local":{"dir":"/var/lib/strongroom"},"personality":"token"}"#;
    [edited.to_json().as_str(), full, local].map(|text| text.as_bytes().to_vec()).to_vec()
}
