//! `cargo run -p grace-sim -- --seed S --steps N [--seeds COUNT] [--quiet]`: prints the history of one run and its digest, or
//! only the digests of many.

use std::process::ExitCode;

use grace_sim::{Options, run};

const USAGE: &str = "Usage: grace-sim [--seed S] [--steps N] [--seeds COUNT]

  --seed S       chooses everything that happens (default 1)
  --steps N      steps with faults (default 400)
  --seeds COUNT  run COUNT seeds from S on and print only their digests
";

fn main() -> ExitCode {
    let (mut seed, mut steps, mut seeds) = (1u64, 400u64, None);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let number = args.next().and_then(|value| value.parse::<u64>().ok());
        match (arg.as_str(), number) {
            ("--seed", Some(n)) => seed = n,
            ("--steps", Some(n)) => steps = n,
            ("--seeds", Some(n)) => seeds = Some(n),
            _ => {
                eprint!("{USAGE}");
                return ExitCode::from(2);
            }
        }
    }
    let mut good = true;
    for offset in 0..seeds.unwrap_or(1) {
        let seed = seed.wrapping_add(offset);
        let report = run(Options { seed, steps, mistake: None });
        if seeds.is_none() {
            print!("{}", report.history);
            println!("{:?}", report.counts);
        }
        println!("seed {seed} steps {steps} sha256 {}", report.digest);
        for broken in &report.broken {
            println!("BROKEN: {broken}");
        }
        good &= report.broken.is_empty();
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
