//! What the shell makes of each happening.

use std::{sync::Arc, time::Duration};

use grace_types::{
    id::IncarnationId,
    manifest::ProcessSpec,
    time::{Clock, SystemClock},
};
use rustix::process::Pid;
use tokio::sync::oneshot;

use super::{NOT_WRITTEN, REAP_TIME, Shell};
use crate::{
    control::{Answer, Request},
    control_plane::{Happening, server::refuse},
    guardian::channel::ToGuardian,
    notify::{Datagram, Notification},
    output::Notice,
    supervisor::{Input, Phase, Refusal, decider},
};

impl Shell {
    /// Takes one happening.
    pub(in crate::control_plane) fn happened(&mut self, happening: Happening) {
        match happening {
            Happening::Exited { component, incarnation, exit: Some(exit), .. } => {
                self.tell(Input::Exited { component, incarnation, exit });
            }
            Happening::Exited { component, incarnation, pid, exit: None } => {
                self.ended_unseen(component, incarnation, pid.as_raw_nonzero().get().unsigned_abs());
            }
            Happening::Probed { component, incarnation, probing, result } => {
                let now = SystemClock.now().mono;
                let Some(spec) = self.state.plan.spec(&component).cloned() else { return };
                if let Some(input) = self.detectors.probed(&spec, incarnation, probing, result, now) {
                    self.tell(input);
                }
            }
            Happening::Asked { request, reply } => self.answer(request, reply),
            Happening::StatusAsked { reply } => {
                let status = self.report();
                self.voice.answer(reply, &status);
            }
            Happening::Health { scores } => self.volatile.health = scores,
            Happening::Written { upto } => {
                self.volatile.warnings.retain(|w| !w.starts_with(NOT_WRITTEN));
                self.tell_guardian(&ToGuardian::Written { upto });
                self.release(upto, None);
            }
            Happening::Swept { swept } => self.swept(swept),
            Happening::SetAside { detail, path } => {
                self.warn(detail);
                self.voice.ship_rest(path);
            }
            Happening::NotWritten { detail } => {
                let text = format!(
                    "{NOT_WRITTEN}: {detail}; decisions wait in memory, and are written when it can be"
                );
                self.warn_instead(NOT_WRITTEN, text);
                self.release(u64::MAX, Some(&detail));
            }
        }
    }

    /// An adopted process ended: the guardian has told how, or is asked.
    pub(super) fn ended_unseen(&mut self, component: String, incarnation: IncarnationId, pid: u32) {
        match self.reaped.remove(&pid) {
            Some(exit) => self.tell(Input::Exited { component, incarnation, exit }),
            None => {
                let until = SystemClock.now().mono.plus(REAP_TIME);
                self.awaited.insert(pid, (component, incarnation, until));
                self.tell_guardian(&ToGuardian::Reap { pid });
            }
        }
    }

    /// Takes what programs said of themselves. Only members of a component's process group are believed.
    pub(in crate::control_plane) fn heard(&mut self, datagrams: &[Datagram]) {
        let now = SystemClock.now().mono;
        let mut news = false;
        for datagram in datagrams.iter().filter(|d| !d.notifications.is_empty()) {
            let Some((spec, incarnation)) = self.sender(datagram.pid) else { continue };
            if self.is_muted(&spec.name) {
                *self.volatile.dropped.entry(spec.name.clone()).or_default() += 1;
                continue;
            }
            for said in &datagram.notifications {
                if let Notification::Status(text) = said
                    && self.volatile.said.get(&spec.name) != Some(text)
                {
                    self.volatile.said.insert(spec.name.clone(), text.clone());
                    news = true;
                }
                if let Some(input) = self.detectors.notified(&spec, incarnation, said, now) {
                    self.tell(input);
                }
            }
        }
        // Once for all of them: who talks without end must not keep the loop at writing reports.
        if news {
            self.publish_status();
        }
    }

    pub(super) fn sender(&self, pid: u32) -> Option<(Arc<ProcessSpec>, IncarnationId)> {
        let by_pid = |pid: u32| {
            let (name, run) = self.state.components.iter().find_map(|(name, c)| {
                c.phase.run().filter(|run| run.pid == pid).map(|run| (name, run.incarnation))
            })?;
            Some((self.state.plan.spec(name)?.clone(), run))
        };
        by_pid(pid).or_else(|| {
            let group = rustix::process::getpgid(Pid::from_raw(i32::try_from(pid).ok()?)).ok()?;
            by_pid(group.as_raw_nonzero().get().unsigned_abs())
        })
    }

    /// Takes what the output thread noticed.
    pub(in crate::control_plane) fn noticed(&mut self, notice: Notice) {
        match notice {
            Notice::Ready { component, incarnation, .. } => {
                let now = SystemClock.now().mono;
                let Some(spec) = self.state.plan.spec(&component).cloned() else { return };
                if let Some(input) = self.detectors.line_matched(&spec, incarnation, now) {
                    self.tell(input);
                }
            }
            Notice::Closed { component, incarnation, .. } => self.forget_streams(&component, incarnation),
            Notice::Lost { component, bytes, lines, reason } => {
                let lost = not_captured(&component);
                self.warn_instead(&lost, format!("{lost} ({lines} lines, {bytes} bytes lost): {reason}"));
            }
            // How much was lost stands in the log itself.
            Notice::WrittenAgain { component } => {
                let lost = not_captured(&component);
                self.volatile.warnings.retain(|w| !w.starts_with(&lost));
                self.publish_status();
            }
        }
    }

    pub(super) fn answer(&mut self, request: Request, reply: oneshot::Sender<Answer>) {
        let waits = if let Request::Restart { name } = &request { Some(name.clone()) } else { None };
        let (input, message) = match request {
            Request::Status | Request::Watch => {
                let status = self.report();
                let _ = reply.send(Answer::Status(Box::new(status)));
                return;
            }
            Request::Restart { name } => {
                (Input::Restart { component: name.clone() }, format!("{name} is being restarted"))
            }
            Request::Pause { name } => {
                (Input::Pause { component: name.clone() }, format!("{name} is paused"))
            }
            Request::Resume { name } => {
                (Input::Resume { component: name.clone() }, format!("{name} goes on"))
            }
            Request::Mute { name, pid, start_ticks, for_ms } => {
                let time = Duration::from_millis(for_ms);
                let message = format!("the life line of {name} is muted for {for_ms} ms at most");
                (Input::Mute { component: name, pid, start_ticks, time }, message)
            }
            Request::Unmute { name, pid } => {
                let message = format!("the life line of {name} is heard");
                (Input::Unmute { component: name, pid }, message)
            }
            Request::Down => (
                Input::Shutdown { cause: "an operator asked for it".to_owned() },
                "everything is being stopped".to_owned(),
            ),
        };
        let before = self.number;
        let asked = self.ask(input);
        // Said after the decision: what was asked for may have to wait.
        let message = match waits.and_then(|name| Some((self.waits(&name)?, name))) {
            Some((wait, name)) => format!("{name} is to start anew; it is {wait}"),
            None => message,
        };
        match asked {
            // Nothing had to be decided, so nothing will be written.
            Ok(()) if self.number == before => drop(reply.send(Answer::Done { message })),
            Ok(()) => self.owed.push_back((self.number, reply, Answer::Done { message })),
            Err(refusal) => {
                let (code, help) = match &refusal {
                    Refusal::NotFound(_) => ("not_found", "`grace status` lists the components"),
                    Refusal::WrongState { .. } => ("wrong_state", "`grace status` shows what it is doing"),
                    Refusal::Length { .. } => ("bad_request", "give a time within these bounds"),
                    Refusal::Stopping => ("stopping", "wait for the end, then `grace up`"),
                };
                let _ = reply.send(refuse(code, &refusal.to_string(), help));
            }
        }
    }

    /// What a component waits for before it can start.
    fn waits(&self, name: &str) -> Option<String> {
        matches!(self.state.components.get(name)?.phase, Phase::Waiting)
            .then(|| decider::waiting_for(&self.state, name))
            .flatten()
    }

    /// Gives the answers whose decisions are written, or cannot be.
    pub(super) fn release(&mut self, upto: u64, unwritten: Option<&str>) {
        while self.owed.front().is_some_and(|(number, ..)| *number <= upto) {
            let Some((_, reply, mut answer)) = self.owed.pop_front() else { return };
            if let (Some(detail), Answer::Done { message }) = (unwritten, &mut answer) {
                *message = format!("{message} (not on record yet: {detail})");
            }
            let _ = reply.send(answer);
        }
    }
}

/// How the warning about a component's lost output begins.
fn not_captured(component: &str) -> String {
    format!("output of `{component}` cannot be written")
}
