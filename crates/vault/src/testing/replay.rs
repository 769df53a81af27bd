//! The state machine as a whole: deterministic, total, and the same from its records.

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
    fn time_handles_and_user_numbers_never_go_back((personality, entries) in log()) {
        let mut world = world(personality);
        let mut before = world.state.progress;
        for entry in entries {
            let entry = aimed(&world, entry);
            let _ = world.apply_entry(entry);
            let now = world.state.progress;
            prop_assert!(now.time_ms >= before.time_ms);
            prop_assert!(now.next_handle >= before.next_handle);
            prop_assert!(now.next_user >= before.next_user);
            prop_assert!(now.applied > before.applied);
            before = now;
        }
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
