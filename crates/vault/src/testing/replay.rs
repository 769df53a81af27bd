//! The state machine as a whole: deterministic, total, and the same from its records.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;

use super::generate::entry;
use super::{World, verifier};
use crate::{Actor, Command, Entry, LoginId, Personality, Role, UserId};

/// Random entries, mostly by actors that are logged in, after a set-up that makes them matter.
fn log() -> impl Strategy<Value = (Personality, Vec<Entry>)> {
    let personality = prop_oneof![Just(Personality::CloudHsm), Just(Personality::Token)];
    (personality, vec(entry(), 0..120))
}

fn world(personality: Personality) -> World {
    match personality {
        Personality::Token => World::token().0,
        Personality::CloudHsm => {
            let mut world = World::cloudhsm();
            world.crypto_user("alice");
            world.admin();
            world
        }
    }
}

/// The same entry by a login that is open, where it names one.
fn aimed(world: &World, mut entry: Entry) -> Entry {
    if of_the_cluster(&entry.command) && !entry.time_ms.is_multiple_of(8) {
        entry.actor = Actor::System;
    }
    let logins: Vec<_> = world.state.logins().map(|login| login.id).collect();
    if let Actor::Login(LoginId(number)) = entry.actor
        && number % 8 != 0
        && !logins.is_empty()
    {
        entry.actor = Actor::Login(logins[number as usize % logins.len()]);
    }
    if let Command::CreateObjects { objects } = &mut entry.command {
        let owner = world.user_of(entry.actor);
        for object in objects {
            if object.owner != UserId(5) {
                object.owner = owner;
            }
        }
    }
    entry
}

/// Whether only the HSMs themselves may do it.
fn of_the_cluster(command: &Command) -> bool {
    matches!(
        command,
        Command::AddMember { .. }
            | Command::RequestJoin { .. }
            | Command::RemoveMember { .. }
            | Command::UpdateMember { .. }
            | Command::RotateSecrets { .. }
            | Command::Remask { .. }
            | Command::MergeFailures { .. }
            | Command::Recovered { .. }
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn the_records_of_all_changes_make_the_same_state((personality, entries) in log()) {
        let mut world = world(personality);
        for entry in entries {
            let entry = aimed(&world, entry);
            let _ = world.apply_entry(entry);
        }
        world.check();
    }

    #[test]
    fn the_same_log_gives_the_same_state_and_results((personality, entries) in log()) {
        let (mut one, mut two) = (world(personality), world(personality));
        for entry in entries {
            let entry = aimed(&one, entry);
            prop_assert_eq!(one.apply_entry(entry.clone()), two.apply_entry(entry));
        }
        prop_assert_eq!(one.state.digest(), two.state.digest());
    }

    #[test]
    fn an_entry_that_is_not_of_a_set_up_cluster_changes_little(entries in vec(entry(), 1..60)) {
        let mut world = World::new();
        for entry in entries {
            let _ = world.apply_entry(entry);
        }
        world.check();
    }

    #[test]
    fn time_handles_and_numbers_never_go_back((personality, entries) in log()) {
        let mut world = world(personality);
        let mut before = world.state.progress;
        for entry in entries {
            let entry = aimed(&world, entry);
            let _ = world.apply_entry(entry);
            let now = world.state.progress;
            prop_assert!(now.time_ms >= before.time_ms);
            prop_assert!(now.next_handle >= before.next_handle);
            prop_assert!(now.next_user >= before.next_user);
            prop_assert!(now.next_node >= before.next_node);
            prop_assert!(now.applied > before.applied);
            before = now;
        }
    }

    #[test]
    fn a_revoked_device_stays_out_and_epochs_never_go_back((personality, entries) in log()) {
        let mut world = world(personality);
        let marks = |state: &crate::State| {
            [
                state.secrets_epoch(),
                state.generation(),
                state.certified_generation(),
                state.fence(),
                state.topology_version().0,
            ]
        };
        let (mut revoked, mut before) = (BTreeSet::new(), marks(&world.state));
        let (mut given, mut hsms) = (BTreeMap::new(), 0);
        for entry in entries {
            let entry = aimed(&world, entry);
            let _ = world.apply_entry(entry);
            let state = &world.state;
            prop_assert!(revoked.iter().all(|key| state.is_revoked(key)));
            revoked.extend(state.revoked().copied());
            for member in state.members() {
                prop_assert!(!revoked.contains(&member.fingerprint()));
                // A number is one device's for ever.
                let key = given.entry(member.node).or_insert_with(|| member.device_key.clone());
                prop_assert_eq!(key, &member.device_key);
            }
            let now = marks(state);
            prop_assert!(now.iter().zip(before).all(|(now, before)| *now >= before));
            before = now;
            // Once there is one that holds the keys, there is one.
            let present = state.members().filter(|member| !member.witness).count();
            prop_assert!(present > 0 || hsms == 0);
            hsms = present;
        }
        world.check();
    }

    #[test]
    fn a_cluster_in_use_always_has_an_admin((personality, entries) in log()) {
        let mut world = world(personality);
        for entry in entries {
            let entry = aimed(&world, entry);
            let _ = world.apply_entry(entry);
            prop_assert!(world.state.users().any(|user| user.role == Role::Admin));
        }
    }
}

#[test]
fn an_entry_is_not_applied_twice() {
    let mut world = World::cloudhsm();
    let entry = Entry {
        time_ms: 5,
        client: crate::ClientId::default(),
        sequence: 0,
        lowest_unanswered: 0,
        actor: Actor::System,
        command: Command::ActivateCluster { verifier: verifier("x") },
    };
    let before = world.state.digest();
    let (result, changes) = world.state.apply(world.state.applied(), entry);
    assert!(result.is_err());
    assert!(changes.is_empty());
    assert_eq!(world.state.digest(), before);
}
