//! What the shell does because time has passed: deadlines, checks, and a round through the house every second.

use std::{collections::BTreeSet, time::Duration};

use grace_types::{
    id::IncarnationId,
    time::{Clock, Monotonic, SystemClock},
};
use rustix::process::{Pid, Signal, WaitOptions};

use super::{HOUSEKEEPING, Shell, state_of};
use crate::{
    control_plane::{Happening, detectors::DueCheck, processes},
    guardian::{ALIVE_INTERVAL, channel::ToGuardian},
    probe, procfs,
    supervisor::{Exit, Hang, Input, Phase, decider},
};

impl Shell {
    /// When [`Shell::due`] next has something to do.
    pub(in crate::control_plane) fn next_deadline(&mut self) -> Monotonic {
        let awaited = self.awaited.values().map(|(_, _, until)| *until).min();
        [self.detectors.next_deadline(), decider::next_deadline(&self.state), awaited]
            .into_iter()
            .flatten()
            .fold(self.housekeeping, Monotonic::min)
    }

    /// Does what is due.
    pub(in crate::control_plane) fn due(&mut self) {
        let now = SystemClock.now().mono;
        if decider::next_deadline(&self.state).is_some_and(|at| at <= now) {
            self.tell(Input::Tick);
        }
        let (found, checks) = self.detectors.due(now);
        for input in found {
            self.tell(input);
        }
        for check in checks {
            self.start_check(check);
        }
        while let Some(pid) =
            self.awaited.iter().find(|(_, (_, _, until))| *until <= now).map(|(pid, _)| *pid)
        {
            if let Some((component, incarnation, _)) = self.awaited.remove(&pid) {
                self.tell(Input::Exited { component, incarnation, exit: Exit::Unknown });
            }
        }
        if self.housekeeping <= now {
            self.housekeeping = now.plus(HOUSEKEEPING);
            self.keep_house(now);
        }
    }

    /// Grants everybody the time that this process lost.
    pub(in crate::control_plane) fn forgive(&mut self, late: Duration) {
        self.detectors.forgive(late);
        self.guardian_alive = SystemClock.now().mono;
    }

    pub(super) fn start_check(&self, due: DueCheck) {
        let Some(spec) = self.state.plan.spec(&due.component) else { return };
        let environment = processes::environment(spec, due.incarnation, &self.instance, &self.credentials);
        let folder = spec.working_dir.clone();
        let happened = self.happened.clone();
        tokio::task::spawn_local(async move {
            let around = probe::Surroundings { env: &environment, cwd: folder.as_deref() };
            let result = probe::run(&due.check, due.timeout, around).await.map_err(|failure| failure.reason);
            let DueCheck { component, incarnation, probing, .. } = due;
            let _ = happened.send(Happening::Probed { component, incarnation, probing, result }).await;
        });
    }

    pub(super) fn keep_house(&mut self, now: Monotonic) {
        self.tell_guardian(&ToGuardian::Alive);
        if let Some(channel) = &mut self.guardian {
            let _ = channel.flush();
            if now.since(self.guardian_alive) > 2 * ALIVE_INTERVAL {
                // Stopped, most likely; were it dead, the channel would be closed.
                if let Some(guardian) = rustix::process::getppid() {
                    let _ = rustix::process::kill_process(guardian, Signal::CONT);
                }
                self.guardian_alive = now;
                self.warn("the guardian did not answer and was sent SIGCONT".to_owned());
            }
        }
        self.watch_again();
        self.find_stopped();
        self.reap_strays();
        self.groups.sweep();
        self.sweep_faults();
        if self.recorder.dropped > 0 {
            self.warn(format!(
                "{} decisions could not be queued for the journal; the guardian keeps them",
                self.recorder.dropped
            ));
            self.recorder.dropped = 0;
        }
    }

    /// Processes that somebody stopped (SIGSTOP): seen so in two rounds, they are hung.
    pub(super) fn find_stopped(&mut self) {
        let runs: Vec<(String, IncarnationId, u32)> = self
            .state
            .components
            .iter()
            .filter_map(|(name, c)| match &c.phase {
                Phase::Running { run, paused: false } => Some((name.clone(), run.incarnation, run.pid)),
                _ => None,
            })
            .collect();
        let mut stopped = BTreeSet::new();
        for (component, incarnation, pid) in runs {
            if state_of(pid) == Some('T') {
                stopped.insert(pid);
                if self.seen_stopped.contains(&pid) {
                    let hang = Hang::Stopped;
                    self.tell(Input::Hung { component, incarnation, hang });
                }
            }
        }
        self.seen_stopped = stopped;
    }

    /// Collects children that are nobody's main process and have ended, and ends those whose run has ended: what a stray itself had
    /// started comes to us only when the stray is gone.
    pub(super) fn reap_strays(&mut self) {
        let own = std::process::id();
        let mut ended = BTreeSet::new();
        for pid in procfs::children(own) {
            if self.state.is_main(pid) {
                continue;
            }
            match state_of(pid) {
                // A check that is a command has somebody who waits for it, and has taken its status by the next round.
                Some('Z') if self.seen_ended.contains(&pid) => {
                    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                        let _ = rustix::process::waitpid(Some(pid), WaitOptions::NOHANG);
                    }
                }
                Some('Z') => drop(ended.insert(pid)),
                Some(_) => self.end_stray(pid),
                None => {}
            }
        }
        self.seen_ended = ended;
        for pid in procfs::adopted(self.volatile.guardian_pid) {
            if pid != own && !self.state.is_main(pid) {
                self.end_stray(pid);
            }
        }
    }

    fn end_stray(&self, pid: u32) {
        let live = |run| self.state.components.values().any(|c| c.phase.incarnation() == Some(run));
        if processes::run_of(pid, &self.instance).is_some_and(|run| !live(run)) {
            processes::kill_with_group(pid);
        }
    }
}
