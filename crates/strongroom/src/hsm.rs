//! `strongroom hsm`: one HSM in this process, or a local one in a process of its own.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use strongroom_hsm::{Config, Endpoint, FirstJoinPolicy, PassphraseSource, SealKind};
use strongroom_vault::Personality;

use crate::arguments::{HsmOptions, JoinPolicyArgument, PersonalityArgument, SealArgument};
use crate::error::Error;

/// Runs an HSM until it is told to stop. With `--local`: until it listens, in the background.
///
/// # Errors
/// Why it did not start, or could not go on.
pub(crate) fn run(options: &HsmOptions) -> Result<(), Error> {
    let config = config(options)?;
    if options.local && !options.foreground && !options.detached {
        strongroom_hsm::start_local(&config, std::env::args_os().skip(1))?;
    } else {
        strongroom_hsm::run(&config)?;
    }
    Ok(())
}

fn config(options: &HsmOptions) -> Result<Config, Error> {
    let personality = match (options.personality, options.local) {
        (Some(PersonalityArgument::Token), _) | (None, true) => Personality::Token,
        (Some(PersonalityArgument::Cloudhsm), _) | (None, false) => Personality::CloudHsm,
    };
    let seal = match (options.seal, options.passphrase_fd) {
        (SealArgument::File, None) => SealKind::File,
        (SealArgument::File, Some(_)) => {
            return Err(Error::Usage("--passphrase-fd goes with --seal passphrase".to_owned()));
        }
        (SealArgument::Passphrase, Some(descriptor)) => {
            SealKind::Passphrase(PassphraseSource::Descriptor(descriptor))
        }
        (SealArgument::Passphrase, None) => {
            SealKind::Passphrase(PassphraseSource::CredentialOrPrompt)
        }
    };
    Ok(Config {
        folder: options.dir.clone(),
        endpoint: endpoint(options)?,
        personality,
        seal,
        hsm_id: options.hsm_id.clone(),
        cluster_id: options.cluster_id.clone(),
        zone: options.zone.clone(),
        join: options.join,
        witness: options.witness,
        join_policy: match options.join_policy {
            JoinPolicyArgument::Automatic => FirstJoinPolicy::Automatic,
            JoinPolicyArgument::Owner => FirstJoinPolicy::Owner,
        },
        tamper_input: options.tamper_input.clone(),
        detached: options.detached,
    })
}

fn endpoint(options: &HsmOptions) -> Result<Endpoint, Error> {
    if options.local {
        return Ok(Endpoint::Local { idle: Duration::from_secs(options.idle_seconds) });
    }
    let missing = || Error::Usage("an HSM needs --listen and --provisioner, or --local".to_owned());
    let address: IpAddr = options.listen.ok_or_else(missing)?;
    let provisioner: PathBuf = options.provisioner.clone().ok_or_else(missing)?;
    Ok(Endpoint::Network { address, port_offset: options.port_offset, provisioner })
}
