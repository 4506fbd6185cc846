//! What an agent waits for before each use of a tool: `grace hook` from the start of its process to its answer.
//!
//! The process is started as an agent's host starts it, with the hook's JSON on standard input; its answer is read to the end. A call that
//! is allowed, whose decision is on disk by then, and one whose ticket waits already take turns with the floor: the same binary with
//! `--version`, which is what starting it costs. What a bare sync costs is told, too.
//!
//! `cargo run --release -p grace-benches --bin hook [-- --rounds N]`
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark that cannot run should say so and stop"
)]

use std::{
    fs::File,
    io::Write as _,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use grace_benches::{Machine, instance::Instance};

/// The bound that the project set itself, for the middle of the answers.
const BOUND: Duration = Duration::from_millis(15);

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| args.iter().position(|a| a == name).and_then(|i| args.get(i + 1)).cloned();
    let rounds: usize = value("--rounds").map_or(300, |n| n.parse().expect("--rounds takes a number"));
    let instance = Instance::up("bus: {port: 0}\nprocesses: {}\n");
    let machine = Machine::watched();
    let read = |n: usize| {
        format!(
            r#"{{"hook_event_name": "PreToolUse", "session_id": "s", "cwd": "/w", "tool_name": "Read", "tool_input": {{"file_path": "/w/{n}"}}}}"#
        )
    };
    let push = r#"{"hook_event_name": "PreToolUse", "session_id": "s", "cwd": "/w", "tool_name": "Bash", "tool_input": {"command": "git push"}}"#;
    let (mut floor, mut allowed, mut asked, mut synced) = (vec![], vec![], vec![], vec![]);
    let folder = tempfile::tempdir().expect("a folder");
    let mut file = File::create(folder.path().join("synced")).expect("a file");
    // The first rounds warm caches up.
    for n in 0..rounds + 10 {
        let of = [
            (&mut floor, timed(instance.command().arg("--version"), "", "grace")),
            (&mut allowed, timed(instance.command().args(["hook", "claude-code"]), &read(n), "{}")),
            (&mut asked, timed(instance.command().args(["hook", "codex"]), push, "int_")),
            (&mut synced, sync(&mut file)),
        ];
        for (times, took) in of {
            if n >= 10 {
                times.push(took);
            }
        }
    }
    let (floor, allowed) = (Spread::of(floor), Spread::of(allowed));
    let (asked, synced) = (Spread::of(asked), Spread::of(synced));
    println!("from the start of the process to its answer, {rounds} each");
    println!("{:<42} {:>9} {:>9} {:>9}", "", "p50", "p99", "of floor");
    for (name, spread) in [
        ("floor: the same binary with --version", &floor),
        ("a 4 KiB write and its sync, alone", &synced),
        ("allowed: decided and on disk", &allowed),
        ("a ticket that waits already", &asked),
    ] {
        let ratio = spread.middle.as_secs_f64() / floor.middle.as_secs_f64();
        println!(
            "{name:<42} {:>6.2} ms {:>6.2} ms {ratio:>8.2}x",
            millis(spread.middle),
            millis(spread.late)
        );
    }
    let within = if allowed.middle < BOUND { "within" } else { "ABOVE" };
    println!("p50 of what is allowed: {within} {} ms", BOUND.as_millis());
    machine.report();
}

/// Until the process has answered and ended.
fn timed(command: &mut Command, input: &str, expected: &str) -> Duration {
    let begun = Instant::now();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    // Who does not read its input may be gone.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().expect("it ends");
    let took = begun.elapsed();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains(expected), "{text}");
    took
}

fn sync(file: &mut File) -> Duration {
    let begun = Instant::now();
    file.write_all(&[0; 4096]).and_then(|()| file.sync_data()).expect("it is synced");
    begun.elapsed()
}

struct Spread {
    middle: Duration,
    late: Duration,
}

impl Spread {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |part: usize| times[(times.len() * part / 100).min(times.len() - 1)];
        Self { middle: at(50), late: at(99) }
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
