//! What holds for any template and any sequence of changes.

use cryptoki_sys::*;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::testing::ckr;
use crate::testing::generate::meta;
use crate::{Flags, Meta};

/// Any template, mostly of attributes that there are.
fn template() -> impl Strategy<Value = Vec<Attribute>> {
    let kind = prop_oneof![
        8 => prop::sample::select(table::TABLE).prop_map(|row| row.kind),
        1 => any::<u64>(),
    ];
    let value = prop_oneof![
        4 => any::<bool>().prop_map(|on| vec![u8::from(on)]),
        1 => (0..5_u64).prop_map(|number| number.to_le_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..12),
    ];
    vec((kind, value).prop_map(|(kind, value)| Attribute { kind, value }), 0..8)
}

fn anybody() -> impl Strategy<Value = Principal> {
    prop::sample::select(vec![owner(), admin(), Principal::Anonymous, Principal::System])
}

fn personality() -> impl Strategy<Value = Personality> {
    prop::sample::select(BOTH.to_vec())
}

/// What may never come undone, whoever tries.
fn weaker(old: Flags, new: Flags) -> bool {
    let cleared = |flag| old.contains(flag) && !new.contains(flag);
    let set = |flag| !old.contains(flag) && new.contains(flag);
    cleared(Flags::SENSITIVE)
        || cleared(Flags::ALWAYS_SENSITIVE)
        || cleared(Flags::NEVER_EXTRACTABLE)
        || cleared(Flags::WRAP_WITH_TRUSTED)
        || cleared(Flags::PRIVATE)
        || set(Flags::EXTRACTABLE)
        || set(Flags::ALWAYS_SENSITIVE)
        || set(Flags::NEVER_EXTRACTABLE)
        || set(Flags::LOCAL)
        || set(Flags::DESTROYABLE)
        || set(Flags::MODIFIABLE)
        || set(Flags::COPYABLE)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_sequence_of_changes_and_copies_makes_a_key_weaker(
        start in meta(),
        personality in personality(),
        steps in vec((anybody(), template(), any::<bool>()), 0..12),
    ) {
        let mut now = start.clone();
        for (who, template, copying) in steps {
            let next = if copying {
                copy(&now, personality, &who, &template)
            } else {
                change(&now, personality, &who, &template)
            };
            if let Ok(next) = next {
                prop_assert!(!weaker(start.flags, next.flags), "{:?} {:?}", start, next);
                prop_assert_eq!((next.class, next.key_type), (start.class, start.key_type));
                now = next;
            }
        }
    }

    #[test]
    fn a_proposed_change_passes_only_if_no_flag_gets_weaker(
        old in meta(),
        new in meta(),
        personality in personality(),
        who in anybody(),
    ) {
        let new = Meta { class: old.class, key_type: old.key_type, ..new };
        let new = Meta {
            size_bits: old.size_bits,
            check_value: old.check_value,
            generated_by: old.generated_by,
            ..new
        };
        if check_change(&old, &new, personality, &who).is_ok() {
            prop_assert!(!weaker(old.flags, new.flags));
            if old.flags.contains(Flags::TRUSTED) != new.flags.contains(Flags::TRUSTED) {
                prop_assert_eq!(who, admin());
            }
        }
    }

    #[test]
    fn any_template_gives_a_sound_object_or_a_refusal(
        template in template(),
        personality in personality(),
        origin in prop::sample::select(vec![
            Origin::Generate, Origin::GeneratePublic, Origin::GeneratePrivate,
            Origin::Create, Origin::Unwrap, Origin::Derive,
        ]),
        class in prop::sample::select(vec![
            CKO_SECRET_KEY, CKO_PUBLIC_KEY, CKO_PRIVATE_KEY, CKO_CERTIFICATE, CKO_DATA,
        ]),
        key_type in prop::sample::select(vec![CKK_AES, CKK_GENERIC_SECRET, CKK_RSA, CKK_EC]),
    ) {
        let mechanism = Some(CKM_AES_KEY_GEN);
        if let Ok(draft) =
            draft(origin, personality, Some(class), Some(key_type), mechanism, &template)
        {
            prop_assert_eq!(ckr(check_new(&draft.meta, personality)), CKR_OK);
            let local = matches!(
                origin,
                Origin::Generate | Origin::GeneratePublic | Origin::GeneratePrivate
            );
            prop_assert_eq!(draft.meta.flags.contains(Flags::LOCAL), local);
            prop_assert_eq!(draft.meta.generated_by.is_some(), local);
            for attribute in &template {
                let _ = matches(&draft.meta, attribute);
            }
        }
    }

    #[test]
    fn reading_and_matching_agree(meta in meta(), kind in prop::sample::select(table::TABLE)) {
        let read = read(&meta, kind.kind);
        match read {
            Reading::Value(value) => {
                let attribute = Attribute::new(kind.kind, value);
                prop_assert_eq!(matches(&meta, &attribute), Some(true));
            }
            Reading::Body => {
                prop_assert_eq!(matches(&meta, &Attribute::new(kind.kind, [0])), None);
            }
            Reading::Sensitive | Reading::Invalid => {
                prop_assert_eq!(matches(&meta, &Attribute::new(kind.kind, [0])), Some(false));
            }
        }
    }
}
