//! The one table of limits. A peer that goes over one gets an error, never more memory.

/// A frame's payload on an attached connection, in bytes.
pub const FRAME_BYTES_MAX: usize = DATA_BYTES_MAX + 64 * 1024;
/// A frame's payload before the connection has attached, in bytes.
pub const FRAME_BYTES_BEFORE_ATTACH_MAX: usize = 64 * 1024;
/// Data of one operation (encrypt, sign, digest, wrap, certificate value), in bytes.
pub const DATA_BYTES_MAX: usize = 1024 * 1024;
/// Random bytes of one request.
pub const RANDOM_BYTES_MAX: usize = 1024 * 1024;
/// Attributes in one template.
pub const TEMPLATE_ATTRIBUTES_MAX: usize = 128;
/// One attribute's value, in bytes.
pub const ATTRIBUTE_VALUE_BYTES_MAX: usize = 64 * 1024;
/// Label (CKA_LABEL), in bytes. CloudHSM allows 127 characters; other tokens more.
pub const LABEL_BYTES_MAX: usize = 1024;
/// Identifier (CKA_ID), in bytes.
pub const ID_BYTES_MAX: usize = 1024;
/// User name, in characters (CloudHSM: 31, letters, digits and `_`).
pub const USER_NAME_CHARS_MAX: usize = 31;
/// Password in personality `cloudhsm`, in characters.
pub const PASSWORD_CHARS_MIN: usize = 8;
/// Password in personality `cloudhsm`, in characters.
pub const PASSWORD_CHARS_MAX: usize = 32;
/// PIN in personality `token`, in bytes.
pub const PIN_BYTES_MIN: usize = 4;
/// PIN in personality `token`, in bytes.
pub const PIN_BYTES_MAX: usize = 255;
/// Failed logins before a user is locked, counted over the cluster.
pub const LOGIN_FAILURES_MAX: u32 = 5;
/// Users of a cluster.
pub const USERS_MAX: usize = 1024;
/// Token objects of a cluster.
pub const OBJECTS_MAX: usize = 1_000_000;
/// Open logins (tickets) of a cluster.
pub const LOGINS_MAX: usize = 65_536;
/// Sessions of one application (CloudHSM: 1,024), in personality `token` too.
pub const SESSIONS_MAX: usize = 1024;
/// Session objects of one application.
pub const SESSION_OBJECTS_MAX: usize = 16_384;
/// Masked session objects in one reply, in bytes: with the reply's other parts they fit a frame.
pub const SESSION_OBJECT_BLOBS_BYTES_MAX: usize = DATA_BYTES_MAX + 32 * 1024;
/// Handles in one reply to a search.
pub const FIND_HANDLES_MAX: usize = 4096;
/// Attributes read by one request.
pub const ATTRIBUTE_TYPES_MAX: usize = 256;
/// Connections to one HSM (CloudHSM: 2,048).
pub const CONNECTIONS_MAX: usize = 2048;
/// Clients whose recent replies are remembered for retries.
pub const REMEMBERED_CLIENTS_MAX: usize = 4096;
/// Recent replies remembered for one client.
pub const REMEMBERED_REPLIES_MAX: usize = 64;
/// AES key lengths, in bytes.
pub const AES_KEY_BYTES: [usize; 3] = [16, 24, 32];
/// Generic secrets, in bytes.
pub const GENERIC_SECRET_BYTES_MAX: usize = 800;
/// PEM certificate given to the administration port, in bytes (AWS: 20,000 characters).
pub const CERTIFICATE_BYTES_MAX: usize = 20_000;
/// HSMs in one topology (AWS: 28 in a cluster), with room.
pub const TOPOLOGY_HSMS_MAX: usize = 64;
/// TLS handshake and the first request must end in this time, in milliseconds.
pub const HANDSHAKE_MS_MAX: u64 = 10_000;
/// A connection of nobody who is logged in may stay without a request for so long, in milliseconds.
/// Longer than a client lets one rest without a look whether it is still there (30 s).
pub const IDLE_BEFORE_LOGIN_MS_MAX: u64 = 60_000;
/// Entries that the log keeps after they are applied, for HSMs that are behind.
pub const LOG_ENTRIES_KEPT: u64 = 10_000;
/// The log is cut only when it is longer than that by so many entries.
pub const LOG_ENTRIES_CUT_MIN: u64 = 1_000;
/// Entries applied and committed in one transaction.
pub const BATCH_ENTRIES_MAX: usize = 1024;
/// Key-use records wait for a transaction of their own at most so long, in milliseconds. They are
/// durable within a second.
pub const AUDIT_DELAY_MS_MAX: u64 = 500;
/// Key-use records that wait, in bytes. At a sixteenth of it they no longer wait for company; beyond
/// it, whoever uses a key waits for the disk.
pub const AUDIT_QUEUE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// HSMs and witnesses of a cluster.
pub const MEMBERS_MAX: usize = 32;
/// A frame's payload between HSMs, in bytes: one entry of the log at its longest, and some.
pub const PEER_FRAME_BYTES_MAX: usize = 10 * 1024 * 1024;
/// A frame's payload between HSMs that carries neither entries nor a snapshot, in bytes.
pub const PEER_SMALL_FRAME_BYTES_MAX: usize = 1024 * 1024;
/// Entries, or proposals, in one message between HSMs.
pub const PEER_ENTRIES_MAX: usize = 4096;
/// An identifier, an address or a reason in a message between HSMs, in bytes.
pub const PEER_TEXT_BYTES_MAX: usize = 1024;
/// One member's copy of the cluster's secrets, sealed, in bytes.
pub const SEALED_SECRETS_BYTES_MAX: usize = 16 * 1024;
/// A leaver's receipt, in bytes.
pub const RECEIPT_BYTES_MAX: usize = 1024;
/// A recovery's statement, in bytes: all members with long names.
pub const RECOVERY_STATEMENT_BYTES_MAX: usize = 64 * 1024;
/// Signatures under a recovery's statement.
pub const RECOVERY_SIGNATURES_MAX: usize = 20;
/// One such signature, in bytes (RSA-8192).
pub const RECOVERY_SIGNATURE_BYTES_MAX: usize = 1024;
/// One Raft entry's payload, in bytes: a batch of sealed entries.
pub const LOG_PAYLOAD_BYTES_MAX: usize = 9 * 1024 * 1024;
/// A batch takes no further entry once it has so many bytes; replication sends so many at a time.
pub const BATCH_BYTES_ENOUGH: usize = 1024 * 1024;
/// A snapshot's sealed chunk, in bytes.
pub const SNAPSHOT_CHUNK_BYTES_MAX: usize = 4 * 1024 * 1024;
/// A change waits for a majority at most so long, in milliseconds.
pub const PROPOSAL_MS_MAX: u64 = 3_000;
/// A read waits for the leader's confirmation at most so long, in milliseconds.
pub const READ_BARRIER_MS_MAX: u64 = 1_000;
/// An HSM that has heard no leader for so long is cut off, in milliseconds; a leader, no majority.
pub const CUT_OFF_MS: u64 = 1_000;
/// A leader whose clock is further than this from its voters' median stamps nothing, in milliseconds.
pub const CLOCK_APART_MS_MAX: u64 = 10_000;
