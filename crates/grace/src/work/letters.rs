//! What triggers, policies and schedules have in common: definitions, what they have done, and dead letters, to be looked at, tried
//! again or thrown away.

use std::io::Write as _;

use clap::Args;
use grace_orchestration::delivery::{action::Work, lane::DeadLetter};

use crate::{failure::Failure, output::Output, style::tame};

/// Whose, and which.
#[derive(Debug, Args)]
pub(crate) struct Letters {
    /// Whose
    pub(super) name: String,
    /// Which, by the keys that `show` names; all when left out
    #[arg(value_name = "KEY")]
    keys: Vec<String>,
}

impl Letters {
    pub(super) fn split(self) -> (String, Option<Vec<String>>) {
        (self.name, (!self.keys.is_empty()).then_some(self.keys))
    }
}

/// What became of so many.
pub(super) fn told(count: usize, what: &str, out: &mut Output) -> Result<(), Failure> {
    if out.json {
        return out.json_line(&serde_json::json!({"count": count}));
    }
    let letters = if count == 1 { "dead letter" } else { "dead letters" };
    writeln!(out, "{count} {letters} {what}")?;
    out.flush()?;
    Ok(())
}

/// One a line, oldest first.
pub(super) fn show(letters: &[DeadLetter], out: &mut Output) -> Result<(), Failure> {
    if !letters.is_empty() {
        writeln!(out, "  {}", out.style.dim("dead letters:"))?;
    }
    for letter in letters {
        writeln!(
            out,
            "    {}  {}  {} after {}: {}",
            tame(&letter.delivery.key),
            letter.time,
            tame(&letter.delivery.work.words()),
            attempts(letter.delivery.attempts),
            tame(&letter.reason)
        )?;
    }
    Ok(())
}

fn attempts(count: u32) -> String {
    match count {
        0 => "no attempt".to_owned(),
        1 => "1 attempt".to_owned(),
        n => format!("{n} attempts"),
    }
}

/// A definition as it was given, indented.
pub(super) fn definition(definition: &impl serde::Serialize, out: &mut Output) -> Result<(), Failure> {
    for line in serde_json::to_string_pretty(definition).unwrap_or_default().lines() {
        writeln!(out, "  {}", tame(line))?;
    }
    Ok(())
}

/// What would be done, with its payload.
pub(super) fn work(work: &Work) -> String {
    let payload = match work {
        Work::Submit { payload, .. } => payload,
        Work::Publish { data, .. } => data,
        Work::Unrendered { .. } => return tame(&work.words()),
    };
    tame(&format!("{} {payload}", work.words()))
}
