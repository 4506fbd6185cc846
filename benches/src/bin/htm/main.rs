//! What a task costs the task manager while much waits: processor time and memory, without disk and bus.
//!
//! With 1,000, 100,000 and 1,000,000 tasks waiting, tasks go through in batches: submitted, leased, answered; as many wait
//! afterwards as before. Two figures: the decisions alone, and with each event written as JSON and read again, as the host does it.
//! Memory is what the process's resident set grew by while the tasks were submitted. Times are the thread's processor time, so that
//! a busy machine disturbs them less; each row is measured in a process of its own.
//!
//! Then each kind of step by itself ([`steps`]): the median of the rounds, and the lowest and the highest tenth. With `--rounds N`
//! beside `--kind` and `--waiting`, so many rounds and nothing else, to count instructions (which a busy machine does not disturb at
//! all): `valgrind --tool=callgrind --collect-atstart=no --toggle-collect='*Steps*round*' target/release/htm --kind note --waiting 1000
//! --rounds 50`, then `callgrind_annotate --inclusive=yes`.
//!
//! `cargo run --release -p grace-benches --bin htm [-- --seconds S] [--batch N]`
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark that cannot run should say so and stop"
)]

mod steps;

use std::{path::Path, process::Command as Process, time::Duration};

use grace_kernel::{Decider, Outcome, OutcomeOf, Recorded};
use grace_orchestration::{
    htm::{
        Command, Era, Event, Htm, Json, Reply, State,
        command::{Ask, Submission, TaskAnswer},
        event::{Offer, Settings},
    },
    written,
};
use grace_types::time::{Monotonic, Now, Timestamp};

use self::steps::{KINDS, Steps, spread};

const TYPES: &str = "
intents:
  note:
    payload: {type: object, required: [n]}
    plan: {task: {kind: noop, input: {n: '${payload.n}'}, retry: {attempts: 100, backoff: 1s, factor: 1}}}
  fixed:
    plan: {task: {kind: noop, retry: {attempts: 100, backoff: 1s, factor: 1}}}
";

const ERA: Era = Era::from_bits(1);

struct Bench {
    state: State,
    now_ms: u64,
    /// The worker's last request.
    request: u64,
    through_json: bool,
    sent: u64,
    kind: &'static str,
    events: u64,
    bytes: u64,
}

impl Bench {
    fn new(kind: &'static str) -> Self {
        let mut bench = Self {
            state: State::default(),
            now_ms: 1000,
            request: 0,
            through_json: false,
            sent: 0,
            kind,
            events: 0,
            bytes: 0,
        };
        let settings = Settings {
            backlog_critical: u64::MAX,
            backlog_normal: u64::MAX,
            tasks: u64::MAX,
            ..Settings::default()
        };
        bench.ask(&Command::Configure { boot: "b".into(), era: ERA, settings });
        let types = written::read(TYPES, Path::new("bench")).expect("the types are good").intents;
        bench.ask(&Command::Define { types });
        let (name, kinds) = ("w".to_owned(), vec!["noop".to_owned()]);
        let offer = Offer { name, incarnation: "1".to_owned(), kinds, labels: Vec::new(), slots: 10_000 };
        bench.ask(&Command::Register(offer));
        bench
    }

    fn ask(&mut self, command: &Command) -> Reply {
        match self.decided(command) {
            Outcome::Done(reply) => reply,
            Outcome::Refused(refusal) => panic!("{refusal}"),
        }
    }

    fn accepted(&mut self, command: &Command) -> bool {
        matches!(self.decided(command), Outcome::Done(_))
    }

    fn decided(&mut self, command: &Command) -> OutcomeOf<Htm> {
        let mono = Monotonic::from_nanos(self.now_ms * 1_000_000);
        let decision = Htm::decide(&self.state, Now { wall: Timestamp::EPOCH, mono }, command);
        for record in decision.events() {
            self.events += 1;
            if self.through_json {
                let text = serde_json::to_vec(record).unwrap();
                self.bytes += text.len() as u64;
                let record: Recorded<Event> = serde_json::from_slice(&text).unwrap();
                Htm::evolve(&mut self.state, record.event());
            } else {
                Htm::evolve(&mut self.state, record.event());
            }
        }
        decision.outcome().clone()
    }

    fn submit(&mut self, count: usize) {
        let intents = (0..count)
            .map(|_| {
                self.sent += 1;
                Submission {
                    kind: self.kind.into(),
                    actor: "bench".into(),
                    payload: Json::of(&serde_json::json!({"n": self.sent})),
                    key: Some(format!("key-{}", self.sent)),
                    ..Submission::default()
                }
            })
            .collect();
        self.ask(&Command::Submit { intents });
    }

    fn work(&mut self, count: usize) {
        let max = u32::try_from(count).unwrap();
        let reply = self.ask(&Command::Lease { asks: vec![Ask { worker: "w".into(), max, request: None }] });
        let Reply::Leased { grants, .. } = reply else { panic!("{reply:?}") };
        let answers: Vec<TaskAnswer> = grants[0]
            .tasks
            .iter()
            .map(|lease| TaskAnswer {
                task: lease.task,
                token: lease.token,
                output: None,
                failed: None,
                retry: None,
            })
            .collect();
        assert_eq!(answers.len(), count);
        self.ask(&Command::Answer { worker: "w".into(), answers, chance: 0 });
    }

    /// Microseconds for each task that goes through.
    fn cost(&mut self, time: Duration, batch: usize, through_json: bool) -> f64 {
        self.through_json = through_json;
        let (begun, mut tasks) = (worked(), 0);
        while worked() - begun < time {
            self.submit(batch);
            self.work(batch);
            tasks += batch;
        }
        (worked() - begun).as_secs_f64() * 1e6 / tasks as f64
    }
}

/// Processor time of this thread so far.
fn worked() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.cast_unsigned(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it tells the resident set");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("it is a number") << 10
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| args.iter().position(|a| a == name).and_then(|i| args.get(i + 1)).cloned();
    let seconds: f64 = value("--seconds").map_or(2.0, |n| n.parse().expect("--seconds takes a number"));
    let batch: usize = value("--batch").map_or(64, |n| n.parse().expect("--batch takes a number"));
    let time = Duration::from_secs_f64(seconds);
    if let (Some(kind), Some(waiting)) = (value("--kind"), value("--waiting")) {
        let waiting = waiting.parse().expect("--waiting takes a number");
        let kind = if kind == "note" { "note" } else { "fixed" };
        if let Some(n) = value("--rounds") {
            return rounds(kind, waiting, n.parse().expect("--rounds takes a number"), batch);
        }
        return measure(kind, waiting, time, batch);
    }
    println!("batches of {batch}; microseconds for a task: submitted, leased and answered");
    let own = std::env::current_exe().expect("this program has a path");
    for kind in ["fixed", "note"] {
        for waiting in ["1000", "100000", "1000000"] {
            let row = Process::new(&own).args(&args).args(["--kind", kind, "--waiting", waiting]).status();
            assert!(row.expect("a row is measured").success());
        }
    }
}

/// So many rounds of steps, to count their instructions.
fn rounds(kind: &'static str, waiting: u64, rounds: usize, batch: usize) {
    let mut steps = Steps::new(filled(kind, waiting), batch, false);
    for _ in 0..rounds {
        steps.round();
        steps.round_of_cancelling();
    }
}

fn filled(kind: &'static str, waiting: u64) -> Bench {
    let mut bench = Bench::new(kind);
    while bench.state.waiting() < waiting {
        bench.submit(1000);
    }
    // The first intents that end fill the memory of those that can still be shown; the cost is that of a task manager that runs.
    for _ in 0..100 {
        bench.submit(64);
        bench.work(64);
    }
    bench
}

fn measure(kind: &'static str, waiting: u64, time: Duration, batch: usize) {
    let mut bench = Bench::new(kind);
    let before = resident_bytes();
    let begun = worked();
    while bench.state.waiting() < waiting {
        bench.submit(1000);
    }
    let submitted = (worked() - begun).as_secs_f64() * 1e6 / waiting as f64;
    let memory = resident_bytes().saturating_sub(before) / waiting;
    // The first intents that end fill the memory of those that can still be shown; the cost is that of a task manager that runs.
    bench.cost(time / 4, batch, false);
    let decided = bench.cost(time, batch, false);
    (bench.events, bench.bytes) = (0, 0);
    let before = bench.sent;
    let written = bench.cost(time, batch, true);
    let bytes = bench.bytes / (bench.sent - before);
    let begun = worked();
    let snapshot = serde_json::to_vec(&bench.state).unwrap();
    let saved = (worked() - begun).as_secs_f64();
    let begun = worked();
    let state: State = serde_json::from_slice(&snapshot).unwrap();
    let loaded = (worked() - begun).as_secs_f64();
    assert_eq!(state.waiting(), bench.state.waiting());
    println!(
        "  {kind:<6} {waiting:>9} waiting: {decided:>6.2} decided, {written:>6.2} with JSON ({bytes} bytes of events); \
         {submitted:.2} to submit; {memory} bytes of memory each; snapshot {:.1} MB, {saved:.2} s to write, {loaded:.2} s to read",
        snapshot.len() as f64 / 1e6
    );
    bench.through_json = false;
    let (mut steps, begun) = (Steps::new(bench, batch, true), worked());
    let (mut rounds, mut cancelling) = (Vec::new(), Vec::new());
    while worked() - begun < time {
        rounds.push(steps.round());
    }
    while worked() - begun < time * 3 / 2 {
        cancelling.push(steps.round_of_cancelling());
    }
    let spreads = KINDS.into_iter().enumerate().map(|(n, kind)| (kind, spread(&rounds, n, batch)));
    for (kind, [median, low, high]) in spreads.chain([("cancel", spread(&cancelling, 0, batch))]) {
        println!("    {kind:<8} {median:>6.2} ({low:.2} to {high:.2})");
    }
}
