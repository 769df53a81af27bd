//! Records of key use: one compact record for each use of a key, kept in a buffer of its connection
//! until housekeeping hands it to the HSM's audit log.
//!
//! In: what was done with which key, and what came of it. Out: blocks of records. Never: key material,
//! or a wait on the signing path while the disk keeps up (the buffer's mutex is contended once a
//! second at most).
//!
//! A block is one byte of format version ([`BLOCK_VERSION`]), then records of [`RECORD_BYTES`] each,
//! integers little-endian:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | time, milliseconds since 1970 |
//! | 8 | 8 | number of the login, 0 for none |
//! | 16 | 8 | handle of the key |
//! | 24 | 8 | mechanism, CKM_… |
//! | 32 | 8 | the client id's first bytes |
//! | 40 | 4 | number of the user, 0 for none |
//! | 44 | 4 | result, CKR_… |
//! | 48 | 1 | function, see [`Function`] |
//! | 49 | 3 | zero |

use std::sync::{Arc, Mutex, PoisonError, Weak};

use strongroom_vault::{ClientId, Handle, LoginId, UserId};

/// The first byte of a block.
pub const BLOCK_VERSION: u8 = 1;
/// Bytes of one record.
pub const RECORD_BYTES: usize = 52;
/// A connection's buffer is handed on when it holds more than this, in bytes.
const BUFFER_BYTES_MAX: usize = 64 * 1024;

/// Where blocks of use records go: the store's audit log.
pub trait UseLog: Send + Sync {
    /// Takes a block over. A connection under load calls it before it answers, holding no lock: it may
    /// wait where records come faster than they can be kept.
    fn append(&self, block: Vec<u8>);
}

/// What was done with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Function {
    Sign = 1,
    Verify = 2,
    Encrypt = 3,
    Decrypt = 4,
    /// As the wrapping key.
    Wrap = 5,
    /// As the unwrapping key.
    Unwrap = 6,
    /// The key left the HSM, wrapped.
    Export = 7,
    /// As the base key.
    Derive = 8,
    /// As the public key.
    Encapsulate = 9,
    /// As the private key.
    Decapsulate = 10,
}

/// One use of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Use {
    pub(crate) time_ms: u64,
    pub(crate) login: LoginId,
    pub(crate) user: UserId,
    pub(crate) client: ClientId,
    pub(crate) handle: Handle,
    pub(crate) mechanism: u64,
    pub(crate) status: u64,
    pub(crate) function: Function,
}

impl Use {
    fn encode(&self) -> [u8; RECORD_BYTES] {
        let mut record = [0; RECORD_BYTES];
        record[0..8].copy_from_slice(&self.time_ms.to_le_bytes());
        record[8..16].copy_from_slice(&self.login.0.to_le_bytes());
        record[16..24].copy_from_slice(&self.handle.0.to_le_bytes());
        record[24..32].copy_from_slice(&self.mechanism.to_le_bytes());
        record[32..40].copy_from_slice(&self.client.0[..8]);
        record[40..44].copy_from_slice(&self.user.0.to_le_bytes());
        // CKR_ values are of 32 bits (CKR_VENDOR_DEFINED is the top one).
        record[44..48].copy_from_slice(&(self.status as u32).to_le_bytes());
        record[48] = self.function as u8;
        record
    }
}

/// One connection's records that are not in the log yet.
#[derive(Default)]
pub(crate) struct UseBuffer(Mutex<Vec<u8>>);

impl UseBuffer {
    /// Adds a record, and hands the buffer on where it is full.
    pub(crate) fn record(&self, record: &Use, log: &dyn UseLog) {
        let full = {
            let mut buffer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if buffer.is_empty() {
                buffer.push(BLOCK_VERSION);
            }
            buffer.extend_from_slice(&record.encode());
            (buffer.len() > BUFFER_BYTES_MAX).then(|| std::mem::take(&mut *buffer))
        };
        if let Some(block) = full {
            log.append(block);
        }
    }

    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The buffers of all open connections.
pub(crate) struct UseBuffers {
    log: Arc<dyn UseLog>,
    buffers: Mutex<Vec<Weak<UseBuffer>>>,
}

impl UseBuffers {
    pub(crate) fn new(log: Arc<dyn UseLog>) -> Self {
        Self { log, buffers: Mutex::default() }
    }

    pub(crate) fn log(&self) -> &dyn UseLog {
        &*self.log
    }

    /// A buffer for a new connection.
    pub(crate) fn open(&self) -> Arc<UseBuffer> {
        let buffer = Arc::new(UseBuffer::default());
        let mut buffers = self.buffers.lock().unwrap_or_else(PoisonError::into_inner);
        buffers.push(Arc::downgrade(&buffer));
        buffer
    }

    /// Hands on what a connection that ends has left.
    pub(crate) fn close(&self, buffer: &UseBuffer) {
        let block = buffer.take();
        if !block.is_empty() {
            self.log.append(block);
        }
    }

    /// Hands on what all connections have, as one block.
    pub(crate) fn drain(&self) {
        let open: Vec<Arc<UseBuffer>> = {
            let mut buffers = self.buffers.lock().unwrap_or_else(PoisonError::into_inner);
            buffers.retain(|buffer| buffer.strong_count() > 0);
            buffers.iter().filter_map(Weak::upgrade).collect()
        };
        let mut block = Vec::new();
        for buffer in open {
            let records = buffer.take();
            let skip = usize::from(!block.is_empty() && !records.is_empty());
            block.extend_from_slice(&records[skip..]);
        }
        if !block.is_empty() {
            self.log.append(block);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Kept(Mutex<Vec<Vec<u8>>>);

    impl UseLog for Kept {
        fn append(&self, block: Vec<u8>) {
            self.0.lock().unwrap().push(block);
        }
    }

    fn a_use(handle: u64) -> Use {
        Use {
            time_ms: 0x0102_0304,
            login: LoginId(7),
            user: UserId(3),
            client: ClientId([9; 16]),
            handle: Handle(handle),
            mechanism: 0x1041,
            status: 0x101,
            function: Function::Sign,
        }
    }

    #[test]
    fn a_record_has_the_documented_layout() {
        let record = a_use(0x68_0001).encode();
        assert_eq!(record[..4], [4, 3, 2, 1]);
        assert_eq!(record[8], 7);
        assert_eq!(record[16..19], [1, 0, 0x68]);
        assert_eq!(record[24..26], [0x41, 0x10]);
        assert_eq!(record[32..40], [9; 8]);
        assert_eq!(record[40], 3);
        assert_eq!(record[44..46], [1, 1]);
        assert_eq!(record[48..], [1, 0, 0, 0]);
    }

    #[test]
    fn draining_joins_the_connections_records_into_one_block() {
        let log = Arc::new(Kept::default());
        let buffers = UseBuffers::new(log.clone());
        let (one, two) = (buffers.open(), buffers.open());
        one.record(&a_use(1), buffers.log());
        two.record(&a_use(2), buffers.log());
        buffers.drain();
        buffers.drain();
        let blocks = log.0.lock().unwrap();
        assert_eq!(blocks.len(), 1);
        assert_eq!(blocks[0].len(), 1 + 2 * RECORD_BYTES);
        assert_eq!(blocks[0][0], BLOCK_VERSION);
    }

    #[test]
    fn a_full_buffer_is_handed_on_at_once() {
        let log = Arc::new(Kept::default());
        let buffers = UseBuffers::new(log.clone());
        let one = buffers.open();
        for handle in 0..=(BUFFER_BYTES_MAX / RECORD_BYTES) as u64 {
            one.record(&a_use(handle), buffers.log());
        }
        assert_eq!(log.0.lock().unwrap().len(), 1);
    }
}
