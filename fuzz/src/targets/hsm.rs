//! What an HSM's process is given: the owner's certificates, the provisioner's, and bytes of any peer.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use strongroom_crypto::Key;
use strongroom_hsm::fuzzing::{self, Issuer};
use strongroom_wire::frame;
use strongroom_wire::limits::FRAME_BYTES_BEFORE_ATTACH_MAX;

use super::client::open_anchor;
use crate::certificates::{ca, pem, signed_part};
use crate::fixed;
use crate::input::{Fields, framed, frames};

/// The owner's certificates. First a byte: 0, the cluster's and the anchor's PEM in frames; 1, the
/// same as DER; 2, the cluster certificate's signed part, which customerCA signs; 3, the anchor's,
/// which signs itself.
///
/// With what an HSM takes, its leaf must pass with every client: the owner's certificates are for ever.
pub(super) fn owner(data: &[u8]) -> bool {
    let mut fields = Fields(data);
    let kind = fields.byte();
    let rest = fields.rest();
    let mut two = frames(rest).chain(std::iter::repeat(&[][..]));
    let mut next = || two.next().unwrap_or_default();
    let (cluster, anchor) = match kind {
        1 => (pem(next()), pem(next())),
        2 => (pem(&ca().certificate(rest)), pem(fixed::CA)),
        3 => (pem(fixed::CLUSTER), pem(&ca().certificate(rest))),
        _ => {
            let mut text = || String::from_utf8_lossy(next()).into_owned();
            (text(), text())
        }
    };
    let taken = fuzzing::owner(cluster_key(), fixed::CLUSTER_ID, &cluster, &anchor, now()).is_ok();
    if taken {
        let begin = cluster.find("-----BEGIN").unwrap_or_default();
        let (_, der) = pem_rfc7468::decode_vec(cluster[begin..].trim_end().as_bytes())
            .expect("a certificate that an HSM took");
        let chain = issuer().leaf(&der, now()).expect("a leaf under a certificate that was taken");
        let checked = open_anchor(&anchor).expect("an anchor that a client takes, too").check(
            &chain[0],
            &[&chain[1]],
            fixed::NOW,
        );
        assert_eq!(checked.map(|identity| identity.cluster_id), Ok(fixed::CLUSTER_ID.to_owned()));
    }
    taken
}

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(fixed::NOW)
}

fn issuer() -> &'static Issuer {
    static ISSUER: OnceLock<Issuer> = OnceLock::new();
    ISSUER.get_or_init(|| Issuer::new(fixed::CLUSTER_KEY).expect("the cluster's key"))
}

fn cluster_key() -> &'static [u8] {
    static KEY: OnceLock<Vec<u8>> = OnceLock::new();
    KEY.get_or_init(|| {
        let key = Key::from_pkcs8(fixed::CLUSTER_KEY).expect("the cluster's key");
        key.to_spki().expect("a public key")
    })
}

pub(super) fn owner_seeds() -> Vec<Vec<u8>> {
    let text = |cluster, anchor| [&[0][..], &framed([pem(cluster), pem(anchor)])].concat();
    let der = |cluster, anchor| [&[1][..], &framed([cluster, anchor])].concat();
    let part = |kind, der| [&[kind][..], signed_part(der).expect("a certificate")].concat();
    vec![
        text(fixed::CLUSTER, fixed::CA),
        text(fixed::RSA_CLUSTER, fixed::RSA_CA),
        der(fixed::CLUSTER, fixed::CA),
        der(fixed::RSA_CLUSTER, fixed::RSA_CA),
        part(2, fixed::CLUSTER),
        part(2, fixed::RSA_CLUSTER),
        part(3, fixed::CA),
        part(3, fixed::RSA_CA),
    ]
}

/// The provisioner's certificate, and a leaf under whatever it is: 0, PEM; 1, DER.
pub(super) fn provisioner(data: &[u8]) -> bool {
    let mut fields = Fields(data);
    let kind = fields.byte();
    let rest = fields.rest();
    let text = if kind == 1 { pem(rest) } else { String::from_utf8_lossy(rest).into_owned() };
    // Its subject may be any: so may that of a leaf's issuer.
    let _ = issuer().leaf(rest, now());
    fuzzing::provisioner(&text).is_ok()
}

pub(super) fn provisioner_seeds() -> Vec<Vec<u8>> {
    vec![
        [&[0][..], pem(fixed::CA).as_bytes()].concat(),
        [&[1][..], fixed::LEAF].concat(),
        [&[1][..], fixed::RSA_CLUSTER].concat(),
    ]
}

/// A stream that arrives in pieces, of a first byte's length, is cut as one that is there at once.
pub(super) fn received(data: &[u8]) -> bool {
    let mut fields = Fields(data);
    let step = usize::from(fields.byte());
    let stream = fields.rest();
    let cut = fuzzing::frames(stream, step, FRAME_BYTES_BEFORE_ATTACH_MAX);
    let (mut whole, mut rest, mut payload) = (Vec::new(), stream, Vec::new());
    while frame::read_payload(&mut rest, &mut payload, FRAME_BYTES_BEFORE_ATTACH_MAX).is_ok() {
        whole.push(payload.clone());
    }
    assert_eq!(cut, whole);
    !whole.is_empty()
}

pub(super) fn received_seeds() -> Vec<Vec<u8>> {
    let stream = framed([&b"one"[..], b"", &[7; 300], b"four"]);
    [1, 3, 255].map(|step| [&[step][..], &stream].concat()).to_vec()
}

/// What a new HSM says of itself: the statement and its signature in frames. First a byte: 0, as they
/// stand; else the statement is signed by the device's key, so that what is behind the signature is
/// reached.
pub(super) fn newcomer(data: &[u8]) -> bool {
    let mut fields = Fields(data);
    let kind = fields.byte();
    let rest = fields.rest();
    let mut two = frames(rest).chain(std::iter::repeat(&[][..]));
    let mut next = || two.next().unwrap_or_default();
    let (statement, signature) = (next(), next());
    match kind {
        0 => fuzzing::newcomer(statement, signature).is_ok(),
        _ => fuzzing::newcomer(statement, &issuer().signed_statement(statement)).is_ok(),
    }
}

pub(super) fn newcomer_seeds() -> Vec<Vec<u8>> {
    let statement = issuer().statement();
    let signature = issuer().signed_statement(&statement);
    vec![
        [&[0][..], &framed([statement.as_slice(), &signature])].concat(),
        [&[1][..], &framed([statement.as_slice(), &[]])].concat(),
    ]
}
