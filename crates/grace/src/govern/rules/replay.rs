//! `grace governance replay`: what was asked for, judged again.

use std::io::Write as _;

use grace_core::instance::Instance;
use grace_cortex::{
    proposed::replay::{Group, Replay, Report},
    rules::Rules,
};
use grace_types::time::{Clock as _, SystemClock};

use super::{super::args::Proposed, records, source::Source};
use crate::{
    failure::Failure,
    narratives::{args::When, tell},
    output::Output,
    style::tame,
};

pub(super) fn run(
    instance: &Instance,
    given: &Proposed,
    (since, until): (Option<When>, Option<When>),
    limit: usize,
    out: &mut Output,
) -> Result<(), Failure> {
    let source = Source::proposed(instance, given)?;
    // What cannot be read at all is the proposal's fault, and no record's.
    source.read(&source.declared)?;
    let now = SystemClock.now().wall;
    let moment = |when: Option<When>| when.map(|when| when.from(now));
    let (name, charter) = &source.charter;
    let read = |declared: &[String]| {
        let read = grace_cortex::governance::check(&source.texts(), (name, charter), declared);
        let read = read.map_err(|refusal| refusal.faults.unwrap_or(refusal.message));
        read.map(|(policies, charter)| Rules { policies, charter })
    };
    let mut replay = Replay::new(&read, source.declared.clone(), (moment(since), moment(until)), limit);
    records::each(instance, |record| {
        match record.event {
            Ok(event) => replay.take(record.journal, &event),
            Err(why) => replay.pass(why),
        }
        Ok(())
    })?;
    let report = replay.report();
    if out.json {
        let mut object = serde_json::to_value(&report).unwrap_or_default();
        object["by"] = source.told.into();
        return out.json_line(&object);
    }
    writeln!(out, "replayed by {}", tame(&source.told))?;
    show(&report, out)?;
    out.flush()?;
    Ok(())
}

fn show(report: &Report, out: &mut Output) -> Result<(), Failure> {
    match (report.first, report.last) {
        (Some(first), Some(last)) => writeln!(
            out,
            "{} intents from {} to {}: {} would have been decided differently, {} would have had another score",
            report.intents,
            tell::time(first),
            tell::time(last),
            report.different,
            report.only_score
        )?,
        _ => writeln!(out, "no intent was decided in this time")?,
    }
    for group in &report.groups {
        show_group(group, out)?;
    }
    if report.in_other_groups > 0 {
        writeln!(out, "\n{} more in further groups", report.in_other_groups)?;
    }
    for (why, count) in &report.not_replayed {
        writeln!(out, "\n{count} not replayed: {}", tame(why))?;
    }
    Ok(())
}

fn show_group(group: &Group, out: &mut Output) -> Result<(), Failure> {
    let what = if group.before == group.after {
        format!("{}, with another score", group.before)
    } else {
        format!("{} → {}", group.before, group.after)
    };
    let (kind, actors) = (tame(&group.kind), group.actor_kind.word());
    writeln!(out, "\n{:>6} × {kind} of {actors}: {what}", group.count)?;
    for one in &group.intents {
        let by = |names: &[String]| {
            if names.is_empty() { "no policy".to_owned() } else { tame(&names.join(", ")) }
        };
        let (before, after) = (by(&one.policies_before), by(&one.policies_after));
        let by = if before == after { before } else { format!("{before} → {after}") };
        let (was, would_be) = (format!("{:.2}", one.score_before), format!("{:.2}", one.score_after));
        let score = if was == would_be { was } else { format!("{was} → {would_be}") };
        let (time, actor) = (tell::time(one.time), tame(&one.actor));
        writeln!(out, "         {time}  {}  {actor}  score {score}  {by}", one.id)?;
    }
    let more = group.count.saturating_sub(group.intents.len() as u64);
    if more > 0 {
        writeln!(out, "         and {more} more")?;
    }
    Ok(())
}
