//! What goes over Strongroom's ports: messages, framing, versions, limits, and nothing else.
//!
//! In: bytes from a peer. Out: typed messages, or an error that says what was wrong with them.
//! It must never trust a length before it has checked it against [`limits`], never panic on any
//! input, and never keep a password or a value in memory longer than the message lives.
//!
//! - [`frame`]: how one message is cut out of a byte stream.
//! - [`message`]: requests and replies of port 2223 (clients).
//! - [`admin`]: requests and replies of port 2224 (administration).
//! - [`peer`]: requests and replies of port 2225 (HSM to HSM).
//! - [`greeting`]: what a connection of port 2225 begins with.
//! - [`joining`]: what a member and a new HSM say to one another on port 2225.
//! - [`limits`]: the one table of limits.
//! - [`wipe`]: how what was in a message is taken out of memory.
//! - [`vendor`]: AWS CloudHSM's own PKCS#11 constants.

#![forbid(unsafe_code)]

pub mod admin;
pub mod frame;
pub mod greeting;
pub mod joining;
pub mod leaving;
pub mod limits;
pub mod message;
pub mod peer;
pub mod vendor;
pub mod wipe;

/// The newest message set that this build speaks.
pub const API_LEVEL_MAX: u32 = 1;
/// The oldest message set that this build speaks.
pub const API_LEVEL_MIN: u32 = 1;

/// The level that both sides speak: the lower of the two maxima, where neither is too old.
///
/// `None` when no level is common; the caller then tells the peer which levels it speaks.
#[must_use]
pub fn negotiate(peer_min: u32, peer_max: u32) -> Option<u32> {
    let level = peer_max.min(API_LEVEL_MAX);
    (level >= peer_min && level >= API_LEVEL_MIN).then_some(level)
}

/// TCP port of clients.
pub const PORT_CLIENTS: u16 = 2223;
/// TCP port of administration.
pub const PORT_ADMINISTRATION: u16 = 2224;
/// TCP port between HSMs.
pub const PORT_PEERS: u16 = 2225;

/// The TLS exporter label (RFC 8446, section 7.5) whose 32 bytes bind a login to its connection.
pub const CHANNEL_BINDING_LABEL: &[u8] = b"EXPORTER-strongroom-attach-1";
/// What a client signs to attach: this, then the channel binding, then the client id.
pub const ATTACH_CONTEXT: &[u8] = b"strongroom attach 1\0";

/// Handles of session objects have this bit, those of token objects don't: so a client knows which
/// requests need objects that only one HSM may have.
pub const SESSION_HANDLE_BIT: u64 = 1 << 63;

/// The bytes that prove possession of a ticket's key on one connection.
#[must_use]
pub fn attach_statement(channel_binding: &[u8; 32], client_id: &[u8; 16]) -> Vec<u8> {
    [ATTACH_CONTEXT, channel_binding, client_id].concat()
}
