//! What each running process is watched for: heartbeats, probes, its start timeout. Pure: time comes in, findings go out.
//!
//! A heartbeat moves a deadline and decides nothing; only a deadline that passes becomes an [`Input::Hung`], and only a
//! probe that reaches its threshold an [`Input::Ready`] or [`Input::Hung`]. So the supervisor hears findings, not noise.

use std::{collections::BTreeMap, time::Duration};

use grace_types::{
    id::IncarnationId,
    manifest::{Check, Probe, ProcessSpec},
    time::Monotonic,
};

use crate::{
    notify::Notification,
    probe::{ProbeSchedule, Verdict},
    supervisor::{Hang, Input},
};

/// Which probe of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Probing {
    /// Must succeed before the others begin.
    Startup,
    /// Until it is ready.
    Readiness,
    /// While it runs.
    Liveness,
}

/// A check that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DueCheck {
    /// Whose.
    pub(super) component: String,
    /// Of which run.
    pub(super) incarnation: IncarnationId,
    /// Which probe.
    pub(super) probing: Probing,
    /// What is checked.
    pub(super) check: Check,
    /// A check that takes longer has failed.
    pub(super) timeout: Duration,
}

/// Everything that is watched.
#[derive(Debug, Default)]
pub(super) struct Detectors {
    watched: BTreeMap<String, Watched>,
}

#[derive(Debug)]
struct Watched {
    incarnation: IncarnationId,
    watchdog: Option<Watchdog>,
    ready: bool,
    ready_by: Option<Monotonic>,
    waiting_for: String,
    startup: Option<ProbeSchedule>,
    readiness: Option<ProbeSchedule>,
    liveness: Option<ProbeSchedule>,
}

#[derive(Debug, Clone, Copy)]
struct Watchdog {
    interval: Duration,
    last: Monotonic,
    deadline: Monotonic,
}

impl Watchdog {
    fn new(interval: Duration, now: Monotonic) -> Self {
        Self { interval, last: now, deadline: now.plus(interval) }
    }

    fn beat(&mut self, now: Monotonic) {
        self.last = now;
        self.deadline = self.deadline.max(now.plus(self.interval));
    }
}

impl Detectors {
    /// Begins to watch a run. `ready`: it was ready before (it was adopted, or is resumed). Returns what is found at once:
    /// a process that has nothing to wait for is ready because it runs.
    pub(super) fn watch(
        &mut self,
        spec: &ProcessSpec,
        incarnation: IncarnationId,
        ready: bool,
        now: Monotonic,
    ) -> Option<Input> {
        let checked = |probe: &Option<Probe>| {
            probe.clone().filter(|p| !matches!(p.check, Check::Notify | Check::LogLine { .. }))
        };
        let waited_for = |probe| checked(probe).filter(|_| !ready).map(|p| ProbeSchedule::eager(p, now));
        let runs_is_ready = spec.readiness.is_none() && spec.startup.is_none();
        let mut watched = Watched {
            incarnation,
            // Heartbeats are owed once the process is ready: until then its start timeout bounds it.
            watchdog: spec.watchdog.filter(|_| ready).map(|interval| Watchdog::new(interval, now)),
            ready,
            ready_by: (!ready && !runs_is_ready).then(|| now.plus(spec.start_timeout)),
            waiting_for: describe(spec),
            startup: waited_for(&spec.startup),
            readiness: waited_for(&spec.readiness),
            liveness: checked(&spec.liveness).map(|p| ProbeSchedule::new(p, now)),
        };
        let found = (!ready && runs_is_ready).then(|| {
            watched.ready = true;
            watched.watchdog = spec.watchdog.map(|interval| Watchdog::new(interval, now));
            ready_input(&spec.name, incarnation, "running")
        });
        self.watched.insert(spec.name.clone(), watched);
        found
    }

    /// Stops watching a component.
    pub(super) fn unwatch(&mut self, component: &str) {
        self.watched.remove(component);
    }

    /// Takes in what a process said on the life line.
    pub(super) fn notified(
        &mut self,
        spec: &ProcessSpec,
        incarnation: IncarnationId,
        said: &Notification,
        now: Monotonic,
    ) -> Option<Input> {
        let watched = self.watched.get_mut(&spec.name).filter(|w| w.incarnation == incarnation)?;
        match said {
            Notification::Ready => {
                let awaited = matches!(spec.readiness.as_ref().map(|p| &p.check), Some(Check::Notify));
                if watched.ready || !awaited || watched.startup.is_some() {
                    return None;
                }
                watched.become_ready(spec, now);
                Some(ready_input(&spec.name, incarnation, "READY=1"))
            }
            Notification::Watchdog => {
                if let Some(watchdog) = &mut watched.watchdog {
                    watchdog.beat(now);
                }
                None
            }
            Notification::WatchdogTrigger => {
                Some(Input::Hung { component: spec.name.clone(), incarnation, hang: Hang::Triggered })
            }
            Notification::WatchdogInterval(interval) => {
                if let Some(watchdog) = &mut watched.watchdog {
                    *watchdog = Watchdog::new(*interval, now);
                }
                None
            }
            Notification::ExtendTimeout(by) => {
                let until = now.plus((*by).min(LONGEST_EXTENSION));
                if let Some(ready_by) = &mut watched.ready_by {
                    *ready_by = (*ready_by).max(until);
                }
                if let Some(watchdog) = &mut watched.watchdog {
                    watchdog.deadline = watchdog.deadline.max(until);
                }
                None
            }
            _ => None,
        }
    }

    /// A line of output matched `ready_log_line`.
    pub(super) fn line_matched(
        &mut self,
        spec: &ProcessSpec,
        incarnation: IncarnationId,
        now: Monotonic,
    ) -> Option<Input> {
        let watched = self.watched.get_mut(&spec.name)?;
        if watched.incarnation != incarnation || watched.ready {
            return None;
        }
        watched.become_ready(spec, now);
        Some(ready_input(&spec.name, incarnation, "a line of its output"))
    }

    /// A check ended.
    pub(super) fn probed(
        &mut self,
        spec: &ProcessSpec,
        incarnation: IncarnationId,
        probing: Probing,
        result: Result<(), String>,
        now: Monotonic,
    ) -> Option<Input> {
        let watched = self.watched.get_mut(&spec.name).filter(|w| w.incarnation == incarnation)?;
        let schedule = match probing {
            Probing::Startup => &mut watched.startup,
            Probing::Readiness => &mut watched.readiness,
            Probing::Liveness => &mut watched.liveness,
        };
        // A check that was started before a pause says nothing about the time after it.
        let schedule = schedule.as_mut().filter(|schedule| schedule.is_running())?;
        let verdict = schedule.finish(result.is_ok());
        if let Err(reason) = &result
            && probing != Probing::Liveness
        {
            watched.waiting_for = format!("{}; the last check said: {reason}", describe(spec));
        }
        match (probing, verdict) {
            (Probing::Startup, Some(Verdict::Succeeded)) => {
                watched.startup = None;
                if spec.readiness.is_none() {
                    watched.become_ready(spec, now);
                    return Some(ready_input(&spec.name, incarnation, "its startup probe"));
                }
                None
            }
            (Probing::Readiness, Some(Verdict::Succeeded)) => {
                watched.become_ready(spec, now);
                Some(ready_input(&spec.name, incarnation, "its readiness probe"))
            }
            (Probing::Liveness, Some(Verdict::Failed)) => {
                let reason = result.err().unwrap_or_default();
                let hang = Hang::Liveness { reason };
                Some(Input::Hung { component: spec.name.clone(), incarnation, hang })
            }
            _ => None,
        }
    }

    /// What is due now: findings, and checks to run.
    pub(super) fn due(&mut self, now: Monotonic) -> (Vec<Input>, Vec<DueCheck>) {
        let (mut found, mut checks) = (Vec::new(), Vec::new());
        for (component, watched) in &mut self.watched {
            let incarnation = watched.incarnation;
            if let Some(hang) = watched.overdue(now) {
                found.push(Input::Hung { component: component.clone(), incarnation, hang });
                continue;
            }
            for (probing, schedule) in watched.active() {
                if schedule.start(now) {
                    let (check, timeout) = (schedule.probe().check.clone(), schedule.probe().timeout);
                    checks.push(DueCheck {
                        component: component.clone(),
                        incarnation,
                        probing,
                        check,
                        timeout,
                    });
                }
            }
        }
        (found, checks)
    }

    /// Seconds since each component's last heartbeat, for those that owe heartbeats.
    pub(super) fn heartbeat_ages(&self, now: Monotonic) -> BTreeMap<String, f64> {
        let age = |w: &Watched| w.watchdog.map(|watchdog| now.since(watchdog.last).as_secs_f64());
        self.watched.iter().filter_map(|(name, w)| Some((name.clone(), age(w)?))).collect()
    }

    /// When [`Detectors::due`] next has something to say.
    pub(super) fn next_deadline(&mut self) -> Option<Monotonic> {
        self.watched.values_mut().filter_map(Watched::next_deadline).min()
    }

    /// Grants every process the time `late` that the control plane itself lost (it was stopped, or the machine was): what
    /// was not heard in it says nothing.
    pub(super) fn forgive(&mut self, late: Duration) {
        for watched in self.watched.values_mut() {
            if let Some(watchdog) = &mut watched.watchdog {
                watchdog.deadline = watchdog.deadline.plus(late + watchdog.interval);
            }
            watched.ready_by = watched.ready_by.map(|at| at.plus(late));
        }
    }
}

impl Watched {
    fn become_ready(&mut self, spec: &ProcessSpec, now: Monotonic) {
        self.ready = true;
        self.ready_by = None;
        self.readiness = None;
        self.startup = None;
        self.watchdog = spec.watchdog.map(|interval| Watchdog::new(interval, now));
    }

    fn overdue(&mut self, now: Monotonic) -> Option<Hang> {
        if let Some(watchdog) = self.watchdog.filter(|w| w.deadline <= now) {
            self.watchdog = None;
            return Some(Hang::Watchdog { silent: now.since(watchdog.last) });
        }
        if self.ready_by.is_some_and(|at| at <= now) {
            self.ready_by = None;
            return Some(Hang::StartTimeout { reason: self.waiting_for.clone() });
        }
        None
    }

    /// The probes whose turn it is.
    fn active(&mut self) -> impl Iterator<Item = (Probing, &mut ProbeSchedule)> {
        let starting = self.startup.is_some();
        let (readiness, liveness) = (!starting, !starting && self.ready);
        [
            self.startup.as_mut().map(|s| (Probing::Startup, s)),
            self.readiness.as_mut().filter(|_| readiness).map(|s| (Probing::Readiness, s)),
            self.liveness.as_mut().filter(|_| liveness).map(|s| (Probing::Liveness, s)),
        ]
        .into_iter()
        .flatten()
    }

    fn next_deadline(&mut self) -> Option<Monotonic> {
        let timers = [self.watchdog.map(|w| w.deadline), self.ready_by];
        let probes = self.active().filter_map(|(_, s)| s.deadline()).min();
        timers.into_iter().flatten().chain(probes).min()
    }
}

/// The longest time that a program can ask for with `EXTEND_TIMEOUT_USEC`; one that needs more asks again.
const LONGEST_EXTENSION: Duration = Duration::from_secs(3600);

fn ready_input(component: &str, incarnation: IncarnationId, how: &'static str) -> Input {
    Input::Ready { component: component.to_owned(), incarnation, how }
}

/// What a process that is not ready is waited for, for people.
fn describe(spec: &ProcessSpec) -> String {
    let seconds = spec.start_timeout.as_secs_f64();
    let what = match spec.startup.as_ref().or(spec.readiness.as_ref()).map(|p| &p.check) {
        None => return "it runs".to_owned(),
        Some(Check::Notify) => "it did not send READY=1 to $NOTIFY_SOCKET".to_owned(),
        Some(Check::LogLine { pattern }) => format!("it printed no line that matches /{pattern}/"),
        Some(Check::Exec { command }) => format!("`{}` did not succeed", command.join(" ")),
        Some(Check::HttpGet { host, port, path }) => {
            format!("GET http://{host}:{port}{path} did not succeed")
        }
        Some(Check::Tcp { host, port }) => format!("nothing accepted a connection on {host}:{port}"),
    };
    format!("{what} within {seconds} s")
}

#[cfg(test)]
mod tests;
