//! The one table of attributes: what each is, which objects have it, who gives and who changes it.
//!
//! Columns are one letter for each sort of object, in the order that AWS's guide has them
//! (CloudHSM User Guide, "Interpreting key attributes"), so that a row can be held against its row
//! there. Where a program that works with other tokens would break on AWS's refusal, and no key
//! would be less safe, the row is wider than AWS's.
//!
//! | letter | a template … |
//! |---|---|
//! | `-` | must not name it: objects of this sort don't have it (`CK_FALSE` for a boolean is passed over) |
//! | `M` | must give it |
//! | `y` | may give it; without: false, zero, empty |
//! | `Y` | may give it; without: true |
//! | `t` | may only say true, which it is anyway |
//! | `f` | may only say false, which it is anyway |
//! | `T` | may give any value; it is true all the same |
//! | `R` | must not give it: the HSM does |

use cryptoki_sys::*;

use super::draft::Origin;
pub use super::sort::Sort;
pub use super::uses::{Rule, Uses};
pub use super::value::Form;
use crate::{Flags, Personality};

/// Where an attribute is kept, and so how it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// [`crate::Meta::class`].
    Class,
    /// [`crate::Meta::key_type`].
    Type,
    /// A bit of [`crate::Meta::flags`].
    Flag(Flags),
    /// [`crate::Meta::label`].
    Label,
    /// [`crate::Meta::cka_id`].
    Id,
    /// [`crate::Meta::size_bits`], as it is.
    Bits,
    /// [`crate::Meta::size_bits`], in bytes.
    Bytes,
    /// [`crate::Meta::check_value`].
    CheckValue,
    /// [`crate::Meta::generated_by`].
    GeneratedBy,
    /// [`crate::Meta::more`].
    More,
    /// In the sealed body, for all who may see the object.
    Public,
    /// In the sealed body, and read only where the key is neither sensitive nor unextractable
    /// (PKCS#11 v3.1, section 4.9, footnote 7).
    Secret,
}

/// How an attribute may change after the object's creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changing {
    /// Not at all.
    Never,
    /// In any way.
    Free,
    /// In any way until the key is trusted, then by an admin only: else an owner could make a
    /// trusted wrapping key decrypt what it wrapped.
    UntilTrusted,
    /// From false to true.
    OnlyOn,
    /// From true to false.
    OnlyOff,
    /// By an admin.
    ByAdmin,
}

/// One attribute.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// CKA_ number.
    pub kind: u64,
    /// PKCS#11's name.
    pub name: &'static str,
    /// CloudHSM CLI's name; empty where it has none.
    pub cli_name: &'static str,
    /// What its value is made of.
    pub form: Form,
    /// Where it is kept.
    pub place: Place,
    /// How it changes.
    pub changing: Changing,
    /// Who gives it in personality `cloudhsm`.
    pub cloudhsm: Uses,
    /// Who gives it in personality `token`.
    pub token: Uses,
    /// The sorts that have it, as bits.
    sorts: u16,
}

impl Row {
    /// Who gives it.
    #[must_use]
    pub fn uses(&self, personality: Personality) -> &Uses {
        match personality {
            Personality::CloudHsm => &self.cloudhsm,
            Personality::Token => &self.token,
        }
    }

    /// What a template may do with it, for an object of this sort that comes to be this way.
    #[must_use]
    pub fn rule(&self, personality: Personality, origin: Origin, sort: Sort) -> Rule {
        match self.uses(personality).rule(origin, sort) {
            Rule::Mandatory if self.kind == CKA_VALUE_LEN && sort == Sort::OneLength => {
                Rule::Optional(false)
            }
            rule => rule,
        }
    }

    /// Whether objects of this sort have it.
    #[must_use]
    pub fn is_of(&self, sort: Sort) -> bool {
        self.sorts & sort.bit() != 0
    }
}

/// The row of an attribute; `None` for one that is not known.
#[must_use]
pub fn find(kind: u64) -> Option<&'static Row> {
    let at = TABLE.binary_search_by_key(&kind, |row| row.kind).ok()?;
    TABLE.get(at)
}

/// The row of an attribute by CloudHSM CLI's name or PKCS#11's.
#[must_use]
pub fn find_by_name(name: &str) -> Option<&'static Row> {
    let named = |row: &&Row| row.name == name || (!row.cli_name.is_empty() && row.cli_name == name);
    TABLE.iter().find(named)
}

const fn uses(
    pair: &'static [u8; 6],
    generate: &'static [u8; 2],
    create: &'static [u8; 10],
    unwrap: &'static [u8; 5],
    derive: &'static [u8; 2],
) -> Uses {
    Uses { pair, generate, create, unwrap, derive }
}

macro_rules! table {
    ($($kind:ident $cli:literal $form:ident $place:expr, $changing:ident,
       [$p1:literal $g1:literal $c1:literal $u1:literal $d1:literal]
       $([$p2:literal $g2:literal $c2:literal $u2:literal $d2:literal])?;)+) => {
        /// All attributes, by rising number.
        pub static TABLE: &[Row] = &[$({
            let cloudhsm = uses($p1, $g1, $c1, $u1, $d1);
            // One column serves both personalities where there is no second.
            let token = cloudhsm;
            $(let token = { let _ = token; uses($p2, $g2, $c2, $u2, $d2) };)?
            Row {
                kind: $kind,
                name: stringify!($kind),
                cli_name: $cli,
                form: Form::$form,
                place: $place,
                changing: Changing::$changing,
                cloudhsm,
                token,
                sorts: cloudhsm.sorts() | token.sorts(),
            }
        },)+];
    };
}

use Place::{
    Bits, Bytes, CheckValue, Class, Flag, GeneratedBy, Id, Label, More, Public, Secret, Type,
};

// Each row: number, CLI's name, form, place, changing, then [pair generate create unwrap derive]
// for `cloudhsm`, and for `token` where it differs. SoftHSM2's defaults stand in the second: usages
// true, CKA_DERIVE false, CKA_SENSITIVE true, CKA_EXTRACTABLE false.
table! {
    CKA_CLASS "class" Number Class, Never,
        [b"yyyyyy" b"yy" b"MMMMMMMMMM" b"MMMMM" b"MM"];
    CKA_TOKEN "token" Boolean Flag(Flags::TOKEN), Never,
        [b"yyyyyy" b"yy" b"yyyyyyyyYy" b"yyyyy" b"yy"]
        [b"yyyyyy" b"yy" b"yyyyyyyyyy" b"yyyyy" b"yy"];
    CKA_PRIVATE "private" Boolean Flag(Flags::PRIVATE), Never,
        // pkcs11-tool gives CK_FALSE for secret keys unless it is told otherwise; they stay private.
        [b"tYtYtY" b"TT" b"tYtYtYTTyY" b"tttTT" b"TT"]
        [b"YyYyYy" b"YY" b"YyYyYyYYyy" b"YYYYY" b"YY"];
    CKA_LABEL "label" Bytes Label, Free,
        [b"yyyyyy" b"yy" b"yyyyyyyyyy" b"yyyyy" b"yy"];
    CKA_APPLICATION "" Bytes More, Free,
        [b"------" b"--" b"---------y" b"-----" b"--"];
    CKA_VALUE "value" Bytes Secret, Never,
        [b"------" b"--" b"M---yMMMMy" b"-----" b"--"];
    CKA_OBJECT_ID "" Bytes More, Free,
        [b"------" b"--" b"---------y" b"-----" b"--"];
    CKA_CERTIFICATE_TYPE "" Number Type, Never,
        [b"------" b"--" b"--------M-" b"-----" b"--"];
    CKA_ISSUER "" Bytes More, Free,
        [b"------" b"--" b"--------y-" b"-----" b"--"];
    CKA_SERIAL_NUMBER "" Bytes More, Free,
        [b"------" b"--" b"--------y-" b"-----" b"--"];
    CKA_TRUSTED "trusted" Boolean Flag(Flags::TRUSTED), ByAdmin,
        [b"-y-y-y" b"yy" b"-y-y-yyyy-" b"---yy" b"yy"];
    CKA_CERTIFICATE_CATEGORY "" Number More, Never,
        [b"------" b"--" b"--------y-" b"-----" b"--"];
    CKA_JAVA_MIDP_SECURITY_DOMAIN "" Number More, Never,
        [b"------" b"--" b"--------y-" b"-----" b"--"];
    CKA_URL "" Bytes More, Never,
        [b"------" b"--" b"--------y-" b"-----" b"--"];
    CKA_HASH_OF_SUBJECT_PUBLIC_KEY "" Bytes More, Never,
        [b"------" b"--" b"--------y-" b"-----" b"--"];
    CKA_HASH_OF_ISSUER_PUBLIC_KEY "" Bytes More, Never,
        [b"------" b"--" b"--------y-" b"-----" b"--"];
    CKA_NAME_HASH_ALGORITHM "" Number More, Never,
        [b"------" b"--" b"--------y-" b"-----" b"--"];
    CKA_CHECK_VALUE "check-value" Bytes CheckValue, Never,
        [b"RRRR--" b"RR" b"RRRR--RRR-" b"RR-RR" b"RR"];
    CKA_KEY_TYPE "key-type" Number Type, Never,
        [b"yyyyyy" b"yy" b"MMMMMMMM--" b"MMMMM" b"MM"];
    CKA_SUBJECT "" Bytes More, Free,
        [b"yyyyyy" b"--" b"yyyyyy--M-" b"yyy--" b"--"];
    CKA_ID "id" Bytes Id, Free,
        [b"yyyyyy" b"yy" b"yyyyyyyyy-" b"yyyyy" b"yy"];
    CKA_SENSITIVE "sensitive" Boolean Flag(Flags::SENSITIVE), OnlyOn,
        [b"t-t-t-" b"YY" b"Y-Y-Y-YY--" b"YYYYY" b"tt"]
        [b"Y-Y-Y-" b"YY" b"Y-Y-Y-YY--" b"YYYYY" b"YY"];
    CKA_ENCRYPT "encrypt" Boolean Flag(Flags::ENCRYPT), UntilTrusted,
        [b"-y-y--" b"yy" b"-y-y--yy--" b"---yy" b"yy"]
        [b"-Y-Y--" b"YY" b"-Y-Y--YY--" b"---YY" b"YY"];
    CKA_DECRYPT "decrypt" Boolean Flag(Flags::DECRYPT), UntilTrusted,
        [b"y-y---" b"yy" b"y-y---yy--" b"yy-yy" b"yy"]
        [b"Y-Y---" b"YY" b"Y-Y---YY--" b"YY-YY" b"YY"];
    CKA_WRAP "wrap" Boolean Flag(Flags::WRAP), UntilTrusted,
        [b"-y-y--" b"yy" b"-y-y--yy--" b"---yy" b"yy"]
        [b"-Y-Y--" b"YY" b"-Y-Y--YY--" b"---YY" b"YY"];
    CKA_UNWRAP "unwrap" Boolean Flag(Flags::UNWRAP), UntilTrusted,
        [b"y-y---" b"yy" b"y-y---yy--" b"yy-yy" b"yy"]
        [b"Y-Y---" b"YY" b"Y-Y---YY--" b"YY-YY" b"YY"];
    CKA_SIGN "sign" Boolean Flag(Flags::SIGN), UntilTrusted,
        [b"y-y-y-" b"YY" b"y-y-y-yy--" b"yyyyy" b"yy"]
        [b"Y-Y-Y-" b"YY" b"Y-Y-Y-YY--" b"YYYYY" b"YY"];
    CKA_SIGN_RECOVER "" Boolean Flag(Flags::SIGN_RECOVER), UntilTrusted,
        [b"y-y---" b"--" b"y-y-------" b"yy---" b"--"];
    CKA_VERIFY "verify" Boolean Flag(Flags::VERIFY), UntilTrusted,
        [b"-y-y-y" b"YY" b"-y-y-yyy--" b"---yy" b"yy"]
        [b"-Y-Y-Y" b"YY" b"-Y-Y-YYY--" b"---YY" b"YY"];
    CKA_VERIFY_RECOVER "" Boolean Flag(Flags::VERIFY_RECOVER), UntilTrusted,
        [b"-y-y--" b"--" b"-y-y------" b"-----" b"--"];
    CKA_DERIVE "derive" Boolean Flag(Flags::DERIVE), UntilTrusted,
        [b"yyyy--" b"yy" b"yyyy--yy--" b"yy-yy" b"yy"];
    CKA_START_DATE "" Date More, Free,
        [b"yyyyyy" b"yy" b"yyyyyyyyy-" b"yyyyy" b"yy"];
    CKA_END_DATE "" Date More, Free,
        [b"yyyyyy" b"yy" b"yyyyyyyyy-" b"yyyyy" b"yy"];
    CKA_MODULUS "modulus" Bytes Public, Never,
        [b"------" b"--" b"--MM------" b"-R---" b"--"];
    CKA_MODULUS_BITS "modulus-size-bits" Number Bits, Never,
        [b"---M--" b"--" b"---R------" b"-----" b"--"];
    CKA_PUBLIC_EXPONENT "public-exponent" Bytes Public, Never,
        [b"---y--" b"--" b"--MM------" b"-R---" b"--"];
    CKA_PRIVATE_EXPONENT "" Bytes Secret, Never,
        [b"------" b"--" b"--M-------" b"-----" b"--"];
    CKA_PRIME_1 "" Bytes Secret, Never,
        [b"------" b"--" b"--y-------" b"-----" b"--"];
    CKA_PRIME_2 "" Bytes Secret, Never,
        [b"------" b"--" b"--y-------" b"-----" b"--"];
    CKA_EXPONENT_1 "" Bytes Secret, Never,
        [b"------" b"--" b"--y-------" b"-----" b"--"];
    CKA_EXPONENT_2 "" Bytes Secret, Never,
        [b"------" b"--" b"--y-------" b"-----" b"--"];
    CKA_COEFFICIENT "" Bytes Secret, Never,
        [b"------" b"--" b"--y-------" b"-----" b"--"];
    CKA_PUBLIC_KEY_INFO "" Bytes Public, Never,
        [b"RRRRRR" b"--" b"RRRRRR--y-" b"RRR--" b"--"];
    CKA_VALUE_LEN "key-length-bytes" Number Bytes, Never,
        [b"------" b"MM" b"------yy--" b"---yy" b"MM"]
        [b"------" b"MM" b"------yy--" b"---yy" b"yy"];
    CKA_EXTRACTABLE "extractable" Boolean Flag(Flags::EXTRACTABLE), OnlyOff,
        [b"Y-Y-Y-" b"YY" b"Y-Y-Y-YY--" b"YYYYY" b"YY"]
        [b"y-y-y-" b"yy" b"y-y-y-yy--" b"yyyyy" b"yy"];
    CKA_LOCAL "local" Boolean Flag(Flags::LOCAL), Never,
        [b"RRRRRR" b"RR" b"RRRRRRRR--" b"RRRRR" b"RR"];
    CKA_NEVER_EXTRACTABLE "never-extractable" Boolean Flag(Flags::NEVER_EXTRACTABLE), Never,
        [b"R-R-R-" b"RR" b"R-R-R-RR--" b"RRRRR" b"RR"];
    CKA_ALWAYS_SENSITIVE "always-sensitive" Boolean Flag(Flags::ALWAYS_SENSITIVE), Never,
        [b"R-R-R-" b"RR" b"R-R-R-RR--" b"RRRRR" b"RR"];
    CKA_KEY_GEN_MECHANISM "" Number GeneratedBy, Never,
        [b"RRRRRR" b"RR" b"RRRRRRRR--" b"RRRRR" b"RR"];
    CKA_MODIFIABLE "modifiable" Boolean Flag(Flags::MODIFIABLE), OnlyOff,
        [b"YYYYYY" b"YY" b"YYYYYYYYYY" b"YYYYY" b"YY"];
    CKA_COPYABLE "" Boolean Flag(Flags::COPYABLE), OnlyOff,
        [b"YYYYYY" b"YY" b"YYYYYYYYYY" b"YYYYY" b"YY"];
    CKA_DESTROYABLE "destroyable" Boolean Flag(Flags::DESTROYABLE), OnlyOff,
        [b"YYYYYY" b"YY" b"YYYYYYYYYY" b"YYYYY" b"YY"];
    CKA_EC_PARAMS "curve" Bytes Public, Never,
        [b"-M----" b"--" b"MM--------" b"R----" b"--"];
    CKA_EC_POINT "ec-point" Bytes Public, Never,
        [b"------" b"--" b"RM--------" b"R----" b"--"];
    CKA_ALWAYS_AUTHENTICATE "" Boolean Flag(Flags::ALWAYS_AUTHENTICATE), Never,
        [b"f-f-f-" b"--" b"f-f-f-----" b"fff--" b"--"]
        [b"y-y-y-" b"--" b"y-y-y-----" b"yyy--" b"--"];
    CKA_WRAP_WITH_TRUSTED "wrap-with-trusted" Boolean Flag(Flags::WRAP_WITH_TRUSTED), OnlyOn,
        [b"y-y-y-" b"yy" b"y-y-y-yy--" b"yyyyy" b"yy"];
    CKA_PARAMETER_SET "parameter-set" Number Public, Never,
        [b"----yM" b"--" b"----MM----" b"--R--" b"--"];
    CKA_ENCAPSULATE "encapsulate" Boolean Flag(Flags::ENCAPSULATE), UntilTrusted,
        [b"-----y" b"--" b"-----y----" b"-----" b"--"]
        [b"-----Y" b"--" b"-----Y----" b"-----" b"--"];
    CKA_DECAPSULATE "decapsulate" Boolean Flag(Flags::DECAPSULATE), UntilTrusted,
        [b"----y-" b"--" b"----y-----" b"--y--" b"--"]
        [b"----Y-" b"--" b"----Y-----" b"--Y--" b"--"];
    // Mandatory: a key without it could not be kept.
    CKA_SEED "" Bytes Secret, Never,
        [b"------" b"--" b"----M-----" b"-----" b"--"];
    CKA_WRAP_TEMPLATE "wrap-template" Template More, UntilTrusted,
        [b"-y-y--" b"yy" b"-y-y--yy--" b"---yy" b"yy"];
    CKA_UNWRAP_TEMPLATE "unwrap-template" Template More, UntilTrusted,
        [b"y-y---" b"yy" b"y-y---yy--" b"yy-yy" b"yy"];
    CKA_ALLOWED_MECHANISMS "" Mechanisms More, Never,
        [b"yyyyyy" b"yy" b"yyyyyyyy--" b"yyyyy" b"yy"];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_by_number_and_name() {
        assert!(TABLE.is_sorted_by(|one, two| one.kind < two.kind));
        for row in TABLE {
            assert_eq!(find(row.kind).map(|found| found.kind), Some(row.kind));
            assert_eq!(find_by_name(row.name).map(|found| found.kind), Some(row.kind));
            if !row.cli_name.is_empty() {
                assert_eq!(find_by_name(row.cli_name).map(|found| found.kind), Some(row.kind));
            }
        }
        assert!(find(CKA_VENDOR_DEFINED).is_none());
        assert!(find_by_name("").is_none());
    }

    #[test]
    fn every_letter_is_one_that_the_legend_has() {
        for row in TABLE {
            for uses in [row.cloudhsm, row.token] {
                let letters =
                    [&uses.pair[..], uses.generate, uses.create, uses.unwrap, uses.derive].concat();
                for letter in letters {
                    assert!(b"-MyYtfTR".contains(&letter), "{}: {}", row.name, letter as char);
                    // A default or a fixed value is a boolean's.
                    let boolean = b"YtfT".contains(&letter);
                    assert!(!boolean || row.form == Form::Boolean, "{}", row.name);
                }
            }
        }
    }

    #[test]
    fn each_flag_has_one_row_and_none_is_without() {
        let mut seen = 0;
        for row in TABLE {
            if let Place::Flag(flag) = row.place {
                assert_eq!(seen & flag.0, 0, "{}", row.name);
                assert_eq!(row.form, Form::Boolean, "{}", row.name);
                seen |= flag.0;
            }
        }
        assert_eq!(seen, Flags::ALL.0);
    }

    #[test]
    fn key_material_is_never_optional_to_protect() {
        for row in TABLE.iter().filter(|row| row.place == Place::Secret) {
            assert_eq!(row.changing, Changing::Never, "{}", row.name);
            for sort in [Sort::EcPublic, Sort::RsaPublic] {
                assert!(!row.is_of(sort), "{}", row.name);
            }
            for origin in [Origin::Generate, Origin::GeneratePrivate, Origin::Unwrap] {
                for sort in
                    [Sort::Aes, Sort::Generic, Sort::EcPrivate, Sort::RsaPrivate, Sort::PqPrivate]
                {
                    let rule = row.cloudhsm.rule(origin, sort);
                    assert_eq!(rule, Rule::Absent, "{}", row.name);
                }
            }
        }
    }
}
