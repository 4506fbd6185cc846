//! Emergencies: a critical component out of restarts, or several down at once.

use std::time::Duration;

use grace_types::reason::Why;

use super::{Deciding, delay};
use crate::supervisor::{
    event::{Event, Then},
    state::{Component, Phase},
};

/// An emergency that returns within this time counts its rounds on, so that its restarts keep slowing down.
const EMERGENCY_MEMORY: Duration = Duration::from_secs(300);

impl Deciding {
    /// `exhausted` ran out of restarts: everything that it needs is restarted, in order, and then itself.
    pub(super) fn declare_emergency(&mut self, down: Vec<String>, why: Why, exhausted: Option<&str>) {
        let now = self.now.mono;
        let round = match (self.state.emergency, self.state.last_emergency) {
            (Some(emergency), _) => emergency.round + 1,
            (None, Some((ended, round))) if now.since(ended) < EMERGENCY_MEMORY => round + 1,
            (None, _) => 1,
        };
        let restart = exhausted.map(|name| self.state.plan.needs(name)).unwrap_or_default();
        self.record(
            Event::EmergencyDeclared { down, restart: restart.clone(), round },
            why,
            "emergency protocol",
        );
        let Some(exhausted) = exhausted else { return };
        for name in restart.iter().filter(|n| *n != exhausted) {
            let text = format!("`{exhausted}` needs it, and failed for want of something");
            self.clear_counters(name, "emergency.needed", &text);
            if let Some(Phase::Running { run, .. }) = self.state.components.get(name).map(|c| c.phase.clone())
            {
                self.stop(name, run, Then::Restart, Why::because("emergency.needed", text));
            }
        }
        self.clear_counters(
            exhausted,
            "emergency.exhausted",
            "the emergency protocol starts its count afresh",
        );
        let Some(spec) = self.spec(exhausted) else { return };
        // The first round follows the usual back-off after a crash loop; each further round waits longer.
        let delay = delay(&spec.availability.backoff, 3 + round, &mut self.entropy);
        let event = Event::RestartScheduled {
            component: exhausted.to_owned(),
            due: now.plus(delay),
            delay,
            in_window: 0,
            short_runs: 0,
            at: now,
        };
        self.record(event, Why::because("emergency.restart", format!("round {round}")), "emergency protocol");
    }

    /// Two or more critical components down at once are an emergency even while each still has restarts left.
    pub(super) fn watch_critical(&mut self) {
        let critical = |name: &String| self.state.plan.spec(name).is_some_and(|p| p.critical);
        // What an operator paused, and what has done its work, is as it should be.
        let as_it_should_be = |c: &Component| match c.phase {
            Phase::Running { paused: true, .. } => true,
            Phase::Completed { exit } => exit.is_success(),
            _ => c.is_ready(),
        };
        let lacking: Vec<(&String, &Component)> =
            self.state.components.iter().filter(|(name, c)| critical(name) && !as_it_should_be(c)).collect();
        let down: Vec<String> = lacking
            .iter()
            .filter(|(_, c)| c.seen_ready && !matches!(c.phase, Phase::Stopping { then: Then::Restart, .. }))
            .map(|(name, _)| (*name).clone())
            .collect();
        match self.state.emergency {
            None if down.len() >= 2 => {
                let why = Why::because(
                    "emergency.several",
                    format!("critical components down at once: {}", down.join(", ")),
                );
                self.declare_emergency(down, why, None);
            }
            Some(emergency) if lacking.is_empty() => {
                let lasted = self.now.mono.since(emergency.since);
                let why = Why::because("emergency.over", "every critical component is ready");
                self.record(Event::EmergencyResolved { lasted }, why, "emergency protocol");
            }
            Some(_) | None => {}
        }
    }
}
