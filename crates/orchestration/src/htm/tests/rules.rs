//! One rule at a time, but for who is served next (`queue`) and what is known of workers (`workers`).

use std::sync::Arc;

use serde_json::json;

use super::world::{ONE, RETRIED, START_MS, World, about, failed, intent, offer, ok, refused};
use crate::{
    htm::{
        Command, Effect, Ending, Era, IntentId, Json, Reply,
        command::{Lease, Query, Refused, Submission, Submitted, Turn, Verdict},
        event::{Granted, Next, Origin, Settings, What},
        view::{IntentState, TaskState},
    },
    limits,
};

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

#[test]
fn a_task_goes_its_way_and_every_step_says_why() {
    let mut world = World::new(ONE);
    world.join("w", &["k"], 2);
    let id = world.submit(Submission {
        origin: Some(Arc::new(Origin {
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
