//! Policies, verdicts and findings as lines for people, and as JSON for scripts.

use std::io::Write as _;

use grace_orchestration::{
    delivery::lane::DeadLetter,
    policies::{Finding, Outcome, Policy, Row, Verdict},
};
use grace_types::event::Event;
use serde_json::json;

use crate::{
    failure::Failure,
    output::Output,
    style::{Style, tame},
    table,
    work::letters,
};

/// A table, or one policy a line.
pub(super) fn list(rows: &[Row], out: &mut Output) -> Result<(), Failure> {
    if out.json {
        return rows.iter().try_for_each(|row| out.json_line(row));
    }
    if rows.is_empty() {
        writeln!(out, "no policies: write them under `policies:` in the manifest")?;
        return Ok(());
    }
    let head =
        ["NAME", "PRIORITY", "FIRED", "STOPPED", "WAITING", "DEAD", "STATE", "BREAKER", "TYPES", "NOTE"];
    let cells: Vec<[String; 10]> = rows.iter().map(cells).collect();
    let style = out.style;
    let painted = |n: usize, i: usize, cell: String| match i {
        5 if rows[n].dead > 0 => style.bad(&cell),
        6 | 7 => paint(&cell, style),
        _ => cell,
    };
    let text = table::table(head, &cells, out.width(), style, painted);
    write!(out, "{text}")?;
    out.flush()?;
    Ok(())
}

fn cells(row: &Row) -> [String; 10] {
    [
        tame(&row.name),
        row.priority.to_string(),
        row.fired.to_string(),
        row.stopped.to_string(),
        row.waiting.to_string(),
        row.dead.to_string(),
        state(row).to_owned(),
        row.breaker.replace('_', "-"),
        tame(&row.types.join(",")),
        row.reason.as_deref().map(tame).unwrap_or_default(),
    ]
}

/// What it is at, in a word.
fn state(row: &Row) -> &'static str {
    match (row.enabled, row.guard.as_str()) {
        (false, _) => "disabled",
        (true, "open") => "rests",
        (true, "half_open") => "tried",
        (true, _) => "active",
    }
}

fn paint(word: &str, style: Style) -> String {
    match word {
        "active" | "closed" => style.good(word),
        "rests" | "open" => style.bad(word),
        "disabled" => style.dim(word),
        _ => style.warn(word),
    }
}

/// One policy.
pub(super) fn one(row: &Row, policy: &Policy, dead: &[DeadLetter], out: &mut Output) -> Result<(), Failure> {
    if out.json {
        let mut whole = json!(row);
        whole["policy"] = json!(policy);
        whole["dead_letters"] = json!(dead);
        return out.json_line(&whole);
    }
    let style = out.style;
    let reason = row.reason.as_ref().map(|reason| format!(": {}", tame(reason))).unwrap_or_default();
    writeln!(out, "{}  {}{reason}", tame(&row.name), paint(state(row), style))?;
    writeln!(
        out,
        "  fired {}, stopped {}; done {}, waiting {}, dead {}; breaker {}",
        row.fired,
        row.stopped,
        row.done,
        row.waiting,
        row.dead,
        paint(&row.breaker.replace('_', "-"), style)
    )?;
    letters::definition(policy, out)?;
    letters::show(dead, out)?;
    out.flush()?;
    Ok(())
}

/// One verdict a line.
pub(super) fn verdicts(event: &Event, verdicts: &[Verdict], out: &mut Output) -> Result<(), Failure> {
    if out.json {
        return verdicts.iter().try_for_each(|verdict| out.json_line(verdict));
    }
    let style = out.style;
    writeln!(out, "{} from {}", tame(&event.kind), tame(&event.source))?;
    let widest = verdicts.iter().map(|verdict| verdict.policy.chars().count()).max().unwrap_or(0);
    for verdict in verdicts {
        let fires = matches!(verdict.outcome, Outcome::Fires { .. });
        let mark = if fires { style.good("✓") } else { style.dim("·") };
        writeln!(out, "{mark} {:widest$}  {}", tame(&verdict.policy), told(&verdict.outcome))?;
    }
    if verdicts.is_empty() {
        writeln!(out, "no policies")?;
    }
    out.flush()?;
    Ok(())
}

fn told(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Fires { works, notes } => {
            let works = works.iter().map(letters::work);
            let notes = notes.iter().map(|note| format!("annotate: {}", tame(note)));
            format!("fires: {}", works.chain(notes).collect::<Vec<_>>().join("; "))
        }
        Outcome::Fails { reason } => {
            format!("fires, and what follows cannot be rendered, which makes a dead letter: {}", tame(reason))
        }
        Outcome::Disabled => "it is not enabled".to_owned(),
        Outcome::OtherType => "the event's type is none of its types".to_owned(),
        Outcome::KeptBy { policy } => format!("`{}` comes first and keeps the event", tame(policy)),
        Outcome::ConditionFalse => "its `when` is false".to_owned(),
        Outcome::ConditionFails { reason } => format!("its `when` cannot be evaluated: {}", tame(reason)),
        Outcome::Stopped { reason } => format!("its chain would be stopped: {}", tame(reason)),
        Outcome::Rests { reason } => format!("it rests: {}", tame(reason)),
    }
}

/// One finding a line.
pub(super) fn findings(findings: &[Finding], policies: usize, out: &mut Output) -> Result<(), Failure> {
    let style = out.style;
    for finding in findings {
        let severity = if finding.is_error() { "error" } else { "warning" };
        if out.json {
            let mut whole = json!(finding);
            whole["severity"] = json!(severity);
            out.json_line(&whole)?;
            continue;
        }
        let shown = format!("{severity}[{}]:", finding.code);
        let shown = if finding.is_error() { style.bad(&shown) } else { style.warn(&shown) };
        writeln!(out, "{shown} {}: {}", tame(&finding.policy), tame(&finding.message))?;
    }
    if !out.json {
        let errors = findings.iter().filter(|finding| finding.is_error()).count();
        let s = if policies == 1 { "policy" } else { "policies" };
        writeln!(out, "{policies} {s}: {errors} errors, {} warnings", findings.len() - errors)?;
    }
    out.flush()?;
    Ok(())
}
