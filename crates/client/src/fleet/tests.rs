//! Scenarios by value, and random ones for what must always hold.

use proptest::{collection::vec, prelude::*};
use strongroom_wire::message::TopologyHsm;

use super::*;
use crate::config::RetryMode;

const PATIENCE: Duration = Duration::from_secs(10);

fn ms(milliseconds: u64) -> Moment {
    Duration::from_millis(milliseconds)
}

fn server(number: u16) -> Server {
    Server::new(format!("127.0.{number}.10"), 2223)
}

fn hsm(number: u16, zone: &str) -> TopologyHsm {
    TopologyHsm {
        hsm_id: format!("hsm-{number}"),
        address: format!("127.0.{number}.10"),
        port: 2223,
        zone: zone.to_owned(),
    }
}

fn topology(version: u64, hsms: Vec<TopologyHsm>) -> TopologyReply {
    TopologyReply { version, hsms }
}

/// HSMs 1 to 3, in zones a to c.
fn three() -> (Fleet, [HsmKey; 3]) {
    three_in("")
}

fn three_in(zone: &str) -> (Fleet, [HsmKey; 3]) {
    let mut fleet = Fleet::new(&[server(1)], zone);
    fleet.learn(&topology(5, vec![hsm(1, "a"), hsm(2, "b"), hsm(3, "c")]));
    let keys = [1, 2, 3].map(|number| key(&fleet, number));
    (fleet, keys)
}

fn key(fleet: &Fleet, number: u16) -> HsmKey {
    fleet.find(|hsm| hsm.hsm_id == Some(format!("hsm-{number}"))).unwrap()
}

fn journey() -> Journey {
    Journey::new(PATIENCE, RetryMode::Standard)
}

fn go(step: Step) -> HsmKey {
    let Step::Go(key) = step else { panic!("{step:?}") };
    key
}

/// Where it goes, pauses taken as they come.
fn go_in_time(
    journey: &mut Journey,
    fleet: &mut Fleet,
    now: &mut Moment,
) -> Result<HsmKey, Reason> {
    loop {
        match journey.next(fleet, *now, 7, None) {
            Step::Go(key) => return Ok(key),
            Step::Pause(pause) => *now += pause.max(ms(1)),
            Step::GiveUp(reason) => return Err(reason),
        }
    }
}

#[test]
fn one_configured_server_is_enough_to_know_all_hsms() {
    let (fleet, keys) = three();
    assert_eq!(fleet.keys().count(), 3);
    assert_eq!(fleet.address(keys[2]), Some(server(3)));
    assert_eq!(fleet.topology(), 5);
}

#[test]
fn an_older_topology_changes_nothing() {
    let (mut fleet, _) = three();
    assert_eq!(fleet.learn(&topology(4, vec![hsm(9, "")])), Learned::default());
    assert_eq!((fleet.keys().count(), fleet.topology()), (3, 5));
}

#[test]
fn an_added_hsm_gets_requests_and_a_removed_one_none() {
    let (mut fleet, [first, _, third]) = three();
    let load = fleet.load(third).unwrap();
    let learned = fleet.learn(&topology(6, vec![hsm(1, ""), hsm(2, ""), hsm(4, "")]));
    assert_eq!(learned.added, ["hsm-4 (127.0.4.10:2223)"]);
    assert_eq!(learned.removed, ["hsm-3 (127.0.3.10:2223)"]);
    assert_eq!(load.standing(), Standing::Gone);
    for busy in [first, key(&fleet, 2)] {
        fleet.load(busy).unwrap().begin();
    }
    assert_eq!(fleet.choose(ms(0), 1, None, &[]), Some(key(&fleet, 4)));
}

#[test]
fn a_configured_hsm_that_the_cluster_has_no_more_is_the_last_way_in() {
    let (mut fleet, [first, ..]) = three();
    fleet.learn(&topology(6, vec![hsm(2, ""), hsm(3, "")]));
    assert_eq!(fleet.load(first).unwrap().standing(), Standing::Gone);
    for random in 0..20 {
        assert_ne!(fleet.choose(ms(0), random, None, &[]), Some(first));
    }
    let others = [key(&fleet, 2), key(&fleet, 3)];
    assert_eq!(fleet.choose(ms(0), 1, None, &others), Some(first));
}

#[test]
fn two_addresses_of_one_hsm_are_one_hsm() {
    let mut fleet = Fleet::new(&[Server::new("localhost", 2223), server(2)], "");
    let by_name = fleet.find(|hsm| hsm.addresses[0].hostname == "localhost").unwrap();
    fleet.learn(&topology(1, vec![hsm(1, ""), hsm(2, "")]));
    assert_eq!(fleet.keys().count(), 3);
    let known = fleet.greeted(by_name, "hsm-1", "a");
    assert_eq!(known, key(&fleet, 1));
    assert_eq!(fleet.keys().count(), 2);
    // What has worked comes first; the other one is tried when it does not work.
    assert_eq!(fleet.address(known).unwrap().hostname, "localhost");
    fleet.failed(known, ms(0), 0, Setback::NotConnected);
    assert_eq!(fleet.address(known), Some(server(1)));
}

#[test]
fn an_hsm_is_found_at_its_new_address() {
    let (mut fleet, [first, ..]) = three();
    let moved = TopologyHsm { address: "127.0.9.9".into(), ..hsm(1, "a") };
    fleet.learn(&topology(6, vec![moved, hsm(2, "b"), hsm(3, "c")]));
    assert_eq!(key(&fleet, 1), first);
    fleet.failed(first, ms(0), 0, Setback::NotConnected);
    assert_eq!(fleet.address(first).unwrap().hostname, "127.0.9.9");
}

#[test]
fn what_a_topology_says_is_taken_only_where_it_makes_sense() {
    let (mut fleet, _) = three();
    let wrong = |change: fn(&mut TopologyHsm)| {
        let mut told = hsm(8, "");
        change(&mut told);
        told
    };
    let told = vec![
        hsm(1, ""),
        wrong(|hsm| hsm.address = "a name".into()),
        wrong(|hsm| hsm.port = 0),
        wrong(|hsm| hsm.port = 65_536),
    ];
    assert!(fleet.learn(&topology(6, told)).added.is_empty());
    // Nobody at all is not an answer to act on.
    fleet.learn(&topology(7, Vec::new()));
    fleet.learn(&topology(8, (0..100).map(|number| hsm(number, "")).collect()));
    assert_eq!(fleet.keys().count(), 1);
}

#[test]
fn the_own_zone_comes_first_and_then_the_fewest_requests() {
    let (mut fleet, [first, second, third]) = three_in("b");
    for _ in 0..10 {
        fleet.load(second).unwrap().begin();
    }
    assert_eq!(fleet.choose(ms(0), 3, None, &[]), Some(second));
    fleet.load(first).unwrap().begin();
    fleet.failed(second, ms(0), 0, Setback::Silent);
    assert_eq!(fleet.choose(ms(0), 3, None, &[]), Some(third));
    // Back home when it is back.
    fleet.answered(second, ms(1));
    assert_eq!(fleet.choose(ms(1), 3, Some(third), &[]), Some(second));
}

#[test]
fn threads_spread_and_then_stay() {
    let (fleet, keys) = three();
    let mut on = Vec::new();
    for thread in 0..9 {
        let key = fleet.choose(ms(0), thread, None, &[]).unwrap();
        fleet.load(key).unwrap().begin();
        on.push(key);
    }
    for key in keys {
        assert_eq!(fleet.load(key).unwrap().under_way(), 3);
    }
    for (thread, key) in on.into_iter().enumerate() {
        fleet.load(key).unwrap().answered();
        assert_eq!(fleet.choose(ms(1), thread as u64, Some(key), &[]), Some(key));
        fleet.load(key).unwrap().begin();
    }
}

#[test]
fn one_thread_does_not_wander() {
    let (fleet, keys) = three();
    for random in 0..100 {
        assert_eq!(fleet.choose(ms(random), random, Some(keys[0]), &[]), Some(keys[0]));
    }
}

#[test]
fn a_silent_hsm_is_found_dead_in_less_than_100_ms_and_a_slow_one_is_not() {
    let (mut fleet, [first, ..]) = three();
    let load = fleet.load(first).unwrap();
    let mut watch = Watch::new(ms(1000), load.answers());
    assert_eq!(watch.look(&mut fleet, first, ms(1000)), Look::Wait(OVERDUE));
    assert_eq!(watch.look(&mut fleet, first, ms(1050)), Look::Ping);
    // Answered: it is slow.
    assert_eq!(fleet.answered(first, ms(1051)), None);
    assert_eq!(watch.look(&mut fleet, first, ms(1051)), Look::Wait(OVERDUE));
    assert_eq!(watch.look(&mut fleet, first, ms(1101)), Look::Ping);
    // Not answered: it is dead, for all threads that wait for it.
    let died = fleet.failed(first, ms(1101) + PONG, 0, Setback::Silent);
    assert!(matches!(died, Some(Event::Died(_))), "{died:?}");
    assert_eq!(watch.look(&mut fleet, first, ms(1142)), Look::Leave);
    let mut other = Watch::new(ms(1090), load.answers());
    assert_eq!(other.look(&mut fleet, first, ms(1142)), Look::Leave);
    assert!(OVERDUE + PONG < ms(100));
    // Once is enough for the log.
    assert_eq!(fleet.failed(first, ms(1143), 0, Setback::Silent), None);
    assert!(matches!(fleet.answered(first, ms(1200)), Some(Event::Returned(_))));
    assert_eq!(fleet.answered(first, ms(1201)), None);
}

#[test]
fn answers_to_other_threads_are_signs_of_life() {
    let (mut fleet, [first, ..]) = three();
    let load = fleet.load(first).unwrap();
    let mut watch = Watch::new(ms(0), load.answers());
    load.begin();
    load.answered();
    assert_eq!(watch.look(&mut fleet, first, ms(50)), Look::Wait(OVERDUE));
    assert_eq!(watch.look(&mut fleet, first, ms(100)), Look::Ping);
}

#[test]
fn one_thread_pings_and_the_others_wait_for_what_it_finds() {
    let (mut fleet, [first, ..]) = three();
    let load = fleet.load(first).unwrap();
    let mut watches = [Watch::new(ms(0), load.answers()); 3];
    let looks = watches.each_mut().map(|watch| watch.look(&mut fleet, first, ms(50)));
    assert_eq!(looks[0], Look::Ping);
    assert!(looks[1..].iter().all(|look| matches!(look, Look::Wait(_))), "{looks:?}");
}

#[test]
fn nobody_leaves_where_there_is_nowhere_else_to_go() {
    let mut fleet = Fleet::new(&[server(1)], "");
    let key = fleet.keys().next().unwrap();
    let mut watch = Watch::new(ms(0), fleet.load(key).unwrap().answers());
    for now in [50, 100, 60_000] {
        assert!(matches!(watch.look(&mut fleet, key, ms(now)), Look::Wait(_)));
    }
}

#[test]
fn a_lost_request_goes_elsewhere_at_once() {
    for setback in [Setback::Broken, Setback::Silent, Setback::NotConnected, Setback::Elsewhere] {
        let (mut fleet, _) = three();
        let mut journey = journey();
        let first = go(journey.next(&mut fleet, ms(0), 1, None));
        journey.setback(&mut fleet, first, ms(0), 1, (setback, true));
        let second = go(journey.next(&mut fleet, ms(0), 1, None));
        journey.setback(&mut fleet, second, ms(0), 1, (setback, true));
        let third = go(journey.next(&mut fleet, ms(0), 1, None));
        assert!(first != second && second != third && third != first);
    }
}

#[test]
fn a_connection_that_had_died_unnoticed_is_replaced_at_once_also_where_there_is_one_hsm() {
    let mut fleet = Fleet::local();
    let mut journey = journey();
    let key = go(journey.next(&mut fleet, ms(0), 1, None));
    journey.setback(&mut fleet, key, ms(0), 1, (Setback::Broken, true));
    assert_eq!(journey.next(&mut fleet, ms(0), 1, None), Step::Pause(ms(0)));
    assert_eq!(go(journey.next(&mut fleet, ms(0), 1, None)), key);
}

#[test]
fn a_dead_hsm_is_tried_by_one_at_a_time_and_ever_less_often() {
    let (mut fleet, [first, ..]) = three();
    fleet.failed(first, ms(0), u64::MAX, Setback::Silent);
    assert_eq!(fleet.due_probe(ms(99), 0), None);
    let mut now = ms(0);
    let mut pauses = Vec::new();
    for _ in 0..9 {
        let before = now;
        while fleet.due_probe(now, u64::MAX).is_none() {
            now += ms(1);
        }
        pauses.push((now - before).as_millis());
        assert_eq!(fleet.due_probe(now, u64::MAX), None, "one at a time");
        assert_eq!(fleet.failed(first, now, u64::MAX, Setback::NotConnected), None);
    }
    assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000]);
    fleet.answered(first, now);
    assert_eq!(fleet.due_probe(now + ms(10_000), 0), None);
}

#[test]
fn all_dead_then_back_is_an_answer_and_no_failure() {
    let (mut fleet, keys) = three();
    let mut journey = journey();
    let mut now = ms(0);
    let mut attempts = 0;
    while now < ms(9_000) {
        let key = go_in_time(&mut journey, &mut fleet, &mut now).unwrap();
        journey.setback(&mut fleet, key, now, 7, (Setback::NotConnected, false));
        attempts += 1;
    }
    // Patient, not frantic.
    assert!(attempts < 200, "{attempts}");
    let key = go_in_time(&mut journey, &mut fleet, &mut now).unwrap();
    assert!(keys.contains(&key));
    assert!(matches!(fleet.answered(key, now), Some(Event::Returned(_))));
}

#[test]
fn patience_ends() {
    let (mut fleet, _) = three();
    let mut journey = journey();
    let mut now = ms(500);
    let reason = loop {
        match go_in_time(&mut journey, &mut fleet, &mut now) {
            Ok(key) => {
                journey.setback(&mut fleet, key, now, 7, (Setback::NotConnected, false));
            }
            Err(reason) => break reason,
        }
    };
    assert_eq!(reason, Reason::Unreachable);
    assert!(now >= ms(500) + PATIENCE && now < ms(600) + PATIENCE, "{now:?}");
}

#[test]
fn without_a_majority_the_hsms_words_come_after_an_elections_time() {
    for (setback, one_is_dead) in [(Setback::Elsewhere, false), (Setback::Again, true)] {
        let (mut fleet, [first, ..]) = three();
        let mut journey = journey();
        let mut now = ms(0);
        let mut tried = std::collections::BTreeSet::new();
        let reason = loop {
            match go_in_time(&mut journey, &mut fleet, &mut now) {
                Ok(key) if one_is_dead && key == first => {
                    journey.setback(&mut fleet, key, now, 7, (Setback::NotConnected, false));
                }
                Ok(key) => {
                    tried.insert(key);
                    journey.setback(&mut fleet, key, now, 7, (setback, true));
                }
                Err(reason) => break reason,
            }
        };
        assert_eq!(reason, Reason::Refused);
        assert!(now >= ms(3_000) && now < ms(3_100), "{now:?}");
        assert!(tried.len() >= 2);
    }
}

#[test]
fn an_hsm_that_said_it_stops_and_then_is_gone_is_waited_for_as_long_as_any() {
    let mut fleet = Fleet::local();
    let mut journey = journey();
    let mut now = ms(0);
    let key = go_in_time(&mut journey, &mut fleet, &mut now).unwrap();
    journey.setback(&mut fleet, key, now, 7, (Setback::Elsewhere, true));
    while now < ms(6_000) {
        let key = go_in_time(&mut journey, &mut fleet, &mut now).unwrap();
        journey.setback(&mut fleet, key, now, 7, (Setback::NotConnected, false));
    }
}

#[test]
fn where_nobody_is_to_be_trusted_that_is_said_at_once() {
    let (mut fleet, _) = three();
    let mut journey = journey();
    let mut now = ms(0);
    for setback in [Setback::NotConnected, Setback::Untrusted, Setback::Untrusted] {
        let key = go_in_time(&mut journey, &mut fleet, &mut now).unwrap();
        journey.setback(&mut fleet, key, now, 7, (setback, false));
    }
    assert_eq!(journey.next(&mut fleet, now, 7, None), Step::GiveUp(Reason::Untrusted));
    assert_eq!(now, ms(0));
}

#[test]
fn with_retry_mode_off_nothing_is_sent_twice() {
    let (mut fleet, _) = three();
    let mut journey = Journey::new(PATIENCE, RetryMode::Off);
    let first = go(journey.next(&mut fleet, ms(0), 1, None));
    journey.setback(&mut fleet, first, ms(0), 1, (Setback::NotConnected, false));
    let second = go(journey.next(&mut fleet, ms(0), 1, None));
    journey.setback(&mut fleet, second, ms(0), 1, (Setback::Broken, true));
    assert_eq!(journey.next(&mut fleet, ms(0), 1, None), Step::GiveUp(Reason::NotAgain));
}

#[test]
fn retries_beyond_the_budget_wait_and_the_first_after_a_death_never_does() {
    let (mut fleet, [first, second, third]) = three();
    // Two HSMs that are known to be in trouble use the budget up.
    let mut paid = 0;
    loop {
        let mut journey = journey();
        for key in [first, second] {
            journey.setback(&mut fleet, key, ms(0), 1, (Setback::Elsewhere, true));
        }
        match journey.next(&mut fleet, ms(0), 1, None) {
            Step::Go(_) => paid += 1,
            step => {
                assert!(matches!(step, Step::Pause(_)), "{step:?}");
                break;
            }
        }
        assert!(paid < 1000);
    }
    // A good HSM dies: its request goes elsewhere at once.
    let mut journey = journey();
    journey.setback(&mut fleet, third, ms(0), 1, (Setback::Broken, true));
    go(journey.next(&mut fleet, ms(0), 1, None));
}

#[derive(Clone, Debug)]
enum Happening {
    Answer,
    Setback(Setback),
    Topology(u64, Vec<u16>),
    Greeting(u16),
    Time(u64),
    Probe,
}

fn happening() -> impl Strategy<Value = Happening> {
    use Setback::{Again, Broken, Elsewhere, NotConnected, Silent, Untrusted};
    prop_oneof![
        3 => Just(Happening::Answer),
        3 => prop::sample::select(vec![Again, Broken, Elsewhere, NotConnected, Silent, Untrusted])
            .prop_map(Happening::Setback),
        1 => (0..20_u64, vec(1..8_u16, 0..6)).prop_map(|(v, hsms)| Happening::Topology(v, hsms)),
        1 => (1..8_u16).prop_map(Happening::Greeting),
        2 => (1..3_000_u64).prop_map(Happening::Time),
        1 => Just(Happening::Probe),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_there_is_always_somewhere_to_go_and_the_alive_come_first(
        happenings in vec((happening(), any::<u64>()), 1..200),
        configured in vec(1..6_u16, 1..4),
    ) {
        let servers: Vec<_> = configured.iter().map(|number| server(*number)).collect();
        let mut fleet = Fleet::new(&servers, "b");
        let mut now = ms(0);
        let mut journey = journey();
        for (happening, random) in happenings {
            let chosen = fleet.choose(now, random, None, &[]);
            prop_assert!(chosen.is_some());
            let chosen = chosen.unwrap();
            prop_assert!(fleet.address(chosen).is_some());
            let named = |hsm: &Hsm| hsm.listed || fleet.topology == 0;
            let alive = fleet.hsms.values().any(|hsm| named(hsm) && hsm.health == Health::Alive);
            prop_assert!(!alive || (fleet.is_alive(chosen) && named(&fleet.hsms[&chosen])));
            match happening {
                Happening::Answer => {
                    fleet.answered(chosen, now);
                    prop_assert!(fleet.is_alive(chosen));
                    journey = Journey::new(PATIENCE, RetryMode::Standard);
                }
                Happening::Setback(setback) => {
                    let tried = journey.tried.clone();
                    match journey.next(&mut fleet, now, random, Some(chosen)) {
                        Step::Go(key) => {
                            prop_assert!(!tried.contains(&key), "twice in a round");
                            journey.setback(&mut fleet, key, now, random, (setback, true));
                        }
                        Step::Pause(pause) => {
                            prop_assert!(pause <= ms(500));
                            now += pause;
                        }
                        Step::GiveUp(_) => journey = Journey::new(PATIENCE, RetryMode::Standard),
                    }
                }
                Happening::Topology(version, numbers) => {
                    let hsms = numbers.iter().map(|number| hsm(*number, "b")).collect();
                    fleet.learn(&topology(version, hsms));
                }
                Happening::Greeting(number) => {
                    let key = fleet.greeted(chosen, &format!("hsm-{number}"), "");
                    prop_assert!(fleet.load(key).is_some());
                }
                Happening::Time(passed) => now += ms(passed),
                Happening::Probe => {
                    if let Some(key) = fleet.due_probe(now, random) {
                        fleet.failed(key, now, random, Setback::NotConnected);
                        prop_assert_eq!(fleet.load(key).unwrap().standing(), Standing::Gone);
                    }
                }
            }
        }
        // No two entries for one HSM.
        let ids: Vec<_> = fleet.hsms.values().filter_map(|hsm| hsm.hsm_id.clone()).collect();
        let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
        prop_assert_eq!(ids.len(), distinct.len());
    }
}
