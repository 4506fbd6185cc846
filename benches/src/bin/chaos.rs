//! What a chaos run costs beside what it does: `grace chaos run` of a scenario without faults and with one probe, from the start of
//! its process to its end, evidence, seal and bundle included. In turn, several rounds:
//!
//! - floor: the start and end of the same binary (`grace --version`)
//! - peer: Chaos Toolkit with the same experiment, where a `chaos` is found on the path (`pip install chaostoolkit`); it keeps a
//!   journal, and no evidence that could be checked
//!
//! `cargo run --release -p grace-benches --bin chaos [-- --rounds N]`, with `cargo build --release` before it.
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run should say so and stop")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

/// One probe, no fault.
const SCENARIO: &str = "id: trivial\ntitle: Nothing is attacked\ncategory: process\nseverity: low\n\
    steady_state: [{name: in order, check: \"status.state == 'running'\"}]\n";

/// The same for Chaos Toolkit: a probe that reads a file.
const EXPERIMENT: &str = r#"{"title": "Nothing is attacked", "description": "One probe", "method": [],
    "steady-state-hypothesis": {"title": "in order", "probes": [{"type": "probe", "name": "in order", "tolerance": 0,
        "provider": {"type": "process", "path": "true"}}]}}"#;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let given = arguments.iter().position(|a| a == "--rounds").and_then(|at| arguments.get(at + 1));
    let rounds: usize = given.map_or(20, |n| n.parse().unwrap());
    let instance = Instance::up();
    let peer = which("chaos");
    let (mut floor, mut grace, mut toolkit) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        floor.push(timed(Command::new(&instance.grace).arg("--version")));
        grace.push(timed(instance.command().args(["chaos", "run", "trivial"])));
        if let Some(peer) = &peer {
            let mut command = Command::new(peer);
            let folder = instance.folder.path();
            toolkit.push(timed(
                command.args(["--no-version-check", "run", "experiment.json"]).current_dir(folder),
            ));
        }
    }
    println!("{rounds} rounds in turn; median [min – 99th percentile]\n\n| | | |\n|---|---|---|");
    let floor = row("a bare process start", floor);
    let grace = row("a run without faults", grace);
    println!("| run − start | {:.1} ms | target ≤ 25 ms |", grace - floor);
    match peer {
        Some(_) => drop(row("the same in Chaos Toolkit", toolkit)),
        None => println!("\nskipped: Chaos Toolkit (no `chaos` on the path)"),
    }
}

/// A running instance with the scenario, which ends with this.
struct Instance {
    folder: tempfile::TempDir,
    grace: PathBuf,
}

impl Instance {
    fn up() -> Self {
        let grace = std::env::current_exe().unwrap().parent().unwrap().join("grace");
        assert!(grace.is_file(), "build {} first: cargo build --release", grace.display());
        let folder = tempfile::tempdir().unwrap();
        let instance = Self { folder, grace };
        let at = |name: &str| instance.folder.path().join(name);
        fs::write(at("grace.yaml"), "bus: {port: 0}\nprocesses: {}\n").unwrap();
        fs::write(at("experiment.json"), EXPERIMENT).unwrap();
        fs::create_dir_all(at("data/scenarios")).unwrap();
        fs::write(at("data/scenarios/trivial.yaml"), SCENARIO).unwrap();
        timed(instance.command().args(["up", "--detach", "--manifest"]).arg(at("grace.yaml")));
        instance
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.grace);
        command.arg("--data").arg(self.folder.path().join("data"));
        command
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = self.command().arg("down").stdout(Stdio::null()).status();
    }
}

/// Milliseconds from the start of a command to its end, which must be a success.
fn timed(command: &mut Command) -> f64 {
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let start = Instant::now();
    let status = command.status().unwrap();
    let time = start.elapsed().as_secs_f64() * 1000.0;
    assert!(status.success(), "{command:?}: {status}");
    time
}

fn which(program: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    std::env::split_paths(&paths)
        .map(|path: PathBuf| path.join(program))
        .find(|path: &PathBuf| Path::is_file(path))
}

fn row(name: &str, mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let (median, last) = (figures[figures.len() / 2], figures[figures.len() * 99 / 100]);
    println!("| {name} | {median:.1} ms | [{:.1} – {last:.1}] |", figures[0]);
    median
}
