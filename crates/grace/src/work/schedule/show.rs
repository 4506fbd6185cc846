//! Schedules and their times as lines for people, and as JSON for scripts.

use std::io::Write as _;

use grace_orchestration::{
    delivery::lane::DeadLetter,
    scheduler::{Row, Schedule, When, local},
};
use grace_types::time::Timestamp;
use serde_json::json;

use crate::{
    failure::Failure,
    output::Output,
    style::{Style, tame},
    table,
    work::letters,
};

/// A table, or one schedule a line.
pub(super) fn list(rows: &[Row], out: &mut Output) -> Result<(), Failure> {
    if out.json {
        return rows.iter().try_for_each(|row| out.json_line(row));
    }
    if rows.is_empty() {
        writeln!(
            out,
            "no schedules: write them under `schedules:` in the manifest, or `grace schedule add`"
        )?;
        return Ok(());
    }
    let head = ["NAME", "FROM", "STATE", "NEXT", "LAST", "FIRED", "MISFIRED", "SKIPPED", "DEAD", "NOTE"];
    let cells: Vec<[String; 10]> = rows.iter().map(cells).collect();
    let style = out.style;
    let painted = |n: usize, i: usize, cell: String| match i {
        2 => paint(&cell, style),
        8 if rows[n].dead > 0 => style.bad(&cell),
        _ => cell,
    };
    let text = table::table(head, &cells, out.width(), style, painted);
    write!(out, "{text}")?;
    out.flush()?;
    Ok(())
}

fn cells(row: &Row) -> [String; 10] {
    let time = |time: Option<Timestamp>| time.map_or_else(|| "-".to_owned(), second);
    [
        tame(&row.name),
        if row.declared { "manifest" } else { "added" }.to_owned(),
        tame(&row.state),
        time(row.next),
        time(row.last),
        row.fired.to_string(),
        row.misfired.to_string(),
        row.skipped.to_string(),
        row.dead.to_string(),
        row.running.as_ref().map(|key| format!("{} runs", tame(key))).unwrap_or_default(),
    ]
}

/// A time to the second: schedules know no finer times, and a jitter's milliseconds tell nobody anything.
fn second(time: Timestamp) -> String {
    Timestamp::from_nanos(time.as_nanos() / 1_000_000_000 * 1_000_000_000).to_string()
}

fn paint(state: &str, style: Style) -> String {
    match state {
        "waiting" => style.good(state),
        "paused" => style.warn(state),
        _ => style.dim(state),
    }
}

/// One schedule.
pub(super) fn one(
    row: &Row,
    schedule: &Schedule,
    next: &[Timestamp],
    dead: &[DeadLetter],
    out: &mut Output,
) -> Result<(), Failure> {
    if out.json {
        let mut whole = json!(row);
        whole["schedule"] = json!(schedule);
        whole["times"] = json!(next);
        whole["dead_letters"] = json!(dead);
        return out.json_line(&whole);
    }
    let style = out.style;
    let from = if row.declared { "declared in the manifest" } else { "added at run time" };
    writeln!(out, "{}  {}  {from}", tame(&row.name), paint(&tame(&row.state), style))?;
    let last = row.last.map(|last| format!(", last at {}", second(last))).unwrap_or_default();
    writeln!(
        out,
        "  fired {}{last}; misfired {}, skipped {}, dead {}",
        row.fired, row.misfired, row.skipped, row.dead
    )?;
    if let Some(key) = &row.running {
        writeln!(out, "  {} runs", tame(key))?;
    }
    letters::definition(schedule, out)?;
    let zone = match &schedule.when {
        When::Cron(times) => times.zone.as_deref(),
        When::Once(_) | When::Every(_) | When::After(_) => None,
    };
    for (n, time) in next.iter().enumerate() {
        let label = if n == 0 { "next:" } else { "     " };
        writeln!(out, "  {} {}", style.dim(label), told(*time, zone))?;
    }
    letters::show(dead, out)?;
    out.flush()?;
    Ok(())
}

/// One time a line.
pub(super) fn times(times: &[Timestamp], zone: Option<&str>, out: &mut Output) -> Result<(), Failure> {
    for time in times {
        if out.json {
            out.json_line(&json!({"time": time, "local": local(*time, zone)}))?;
        } else {
            writeln!(out, "{}", told(*time, zone))?;
        }
    }
    if times.is_empty() && !out.json {
        writeln!(out, "it does not fire any more")?;
    }
    out.flush()?;
    Ok(())
}

/// A time in UTC, and as the clocks of its zone show it.
fn told(time: Timestamp, zone: Option<&str>) -> String {
    let local = local(time, zone).map(|local| format!("  {local}")).unwrap_or_default();
    format!("{}{local}", second(time))
}

/// A schedule that was run.
pub(super) fn running(key: &str, out: &mut Output) -> Result<(), Failure> {
    if out.json {
        return out.json_line(&json!({"key": key}));
    }
    writeln!(out, "it runs: {}", tame(key))?;
    out.flush()?;
    Ok(())
}
