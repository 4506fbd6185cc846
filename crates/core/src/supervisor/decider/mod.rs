//! The rules of supervision: pure, and in one place.
//!
//! | Module | What it holds |
//! |---|---|
//! | this one | what happened, what may start, what must be stopped |
//! | `emergency` | what is done when critical components are down |
//! | `injected` | faults: life lines that are not heard, and what their injectors left |
//! | `operator` | what people ask for |
//! | `take_over` | what a new control plane finds |

mod emergency;
mod injected;
mod operator;
mod take_over;

use std::time::Duration;

use grace_kernel::Recorded;
use grace_types::{
    chance::{Entropy, SeededEntropy},
    id::IncarnationId,
    manifest::{Backoff, ComponentKind, Condition, ProcessSpec, RestartPolicy},
    reason::Why,
    time::{Monotonic, Now},
};

use super::{
    SOUND_RUN,
    event::{Command, Effect, Event, Exit, Hang, Input, Outcome, Refusal, Then},
    state::{Phase, Run, State},
};

/// Decides on a command. The events, applied in order by [`State::evolve`], give the new state.
///
/// # Errors
/// [`Refusal`] for an operator's request that cannot be carried out; nothing changes then.
pub fn decide(state: &State, now: Now, command: &Command) -> Result<Vec<Recorded<Event>>, Refusal> {
    let mut deciding = Deciding {
        state: state.clone(),
        now,
        entropy: SeededEntropy::new(command.seed),
        decided: Vec::new(),
    };
    deciding.take_in(&command.input)?;
    deciding.reconcile();
    Ok(deciding.decided)
}

/// What the shell must do because of `event`; `state` is the state after it.
#[must_use]
pub fn effects(state: &State, event: &Event) -> Vec<Effect> {
    let run_of = |name: &str| state.components.get(name).and_then(|c| c.phase.run());
    let signal = |component: &str, pid: u32, signal: i32| Effect::Signal {
        component: component.to_owned(),
        pid,
        signal,
    };
    match event {
        Event::StartDecided { component, incarnation } => {
            vec![Effect::Spawn { component: component.clone(), incarnation: *incarnation }]
        }
        Event::Started { component, incarnation, .. } | Event::Resumed { component, incarnation } => {
            let mut effects = vec![Effect::Watch { component: component.clone(), incarnation: *incarnation }];
            if let (Event::Resumed { .. }, Some(run)) = (event, run_of(component)) {
                effects.insert(0, signal(component, run.pid, SIGCONT));
            }
            effects
        }
        Event::Paused { component, .. } => {
            let stop = run_of(component).map(|run| signal(component, run.pid, SIGSTOP));
            [Effect::Unwatch { component: component.clone() }].into_iter().chain(stop).collect()
        }
        Event::StopDecided { component, .. } => {
            let asked = state.plan.spec(component).map_or(15, |s| s.shutdown.signal.number());
            let mut effects = vec![Effect::Unwatch { component: component.clone() }];
            if let Some(run) = run_of(component) {
                // A stopped process handles no signal until it goes on.
                effects.extend([signal(component, run.pid, asked), signal(component, run.pid, SIGCONT)]);
            }
            effects
        }
        Event::KillDecided { component, .. } => {
            let kill = run_of(component).map(|run| signal(component, run.pid, SIGKILL));
            [Effect::Unwatch { component: component.clone() }].into_iter().chain(kill).collect()
        }
        Event::Exited { component, incarnation, .. } | Event::StartFailed { component, incarnation, .. } => {
            vec![Effect::CleanUp { component: component.clone(), incarnation: *incarnation }]
        }
        Event::ShutdownFinished => vec![Effect::Quit],
        Event::Booted { .. }
        | Event::TookOver { .. }
        | Event::BecameReady { .. }
        | Event::HangDetected { .. }
        | Event::RestartScheduled { .. }
        | Event::LifeLineMuted { .. }
        | Event::LifeLineUnmuted { .. }
        | Event::FaultUndone { .. }
        | Event::Completed { .. }
        | Event::Withheld { .. }
        | Event::GaveUp { .. }
        | Event::CountersCleared { .. }
        | Event::EmergencyDeclared { .. }
        | Event::EmergencyResolved { .. }
        | Event::ShutdownBegun { .. } => Vec::new(),
    }
}

const SIGKILL: i32 = 9;
const SIGCONT: i32 = 18;
const SIGSTOP: i32 = 19;

/// A decision in the making: events are applied to a copy of the state as they are decided, so that each rule sees
/// what the rules before it decided.
struct Deciding {
    state: State,
    now: Now,
    entropy: SeededEntropy,
    decided: Vec<Recorded<Event>>,
}

impl Deciding {
    fn record(&mut self, event: Event, why: Why, how: &'static str) {
        self.state.evolve(&event, &why.to_string(), self.now);
        let place = event.component().unwrap_or("instance").to_owned();
        self.decided.push(Recorded::new(event, place, how, why));
    }

    fn take_in(&mut self, input: &Input) -> Result<(), Refusal> {
        match input {
            Input::Boot { boot } => {
                let components = self.state.components.len();
                let why = Why::because(
                    "boot.requested",
                    format!("an instance of {components} components was asked for"),
                );
                self.record(Event::Booted { boot: *boot, components }, why, "boot");
            }
            Input::TakeOver { boot, found, reaped } => self.take_over(*boot, found, reaped),
            Input::Spawned { component, incarnation, pid, start_ticks } => {
                self.spawned(component, *incarnation, *pid, *start_ticks);
            }
            Input::SpawnFailed { component, incarnation, error } => {
                if self.is_spawning(component, *incarnation) {
                    let event = Event::StartFailed {
                        component: component.clone(),
                        incarnation: *incarnation,
                        error: error.clone(),
                    };
                    self.record(event, Why::because("start.failed", error.clone()), "spawn");
                    self.failed(
                        component,
                        Duration::ZERO,
                        false,
                        &format!("it could not be started: {error}"),
                    );
                }
            }
            Input::Exited { component, incarnation, exit } => self.exited(component, *incarnation, *exit),
            Input::Ready { component, incarnation, how } => self.ready(component, *incarnation, how),
            Input::Hung { component, incarnation, hang } => self.hung(component, *incarnation, hang),
            Input::Tick => {}
            Input::Restart { component } => self.restart(component)?,
            Input::Pause { component } => self.pause(component, true)?,
            Input::Resume { component } => self.pause(component, false)?,
            Input::Mute { component, pid, start_ticks, time } => {
                self.mute(component, *pid, *start_ticks, *time)?;
            }
            Input::Unmute { component, pid } => self.unmute(component, *pid)?,
            Input::FaultSwept { fault, kind, component, why, proof } => {
                self.fault_swept(*fault, kind, component, why, proof);
            }
            Input::Shutdown { cause } => {
                if !self.state.shutdown {
                    let why = Why::because("shutdown.requested", cause.clone());
                    self.record(Event::ShutdownBegun { cause: cause.clone() }, why, "shutdown");
                }
            }
        }
        Ok(())
    }

    fn is_spawning(&self, component: &str, incarnation: IncarnationId) -> bool {
        self.state.components.get(component).is_some_and(|c| c.phase == Phase::Spawning { incarnation })
    }

    fn live_run(&self, component: &str, incarnation: IncarnationId) -> Option<Run> {
        let run = self.state.components.get(component)?.phase.run()?;
        (run.incarnation == incarnation).then_some(*run)
    }

    fn spawned(&mut self, component: &str, incarnation: IncarnationId, pid: u32, start_ticks: u64) {
        if self.is_spawning(component, incarnation) {
            let at = self.now.mono;
            let event = Event::Started { component: component.to_owned(), incarnation, pid, start_ticks, at };
            self.record(event, Why::because("start.spawned", format!("process {pid} runs")), "spawn");
        }
    }

    fn ready(&mut self, component: &str, incarnation: IncarnationId, how: &'static str) {
        let Some(run) = self.live_run(component, incarnation) else { return };
        let running = matches!(self.state.components[component].phase, Phase::Running { .. });
        if running && !run.ready {
            let after = self.now.mono.since(run.started);
            let event = Event::BecameReady { component: component.to_owned(), incarnation, after };
            self.record(event, Why::because("ready.reported", format!("ready by {how}")), "readiness");
        }
    }

    fn hung(&mut self, component: &str, incarnation: IncarnationId, hang: &Hang) {
        let hangable = matches!(
            self.state.components.get(component).map(|c| &c.phase),
            Some(Phase::Running { run, paused: false }) if run.incarnation == incarnation
        );
        if !hangable {
            return;
        }
        let text = format!("`{component}` {hang}");
        let event = Event::HangDetected { component: component.to_owned(), incarnation, hang: hang.clone() };
        self.record(event, Why::because("hang.detected", text.clone()), "detector");
        // A hung process is not asked: it would not answer. What it holds is freed at once.
        let event = Event::KillDecided { component: component.to_owned(), incarnation, then: Then::Recover };
        self.record(event, Why::because("kill.hung", text), "hang → kill");
    }

    fn exited(&mut self, component: &str, incarnation: IncarnationId, exit: Exit) {
        let Some(run) = self.live_run(component, incarnation) else { return };
        let phase = self.state.components[component].phase.clone();
        let lived = self.now.mono.since(run.started);
        self.unmute_ended(component, &run);
        let event = Event::Exited { component: component.to_owned(), incarnation, exit, after: lived };
        let text = format!("it {exit} after {}", seconds(lived));
        self.record(event, Why::because("exit.seen", text.clone()), "pidfd");
        match phase {
            Phase::Stopping { then: Then::Restart, .. } if !self.state.shutdown => {
                self.again(component, Why::because("restart.asked", "an operator asked for a fresh process"));
            }
            Phase::Stopping { then: Then::Rest, .. } => self.complete(component, exit, &text),
            Phase::Stopping { then: Then::Recover, .. } => {
                self.by_policy(component, run, lived, exit, false, &text);
            }
            _ => self.by_policy(component, run, lived, exit, exit.is_success(), &text),
        }
    }

    fn by_policy(
        &mut self,
        component: &str,
        run: Run,
        lived: Duration,
        exit: Exit,
        success: bool,
        text: &str,
    ) {
        let policy = self.spec(component).map_or(RestartPolicy::No, |s| s.availability.restart);
        let restart = match policy {
            RestartPolicy::Always => true,
            RestartPolicy::OnFailure => !success,
            RestartPolicy::No => false,
        };
        if self.state.shutdown || !restart {
            self.complete(component, exit, text);
        } else {
            self.failed(component, lived, run.ready, text);
        }
    }

    fn complete(&mut self, component: &str, exit: Exit, text: &str) {
        let why = if self.state.shutdown {
            Why::because("complete.shutdown", text)
        } else {
            Why::because("complete.policy", text)
                .and("complete.policy", "its restart policy asks for no new process")
        };
        self.record(Event::Completed { component: component.to_owned(), exit }, why, "restart policy");
    }

    /// A run ended in a way that its policy answers with a restart, if there are restarts left.
    fn failed(&mut self, component: &str, lived: Duration, was_ready: bool, text: &str) {
        let Some(spec) = self.spec(component) else { return };
        if self.state.shutdown {
            self.complete(component, Exit::Unknown, text);
            return;
        }
        let now = self.now.mono;
        let known = &self.state.components[component];
        let recent =
            known.window.iter().filter(|at| now.since(**at) < spec.availability.period).count() as u32;
        let sound = was_ready && lived >= SOUND_RUN;
        let short_runs = if sound { 0 } else { known.short_runs + 1 };
        if recent >= spec.availability.intensity {
            self.give_up(component, &spec, recent, text);
            return;
        }
        let delay = delay(&spec.availability.backoff, short_runs, &mut self.entropy);
        let in_window = recent + 1;
        let why = Why::because("restart.failed", text).and(
            "restart.budget",
            format!(
                "restart {in_window} of at most {} in {}",
                spec.availability.intensity,
                seconds(spec.availability.period)
            ),
        );
        let event = Event::RestartScheduled {
            component: component.to_owned(),
            due: now.plus(delay),
            delay,
            in_window,
            short_runs,
            at: now,
        };
        self.record(event, why, "back-off");
    }

    /// A restart that is nobody's failure: at once, and not counted.
    fn again(&mut self, component: &str, why: Why) {
        let at = self.now.mono;
        let short_runs = self.state.components.get(component).map_or(0, |c| c.short_runs);
        let event = Event::RestartScheduled {
            component: component.to_owned(),
            due: at,
            delay: Duration::ZERO,
            in_window: 0,
            short_runs,
            at,
        };
        self.record(event, why, "at once");
    }

    fn give_up(&mut self, component: &str, spec: &ProcessSpec, recent: u32, text: &str) {
        let budget = format!("{recent} restarts in {} are used up", seconds(spec.availability.period));
        if spec.critical {
            let why = Why::because("emergency.exhausted", text).and("emergency.exhausted", budget).and(
                "emergency.critical",
                format!("`{component}` is critical: the instance cannot go on without it"),
            );
            self.declare_emergency(vec![component.to_owned()], why, Some(component));
            return;
        }
        let outcome = if spec.kind == ComponentKind::Process { Outcome::Failed } else { Outcome::Degraded };
        let why = Why::because("give_up.failed", text).and("give_up.budget", budget);
        self.record(Event::GaveUp { component: component.to_owned(), outcome }, why, "restart intensity");
    }

    fn reconcile(&mut self) {
        if self.state.finished || self.state.boot.is_none() {
            return;
        }
        self.unmute_overdue();
        self.kill_overdue();
        if self.state.shutdown {
            self.stop_in_order();
        } else {
            self.start_what_may_start();
            self.watch_critical();
        }
    }

    fn names(&self, of: impl Fn(&Phase) -> bool) -> Vec<String> {
        self.state.components.iter().filter(|(_, c)| of(&c.phase)).map(|(n, _)| n.clone()).collect()
    }

    fn start_what_may_start(&mut self) {
        let now = self.now.mono;
        let due = |phase: &Phase| match phase {
            Phase::Waiting => true,
            Phase::BackingOff { due } => *due <= now,
            _ => false,
        };
        for name in self.names(due) {
            if self.state.unmet(&name).next().is_some() {
                continue;
            }
            let incarnation = IncarnationId::new(self.now.wall, &mut self.entropy);
            let why = match self.spec(&name).map(|s| s.depends_on.len()).unwrap_or_default() {
                0 => Why::because("start.free", "it waits for nothing"),
                n => Why::because("start.dependencies", format!("all {n} of its dependencies are met")),
            };
            self.record(Event::StartDecided { component: name, incarnation }, why, "dependency order");
        }
    }

    /// Whether `name` ends late, and something that is to end before it has not.
    fn outstays(&self, name: &str) -> bool {
        let late = |name: &str| self.spec(name).is_some_and(|spec| spec.ends_late);
        if !late(name) {
            return false;
        }
        let needs = self.state.plan.needs(name);
        let others = self.state.components.iter().filter(|(other, _)| !late(other) && !needs.contains(other));
        others.into_iter().any(|(_, component)| !component.phase.at_rest())
    }

    fn kill_overdue(&mut self) {
        let now = self.now.mono;
        for name in self.names(|p| matches!(p, Phase::Stopping { kill_at: Some(at), .. } if *at <= now)) {
            let Phase::Stopping { run, then, .. } = self.state.components[&name].phase else { continue };
            let timeout = self.spec(&name).map_or(Duration::ZERO, |s| s.shutdown.timeout);
            let why = Why::because("kill.timeout", format!("it did not end within {}", seconds(timeout)));
            let event = Event::KillDecided { component: name, incarnation: run.incarnation, then };
            self.record(event, why, "shutdown timeout");
        }
    }

    /// Reverse dependency order: whoever depends on a component ends before it does, every program before the kernels, and those who
    /// keep the evidence last: each may have something to say on the bus, and to put on record, to the last.
    fn stop_in_order(&mut self) {
        for name in self.names(|p| matches!(p, Phase::Waiting | Phase::BackingOff { .. })) {
            let why = Why::because("shutdown.withheld", "the instance shuts down");
            self.record(Event::Withheld { component: name }, why, "shutdown");
        }
        let is_program =
            |s: &Self, name: &str| s.spec(name).is_some_and(|p| p.kind == ComponentKind::Process);
        let no_programs =
            self.state.components.iter().all(|(name, c)| c.phase.at_rest() || !is_program(self, name));
        for name in self.names(|p| matches!(p, Phase::Running { .. })) {
            let free =
                (no_programs || is_program(self, &name))
                    && !self.outstays(&name)
                    && self.state.plan.dependents(&name).all(|dependent| {
                        self.state.components.get(dependent).is_none_or(|c| c.phase.at_rest())
                    });
            if let (true, Phase::Running { run, .. }) = (free, self.state.components[&name].phase.clone()) {
                let why = Why::because("shutdown.order", "nothing that needs it runs any more");
                self.stop(&name, run, Then::Rest, why);
            }
        }
        if self.state.components.values().all(|c| c.phase.at_rest()) {
            let why = Why::because("shutdown.done", "no component runs any more");
            self.record(Event::ShutdownFinished, why, "shutdown");
        }
    }

    fn stop(&mut self, name: &str, run: Run, then: Then, why: Why) {
        let timeout = self.spec(name).map_or(Duration::ZERO, |s| s.shutdown.timeout);
        let event = Event::StopDecided {
            component: name.to_owned(),
            incarnation: run.incarnation,
            then,
            kill_at: self.now.mono.plus(timeout),
        };
        self.record(event, why, "shutdown signal");
    }

    fn spec(&self, name: &str) -> Option<std::sync::Arc<ProcessSpec>> {
        self.state.plan.spec(name).cloned()
    }
}

/// Back-off before the restart that follows `short_runs` short runs in a row: none for up to one.
fn delay(backoff: &Backoff, short_runs: u32, entropy: &mut SeededEntropy) -> Duration {
    if short_runs < 2 {
        return Duration::ZERO;
    }
    let exponent = i32::try_from(short_runs - 2).unwrap_or(i32::MAX);
    let base = backoff.initial.as_secs_f64() * backoff.factor.max(1.0).powi(exponent);
    let base = base.min(backoff.max.as_secs_f64());
    let spread = base * backoff.jitter.clamp(0.0, 1.0) * entropy.unit();
    Duration::try_from_secs_f64(base + spread).unwrap_or(backoff.max)
}

fn seconds(d: Duration) -> String {
    if d < Duration::from_secs(1) {
        format!("{} ms", d.as_millis())
    } else {
        format!("{:.1} s", d.as_secs_f64())
    }
}

/// What `name` waits for, for people: `redis (ready), setup (completed_successfully)`.
#[must_use]
pub fn waiting_for(state: &State, name: &str) -> Option<String> {
    let condition = |c| match c {
        Condition::Started => "started",
        Condition::Ready => "ready",
        Condition::Completed => "completed",
        Condition::CompletedSuccessfully => "completed successfully",
    };
    let unmet: Vec<String> = state.unmet(name).map(|(n, c)| format!("{n} ({})", condition(c))).collect();
    (!unmet.is_empty()).then(|| format!("waiting for {}", unmet.join(", ")))
}

/// The earliest time at which [`decide`] has something to do by itself; [`Input::Tick`] is due then.
#[must_use]
pub fn next_deadline(state: &State) -> Option<Monotonic> {
    state.next_deadline()
}
