//! `cargo xtask`: what a developer and continuous integration run, and nothing that a user of Grace needs.
//!
//! Each subcommand is a module. They share [`workspace`] (where the tree lies and what cargo says of it) and nothing
//! else. There is no configuration: what a task does is read here, in one place.

mod floors;
mod metadata;
mod packages;
mod programs;
mod report;
mod sources;
mod suite;
mod test;
mod workspace;

use std::process::ExitCode;

const USAGE: &str = "\
Development tasks of Grace.

Usage: cargo xtask <TASK> [ARGS]

Tasks:
  test                      everything that must hold: packages, format, floors, sources, clippy, tests, doc tests
  sim [ARGS]                the simulator, e.g. `cargo xtask sim --seed 7 --steps 1000`; `--world bank` for the host alone
  fuzz [--seconds N] [NAME] each fuzz target in turn, or the named one, for N seconds (60)
  bench [NAME [ARGS]]       each benchmark in turn, or the named one with its arguments, in release mode
";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let task = args.next();
    let rest: Vec<String> = args.collect();
    let result = match (task.as_deref(), rest.as_slice()) {
        (Some("test"), []) => return test::run(),
        (Some("test"), [extra, ..]) => Err(format!("`test` takes no arguments, and got `{extra}`")),
        (Some("sim"), rest) => programs::sim(rest),
        (Some("fuzz"), rest) => programs::fuzz(rest),
        (Some("bench"), rest) => programs::bench(rest),
        (Some("help" | "-h" | "--help"), _) => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        (Some(other), _) => Err(format!("there is no task `{other}`\n\n{USAGE}")),
        (None, _) => Err(format!("which task?\n\n{USAGE}")),
    };
    match result {
        Ok(code) => code,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::from(2)
        }
    }
}
