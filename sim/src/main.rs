//! `cargo run -p grace-sim -- [--world W] --seed S --steps N [--seeds COUNT]`: prints the history of one run and its digest,
//! or only the digests of many.

use std::{fmt::Debug, process::ExitCode};

use grace_sim::{Report, work, world};

const USAGE: &str = "\
Usage: grace-sim [--world work|bank] [--seed S] [--steps N] [--seeds COUNT]

  --world W      work: the four deciders of Layer 2 together; bank: the host with a sample decider (default work)
  --seed S       chooses everything that happens (default 1)
  --steps N      steps with faults (default 1500)
  --seeds COUNT  run COUNT seeds from S on and print only their digests

Examples:
  grace-sim --seed 7 --steps 1000
  grace-sim --world bank --seeds 100
";

struct Args {
    work: bool,
    seed: u64,
    steps: u64,
    seeds: Option<u64>,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if matches!(args.as_slice(), [help] if help == "--help" || help == "-h") {
        print!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let Some(args) = read(&args) else {
        eprint!("{USAGE}");
        return ExitCode::from(2);
    };
    let mut good = true;
    for offset in 0..args.seeds.unwrap_or(1) {
        let (seed, steps) = (args.seed.wrapping_add(offset), args.steps);
        good &= if args.work {
            show(&args, seed, &work::run(work::Options { seed, steps, mistake: None }))
        } else {
            show(&args, seed, &world::run(world::Options { seed, steps, mistake: None }))
        };
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn read(args: &[String]) -> Option<Args> {
    let mut read = Args { work: true, seed: 1, steps: 1500, seeds: None };
    for pair in args.chunks(2) {
        let [name, value] = pair else { return None };
        match (name.as_str(), value.as_str(), value.parse::<u64>().ok()) {
            ("--world", "work", _) => read.work = true,
            ("--world", "bank", _) => read.work = false,
            ("--seed", _, Some(n)) => read.seed = n,
            ("--steps", _, Some(n)) => read.steps = n,
            ("--seeds", _, Some(n)) => read.seeds = Some(n),
            _ => return None,
        }
    }
    Some(read)
}

/// Whether no promise was broken.
fn show<C: Debug>(args: &Args, seed: u64, report: &Report<C>) -> bool {
    if args.seeds.is_none() {
        print!("{}", report.history);
        println!("{:?}", report.counts);
    }
    println!("seed {seed} steps {} sha256 {}", args.steps, report.digest);
    for broken in &report.broken {
        println!("BROKEN: {broken}");
    }
    report.broken.is_empty()
}
