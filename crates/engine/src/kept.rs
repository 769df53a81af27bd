//! Session objects as their client keeps them, to put them onto another HSM when theirs dies.
//!
//! In: a session object, and for whom it is: a client, and where the object is private the login that
//! it was made under. Out: a blob that opens on every HSM of the cluster, for these alone. With the
//! login it ends, because nobody can attach with it any more. Never: a blob that opens as another
//! object, as another version of it, or in another session of the application.
//!
//! A blob is a head ([`FORMAT`]; 1 where a login is needed, else 0; the epoch of the ticket key, 8 bytes,
//! big-endian), a nonce of 12 bytes, and AES-256-GCM's ciphertext and tag of an encoded [`Body`] with
//! the head and the session as associated data. The key is HKDF-SHA256 of the ticket key over the
//! masking domain, the login, the client, the handle and the version: a version is sealed a few times
//! at most, so a random nonce never repeats under its key.

use std::sync::Arc;

use cryptoki_sys::CKR_OBJECT_HANDLE_INVALID;
use prost::Message;
use strongroom_crypto::symmetric::{self, AeadKey};
use strongroom_vault::{ClientId, Flags, Handle, LoginId, Object, ObjectId, UserId, codec};
use strongroom_wire::{limits, message};
use zeroize::Zeroizing;

use crate::error::Error;
use crate::mask;
use crate::secrets::EpochSecrets;
use crate::session::{Became, Kept, SessionObject};

const FORMAT: u8 = 1;
const HEAD_BYTES: usize = 1 + 1 + 8;
const NONCE_BYTES: usize = 12;
const CONTEXT: &[u8] = b"strongroom session object 1\0";

/// What is sealed.
#[derive(PartialEq, Message)]
#[prost(skip_debug)]
struct Body {
    #[prost(uint32, tag = "1")]
    owner: u32,
    /// The login that it was made under, 0 for none.
    #[prost(uint64, tag = "2")]
    login: u64,
    /// As the vault encodes it.
    #[prost(bytes = "vec", tag = "3")]
    meta: Vec<u8>,
    #[prost(message, optional, tag = "4")]
    content: Option<mask::Body>,
    /// The token object that it has become; then there is nothing else.
    #[prost(uint64, optional, tag = "5")]
    became: Option<u64>,
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Body(..)")
    }
}

/// For whom a blob is sealed, and where.
#[derive(Clone, Copy)]
pub(crate) struct Holder {
    pub(crate) client: ClientId,
    /// The login that the connection has.
    pub(crate) login: Option<LoginId>,
    /// The masking domain.
    pub(crate) domain: [u8; 16],
}

/// Seals session objects under the cluster's newest ticket key, and opens them under the key of their
/// epoch.
pub(crate) struct Keeping(Arc<dyn EpochSecrets>);

impl Keeping {
    pub(crate) fn new(secrets: Arc<dyn EpochSecrets>) -> Self {
        Self(secrets)
    }

    /// Seals an object for its client.
    ///
    /// # Errors
    /// The random generator's.
    pub(crate) fn seal(
        &self,
        client: ClientId,
        domain: [u8; 16],
        kept: &Kept,
    ) -> Result<message::SessionObject, Error> {
        let needs = match kept {
            Kept::Object(kept) => kept.needs(),
            Kept::Became(became) => became.needs,
        };
        let (handle, version) = (kept.handle(), kept.version());
        let epoch = self.0.epoch();
        let holder = Holder { client, login: needs, domain };
        let key = self.key(epoch, holder, handle, version)?;
        let key = key.ok_or(Error::Bug("no newest ticket key"))?;
        let mut nonce = [0; NONCE_BYTES];
        strongroom_crypto::random(&mut nonce)?;
        let body = encode(kept);
        let mut blob = vec![FORMAT, u8::from(needs.is_some())];
        blob.extend_from_slice(&epoch.to_be_bytes());
        let sealed = key.seal(nonce, &associated(&blob, kept.session()), &body);
        blob.extend_from_slice(&nonce);
        blob.extend_from_slice(&sealed);
        Ok(message::SessionObject { handle: handle.0, session: kept.session(), version, blob })
    }

    /// Opens what a client gives back.
    ///
    /// # Errors
    /// CKR_OBJECT_HANDLE_INVALID where it is not this client's and login's, or is not what was sealed.
    pub(crate) fn open(
        &self,
        holder: Holder,
        given: &message::SessionObject,
    ) -> Result<Kept, Error> {
        self.opened(holder, given)?.ok_or_else(|| {
            Error::caller(
                CKR_OBJECT_HANDLE_INVALID,
                format!("session object {:#x} is not of this client and login", given.handle),
            )
        })
    }

    fn opened(
        &self,
        holder: Holder,
        given: &message::SessionObject,
    ) -> Result<Option<Kept>, Error> {
        let Some((head, rest)) = given.blob.split_first_chunk::<HEAD_BYTES>() else {
            return Ok(None);
        };
        let [FORMAT, bound, epoch @ ..] = head else { return Ok(None) };
        let Some((nonce, sealed)) = rest.split_first_chunk::<NONCE_BYTES>() else {
            return Ok(None);
        };
        let login = match (bound, holder.login) {
            (0, _) => None,
            (1, Some(login)) => Some(login),
            _ => return Ok(None),
        };
        if given.blob.len() > limits::SESSION_OBJECT_BLOBS_BYTES_MAX {
            return Ok(None);
        }
        let handle = Handle(given.handle);
        let epoch = u64::from_be_bytes(*epoch);
        let Some(key) = self.key(epoch, Holder { login, ..holder }, handle, given.version)? else {
            return Ok(None);
        };
        match key.open(*nonce, &associated(head, given.session), sealed) {
            Ok(body) => Ok(decode(login, given, body.as_bytes())),
            Err(_) => Ok(None),
        }
    }

    /// `None` where the epoch's key is not here.
    fn key(
        &self,
        epoch: u64,
        holder: Holder,
        handle: Handle,
        version: u64,
    ) -> Result<Option<AeadKey>, Error> {
        let Some(ticket) = self.0.ticket(epoch) else { return Ok(None) };
        let login = holder.login.map_or(0, |login| login.0);
        let info = [
            CONTEXT,
            &holder.domain,
            &login.to_be_bytes(),
            &holder.client.0,
            &handle.0.to_be_bytes(),
            &version.to_be_bytes(),
        ]
        .concat();
        Ok(Some(AeadKey::from_secret(&symmetric::derive(ticket.as_bytes(), &info))?))
    }
}

fn associated(head: &[u8], session: u64) -> Vec<u8> {
    [head, &session.to_be_bytes()].concat()
}

/// What is sealed of an object.
pub(crate) fn encode(kept: &Kept) -> Zeroizing<Vec<u8>> {
    let body = match kept {
        Kept::Object(kept) => Body {
            owner: kept.object.owner.0,
            login: kept.login.map_or(0, |login| login.0),
            meta: codec::encode_meta(&kept.object.meta),
            content: Some(mask::encode(&kept.content)),
            became: None,
        },
        Kept::Became(became) => Body { became: Some(became.token.0), ..Body::default() },
    };
    Zeroizing::new(body.encode_to_vec())
}

/// What was sealed for `needs`; `None` where no HSM seals such a thing.
pub(crate) fn decode(
    needs: Option<LoginId>,
    given: &message::SessionObject,
    body: &[u8],
) -> Option<Kept> {
    let body = Body::decode(body).ok()?;
    let handle = Handle(given.handle);
    if !handle.is_session() {
        return None;
    }
    let version = given.version;
    if let Some(token) = body.became {
        let token = Handle(token);
        return (!token.is_session() && given.session == 0).then_some(Kept::Became(Became {
            handle,
            token,
            version,
            needs,
        }));
    }
    let meta = codec::decode_meta(&body.meta).ok()?;
    let content = mask::decode(body.content?).ok()?;
    let login = (body.login != 0).then_some(LoginId(body.login));
    let private = meta.flags.contains(Flags::PRIVATE);
    let sound = content.origin.allows(&meta)
        && !meta.flags.contains(Flags::TOKEN)
        && needs == if private { login } else { None };
    sound.then(|| {
        let owner = UserId(body.owner);
        Kept::Object(Arc::new(SessionObject {
            object: Object { handle, id: ObjectId::default(), owner, version, meta },
            session: given.session,
            login,
            content: Arc::new(content),
        }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::Content;
    use crate::secrets::EngineSecrets;
    use cryptoki_sys::*;
    use strongroom_crypto::SecretBytes;
    use strongroom_vault::Meta;
    use strongroom_vault::attributes::Attribute;

    const HOLDER: Holder =
        Holder { client: ClientId([1; 16]), login: Some(LoginId(7)), domain: [2; 16] };

    fn keeping(ticket: u8) -> Keeping {
        Keeping::new(Arc::new(EngineSecrets {
            masking: SecretBytes::new(vec![0; 32]),
            ticket: SecretBytes::new(vec![ticket; 32]),
        }))
    }

    fn object(flags: Flags) -> Kept {
        let meta = Meta {
            class: CKO_SECRET_KEY,
            key_type: Some(CKK_AES),
            flags: flags | Flags::SENSITIVE,
            label: b"label".to_vec(),
            ..Meta::default()
        };
        let key = strongroom_crypto::generate_secret(CKK_AES, 32).unwrap();
        let note = Attribute { kind: 0x8000_0001, value: b"note".to_vec() };
        let content = Content::new(&meta, Some(key), vec![note]);
        Kept::Object(Arc::new(SessionObject {
            object: Object {
                handle: Handle(Handle::SESSION_BIT | 5),
                id: ObjectId::default(),
                owner: UserId(3),
                version: 4,
                meta,
            },
            session: 9,
            login: HOLDER.login,
            content,
        }))
    }

    fn seal(kept: &Kept) -> message::SessionObject {
        keeping(1).seal(HOLDER.client, HOLDER.domain, kept).unwrap()
    }

    fn opens(holder: Holder, given: &message::SessionObject) -> bool {
        match keeping(1).open(holder, given) {
            Ok(_) => true,
            Err(error) => {
                assert_eq!(error.ckr(), CKR_OBJECT_HANDLE_INVALID);
                false
            }
        }
    }

    #[test]
    fn what_was_sealed_opens_as_the_same_object() {
        for flags in [Flags::PRIVATE, Flags(0)] {
            let kept = object(flags);
            let (Kept::Object(was), Kept::Object(is)) =
                (&kept, &keeping(1).open(HOLDER, &seal(&kept)).unwrap())
            else {
                panic!("no object")
            };
            assert_eq!(was.object, is.object);
            assert_eq!((was.session, was.login), (is.session, is.login));
            assert!(mask::encode(&was.content) == mask::encode(&is.content));
        }
        let became = Became {
            handle: Handle(Handle::SESSION_BIT | 5),
            token: Handle::FIRST,
            version: 2,
            needs: HOLDER.login,
        };
        let given = seal(&Kept::Became(became));
        assert!(matches!(keeping(1).open(HOLDER, &given), Ok(Kept::Became(is)) if is == became));
    }

    #[test]
    fn a_private_object_opens_for_its_client_and_login_only() {
        let given = seal(&object(Flags::PRIVATE));
        assert!(opens(HOLDER, &given));
        assert!(!opens(Holder { client: ClientId([3; 16]), ..HOLDER }, &given));
        assert!(!opens(Holder { login: Some(LoginId(8)), ..HOLDER }, &given));
        assert!(!opens(Holder { login: None, ..HOLDER }, &given));
        assert!(!opens(Holder { domain: [3; 16], ..HOLDER }, &given));
        assert!(keeping(2).open(HOLDER, &given).is_err());
    }

    #[test]
    fn a_public_object_opens_for_its_client_with_any_login() {
        let given = seal(&object(Flags(0)));
        for login in [None, Some(LoginId(8))] {
            assert!(opens(Holder { login, ..HOLDER }, &given));
            assert!(!opens(Holder { client: ClientId([3; 16]), login, ..HOLDER }, &given));
        }
    }

    #[test]
    fn nothing_opens_with_a_bit_turned_or_cut_short() {
        for flags in [Flags::PRIVATE, Flags(0)] {
            let given = seal(&object(flags));
            for bit in 0..given.blob.len() * 8 {
                let mut changed = given.clone();
                changed.blob[bit / 8] ^= 1 << (bit % 8);
                assert!(!opens(HOLDER, &changed), "bit {bit}");
            }
            for length in 0..given.blob.len() {
                let blob = given.blob[..length].to_vec();
                assert!(!opens(HOLDER, &message::SessionObject { blob, ..given.clone() }));
            }
            for bit in 0..64 {
                let turned = |number: u64| number ^ (1 << bit);
                let blob = || given.blob.clone();
                let message::SessionObject { handle, session, version, .. } = given;
                for (handle, session, version) in [
                    (turned(handle), session, version),
                    (handle, turned(session), version),
                    (handle, session, turned(version)),
                ] {
                    let changed = message::SessionObject { handle, session, version, blob: blob() };
                    assert!(!opens(HOLDER, &changed));
                }
            }
        }
    }
}
