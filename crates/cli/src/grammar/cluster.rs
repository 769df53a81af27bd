//! `cluster …`: the HSMs of the cluster, and what its admins decide for it.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::PasswordArg;
use crate::attributes;

/// `cluster …`
#[derive(Subcommand)]
pub(crate) enum ClusterCommand {
    /// Set the first admin's password, which makes the cluster active.
    Activate {
        #[command(flatten)]
        password: PasswordArg,
    },
    /// List the HSMs of the cluster.
    HsmInfo,
    /// Who may let an HSM into the cluster.
    #[command(subcommand)]
    JoinPolicy(JoinPolicyCommand),
    /// HSMs that wait for the admins' approval.
    #[command(subcommand)]
    Join(JoinCommand),
    /// How long an HSM that is cut off from the majority goes on using keys.
    #[command(subcommand)]
    CutOffPolicy(CutOffPolicyCommand),
    /// Whose signatures recover a cluster that has lost its majority.
    #[command(subcommand)]
    RecoveryKeys(RecoveryKeysCommand),
    /// The owner's certificate of the cluster's newest key.
    #[command(subcommand)]
    Certificate(CertificateCommand),
}

impl ClusterCommand {
    /// Whether the command runs as a logged-in user.
    pub(crate) fn needs_login(&self) -> bool {
        matches!(
            self,
            Self::JoinPolicy(JoinPolicyCommand::Set(_))
                | Self::Join(JoinCommand::Approve { .. })
                | Self::CutOffPolicy(CutOffPolicyCommand::Set { .. })
                | Self::RecoveryKeys(RecoveryKeysCommand::Set { .. })
                | Self::Certificate(CertificateCommand::Install { .. })
        )
    }
}

/// `cluster join-policy …`
#[derive(Subcommand)]
pub(crate) enum JoinPolicyCommand {
    /// Show the policy.
    Show,
    /// Set the policy. HSMs that wait have to ask again.
    Set(JoinPolicyArgs),
}

/// A join policy.
#[derive(Args)]
pub(crate) struct JoinPolicyArgs {
    /// Who says that an HSM may join.
    #[arg(long)]
    pub(crate) policy: JoinPolicy,
    /// With `quorum`: how many admins must approve.
    #[arg(
        long,
        value_name = "N",
        required_if_eq("policy", "quorum"),
        value_parser = clap::value_parser!(u32).range(1..=20)
    )]
    pub(crate) approvals: Option<u32>,
}

/// Who says that an HSM may join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum JoinPolicy {
    /// Whoever administers the HSMs, who could then read keys.
    Automatic,
    /// The owner, by a certificate of the HSM under customerCA.
    Owner,
    /// So many admins, by the HSM's fingerprint.
    Quorum,
}

/// `cluster join …`
#[derive(Subcommand)]
pub(crate) enum JoinCommand {
    /// List the HSMs that wait.
    List,
    /// Approve one. Compare the fingerprint with what the HSM itself shows at its start.
    Approve {
        /// The SHA-256 of its device key, in hexadecimal.
        #[arg(long, value_name = "HEX", value_parser = fingerprint)]
        fingerprint: [u8; 32],
    },
}

/// `cluster cut-off-policy …`
#[derive(Subcommand)]
pub(crate) enum CutOffPolicyCommand {
    /// Show the policy.
    Show,
    /// Set the policy.
    Set {
        /// For so many seconds; `none` for not at all, `forever` without an end.
        #[arg(long, value_name = "S", value_parser = seconds)]
        seconds: u64,
    },
}

/// `cluster recovery-keys …`
#[derive(Subcommand)]
pub(crate) enum RecoveryKeysCommand {
    /// Show the keys, by the SHA-256 of each.
    Show,
    /// Set the keys. Without any, customerCA's key signs.
    Set {
        /// PEM files of public keys: P-256, P-384, or RSA from 2048 bits.
        #[arg(long, value_name = "FILE", num_args = 1..)]
        public_key: Vec<PathBuf>,
        /// How many of them must sign [default: all]
        #[arg(long, value_name = "N", requires = "public_key")]
        threshold: Option<u32>,
    },
}

/// `cluster certificate …`
#[derive(Subcommand)]
pub(crate) enum CertificateCommand {
    /// Write the certificate signing request of the cluster's newest key, for customerCA to sign.
    Csr {
        /// The file to write.
        #[arg(long, value_name = "FILE")]
        path: PathBuf,
    },
    /// Install the certificate. Clients refuse the older key from then on, once they pin the new one.
    Install {
        /// PEM file of the certificate, signed by customerCA.
        #[arg(long, value_name = "FILE")]
        path: PathBuf,
    },
}

fn fingerprint(text: &str) -> Result<[u8; 32], String> {
    let text = text.strip_prefix("0x").unwrap_or(text).replace(':', "");
    attributes::from_hex(&format!("0x{text}"))
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| "not 64 hexadecimal digits".to_owned())
}

fn seconds(text: &str) -> Result<u64, String> {
    match text {
        "none" => Ok(0),
        "forever" => Ok(u64::MAX),
        number => number.parse().map_err(|_| "not a number, `none` or `forever`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_written_with_or_without_colons() {
        let colons = ["ab"; 32].join(":");
        for text in ["ab".repeat(32), colons, format!("0x{}", "ab".repeat(32))] {
            assert_eq!(fingerprint(&text), Ok([0xab; 32]));
        }
        assert!(fingerprint("abcd").is_err());
    }

    #[test]
    fn a_time_is_a_number_or_one_of_two_words() {
        assert_eq!(seconds("none"), Ok(0));
        assert_eq!(seconds("3600"), Ok(3600));
        assert_eq!(seconds("forever"), Ok(u64::MAX));
        assert!(seconds("-1").is_err() && seconds("an hour").is_err());
    }
}
