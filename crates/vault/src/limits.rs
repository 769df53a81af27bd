//! The one table of the vault's limits. What goes over one is refused, the same on every HSM.
//!
//! Limits that the wire has too have the same number there; they are repeated because the vault
//! must hold them whoever proposes, and depends on no other crate of ours.

/// Label (CKA_LABEL), in bytes.
pub const LABEL_BYTES_MAX: usize = 1024;
/// Identifier (CKA_ID), in bytes.
pub const ID_BYTES_MAX: usize = 1024;
/// Attributes in one template.
pub const TEMPLATE_ATTRIBUTES_MAX: usize = 128;
/// Attributes in a template that is itself an attribute's value (CKA_WRAP_TEMPLATE, …).
pub const NESTED_TEMPLATE_ATTRIBUTES_MAX: usize = 32;
/// One attribute's value, in bytes.
pub const ATTRIBUTE_VALUE_BYTES_MAX: usize = 64 * 1024;
/// One attribute's value that is kept as metadata, in memory, in bytes (CKA_SUBJECT, …).
pub const META_VALUE_BYTES_MAX: usize = 4096;
/// All values of one object that are kept in [`crate::Meta::more`], in bytes.
pub const META_MORE_BYTES_MAX: usize = 16 * 1024;
/// User name, in characters (CloudHSM: 31, letters, digits and `_`).
pub const USER_NAME_CHARS_MAX: usize = 31;
/// A password's verifier (PHC string), in bytes.
pub const VERIFIER_BYTES_MAX: usize = 1024;
/// Failed logins before a user is locked, counted over the cluster.
pub const LOGIN_FAILURES_MAX: u32 = 5;
/// Users of a cluster.
pub const USERS_MAX: usize = 1024;
/// Open logins (tickets) of a cluster.
pub const LOGINS_MAX: usize = 65_536;
/// Logins that one entry says to be in use.
pub const SEEN_LOGINS_MAX: usize = 1024;
/// Token objects of a cluster.
pub const OBJECTS_MAX: usize = 1_000_000;
/// Token objects made by one entry (a key pair is two).
pub const OBJECTS_PER_ENTRY_MAX: usize = 4;
/// A sealed blob, in bytes: an operation's data (1 MiB) and what sealing adds.
pub const BLOB_BYTES_MAX: usize = 1024 * 1024 + 64 * 1024;
/// Clients whose recent replies are remembered for retries.
pub const REMEMBERED_CLIENTS_MAX: usize = 4096;
/// Recent replies remembered for one client.
pub const REMEMBERED_REPLIES_MAX: usize = 64;
/// Runs of sequences of one client that are known to have run though their replies are forgotten.
pub const FORGOTTEN_RANGES_MAX: usize = 256;
/// For so long after its last change a client is not forgotten, in milliseconds of applied time.
/// Longer than any client retries a request.
pub const CLIENT_MEMORY_MS_MIN: u64 = 60_000;
/// A certificate of the owner's, in bytes of DER.
pub const CERTIFICATE_BYTES_MAX: usize = 20_000;
/// A cluster's identifier, in characters.
pub const CLUSTER_ID_CHARS_MAX: usize = 64;
/// A token's label (PKCS#11 v3.1, section 3.2, CK_TOKEN_INFO), in bytes, blank-padded.
pub const TOKEN_LABEL_BYTES: usize = 32;
/// An encoded entry of the log, in bytes.
pub const ENTRY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// An encoded record of the state, in bytes.
pub const RECORD_BYTES_MAX: usize = 64 * 1024;

/// HSMs of a cluster (CloudHSM: 28), witnesses not counted.
pub const HSMS_MAX: usize = 28;
/// Witnesses of a cluster: one makes two HSMs' votes odd.
pub const WITNESSES_MAX: usize = 1;
/// An HSM's identifier, in characters.
pub const HSM_ID_CHARS_MAX: usize = 64;
/// An IP address, in characters.
pub const ADDRESS_CHARS_MAX: usize = 45;
/// An availability zone's name, in characters.
pub const ZONE_CHARS_MAX: usize = 64;
/// What may be added to port 2225.
pub const PORT_OFFSET_MAX: u16 = u16::MAX - 2225;
/// A device key's SubjectPublicKeyInfo, in bytes.
pub const DEVICE_KEY_BYTES_MAX: usize = 1024;
/// A public key that secrets are sealed to, in bytes (X25519 and ML-KEM-768: 1,216).
pub const SEALING_KEY_BYTES_MAX: usize = 4096;
/// HSMs that wait for the admins' approval to join.
pub const JOIN_REQUESTS_MAX: usize = 16;
/// Admins that a join policy may ask for.
pub const JOIN_APPROVALS_MAX: u32 = 20;
/// Keys that may sign a recovery.
pub const RECOVERY_KEYS_MAX: usize = 20;
/// One such key's SubjectPublicKeyInfo, in bytes.
pub const RECOVERY_KEY_BYTES_MAX: usize = 1024;
/// One member's secrets of one epoch, sealed, in bytes.
pub const SEALED_SECRETS_BYTES_MAX: usize = 16 * 1024;
/// Epochs whose sealed secrets are kept for members that come late.
pub const ROTATIONS_MAX: u64 = 64;
/// Objects masked anew by one entry.
pub const REMASK_OBJECTS_MAX: usize = 1024;
/// Their new blobs together, in bytes.
pub const REMASK_BYTES_MAX: usize = 4 * 1024 * 1024;
/// For so long an HSM that is cut off from the majority uses keys, in seconds, unless an admin says
/// otherwise.
pub const CUT_OFF_SECONDS_DEFAULT: u64 = 3600;

// What `apply` accepts can be decoded: an agreed entry that can't would stop every HSM.
const _: () =
    assert!(OBJECTS_PER_ENTRY_MAX * (BLOB_BYTES_MAX + RECORD_BYTES_MAX) < ENTRY_BYTES_MAX);
const _: () = assert!(REMASK_BYTES_MAX + 64 * REMASK_OBJECTS_MAX < ENTRY_BYTES_MAX);
const _: () = assert!(HSMS_MAX * (SEALED_SECRETS_BYTES_MAX + 64) < ENTRY_BYTES_MAX);
// A record of them can be decoded.
const _: () = assert!(RECOVERY_KEYS_MAX * (RECOVERY_KEY_BYTES_MAX + 16) < RECORD_BYTES_MAX / 2);
const _: () = assert!(SEALED_SECRETS_BYTES_MAX < RECORD_BYTES_MAX / 2);
