//! `configure-cli`, `configure-pkcs11`, …: one tool under the names that CloudHSM users know.
//!
//! In: options. Out: the client configuration file, which all of Strongroom's clients read. With
//! `-a` it connects to each HSM, checks the chain up to the customer's CA, and records the cluster
//! key, which the clients pin from then on. Nothing is written unless all of it succeeded.

mod grammar;
mod place;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};
use strongroom_client::config::{Document, Environment, Server, Switch, Target};
use strongroom_client::trust::Identity;

use crate::error::Error;
use grammar::Options;

/// Runs the tool under the name `name`.
pub(crate) fn main(name: &'static str, argv: Vec<OsString>) -> ExitCode {
    let command = Options::command().name(name).bin_name(name);
    let options = match command
        .try_get_matches_from(argv)
        .and_then(|matches| Options::from_arg_matches(&matches))
    {
        Ok(options) => options,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    match run(&options, &Environment::current(), &probe) {
        Ok(report) => {
            // The file is written: whether anybody reads the report does not matter.
            let _ = std::io::stdout().write_all(report.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Asks one HSM who it is: connects as the document says, and checks its chain.
type Probe<'a> = &'a dyn Fn(&Document, &Server) -> Result<Identity, strongroom_client::Error>;

fn probe(document: &Document, server: &Server) -> Result<Identity, strongroom_client::Error> {
    match document.config()?.target {
        Target::Cluster(cluster) => strongroom_client::identify(&cluster, server),
        _ => Err(strongroom_client::Error::Config("no cluster is named".into())),
    }
}

/// Edits the configuration and tells what was done.
fn run(options: &Options, environment: &Environment, probe: Probe<'_>) -> Result<String, Error> {
    let path = match &options.config {
        Some(path) => path.clone(),
        None => place::of(environment)?,
    };
    let mut document = Document::open(&path)?;
    apply(options, &mut document)?;
    let mut report = String::new();
    if !options.address.is_empty() {
        let identity = bootstrap(options, &mut document, probe, &mut report)?;
        if let Some(identity) = identity {
            if options.cluster_key.is_empty() {
                document.set_cluster_keys(&[identity.cluster_key]);
            }
            let key = identity.cluster_key_hex();
            report += &format!("Cluster:     {}\nCluster key: {key}\n", identity.cluster_id);
        }
    }
    document.save()?;
    report += &format!("Written:     {}\n", path.display());
    Ok(report)
}

/// Everything that needs no connection.
fn apply(options: &Options, document: &mut Document) -> Result<(), Error> {
    if let Some(path) = &options.hsm_ca_cert {
        // A client may run in any folder.
        document.set_hsm_ca_file(&path.canonicalize().map_err(Error::file(path))?);
    }
    if !options.cluster_key.is_empty() {
        document.set_cluster_keys(&options.cluster_key);
    }
    for (on, off, switch) in [
        (
            options.disable_key_availability_check,
            options.enable_key_availability_check,
            Switch::DisableKeyAvailabilityCheck,
        ),
        (
            options.enable_validate_key_at_init,
            options.disable_validate_key_at_init,
            Switch::ValidateKeyAtInit,
        ),
    ] {
        if on || off {
            document.set_option(switch, on);
        }
    }
    if let Some(mode) = options.default_retry_mode {
        document.set_retry_mode(mode.into());
    }
    if let Some(kind) = options.log_type {
        document.set_log_terminal(kind == grammar::LogType::Term);
    }
    if let Some(file) = &options.log_file {
        document.set_log_file(&absolute(file)?);
    }
    if let Some(level) = options.log_level {
        document.set_log_level(level.into());
    }
    if let Some(rotation) = options.log_rotation {
        document.set_log_rotation(rotation.into());
    }
    Ok(())
}

/// Names the HSMs and asks each who it is. A pin of an earlier cluster is given up, unless
/// `--cluster-key` says which one must be met; then an HSM that does not answer is only reported.
fn bootstrap(
    options: &Options,
    document: &mut Document,
    probe: Probe<'_>,
    report: &mut String,
) -> Result<Option<Identity>, Error> {
    document.set_servers(&options.address);
    let pinned = !options.cluster_key.is_empty();
    if !pinned {
        document.set_cluster_keys(&[]);
    }
    let mut known: Option<Identity> = None;
    for server in &options.address {
        let identity = match probe(document, server) {
            Ok(identity) => identity,
            Err(error @ strongroom_client::Error::Connection(_)) if pinned => {
                *report += &format!("Not reached: {error}\n");
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        match &known {
            // Those that are pinned are good side by side, while the cluster gets a new one.
            Some(first) if !pinned && first.cluster_key != identity.cluster_key => {
                return Err(Error::usage(format!(
                    "{server} belongs to {}, the HSMs before it to {}",
                    identity.cluster_id, first.cluster_id
                )));
            }
            _ => {
                *report += &format!("HSM:         {} at {server}\n", identity.hsm_id);
                known = Some(identity);
            }
        }
    }
    Ok(known)
}

fn absolute(path: &Path) -> Result<std::path::PathBuf, Error> {
    std::path::absolute(path).map_err(Error::file(path))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn identity(key: u8) -> Identity {
        Identity {
            cluster_id: format!("cluster-{key}"),
            hsm_id: "hsm-1".into(),
            cluster_key: [key; 32],
        }
    }

    struct Folder(std::path::PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path =
                std::env::temp_dir().join(format!("configure-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            std::fs::write(path.join("customerCA.crt"), "a certificate").unwrap();
            Self(path)
        }

        fn configure(&self, options: &str, probe: Probe<'_>) -> Result<String, Error> {
            let ca = self.0.join("customerCA.crt").display().to_string();
            let file = self.0.join("client.json").display().to_string();
            let words: Vec<String> = format!("configure-cli --config {file} {options}")
                .split_whitespace()
                .map(|word| word.replace("CA", &ca))
                .collect();
            let options =
                Options::try_parse_from(words).map_err(|e| Error::usage(e.to_string()))?;
            run(&options, &Environment::default(), probe)
        }

        fn json(&self) -> serde_json::Value {
            let text = std::fs::read_to_string(self.0.join("client.json")).unwrap();
            serde_json::from_str(&text).unwrap()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn nobody(_: &Document, _: &Server) -> Result<Identity, strongroom_client::Error> {
        Err(strongroom_client::Error::Connection("refused".into()))
    }

    #[test]
    fn the_address_is_recorded_with_the_cluster_key_that_was_met() {
        let folder = Folder::new("address");
        let report = folder
            .configure("-a 127.0.1.10 127.0.2.10:3223 --hsm-ca-cert CA", &|_, _| Ok(identity(7)))
            .ok()
            .unwrap();
        assert!(report.contains("cluster-7") && report.contains(&"07".repeat(32)), "{report}");
        let json = folder.json();
        assert_eq!(json["cluster_key"], "07".repeat(32));
        let cluster = &json["clusters"][0]["cluster"];
        assert_eq!(cluster["servers"][0]["hostname"], "127.0.1.10");
        assert_eq!(cluster["servers"][0]["port"], 2223);
        assert_eq!(cluster["servers"][1]["port"], 3223);
        assert!(cluster["hsm_ca_file"].as_str().unwrap().ends_with("customerCA.crt"));
    }

    #[test]
    fn nothing_is_written_where_an_hsm_cannot_be_trusted_or_reached() {
        let folder = Folder::new("nothing");
        assert!(folder.configure("-a 127.0.1.10 --hsm-ca-cert CA", &nobody).is_err());
        let split = |_: &Document, server: &Server| {
            Ok(identity(if server.hostname == "127.0.1.10" { 1 } else { 2 }))
        };
        assert!(folder.configure("-a 127.0.1.10 127.0.2.10 --hsm-ca-cert CA", &split).is_err());
        assert!(!folder.0.join("client.json").exists());
    }

    #[test]
    fn a_known_cluster_key_needs_no_connection_now() {
        let folder = Folder::new("pinned");
        let pin = "ab".repeat(32);
        let options = format!("-a 127.0.1.10 --hsm-ca-cert CA --cluster-key {pin}");
        let report = folder.configure(&options, &nobody).ok().unwrap();
        assert!(report.contains("Not reached"), "{report}");
        assert_eq!(folder.json()["cluster_key"], pin);
        // Another cluster's answer is refused by the client, which has the pin by then.
        let refused = |document: &Document, _: &Server| {
            assert!(document.to_json().contains(&"ab".repeat(32)));
            Err(strongroom_client::Error::Trust("cluster key".into()))
        };
        assert!(folder.configure(&options, &refused).is_err());
    }

    #[test]
    fn options_change_what_they_name_and_leave_the_rest() {
        let folder = Folder::new("options");
        folder.configure("-a 127.0.1.10 --hsm-ca-cert CA", &|_, _| Ok(identity(7))).ok().unwrap();
        folder
            .configure(
                "--disable-key-availability-check --disable-validate-key-at-init \
                 --default-retry-mode off --log-type file --log-file /var/log/s.log \
                 --log-level debug --log-rotation hourly",
                &nobody,
            )
            .ok()
            .unwrap();
        let json = folder.json();
        assert_eq!(json["cluster_key"], "07".repeat(32));
        let options = &json["clusters"][0]["cluster"]["options"];
        assert_eq!(options["disable_key_availability_check"], true);
        assert_eq!(options["validate_key_at_init"], false);
        assert_eq!(options["default_retry_mode"], "off");
        assert_eq!(json["logging"]["log_file"], "/var/log/s.log");
        assert_eq!(json["logging"]["log_level"], "debug");
        assert_eq!(json["logging"]["log_interval"], "hourly");
        folder.configure("--enable-key-availability-check", &nobody).ok().unwrap();
        let json = folder.json();
        assert_eq!(
            json["clusters"][0]["cluster"]["options"]["disable_key_availability_check"],
            false
        );
    }

    #[test]
    fn opposite_options_and_half_addresses_are_refused() {
        let folder = Folder::new("refused");
        for bad in [
            "--enable-key-availability-check --disable-key-availability-check",
            "--cluster-key abcd",
            "-a 127.0.1.10:99999",
            "--log-level loud",
        ] {
            assert!(folder.configure(bad, &nobody).is_err(), "{bad}");
        }
    }
}
