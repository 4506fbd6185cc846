//! `grace governance diff`: what is written differently, and what that means.

use std::{io::Write as _, path::Path};

use grace_core::instance::Instance;
use grace_cortex::proposed::diff::{Diff, OutcomeChange, PolicyChange};
use serde_json::Value;

use super::{super::args::Proposed, source::Source};
use crate::{
    failure::{Exit, Failure},
    output::Output,
    style::tame,
    table::table,
};

pub(super) fn run(
    instance: &Instance,
    given: &Proposed,
    against: Option<&Path>,
    out: &mut Output,
) -> Result<(), Failure> {
    let named = given.policies.is_some() || given.charter.is_some() || given.intent.is_some();
    if !named && against.is_none() {
        return Err(Failure::new(Exit::Usage, "bad_request", "nothing is named that could differ")
            .help("--policies, --charter or --intent; see `grace governance diff --help`"));
    }
    let (old, new) = (Source::base(instance, against)?, Source::proposed(instance, given)?);
    let (before, after) = (old.read(&old.declared)?, new.read(&new.declared)?);
    let diff = Diff::of((&before.0, &before.1), (&after.0, &after.1));
    if out.json {
        let mut object = serde_json::to_value(&diff).unwrap_or_default();
        object["from"] = old.told.into();
        object["to"] = new.told.into();
        return out.json_line(&object);
    }
    writeln!(out, "from {}\nto   {}", tame(&old.told), tame(&new.told))?;
    written(&diff, out)?;
    meant(&diff, out)
}

fn written(diff: &Diff, out: &mut Output) -> Result<(), Failure> {
    if diff.is_empty() {
        writeln!(out, "\nnothing is written differently")?;
        return Ok(());
    }
    writeln!(out)?;
    for one in &diff.policies {
        let style = out.style;
        let mark = match one.change {
            "added" => style.good("+"),
            "removed" => style.bad("-"),
            _ => style.warn("~"),
        };
        writeln!(out, "{mark} policy {}  {}", tame(&one.id), tame(&told(one)))?;
    }
    for one in &diff.charter {
        let (before, after) = (plain(one.before.as_ref()), plain(one.after.as_ref()));
        writeln!(out, "{} charter {}  {before} → {after}", out.style.warn("~"), tame(&one.field))?;
    }
    Ok(())
}

fn told(change: &PolicyChange) -> String {
    let tier = |view: &Option<_>| {
        let tier = view.as_ref().and_then(|view: &grace_cortex::policy::PolicyView| view.tier);
        tier.map_or_else(|| "forbids".to_owned(), |tier| format!("permits at tier {tier}"))
    };
    if change.what.is_empty() {
        let (shown, verb) = match &change.after {
            Some(_) => (&change.after, "added"),
            None => (&change.before, "removed"),
        };
        return format!("{verb}, {}", tier(shown));
    }
    let part = |what: &&'static str| match *what {
        "tier" | "effect" => format!("{} → {}", tier(&change.before), tier(&change.after)),
        "quorum" => "how many people have to say yes".to_owned(),
        "advice" => "its advice".to_owned(),
        _ => "its scope or conditions".to_owned(),
    };
    let mut parts: Vec<String> = change.what.iter().map(part).collect();
    parts.dedup();
    format!("changed: {}", parts.join("; "))
}

fn plain(value: Option<&Value>) -> String {
    match value {
        None => "none".to_owned(),
        Some(Value::String(text)) => tame(text),
        Some(value) => value.to_string(),
    }
}

fn meant(diff: &Diff, out: &mut Output) -> Result<(), Failure> {
    let row = |one: &OutcomeChange| {
        let about = if one.target == "instance" { String::new() } else { format!(" on {}", one.target) };
        [
            tame(&format!("{}{about}", one.kind)),
            tame(&format!("{} {}", one.actor.kind.word(), one.actor.name)),
            one.before.to_string(),
            one.after.to_string(),
            if one.when.is_empty() { "always".to_owned() } else { situations(&one.when) },
        ]
    };
    let rows: Vec<_> = diff.outcomes.iter().map(row).collect();
    writeln!(out)?;
    if rows.is_empty() {
        writeln!(out, "no outcome differs, of {} that were looked at", diff.asked)?;
    } else {
        let text = table(
            ["TYPE", "ACTOR", "BEFORE", "AFTER", "WHEN"],
            &rows,
            out.width(),
            out.style,
            |_, _, cell| cell,
        );
        out.write_all(text.as_bytes())?;
    }
    for one in &diff.scores {
        writeln!(out, "score of {}  {:.2} → {:.2}", tame(&one.kind), one.before, one.after)?;
    }
    if diff.left_out > 0 {
        writeln!(out, "{} actors and targets that policies name were not looked at", diff.left_out)?;
    }
    out.flush()?;
    Ok(())
}

fn situations(names: &[&str]) -> String {
    let names: Vec<&str> =
        names.iter().map(|name| if name.is_empty() { "nothing else" } else { name }).collect();
    names.join("; ")
}
