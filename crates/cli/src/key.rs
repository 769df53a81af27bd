//! One key as the HSM describes it, and as the CLI shows it.

use cryptoki_sys::*;
use serde_json::{Map, Value, json};
use strongroom_crypto::{Curve, Scheme};
use strongroom_wire::message::{GetAttributes, Operation, Outcome};
use strongroom_wire::vendor::CKA_STRONGROOM_OWNER;

use crate::attributes::{self, ROWS, Row, Shape};
use crate::backend::Backend;
use crate::der;
use crate::error::Error;
use crate::key_file::PublicPart;

/// The readable attributes of one key.
pub(crate) struct Key {
    /// Its handle: the key reference.
    pub(crate) handle: u64,
    values: Vec<(u64, Vec<u8>)>,
}

impl Key {
    /// Reads all attributes of the table, in one request.
    pub(crate) fn read(backend: &mut dyn Backend, handle: u64) -> Result<Self, Error> {
        let stored = ROWS.iter().filter(|row| row.shape != Shape::Computed);
        let mut kinds: Vec<u64> = stored.map(|row| row.cka).collect();
        kinds.extend([CKA_VALUE_LEN, CKA_STRONGROOM_OWNER]);
        Self::read_some(backend, handle, kinds)
    }

    /// Reads some attributes, in one request. What the key does not have or does not give is left
    /// out.
    pub(crate) fn read_some(
        backend: &mut dyn Backend,
        handle: u64,
        kinds: Vec<u64>,
    ) -> Result<Self, Error> {
        match backend.call(Operation::GetAttributes(GetAttributes { handle, kinds }))? {
            Some(Outcome::Attributes(reply)) => {
                let values = reply
                    .attributes
                    .iter()
                    .filter(|attribute| attribute.status == CKR_OK)
                    .map(|attribute| (attribute.kind, attribute.value.clone()))
                    .collect();
                Ok(Self { handle, values })
            }
            _ => Err(Error::Answer("GetAttributes")),
        }
    }

    /// An attribute's value.
    pub(crate) fn value(&self, cka: u64) -> Option<&[u8]> {
        self.values.iter().find(|(kind, _)| *kind == cka).map(|(_, value)| value.as_slice())
    }

    fn number(&self, cka: u64) -> Option<u64> {
        self.value(cka)?.try_into().ok().map(u64::from_le_bytes)
    }

    /// CKA_CLASS.
    pub(crate) fn class(&self) -> Option<u64> {
        self.number(CKA_CLASS)
    }

    /// CKA_KEY_TYPE.
    pub(crate) fn key_type(&self) -> Option<u64> {
        self.number(CKA_KEY_TYPE)
    }

    /// The curve of an EC key.
    pub(crate) fn curve(&self) -> Option<Curve> {
        self.value(CKA_EC_PARAMS).and_then(Curve::from_params)
    }

    /// The public half of a key of a pair, where the key gives it.
    pub(crate) fn public_part(&self) -> Option<PublicPart> {
        match self.key_type()? {
            CKK_RSA => Some(PublicPart::Rsa {
                modulus: self.value(CKA_MODULUS)?.to_vec(),
                exponent: self.value(CKA_PUBLIC_EXPONENT)?.to_vec(),
            }),
            CKK_EC => Some(PublicPart::Ec {
                curve: self.curve()?,
                point: der::unwrap_point(self.value(CKA_EC_POINT)?)?.to_vec(),
            }),
            _ => None,
        }
    }

    /// The label, as text.
    pub(crate) fn label(&self) -> String {
        String::from_utf8_lossy(self.value(CKA_LABEL).unwrap_or_default()).into_owned()
    }

    /// `0x` and sixteen digits.
    pub(crate) fn reference(&self) -> String {
        Self::reference_of(self.handle)
    }

    /// The same for a handle.
    pub(crate) fn reference_of(handle: u64) -> String {
        format!("0x{handle:016x}")
    }

    /// The short form of `key list`.
    pub(crate) fn brief(&self) -> Value {
        json!({ "key-reference": self.reference(), "attributes": { "label": self.label() } })
    }

    /// The long form.
    pub(crate) fn full(&self) -> Value {
        let owner = self.value(CKA_STRONGROOM_OWNER).map(String::from_utf8_lossy);
        let owners: Vec<Value> =
            owner.iter().map(|name| json!({ "username": name, "key-coverage": "full" })).collect();
        json!({
            "key-reference": self.reference(),
            "key-info": {
                "key-owners": owners,
                "shared-users": [],
                "key-quorum-values": {
                    "manage-key-quorum-value": 0,
                    "use-key-quorum-value": 0
                },
                "cluster-coverage": "full"
            },
            "attributes": self.attributes()
        })
    }

    /// All attributes that this key has, in the table's order.
    pub(crate) fn attributes(&self) -> Map<String, Value> {
        ROWS.iter()
            .filter_map(|row| self.show(row).map(|value| (row.name.to_owned(), value)))
            .collect()
    }

    fn show(&self, row: &Row) -> Option<Value> {
        let value = self.value(row.cka);
        let named = |table: &[(&str, u64)]| {
            let number = self.number(row.cka)?;
            let name = table.iter().find(|(_, known)| *known == number).map(|(name, _)| *name);
            Some(name.map_or_else(|| json!(format!("0x{number:x}")), |name| json!(name)))
        };
        match row.shape {
            Shape::Flag => Some(json!(match value {
                Some(bytes) => bytes == [1],
                // A usage that the class does not have is one that is not allowed; a public key
                // can always be taken out.
                None => row.cka == CKA_EXTRACTABLE && self.class() == Some(CKO_PUBLIC_KEY),
            })),
            Shape::Text => Some(json!(self.label())),
            Shape::Identifier => Some(match value {
                Some([]) | None => json!(""),
                Some(bytes) => json!(attributes::to_hex(bytes)),
            }),
            // A generic secret has no check value: CloudHSM leaves it out.
            Shape::Hex => value.filter(|v| !v.is_empty()).map(|v| json!(attributes::to_hex(v))),
            Shape::Point => {
                value.and_then(der::unwrap_point).map(|point| json!(attributes::to_hex(point)))
            }
            Shape::Class => named(attributes::CLASSES),
            Shape::KeyType => named(attributes::KEY_TYPES),
            Shape::Curve => {
                let scheme = || self.value(CKA_EC_PARAMS).and_then(Scheme::from_params);
                let name = self.curve().map(Curve::name).or_else(|| scheme().map(Scheme::name));
                name.map(|name| json!(name))
            }
            Shape::Computed if row.name == "modulus-size-bits" => {
                self.value(CKA_MODULUS).map(|modulus| json!(bits(modulus)))
            }
            Shape::Computed => self.length_bytes().map(|length| json!(length)),
        }
    }

    /// `key-length-bytes` as CloudHSM counts: a secret's own length, a private key's length in
    /// PKCS#8, a public point's length, and twice an RSA modulus.
    fn length_bytes(&self) -> Option<u64> {
        let length = match (self.class()?, self.key_type()?) {
            (CKO_SECRET_KEY, _) => return self.number(CKA_VALUE_LEN),
            (CKO_PUBLIC_KEY, CKK_RSA) => 2 * self.value(CKA_MODULUS)?.len(),
            (_, CKK_EC) => {
                let curve = self.curve()?;
                let point = vec![0x04; 1 + 2 * curve.field_bytes()];
                if self.class() == Some(CKO_PUBLIC_KEY) {
                    point.len()
                } else {
                    PublicPart::Ec { curve, point }.private_key_bytes()
                }
            }
            _ => self.public_part()?.private_key_bytes(),
        };
        Some(length as u64)
    }
}

/// The length of a big-endian number in bits.
fn bits(number: &[u8]) -> u64 {
    let significant = &number[number.iter().take_while(|b| **b == 0).count()..];
    significant
        .first()
        .map_or(0, |first| 8 * significant.len() as u64 - u64::from(first.leading_zeros()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_counted_from_the_first_one() {
        assert_eq!(bits(&[]), 0);
        assert_eq!(bits(&[0, 0, 1]), 1);
        assert_eq!(bits(&[0xff; 256]), 2048);
    }
}
