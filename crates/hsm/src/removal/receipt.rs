//! A leaver's receipt: its word, under its device key, that its secrets are destroyed. With it, the
//! cluster's key and certificate stay as they are; without it they are replaced.

use prost::Message as _;
use rcgen::SigningKey as _;
use strongroom_pki::verify_message;
use strongroom_vault::Member;
use strongroom_wire::leaving::{RECEIPT_CONTEXT, Receipt, ReceiptStatement};

use crate::certificates::{CertificateError, P256Key};

/// Why a receipt does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the receipt {0}")]
pub(crate) struct NoReceipt(&'static str);

/// Signs a receipt.
///
/// # Errors
/// Where the backend fails.
pub(crate) fn sign_receipt(
    statement: &ReceiptStatement,
    device_key: &P256Key,
) -> Result<Vec<u8>, CertificateError> {
    let statement = statement.encode_to_vec();
    let signature = device_key.sign(&signed(&statement)).map_err(|e| CertificateError::Making {
        what: "receipt of this HSM",
        problem: e.to_string(),
    })?;
    Ok(Receipt { statement, signature }.encode_to_vec())
}

/// Checks that a receipt is `member`'s, of this cluster.
///
/// # Errors
/// [`NoReceipt`].
pub(crate) fn check_receipt(
    receipt: &[u8],
    member: &Member,
    cluster_id: &str,
) -> Result<ReceiptStatement, NoReceipt> {
    let receipt = Receipt::parse(receipt).map_err(|_| NoReceipt("does not decode"))?;
    verify_message(&member.device_key, &signed(&receipt.statement), &receipt.signature)
        .map_err(|_| NoReceipt("is not signed by the device key of that HSM"))?;
    let statement = ReceiptStatement::decode(receipt.statement.as_slice())
        .map_err(|_| NoReceipt("does not decode"))?;
    if statement.hsm_id != member.hsm_id || statement.node != member.node.0 {
        return Err(NoReceipt("is of another HSM, or of another life of it"));
    }
    if statement.cluster_id != cluster_id {
        return Err(NoReceipt("is of another cluster"));
    }
    Ok(statement)
}

fn signed(statement: &[u8]) -> Vec<u8> {
    [RECEIPT_CONTEXT, statement].concat()
}

#[cfg(test)]
mod tests {
    use strongroom_vault::NodeId;

    use super::*;

    const CLUSTER: &str = "cluster-abcdefghijk";

    fn leaver() -> (Member, P256Key, ReceiptStatement) {
        let key = P256Key::generate("device key of a test").unwrap();
        let member = Member {
            node: NodeId(3),
            hsm_id: "hsm-abcdefghijk".to_owned(),
            device_key: key.public_key(),
            ..Member::default()
        };
        let statement = ReceiptStatement {
            cluster_id: CLUSTER.to_owned(),
            hsm_id: member.hsm_id.clone(),
            node: 3,
            time_ms: 7,
        };
        (member, key, statement)
    }

    #[test]
    fn a_receipt_counts_for_the_member_that_signed_it() {
        let (member, key, statement) = leaver();
        let receipt = sign_receipt(&statement, &key).unwrap();
        assert_eq!(check_receipt(&receipt, &member, CLUSTER), Ok(statement));
    }

    #[test]
    fn a_receipt_of_another_key_member_or_cluster_does_not_count() {
        let (member, key, statement) = leaver();
        let receipt = sign_receipt(&statement, &key).unwrap();
        let other_life = Member { node: NodeId(4), ..member.clone() };
        let other_hsm = Member { hsm_id: "hsm-bbbbbbbbbbb".to_owned(), ..member.clone() };
        for other in [other_life, other_hsm] {
            assert!(check_receipt(&receipt, &other, CLUSTER).is_err());
        }
        assert!(check_receipt(&receipt, &member, "cluster-bbbbbbbbbbb").is_err());
        let forger = P256Key::generate("device key of a test").unwrap();
        assert!(
            check_receipt(&sign_receipt(&statement, &forger).unwrap(), &member, CLUSTER).is_err()
        );
    }

    #[test]
    fn no_bit_of_a_receipt_can_be_changed() {
        let (member, key, statement) = leaver();
        let receipt = sign_receipt(&statement, &key).unwrap();
        for bit in 0..receipt.len() * 8 {
            let mut changed = receipt.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(check_receipt(&changed, &member, CLUSTER).is_err(), "bit {bit}");
        }
        assert!(check_receipt(&[], &member, CLUSTER).is_err());
    }
}
