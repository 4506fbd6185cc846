//! When the control plane's state is dumped as evidence: every few seconds, and at each transition, with a status that shows it.
//!
//! ```text
//! a status in which something changed ──► that very status   ─┐
//! an event, a phase, a detection      ──► one asked for now  ─┼─► dumps/<n>-<causes>.json, and a line of the resources
//! every 5 s                           ──► one asked for now  ─┘
//! ```

use std::collections::BTreeMap;

use grace_types::time::{Clock as _, Monotonic};
use serde_json::Value;

use super::Session;
use crate::{evidence::Sample, limits, plan::Component, record::DetectionRecord, runner::Event};

/// What a dump is due for, and how many may be taken. What finds none left is a cause of the next one. Pure.
#[derive(Debug)]
pub(super) struct Due {
    causes: Vec<String>,
    /// Causes past [`limits::DUMP_CAUSES`].
    more: u32,
    left: u32,
    counted: Monotonic,
}

impl Due {
    pub(super) const fn new(now: Monotonic) -> Self {
        Self { causes: Vec::new(), more: 0, left: limits::DUMP_BURST, counted: now }
    }

    pub(super) fn note(&mut self, cause: String) {
        if self.causes.len() < limits::DUMP_CAUSES {
            self.causes.push(cause);
        } else {
            self.more += 1;
        }
    }

    /// The causes of the dump that is to be taken now, if there is one.
    pub(super) fn take(&mut self, now: Monotonic) -> Option<String> {
        while self.left < limits::DUMP_BURST && now >= self.counted.plus(limits::DUMP_REFILL) {
            (self.left, self.counted) = (self.left + 1, self.counted.plus(limits::DUMP_REFILL));
        }
        if self.left == limits::DUMP_BURST {
            self.counted = now;
        }
        if self.causes.is_empty() || self.left == 0 {
            return None;
        }
        self.left -= 1;
        self.take_all()
    }

    /// The same, however many were taken.
    pub(super) fn take_all(&mut self) -> Option<String> {
        if self.causes.is_empty() {
            return None;
        }
        let mut causes = std::mem::take(&mut self.causes).join("; ");
        if self.more > 0 {
            causes = format!("{causes}; and {} more", std::mem::take(&mut self.more));
        }
        Some(causes)
    }
}

/// What the last status showed. It is the status alone that counts here, not what the run knows besides: a dump has to show what it is
/// named after. Pure.
#[derive(Debug, Default)]
pub(super) struct Shown {
    level: Option<String>,
    /// Whether each component was up, and its process.
    components: BTreeMap<String, (bool, Option<u32>)>,
}

impl Shown {
    /// The transitions that this status shows. The first one shows none.
    pub(super) fn changes(&mut self, status: &Value, components: &[Component]) -> Vec<String> {
        let mut changes = Vec::new();
        let level = status.get("state").and_then(Value::as_str).map(str::to_owned);
        if let (Some(level), true) = (&level, self.level.is_some() && self.level != level) {
            changes.push(format!("level: {level}"));
        }
        self.level = level;
        for component in components {
            let up = component.ready || component.state == "stopped" || component.state == "paused";
            let before = self.components.insert(component.name.clone(), (up, component.pid));
            match before {
                Some((true, _)) if !up => changes.push(format!("down: {}", component.name)),
                Some((false, _)) if up => changes.push(format!("back: {}", component.name)),
                // It was gone in between.
                Some((true, pid)) if pid != component.pid => {
                    changes.push(format!("back: {}", component.name));
                }
                _ => {}
            }
        }
        changes
    }
}

/// The transition that an event of the run is.
pub(super) fn of_event(event: &Event) -> Option<String> {
    Some(match event {
        Event::FaultBitten { number, .. } => format!("fault {number} bit"),
        Event::FaultUndone { number, .. } => format!("fault {number} over"),
        Event::FaultFailed { number, .. } => format!("fault {number} failed"),
        Event::Recovered { .. } => "recovered".to_owned(),
        Event::NotRecovered { .. } => "not recovered".to_owned(),
        Event::StopConditionMet { name, .. } => format!("stop: {name}"),
        Event::Aborted { .. } => "aborted".to_owned(),
        Event::RunStarted { .. }
        | Event::SteadyStateChecked { .. }
        | Event::FaultOrdered { .. }
        | Event::FaultAimed { .. }
        | Event::Cleared { .. }
        | Event::Verified { .. }
        | Event::EvidenceSealed { .. }
        | Event::Judged { .. } => return None,
    })
}

/// The transition that something found out by the system is.
pub(super) fn of_detection(found: &DetectionRecord) -> String {
    let what = found.what.rsplit('.').nth(1).unwrap_or(&found.what);
    format!("detected: {what} {}", found.target).trim_end().to_owned()
}

impl Session<'_> {
    /// Dumps what is due. A phase is dumped in any case: there are few, and with the last one nothing stays due.
    pub(super) fn dump_due(&mut self, phase: bool) {
        let now = self.clock.now().mono;
        let due = if phase { self.due.take_all() } else { self.due.take(now) };
        if let Some(cause) = due {
            self.dump(&cause);
        }
    }

    /// Dumps the statuses in which something changed, each with what did.
    pub(super) fn dump_seen(&mut self, seen: Vec<(Vec<String>, Value)>) {
        for (causes, status) in seen {
            causes.into_iter().for_each(|cause| self.due.note(cause));
            if let Some(cause) = self.due.take(self.clock.now().mono) {
                self.keep(&cause, &status);
            }
        }
    }

    /// Asks for a status, and keeps it. Where none comes, the newest one that is known is kept, and the cause says so.
    pub(super) fn dump(&mut self, cause: &str) {
        let now = self.clock.now().mono;
        let asked = match &self.watch.trouble {
            Some(trouble) => Err(trouble.clone()),
            None if now < self.ask_again => Err("it did not answer a moment ago".to_owned()),
            None => self.system.ask(),
        };
        match (asked, self.watch.status.clone()) {
            (Ok(status), _) => self.keep(cause, &status),
            (Err(why), known) => {
                if self.watch.trouble.is_none() && now >= self.ask_again {
                    self.ask_again = self.clock.now().mono.plus(limits::ASK_AGAIN);
                }
                match known {
                    Some(status) => self.keep(&format!("{cause} (the newest status known: {why})"), &status),
                    None => self.sample(cause),
                }
            }
        }
    }

    fn keep(&mut self, cause: &str, status: &Value) {
        let kept = self.folder.dump(self.clock.now().wall, cause, status);
        self.evidence(kept);
        self.sample(cause);
    }

    pub(super) fn sample(&mut self, cause: &str) {
        let now = self.clock.now();
        self.next_sample = now.mono.plus(limits::SAMPLE_EVERY);
        let sample = Sample::read(self.watch.components.iter().map(|c| (c.name.as_str(), c.pid)));
        let kept = self.folder.resources(now.wall, cause, &sample);
        self.evidence(kept);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_status_shows_who_went_down_who_is_back_and_another_level() {
        let mut shown = Shown::default();
        let mut changes = |level: &str, components: &[(&str, u32, bool)]| {
            let component = |(name, pid, ready): &(&str, u32, bool)| {
                json!({"name": name, "layer": 1, "kind": "kernel", "state": if *ready {"ready"} else {"restarting"},
                       "pid": pid, "ready": ready, "critical": true})
            };
            let components: Vec<_> = components.iter().map(component).collect();
            let status = json!({"state": level, "components": components});
            shown.changes(&status, &Component::all(&status).unwrap())
        };
        assert_eq!(changes("running", &[("a", 1, true), ("b", 2, false)]), [""; 0]);
        assert_eq!(changes("running", &[("a", 1, true), ("b", 2, true)]), ["back: b"]);
        assert_eq!(
            changes("emergency", &[("a", 1, false), ("b", 2, false)]),
            ["level: emergency", "down: a", "down: b"]
        );
        assert_eq!(changes("emergency", &[("a", 1, false), ("b", 2, false)]), [""; 0]);
        assert_eq!(changes("running", &[("a", 3, true), ("b", 2, false)]), ["level: running", "back: a"]);
        assert_eq!(changes("running", &[("a", 4, true), ("b", 2, false)]), ["back: a"], "gone in between");
    }

    #[test]
    fn a_dump_has_all_its_causes_and_a_storm_of_transitions_takes_few() {
        let start = Monotonic::from_nanos(5_000_000_000);
        let mut due = Due::new(start);
        assert_eq!(due.take(start), None);
        due.note("level: emergency".into());
        due.note("down: a".into());
        assert_eq!(due.take(start).unwrap(), "level: emergency; down: a");
        let mut taken = 1;
        for n in 0..1000 {
            due.note(format!("down: {n}"));
            taken += u32::from(due.take(start).is_some());
        }
        assert_eq!(taken, limits::DUMP_BURST);
        assert_eq!(due.take(start), None);
        // What found none left is told by the next one.
        let cause = due.take(start.plus(limits::DUMP_REFILL)).unwrap();
        let first = limits::DUMP_BURST - 1;
        assert!(cause.starts_with(&format!("down: {first}; down: {}; ", first + 1)), "{cause}");
        let left = 1000 - first as usize - limits::DUMP_CAUSES;
        assert!(cause.ends_with(&format!("; and {left} more")), "{cause}");
        assert_eq!(due.take(start.plus(limits::DUMP_REFILL * 2)), None);
        due.note("phase: after".into());
        assert_eq!(due.take_all().unwrap(), "phase: after");
    }
}
