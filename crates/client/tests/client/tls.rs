//! An HSM over TLS: requests of all sizes, and how a connection ends.

use std::sync::Arc;

use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    sign::{CertifiedKey, SingleCertAndKey},
    version::TLS13,
};
use strongroom_client::{
    Client, Config,
    config::{Server, Target},
};
use strongroom_wire::{
    limits::{DATA_BYTES_MAX, FRAME_BYTES_MAX},
    message::{Decrypt, EncryptedReply, Operation, Outcome, Random, Role},
};

use crate::{
    fake::{Action, End, FakeHsm, answer},
    pki::{CLUSTER_ID, HSM_ID, Pki},
};

pub(crate) fn server_config(pki: &Pki, chain: &[&str]) -> ServerConfig {
    server_config_with_key(pki, chain, chain[0])
}

pub(crate) fn server_config_with_key(pki: &Pki, chain: &[&str], key: &str) -> ServerConfig {
    let certificates = chain.iter().map(|name| pki.der(name)).collect();
    let key = aws_lc_rs::sign::any_supported_type(&pki.key(key)).unwrap();
    // Without rustls' own checks of a server's certificate.
    let identity = SingleCertAndKey::from(CertifiedKey::new(certificates, key));
    ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(identity))
}

fn hsm(pki: &Pki) -> FakeHsm {
    FakeHsm::tls(server_config(pki, &["hsm", "cluster"]), |_, operation| match operation {
        Operation::Decrypt(decrypt) => answer(Some(Outcome::Encrypted(EncryptedReply {
            data: decrypt.data.clone(),
            iv: Vec::new(),
        }))),
        _ => answer(None),
    })
}

fn config(pki: &Pki, hsm: &FakeHsm) -> Config {
    let address = hsm.address();
    Config::cluster(pki.file("ca"), vec![Server::new(address.ip().to_string(), address.port())])
}

#[test]
fn data_of_all_sizes_comes_back_whole() {
    let pki = Pki::new();
    let hsm = hsm(&pki);
    let client = Client::open(config(&pki, &hsm), "test").unwrap();
    let info = client.info();
    assert_eq!((info.cluster_id.as_str(), info.hsm_id.as_str()), (CLUSTER_ID, HSM_ID));
    client.login("user", Role::CryptoUser, b"1234").unwrap();
    for bytes in [0, 1, 1000, 16_000, 16_384, 16_400, 65_536, 300_000, DATA_BYTES_MAX] {
        let data: Vec<u8> = (0..bytes).map(|i| (i * 7) as u8).collect();
        let decrypt = Decrypt { handle: 1, mechanism: None, data: data.clone() };
        match client.call(0, Operation::Decrypt(decrypt)).unwrap() {
            Some(Outcome::Encrypted(reply)) => assert!(reply.data == data, "{bytes}"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(hsm.requests().iter().map(|request| request.connection).max(), Some(0));
}

#[test]
fn a_request_over_the_limit_is_the_callers_fault_and_the_connection_goes_on() {
    let pki = Pki::new();
    let hsm = hsm(&pki);
    let client = Client::open(config(&pki, &hsm), "test").unwrap();
    client.login("user", Role::CryptoUser, b"1234").unwrap();
    let decrypt = Decrypt { handle: 1, mechanism: None, data: vec![0; FRAME_BYTES_MAX] };
    let error = client.call(0, Operation::Decrypt(decrypt)).unwrap_err();
    assert_eq!(error.ckr(), cryptoki_sys::CKR_DATA_LEN_RANGE);
    client.call(0, Operation::Random(Random { bytes: 1 })).unwrap();
    assert_eq!(hsm.requests().iter().map(|request| request.connection).max(), Some(0));
}

#[test]
fn a_client_that_is_dropped_says_goodbye_and_one_that_is_forgotten_does_not() {
    let pki = Pki::new();
    let hsm = hsm(&pki);
    drop(Client::open(config(&pki, &hsm), "test").unwrap());
    assert_eq!(hsm.next_end(), End::Closed);
    Client::open(config(&pki, &hsm), "test").unwrap().forget();
    assert_eq!(hsm.next_end(), End::Broken);
}

#[test]
fn a_lost_connection_is_opened_again_with_all_checks() {
    let pki = Pki::new();
    let hsm = hsm(&pki);
    let client = Client::open(config(&pki, &hsm), "test").unwrap();
    client.login("user", Role::CryptoUser, b"1234").unwrap();
    hsm.cut();
    client.call(0, Operation::Random(Random { bytes: 1 })).unwrap();
    let requests = hsm.requests();
    let last = requests.last().unwrap();
    assert!(last.logged_in && last.connection > 0);
}

#[test]
fn another_hsm_answers_where_the_first_is_gone() {
    let pki = Pki::new();
    let (first, second) = (hsm(&pki), hsm(&pki));
    let mut config = config(&pki, &first);
    let Target::Cluster(cluster) = &mut config.target else { panic!("no cluster") };
    let address = second.address();
    cluster.servers.push(Server::new(address.ip().to_string(), address.port()));
    let client = Client::open(config, "test").unwrap();
    client.login("user", Role::CryptoUser, b"1234").unwrap();
    let (used, other) = if second.seen().is_empty() { (first, second) } else { (second, first) };
    assert_eq!(other.seen(), []);
    drop(used);
    // The other one does not know the ticket: these two are no cluster.
    let error = client.call(0, Operation::Random(Random { bytes: 1 })).unwrap_err();
    assert_eq!(error.ckr(), cryptoki_sys::CKR_USER_NOT_LOGGED_IN);
    client.call(0, Operation::Random(Random { bytes: 1 })).unwrap();
    assert_eq!(other.requests().len(), 1);
}

#[test]
fn an_hsm_that_calls_itself_other_than_its_certificate_does_is_not_trusted() {
    let pki = Pki::new();
    let hsm = FakeHsm::tls(server_config(&pki, &["hsm", "cluster"]), |_, _| Action::Cut);
    hsm.set_cluster_id("cluster-other");
    let Err(error) = Client::open(config(&pki, &hsm), "test") else { panic!("opened") };
    let strongroom_client::Error::Trust(why) = &error else { panic!("{error:?}") };
    assert!(why.contains("name: "), "{why}");
}
