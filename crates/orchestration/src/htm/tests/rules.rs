//! One rule at a time.

use serde_json::json;

use super::world::{START_MS, World, about, failed, intent, offer, ok};
use crate::{
    htm::{
        Command, Effect, Ending, Era, IntentId, Json, Reply,
        command::{Ask, Lease, Query, Refused, Submission, Submitted, Turn, Verdict},
        event::{Granted, Level, Next, Origin, Settings, What},
        fairness::ROUND,
        view::{IntentState, TaskState},
    },
    intent::Priority,
    limits,
};

const ONE: &str = "  one: {plan: {task: {kind: k}}}\n";
const RETRIED: &str =
    "  one: {plan: {task: {kind: k, timeout: 10s, retry: {attempts: 3, backoff: 1s, jitter: 0}}}}\n";
const BOOK: &str = "
  book:
    plan:
      sequence:
        - task: {name: fetch, kind: k, input: {from: '${payload.id}'}}
        - parallel:
            - task: {name: print, kind: k, input: {text: '${tasks.fetch.text}'}, compensation: {kind: k, input: {burn: '${tasks.print.pages}'}}}
            - task: {name: bind, kind: k, compensation: {kind: k}}
        - task: {name: ship, kind: k}
";

fn refused(verdict: &Verdict) -> &str {
    match verdict {
        Verdict::Refused(why) => why,
        Verdict::Taken => panic!("taken"),
    }
}

#[test]
fn a_task_goes_its_way_and_every_step_says_why() {
    let mut world = World::new(ONE);
    world.join("w", &["k"], 2);
    let id = world.submit(Submission {
        origin: Some(Box::new(Origin {
            approved_by: Some("ana".into()),
            tier: Some("B".into()),
            score: Some(0.5),
            ..Origin::default()
        })),
        ..intent("one")
    });
    assert_eq!(id.to_string(), "int_00007-0");
    assert_eq!(world.effects, [Effect::Ready]);
    assert_eq!(world.show(id).state, IntentState::Waiting);
    let lease = world.lease("w", 5).remove(0);
    assert_eq!((lease.task, lease.attempt, &*lease.kind, lease.input.text()), (id.task(0), 1, "k", "{}"));
    assert_eq!(world.show(id).tasks[0].worker.as_deref(), Some("w"));
    assert_eq!(world.done("w", lease.task, lease.token), Verdict::Taken);
    assert_eq!(world.effects.last(), Some(&Effect::Ended { intent: id, ending: Ending::Succeeded }));
    let view = world.show(id);
    assert_eq!((view.state, view.tasks[0].state), (IntentState::Succeeded, TaskState::Succeeded));
    assert_eq!(
        world.happened(),
        ["configured", "types_defined", "worker_joined", "submitted", "dispatched", "tasks_done"]
    );
    let dispatched = &world.journal[4];
    assert!(dispatched.contains("loads of those that asked: w 0/2"), "{dispatched}");
    assert!(world.journal[3].contains("approved by ana, tier B, score 0.5"), "{}", world.journal[3]);
    world.check();
}

#[test]
fn a_tree_runs_in_its_order_with_mapped_inputs() {
    let mut world = World::new(BOOK);
    world.join("w", &["k"], 10);
    let id = world.submit(about("book", &json!({"id": 7})));
    let fetch = world.lease("w", 9);
    assert_eq!(fetch.iter().map(|l| l.input.text()).collect::<Vec<_>>(), [r#"{"from":7}"#]);
    world.answer("w", vec![ok(fetch[0].task, fetch[0].token, &json!({"text": "once"}))]);
    let middle = world.lease("w", 9);
    assert_eq!(middle.iter().map(|l| &*l.name).collect::<Vec<_>>(), ["print", "bind"]);
    assert_eq!(middle[0].input.text(), r#"{"text":"once"}"#);
    world.done("w", middle[1].task, middle[1].token);
    assert!(world.lease("w", 9).is_empty());
    world.done("w", middle[0].task, middle[0].token);
    let ship = world.lease("w", 9);
    assert_eq!(&*ship[0].name, "ship");
    world.done("w", ship[0].task, ship[0].token);
    let view = world.show(id);
    assert_eq!((view.state, view.tasks.len()), (IntentState::Succeeded, 4));
    world.check();
}

#[test]
fn what_succeeded_is_taken_back_last_first_when_a_task_fails() {
    let mut world = World::new(BOOK);
    world.join("w", &["k"], 10);
    let id = world.submit(about("book", &json!({"id": 7})));
    let fetch = world.lease("w", 9);
    world.answer("w", vec![ok(fetch[0].task, fetch[0].token, &json!({"text": "once"}))]);
    let middle = world.lease("w", 9);
    world.done("w", middle[1].task, middle[1].token);
    world.answer("w", vec![ok(middle[0].task, middle[0].token, &json!({"pages": 9}))]);
    let ship = world.lease("w", 9);
    assert_eq!(world.fail("w", ship[0].task, ship[0].token), Verdict::Taken);
    assert_eq!(world.show(id).state, IntentState::Compensating);
    let undo = world.lease("w", 9);
    assert_eq!(
        undo.iter().map(|l| (&*l.name, l.input.text())).collect::<Vec<_>>(),
        [("undo_print", r#"{"burn":9}"#)]
    );
    // A compensation that fails for good does not keep the others from being run.
    world.fail("w", undo[0].task, undo[0].token);
    let undo = world.lease("w", 9);
    assert_eq!(undo.iter().map(|l| &*l.name).collect::<Vec<_>>(), ["undo_bind"]);
    world.done("w", undo[0].task, undo[0].token);
    let view = world.show(id);
    assert_eq!(view.state, IntentState::Failed);
    assert_eq!(view.reason.as_deref(), Some("ship failed for good: boom"));
    let error = world.ask(Command::Retry { task: ship[0].task, reason: "again".into() }).unwrap_err();
    assert_eq!(error.code, "compensated");
    world.check();
}

#[test]
fn running_siblings_of_a_failed_task_are_awaited() {
    let mut world = World::new(BOOK);
    world.join("w", &["k"], 10);
    let id = world.submit(about("book", &json!({"id": 7})));
    let fetch = world.lease("w", 9);
    world.answer("w", vec![ok(fetch[0].task, fetch[0].token, &json!({"text": ""}))]);
    let middle = world.lease("w", 9);
    world.effects.clear();
    world.fail("w", middle[1].task, middle[1].token);
    let stop = Granted { task: middle[0].task, token: middle[0].token };
    assert_eq!(world.effects, [Effect::Stop { worker: "w".into(), granted: stop }]);
    match world.ask(Command::Beat { worker: "w".into(), remembered: false }) {
        Ok(Reply::Beaten { stop: told, .. }) => assert_eq!(told, [stop]),
        other => panic!("{other:?}"),
    }
    assert!(world.lease("w", 9).is_empty());
    // It succeeds all the same: then it is taken back.
    world.answer("w", vec![ok(middle[0].task, middle[0].token, &json!({"pages": 1}))]);
    let undo = world.lease("w", 9);
    assert_eq!(&*undo[0].name, "undo_print");
    world.done("w", undo[0].task, undo[0].token);
    assert_eq!(world.show(id).state, IntentState::Failed);
    world.check();
}

#[test]
fn stale_answers_are_refused_with_the_reason() {
    let mut world = World::new(RETRIED);
    world.join("a", &["k"], 2);
    world.join("b", &["k"], 2);
    let id = world.submit(intent("one"));
    let first = world.lease("a", 1).remove(0);
    assert!(refused(&world.done("b", first.task, first.token)).contains("another worker's"));
    assert!(refused(&world.done("a", first.task, first.token + 9)).contains("has another token"));
    // Past its end, but before anybody noticed.
    world.pass(15_001);
    assert!(refused(&world.done("a", first.task, first.token)).contains("the lease ended 1 ms ago"));
    world.ask(Command::Beat { worker: "a".into(), remembered: false }).unwrap();
    world.ask(Command::Beat { worker: "b".into(), remembered: false }).unwrap();
    world.tick();
    assert!(refused(&world.done("a", first.task, first.token)).contains("the lease has ended"));
    world.pass(1000);
    world.tick();
    let second = world.lease("b", 1).remove(0);
    assert!(second.token > first.token);
    assert_eq!((second.task, second.attempt), (first.task, 2));
    assert!(refused(&world.done("a", first.task, first.token)).contains("given to another lease since"));
    assert_eq!(world.done("b", second.task, second.token), Verdict::Taken);
    let taken = world.events.len();
    // The same again is taken again, and changes nothing; something else is not.
    assert_eq!(world.done("b", second.task, second.token), Verdict::Taken);
    assert_eq!(world.events.len(), taken);
    world.pass(2000);
    assert!(refused(&world.fail("b", second.task, second.token)).contains("it was answered before"));
    assert_eq!(world.show(id).state, IntentState::Succeeded);
    assert!(world.count(|what| matches!(what, What::AnswersRefused { .. })) >= 2);
    let twice = world.submit(intent("one"));
    let lease = world.lease("b", 1).remove(0);
    let verdicts =
        world.answer("b", vec![ok(lease.task, lease.token, &json!(1)), failed(lease.task, lease.token, "x")]);
    assert_eq!((&verdicts[0], refused(&verdicts[1])), (&Verdict::Taken, "it was answered before"));
    assert_eq!(world.show(twice).state, IntentState::Succeeded);
    let error = world.ask(Command::Answer {
        worker: "c".into(),
        answers: vec![failed(id.task(0), 1, "")],
        chance: 0,
    });
    assert_eq!(error.unwrap_err().code, "unknown_worker");
    world.check();
}

#[test]
fn an_answer_of_null_is_taken_again_too() {
    let mut world = World::new(ONE);
    world.join("w", &["k"], 1);
    world.submit(intent("one"));
    let lease = world.lease("w", 1).remove(0);
    let answers = vec![ok(lease.task, lease.token, &json!(null))];
    let command = Command::Answer { worker: "w".into(), answers, chance: 0 };
    for _ in 0..2 {
        let reply = world.ask_directly(&command).unwrap();
        assert_eq!(reply, Reply::Answered { verdicts: vec![Verdict::Taken] });
    }
    assert_eq!(world.count(|what| matches!(what, What::TasksDone { .. })), 1);
}

#[test]
fn what_several_workers_say_is_judged_one_by_one_and_recorded_as_one() {
    let mut world = World::new(ONE);
    world.join("a", &["k"], 1);
    world.join("b", &["k"], 1);
    let ids = [world.submit(intent("one")), world.submit(intent("one"))];
    let before = world.events.len();
    let given: Vec<_> =
        world.lease_all(&[("a", 1), ("b", 1)]).into_iter().map(|mut own| own.remove(0)).collect();
    assert_eq!(world.events.len(), before + 1, "one decision on both that asked");
    let turn = |worker: &str, lease: &Lease| Turn {
        worker: worker.into(),
        answers: vec![ok(lease.task, lease.token, &json!(1))],
        next: None,
    };
    // `b` also claims what `a` did, and nobody knows `c`.
    let mut both = turn("b", &given[1]);
    both.answers.extend(turn("b", &given[0]).answers);
    let turns = vec![turn("a", &given[0]), both, turn("c", &given[0])];
    let Ok(Reply::Turned { turns }) = world.ask(Command::Turn { turns, chance: 0 }) else { panic!("turned") };
    assert_eq!(turns[0].verdicts, [Verdict::Taken]);
    assert_eq!(turns[1].verdicts[0], Verdict::Taken);
    assert_eq!(refused(&turns[1].verdicts[1]), "the lease is another worker's");
    assert_eq!(turns[2].refused.as_ref().map(|refusal| refusal.code.as_str()), Some("unknown_worker"));
    assert_eq!(world.count(|what| matches!(what, What::TasksDone { by } if by.len() == 2)), 1);
    for id in ids {
        assert_eq!(world.show(id).state, IntentState::Succeeded);
    }
    world.check();
}

#[test]
fn a_liar_does_not_fill_the_journal() {
    let mut world = World::new(ONE);
    world.join("w", &["k"], 1);
    let id = world.submit(intent("one"));
    for _ in 0..50 {
        assert!(refused(&world.done("w", id.task(0), 99)).contains("token 99 is stale"));
    }
    assert_eq!(world.count(|what| matches!(what, What::AnswersRefused { .. })), 1);
    world.check();
}

#[test]
fn failures_are_retried_with_back_off_and_then_a_dead_letter() {
    let mut world = World::new(RETRIED);
    world.join("w", &["k"], 1);
    let id = world.submit(intent("one"));
    for (attempt, wait) in [(1, 1000), (2, 2000)] {
        let lease = world.lease("w", 1).remove(0);
        assert_eq!(lease.attempt, attempt);
        world.fail("w", lease.task, lease.token);
        assert_eq!(world.task(lease.task).state, TaskState::Delayed);
        world.pass(wait - 1);
        world.tick();
        assert!(world.lease("w", 1).is_empty());
        world.pass(1);
        assert_eq!(world.state.next_due_ms(world.now()), Some(0));
        world.tick();
    }
    let lease = world.lease("w", 1).remove(0);
    world.fail("w", lease.task, lease.token);
    assert_eq!(world.show(id).state, IntentState::Failed);
    match world.ask(Command::Query(Query::DeadLetters { limit: 5 })) {
        Ok(Reply::DeadLetters { tasks, more: false }) => {
            assert_eq!((tasks[0].id, tasks[0].reason.as_deref()), (lease.task, Some("boom")));
        }
        other => panic!("{other:?}"),
    }
    world.check();
    world.ask(Command::Retry { task: lease.task, reason: "the disk is mended".into() }).unwrap();
    let again = world.lease("w", 1).remove(0);
    assert_eq!(again.attempt, 1);
    assert!(again.token > lease.token);
    world.done("w", again.task, again.token);
    assert_eq!(world.show(id).state, IntentState::Succeeded);
    let error = world.ask(Command::Retry { task: lease.task, reason: String::new() }).unwrap_err();
    assert_eq!((error.code.as_str(), error.message.contains("is succeeded")), ("not_dead", true));
    // A worker that says that another attempt makes no sense is believed.
    let id = world.submit(intent("one"));
    let lease = world.lease("w", 1).remove(0);
    let mut answer = failed(lease.task, lease.token, "no such file");
    answer.retry = Some(false);
    world.answer("w", vec![answer]);
    assert_eq!(world.show(id).state, IntentState::Failed);
    world.check();
}

/// Found by the simulator: `grace-sim --seed 683 --steps 1200`, before retries were counted.
#[test]
fn a_retry_keeps_to_the_bound_on_open_tasks() {
    let settings = Settings { tasks: 3, ..Settings::default() };
    let types = "
  two: {plan: {sequence: [{task: {kind: k}}, {task: {kind: k}}]}}
  one: {plan: {task: {kind: k}}}
";
    let mut world = World::with(types, settings);
    world.join("w", &["k"], 1);
    world.submit(intent("two"));
    let lease = world.lease("w", 1).remove(0);
    world.fail("w", lease.task, lease.token);
    let others = [world.submit(intent("one")), world.submit(intent("one"))];
    let retry = Command::Retry { task: lease.task, reason: "again".into() };
    let error = world.ask(retry.clone()).unwrap_err();
    assert_eq!((error.code.as_str(), world.state.open_tasks()), ("overloaded", 2), "{error}");
    world.ask(Command::Cancel { intent: others[0], reason: "to make room".into() }).unwrap();
    world.ask(retry).unwrap();
    assert_eq!(world.state.open_tasks(), 3);
    world.check();
}

#[test]
fn retrying_a_dead_letter_brings_the_rest_of_its_tree_back() {
    let mut world = World::new(
        "
  two:
    plan:
      sequence:
        - task: {name: a, kind: k}
        - parallel: [{task: {name: b, kind: k}}, {task: {name: c, kind: k}}]
        - task: {name: d, kind: k}
",
    );
    world.join("w", &["k"], 4);
    let id = world.submit(intent("two"));
    let lease = world.lease("w", 1).remove(0);
    world.done("w", lease.task, lease.token);
    let lease = world.lease("w", 1).remove(0);
    world.fail("w", lease.task, lease.token);
    assert_eq!(
        world.show(id).tasks.iter().map(|t| t.state).collect::<Vec<_>>(),
        [TaskState::Succeeded, TaskState::Dead, TaskState::Cancelled, TaskState::Cancelled]
    );
    world.ask(Command::Retry { task: lease.task, reason: "again".into() }).unwrap();
    world.check();
    let leases = world.lease("w", 4);
    assert_eq!(leases.iter().map(|l| &*l.name).collect::<Vec<_>>(), ["b", "c"]);
    leases.iter().for_each(|l| drop(world.done("w", l.task, l.token)));
    let last = world.lease("w", 4).remove(0);
    world.done("w", last.task, last.token);
    assert_eq!(world.show(id).state, IntentState::Succeeded);
    world.check();
}

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
fn an_id_that_was_given_is_the_intents_own() {
    let mut world = World::new(ONE);
    let given = IntentId::new(Era::from_bits(99), 1 << 30);
    let named = |id, key: &str| Submission { id: Some(id), key: Some(key.into()), ..intent("one") };
    assert_eq!(world.submit(named(given, "a")), given);
    assert_eq!(world.submit(named(given, "a")), given, "asked again");
    // Its own ids go on as before, whatever numbers others give.
    let own = world.submit(intent("one"));
    assert_eq!(own.to_string(), "int_00007-0");
    for (id, says) in [(given, "under another key"), (own, "the task manager itself")] {
        let refused = world.try_submit(named(id, "b"));
        assert!(format!("{refused:?}").contains(says), "{refused:?}");
    }
    let other = IntentId::new(Era::from_bits(99), 5);
    let both = world.submit_all(vec![named(other, "c"), named(other, "d")]);
    assert!(format!("{both:?}").contains("under another key"), "{both:?}");
}

#[test]
fn the_same_key_gives_the_same_intent() {
    let mut world = World::new(ONE);
    let keyed = |payload: i32| Submission { key: Some("k1".into()), ..about("one", &json!({"n": payload})) };
    let id = world.submit(keyed(1));
    let events = world.events.len();
    let spaced = Submission { payload: serde_json::from_str::<Json>("{ \"n\" : 1 }").unwrap(), ..keyed(1) };
    assert_eq!(world.try_submit(spaced), Submitted::Accepted { id, repeated: true });
    assert_eq!(world.events.len(), events);
    match world.try_submit(keyed(2)) {
        Submitted::Refused(Refused { code, message, .. }) => {
            assert_eq!(code, "key_reused");
            assert!(message.contains("int_00007-0"), "{message}");
        }
        other => panic!("{other:?}"),
    }
    let both = Submission { key: Some("k2".into()), ..intent("one") };
    let twice = world.submit_all(vec![both.clone(), both]);
    assert!(
        matches!(twice[..], [Submitted::Accepted { id: a, repeated: false }, Submitted::Accepted { id: b, repeated: true }] if a == b)
    );
    // A key outlives its intent.
    world.join("w", &["k"], 1000);
    world.lease("w", 9).iter().for_each(|l| drop(world.done("w", l.task, l.token)));
    for _ in 0..limits::ENDED / 500 + 1 {
        world.submit_all(vec![intent("one"); 500]);
        let leases = world.lease("w", 500);
        world.answer("w", leases.iter().map(|l| ok(l.task, l.token, &json!(null))).collect());
    }
    assert_eq!(world.ask(Command::Query(Query::Intent(id))).unwrap_err().code, "unknown_intent");
    assert_eq!(world.try_submit(keyed(1)), Submitted::Accepted { id, repeated: true });
    assert!(world.state.intents.len() <= limits::ENDED);
    world.check();
}

#[test]
fn invalid_intents_are_refused_with_every_violation() {
    let mut world = World::new(
        "
  strict:
    payload: {type: object, required: [path], properties: {n: {type: integer}, path: {}}, additionalProperties: false}
    concurrency: {key: '${payload.path}'}
    plan: {task: {kind: k}}
",
    );
    let refusal = |result: Submitted| match result {
        Submitted::Refused(Refused { code, message, violations }) => (code, message, violations.len()),
        other => panic!("{other:?}"),
    };
    let (code, message, violations) =
        refusal(world.try_submit(about("strict", &json!({"n": "x", "pat": 1}))));
    assert_eq!((code.as_str(), violations), ("invalid", 3));
    assert_eq!(
        message,
        "the payload does not fit `strict`: /path: expected a value, found nothing, and 2 more"
    );
    let (code, message, _) = refusal(world.try_submit(intent("strickt")));
    assert_eq!(
        (code.as_str(), message.as_str()),
        ("unknown_type", "there is no intent type `strickt`; did you mean `strict`?")
    );
    let large = about("strict", &json!({"path": "x".repeat(limits::PAYLOAD_BYTES)}));
    assert_eq!(refusal(world.try_submit(large)).0, "too_large");
    let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
    let deep = Submission { payload: serde_json::from_str(&deep).unwrap(), ..intent("strict") };
    assert_eq!(refusal(world.try_submit(deep)).1, "the payload is nested too deep");
    assert_eq!(refusal(world.try_submit(about("strict", &json!({"path": [1]})))).0, "invalid");
    let nobody = Submission { actor: String::new(), ..intent("strict") };
    assert_eq!(refusal(world.try_submit(nobody)).0, "bad_request");
    let far = Submission { delay_ms: Some(u64::MAX), ..about("strict", &json!({"path": "a"})) };
    assert_eq!(refusal(world.try_submit(far)).0, "bad_request");
    assert_eq!(world.ask(Command::Submit { intents: Vec::new() }).unwrap_err().code, "bad_request");
    assert_eq!(world.state.open_tasks(), 0);
    // Of a batch, what is good is taken.
    let results = world.submit_all(vec![intent("strict"), about("strict", &json!({"path": "a"}))]);
    assert!(matches!(results[..], [Submitted::Refused(_), Submitted::Accepted { .. }]));
}

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
        Submission { origin: Some(Box::new(origin)), ..intent("one") }
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

#[test]
fn cancelling_ends_a_tree() {
    let mut world = World::new(BOOK);
    world.join("w", &["k"], 9);
    let id = world.submit(about("book", &json!({"id": 1})));
    let cancel = Command::Cancel { intent: id, reason: "not wanted".into() };
    assert_eq!(world.ask(cancel.clone()), Ok(Reply::Cancelled { state: IntentState::Cancelled }));
    assert_eq!(world.show(id).state, IntentState::Cancelled);
    assert_eq!(world.ask(cancel).unwrap_err().code, "over");
    assert!(world.lease("w", 9).is_empty());
    // One that runs is awaited; when it cannot be, it is cancelled.
    let id = world.submit(about("book", &json!({"id": 1})));
    let lease = world.lease("w", 9).remove(0);
    let cancel = Command::Cancel { intent: id, reason: "not wanted".into() };
    assert_eq!(world.ask(cancel), Ok(Reply::Cancelled { state: IntentState::Compensating }));
    world.fail("w", lease.task, lease.token);
    let view = world.show(id);
    assert_eq!((view.state, view.reason.as_deref()), (IntentState::Cancelled, Some("not wanted")));
    world.check();
}

#[test]
fn deadlines_are_counted_once_and_work_goes_on() {
    let mut world = World::new("  one: {deadline: 1m, plan: {task: {kind: k}}}\n");
    world.join("w", &["k"], 9);
    let late = world.submit(Submission { deadline_ms: Some(1000), ..intent("one") });
    let done = world.submit(Submission { deadline_ms: Some(1000), ..intent("one") });
    let own = world.submit(intent("one"));
    let leases = world.lease("w", 9);
    world.done("w", leases[1].task, leases[1].token);
    world.pass(1001);
    world.tick();
    world.tick();
    assert_eq!(
        world.count(|what| matches!(what, What::DeadlinesMissed { intents } if *intents == [late])),
        1
    );
    assert_eq!(world.state.totals().deadlines_missed, 1);
    assert!(world.show(late).late && !world.show(done).late && !world.show(own).late);
    assert_eq!(world.show(own).deadline, Some(START_MS + 60_000));
    world.done("w", leases[0].task, leases[0].token);
    assert_eq!(world.show(late).state, IntentState::Succeeded);
    world.check();
}

#[test]
fn delayed_intents_wait_for_their_time() {
    let mut world = World::new(ONE);
    world.join("w", &["k"], 9);
    let id = world.submit(Submission { delay_ms: Some(5000), ..intent("one") });
    assert_eq!((world.state.waiting(), world.state.open_tasks()), (0, 1));
    match world.ask(Command::Query(Query::Overview)) {
        Ok(Reply::Overview(overview)) => assert_eq!((overview.delayed, overview.open), (1, 1)),
        other => panic!("{other:?}"),
    }
    assert_eq!(world.state.next_due_ms(world.now()), Some(5000));
    world.pass(5000);
    world.tick();
    assert_eq!(world.lease("w", 9)[0].intent, id);
    world.check();
}

#[test]
fn an_input_that_cannot_be_made_fails_its_task() {
    let mut world = World::new("  one: {plan: {task: {kind: k, input: '${payload.a.b}'}}}\n");
    world.join("w", &["k"], 9);
    let bad = world.submit(intent("one"));
    let good = world.submit(about("one", &json!({"a": {"b": [1]}})));
    let leases = world.lease("w", 9);
    assert_eq!(leases.iter().map(|l| (l.intent, l.input.text())).collect::<Vec<_>>(), [(good, "[1]")]);
    let view = world.show(bad);
    assert_eq!(view.state, IntentState::Failed);
    assert!(view.reason.unwrap().contains("its input cannot be made"));
    world.check();
}

#[test]
fn types_that_change_leave_what_is_under_way_alone() {
    let mut world = World::new(RETRIED);
    world.join("w", &["k", "new"], 9);
    let old = world.submit(intent("one"));
    world.define("  one: {plan: {task: {kind: new}}}\n  two: {plan: {task: {kind: k}}}\n").unwrap();
    world.check();
    let new = world.submit(intent("one"));
    let kinds: Vec<_> =
        world.lease("w", 9).into_iter().map(|l| (l.intent, l.kind, l.task, l.token)).collect();
    assert_eq!(kinds.iter().map(|k| (k.0, &*k.1)).collect::<Vec<_>>(), [(old, "k"), (new, "new")]);
    let before = world.events.len();
    world.define("  one: {plan: {task: {kind: new}}}\n  two: {plan: {task: {kind: k}}}\n").unwrap();
    assert_eq!(world.events.len(), before, "nothing changed");
    world.define("  two: {plan: {task: {kind: k}}}\n").unwrap();
    assert!(
        matches!(world.try_submit(intent("one")), Submitted::Refused(Refused { code, .. }) if code == "unknown_type")
    );
    for (_, _, task, token) in kinds {
        assert_eq!(world.done("w", task, token), Verdict::Taken);
    }
    world.check();
    let bad = serde_json::from_value(json!({"x": {"plan": {}}})).unwrap();
    assert_eq!(world.ask(Command::Define { types: bad }).unwrap_err().code, "bad_request");
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

#[test]
fn steps_of_the_wall_clock_move_nothing_and_a_boot_moves_on() {
    let mut world = World::new(ONE);
    world.join("w", &["k"], 9);
    let id = world.submit(Submission { delay_ms: Some(10_000), ..intent("one") });
    world.wall_ms += 300_000;
    world.tick();
    assert_eq!(world.task(id.task(0)).state, TaskState::Delayed);
    world.wall_ms -= 600_000;
    world.pass(9_999);
    world.tick();
    assert_eq!(world.task(id.task(0)).state, TaskState::Delayed);
    // A boot: the monotonic clock begins anew, two seconds later by the wall.
    world.wall_ms = START_MS + 9_999 + 2000;
    world.mono_ms = 3;
    world
        .ask(Command::Configure {
            boot: "boot-2".into(),
            era: Era::from_bits(1),
            settings: Settings::default(),
        })
        .unwrap();
    world.tick();
    assert_eq!(world.task(id.task(0)).state, TaskState::Waiting);
    world.check();
}

#[test]
fn nothing_is_done_before_it_is_configured() {
    let mut world = World::new(ONE);
    world.state = crate::htm::State::default();
    let refusal = world.ask(Command::Submit { intents: vec![intent("one")] }).unwrap_err();
    assert_eq!(refusal.code, "not_configured");
}

#[test]
fn commands_that_make_no_sense_are_refused() {
    let mut world = World::new(ONE);
    let mut code = |command| world.ask(command).unwrap_err().code;
    assert_eq!(code(Command::Lease { asks: Vec::new() }), "bad_request");
    assert_eq!(code(Command::Register(offer("", "1", &["k"], 1))), "bad_request");
    assert_eq!(code(Command::Register(offer("w", "1", &[], 1))), "bad_request");
    assert_eq!(code(Command::Register(offer("w", "1", &["k"], 0))), "bad_request");
    assert_eq!(code(Command::Leave { worker: "w".into() }), "unknown_worker");
    let nobody = "int_00007-99".parse().unwrap();
    assert_eq!(code(Command::Cancel { intent: nobody, reason: String::new() }), "unknown_intent");
    assert_eq!(code(Command::Retry { task: nobody.task(0), reason: String::new() }), "unknown_task");
    assert_eq!(code(Command::Query(Query::Task(nobody.task(1)))), "unknown_task");
    assert!(
        serde_json::from_str::<Command>(r#"{"submit":{"intents":[{"type":"a","actor":"b","pay":1}]}}"#)
            .is_err()
    );
    let next = serde_json::to_string(&Next::Retry { due: 1 }).unwrap();
    assert_eq!(next, r#"{"retry":{"due":1}}"#);
}
