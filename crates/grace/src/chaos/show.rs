//! What a person sees of a run: news as they come, the plan, the list, the judgement. With `--json`, what a script reads.

use std::{collections::BTreeMap, fmt::Write as _, io::Write as _};

use grace_chaos::{
    plan::Plan,
    record::{Phase, RunRecord},
    run::{Change, News as Told, Outcome, unknown_playbook},
    runner::Event,
    safeguard::Safeguard,
    scenario::Scenario,
};
use grace_core::status::Status;
use serde_json::{Value, json};

use crate::{failure::Failure, output::Output, progress::News, style::tame};

/// The scenarios, a row each.
pub(super) fn list(scenarios: &[Scenario], out: &mut Output) -> Result<(), Failure> {
    if out.json {
        let one = |s: &Scenario| {
            json!({"id": s.id, "title": s.title, "layer": s.layer, "category": s.category,
                "severity": s.severity.word(), "faults": s.faults.len(), "origin": s.origin.to_string()})
        };
        return out.json_line(&scenarios.iter().map(one).collect::<Vec<_>>());
    }
    let width = scenarios.iter().map(|s| s.id.len()).max().unwrap_or(0).max("ID".len());
    let head = format!("{:width$}  LAYER  SEVERITY  TITLE", "ID");
    writeln!(out, "{}", out.style.dim(&head))?;
    for s in scenarios {
        writeln!(out, "{:width$}  {:<5}  {:<8}  {}", s.id, s.layer, s.severity.word(), tame(&s.title))?;
    }
    out.flush()?;
    Ok(())
}

/// What would be done.
pub(super) fn plan(
    scenario: &Scenario,
    plan: &Plan,
    safeguards: &BTreeMap<String, Option<Safeguard>>,
    status: &Status,
    out: &mut Output,
) -> Result<(), Failure> {
    let pid = |name: &str| status.components.iter().find(|c| c.name == name).and_then(|c| c.pid);
    if out.json {
        let faults = plan.faults.iter().map(|fault| {
            json!({"number": fault.number, "type": fault.kind.word(), "target": fault.target, "pid": pid(&fault.target),
                "at_seconds": fault.at.as_secs_f64(), "duration_seconds": fault.duration.map(|d| d.as_secs_f64()),
                "needed": fault.needed})
        });
        let known = safeguards.iter().map(|(name, found)| json!({"name": name, "known": found.is_some()}));
        // There are none that could run.
        let playbooks = scenario.playbooks.iter().map(|name| json!({"name": name, "known": false}));
        return out.json_line(&json!({
            "scenario": scenario.id, "faults": faults.collect::<Vec<_>>(), "safeguards": known.collect::<Vec<_>>(),
            "playbooks": playbooks.collect::<Vec<_>>(),
            "steady_state": scenario.steady_state.iter().map(|p| &p.name).collect::<Vec<_>>(),
            "verifications": scenario.verifications.iter().map(|v| &v.name).collect::<Vec<_>>(),
            "max_recovery_seconds": scenario.max_recovery.as_secs_f64(), "spared": plan.spared, "notes": plan.notes,
        }));
    }
    let mut text = format!("{}: {}\n", tame(&scenario.id), tame(&scenario.title));
    for fault in &plan.faults {
        let at = fault.at.as_secs_f64();
        let pid = pid(&fault.target).map_or_else(|| "-".to_owned(), |pid| pid.to_string());
        let lasts =
            fault.duration.map(|d| format!(", for {} s at most", d.as_secs_f64())).unwrap_or_default();
        let _ = writeln!(
            text,
            "  at {at:>6.2} s  {:<5} {} (pid {pid}){lasts}",
            fault.kind.word(),
            tame(&fault.target)
        );
    }
    for load in &scenario.load {
        let _ = writeln!(
            text,
            "  load         {} writers to the log, {} records/s each",
            load.writers, load.rate
        );
    }
    let names = |names: Vec<&str>| if names.is_empty() { "none".to_owned() } else { tame(&names.join(", ")) };
    let _ =
        writeln!(text, "  steady state {}", names(scenario.steady_state.iter().map(|p| &*p.name).collect()));
    let _ = writeln!(text, "  safeguards   {}", names(safeguards.keys().map(String::as_str).collect()));
    let _ =
        writeln!(text, "  playbooks    {}", names(scenario.playbooks.iter().map(String::as_str).collect()));
    let _ = writeln!(text, "  spared       {}", names(plan.spared.iter().map(String::as_str).collect()));
    let _ = writeln!(text, "  recovery     within {} s", scenario.max_recovery.as_secs_f64());
    let unknown = safeguards.iter().filter(|(_, found)| found.is_none());
    let unknown = unknown.map(|(name, _)| Safeguard::unknown(name));
    for missing in unknown.chain(scenario.playbooks.iter().map(|name| unknown_playbook(name))) {
        let warning = format!("{missing}, so the run would fail");
        let _ = writeln!(text, "{}", News::odd('!', tame(&warning)).line(out.style));
    }
    for note in &plan.notes {
        let _ = writeln!(text, "{}", News::odd('!', tame(&format!("left out: {note}"))).line(out.style));
    }
    write!(out, "{text}")?;
    out.flush()?;
    Ok(())
}

/// Tells a run's news as they come.
pub(super) struct Teller<'a> {
    scenario: &'a Scenario,
    out: &'a mut Output,
}

impl<'a> Teller<'a> {
    pub(super) fn new(scenario: &'a Scenario, out: &'a mut Output) -> Self {
        Self { scenario, out }
    }

    pub(super) fn tell(&mut self, news: &Told<'_>) {
        if self.out.json {
            return;
        }
        for line in lines(self.scenario, news) {
            // A run goes on whether or not anybody reads of it.
            let _ = writeln!(self.out, "{}", line.line(self.out.style));
        }
        let _ = self.out.flush();
    }
}

fn lines(scenario: &Scenario, news: &Told<'_>) -> Vec<News> {
    match news {
        Told::Begins { run } => vec![News::odd('▶', format!("{}: {run}", tame(&scenario.id)))],
        Told::Decided(event) => decided(event).into_iter().collect(),
        Told::Changed(Change::Down(name)) => vec![News::odd('↓', format!("{} is down", tame(name)))],
        Told::Changed(Change::Back(name, millis)) => {
            vec![News::good(format!("{} is back after {millis} ms", tame(name)))]
        }
        Told::Detected(found) => {
            let what = found.what.rsplit('.').nth(1).unwrap_or(&found.what).replace('_', " ");
            let target = if found.target.is_empty() { "the instance" } else { &found.target };
            vec![News::odd('·', tame(&format!("{target}: {what}: {}", found.why)))]
        }
        Told::Trouble(trouble) => vec![News::odd('!', tame(trouble))],
        Told::Verified(verifications, safeguards) => {
            let fired = safeguards.iter().map(|s| match (s.fired, s.seconds) {
                (true, seconds) => {
                    News::good(format!("safeguard {} fired after {:.3} s", s.name, seconds.unwrap_or(0.0)))
                }
                (false, _) => {
                    let why = s.detail.as_deref().unwrap_or_default();
                    News::bad(tame(&format!("safeguard {} did not fire: {why}", s.name)))
                }
            });
            let held = verifications.iter().map(|v| {
                if v.ok {
                    News::good(tame(&v.name))
                } else {
                    News::bad(tame(&format!("{}: {}", v.name, v.detail)))
                }
            });
            fired.chain(held).collect()
        }
    }
}

fn decided(event: &Event) -> Option<News> {
    Some(match event {
        Event::SteadyStateChecked { phase, ok: true, probes, .. } => {
            News::good(format!("steady {}: {} probes hold", when(*phase), probes.len()))
        }
        Event::SteadyStateChecked { phase, ok: false, probes, .. } => {
            let failed: Vec<String> =
                probes.iter().filter(|p| !p.ok).map(|p| format!("{}: {}", p.name, p.detail)).collect();
            News::bad(tame(&format!("not steady {}: {}", when(*phase), failed.join("; "))))
        }
        Event::FaultOrdered { number, kind, target, .. } => {
            News::odd('⚡', format!("fault {number}: {} {}", kind.word(), tame(target)))
        }
        Event::FaultBitten { number, proof, .. } => {
            News::odd('⚡', tame(&format!("fault {number} took effect: {proof}")))
        }
        Event::FaultUndone { number, proof, .. } => {
            News::good(tame(&format!("fault {number} is over: {proof}")))
        }
        Event::FaultFailed { number, error, .. } => {
            News::bad(tame(&format!("fault {number} failed: {error}")))
        }
        Event::Recovered { after } => News::good(format!("recovered after {:.3} s", after.as_secs_f64())),
        Event::NotRecovered { after, missing } => {
            let what = format!("not recovered after {:.1} s: {}", after.as_secs_f64(), missing.join("; "));
            News::bad(tame(&what))
        }
        Event::StopConditionMet { name, detail } => News::bad(tame(&format!("stop: {name}: {detail}"))),
        Event::Aborted { run, abandoned: true, .. } => {
            News::odd('!', format!("{run} was not finished by its runner; it is noted as aborted"))
        }
        Event::Aborted { by, .. } => News::bad(tame(&format!("ended early by {by}; undoing everything"))),
        Event::RunStarted { .. }
        | Event::FaultAimed { .. }
        | Event::Cleared { .. }
        | Event::Verified { .. }
        | Event::EvidenceSealed { .. }
        | Event::Judged { .. } => return None,
    })
}

const fn when(phase: Phase) -> &'static str {
    match phase {
        Phase::Before => "before",
        Phase::After => "after",
        _ => "meanwhile",
    }
}

/// The end of a run.
pub(super) fn outcome(outcome: &Outcome, out: &mut Output) -> Result<(), Failure> {
    if out.json {
        return out.json_line(&outcome_json(outcome));
    }
    let record = &outcome.record;
    for warning in &outcome.warnings {
        writeln!(out, "{}", News::odd('!', tame(warning)).line(out.style))?;
    }
    let reasons: Vec<&str> = record.judgement.reasons.iter().map(|reason| &*reason.text).collect();
    if record.judgement.passed {
        writeln!(out, "{}", News::good(format!("passed: {}", tame(&reasons.join("; ")))).line(out.style))?;
    } else {
        writeln!(out, "{}", News::bad("failed:".to_owned()).line(out.style))?;
        for reason in reasons {
            writeln!(out, "    {}", tame(reason))?;
        }
    }
    if let Some(bundle) = &outcome.bundle {
        writeln!(out, "evidence: {}", bundle.display())?;
    }
    out.flush()?;
    Ok(())
}

/// Scripts rely on these fields; others may be added.
fn outcome_json(outcome: &Outcome) -> Value {
    let RunRecord { run, scenario, judgement, recovery_seconds, faults, safeguards, verifications, .. } =
        &outcome.record;
    let faults = faults.iter().map(|f| {
        json!({"type": f.kind, "target": f.target, "bit": f.bit, "undone": f.undone, "proof": f.proof,
            "undo_proof": f.undo_proof, "error": f.error})
    });
    let safeguards = safeguards
        .iter()
        .map(|s| json!({"name": s.name, "expected": s.expected, "fired": s.fired, "seconds": s.seconds}));
    let verifications = verifications.iter().map(|v| json!({"name": v.name, "ok": v.ok, "detail": v.detail}));
    json!({
        "run": run,
        "scenario": scenario.id,
        "passed": judgement.passed,
        "recovery_seconds": recovery_seconds,
        "faults": faults.collect::<Vec<_>>(),
        "safeguards": safeguards.collect::<Vec<_>>(),
        "verifications": verifications.collect::<Vec<_>>(),
        "bundle": outcome.bundle,
        "reasons": judgement.reasons,
        "down_at_once": outcome.record.down_at_once,
        "warnings": outcome.warnings,
    })
}
