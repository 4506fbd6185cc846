//! Who is served next, and who is not: priorities, scores, backlog, loads, caps, rates, pauses.

use std::sync::Arc;

use serde_json::json;

use super::world::{ONE, World, about, intent, offer, ok};
use crate::{
    htm::{
        Command, IntentId, Reply,
        command::{Ask, Query, Refused, Submission, Submitted},
        event::{Level, Origin, Settings, What},
        fairness::ROUND,
    },
    intent::Priority,
};

#[test]
fn low_priority_is_refused_first_when_too_much_waits() {
    let settings = Settings {
        backlog_warning: 5,
        backlog_critical: 10,
        backlog_normal: 20,
        tasks: 30,
        ..Settings::default()
    };
    let mut world = World::with(ONE, settings);
    let of = |priority| Submission { priority: Some(priority), ..intent("one") };
    let accepted = |world: &mut World, priority, n: usize| {
        (0..n).filter(|_| matches!(world.try_submit(of(priority)), Submitted::Accepted { .. })).count()
    };
    assert_eq!(accepted(&mut world, Priority::Low, 12), 10);
    let keyed = Submission { key: Some("k".into()), ..of(Priority::Normal) };
    let id = world.submit(keyed.clone());
    assert_eq!(accepted(&mut world, Priority::Normal, 12), 9);
    assert_eq!(world.try_submit(keyed), Submitted::Accepted { id, repeated: true });
    assert_eq!(accepted(&mut world, Priority::High, 12), 10);
    match world.try_submit(of(Priority::Critical)) {
        Submitted::Refused(Refused { code, message, .. }) => {
            assert_eq!(
                (code.as_str(), message.as_str()),
                ("overloaded", "30 tasks are not over; at most 30 are taken")
            );
        }
        other => panic!("{other:?}"),
    }
    // A batch counts what it adds itself.
    world.join("w", &["k"], 100);
    let leases = world.lease("w", 25);
    world.answer("w", leases.iter().map(|l| ok(l.task, l.token, &json!(1))).collect());
    let results = world.submit_all(vec![of(Priority::Low); 20]);
    assert_eq!(results.iter().filter(|r| matches!(r, Submitted::Accepted { .. })).count(), 5);
    let levels = |world: &World| -> Vec<Level> {
        let level = |event: &crate::htm::Event| match event.what {
            What::BacklogChanged { level, .. } => Some(level),
            _ => None,
        };
        world.events.iter().filter_map(level).collect()
    };
    world.tick();
    assert_eq!(levels(&world), [Level::Critical]);
    let mut held = world.lease("w", 2);
    world.tick();
    assert_eq!(levels(&world).len(), 1, "8 is four fifths of 10");
    held.extend(world.lease("w", 1));
    world.tick();
    held.extend(world.lease("w", 9));
    world.tick();
    assert_eq!(levels(&world), [Level::Critical, Level::Warning, Level::Normal]);
    world.check();
}

#[test]
fn priorities_share_and_low_does_not_starve() {
    let mut world = World::new(ONE);
    world.join("w", &["k"], 5000);
    for priority in Priority::ALL {
        world.submit_all(vec![Submission { priority: Some(priority), ..intent("one") }; 200]);
    }
    let mut order = Vec::new();
    while order.len() < 2 * 85 {
        for lease in world.lease("w", 10) {
            order.push(world.show(lease.intent).priority);
        }
    }
    for round in order.chunks(85).take(2) {
        let of = |priority| round.iter().filter(|p| **p == priority).count();
        assert_eq!(Priority::ALL.map(of), [64, 16, 4, 1]);
    }
    assert!(order.iter().position(|p| *p == Priority::Low).unwrap() as u64 <= ROUND);
    world.check();
}

#[test]
fn in_a_priority_what_matters_more_comes_first() {
    let mut world = World::new(ONE);
    world.join("w", &["k"], 10);
    let scored = |score| {
        let origin = Origin { score: Some(score), ..Origin::default() };
        Submission { origin: Some(Arc::new(origin)), ..intent("one") }
    };
    let ids: Vec<IntentId> =
        [0.2, 0.9, 0.2, 1.0].map(|score| world.submit(scored(score))).into_iter().collect();
    let order: Vec<IntentId> = world.lease("w", 10).iter().map(|lease| lease.intent).collect();
    assert_eq!(order, [3, 1, 0, 2].map(|n: usize| ids[n]));
    world.check();
}

#[test]
fn the_least_loaded_worker_that_can_is_chosen() {
    let mut world = World::new(
        "
  one: {plan: {task: {kind: k}}}
  gpu: {plan: {task: {kind: k, labels: [gpu]}}}
",
    );
    world.join("small", &["k"], 2);
    world.join("large", &["k"], 8);
    world
        .ask(Command::Register(crate::htm::event::Offer {
            labels: vec!["gpu".into()],
            ..offer("gpu", "1", &["k"], 1)
        }))
        .unwrap();
    world.submit_all(vec![intent("one"); 5]);
    let given = world.lease_all(&[("small", 2), ("large", 8)]);
    assert_eq!(given.iter().map(Vec::len).collect::<Vec<_>>(), [1, 4]);
    world.submit(intent("gpu"));
    assert_eq!(world.lease_all(&[("small", 9), ("large", 9)]).concat().len(), 0);
    assert_eq!(world.lease_all(&[("small", 9), ("gpu", 9)])[1].len(), 1);
    let last = world.journal.last().unwrap();
    assert!(last.contains("small 1/2, gpu 0/1"), "{last}");
    world.ask(Command::Leave { worker: "gpu".into() }).unwrap();
    match world.ask(Command::Query(Query::Overview)) {
        Ok(Reply::Overview(overview)) => {
            assert_eq!(overview.stuck[0].text, "1 task wait for a worker for `k` with gpu");
            assert_eq!((overview.running, overview.open), (5, 6));
        }
        other => panic!("{other:?}"),
    }
    world.check();
}

#[test]
fn a_lease_that_is_asked_for_again_gives_the_same() {
    let mut world = World::new(ONE);
    world.join("w", &["k"], 9);
    world.submit_all(vec![intent("one"); 3]);
    let ask = |request: &str| Command::Lease {
        asks: vec![Ask { worker: "w".into(), max: 2, request: Some(request.into()) }],
    };
    let first = world.ask(ask("1")).unwrap();
    let events = world.events.len();
    assert_eq!(world.ask(ask("1")).unwrap(), first);
    assert_eq!(world.events.len(), events);
    match world.ask(ask("2")).unwrap() {
        Reply::Leased { grants, .. } => assert_eq!(grants[0].tasks.len(), 1),
        other => panic!("{other:?}"),
    }
    world.check();
}

#[test]
fn caps_and_rates_hold() {
    let mut world = World::new(
        "
  capped: {concurrency: {most: 3}, plan: {task: {kind: k}}}
  keyed: {concurrency: {key: '${payload.user}', per_key: 2}, plan: {task: {kind: k}}}
  rated: {rate: {count: 10, per: 1s, burst: 2}, plan: {task: {kind: k}}}
",
    );
    world.join("w", &["k"], 100);
    world.submit_all(vec![intent("capped"); 5]);
    let leases = world.lease("w", 50);
    assert_eq!(leases.len(), 3);
    world.done("w", leases[0].task, leases[0].token);
    assert_eq!(world.lease("w", 50).len(), 1);
    for (user, priority) in
        [("ana", None), ("ana", None), ("ana", Some(Priority::High)), ("bob", None), ("ana", None)]
    {
        world.submit(Submission { priority, ..about("keyed", &json!({"user": user})) });
    }
    world.check();
    let leases = world.lease("w", 50);
    let users: Vec<_> = leases.iter().map(|l| l.intent.number()).collect();
    // Of ana's, the high one and the first; bob's.
    assert_eq!(users.len(), 3, "{users:?}");
    assert_eq!(world.show(leases[0].intent).priority, Priority::High);
    world.done("w", leases[0].task, leases[0].token);
    assert_eq!(world.lease("w", 50).len(), 1);
    world.check();
    world.submit_all(vec![intent("rated"); 9]);
    assert_eq!(world.lease("w", 50).len(), 2);
    match world.ask(Command::Lease { asks: vec![Ask { worker: "w".into(), max: 9, request: None }] }) {
        Ok(Reply::Leased { wake_ms, .. }) => assert_eq!(wake_ms, Some(100)),
        other => panic!("{other:?}"),
    }
    world.pass(99);
    assert_eq!(world.lease("w", 50).len(), 0);
    world.pass(1);
    assert_eq!(world.lease("w", 50).len(), 1);
    world.check();
}

#[test]
fn paused_types_are_passed_over() {
    let mut world = World::new("  one: {plan: {task: {kind: k}}}\n  two: {plan: {task: {kind: k}}}\n");
    world.join("w", &["k"], 100);
    world.submit(intent("one"));
    world.submit(intent("two"));
    let pause = Command::Pause { name: "one".into(), reason: "the printer burns".into() };
    assert_eq!(world.ask(pause.clone()), Ok(Reply::Switched));
    assert_eq!(world.ask(pause), Ok(Reply::Switched));
    let leases = world.lease("w", 9);
    assert_eq!(leases.iter().map(|l| &*l.intent_type).collect::<Vec<_>>(), ["two"]);
    world.ask(Command::Resume { name: "one".into(), reason: "it is out".into() }).unwrap();
    assert_eq!(world.lease("w", 9).len(), 1);
    let error = world.ask(Command::Resume { name: "three".into(), reason: String::new() }).unwrap_err();
    assert_eq!(error.code, "unknown_type");
    assert_eq!(world.count(|what| matches!(what, What::TypePaused { .. })), 1);
    world.check();
}
