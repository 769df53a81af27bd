//! One encryption or decryption under way, whole or in parts.
//!
//! The HSM only knows single shots: parts of CBC and CTR are shots whose IV or counter is carried
//! on here, so that an operation survives the loss of an HSM. What can't be cut (GCM, RSA) is
//! gathered and sent at the end.
//!
//! PKCS#11 2.40, section 5.8: how much output a part gives is the library's choice. Whole blocks
//! are given as soon as they are there; a decryption with padding holds the last block back.

use std::sync::Arc;

use cryptoki_sys::*;
use strongroom_crypto::mechanism::Kind;
use strongroom_wire::limits::DATA_BYTES_MAX;
use strongroom_wire::message::{self, Decrypt, Encrypt, Operation, Parameter};
use strongroom_wire::wipe::Wiped;

use crate::abi::mechanism::Mechanism;
use crate::abi::raw::IvPlace;
use crate::error::{Ckr, Result};
use crate::key_info::{self, KeyInfo};
use crate::mechanism::{self, BLOCK, Parsed};
use crate::module::{Module, wide};

/// Which way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Direction {
    /// C_Encrypt.
    Encrypt,
    /// C_Decrypt.
    Decrypt,
}

/// How a mechanism's data can be cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    /// Whole blocks, each on its own.
    Ecb,
    /// Whole blocks, chained.
    Cbc,
    /// Blocks, chained, and a padded last one.
    CbcPad,
    /// A key stream, by blocks.
    Ctr,
    /// Not at all; this many bytes of IV and tag are added.
    Aead(usize),
    /// Not at all; RSA.
    Rsa,
}

/// An operation between C_EncryptInit or C_DecryptInit and its end.
pub(crate) struct Cipher {
    key: u64,
    direction: Direction,
    mode: Mode,
    kind: u64,
    parameter: Option<Parameter>,
    chain: Chain,
    counter_bits: u32,
    iv_place: Option<IvPlace>,
    info: Arc<KeyInfo>,
    /// What Update calls gave and was not processed yet.
    held: Wiped,
    in_parts: bool,
    /// Whether C_Login with CKU_CONTEXT_SPECIFIC must come before it is used.
    pub(crate) waits_for_pin: bool,
}

/// What one shot hands on to the next.
#[derive(Clone, Copy)]
struct Chain {
    /// CBC's next IV or CTR's next counter.
    block: [u8; BLOCK],
    /// CTR: blocks until the counter would wrap.
    blocks_left: u128,
}

/// Where shots go: the HSM, for one session.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    /// The module.
    pub(crate) module: &'a Module,
    /// The session's handle.
    pub(crate) session: u64,
}

impl Cipher {
    /// Begins.
    pub(crate) fn begin(
        target: Target<'_>,
        direction: Direction,
        given: &Mechanism<'_>,
        key: CK_OBJECT_HANDLE,
    ) -> Result<Self> {
        let Target { module, session } = target;
        let parsed = mechanism::parse(given, module.is_cloudhsm())?;
        let usage = match direction {
            Direction::Encrypt => CKF_ENCRYPT,
            Direction::Decrypt => CKF_DECRYPT,
        };
        let info = key_info::usable(module, session, wide(key), parsed.entry, usage)?;
        Self::new(direction, parsed, wide(key), info)
    }

    fn new(direction: Direction, parsed: Parsed, key: u64, info: Arc<KeyInfo>) -> Result<Self> {
        let tag_bytes = match &parsed.wire.parameter {
            Some(Parameter::Gcm(gcm)) => gcm.tag_bits as usize / 8,
            _ => 0,
        };
        let mode = match parsed.entry.operation {
            Kind::AesEcb => Mode::Ecb,
            Kind::AesCbc => Mode::Cbc,
            Kind::AesCbcPad => Mode::CbcPad,
            Kind::AesCtr => Mode::Ctr,
            Kind::AesGcm => Mode::Aead(tag_bytes),
            Kind::AesGcmWithIv => Mode::Aead(mechanism::GCM_IV + tag_bytes),
            Kind::RsaPkcs | Kind::RsaOaep => Mode::Rsa,
            _ => return Err(Ckr(CKR_MECHANISM_INVALID)),
        };
        let block = match (&parsed.wire.parameter, mode) {
            (Some(Parameter::Iv(iv)), Mode::Cbc | Mode::CbcPad | Mode::Ctr) => {
                iv.as_slice().try_into().map_err(|_| Ckr(CKR_MECHANISM_PARAM_INVALID))?
            }
            _ => [0; BLOCK],
        };
        let blocks_left = match mode {
            Mode::Ctr => counters_left(block, parsed.counter_bits),
            _ => 0,
        };
        Ok(Self {
            key,
            direction,
            mode,
            kind: parsed.wire.kind,
            parameter: parsed.wire.parameter,
            chain: Chain { block, blocks_left },
            counter_bits: parsed.counter_bits,
            iv_place: parsed.iv_place,
            waits_for_pin: info.always_authenticate && direction == Direction::Decrypt,
            info,
            held: Wiped::default(),
            in_parts: false,
        })
    }

    /// Whether an Update call was made.
    pub(crate) fn in_parts(&self) -> bool {
        self.in_parts
    }

    /// Bytes that an Update with `input` more bytes gives.
    pub(crate) fn update_length(&self, input: usize) -> usize {
        let all = self.held.len() + input;
        match self.mode {
            Mode::Aead(_) | Mode::Rsa => 0,
            Mode::CbcPad if self.direction == Direction::Decrypt => {
                all.saturating_sub(1) / BLOCK * BLOCK
            }
            Mode::Ecb | Mode::Cbc | Mode::CbcPad | Mode::Ctr => all / BLOCK * BLOCK,
        }
    }

    /// Takes a part; gives [`Cipher::update_length`] bytes.
    pub(crate) fn update(&mut self, target: Target<'_>, input: &[u8]) -> Result<Wiped> {
        self.in_parts = true;
        let now = self.update_length(input.len());
        if now == 0 {
            if self.held.len() + input.len() > DATA_BYTES_MAX {
                return Err(self.length_error());
            }
            self.held.append(input);
            return Ok(Wiped::default());
        }
        let (first, rest) = input.split_at(now - self.held.len());
        let mut output = room(now)?;
        let mut chain = self.chain;
        self.shots(target, first, &mut chain, &mut output)?;
        self.chain = chain;
        self.held.clear();
        self.held.append(rest);
        Ok(output)
    }

    /// The most bytes that ending with `input` more bytes gives, and whether it is exactly that.
    pub(crate) fn finish_length(&self, input: usize) -> (usize, bool) {
        let all = self.held.len() + input;
        match (self.mode, self.direction) {
            (Mode::Ecb | Mode::Cbc | Mode::Ctr, _) => (all, true),
            (Mode::CbcPad, Direction::Encrypt) => (all / BLOCK * BLOCK + BLOCK, true),
            (Mode::CbcPad, Direction::Decrypt) => (all, false),
            (Mode::Aead(more), Direction::Encrypt) => (all + more, true),
            (Mode::Aead(more), Direction::Decrypt) => (all.saturating_sub(more), true),
            (Mode::Rsa, Direction::Encrypt) => (self.info.bytes, true),
            (Mode::Rsa, Direction::Decrypt) => (self.info.bytes, false),
        }
    }

    /// Processes what is held and `input`, the last. Changes nothing, so that it can be done again
    /// where the caller's buffer is too small.
    pub(crate) fn finish(&self, target: Target<'_>, input: &[u8]) -> Result<Wiped> {
        let all = self.held.len() + input.len();
        let decrypts = self.direction == Direction::Decrypt;
        let blocks_only = match self.mode {
            Mode::Ecb | Mode::Cbc => true,
            Mode::CbcPad => decrypts,
            Mode::Ctr | Mode::Aead(_) | Mode::Rsa => false,
        };
        let too_short = match self.mode {
            Mode::CbcPad => decrypts && all == 0,
            Mode::Aead(more) => decrypts && all < more,
            _ => false,
        };
        if blocks_only && !all.is_multiple_of(BLOCK) || too_short {
            return Err(self.length_error());
        }
        let mut chain = self.chain;
        match self.mode {
            Mode::Ecb | Mode::Cbc | Mode::Ctr => {
                let mut output = room(all)?;
                self.shots(target, input, &mut chain, &mut output)?;
                Ok(output)
            }
            Mode::CbcPad => {
                // All but the last piece go as plain CBC. The last has the padding.
                let before = all.saturating_sub(1) / DATA_BYTES_MAX * DATA_BYTES_MAX;
                let mut output = room(all + BLOCK)?;
                let last = if before == 0 {
                    [&self.held, input].concat()
                } else {
                    let (first, last) = input.split_at(before - self.held.len());
                    self.shots(target, first, &mut chain, &mut output)?;
                    last.to_vec()
                };
                let parameter = Some(Parameter::Iv(chain.block.to_vec()));
                let last = self.shot(target, self.kind, parameter, last)?;
                output.extend_from_slice(&last);
                Ok(output)
            }
            Mode::Aead(_) | Mode::Rsa => {
                let aad = match &self.parameter {
                    Some(Parameter::Gcm(gcm)) => gcm.aad.len(),
                    _ => 0,
                };
                if all + aad > DATA_BYTES_MAX {
                    return Err(self.length_error());
                }
                let data = [&self.held, input].concat();
                self.shot(target, self.kind, self.parameter.clone(), data)
            }
        }
    }

    /// Processes what is held and `input`, in shots that the HSM takes. What a mode that can be cut
    /// holds is at most a block.
    fn shots(
        &self,
        target: Target<'_>,
        input: &[u8],
        chain: &mut Chain,
        output: &mut Wiped,
    ) -> Result<()> {
        let (first, rest) = input.split_at(input.len().min(DATA_BYTES_MAX - self.held.len()));
        let first = [&self.held, first].concat();
        if !first.is_empty() {
            self.piece(target, first, chain, output)?;
        }
        rest.chunks(DATA_BYTES_MAX)
            .try_for_each(|piece| self.piece(target, piece.to_vec(), chain, output))
    }

    /// One shot of a mode that can be cut, and what it hands on to the next.
    fn piece(
        &self,
        target: Target<'_>,
        data: Vec<u8>,
        chain: &mut Chain,
        output: &mut Wiped,
    ) -> Result<()> {
        let kind = match self.mode {
            Mode::CbcPad => wide(CKM_AES_CBC),
            _ => self.kind,
        };
        let parameter = match self.mode {
            Mode::Ecb => None,
            _ => Some(Parameter::Iv(chain.block.to_vec())),
        };
        let length = data.len();
        let next_counter = match self.mode {
            Mode::Ctr => Some(self.advance(chain, length)?),
            _ => None,
        };
        let last_of_input = data.last_chunk::<BLOCK>().copied();
        let result = self.shot(target, kind, parameter, data)?;
        if result.len() != length {
            return Err(crate::error::unexpected_reply());
        }
        let last_ciphertext = match self.direction {
            Direction::Encrypt => result.last_chunk::<BLOCK>().copied(),
            Direction::Decrypt => last_of_input,
        };
        if let Some(next) = next_counter.or(last_ciphertext) {
            chain.block = next;
        }
        output.extend_from_slice(&result);
        Ok(())
    }

    /// CTR's counter after `length` bytes. PKCS#11 2.40 mechanisms, section 2.10.3: the counter is
    /// the block's last `ulCounterBits` bits, and data that would make it wrap is out of range.
    fn advance(&self, chain: &mut Chain, length: usize) -> Result<[u8; BLOCK]> {
        let blocks = length.div_ceil(BLOCK) as u128;
        chain.blocks_left = chain.blocks_left.checked_sub(blocks).ok_or(self.length_error())?;
        let counter = u128::from_be_bytes(chain.block);
        let mask = counter_mask(self.counter_bits);
        let next = (counter & !mask) | (counter.wrapping_add(blocks) & mask);
        Ok(next.to_be_bytes())
    }

    /// One request.
    fn shot(
        &self,
        target: Target<'_>,
        kind: u64,
        parameter: Option<Parameter>,
        data: Vec<u8>,
    ) -> Result<Wiped> {
        let Target { module, session } = target;
        let mechanism = Some(message::Mechanism { kind, parameter });
        let answer = match self.direction {
            Direction::Encrypt => module
                .hsm
                .encrypt(session, Encrypt { handle: self.key, mechanism, data })
                .map(|reply| {
                    if let Some(place) = self.iv_place {
                        place.write(&reply.iv);
                    }
                    reply.data
                }),
            Direction::Decrypt => module
                .hsm
                .data(session, Operation::Decrypt(Decrypt { handle: self.key, mechanism, data })),
        };
        key_info::used(module, self.key, answer).map(Wiped::from)
    }

    fn length_error(&self) -> Ckr {
        Ckr(match self.direction {
            Direction::Encrypt => CKR_DATA_LEN_RANGE,
            Direction::Decrypt => CKR_ENCRYPTED_DATA_LEN_RANGE,
        })
    }
}

/// The bits of a CTR block that count. `bits` is 1 to 128.
fn counter_mask(bits: u32) -> u128 {
    u128::MAX >> (128 - bits)
}

/// Blocks that a counter can count before it wraps.
fn counters_left(block: [u8; BLOCK], bits: u32) -> u128 {
    let mask = counter_mask(bits);
    (mask - (u128::from_be_bytes(block) & mask)).saturating_add(1)
}

/// Space for output. A caller may claim a buffer larger than this machine's memory: that is an
/// error of this call, and must not end the program.
fn room(bytes: usize) -> Result<Wiped> {
    let mut output = Wiped::default();
    output.try_reserve_exact(bytes).map_err(|_| Ckr(CKR_HOST_MEMORY))?;
    Ok(output)
}
