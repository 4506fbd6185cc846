//! `grace governance test`: policies and charter are held to what people wrote down.

use std::{io::Write as _, path::PathBuf};

use grace_cortex::{
    limits::CASES_BYTES,
    proposed::cases::{Cases, Tried},
};
use serde_json::json;

use super::source::{Source, bounded};
use crate::{
    failure::{Exit, Failure},
    output::Output,
    style::tame,
};

/// Runs the cases of all files. Nothing is run before all of them have been read.
pub(super) fn run(files: &[PathBuf], source: &Source, out: &mut Output) -> Result<Exit, Failure> {
    let all = read(files)?;
    if !out.json {
        writeln!(out, "held to {}", tame(&source.told))?;
    }
    let (mut passed, mut failed) = (0, 0);
    for (file, cases) in &all {
        let (policies, charter) = source.read(cases.declared.as_ref().unwrap_or(&source.declared))?;
        for tried in cases.run(&policies, &charter) {
            *(if tried.passed { &mut passed } else { &mut failed }) += 1;
            show(file, &tried, out)?;
        }
    }
    if !out.json {
        writeln!(out, "{passed} passed, {failed} failed")?;
    }
    out.flush()?;
    Ok(if failed == 0 { Exit::Done } else { Exit::Failed })
}

fn read(files: &[PathBuf]) -> Result<Vec<(String, Cases)>, Failure> {
    let (mut all, mut faults) = (Vec::new(), String::new());
    for file in files {
        match Cases::read(&bounded(file, CASES_BYTES)?, file) {
            Ok(cases) => all.push((file.display().to_string(), cases)),
            Err(errors) => faults += &errors.to_string(),
        }
    }
    if faults.is_empty() {
        return Ok(all);
    }
    let what = "the cases are not as they should be, and none was run";
    Err(Failure::new(Exit::Usage, "bad_cases", what)
        .detail(faults)
        .help("correct them; examples/governance/cases.yaml shows the form"))
}

fn show(file: &str, tried: &Tried, out: &mut Output) -> Result<(), Failure> {
    if out.json {
        let Tried { name, passed, wrong, decided } = tried;
        return out.json_line(
            &json!({"file": file, "name": name, "passed": passed, "wrong": wrong, "decided": decided}),
        );
    }
    let style = out.style;
    if tried.passed {
        writeln!(out, "{} {}", style.good("✓"), tame(&tried.name))?;
        return Ok(());
    }
    writeln!(out, "{} {}", style.bad("✗"), tame(&tried.name))?;
    for wrong in &tried.wrong {
        let (expected, found) = (tame(&wrong.expected), tame(&wrong.found));
        writeln!(out, "    {:<8}  expected {expected}", wrong.what)?;
        writeln!(out, "    {:<8}  decided  {found}", "")?;
    }
    for reason in &tried.decided.reasons {
        writeln!(out, "    because   {}", tame(&reason.text))?;
    }
    Ok(())
}
