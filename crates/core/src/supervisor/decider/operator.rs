//! What operators ask for: restart, pause, resume.

use grace_types::reason::Why;

use super::Deciding;
use crate::supervisor::{
    event::{Event, Refusal, Then},
    state::Phase,
};

impl Deciding {
    pub(super) fn phase_for_operator(&self, component: &str) -> Result<Phase, Refusal> {
        if self.state.shutdown {
            return Err(Refusal::Stopping);
        }
        let known = self.state.components.get(component);
        known.map(|c| c.phase.clone()).ok_or_else(|| Refusal::NotFound(component.to_owned()))
    }

    pub(super) fn restart(&mut self, component: &str) -> Result<(), Refusal> {
        let phase = self.phase_for_operator(component)?;
        self.clear_counters(component, "restart.asked", "an operator asked for a fresh process");
        if let Phase::Running { run, .. } = phase {
            let why = Why::because("restart.asked", "an operator asked for a fresh process");
            self.stop(component, run, Then::Restart, why);
        }
        Ok(())
    }

    pub(super) fn pause(&mut self, component: &str, pause: bool) -> Result<(), Refusal> {
        let phase = self.phase_for_operator(component)?;
        let wrong =
            |state, detail| Err(Refusal::WrongState { component: component.to_owned(), state, detail });
        let name = component.to_owned();
        match (phase, pause) {
            (Phase::Running { run, paused: false }, true) => {
                let why = Why::because("pause.asked", "an operator asked for it");
                self.record(Event::Paused { component: name, incarnation: run.incarnation }, why, "SIGSTOP");
                Ok(())
            }
            (Phase::Running { run, paused: true }, false) => {
                let why = Why::because("resume.asked", "an operator asked for it");
                self.record(Event::Resumed { component: name, incarnation: run.incarnation }, why, "SIGCONT");
                Ok(())
            }
            (Phase::Running { paused: true, .. }, true) => {
                wrong("paused already", "`grace resume` lets it go on")
            }
            (Phase::Running { .. }, false) => wrong("not paused", "there is nothing to resume"),
            _ => wrong("not running", "only a running component can be paused or resumed"),
        }
    }

    pub(super) fn clear_counters(&mut self, component: &str, code: &str, text: &str) {
        let event = Event::CountersCleared { component: component.to_owned() };
        self.record(event, Why::because(code, text), "operator or emergency");
    }
}
