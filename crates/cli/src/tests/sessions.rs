//! Whole sessions: logins, passwords, modes, errors.

use std::io::Write as _;

use cryptoki_sys::*;
use serde_json::Value;
use strongroom_crypto::Hash;
use strongroom_wire::message::Parameter;

use super::fake::{Fake, print, run_typing};
use crate::attributes::ulong;
use crate::interactive;
use crate::terminal::Terminal;

/// Runs a script as `cloudhsm-cli interactive < script` does. The printed objects, and whether all
/// was well.
fn script(fake: &Fake, text: &str) -> (Vec<Value>, String, bool) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(text.as_bytes()).unwrap();
    drop(writer);
    let mut out = Vec::new();
    let good = interactive::run(&mut fake.session(), &mut Terminal::new(reader), &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    let objects = serde_json::Deserializer::from_str(&text)
        .into_iter::<Value>()
        .map_while(Result::ok)
        .collect();
    (objects, text, good)
}

#[test]
fn a_scripted_session_logs_in_makes_a_user_and_quits() {
    let fake = Fake::new();
    let (objects, text, good) = script(
        &fake,
        "login --username Admin --role admin\nadminpass1\n\n\
         user create --username alice --role crypto-user\nalicepass1\nalicepass1\n\
         user list \\\n  --cluster-id cluster-abc\nlogout\nquit\nuser list\n",
    );
    assert!(good, "{text}");
    let shown: Vec<String> = objects.iter().map(|o| o["data"].to_string()).collect();
    assert_eq!(shown.len(), 4, "nothing runs after quit: {text}");
    assert_eq!(shown[0], r#"{"username":"admin","role":"admin"}"#);
    assert_eq!(shown[1], r#"{"username":"alice","role":"crypto-user"}"#);
    assert!(shown[2].contains("alice"));
    assert_eq!(shown[3], r#""Logout successful""#);
    assert_eq!(fake.0.borrow().passwords, [b"adminpass1".to_vec(), b"alicepass1".to_vec()]);
    assert!(!text.contains("adminpass1") && !text.contains("alicepass1"), "{text}");
}

#[test]
fn a_failed_command_does_not_end_the_session_and_is_remembered() {
    let fake = Fake::new();
    let (objects, text, good) = script(&fake, "key frob\nkey list\nuser list\n");
    assert!(!good);
    let codes: Vec<_> = objects.iter().map(|o| o["error_code"].as_u64().unwrap()).collect();
    assert_eq!(codes, [1, 1, 0], "{text}");
    assert!(objects[1]["data"].as_str().unwrap().contains("Not logged in"));
}

#[test]
fn a_misunderstood_command_is_explained_in_one_line() {
    for (line, words) in [
        ("key frob", "unrecognized subcommand 'frob' (see help)"),
        ("key", "The command is not complete: see help"),
        (
            "user create --role admin",
            "the following required arguments were not provided: --username <USERNAME> (see help)",
        ),
        ("key delete --filter label=x", "'label=x' is not a key filter"),
        ("key list --filter 'attr.label=x", "A quote is not closed"),
    ] {
        let error = run_typing(&mut Fake::new().user(), line, &[]).err().unwrap().to_string();
        assert!(error.contains(words) && !error.contains('\n'), "{line}: {error}");
    }
}

#[test]
fn help_is_given_and_is_no_error() {
    let (_, text, good) = script(&Fake::new(), "help\nhelp key list\nkey help delete\n");
    assert!(good);
    for word in ["login", "quit", "--starting-token", "key delete", "--cluster-id"] {
        assert!(text.contains(word), "{word} is not in {text}");
    }
}

#[test]
fn a_login_ends_with_the_session() {
    let fake = Fake::new();
    script(&fake, "login --username cu1 --role crypto-user\npassword1\n");
    assert_eq!(fake.0.borrow().login, None);
}

#[test]
fn new_passwords_must_be_typed_twice_alike() {
    let fake = Fake::new();
    let mut session = fake.session();
    let differ = run_typing(&mut session, "cluster activate", &["one-one-1", "two-two-2"]);
    assert_eq!(differ.err().unwrap().to_string(), "The passwords differ");
    assert!(fake.0.borrow().passwords.is_empty());
    let same = run_typing(&mut session, "cluster activate", &["one-one-1", "one-one-1"]);
    assert_eq!(same.ok().unwrap(), "Cluster activation successful");
    let given = run_typing(&mut session, "cluster activate --password three-3", &[]);
    assert!(given.is_ok());
    assert_eq!(fake.0.borrow().passwords, [b"one-one-1".to_vec(), b"three-3".to_vec()]);
}

#[test]
fn another_cluster_than_the_configured_one_is_refused() {
    let (objects, ..) = script(&Fake::new(), "user list --cluster-id cluster-xyz\n");
    assert!(objects[0]["data"].as_str().unwrap().contains("cluster-xyz is not configured"));
}

#[test]
fn the_hsms_words_are_the_error() {
    let fake = Fake::new();
    let shown = print(&mut fake.user(), "user delete --username nobody --role admin");
    assert_eq!(shown, "{\n  \"error_code\": 1,\n  \"data\": \"there is no such user\"\n}");
}

fn signing(fake: &Fake, line: &str) -> Result<(u64, Option<Parameter>, Vec<u8>), String> {
    run_typing(&mut fake.user(), line, &[]).map_err(|error| error.to_string())?;
    let (mechanism, data) = fake.0.borrow_mut().signed.take().unwrap();
    Ok((mechanism.kind, mechanism.parameter, data))
}

#[test]
fn data_is_hashed_here_and_digests_are_passed_on() {
    let fake = Fake::new();
    fake.insert(1, &[(CKA_CLASS, ulong(CKO_PRIVATE_KEY)), (CKA_LABEL, b"k".to_vec())]);
    let digest = Hash::Sha256.digest(b"abc123");
    let base = "--key-filter attr.label=k --hash-function sha256";

    let raw = signing(&fake, &format!("crypto sign ecdsa {base} --data YWJjMTIz"));
    assert_eq!(raw, Ok((CKM_ECDSA_SHA256, None, digest.clone())));

    let path = std::env::temp_dir().join(format!("cli-data-{}", std::process::id()));
    std::fs::write(&path, b"abc123").unwrap();
    let file =
        signing(&fake, &format!("crypto sign rsa-pkcs {base} --data-path {}", path.display()));
    std::fs::remove_file(&path).unwrap();
    assert_eq!(file, Ok((CKM_SHA256_RSA_PKCS, None, digest.clone())));

    let base64 = |bytes: &[u8]| {
        use base64::Engine as _;
        base64::prelude::BASE64_STANDARD.encode(bytes)
    };
    let info = [Hash::Sha256.digest_info_prefix(), &digest].concat();
    let digested = format!("{base} --data-type digest --data");
    let der = signing(&fake, &format!("crypto sign rsa-pkcs {digested} {}", base64(&info)));
    assert_eq!(der, Ok((CKM_SHA256_RSA_PKCS, None, digest.clone())));
    let bare = signing(&fake, &format!("crypto sign rsa-pkcs {digested} {}", base64(&digest)));
    assert!(bare.err().unwrap().contains("DigestInfo"));
    let short = signing(&fake, &format!("crypto sign ecdsa {digested} YWJj"));
    assert!(short.err().unwrap().contains("3 bytes"));
}

#[test]
fn pss_takes_its_salt_and_one_hash_for_both() {
    let fake = Fake::new();
    fake.insert(1, &[(CKA_CLASS, ulong(CKO_PRIVATE_KEY)), (CKA_LABEL, b"k".to_vec())]);
    let base = "crypto sign rsa-pkcs-pss --key-filter attr.label=k --hash-function sha384 --data \
                YQ== --salt-length 10 --mgf";
    let (kind, parameter, _) = signing(&fake, &format!("{base} mgf1-sha384")).unwrap();
    assert_eq!(kind, CKM_SHA384_RSA_PKCS_PSS);
    match parameter {
        Some(Parameter::Pss(pss)) => {
            assert_eq!((pss.hash, pss.mgf, pss.salt_length), (CKM_SHA384, CKG_MGF1_SHA384, 10));
        }
        other => panic!("{other:?}"),
    }
    assert!(signing(&fake, &format!("{base} mgf1-sha256")).is_err());
}
