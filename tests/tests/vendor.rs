//! Programs written against CloudHSM's own header, checked outside by another implementation.
//!
//! The programs are `vendor.c`, `vendor_symmetric.c` and `vendor_asymmetric.c` in `clients/`. They use
//! `include/cloudhsm_pkcs11_vendor_defs.h` with a foreign `pkcs11.h`. The first two import keys whose bytes
//! are known here; all print what the HSM made.

use std::collections::BTreeMap;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrap as _, KeyWrapPadded as _};
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use strongroom_tests::{Region, compile};

/// As C strings: the terminator is part of them.
const PLAINTEXT: &[u8] = b"what the HSM encrypts\0";
const HEADER: &[u8] = b"what it only authenticates\0";

#[test]
fn what_a_program_with_cloudhsms_header_makes_is_read_outside() {
    let region = Region::up("vendor");
    let program = compile("vendor", &region.scratch);
    let printed = region.program(program.to_str().expect("a path in UTF-8")).text();
    let results = parse(&printed);
    let (key, by) = (known_key(0x00), known_key(0x40));

    // One with the IV in front, one with the IV written back.
    let encrypted = &results["gcm"];
    assert_eq!(encrypted.len(), 2, "{printed}");
    for result in encrypted {
        let [iv, sealed] = result.as_slice() else { panic!("an IV and a ciphertext: {printed}") };
        assert_eq!(open(&key, iv, sealed), PLAINTEXT);
    }

    let wrapped = |name: &str| results[name][0][0].as_slice();
    let kek = || AesKek::new(&AES_256, &by).expect("an AES-256 key");
    let mut room = [0; 64];
    let no_pad = kek().unwrap(wrapped("no-pad"), &mut room).expect("RFC 3394");
    assert_eq!(no_pad, key);
    let zero_pad = kek().unwrap_with_padding(wrapped("zero-pad"), &mut room).expect("RFC 5649");
    assert_eq!(zero_pad, key);
    // RFC 3394 over what PKCS#5 has padded by a whole block.
    let pkcs5_pad = kek().unwrap(wrapped("pkcs5-pad"), &mut room).expect("RFC 3394");
    assert_eq!(pkcs5_pad, [key.as_slice(), &[8; 8]].concat());
}

/// The C string that the other program signs, its terminator included.
const MESSAGE: &[u8] = b"what the HSM signs\0";

#[test]
fn asymmetric_mechanisms_work_under_cloudhsms_names() {
    let region = Region::up("vendor-asymmetric");
    let program = compile("vendor_asymmetric", &region.scratch);
    let printed = region.program(program.to_str().expect("a path in UTF-8")).text();
    let results = parse(&printed);
    let [public, signature] = results["ed25519"][0].as_slice() else { panic!("{printed}") };
    UnparsedPublicKey::new(&ED25519, public)
        .verify(MESSAGE, signature)
        .expect("a signature of Ed25519 without context");
}

#[test]
fn symmetric_mechanisms_work_under_cloudhsms_rules() {
    let region = Region::up("vendor-symmetric");
    let program = compile("vendor_symmetric", &region.scratch);
    let printed = region.program(program.to_str().expect("a path in UTF-8")).text();
    let results = parse(&printed);
    // The HMAC under what `openssl kdf … KBKDF` derives by AES-256-CMAC, and Python's `cryptography`'s CMAC.
    let mac = "be20711886c0372bb8b13981a5d24eb7fbd8444d23eef10af2484e5aad173a4f";
    let cmac = "f03d6450bc85becc7ad807555b021189";
    assert_eq!(results["kdf"], [[from_hex(mac)], [from_hex(mac)]], "in both of the header's forms");
    assert_eq!(results["cmac"], [[from_hex(cmac)]]);
}

/// Results by name; each is the numbers of one line.
type Results<'a> = BTreeMap<&'a str, Vec<Vec<Vec<u8>>>>;

fn parse(printed: &str) -> Results<'_> {
    let mut results = Results::new();
    for line in printed.lines() {
        let mut words = line.split(' ');
        let name = words.next().unwrap_or_default();
        results.entry(name).or_default().push(words.map(from_hex).collect());
    }
    results
}

fn from_hex(digits: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).expect("hexadecimal") as u8;
    digits.as_bytes().chunks_exact(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

fn known_key(first: u8) -> [u8; 32] {
    std::array::from_fn(|index| first + index as u8)
}

fn open(key: &[u8], iv: &[u8], sealed: &[u8]) -> Vec<u8> {
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("an AES-256 key"));
    let iv = Nonce::try_assume_unique_for_key(iv).expect("12 bytes of IV");
    let mut data = sealed.to_vec();
    key.open_in_place(iv, Aad::from(HEADER), &mut data).expect("a tag that is right").to_vec()
}
