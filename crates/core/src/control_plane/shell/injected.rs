//! Injected faults: whose life line is not heard, and what injectors left behind.
//!
//! The sweep reads and syncs files, so it runs on a thread of its own; what it must ask of the control plane goes the way of every
//! request. The loop itself reads one folder a second, which is absent unless a fault was ever injected.

use std::io;

use grace_faults::journal::{Swept, sweep};
use grace_types::time::{Clock, SystemClock};
use tokio::sync::{mpsc, oneshot};

use super::Shell;
use crate::{
    control::{Answer, LifeLineControl, Request},
    control_plane::Happening,
    supervisor::Input,
};

/// How the warning about faults that cannot be undone begins.
const LEFT: &str = "injected faults are not undone";

impl Shell {
    pub(super) fn is_muted(&self, component: &str) -> bool {
        let run = self.state.components.get(component).and_then(|c| c.phase.run());
        run.is_some_and(|run| run.muted_until.is_some())
    }

    /// Begins to look at the faults that injectors left behind, if there are any.
    pub(super) fn sweep_faults(&mut self) {
        let folder = self.instance.faults();
        let any = std::fs::read_dir(&folder).is_ok_and(|mut files| files.next().is_some());
        if !any {
            return self.withdraw_warning(LEFT);
        }
        if std::mem::replace(&mut self.sweeping, true) {
            return;
        }
        let happened = self.happened.clone();
        tokio::task::spawn_blocking(move || {
            let mut life_line = LifeLineControl(|request: &Request| ask(&happened, request));
            let swept = sweep(&folder, SystemClock.now(), &mut life_line);
            // An error means that the instance is at its end.
            let _ = happened.blocking_send(Happening::Swept { swept });
        });
    }

    /// Says what was undone, and what could not be.
    pub(super) fn swept(&mut self, swept: io::Result<Swept>) {
        self.sweeping = false;
        let Swept { undone, not_yet, unreadable } = match swept {
            Ok(swept) => swept,
            Err(error) => return self.warn_instead(LEFT, format!("{LEFT}: {error}")),
        };
        for swept in undone {
            let (target, kind) = (swept.fault.target(), swept.fault.name());
            self.warn(format!("the fault `{kind}` on {target} was undone here: {}", swept.why));
            self.tell(Input::FaultSwept {
                fault: swept.id,
                kind,
                component: target.component.clone(),
                why: swept.why.to_string(),
                proof: swept.proof.to_string(),
            });
        }
        let files = unreadable.iter().map(|file| format!("{}: {}", file.path.display(), file.detail));
        let left: Vec<String> =
            not_yet.iter().map(|(id, detail)| format!("{id}: {detail}")).chain(files).collect();
        match left.as_slice() {
            [] => self.withdraw_warning(LEFT),
            [first, ..] => self.warn_instead(LEFT, format!("{LEFT} ({}): {first}", left.len())),
        }
    }
}

/// Asks the loop something, from another thread, as a client of the control socket would.
fn ask(happened: &mpsc::Sender<Happening>, request: &Request) -> Result<Answer, String> {
    let ending = |_| "the control plane ends".to_owned();
    let (reply, answer) = oneshot::channel();
    let asked = Happening::Asked { request: request.clone(), reply };
    happened.blocking_send(asked).map_err(|_| "the control plane ends".to_owned())?;
    answer.blocking_recv().map_err(ending)
}
