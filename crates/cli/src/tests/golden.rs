//! Outputs, byte for byte, as CloudHSM's user guide shows them (with our own names and numbers).

use cryptoki_sys::*;
use strongroom_wire::message::Role;

use super::fake::{Fake, print};
use crate::attributes::ulong;
use crate::grammar::Password;

#[test]
fn a_new_aes_key_is_shown_in_full() {
    let fake = Fake::new();
    fake.0.borrow_mut().next_handles = vec![0x2e_06bf];
    let shown = print(
        &mut fake.user(),
        "key generate-symmetric aes --label example-aes --key-length-bytes 24 \
         --attributes decrypt=true encrypt=true",
    );
    assert_eq!(
        shown,
        r#"{
  "error_code": 0,
  "data": {
    "key": {
      "key-reference": "0x00000000002e06bf",
      "key-info": {
        "key-owners": [
          {
            "username": "cu1",
            "key-coverage": "full"
          }
        ],
        "shared-users": [],
        "key-quorum-values": {
          "manage-key-quorum-value": 0,
          "use-key-quorum-value": 0
        },
        "cluster-coverage": "full"
      },
      "attributes": {
        "key-type": "aes",
        "label": "example-aes",
        "id": "",
        "check-value": "0x9b94bd",
        "class": "secret-key",
        "encrypt": true,
        "decrypt": true,
        "token": true,
        "always-sensitive": true,
        "derive": false,
        "destroyable": true,
        "extractable": true,
        "local": true,
        "modifiable": true,
        "never-extractable": false,
        "private": true,
        "sensitive": true,
        "sign": true,
        "trusted": false,
        "unwrap": false,
        "verify": true,
        "wrap": false,
        "wrap-with-trusted": false,
        "key-length-bytes": 24
      }
    }
  }
}"#
    );
}

#[test]
fn a_generic_secret_has_no_check_value() {
    let fake = Fake::new();
    let shown = print(
        &mut fake.user(),
        "key generate-symmetric generic-secret --label example-generic-secret \
         --key-length-bytes 256",
    );
    let attributes = r#"      "attributes": {
        "key-type": "generic-secret",
        "label": "example-generic-secret",
        "id": "",
        "class": "secret-key",
        "encrypt": false,
        "decrypt": false,
        "token": true,
        "always-sensitive": true,
        "derive": false,
        "destroyable": true,
        "extractable": true,
        "local": true,
        "modifiable": true,
        "never-extractable": false,
        "private": true,
        "sensitive": true,
        "sign": true,
        "trusted": false,
        "unwrap": false,
        "verify": true,
        "wrap": false,
        "wrap-with-trusted": false,
        "key-length-bytes": 256
      }"#;
    assert!(shown.contains(attributes), "{shown}");
}

#[test]
fn an_ec_pair_is_shown_with_point_and_curve() {
    let fake = Fake::new();
    fake.0.borrow_mut().points_of_private_keys = true;
    fake.0.borrow_mut().next_handles = vec![0x12_000b, 0x12_000c];
    let shown = print(
        &mut fake.user(),
        "key generate-asymmetric-pair ec --curve prime256v1 --public-label ec-public \
         --private-label ec-private --private-attributes sign=true",
    );
    let public = r#"      "attributes": {
        "key-type": "ec",
        "label": "ec-public",
        "id": "",
        "check-value": "0x9b94bd",
        "class": "public-key",
        "encrypt": false,
        "decrypt": false,
        "token": true,
        "always-sensitive": false,
        "derive": false,
        "destroyable": true,
        "extractable": true,
        "local": true,
        "modifiable": true,
        "never-extractable": false,
        "private": true,
        "sensitive": false,
        "sign": false,
        "trusted": false,
        "unwrap": false,
        "verify": false,
        "wrap": false,
        "wrap-with-trusted": false,
        "key-length-bytes": 65,
        "ec-point": "0x04POINT",
        "curve": "secp256r1"
      }"#
    .replace("POINT", &"42".repeat(64));
    assert!(shown.contains(&public), "{shown}");
    let private = r#""private_key": {
      "key-reference": "0x000000000012000c","#;
    assert!(shown.contains(private), "{shown}");
    let private = r#"        "private": true,
        "sensitive": true,
        "sign": true,
        "trusted": false,
        "unwrap": false,
        "verify": false,
        "wrap": false,
        "wrap-with-trusted": false,
        "key-length-bytes": 138,
        "ec-point": "0x04POINT",
        "curve": "secp256r1"
      }"#
    .replace("POINT", &"42".repeat(64));
    assert!(shown.contains(&private), "{shown}");
}

#[test]
fn an_rsa_pair_is_shown_with_its_numbers() {
    let fake = Fake::new();
    let shown = print(
        &mut fake.user(),
        "key generate-asymmetric-pair rsa --public-exponent 65537 --modulus-size-bits 2048 \
         --public-label p --private-label q --public-attributes encrypt=true \
         --private-attributes decrypt=true",
    );
    for length in [512, 1217] {
        let end = format!(
            r#"        "key-length-bytes": {length},
        "public-exponent": "0x010001",
        "modulus": "0x{}",
        "modulus-size-bits": 2048
      }}"#,
            "df".repeat(256)
        );
        assert!(shown.contains(&end), "{shown}");
    }
}

/// Twelve AES keys, `test_label_1` to `test_label_12`, and one object that is no key.
fn twelve_keys() -> Fake {
    let fake = Fake::new();
    for number in 1..=12_u64 {
        fake.insert(
            0x3d0 + number,
            &[
                (CKA_CLASS, ulong(CKO_SECRET_KEY)),
                (CKA_KEY_TYPE, ulong(CKK_AES)),
                (CKA_LABEL, format!("test_label_{number}").into_bytes()),
                (CKA_VALUE_LEN, ulong(if number % 2 == 0 { 32 } else { 16 })),
            ],
        );
    }
    fake.insert(0x3d0, &[(CKA_CLASS, ulong(CKO_CERTIFICATE)), (CKA_LABEL, b"cert".to_vec())]);
    fake
}

#[test]
fn a_list_is_paged_and_shows_labels() {
    let fake = twelve_keys();
    let mut session = fake.user();
    assert_eq!(
        print(&mut session, "key list --max-items 2"),
        r#"{
  "error_code": 0,
  "data": {
    "matched_keys": [
      {
        "key-reference": "0x00000000000003d1",
        "attributes": {
          "label": "test_label_1"
        }
      },
      {
        "key-reference": "0x00000000000003d2",
        "attributes": {
          "label": "test_label_2"
        }
      }
    ],
    "total_key_count": 12,
    "returned_key_count": 2,
    "next_token": "2"
  }
}"#
    );
    let default = print(&mut session, "key list");
    assert!(default.contains(r#""returned_key_count": 10"#), "{default}");
    assert!(default.contains(r#""next_token": "10""#), "{default}");
    let last = print(&mut session, "key list --starting-token 10");
    assert!(last.contains("test_label_12") && !last.contains("next_token"), "{last}");
    let beyond = print(&mut session, "key list --starting-token 99");
    assert!(beyond.contains(r#""matched_keys": []"#), "{beyond}");
    assert!(!beyond.contains("next_token"), "{beyond}");
}

#[test]
fn an_admin_sees_labels_only() {
    let fake = twelve_keys();
    let mut session = fake.session();
    let password = Password::new(b"pw".to_vec());
    session.login("admin", crate::grammar::Role::Admin, &password).ok().unwrap();
    let shown = print(&mut session, "key list --verbose");
    assert!(shown.contains("test_label_1") && !shown.contains("key-info"), "{shown}");
}

#[test]
fn filters_are_joined_by_and() {
    let fake = twelve_keys();
    let mut session = fake.user();
    for (filter, count) in [
        ("attr.label=test_label_3", 1),
        ("attr.key-type=aes attr.class=secret-key", 12),
        ("attr.key-length-bytes=32", 6),
        ("attr.key-length-bytes=32 attr.label=test_label_3", 0),
        ("attr.key-length-bytes=16 attr.label=test_label_3", 1),
        ("attr.key-type=rsa", 0),
        ("key-reference=0x3d5", 1),
        ("key-reference=0x3d0", 0),
        ("key-reference=0x0", 0),
        ("key-reference=0x3d5 attr.label=test_label_5", 1),
        ("key-reference=0x3d5 attr.label=test_label_6", 0),
    ] {
        let shown = print(&mut session, &format!("key list --max-items 20 --filter {filter}"));
        let total = format!(r#""total_key_count": {count},"#);
        assert!(shown.contains(&total), "{filter}: {shown}");
    }
}

#[test]
fn deleting_takes_exactly_one_key() {
    let fake = twelve_keys();
    let mut session = fake.user();
    assert_eq!(
        print(&mut session, "key delete --filter attr.key-type=aes"),
        r#"{
  "error_code": 1,
  "data": "Key selection criteria matched 12 keys. Refine selection criteria to select a single key."
}"#
    );
    assert_eq!(
        print(&mut session, "key delete --filter attr.label=\"test_label_3\""),
        r#"{
  "error_code": 0,
  "data": {
    "message": "Key deleted successfully"
  }
}"#
    );
    assert!(!fake.0.borrow().objects.contains_key(&0x3d3));
}

#[test]
fn users_are_listed_with_locked_as_a_string() {
    let fake = Fake::new();
    fake.0.borrow_mut().users = vec![
        ("admin".into(), Role::Admin.into()),
        ("locked_user".into(), Role::CryptoUser.into()),
        ("app_user".into(), Role::ApplianceUser.into()),
    ];
    assert_eq!(
        print(&mut fake.session(), "user list"),
        r#"{
  "error_code": 0,
  "data": {
    "users": [
      {
        "username": "admin",
        "role": "admin",
        "locked": "false",
        "mfa": [],
        "cluster-coverage": "full"
      },
      {
        "username": "locked_user",
        "role": "crypto-user",
        "locked": "true",
        "mfa": [],
        "cluster-coverage": "full"
      },
      {
        "username": "app_user",
        "role": "internal(APPLIANCE_USER)",
        "locked": "false",
        "mfa": [],
        "cluster-coverage": "full"
      }
    ]
  }
}"#
    );
}

#[test]
fn the_hsm_tells_what_it_is() {
    assert_eq!(
        print(&mut Fake::new().session(), "cluster hsm-info"),
        r#"{
  "error_code": 0,
  "data": {
    "hsms": [
      {
        "vendor": "Strongroom",
        "model": "Software HSM",
        "serial-number": "hsm-abc",
        "hardware-version-major": "0",
        "hardware-version-minor": "0",
        "firmware-version-major": "0",
        "firmware-version-minor": "1",
        "firmware-build-number": "0",
        "firmware-id": "STRONGROOM-0.01-00",
        "fips-state": "0 [non-FIPS mode with single factor authentication]"
      }
    ]
  }
}"#
    );
}

#[test]
fn a_signature_is_shown_in_base64_with_its_key() {
    let fake = Fake::new();
    fake.insert(0x7008db, &[(CKA_CLASS, ulong(CKO_PRIVATE_KEY)), (CKA_LABEL, b"k".to_vec())]);
    assert_eq!(
        print(
            &mut fake.user(),
            "crypto sign rsa-pkcs --key-filter attr.label=k --hash-function sha256 --data YWJjMTIz"
        ),
        r#"{
  "error_code": 0,
  "data": {
    "key-reference": "0x00000000007008db",
    "signature": "AQID"
  }
}"#
    );
}

#[test]
fn verification_succeeds_or_says_that_it_failed() {
    let fake = Fake::new();
    fake.insert(5, &[(CKA_CLASS, ulong(CKO_PUBLIC_KEY)), (CKA_LABEL, b"k".to_vec())]);
    let verify = "crypto verify ecdsa --key-filter attr.label=k --hash-function sha256 --data \
                  YWJjMTIz --signature";
    assert_eq!(
        print(&mut fake.user(), &format!("{verify} AQID")),
        r#"{
  "error_code": 0,
  "data": {
    "message": "Signature verified successfully"
  }
}"#
    );
    assert_eq!(
        print(&mut fake.user(), &format!("{verify} AQIE")),
        "{\n  \"error_code\": 1,\n  \"data\": \"Signature verification failed\"\n}"
    );
}
