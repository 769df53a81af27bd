//! `strongroom recover`: a cluster whose majority is lost for ever goes on with the HSMs that are left,
//! on the word of those who may say so.
//!
//! The HSM checks the signatures, not this program: by the recovery keys that admins have set, or
//! by customerCA.

use std::path::{Path, PathBuf};

use strongroom_seal::write_atomically;
use strongroom_wire::admin::{RecoverySignature, RecoveryStatementReply};

use crate::administration::Administration;
use crate::arguments::RecoverOptions;
use crate::error::Error;
use crate::members;
use crate::owner;
use crate::region::{HsmDescription, Region};
use crate::steps::say;

/// Says what a recovery would do; with enough signatures, does it.
///
/// # Errors
/// Where no HSM is left, or the one with the newest state refuses.
pub(crate) fn run(options: &RecoverOptions) -> Result<(), Error> {
    let region = options.region.region();
    let description = region.description()?;
    let survivors = survivors(&region, &description.hsms, &options.survivors)?;
    let (mut administration, reply) = prepare(&region, &survivors)?;
    let signed_before = !options.signature.is_empty();
    let file = region.recovery_statement();
    for line in &reply.explanation {
        say(format_args!("  {line}"));
    }
    // What was signed is what counts, not what would be said now.
    let statement = if signed_before {
        std::fs::read(&file).map_err(Error::file(&file))?
    } else {
        write_atomically(&file, &reply.statement)?;
        reply.statement
    };
    let mut signatures = Vec::new();
    for key in &options.sign_with {
        let (key, signature) = owner::sign(key, &statement)?;
        signatures.push(RecoverySignature { key, signature });
    }
    for pair in &options.signature {
        signatures.push(signature_from(pair)?);
    }
    if signatures.is_empty() {
        say_how_to_sign(&region, &file, reply.threshold);
        return Ok(());
    }
    administration.recover(statement, signatures)?;
    say(format_args!(
        "The cluster goes on with {} of {} HSMs. `strongroom replace HSM-ID{option}` makes new ones \
         for those that are lost; `strongroom status{option}` says what else there is to do.",
        survivors.len(),
        description.hsms.len(),
        option = region.option(),
    ));
    Ok(())
}

/// What is to be signed, from the survivor that has come furthest: the others refuse to say.
fn prepare(
    region: &Region,
    survivors: &[HsmDescription],
) -> Result<(Administration, RecoveryStatementReply), Error> {
    let ids: Vec<String> = survivors.iter().map(|hsm| hsm.hsm_id.clone()).collect();
    let nothing = "no HSM of the region answers: there is nothing left";
    let mut refused = Error::NoMember(nothing.to_owned());
    for hsm in survivors {
        let mut administration = Administration::connect(region, hsm)?;
        match administration.recovery_statement(ids.clone()) {
            Ok(reply) => return Ok((administration, reply)),
            Err(e @ Error::Refused(_)) => refused = e,
            Err(e) => return Err(e),
        }
    }
    Err(refused)
}

/// The HSMs to go on with: those that are named, else those that answer and have the keys.
fn survivors(
    region: &Region,
    hsms: &[HsmDescription],
    named: &[String],
) -> Result<Vec<HsmDescription>, Error> {
    for id in named {
        if !hsms.iter().any(|hsm| hsm.hsm_id == *id) {
            return Err(Error::Usage(format!("the region has no HSM {id}")));
        }
    }
    let mut survivors = Vec::new();
    for (hsm, status) in hsms.iter().zip(members::statuses(region, hsms)) {
        let is_named = named.contains(&hsm.hsm_id);
        match status {
            Ok(_) if is_named || (named.is_empty() && !hsm.witness) => survivors.push(hsm.clone()),
            Err(e) if is_named => return Err(e),
            _ => {}
        }
    }
    Ok(survivors)
}

/// `PUBLIC-KEY.pem:SIGNATURE`, two files.
fn signature_from(pair: &str) -> Result<RecoverySignature, Error> {
    let (key, signature) = pair.split_once(':').ok_or_else(|| {
        Error::Usage("--signature takes PUBLIC-KEY.pem:SIGNATURE, two files".to_owned())
    })?;
    let (key, signature) = (PathBuf::from(key), PathBuf::from(signature));
    let signature = std::fs::read(&signature).map_err(Error::file(&signature))?;
    Ok(RecoverySignature { key: owner::read_public_key(&key)?, signature })
}

fn say_how_to_sign(region: &Region, statement: &Path, threshold: u32) {
    let option = region.option();
    say(format_args!(
        "\nNothing is changed yet. It takes the signatures of {threshold} of the recovery keys (of \
         customerCA where none are set) over {file}:\n  \
         openssl dgst -sha256 -sign KEY.pem -out KEY.sig {file}\n  \
         openssl pkey -in KEY.pem -pubout -out KEY.pub\n  \
         strongroom recover{option} --signature KEY.pub:KEY.sig …\n\
         or, where the keys are here (customerCA.key of a region for trying out):\n  \
         strongroom recover{option} --sign-with KEY.pem …",
        file = statement.display(),
    ));
}
