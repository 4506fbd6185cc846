//! Intents that come together and of which the same is to be said: one record, and each has its own decision.

use serde_json::json;

use super::*;
use crate::router::event::What;

fn about(n: usize) -> Arrived {
    let mut arrived = operator("resize_image");
    arrived.asked.payload = Json::of(&json!({"path": n}));
    arrived
}

fn decided(world: &mut World, intents: Vec<Arrived>) -> Vec<Decision> {
    let Reply::Submitted { results } = world.done(&Command::Decide { intents }) else { panic!() };
    let decision = |one| match one {
        Answered::Decided(decision) => *decision,
        refused @ Answered::Refused(_) => panic!("{refused:?}"),
    };
    results.into_iter().map(decision).collect()
}

#[test]
fn those_that_are_alike_share_a_record_and_each_is_answered_kept_and_handed_on_by_itself() {
    let mut world = World::new();
    let before = world.records.len();
    let mut intents: Vec<Arrived> = (0..5).map(about).collect();
    intents[3] = keyed(about(3), "k");
    let together = decided(&mut world, intents);
    assert_eq!(world.records.len(), before + 1, "one record");
    for one in &together {
        assert!(world.records[before].contains(&one.id.to_string()), "it names each");
        assert_eq!(world.look(one.id), *one);
    }
    // The same as by itself, but for the names.
    let mut alone = World::new();
    for (n, one) in together.iter().enumerate() {
        let arrived = if n == 3 { keyed(about(3), "k") } else { about(n) };
        assert_eq!(alone.decide(arrived), *one);
    }
    let ids: Vec<IntentId> = together.iter().map(|one| one.id).collect();
    assert_eq!(world.outstanding().0, ids);
    assert_eq!(world.effects, alone.effects, "each is handed on as if it had come alone");
    assert_eq!(world.decide(keyed(about(3), "k")).id, together[3].id);
    for id in &ids {
        world.settle(*id, accepted(*id));
    }
    assert!(world.outstanding().0.is_empty());
}

#[test]
fn a_key_that_comes_twice_in_a_batch_is_one_intent_wherever_it_stands_in_the_record() {
    let mut world = World::new();
    let keys = ["a", "b", "c", "b", "a", "c"];
    let intents = keys.iter().map(|key| keyed(about(key.len()), key)).collect();
    let all = decided(&mut world, intents);
    for (n, before) in [(3, 1), (4, 0), (5, 2)] {
        assert_eq!(all[n], Decision { repeated: true, ..all[before].clone() });
    }
    let other = keyed(about(7), "b");
    let Reply::Submitted { results } =
        world.done(&Command::Decide { intents: vec![keyed(about(0), "d"), keyed(about(1), "e"), other] })
    else {
        panic!()
    };
    let told = format!("{:?}", results[2]);
    assert!(told.contains("key_reused") && told.contains(&all[1].id.to_string()), "{told}");
}

#[test]
fn whatever_differs_in_more_than_its_payload_has_a_record_of_its_own() {
    let mut world = World::new();
    let before = world.records.len();
    let mut urgent = about(1);
    urgent.asked.priority = Some(grace_types::intent::Priority::High);
    let mut from = about(2);
    from.asked.origin = Some(Box::default());
    let mut elsewhere = about(3);
    elsewhere.asked.target = Some("web".into());
    let bob = by(ActorKind::Operator, "bob", "resize_image");
    let other = operator("query_knowledge");
    decided(&mut world, vec![about(0), urgent, from, elsewhere, bob, other]);
    assert_eq!(world.records.len(), before + 6);
    // Those that are not allowed, too.
    let agent = || by(ActorKind::Agent, "one", "resize_image");
    decided(&mut world, vec![agent(), agent(), operator("change_charter"), operator("change_charter")]);
    assert_eq!(world.records.len(), before + 10);
}

#[test]
fn a_record_names_no_more_than_can_be_found_in_it() {
    let mut world = World::new();
    let before = world.records.len();
    let large = |n: usize| {
        let mut arrived = about(n);
        arrived.asked.payload = Json::of(&json!({"path": "x".repeat(10_000)}));
        arrived
    };
    assert_eq!(decided(&mut world, (0..10).map(large).collect()).len(), 10);
    assert_eq!(world.records.len(), before + 4, "three of 10 KB fit each");
    let many = decided(&mut world, (0..limits::BATCH).map(about).collect());
    let numbers: Vec<u64> = many.iter().map(|one| one.id.number()).collect();
    assert!(numbers.windows(2).all(|two| two[1] == two[0] + 1));
    let longest = world.records.iter().map(String::len).max().unwrap();
    assert!(longest < 64 << 10, "{longest}");
}

#[test]
fn a_record_that_was_written_before_there_were_any_alike_is_read() {
    let mut world = World::new();
    world.decide(about(0));
    let record = world.records.last().unwrap();
    assert!(!record.contains("also"), "{record}");
    let read: grace_kernel::Recorded<crate::router::Event> = serde_json::from_str(record).unwrap();
    assert!(matches!(&read.event().what, What::Decided { also, .. } if also.is_empty()));
}
