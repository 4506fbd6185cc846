//! What a run makes of the statuses that it sees: how long probes have not held, who is down, who is back. Pure.

use std::collections::{BTreeMap, BTreeSet};

use grace_types::time::{Monotonic, Now};
use serde_json::{Map, Value, json};

use crate::{
    condition::Facts,
    plan::Component,
    record::{LoadRecord, Phase, RecoveryRecord},
    runner::{Look, Seen},
    scenario::Scenario,
};

/// What was seen so far.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// The newest status.
    pub(super) status: Option<Value>,
    /// Its components.
    pub(super) components: Vec<Component>,
    /// Why there is no newer one.
    pub(super) trouble: Option<String>,
    /// Critical components that were seen down at one moment, at most.
    pub(super) down_at_once: u32,
    /// Components that were down for a while.
    pub(super) recoveries: Vec<RecoveryRecord>,
    /// Processes that a fault ended: their component is not back as long as it is said to have this one.
    pub(super) gone: BTreeSet<(String, u32)>,
    /// Since when each probe does not hold, in this phase.
    failing: BTreeMap<usize, Monotonic>,
    phase: Option<Phase>,
    /// Which of `recoveries` each component that is down has, and since when it is.
    down: BTreeMap<String, (usize, Monotonic)>,
}

/// What changed for a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It is not ready any more, or not in the state that is meant.
    Down(String),
    /// It is ready again, after so many milliseconds.
    Back(String, u64),
}

impl Watch {
    /// Takes in a status, or why there is none. Who is down counts only while `attacked`.
    pub(super) fn take(&mut self, now: Now, status: Result<Value, String>, attacked: bool) -> Vec<Change> {
        let seen = status.and_then(|status| Ok((Component::all(&status)?, status)));
        match seen {
            Ok((components, status)) => {
                self.trouble = None;
                (self.status, self.components) = (Some(status), components);
            }
            Err(trouble) => {
                self.trouble = Some(trouble);
                return Vec::new();
            }
        }
        if attacked { self.compare(now) } else { Vec::new() }
    }

    fn compare(&mut self, now: Now) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut critical = 0;
        for component in &self.components {
            let old = component.pid.is_some_and(|pid| self.gone.contains(&(component.name.clone(), pid)));
            let up = !old && (component.ready || component.state == "stopped" || component.state == "paused");
            critical += u32::from(component.critical && !up);
            match (self.down.get(&component.name).copied(), up) {
                (None, false) => {
                    self.down.insert(component.name.clone(), (self.recoveries.len(), now.mono));
                    let (component, ready, seconds) = (component.name.clone(), None, None);
                    changes.push(Change::Down(component.clone()));
                    self.recoveries.push(RecoveryRecord { component, down: now.wall, ready, seconds });
                }
                (Some((at, since)), true) => {
                    self.down.remove(&component.name);
                    if let Some(recovery) = self.recoveries.get_mut(at) {
                        let took = now.mono.since(since);
                        (recovery.ready, recovery.seconds) = (Some(now.wall), Some(took.as_secs_f64()));
                        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
                        changes.push(Change::Back(component.name.clone(), millis));
                    }
                }
                (None, true) | (Some(_), false) => {}
            }
        }
        self.down_at_once = self.down_at_once.max(critical);
        changes
    }

    /// The facts that are known while a run goes on.
    #[must_use]
    pub(super) fn facts(&self, load: &LoadRecord) -> Facts {
        let mut known = Map::new();
        let mut absent = BTreeMap::new();
        known.insert("down_at_once".to_owned(), json!(self.down_at_once));
        known.insert("load".to_owned(), load_fact(load));
        match (&self.status, &self.trouble) {
            (Some(status), None) => {
                known.insert("status".to_owned(), status.clone());
                known.insert("components".to_owned(), components_fact(status));
            }
            (_, trouble) => {
                let why = trouble.clone().unwrap_or_else(|| "the control plane was not asked yet".to_owned());
                absent.insert("status".to_owned(), why.clone());
                absent.insert("components".to_owned(), why);
            }
        }
        Facts::new(Value::Object(known), absent)
    }

    /// What the decider is told of all this.
    pub(super) fn look(&mut self, now: Monotonic, phase: Phase, scenario: &Scenario, facts: &Facts) -> Look {
        if self.phase != Some(phase) {
            // Observation goes on from the faults: what failed then has not held since.
            if phase != Phase::Observation {
                self.failing.clear();
            }
            self.phase = Some(phase);
        }
        let probes = scenario.steady_state.iter().enumerate().map(|(at, probe)| {
            let detail = match probe.check.holds(facts) {
                Ok(true) => {
                    self.failing.remove(&at);
                    return Seen { holds: true, ..Seen::default() };
                }
                Ok(false) => why_not(&probe.check, facts),
                Err(why) => format!("it cannot be evaluated: {why}"),
            };
            let since = *self.failing.entry(at).or_insert(now);
            Seen { holds: false, detail, failing_for: now.since(since) }
        });
        let probes = probes.collect();
        let stop = scenario.stop_conditions.iter().find_map(|condition| match condition.check.holds(facts) {
            Ok(false) => None,
            Ok(true) => Some((condition.name.clone(), condition.check.findings(facts))),
            // Not knowing is no reason to go on, except that a control plane that is just away is what runs are about.
            Err(_) if self.trouble.is_some() => None,
            Err(why) => Some((condition.name.clone(), format!("it cannot be evaluated: {why}"))),
        });
        Look { probes, waiting_for: None, stop }
    }

    /// Which of `targets` are not back; `None` where that is not known now.
    #[must_use]
    pub(super) fn waiting_for(&self, targets: &BTreeSet<String>) -> Option<Vec<String>> {
        if self.trouble.is_some() || self.status.is_none() {
            return None;
        }
        let back = |name: &&String| {
            let found = self.components.iter().find(|component| component.name == **name);
            found.is_some_and(|component| {
                let pid = component.pid.map(|pid| (component.name.clone(), pid));
                component.ready && pid.is_some_and(|pid| !self.gone.contains(&pid))
            })
        };
        Some(targets.iter().filter(|name| !back(name)).cloned().collect())
    }
}

/// What was found where a condition is false.
pub(super) fn why_not(check: &crate::condition::Condition, facts: &Facts) -> String {
    match check.findings(facts) {
        found if found.is_empty() => "it is false".to_owned(),
        found => found,
    }
}

/// The components of a status by name.
pub(super) fn components_fact(status: &Value) -> Value {
    let list = status.get("components").and_then(Value::as_array);
    let named = list.into_iter().flatten().filter_map(|component| {
        let name = component.get("name")?.as_str()?.to_owned();
        Some((name, component.clone()))
    });
    Value::Object(named.collect())
}

/// What is known of the load; what could not be looked up is not there.
pub(super) fn load_fact(load: &LoadRecord) -> Value {
    let LoadRecord { sent, acknowledged, lost, duplicated, errors, .. } = load;
    let mut fact = json!({"sent": sent, "acknowledged": acknowledged, "errors": errors});
    for (name, value) in [("lost", lost), ("duplicated", duplicated)] {
        if let Some(value) = value {
            fact[name] = json!(value);
        }
    }
    fact
}

#[cfg(test)]
mod tests {
    use std::{path::Path, time::Duration};

    use grace_types::time::Timestamp;

    use super::*;
    use crate::scenario::{Origin, parse};

    fn at(ms: u64) -> Now {
        Now { wall: Timestamp::from_nanos(ms * 1_000_000), mono: Monotonic::from_nanos(ms * 1_000_000) }
    }

    fn status(components: &[(&str, u32, bool)]) -> Value {
        let component = |(name, pid, ready): &(&str, u32, bool)| {
            json!({"name": name, "layer": 1, "kind": "kernel", "state": if *ready {"ready"} else {"restarting"},
                   "pid": pid, "ready": ready, "critical": true})
        };
        json!({"state": "running", "components": components.iter().map(component).collect::<Vec<_>>()})
    }

    #[test]
    fn who_is_down_at_one_moment_is_counted_and_who_is_back_is_timed() {
        let mut watch = Watch::default();
        watch.take(at(0), Ok(status(&[("a", 1, false), ("b", 2, true)])), false);
        assert_eq!(watch.down_at_once, 0, "nothing is attacked yet");
        watch.take(at(1), Ok(status(&[("a", 1, true), ("b", 2, true)])), true);
        let changes = watch.take(at(10), Ok(status(&[("a", 1, false), ("b", 2, false)])), true);
        assert_eq!(changes, [Change::Down("a".into()), Change::Down("b".into())]);
        assert!(watch.take(at(20), Err("nobody answers".into()), true).is_empty());
        let changes = watch.take(at(60), Ok(status(&[("a", 3, true), ("b", 2, false)])), true);
        assert_eq!(changes, [Change::Back("a".into(), 50)]);
        assert_eq!((watch.down_at_once, watch.recoveries.len()), (2, 2));
        assert_eq!(watch.recoveries[1].ready, None);
    }

    #[test]
    fn how_long_a_component_was_down_does_not_hang_on_the_calendar() {
        for wall in [0, 700_000] {
            let mut watch = Watch::default();
            watch.take(at(300_000), Ok(status(&[("a", 1, false)])), true);
            let later = Now { wall: at(wall).wall, ..at(300_040) };
            let changes = watch.take(later, Ok(status(&[("a", 2, true)])), true);
            assert_eq!(changes, [Change::Back("a".into(), 40)]);
            assert_eq!(watch.recoveries[0].seconds, Some(0.04));
        }
    }

    #[test]
    fn a_target_is_not_back_while_it_is_said_to_have_the_process_that_was_killed() {
        let mut watch = Watch::default();
        let targets = BTreeSet::from(["a".to_owned()]);
        assert_eq!(watch.waiting_for(&targets), None);
        watch.gone.insert(("a".into(), 1));
        watch.take(at(1), Ok(status(&[("a", 1, true)])), true);
        assert_eq!(watch.waiting_for(&targets), Some(vec!["a".to_owned()]));
        assert_eq!(watch.down_at_once, 1, "the status is only late");
        watch.take(at(2), Ok(status(&[("a", 2, true)])), true);
        assert_eq!(watch.waiting_for(&targets), Some(vec![]));
        watch.take(at(3), Err("away".into()), true);
        assert_eq!(watch.waiting_for(&targets), None);
    }

    #[test]
    fn probes_are_timed_within_a_phase_and_stop_conditions_seen() {
        let text = "id: x\ntitle: X\ncategory: c\nseverity: low\n\
                    steady_state: [{name: p, check: 'components.all(n, components[n].ready)'}]\n\
                    stop_conditions: [{name: s, check: 'down_at_once > 0'}]\n";
        let scenario = parse(text, Path::new("x.yaml"), Origin::BuiltIn).unwrap();
        let mut watch = Watch::default();
        let look = |watch: &mut Watch, ms, phase| {
            let facts = watch.facts(&LoadRecord::default());
            watch.look(at(ms).mono, phase, &scenario, &facts)
        };
        let seen = look(&mut watch, 0, Phase::Before);
        assert!(!seen.probes[0].holds && seen.probes[0].detail.contains("was not asked yet"), "{seen:?}");
        assert_eq!(look(&mut watch, 30, Phase::Before).probes[0].failing_for, Duration::from_millis(30));
        watch.take(at(40), Ok(status(&[("a", 1, true)])), true);
        assert!(look(&mut watch, 40, Phase::Before).probes[0].holds);
        watch.take(at(50), Ok(status(&[("a", 1, false)])), true);
        let seen = look(&mut watch, 50, Phase::Faults);
        assert_eq!(seen.stop, Some(("s".to_owned(), "down_at_once is 1".to_owned())));
        assert_eq!(look(&mut watch, 60, Phase::Observation).probes[0].failing_for, Duration::from_millis(10));
        assert_eq!(look(&mut watch, 70, Phase::After).probes[0].failing_for, Duration::ZERO);
    }
}
