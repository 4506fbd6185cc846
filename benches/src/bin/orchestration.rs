//! What the deciders of triggers, event policies and the scheduler cost, without a journal: decide and evolve, on one core.
//!
//! - triggers: 1,000 subscriptions on 100 types, ten to a type with a filter each, one of which is true; events in batches of 100,
//!   each delivery settled; with and without the JSON of the records, which the host writes
//! - policies: 100 policies on 20 types, five to a type with a condition each, one of which is true; and all 100 on one type
//! - scheduler: 100,000 cron schedules; a tick with nothing due, a tick with 1,000 due, and the state's size
//! - expressions: one evaluation of usual filters, and the longest that the meter lets through
//!
//! `cargo run --release -p grace-benches --bin orchestration`
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run should say so and stop")]

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use grace_kernel::{Decider, Outcome, OutcomeOf, Recorded};
use grace_orchestration::{
    delivery::step::{Perform, Report},
    expression::{EVENT_NAMES, Expression, Scope},
    policies::{self, EventPolicies, Policy},
    scheduler::{self, Schedule, Scheduler},
    triggers::{self, Subscription, TriggerMesh},
};
use grace_types::{
    event::Event,
    id::EventId,
    time::{Hlc, Monotonic, Now, Timestamp},
};
use serde::Serialize;
use serde_json::{Value, json};

const START_MS: u64 = 1_767_225_600_000;

fn now(ms: u64) -> Now {
    Now {
        wall: Timestamp::from_nanos((START_MS + ms) * 1_000_000),
        mono: Monotonic::from_nanos(ms * 1_000_000),
    }
}

/// A decider with its state.
struct Bench<D: Decider> {
    state: D::State,
    performed: Vec<D::Effect>,
    records: usize,
    bytes: usize,
    write: bool,
}

impl<D: Decider> Bench<D>
where
    D::Event: Serialize,
{
    fn new() -> Self {
        Self { state: D::State::default(), performed: Vec::new(), records: 0, bytes: 0, write: false }
    }

    fn ask(&mut self, ms: u64, command: &D::Command) -> OutcomeOf<D>
    where
        OutcomeOf<D>: Clone,
    {
        let decision = D::decide(&self.state, now(ms), command);
        for recorded in decision.events() {
            D::evolve(&mut self.state, recorded.event());
            self.performed.extend(D::effects(&self.state, recorded));
            self.records += 1;
            if self.write {
                self.bytes += bytes(recorded);
            }
        }
        decision.outcome().clone()
    }
}

fn bytes<E: Serialize>(recorded: &Recorded<E>) -> usize {
    serde_json::to_vec(recorded).unwrap().len()
}

fn event(n: u64, kind: String, data: Value) -> Event {
    Event {
        id: EventId::from_bits(u128::from(n) << 16),
        source: "/shop/checkout".into(),
        kind,
        subject: Some("order".into()),
        time: Timestamp::from_nanos(START_MS * 1_000_000),
        correlationid: None,
        causationid: None,
        traceparent: None,
        hops: 0,
        hlc: Hlc::default(),
        data,
    }
}

fn order(n: u64) -> Value {
    json!({"order": n, "total": n % 500, "shard": n % 10, "currency": "EUR", "paid": true,
        "customer": {"id": n * 7, "country": "DE", "since": "2019-04-01"}, "items": [{"sku": "a-1", "n": 2}, {"sku": "b-9", "n": 1}]})
}

fn reports(performed: &[Perform]) -> Vec<Report> {
    let report = |one: &Perform| Report {
        owner: one.owner.clone(),
        key: one.delivery.key.clone(),
        failed: None,
        lasting: false,
    };
    performed.iter().map(report).collect()
}

fn triggers(write: bool) {
    let mut mesh = Bench::<TriggerMesh>::new();
    mesh.write = write;
    for n in 0..1000u64 {
        let subscription: Subscription = serde_json::from_value(json!({
            "types": [format!("com.shop.order{}.paid", n % 100)],
            "filter": format!("data.shard == {} && data.total >= 0 && event.source.startsWith('/shop')", n / 100),
            "action": {"submit": {"intent": "ship", "payload": {"order": "${data.order}", "to": "${data.customer.country}"}}},
            "delivery": {"in_flight": 4096},
        }))
        .unwrap();
        let put = triggers::Command::Put { name: format!("s{n}"), subscription: Box::new(subscription) };
        assert!(matches!(mesh.ask(0, &put), Outcome::Done(_)));
    }
    let (batches, size) = (400u64, 100u64);
    let commands: Vec<triggers::Command> = (0..batches)
        .map(|batch| {
            let one = |at: u64| {
                let n = batch * size + at;
                event(n + 1, format!("com.shop.order{}.paid", n * 7 % 100), order(n))
            };
            triggers::Command::Ingest { events: (0..size).map(one).collect(), chance: batch }
        })
        .collect();
    let (begun, mut ingesting) = (Instant::now(), Duration::ZERO);
    for (batch, command) in commands.iter().enumerate() {
        let at = batch as u64;
        let start = Instant::now();
        mesh.ask(at, command);
        ingesting += start.elapsed();
        let reports = reports(&std::mem::take(&mut mesh.performed));
        assert_eq!(reports.len() as u64, size);
        mesh.ask(at, &triggers::Command::Settle { reports, chance: at });
        mesh.ask(at, &triggers::Command::Tick);
    }
    let (all, count) = (begun.elapsed(), (batches * size) as f64);
    println!(
        "triggers, 1,000 subscriptions, records {}: {:.0} events/s ingested and settled ({:.1} µs each; ingesting {:.1} µs); {:.0} B of records an event",
        if write { "written as JSON" } else { "not written" },
        count / all.as_secs_f64(),
        all.as_secs_f64() * 1e6 / count,
        ingesting.as_secs_f64() * 1e6 / count,
        mesh.bytes as f64 / count,
    );
}

fn policies(types: u64) {
    let mut engine = Bench::<EventPolicies>::new();
    let each = (100 / types).max(1);
    let policy = |n: u64| -> Policy {
        serde_json::from_value(json!({
            "match": [format!("com.shop.order{}.paid", n % types)],
            "when": format!("data.shard == {} && data.total >= 0", n / types),
            "then": [{"emit": {"type": "com.shop.flagged", "data": {"order": "${data.order}"}}}],
            "delivery": {"in_flight": 4096},
        }))
        .unwrap()
    };
    let all: BTreeMap<String, Policy> = (0..100).map(|n| (format!("p{n}"), policy(n))).collect();
    assert!(matches!(engine.ask(0, &policies::Command::Load { policies: all }), Outcome::Done(_)));
    let (batches, size) = (300u64, 100u64);
    let mut took = Duration::ZERO;
    for batch in 0..batches {
        let one = |at: u64| {
            let n = batch * size + at;
            let mut data = order(n);
            data["shard"] = json!(n % each);
            event(n + 1, format!("com.shop.order{}.paid", n % types), data)
        };
        let command = policies::Command::Observe { events: (0..size).map(one).collect(), chance: batch };
        let start = Instant::now();
        engine.ask(batch, &command);
        took += start.elapsed();
        let reports = reports(&std::mem::take(&mut engine.performed));
        assert_eq!(reports.len() as u64, size);
        engine.ask(batch, &policies::Command::Settle { reports, chance: batch });
    }
    println!(
        "policies, 100 on {types} types ({each} conditions an event, one true): {:.1} µs an event",
        took.as_secs_f64() * 1e6 / (batches * size) as f64
    );
}

fn schedules() {
    let mut works = Bench::<Scheduler>::new();
    works.ask(0, &scheduler::Command::Begin { boot: "b".into() });
    let before = resident();
    let start = Instant::now();
    for n in 0..100_000u64 {
        let schedule: Schedule = serde_json::from_value(json!({
            "when": {"cron": {"pattern": format!("{} {} */6 * * *", n % 60, n / 60 % 60), "zone": "Europe/Berlin"}},
            "action": {"submit": {"intent": "backup", "payload": {"n": n}}},
        }))
        .unwrap();
        let put = scheduler::Command::Put {
            name: format!("schedule-{n}"),
            schedule: Box::new(schedule),
            chance: n,
        };
        assert!(matches!(works.ask(0, &put), Outcome::Done(_)));
    }
    let put = start.elapsed();
    println!(
        "scheduler, 100,000 cron schedules: {:.1} µs to put one; {:.0} B of memory each, {:.0} B each in a snapshot",
        put.as_secs_f64() * 1e6 / 1e5,
        (resident() - before) as f64 * 1024.0 / 1e5,
        serde_json::to_vec(&works.state).unwrap().len() as f64 / 1e5,
    );
    let start = Instant::now();
    for chance in 0..10_000 {
        works.ask(0, &scheduler::Command::Tick { chance });
    }
    println!("  a tick with nothing due: {:.2} µs", start.elapsed().as_secs_f64() * 1e2);
    let (mut fired, mut took, mut longest, mut ms) = (0usize, Duration::ZERO, Duration::ZERO, 0);
    while fired < 50_000 {
        ms += works.state.next_ms(now(ms)).unwrap();
        let start = Instant::now();
        works.ask(ms, &scheduler::Command::Tick { chance: ms });
        let tick = start.elapsed();
        (took, longest) = (took + tick, longest.max(tick));
        let reports = reports(&std::mem::take(&mut works.performed));
        fired += reports.len();
        let start = Instant::now();
        works.ask(ms, &scheduler::Command::Settle { reports, chance: ms });
        took += start.elapsed();
    }
    println!(
        "  {fired} firings, settled: {:.1} µs each; the longest tick {:.2} ms",
        took.as_secs_f64() * 1e6 / fired as f64,
        longest.as_secs_f64() * 1e3
    );
}

/// KiB.
fn resident() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn expressions() {
    let small = event(1, "com.shop.order.paid".into(), order(7));
    let wide: Vec<Value> = (0..9000).map(|n| json!({"price": n, "name": "a thing in a list"})).collect();
    let wide = event(2, "com.shop.order.paid".into(), json!({"items": wide, "text": "x".repeat(100_000)}));
    for (text, event, rounds) in [
        ("data.total >= 500", &small, 20_000u32),
        ("data.total >= 5", &small, 20_000),
        ("event.type == 'com.shop.order.paid' && data.customer.country == 'DE'", &small, 20_000),
        ("data.items.exists(i, i.sku == 'b-9' && i.n > 0)", &small, 20_000),
        ("data.items.all(i, i.price >= 0)", &wide, 20),
        ("data.items.filter(i, i.price > 10).map(i, i.name + '!').size() > 1", &wide, 20),
        ("data.items.all(i, data.items.all(j, j.price >= 0))", &wide, 5),
        ("data.items.map(i, data.text + i.name).size() > 0", &wide, 5),
    ] {
        let compiled = Expression::compile(text, &EVENT_NAMES).unwrap();
        let scope = Scope::new().with_event(event);
        let mut answer = compiled.holds(&scope);
        let start = Instant::now();
        for _ in 0..rounds {
            answer = compiled.holds(&scope);
        }
        let each = start.elapsed().as_secs_f64() * 1e6 / f64::from(rounds);
        println!("expression {text}: {each:.2} µs, {answer:?}");
    }
    let start = Instant::now();
    for _ in 0..200 {
        Expression::compile(
            "event.type == 'com.shop.order.paid' && data.customer.country == 'DE'",
            &EVENT_NAMES,
        )
        .unwrap();
    }
    println!("expression, to compile: {:.0} µs", start.elapsed().as_secs_f64() * 1e6 / 200.0);
}

fn main() {
    // First, while the memory that is measured is not somebody else's.
    schedules();
    expressions();
    triggers(false);
    triggers(true);
    policies(20);
    policies(1);
}
