//! `cargo xtask test`: everything that must hold before a change is done.
//!
//! Every step runs, even when an early one fails: one run shows all that is wrong. Cheap steps come first, so that a
//! person who watches sees their faults at once.

use std::{
    process::{Command, ExitCode},
    time::Instant,
};

use crate::{
    floors, metadata, packages,
    report::{self, Outcome, Ran},
    sources, suite, workspace,
};

type Step = (&'static str, fn() -> Outcome);

/// In the order in which they run.
const STEPS: [Step; 7] = [
    ("packages", packages::ensure),
    ("format", format),
    ("floors", floors),
    ("sources", sources),
    ("clippy", clippy),
    ("tests", tests),
    ("doctests", doctests),
];

/// Runs every step and prints the summary; fails if any did.
pub(crate) fn run() -> ExitCode {
    let mut ran = Vec::new();
    for (name, step) in STEPS {
        println!("\n== {name} ==");
        #[expect(clippy::disallowed_methods, reason = "a developer's task shows how long a step took")]
        let start = Instant::now();
        let outcome = step();
        let took = start.elapsed();
        for fault in &outcome.faults {
            println!("{fault}");
        }
        println!("== {name} took {:.1} s ==", took.as_secs_f64());
        ran.push(Ran { name, took, outcome });
    }
    print!("\n== summary ==\n{}", report::summary(&ran));
    if report::totals(&ran).1 == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn format() -> Outcome {
    let mut faults = Vec::new();
    // The fuzz targets are a workspace of their own.
    for manifest in ["Cargo.toml", "fuzz/Cargo.toml"] {
        if workspace::root().join(manifest).is_file() {
            let command = workspace::cargo(&["fmt", "--all", "--check", "--manifest-path", manifest]);
            faults.extend(finish(command, "cargo fmt --all", manifest).err());
        }
    }
    Outcome::of_faults(faults)
}

fn floors() -> Outcome {
    match metadata::read() {
        Ok(packages) => Outcome::of_faults(floors::faults(&packages)),
        Err(fault) => Outcome::of_faults(vec![fault]),
    }
}

fn sources() -> Outcome {
    match sources::faults(&workspace::root()) {
        Ok(faults) => Outcome::of_faults(faults),
        Err(e) => Outcome::of_faults(vec![format!("the tree cannot be read: {e}")]),
    }
}

fn clippy() -> Outcome {
    let command = workspace::cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]);
    finish(command, "cargo clippy --workspace --all-targets -- -D warnings", "the workspace").into()
}

fn tests() -> Outcome {
    let args = ["test", "--workspace", "--no-fail-fast", "--lib", "--bins", "--tests", "--examples"];
    suite::run(workspace::cargo(&args), &mut std::io::stdout())
}

fn doctests() -> Outcome {
    let args = ["test", "--workspace", "--no-fail-fast", "--doc"];
    suite::run(workspace::cargo(&args), &mut std::io::stdout())
}

/// Waits for a command whose output goes straight to the person.
fn finish(mut command: Command, shown: &str, place: &str) -> Result<(), String> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{shown}` is not satisfied with {place} ({status})")),
        Err(e) => Err(format!("`{shown}` cannot be started: {e}")),
    }
}
