//! The supervisor's state, and how events change it.

use std::collections::{BTreeMap, VecDeque};

use grace_types::{
    id::{BootId, IncarnationId},
    manifest::Condition,
    time::{Monotonic, Now, Timestamp},
};
use serde::{Deserialize, Serialize};

use super::{
    event::{Event, Exit, Outcome, Then},
    plan::Plan,
};
use crate::status::ComponentState;

/// Everything that the supervisor knows. Rebuilt by replaying its journal over a [`Plan`].
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct State {
    /// What is to be supervised. Not part of the journal: it comes from the manifest of this boot.
    #[serde(skip)]
    pub plan: Plan,
    /// The boot that this state belongs to.
    pub boot: Option<BootId>,
    /// When it began.
    pub since: Timestamp,
    /// How often a new control plane took over in this boot.
    pub take_overs: u32,
    /// One entry a component of the plan.
    pub components: BTreeMap<String, Component>,
    /// The emergency under way.
    pub emergency: Option<Emergency>,
    /// How the last emergency went, so that one that returns soon counts on.
    pub last_emergency: Option<(Monotonic, u32)>,
    /// Whether everything is being stopped.
    pub shutdown: bool,
    /// Whether everything has been stopped.
    pub finished: bool,
}

/// An emergency under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Emergency {
    /// When it was declared.
    pub since: Monotonic,
    /// 1 for the first declaration since all was well.
    pub round: u32,
}

/// One component.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Component {
    /// What it is doing.
    pub phase: Phase,
    /// Since when, for people.
    pub since: Timestamp,
    /// Restarts since boot.
    pub restarts: u32,
    /// When restarts were scheduled, within the window of its availability.
    pub window: VecDeque<Monotonic>,
    /// Runs in a row that ended before they were sound.
    pub short_runs: u32,
    /// Whether it was ready at least once in this boot.
    pub seen_ready: bool,
    /// Why it is in this phase, for people.
    pub reason: String,
    /// What went wrong since it was last ready, for people: it stands while the next runs begin.
    #[serde(default)]
    pub trouble: String,
}

/// One run of a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Names it.
    pub incarnation: IncarnationId,
    /// Its process.
    pub pid: u32,
    /// The process's start time in clock ticks since boot.
    pub start_ticks: u64,
    /// When it was started.
    pub started: Monotonic,
    /// Whether it has become ready.
    pub ready: bool,
    /// While a fault mutes its life line: when that ends at the latest. It is part of the run, so it ends with it; a new control
    /// plane finds it in the journal and keeps the deadline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub muted_until: Option<Monotonic>,
}

/// What a component is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum Phase {
    /// It may start as soon as what it needs is there.
    Waiting,
    /// It may start at this time.
    BackingOff {
        /// When.
        due: Monotonic,
    },
    /// The shell was told to start it.
    Spawning {
        /// Names the run to be.
        incarnation: IncarnationId,
    },
    /// It runs.
    Running {
        /// The run.
        run: Run,
        /// Whether an operator stopped it in place.
        paused: bool,
    },
    /// It was told to end.
    Stopping {
        /// The run.
        run: Run,
        /// What follows.
        then: Then,
        /// When it is killed; `None` once it was.
        kill_at: Option<Monotonic>,
    },
    /// It ended, and its policy asks for no restart.
    Completed {
        /// How.
        exit: Exit,
    },
    /// It ran out of restarts.
    GaveUp {
        /// What that means.
        outcome: Outcome,
    },
    /// It does not run because the instance shuts down.
    Resting,
}

impl Phase {
    /// The run that has a live process, if there is one.
    #[must_use]
    pub const fn run(&self) -> Option<&Run> {
        match self {
            Self::Running { run, .. } | Self::Stopping { run, .. } => Some(run),
            Self::Waiting
            | Self::BackingOff { .. }
            | Self::Spawning { .. }
            | Self::Completed { .. }
            | Self::GaveUp { .. }
            | Self::Resting => None,
        }
    }

    /// The run that this phase is about, live or about to be.
    #[must_use]
    pub const fn incarnation(&self) -> Option<IncarnationId> {
        match self {
            Self::Spawning { incarnation } => Some(*incarnation),
            Self::Running { run, .. } | Self::Stopping { run, .. } => Some(run.incarnation),
            Self::Waiting
            | Self::BackingOff { .. }
            | Self::Completed { .. }
            | Self::GaveUp { .. }
            | Self::Resting => None,
        }
    }

    /// Whether nothing runs and nothing is about to.
    #[must_use]
    pub const fn at_rest(&self) -> bool {
        matches!(self, Self::Completed { .. } | Self::GaveUp { .. } | Self::Resting)
    }
}

impl Component {
    /// A component that has not been started in this boot.
    #[must_use]
    pub fn fresh(since: Timestamp) -> Self {
        Self {
            phase: Phase::Waiting,
            since,
            restarts: 0,
            window: VecDeque::new(),
            short_runs: 0,
            seen_ready: false,
            reason: String::new(),
            trouble: String::new(),
        }
    }

    /// Whether it is ready now.
    #[must_use]
    pub const fn is_ready(&self) -> bool {
        matches!(&self.phase, Phase::Running { run, .. } if run.ready)
    }

    /// The state that `grace status` shows.
    #[must_use]
    pub fn shown(&self) -> ComponentState {
        match &self.phase {
            Phase::Waiting | Phase::BackingOff { .. } | Phase::Spawning { .. } if self.restarts > 0 => {
                ComponentState::Restarting
            }
            Phase::Waiting | Phase::BackingOff { .. } | Phase::Spawning { .. } => ComponentState::Starting,
            Phase::Running { paused: true, .. } => ComponentState::Paused,
            Phase::Running { run, .. } if run.ready => ComponentState::Ready,
            Phase::Running { .. } if self.restarts > 0 => ComponentState::Restarting,
            Phase::Running { .. } => ComponentState::Starting,
            Phase::Stopping { then: Then::Rest, .. } => ComponentState::Stopping,
            Phase::Completed { .. } | Phase::Resting => ComponentState::Stopped,
            Phase::Stopping { .. } => ComponentState::Restarting,
            Phase::GaveUp { outcome: Outcome::Failed } => ComponentState::Failed,
            Phase::GaveUp { outcome: Outcome::Degraded } => ComponentState::Degraded,
        }
    }
}

impl State {
    /// A state in which nothing has happened yet.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        let components = plan.specs().map(|s| (s.name.clone(), Component::fresh(Timestamp::EPOCH))).collect();
        Self { plan, components, ..Self::default() }
    }

    /// Whether `condition` holds of the component `name`.
    #[must_use]
    pub fn holds(&self, name: &str, condition: Condition) -> bool {
        let Some(component) = self.components.get(name) else { return false };
        match condition {
            Condition::Started => {
                matches!(
                    component.phase,
                    Phase::Running { .. } | Phase::Stopping { .. } | Phase::Completed { .. }
                )
            }
            Condition::Ready => component.is_ready(),
            Condition::Completed => matches!(component.phase, Phase::Completed { .. } | Phase::GaveUp { .. }),
            Condition::CompletedSuccessfully => {
                matches!(component.phase, Phase::Completed { exit } if exit.is_success())
            }
        }
    }

    /// Whether this is the main process of a component.
    #[must_use]
    pub fn is_main(&self, pid: u32) -> bool {
        self.components.values().any(|c| c.phase.run().is_some_and(|run| run.pid == pid))
    }

    /// What `name` still waits for.
    pub fn unmet<'a>(&'a self, name: &str) -> impl Iterator<Item = (&'a str, Condition)> {
        let needs = self.plan.spec(name).map(|s| &s.depends_on);
        needs.into_iter().flatten().filter(|(n, c)| !self.holds(n, **c)).map(|(n, c)| (n.as_str(), *c))
    }

    /// When the supervisor next has something to do by itself.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Monotonic> {
        let heard_again = self.components.values().filter_map(|c| c.phase.run()?.muted_until).min();
        let of = |(name, c): (&String, &Component)| match &c.phase {
            // One that also waits for another component is started by what it waits for, not by time.
            Phase::BackingOff { due } => self.unmet(name).next().is_none().then_some(*due),
            Phase::Stopping { kill_at, .. } => *kill_at,
            Phase::Waiting
            | Phase::Spawning { .. }
            | Phase::Running { .. }
            | Phase::Completed { .. }
            | Phase::GaveUp { .. }
            | Phase::Resting => None,
        };
        self.components.iter().filter_map(of).chain(heard_again).min()
    }

    /// Takes in a decision. `reason` is kept for people; `now` only says since when.
    pub fn evolve(&mut self, event: &Event, reason: &str, now: Now) {
        if let Some(name) = event.component() {
            if let Some(component) = self.components.get_mut(name) {
                component.evolve(event, reason, now);
            }
            return;
        }
        match event {
            Event::Booted { boot, .. } => {
                *self = Self { boot: Some(*boot), since: now.wall, ..Self::new(self.plan.clone()) };
                for component in self.components.values_mut() {
                    component.since = now.wall;
                }
            }
            Event::TookOver { .. } => self.take_overs += 1,
            Event::EmergencyDeclared { round, .. } => {
                let since = self.emergency.map_or(now.mono, |e| e.since);
                self.emergency = Some(Emergency { since, round: *round });
            }
            Event::EmergencyResolved { .. } => {
                self.last_emergency = self.emergency.take().map(|e| (now.mono, e.round));
            }
            Event::ShutdownBegun { .. } => self.shutdown = true,
            Event::ShutdownFinished => self.finished = true,
            // Events about a component were handled above.
            Event::StartDecided { .. }
            | Event::Started { .. }
            | Event::StartFailed { .. }
            | Event::BecameReady { .. }
            | Event::Exited { .. }
            | Event::HangDetected { .. }
            | Event::RestartScheduled { .. }
            | Event::StopDecided { .. }
            | Event::KillDecided { .. }
            | Event::Paused { .. }
            | Event::Resumed { .. }
            | Event::LifeLineMuted { .. }
            | Event::LifeLineUnmuted { .. }
            | Event::FaultUndone { .. }
            | Event::Completed { .. }
            | Event::Withheld { .. }
            | Event::GaveUp { .. }
            | Event::CountersCleared { .. } => {}
        }
    }
}

impl Component {
    fn evolve(&mut self, event: &Event, reason: &str, now: Now) {
        let before = self.shown();
        self.note_trouble(event, reason);
        match event {
            Event::StartDecided { incarnation, .. } => {
                self.phase = Phase::Spawning { incarnation: *incarnation };
            }
            Event::Started { incarnation, pid, start_ticks, at, .. } => {
                let run = Run {
                    incarnation: *incarnation,
                    pid: *pid,
                    start_ticks: *start_ticks,
                    started: *at,
                    ready: false,
                    muted_until: None,
                };
                self.phase = Phase::Running { run, paused: false };
            }
            Event::BecameReady { .. } => {
                if let Phase::Running { run, .. } | Phase::Stopping { run, .. } = &mut self.phase {
                    run.ready = true;
                }
                self.seen_ready = true;
            }
            Event::Exited { .. } | Event::StartFailed { .. } | Event::HangDetected { .. } => {}
            Event::RestartScheduled { due, in_window, short_runs, at, .. } => {
                self.restarts += 1;
                self.short_runs = *short_runs;
                // One that is nobody's failure is not counted.
                if *in_window > 0 {
                    self.window.push_back(*at);
                    while self.window.len() > *in_window as usize {
                        self.window.pop_front();
                    }
                }
                self.phase = if due == at { Phase::Waiting } else { Phase::BackingOff { due: *due } };
            }
            Event::StopDecided { then, kill_at, .. } => {
                if let Some(run) = self.phase.run().copied() {
                    self.phase = Phase::Stopping { run, then: *then, kill_at: Some(*kill_at) };
                }
            }
            Event::KillDecided { then, .. } => {
                if let Some(run) = self.phase.run().copied() {
                    self.phase = Phase::Stopping { run, then: *then, kill_at: None };
                }
            }
            Event::Paused { .. } | Event::Resumed { .. } => {
                if let Phase::Running { paused, .. } = &mut self.phase {
                    *paused = matches!(event, Event::Paused { .. });
                }
            }
            Event::LifeLineMuted { until, .. } => self.mute(Some(*until)),
            Event::LifeLineUnmuted { .. } => self.mute(None),
            // A record only: what it hit shows by itself.
            Event::FaultUndone { .. } => return,
            Event::Completed { exit, .. } => self.phase = Phase::Completed { exit: *exit },
            Event::Withheld { .. } => self.phase = Phase::Resting,
            Event::GaveUp { outcome, .. } => self.phase = Phase::GaveUp { outcome: *outcome },
            Event::CountersCleared { .. } => {
                self.window.clear();
                self.short_runs = 0;
                if matches!(self.phase, Phase::BackingOff { .. }) || self.phase.at_rest() {
                    self.phase = Phase::Waiting;
                }
            }
            // Events about the instance never come here.
            Event::Booted { .. }
            | Event::TookOver { .. }
            | Event::EmergencyDeclared { .. }
            | Event::EmergencyResolved { .. }
            | Event::ShutdownBegun { .. }
            | Event::ShutdownFinished => {}
        }
        reason.clone_into(&mut self.reason);
        if self.shown() != before {
            self.since = now.wall;
        }
    }

    const fn mute(&mut self, until: Option<Monotonic>) {
        if let Phase::Running { run, .. } | Phase::Stopping { run, .. } = &mut self.phase {
            run.muted_until = until;
        }
    }

    fn note_trouble(&mut self, event: &Event, reason: &str) {
        match (event, &self.phase) {
            (Event::BecameReady { .. } | Event::Completed { .. }, _) => self.trouble.clear(),
            (Event::HangDetected { .. } | Event::StartFailed { .. }, _)
            | (Event::Exited { .. }, Phase::Running { .. }) => reason.clone_into(&mut self.trouble),
            // Else its end was asked for: by whoever wants it to rest or anew, or because it hung, which says more.
            _ => {}
        }
    }
}
