//! Tasks that build a program of this tree and run it: the simulator, the fuzz targets, the benchmarks.

use std::{
    path::Path,
    process::{Command, ExitCode},
};

use crate::{metadata, workspace};

/// Seconds that each fuzz target runs when nothing is said.
const FUZZ_SECONDS: u64 = 60;

/// The simulator, with the caller's arguments. Unoptimised, for the overflow checks and the debug assertions.
pub(crate) fn sim(args: &[String]) -> Result<ExitCode, String> {
    let mut command = workspace::cargo(&["run", "--quiet", "--package", "grace-sim", "--"]);
    command.args(args);
    finish(command)
}

/// What makes rustc's output report its coverage to libFuzzer. These are flags of the stable compiler, so that fuzzing
/// needs neither nightly nor cargo-fuzz; without a sanitizer it finds panics, failed assertions, overflows and hangs,
/// which is what safe code can do wrong.
const COVERAGE: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

/// Each fuzz target in turn, or the named one; stops at the first that finds something.
pub(crate) fn fuzz(args: &[String]) -> Result<ExitCode, String> {
    let Fuzz { seconds, target } = fuzz_args(args)?;
    let all = fuzz_targets()?;
    let targets = match target {
        Some(target) if all.contains(&target) => vec![target],
        Some(target) => {
            return Err(format!("there is no fuzz target `{target}`; there are {}", all.join(", ")));
        }
        None => all,
    };
    let host = host_triple()?;
    // Naming the target keeps build scripts and macros free of the flags.
    let args = [
        "build",
        "--release",
        "--manifest-path",
        "fuzz/Cargo.toml",
        "--target-dir",
        "fuzz/target",
        "--target",
    ];
    let mut build = workspace::cargo(&args);
    build.arg(&host).env("RUSTFLAGS", COVERAGE);
    if finish(build)? != ExitCode::SUCCESS {
        return Ok(ExitCode::FAILURE);
    }
    for target in targets {
        println!("== fuzz {target}, {seconds} s ==");
        if finish(fuzz_run(&host, &target, seconds)?)? != ExitCode::SUCCESS {
            println!("what it found is in fuzz/artifacts/; the target takes such a file as its argument");
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// New inputs go to the first folder, which is not committed; the committed corpus is only read.
fn fuzz_run(host: &str, target: &str, seconds: u64) -> Result<Command, String> {
    let fuzz = workspace::root().join("fuzz");
    let (found, artifacts) = (fuzz.join("target/corpus").join(target), fuzz.join("artifacts"));
    for folder in [&found, &artifacts] {
        std::fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    }
    let mut command = Command::new(fuzz.join("target").join(host).join("release").join(target));
    command.arg(format!("-max_total_time={seconds}")).args(["-timeout=10", "-print_final_stats=1"]);
    command.arg(format!("-artifact_prefix={}/{target}-", artifacts.display()));
    command.arg(found).arg(fuzz.join("corpus").join(target));
    Ok(command)
}

/// The machine that rustc builds for when nothing is said.
fn host_triple() -> Result<String, String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output =
        Command::new(rustc).arg("-vV").output().map_err(|e| format!("rustc cannot be started: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| "`rustc -vV` names no host".to_owned())
}

/// Each benchmark in turn, or the named one with the rest as its arguments. They start the release binary of
/// `grace`, so it is built first.
pub(crate) fn bench(args: &[String]) -> Result<ExitCode, String> {
    let packages = metadata::read()?;
    let benches = packages
        .iter()
        .find(|p| p.folder == Path::new("benches"))
        .ok_or("there is no package in benches/ yet")?;
    let (chosen, rest) = match args.split_first() {
        None => (benches.binaries.clone(), &[][..]),
        Some((name, rest)) if benches.binaries.contains(name) => (vec![name.clone()], rest),
        Some((name, _)) => {
            return Err(format!("there is no benchmark `{name}`; there are {}", benches.binaries.join(", ")));
        }
    };
    // Others' programs to be measured beside ours; nothing else needs them.
    let peers = format!("{}/peers", benches.name);
    let build =
        ["build", "--release", "--package", &benches.name, "--package", "grace-grace", "--features", &peers];
    if finish(workspace::cargo(&build))? != ExitCode::SUCCESS {
        return Ok(ExitCode::FAILURE);
    }
    for name in chosen {
        println!("== bench {name} ==");
        let mut command = workspace::cargo(&["run", "--release", "--quiet", "--features", &peers]);
        command.args(["--package", &benches.name, "--bin", &name, "--"]).args(rest);
        if finish(command)? != ExitCode::SUCCESS {
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Debug, PartialEq, Eq)]
struct Fuzz {
    seconds: u64,
    target: Option<String>,
}

fn fuzz_args(args: &[String]) -> Result<Fuzz, String> {
    let mut parsed = Fuzz { seconds: FUZZ_SECONDS, target: None };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        if arg == "--seconds" {
            let number = args.next().and_then(|n| n.parse().ok()).filter(|n| *n > 0);
            parsed.seconds = number.ok_or("`--seconds` needs a whole number above 0")?;
        } else if arg.starts_with('-') || parsed.target.is_some() {
            return Err(format!("`fuzz` does not understand `{arg}`; it takes [--seconds N] [NAME]"));
        } else {
            parsed.target = Some(arg.clone());
        }
    }
    Ok(parsed)
}

/// The file names in `fuzz/fuzz_targets/`, which is where cargo-fuzz keeps them.
fn fuzz_targets() -> Result<Vec<String>, String> {
    let folder = workspace::root().join("fuzz/fuzz_targets");
    let entries = std::fs::read_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_suffix(".rs").map(str::to_owned))
        .collect();
    names.sort();
    Ok(names)
}

fn finish(mut command: Command) -> Result<ExitCode, String> {
    let shown = command.get_program().to_string_lossy().into_owned();
    let status = command.status().map_err(|e| format!("`{shown}` cannot be started: {e}"))?;
    // A program ended by a signal has no code.
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    Ok(ExitCode::from(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fuzz_args_of(text: &str) -> Result<Fuzz, String> {
        fuzz_args(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn fuzz_arguments() {
        assert_eq!(fuzz_args_of(""), Ok(Fuzz { seconds: FUZZ_SECONDS, target: None }));
        assert_eq!(fuzz_args_of("codec --seconds 5"), Ok(Fuzz { seconds: 5, target: Some("codec".into()) }));
        for wrong in ["--seconds", "--seconds 0", "--seconds x", "--second 1", "a b"] {
            assert!(fuzz_args_of(wrong).is_err(), "{wrong}");
        }
    }
}
