//! `strongroom env`: what a shell needs to use a region.

use crate::error::Error;
use crate::region::{self, Region};
use crate::steps::say;

/// Prints `export` lines, or a JSON object.
///
/// # Errors
/// Where there is no region, or it has not come to credentials yet.
pub(crate) fn run(region: &Region, json: bool) -> Result<(), Error> {
    let variables = variables(region)?;
    if json {
        let object: serde_json::Map<String, serde_json::Value> =
            variables.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
        say(format_args!("{:#}", serde_json::Value::Object(object)));
    } else {
        for (name, value) in variables {
            say(format_args!("export {name}={}", quoted(&value)));
        }
    }
    Ok(())
}

fn variables(region: &Region) -> Result<Vec<(&'static str, String)>, Error> {
    let description = region.description()?;
    let credentials = region.credentials()?.ok_or_else(|| Error::NoRegion(region.dir().into()))?;
    let text = |path: &std::path::Path| path.display().to_string();
    Ok(vec![
        ("STRONGROOM_DIR", text(region.dir())),
        ("STRONGROOM_CONFIG", text(&region.client_config())),
        ("STRONGROOM_PKCS11", text(&region::module()?)),
        ("CLOUDHSM_ROLE", "crypto-user".to_owned()),
        ("CLOUDHSM_PIN", credentials.pin.clone()),
        ("HSM_CA_FILE", text(&region.customer_ca().certificate)),
        ("CLUSTER_ID", description.cluster_id),
    ])
}

/// A word for a POSIX shell.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-:@%+=,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_back_every_word() {
        for word in ["", "plain/word-1.2", "two words", "it's", "$(reboot)", "`id`", "a;b\n\"c\\"] {
            let output = std::process::Command::new("sh")
                .arg("-c")
                .arg(format!("printf %s {}", quoted(word)))
                .output()
                .unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), word);
        }
    }
}
