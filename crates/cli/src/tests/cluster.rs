//! `cluster …`: what is asked of the HSM, and what is shown.

use std::path::PathBuf;

use strongroom_wire::message::*;

use super::fake::{Fake, print};
use crate::grammar;
use crate::grammar::Password;

/// The admin's session.
fn admin(fake: &Fake) -> crate::commands::Session {
    let mut session = fake.session();
    session.login("admin", grammar::Role::Admin, &Password::new(b"pw".to_vec())).ok().unwrap();
    session
}

fn file(name: &str, text: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("cli-cluster-{}-{name}", std::process::id()));
    std::fs::write(&path, text).unwrap();
    path
}

fn member(hsm_id: &str, witness: bool) -> MemberInfo {
    MemberInfo { hsm_id: hsm_id.into(), witness, ..MemberInfo::default() }
}

fn data(shown: &str) -> serde_json::Value {
    let shown: serde_json::Value = serde_json::from_str(shown).unwrap();
    assert_eq!(shown["error_code"], 0, "{shown}");
    shown["data"].clone()
}

#[test]
fn all_hsms_that_hold_keys_are_listed() {
    let fake = Fake::new();
    fake.0.borrow_mut().cluster.members =
        vec![member("hsm-1", false), member("hsm-2", false), member("hsm-w", true)];
    let shown = data(&print(&mut fake.session(), "cluster hsm-info"));
    let ids: Vec<_> =
        shown["hsms"].as_array().unwrap().iter().map(|h| &h["serial-number"]).collect();
    assert_eq!(ids, ["hsm-1", "hsm-2"]);
}

#[test]
fn policies_are_shown_to_everybody_and_set_by_a_login() {
    let fake = Fake::new();
    let policy = JoinPolicy::Quorum.into();
    fake.0.borrow_mut().cluster.join_policy = Some(SetJoinPolicy { policy, approvals: 2 });
    fake.0.borrow_mut().cluster.cut_off_policy = Some(SetCutOffPolicy { seconds: 3600 });
    let shown = data(&print(&mut fake.session(), "cluster join-policy show"));
    assert_eq!(shown, serde_json::json!({ "join-policy": "quorum", "approvals": 2 }));
    let shown = data(&print(&mut fake.session(), "cluster cut-off-policy show"));
    assert_eq!(shown["cut-off-seconds"], 3600);
    for line in [
        "cluster join-policy set --policy owner",
        "cluster cut-off-policy set --seconds none",
        "cluster recovery-keys set",
    ] {
        assert!(print(&mut fake.session(), line).contains("Not logged in"), "{line}");
        assert!(fake.0.borrow().governed.is_none());
    }
    data(&print(&mut admin(&fake), "cluster join-policy set --policy quorum --approvals 3"));
    let set = SetJoinPolicy { policy, approvals: 3 };
    assert_eq!(fake.0.borrow().governed, Some(Operation::SetJoinPolicy(set)));
    data(&print(&mut admin(&fake), "cluster cut-off-policy set --seconds forever"));
    let set = SetCutOffPolicy { seconds: u64::MAX };
    assert_eq!(fake.0.borrow().governed, Some(Operation::SetCutOffPolicy(set)));
}

#[test]
fn an_hsm_that_waits_is_approved_by_its_fingerprint() {
    let fake = Fake::new();
    fake.0.borrow_mut().cluster.waiting = vec![JoinRequestInfo {
        hsm_id: "hsm-9".into(),
        address: "127.0.1.19".into(),
        fingerprint: vec![0xab; 32],
        approved_by: vec!["admin".into()],
    }];
    let shown = data(&print(&mut fake.session(), "cluster join list"));
    let fingerprint = shown["waiting"][0]["fingerprint"].as_str().unwrap().to_owned();
    assert_eq!(fingerprint, "ab".repeat(32));
    assert_eq!(shown["waiting"][0]["approved-by"][0], "admin");
    let line = format!("cluster join approve --fingerprint {fingerprint}");
    data(&print(&mut admin(&fake), &line));
    let approve = ApproveJoin { fingerprint: vec![0xab; 32] };
    assert_eq!(fake.0.borrow().governed, Some(Operation::ApproveJoin(approve)));
}

#[test]
fn recovery_keys_are_public_keys_and_nothing_else() {
    let fake = Fake::new();
    let shown = data(&print(&mut fake.session(), "cluster recovery-keys show"));
    assert_eq!(shown["signer"], "customerCA");
    let public = file("public", "-----BEGIN PUBLIC KEY-----\nAQID\n-----END PUBLIC KEY-----\n");
    let line = format!("cluster recovery-keys set --public-key {}", public.display());
    let shown = data(&print(&mut admin(&fake), &line));
    assert_eq!(shown["threshold"], 1);
    let set = SetRecoveryKeys { keys: vec![vec![1, 2, 3]], threshold: 1 };
    assert_eq!(fake.0.borrow().governed, Some(Operation::SetRecoveryKeys(set)));
    let private = file("private", "-----BEGIN PRIVATE KEY-----\nAQID\n-----END PRIVATE KEY-----\n");
    let line = format!("cluster recovery-keys set --public-key {}", private.display());
    let shown = print(&mut admin(&fake), &line);
    assert!(shown.contains("is no public key") && !shown.contains("AQID"), "{shown}");
}

#[test]
fn the_request_of_the_newest_key_is_written_and_its_certificate_installed() {
    let fake = Fake::new();
    let path = file("csr", "");
    let line = format!("cluster certificate csr --path {}", path.display());
    assert_eq!(data(&print(&mut fake.session(), &line))["generation"], 2);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "a request");
    let line = format!("cluster certificate install --path {}", path.display());
    data(&print(&mut admin(&fake), &line));
    let install = InstallClusterCertificate { signed_certificate: "a request".into() };
    assert_eq!(fake.0.borrow().governed, Some(Operation::InstallClusterCertificate(install)));
}
