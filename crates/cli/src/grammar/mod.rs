//! The one place where the commands of `cloudhsm-cli` are written down: parsing, help and the
//! manual follow from it.

//!
//! Here: the two modes and the users. In `cluster`, `key` and `crypto` the commands of those names,
//! in `values` what their options take.

mod cluster;
mod crypto;
mod key;
mod values;

use clap::{Args, Parser, Subcommand};

pub(crate) use cluster::{
    CertificateCommand, ClusterCommand, CutOffPolicyCommand, JoinCommand, JoinPolicy,
    JoinPolicyArgs, JoinPolicyCommand, RecoveryKeysCommand,
};
pub(crate) use crypto::{
    CryptoCommand, DataArgs, PssArgs, SignCommand, SignatureArgs, VerifyCommand,
};
pub(crate) use key::{KeyCommand, PairCommand, SymmetricCommand};
pub(crate) use values::{DataType, Encoding, Password, Role};

/// Manage the users and keys of a cluster of HSMs.
#[derive(Parser)]
#[command(name = "cloudhsm-cli", version, max_term_width = 100)]
pub(crate) struct Invocation {
    #[command(flatten)]
    pub(crate) cluster: ClusterArg,
    #[command(subcommand)]
    pub(crate) command: Start,
}

/// What a shell may start.
#[derive(Subcommand)]
pub(crate) enum Start {
    /// Start an interactive session: one login, many commands.
    Interactive,
    #[command(flatten)]
    Command(Command),
}

/// One line of an interactive session.
#[derive(Parser)]
#[command(name = "cloudhsm-cli", multicall = true, max_term_width = 100)]
pub(crate) struct Line {
    #[command(flatten)]
    pub(crate) cluster: ClusterArg,
    #[command(subcommand)]
    pub(crate) command: LineCommand,
}

/// What may stand on a line.
#[derive(Subcommand)]
pub(crate) enum LineCommand {
    /// End the session.
    #[command(visible_alias = "exit")]
    Quit,
    #[command(flatten)]
    Command(Command),
}

/// The cluster that a command is for.
#[derive(Args, Clone)]
pub(crate) struct ClusterArg {
    /// The cluster to run against; an error where it is not the configured one.
    #[arg(long, global = true, value_name = "CLUSTER_ID")]
    pub(crate) cluster_id: Option<String>,
}

/// Commands of both modes.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Log in to the cluster.
    Login(Credentials),
    /// Log out of the cluster.
    Logout,
    /// The cluster as a whole.
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// Users.
    #[command(subcommand)]
    User(UserCommand),
    /// Keys.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Signatures.
    #[command(subcommand)]
    Crypto(CryptoCommand),
}

impl Command {
    /// Whether the command runs as a logged-in user.
    pub(crate) fn needs_login(&self) -> bool {
        match self {
            Self::Login(_) | Self::Logout | Self::User(UserCommand::List) => false,
            Self::Cluster(command) => command.needs_login(),
            _ => true,
        }
    }
}

/// `user …`
#[derive(Subcommand)]
pub(crate) enum UserCommand {
    /// Create a user.
    Create(Credentials),
    /// List all users.
    List,
    /// Change a user's password.
    ChangePassword(Credentials),
    /// Delete a user.
    Delete(UserArg),
}

/// `--username`, `--role`
#[derive(Args)]
pub(crate) struct UserArg {
    /// User name. Upper and lower case are the same.
    #[arg(long, value_parser = |name: &str| Ok::<_, String>(name.to_lowercase()))]
    pub(crate) username: String,
    /// Role of the user.
    #[arg(long)]
    pub(crate) role: Role,
}

/// A user and a password.
#[derive(Args)]
pub(crate) struct Credentials {
    #[command(flatten)]
    pub(crate) user: UserArg,
    #[command(flatten)]
    pub(crate) password: PasswordArg,
}

/// `--password`
#[derive(Args)]
pub(crate) struct PasswordArg {
    /// The password. Without this option it is asked for, which is safer: other programs can read a
    /// command line, and shells keep it.
    #[arg(long, value_parser = |text: &str| Ok::<_, String>(Password::new(text.as_bytes().to_vec())))]
    pub(crate) password: Option<Password>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(line: &str) -> Result<Invocation, clap::Error> {
        Invocation::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_grammar_is_consistent() {
        Invocation::command().debug_assert();
        Line::command().debug_assert();
    }

    #[test]
    fn commands_of_the_user_guide_parse() {
        for line in [
            "cloudhsm-cli interactive --cluster-id cluster-abc",
            "cloudhsm-cli login --username admin1 --role admin",
            "cloudhsm-cli user create --username alice --role crypto-user",
            "cloudhsm-cli user list --cluster-id cluster-abc",
            "cloudhsm-cli user change-password --username bob --role crypto-user --password x",
            "cloudhsm-cli user delete --username alice --role crypto_user",
            "cloudhsm-cli cluster activate",
            "cloudhsm-cli cluster hsm-info",
            "cloudhsm-cli cluster join-policy show",
            "cloudhsm-cli cluster join-policy set --policy quorum --approvals 2",
            "cloudhsm-cli cluster join list",
            "cloudhsm-cli cluster cut-off-policy set --seconds forever",
            "cloudhsm-cli cluster recovery-keys set --public-key a.pem b.pem --threshold 2",
            "cloudhsm-cli cluster recovery-keys set",
            "cloudhsm-cli cluster certificate csr --path f",
            "cloudhsm-cli cluster certificate install --path f",
            "cloudhsm-cli key list --filter attr.key-type=rsa attr.class=private-key --verbose",
            "cloudhsm-cli key list --verbose --max-items 2 --starting-token 2",
            "cloudhsm-cli key list --filter",
            "cloudhsm-cli key generate-symmetric aes --label a --key-length-bytes 24 --attributes \
             decrypt=true encrypt=true",
            "cloudhsm-cli key generate-symmetric generic-secret --label g --key-length-bytes 256",
            "cloudhsm-cli key generate-asymmetric-pair rsa --public-exponent 65537 \
             --modulus-size-bits 2048 --public-label p --private-label q --private-attributes \
             decrypt=true --public-attributes encrypt=true --session",
            "cloudhsm-cli key generate-asymmetric-pair ec --curve secp256k1 --public-label p \
             --private-label q",
            "cloudhsm-cli key delete --filter attr.label=ec-test-public-key",
            "cloudhsm-cli key generate-file --encoding reference-pem --path /tmp/k.pem --filter \
             attr.label=ec-test-private-key",
            "cloudhsm-cli crypto sign rsa-pkcs-pss --key-filter attr.label=rsa-private \
             --hash-function sha256 --data YWJjMTIz --salt-length 10 --mgf mgf1-sha256",
            "cloudhsm-cli crypto verify ecdsa --hash-function sha256 --key-filter \
             attr.label=ec-public --data-path data.txt --signature-path signature-file",
        ] {
            let words = line.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(parse(&words).is_ok(), "{words}: {}", parse(&words).err().unwrap());
        }
    }

    #[test]
    fn what_is_missing_or_doubled_is_refused() {
        for line in [
            "cloudhsm-cli",
            "cloudhsm-cli quit",
            "cloudhsm-cli login --username a",
            "cloudhsm-cli login --username a --role root",
            "cloudhsm-cli key delete",
            "cloudhsm-cli cluster join-policy set --policy quorum",
            "cloudhsm-cli cluster join approve --fingerprint abcd",
            "cloudhsm-cli cluster recovery-keys set --threshold 1",
            "cloudhsm-cli key delete --filter",
            "cloudhsm-cli key generate-asymmetric-pair ec --curve secp112r1 --public-label p \
             --private-label q",
            "cloudhsm-cli crypto sign ecdsa --key-filter attr.label=x --hash-function sha256",
            "cloudhsm-cli crypto sign ecdsa --key-filter attr.label=x --hash-function sha256 \
             --data YQ== --data-path f",
            "cloudhsm-cli crypto sign ecdsa --key-filter attr.label=x --hash-function sha256 \
             --data not-base64!",
            "cloudhsm-cli crypto verify ecdsa --key-filter attr.label=x --hash-function sha256 \
             --data YQ==",
        ] {
            let words = line.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(parse(&words).is_err(), "{words}");
        }
    }

    #[test]
    fn options_whose_feature_is_not_there_are_not_offered() {
        for option in ["--approval f", "--deregister-mfa"] {
            let line = format!("cloudhsm-cli user create --username a --role admin {option}");
            assert!(parse(&line).is_err(), "{line}");
        }
    }

    #[test]
    fn user_names_are_lower_case_and_a_line_has_no_program_name() {
        let line = Line::try_parse_from(["login", "--username", "Alice", "--role", "admin"]);
        match line.ok().unwrap().command {
            LineCommand::Command(Command::Login(credentials)) => {
                assert_eq!(credentials.user.username, "alice");
            }
            _ => panic!("login was written"),
        }
        assert!(Line::try_parse_from(["quit"]).is_ok());
    }
}
