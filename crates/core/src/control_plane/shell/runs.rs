//! The shell's hands on processes: starting a run, watching its end, reading its output.

use std::{collections::BTreeMap, io, os::fd::OwnedFd};

use grace_types::{
    id::IncarnationId,
    manifest::{Check, ProcessSpec},
};
use rustix::process::Pid;

use super::Shell;
use crate::{
    control_plane::processes, guardian::channel::ToGuardian, output::Attachment, procfs, supervisor::Input,
};

impl Shell {
    pub(super) fn spawn(&mut self, component: &str, incarnation: IncarnationId) -> Input {
        match self.try_spawn(component, incarnation) {
            Ok((pid, start_ticks)) => {
                Input::Spawned { component: component.to_owned(), incarnation, pid, start_ticks }
            }
            Err(error) => {
                Input::SpawnFailed { component: component.to_owned(), incarnation, error: error.to_string() }
            }
        }
    }

    pub(super) fn try_spawn(
        &mut self,
        component: &str,
        incarnation: IncarnationId,
    ) -> io::Result<(u32, u64)> {
        let spec =
            self.state.plan.spec(component).cloned().ok_or_else(|| io::Error::other("no such component"))?;
        let environment = processes::environment(&spec, incarnation, &self.instance, &self.credentials);
        let (out, err) = (processes::Pipe::new()?, processes::Pipe::new()?);
        // The guardian has the read ends before anything can be written: output outlives this control plane.
        for (stream, pipe) in [("out", &out), ("err", &err)] {
            let name = processes::kept_name(stream, component, incarnation);
            self.tell_guardian(&ToGuardian::Keep { name }, Some(&pipe.read));
        }
        let started = processes::start(&spec, environment, (out.write, err.write), &self.kept);
        let pid = match started {
            Ok(pid) => pid,
            Err(error) => {
                self.forget_streams(component, incarnation);
                return Err(error);
            }
        };
        self.attach(&spec, incarnation, Some(out.read), Some(err.read));
        let pid = pid.as_raw_nonzero().get().unsigned_abs();
        self.watch_exit(component, incarnation, pid);
        Ok((pid, procfs::start_ticks(pid).unwrap_or_default()))
    }

    pub(super) fn watch_exit(&mut self, component: &str, incarnation: IncarnationId, pid: u32) {
        let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return };
        if let Err(error) = processes::watch(pid, component.to_owned(), incarnation, self.happened.clone()) {
            self.warn(format!("`{component}` (pid {pid:?}) cannot be watched: {error}"));
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
        while let Some((name, _)) = streams.first_key_value() {
            let mut parts = name.splitn(3, '/').skip(1).map(str::to_owned);
            let (Some(component), Some(run)) = (parts.next(), parts.next()) else {
                streams.pop_first();
                continue;
            };
            let stdout = streams.remove(&format!("out/{component}/{run}"));
            let stderr = streams.remove(&format!("err/{component}/{run}"));
            if let (Some(spec), Ok(incarnation)) = (self.state.plan.spec(&component).cloned(), run.parse()) {
                self.attach(&spec, incarnation, stdout, stderr);
            }
        }
    }

    pub(super) fn forget_streams(&mut self, component: &str, incarnation: IncarnationId) {
        for stream in ["out", "err"] {
            let name = processes::kept_name(stream, component, incarnation);
            self.tell_guardian(&ToGuardian::Forget { name }, None);
        }
    }
}
