//! What a new control plane finds, and what it makes of it.

use std::collections::BTreeMap;

use grace_types::{id::BootId, reason::Why};

use super::Deciding;
use crate::supervisor::{
    event::{Event, Exit, Found},
    state::Run,
};

impl Deciding {
    pub(super) fn take_over(&mut self, boot: BootId, found: &[Found], reaped: &BTreeMap<u32, Exit>) {
        if self.state.boot.is_none() {
            let components = self.state.components.len();
            let why = Why::because(
                "take_over.no_history",
                "no record of this boot can be read: its history begins anew",
            );
            self.record(Event::Booted { boot, components }, why, "take-over");
        }
        let why =
            Why::because("take_over.control_plane_died", "the control plane died and a new one took over")
                .and("take_over.found", format!("{} of its processes are alive", found.len()));
        self.record(Event::TookOver { adopted: found.len() }, why, "pid, start time and GRACE_INCARNATION");
        let exit_of = |run: &Run| reaped.get(&run.pid).copied().unwrap_or(Exit::Unknown);
        let names: Vec<String> = self.state.components.keys().cloned().collect();
        for name in names {
            let phase = self.state.components[&name].phase.clone();
            let alive = found.iter().find(|f| f.component == name);
            match (alive, phase.incarnation()) {
                (Some(f), known) if known != Some(f.incarnation) => {
                    if let Some(run) = phase.run() {
                        self.exited(&name, run.incarnation, exit_of(run));
                    }
                    self.adopt_unknown(&name, f);
                }
                (Some(f), Some(incarnation)) if phase.run().is_some_and(|run| !f.is(run)) => {
                    // What is alive is something that the run let go, not its main process.
                    if let Some(run) = phase.run() {
                        self.exited(&name, incarnation, exit_of(run));
                    }
                }
                (Some(f), _) => {
                    // Started by the predecessor, who died before it could say so.
                    self.spawned(&name, f.incarnation, f.pid, f.start_ticks);
                }
                (None, Some(incarnation)) => match phase.run() {
                    Some(run) => self.exited(&name, incarnation, exit_of(run)),
                    None => {
                        let text = "the control plane died before it had started it";
                        self.again(&name, Why::because("take_over.not_started", text));
                    }
                },
                (None, None) => {}
            }
        }
    }

    /// A live process of a run that the journal does not know: its predecessor's last decisions were lost with it.
    pub(super) fn adopt_unknown(&mut self, name: &str, found: &Found) {
        let why = Why::because("take_over.unrecorded", "it runs, though its start was never recorded");
        let event = Event::StartDecided { component: name.to_owned(), incarnation: found.incarnation };
        self.record(event, why, "GRACE_INCARNATION");
        self.spawned(name, found.incarnation, found.pid, found.start_ticks);
    }
}
