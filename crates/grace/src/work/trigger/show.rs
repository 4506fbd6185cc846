//! Subscriptions and verdicts as lines for people, and as JSON for scripts.

use std::io::Write as _;

use grace_orchestration::{
    delivery::lane::DeadLetter,
    period::Period,
    triggers::{Outcome, Row, Subscription, Verdict},
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

/// A table, or one subscription a line.
pub(super) fn list(rows: &[Row], out: &mut Output) -> Result<(), Failure> {
    if out.json {
        return rows.iter().try_for_each(|row| out.json_line(row));
    }
    if rows.is_empty() {
        writeln!(
            out,
            "no subscriptions: write them under `triggers:` in the manifest, or `grace trigger add`"
        )?;
        return Ok(());
    }
    let head =
        ["NAME", "FROM", "FIRED", "THROTTLED", "WAITING", "IN FLIGHT", "DEAD", "BREAKER", "TYPES", "NOTE"];
    let cells: Vec<[String; 10]> = rows.iter().map(cells).collect();
    let style = out.style;
    let painted = |n: usize, i: usize, cell: String| match i {
        6 if rows[n].dead > 0 => style.bad(&cell),
        7 => breaker(&cell, style),
        _ => cell,
    };
    let text = table::table(head, &cells, out.width(), style, painted);
    write!(out, "{text}")?;
    out.flush()?;
    Ok(())
}

fn cells(row: &Row) -> [String; 10] {
    let note = match (&row.reason, row.enabled) {
        (Some(reason), _) => tame(reason),
        (None, false) => "not enabled".to_owned(),
        (None, true) => String::new(),
    };
    [
        tame(&row.name),
        from(row.declared).to_owned(),
        row.fired.to_string(),
        row.throttled.to_string(),
        row.waiting.to_string(),
        row.in_flight.to_string(),
        row.dead.to_string(),
        row.breaker.replace('_', "-"),
        tame(&row.types.join(",")),
        note,
    ]
}

/// One subscription.
pub(super) fn one(
    row: &Row,
    subscription: &Subscription,
    dead: &[DeadLetter],
    out: &mut Output,
) -> Result<(), Failure> {
    if out.json {
        let mut whole = json!(row);
        whole["subscription"] = json!(subscription);
        whole["dead_letters"] = json!(dead);
        return out.json_line(&whole);
    }
    let style = out.style;
    let from = if row.declared { "declared in the manifest" } else { "added at run time" };
    let enabled = if row.enabled { "" } else { ", not enabled" };
    writeln!(out, "{}  {from}{enabled}", tame(&row.name))?;
    writeln!(
        out,
        "  fired {}, throttled {}; done {}, waiting {}, in flight {}, dead {}",
        row.fired, row.throttled, row.done, row.waiting, row.in_flight, row.dead
    )?;
    let reason = row.reason.as_ref().map(|reason| format!(": {}", tame(reason))).unwrap_or_default();
    writeln!(out, "  breaker {}{reason}", breaker(&row.breaker.replace('_', "-"), style))?;
    letters::definition(subscription, out)?;
    letters::show(dead, out)?;
    out.flush()?;
    Ok(())
}

/// Where it comes from, in a word.
const fn from(declared: bool) -> &'static str {
    if declared { "manifest" } else { "added" }
}

fn breaker(word: &str, style: Style) -> String {
    match word {
        "closed" => style.good(word),
        "open" => style.bad(word),
        _ => style.warn(word),
    }
}

/// One verdict a line.
pub(super) fn verdicts(event: &Event, verdicts: &[Verdict], out: &mut Output) -> Result<(), Failure> {
    if out.json {
        return verdicts.iter().try_for_each(|verdict| out.json_line(verdict));
    }
    let style = out.style;
    writeln!(out, "{} from {}", tame(&event.kind), tame(&event.source))?;
    let widest = verdicts.iter().map(|verdict| verdict.subscription.chars().count()).max().unwrap_or(0);
    for verdict in verdicts {
        let fires = matches!(verdict.outcome, Outcome::Fires { .. });
        let mark = if fires { style.good("✓") } else { style.dim("·") };
        writeln!(out, "{mark} {:widest$}  {}", tame(&verdict.subscription), told(&verdict.outcome))?;
    }
    if verdicts.is_empty() {
        writeln!(out, "no subscriptions")?;
    }
    out.flush()?;
    Ok(())
}

fn told(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Fires { work, held_up } => {
            let held = held_up.as_ref().map(|why| format!(" (held up: {})", tame(why))).unwrap_or_default();
            format!("fires: {}{held}", letters::work(work))
        }
        Outcome::Fails { reason } => {
            format!("fires, and its action cannot be rendered, which makes a dead letter: {}", tame(reason))
        }
        Outcome::Disabled => "it is not enabled".to_owned(),
        Outcome::OtherType => "the event's type is none of its types".to_owned(),
        Outcome::Filtered => "its filter is false".to_owned(),
        Outcome::FilterFails { reason } => format!("its filter cannot be evaluated: {}", tame(reason)),
        Outcome::ChainTooLong { hops } => {
            format!("{hops} causes lie before the event, and its chain would be stopped")
        }
        Outcome::Throttled { for_ms } => {
            format!("throttled: it may fire again in {}", Period::from_millis(*for_ms))
        }
    }
}
