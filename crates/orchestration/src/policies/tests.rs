//! Rules over events: what they match, count, emit and refuse, and how cascades end.

use std::{
    collections::{BTreeMap, VecDeque},
    path::Path,
};

use grace_kernel::{Decider, Outcome as Answer};
use grace_types::{
    chance::{Entropy as _, SeededEntropy},
    event::Event as CloudEvent,
    id::EventId,
    time::{Hlc, Monotonic, Now, Timestamp},
};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    delivery::{
        action::Work,
        step::{Perform, Report},
    },
    limits,
    written::read,
};

const START: u64 = 1_764_000_000_000_000_000;

/// An engine on a bus: what it publishes comes back to it.
struct Engine {
    state: State,
    now_ms: u64,
    chance: u64,
    recorded: Vec<Event>,
    performed: Vec<Perform>,
}

impl Engine {
    fn with(text: &str) -> Self {
        let mut made = Self {
            state: State::default(),
            now_ms: 1000,
            chance: 0,
            recorded: Vec::new(),
            performed: Vec::new(),
        };
        made.load(text);
        made
    }

    fn load(&mut self, text: &str) {
        let policies = read(text, Path::new("p.yaml")).unwrap_or_else(|errors| panic!("{errors}")).policies;
        assert_eq!(self.ask(&Command::Load { policies }), Ok(Reply::Done));
    }

    fn now(&self) -> Now {
        let nanos = self.now_ms * 1_000_000;
        Now { wall: Timestamp::from_nanos(START + nanos), mono: Monotonic::from_nanos(nanos) }
    }

    fn ask(&mut self, command: &Command) -> Result<Reply, Refusal> {
        let decision = EventPolicies::decide(&self.state, self.now(), command);
        for recorded in decision.events() {
            EventPolicies::evolve(&mut self.state, recorded.event());
            self.performed.extend(EventPolicies::effects(&self.state, recorded));
            self.recorded.push(recorded.event().clone());
        }
        match decision.outcome().clone() {
            Answer::Done(reply) => Ok(reply),
            Answer::Refused(refusal) => Err(refusal),
        }
    }

    fn observe(&mut self, events: Vec<CloudEvent>) -> Vec<Observation> {
        self.chance += 1;
        match self.ask(&Command::Observe { events, chance: self.chance }) {
            Ok(Reply::Observed { events }) => events,
            other => panic!("{other:?}"),
        }
    }

    fn fired(&mut self, event: CloudEvent) -> Vec<String> {
        match self.observe(vec![event]).remove(0) {
            Observation::Done { fired, .. } => fired,
            other => panic!("{other:?}"),
        }
    }

    /// Performs what is to be performed: published events come back, until nothing more happens.
    fn run(&mut self, most: usize) -> usize {
        let mut seen = 0;
        while !self.performed.is_empty() && seen < most {
            let performed = std::mem::take(&mut self.performed);
            let reports = performed.iter().map(done).collect();
            self.ask(&Command::Settle { reports, chance: 1 }).unwrap();
            let events: Vec<CloudEvent> = performed.iter().filter_map(published).collect();
            seen += events.len();
            for batch in events.chunks(limits::EVENTS) {
                self.observe(batch.to_vec());
            }
            self.ask(&Command::Tick).unwrap();
        }
        seen
    }

    fn row(&self, name: &str) -> Row {
        let decision = EventPolicies::decide(&self.state, self.now(), &Command::Show { name: name.into() });
        match decision.outcome().clone() {
            Answer::Done(Reply::Policy { row, .. }) => row,
            other => panic!("{other:?}"),
        }
    }

    fn stops(&self) -> Vec<(String, Stop)> {
        let each = self.recorded.iter();
        each.filter_map(|event| match event {
            Event::Stopped { policy, stop, .. } => Some((policy.clone(), stop.clone())),
            _ => None,
        })
        .collect()
    }

    fn check_replay(&self) {
        let bytes = |state: &State| serde_json::to_string(state).unwrap();
        let mut replayed = State::default();
        for event in &self.recorded {
            let text = serde_json::to_string(event).unwrap();
            EventPolicies::evolve(&mut replayed, &serde_json::from_str(&text).unwrap());
        }
        assert_eq!(bytes(&replayed), bytes(&self.state));
        let snapshot: State = serde_json::from_str(&bytes(&self.state)).unwrap();
        assert_eq!(bytes(&snapshot), bytes(&self.state));
        assert_eq!(snapshot.index.matching("a.b"), self.state.index.matching("a.b"));
    }
}

fn done(perform: &Perform) -> Report {
    Report { owner: perform.owner.clone(), key: perform.delivery.key.clone(), failed: None, lasting: false }
}

/// The event that the shell publishes.
fn published(perform: &Perform) -> Option<CloudEvent> {
    let Work::Publish { kind, subject, data } = &perform.delivery.work else { return None };
    let cause = perform.delivery.cause.as_ref()?;
    Some(CloudEvent {
        id: perform.delivery.id,
        source: "/grace/event_policy".into(),
        kind: kind.clone(),
        subject: subject.clone(),
        correlationid: cause.correlation,
        causationid: Some(cause.event),
        hops: cause.hops + 1,
        ..event(0, "x", data.clone())
    })
}

fn event(n: u64, kind: &str, data: Value) -> CloudEvent {
    CloudEvent {
        id: EventId::from_bits(u128::from(n) << 20),
        source: "/test".into(),
        kind: kind.into(),
        subject: None,
        time: Timestamp::from_nanos(START),
        correlationid: None,
        causationid: None,
        traceparent: None,
        hops: 0,
        hlc: Hlc::default(),
        data,
    }
}

#[test]
fn a_policy_acts_on_events_and_their_counts() {
    let mut engine = Engine::with(
        "
policies:
  many:
    match: [acl.violation]
    window: {within: 10s, by: data.actor}
    when: count >= 3
    then:
      - submit: {intent: quarantine, payload: {actor: '${data.actor}', count: '${count}'}, priority: high}
      - emit: {type: acl.alarm, data: {of: '${event.id}'}}
      - annotate: '${data.actor} is at ${count}'
",
    );
    let violation = |n: u64, actor: &str| event(n, "acl.violation", json!({"actor": actor}));
    assert!(engine.fired(violation(1, "a")).is_empty());
    assert!(engine.fired(violation(2, "b")).is_empty());
    assert!(engine.fired(violation(3, "a")).is_empty());
    engine.now_ms += 4000;
    assert_eq!(engine.fired(violation(4, "a")), ["many"]);
    let Work::Submit { payload, .. } = &engine.performed[0].delivery.work else { panic!() };
    assert_eq!(*payload, json!({"actor": "a", "count": 3}));
    assert!(matches!(&engine.performed[1].delivery.work, Work::Publish { kind, .. } if kind == "acl.alarm"));
    let noted = engine.recorded.iter().any(|event| {
        matches!(event, Event::Observed { events, .. } if events[0].fired == [("many".to_owned(), vec!["a is at 3".to_owned()])])
    });
    assert!(noted);
    assert_eq!(engine.observe(vec![violation(4, "a")]), [Observation::Duplicate]);
    engine.now_ms += 6001;
    assert!(engine.fired(violation(5, "a")).is_empty(), "two of the three are out of the window");
    let batch = engine.observe((10..14).map(|n| violation(n, "c")).collect());
    let fired = batch
        .iter()
        .filter(|one| matches!(one, Observation::Done { fired, .. } if !fired.is_empty()))
        .count();
    assert_eq!(fired, 2, "counts go on within a batch");
    engine.check_replay();
}

#[test]
fn priority_orders_and_last_keeps() {
    let mut engine = Engine::with(
        "
policies:
  low: {match: [a.*], then: [{annotate: low}], priority: -1}
  plain: {match: [a.b], then: [{annotate: plain}]}
  top: {match: ['*'], then: [{annotate: top}], priority: 5}
  keeps: {match: [a.c], when: data.keep, then: [{annotate: keeps}], priority: 2, last: true}
  off: {match: ['*'], then: [{annotate: off}], enabled: false}
  broken: {match: [a.d], when: data.lost == 1, then: [{annotate: x}]}
",
    );
    assert_eq!(engine.fired(event(1, "a.b", json!({}))), ["top", "plain", "low"]);
    assert_eq!(engine.fired(event(2, "a.c", json!({"keep": true}))), ["top", "keeps"]);
    assert_eq!(engine.fired(event(3, "a.c", json!({"keep": false}))), ["top", "low"]);
    assert_eq!(engine.fired(event(4, "a.d", json!({}))), ["top", "low"]);
    assert_eq!(engine.fired(event(5, "a.d", json!({}))), ["top", "low"]);
    let failures = engine.recorded.iter().filter(|event| matches!(event, Event::Failed { .. })).count();
    assert_eq!(failures, 1, "once a minute");
    let test = Command::Test { event: Box::new(event(9, "a.c", json!({"keep": true}))) };
    let Ok(Reply::Verdicts { verdicts }) = engine.ask(&test) else { panic!() };
    let told: BTreeMap<&str, &Outcome> =
        verdicts.iter().map(|one| (one.policy.as_str(), &one.outcome)).collect();
    assert!(matches!(told["top"], Outcome::Fires { .. }));
    assert_eq!(told["low"], &Outcome::KeptBy { policy: "keeps".into() });
    assert_eq!((told["plain"], told["off"]), (&Outcome::OtherType, &Outcome::Disabled));
    engine.check_replay();
}

/// `count` policies, each of which publishes what the next one matches, the last what the first one matches.
fn ring(count: usize, more: &str) -> String {
    let one = |at: usize| {
        let next = (at + 1) % count;
        format!("  p{at}: {{match: [ring.e{at}], then: [{{emit: {{type: ring.e{next}}}}}]{more}}}\n")
    };
    format!("policies:\n{}", (0..count).map(one).collect::<String>())
}

#[test]
fn loops_of_any_length_are_stopped() {
    for length in [1usize, 2, 3, 9] {
        let mut engine = Engine::with(&ring(length, ""));
        engine.fired(event(1, "ring.e0", json!({})));
        let seen = engine.run(1000);
        assert_eq!(seen, length, "each fires once");
        let chain: Vec<String> = (0..=length).map(|at| format!("p{}", at % length)).collect();
        assert_eq!(engine.stops(), [("p0".to_owned(), Stop::Cycle { chain })]);
        assert_eq!(engine.row("p0").guard, "open");
        assert!(engine.row("p0").reason.unwrap().starts_with("a loop: p0 → "));
        engine.check_replay();
    }
    let mut engine = Engine::with(&ring(10, ""));
    engine.fired(event(1, "ring.e0", json!({})));
    assert_eq!(engine.run(1000), 10);
    assert_eq!(engine.stops(), [("p0".to_owned(), Stop::Depth { hops: 10 })], "as deep as a chain may be");
    let mut engine = Engine::with(&ring(1, ", repeat: 3"));
    engine.fired(event(1, "ring.e0", json!({})));
    assert_eq!(engine.run(1000), 4, "three more times, as allowed");
    assert!(matches!(&engine.stops()[0].1, Stop::Cycle { chain } if chain.len() == 5));
    let mut engine = Engine::with(&ring(1, ", repeat: 99"));
    engine.fired(event(1, "ring.e0", json!({})));
    assert_eq!(engine.run(1000), 10);
    assert_eq!(engine.stops()[0].1, Stop::Depth { hops: 10 });
}

#[test]
fn a_stopped_policy_rests_and_is_tried() {
    let mut engine = Engine::with(
        "policies:\n  p: {match: [a], then: [{emit: {type: b}}]}\n  q: {match: [b], when: data == null, then: [{emit: {type: a}}]}\n",
    );
    engine.fired(event(1, "a", json!({})));
    engine.run(100);
    assert_eq!(
        (engine.stops().len(), engine.row("p").guard.as_str(), engine.row("q").guard.as_str()),
        (1, "open", "closed")
    );
    assert!(engine.fired(event(2, "a", json!({}))).is_empty(), "it rests");
    assert!(engine.fired(event(3, "a", json!({}))).is_empty());
    assert_eq!(
        engine.recorded.iter().filter(|event| matches!(event, Event::Rested { .. })).count(),
        0,
        "told a moment ago"
    );
    engine.now_ms += limits::CASCADE_REST_MS;
    let batch = engine.observe(vec![event(4, "a", json!({})), event(5, "a", json!({}))]);
    let fired: Vec<usize> = batch
        .iter()
        .map(|one| match one {
            Observation::Done { fired, .. } => fired.len(),
            _ => 0,
        })
        .collect();
    assert_eq!(fired, [1, 0], "one on trial");
    engine.run(100);
    assert_eq!(
        (engine.stops().len(), engine.row("p").guard.as_str()),
        (2, "open"),
        "the loop is still there"
    );
    engine.load("policies:\n  p: {match: [a], then: [{emit: {type: b}}]}\n  q: {match: [b], when: data != null, then: [{emit: {type: a}}]}\n");
    engine.now_ms += limits::CASCADE_REST_MS;
    assert_eq!(engine.fired(event(6, "a", json!({}))), ["p"]);
    engine.run(100);
    assert_eq!(engine.row("p").guard, "half_open");
    let Ok(Reply::Overview(overview)) = engine.ask(&Command::Overview) else { panic!() };
    let fired = engine.row("p").fired + engine.row("q").fired;
    assert_eq!((overview.breakers_open, overview.totals.fired), (1, fired), "it is tried");
    engine.now_ms += limits::CASCADE_TRIAL_MS;
    assert_eq!(engine.fired(event(7, "a", json!({}))), ["p"]);
    assert_eq!((engine.row("p").guard.as_str(), engine.stops().len()), ("closed", 2));
    engine.check_replay();
    let mut engine = Engine::with(&ring(1, ""));
    engine.fired(event(1, "ring.e0", json!({})));
    engine.run(100);
    engine.ask(&Command::Reset { name: "p0".into() }).unwrap();
    assert_eq!(engine.row("p0").guard, "closed");
}

#[test]
fn a_loop_through_others_is_found_by_what_it_belongs_to() {
    let mut engine =
        Engine::with("policies:\n  p: {match: [job.failed], then: [{submit: {intent: retry}}]}\n");
    let first = event(1, "job.failed", json!({}));
    assert_eq!(engine.fired(first.clone()), ["p"]);
    let correlation = engine.performed[0].delivery.cause.as_ref().unwrap().correlation;
    engine.run(10);
    let later = CloudEvent {
        correlationid: correlation,
        causationid: Some(EventId::from_bits(77)),
        hops: 3,
        ..event(2, "job.failed", json!({}))
    };
    assert!(engine.fired(later).is_empty());
    assert_eq!(engine.stops(), [("p".to_owned(), Stop::Cycle { chain: vec!["p".into(), "p".into()] })]);
    assert!(engine.fired(event(3, "job.failed", json!({}))).is_empty(), "it rests");
    let sibling = CloudEvent { correlationid: correlation, ..event(4, "job.failed", json!({})) };
    engine.now_ms += 2 * limits::CASCADE_REST_MS;
    assert_eq!(engine.fired(sibling), ["p"], "another event of the same root is no loop");
}

#[test]
fn a_tree_of_policies_is_cut_at_its_fan_out() {
    let mut text = "policies:\n".to_owned();
    for level in 0..9 {
        for branch in 0..5 {
            let next = level + 1;
            text += &format!(
                "  l{level}-b{branch}: {{match: [l{level}], then: [{{emit: {{type: l{next}}}}}], delivery: {{in_flight: 4096, queue: 100000}}}}\n"
            );
        }
    }
    let mut engine = Engine::with(&text);
    engine.fired(event(1, "l0", json!({})));
    let seen = engine.run(1_000_000);
    let most = usize::try_from(limits::CASCADE_FAN_OUT).unwrap();
    assert!(seen >= most && seen < most + 50, "{seen} of 5 + 25 + … + 5^9");
    let stops = engine.stops();
    assert!(
        stops.iter().all(|(_, stop)| matches!(stop, Stop::FanOut { .. })) && !stops.is_empty(),
        "{stops:?}"
    );
    assert_eq!(engine.fired(event(2, "l0", json!({}))).len(), 5, "another root is another matter");
    engine.check_replay();
}

#[test]
fn a_bad_file_is_told_with_places() {
    let text = "policies:
  one:
    match: [a*]
    when: data.x = 1
    then:
      - emit: {type: dev.grace.x}
      - annotat: x
    priorty: 3
  t wo: {match: [a], when: count > 1, then: [{annotate: '${dat.x}'}]}
";
    let told = read(text, Path::new("p.yaml")).unwrap_err().to_string();
    for part in [
        "p.yaml:3:13: error: policies.one.match[0]: `*` stands for whole words",
        "p.yaml:4:11: error: policies.one.when: this is not a CEL expression",
        "policies.one.then[0].emit.type: types that begin with `dev.grace.` are Grace's own",
        "p.yaml:7:9: error: policies.one.then[1].annotat: unknown key",
        "did you mean `annotate`?",
        "p.yaml:8:5: error: policies.one.priorty: unknown key",
        "did you mean `priority`?",
        "p.yaml:9:3: error: policies.t wo: a name has letters",
        "there is no `count` here",
        "help: give the policy a `window`",
        "there is no `dat` here",
        "did you mean `data`?",
    ] {
        assert!(told.contains(part), "{part}\n{told}");
    }
}

#[test]
fn lint_finds_what_is_suspicious() {
    let text = "
policies:
  never: {match: [a], when: 1 > 2, then: [{annotate: x}]}
  always: {match: [b], when: 'true', then: [{annotate: x}]}
  twice: {match: [b], when: 'true', then: [{annotate: x}]}
  keeps: {match: [c.*], then: [{annotate: x}], priority: 1, last: true}
  shadowed: {match: [c.d, c.e.*], then: [{annotate: y}]}
  window: {match: [d], window: {within: 1s}, when: data.x, then: [{annotate: x}]}
  off: {match: [d], then: [{annotate: x}], enabled: false}
  x: {match: [x], then: [{emit: {type: y}}]}
  y: {match: [y], when: data.go, then: [{emit: {type: z}}]}
  z: {match: ['*'], when: data.go, then: [{emit: {type: x}}], priority: -9}
  fine: {match: [q], when: data.x > 1, then: [{emit: {type: r}}]}
";
    let policies = read(text, Path::new("p.yaml")).unwrap().policies;
    let mut told: Vec<(String, String)> =
        lint(&policies).into_iter().map(|finding| (finding.policy, finding.code)).collect();
    told.sort();
    let expected = [
        ("always", "always"),
        ("never", "never"),
        ("off", "disabled"),
        ("shadowed", "shadowed"),
        ("twice", "always"),
        ("twice", "repeated"),
        ("window", "unused_window"),
        ("x", "loop"),
        ("y", "loop"),
    ];
    let told: Vec<(&str, &str)> =
        told.iter().map(|(policy, code)| (policy.as_str(), code.as_str())).collect();
    assert_eq!(told, expected, "{:#?}", lint(&policies));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    /// Whatever policies there are and whatever comes: it ends, the bounds hold, and a replay knows the same.
    #[test]
    fn every_cascade_ends(seed: u64) {
        let mut chance = SeededEntropy::new(seed);
        let mut text = "policies:\n".to_owned();
        for at in 0..6 {
            let (from, to, other) = (chance.below(4), chance.below(4), chance.below(4));
            let repeat = chance.below(3);
            text += &format!(
                "  p{at}: {{match: [k.t{from}], then: [{{emit: {{type: k.t{to}}}}}, {{emit: {{type: k.t{other}}}}}], repeat: {repeat}}}\n"
            );
        }
        let mut engine = Engine::with(&text);
        for n in 0..8 {
            let kind = format!("k.t{}", chance.below(4));
            engine.observe(vec![event(n + 1, &kind, json!({}))]);
            let seen = engine.run(1_000_000);
            prop_assert!(seen < 3 * usize::try_from(limits::CASCADE_FAN_OUT).unwrap(), "{}", seen);
            engine.now_ms += chance.below(100_000);
        }
        for event in &engine.recorded {
            if let Event::Observed { events, .. } = event {
                prop_assert!(events.iter().all(|one| one.hops < limits::CASCADE_DEPTH || one.fired.is_empty()));
            }
        }
        engine.check_replay();
    }
}

#[test]
fn what_waits_is_delivered_in_the_end() {
    let mut engine = Engine::with(
        "policies:\n  p: {match: [a], then: [{submit: {intent: i}}], delivery: {in_flight: 2, queue: 3, retry: {attempts: 1}}}\n",
    );
    engine.observe((1..=10).map(|n| event(n, "a", json!({}))).collect());
    assert_eq!((engine.performed.len(), engine.row("p").waiting, engine.row("p").dead), (2, 3, 5));
    let mut order: VecDeque<String> = VecDeque::new();
    while let Some(first) = engine.performed.pop() {
        order.push_back(first.delivery.key.clone());
        engine.ask(&Command::Settle { reports: vec![done(&first)], chance: 1 }).unwrap();
        engine.ask(&Command::Tick).unwrap();
    }
    assert_eq!((order.len(), engine.row("p").done), (5, 5));
    assert_eq!(
        engine.ask(&Command::Requeue { name: "p".into(), keys: None }),
        Ok(Reply::Letters { count: 3 })
    );
    assert_eq!(
        engine.ask(&Command::Discard { name: "p".into(), keys: None }),
        Ok(Reply::Letters { count: 2 })
    );
    engine.check_replay();
}

#[test]
fn a_policy_without_room_keeps_no_other_from_acting_and_has_the_event_when_it_comes_again() {
    let mut engine = Engine::with(
        "
policies:
  counts: {match: [a], window: {within: 1h}, then: [{annotate: '${count}'}], priority: 2}
  full:
    match: [a]
    window: {within: 1h}
    when: count >= 1
    then: [{emit: {type: b}}, {emit: {type: c}}]
    delivery: {queue: 2, in_flight: 2}
    priority: 1
  other: {match: [a], then: [{emit: {type: d}}]}
",
    );
    let batch = |n: u64| (n..n + 1000).map(|n| event(n, "a", json!(null))).collect();
    let mut n = 0;
    let busy = |one: &Observation| matches!(one, Observation::Busy { .. });
    while !engine.observe(batch(n)).iter().any(busy) {
        n += 1000;
    }
    engine.now_ms += 1;
    let late = || vec![event(1 << 40, "a", json!(null))];
    let before = ["counts", "full", "other"].map(|name| engine.row(name).fired);
    for _ in 0..3 {
        assert!(
            matches!(&engine.observe(late())[..], [Observation::Busy { reason }] if reason.ends_with("of full"))
        );
    }
    assert_eq!(
        ["counts", "full", "other"].map(|name| engine.row(name).fired),
        [before[0] + 1, before[1], before[2] + 1]
    );
    engine.check_replay();
    engine.ask(&Command::Discard { name: "full".to_owned(), keys: None }).unwrap();
    assert_eq!(engine.fired(late().remove(0)), ["full"]);
    assert_eq!(engine.observe(late()), [Observation::Duplicate]);
}

#[test]
fn nobody_makes_a_chain_longer_by_what_he_says_of_it_and_who_says_too_much_stops_his_own_alone() {
    let mut engine = Engine::with(
        "policies: {go: {match: [go], repeat: 100, then: [{emit: {type: gone}}]}, other: {match: [gone], then: [{emit: {type: end}}]}}",
    );
    // Somebody outside goes on with each, as if nothing had been before it.
    let mut next = event(1, "go", json!(null));
    let mut fired = 0;
    while engine.fired(next.clone()) == ["go"] {
        fired += 1;
        let gone = published(&engine.performed.pop().unwrap()).unwrap();
        next = CloudEvent { causationid: Some(gone.id), ..event(1 + fired, "go", json!(null)) };
    }
    assert_eq!(fired, u64::from(limits::CASCADE_DEPTH) / 2, "each time two causes are added");
    assert_eq!(engine.stops(), [("go".to_owned(), Stop::Depth { hops: limits::CASCADE_DEPTH })]);
    assert_eq!(engine.row("go").guard, "open");

    let forged = |n: u64| CloudEvent { hops: 10, ..event(n, "gone", json!(null)) };
    assert!(engine.fired(forged(100)).is_empty() && engine.fired(forged(101)).is_empty());
    assert_eq!(engine.stops().len(), 2, "told once");
    assert_eq!(engine.fired(event(102, "gone", json!(null))), ["other"], "others' are acted upon");
    engine.check_replay();
}
