//! Whatever arrives at a port: garbage, plaintext, old TLS, floods of connections. Nothing secret goes
//! out, and the HSM goes on serving.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use strongroom_tests::{Region, program};

#[test]
fn garbage_and_plaintext_on_the_ports_disturb_nobody() {
    let region = Region::up("garbage");
    for port in [2223, 2224] {
        for payload in [
            &b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..],
            &[0; 1024],
            &[0xff; 4096],
            // A frame in the clear, as if TLS were not needed.
            &[0, 0, 0, 6, 8, 1, 0x8a, 1, 0, 0],
            // A TLS record header that announces more than it may.
            &[0x16, 3, 1, 0xff, 0xff, 1, 0, 0, 0],
        ] {
            let answer = send(&region.address, port, payload);
            assert!(answer.len() <= 32, "{port} answers garbage with {} bytes", answer.len());
        }
        // Connections that say nothing must not keep others out.
        let silent: Vec<_> = (0..50)
            .map(|_| TcpStream::connect((region.address.as_str(), port)).expect("a port"))
            .collect();
        assert!(region.pkcs11_tool().arg("-O").text().contains("Private Key"));
        drop(silent);
    }
}

#[test]
fn tls_below_1_3_and_a_stranger_on_the_administration_port_are_refused() {
    let region = Region::up("tls");
    let connect = |port: u16, options: &[&str]| {
        program("openssl")
            .args(["s_client", "-connect", &format!("{}:{port}", region.address), "-quiet"])
            .args(options)
            .input(*b"hello")
            .output()
    };
    assert!(!connect(2223, &["-tls1_2"]).status.success());
    assert!(!connect(2224, &["-tls1_2"]).status.success());

    // TLS 1.3 with no certificate, and with somebody else's, on the administration port.
    let key = region.scratch.file("stranger.key");
    let certificate = region.scratch.file("stranger.crt");
    program("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
        .args(["-subj", "/CN=stranger", "-days", "1", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .ok();
    let text = |path: &std::path::Path| path.display().to_string();
    for options in [vec![], vec!["-cert".into(), text(&certificate), "-key".into(), text(&key)]] {
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let output = connect(2224, &options);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("alert"), "the port says why it refuses: {said}");
        assert!(output.stdout.is_empty(), "nothing is answered to a stranger");
    }
    assert!(region.strongroom("status").text().contains("ACTIVE"));
}

#[test]
fn a_client_with_the_wrong_ca_refuses_before_it_says_anything() {
    let region = Region::up("wrong-ca");
    let other = region.scratch.file("other.crt");
    program("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=another CA"])
        .args(["-days", "1", "-keyout", "/dev/null", "-out"])
        .arg(&other)
        .ok();
    let text = std::fs::read_to_string(region.variable("STRONGROOM_CONFIG")).expect("made by up");
    let mut configuration: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    replace(&mut configuration, "hsm_ca_file", &other.display().to_string());
    let path = region.scratch.write("client.json", configuration.to_string());
    let said = region.pkcs11_tool().env("STRONGROOM_CONFIG", path).arg("-O").fails();
    assert!(said.contains("hsm_ca_file") || said.to_lowercase().contains("trust"), "{said}");
    assert!(!said.contains(region.variable("CLOUDHSM_PIN")), "{said}");
}

fn replace(value: &mut serde_json::Value, key: &str, with: &str) {
    match value {
        serde_json::Value::Object(map) => {
            for (name, inner) in map {
                if name == key {
                    *inner = with.into();
                } else {
                    replace(inner, key, with);
                }
            }
        }
        serde_json::Value::Array(list) => list.iter_mut().for_each(|v| replace(v, key, with)),
        _ => {}
    }
}

/// Sends bytes and gives what comes back until the HSM closes or says no more.
fn send(address: &str, port: u16, payload: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect((address, port)).expect("a port");
    stream.set_read_timeout(Some(Duration::from_secs(15))).expect("a time-out");
    let _ = stream.write_all(payload);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}
