//! Signing and MACing (PKCS#11 2.40, section 5.11), and the state that verifying shares.
//!
//! Where a mechanism hashes, RSA and ECDSA, the hash is computed here and only it travels: data of
//! any size, one small request. HMAC goes to the HSM, whose key it needs; so does data that is
//! signed as it is.

use std::sync::Arc;

use cryptoki_sys::*;
use strongroom_crypto::mechanism::Kind;
use strongroom_crypto::{Hash, Hasher, MAC_PART_BYTES, Scheme};
use strongroom_wire::limits::DATA_BYTES_MAX;
use strongroom_wire::message::{self, MacPart, Operation, Parameter, Sign, Verify};
use zeroize::Zeroizing;

use crate::abi::mechanism::Mechanism;
use crate::abi::raw::{Input, Output};
use crate::error::{Ckr, Result};
use crate::key_info::{self, KeyInfo};
use crate::mechanism;
use crate::module::{Module, wide};
use crate::operation::{self, Progress};
use crate::session::Session;

/// A signature being made or checked.
pub(crate) struct Signing {
    /// The key's handle.
    pub(crate) key: u64,
    mechanism: message::Mechanism,
    kind: Kind,
    info: Arc<KeyInfo>,
    hash: Option<Hash>,
    /// The key's cipher's block, and so a whole CMAC, in bytes.
    block: usize,
    /// Whether its data may come in more than one request.
    in_parts: bool,
    /// Whether it is checked.
    verifies: bool,
    /// The state of a MAC of which the first parts were sent, sealed by the HSM.
    state: Vec<u8>,
    /// What Update calls gave; `None` before the first.
    gathered: Option<Gathered>,
    /// Whether C_Login with CKU_CONTEXT_SPECIFIC must come before it is used.
    pub(crate) waits_for_pin: bool,
}

/// Data that came in pieces.
enum Gathered {
    /// Hashed here.
    Hash(Hasher),
    /// Kept for the HSM.
    Data(Zeroizing<Vec<u8>>),
}

/// What is sent to the HSM.
pub(crate) struct Payload {
    /// The data or its hash.
    pub(crate) data: Vec<u8>,
    /// Whether it is the hash.
    pub(crate) prehashed: bool,
}

impl Signing {
    /// Begins, for `usage` CKF_SIGN or CKF_VERIFY.
    pub(crate) fn begin(
        module: &Module,
        session: u64,
        given: &Mechanism<'_>,
        key: CK_OBJECT_HANDLE,
        usage: CK_FLAGS,
    ) -> Result<Self> {
        let parsed = mechanism::parse(given, module.is_cloudhsm())?;
        let key = wide(key);
        let info = key_info::usable(module, session, key, parsed.entry, usage)?;
        let kind = parsed.entry.operation;
        let hash = match &parsed.wire.parameter {
            // Ed25519ph (RFC 8032, 5.1).
            Some(Parameter::Eddsa(eddsa)) if eddsa.prehash => Some(Hash::Sha512),
            _ => parsed.entry.hash,
        };
        let signing = Self {
            key,
            mechanism: parsed.wire,
            kind,
            waits_for_pin: info.always_authenticate && usage == CKF_SIGN,
            info,
            hash,
            in_parts: parsed.entry.has_mac_state(),
            verifies: usage == CKF_VERIFY,
            state: Vec::new(),
            block: if parsed.entry.key_type == Some(wide(CKK_DES3)) { 8 } else { 16 },
            gathered: None,
        };
        // Known to be wrong already: said here, as PKCS#11 has it, and by the HSM again.
        let longest = signing.hash.map_or(signing.block, Hash::len);
        if signing.kind.is_mac() && signing.signature_length() > longest {
            return Err(Ckr(CKR_MECHANISM_PARAM_INVALID));
        }
        Ok(signing)
    }

    /// The mechanism as it travels.
    pub(crate) fn mechanism(&self) -> message::Mechanism {
        self.mechanism.clone()
    }

    /// The length of a signature in bytes.
    pub(crate) fn signature_length(&self) -> usize {
        match (self.kind, self.hash) {
            (Kind::HmacGeneral | Kind::CmacGeneral | Kind::Gmac, _) => self.cut_length(),
            (Kind::Hmac, Some(hash)) => hash.len(),
            (Kind::Cmac, _) => self.block,
            // PKCS#11 2.40 mechanisms, section 2.3.1: r and s, each as long as the order of the
            // base point, which has the field's length for the curves offered.
            (Kind::Ecdsa, _) => 2 * self.info.bytes,
            (Kind::Eddsa | Kind::MlDsa | Kind::HashMlDsa | Kind::MlDsaMu, _) => {
                self.info.scheme.map_or(0, Scheme::signature_bytes)
            }
            _ => self.info.bytes,
        }
    }

    /// The length of a MAC in bytes that the parameter says.
    fn cut_length(&self) -> usize {
        match &self.mechanism.parameter {
            Some(Parameter::MacLength(length)) => usize::try_from(*length).unwrap_or(usize::MAX),
            Some(Parameter::Gcm(gcm)) => gcm.tag_bits as usize / 8,
            _ => 0,
        }
    }

    /// The hash that is computed here, where one is.
    fn local_hash(&self) -> Option<Hash> {
        self.hash.filter(|_| !self.kind.is_mac())
    }

    /// Takes a piece of the data. What is more than one request of a MAC goes to the HSM.
    pub(crate) fn update(&mut self, module: &Module, session: &Session, data: &[u8]) -> Result<()> {
        let hash = self.local_hash();
        if self.gathered.is_none() {
            // A message before this one may have failed between two parts.
            self.state.clear();
        }
        let gathered = self.gathered.get_or_insert_with(|| match hash {
            Some(hash) => Gathered::Hash(Hasher::new(hash)),
            None => Gathered::Data(Zeroizing::default()),
        });
        let all = match gathered {
            Gathered::Hash(hasher) => {
                hasher.update(data);
                return Ok(());
            }
            Gathered::Data(all) => all,
        };
        if !self.in_parts {
            if data.len() > DATA_BYTES_MAX - all.len() {
                return Err(Ckr(CKR_DATA_LEN_RANGE));
            }
            all.extend_from_slice(data);
            return Ok(());
        }
        let mut all = std::mem::take(&mut **all);
        let mut rest = data;
        while all.len() + rest.len() > DATA_BYTES_MAX {
            let (now, later) = rest.split_at(DATA_BYTES_MAX - all.len());
            all.extend_from_slice(now);
            rest = later;
            // The last request has a whole part at least.
            let kept = all.split_off(DATA_BYTES_MAX - MAC_PART_BYTES);
            let part = self.part(all, false, Vec::new());
            let answer = module.hsm.data(session.handle, part);
            self.state = key_info::used(module, self.key, answer)?;
            all = kept;
        }
        all.extend_from_slice(rest);
        self.gathered = Some(Gathered::Data(Zeroizing::new(all)));
        Ok(())
    }

    /// A part of a MAC as it travels.
    fn part(&mut self, data: Vec<u8>, last: bool, signature: Vec<u8>) -> Operation {
        Operation::MacPart(MacPart {
            handle: self.key,
            mechanism: Some(self.mechanism()),
            state: std::mem::take(&mut self.state),
            data,
            last,
            verify: self.verifies,
            signature,
        })
    }

    /// What asks the HSM for the signature of a payload, or with `signature` for its check.
    pub(crate) fn request(&mut self, payload: Payload, signature: Option<Vec<u8>>) -> Operation {
        let Payload { data, prehashed } = payload;
        if !self.state.is_empty() {
            return self.part(data, true, signature.unwrap_or_default());
        }
        let (handle, mechanism) = (self.key, Some(self.mechanism()));
        match signature {
            None => Operation::Sign(Sign { handle, mechanism, data, prehashed }),
            Some(signature) => {
                Operation::Verify(Verify { handle, mechanism, data, prehashed, signature })
            }
        }
    }

    /// Refuses what takes all data at once after a part was given (PKCS#11 2.40, section 5.11, C_Sign:
    /// "cannot be used to terminate a multi-part operation").
    fn not_in_parts(&self) -> Result<()> {
        if self.gathered.is_some() { Err(Ckr(CKR_OPERATION_ACTIVE)) } else { Ok(()) }
    }

    /// All the data in one piece, for the HSM.
    pub(crate) fn whole(
        &mut self,
        module: &Module,
        session: &Session,
        data: Input<'_>,
    ) -> Result<Payload> {
        self.not_in_parts()?;
        self.state.clear();
        if self.in_parts && data.len() > DATA_BYTES_MAX {
            self.update(module, session, data.bytes())?;
            return Ok(self.pieces());
        }
        Ok(match self.local_hash() {
            Some(hash) => Payload { data: hash.digest(data.bytes()), prehashed: true },
            None => Payload {
                data: data.at_most(DATA_BYTES_MAX, CKR_DATA_LEN_RANGE)?.to_vec(),
                prehashed: false,
            },
        })
    }

    /// The data that came in pieces, for the HSM.
    pub(crate) fn pieces(&mut self) -> Payload {
        match (self.gathered.take(), self.local_hash()) {
            (Some(Gathered::Hash(hasher)), _) => Payload { data: hasher.finish(), prehashed: true },
            (Some(Gathered::Data(mut all)), _) => {
                Payload { data: std::mem::take(&mut *all), prehashed: false }
            }
            (None, Some(hash)) => Payload { data: hash.digest(&[]), prehashed: true },
            (None, None) => Payload { data: Vec::new(), prehashed: false },
        }
    }
}

/// C_SignInit.
pub(crate) fn init(
    module: &Module,
    session: &Session,
    given: Option<Mechanism<'_>>,
    key: CK_OBJECT_HANDLE,
) -> Result<()> {
    let place = &mut session.operations().sign;
    let Some(given) = given else {
        return operation::cancel(place);
    };
    operation::begin(place, || Signing::begin(module, session.handle, &given, key, CKF_SIGN))
}

/// C_Sign.
pub(crate) fn sign(
    module: &Module,
    session: &Session,
    data: Input<'_>,
    output: &mut Output<'_>,
) -> Result<()> {
    operation::step(&mut session.operations().sign, |sign| {
        sign.not_in_parts()?;
        if !output.announce(sign.signature_length())? {
            return Ok(Progress::GoesOn);
        }
        operation::pin_given(sign.waits_for_pin)?;
        let payload = sign.whole(module, session, data)?;
        complete(module, session, sign, payload, output)
    })
}

/// C_SignUpdate.
pub(crate) fn update(module: &Module, session: &Session, data: Input<'_>) -> Result<()> {
    take(module, session, &mut session.operations().sign, data.bytes())
}

/// C_SignUpdate and C_VerifyUpdate, with the session's operations in hand.
pub(crate) fn take(
    module: &Module,
    session: &Session,
    place: &mut Option<Signing>,
    data: &[u8],
) -> Result<()> {
    operation::step(place, |signing| {
        operation::pin_given(signing.waits_for_pin)?;
        signing.update(module, session, data)?;
        Ok(Progress::GoesOn)
    })
}

/// C_SignFinal.
pub(crate) fn finish(module: &Module, session: &Session, output: &mut Output<'_>) -> Result<()> {
    operation::step(&mut session.operations().sign, |sign| {
        if !output.announce(sign.signature_length())? {
            return Ok(Progress::GoesOn);
        }
        operation::pin_given(sign.waits_for_pin)?;
        let payload = sign.pieces();
        complete(module, session, sign, payload, output)
    })
}

pub(crate) fn complete(
    module: &Module,
    session: &Session,
    sign: &mut Signing,
    payload: Payload,
    output: &mut Output<'_>,
) -> Result<Progress> {
    let request = sign.request(payload, None);
    let answer = module.hsm.data(session.handle, request);
    let signature = key_info::used(module, sign.key, answer)?;
    output.write(&signature)?;
    Ok(Progress::Done)
}
