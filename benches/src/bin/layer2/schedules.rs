//! Schedules: what they cost while none is due, and how late they fire.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use grace_benches::{
    instance::{Instance, connect, runtime},
    usage::Usage,
};
use grace_bus::Bus;
use grace_kernel::{Envelope, Outcome, process::wire};
use grace_orchestration::scheduler::{Command, Schedule, Scheduler, shell};
use grace_types::time::{Clock as _, SystemClock, Timestamp};
use serde_json::{Value, json};

use super::{Figure, percentile};

/// Firings that are timed: at a hundred a second, and at one moment.
const FIRINGS: usize = 1000;
const SPACE_MS: u64 = 10;
/// How long nothing is due while the idle cost is taken.
const IDLE: Duration = Duration::from_secs(10);
/// From the last schedule that is put to the first firing.
const LEAD_MS: u64 = 3000;
const UNDER_WAY: usize = 512;
const PATIENCE: Duration = Duration::from_secs(60);
const FIRED: &str = "com.bench.fired";

pub(super) fn schedules(count: usize) -> Vec<Figure> {
    let instance = Instance::up("bus: {port: 0}\nprocesses: {}\nworkers: 0\n");
    let far = (0..count).map(|n| (format!("far-{n}"), yearly(n))).collect();
    let begun = Instant::now();
    runtime().block_on(put(&instance, far));
    let took = begun.elapsed();
    let settled = instance.settle(shell::NAME);
    eprintln!(
        "  {count} schedules put in {took:.1?}; the narratives have them after another {:.1?}",
        settled.took
    );
    // What the putting has left behind is over: the last batch of evidence, a snapshot.
    std::thread::sleep(Duration::from_secs(2));
    let before = Usage::so_far(&instance);
    std::thread::sleep(IDLE);
    let after = Usage::so_far(&instance);
    let share = after.of(shell::NAME, &before) / IDLE.as_secs_f64() * 100.0;
    let spread = late(&instance, "spread", |first, n| first + n * SPACE_MS);
    let together = late(&instance, "together", |first, _| first);
    let late = |what, sorted: &[f64], percent, target: bool| Figure {
        what,
        unit: "ms",
        value: percentile(sorted, percent),
        target: target.then_some((50.0, false)),
    };
    vec![
        Figure {
            what: "100,000 schedules, none due, the scheduler's processor time",
            unit: "%",
            value: share,
            target: Some((1.0, false)),
        },
        late("a firing is late, a hundred a second, p50", &spread, 50, false),
        late("a firing is late, a hundred a second, p99", &spread, 99, true),
        late("a firing is late, a thousand at one moment, p50", &together, 50, false),
        late("a firing is late, a thousand at one moment, p99", &together, 99, true),
    ]
}

/// In the first hours of next year.
fn yearly(n: usize) -> Schedule {
    let pattern = format!("{} {} {} 1 1 *", n % 60, n / 60 % 60, n / 3600 % 5);
    read(json!({
        "when": {"cron": {"pattern": pattern, "zone": "Europe/Berlin"}},
        "action": {"publish": {"type": FIRED, "data": {"n": n}}},
    }))
}

fn once(at_ms: u64) -> Schedule {
    let when = Timestamp::from_nanos(at_ms * 1_000_000).to_string();
    read(json!({
        "when": {"once": when},
        "action": {"publish": {"type": FIRED, "data": {"at_ms": at_ms}}},
    }))
}

fn read(written: Value) -> Schedule {
    serde_json::from_value(written).unwrap()
}

async fn put(instance: &Instance, schedules: Vec<(String, Schedule)>) {
    let bus = connect(&instance.place(), "sender").await;
    let (next, schedules) = (Arc::new(AtomicUsize::new(0)), Arc::new(schedules));
    let senders = (0..UNDER_WAY).map(|_| {
        let (bus, schedules, next) = (bus.clone(), Arc::clone(&schedules), Arc::clone(&next));
        tokio::spawn(async move {
            while let Some((name, schedule)) = schedules.get(next.fetch_add(1, Ordering::Relaxed)) {
                put_one(&bus, name, schedule).await;
            }
        })
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.await.expect("it puts its schedules");
    }
}

async fn put_one(bus: &Bus, name: &str, schedule: &Schedule) {
    let put = Command::Put {
        name: name.to_owned(),
        schedule: Box::new(schedule.clone()),
        chance: name.len() as u64,
    };
    let message = wire::command(shell::NAME, &Envelope::new(put)).unwrap();
    let begun = Instant::now();
    loop {
        let answer = bus.request(message.clone(), PATIENCE).await.expect("the scheduler answers");
        match wire::read_answer::<Scheduler>(&answer.payload) {
            Ok(Outcome::Done(_)) => return,
            Ok(Outcome::Refused(refusal)) => panic!("{refusal}"),
            Err(e) if e.code == "busy" => assert!(begun.elapsed() < PATIENCE, "{}", e.message),
            Err(e) => panic!("{}: {}", e.code, e.message),
        }
    }
}

/// How late each of [`FIRINGS`] is heard of on the bus, milliseconds, sorted. `time` says when each is to be, from the first moment on.
fn late(instance: &Instance, what: &str, time: impl Fn(u64, u64) -> u64) -> Vec<f64> {
    runtime().block_on(async {
        let bus = connect(&instance.place(), "listener").await;
        let mut heard = bus.subscribe(&format!("events.{FIRED}"), None).await.unwrap();
        bus.flush().await.unwrap();
        let first = SystemClock.now().wall.as_millis() + LEAD_MS;
        let near = (0..FIRINGS as u64).map(|n| (format!("{what}-{n}"), once(time(first, n)))).collect();
        put(instance, near).await;
        let mut late = Vec::with_capacity(FIRINGS);
        while late.len() < FIRINGS {
            let message = tokio::time::timeout(PATIENCE, heard.next()).await.expect("every one fires");
            let now = SystemClock.now().wall.as_nanos() as f64 / 1e6;
            let data: Value = serde_json::from_slice(&message.expect("a subscription").payload).unwrap();
            late.push(now - data["at_ms"].as_f64().expect("the time that was wanted"));
        }
        late.sort_by(f64::total_cmp);
        late
    })
}
