//! Masking: how an object's content is sealed before it leaves the engine.
//!
//! In: a content and the id of its object. Out: a masked blob, the only form in which key material
//! enters the log, the store or a backup. Never: a blob that opens under another object's id, in
//! another masking domain, or as an object of another type.
//!
//! A blob is a format byte ([`FORMAT`]), the epoch of the masking key (8 bytes, big-endian), a nonce of
//! 12 bytes, and AES-256-GCM's ciphertext and tag of an encoded [`Body`]. Format 1 has no epoch: it is
//! of the first. The key is HKDF-SHA256 of the cluster's masking key over the masking domain
//! and the object id. One object is sealed a few times in its life at most, so a random nonce under
//! its own key never repeats.

use std::sync::Arc;

use prost::Message;
use strongroom_crypto::symmetric::{self, AeadKey};
use strongroom_crypto::{Curve, Key, KeyKind, Scheme};
use strongroom_vault::attributes::Attribute;
use strongroom_vault::{Flags, Meta, ObjectId};
use zeroize::{Zeroize, Zeroizing};

use crate::content::{Content, Origin};
use crate::error::Error;
use crate::secrets::EpochSecrets;

/// The format that is written.
const FORMAT: u8 = 2;
/// Of the first epoch, which it does not name.
const FORMAT_WITHOUT_EPOCH: u8 = 1;
const EPOCH_BYTES: usize = 8;
const NONCE_BYTES: usize = 12;
const CONTEXT: &[u8] = b"strongroom masked object 1\0";

/// What is sealed.
#[derive(PartialEq, Message)]
#[prost(skip_debug)]
pub(crate) struct Body {
    #[prost(uint64, tag = "1")]
    class: u64,
    #[prost(uint64, optional, tag = "2")]
    key_type: Option<u64>,
    #[prost(uint32, tag = "3")]
    flags: u32,
    #[prost(uint64, optional, tag = "4")]
    generated_by: Option<u64>,
    #[prost(message, repeated, tag = "5")]
    attributes: Vec<BodyAttribute>,
    /// Absent for an object that is no key.
    #[prost(message, optional, tag = "6")]
    key: Option<BodyKey>,
}

#[derive(PartialEq, Message)]
#[prost(skip_debug)]
struct BodyAttribute {
    #[prost(uint64, tag = "1")]
    kind: u64,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// A key in the form of [`Key::to_stored`].
#[derive(PartialEq, Message)]
#[prost(skip_debug)]
struct BodyKey {
    /// [`SECRET`] to [`SCHEME_PUBLIC`].
    #[prost(uint32, tag = "1")]
    form: u32,
    /// CKK_ of a secret key.
    #[prost(uint64, tag = "2")]
    secret_type: u64,
    /// CKA_EC_PARAMS of an EC key.
    #[prost(bytes = "vec", tag = "3")]
    curve: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    material: Vec<u8>,
    /// The name of a scheme's key.
    #[prost(string, tag = "5")]
    scheme: String,
}

const SECRET: u32 = 1;
const RSA_PRIVATE: u32 = 2;
const RSA_PUBLIC: u32 = 3;
const EC_PRIVATE: u32 = 4;
const EC_PUBLIC: u32 = 5;
const SCHEME_PRIVATE: u32 = 6;
const SCHEME_PUBLIC: u32 = 7;

impl Drop for BodyAttribute {
    fn drop(&mut self) {
        self.value.zeroize();
    }
}

impl Drop for BodyKey {
    fn drop(&mut self) {
        self.material.zeroize();
    }
}

macro_rules! opaque {
    ($($name:ident),+) => {$(
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    )+};
}
opaque!(Body, BodyAttribute, BodyKey);

/// Seals objects under the cluster's newest masking key, and opens them under the key of their epoch.
pub(crate) struct Masking(Arc<dyn EpochSecrets>);

impl Masking {
    pub(crate) fn new(secrets: Arc<dyn EpochSecrets>) -> Self {
        Self(secrets)
    }

    /// The epoch in which objects are sealed now.
    pub(crate) fn newest_epoch(&self) -> u64 {
        self.0.epoch()
    }

    /// Whether a blob says that it was sealed in this epoch.
    pub(crate) fn is_of(&self, blob: &[u8], epoch: u64) -> bool {
        epoch_of(blob).is_some_and(|(sealed, _)| sealed == epoch)
    }

    /// Seals a content for the object `id`.
    pub(crate) fn mask(
        &self,
        domain: &[u8; 16],
        id: ObjectId,
        content: &Content,
    ) -> Result<Vec<u8>, Error> {
        let body = Zeroizing::new(encode(content).encode_to_vec());
        let mut nonce = [0; NONCE_BYTES];
        strongroom_crypto::random(&mut nonce)?;
        let associated = associated(domain, id, content.origin.class, content.origin.key_type);
        let epoch = self.0.epoch();
        let key = self.key(epoch, domain, id)?.ok_or(Error::Bug("no newest masking key"))?;
        let sealed = key.seal(nonce, &associated, &body);
        let mut blob = Vec::with_capacity(1 + EPOCH_BYTES + NONCE_BYTES + sealed.len());
        blob.push(FORMAT);
        blob.extend_from_slice(&epoch.to_be_bytes());
        blob.extend_from_slice(&nonce);
        blob.extend_from_slice(&sealed);
        Ok(blob)
    }

    /// Opens a blob of the object `id`, and checks it against what the vault says of the object.
    ///
    /// # Errors
    /// [`Error::Damaged`].
    pub(crate) fn unmask(
        &self,
        domain: &[u8; 16],
        id: ObjectId,
        meta: &Meta,
        blob: &[u8],
    ) -> Result<Arc<Content>, Error> {
        let damaged = || Error::Damaged("a masked object does not open");
        let (epoch, rest) = epoch_of(blob).ok_or_else(damaged)?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_BYTES>().ok_or_else(damaged)?;
        let key = self.key(epoch, domain, id)?;
        let key = key.ok_or(Error::Damaged("a masked object is of an epoch without a key"))?;
        let associated = associated(domain, id, meta.class, meta.key_type);
        let body = key.open(*nonce, &associated, sealed).map_err(|_| damaged())?;
        let content = decode(Body::decode(body.as_bytes()).map_err(|_| damaged())?)?;
        if !content.origin.allows(meta) {
            return Err(Error::Damaged("an object's record is not what was sealed"));
        }
        Ok(Arc::new(content))
    }

    /// `None` where the epoch's key is not here.
    fn key(&self, epoch: u64, domain: &[u8; 16], id: ObjectId) -> Result<Option<AeadKey>, Error> {
        let Some(masking) = self.0.masking(epoch) else { return Ok(None) };
        let info = [CONTEXT, domain, &id.0].concat();
        Ok(Some(AeadKey::from_secret(&symmetric::derive(masking.as_bytes(), &info))?))
    }
}

/// The epoch that a blob was sealed in, and what follows it.
fn epoch_of(blob: &[u8]) -> Option<(u64, &[u8])> {
    let (format, rest) = blob.split_first()?;
    match *format {
        FORMAT_WITHOUT_EPOCH => Some((1, rest)),
        FORMAT => {
            let (epoch, rest) = rest.split_first_chunk::<EPOCH_BYTES>()?;
            Some((u64::from_be_bytes(*epoch), rest))
        }
        _ => None,
    }
}

fn associated(domain: &[u8; 16], id: ObjectId, class: u64, key_type: Option<u64>) -> Vec<u8> {
    let mut out = [CONTEXT, domain, &id.0].concat();
    out.extend_from_slice(&class.to_be_bytes());
    out.push(u8::from(key_type.is_some()));
    out.extend_from_slice(&key_type.unwrap_or(0).to_be_bytes());
    out
}

pub(crate) fn encode(content: &Content) -> Body {
    Body {
        class: content.origin.class,
        key_type: content.origin.key_type,
        flags: content.origin.flags.0,
        generated_by: content.origin.generated_by,
        attributes: content
            .attributes
            .iter()
            .map(|a| BodyAttribute { kind: a.kind, value: a.value.clone() })
            .collect(),
        key: content.key.as_ref().map(encode_key),
    }
}

fn encode_key(key: &Key) -> BodyKey {
    let (form, secret_type, curve) = match key.kind() {
        KeyKind::Secret(key_type) => (SECRET, key_type, Vec::new()),
        KeyKind::RsaPrivate => (RSA_PRIVATE, 0, Vec::new()),
        KeyKind::RsaPublic => (RSA_PUBLIC, 0, Vec::new()),
        KeyKind::EcPrivate(curve) => (EC_PRIVATE, 0, curve.params().to_vec()),
        KeyKind::EcPublic(curve) => (EC_PUBLIC, 0, curve.params().to_vec()),
        KeyKind::SchemePrivate(_) => (SCHEME_PRIVATE, 0, Vec::new()),
        KeyKind::SchemePublic(_) => (SCHEME_PUBLIC, 0, Vec::new()),
    };
    let scheme = match key.kind() {
        KeyKind::SchemePrivate(scheme) | KeyKind::SchemePublic(scheme) => scheme.name().to_owned(),
        _ => String::new(),
    };
    BodyKey { form, secret_type, curve, scheme, material: key.to_stored().into_plain() }
}

pub(crate) fn decode(mut body: Body) -> Result<Content, Error> {
    let key = body.key.take().map(|key| decode_key(&key)).transpose()?;
    let attributes = body
        .attributes
        .iter_mut()
        .map(|a| Attribute { kind: a.kind, value: std::mem::take(&mut a.value) })
        .collect();
    let origin = Origin {
        class: body.class,
        key_type: body.key_type,
        flags: Flags(body.flags),
        generated_by: body.generated_by,
    };
    Ok(Content { origin, key, attributes })
}

fn decode_key(key: &BodyKey) -> Result<Key, Error> {
    let damaged = || Error::Damaged("a masked key is of no known form");
    let curve = || Curve::from_params(&key.curve).ok_or_else(damaged);
    let scheme = || Scheme::from_name(&key.scheme).ok_or_else(damaged);
    let kind = match key.form {
        SECRET => KeyKind::Secret(key.secret_type),
        RSA_PRIVATE => KeyKind::RsaPrivate,
        RSA_PUBLIC => KeyKind::RsaPublic,
        EC_PRIVATE => KeyKind::EcPrivate(curve()?),
        EC_PUBLIC => KeyKind::EcPublic(curve()?),
        SCHEME_PRIVATE => KeyKind::SchemePrivate(scheme()?),
        SCHEME_PUBLIC => KeyKind::SchemePublic(scheme()?),
        _ => return Err(damaged()),
    };
    Key::from_stored(kind, &key.material).map_err(|_| damaged())
}

#[cfg(test)]
mod tests {
    use super::*;
    use cryptoki_sys::*;
    use strongroom_crypto::SecretBytes;

    const DOMAIN: [u8; 16] = [1; 16];
    const ID: ObjectId = ObjectId([2; 16]);

    /// Keys that depend on their epoch.
    struct Epochs {
        newest: u64,
        seed: u8,
    }

    impl EpochSecrets for Epochs {
        fn epoch(&self) -> u64 {
            self.newest
        }

        fn masking(&self, epoch: u64) -> Option<SecretBytes> {
            let key = vec![self.seed.wrapping_add(epoch as u8); 32];
            (1..=self.newest).contains(&epoch).then(|| SecretBytes::new(key))
        }

        fn ticket(&self, _epoch: u64) -> Option<SecretBytes> {
            None
        }
    }

    fn at(newest: u64, seed: u8) -> Masking {
        Masking::new(Arc::new(Epochs { newest, seed }))
    }

    fn under(seed: u8) -> Masking {
        at(1, seed)
    }

    fn masking() -> Masking {
        under(9)
    }

    fn object() -> (Meta, Arc<Content>) {
        let meta = Meta {
            class: CKO_SECRET_KEY,
            key_type: Some(CKK_AES),
            flags: Flags::TOKEN | Flags::SENSITIVE,
            ..Meta::default()
        };
        let key = strongroom_crypto::generate_secret(CKK_AES, 32).unwrap();
        let note = Attribute { kind: 0x8000_0001, value: b"note".to_vec() };
        let content = Content::new(&meta, Some(key), vec![note]);
        (meta, content)
    }

    #[test]
    fn what_was_masked_opens_again() {
        let (meta, content) = object();
        let blob = masking().mask(&DOMAIN, ID, &content).unwrap();
        let opened = masking().unmask(&DOMAIN, ID, &meta, &blob).unwrap();
        let value = |content: &Content| content.attribute(CKA_VALUE).unwrap();
        assert!(value(&opened) == value(&content));
        assert_eq!(opened.given(0x8000_0001), Some(&b"note"[..]));
        let material = value(&content);
        assert!(!blob.windows(material.len()).any(|window| window == &material[..]));
    }

    #[test]
    fn a_blob_opens_as_long_as_the_key_of_its_epoch_is_there() {
        let (meta, content) = object();
        let blob = masking().mask(&DOMAIN, ID, &content).unwrap();
        assert!(at(3, 9).unmask(&DOMAIN, ID, &meta, &blob).is_ok());
        let newer = at(3, 9).mask(&DOMAIN, ID, &content).unwrap();
        assert_eq!(epoch_of(&newer).map(|(epoch, _)| epoch), Some(3));
        assert!(at(3, 9).unmask(&DOMAIN, ID, &meta, &newer).is_ok());
        assert!(at(2, 9).unmask(&DOMAIN, ID, &meta, &newer).is_err());
    }

    #[test]
    fn a_blob_without_an_epoch_is_of_the_first() {
        let (meta, content) = object();
        let blob = masking().mask(&DOMAIN, ID, &content).unwrap();
        let old = [&[FORMAT_WITHOUT_EPOCH], &blob[1 + EPOCH_BYTES..]].concat();
        assert!(at(3, 9).unmask(&DOMAIN, ID, &meta, &old).is_ok());
    }

    #[test]
    fn every_kind_of_key_survives_masking() {
        let rsa = strongroom_crypto::generate_rsa(2048, &[1, 0, 1]).unwrap();
        let mut keys = vec![rsa.public_key().unwrap(), rsa];
        for curve in Curve::ALL {
            let key = strongroom_crypto::generate_ec(curve).unwrap();
            keys.push(key.public_key().unwrap());
            keys.push(key);
        }
        let (meta, _) = object();
        for key in keys {
            let stored = key.to_stored();
            let content = Content::new(&meta, Some(key), Vec::new());
            let blob = masking().mask(&DOMAIN, ID, &content).unwrap();
            let opened = masking().unmask(&DOMAIN, ID, &meta, &blob).unwrap();
            assert!(opened.key().unwrap().to_stored().ct_eq(stored.as_bytes()));
        }
    }

    #[test]
    fn a_blob_opens_only_as_the_object_that_it_was_made_for() {
        let (meta, content) = object();
        let blob = masking().mask(&DOMAIN, ID, &content).unwrap();
        let fails = |domain: [u8; 16], id, meta: &Meta, blob: &[u8]| {
            matches!(masking().unmask(&domain, id, meta, blob), Err(Error::Damaged(_)))
        };
        assert!(fails([3; 16], ID, &meta, &blob));
        assert!(fails(DOMAIN, ObjectId([3; 16]), &meta, &blob));
        let generic = Meta { key_type: Some(CKK_GENERIC_SECRET), ..meta.clone() };
        assert!(fails(DOMAIN, ID, &generic, &blob));
        let open = Meta { flags: Flags::TOKEN, ..meta.clone() };
        assert!(fails(DOMAIN, ID, &open, &blob));
        let other = under(8);
        assert!(other.unmask(&DOMAIN, ID, &meta, &blob).is_err());
    }

    #[test]
    fn a_damaged_blob_does_not_open() {
        let (meta, content) = object();
        let blob = masking().mask(&DOMAIN, ID, &content).unwrap();
        for length in 0..blob.len() {
            assert!(masking().unmask(&DOMAIN, ID, &meta, &blob[..length]).is_err());
        }
        for at in 0..blob.len() {
            let mut changed = blob.clone();
            changed[at] ^= 0x10;
            assert!(masking().unmask(&DOMAIN, ID, &meta, &changed).is_err(), "byte {at}");
        }
    }
}
