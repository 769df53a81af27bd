//! `docs/manual/mechanisms.md` says what the table of mechanisms says.
//!
//! The page is derived from the table. `STRONGROOM_BLESS=1 cargo test -p strongroom-crypto` writes it
//! anew after a change.

use std::fmt::Write as _;
use std::path::Path;

use cryptoki_sys::*;
use strongroom_crypto::mechanism::{Kind, MECHANISMS, Mechanism};

const HEAD: &str = "\
# Mechanisms

<!-- Written by crates/crypto/tests/mechanisms_page.rs out of the one table of mechanisms. -->

What C_GetMechanismList shows, in both personalities. Sizes are of the key, in the unit of
C_GetMechanismInfo: bits for RSA, EC and CKM_GENERIC_SECRET_KEY_GEN, bytes for AES and HMAC.

- Keys: RSA of 2,048 to 4,096 bits in steps of 256; curves P-256, P-384, P-521 and secp256k1; AES of
  128, 192 and 256 bits; generic secrets of 1 to 800 bytes.
- C_SignInit and its like also ask the key: its CKA_SIGN, CKA_WRAP, … and CKA_ALLOWED_MECHANISMS.
- Data of RSA and ECDSA signatures with a hash is hashed in the library, so it may be of any size.
  Everything else goes to the HSM, up to 1 MiB for one operation; AES-CBC, CTR and ECB take any
  size in parts.
- A CKK_SHA256_HMAC key and its like are generic secrets for that one HMAC.
";

#[test]
fn the_mechanisms_page_equals_the_table() {
    let mut text = String::from(HEAD);
    for group in GROUPS {
        write!(text, "\n## {}\n\n", group.title).expect("a string");
        text.push_str("| mechanism | number | key | size | functions |\n|---|---|---|---|---|\n");
        let rows = MECHANISMS.iter().filter(|mechanism| (group.holds)(mechanism.operation));
        for row in rows.clone() {
            writeln!(
                text,
                "| {} | {:#010x} | {} | {} | {} |",
                row.name,
                row.kind,
                key_type(row),
                size(row),
                functions(row)
            )
            .expect("a string");
        }
        text.push('\n');
        let mut told: Vec<&str> = Vec::new();
        for row in rows {
            let note = note(row.operation);
            if !note.is_empty() && !told.contains(&note) {
                told.push(note);
                writeln!(text, "- {note}").expect("a string");
            }
        }
        if told.is_empty() {
            text.pop();
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/manual/mechanisms.md");
    if std::env::var_os("STRONGROOM_BLESS").is_some() {
        std::fs::write(&path, &text).expect("a writable file");
    }
    let kept = std::fs::read_to_string(&path).expect("docs/manual/mechanisms.md");
    assert!(kept == text, "docs/manual/mechanisms.md is old: run the test with STRONGROOM_BLESS=1");
}

#[test]
fn every_mechanism_is_in_one_group() {
    for mechanism in MECHANISMS {
        let groups = GROUPS.iter().filter(|group| (group.holds)(mechanism.operation)).count();
        assert_eq!(groups, 1, "{}", mechanism.name);
    }
}

/// A section of the page.
struct Group {
    title: &'static str,
    holds: fn(Kind) -> bool,
}

const GROUPS: &[Group] = &[
    Group {
        title: "Making keys",
        holds: |kind| {
            matches!(
                kind,
                Kind::GenerateAes | Kind::GenerateGeneric | Kind::GenerateRsa | Kind::GenerateEc
            )
        },
    },
    Group {
        title: "RSA",
        holds: |kind| matches!(kind, Kind::RsaPkcs | Kind::RsaPss | Kind::RsaOaep),
    },
    Group { title: "ECDSA", holds: |kind| kind == Kind::Ecdsa },
    Group { title: "HMAC", holds: |kind| kind == Kind::Hmac },
    Group { title: "Digests", holds: |kind| kind == Kind::Digest },
    Group {
        title: "AES",
        holds: |kind| {
            matches!(
                kind,
                Kind::AesGcm
                    | Kind::AesGcmWithIv
                    | Kind::AesCbc
                    | Kind::AesCbcPad
                    | Kind::AesEcb
                    | Kind::AesCtr
            )
        },
    },
    Group {
        title: "AES key wrap",
        holds: |kind| {
            matches!(kind, Kind::AesKeyWrap | Kind::AesKeyWrapPad | Kind::AesKeyWrapPkcs5)
        },
    },
];

/// What a caller should know of it; the same words for all mechanisms of a kind.
fn note(kind: Kind) -> &'static str {
    match kind {
        Kind::GenerateAes => "CKM_AES_KEY_GEN: CKA_VALUE_LEN is 16, 24 or 32.",
        Kind::GenerateGeneric => "CKM_GENERIC_SECRET_KEY_GEN: CKA_VALUE_LEN is in bytes.",
        Kind::GenerateRsa => {
            "CKM_RSA_PKCS_KEY_PAIR_GEN and CKM_RSA_X9_31_KEY_PAIR_GEN are the same generator: \
             probable primes as FIPS 186-5 has them, not X9.31's auxiliary primes. CKA_PUBLIC_EXPONENT \
             is odd, from 65,537 up to 4 bytes; without it, it is 65,537."
        }
        Kind::GenerateEc => {
            "CKM_EC_KEY_PAIR_GEN: CKA_EC_PARAMS is the DER object identifier of a named curve."
        }
        Kind::RsaPkcs => {
            "CKM_RSA_PKCS signs what it gets, a DER DigestInfo as a rule. Its decryption and \
             unwrapping give no error for bad padding but other bytes (implicit rejection), so that \
             nobody learns from it."
        }
        Kind::RsaPss => {
            "PSS: hashAlg is the mechanism's hash, mgf any of CKG_MGF1_SHA1 to SHA512, the salt up to \
             what the modulus has room for. CKM_RSA_PKCS_PSS takes the digest."
        }
        Kind::RsaOaep => "OAEP: any hash and mask function of SHA-1 to SHA-512, and a label.",
        Kind::Ecdsa => {
            "ECDSA signatures are r || s, each as long as the curve's field. CKM_ECDSA takes the digest, of \
             which the leftmost bits count (FIPS 186-5, 6.4)."
        }
        Kind::Hmac => "The whole MAC; there is no CKM_…_HMAC_GENERAL.",
        Kind::Digest => "Digests are made in the library and need no login.",
        Kind::AesGcm => {
            "CKM_AES_GCM in personality `cloudhsm`: the HSM makes the IV. Give 12 zero bytes, into \
             which it is written. In personality `token` the caller's IV counts, of 1 to 256 bytes. \
             ulTagBits is a multiple of 8 up to 128. Ciphertext and tag are one piece; decryption \
             gives nothing before the tag is checked."
        }
        Kind::AesGcmWithIv => {
            "CKM_CLOUDHSM_AES_GCM puts the HSM's IV, 12 bytes, in front of the ciphertext, and expects \
             it there."
        }
        Kind::AesCbc => "CKM_AES_CBC and CKM_AES_ECB take whole blocks of 16 bytes.",
        Kind::AesCbcPad => "CKM_AES_CBC_PAD pads as PKCS#7.",
        Kind::AesEcb => "",
        Kind::AesCtr => {
            "CKM_AES_CTR: ulCounterBits from 1 to 128; a counter never wraps within an operation."
        }
        Kind::AesKeyWrap => {
            "CKM_AES_KEY_WRAP (RFC 3394): what is wrapped has whole blocks of 8 bytes. Key wrap works on keys only: a key \
             that could also C_Decrypt would lay open what it wrapped."
        }
        Kind::AesKeyWrapPad => {
            "CKM_AES_KEY_WRAP_KWP (RFC 5649). CKM_AES_KEY_WRAP_PAD, whose padding PKCS#11 2.40 leaves open, is the same."
        }
        Kind::AesKeyWrapPkcs5 => {
            "CKM_CLOUDHSM_AES_KEY_WRAP_PKCS5_PAD: RFC 3394 after PKCS#5 padding to 8 bytes."
        }
    }
}

fn key_type(mechanism: &Mechanism) -> &'static str {
    match mechanism.key_type {
        None => "–",
        Some(CKK_RSA) => "RSA",
        Some(CKK_EC) => "EC",
        Some(CKK_AES) => "AES",
        Some(CKK_GENERIC_SECRET) => "generic secret",
        Some(other) => panic!("{}: key type {other:#x} has no name here", mechanism.name),
    }
}

fn size(mechanism: &Mechanism) -> String {
    match (mechanism.min_size, mechanism.max_size) {
        (0, 0) => "–".to_owned(),
        (min, max) => format!("{min}–{max}"),
    }
}

fn functions(mechanism: &Mechanism) -> String {
    let names = [
        (CKF_GENERATE, "generate"),
        (CKF_GENERATE_KEY_PAIR, "generate pair"),
        (CKF_SIGN, "sign"),
        (CKF_VERIFY, "verify"),
        (CKF_DIGEST, "digest"),
        (CKF_ENCRYPT, "encrypt"),
        (CKF_DECRYPT, "decrypt"),
        (CKF_WRAP, "wrap"),
        (CKF_UNWRAP, "unwrap"),
    ];
    let offered = names.iter().filter(|(flag, _)| mechanism.offers(*flag)).map(|(_, name)| *name);
    offered.collect::<Vec<_>>().join(", ")
}
