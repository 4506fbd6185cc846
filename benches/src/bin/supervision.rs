//! Supervision, against the floor: a C program that only waits and starts again (`benches/floor/supervisor.c`).
//!
//! Both supervise 25 copies of a C program whose first act is to read the clock and say so. In turn, several rounds:
//!
//! - boot: from the start of the supervisor to the last program's first instruction
//! - restart: from `kill -9` to the replacement's first instruction, one at a time
//! - herd: the same with all 25 killed at once, to the last replacement
//!
//! And of Grace alone: memory (PSS) of the guardian, the control plane and each kernel, CPU while nothing happens, the time
//! in which a stopped program with a heartbeat is found, and a cold boot of the built-in kernels to ready.
//!
//! `cargo run --release -p grace-benches --bin supervision [-- --rounds N]`, with `cargo build --release` before it.
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock, and waits for a quiet moment")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run should say so and stop")]

use std::{
    collections::BTreeMap,
    fs,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

/// Programs supervised.
const PROGRAMS: usize = 25;
/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(30);

fn main() {
    let rounds = rounds();
    let workshop = Workshop::new();
    println!("{PROGRAMS} programs, {rounds} rounds in turn; milliseconds, median [min – max]\n");
    let (mut floor, mut grace) = (Times::default(), Times::default());
    for _ in 0..rounds {
        floor.round(&workshop, Floor::start);
        grace.round(&workshop, Grace::start);
    }
    println!("| | floor | grace | grace / floor | target |\n|---|---|---|---|---|");
    row("restart after kill -9", &mut floor.restart, &mut grace.restart, "≤ 2.5");
    row("all killed at once", &mut floor.herd, &mut grace.herd, "");
    row("boot to the last program", &mut floor.boot, &mut grace.boot, "≤ 2");
    alone(&workshop, rounds);
}

fn rounds() -> usize {
    let arguments: Vec<String> = std::env::args().collect();
    let given = arguments.iter().position(|a| a == "--rounds").and_then(|at| arguments.get(at + 1));
    given.map_or(5, |n| n.parse().unwrap())
}

/// What both supervisors are measured for, in milliseconds.
#[derive(Default)]
struct Times {
    boot: Vec<f64>,
    restart: Vec<f64>,
    herd: Vec<f64>,
}

impl Times {
    fn round<S: Supervisor>(&mut self, workshop: &Workshop, start: impl Fn(&Workshop, usize, &str) -> S) {
        let mut programs = Programs::listen(&workshop.socket);
        let began = monotonic();
        let supervisor = start(workshop, PROGRAMS, "");
        programs.wait(PROGRAMS);
        self.boot.push(programs.last_stamp() - began);
        // Past the first second, so that a replaced program has had a sound run.
        sleep(Duration::from_millis(1500));
        for number in 0..20 {
            sleep(Duration::from_millis(30 + 7 * number));
            let name = format!("c{}", (number * 7) % PROGRAMS as u64);
            self.restart.push(programs.kill(&[name]));
        }
        sleep(Duration::from_millis(1500));
        let everyone: Vec<String> = programs.known.keys().cloned().collect();
        self.herd.push(programs.kill(&everyone));
        supervisor.stop(&programs);
    }
}

fn row(what: &str, floor: &mut [f64], grace: &mut [f64], target: &str) {
    let ratio = median(grace) / median(floor);
    println!("| {what} | {} | {} | {ratio:.2} | {target} |", spread(floor), spread(grace));
}

fn alone(workshop: &Workshop, rounds: usize) {
    let (mut cold, mut found) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let began = Instant::now();
        let grace = Grace::start(workshop, 0, "");
        cold.push(began.elapsed().as_secs_f64() * 1e3);
        grace.stop(&Programs::default());
    }
    println!("\ncold boot of `grace up --detach`, all kernels ready: {} ms (target 300)", spread(&mut cold));

    let interval = 500;
    for _ in 0..rounds {
        let mut programs = Programs::listen(&workshop.socket);
        let grace = Grace::start(workshop, 1, &format!(", \"{}\"", interval / 2));
        programs.wait(1);
        sleep(Duration::from_millis(700));
        found.push(programs.stop_in_place("c0") / f64::from(interval));
        grace.stop(&programs);
    }
    println!("stopped program found and replaced: {} heartbeat intervals (target ≤ 2)", spread(&mut found));

    let mut programs = Programs::listen(&workshop.socket);
    let grace = Grace::start(workshop, PROGRAMS, "");
    programs.wait(PROGRAMS);
    sleep(Duration::from_secs(2));
    let own = grace.processes(&programs);
    let before = cpu_seconds(&own);
    let began = Instant::now();
    sleep(Duration::from_secs(10));
    let busy = (cpu_seconds(&own) - before) / began.elapsed().as_secs_f64() * 100.0;
    let supervisors: Vec<&(u32, String)> =
        own.iter().filter(|(_, name)| !name.starts_with("kernel ")).collect();
    println!("\nidle, {PROGRAMS} programs: {busy:.2} % of a core for everything of Grace's");
    let supervising: Vec<(u32, String)> = supervisors.into_iter().cloned().collect();
    let before = cpu_seconds(&supervising);
    let began = Instant::now();
    sleep(Duration::from_secs(10));
    let busy = (cpu_seconds(&supervising) - before) / began.elapsed().as_secs_f64() * 100.0;
    println!("      of which guardian and control plane: {busy:.2} % (target 0.5)");
    println!("\nmemory (PSS):");
    for (pid, name) in &own {
        println!("  {:6.2} MiB  {name}", pss_mebibytes(*pid));
    }
    grace.stop(&programs);
}

trait Supervisor {
    fn stop(self, programs: &Programs);
}

struct Floor(Child);

impl Floor {
    fn start(workshop: &Workshop, count: usize, _: &str) -> Self {
        let mut command = Command::new(&workshop.floor);
        command.arg(count.to_string()).arg(&workshop.child).env("BENCH_SOCKET", &workshop.socket);
        Self(command.spawn().unwrap())
    }
}

impl Supervisor for Floor {
    fn stop(mut self, programs: &Programs) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
        for (pid, _) in programs.known.values() {
            signal(*pid, rustix::process::Signal::KILL);
        }
    }
}

struct Grace {
    program: PathBuf,
    data: PathBuf,
}

impl Grace {
    /// Returns when `grace up --detach` does: when everything is ready.
    fn start(workshop: &Workshop, count: usize, argument: &str) -> Self {
        let data = workshop.folder.join("data");
        let _ = fs::remove_dir_all(&data);
        let manifest = workshop.folder.join("grace.yaml");
        let mut text = "bus: {port: 0}\nprocesses:\n".to_owned();
        for number in 0..count {
            let (child, socket) = (workshop.child.display(), workshop.socket.display());
            text += &format!(
                "  c{number}:\n    command: [\"{child}\", \"c{number}\"{argument}]\n    environment: {{BENCH_SOCKET: \"{socket}\"}}\n    availability: {{intensity: 1000}}\n"
            );
            if !argument.is_empty() {
                text += "    readiness_probe: {notify: true}\n    watchdog: {interval: 500ms}\n";
            }
        }
        if count == 0 {
            "bus: {port: 0}\n".clone_into(&mut text);
        }
        fs::write(&manifest, text).unwrap();
        let grace = Self { program: workshop.grace.clone(), data };
        let mut up = grace.command();
        up.args(["up", "--detach", "--manifest"]).arg(&manifest).stdout(Stdio::null());
        assert!(up.status().unwrap().success(), "grace up failed");
        grace
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--data").arg(&self.data);
        command
    }

    /// Every process of the instance but the supervised programs, with what it is.
    fn processes(&self, programs: &Programs) -> Vec<(u32, String)> {
        let data = format!("GRACE_DATA={}", self.data.display());
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else { continue };
            let line =
                fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default().replace('\0', " ");
            let environment = fs::read_to_string(format!("/proc/{pid}/environ")).unwrap_or_default();
            let ours =
                environment.split('\0').any(|v| v == data) || line.contains(&*self.data.to_string_lossy());
            if ours && !programs.known.values().any(|(p, _)| *p == pid) {
                let words: Vec<&str> = line.split_whitespace().collect();
                let kernel = words.iter().position(|w| *w == "kernel").map(|at| words[at..].join(" "));
                found.push((
                    pid,
                    kernel.unwrap_or_else(|| words.last().copied().unwrap_or_default().to_owned()),
                ));
            }
        }
        found.sort_by(|a, b| a.1.cmp(&b.1));
        found
    }
}

impl Supervisor for Grace {
    fn stop(self, _: &Programs) {
        let down = self.command().arg("down").stdout(Stdio::null()).status().unwrap();
        assert!(down.success(), "grace down failed");
    }
}

/// What is built and kept for the whole run.
struct Workshop {
    folder: PathBuf,
    child: PathBuf,
    floor: PathBuf,
    grace: PathBuf,
    socket: PathBuf,
    _kept: tempfile::TempDir,
}

impl Workshop {
    fn new() -> Self {
        let kept = tempfile::tempdir().unwrap();
        let folder = kept.path().to_owned();
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("floor");
        let compile = |source: &str| {
            let program = folder.join(source.trim_end_matches(".c"));
            let built =
                Command::new("cc").args(["-O2", "-o"]).arg(&program).arg(sources.join(source)).status();
            assert!(built.unwrap().success(), "cc failed on {source}");
            program
        };
        let grace = std::env::current_exe().unwrap().with_file_name("grace");
        assert!(grace.exists(), "{} is missing: run `cargo build --release` first", grace.display());
        let (child, floor) = (compile("child.c"), compile("supervisor.c"));
        Self { socket: folder.join("bench.sock"), child, floor, grace, folder, _kept: kept }
    }
}

/// The programs, as they report themselves.
#[derive(Default)]
struct Programs {
    socket: Option<UnixDatagram>,
    /// By name: the pid, and the stamp in milliseconds.
    known: BTreeMap<String, (u32, f64)>,
}

impl Programs {
    fn listen(path: &Path) -> Self {
        let _ = fs::remove_file(path);
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket: Some(socket), known: BTreeMap::new() }
    }

    fn hear(&mut self) {
        let mut buffer = [0; 256];
        let length =
            self.socket.as_ref().unwrap().recv(&mut buffer).expect("a program did not report in time");
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        let words: Vec<&str> = text.split(' ').collect();
        let stamp = words[2].parse::<f64>().unwrap() / 1e6;
        self.known.insert(words[0].to_owned(), (words[1].parse().unwrap(), stamp));
    }

    fn wait(&mut self, count: usize) {
        while self.known.len() < count {
            self.hear();
        }
    }

    fn last_stamp(&self) -> f64 {
        self.known.values().map(|(_, stamp)| *stamp).fold(0.0, f64::max)
    }

    /// Kills them at once; milliseconds until the last replacement began.
    fn kill(&mut self, names: &[String]) -> f64 {
        let before = self.known.clone();
        let began = monotonic();
        for name in names {
            signal(before[name].0, rustix::process::Signal::KILL);
        }
        while names.iter().any(|name| self.known[name].0 == before[name].0) {
            self.hear();
        }
        names.iter().map(|name| self.known[name].1).fold(0.0, f64::max) - began
    }

    fn stop_in_place(&mut self, name: &str) -> f64 {
        let before = self.known[name].0;
        let began = monotonic();
        signal(before, rustix::process::Signal::STOP);
        while self.known[name].0 == before {
            self.hear();
        }
        self.known[name].1 - began
    }
}

/// CLOCK_MONOTONIC in milliseconds, the clock that the programs read.
fn monotonic() -> f64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as f64 * 1e3 + now.tv_nsec as f64 / 1e6
}

fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    let _ = rustix::process::kill_process(pid, signal);
}

fn cpu_seconds(processes: &[(u32, String)]) -> f64 {
    let nanoseconds = |pid: &u32| -> f64 {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
        let of = |task: fs::DirEntry| fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        tasks.map(|t| of(t).split(' ').next().and_then(|n| n.parse::<f64>().ok()).unwrap_or(0.0)).sum()
    };
    processes.iter().map(|(pid, _)| nanoseconds(pid)).sum::<f64>() / 1e9
}

fn pss_mebibytes(pid: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap_or("0 kB");
    line.split_whitespace().next().and_then(|n| n.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn spread(values: &mut [f64]) -> String {
    let middle = median(values);
    format!("{middle:.2} [{:.2} – {:.2}]", values[0], values[values.len() - 1])
}
