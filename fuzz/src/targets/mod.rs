//! The list of targets.

mod answers;
mod client;
mod connection;
mod crypto;
mod engine;
mod history;
mod hsm;
mod seal;
mod state;
mod store;
mod vault;
mod wire;

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
    ($($name:literal, $cases:literal: $module:ident::$run:ident, $seeds:ident;)+) => {
        /// Every target.
        pub static TARGETS: &[Target] = &[$(
            Target { name: $name, seeds: $module::$seeds, run: $module::$run, cases: $cases },
        )+];
    };
}

targets! {
    "wire-frame", 20_000: wire::frame, frame_seeds;
    "wire-request", 20_000: wire::request, request_seeds;
    "wire-reply", 20_000: wire::reply, reply_seeds;
    "wire-admin", 20_000: wire::admin, admin_seeds;
    "vault-entry", 20_000: vault::entry, entry_seeds;
    "vault-result", 20_000: vault::result, result_seeds;
    "vault-meta", 20_000: vault::meta, meta_seeds;
    "vault-record", 20_000: vault::record, record_seeds;
    "vault-template", 20_000: vault::template, template_seeds;
    "vault-nested-template", 20_000: vault::nested, nested_seeds;
    "vault-log", 10_000: state::log, log_seeds;
    "vault-load", 5_000: state::load, load_seeds;
    "store-secrets", 2_000: store::secrets_file, secrets_file_seeds;
    "store-row", 20_000: store::row, row_seeds;
    "store-head", 20_000: store::head, head_seeds;
    "store-audit", 20_000: store::audit, audit_seeds;
    "cluster-entry", 20_000: store::sealed_entry, sealed_entry_seeds;
    "seal-file", 20_000: seal::file, file_seeds;
    "seal-passphrase", 5_000: seal::passphrase, passphrase_seeds;
    "crypto-key", 5_000: crypto::key, key_seeds;
    "crypto-rsa-numbers", 500: crypto::rsa_numbers, rsa_numbers_seeds;
    "crypto-operation", 5_000: crypto::operation, operation_seeds;
    "engine-ticket", 5_000: engine::ticket, ticket_seeds;
    "engine-body", 10_000: engine::body, body_seeds;
    "engine-verifier", 20_000: engine::verifier, verifier_seeds;
    "engine-point", 20_000: engine::point, point_seeds;
    "engine-requests", 3_000: connection::requests, requests_seeds;
    "engine-passwords", 20: connection::passwords, passwords_seeds;
    "hsm-frames", 20_000: hsm::received, received_seeds;
    "hsm-owner", 5_000: hsm::owner, owner_seeds;
    "hsm-provisioner", 5_000: hsm::provisioner, provisioner_seeds;
    "client-chain", 5_000: client::chain, chain_seeds;
    "client-anchor", 5_000: client::anchor_file, anchor_file_seeds;
    "client-config", 5_000: client::config, config_seeds;
    "client-answers", 2_000: answers::answers, answers_seeds;
}
