//! Tests of all encodings.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::testing::World;
use crate::testing::generate::{entry, meta};
use crate::{Actor, ClientId, Command, Entry, Outcome, Refusal, State, UserId};

proptest! {
    #[test]
    fn an_entry_comes_back_as_it_was(entry in entry()) {
        let bytes = encode_entry(&entry);
        prop_assert_eq!(decode_entry(&bytes), Ok(entry));
    }

    #[test]
    fn any_bytes_give_a_value_or_an_error(
        key in vec(any::<u8>(), 0..40),
        bytes in vec(any::<u8>(), 0..300),
        format in prop_oneof![Just(FORMAT), any::<u8>()],
        table in 0..13_u8,
    ) {
        let bytes = [&[format], &bytes[..]].concat();
        let _ = decode_entry(&bytes);
        let _ = decode_result(&bytes);
        let _ = decode_meta(&bytes);
        let mut state = State::new();
        for length in [0, 4, 8, 16, 24, 32] {
            let mut id = key.clone();
            id.resize(length, 1);
            let _ = state.load(&[&[table], &id[..]].concat(), &bytes);
        }
        let _ = state.load(&key, &bytes);
        let _ = state.finish_load();
        let _ = state.digest();
    }

    #[test]
    fn a_damaged_entry_gives_a_value_or_an_error(
        entry in entry(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = encode_entry(&entry);
        let cut = cut.index(bytes.len());
        let _ = decode_entry(&bytes[..cut]);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(entry) = decode_entry(&bytes) {
            let _ = World::cloudhsm().apply_entry(entry);
        }
    }

    #[test]
    fn metadata_within_its_limits_comes_back_as_it_was(meta in meta()) {
        let decoded = decode_meta(&encode_meta(&meta));
        match meta.over_limit() {
            None => prop_assert_eq!(decoded, Ok(meta)),
            Some(what) => prop_assert_eq!(decoded, Err(Error::Invalid(what))),
        }
    }
}

#[test]
fn results_come_back_as_they_were() {
    let user = World::cloudhsm().state.user(UserId(1)).cloned();
    assert!(user.is_some());
    for result in [
        Ok(Outcome::Done),
        Ok(Outcome::Created(vec![crate::Handle(5), crate::Handle(6)])),
        Ok(Outcome::LoginCharged { user }),
        Ok(Outcome::LoginCharged { user: None }),
        Ok(Outcome::LoginOpened(crate::LoginId(9))),
        Ok(Outcome::UserCreated(UserId(3))),
        Ok(Outcome::MemberAdded(crate::NodeId(2))),
        Err(Refusal::not_logged_in()),
    ] {
        assert_eq!(decode_result(&encode_result(&result)), Ok(result));
    }
}

#[test]
fn a_command_of_a_newer_build_is_an_error_of_its_own() {
    // Field 99 where this build knows 16 to 43.
    let entry = Entry {
        time_ms: 0,
        client: ClientId::default(),
        sequence: 0,
        lowest_unanswered: 0,
        actor: Actor::System,
        command: Command::CloseLogins { logins: Vec::new() },
    };
    let mut bytes = encode_entry(&entry);
    // CloseLogins is field 27 of wire type 2, and empty: its tag is the last but one value.
    assert_eq!(bytes[bytes.len() - 3..], [0xda, 0x01, 0x00]);
    let at = bytes.len() - 3;
    bytes[at..].copy_from_slice(&[0x9a, 0x06, 0x00]);
    assert_eq!(decode_entry(&bytes), Err(Error::UnknownCommand));
}

#[test]
fn other_formats_and_too_long_bytes_are_not_parsed() {
    assert_eq!(decode_entry(&[2, 0]), Err(Error::UnknownFormat(2)));
    assert_eq!(decode_entry(&[]), Err(Error::Malformed));
    let max = crate::limits::ENTRY_BYTES_MAX;
    let long = vec![FORMAT; max + 1];
    assert_eq!(decode_entry(&long), Err(Error::TooLong { actual: max + 1, max }));
}

#[test]
fn records_that_contradict_one_another_are_found() {
    let mut world = World::cloudhsm();
    world.crypto_user("alice");
    world.check();
    // Each record but the logins' and the replies' is missed when it is gone.
    for missing in world.records.keys().filter(|key| key[0] <= 2) {
        let mut state = State::new();
        for (key, value) in world.records.iter().filter(|(key, _)| *key != missing) {
            assert_eq!(state.load(key, value), Ok(()));
        }
        let login_of_missing = missing[..] == [2, 0, 0, 0, 3];
        if missing[0] < 2 || login_of_missing {
            assert!(state.finish_load().is_err(), "{missing:?}");
        }
    }
}

#[test]
fn members_that_no_cluster_has_are_found() {
    let mut world = World::cluster(2);
    world.must(Actor::System, Command::RemoveMember { node: crate::NodeId(2), receipt: true });
    let load = |other: Option<(Vec<u8>, Vec<u8>)>, missing: &[u8]| {
        let mut state = State::new();
        for (key, value) in world.records.iter().filter(|(key, _)| key[..] != *missing) {
            assert_eq!(state.load(key, value), Ok(()));
        }
        if let Some((key, value)) = other {
            assert_eq!(state.load(&key, &value), Ok(()));
        }
        state.finish_load()
    };
    assert_eq!(load(None, &[]), Ok(()));
    assert!(load(None, &[7]).is_err(), "no topology");
    let fingerprint = world.state.members().next().expect("a member").fingerprint();
    let revoked = (Key::Revoked(fingerprint).to_bytes(), encode_revoked());
    assert!(load(Some(revoked), &[]).is_err(), "a member that is revoked");
    let sealed = Key::Sealed(1, crate::NodeId(2)).to_bytes();
    assert!(load(Some((sealed, encode_sealed(&[1]))), &[]).is_err(), "sealed to nobody");
    let sealed = Key::Sealed(2, crate::NodeId(1)).to_bytes();
    assert!(load(Some((sealed, encode_sealed(&[1]))), &[]).is_err(), "an epoch to come");
    let member = crate::Member { node: crate::NodeId(3), ..crate::testing::members::member(3) };
    let member = (Key::Member(crate::NodeId(3)).to_bytes(), encode_member(&member));
    assert!(load(Some(member), &[]).is_err(), "a number to come");
}

#[test]
fn the_next_numbers_are_none_that_a_cluster_begins_with() {
    let mut state = State::new();
    assert_eq!(state.finish_load(), Ok(()));
    let right = state.progress;
    let wrong = [
        ProgressRecord { next_user: UserId(2), ..right },
        ProgressRecord { next_node: crate::NodeId(0), ..right },
        ProgressRecord { next_handle: crate::Handle(0), ..right },
        ProgressRecord { next_handle: crate::Handle(crate::Handle::SESSION_BIT), ..right },
    ];
    for progress in wrong {
        assert_eq!(state.load(&Key::Progress.to_bytes(), &encode_progress(&progress)), Ok(()));
        assert!(state.finish_load().is_err(), "{progress:?}");
    }
}
