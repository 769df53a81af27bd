//! `cluster …`

use std::path::Path;

use serde_json::{Value, json};
use strongroom_crypto::Hash;
use strongroom_wire::message::{
    ActivateCluster, ApproveJoin, ClusterCsr, ClusterInfo, ClusterInfoReply, HsmInfo,
    InstallClusterCertificate, JoinPolicy as WirePolicy, Operation, Outcome, SetCutOffPolicy,
    SetJoinPolicy, SetRecoveryKeys,
};

use super::{Prompt, Session, confirmed};
use crate::error::Error;
use crate::grammar::{
    CertificateCommand, ClusterCommand, CutOffPolicyCommand, JoinCommand, JoinPolicy,
    JoinPolicyArgs, JoinPolicyCommand, RecoveryKeysCommand,
};

pub(super) fn run(
    session: &mut Session,
    command: &ClusterCommand,
    prompt: &mut dyn Prompt,
) -> Result<Value, Error> {
    match command {
        ClusterCommand::Activate { password } => {
            let password = match &password.password {
                Some(given) => given.clone(),
                None => confirmed(prompt)?,
            };
            session.backend.call(Operation::ActivateCluster(ActivateCluster {
                password: password.as_bytes().to_vec(),
            }))?;
            Ok(json!("Cluster activation successful"))
        }
        ClusterCommand::HsmInfo => hsm_info(session),
        ClusterCommand::JoinPolicy(JoinPolicyCommand::Show) => {
            Ok(policy(&info(session)?.join_policy.unwrap_or_default()))
        }
        ClusterCommand::JoinPolicy(JoinPolicyCommand::Set(args)) => set_policy(session, args),
        ClusterCommand::Join(JoinCommand::List) => waiting(session),
        ClusterCommand::Join(JoinCommand::Approve { fingerprint }) => {
            let fingerprint = fingerprint.to_vec();
            session.backend.call(Operation::ApproveJoin(ApproveJoin { fingerprint }))?;
            Ok(message("HSM approved"))
        }
        ClusterCommand::CutOffPolicy(CutOffPolicyCommand::Show) => {
            Ok(cut_off(info(session)?.cut_off_policy.unwrap_or_default().seconds))
        }
        ClusterCommand::CutOffPolicy(CutOffPolicyCommand::Set { seconds }) => {
            let set = SetCutOffPolicy { seconds: *seconds };
            session.backend.call(Operation::SetCutOffPolicy(set))?;
            Ok(cut_off(*seconds))
        }
        ClusterCommand::RecoveryKeys(command) => recovery_keys(session, command),
        ClusterCommand::Certificate(command) => certificate(session, command),
    }
}

fn info(session: &mut Session) -> Result<ClusterInfoReply, Error> {
    match session.backend.call(Operation::ClusterInfo(ClusterInfo {}))? {
        Some(Outcome::ClusterInfo(info)) => Ok(info),
        _ => Err(Error::Answer("ClusterInfo")),
    }
}

/// CloudHSM's list. The HSM that answers says what all are: they run one program. A witness is not
/// among them: it holds no keys.
fn hsm_info(session: &mut Session) -> Result<Value, Error> {
    let Some(Outcome::HsmInfo(hsm)) = session.backend.call(Operation::HsmInfo(HsmInfo {}))? else {
        return Err(Error::Answer("HsmInfo"));
    };
    let members = info(session)?.members.into_iter().filter(|member| !member.witness);
    let mut ids: Vec<String> = members.map(|member| member.hsm_id).collect();
    if ids.is_empty() {
        // A local HSM is of no cluster that one could list.
        ids.push(hsm.serial_number.clone());
    }
    let (major, minor, build) = (hsm.version_major, hsm.version_minor, hsm.version_build);
    let hsms: Vec<Value> = ids
        .iter()
        .map(|id| {
            json!({
                "vendor": hsm.vendor,
                "model": hsm.model,
                "serial-number": id,
                // There is no hardware whose version could be told.
                "hardware-version-major": "0",
                "hardware-version-minor": "0",
                "firmware-version-major": major.to_string(),
                "firmware-version-minor": minor.to_string(),
                "firmware-build-number": build.to_string(),
                "firmware-id": format!("STRONGROOM-{major}.{minor:02}-{build:02}"),
                "fips-state": if hsm.fips_mode {
                    "2 [FIPS mode with single factor authentication]"
                } else {
                    "0 [non-FIPS mode with single factor authentication]"
                }
            })
        })
        .collect();
    Ok(json!({ "hsms": hsms }))
}

fn set_policy(session: &mut Session, args: &JoinPolicyArgs) -> Result<Value, Error> {
    let wire = match args.policy {
        JoinPolicy::Automatic => WirePolicy::Automatic,
        JoinPolicy::Owner => WirePolicy::Owner,
        JoinPolicy::Quorum => WirePolicy::Quorum,
    };
    let approvals = match args.policy {
        JoinPolicy::Quorum => args.approvals.unwrap_or_default(),
        _ if args.approvals.is_some() => {
            return Err(Error::usage("--approvals goes with --policy quorum"));
        }
        _ => 0,
    };
    let set = SetJoinPolicy { policy: wire.into(), approvals };
    session.backend.call(Operation::SetJoinPolicy(set))?;
    Ok(policy(&set))
}

fn policy(set: &SetJoinPolicy) -> Value {
    match set.policy() {
        WirePolicy::Automatic => json!({ "join-policy": "automatic" }),
        WirePolicy::Owner => json!({ "join-policy": "owner" }),
        WirePolicy::Quorum => json!({ "join-policy": "quorum", "approvals": set.approvals }),
    }
}

fn waiting(session: &mut Session) -> Result<Value, Error> {
    let info = info(session)?;
    let waiting: Vec<Value> = info
        .waiting
        .iter()
        .map(|request| {
            json!({
                "serial-number": request.hsm_id,
                "address": request.address,
                "fingerprint": hex(&request.fingerprint),
                "approved-by": request.approved_by,
            })
        })
        .collect();
    Ok(json!({ "waiting": waiting }))
}

fn cut_off(seconds: u64) -> Value {
    match seconds {
        0 => json!({ "cut-off-seconds": "none" }),
        u64::MAX => json!({ "cut-off-seconds": "forever" }),
        seconds => json!({ "cut-off-seconds": seconds }),
    }
}

fn recovery_keys(session: &mut Session, command: &RecoveryKeysCommand) -> Result<Value, Error> {
    let set = match command {
        RecoveryKeysCommand::Show => info(session)?.recovery_keys.unwrap_or_default(),
        RecoveryKeysCommand::Set { public_key, threshold } => {
            let keys = public_key.iter().map(|path| public_key_of(path));
            let keys = keys.collect::<Result<Vec<_>, _>>()?;
            let all = u32::try_from(keys.len()).unwrap_or(u32::MAX);
            let set = SetRecoveryKeys { keys, threshold: threshold.unwrap_or(all) };
            session.backend.call(Operation::SetRecoveryKeys(set.clone()))?;
            set
        }
    };
    if set.keys.is_empty() {
        return Ok(json!({ "recovery-keys": [], "threshold": 1, "signer": "customerCA" }));
    }
    let keys: Vec<String> =
        set.keys.iter().map(|key| hex(Hash::Sha256.digest(key).as_slice())).collect();
    Ok(json!({ "recovery-keys": keys, "threshold": set.threshold }))
}

/// SubjectPublicKeyInfo, DER.
fn public_key_of(path: &Path) -> Result<Vec<u8>, Error> {
    let pem = read(path)?;
    match pem_rfc7468::decode_vec(pem.as_bytes()) {
        Ok(("PUBLIC KEY", der)) => Ok(der),
        // The error must not show what the file holds: it may be a private key.
        _ => Err(Error::usage(format!("{} is no public key in PEM form", path.display()))),
    }
}

fn certificate(session: &mut Session, command: &CertificateCommand) -> Result<Value, Error> {
    match command {
        CertificateCommand::Csr { path } => {
            let reply = match session.backend.call(Operation::ClusterCsr(ClusterCsr {}))? {
                Some(Outcome::ClusterCsr(reply)) => reply,
                _ => return Err(Error::Answer("ClusterCsr")),
            };
            std::fs::write(path, reply.csr).map_err(Error::file(path))?;
            Ok(json!({ "path": path, "generation": reply.generation }))
        }
        CertificateCommand::Install { path } => {
            let install = InstallClusterCertificate { signed_certificate: read(path)? };
            session.backend.call(Operation::InstallClusterCertificate(install))?;
            Ok(message("Cluster certificate installed"))
        }
    }
}

fn read(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(Error::file(path))
}

fn message(text: &str) -> Value {
    json!({ "message": text })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
