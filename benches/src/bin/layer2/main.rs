//! Layer 2 beside its tasks, on real processes:
//!
//! - events through the front door with 1,000 subscriptions on 100 types, ten filters an event: when none is true, and when one event in
//!   ten fires a subscription, which publishes another event; each acknowledged when it is durable where it is wanted. Target 20,000/s
//! - 100 policies, five conditions an event and a hundred; what the policy engine's whole process costs an event. Target 20 µs
//! - 100,000 schedules: the scheduler's processor time while none is due, target 1 % of one; and how late firings are heard of on the bus,
//!   a hundred a second and a thousand at one moment. Target 50 ms for the 99th percentile
//!
//! `cargo run --release -p grace-benches --bin layer2 [-- --rounds N] [--events N] [--schedules N] [--only PART]`, with
//! `cargo build --release` before it. Parts: `events`, `policies`, `schedules`.
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark that cannot run should say so and stop"
)]

mod events;
mod schedules;

use std::collections::BTreeMap;

use grace_benches::Machine;

/// A figure of one round.
struct Figure {
    what: &'static str,
    unit: &'static str,
    value: f64,
    /// What is aimed at, and whether more is better.
    target: Option<(f64, bool)>,
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let given = |name: &str| args.iter().position(|a| a == name).and_then(|i| args.get(i + 1));
    let number = |name: &str, default: usize| given(name).map_or(default, |n| n.parse().expect("a number"));
    let (rounds, events) = (number("--rounds", 3), number("--events", 50_000));
    let schedules = number("--schedules", 100_000);
    let only = given("--only");
    let wanted = |part: &str| only.is_none_or(|only| only == part);
    let machine = Machine::watched();
    let mut figures: BTreeMap<(usize, &str), (Figure, Vec<f64>)> = BTreeMap::new();
    for round in 0..rounds {
        let mut all = Vec::new();
        if wanted("events") {
            all.extend(events::subscriptions(events));
        }
        if wanted("policies") {
            all.extend(events::policies(events));
        }
        if wanted("schedules") {
            all.extend(schedules::schedules(schedules));
        }
        for (place, figure) in all.into_iter().enumerate() {
            let value = figure.value;
            figures.entry((place, figure.what)).or_insert((figure, Vec::new())).1.push(value);
        }
        eprintln!("round {} of {rounds}", round + 1);
    }
    println!("{rounds} rounds; median [least – most]\n\n| | | | target |\n|---|---|---|---|");
    for (figure, mut values) in figures.into_values() {
        values.sort_by(f64::total_cmp);
        let (middle, least, most) = (values[values.len() / 2], values[0], values[values.len() - 1]);
        let digits = if most >= 1000.0 { 0 } else { 2 };
        let verdict = figure.target.map_or_else(String::new, |(target, more)| {
            let met = if more { middle >= target } else { middle <= target };
            format!("{} {target}: {}", if more { "≥" } else { "≤" }, if met { "met" } else { "missed" })
        });
        let Figure { what, unit, .. } = figure;
        println!("| {what}, {unit} | {middle:.digits$} | [{least:.digits$} – {most:.digits$}] | {verdict} |");
    }
    machine.report();
}

/// The value below which so many of a hundred lie.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}
