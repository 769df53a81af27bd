//! Key filters: `key-reference=0x…` and `attr.NAME=VALUE`, all of which must hold.
//!
//! What PKCS#11 can search for, the HSM searches for; what only this program computes or completes
//! (a length, a usage that a class of keys does not have) is compared with the key as it is shown.

use serde_json::Value;
use strongroom_wire::message::Attribute;

use crate::attributes::{self, Row, Shape};
use crate::error::Error;

/// One word of a filter.
#[derive(Clone)]
pub(crate) enum Criterion {
    /// `key-reference=0x…`
    Reference(u64),
    /// `attr.NAME=VALUE`
    Attribute(&'static Row, Vec<u8>),
}

impl std::str::FromStr for Criterion {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (name, value) = text.split_once('=').ok_or_else(|| malformed(text))?;
        if name == "key-reference" {
            return reference(value)
                .map(Self::Reference)
                .ok_or_else(|| Error::usage(format!("'{value}' is not a key reference (0x…)")));
        }
        let row = attributes::find(name.strip_prefix("attr.").ok_or_else(|| malformed(text))?)?;
        Ok(Self::Attribute(row, row.parse(value)?))
    }
}

fn malformed(text: &str) -> Error {
    Error::usage(format!(
        "'{text}' is not a key filter: write key-reference=0x… or \
         attr.KEY_ATTRIBUTE_NAME=KEY_ATTRIBUTE_VALUE"
    ))
}

fn reference(text: &str) -> Option<u64> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"))?;
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
    plain.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
}

/// A whole filter.
#[derive(Default)]
pub(crate) struct Filter {
    /// The one key that it names, if it does.
    pub(crate) reference: Option<u64>,
    /// What the HSM searches for.
    pub(crate) search: Vec<Attribute>,
    /// What is compared here, with the attributes as they are shown.
    pub(crate) compare: Vec<(&'static Row, Vec<u8>)>,
}

impl Filter {
    /// Sorts the words of a filter. Two different references match nothing, which is an error.
    pub(crate) fn new(criteria: &[Criterion]) -> Result<Self, Error> {
        let mut filter = Self::default();
        for criterion in criteria {
            match criterion {
                Criterion::Reference(handle) => {
                    if filter.reference.replace(*handle).is_some_and(|other| other != *handle) {
                        return Err(Error::usage("A filter can name one key reference only"));
                    }
                }
                Criterion::Attribute(row, value) if searchable(row, value) => {
                    filter.search.push(attributes::attribute(row.cka, value.clone()));
                }
                Criterion::Attribute(row, value) => filter.compare.push((row, value.clone())),
            }
        }
        Ok(filter)
    }

    /// Whether the attributes of a key, as shown, satisfy what the HSM was not asked.
    pub(crate) fn admits(&self, attributes: &serde_json::Map<String, Value>) -> bool {
        self.compare.iter().all(|(row, wanted)| {
            attributes.get(row.name).is_some_and(|shown| match (row.shape, shown) {
                (Shape::Flag, Value::Bool(on)) => [u8::from(*on)] == wanted[..],
                (Shape::Computed, Value::Number(number)) => {
                    number.as_u64().map(attributes::ulong).as_ref() == Some(wanted)
                }
                (Shape::Point, Value::String(text)) => attributes::from_hex(text)
                    .is_some_and(|point| crate::der::octet_string(&point) == *wanted),
                _ => false,
            })
        })
    }
}

/// Whether the HSM's own search gives what the key's display says. A flag that a class of keys does
/// not have is shown as `false` (CKA_EXTRACTABLE of public keys as `true`) but matches no search,
/// and private EC keys have no CKA_EC_POINT of their own.
fn searchable(row: &Row, value: &[u8]) -> bool {
    match row.shape {
        Shape::Flag => value == [1] && row.name != "extractable",
        Shape::Computed | Shape::Point => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use cryptoki_sys::*;

    use super::*;

    fn parse(words: &[&str]) -> Result<Filter, Error> {
        let criteria: Result<Vec<Criterion>, Error> = words.iter().map(|w| w.parse()).collect();
        Filter::new(&criteria?)
    }

    #[test]
    fn a_reference_is_hexadecimal_with_its_prefix() {
        assert_eq!(parse(&["key-reference=0xabc"]).ok().unwrap().reference, Some(0xabc));
        assert_eq!(
            parse(&["key-reference=0x0000000000160010"]).ok().unwrap().reference,
            Some(0x16_0010)
        );
        for bad in ["key-reference=12", "key-reference=0x", "key-reference=0x+1", "key-reference"] {
            assert!(parse(&[bad]).is_err(), "{bad}");
        }
    }

    #[test]
    fn several_attributes_all_go_to_the_search() {
        let filter = parse(&[
            "attr.key-type=rsa",
            "attr.class=private-key",
            "attr.check-value=0x29bbd1",
            "attr.label=with = and spaces",
        ])
        .ok()
        .unwrap();
        let sent: Vec<_> = filter.search.iter().map(|a| (a.kind, a.value.clone())).collect();
        assert_eq!(
            sent,
            [
                (CKA_KEY_TYPE, attributes::ulong(CKK_RSA)),
                (CKA_CLASS, attributes::ulong(CKO_PRIVATE_KEY)),
                (CKA_CHECK_VALUE, vec![0x29, 0xbb, 0xd1]),
                (CKA_LABEL, b"with = and spaces".to_vec()),
            ]
        );
        assert!(filter.compare.is_empty());
    }

    #[test]
    fn what_only_the_display_knows_is_compared_here() {
        let filter = parse(&["attr.key-length-bytes=32", "attr.sign=false"]).ok().unwrap();
        assert!(filter.search.is_empty());
        let shown = |length: u64, sign: bool| match serde_json::json!({
            "key-length-bytes": length, "sign": sign
        }) {
            Value::Object(map) => map,
            _ => unreachable!("an object was written"),
        };
        assert!(filter.admits(&shown(32, false)));
        assert!(!filter.admits(&shown(16, false)));
        assert!(!filter.admits(&shown(32, true)));
        assert!(!filter.admits(&serde_json::Map::new()));
    }

    #[test]
    fn an_unknown_attribute_and_a_word_without_prefix_are_refused() {
        for bad in ["attr.colour=red", "label=x", "attr.sign=maybe", "attr.class=thing", ""] {
            assert!(parse(&[bad]).is_err(), "{bad}");
        }
        assert!(parse(&["key-reference=0x1", "key-reference=0x2"]).is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_word_is_a_filter_or_refused(name in "(attr\\.)?[a-z-]{0,12}", value in ".*") {
            let _ = parse(&[&format!("{name}={value}")]);
        }

        #[test]
        fn references_are_read_as_they_are_shown(handle: u64) {
            let shown = format!("key-reference={}", crate::key::Key::reference_of(handle));
            let read = parse(&[&shown]).map_err(|error| error.to_string());
            proptest::prop_assert_eq!(read.map(|filter| filter.reference), Ok(Some(handle)));
        }
    }
}
