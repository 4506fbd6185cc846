//! Workers that are silent, lost, or leave, and what becomes of their tasks.

use serde_json::json;

use super::world::{ONE, RETRIED, World, intent, offer, ok, refused};
use crate::{
    htm::{
        Command, Era, Reply,
        command::{Ask, Verdict},
        event::{Granted, Settings, What},
        view::{IntentState, TaskState},
    },
    limits,
};

#[test]
fn signs_of_life_that_the_shell_remembers_keep_workers_and_are_not_written_down() {
    let mut world = World::new(ONE);
    world.join("a", &["k"], 4);
    world.join("b", &["k"], 4);
    let written = world.events.len();
    let silence = limits::WORKER_SILENCE_MS;
    for _ in 0..20 {
        world.pass(silence / 3);
        for worker in ["a", "b"] {
            world.ask_directly(&Command::Beat { worker: worker.into(), remembered: true }).unwrap();
        }
        world.tick_having_heard(&[("a", 0), ("b", silence - 1)]);
    }
    assert_eq!(world.events.len(), written, "nothing is written of workers that only live");
    world.tick_having_heard(&[("a", 0), ("b", silence)]);
    let gone = |what: &What| matches!(what, What::WorkerGone { name, lost: true, .. } if name == "b");
    assert_eq!(world.count(gone), 1, "b has been silent for its whole time");
    assert!(world.journal.concat().contains(&format!("b has not spoken for {silence} ms")));
    // A task manager that starts again remembers nothing, and gives each the whole time anew.
    let settings = world.state.base.settings.clone();
    world.ask(Command::Configure { boot: "boot-1".into(), era: Era::from_bits(7), settings }).unwrap();
    world.pass(silence - 1);
    world.tick();
    assert_eq!(world.count(|what| matches!(what, What::WorkerGone { .. })), 1);
    world.pass(1);
    world.tick();
    assert_eq!(world.count(|what| matches!(what, What::WorkerGone { .. })), 2);
}

#[test]
fn a_lost_workers_tasks_go_to_others_at_their_old_places() {
    let mut world = World::new(ONE);
    world.join("a", &["k"], 4);
    world.join("b", &["k"], 4);
    let ids: Vec<_> = (0..4).map(|_| world.submit(intent("one"))).collect();
    let held = world.lease("a", 2);
    world.pass(limits::WORKER_SILENCE_MS - 1);
    world.ask(Command::Beat { worker: "b".into(), remembered: false }).unwrap();
    world.tick();
    assert_eq!(world.count(|what| matches!(what, What::WorkerGone { .. })), 0);
    world.pass(1);
    world.tick();
    assert_eq!(world.count(|what| matches!(what, What::WorkerGone { lost: true, .. })), 1);
    let again = world.lease("b", 4);
    assert_eq!(again.iter().map(|l| l.intent).collect::<Vec<_>>(), ids);
    assert_eq!(
        world.ask(Command::Beat { worker: "a".into(), remembered: false }).unwrap_err().code,
        "unknown_worker"
    );
    let grants = world.ask(Command::Lease { asks: vec![Ask { worker: "a".into(), max: 1, request: None }] });
    assert!(serde_json::to_string(&grants.unwrap()).unwrap().contains("unknown_worker"));
    world.join("a", &["k"], 4);
    assert!(refused(&world.done("a", held[0].task, held[0].token)).contains("stale"));
    world.check();
    // Its next run takes the place of the one before.
    let id = world.submit(intent("one"));
    world.lease("a", 1);
    world.ask(Command::Register(offer("a", "2", &["k"], 4))).unwrap();
    assert_eq!(world.task(id.task(0)).state, TaskState::Waiting);
    assert_eq!(world.ask(Command::Leave { worker: "b".into() }), Ok(Reply::Gone { tasks: 4 }));
    world.check();
}

#[test]
fn a_worker_that_leaves_counts_against_nobody() {
    let mut world = World::new(ONE);
    let id = world.submit(intent("one"));
    for n in 0..2 * limits::LOSSES {
        world.ask(Command::Register(offer("w", &format!("run-{n}"), &["k"], 1))).unwrap();
        assert_eq!(world.lease("w", 1)[0].attempt, 1, "leave {n}");
        world.ask(Command::Leave { worker: "w".into() }).unwrap();
    }
    assert_eq!(world.task(id.task(0)).state, TaskState::Waiting);
    world.check();
}

#[test]
fn a_task_that_kills_its_workers_is_a_dead_letter() {
    let mut world = World::new(ONE);
    let id = world.submit(intent("one"));
    for n in 0..limits::LOSSES {
        world.ask(Command::Register(offer("w", &format!("run-{n}"), &["k"], 1))).unwrap();
        assert_eq!(world.lease("w", 1).len(), 1, "loss {n}");
    }
    world.ask(Command::Lost { worker: "w".into(), reason: "it was killed".into() }).unwrap();
    assert_eq!(world.show(id).state, IntentState::Failed);
    assert_eq!(world.task(id.task(0)).state, TaskState::Dead);
    world.check();
}

#[test]
fn leases_are_extended_and_worker_answers_are_bounded() {
    let mut world = World::new(RETRIED);
    world.join("w", &["k"], 9);
    world.submit(intent("one"));
    let lease = world.lease("w", 1).remove(0);
    world.pass(14_000);
    let granted = Granted { task: lease.task, token: lease.token };
    world.ask(Command::Extend { worker: "w".into(), tasks: vec![granted] }).unwrap();
    world.pass(14_000);
    world.tick();
    let large = ok(lease.task, lease.token, &json!("x".repeat(limits::OUTPUT_BYTES)));
    assert!(refused(&world.answer("w", vec![large])[0]).contains("answer again with less"));
    assert_eq!(world.done("w", lease.task, lease.token), Verdict::Taken);
    let verdict = world.ask(Command::Extend { worker: "w".into(), tasks: vec![granted] }).unwrap();
    assert_eq!(
        verdict,
        Reply::Answered { verdicts: vec![Verdict::Refused("it is over: it was answered before".into())] }
    );
    world.check();
}

#[test]
fn time_without_a_task_manager_does_not_count_against_workers() {
    let mut world = World::new(RETRIED);
    world.join("w", &["k"], 9);
    world.submit(intent("one"));
    let lease = world.lease("w", 1).remove(0);
    world.pass(60_000);
    let again = |boot: &str| Command::Configure {
        boot: boot.into(),
        era: Era::from_bits(1),
        settings: Settings::default(),
    };
    world.ask(again("boot-1")).unwrap();
    world.tick();
    assert_eq!(world.done("w", lease.task, lease.token), Verdict::Taken);
    assert_eq!(world.submit(intent("one")).to_string(), "int_00007-1", "the first era stays");
    world.check();
}
