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
use strongroom_crypto::mechanism::{Cut, Form, Mechanism as Entry};
use strongroom_wire::limits::DATA_BYTES_MAX;
use strongroom_wire::message::{self, Decrypt, Encrypt, Operation, Parameter};
use strongroom_wire::wipe::Wiped;

use crate::abi::mechanism::Mechanism;
use crate::abi::raw::IvPlace;
use crate::error::{Ckr, Result};
use crate::key_info::{self, KeyInfo};
use crate::mechanism::{self, Parsed};
use crate::module::{Module, wide};

/// The longest block of any cipher that chains, in bytes.
const BLOCK_MAX: usize = 16;

/// Which way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Direction {
    /// C_Encrypt.
    Encrypt,
    /// C_Decrypt.
    Decrypt,
}

/// An operation between C_EncryptInit or C_DecryptInit and its end.
pub(crate) struct Cipher {
    key: u64,
    direction: Direction,
    entry: &'static Entry,
    cut: Cut,
    /// What an encryption makes longer: the tag, and an IV in front.
    more: usize,
    /// How long the parameter says that the plaintext is.
    expected: Option<u64>,
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
#[derive(Clone)]
struct Chain {
    /// The next IV or counter block; empty where blocks stand alone.
    iv: Vec<u8>,
    /// Blocks until a counter would wrap.
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
        let cut = parsed.entry.operation.facts().cut;
        let more = match (&parsed.wire.parameter, cut) {
            (Some(Parameter::Gcm(gcm)), Cut::Sealed(front)) => front + gcm.tag_bits as usize / 8,
            _ => 0,
        };
        let iv = match &parsed.wire.parameter {
            Some(Parameter::Iv(iv)) => iv.clone(),
            _ => Vec::new(),
        };
        let blocks_left = match cut {
            Cut::Counted(_) if parsed.entry.parameter() == Form::ChaCha20 => {
                u128::from(u32::MAX - chacha20_counter(&iv)?) + 1
            }
            Cut::Counted(_) => counters_left(counter(&iv)?, parsed.counter_bits),
            _ => 0,
        };
        Ok(Self {
            key,
            direction,
            entry: parsed.entry,
            cut,
            more,
            expected: parsed.data_bytes,
            parameter: parsed.wire.parameter,
            chain: Chain { iv, blocks_left },
            counter_bits: parsed.counter_bits,
            iv_place: parsed.iv_place,
            waits_for_pin: info.always_authenticate && direction == Direction::Decrypt,
            info,
            held: Wiped::default(),
            in_parts: false,
        })
    }

    /// Which way it goes.
    pub(crate) fn direction(&self) -> Direction {
        self.direction
    }

    /// Whether an Update call was made.
    pub(crate) fn in_parts(&self) -> bool {
        self.in_parts
    }

    /// Whether it is AES-GCM, in either form.
    pub(crate) fn is_gcm(&self) -> bool {
        self.entry.parameter() == Form::Gcm
    }

    /// Bytes that an Update with `input` more bytes gives.
    pub(crate) fn update_length(&self, input: usize) -> usize {
        let all = self.held.len() + input;
        match self.cut {
            Cut::Whole | Cut::Sealed(_) => 0,
            Cut::Padded(block, _) if self.direction == Direction::Decrypt => {
                all.saturating_sub(1) / block * block
            }
            Cut::Blocks(block)
            | Cut::Chained(block)
            | Cut::Padded(block, _)
            | Cut::Feedback(block)
            | Cut::KeyStream(block)
            | Cut::Counted(block) => all / block * block,
            Cut::Shifted(_) => all,
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
        let mut chain = self.chain.clone();
        self.shots(target, first, &mut chain, &mut output)?;
        self.chain = chain;
        self.held.clear();
        self.held.append(rest);
        Ok(output)
    }

    /// The most bytes that ending with `input` more bytes gives, and whether it is exactly that.
    pub(crate) fn finish_length(&self, input: usize) -> (usize, bool) {
        let all = self.held.len() + input;
        let rsa = self.entry.key_type == Some(wide(CKK_RSA));
        match (self.cut, self.direction) {
            (Cut::Padded(block, _), Direction::Encrypt) => (all / block * block + block, true),
            (Cut::Padded(..), Direction::Decrypt) => (all, false),
            (Cut::Whole, direction) if rsa => (self.info.bytes, direction == Direction::Encrypt),
            (_, Direction::Encrypt) => (all + self.more, true),
            (_, Direction::Decrypt) => (all.saturating_sub(self.more), true),
        }
    }

    /// Processes what is held and `input`, the last. Changes nothing, so that it can be done again
    /// where the caller's buffer is too small.
    pub(crate) fn finish(&self, target: Target<'_>, input: &[u8]) -> Result<Wiped> {
        let all = self.held.len() + input.len();
        let decrypts = self.direction == Direction::Decrypt;
        let whole_blocks = match self.cut {
            Cut::Blocks(block) | Cut::Chained(block) => all.is_multiple_of(block),
            Cut::Padded(block, _) if decrypts => all > 0 && all.is_multiple_of(block),
            _ => true,
        };
        let as_expected = match self.expected {
            Some(plain) if decrypts => {
                all.checked_sub(self.more).is_some_and(|n| n as u64 == plain)
            }
            Some(plain) => all as u64 == plain,
            None => true,
        };
        if !whole_blocks || !as_expected || decrypts && all < self.more {
            return Err(self.length_error());
        }
        let mut chain = self.chain.clone();
        match self.cut {
            Cut::Blocks(_)
            | Cut::Chained(_)
            | Cut::Counted(_)
            | Cut::Shifted(_)
            | Cut::Feedback(_)
            | Cut::KeyStream(_) => {
                let mut output = room(all)?;
                self.shots(target, input, &mut chain, &mut output)?;
                Ok(output)
            }
            Cut::Padded(block, _) => {
                // All but the last piece go without padding. The last has it.
                let before = all.saturating_sub(1) / DATA_BYTES_MAX * DATA_BYTES_MAX;
                let mut output = room(all + block)?;
                let last = if before == 0 {
                    [&self.held, input].concat()
                } else {
                    let (first, last) = input.split_at(before - self.held.len());
                    self.shots(target, first, &mut chain, &mut output)?;
                    last.to_vec()
                };
                let parameter = Some(Parameter::Iv(chain.iv));
                let last = self.shot(target, self.entry.kind, parameter, last)?;
                output.extend_from_slice(&last);
                Ok(output)
            }
            Cut::Whole | Cut::Sealed(_) => {
                let aad = match &self.parameter {
                    Some(Parameter::Gcm(gcm)) => gcm.aad.len(),
                    _ => 0,
                };
                if all + aad > DATA_BYTES_MAX {
                    return Err(self.length_error());
                }
                let data = [&self.held, input].concat();
                self.shot(target, self.entry.kind, self.parameter.clone(), data)
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
        let kind = match self.cut {
            Cut::Padded(_, plain) => plain,
            _ => self.entry.kind,
        };
        let parameter = (!chain.iv.is_empty()).then(|| Parameter::Iv(chain.iv.clone()));
        let length = data.len();
        if let Cut::Counted(block) = self.cut {
            chain.iv = self.advance(chain, length.div_ceil(block) as u128)?;
        }
        let input = if chain.iv.is_empty() { Vec::new() } else { tail(&data).to_vec() };
        let result = self.shot(target, kind, parameter, data)?;
        if result.len() != length {
            return Err(crate::error::unexpected_reply());
        }
        let ciphertext = match self.direction {
            Direction::Encrypt => tail(&result),
            Direction::Decrypt => &input,
        };
        // A piece that ends within a block is the last: nothing chains on it.
        match self.cut {
            Cut::Chained(block) | Cut::Padded(block, _) | Cut::Feedback(block) => {
                if let Some(at) = ciphertext.len().checked_sub(block) {
                    chain.iv = ciphertext[at..].to_vec();
                }
            }
            Cut::Shifted(register) => {
                let mut shifted = [&chain.iv, ciphertext].concat();
                chain.iv = shifted.split_off(shifted.len() - register);
            }
            Cut::KeyStream(block) => {
                let output = tail(&result);
                if let Some(at) = output.len().checked_sub(block) {
                    let pairs = output[at..].iter().zip(&input[at..]);
                    chain.iv = pairs.map(|(one, other)| one ^ other).collect();
                }
            }
            Cut::Whole | Cut::Sealed(_) | Cut::Blocks(_) | Cut::Counted(_) => {}
        }
        output.extend_from_slice(&result);
        Ok(())
    }

    /// The counter block after `blocks` blocks. PKCS#11 2.40 mechanisms, section 2.10.3: the counter
    /// is the block's last `ulCounterBits` bits, and data that would make it wrap is out of range.
    fn advance(&self, chain: &mut Chain, blocks: u128) -> Result<Vec<u8>> {
        chain.blocks_left = chain.blocks_left.checked_sub(blocks).ok_or(self.length_error())?;
        if self.entry.parameter() == Form::ChaCha20 {
            let counter = u128::from(chacha20_counter(&chain.iv)?) + blocks;
            let counter = (counter as u32).to_le_bytes();
            return Ok([counter.as_slice(), &chain.iv[counter.len()..]].concat());
        }
        let counter = counter(&chain.iv)?;
        let mask = counter_mask(self.counter_bits);
        let next = (counter & !mask) | (counter.wrapping_add(blocks) & mask);
        Ok(next.to_be_bytes().to_vec())
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

/// The end of a piece, on which the next one may chain: a block at most.
fn tail(bytes: &[u8]) -> &[u8] {
    &bytes[bytes.len().saturating_sub(BLOCK_MAX)..]
}

/// The block counter in front of a ChaCha20 nonce.
fn chacha20_counter(state: &[u8]) -> Result<u32> {
    let counter = state.first_chunk().ok_or(Ckr(CKR_MECHANISM_PARAM_INVALID))?;
    Ok(u32::from_le_bytes(*counter))
}

/// A CTR block as a number.
fn counter(iv: &[u8]) -> Result<u128> {
    iv.try_into().map(u128::from_be_bytes).map_err(|_| Ckr(CKR_MECHANISM_PARAM_INVALID))
}

/// Blocks that a counter can count before it wraps.
fn counters_left(counter: u128, bits: u32) -> u128 {
    let mask = counter_mask(bits);
    (mask - (counter & mask)).saturating_add(1)
}

/// Space for output. A caller may claim a buffer larger than this machine's memory: that is an
/// error of this call, and must not end the program.
fn room(bytes: usize) -> Result<Wiped> {
    let mut output = Wiped::default();
    output.try_reserve_exact(bytes).map_err(|_| Ckr(CKR_HOST_MEMORY))?;
    Ok(output)
}
