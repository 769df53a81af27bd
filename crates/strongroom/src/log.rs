//! What is logged and where: standard error, which is the log file of a detached HSM.

use tracing_subscriber::EnvFilter;

use crate::arguments::Command;

/// Begins to log. `STRONGROOM_LOG` says how much, in tracing's syntax; an HSM says more by itself
/// than a command, whose output is for people.
pub(crate) fn start(command: &Command) {
    let default = match command {
        // openraft takes every message that does not arrive for an error; what matters of it, the
        // cluster crate says.
        Command::Hsm(_) => "info,openraft=off",
        _ => "warn",
    };
    let filter =
        EnvFilter::try_from_env("STRONGROOM_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        .init();
}
