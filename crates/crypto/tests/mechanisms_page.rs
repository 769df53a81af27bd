//! `docs/manual/mechanisms.md` says what the table of mechanisms says.
//!
//! The page is derived from the table. `STRONGROOM_BLESS=1 cargo test -p strongroom-crypto` writes it
//! anew after a change.

use std::fmt::Write as _;
use std::path::Path;

use cryptoki_sys::*;
use strongroom_crypto::Hash;
use strongroom_crypto::mechanism::{Family, MECHANISMS, Mechanism};

const HEAD: &str = "\
# Mechanisms

<!-- Written by crates/crypto/tests/mechanisms_page.rs out of the one table of mechanisms. -->

What C_GetMechanismList shows, in both personalities. Sizes are of the key, in the unit of
C_GetMechanismInfo: bits for RSA, EC, ChaCha20 and the generation of generic secrets, bytes for AES, DES3 and MACs.

- Keys: RSA of 2,048 to 4,096 bits in steps of 256 (personality `token`, for tests
  of others: from 1,024); curves P-224, P-256, P-384, P-521 and secp256k1, Ed25519 and X25519; ML-DSA-44, 65
  and 87; ML-KEM-512, 768 and 1024; AES of
  128, 192 and 256 bits; generic secrets of 1 to 800 bytes.
- C_SignInit and its like also ask the key: its CKA_SIGN, CKA_WRAP, … and CKA_ALLOWED_MECHANISMS.
- Data of RSA, ECDSA and HashML-DSA signatures with a hash is hashed in the library, so it may be of any size.
  Everything else goes to the HSM, up to 1 MiB for one operation; but ciphers without a tag (AES-XTS
  excepted), HMAC of SHA-1 and SHA-2, and AES-CMAC take any size.
- A CKK_SHA256_HMAC key and its like are generic secrets for that one HMAC.
";

const FOOT: &str = "
## Left out

| what | why |
|---|---|
| CKM_CONCATENATE_…, CKM_XOR_BASE_AND_DATA, CKM_EXTRACT_KEY_FROM_KEY | whoever may derive takes a key apart, piece by piece (Clulow 2003) |
| derived keys of less than 14 bytes | all values of such a key can be tried, and so, length by length, a secret be learnt |
| CKM_HKDF_DATA | gives what a secret key makes to be read; CKM_HKDF_DERIVE makes keys |
| a key for HKDF's salt (CKF_HKDF_SALT_KEY); additional keys of SP 800-108; its feedback and double-pipeline modes | nobody has asked |
| CKM_AES_CBC and CKM_AES_ECB for wrapping | who alters such a wrapped key alters the key; CKM_AES_CBC_PAD stays, for keys of other tokens |
| AES-XTS with AES-128, KMAC, BLAKE2, CKM_POLY1305, XChaCha20, Salsa20 | the backend has none for it |
| ChaCha20 with a nonce of 64 bits or a counter of 64 | RFC 8439 has neither |
| CKM_AES_CFB1, CKM_AES_CFB64, CKM_AES_CTS, CKM_AES_XCBC_MAC | no program that we know wants them |
| DES with one key, RC2, RC4, MD2, MD5 and what uses them | broken |
| SHAKE as a digest | PKCS#11 has no mechanism for it; CKM_SHAKE_…_KEY_DERIVATION is there |
| HMAC of SHA-3, GMAC, and CMAC of triple-DES over more than 1 MiB | the backend keeps their state to itself |
| SLH-DSA | aws-lc has none yet |
| Ed448, X448, brainpool, P-192 | aws-lc has none; RustCrypto's crates for the first three say that nobody has audited them |
| ML-DSA without hedging (CKH_DETERMINISTIC_REQUIRED) | aws-lc has no such function, and a fault in a signature would lay its key open |
| ML-DSA and ML-KEM private keys without their seed | the seed is what is kept and wrapped (RFC 9881 and 9935) |
| RSA of less than 2,048 bits in personality `cloudhsm` and in FIPS mode, and anywhere of less than 1,024 | too short |
| public exponents below 65,537 for new RSA keys | FIPS 186-5 (A.1.1); keys that come from elsewhere may have 3 |
| CKM_RSA_9796, CKM_RSA_X9_31, CKM_RSA_PKCS_TPM_1_1, SignRecover; DSA and Diffie-Hellman over integers | CloudHSM has none, and nobody should begin with them |
| authenticated wrapping (C_WrapKeyAuthenticated), asynchronous sessions | answer CKR_FUNCTION_NOT_SUPPORTED; CKM_AES_GCM with additional data wraps by C_WrapKey |

CloudHSM's limits of some 16 KB for HMAC, AES-CBC and AES-GCM are not imposed: a program that keeps them finds no
difference.
";

#[test]
fn the_mechanisms_page_equals_the_table() {
    let mut text = String::from(HEAD);
    for (family, title) in Family::ALL {
        write!(text, "\n## {title}\n\n").expect("a string");
        text.push_str("| mechanism | number | key | size | functions |\n|---|---|---|---|---|\n");
        let rows = MECHANISMS.iter().filter(|row| row.operation.facts().family == *family);
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
            let note = row.operation.facts().note;
            if !note.is_empty() && !told.contains(&note) {
                told.push(note);
                writeln!(text, "- {note}").expect("a string");
            }
        }
        if told.is_empty() {
            text.pop();
        }
    }
    text.push_str(FOOT);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/manual/mechanisms.md");
    if std::env::var_os("STRONGROOM_BLESS").is_some() {
        std::fs::write(&path, &text).expect("a writable file");
    }
    let kept = std::fs::read_to_string(&path).expect("docs/manual/mechanisms.md");
    assert!(kept == text, "docs/manual/mechanisms.md is old: run the test with STRONGROOM_BLESS=1");
}

#[test]
fn every_family_has_its_section() {
    for mechanism in MECHANISMS {
        let family = mechanism.operation.facts().family;
        let sections = Family::ALL.iter().filter(|(other, _)| *other == family).count();
        assert_eq!(sections, 1, "{}", mechanism.name);
    }
}

fn key_type(mechanism: &Mechanism) -> &'static str {
    match mechanism.key_type {
        None => "–",
        Some(CKK_RSA) => "RSA",
        Some(CKK_EC) => "EC",
        Some(CKK_EC_EDWARDS) => "Edwards",
        Some(CKK_EC_MONTGOMERY) => "Montgomery",
        Some(CKK_ML_DSA) => "ML-DSA",
        Some(CKK_ML_KEM) => "ML-KEM",
        Some(CKK_AES) => "AES",
        Some(CKK_GENERIC_SECRET) => "generic secret",
        Some(CKK_DES3) => "DES3",
        Some(CKK_CHACHA20) => "ChaCha20",
        Some(CKK_AES_XTS) => "AES-XTS",
        Some(CKK_HKDF) => "HKDF",
        Some(other) if Hash::ALL.iter().any(|hash| hash.hmac_key_type() == other) => "HMAC",
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
        (CKF_MESSAGE_ENCRYPT, "encrypt messages"),
        (CKF_MESSAGE_DECRYPT, "decrypt messages"),
        (CKF_WRAP, "wrap"),
        (CKF_UNWRAP, "unwrap"),
        (CKF_DERIVE, "derive"),
        (CKF_ENCAPSULATE, "encapsulate"),
        (CKF_DECAPSULATE, "decapsulate"),
    ];
    let offered = names.iter().filter(|(flag, _)| mechanism.offers(*flag)).map(|(_, name)| *name);
    let mut text = offered.collect::<Vec<_>>().join(", ");
    let hidden = names.iter().filter(|(flag, _)| mechanism.not_fips & flag != 0);
    let hidden = hidden.map(|(_, name)| *name).collect::<Vec<_>>().join(", ");
    if !hidden.is_empty() {
        write!(text, " (not in FIPS mode: {hidden})").expect("a string");
    }
    text
}
