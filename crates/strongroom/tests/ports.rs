//! What the two TLS ports let in and what they refuse, on a real process.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use strongroom_wire::admin::{AdminOperation, Initialize, Shutdown, Status};
use strongroom_wire::frame;
use strongroom_wire::limits::FRAME_BYTES_BEFORE_ATTACH_MAX;
use strongroom_wire::message::{ClusterPhase, Reply};

use support::{Hsm, hello, openssl, start, tls, try_openssl};

#[test]
fn before_it_has_an_owner_an_hsm_serves_no_client() {
    let hsm = Hsm::start();
    assert!(hsm.client().is_err());
    let status = hsm.status();
    assert_eq!(status.phase(), ClusterPhase::Uninitialized);
    assert!(status.hsm_id.starts_with("hsm-") && status.cluster_id.starts_with("cluster-"));
    assert_eq!(status.seal, "file");
    assert_eq!(status.process_id, u64::from(hsm.child.id()));
}

#[test]
fn only_the_provisioner_administers() {
    let hsm = Hsm::start();
    let status = || AdminOperation::Status(Status { digest: false });
    let stranger = hsm.try_admin(Some(hsm.identity("stranger")), status()).unwrap_err();
    assert!(stranger.contains("alert"), "{stranger}");
    let nobody = hsm.try_admin(None, status()).unwrap_err();
    assert!(nobody.contains("alert"), "{nobody}");
    // A stranger's stop stops nothing.
    let stop = || AdminOperation::Shutdown(Shutdown {});
    assert!(hsm.try_admin(Some(hsm.identity("stranger")), stop()).is_err());
    assert!(hsm.try_admin(None, stop()).is_err());
    hsm.status();
}

#[test]
fn an_owner_who_signs_with_plain_openssl_opens_the_clients_port_at_once() {
    let hsm = Hsm::start_initialised();
    assert_eq!(hsm.status().phase(), ClusterPhase::Initialized);
    let mut stream = hsm.client().unwrap();
    let chain = stream.conn.peer_certificates().unwrap().to_vec();
    let answer = hello(&mut stream).unwrap();
    assert_eq!(answer.phase(), ClusterPhase::Initialized);
    assert_eq!(answer.hsm_id, hsm.status().hsm_id);

    // The leaf names the cluster and the HSM, under the very certificate that the owner signed.
    std::fs::write(hsm.path("leaf.der"), &chain[0]).unwrap();
    let text = openssl(hsm.folder.path(), "x509 -inform DER -in leaf.der -noout -text").stdout;
    let text = String::from_utf8(text).unwrap();
    let name = format!("URI:strongroom://{}/{}", answer.cluster_id, answer.hsm_id);
    assert!(text.contains(&name), "{text}");
    openssl(hsm.folder.path(), "x509 -in cluster.crt -outform DER -out cluster.der");
    assert_eq!(std::fs::read(hsm.path("cluster.der")).unwrap(), chain[1].as_ref());
}

#[test]
fn a_cluster_is_initialised_once_and_only_with_what_its_owner_signed() {
    let hsm = Hsm::start();
    let owner = hsm.owner_signs();
    let refused = |given: Initialize| {
        let provisioner = Some(hsm.identity("provisioner"));
        hsm.try_admin(provisioner, AdminOperation::Initialize(given)).unwrap().error
    };
    let swapped = Initialize {
        signed_certificate: owner.trust_anchor.clone(),
        trust_anchor: owner.trust_anchor.clone(),
    };
    assert!(refused(swapped).contains("not over this cluster's key"));
    assert!(refused(Initialize::default()).contains("PEM"));
    assert_eq!(hsm.status().phase(), ClusterPhase::Uninitialized);
    assert!(hsm.client().is_err());

    hsm.admin(AdminOperation::Initialize(owner.clone()));
    assert!(refused(owner).contains("initialised already"));
    hsm.client().unwrap();
}

#[test]
fn anything_but_tls_1_3_is_refused_on_both_ports() {
    let hsm = Hsm::start_initialised();
    for address in [hsm.clients(), hsm.administration()] {
        let old = try_openssl(
            hsm.folder.path(),
            &format!(
                "s_client -tls1_2 -connect {address} -cert provisioner.crt -key provisioner.key"
            ),
        );
        let said = String::from_utf8_lossy(&old.stderr).into_owned();
        assert!(!old.status.success() && said.contains("alert protocol version"), "{said}");

        let mut plain = TcpStream::connect(address).unwrap();
        plain.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        plain.write_all(b"\x00\x00\x00\x06\x08\x01\x82\x01\x00\x00").unwrap();
        let mut answer = Vec::new();
        // An alert, or nothing; never a reply, and then the end.
        let _ = plain.read_to_end(&mut answer);
        assert!(answer.is_empty() || answer[0] == 21, "{answer:?}");
    }
    hsm.status();
}

#[test]
fn the_key_exchange_is_hybrid_and_the_cipher_aes_256() {
    let hsm = Hsm::start_initialised();
    let mut stream = hsm.client().unwrap();
    hello(&mut stream).unwrap();
    let suite = stream.conn.negotiated_cipher_suite().unwrap().suite();
    assert_eq!(suite, rustls::CipherSuite::TLS13_AES_256_GCM_SHA384);
    let group = stream.conn.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group, rustls::NamedGroup::X25519MLKEM768);
    assert_eq!(stream.conn.tls13_tickets_received(), 0);
}

#[test]
fn a_frame_that_announces_too_much_closes_its_connection_only() {
    let hsm = Hsm::start_initialised();
    let mut good = hsm.client().unwrap();
    hello(&mut good).unwrap();

    let mut bad = hsm.client().unwrap();
    let too_long = u32::try_from(FRAME_BYTES_BEFORE_ATTACH_MAX + 1).unwrap();
    bad.write_all(&too_long.to_be_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = bad.read_to_end(&mut answer);
    assert!(answer.is_empty());

    hello(&mut good).unwrap();
    assert!(hsm.log().contains("over the limit"));
}

#[test]
fn a_payload_that_is_no_message_gets_an_error_and_the_connection_goes_on() {
    let hsm = Hsm::start_initialised();
    let mut stream = hsm.client().unwrap();
    stream.write_all(b"\x00\x00\x00\x03\xff\xff\xff").unwrap();
    let reply: Reply = frame::read(&mut stream, 1 << 20).unwrap();
    assert_ne!(reply.status, 0);
    hello(&mut stream).unwrap();

    let mut stream = tls(hsm.administration(), Some(hsm.identity("provisioner"))).unwrap();
    stream.write_all(b"\x00\x00\x00\x03\xff\xff\xff").unwrap();
    let reply: strongroom_wire::admin::AdminReply = frame::read(&mut stream, 1 << 20).unwrap();
    assert!(!reply.error.is_empty());
}

#[test]
fn an_orderly_stop_answers_first_and_a_restart_has_everything() {
    let mut hsm = Hsm::start_initialised();
    let before = hsm.status();
    hsm.admin(AdminOperation::Shutdown(Shutdown {}));
    assert!(hsm.child.wait().unwrap().success());
    assert!(hsm.client().is_err());

    hsm.restart();
    let after = hsm.status();
    assert_eq!((after.hsm_id, after.cluster_id), (before.hsm_id, before.cluster_id));
    assert_eq!(after.phase, before.phase);
    hello(&mut hsm.client().unwrap()).unwrap();

    let pid = rustix::process::Pid::from_child(&hsm.child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(hsm.child.wait().unwrap().success());
    assert!(hsm.log().contains("stopped"));
}

#[test]
fn a_folder_is_served_by_one_process() {
    let hsm = Hsm::start();
    let said = start(hsm.folder.path(), support::next_address(), &[]).unwrap_err();
    assert!(said.contains("another HSM already runs"), "{said}");
    hsm.status();
}

#[test]
fn other_options_than_the_first_starts_are_refused() {
    let mut hsm = Hsm::start();
    hsm.child.kill().unwrap();
    hsm.child.wait().unwrap();
    for (options, part) in [
        (["--personality", "token"], "personality"),
        (["--hsm-id", "hsm-abcdefghijk"], "lives there"),
        (["--cluster-id", "cluster-abcdefghijk"], "is of cluster-"),
        (["--seal", "passphrase"], "terminal"),
    ] {
        let said = start(hsm.folder.path(), hsm.address, &options).unwrap_err();
        assert!(said.contains(part), "{options:?}: {said}");
    }
    hsm.restart();
    hsm.status();
}
