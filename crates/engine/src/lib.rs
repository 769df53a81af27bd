//! One HSM without a network.
//!
//! In: a decoded request of port 2223, on a [`Connection`] whose channel's binding is known. Out: the
//! reply. Between them: who asks (tickets, logins), whether the vault allows it, the key, the
//! mechanism, and the record of its use. Changes go through a [`strongroom_vault::Replicator`].
//!
//! A connection belongs to one thread and everything runs inline on it. Once a key has been used on
//! a connection, using it again takes no lock that another connection holds.
//!
//! Never: I/O, a thread of its own, a clock other than the one it is given, key material outside
//! this process other than masked or wrapped as its owner allowed.
//!
//! | module | what it is about |
//! |---|---|
//! | `engine`, `connection`, `attach` | the HSM; one connection and its dispatch; Hello and Attach |
//! | `login`, `password`, `ticket`, `clients`, `absence` | proving who one is, and for how long |
//! | `cluster`, `desk` | which HSMs there are, and what admins decide for all of them |
//! | `contact`, `barrier`, `apart` | in touch with the majority, or cut off from it |
//! | `users`, `token` | users; C_InitToken, C_InitPIN, C_GetTokenInfo |
//! | `keys`, `material`, `copy` | new objects: generated, given, unwrapped, copied |
//! | `objects`, `search` | attributes, destruction, C_FindObjects |
//! | `operations`, `wrapping`, `parameters` | mechanisms at work |
//! | `content`, `mask`, `remask`, `cache` | what objects hold, and how it is sealed |
//! | `session`, `kept`, `restore` | session objects, and how they outlive their HSM |
//! | `audit` | records of key use |
//! | `secrets`, `options` | what the HSM gives its engine |

#![forbid(unsafe_code)]

mod absence;
mod apart;
mod attach;
pub mod audit;
mod barrier;
mod cache;
mod clients;
mod cluster;
mod connection;
mod contact;
mod content;
mod copy;
mod der;
mod derive;
mod desk;
mod encapsulation;
mod engine;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod kept;
mod keys;
mod login;
mod mask;
mod material;
mod objects;
mod operations;
mod options;
mod parameters;
mod password;
mod remask;
mod restore;
mod search;
mod secrets;
mod session;
mod template;
mod ticket;
mod token;
mod users;
mod wrapping;

pub use audit::UseLog;
pub use connection::{Channel, Connection};
pub use desk::{ClusterDesk, LocalCounters, LocalFailures, Standing};
pub use engine::{Engine, Identity};
pub use options::{Clock, Options, PasswordCost};
pub use secrets::{EngineSecrets, EpochSecrets};
