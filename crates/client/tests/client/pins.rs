//! A cluster that gets a new key, and clients that pin the old one, the new one, or both.

use std::{fs, sync::Arc, time::Duration};

use strongroom_client::{Client, Config, Error, config::Server};
use strongroom_wire::message::Operation;

use crate::{
    fake::{Common, FakeHsm, Seen},
    fleet::{HSM_IDS, random, willing},
    pki::Pki,
    tls::server_config,
};

/// Two HSMs of one cluster: the first shows its older key, the second the newer one. Only one runs.
struct Generations {
    pki: Pki,
    hsms: [FakeHsm; 2],
    /// As `client.json` has them.
    pins: [String; 2],
}

impl Generations {
    /// The older one runs, and the file pins its key alone.
    fn new() -> Self {
        let pki = Pki::new();
        pki.cluster("newer", "ca");
        let common = Arc::<Common>::default();
        let names = ["cluster", "newer"];
        let hsms = names.map(|key| {
            let id = HSM_IDS[usize::from(key == "newer")];
            let name = format!("{key}-hsm");
            pki.hsm_of_id(&name, key, id);
            let config = server_config(&pki, &[&name, key]);
            let script = |_: &Seen, operation: &Operation| willing(operation);
            FakeHsm::member(Arc::clone(&common), id, "", config, script)
        });
        let pins = names.map(|key| pki.pin(key).iter().map(|b| format!("{b:02x}")).collect());
        let generations = Self { pki, hsms, pins };
        generations.hsms[1].die();
        generations.write(&format!(r#""{}""#, generations.pins[0]));
        generations
    }

    /// Puts another file in the place of the configuration, as every tool of ours does.
    fn write(&self, cluster_key: &str) {
        let servers: Vec<String> = self
            .hsms
            .iter()
            .map(|hsm| Server::new(hsm.address().ip().to_string(), hsm.address().port()))
            .map(|s| format!(r#"{{"hostname": "{}", "port": {}}}"#, s.hostname, s.port))
            .collect();
        let (ca, servers) = (self.pki.file("ca").display().to_string(), servers.join(", "));
        self.write_text(&format!(
            r#"{{"clusters": [{{"type": "hsm1", "cluster":
                {{"hsm_ca_file": "{ca}", "servers": [{servers}]}}}}], "cluster_key": {cluster_key}}}"#
        ));
    }

    fn write_text(&self, text: &str) {
        let fresh = self.pki.folder.path().join("client.json.new");
        fs::write(&fresh, text).unwrap();
        fs::rename(&fresh, self.file()).unwrap();
    }

    fn file(&self) -> std::path::PathBuf {
        self.pki.folder.path().join("client.json")
    }

    fn open(&self) -> Client {
        let mut config = Config::read(&self.file()).unwrap();
        config.patience = Duration::from_secs(60);
        Client::open(config, "test").unwrap()
    }

    /// The other one runs from now on.
    fn switch_to(&self, number: usize) {
        self.hsms[1 - number].die();
        self.hsms[number].revive();
    }
}

fn refused(client: &Client) -> String {
    match client.call(0, random()) {
        Err(Error::Trust(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn once_an_hsm_has_shown_the_newer_of_two_pinned_keys_the_older_one_is_refused() {
    let generations = Generations::new();
    generations.write(&format!("{:?}", generations.pins));
    let client = generations.open();
    // The newer one is taken after the older, ...
    generations.switch_to(1);
    client.call(0, random()).unwrap();
    // ... and not the other way round.
    generations.switch_to(0);
    assert!(refused(&client).contains("newer"));
}

#[test]
fn a_program_that_runs_takes_the_new_key_when_its_file_pins_it() {
    let generations = Generations::new();
    let [older, newer] = &generations.pins;
    let client = generations.open();
    generations.switch_to(1);
    assert!(refused(&client).contains("pinned key"));
    generations.write(&format!(r#"["{older}", "{newer}"]"#));
    client.call(0, random()).unwrap();
    generations.write(&format!(r#""{newer}""#));
    generations.switch_to(0);
    assert!(refused(&client).contains("pinned key"));
    generations.switch_to(1);
    client.call(0, random()).unwrap();
}

#[test]
fn a_program_that_runs_refuses_the_old_key_when_its_file_pins_it_no_more() {
    let generations = Generations::new();
    let client = generations.open();
    generations.write(&format!(r#""{}""#, generations.pins[1]));
    generations.hsms[0].die();
    generations.hsms[0].revive();
    assert!(refused(&client).contains("pinned key"));
}

#[test]
fn a_file_that_cannot_be_used_or_pins_nothing_changes_no_pin() {
    let generations = Generations::new();
    let client = generations.open();
    for text in ["", "null", r#"{"clusters": []}"#, r#"{"local": {"dir": "/nowhere"}}"#] {
        generations.write_text(text);
        generations.switch_to(1);
        assert!(refused(&client).contains("pinned key"), "{text}");
        generations.switch_to(0);
        client.call(0, random()).unwrap();
    }
    generations.write("null");
    generations.switch_to(1);
    assert!(refused(&client).contains("pinned key"));
    fs::remove_file(generations.file()).unwrap();
    generations.switch_to(0);
    client.call(0, random()).unwrap();
}
