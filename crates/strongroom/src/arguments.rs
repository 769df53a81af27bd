//! The command line. Nothing secret may be given on it: other processes can read it.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::region::Region;

/// Strongroom, an open CloudHSM.
#[derive(Parser)]
#[command(name = "strongroom", version, about, after_help = AFTER_HELP)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER_HELP: &str = "Also: strongroom cloudhsm-cli …, strongroom configure-pkcs11 … (or links of \
those names to this program).\nSTRONGROOM_LOG sets what is logged: error, warn, info, debug, trace.";

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Set up and run a region on this machine, or start it again: HSMs, their owner's CA, an admin,
    /// a crypto user, keys, a first signature
    Up(UpOptions),
    /// Stop the region; its keys stay in its folder
    Down(RegionOptions),
    /// Say how the region does
    Status {
        #[command(flatten)]
        region: RegionOptions,
        /// For programs
        #[arg(long)]
        json: bool,
        /// With a hash of each HSM's state: HSMs with the same log index have the same one
        #[arg(long)]
        digest: bool,
    },
    /// Put a new HSM in the place of one that has failed; its keys come from the others
    Replace {
        /// Which HSM goes
        #[arg(value_name = "hsm-…")]
        hsm_id: String,
        #[command(flatten)]
        region: RegionOptions,
    },
    /// Have one HSM leave: it hands its work over, destroys its secrets and says so; the others go on
    Leave {
        /// Which HSM goes
        #[arg(value_name = "hsm-…")]
        hsm_id: String,
        #[command(flatten)]
        region: RegionOptions,
    },
    /// Destroy one HSM's secrets at once, as a tamper input does; `replace` makes a new one
    Zeroise {
        /// Whose secrets
        #[arg(value_name = "hsm-…")]
        hsm_id: String,
        #[command(flatten)]
        region: RegionOptions,
        /// Also where no other HSM has the keys: they are lost for ever then
        #[arg(long)]
        force: bool,
    },
    /// After the majority of HSMs is lost for ever: go on with those that are left
    Recover(RecoverOptions),
    /// Print what a shell needs to use the region: eval "$(strongroom env)"
    Env {
        #[command(flatten)]
        region: RegionOptions,
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// Run one HSM
    Hsm(HsmOptions),
    /// Print the version
    Version,
    /// The part of `up` that uses the region as a program does: keys and a signature, by PKCS#11
    #[command(hide = true)]
    FirstUse {
        #[arg(long)]
        dir: PathBuf,
    },
}

#[derive(Args)]
pub(crate) struct RegionOptions {
    /// The region's folder [default: $STRONGROOM_DIR, else region beside the build, else
    /// ~/.local/share/strongroom/region]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl RegionOptions {
    pub(crate) fn region(&self) -> Region {
        match &self.dir {
            Some(dir) => Region::at(dir),
            None => Region::default(),
        }
    }
}

#[derive(Args)]
pub(crate) struct UpOptions {
    #[command(flatten)]
    pub(crate) region: RegionOptions,
    /// How many HSMs, 1 to 28: a region that has fewer grows, one that has more shrinks [default: as
    /// many as it has; 3 for a new one]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=28))]
    pub(crate) hsms: Option<u8>,
    /// With two HSMs: a third vote, by a process that has no keys, so that changes go on when one HSM
    /// is lost; it leaves when the region gets another number of HSMs
    #[arg(long)]
    pub(crate) witness: bool,
    /// Stay until the region is told to stop (SIGTERM, Ctrl-C, strongroom down)
    #[arg(long)]
    pub(crate) foreground: bool,
    /// Where the first HSM listens, and the others beside it; moves a region that is down [default:
    /// where it was, else 127.0.1.10]
    #[arg(long, value_name = "IP")]
    pub(crate) address: Option<IpAddr>,
    /// Added to ports 2223 and 2224, as with --address [default: what it was, else 0]
    #[arg(long, value_name = "N")]
    pub(crate) port_offset: Option<u16>,
}

#[derive(Args)]
pub(crate) struct RecoverOptions {
    #[command(flatten)]
    pub(crate) region: RegionOptions,
    /// The HSMs to go on with [default: those that answer]
    #[arg(long, value_name = "hsm-…", value_delimiter = ',')]
    pub(crate) survivors: Vec<String>,
    /// Sign with this private key: a PEM file of P-256, P-384 or RSA
    #[arg(long, value_name = "FILE")]
    pub(crate) sign_with: Vec<PathBuf>,
    /// A signature that was made elsewhere: the public key's PEM file, a colon, the signature's file
    #[arg(long, value_name = "FILE:FILE")]
    pub(crate) signature: Vec<String>,
}

#[derive(Args)]
pub(crate) struct HsmOptions {
    /// The data folder, made at the first start
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// A private HSM of this user on a UNIX socket in DIR; returns when it listens
    #[arg(long, conflicts_with_all = ["listen", "provisioner"])]
    pub(crate) local: bool,
    /// With --local: end after so many seconds without a connection
    #[arg(long, value_name = "S", default_value_t = 60)]
    pub(crate) idle_seconds: u64,
    /// The address to listen on, at ports 2223 (clients), 2224 (administration) and 2225 (HSMs)
    #[arg(long, value_name = "IP", required_unless_present = "local")]
    pub(crate) listen: Option<IpAddr>,
    /// Added to the ports
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) port_offset: u16,
    /// PEM file: the certificate whose key may administer this HSM
    #[arg(long, value_name = "FILE", required_unless_present = "local")]
    pub(crate) provisioner: Option<PathBuf>,
    /// For which programs the token is [default: cloudhsm; with --local: token]
    #[arg(long, value_enum)]
    pub(crate) personality: Option<PersonalityArgument>,
    /// How the root secret is kept
    #[arg(long, value_enum, default_value_t = SealArgument::File)]
    pub(crate) seal: SealArgument,
    /// With --seal passphrase: read it from this open descriptor instead of asking
    #[arg(long, value_name = "N")]
    pub(crate) passphrase_fd: Option<u32>,
    /// This HSM's id, at its first start [default: a random one]
    #[arg(long, value_name = "hsm-…")]
    pub(crate) hsm_id: Option<String>,
    /// Its cluster's id, at its first start [default: a random one]
    #[arg(long, value_name = "cluster-…")]
    pub(crate) cluster_id: Option<String>,
    /// The availability zone, told to clients, which prefer HSMs of their own
    #[arg(long, value_name = "ZONE", default_value = "", hide_default_value = true)]
    pub(crate) zone: String,
    /// At the first start: wait for a cluster that lets this HSM in, instead of making one
    #[arg(long, conflicts_with_all = ["local", "cluster_id"])]
    pub(crate) join: bool,
    /// With --join: only vote, and get no keys
    #[arg(long, requires = "join")]
    pub(crate) witness: bool,
    /// At the first start of a cluster's first HSM: who may let others join
    #[arg(long, value_enum, value_name = "WHO", default_value_t = JoinPolicyArgument::Owner)]
    pub(crate) join_policy: JoinPolicyArgument,
    /// Destroy this HSM's secrets when this file reads 1: a chassis switch, a GPIO's value
    #[arg(long, value_name = "FILE")]
    pub(crate) tamper_input: Option<std::path::PathBuf>,
    /// With --local: do not return, and log here
    #[arg(long)]
    pub(crate) foreground: bool,
    /// Started by another Strongroom process
    #[arg(long, hide = true)]
    pub(crate) detached: bool,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum PersonalityArgument {
    /// PIN user:password, one slot, no C_InitToken
    Cloudhsm,
    /// Plain PINs, C_InitToken, C_InitPIN
    Token,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum JoinPolicyArgument {
    /// The provisioner alone, who could then read keys: for `up` on one machine
    Automatic,
    /// The owner, by a certificate under its join key
    Owner,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SealArgument {
    /// A key file beside the data: for development
    File,
    /// A passphrase given at each start
    Passphrase,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn an_hsm_on_the_network_needs_an_address_and_a_provisioner() {
        let parse = |line: &str| Arguments::try_parse_from(line.split_whitespace()).is_ok();
        assert!(!parse("strongroom hsm --dir D"));
        assert!(!parse("strongroom hsm --dir D --listen 127.0.1.10"));
        assert!(parse("strongroom hsm --dir D --listen 127.0.1.10 --provisioner P"));
        assert!(parse(
            "strongroom hsm --dir D --listen 127.0.1.10 --provisioner P --join --witness"
        ));
        assert!(!parse("strongroom hsm --dir D --listen 127.0.1.10 --provisioner P --witness"));
        assert!(!parse("strongroom hsm --local --dir D --join"));
        assert!(parse("strongroom hsm --local --dir D"));
        assert!(!parse("strongroom hsm --local --dir D --listen 127.0.1.10"));
    }
}
