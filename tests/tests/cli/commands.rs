//! Keys and signatures, in both modes. What the commands give is checked with `openssl`, which knows
//! nothing of us.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use strongroom_tests::{Region, program};

use crate::cli::{BOTH_MODES, Mode, User, anonymous, data, refusal, run, single};

#[test]
fn the_hsm_and_its_cluster_are_told_with_and_without_a_login() {
    let region = Region::up("cli-info");
    for mode in BOTH_MODES {
        let user = User::crypto_user(&region);
        let told = run(&region, &user, mode, &["cluster hsm-info".to_owned()]).remove(0);
        let hsm = &told["hsms"][0];
        assert_eq!(hsm["vendor"], "Strongroom");
        assert!(hsm["serial-number"].as_str().is_some_and(|id| id.starts_with("hsm-")), "{hsm}");
        assert_eq!(hsm["fips-state"], "0 [non-FIPS mode with single factor authentication]");
    }
    data(&anonymous(&region, "cluster hsm-info").output());

    let here = region.variable("CLUSTER_ID");
    data(&anonymous(&region, &format!("user list --cluster-id {here}")).output());
    let other = anonymous(&region, "user list --cluster-id cluster-aaaaaaaaaaa").output();
    assert!(refusal(&other).contains(here));
}

#[test]
fn secret_keys_are_generated_listed_and_deleted_in_both_modes() {
    let region = Region::up("cli-secret");
    let user = User::crypto_user(&region);
    for mode in BOTH_MODES {
        let made = run(
            &region,
            &user,
            mode,
            &[
                format!("key generate-symmetric aes --label aes-{mode:?} --key-length-bytes 24"),
                format!(
                    "key generate-symmetric generic-secret --label mac-{mode:?} --key-length-bytes \
                     64 --attributes extractable=false id=0x0a0b"
                ),
                format!("key list --filter attr.label=aes-{mode:?} attr.key-type=aes --verbose"),
                format!("key list --filter attr.label=mac-{mode:?}"),
                format!("key delete --filter attr.label=aes-{mode:?}"),
                format!("key list --filter attr.label=aes-{mode:?}"),
            ],
        );
        let [aes, mac, verbose, brief, deleted, none] = &made[..] else { panic!("six answers") };

        let attributes = &aes["key"]["attributes"];
        assert_eq!(attributes["key-type"], "aes");
        assert_eq!(attributes["key-length-bytes"], 24);
        assert_eq!(attributes["check-value"].as_str().map(str::len), Some(8), "0x and 3 bytes");
        for (name, value) in [
            ("sensitive", true),
            ("always-sensitive", true),
            ("extractable", true),
            ("never-extractable", false),
            ("sign", true),
            ("encrypt", false),
            ("token", true),
            ("local", true),
        ] {
            assert_eq!(attributes[name], value, "{name}");
        }
        let owner = &aes["key"]["key-info"]["key-owners"][0];
        assert_eq!(*owner, json!({"username": user.name, "key-coverage": "full"}));

        let attributes = &mac["key"]["attributes"];
        assert_eq!(attributes["extractable"], false);
        assert_eq!(attributes["never-extractable"], true);
        assert_eq!(attributes["id"], "0x0a0b");
        assert_eq!(attributes.get("check-value"), None, "a generic secret has none");

        assert_eq!(verbose["matched_keys"][0], aes["key"]);
        assert_eq!(
            *brief,
            json!({
                "matched_keys": [{
                    "key-reference": mac["key"]["key-reference"],
                    "attributes": {"label": format!("mac-{mode:?}")}
                }],
                "total_key_count": 1,
                "returned_key_count": 1
            })
        );
        assert_eq!(*deleted, json!({"message": "Key deleted successfully"}));
        assert_eq!(none["total_key_count"], 0);

        let gone = single(&region, &user, &format!("key delete --filter attr.label=aes-{mode:?}"));
        assert_eq!(
            refusal(&gone.output()),
            "Key selection criteria matched 0 keys. Refine selection criteria to select a single \
             key."
        );
    }
}

#[test]
fn a_session_key_goes_with_its_session() {
    let region = Region::up("cli-session");
    let user = User::crypto_user(&region);
    let make =
        "key generate-symmetric aes --label short --key-length-bytes 32 --session".to_owned();
    let list = "key list --filter attr.label=short".to_owned();
    let seen = run(&region, &user, Mode::Interactive, &[make.clone(), list.clone()]);
    assert_eq!(seen[0]["key"]["attributes"]["token"], false);
    assert_eq!(seen[1]["total_key_count"], 1);
    let later = run(&region, &user, Mode::Single, &[make, list]);
    assert_eq!(later[1]["total_key_count"], 0);
}

#[test]
fn a_list_is_cut_in_pages_that_give_every_key_once() {
    let region = Region::up("cli-pages");
    let user = User::crypto_user(&region);
    let make: Vec<String> = (0..5)
        .map(|n| format!("key generate-symmetric aes --label page-{n} --key-length-bytes 16"))
        .collect();
    run(&region, &user, Mode::Interactive, &make);
    let mut references = Vec::new();
    let mut token = None;
    loop {
        let from = token.map(|token| format!(" --starting-token {token}")).unwrap_or_default();
        let command = format!("key list --filter attr.key-length-bytes=16 --max-items 2{from}");
        let page = run(&region, &user, Mode::Single, &[command]).remove(0);
        assert_eq!(page["total_key_count"], 5);
        let keys = page["matched_keys"].as_array().expect("keys");
        assert_eq!(page["returned_key_count"], keys.len());
        assert!(keys.len() <= 2);
        references.extend(keys.iter().map(|key| key["key-reference"].to_string()));
        match page.get("next_token").and_then(Value::as_str) {
            Some(next) => token = Some(next.to_owned()),
            None => break,
        }
    }
    assert_eq!(references.len(), 5);
    references.sort();
    references.dedup();
    assert_eq!(references.len(), 5, "each key once: {references:?}");
}

#[test]
fn rsa_pairs_make_files_and_signatures_that_openssl_takes() {
    let region = Region::up("cli-rsa");
    let user = User::crypto_user(&region);
    for mode in BOTH_MODES {
        let files = Files::new(&region, mode);
        let (public, private) = (format!("rsa-public-{mode:?}"), format!("rsa-private-{mode:?}"));
        let sign = format!("--key-filter attr.label={private} --hash-function sha256");
        let verify = format!("--key-filter attr.label={public} --hash-function sha256");
        let pss = "--mgf mgf1-sha256 --salt-length 32";
        let data = format!("--data-path {}", files.data.display());
        let done = run(
            &region,
            &user,
            mode,
            &[
                format!(
                    "key generate-asymmetric-pair rsa --modulus-size-bits 2048 --public-exponent \
                     65537 --public-label {public} --private-label {private} \
                     --public-attributes verify=true --private-attributes sign=true"
                ),
                files.generate("pem", &files.public, &public),
                files.generate("pem", &files.public_of_private, &private),
                files.generate("reference-pem", &files.reference, &private),
                format!("crypto sign rsa-pkcs {sign} {data}"),
                format!("crypto sign rsa-pkcs-pss {sign} {data} {pss}"),
            ],
        );
        let pair = &done[0];
        let attributes = &pair["public_key"]["attributes"];
        assert_eq!(attributes["modulus-size-bits"], 2048);
        assert_eq!(attributes["public-exponent"], "0x010001");
        assert_eq!(attributes["key-length-bytes"], 512);
        assert_eq!(attributes["check-value"], pair["private_key"]["attributes"]["check-value"]);
        assert_eq!(pair["private_key"]["attributes"]["class"], "private-key");
        files.check_keys(attributes["modulus"].as_str().expect("a modulus"));

        let signatures = [base64(&done[4]["signature"]), base64(&done[5]["signature"])];
        files.openssl_accepts(&signatures[0], &[]);
        files.openssl_accepts(
            &signatures[1],
            &["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32"],
        );

        let first = done[4]["signature"].as_str().expect("Base64");
        let second = region.scratch.write("pss.sig", &signatures[1]);
        let verified = run(
            &region,
            &user,
            mode,
            &[
                format!("crypto verify rsa-pkcs {verify} {data} --signature {first}"),
                format!(
                    "crypto verify rsa-pkcs-pss {verify} {data} {pss} --signature-path {}",
                    second.display()
                ),
            ],
        );
        for answer in verified {
            assert_eq!(answer, json!({"message": "Signature verified successfully"}));
        }
        let wrong = format!("crypto verify rsa-pkcs {verify} --data YWJj --signature {first}");
        let wrong = single(&region, &user, &wrong).output();
        assert_eq!(refusal(&wrong), "Signature verification failed");
    }
}

#[test]
fn ec_pairs_make_files_and_signatures_that_openssl_takes() {
    let region = Region::up("cli-ec");
    let user = User::crypto_user(&region);
    for (mode, curve, hash) in [
        (Mode::Single, "prime256v1", "sha256"),
        (Mode::Interactive, "secp384r1", "sha384"),
        (Mode::Interactive, "secp521r1", "sha512"),
        (Mode::Single, "secp256k1", "sha256"),
    ] {
        let files = Files { hash, ..Files::new(&region, mode) };
        let (public, private) = (format!("public-{curve}"), format!("private-{curve}"));
        let data = format!("--data-path {} --hash-function {hash}", files.data.display());
        let done = run(
            &region,
            &user,
            mode,
            &[
                format!(
                    "key generate-asymmetric-pair ec --curve {curve} --public-label {public} \
                     --private-label {private} --public-attributes verify=true \
                     --private-attributes sign=true"
                ),
                files.generate("pem", &files.public, &public),
                files.generate("pem", &files.public_of_private, &private),
                files.generate("reference-pem", &files.reference, &private),
                format!("crypto sign ecdsa --key-filter attr.label={private} {data}"),
            ],
        );
        let point = done[0]["public_key"]["attributes"]["ec-point"].as_str().expect("a point");
        files.check_keys(point);
        let signature = base64(&done[4]["signature"]);
        files.openssl_accepts(&ecdsa_der(&signature), &[]);

        let given = done[4]["signature"].as_str().expect("Base64");
        let verify = format!("crypto verify ecdsa --key-filter attr.label={public} {data}");
        let good = run(&region, &user, mode, &[format!("{verify} --signature {given}")]);
        assert_eq!(good[0], json!({"message": "Signature verified successfully"}));

        // A digest made elsewhere signs as the data does.
        let digest =
            program("openssl").args(["dgst", &format!("-{hash}"), "-binary"]).arg(&files.data).ok();
        let digest = region.scratch.write("digest", digest);
        let command = format!(
            "crypto sign ecdsa --key-filter attr.label={private} --hash-function {hash} \
             --data-type digest --data-path {}",
            digest.display()
        );
        let done = run(&region, &user, mode, &[command]);
        files.openssl_accepts(&ecdsa_der(&base64(&done[0]["signature"])), &[]);
    }
}

#[test]
fn what_is_refused_is_one_object_and_exit_code_1() {
    let region = Region::up("cli-refused");
    let user = User::crypto_user(&region);
    for (command, says) in [
        ("", "not complete"),
        ("key", "not complete"),
        ("key lost", "unrecognized subcommand"),
        ("key delete --filter attr.label=example-rsa-2048", "matched 2 keys"),
        ("key list --filter attr.colour=red", "Unknown key attribute"),
        ("key list --filter label=x", "is not a key filter"),
        ("key generate-symmetric aes --label x --key-length-bytes 20", "key size"),
        (
            "key generate-asymmetric-pair rsa --modulus-size-bits 1024 --public-exponent 65537 \
             --public-label x --private-label y",
            "key size",
        ),
        (
            "key generate-file --encoding pem --path /x --filter attr.label=example-aes-256",
            "public",
        ),
        (
            "crypto sign ecdsa --key-filter attr.label=example-aes-256 --hash-function sha256 \
             --data YWJj",
            "key",
        ),
        ("user create --username eve --role admin --password eve-password", "only an admin"),
    ] {
        let said = refusal(&single(&region, &user, command).output());
        assert!(said.contains(says), "{command}: {said}");
    }
    let said = refusal(&anonymous(&region, "key list").output());
    assert!(said.contains("Not logged in"), "{said}");

    // A script learns of one failure among its commands from the exit code.
    let script = anonymous(&region, "interactive").input("user list\nkey list\nuser list\n");
    assert_eq!(script.output().status.code(), Some(1));
    let script = anonymous(&region, "interactive").input("user list\nhelp key list\n");
    assert_eq!(script.output().status.code(), Some(0));
}

/// Files of one key pair.
struct Files {
    data: PathBuf,
    public: PathBuf,
    public_of_private: PathBuf,
    reference: PathBuf,
    signature: PathBuf,
    hash: &'static str,
}

impl Files {
    fn new(region: &Region, mode: Mode) -> Self {
        let data = region.scratch.write("data", format!("signed in mode {mode:?}"));
        let file = |name| region.scratch.file(name);
        Self {
            data,
            public: file("public.pem"),
            public_of_private: file("of-private.pem"),
            reference: file("reference.pem"),
            signature: file("signature"),
            hash: "sha256",
        }
    }

    fn generate(&self, encoding: &str, path: &Path, label: &str) -> String {
        format!(
            "key generate-file --encoding {encoding} --path {} --filter attr.label={label}",
            path.display()
        )
    }

    /// OpenSSL loads all three files, each has the same public half, and that is what the key's
    /// attributes show: `part`, in hexadecimal after `0x`.
    fn check_keys(&self, part: &str) {
        let der = program("openssl")
            .args(["pkey", "-pubin", "-outform", "DER", "-in"])
            .arg(&self.public)
            .ok();
        let shown: String = der.iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(shown.contains(part.trim_start_matches("0x")), "{part} in {shown}");
        let public = program("openssl").args(["pkey", "-pubin", "-in"]).arg(&self.public).text();
        let of_private =
            program("openssl").args(["pkey", "-pubin", "-in"]).arg(&self.public_of_private).text();
        assert_eq!(public, of_private);
        let of_reference =
            program("openssl").args(["pkey", "-pubout", "-in"]).arg(&self.reference).text();
        assert_eq!(public, of_reference);
    }

    fn openssl_accepts(&self, signature: &[u8], options: &[&str]) {
        std::fs::write(&self.signature, signature).expect("a scratch file");
        let said = program("openssl")
            .args(["dgst", &format!("-{}", self.hash), "-verify"])
            .arg(&self.public)
            .args(options)
            .arg("-signature")
            .arg(&self.signature)
            .arg(&self.data)
            .text();
        assert!(said.contains("Verified OK"), "{said}");
    }
}

/// Base64 of the output, by `openssl`.
fn base64(text: &Value) -> Vec<u8> {
    let text = text.as_str().expect("Base64");
    program("openssl").args(["base64", "-d", "-A"]).input(text).ok()
}

/// r || s as the DER that OpenSSL takes.
fn ecdsa_der(signature: &[u8]) -> Vec<u8> {
    let integers = signature.chunks(signature.len() / 2).map(|number| {
        let zeros = number.iter().take_while(|byte| **byte == 0).count();
        let number = &number[zeros..];
        let sign: &[u8] = if number[0] & 0x80 == 0 { &[] } else { &[0] };
        let length = u8::try_from(sign.len() + number.len()).expect("a short number");
        [&[2, length], sign, number].concat()
    });
    let content = integers.collect::<Vec<_>>().concat();
    let length = u8::try_from(content.len()).expect("a short sequence");
    let head = if length < 0x80 { vec![0x30, length] } else { vec![0x30, 0x81, length] };
    [head, content].concat()
}
