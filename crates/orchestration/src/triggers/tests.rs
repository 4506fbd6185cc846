//! What fires, what does not and why, and that nothing acknowledged is lost.

use std::collections::BTreeMap;

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
        action::{Action, Publish, Submit, Work},
        bucket::Rate,
        lane,
        overview::Overview,
        step::Report,
    },
    limits,
    period::Period,
};

/// A mesh with a clock, whose every decision is checked against a replay.
struct Mesh {
    state: State,
    now_ms: u64,
    chance: u64,
    recorded: Vec<Event>,
    performed: Vec<crate::delivery::step::Perform>,
}

impl Mesh {
    fn new() -> Self {
        Self {
            state: State::default(),
            now_ms: 1_000_000,
            chance: 0,
            recorded: Vec::new(),
            performed: Vec::new(),
        }
    }

    fn now(&self) -> Now {
        let nanos = self.now_ms * 1_000_000;
        Now {
            wall: Timestamp::from_nanos(1_764_000_000_000_000_000 + nanos),
            mono: Monotonic::from_nanos(nanos),
        }
    }

    fn ask(&mut self, command: &Command) -> Result<Reply, Refusal> {
        let decision = TriggerMesh::decide(&self.state, self.now(), command);
        for recorded in decision.events() {
            TriggerMesh::evolve(&mut self.state, recorded.event());
            self.performed.extend(TriggerMesh::effects(&self.state, recorded));
            assert!(!recorded.why().reasons().is_empty() && !TriggerMesh::what(recorded.event()).is_empty());
            self.recorded.push(recorded.event().clone());
        }
        match decision.outcome().clone() {
            Answer::Done(reply) => Ok(reply),
            Answer::Refused(refusal) => Err(refusal),
        }
    }

    fn put(&mut self, name: &str, subscription: Subscription) {
        let put = Command::Put { name: name.into(), subscription: Box::new(subscription) };
        assert_eq!(self.ask(&put), Ok(Reply::Done));
    }

    fn ingest(&mut self, events: Vec<CloudEvent>) -> Vec<Ingested> {
        self.chance += 1;
        match self.ask(&Command::Ingest { events, chance: self.chance }) {
            Ok(Reply::Ingested { events }) => events,
            other => panic!("{other:?}"),
        }
    }

    fn settle(&mut self, failed: Option<&str>) -> usize {
        let flying = std::mem::take(&mut self.performed);
        let report = |perform: &crate::delivery::step::Perform| Report {
            owner: perform.owner.clone(),
            key: perform.delivery.key.clone(),
            failed: failed.map(str::to_owned),
            lasting: false,
        };
        let reports: Vec<Report> = flying.iter().map(report).collect();
        self.chance += 1;
        self.ask(&Command::Settle { reports, chance: self.chance }).unwrap();
        self.ask(&Command::Tick).unwrap();
        flying.len()
    }

    fn row(&self, name: &str) -> Row {
        let decision = TriggerMesh::decide(&self.state, self.now(), &Command::Show { name: name.into() });
        match decision.outcome().clone() {
            Answer::Done(Reply::Subscription { row, .. }) => row,
            other => panic!("{other:?}"),
        }
    }

    fn overview(&mut self) -> Overview {
        match self.ask(&Command::Overview) {
            Ok(Reply::Overview(overview)) => overview,
            other => panic!("{other:?}"),
        }
    }

    fn bytes(state: &State) -> String {
        serde_json::to_string(state).unwrap()
    }

    /// A restart from the journal, and one from a snapshot, know the same.
    fn check_replay(&self) {
        let mut replayed = State::default();
        for event in &self.recorded {
            let text = serde_json::to_string(event).unwrap();
            TriggerMesh::evolve(&mut replayed, &serde_json::from_str(&text).unwrap());
        }
        assert_eq!(Self::bytes(&replayed), Self::bytes(&self.state));
        let snapshot: State = serde_json::from_str(&Self::bytes(&self.state)).unwrap();
        assert_eq!(Self::bytes(&snapshot), Self::bytes(&self.state));
        assert_eq!(snapshot.next_ms(), self.state.next_ms());
        assert_eq!(snapshot.index.matching("com.shop.paid"), self.state.index.matching("com.shop.paid"));
    }
}

fn event(n: u64, kind: &str, data: Value) -> CloudEvent {
    let now = Timestamp::from_nanos(1_764_000_000_000_000_000);
    CloudEvent {
        id: EventId::from_bits(u128::from(n) << 40),
        source: "/test".into(),
        kind: kind.into(),
        subject: None,
        time: now,
        correlationid: None,
        causationid: None,
        traceparent: None,
        hops: 2,
        hlc: Hlc::default(),
        data,
    }
}

fn submits(types: &[&str], filter: Option<&str>) -> Subscription {
    Subscription {
        types: types.iter().map(|&kind| kind.to_owned()).collect(),
        filter: filter.map(str::to_owned),
        throttle: None,
        action: Action::Submit(Submit {
            intent: "resize".into(),
            payload: json!({"path": "${data.path}", "from": "${event.source}"}),
            priority: crate::intent::Priority::Normal,
            deadline: None,
        }),
        delivery: lane::Settings::default(),
        enabled: true,
    }
}

#[test]
fn an_event_fires_what_matches_and_carries_its_cause() {
    let mut mesh = Mesh::new();
    mesh.put("all", submits(&["com.shop.*"], None));
    mesh.put("big", submits(&["com.shop.paid"], Some("data.total > 100")));
    let taken = mesh.ingest(vec![
        event(1, "com.shop.paid", json!({"path": "a", "total": 5})),
        event(2, "com.shop.paid", json!({"path": "b", "total": 500})),
        event(3, "org.other", json!({})),
        event(2, "com.shop.paid", json!({"path": "b", "total": 500})),
    ]);
    let expected =
        [Ingested::Taken { fired: 1 }, Ingested::Taken { fired: 2 }, Ingested::Unwanted, Ingested::Duplicate];
    assert_eq!(taken, expected);
    assert_eq!(mesh.performed.len(), 3);
    let last = &mesh.performed[2];
    assert_eq!((last.owner.as_str(), last.delivery.cause.as_ref().unwrap().hops), ("big", 2));
    let Work::Submit { payload, .. } = &last.delivery.work else { panic!("{last:?}") };
    assert_eq!(*payload, json!({"path": "b", "from": "/test"}));
    let again = mesh.ingest(vec![event(2, "com.shop.paid", json!({"path": "b", "total": 500}))]);
    assert_eq!(again, [Ingested::Duplicate], "in a later batch too");
    assert_eq!(mesh.settle(None), 3);
    assert_eq!((mesh.row("all").done, mesh.row("all").in_flight), (2, 0));
    mesh.check_replay();
    mesh.now_ms += limits::SEEN_FOR_MS;
    mesh.ingest(vec![event(9, "com.shop.paid", json!({"path": "c", "total": 1}))]);
    let later = mesh.ingest(vec![event(2, "com.shop.paid", json!({"path": "b", "total": 500}))]);
    assert_eq!(later, [Ingested::Taken { fired: 2 }], "forgotten after ten minutes");
}

/// The largest record of a decision, as JSON.
fn largest(recorded: &[Event]) -> usize {
    recorded.iter().map(|event| serde_json::to_string(event).unwrap().len()).max().unwrap_or(0)
}

#[test]
fn one_event_that_fires_more_than_a_record_holds_is_taken_in_several() {
    let mut mesh = Mesh::new();
    for n in 0..1500 {
        mesh.put(&format!("subscription-{n}"), submits(&["a"], None));
    }
    mesh.recorded.clear();
    let before = Mesh::bytes(&mesh.state);
    let path = "\u{1}".repeat(1000);
    let taken = mesh.ingest(vec![event(1, "a", json!({"path": path})), event(2, "b", json!({}))]);
    assert_eq!(taken, [Ingested::Taken { fired: 1500 }, Ingested::Unwanted]);
    assert!(mesh.recorded.len() > 1 && largest(&mesh.recorded) < 900_000, "{}", largest(&mesh.recorded));
    assert_eq!(mesh.performed.len(), 1500);
    let mut replayed: State = serde_json::from_str(&before).unwrap();
    for event in &mesh.recorded {
        TriggerMesh::evolve(&mut replayed, event);
    }
    assert_eq!(Mesh::bytes(&replayed), Mesh::bytes(&mesh.state));
    let again = mesh.ingest(vec![event(1, "a", json!({"path": "x"}))]);
    assert_eq!(again, [Ingested::Duplicate]);
}

#[test]
fn long_reasons_of_many_failures_are_recorded_in_several_records() {
    let mut mesh = Mesh::new();
    let settings = lane::Settings {
        in_flight: 1000,
        breaker: crate::delivery::breaker::Settings { failures: 0, ..Default::default() },
        ..lane::Settings::default()
    };
    mesh.put("all", Subscription { delivery: settings, ..submits(&["a"], None) });
    mesh.ingest((0..1000).map(|n| event(n, "a", json!({"path": "x"}))).collect());
    mesh.recorded.clear();
    let reason = "ü".repeat(limits::REASON_CHARS);
    assert_eq!(mesh.settle(Some(&reason)), 1000);
    assert!(largest(&mesh.recorded) < 900_000, "{}", largest(&mesh.recorded));
    assert_eq!((mesh.row("all").waiting, mesh.row("all").in_flight), (1000, 0));
}

#[test]
fn a_throttle_lets_one_through_and_a_rate_holds_back() {
    let mut mesh = Mesh::new();
    let throttle = Some(Throttle { once_within: Period::from_secs(10) });
    mesh.put("once", Subscription { throttle, ..submits(&["a"], None) });
    let rate = Some(Rate { count: 2, per: Period::from_secs(1), burst: None });
    let delivery = lane::Settings { rate, ..lane::Settings::default() };
    mesh.put("paced", Subscription { delivery, ..submits(&["a"], None) });
    let events = (0..10).map(|n| event(n, "a", json!({"path": "x"}))).collect();
    mesh.ingest(events);
    let row = mesh.row("once");
    assert_eq!((row.fired, row.throttled, row.in_flight), (1, 9, 1));
    let row = mesh.row("paced");
    assert_eq!((row.fired, row.in_flight, row.waiting), (10, 2, 8), "nothing is dropped by a rate");
    let mut waited = 0;
    while mesh.row("paced").done < 10 {
        mesh.settle(None);
        mesh.now_ms += 500;
        waited += 1;
        mesh.ask(&Command::Tick).unwrap();
    }
    assert!((8..12).contains(&waited), "two a second: {waited}");
    mesh.now_ms += 6000;
    mesh.ingest(vec![event(99, "a", json!({"path": "x"}))]);
    assert_eq!(mesh.row("once").fired, 2);
    mesh.check_replay();
}

#[test]
fn triggers_that_set_each_other_off_come_to_an_end() {
    let mut mesh = Mesh::new();
    mesh.put("echo", submits(&["a"], None));
    let at = |n: u64, hops: u32| CloudEvent { hops, ..event(n, "a", json!({"path": "x"})) };
    let deep = limits::CASCADE_DEPTH;
    let came = mesh.ingest(vec![at(1, deep - 1), at(2, deep), at(3, deep + 1)]);
    assert_eq!(came, [Ingested::Taken { fired: 1 }, Ingested::Unwanted, Ingested::Unwanted]);
    let stopped: Vec<&Event> =
        mesh.recorded.iter().filter(|event| TriggerMesh::what(event) == "chain_stopped").collect();
    assert!(
        matches!(stopped[..], [Event::ChainStopped { hops, .. }] if *hops == deep),
        "once a minute: {stopped:?}"
    );
    let test = mesh.ask(&Command::Test { event: Box::new(at(4, deep)) });
    let Ok(Reply::Verdicts { verdicts }) = test else { panic!("{test:?}") };
    assert_eq!(verdicts[0].outcome, Outcome::ChainTooLong { hops: deep });
    mesh.check_replay();
}

#[test]
fn failures_open_the_breaker_and_end_among_the_dead_letters() {
    let mut mesh = Mesh::new();
    let retry = lane::Retry { attempts: 2, first: Period::from_secs(1), longest: Period::from_secs(1) };
    let delivery = lane::Settings { retry, ..lane::Settings::default() };
    mesh.put("s", Subscription { delivery, ..submits(&["a"], None) });
    mesh.ingest((0..6).map(|n| event(n, "a", json!({"path": "x"}))).collect());
    mesh.settle(Some("connection refused"));
    let row = mesh.row("s");
    assert_eq!((row.breaker.as_str(), row.waiting, row.dead), ("open", 6, 0));
    assert!(row.reason.unwrap().contains("5 failures in a row, the last one: connection refused"));
    let overview = mesh.overview();
    assert_eq!((overview.count, overview.waiting, overview.breakers_open), (1, 6, 1));
    assert_eq!(overview.fullest, 0.006);
    assert_eq!(mesh.performed.len(), 0);
    mesh.now_ms += 30_000;
    mesh.ask(&Command::Tick).unwrap();
    assert_eq!((mesh.performed.len(), mesh.row("s").breaker.as_str()), (1, "half_open"));
    mesh.settle(Some("still"));
    assert_eq!(
        (mesh.row("s").breaker.as_str(), mesh.row("s").dead),
        ("open", 1),
        "its second attempt was its last"
    );
    mesh.now_ms += 30_000;
    mesh.ask(&Command::Tick).unwrap();
    mesh.settle(None);
    assert_eq!(mesh.row("s").breaker, "closed");
    assert_eq!(mesh.settle(None), 4, "the rest follows at once");
    assert_eq!(mesh.ask(&Command::Requeue { name: "s".into(), keys: None }), Ok(Reply::Letters { count: 1 }));
    mesh.ask(&Command::Tick).unwrap();
    assert_eq!(mesh.settle(None), 1);
    assert_eq!((mesh.row("s").dead, mesh.row("s").done), (0, 6));
    let totals = mesh.overview().totals;
    assert_eq!((totals.fired, totals.done, totals.dead), (6, 6, 1), "one was given up, and put back");
    let whats: Vec<&str> = mesh.recorded.iter().map(TriggerMesh::what).collect();
    for what in ["breaker_opened", "breaker_half_opened", "breaker_closed", "dead_lettered", "requeued"] {
        assert!(whats.contains(&what), "{what} in {whats:?}");
    }
    mesh.check_replay();
}

#[test]
fn what_cannot_be_rendered_is_kept_until_it_can() {
    let mut mesh = Mesh::new();
    mesh.put("s", submits(&["a"], None));
    assert_eq!(mesh.ingest(vec![event(1, "a", json!({}))]), [Ingested::Taken { fired: 1 }]);
    assert_eq!((mesh.row("s").dead, mesh.performed.len()), (1, 0));
    assert_eq!(mesh.ask(&Command::Requeue { name: "s".into(), keys: None }), Ok(Reply::Letters { count: 0 }));
    let action =
        Action::Publish(Publish { kind: "b.c".into(), subject: None, data: json!({"of": "${event.id}"}) });
    mesh.put("s", Subscription { action, ..submits(&["a"], None) });
    assert_eq!(mesh.ask(&Command::Requeue { name: "s".into(), keys: None }), Ok(Reply::Letters { count: 1 }));
    mesh.ask(&Command::Tick).unwrap();
    assert!(matches!(&mesh.performed[0].delivery.work, Work::Publish { kind, .. } if kind == "b.c"));
    mesh.check_replay();
}

#[test]
fn a_full_subscription_gives_dead_letters_and_then_pushes_back() {
    let mut mesh = Mesh::new();
    let delivery = lane::Settings { queue: 3, in_flight: 2, ..lane::Settings::default() };
    mesh.put("s", Subscription { delivery, ..submits(&["a"], None) });
    let mut n = 0;
    let mut send = |mesh: &mut Mesh, count: u64| {
        n += count;
        mesh.ingest((n - count..n).map(|n| event(n, "a", json!({"path": "x"}))).collect())
    };
    send(&mut mesh, 10);
    let row = mesh.row("s");
    assert_eq!((row.in_flight, row.waiting, row.dead), (2, 3, 5));
    let mut taken = 10;
    loop {
        let replies = send(&mut mesh, 1000);
        let busy = replies.iter().filter(|reply| matches!(reply, Ingested::Busy { .. })).count();
        taken += 1000 - busy;
        if busy > 0 {
            break;
        }
    }
    assert_eq!(taken, 2 + 3 + limits::LANE_DEAD_LETTERS, "all that was acknowledged is there");
    assert_eq!(mesh.row("s").dead, limits::LANE_DEAD_LETTERS);
    mesh.put("other", submits(&["b"], None));
    let replies = mesh.ingest(vec![event(1 << 40, "b", json!({"path": "x"}))]);
    assert_eq!(replies, [Ingested::Taken { fired: 1 }], "others are not held up");

    // Nor those that want the same events: they have each at once and once, and the full one has it when there is room.
    mesh.put("same", submits(&["a"], None));
    let late = || vec![event(1 << 41, "a", json!({"path": "x"}))];
    for again in 0..3 {
        let replies = mesh.ingest(late());
        assert!(
            matches!(&replies[..], [Ingested::Busy { reason }] if reason.ends_with("of s")),
            "{again}: {replies:?}"
        );
        assert_eq!((mesh.row("same").fired, mesh.row("s").dead), (1, limits::LANE_DEAD_LETTERS));
    }
    mesh.check_replay();
    mesh.ask(&Command::Discard { name: "s".to_owned(), keys: None }).unwrap();
    assert_eq!(mesh.ingest(late()), [Ingested::Taken { fired: 1 }]);
    assert_eq!(mesh.ingest(late()), [Ingested::Duplicate]);
    assert_eq!((mesh.row("same").fired, mesh.row("s").dead), (1, 1));
}

#[test]
fn a_subscription_whose_work_is_large_leaves_room_for_others() {
    let mut mesh = Mesh::new();
    let delivery = lane::Settings { in_flight: 1, queue: 1000, ..lane::Settings::default() };
    mesh.put("large", Subscription { delivery, ..submits(&["a"], None) });
    let path = "x".repeat(400 << 10);
    let fits = limits::LANE_BYTES / path.len() as u64;
    let replies: Vec<Ingested> =
        (0..fits + 10).flat_map(|n| mesh.ingest(vec![event(n, "a", json!({ "path": path }))])).collect();
    let taken = replies.iter().filter(|reply| matches!(reply, Ingested::Taken { .. })).count() as u64;
    assert!(taken <= fits && taken + 2 > fits, "{taken} of {fits}");
    mesh.put("other", submits(&["b"], None));
    assert_eq!(
        mesh.ingest(vec![event(1 << 40, "b", json!({ "path": path }))]),
        [Ingested::Taken { fired: 1 }]
    );
}

#[test]
fn a_dry_run_says_what_would_fire_and_why_not() {
    let mut mesh = Mesh::new();
    let throttle = Some(Throttle { once_within: Period::from_secs(10) });
    mesh.put("fires", submits(&["a"], None));
    mesh.put("filtered", submits(&["a"], Some("data.path == 'y'")));
    mesh.put("broken", submits(&["a"], Some("data.lost == 1")));
    mesh.put("throttled", Subscription { throttle, ..submits(&["a"], None) });
    mesh.put("disabled", Subscription { enabled: false, ..submits(&["a"], None) });
    mesh.put("other", submits(&["b.*"], None));
    mesh.ingest(vec![event(1, "a", json!({"path": "x"}))]);
    let before = Mesh::bytes(&mesh.state);
    let test = Command::Test { event: Box::new(event(2, "a", json!({"path": "x"}))) };
    let Ok(Reply::Verdicts { verdicts }) = mesh.ask(&test) else { panic!() };
    let outcomes: BTreeMap<&str, &Outcome> =
        verdicts.iter().map(|verdict| (verdict.subscription.as_str(), &verdict.outcome)).collect();
    assert!(matches!(outcomes["fires"], Outcome::Fires { held_up: None, .. }));
    assert_eq!(outcomes["filtered"], &Outcome::Filtered);
    assert!(matches!(outcomes["broken"], Outcome::FilterFails { reason } if reason.contains("lost")));
    assert_eq!(outcomes["throttled"], &Outcome::Throttled { for_ms: 10_000 });
    assert_eq!((outcomes["disabled"], outcomes["other"]), (&Outcome::Disabled, &Outcome::OtherType));
    assert_eq!(Mesh::bytes(&mesh.state), before);
    assert_eq!(mesh.recorded.iter().filter(|event| matches!(event, Event::FilterFailed { .. })).count(), 1);
}

#[test]
fn what_is_wrong_with_a_subscription_is_all_named() {
    let mut mesh = Mesh::new();
    let mut bad = submits(&["a*", ""], Some("data.x = 1"));
    bad.action = Action::Publish(Publish {
        kind: "dev.grace.x".into(),
        subject: None,
        data: json!({"a": "${dat.x}"}),
    });
    bad.delivery.queue = 0;
    let put = Command::Put { name: "s".into(), subscription: Box::new(bad) };
    let Err(Refusal::Invalid { faults }) = mesh.ask(&put) else { panic!() };
    let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
    let begins = |part: &str| told.iter().any(|one| one.starts_with(part));
    for part in [
        "types.0: `*` stands for",
        "types.1: ",
        "filter: this is not",
        "delivery.queue: from 1",
        "action.publish.type: types that begin",
        "action.publish.data.a: there is no `dat` here (did you mean `data`?)",
    ] {
        assert!(begins(part), "{part} in {told:#?}");
    }
    assert!(mesh.recorded.is_empty());
    let unknown = mesh.ask(&Command::Remove { name: "nobody".into() }).unwrap_err();
    assert_eq!(unknown.to_string(), "there is no subscription `nobody`");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever comes, ends and fails: each acknowledged event is done or kept once for each subscription that it fired, and a
    /// replay knows the same.
    #[test]
    fn no_acknowledged_event_is_lost(seed: u64) {
        let mut chance = SeededEntropy::new(seed);
        let mut mesh = Mesh::new();
        let retry = lane::Retry { attempts: 2, ..lane::Retry::default() };
        let delivery = lane::Settings { queue: 5, in_flight: 2, retry, ..lane::Settings::default() };
        mesh.put("a", Subscription { delivery: delivery.clone(), ..submits(&["x.*"], None) });
        mesh.put("b", Subscription { delivery, ..submits(&["*.y"], Some("data.n % 2 == 0")) });
        let mut fired = 0u64;
        for round in 0..40u64 {
            match chance.below(5) {
                0..=1 => {
                    let count = chance.below(6);
                    let events = (0..count).map(|n| {
                        let kind = ["x.y", "x.z", "z.y"][chance.below(3) as usize];
                        event(1 + round * 10 + n, kind, json!({"path": "p", "n": n}))
                    }).collect();
                    for reply in mesh.ingest(events) {
                        if let Ingested::Taken { fired: more } = reply { fired += more as u64; }
                    }
                }
                2 => { mesh.settle(None); }
                3 => { mesh.settle(Some("no")); }
                _ => { mesh.now_ms += chance.below(40_000); mesh.ask(&Command::Tick).unwrap(); }
            }
            // A restart performs what is under way again.
            if chance.below(8) == 0 {
                mesh.performed = TriggerMesh::outstanding(&mesh.state);
            }
            let mut kept = 0;
            for name in ["a", "b"] {
                let row = mesh.row(name);
                prop_assert!(row.in_flight <= 2);
                kept += row.done + (row.waiting + row.in_flight + row.dead) as u64;
            }
            prop_assert_eq!(kept, fired);
        }
        mesh.check_replay();
    }
}
