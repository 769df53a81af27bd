//! What the process may still do once it serves: use its data folder, and nothing else of the file
//! system; open no further TCP port, and no TCP connection but to other HSMs' port 2225.
//!
//! Landlock, from kernel 5.13 on, and for the network from 6.7. Best effort: a kernel without it is
//! logged and served on. It binds the calling thread and those that it starts later, so it comes
//! before the first thread.

use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, NetPort, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus, path_beneath_rules,
};

/// What SQLite, the C library and `status` read outside the folder.
const READABLE: [&str; 3] = ["/dev/urandom", "/dev/null", "/proc/self/statm"];

/// Confines this thread and its children to `folders`, to reading `watched`, and to connections to
/// `peer_port`.
pub(crate) fn confine(folders: &[&Path], watched: Option<&Path>, peer_port: Option<u16>) {
    match restrict(folders, watched, peer_port) {
        Ok(RulesetStatus::FullyEnforced) => tracing::debug!("confined to the data folder"),
        Ok(RulesetStatus::PartiallyEnforced) => {
            tracing::debug!("confined to the data folder as far as this kernel can");
        }
        Ok(RulesetStatus::NotEnforced) => {
            tracing::info!(
                "this kernel has no Landlock: the process is not confined to its folder"
            );
        }
        Err(e) => tracing::warn!("not confined to the data folder: {e}"),
    }
}

fn restrict(
    folders: &[&Path],
    watched: Option<&Path>,
    peer_port: Option<u16>,
) -> Result<RulesetStatus, RulesetError> {
    const ABI: ABI = ABI::V5;
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(ABI))?
        .handle_access(AccessNet::from_all(ABI))?
        .create()?
        .add_rules(path_beneath_rules(folders, AccessFs::from_all(ABI)))?
        .add_rules(path_beneath_rules(READABLE, AccessFs::from_read(ABI)))?
        .add_rules(path_beneath_rules(watched, AccessFs::from_read(ABI)))?
        .add_rules(peer_port.into_iter().flat_map(|port| {
            // Port 0 is any that the system chooses: calls leave from the HSM's own address.
            [NetPort::new(port, AccessNet::ConnectTcp), NetPort::new(0, AccessNet::BindTcp)]
                .map(Ok::<_, RulesetError>)
        }))?
        .restrict_self()?;
    Ok(status.ruleset)
}
