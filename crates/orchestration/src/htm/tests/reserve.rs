//! The last of the disk: work of emergencies goes on, and all other stands still and loses nothing.

use std::sync::Arc;

use grace_kernel::Room;
use serde_json::json;

use super::world::{ONE, RETRIED, World, failed, intent, offer, ok};
use crate::{
    htm::{
        Command, Effect, Era, IntentId, Reply,
        command::{Lease, Submission, Submitted, Verdict},
        event::{Granted, Next, Origin, What},
        view::{IntentState, TaskState},
    },
    limits,
};

/// Allowed at this tier.
fn at_tier(tier: &str) -> Submission {
    let origin = Origin { tier: Some(tier.into()), ..Origin::default() };
    Submission { origin: Some(Arc::new(origin)), ..intent("one") }
}

fn emergency() -> Submission {
    at_tier("4")
}

fn later(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Later(why) if why.starts_with("disk_reserve"))
}

/// A task manager in which a plain task is at the worker `w`, and another waits.
fn world() -> (World, Lease, IntentId) {
    let mut world = World::new(RETRIED);
    world.join("w", &["k"], 1);
    world.submit(intent("one"));
    let held = world.lease("w", 1).remove(0);
    let waits = world.submit(intent("one"));
    world.room = Room::Reserve;
    world.tick();
    (world, held, waits)
}

/// Time passes, the worker is heard, and there is room again.
fn until_room(world: &mut World, ms: u64) {
    world.pass(ms);
    world.room = Room::Enough;
    world.tick_having_heard(&[("w", 0)]);
}

#[test]
fn an_emergency_goes_its_whole_way_and_plain_work_stands_still() {
    let (mut world, held, waits) = world();
    let from = world.happened().len();
    let batch = vec![
        intent("one"),
        emergency(),
        at_tier("2"),
        Submission { origin_as_before: true, ..intent("one") },
    ];
    let results = world.submit_all(batch);
    let codes: Vec<&str> = results
        .iter()
        .map(|result| match result {
            Submitted::Accepted { .. } => "taken",
            Submitted::Refused(refused) => refused.code.as_str(),
        })
        .collect();
    assert_eq!(codes, ["disk_reserve", "taken", "disk_reserve", "disk_reserve"]);
    assert_eq!(world.effects.last(), Some(&Effect::Ready));
    // The worker's only slot is taken by a plain task, of whose end nothing could be heard.
    let lease = world.lease("w", 5).remove(0);
    let Submitted::Accepted { id, .. } = results[1] else { panic!("{results:?}") };
    assert_eq!(lease.task, id.task(0));
    assert!(world.lease("w", 5).is_empty());
    let said = vec![
        ok(held.task, held.token, &json!(1)),
        failed(lease.task, lease.token, "boom"),
        failed(held.task, held.token, "boom"),
    ];
    let verdicts = world.answer("w", said);
    assert!(later(&verdicts[0]) && verdicts[1] == Verdict::Taken && later(&verdicts[2]), "{verdicts:?}");
    world.pass(1000);
    world.tick_having_heard(&[("w", 0)]);
    let again = world.lease("w", 5).remove(0);
    assert_eq!((again.task, again.attempt), (lease.task, 2));
    let tasks = vec![
        Granted { task: held.task, token: held.token },
        Granted { task: again.task, token: again.token },
    ];
    let Ok(Reply::Answered { verdicts }) = world.ask(Command::Extend { worker: "w".into(), tasks }) else {
        panic!()
    };
    assert!(later(&verdicts[0]) && verdicts[1] == Verdict::Taken, "{verdicts:?}");
    // The worker dies with both: for the emergency that is put on record.
    world.ask(Command::Register(offer("w", "2", &["k"], 1))).unwrap();
    let again = world.lease("w", 5).remove(0);
    assert_eq!(world.done("w", again.task, again.token), Verdict::Taken);
    assert_eq!(world.show(id).state, IntentState::Succeeded);
    let stale = world.done("w", again.task, 7);
    assert!(matches!(&stale, Verdict::Refused(why) if why.contains("stale")), "{stale:?}");
    assert_eq!(
        world.happened()[from..],
        [
            "submitted",
            "dispatched",
            "task_failed",
            "delays_over",
            "dispatched",
            "leases_extended",
            "worker_joined",
            "dispatched",
            "tasks_done"
        ]
    );
    world.check();
    // Nothing of the others was touched, and both go on.
    until_room(&mut world, 60_000);
    for id in [held.intent, waits] {
        let lease = world.lease("w", 1).remove(0);
        assert_eq!(lease.intent, id);
        assert_eq!(world.done("w", lease.task, lease.token), Verdict::Taken);
        assert_eq!(world.show(id).state, IntentState::Succeeded);
    }
    world.check();
}

#[test]
fn time_in_the_reserve_counts_against_no_plain_task() {
    let (mut world, held, _) = world();
    let written = world.events.len();
    for _ in 0..10 {
        world.pass(60_000);
        world.tick_having_heard(&[("w", 0)]);
        assert!(later(&world.done("w", held.task, held.token)));
    }
    assert_eq!(world.events.len(), written, "that it began is on record, and nothing else");
    assert_eq!(world.happened()[written - 1], "reserve_begun");
    assert_eq!(world.task(held.task).state, TaskState::Running);
    // There is room, and the answer comes before that is on record.
    let mut other = World {
        state: world.restored(),
        journal: Vec::new(),
        events: Vec::new(),
        effects: Vec::new(),
        ..world
    };
    other.room = Room::Enough;
    assert!(other.lease("w", 1).is_empty(), "its slots are as they are on record");
    assert_eq!(other.done("w", held.task, held.token), Verdict::Taken);
    other.tick_having_heard(&[("w", 0)]);
    assert_eq!(other.happened(), ["tasks_done", "reserve_over"]);
    assert_eq!(other.show(held.intent).tasks[0].attempts, 1);
}

#[test]
fn a_lease_has_after_the_reserve_what_it_had_before_and_ends_then() {
    let (mut world, held, _) = world();
    until_room(&mut world, 3_600_000);
    let left = 10_000 + limits::LEASE_GRACE_MS;
    world.pass(left - 1);
    world.tick_having_heard(&[("w", 0)]);
    assert_eq!(world.task(held.task).state, TaskState::Running);
    world.pass(2);
    world.tick_having_heard(&[("w", 0)]);
    let failed = |what: &What| matches!(what, What::TaskFailed { next: Next::Retry { .. }, .. });
    assert_eq!(world.count(failed), 1);
    world.check();
}

#[test]
fn without_an_emergency_nothing_is_recorded_of_workers_and_nothing_falls_due() {
    let (mut world, held, waits) = world();
    let late = Submission { deadline_ms: Some(1000), delay_ms: Some(500), ..emergency() };
    let plain = |world: &mut World, command: Command| match world.ask(command) {
        Err(refusal) => refusal.code,
        other => panic!("{other:?}"),
    };
    let written = world.events.len();
    assert_eq!(plain(&mut world, Command::Register(offer("v", "1", &["k"], 1))), "disk_reserve");
    assert_eq!(plain(&mut world, Command::Leave { worker: "w".into() }), "disk_reserve");
    assert_eq!(plain(&mut world, Command::Cancel { intent: waits, reason: "no".into() }), "disk_reserve");
    assert_eq!(plain(&mut world, Command::Pause { name: "one".into(), reason: "no".into() }), "disk_reserve");
    world.pass(limits::WORKER_SILENCE_MS * 2);
    world.tick();
    assert_eq!(world.events.len(), written);
    // With one, workers matter: who is silent is lost, and the emergency is waited for, late, and cancelled.
    let id = world.submit(late);
    world.join("v", &["k"], 1);
    world.pass(1000);
    world.tick_having_heard(&[("v", 0)]);
    assert_eq!(world.happened()[written + 2..], ["delays_over", "worker_gone", "deadlines_missed"]);
    assert_eq!(world.task(held.task).attempts, 1);
    world.ask(Command::Cancel { intent: id, reason: "it is over".into() }).unwrap();
    assert_eq!(
        plain(&mut world, Command::Leave { worker: "v".into() }),
        "disk_reserve",
        "it was the last one"
    );
    world.check();
}

#[test]
fn a_task_manager_that_starts_again_in_the_reserve_goes_on_and_forgives_once() {
    let (mut world, held, _) = world();
    world.pass(100_000);
    let settings = world.state.base.settings.clone();
    world.ask(Command::Configure { boot: "boot-1".into(), era: Era::from_bits(7), settings }).unwrap();
    let id = world.submit(emergency());
    let lease = world.lease("w", 1).remove(0);
    assert_eq!(lease.intent, id);
    until_room(&mut world, 100_000);
    world.pass(10_000 + limits::LEASE_GRACE_MS + 1);
    world.tick_having_heard(&[("w", 0)]);
    assert_eq!(world.task(held.task).state, TaskState::Delayed, "it was not made longer twice");
    world.check();
}

#[test]
fn types_cannot_change_in_the_reserve() {
    let (mut world, ..) = world();
    assert_eq!(world.define(ONE).unwrap_err().code, "disk_reserve");
}
