//! The trigger mesh as a process: the decider on its journal, the front door, and what carries out its deliveries.
//!
//! ```text
//! door ─► ingest ─► host ─► journal ─► Perform ─► delivery::perform ─► the task manager, the front door
//! grace.cmd.trigger_mesh ─► host                              └─► settle ─► host
//! ```

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use grace_bus::Bus;
use grace_kernel::{
    Envelope,
    process::{
        Context, KernelError,
        here::here_subject,
        serve::{Shell, Storage, run_decider},
        tell,
        thread::Commands,
        wire::WireError,
    },
};
use grace_types::{manifest::Permissions, time::Clock};

use super::{
    Command, Reply, Subscription, TriggerMesh,
    door::{Door, SUBJECTS, Wishes},
};
use crate::{
    clockwork::{Clockwork, Passed, Timed},
    delivery::{
        perform::{Deliverer, Performer, permissions_to_deliver},
        step::{Perform, Report},
    },
    steady,
};

/// Its name as a component.
pub const NAME: &str = "trigger_mesh";
/// The interval within which it beats.
pub const WATCHDOG: Duration = Duration::from_secs(2);

/// What it may say and hear on the bus.
#[must_use]
pub fn permissions() -> Permissions {
    let mut permissions = permissions_to_deliver(NAME);
    permissions.publish.allow.extend(["grace.cmd.event_policy".to_owned(), here_subject(NAME)]);
    permissions.subscribe.allow.extend(SUBJECTS.map(str::to_owned));
    permissions
}

/// Runs it until it is told to stop. `journal` is its journal's file, `events` the folder of events in files, `declared` what the
/// manifest says.
///
/// # Errors
/// The journal cannot be opened or replayed.
pub async fn main(
    context: Context,
    journal: PathBuf,
    events: PathBuf,
    declared: BTreeMap<String, Subscription>,
) -> Result<(), KernelError> {
    let storage = Storage::file(journal, context.clock.now().wall);
    let mesh = Mesh {
        declared,
        events,
        bus: context.bus.clone(),
        clock: context.clock.clone(),
        clockwork: Clockwork::default(),
        wishes: Wishes::default(),
        performer: None,
    };
    run_decider::<TriggerMesh, _>(context, storage, mesh).await
}

impl Timed for TriggerMesh {
    fn tick(_chance: u64) -> Command {
        Command::Tick
    }

    fn passed(reply: &Reply) -> Option<Passed> {
        match reply {
            Reply::Ticked(passed) => Some(*passed),
            _ => None,
        }
    }
}

impl Deliverer for TriggerMesh {
    const COMPONENT: &'static str = NAME;
    const OWNER: &'static str = "trigger";

    fn settle(reports: Vec<Report>, chance: u64) -> Command {
        Command::Settle { reports, chance }
    }
}

/// The shell around the decider.
struct Mesh {
    declared: BTreeMap<String, Subscription>,
    events: PathBuf,
    bus: Option<Bus>,
    clock: Arc<dyn Clock>,
    clockwork: Clockwork,
    wishes: Wishes,
    performer: Option<Performer>,
}

impl Shell<TriggerMesh> for Mesh {
    fn start(&mut self, commands: &Commands<TriggerMesh>) {
        // Into the queue before anything from the bus can be.
        let declare = Command::Declare { subscriptions: std::mem::take(&mut self.declared) };
        for command in [Command::Begin { boot: steady::boot() }, declare] {
            if let Err(e) = commands.tell(Envelope::new(command), None) {
                tell(&format!("the trigger mesh is not set up: {e}"));
            }
        }
        tokio::spawn(self.clockwork.clone().run(commands.clone()));
        let Some(bus) = self.bus.take() else { return };
        let clock = Arc::clone(&self.clock);
        let (commands, clockwork) = (commands.clone(), self.clockwork.clone());
        self.performer =
            Some(Performer::start(bus.clone(), clock.clone(), commands.clone(), clockwork.clone(), None));
        Door { bus, clock, commands, clockwork }.open(self.events.clone(), self.wishes.clone());
    }

    fn arriving(&mut self, command: &mut Command) -> Result<(), WireError> {
        self.clockwork.nudge();
        match command {
            Command::Begin { .. }
            | Command::Declare { .. }
            | Command::Tick
            | Command::Settle { .. }
            | Command::Ingest { .. } => Err(WireError::bad_request(
                "the trigger mesh gives this command to itself; events are taken on events.<type>",
            )),
            Command::Put { subscription, .. } => {
                self.wishes.put(subscription, &*self.clock);
                Ok(())
            }
            Command::Remove { .. }
            | Command::Requeue { .. }
            | Command::Discard { .. }
            | Command::Test { .. }
            | Command::List
            | Command::Overview
            | Command::Show { .. } => Ok(()),
        }
    }

    fn perform(&mut self, _commands: &Commands<TriggerMesh>, perform: Perform) {
        if let Some(performer) = &self.performer {
            performer.perform(perform);
        }
    }
}
