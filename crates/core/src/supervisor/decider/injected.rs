//! Injected faults: life lines that are not heard, and faults that were undone in their injector's place.
//!
//! A mute belongs to one run of a component and ends with it, at its deadline, or when it is asked to. It is kept here and not by the
//! injector, so that no death of the injector or of the control plane makes it last.

use std::time::Duration;

use grace_types::{id::FaultId, reason::Why};

use super::{Deciding, seconds};
use crate::{
    limits,
    supervisor::{
        event::{Event, Refusal},
        state::{Phase, Run},
    },
};

impl Deciding {
    pub(super) fn mute(
        &mut self,
        component: &str,
        pid: u32,
        start_ticks: Option<u64>,
        time: Duration,
    ) -> Result<(), Refusal> {
        let phase = self.phase_for_operator(component)?;
        if time.is_zero() || time > limits::LONGEST_MUTE {
            return Err(Refusal::Length { asked: time, longest: limits::LONGEST_MUTE });
        }
        let wrong =
            |state, detail| Err(Refusal::WrongState { component: component.to_owned(), state, detail });
        let Phase::Running { run, .. } = phase else {
            return wrong("not running", "only a running component has a life line");
        };
        if run.pid != pid || start_ticks.is_some_and(|ticks| ticks != run.start_ticks) {
            return wrong("another process by now", "a mute is for one process only");
        }
        if run.muted_until.is_some() {
            return wrong("muted already", "one fault at a time");
        }
        let until = self.now.mono.plus(time);
        let why = Why::because(
            "mute.asked",
            format!("an injected fault keeps its life line from being heard for {} at most", seconds(time)),
        );
        let event =
            Event::LifeLineMuted { component: component.to_owned(), incarnation: run.incarnation, until };
        self.record(event, why, "control socket");
        Ok(())
    }

    pub(super) fn unmute(&mut self, component: &str, pid: u32) -> Result<(), Refusal> {
        let known = self.state.components.get(component);
        let phase = &known.ok_or_else(|| Refusal::NotFound(component.to_owned()))?.phase;
        if let Some(run) = phase.run().copied().filter(|run| run.pid == pid && run.muted_until.is_some()) {
            let why = Why::because("unmute.asked", "the injected fault was undone");
            self.heard_again(component, &run, why, "control socket");
        }
        Ok(())
    }

    pub(super) fn unmute_overdue(&mut self) {
        let now = self.now.mono;
        let over =
            |phase: &Phase| phase.run().and_then(|run| run.muted_until).is_some_and(|until| until <= now);
        for name in self.names(over) {
            if let Some(run) = self.state.components[&name].phase.run().copied() {
                let why = Why::because("unmute.deadline", "the time of the injected fault is over");
                self.heard_again(&name, &run, why, "deadline");
            }
        }
    }

    /// Its process has ended.
    pub(super) fn unmute_ended(&mut self, component: &str, run: &Run) {
        if run.muted_until.is_some() {
            let why = Why::because("unmute.ended", "the process that the injected fault hit has ended");
            self.heard_again(component, run, why, "pidfd");
        }
    }

    fn heard_again(&mut self, component: &str, run: &Run, why: Why, how: &'static str) {
        let (component, incarnation) = (component.to_owned(), run.incarnation);
        self.record(Event::LifeLineUnmuted { component, incarnation }, why, how);
    }

    pub(super) fn fault_swept(
        &mut self,
        fault: FaultId,
        kind: &str,
        component: &str,
        why: &str,
        proof: &str,
    ) {
        let why = Why::because("fault.left_behind", why).and("fault.undone", proof);
        let event = Event::FaultUndone { component: component.to_owned(), fault, kind: kind.to_owned() };
        self.record(event, why, "sweep of DATA/faults");
    }
}
