//! On the real host: what the journal and the snapshot hold is what the state is built from.

use grace_kernel::{Envelope, Host, Joined, Outcome};
use grace_store::memory::{Disk, MemoryJournal};
use grace_types::chance::SeededEntropy;
use serde_json::json;

use super::world::{START_MS, about, offer, ok};
use crate::htm::{
    Command, Era, Htm, Reply, State,
    command::{Ask, Submission, Submitted},
    event::Settings,
};

fn now() -> grace_types::time::Now {
    use grace_types::time::{Monotonic, Now, Timestamp};
    Now { wall: Timestamp::from_nanos(START_MS * 1_000_000), mono: Monotonic::from_nanos(1_000_000_000) }
}

fn ask(host: &mut Host<Htm, ()>, journal: &mut MemoryJournal, command: Command, key: Option<&str>) -> Reply {
    let mut envelope = Envelope::new(command);
    envelope.key = key.map(str::to_owned);
    host.take(now(), &mut SeededEntropy::new(1), envelope, ());
    let mut released = host.commit(journal);
    match released.answers.remove(0).1 {
        Ok(Outcome::Done(reply)) => reply,
        Ok(Outcome::Refused(refusal)) => panic!("{refusal}"),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_restart_is_a_replay() {
    let mut journal = MemoryJournal::open(&Disk::new()).unwrap();
    let mut host: Host<Htm, ()> = Host::load("htm", &mut journal).unwrap();
    let types =
        "intents:\n  one: {payload: {type: object}, plan: {task: {kind: k, input: {n: '${payload.n}'}}}}\n";
    let types = crate::written::read(types, "t.yaml".as_ref()).unwrap().intents;
    let configure =
        Command::Configure { boot: "b".into(), era: Era::from_bits(3), settings: Settings::default() };
    ask(&mut host, &mut journal, configure, None);
    ask(&mut host, &mut journal, Command::Define { types }, None);
    ask(&mut host, &mut journal, Command::Register(offer("w", "1", &["k"], 5)), None);
    let intents: Vec<Submission> = (0..3).map(|n| about("one", &json!({"n": n, "text": "ä\"\n"}))).collect();
    let submit = Command::Submit { intents };
    let first = ask(&mut host, &mut journal, submit.clone(), Some("batch-1"));
    assert_eq!(ask(&mut host, &mut journal, submit, Some("batch-1")), first);
    let asks = vec![Ask { worker: "w".into(), max: 2, request: None }];
    let Reply::Leased { grants, .. } = ask(&mut host, &mut journal, Command::Lease { asks }, None) else {
        panic!("leases")
    };
    let lease = &grants[0].tasks[0];
    assert_eq!(lease.input.text(), r#"{"n":0}"#);
    let answers = vec![ok(lease.task, lease.token, &json!({"out": [1, 2.5, null]}))];
    ask(&mut host, &mut journal, Command::Answer { worker: "w".into(), answers, chance: 1 }, None);
    let lives = host.fingerprint().unwrap();
    let replayed: Host<Htm, ()> = Host::load("htm", &mut journal).unwrap();
    assert_eq!(replayed.fingerprint().unwrap(), lives);
    host.snapshot(&mut journal).unwrap();
    let mut restored: Host<Htm, ()> = Host::load("htm", &mut journal).unwrap();
    assert_eq!(restored.fingerprint().unwrap(), lives);
    assert!(restored.take_notices().is_empty(), "the snapshot was read");
    assert_eq!((waiting(restored.state()), restored.outstanding().len()), (1, 1));
}

fn waiting(state: &State) -> u64 {
    state.waiting()
}

#[test]
fn intents_that_come_together_are_taken_as_one_and_answered_each() {
    let mut journal = MemoryJournal::open(&Disk::new()).unwrap();
    let mut host: Host<Htm, u32> = Host::load("htm", &mut journal).unwrap();
    let types = "intents:\n  one: {payload: {type: object, required: [n]}, plan: {task: {kind: k}}}\n  two: {plan: {task: {kind: k}}}\n";
    let types = crate::written::read(types, "t.yaml".as_ref()).unwrap().intents;
    let configure =
        Command::Configure { boot: "b".into(), era: Era::from_bits(3), settings: Settings::default() };
    let mut entropy = SeededEntropy::new(1);
    for command in [configure, Command::Define { types }] {
        host.take(now(), &mut entropy, Envelope::new(command), 0);
    }
    host.commit(&mut journal);

    let submit = |intent: Submission| Envelope::new(Command::Submit { intents: vec![intent] });
    let mut joined = Joined::new(submit(about("one", &json!({"n": 1}))), 1);
    let mut apart = Vec::new();
    let mut others = vec![
        (submit(about("one", &json!({"n": 2}))), 2),
        (submit(about("one", &json!({"text": "no n"}))), 3),
        (submit(about("one", &json!({"n": 4}))), 4),
        // Of another type, of somebody else, for another reason, and one that has a cause of its own.
        (submit(about("two", &json!({}))), 5),
        (submit(Submission { actor: "else".into(), ..about("one", &json!({"n": 6})) }), 6),
        (submit(Submission { origin: Some(Box::default()), ..about("one", &json!({"n": 7})) }), 7),
        (submit(about("one", &json!({"n": 8}))).with_key("k"), 8),
    ];
    for (envelope, to) in others.drain(..) {
        if let Some((_, to)) = joined.join(envelope, to) {
            apart.push(to);
        }
    }
    assert_eq!(apart, [5, 6, 7, 8]);
    host.take_joined(now(), &mut entropy, joined);
    let released = host.commit(&mut journal);
    assert_eq!(released.entries.len(), 1, "one record for all");
    let mut told = Vec::new();
    for (to, answer) in released.answers {
        let Ok(Outcome::Done(Reply::Submitted { results })) = answer else { panic!("{answer:?}") };
        assert_eq!(results.len(), 1, "each hears of its own");
        told.push((to, matches!(results[0], Submitted::Accepted { .. })));
    }
    assert_eq!(told, [(1, true), (2, true), (3, false), (4, true)]);
    assert_eq!(waiting(host.state()), 3);
}

#[test]
fn not_too_many_are_taken_as_one() {
    let submit = |n: u32| Envelope::new(Command::Submit { intents: vec![about("one", &json!({"n": n}))] });
    let mut joined: Joined<Htm, u32> = Joined::new(submit(0), 0);
    let most = crate::limits::JOINED as u32;
    let refused = (1..2 * most).find(|n| joined.join(submit(*n), *n).is_some()).unwrap();
    assert!(refused > 32 && refused <= most, "{refused}");
}
