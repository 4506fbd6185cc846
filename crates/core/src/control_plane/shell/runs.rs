//! The shell's hands on processes: starting a run, watching its end, reading its output.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
};

use grace_types::{
    id::IncarnationId,
    manifest::{Check, ProcessSpec},
};
use rustix::{io::Errno, process::Pid};

use super::Shell;
use crate::{
    control_plane::processes::{self, Pipe},
    guardian::channel::{PACKET_DESCRIPTORS, ToGuardian},
    output::Attachment,
    procfs,
    supervisor::Input,
};

/// A run about to be started, with the pipes for its output.
struct Start {
    component: String,
    incarnation: IncarnationId,
    pipes: io::Result<(Pipe, Pipe)>,
}

impl Start {
    fn new(component: String, incarnation: IncarnationId) -> Self {
        let pipes = Pipe::new().and_then(|out| Ok((out, Pipe::new()?)));
        Self { component, incarnation, pipes }
    }
}

/// A run that was started.
struct Started {
    pid: Pid,
    spec: Arc<ProcessSpec>,
    incarnation: IncarnationId,
    stdout: OwnedFd,
    stderr: OwnedFd,
}

/// A run that could not be started.
struct NotStarted {
    component: String,
    incarnation: IncarnationId,
    error: io::Error,
}

impl Shell {
    /// Starts these runs, all before any of them is looked after: what is started first does not wait for bookkeeping.
    pub(super) fn start_runs(&mut self, runs: Vec<(String, IncarnationId)>) -> Vec<Input> {
        let mut starts: Vec<Start> =
            runs.into_iter().map(|(component, run)| Start::new(component, run)).collect();
        // The guardian has the read ends before anything can be written: output outlives this control plane.
        for batch in starts.chunks(PACKET_DESCRIPTORS / 2) {
            let pipes = batch.iter().filter_map(|start| Some((start, start.pipes.as_ref().ok()?)));
            let (mut names, mut fds) = (Vec::new(), Vec::new());
            for (start, (out, err)) in pipes {
                names.extend(
                    ["out", "err"].map(|s| processes::kept_name(s, &start.component, start.incarnation)),
                );
                fds.extend([out.read.as_fd(), err.read.as_fd()]);
            }
            if let Some(guardian) = self.guardian.as_mut().filter(|_| !names.is_empty()) {
                // An error means that it died, which the loop hears from the channel itself.
                let _ = guardian.send(&ToGuardian::Keep { names }, &fds);
            }
        }
        let started: Vec<Result<Started, NotStarted>> =
            starts.drain(..).map(|start| self.start_run(start)).collect();
        started.into_iter().map(|started| self.look_after(started)).collect()
    }

    fn start_run(&mut self, start: Start) -> Result<Started, NotStarted> {
        let Start { component, incarnation, pipes } = start;
        let attempt = || {
            let (out, err) = pipes?;
            let spec = self.state.plan.spec(&component).cloned();
            let spec = spec.ok_or_else(|| io::Error::other("no such component"))?;
            let ours = |pid| processes::is_ours(pid, self.volatile.guardian_pid, &self.instance);
            let (group, lost) = self.groups.place(&component, &spec.resources, &ours);
            if let Some(lost) = lost {
                self.warn(lost);
            }
            let in_group = group.is_some();
            let environment = processes::environment(&spec, incarnation, &self.instance, &self.credentials);
            let pid = processes::start(&spec, environment, (out.write, err.write), &self.kept, group)?;
            if in_group
                && let Some(lost) =
                    self.groups.check_joined(&component, pid.as_raw_nonzero().get().unsigned_abs())
            {
                self.warn(lost);
            }
            Ok((pid, spec, out.read, err.read))
        };
        match attempt() {
            Ok((pid, spec, stdout, stderr)) => Ok(Started { pid, spec, incarnation, stdout, stderr }),
            Err(error) => Err(NotStarted { component, incarnation, error }),
        }
    }

    fn look_after(&mut self, started: Result<Started, NotStarted>) -> Input {
        match started {
            Ok(Started { pid, spec, incarnation, stdout, stderr }) => {
                let pid = pid.as_raw_nonzero().get().unsigned_abs();
                self.watch_exit(&spec.name, incarnation, pid);
                self.attach(&spec, incarnation, Some(stdout), Some(stderr));
                let start_ticks = procfs::start_ticks(pid).unwrap_or_default();
                Input::Spawned { component: spec.name.clone(), incarnation, pid, start_ticks }
            }
            Err(NotStarted { component, incarnation, error }) => {
                self.forget_streams(&component, incarnation);
                Input::SpawnFailed { component, incarnation, error: error.to_string() }
            }
        }
    }

    pub(super) fn watch_exit(&mut self, component: &str, incarnation: IncarnationId, pid: u32) {
        let number = pid;
        let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return };
        match processes::watch(pid, component.to_owned(), incarnation, self.happened.clone()) {
            Ok(()) => {}
            // Adopted, and it ended since it was seen alive: the guardian has its status.
            Err(error) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => {
                self.ended_unseen(component.to_owned(), incarnation, number);
            }
            Err(error) => {
                self.warn(format!(
                    "the end of `{component}` (pid {number}) cannot be waited for yet: {error}"
                ));
                self.unwatched.push((component.to_owned(), incarnation, number));
            }
        }
    }

    /// Tries again what could not be watched.
    pub(super) fn watch_again(&mut self) {
        for (component, incarnation, pid) in std::mem::take(&mut self.unwatched) {
            self.watch_exit(&component, incarnation, pid);
        }
    }

    pub(super) fn attach(
        &mut self,
        spec: &ProcessSpec,
        incarnation: IncarnationId,
        stdout: Option<OwnedFd>,
        stderr: Option<OwnedFd>,
    ) {
        let ready_line = match spec.readiness.as_ref().map(|p| &p.check) {
            Some(Check::LogLine { pattern }) => regex::Regex::new(pattern).ok(),
            _ => None,
        };
        let attached = self.collector.attach(Attachment {
            component: spec.name.clone(),
            incarnation,
            stdout,
            stderr,
            settings: spec.log.clone(),
            path: self.instance.log(&spec.name),
            ready_line,
        });
        if let Err(busy) = attached {
            self.warn(format!("the output of `{}` is not captured: {busy}", spec.name));
        }
    }

    /// Goes on reading what processes that outlived the last control plane print.
    pub(super) fn attach_kept(&mut self, mut streams: BTreeMap<String, OwnedFd>) {
        while let Some((name, stderr)) = streams.pop_first() {
            let Some((component, run)) = name.strip_prefix("err/").and_then(|rest| rest.split_once('/'))
            else {
                continue;
            };
            let stdout = streams.remove(&format!("out/{component}/{run}"));
            let (component, stderr) = (component.to_owned(), Some(stderr));
            if let (Some(spec), Ok(incarnation)) = (self.state.plan.spec(&component).cloned(), run.parse()) {
                self.attach(&spec, incarnation, stdout, stderr);
            }
        }
    }

    pub(super) fn forget_streams(&mut self, component: &str, incarnation: IncarnationId) {
        for stream in ["out", "err"] {
            let name = processes::kept_name(stream, component, incarnation);
            self.tell_guardian(&ToGuardian::Forget { name });
        }
    }
}
