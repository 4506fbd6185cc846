//! What is decided while the last of the disk is kept for emergencies.

use super::{leave::leave, *};
use crate::tier::Tier;

/// A cortex with leave to act in an emergency, for whose recovery there is a plan.
fn world() -> World {
    let mut world = World::new();
    world.begin("one", "emergency_recovery");
    let since = world.clock.now().wall;
    let grant = Grant {
        id: "eg-1".into(),
        actor: None,
        by: "ann".into(),
        reason: "the disk is full".into(),
        since,
        until: since.plus(Duration::from_secs(900)),
    };
    let told = told(leave(&world, 1, &[grant]));
    assert!(
        matches!(world.give_in_reserve(&told), Some(Said::Done(Reply::Adopted { .. }))),
        "grants are taken"
    );
    world
}

fn submit(world: &mut World, intents: Vec<Arrived>) -> Vec<Answered> {
    match world.give_in_reserve(&Command::Decide { intents }) {
        Some(Said::Done(Reply::Submitted { results })) => results,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_tier_of_emergencies_is_known_by_one_number() {
    assert_eq!(Tier::Emergency.number(), grace_types::intent::EMERGENCY_TIER);
}

#[test]
fn of_a_hundred_that_come_together_the_emergencies_go_through_and_the_others_are_refused_one_by_one() {
    let mut world = world();
    let before = world.decide(keyed(operator("resize_image"), "before"));
    let mut intents: Vec<Arrived> =
        (0..100).map(|n| keyed(operator("resize_image"), &format!("k{n}"))).collect();
    intents.insert(40, keyed(operator("emergency_recovery"), "e"));
    intents.push(keyed(operator("resize_image"), "before"));
    intents.push(operator("format_disk"));
    let count = world.happened.len();
    let results = submit(&mut world, intents.clone());
    for (n, result) in results.iter().enumerate() {
        match (n, result) {
            (40, Answered::Decided(decision)) => {
                assert_eq!((decision.outcome, decision.tier), (Outcome::Allowed, Some(4)));
                assert_eq!(decision.id.number(), before.id.number() + 1, "no number is lost");
            }
            (101, Answered::Decided(decision)) => assert!(decision.repeated && decision.id == before.id),
            (_, Answered::Refused(refused)) => {
                assert_eq!(refused.code, "disk_reserve", "{n}");
                assert!(refused.message.contains("almost full"), "{refused:?}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(world.happened[count..], ["allowed"]);
    // With room again the same are taken under the same keys.
    let Reply::Submitted { results } = world.done(&Command::Decide { intents }) else { panic!() };
    let taken = |result: &&Answered| matches!(result, Answered::Decided(decision) if !decision.repeated);
    assert_eq!(results.iter().filter(taken).count(), 101, "all but the two that were decided before");
}

#[test]
fn what_is_said_of_emergencies_is_taken_and_what_is_said_of_others_waits() {
    let mut world = world();
    world.begin("one", "resize_image");
    let plain = world.decide(operator("resize_image"));
    world.begin("one", "emergency_recovery");
    let Answered::Decided(emergency) = submit(&mut world, vec![operator("emergency_recovery")]).remove(0)
    else {
        panic!()
    };
    let emergency = emergency.id;
    let said = |id: IntentId| (id, accepted(id));
    let settle = |ids: &[IntentId]| Command::Settle { results: ids.iter().copied().map(said).collect() };
    assert!(world.give_in_reserve(&settle(&[plain.id])).is_none());
    assert!(
        world.give_in_reserve(&settle(&[plain.id, emergency])).is_none(),
        "whoever sends does not mix them"
    );
    assert!(world.give_in_reserve(&settle(&[emergency])).is_some());
    assert_eq!(world.look(emergency).state, DecisionState::Running);
    assert_eq!(world.outstanding(), (vec![plain.id], vec![Owed::Review]));
    let cases = vec![(emergency, Owed::Review)];
    assert!(world.give_in_reserve(&Command::Told { cases }).is_some());
    assert_eq!(world.outstanding(), (vec![plain.id], Vec::new()));
    assert!(
        world.give_in_reserve(&Command::Query(Query::Intent(plain.id))).is_some(),
        "questions are answered"
    );
    world.settle(plain.id, accepted(plain.id));
    assert_eq!(world.look(plain.id).state, DecisionState::Running);
}

#[test]
fn time_ends_grants_and_no_waits_until_there_is_room() {
    let mut world = world();
    let waits = world.decide(operator("modify_governance"));
    assert_eq!(waits.outcome, Outcome::WaitsForApproval);
    world.clock.advance(limits::APPROVAL_WAIT);
    let before = world.happened.len();
    assert!(world.give_in_reserve(&Command::Tick).is_some());
    assert_eq!(world.happened[before..], ["grants_ended"]);
    let results = submit(&mut world, vec![operator("emergency_recovery")]);
    let refused = |code: &str| matches!(&results[0], Answered::Refused(refused) if refused.code == code);
    assert!(
        refused("disk_reserve"),
        "without leave it is a no, which is not put on record either: {results:?}"
    );
    world.done(&Command::Tick);
    assert_eq!(world.look(waits.id).state, DecisionState::Denied);
}
