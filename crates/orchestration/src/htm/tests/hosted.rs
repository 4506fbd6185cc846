//! On the real host: what the journal and the snapshot hold is what the state is built from.

use grace_kernel::{Envelope, Host, Outcome};
use grace_store::memory::{Disk, MemoryJournal};
use grace_types::chance::SeededEntropy;
use serde_json::json;

use super::world::{START_MS, about, offer, ok};
use crate::htm::{
    Command, Era, Htm, Reply, State,
    command::{Ask, Submission},
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
