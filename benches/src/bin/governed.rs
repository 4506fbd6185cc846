//! Decisions end to end: asked over the bus of a running instance, judged, on disk, answered; everything on (events, log, narratives).
//!
//! - latency: 2,000 requests a second of one intent each, as an agent's hook asks (a decision only); from sending to the answer
//! - one by one: so many requests of one intent outstanding
//! - pipelined: a few requests of many intents outstanding
//!
//! `cargo run --release -p grace-benches --bin governed [-- --rounds N] [--seconds S]`, with `cargo build --release` before it.
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark that cannot run should say so and stop"
)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use grace_benches::{
    Machine,
    instance::{Instance, connect, runtime},
    usage::Usage,
};
use grace_bus::Bus;
use grace_cortex::{
    command::{Answered, Asked, Command, Outcome as Word, Reply},
    router::{Router, shell},
};
use grace_kernel::{Envelope, Outcome, process::wire};
use grace_types::intent::Json;

const MANIFEST: &str = "bus: {port: 0}\nprocesses: {}\nworkers: 0\n";
/// Requests a second where latency is measured.
const PACE: u32 = 2000;
/// Requests outstanding, one by one.
const OUTSTANDING: usize = 256;
/// Requests outstanding, and intents in each, pipelined.
const PIPELINED: (usize, usize) = (8, 128);

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let given = |name: &str| args.iter().position(|a| a == name).and_then(|i| args.get(i + 1));
    let seconds: f64 = given("--seconds").map_or(5.0, |n| n.parse().expect("--seconds takes a number"));
    let rounds: usize = given("--rounds").map_or(3, |n| n.parse().expect("--rounds takes a number"));
    let time = Duration::from_secs_f64(seconds);
    let machine = Machine::watched();
    let mut rows: [Vec<f64>; 4] = Default::default();
    for _ in 0..rounds {
        let mut took = paced(time);
        took.sort_by(f64::total_cmp);
        rows[0].push(took[took.len() / 2]);
        rows[1].push(took[took.len() * 99 / 100]);
        rows[2].push(throughput(time, OUTSTANDING, 1));
        rows[3].push(throughput(time, PIPELINED.0, PIPELINED.1));
    }
    let (outstanding, (few, many)) = (OUTSTANDING, PIPELINED);
    println!("decisions, durable, over the bus; {rounds} rounds of {seconds} s, median [least – most]\n");
    let names = [
        format!("{PACE} a second, p50 ms"),
        format!("{PACE} a second, p99 ms"),
        format!("{outstanding} requests of one outstanding, decisions/s"),
        format!("{few} requests of {many} outstanding, decisions/s"),
    ];
    for (name, row) in names.iter().zip(&mut rows) {
        row.sort_by(f64::total_cmp);
        let digits = if name.ends_with("ms") { 2 } else { 0 };
        let (middle, least, most) = (row[row.len() / 2], row[0], row[row.len() - 1]);
        println!("{name:<55} {middle:>9.digits$} [{least:.digits$} – {most:.digits$}]");
    }
    machine.report();
}

/// Asks for decisions on so many intents; all are allowed.
async fn decide(bus: &Bus, count: usize) {
    let asked = Asked {
        kind: "query_knowledge".into(),
        actor: "bench".into(),
        payload: Json::of(&serde_json::json!({ "file": "notes/today.md" })),
        only_decide: true,
        ..Asked::default()
    };
    let command = Command::Submit { intents: vec![asked; count] };
    let message = wire::command(shell::NAME, &Envelope::new(command)).unwrap();
    loop {
        let answer = bus.request(message.clone(), Duration::from_secs(10)).await.expect("an answer");
        match wire::read_answer::<Router>(&answer.payload) {
            Ok(Outcome::Done(Reply::Submitted { results })) => {
                let allowed =
                    |one: &Answered| matches!(one, Answered::Decided(d) if d.outcome == Word::Allowed);
                assert!(results.len() == count && results.iter().all(allowed), "{:?}", results.first());
                return;
            }
            Err(e) if e.code == "busy" => {}
            other => panic!("{other:?}"),
        }
    }
}

/// Milliseconds for each request, at [`PACE`].
fn paced(time: Duration) -> Vec<f64> {
    let instance = Instance::up(MANIFEST);
    runtime().block_on(async {
        let bus = connect(&instance.place(), "agent").await;
        let begun = Instant::now();
        let mut asking = Vec::new();
        let mut n = 0;
        while begun.elapsed() < time {
            let due = Duration::from_secs(1) / PACE * n;
            tokio::time::sleep(due.saturating_sub(begun.elapsed())).await;
            // All that are due by now: a timer has the grain of a millisecond.
            while Duration::from_secs(1) / PACE * n <= begun.elapsed() {
                let (bus, sent) = (bus.clone(), Instant::now());
                asking.push(tokio::spawn(async move {
                    decide(&bus, 1).await;
                    sent.elapsed().as_secs_f64() * 1e3
                }));
                n += 1;
            }
        }
        let mut took = Vec::with_capacity(asking.len());
        for one in asking {
            took.push(one.await.unwrap());
        }
        took
    })
}

/// Decisions a second with so many requests of `many` intents outstanding.
fn throughput(time: Duration, outstanding: usize, many: usize) -> f64 {
    let instance = Instance::up(MANIFEST);
    let decided = Arc::new(AtomicUsize::new(0));
    let before = Usage::so_far(&instance);
    let rate = runtime().block_on(async {
        let bus = connect(&instance.place(), "agent").await;
        let begun = Instant::now();
        let askers = (0..outstanding).map(|_| {
            let (bus, decided) = (bus.clone(), Arc::clone(&decided));
            tokio::spawn(async move {
                while begun.elapsed() < time {
                    decide(&bus, many).await;
                    decided.fetch_add(many, Ordering::Relaxed);
                }
            })
        });
        for asker in askers.collect::<Vec<_>>() {
            asker.await.unwrap();
        }
        decided.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64()
    });
    eprintln!("  {}", Usage::so_far(&instance).told(&before, decided.load(Ordering::Relaxed)));
    rate
}
