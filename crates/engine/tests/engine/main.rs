//! The engine as its callers see it: requests in, replies out, over a replicator in memory.
//!
//! Each module is one subject. `support` has the HSM and the client that they share.

mod asymmetric;
mod attacks;
mod attributes;
mod cluster;
mod concurrency;
mod copies;
mod cut_off;
mod follower;
mod keys;
mod logins;
mod malformed;
mod memory;
mod operations;
mod permissions;
mod remask;
mod restored;
mod retries;
mod search;
mod sessions;
mod support;
mod token;
mod users;
mod wrapping;
