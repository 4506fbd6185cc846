//! Intents and tasks as lines for people, and as JSON for scripts.

use std::io::Write as _;

use grace_cortex::command::{Decision, Outcome};
use grace_orchestration::htm::view::{IntentState, IntentView, TaskState, TaskView, TypeView};
use grace_types::reason::Reason;
use serde_json::{Value, json};

use crate::{
    failure::Failure,
    output::Output,
    style::{Style, tame},
};

/// An intent as it is known: what was decided, what came of it, or both.
pub(super) struct Shown {
    pub(super) decision: Option<Decision>,
    pub(super) work: Option<IntentView>,
}

impl Shown {
    /// What it is at, as it is written.
    pub(super) fn state(&self) -> &'static str {
        match (&self.work, &self.decision) {
            (Some(work), _) => work.state.word(),
            (None, Some(decision)) => decision.state.word(),
            (None, None) => "",
        }
    }

    fn id(&self) -> String {
        let of_work = self.work.as_ref().map(|work| work.id);
        of_work.or(self.decision.as_ref().map(|one| one.id)).map(|id| id.to_string()).unwrap_or_default()
    }

    fn kind(&self) -> &str {
        let of_work = self.work.as_ref().map(|work| work.kind.as_str());
        of_work.or(self.decision.as_ref().map(|one| one.kind.as_str())).unwrap_or_default()
    }

    fn actor(&self) -> &str {
        let of_work = self.work.as_ref().map(|work| work.actor.as_str());
        of_work.or(self.decision.as_ref().map(|one| one.actor.as_str())).unwrap_or_default()
    }

    fn tier(&self) -> Option<u8> {
        let origin = self.work.as_ref().and_then(|work| work.origin.as_deref());
        match &self.decision {
            Some(decision) => decision.tier,
            None => origin.and_then(|origin| origin.tier.as_ref()?.parse().ok()),
        }
    }

    fn score(&self) -> Option<f64> {
        let origin = self.work.as_ref().and_then(|work| work.origin.as_deref());
        self.decision.as_ref().map(|decision| decision.score).or(origin.and_then(|origin| origin.score))
    }

    /// Allowed, waiting or denied: what the task manager has is allowed.
    fn word(&self) -> &'static str {
        self.decision.as_ref().map_or("allowed", |decision| decision.outcome.word())
    }
}

/// One intent with its tasks.
pub(super) fn intent(intent: &Shown, out: &mut Output) -> Result<(), Failure> {
    if out.json {
        return out.json_line(&intent_json(intent));
    }
    let style = out.style;
    let more = intent
        .work
        .as_ref()
        .map(|work| format!(", {} priority{}", work.priority.word(), if work.late { ", late" } else { "" }));
    let (id, kind, state) = (intent.id(), tame(intent.kind()), paint(intent.state(), style));
    writeln!(out, "{id}  {kind}  {state}  for {}{}", tame(intent.actor()), more.unwrap_or_default())?;
    let tier = intent.tier().map_or_else(|| "no tier".to_owned(), |tier| format!("tier {tier}"));
    let score = intent.score().map(|score| format!(", score {score:.2}")).unwrap_or_default();
    // A policy that permits does not deny what lacks something else.
    let by = intent.decision.as_ref().filter(|one| one.outcome != Outcome::Denied || one.tier.is_none());
    let by = by.map(|decision| decision.policies.join(", ")).unwrap_or_default();
    let by = if by.is_empty() { String::new() } else { format!(" by {}", tame(&by)) };
    writeln!(out, "  {} {tier}{score}, {}{by}", style.dim("decided:"), intent.word())?;
    if let Some(decision) = &intent.decision {
        if decision.outcome != Outcome::Allowed || intent.work.is_none() {
            // What voters said stands with their ballots.
            let told_below = |code: &str| !decision.ballots.is_empty() && is_ballot(code);
            for reason in decision.reasons.iter().filter(|reason| !told_below(&reason.code)) {
                writeln!(out, "  {} {}", style.dim("because"), tame(&reason.text))?;
            }
        }
        for ballot in &decision.ballots {
            let said: Vec<&str> = ballot.reasons.iter().map(|reason| reason.text.as_str()).collect();
            let weight = format!("weight {}{}", ballot.weight, if ballot.veto { ", veto" } else { "" });
            let (voter, vote) = (tame(&ballot.voter), tame(&ballot.vote));
            writeln!(out, "  {} {voter} {vote} ({weight}): {}", style.dim("vote:"), tame(&said.join("; ")))?;
        }
        if let Some(end) = decision.expires {
            writeln!(out, "  {} {end}", style.dim("denied if nobody decides by"))?;
        }
        for advice in &decision.advice {
            writeln!(out, "  {} {}", style.dim("next:"), tame(advice))?;
        }
    }
    let Some(work) = &intent.work else { return Ok(out.flush()?) };
    if let Some(reason) = &work.reason {
        writeln!(out, "  {} {}", style.dim("why:"), tame(reason))?;
    }
    for task in &work.tasks {
        writeln!(out, "  {}", line(task))?;
    }
    out.flush()?;
    Ok(())
}

/// One intent a line.
pub(super) fn intents(intents: &[Shown], more: bool, out: &mut Output) -> Result<(), Failure> {
    for intent in intents {
        if out.json {
            out.json_line(&intent_json(intent))?;
            continue;
        }
        let tasks = intent.work.as_ref().map(|work| {
            let done = work.tasks.iter().filter(|task| task.state == TaskState::Succeeded).count();
            format!("  {done}/{} tasks", work.tasks.len())
        });
        let state = paint(intent.state(), out.style);
        writeln!(
            out,
            "{}  {}  {state}{}  for {}",
            intent.id(),
            tame(intent.kind()),
            tasks.unwrap_or_default(),
            tame(intent.actor())
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

fn paint(state: &str, style: Style) -> String {
    match state {
        "succeeded" => style.good(state),
        "failed" | "denied" => style.bad(state),
        "cancelled" | "compensating" => style.warn(state),
        _ => state.to_owned(),
    }
}

/// The stable form: fields may be added, not renamed.
/// Whether a reason only tells a ballot.
fn is_ballot(code: &str) -> bool {
    matches!(code, "vote.yes" | "vote.no" | "vote.abstain")
}

fn intent_json(intent: &Shown) -> Value {
    let origin = intent.work.as_ref().and_then(|work| work.origin.as_deref());
    let decided = intent.decision.as_ref().map(|decision| &decision.reasons);
    let reasons = decided.or(origin.map(|origin| &origin.reasons)).into_iter().flatten();
    let reasons: Vec<&str> = reasons
        .map(|reason| reason.text.as_str())
        .chain(intent.work.as_ref().and_then(|work| work.reason.as_deref()))
        .collect();
    let state = match intent.state() {
        // Its tasks go on, those that take effects back.
        "compensating" => "running",
        other => other,
    };
    let mut object = json!({
        "id": intent.id(),
        "type": intent.kind(),
        "actor": intent.actor(),
        "tier": intent.tier(),
        "score": intent.score(),
        "decision": intent.word(),
        "state": state,
        "reasons": reasons,
        "tasks": intent.work.as_ref().map_or(&[][..], |work| &work.tasks),
        "approved_by": origin.and_then(|origin| origin.approved_by.as_deref()),
    });
    if let Some(decision) = &intent.decision {
        object["key"] = json!(decision.key);
        object["actor_kind"] = json!(decision.actor_kind);
        object["policies"] = json!(decision.policies);
        object["advice"] = json!(decision.advice);
        object["review"] = json!(decision.review);
        object["digest"] = json!(decision.digest);
        object["expires"] = json!(decision.expires);
        object["repeated"] = json!(decision.repeated);
        object["ballots"] = json!(decision.ballots);
    }
    if let Some(work) = &intent.work {
        object["priority"] = json!(work.priority);
        object["payload"] = json!(work.payload);
        object["submitted_ms"] = json!(work.submitted);
        object["late"] = json!(work.late);
        object["compensating"] = json!(work.state == IntentState::Compensating);
    }
    object
}
