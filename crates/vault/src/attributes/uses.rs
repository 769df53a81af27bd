//! The letters of the table: what a template may do with an attribute, by the way that the object
//! comes to be.

use super::draft::Origin;
use super::sort::Sort;

/// Who may give an attribute: one letter for each sort of object.
#[derive(Clone, Copy, Debug)]
pub struct Uses {
    /// C_GenerateKeyPair: EC private, EC public, RSA private, RSA public, post-quantum private and
    /// public.
    pub pair: &'static [u8; 6],
    /// C_GenerateKey: AES, generic.
    pub generate: &'static [u8; 2],
    /// C_CreateObject: as `pair`, then AES, generic, certificate, data.
    pub create: &'static [u8; 10],
    /// C_UnwrapKey: EC private, RSA private, post-quantum private, AES, generic.
    pub unwrap: &'static [u8; 5],
    /// C_DeriveKey: AES, generic.
    pub derive: &'static [u8; 2],
}

const PAIR: [Sort; 6] = [
    Sort::EcPrivate,
    Sort::EcPublic,
    Sort::RsaPrivate,
    Sort::RsaPublic,
    Sort::PqPrivate,
    Sort::PqPublic,
];
const SECRET: [Sort; 2] = [Sort::Aes, Sort::Generic];
const ALL: [Sort; 10] = [
    Sort::EcPrivate,
    Sort::EcPublic,
    Sort::RsaPrivate,
    Sort::RsaPublic,
    Sort::PqPrivate,
    Sort::PqPublic,
    Sort::Aes,
    Sort::Generic,
    Sort::Certificate,
    Sort::Data,
];
const UNWRAPPED: [Sort; 5] =
    [Sort::EcPrivate, Sort::RsaPrivate, Sort::PqPrivate, Sort::Aes, Sort::Generic];

/// What a template may do with an attribute: the letters of the columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// `-`
    Absent,
    /// `M`
    Mandatory,
    /// `y`, and `Y` with a default of true.
    Optional(bool),
    /// `t` and `f`.
    Only(bool),
    /// `T`
    True,
    /// `R`
    ByHsm,
}

impl Uses {
    /// The rule for one sort of object; `Absent` where such an object can't come to be this way.
    #[must_use]
    pub fn rule(&self, origin: Origin, sort: Sort) -> Rule {
        let at = |sorts: &[Sort], letters: &[u8]| {
            let place = sorts.iter().position(|&other| other == sort.column());
            place.and_then(|place| letters.get(place)).copied()
        };
        let letter = match origin {
            Origin::GeneratePublic | Origin::GeneratePrivate => at(&PAIR, self.pair),
            Origin::Generate => at(&SECRET, self.generate),
            Origin::Create => at(&ALL, self.create),
            Origin::Unwrap => at(&UNWRAPPED, self.unwrap),
            Origin::Derive => at(&SECRET, self.derive),
        };
        match letter {
            Some(b'M') => Rule::Mandatory,
            Some(b'y') => Rule::Optional(false),
            Some(b'Y') => Rule::Optional(true),
            Some(b't') => Rule::Only(true),
            Some(b'f') => Rule::Only(false),
            Some(b'T') => Rule::True,
            Some(b'R') => Rule::ByHsm,
            _ => Rule::Absent,
        }
    }

    /// The sorts that have the attribute, however they came to be.
    pub(super) const fn sorts(&self) -> u16 {
        present(&PAIR, self.pair)
            | present(&SECRET, self.generate)
            | present(&ALL, self.create)
            | present(&UNWRAPPED, self.unwrap)
            | present(&SECRET, self.derive)
    }
}

const fn present(sorts: &[Sort], letters: &[u8]) -> u16 {
    let mut bits = 0;
    let mut at = 0;
    while at < letters.len() {
        if letters[at] != b'-' {
            bits |= sorts[at].bit();
        }
        at += 1;
    }
    bits
}
