//! Message-based encryption (PKCS#11 3.0, sections 5.9 and 5.11): many messages under one key by an
//! authenticated cipher, each with its own nonce, which may be made here.
//!
//! Each message is one request, whole or gathered from its parts: nothing of a message is decrypted before
//! its tag is checked. A message that fails does not end the process; C_MessageEncryptFinal does.

use std::sync::Arc;

use cryptoki_sys::*;
use strongroom_crypto::mechanism::{Kind, Mechanism as Entry};
use strongroom_wire::limits::DATA_BYTES_MAX;
use strongroom_wire::message::{
    self, Decrypt, Encrypt, GcmParameter, Operation, Parameter, Random,
};
use strongroom_wire::wipe::Wiped;

use crate::abi::mechanism::Mechanism;
use crate::abi::messages::MessageParams;
use crate::abi::raw::{Input, Output};
use crate::cipher::Direction;
use crate::error::{Ckr, Result, unexpected_reply};
use crate::key_info::{self, KeyInfo};
use crate::module::{Module, wide};
use crate::operation::{self, Operations};
use crate::session::Session;

const INVALID: Ckr = Ckr(CKR_MECHANISM_PARAM_INVALID);
/// The longest nonce that a generator fills, in bytes.
const MADE_NONCE_MAX: usize = 16;
/// Random bits of a nonce, so that none comes twice in 2^32 messages (SP 800-38D, 8.3).
const RANDOM_BITS_MIN: u32 = 96;

/// A process between C_MessageEncryptInit and C_MessageEncryptFinal, or for decryption.
pub(crate) struct Messages {
    key: u64,
    entry: &'static Entry,
    /// The key stays known as long as the process.
    _info: Arc<KeyInfo>,
    /// Nonces that CKG_GENERATE_COUNTER has made.
    made: u128,
    /// The message that C_EncryptMessageBegin began.
    begun: Option<Begun>,
}

/// A message that comes in parts.
struct Begun {
    nonce: Vec<u8>,
    aad: Vec<u8>,
    held: Wiped,
}

fn place(operations: &mut Operations, direction: Direction) -> &mut Option<Messages> {
    match direction {
        Direction::Encrypt => &mut operations.message_encrypt,
        Direction::Decrypt => &mut operations.message_decrypt,
    }
}

/// The cipher of the process, which says what its messages' parameters are.
pub(crate) fn operation(session: &Session, direction: Direction) -> Result<Kind> {
    let mut operations = session.operations();
    let messages = place(&mut operations, direction).as_ref();
    Ok(messages.ok_or(Ckr(CKR_OPERATION_NOT_INITIALIZED))?.entry.operation)
}

/// C_MessageEncryptInit and C_MessageDecryptInit. What the mechanism's own parameter says is not needed:
/// each message has its own.
pub(crate) fn init(
    module: &Module,
    session: &Session,
    direction: Direction,
    given: Option<Mechanism<'_>>,
    key: CK_OBJECT_HANDLE,
) -> Result<()> {
    let mut operations = session.operations();
    let place = place(&mut operations, direction);
    let Some(given) = given else {
        return operation::cancel(place);
    };
    operation::begin(place, || {
        let entry = strongroom_crypto::mechanism::find(wide(given.kind()));
        let entry = entry.ok_or(Ckr(CKR_MECHANISM_INVALID))?;
        let (message, usage) = match direction {
            Direction::Encrypt => (CKF_MESSAGE_ENCRYPT, CKF_ENCRYPT),
            Direction::Decrypt => (CKF_MESSAGE_DECRYPT, CKF_DECRYPT),
        };
        if module.mechanism(given.kind())?.flags & wide(message) == 0 {
            return Err(Ckr(CKR_MECHANISM_INVALID));
        }
        let info = key_info::usable(module, session.handle, wide(key), entry, usage)?;
        if info.always_authenticate && direction == Direction::Decrypt {
            // There is no call between two messages in which the PIN could be given.
            return Err(Ckr(CKR_KEY_FUNCTION_NOT_PERMITTED));
        }
        Ok(Messages { key: wide(key), entry, _info: info, made: 0, begun: None })
    })
}

/// C_EncryptMessage and C_DecryptMessage.
pub(crate) fn whole(
    module: &Module,
    session: &Session,
    direction: Direction,
    params: &MessageParams<'_>,
    aad: Input<'_>,
    data: Input<'_>,
    output: &mut Output<'_>,
) -> Result<()> {
    let mut operations = session.operations();
    let messages = active(&mut operations, direction)?;
    if messages.begun.is_some() {
        return Err(Ckr(CKR_OPERATION_ACTIVE));
    }
    if !output.announce(data.len())? {
        return Ok(());
    }
    let aad = aad.at_most(DATA_BYTES_MAX, CKR_MECHANISM_PARAM_INVALID)?.to_vec();
    let data = data.at_most(DATA_BYTES_MAX, too_long(direction))?;
    let nonce = messages.nonce(module, session, direction, params)?;
    let result = messages.process(module, session, direction, params, nonce, aad, data)?;
    output.write(&result).map(drop)
}

/// C_EncryptMessageBegin and C_DecryptMessageBegin.
pub(crate) fn begin(
    module: &Module,
    session: &Session,
    direction: Direction,
    params: &MessageParams<'_>,
    aad: Input<'_>,
) -> Result<()> {
    let mut operations = session.operations();
    let messages = active(&mut operations, direction)?;
    if messages.begun.is_some() {
        return Err(Ckr(CKR_OPERATION_ACTIVE));
    }
    let aad = aad.at_most(DATA_BYTES_MAX, CKR_MECHANISM_PARAM_INVALID)?.to_vec();
    let nonce = messages.nonce(module, session, direction, params)?;
    messages.begun = Some(Begun { nonce, aad, held: Wiped::default() });
    Ok(())
}

/// C_EncryptMessageNext and C_DecryptMessageNext. All output comes with the last part.
pub(crate) fn next(
    module: &Module,
    session: &Session,
    direction: Direction,
    params: &MessageParams<'_>,
    data: Input<'_>,
    last: bool,
    output: &mut Output<'_>,
) -> Result<()> {
    let mut operations = session.operations();
    let messages = active(&mut operations, direction)?;
    let begun = messages.begun.as_mut().ok_or(Ckr(CKR_OPERATION_NOT_INITIALIZED))?;
    let all = begun.held.len() + data.len();
    if all > DATA_BYTES_MAX {
        messages.begun = None;
        return Err(Ckr(too_long(direction)));
    }
    if !output.announce(if last { all } else { 0 })? {
        return Ok(());
    }
    begun.held.append(data.bytes());
    if !last {
        return output.write(&[]).map(drop);
    }
    let Some(Begun { nonce, aad, held }) = messages.begun.take() else {
        return Err(Ckr(CKR_OPERATION_NOT_INITIALIZED));
    };
    let result = messages.process(module, session, direction, params, nonce, aad, &held)?;
    output.write(&result).map(drop)
}

/// C_MessageEncryptFinal and C_MessageDecryptFinal.
pub(crate) fn finish(session: &Session, direction: Direction) -> Result<()> {
    let ended = place(&mut session.operations(), direction).take();
    ended.map(drop).ok_or(Ckr(CKR_OPERATION_NOT_INITIALIZED))
}

fn active(operations: &mut Operations, direction: Direction) -> Result<&mut Messages> {
    place(operations, direction).as_mut().ok_or(Ckr(CKR_OPERATION_NOT_INITIALIZED))
}

fn too_long(direction: Direction) -> CK_RV {
    match direction {
        Direction::Encrypt => CKR_DATA_LEN_RANGE,
        Direction::Decrypt => CKR_ENCRYPTED_DATA_LEN_RANGE,
    }
}

impl Messages {
    /// The nonce of the next message, written to the caller's place where it was made here.
    fn nonce(
        &mut self,
        module: &Module,
        session: &Session,
        direction: Direction,
        params: &MessageParams<'_>,
    ) -> Result<Vec<u8>> {
        let given = params.nonce.at_most(1024, CKR_MECHANISM_PARAM_INVALID)?.to_vec();
        if direction == Direction::Decrypt || params.generator == CKG_NO_GENERATE {
            return Ok(given);
        }
        let bits = 8 * given.len() as u32;
        let fixed = u32::try_from(params.fixed_bits).map_err(|_| INVALID)?;
        let free = bits.checked_sub(fixed).filter(|free| *free > 0).ok_or(INVALID)?;
        if given.len() > MADE_NONCE_MAX {
            return Err(INVALID);
        }
        let mask = u128::MAX >> (128 - free);
        let start = number(&given);
        let made = match params.generator {
            // The HSM of a CloudHSM program makes all of it, and tells it in its reply.
            CKG_GENERATE | CKG_GENERATE_RANDOM if self.hsm_makes(module) => {
                return if fixed == 0 && given.len() == 12 {
                    Ok(vec![0; 12])
                } else {
                    Err(INVALID)
                };
            }
            CKG_GENERATE | CKG_GENERATE_RANDOM if free >= RANDOM_BITS_MIN => {
                let request = Operation::Random(Random { bytes: given.len() as u32 });
                let random = module.hsm.data(session.handle, request)?;
                if random.len() != given.len() {
                    return Err(unexpected_reply());
                }
                start & !mask | number(&random) & mask
            }
            CKG_GENERATE_RANDOM => return Err(INVALID),
            CKG_GENERATE | CKG_GENERATE_COUNTER => start & !mask | self.count(mask)?,
            CKG_GENERATE_COUNTER_XOR => start ^ self.count(mask)?,
            _ => return Err(INVALID),
        };
        let nonce = made.to_be_bytes()[16 - given.len()..].to_vec();
        params.nonce_place.ok_or(INVALID)?.write(&nonce);
        Ok(nonce)
    }

    fn hsm_makes(&self, module: &Module) -> bool {
        module.is_cloudhsm() && self.entry.operation == Kind::AesGcm
    }

    /// The next count of this process, which never comes again.
    fn count(&mut self, mask: u128) -> Result<u128> {
        if self.made > mask {
            return Err(Ckr(CKR_DATA_LEN_RANGE));
        }
        self.made += 1;
        Ok(self.made - 1)
    }

    #[expect(clippy::too_many_arguments, reason = "one message has so many parts")]
    fn process(
        &self,
        module: &Module,
        session: &Session,
        direction: Direction,
        params: &MessageParams<'_>,
        nonce: Vec<u8>,
        aad: Vec<u8>,
        data: &[u8],
    ) -> Result<Wiped> {
        if params.data_bytes.is_some_and(|length| wide(length) != data.len() as u64) {
            return Err(INVALID);
        }
        let tag_bits = u32::try_from(8 * params.tag.len()).map_err(|_| INVALID)?;
        if !(8..=128).contains(&tag_bits) {
            return Err(INVALID);
        }
        let parameter = Some(Parameter::Gcm(GcmParameter { iv: nonce, aad, tag_bits }));
        let mechanism = Some(message::Mechanism { kind: self.entry.kind, parameter });
        match direction {
            Direction::Encrypt => {
                let request = Encrypt { handle: self.key, mechanism, data: data.to_vec() };
                let answer = module.hsm.encrypt(session.handle, request);
                let reply = key_info::used(module, self.key, answer)?;
                if !reply.iv.is_empty() {
                    params.nonce_place.ok_or(INVALID)?.write(&reply.iv);
                }
                let mut sealed = reply.data;
                if sealed.len() != data.len() + params.tag.len() {
                    return Err(unexpected_reply());
                }
                let tag = sealed.split_off(data.len());
                params.tag_place.ok_or(INVALID)?.write(&tag);
                Ok(sealed.into())
            }
            Direction::Decrypt => {
                let data = [data, params.tag.bytes()].concat();
                let request = Operation::Decrypt(Decrypt { handle: self.key, mechanism, data });
                match module.hsm.data(session.handle, request) {
                    Err(Ckr(CKR_ENCRYPTED_DATA_INVALID)) => Err(Ckr(CKR_AEAD_DECRYPT_FAILED)),
                    answer => key_info::used(module, self.key, answer).map(Wiped::from),
                }
            }
        }
    }
}

/// A nonce as a number.
fn number(nonce: &[u8]) -> u128 {
    nonce.iter().fold(0, |number, byte| number << 8 | u128::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cipher::Direction::{Decrypt, Encrypt};
    use crate::fake::{self, AES, input, output, with_mechanism};

    /// CK_GCM_MESSAGE_PARAMS and what it points to.
    struct Gcm {
        iv: [u8; 12],
        tag: [u8; 16],
        fixed_bits: CK_ULONG,
        generator: CK_GENERATOR_FUNCTION,
    }

    impl Gcm {
        fn new(generator: CK_GENERATOR_FUNCTION, fixed_bits: CK_ULONG) -> Self {
            Self { iv: [0xa5; 12], tag: [0; 16], fixed_bits, generator }
        }

        fn with<T>(&mut self, act: impl FnOnce(&MessageParams<'_>) -> T) -> T {
            let mut raw = CK_GCM_MESSAGE_PARAMS {
                pIv: self.iv.as_mut_ptr(),
                ulIvLen: 12,
                ulIvFixedBits: self.fixed_bits,
                ivGenerator: self.generator,
                pTag: self.tag.as_mut_ptr(),
                ulTagBits: 128,
            };
            let length = size_of_val(&raw) as CK_ULONG;
            // SAFETY: a live structure whose pointers are live and writable.
            let params = unsafe {
                MessageParams::new(Kind::AesGcm, std::ptr::from_mut(&mut raw).cast(), length)
            };
            act(&params.unwrap())
        }
    }

    fn begin_process(module: &Module, session: &Session, direction: Direction) -> Result<()> {
        with_mechanism(CKM_AES_GCM, &[], |given| init(module, session, direction, given, AES))
    }

    fn run(
        module: &Module,
        session: &Session,
        direction: Direction,
        gcm: &mut Gcm,
        data: &[u8],
    ) -> Result<Vec<u8>> {
        let room = Some(data.len());
        let (result, _, bytes) = gcm.with(|params| {
            output(room, |out| {
                whole(module, session, direction, params, input(b"aad"), input(data), out)
            })
        });
        result.map(|()| bytes)
    }

    #[test]
    fn messages_go_out_and_come_back_whole_and_in_parts() {
        let (module, session, _) = fake::token();
        begin_process(&module, &session, Encrypt).unwrap();
        begin_process(&module, &session, Decrypt).unwrap();
        let mut gcm = Gcm::new(CKG_NO_GENERATE, 0);
        let sealed = run(&module, &session, Encrypt, &mut gcm, b"some data").unwrap();
        assert_eq!(sealed.len(), 9);
        assert_eq!(run(&module, &session, Decrypt, &mut gcm, &sealed).unwrap(), b"some data");
        // The same message in parts has the same tag.
        let mut parts = Gcm::new(CKG_NO_GENERATE, 0);
        parts.with(|p| begin(&module, &session, Encrypt, p, input(b"aad"))).unwrap();
        let (_, length, _) = parts.with(|p| {
            output(Some(9), |out| next(&module, &session, Encrypt, p, input(b"some "), false, out))
        });
        assert_eq!(length, 0);
        let small = parts.with(|p| {
            output(Some(8), |out| next(&module, &session, Encrypt, p, input(b"data"), true, out))
        });
        assert_eq!((small.0, small.1), (Err(Ckr(CKR_BUFFER_TOO_SMALL)), 9));
        let last = parts.with(|p| {
            output(Some(9), |out| next(&module, &session, Encrypt, p, input(b"data"), true, out))
        });
        assert_eq!((last.2, parts.tag), (sealed.clone(), gcm.tag));
        // A message that fails does not end the process.
        let mut bent = Gcm { tag: [0; 16], ..gcm };
        let failed = run(&module, &session, Decrypt, &mut bent, &sealed);
        assert_eq!(failed, Err(Ckr(CKR_AEAD_DECRYPT_FAILED)));
        assert_eq!(run(&module, &session, Decrypt, &mut parts, &sealed).unwrap(), b"some data");
        assert_eq!(finish(&session, Encrypt), Ok(()));
        assert_eq!(finish(&session, Encrypt), Err(Ckr(CKR_OPERATION_NOT_INITIALIZED)));
        let after = run(&module, &session, Encrypt, &mut parts, b"data");
        assert_eq!(after, Err(Ckr(CKR_OPERATION_NOT_INITIALIZED)));
    }

    #[test]
    fn a_counter_fills_what_is_not_fixed_and_never_comes_again() {
        let (module, session, _) = fake::token();
        begin_process(&module, &session, Encrypt).unwrap();
        let mut seen = Vec::new();
        for count in 0..3u8 {
            let mut gcm = Gcm::new(CKG_GENERATE_COUNTER, 32);
            run(&module, &session, Encrypt, &mut gcm, b"data").unwrap();
            assert_eq!(gcm.iv, [0xa5, 0xa5, 0xa5, 0xa5, 0, 0, 0, 0, 0, 0, 0, count]);
            seen.push(gcm.iv);
        }
        // What counts exclusively-ors onto the caller's nonce.
        let mut gcm = Gcm::new(CKG_GENERATE_COUNTER_XOR, 32);
        run(&module, &session, Encrypt, &mut gcm, b"data").unwrap();
        assert_eq!(gcm.iv[11], 0xa5 ^ 3);
        // Four bits count to 15.
        let few = || {
            let mut gcm = Gcm::new(CKG_GENERATE_COUNTER, 92);
            run(&module, &session, Encrypt, &mut gcm, b"data").map(|_| gcm.iv)
        };
        for _ in 4..16 {
            seen.push(few().unwrap());
        }
        assert_eq!(few(), Err(Ckr(CKR_DATA_LEN_RANGE)));
        let all = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), all);
    }

    #[test]
    fn a_random_nonce_is_long_enough_or_refused() {
        let (module, session, _) = fake::token();
        begin_process(&module, &session, Encrypt).unwrap();
        let mut gcm = Gcm::new(CKG_GENERATE_RANDOM, 0);
        run(&module, &session, Encrypt, &mut gcm, b"data").unwrap();
        assert_eq!(gcm.iv, [9; 12], "the fake HSM's random bytes");
        for (generator, fixed) in [(CKG_GENERATE_RANDOM, 8), (CKG_GENERATE, 96), (77, 0)] {
            let mut gcm = Gcm::new(generator, fixed);
            let refused = run(&module, &session, Encrypt, &mut gcm, b"data");
            assert_eq!(refused, Err(Ckr(CKR_MECHANISM_PARAM_INVALID)), "{generator} {fixed}");
        }
    }

    #[test]
    fn only_authenticated_ciphers_take_messages() {
        let (module, session, _) = fake::token();
        let begin = |kind, key| {
            with_mechanism(kind, &[], |given| init(&module, &session, Encrypt, given, key))
        };
        assert_eq!(begin(CKM_AES_CBC, AES), Err(Ckr(CKR_MECHANISM_INVALID)));
        assert_eq!(begin(CKM_AES_GCM, fake::GENERIC), Err(Ckr(CKR_KEY_TYPE_INCONSISTENT)));
        assert_eq!(begin(CKM_AES_CCM, AES), Ok(()));
        assert_eq!(begin(CKM_AES_CCM, AES), Err(Ckr(CKR_OPERATION_ACTIVE)));
    }
}
