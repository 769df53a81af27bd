//! How an HSM comes into a cluster.
//!
//! ```text
//! provisioner ── DeviceInfo ──▶ new HSM                 who are you, under your device key
//! provisioner ── Join ────────▶ new HSM                 whose welcome to take
//! provisioner ── AddHsm ──────▶ a member                its statement, and the owner's word for it
//!                 member: checks the policy, AddMember in the log
//!                 member ── Welcome (2225) ──▶ new HSM  the cluster's secrets, sealed to it
//! ```
//! Each step can be repeated, and the whole of it after a crash at any point. An HSM without secrets
//! of a cluster is in nobody's way: it answers its provisioner, and the members that it was told of.

mod admission;
mod device;
mod endorsement;
mod invitation;

pub(crate) use admission::{admit, peer_member};
pub(crate) use device::{sign_statement, verified};
pub(crate) use endorsement::check_endorsement;
pub(crate) use invitation::{Invitation, accept_welcome};
