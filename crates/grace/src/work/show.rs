//! Intents and tasks as lines for people, and as JSON for scripts.

use std::io::Write as _;

use grace_orchestration::htm::view::{IntentState, IntentView, TaskState, TaskView, TypeView};
use grace_types::reason::Reason;
use serde_json::{Value, json};

use crate::{
    failure::Failure,
    output::Output,
    style::{Style, tame},
};

/// One intent with its tasks.
pub(super) fn intent(intent: &IntentView, out: &mut Output) -> Result<(), Failure> {
    if out.json {
        return out.json_line(&intent_json(intent));
    }
    let style = out.style;
    writeln!(
        out,
        "{}  {}  {}  for {}, {} priority{}",
        intent.id,
        tame(&intent.kind),
        paint(intent.state, style),
        tame(&intent.actor),
        intent.priority.word(),
        if intent.late { ", late" } else { "" },
    )?;
    if let Some(reason) = &intent.reason {
        writeln!(out, "  {} {}", style.dim("why:"), tame(reason))?;
    }
    for task in &intent.tasks {
        writeln!(out, "  {}", line(task))?;
    }
    out.flush()?;
    Ok(())
}

/// One intent a line.
pub(super) fn intents(intents: &[IntentView], more: bool, out: &mut Output) -> Result<(), Failure> {
    for intent in intents {
        if out.json {
            out.json_line(&intent_json(intent))?;
            continue;
        }
        let done = intent.tasks.iter().filter(|task| task.state == TaskState::Succeeded).count();
        let state = paint(intent.state, out.style);
        writeln!(
            out,
            "{}  {}  {state}  {done}/{} tasks  for {}",
            intent.id,
            tame(&intent.kind),
            intent.tasks.len(),
            tame(&intent.actor)
        )?;
    }
    ending(intents.is_empty(), more, "intents", out)
}

/// One task.
pub(super) fn task(task: &TaskView, out: &mut Output) -> Result<(), Failure> {
    if out.json {
        return out.json_line(task);
    }
    writeln!(out, "{}", line(task))?;
    if let Some(output) = &task.output {
        writeln!(out, "  {} {}", out.style.dim("output:"), tame(output.text()))?;
    }
    out.flush()?;
    Ok(())
}

/// One task a line.
pub(super) fn tasks(tasks: &[TaskView], more: bool, out: &mut Output) -> Result<(), Failure> {
    for task in tasks {
        if out.json {
            out.json_line(task)?;
        } else {
            writeln!(out, "{}", line(task))?;
        }
    }
    ending(tasks.is_empty(), more, "tasks", out)
}

/// One type a line.
pub(super) fn types<'t>(
    types: impl Iterator<Item = (&'t String, &'t TypeView)>,
    out: &mut Output,
) -> Result<(), Failure> {
    let mut none = true;
    for (name, kind) in types {
        none = false;
        if out.json {
            let mut object = json!(kind);
            object["name"] = json!(name);
            out.json_line(&object)?;
            continue;
        }
        let style = out.style;
        let most = kind.most.map(|most| format!(" of {most}")).unwrap_or_default();
        let per_key = kind.per_key.map(|most| format!(", {most} for each key")).unwrap_or_default();
        let state = match &kind.paused {
            Some(reason) => format!("  {}: {}", style.warn("paused"), tame(reason)),
            None if kind.retired => format!("  {}", style.dim("not defined any more")),
            None => String::new(),
        };
        let about = kind.description.as_deref().map(|text| format!("  {}", style.dim(&tame(text))));
        let (name, waiting, running) = (tame(name), kind.waiting, kind.running);
        let (about, kinds) = (about.unwrap_or_default(), tame(&kind.kinds.join(", ")));
        writeln!(out, "{name}  {waiting} waiting, {running}{most} running{per_key}{state}  {kinds}{about}")?;
    }
    ending(none, false, "types of intents: declare some under `intents:` in the manifest", out)
}

/// What waits for something that no worker offers.
pub(super) fn stuck(stuck: &[Reason], out: &mut Output) -> Result<(), Failure> {
    for reason in stuck {
        let line = out.style.warn(&tame(&reason.text));
        writeln!(out, "{line}")?;
    }
    out.flush()?;
    Ok(())
}

/// To a person who waits: tasks that are at another state than was told. Not on standard output, which gets the intent.
pub(super) fn progress(intent: &IntentView, told: &mut Vec<(String, TaskState)>) {
    for task in &intent.tasks {
        let now = (task.id.to_string(), task.state);
        if told.contains(&now) {
            continue;
        }
        told.retain(|(id, _)| *id != now.0);
        told.push(now);
        if !matches!(task.state, TaskState::Blocked | TaskState::Waiting) {
            let _ = writeln!(std::io::stderr(), "{}", line(task));
        }
    }
}

fn ending(none: bool, more: bool, what: &str, out: &mut Output) -> Result<(), Failure> {
    if !out.json && none {
        writeln!(out, "no {what}")?;
    }
    if !out.json && more {
        writeln!(out, "there are more: -n N")?;
    }
    out.flush()?;
    Ok(())
}

fn line(task: &TaskView) -> String {
    let worker = task.worker.as_ref().map(|worker| format!(" on {}", tame(worker))).unwrap_or_default();
    let attempts = match task.attempts {
        0 => String::new(),
        1 => ", 1 attempt".to_owned(),
        n => format!(", {n} attempts"),
    };
    let reason = task.reason.as_ref().map(|reason| format!(": {}", tame(reason))).unwrap_or_default();
    let (name, kind) = (tame(&task.name), tame(&task.kind));
    format!("{}  {name} ({kind})  {}{worker}{attempts}{reason}", task.id, task.state.word())
}

fn paint(state: IntentState, style: Style) -> String {
    match state {
        IntentState::Succeeded => style.good(state.word()),
        IntentState::Failed => style.bad(state.word()),
        IntentState::Cancelled | IntentState::Compensating => style.warn(state.word()),
        IntentState::Waiting | IntentState::Running => state.word().to_owned(),
    }
}

/// The stable form: fields may be added, not renamed.
fn intent_json(intent: &IntentView) -> Value {
    let origin = intent.origin.as_deref();
    let reasons: Vec<&str> = origin
        .iter()
        .flat_map(|origin| origin.reasons.iter().map(|reason| reason.text.as_str()))
        .chain(intent.reason.as_deref())
        .collect();
    let state = match intent.state {
        // Its tasks go on, those that take effects back.
        IntentState::Compensating => IntentState::Running,
        other => other,
    };
    json!({
        "id": intent.id,
        "type": intent.kind,
        "actor": intent.actor,
        "tier": origin.and_then(|origin| origin.tier.as_deref()),
        "score": origin.and_then(|origin| origin.score),
        "decision": "allowed",
        "state": state,
        "reasons": reasons,
        "tasks": intent.tasks,
        "approved_by": origin.and_then(|origin| origin.approved_by.as_deref()),
        "priority": intent.priority,
        "key": intent.key,
        "payload": intent.payload,
        "submitted_ms": intent.submitted,
        "late": intent.late,
        "compensating": intent.state == IntentState::Compensating,
    })
}
