//! Durable commands per second on one decider, against the floor: the same bytes, written and fdatasync'ed.
//!
//! With 1, 16 and 256 commands outstanding, four programs take turns, several rounds, on files of the same folder:
//!
//! - floor: as many entries as there are outstanding commands, one write and one fdatasync on a growing file
//! - journal: the same entries, one `FileJournal::append`
//! - host: commands asked of the host's thread by as many tasks; each waits for its durable answer, then asks the next
//! - shipped: the same, while the journal is shipped as evidence to two sinks that sync what they take, over a broker, both in
//!   another process on the same cores; and how long it took after the end until they had the rest
//!
//! Processor time a command is that of this program, user and system, and of the other processes until they have everything: it says what
//! evidence costs whoever else works on the machine meanwhile, and varies less than what is left over for the host.
//!
//! `cargo run --release -p grace-benches --bin host [-- --rounds N] [--seconds S] [--folder DIR] [--grace PROGRAM]`
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark that cannot run should say so and stop"
)]

mod shipping;

use std::{
    collections::BTreeMap,
    fmt,
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use grace_benches::{Machine, own_seconds};
use grace_kernel::{
    Decider, Decision, Envelope, Recorded,
    process::thread::{self, Commands},
};
use grace_store::{Journal, Seq, file::FileJournal};
use grace_types::{
    chance::OsEntropy,
    reason::Why,
    time::{Clock as _, Now, SystemClock, Timestamp},
};
use serde::{Deserialize, Serialize};

use self::shipping::Sinks;

/// A decision of the usual size: a restart with its reasons.
enum Restarts {}

#[derive(Default, Serialize, Deserialize)]
struct Counts(BTreeMap<String, u64>);

#[derive(Serialize, Deserialize)]
struct Restart {
    name: String,
    status: i32,
}

#[derive(Serialize, Deserialize)]
struct Never;

impl fmt::Display for Never {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("never refused")
    }
}

impl Decider for Restarts {
    type State = Counts;
    type Command = Restart;
    type Event = Restart;
    type Reply = u64;
    type Refusal = Never;
    type Effect = ();

    fn decide(state: &Counts, _now: Now, command: &Restart) -> Decision<Self> {
        let count = state.0.get(&command.name).copied().unwrap_or(0) + 1;
        let why = Why::because("restart.exit_status", format!("it ended with status {}", command.status));
        let event = Restart { name: command.name.clone(), status: command.status };
        Decision::reply(count).record(Recorded::new(event, command.name.as_str(), "availability", why))
    }

    fn evolve(state: &mut Counts, event: &Restart) {
        *state.0.entry(event.name.clone()).or_default() += 1;
    }

    fn what(_event: &Restart) -> &'static str {
        "process_restarted"
    }
}

struct Setting {
    folder: PathBuf,
    time: Duration,
    entry: Vec<u8>,
}

/// Commands per second, and microseconds from question to answer: median and 99th percentile.
#[derive(Clone, Copy)]
struct Measured {
    rate: f64,
    p50: f64,
    p99: f64,
    /// Microseconds of processor time a command.
    cpu: f64,
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == shipping::CHILD) {
        return shipping::serve_child(&args[1..]);
    }
    let value = |name: &str| args.iter().position(|a| a == name).and_then(|i| args.get(i + 1)).cloned();
    let rounds: usize = value("--rounds").map_or(5, |n| n.parse().expect("--rounds takes a number"));
    let seconds: f64 = value("--seconds").map_or(1.0, |n| n.parse().expect("--seconds takes a number"));
    let base = value("--folder").map_or_else(|| PathBuf::from("."), PathBuf::from);
    let folder = tempfile::tempdir_in(base).expect("the folder must be writable");
    let mut setting = Setting {
        folder: folder.path().to_owned(),
        time: Duration::from_secs_f64(seconds),
        entry: Vec::new(),
    };
    setting.entry = one_entry(&setting);
    println!(
        "entries of {} bytes, {rounds} rounds of {seconds} s each, medians (lowest to highest)",
        setting.entry.len()
    );
    let grace = value("--grace").map(PathBuf::from);
    let only: Option<usize> =
        value("--outstanding").map(|n| n.parse().expect("--outstanding takes a number"));
    let machine = Machine::watched();
    let sinks = Sinks::start(&setting.folder.join("sinks"), grace.as_deref());
    for outstanding in only.map_or_else(|| vec![1, 16, 256], |only| vec![only]) {
        let (mut floors, mut journals, mut hosts) = (Vec::new(), Vec::new(), Vec::new());
        let (mut shipped, mut rests, mut spent, mut through) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            // Gone with the round: a floor of some seconds alone fills gigabytes.
            let place = tempfile::tempdir_in(&setting.folder).expect("the folder must be writable");
            let path = |what: &str| place.path().join(what);
            floors.push(floor(&setting, &path("floor"), outstanding));
            journals.push(journal(&setting, &path("journal"), outstanding));
            hosts.push(host(&setting, &path("host"), outstanding, None).0);
            let before = sinks.seconds();
            let (measured, rest) = host(&setting, &path("shipped"), outstanding, Some(&sinks));
            let commands = measured.rate * seconds;
            spent.push(
                sinks
                    .seconds()
                    .iter()
                    .zip(before)
                    .map(|(after, before)| (after - before) * 1e6 / commands)
                    .collect(),
            );
            through.push(commands / (seconds + rest.as_secs_f64()));
            shipped.push(measured);
            rests.push(rest);
        }
        println!("\n{outstanding} outstanding");
        report("floor", &floors, &floors);
        report("journal", &journals, &floors);
        report("host", &hosts, &floors);
        report("shipped", &shipped, &floors);
        rests.sort_unstable();
        let mut costs: Vec<f64> = hosts
            .iter()
            .zip(&shipped)
            .map(|(host, shipped)| 100.0 * (1.0 - shipped.rate / host.rate))
            .collect();
        costs.sort_by(f64::total_cmp);
        through.sort_by(f64::total_cmp);
        println!(
            "  evidence costs {:.1} % ({:.1} to {:.1}) of the host's rate; the rest was shipped {} ms after the end, {:.0}/s until then",
            costs[costs.len() / 2],
            costs[0],
            costs[costs.len() - 1],
            rests[rests.len() / 2].as_millis(),
            through[through.len() / 2]
        );
        println!(
            "  processor time a command: {:.1} us of the host, {:.1} us while it is shipped{}",
            median(&hosts, |m| m.cpu),
            median(&shipped, |m| m.cpu),
            sinks.told(&spent)
        );
    }
    // Its processes count as this program's once they have ended.
    drop(sinks);
    machine.report();
}

fn median<T>(of: &[T], pick: impl Fn(&T) -> f64) -> f64 {
    let mut values: Vec<f64> = of.iter().map(pick).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn report(what: &str, all: &[Measured], floors: &[Measured]) {
    let median = |pick: fn(&Measured) -> f64, of: &[Measured]| {
        let mut values: Vec<f64> = of.iter().map(pick).collect();
        values.sort_by(f64::total_cmp);
        (values[values.len() / 2], values[0], values[values.len() - 1])
    };
    let (rate, low, high) = median(|m| m.rate, all);
    let (p50, ..) = median(|m| m.p50, all);
    let (p99, ..) = median(|m| m.p99, all);
    let ratio = rate / median(|m| m.rate, floors).0;
    println!(
        "  {what:<8} {rate:>9.0}/s ({low:.0} to {high:.0})  p50 {p50:>6.0} us  p99 {p99:>6.0} us  {ratio:>5.2} of the floor"
    );
}

/// Repeats `write`, which makes `outstanding` entries durable, until the time is over.
fn repeat(time: Duration, outstanding: usize, mut write: impl FnMut()) -> Measured {
    let mut took = Vec::new();
    let (start, before) = (Instant::now(), own_seconds());
    while start.elapsed() < time {
        let begun = Instant::now();
        write();
        took.push(begun.elapsed());
    }
    measured(start.elapsed(), own_seconds() - before, took.len() * outstanding, took)
}

fn measured(elapsed: Duration, spent: f64, commands: usize, mut took: Vec<Duration>) -> Measured {
    took.sort_unstable();
    let micros = |share: usize| took[(took.len() * share / 100).min(took.len() - 1)].as_secs_f64() * 1e6;
    let (rate, cpu) = (commands as f64 / elapsed.as_secs_f64(), spent * 1e6 / commands as f64);
    Measured { rate, p50: micros(50), p99: micros(99), cpu }
}

fn floor(setting: &Setting, path: &Path, outstanding: usize) -> Measured {
    let mut file = File::create(path).unwrap();
    let bytes = setting.entry.repeat(outstanding);
    repeat(setting.time, outstanding, || {
        file.write_all(&bytes).unwrap();
        file.sync_data().unwrap();
    })
}

fn journal(setting: &Setting, path: &Path, outstanding: usize) -> Measured {
    let mut journal = FileJournal::open(path, Timestamp::EPOCH).unwrap();
    let batch = vec![setting.entry.as_slice(); outstanding];
    repeat(setting.time, outstanding, || {
        journal.append(&batch).unwrap();
    })
}

fn command(task: usize) -> Envelope<Restart> {
    Envelope::new(Restart { name: format!("worker-{}", task % 64), status: 137 })
}

/// With sinks, also how long shipping went on after the end.
fn host(setting: &Setting, path: &Path, outstanding: usize, sinks: Option<&Sinks>) -> (Measured, Duration) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (commands, mut hosted) = start(path);
        let shippers = sinks.map(|sinks| sinks.ship(path, &hosted.written()));
        let drain = tokio::spawn(async move {
            while hosted.next().await.is_some() {}
            hosted.ended().await.unwrap();
        });
        let (begun, before) = (Instant::now(), own_seconds());
        let end = begun + setting.time;
        let tasks: Vec<_> = (0..outstanding)
            .map(|task| {
                let commands = commands.clone();
                tokio::spawn(async move {
                    let mut took = Vec::new();
                    while Instant::now() < end {
                        let asked = Instant::now();
                        commands.ask(command(task)).await.unwrap_or_else(|e| panic!("{e}"));
                        took.push(asked.elapsed());
                    }
                    took
                })
            })
            .collect();
        let mut took = Vec::new();
        for task in tasks {
            took.extend(task.await.unwrap());
        }
        let elapsed = begun.elapsed();
        commands.stop().await;
        drain.await.unwrap();
        let begun = Instant::now();
        if let Some(mut shippers) = shippers {
            shippers.finish(Duration::from_secs(60)).await;
            for (sink, progress) in shippers.progress() {
                let progress = progress.expect("the journal was found");
                assert_eq!(
                    progress.waiting(),
                    Some(0),
                    "{} has not got everything: {progress:?}",
                    sink.name()
                );
                assert_eq!(progress.last, took.len() as u64, "{}", sink.name());
            }
        }
        (measured(elapsed, own_seconds() - before, took.len(), took), begun.elapsed())
    })
}

fn start(path: &Path) -> (Commands<Restarts>, thread::Hosted<Restarts>) {
    let path = path.to_owned();
    let now = SystemClock.now().wall;
    let open = move || FileJournal::open(path, now).map(|j| Box::new(j) as Box<dyn Journal>);
    thread::spawn("control_plane".to_owned(), open, Arc::new(SystemClock), Box::new(OsEntropy)).unwrap()
}

/// What one command leaves in the journal.
fn one_entry(setting: &Setting) -> Vec<u8> {
    let path = setting.folder.join("one");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (commands, mut hosted) = start(&path);
        let asking = async {
            commands.ask(command(0)).await.unwrap_or_else(|e| panic!("{e}"));
            commands.stop().await;
        };
        let releasing = async { while hosted.next().await.is_some() {} };
        tokio::join!(asking, releasing);
    });
    let mut entry = Vec::new();
    let mut journal = FileJournal::open(&path, Timestamp::EPOCH).unwrap();
    journal
        .replay(Seq(1), &mut |record| {
            entry = record.payload.to_vec();
            std::ops::ControlFlow::Break(())
        })
        .unwrap();
    entry
}
