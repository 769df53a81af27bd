use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
};

use proptest::prelude::*;

use super::*;

/// A folder of its own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("strongroom-config-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// As AWS's tools write it.
const CLOUDHSM: &str = r#"{
  "clusters": [{
    "type": "hsm1",
    "cluster": {
      "hsm_ca_file": "/opt/cloudhsm/etc/customerCA.crt",
      "servers": [
        {"hostname": "10.0.1.10", "port": 2223, "enable": true},
        {"hostname": "10.0.2.10", "port": 2223, "enable": false}
      ],
      "options": {"disable_key_availability_check": true, "something_new": 1}
    }
  }],
  "logging": {
    "log_type": "file",
    "log_file": "/opt/cloudhsm/run/cloudhsm-pkcs11.log",
    "log_level": "info",
    "log_interval": "daily"
  },
  "something_else": {}
}"#;

fn parse(text: &str) -> Result<Config, Error> {
    Config::parse(text, Path::new("/somewhere/client.json"))
}

fn fault(text: &str) -> String {
    match parse(text) {
        Err(Error::Config(why)) => why,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn a_file_of_cloudhsm_is_understood() {
    let config = parse(CLOUDHSM).unwrap();
    let Target::Cluster(cluster) = &config.target else { panic!("no cluster") };
    assert_eq!(cluster.hsm_ca_file, Path::new("/opt/cloudhsm/etc/customerCA.crt"));
    assert_eq!(cluster.servers, [Server::new("10.0.1.10", 2223)]);
    assert!(config.options.disable_key_availability_check);
    assert!(config.options.validate_key_at_init);
    assert_eq!(config.options.retry, RetryMode::Standard);
    assert_eq!(
        config.logging.file.as_deref(),
        Some(Path::new("/opt/cloudhsm/run/cloudhsm-pkcs11.log"))
    );
    assert_eq!(config.patience, PATIENCE_DEFAULT);
}

#[test]
fn our_own_keys_are_understood() {
    let pin = "ab".repeat(32);
    let config = parse(&format!(
        r#"{{"clusters": [{{"cluster": {{"hsm_ca_file": "ca.crt", "servers": [{{"hostname": "h"}}],
            "options": {{"validate_key_at_init": false, "default_retry_mode": "off"}}}}}}],
            "logging": {{"log_type": "term", "log_level": "TRACE", "log_interval": "never"}},
            "personality": "token", "cluster_key": "{pin}", "cluster_id": "cluster-1",
            "patience_ms": 250, "answer_timeout_ms": 500}}"#
    ))
    .unwrap();
    let Target::Cluster(cluster) = &config.target else { panic!("no cluster") };
    assert_eq!(cluster.hsm_ca_file, Path::new("/somewhere/ca.crt"));
    assert_eq!(cluster.servers, [Server::new("h", 2223)]);
    assert_eq!(cluster.cluster_keys, [[0xab; 32]]);
    assert_eq!(cluster.cluster_id.as_deref(), Some("cluster-1"));
    assert_eq!(config.personality, Some(Personality::Token));
    assert!(!config.options.validate_key_at_init);
    assert_eq!(config.options.retry, RetryMode::Off);
    assert!(config.logging.terminal);
    assert_eq!(config.logging.level, LogLevel::Trace);
    assert_eq!(config.logging.rotation, LogRotation::Never);
    assert_eq!(config.patience, Duration::from_millis(250));
    assert_eq!(config.answer_timeout, Duration::from_millis(500));

    let local = parse(r#"{"local": {"dir": "/data"}, "personality": "cloudhsm"}"#).unwrap();
    assert_eq!(local.target, Target::Local { dir: "/data".into() });
    assert_eq!(local.personality, Some(Personality::CloudHsm));
}

#[test]
fn a_fault_names_the_file_and_the_key() {
    let cluster = |servers: &str| {
        format!(r#"{{"clusters": [{{"cluster": {{"hsm_ca_file": "a", "servers": {servers}}}}}]}}"#)
    };
    for (text, key) in [
        ("[]", "the file: must be an object"),
        ("{", "not JSON"),
        ("{}", "has neither \"clusters\" nor \"local\""),
        (r#"{"clusters": []}"#, "clusters: has 0 entries"),
        (r#"{"clusters": [{}]}"#, "clusters[0].cluster: is missing"),
        (r#"{"clusters": [{"cluster": {}}]}"#, "clusters[0].cluster.servers: is missing"),
        (&cluster("[]"), "clusters[0].cluster.servers: names no enabled HSM"),
        (&cluster("[7]"), "clusters[0].cluster.servers[0]: must be an object"),
        (&cluster("[{}]"), "clusters[0].cluster.servers[0].hostname: is missing"),
        (
            &cluster(r#"[{"hostname": "h", "port": 0}]"#),
            "clusters[0].cluster.servers[0].port: must be a port number",
        ),
        (
            &cluster(r#"[{"hostname": "h", "port": "2223"}]"#),
            "clusters[0].cluster.servers[0].port: must be a port number",
        ),
        (
            &cluster(r#"[{"hostname": "h", "enable": "yes"}]"#),
            "clusters[0].cluster.servers[0].enable: must be true or false",
        ),
        (r#"{"local": {}}"#, "local.dir: is missing"),
        (r#"{"local": {"dir": ""}}"#, "local.dir: must not be empty"),
        (r#"{"local": {"dir": "/d", "dri": "/e"}}"#, "local.dri: is not a known key"),
        (r#"{"local": {"dir": "/d"}, "clusters": []}"#, "local: cannot stand beside"),
        (r#"{"local": {"dir": "/d"}, "personality": "hsm"}"#, "personality: must be"),
        (r#"{"local": {"dir": "/d"}, "patience_ms": -1}"#, "patience_ms: must be a number"),
        (
            r#"{"local": {"dir": "/d"}, "logging": {"log_level": "loud"}}"#,
            "logging.log_level: must be one of: off, error,",
        ),
    ] {
        let why = fault(text);
        assert!(why.starts_with("/somewhere/client.json: "), "{why}");
        assert!(why.contains(key), "{why}");
    }
    let why = fault(
        r#"{"clusters": [{"cluster": {"hsm_ca_file": "a", "servers": [{"hostname": "h"}]}}],
            "cluster_key": "abc"}"#,
    );
    assert!(why.contains("cluster_key: must be a SHA-256"), "{why}");
}

#[test]
fn the_first_place_that_has_a_configuration_counts() {
    let folder = Folder::new();
    let local = |dir: &str| format!(r#"{{"local": {{"dir": "{dir}"}}}}"#);
    let named = folder.write("named.json", &local("/named"));
    folder.write("config/strongroom/client.json", &local("/user"));
    let system = folder.write("system.json", &local("/system"));
    folder.write("region/client.json", &local("/region"));
    let dir = |environment: &Environment| match Config::load_from(environment).unwrap().target {
        Target::Local { dir } => dir,
        Target::Cluster(_) => panic!("a cluster"),
    };

    let mut environment = Environment {
        config: Some(named),
        dir: Some(folder.0.join("region")),
        personality: None,
        zone: None,
        config_home: Some(folder.0.join("config")),
        data_home: Some(folder.0.join("data")),
        system,
    };
    assert_eq!(dir(&environment), Path::new("/named"));
    environment.config = None;
    assert_eq!(dir(&environment), Path::new("/region"));
    environment.dir = Some(folder.0.join("fresh"));
    assert_eq!(dir(&environment), folder.0.join("fresh"));
    environment.dir = None;
    assert_eq!(dir(&environment), Path::new("/user"));
    environment.config_home = Some(folder.0.join("nothing"));
    assert_eq!(dir(&environment), Path::new("/system"));
    environment.system = folder.0.join("nothing.json");
    assert_eq!(dir(&environment), folder.0.join("data/strongroom"));
    environment.data_home = None;
    assert!(matches!(Config::load_from(&environment), Err(Error::Config(_))));
}

#[test]
fn a_configuration_that_exists_and_cannot_be_used_is_never_a_silent_local_hsm() {
    let folder = Folder::new();
    let mut environment = Environment {
        config: Some(folder.0.join("missing.json")),
        data_home: Some(folder.0.join("data")),
        ..Environment::default()
    };
    let refused = |environment: &Environment| match Config::load_from(environment) {
        Err(Error::Config(why)) => why,
        other => panic!("not refused: {other:?}"),
    };
    assert!(refused(&environment).contains("missing.json"));

    environment.config = None;
    environment.config_home = Some(folder.0.clone());
    let path = folder.write("strongroom/client.json", "not JSON");
    assert!(refused(&environment).contains("not JSON"));

    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/nowhere/at/all", &path).unwrap();
    assert!(refused(&environment).contains("client.json"));

    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(refused(&environment).contains("is not a file"));
}

#[test]
fn a_configuration_that_anyone_may_write_is_refused() {
    let folder = Folder::new();
    let path = folder.write("client.json", r#"{"local": {"dir": "/d"}}"#);
    Config::read(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    let Err(Error::Config(why)) = Config::read(&path) else { panic!("not refused") };
    assert!(why.contains("anyone may write"), "{why}");
}

#[test]
fn the_personality_of_the_environment_counts_over_the_files() {
    let folder = Folder::new();
    let mut environment = Environment {
        config: Some(folder.write("c.json", r#"{"local": {"dir": "/d"}, "personality": "token"}"#)),
        personality: Some("cloudhsm".into()),
        ..Environment::default()
    };
    let config = Config::load_from(&environment).unwrap();
    assert_eq!(config.personality, Some(Personality::CloudHsm));
    environment.personality = Some("softhsm".into());
    assert!(matches!(Config::load_from(&environment), Err(Error::Config(_))));
}

#[test]
fn the_zone_of_the_environment_counts_over_the_files() {
    let folder = Folder::new();
    let mut environment = Environment {
        config: Some(folder.write("c.json", r#"{"local": {"dir": "/d"}, "zone": "1a"}"#)),
        ..Environment::default()
    };
    assert_eq!(Config::load_from(&environment).unwrap().zone, "1a");
    environment.zone = Some("1b".into());
    assert_eq!(Config::load_from(&environment).unwrap().zone, "1b");
}

#[test]
fn a_local_hsm_of_personality_cloudhsm_needs_strongroom_dir() {
    let mut environment = Environment {
        personality: Some("cloudhsm".into()),
        data_home: Some("/data".into()),
        ..Environment::default()
    };
    assert!(matches!(Config::load_from(&environment), Err(Error::Config(_))));
    environment.dir = Some("/nowhere/at/all".into());
    Config::load_from(&environment).unwrap();
}

#[test]
fn a_number_that_is_not_touched_does_not_drift() {
    let folder = Folder::new();
    let text = r#"{"unknown": 100888888888888880000}"#;
    let once = Document::open(folder.write("once.json", text)).unwrap().to_json();
    let twice = Document::open(folder.write("twice.json", &once)).unwrap().to_json();
    assert_eq!(once, twice);
}

#[test]
fn editing_keeps_what_it_does_not_touch() {
    let folder = Folder::new();
    let path = folder.write("client.json", CLOUDHSM);
    let mut document = Document::open(&path).unwrap();
    document.add_server(&Server::new("10.0.3.10", 2223));
    document.add_server(&Server::new("10.0.2.10", 2223));
    assert!(document.remove_server(&Server::new("10.0.1.10", 2223)));
    assert!(!document.remove_server(&Server::new("10.0.1.10", 2223)));
    document.set_hsm_ca_file(Path::new("/ca.crt"));
    document.set_option(Switch::DisableKeyAvailabilityCheck, false);
    document.set_option(Switch::ValidateKeyAtInit, false);
    document.set_retry_mode(RetryMode::Off);
    document.set_log_terminal(true);
    document.set_log_level(LogLevel::Debug);
    document.set_log_rotation(LogRotation::Hourly);
    document.set_log_file(Path::new("/log"));
    document.set_cluster_keys(&[[0xab; 32]]);
    document.set_cluster_id(Some("cluster-1"));
    document.set_personality(Some(Personality::Token));
    document.save().unwrap();

    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("something_new") && text.contains("something_else"), "{text}");
    let config = Config::read(&path).unwrap();
    assert_eq!(config, document.config().unwrap());
    let Target::Cluster(cluster) = &config.target else { panic!("no cluster") };
    assert_eq!(cluster.servers, [Server::new("10.0.3.10", 2223), Server::new("10.0.2.10", 2223)]);
    assert_eq!(cluster.hsm_ca_file, Path::new("/ca.crt"));
    assert_eq!(cluster.cluster_keys, [[0xab; 32]]);
    assert_eq!(cluster.cluster_id.as_deref(), Some("cluster-1"));
    assert!(!config.options.disable_key_availability_check);
    assert!(!config.options.validate_key_at_init);
    assert_eq!(config.options.retry, RetryMode::Off);
    assert_eq!(config.logging.level, LogLevel::Debug);
    assert!(config.logging.terminal && config.logging.file.is_none());
    assert_eq!(config.personality, Some(Personality::Token));

    document.set_cluster_keys(&[]);
    document.set_cluster_id(None);
    document.set_personality(None);
    let config = document.config().unwrap();
    assert_eq!(config.personality, None);
}

#[test]
fn a_new_document_becomes_a_configuration_step_by_step() {
    let folder = Folder::new();
    let path = folder.0.join("new/client.json");
    let mut document = Document::open(&path).unwrap();
    assert_eq!(document.servers(), []);
    document.config().unwrap_err();
    document.set_servers(&[Server::new("127.0.1.10", 2323)]);
    document.set_hsm_ca_file(Path::new("/ca.crt"));
    document.save().unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o022, 0);
    let read = Document::open(&path).unwrap();
    assert_eq!(read.servers(), [Server::new("127.0.1.10", 2323)]);
    Config::read(&path).unwrap();
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC*") {
        let _ = parse(&text);
    }

    #[test]
    fn no_value_in_any_place_makes_it_panic(
        place in 0..9_usize,
        value in prop_oneof![
            Just("null".to_owned()), Just("[]".to_owned()), Just("{}".to_owned()),
            Just("[[]]".to_owned()), Just("true".to_owned()), Just("-1.5".to_owned()),
            Just("18446744073709551616".to_owned()), Just("\"\"".to_owned()),
        ],
    ) {
        let originals = [
            "\"/opt/cloudhsm/etc/customerCA.crt\"", "\"hsm1\"", "\"10.0.1.10\"", "2223",
            "true", "\"file\"", "\"info\"", "\"daily\"", "{}",
        ];
        let text = CLOUDHSM.replacen(originals[place], &value, 1);
        let _ = parse(&text);
        let folder = Folder::new();
        let mut document = Document::open(folder.write("c.json", &text)).unwrap();
        document.add_server(&Server::new("h", 1));
        document.set_retry_mode(RetryMode::Off);
        document.set_log_terminal(true);
        prop_assert!(document.servers().contains(&Server::new("h", 1)));
    }

    #[test]
    fn a_pin_survives_its_text(pin: [u8; 32]) {
        prop_assert_eq!(document::parse_hex(&hex(&pin)), Some(pin));
    }
}
