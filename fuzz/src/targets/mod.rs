//! The list of targets.

mod answers;
mod client;
mod connection;
mod crypto;
mod engine;
mod history;
mod hsm;
mod peer;
mod seal;
mod state;
mod store;
mod vault;
mod wire;
mod work;

/// One decoder under fuzz.
#[derive(Debug)]
pub struct Target {
    /// Its name, and its corpus' folder.
    pub name: &'static str,
    /// Valid inputs, made by the code that writes them: they follow every change of a format.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Takes any bytes and returns: whether they were accepted, as some of the seeds are.
    pub run: fn(&[u8]) -> bool,
    /// Mutations in the ordinary test run: fewer where one takes long, so that each target has
    /// about half a second, and all of them less than twenty on a busy machine.
    pub cases: usize,
}

macro_rules! targets {
    ($($name:literal, $cases:literal: $module:ident::$run:ident, $from:ident::$seeds:ident;)+) => {
        /// Every target.
        pub static TARGETS: &[Target] = &[$(
            Target { name: $name, seeds: $from::$seeds, run: $module::$run, cases: $cases },
        )+];
    };
}

targets! {
    "wire-frame", 20_000: wire::frame, wire::frame_seeds;
    "wire-request", 20_000: wire::request, wire::request_seeds;
    "wire-reply", 20_000: wire::reply, wire::reply_seeds;
    "wire-admin", 20_000: wire::admin, wire::admin_seeds;
    "wire-peer-request", 20_000: peer::request, peer::request_seeds;
    "wire-peer-reply", 20_000: peer::reply, peer::reply_seeds;
    "cluster-payload", 20_000: peer::payload, peer::payload_seeds;
    "wire-joining", 20_000: wire::joining, wire::joining_seeds;
    "vault-entry", 20_000: vault::entry, vault::entry_seeds;
    "vault-result", 20_000: vault::result, vault::result_seeds;
    "vault-meta", 20_000: vault::meta, vault::meta_seeds;
    "vault-record", 20_000: vault::record, vault::record_seeds;
    "vault-template", 20_000: vault::template, vault::template_seeds;
    "vault-nested-template", 20_000: vault::nested, vault::nested_seeds;
    "vault-log", 10_000: state::log, state::log_seeds;
    "vault-load", 5_000: state::load, state::load_seeds;
    "store-secrets", 2_000: store::secrets_file, store::secrets_file_seeds;
    "store-row", 20_000: store::row, store::row_seeds;
    "store-head", 20_000: store::head, store::head_seeds;
    "store-audit", 20_000: store::audit, store::audit_seeds;
    "store-log", 20_000: store::log_row, store::log_row_seeds;
    "store-kept", 20_000: store::kept, store::kept_seeds;
    "store-chunks", 20_000: store::chunks, store::chunks_seeds;
    "store-snapshot", 4_000: store::snapshot, store::snapshot_seeds;
    "cluster-entry", 20_000: store::sealed_entry, store::sealed_entry_seeds;
    "seal-file", 20_000: seal::file, seal::file_seeds;
    "seal-passphrase", 5_000: seal::passphrase, seal::passphrase_seeds;
    "crypto-key", 5_000: crypto::key, crypto::key_seeds;
    "crypto-rsa-numbers", 500: crypto::rsa_numbers, crypto::rsa_numbers_seeds;
    "crypto-operation", 5_000: crypto::operation, crypto::operation_seeds;
    "engine-ticket", 5_000: engine::ticket, engine::ticket_seeds;
    "engine-body", 10_000: engine::body, engine::body_seeds;
    "engine-session-object", 10_000: engine::session_object, engine::session_object_seeds;
    "engine-verifier", 20_000: engine::verifier, engine::verifier_seeds;
    "engine-point", 20_000: engine::point, engine::point_seeds;
    "engine-requests", 3_000: connection::requests, work::requests_seeds;
    "engine-passwords", 20: connection::passwords, work::passwords_seeds;
    "hsm-frames", 20_000: hsm::received, hsm::received_seeds;
    "hsm-owner", 5_000: hsm::owner, hsm::owner_seeds;
    "hsm-provisioner", 5_000: hsm::provisioner, hsm::provisioner_seeds;
    "hsm-newcomer", 5_000: hsm::newcomer, hsm::newcomer_seeds;
    "client-chain", 5_000: client::chain, client::chain_seeds;
    "client-anchor", 5_000: client::anchor_file, client::anchor_file_seeds;
    "client-config", 5_000: client::config, client::config_seeds;
    "client-answers", 2_000: answers::answers, answers::answers_seeds;
}
