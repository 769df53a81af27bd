//! From a PEM file to the one certificate in it.

/// Why a text is not one certificate in PEM form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotPem(String);

/// The DER inside exactly one PEM certificate. Text around it is skipped: `openssl x509 -text` puts
/// words before it, and editors blanks behind it.
///
/// # Errors
/// Where there is none, more than one, or a block of another kind: a private key beside it, say,
/// which has no business there.
pub fn certificate_in_pem(pem: &str) -> Result<Vec<u8>, NotPem> {
    const BEGIN: &str = "-----BEGIN ";
    const END: &str = "-----END ";
    let blocks = pem.matches(BEGIN).count();
    if blocks != 1 {
        return Err(NotPem(format!("it has {blocks} PEM blocks, where exactly one is due")));
    }
    let begin = pem.find(BEGIN).unwrap_or_default();
    let block = &pem[begin..];
    let last_line = block.find(END).unwrap_or_default();
    let end = block[last_line..].find('\n').map_or(block.len(), |length| last_line + length);
    let (label, der) = pem_rfc7468::decode_vec(block[..end].trim_end().as_bytes())
        .map_err(|e| NotPem(e.to_string()))?;
    if label != "CERTIFICATE" {
        return Err(NotPem(format!("it is a {label}")));
    }
    Ok(der)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: &str = "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n";

    #[test]
    fn words_around_a_certificate_are_skipped() {
        for text in [
            BLOCK.to_owned(),
            format!("Certificate:\n    Data:\n{BLOCK}"),
            format!("{BLOCK}\n\n"),
            format!("{BLOCK}and words behind it\n"),
            BLOCK.replace('\n', "\r\n"),
            BLOCK.trim_end().to_owned(),
        ] {
            assert_eq!(certificate_in_pem(&text), Ok(vec![1, 2, 3]), "{text}");
        }
    }

    #[test]
    fn what_is_not_exactly_one_certificate_is_refused() {
        for text in [
            String::new(),
            "no certificate".to_owned(),
            format!("{BLOCK}{BLOCK}"),
            BLOCK.replace("CERTIFICATE", "PRIVATE KEY"),
            format!("{BLOCK}{}", BLOCK.replace("CERTIFICATE", "PRIVATE KEY")),
            BLOCK.replace("-----END CERTIFICATE-----", ""),
            BLOCK.replacen("CERTIFICATE", "CERTIFICATE REQUEST", 1),
            BLOCK.replace("AQID", "A?ID"),
        ] {
            assert!(certificate_in_pem(&text).is_err(), "{text}");
        }
    }
}
