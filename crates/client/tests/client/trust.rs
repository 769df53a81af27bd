//! Whom the client talks to: each check, with certificates that fail only it; what is refused has
//! received nothing but a handshake.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Command, Stdio},
    thread::{self, JoinHandle},
    time::{Duration, SystemTime},
};

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use strongroom_client::{
    Client, Config, Error,
    config::{Cluster, Server, Target},
    identify,
    trust::{Anchor, Identity},
};

use crate::{
    pki::{
        CLUSTER_ID, HSM_ID, P256, P384, P521, Pki, RSA_1024, RSA_2048, SECP256K1, hsm_extensions,
    },
    tls::{server_config, server_config_with_key},
};

/// An HSM that gives its certificates and listens: all application bytes that it gets.
struct Listener {
    address: SocketAddr,
    received: JoinHandle<Vec<u8>>,
}

impl Listener {
    fn start(config: ServerConfig) -> Self {
        Self::accept(move |stream| {
            let tls = ServerConnection::new(config.into()).unwrap();
            let mut received = Vec::new();
            let _ = StreamOwned::new(tls, stream).read_to_end(&mut received);
            received
        })
    }

    fn accept(serve: impl FnOnce(TcpStream) -> Vec<u8> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let received = thread::spawn(move || serve(listener.accept().unwrap().0));
        Self { address, received }
    }
}

fn config(pki: &Pki, anchor: &str, address: SocketAddr) -> Config {
    let server = Server::new(address.ip().to_string(), address.port());
    Config::cluster(pki.file(anchor), vec![server])
}

fn cluster(config: &mut Config) -> &mut Cluster {
    match &mut config.target {
        Target::Cluster(cluster) => cluster,
        _ => panic!("no cluster"),
    }
}

/// Asserts that an HSM with this chain is refused by a check, and gets nothing.
fn refused(pki: &Pki, anchor: &str, chain: &[&str], check: &str) {
    refused_with(pki, chain, check, |address| config(pki, anchor, address));
}

fn refused_with(pki: &Pki, chain: &[&str], check: &str, config: impl FnOnce(SocketAddr) -> Config) {
    let listener = Listener::start(server_config(pki, chain));
    let Err(error) = Client::open(config(listener.address), "canary-client") else {
        panic!("{chain:?} was trusted")
    };
    let Error::Trust(why) = &error else { panic!("{chain:?}: {error:?}") };
    assert!(why.contains(check), "{chain:?}: {why}");
    // Where the client didn't even connect, this ends the listener.
    drop(TcpStream::connect(listener.address));
    assert_eq!(listener.received.join().unwrap(), b"", "{chain:?}");
}

fn accepted(pki: &Pki, anchor: &str, chain: &[&str]) -> Identity {
    let listener = Listener::start(server_config(pki, chain));
    identified(&mut config(pki, anchor, listener.address))
}

fn identified(config: &mut Config) -> Identity {
    let cluster = cluster(config);
    identify(cluster, &cluster.servers[0]).unwrap()
}

#[test]
fn a_cluster_as_openssl_makes_it_is_trusted() {
    let pki = Pki::new();
    let text = pki.openssl(&["x509", "-in", "cluster.crt", "-noout", "-text"]);
    // The trap that this verifier is for. Newer versions of OpenSSL make v3.
    let version = pki.openssl(&["version"]);
    if version.starts_with("OpenSSL 3.0") || version.starts_with("OpenSSL 3.1") {
        assert!(text.contains("Version: 1 (0x0)"), "{text}");
    }
    let identity = accepted(&pki, "ca", &["hsm", "cluster"]);
    assert_eq!(identity.cluster_id, CLUSTER_ID);
    assert_eq!(identity.hsm_id, HSM_ID);
    let key = pki.openssl(&["x509", "-in", "cluster.crt", "-noout", "-pubkey"]);
    let key = pem_rfc7468::decode_vec(key.as_bytes()).unwrap().1;
    let pin = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &key);
    assert_eq!(identity.cluster_key, pin.as_ref());
}

#[test]
fn allowed_algorithms_are_trusted() {
    let pki = Pki::new();
    for (name, key, options) in [
        ("rsa-pkcs1", RSA_2048, &["-sha256"][..]),
        ("rsa-pkcs1-512", RSA_2048, &["-sha512"]),
        (
            "rsa-pss",
            RSA_2048,
            &["-sha384", "-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest"],
        ),
        ("p384", P384, &["-sha384"]),
        ("p521", P521, &["-sha512"]),
        ("p256-512", P256, &["-sha512"]),
    ] {
        let (cluster, hsm) = (format!("{name}-cluster"), format!("{name}-hsm"));
        pki.ca(name, "/O=Customer/CN=customerCA", key, options);
        pki.request(&cluster, &format!("/O=Strongroom/CN={CLUSTER_ID}"), key);
        pki.sign(&cluster, name, None, options);
        pki.request(&hsm, &format!("/CN={HSM_ID}"), key);
        pki.sign(&hsm, &cluster, Some(&hsm_extensions(CLUSTER_ID)), options);
        accepted(&pki, name, &[&hsm, &cluster]);
    }
}

#[test]
fn a_v3_cluster_certificate_is_trusted() {
    let pki = Pki::new();
    let extensions = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n\
                      subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n";
    pki.sign("cluster", "ca", Some(extensions), &[]);
    accepted(&pki, "ca", &["hsm", "cluster"]);
    pki.sign("cluster", "ca", Some("subjectKeyIdentifier=hash\n"), &[]);
    accepted(&pki, "ca", &["hsm", "cluster"]);
}

#[test]
fn another_customers_cluster_is_refused() {
    let pki = Pki::new();
    pki.ca("other", "/CN=otherCA", P256, &[]);
    refused(&pki, "other", &["hsm", "cluster"], "issuer: the cluster's certificate");
    // With the right name and another key.
    pki.ca("same-name", "/CN=customerCA", P256, &[]);
    refused(&pki, "same-name", &["hsm", "cluster"], "signature: the cluster's certificate");
}

#[test]
fn a_leaf_of_another_cluster_key_is_refused() {
    let pki = Pki::new();
    pki.ca("elsewhere", &format!("/O=Strongroom/CN={CLUSTER_ID}"), P256, &[]);
    pki.hsm("stranger", "elsewhere");
    refused(&pki, "ca", &["stranger", "cluster"], "signature: the HSM's certificate");
    // Directly under the customer's CA, which never signs for HSMs.
    pki.hsm("direct", "ca");
    refused(&pki, "ca", &["direct", "cluster"], "issuer: the HSM's certificate");
}

#[test]
fn a_peer_without_the_key_of_the_certificate_that_it_shows_is_refused() {
    let pki = Pki::new();
    pki.request("thief", "/CN=thief", P256);
    let chain = ["hsm", "cluster"];
    let listener = Listener::start(server_config_with_key(&pki, &chain, "thief"));
    let Err(error) = Client::open(config(&pki, "ca", listener.address), "canary-client") else {
        panic!("trusted")
    };
    assert!(matches!(&error, Error::Trust(why) if why.contains("BadSignature")), "{error:?}");
    assert_eq!(listener.received.join().unwrap(), b"");
}

#[test]
fn a_chain_of_another_length_is_refused() {
    let pki = Pki::new();
    refused(&pki, "ca", &["hsm"], "chain length");
    refused(&pki, "ca", &["hsm", "cluster", "ca"], "chain length");
    // A cluster's certificate under an intermediate CA.
    pki.request("middle", "/CN=middle", P256);
    pki.sign("middle", "ca", Some("basicConstraints=critical,CA:TRUE\n"), &[]);
    pki.cluster("deep", "middle");
    pki.hsm("deep-hsm", "deep");
    refused(&pki, "ca", &["deep-hsm", "deep", "middle"], "chain length");
    refused(&pki, "ca", &["deep-hsm", "deep"], "issuer: the cluster's certificate");
    // The intermediate CA as the anchor: it is not the customer's root.
    refused(&pki, "middle", &["deep-hsm", "deep"], "not self-signed");
}

#[test]
fn an_hsm_of_another_cluster_is_refused() {
    let pki = Pki::new();
    pki.request("foreign", &format!("/CN={HSM_ID}"), P256);
    pki.sign("foreign", "cluster", Some(&hsm_extensions("cluster-other")), &[]);
    refused(&pki, "ca", &["foreign", "cluster"], "cluster id: the HSM says that it belongs to");

    refused_with(&pki, &["hsm", "cluster"], "the configuration names cluster-other", |address| {
        let mut config = config(&pki, "ca", address);
        cluster(&mut config).cluster_id = Some("cluster-other".into());
        config
    });
}

#[test]
fn another_cluster_key_than_the_pinned_one_is_refused() {
    let pki = Pki::new();
    let pin = accepted(&pki, "ca", &["hsm", "cluster"]).cluster_key;
    let pinned = |address| {
        let mut config = config(&pki, "ca", address);
        cluster(&mut config).cluster_keys = vec![pin];
        config
    };
    let listener = Listener::start(server_config(&pki, &["hsm", "cluster"]));
    identified(&mut pinned(listener.address));
    // A new cluster with the old one's name, under the same CA.
    pki.cluster("again", "ca");
    pki.hsm("again-hsm", "again");
    refused_with(&pki, &["again-hsm", "again"], "pinned key", pinned);
}

#[test]
fn a_leaf_that_is_not_an_hsms_is_refused() {
    let pki = Pki::new();
    let leaf = |name: &str, extensions: Option<&str>| {
        pki.request(name, &format!("/CN={HSM_ID}"), P256);
        pki.sign(name, "cluster", extensions, &[]);
    };
    let uri = format!("URI:strongroom://{CLUSTER_ID}/{HSM_ID}");
    let server = "extendedKeyUsage=serverAuth\n";
    leaf("v1", None);
    refused(&pki, "ca", &["v1", "cluster"], "version: ");
    leaf("client", Some(&format!("extendedKeyUsage=clientAuth\nsubjectAltName={uri}\n")));
    refused(&pki, "ca", &["client", "cluster"], "extended key usage: ");
    leaf("any", Some(&format!("subjectAltName={uri}\n")));
    refused(&pki, "ca", &["any", "cluster"], "extended key usage: ");
    leaf("ca-leaf", Some(&format!("basicConstraints=CA:TRUE\n{server}subjectAltName={uri}\n")));
    refused(&pki, "ca", &["ca-leaf", "cluster"], "CA: the HSM's certificate");
    leaf("sealing", Some(&format!("keyUsage=keyEncipherment\n{server}subjectAltName={uri}\n")));
    refused(&pki, "ca", &["sealing", "cluster"], "key usage: ");
    leaf("nameless", Some(server));
    refused(&pki, "ca", &["nameless", "cluster"], "name: ");
    leaf("web", Some(&format!("{server}subjectAltName=DNS:localhost,IP:127.0.0.1\n")));
    refused(&pki, "ca", &["web", "cluster"], "name: ");
    leaf("two", Some(&format!("{server}subjectAltName={uri},{uri}\n")));
    refused(&pki, "ca", &["two", "cluster"], "more than one URI");
    let extra = format!("{server}subjectAltName={uri}/extra\n");
    leaf("extra", Some(&extra));
    refused(&pki, "ca", &["extra", "cluster"], "name: ");
    let critical = format!("{server}subjectAltName={uri}\n1.2.3.4=critical,ASN1:NULL\n");
    leaf("critical", Some(&critical));
    refused(&pki, "ca", &["critical", "cluster"], "critical extension 1.2.3.4");
}

#[test]
fn a_cluster_certificate_that_may_not_issue_is_refused() {
    let pki = Pki::new();
    pki.sign("cluster", "ca", Some("basicConstraints=critical,CA:FALSE\n"), &[]);
    refused(&pki, "ca", &["hsm", "cluster"], "CA: the cluster's certificate");
    pki.sign("cluster", "ca", Some("keyUsage=digitalSignature\n"), &[]);
    refused(&pki, "ca", &["hsm", "cluster"], "CA: the cluster's certificate");
    // Another certificate of the customer's CA in its place.
    pki.request("web", "/CN=www.example.com", P256);
    pki.sign("web", "ca", None, &[]);
    pki.hsm("under-web", "web");
    refused(&pki, "ca", &["under-web", "web"], "cluster id: ");
}

#[test]
fn weak_keys_and_hashes_are_refused() {
    let pki = Pki::new();
    pki.sign("cluster", "ca", None, &["-sha1"]);
    refused(&pki, "ca", &["hsm", "cluster"], "ECDSA with SHA-1 is not allowed");

    pki.ca("weak-ca", "/CN=customerCA", RSA_1024, &[]);
    pki.cluster("weak-ca-cluster", "weak-ca");
    pki.hsm("weak-ca-hsm", "weak-ca-cluster");
    let chain = ["weak-ca-hsm", "weak-ca-cluster"];
    refused(&pki, "weak-ca", &chain, "an RSA key of 1024 bits is not allowed");

    pki.ca("rsa", "/CN=customerCA", RSA_2048, &[]);
    pki.request("weak", &format!("/CN={CLUSTER_ID}"), RSA_1024);
    pki.sign("weak", "rsa", None, &[]);
    pki.hsm("under-weak", "weak");
    refused(&pki, "rsa", &["under-weak", "weak"], "an RSA key of 1024 bits is not allowed");

    pki.cluster("sha1", "rsa");
    pki.sign("sha1", "rsa", None, &["-sha1"]);
    pki.hsm("under-sha1", "sha1");
    refused(&pki, "rsa", &["under-sha1", "sha1"], "SHA-1 with RSA is not allowed");

    let pss = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:20"];
    pki.sign("sha1", "rsa", None, &pss);
    refused(&pki, "rsa", &["under-sha1", "sha1"], "RSASSA-PSS with another salt length");

    pki.request("koblitz", &format!("/CN={CLUSTER_ID}"), SECP256K1);
    pki.sign("koblitz", "ca", None, &[]);
    pki.hsm("under-koblitz", "koblitz");
    refused(&pki, "ca", &["under-koblitz", "koblitz"], "the curve secp256k1 is not allowed");
}

#[test]
fn an_expired_certificate_is_refused() {
    let pki = Pki::new();
    pki.request("old", &format!("/CN={HSM_ID}"), P256);
    pki.sign("old", "cluster", Some(&hsm_extensions(CLUSTER_ID)), &["-days", "-1"]);
    refused(&pki, "ca", &["old", "cluster"], "validity: the HSM's certificate expired");
    pki.sign("cluster", "ca", None, &["-days", "-1"]);
    refused(&pki, "ca", &["hsm", "cluster"], "validity: the cluster's certificate expired");
}

#[test]
fn each_certificate_counts_only_in_its_time() {
    let pki = Pki::new();
    pki.sign("cluster", "ca", None, &["-days", "1000"]);
    let mut config = config(&pki, "ca", ([127, 0, 0, 1], 1).into());
    let anchor = Anchor::open(cluster(&mut config)).unwrap();
    let (leaf, cluster) = (pki.der("hsm"), pki.der("cluster"));
    let today = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let at = |days: i64| {
        let now = today.as_secs().saturating_add_signed(days * 24 * 3600);
        anchor.check(&leaf, &[&cluster], now).map(drop).map_err(|distrust| distrust.0)
    };
    at(0).unwrap();
    at(364).unwrap();
    assert!(at(366).unwrap_err().contains("the HSM's certificate expired"));
    assert!(at(1001).unwrap_err().contains("the cluster's certificate expired"));
    assert!(at(4000).unwrap_err().contains("ca.crt expired"));
    assert!(at(-1).unwrap_err().contains("is not valid before"));
}

#[test]
fn a_changed_byte_anywhere_is_never_trusted() {
    let pki = Pki::new();
    let mut config = config(&pki, "ca", ([127, 0, 0, 1], 1).into());
    let anchor = Anchor::open(cluster(&mut config)).unwrap();
    let (leaf, cluster) = (pki.der("hsm").to_vec(), pki.der("cluster").to_vec());
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    anchor.check(&leaf, &[&cluster], now).unwrap();
    for place in 0..leaf.len() {
        let mut changed = leaf.clone();
        changed[place] ^= 0x41;
        anchor.check(&changed, &[&cluster], now).unwrap_err();
        anchor.check(&leaf[..place], &[&cluster], now).unwrap_err();
    }
    for place in 0..cluster.len() {
        let mut changed = cluster.clone();
        changed[place] ^= 0x41;
        anchor.check(&leaf, &[&changed], now).unwrap_err();
    }
}

#[test]
fn an_anchor_that_is_no_customer_ca_is_said_so() {
    let pki = Pki::new();
    let open = |name: &str| {
        let address = ([127, 0, 0, 1], 1).into();
        Client::open(config(&pki, name, address), "test").err().unwrap()
    };
    fs::write(pki.file("empty"), "").unwrap();
    assert!(matches!(open("empty"), Error::Config(why) if why.contains("empty.crt")));
    let both = pki.folder.read("ca.crt") + &pki.folder.read("cluster.crt");
    fs::write(pki.file("both"), both).unwrap();
    assert!(matches!(open("both"), Error::Config(why) if why.contains("exactly one")));
    assert!(matches!(open("missing"), Error::Config(why) if why.contains("missing.crt")));
    assert!(matches!(open("cluster"), Error::Trust(why) if why.contains("not self-signed")));
}

#[test]
fn an_hsm_that_speaks_only_tls_1_2_is_refused() {
    let pki = Pki::new();
    let mut server = Command::new("openssl")
        .args(["s_server", "-accept", "127.0.0.1:0", "-tls1_2", "-naccept", "1"])
        .args(["-cert", "hsm.crt", "-key", "hsm.key", "-cert_chain", "cluster.crt"])
        .current_dir(pki.folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(server.stdout.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("ACCEPT") {
        line.clear();
        assert_ne!(output.read_line(&mut line).unwrap(), 0);
    }
    let address = line.trim().trim_start_matches("ACCEPT ").parse().unwrap();
    let Err(error) = Client::open(config(&pki, "ca", address), "canary-client") else {
        panic!("trusted")
    };
    assert!(matches!(&error, Error::Trust(why) if why.contains("TLS 1.3")), "{error:?}");
    let mut rest = Vec::new();
    output.read_to_end(&mut rest).unwrap();
    server.wait().unwrap();
    assert!(!String::from_utf8_lossy(&rest).contains("canary"));
}

#[test]
fn a_server_without_tls_is_refused() {
    let pki = Pki::new();
    let listener = Listener::accept(|mut stream| {
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        let mut received = Vec::new();
        let _ = stream.read_to_end(&mut received);
        received
    });
    let Err(error) = Client::open(config(&pki, "ca", listener.address), "canary-client") else {
        panic!("trusted")
    };
    assert!(matches!(&error, Error::Trust(why) if why.contains("does not speak TLS")), "{error:?}");
    let received = listener.received.join().unwrap();
    // A TLS handshake record (RFC 8446, section 5.1: type 22), and nothing of the client's own.
    assert_eq!(received.first(), Some(&22));
    assert!(!received.windows(6).any(|bytes| bytes == b"canary"));
}

#[test]
fn nobody_at_the_address_is_a_connection_error_that_names_it() {
    let pki = Pki::new();
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut config = config(&pki, "ca", address);
    config.patience = Duration::from_millis(1);
    let Err(error) = Client::open(config, "test") else { panic!("opened") };
    assert!(matches!(&error, Error::Connection(why) if why.contains(&address.to_string())));
}
