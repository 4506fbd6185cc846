//! The policy engine as a process: the decider on its journal, and what carries out its deliveries. Events reach it by way of the front
//! door ([`crate::triggers::door`]), which tells their senders that they are taken once they are durable here as well.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use grace_bus::Bus;
use grace_kernel::{
    Envelope,
    process::{
        Context, KernelError,
        serve::{Shell, Storage, run_decider},
        tell,
        thread::Commands,
        wire::WireError,
    },
};
use grace_types::{manifest::Permissions, time::Clock};

use super::{Command, EventPolicies, Policy, Reply};
use crate::{
    clockwork::{Clockwork, Passed, Timed},
    delivery::{
        perform::{Deliverer, Performer, permissions_to_deliver},
        step::{Perform, Report},
    },
    steady,
};

/// Its name as a component.
pub const NAME: &str = "event_policy";
/// The interval within which it beats.
pub const WATCHDOG: Duration = Duration::from_secs(2);

/// What it may say and hear on the bus.
#[must_use]
pub fn permissions() -> Permissions {
    permissions_to_deliver(NAME)
}

/// Runs it until it is told to stop. `journal` is its journal's file, `policies` those that are in force.
///
/// # Errors
/// The journal cannot be opened or replayed.
pub async fn main(
    context: Context,
    journal: PathBuf,
    policies: BTreeMap<String, Policy>,
) -> Result<(), KernelError> {
    let storage = Storage::file(journal, context.clock.now().wall);
    let engine = Engine {
        policies,
        bus: context.bus.clone(),
        clock: context.clock.clone(),
        clockwork: Clockwork::default(),
        performer: None,
    };
    run_decider::<EventPolicies, _>(context, storage, engine).await
}

impl Timed for EventPolicies {
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

impl Deliverer for EventPolicies {
    const COMPONENT: &'static str = NAME;
    const OWNER: &'static str = "policy";

    fn settle(reports: Vec<Report>, chance: u64) -> Command {
        Command::Settle { reports, chance }
    }
}

/// The shell around the decider.
struct Engine {
    policies: BTreeMap<String, Policy>,
    bus: Option<Bus>,
    clock: Arc<dyn Clock>,
    clockwork: Clockwork,
    performer: Option<Performer>,
}

impl Shell<EventPolicies> for Engine {
    fn start(&mut self, commands: &Commands<EventPolicies>) {
        // Into the queue before anything from the bus can be.
        let load = Command::Load { policies: std::mem::take(&mut self.policies) };
        for command in [Command::Begin { boot: steady::boot() }, load] {
            if let Err(e) = commands.tell(Envelope::new(command), None) {
                tell(&format!("the policy engine is not set up: {e}"));
            }
        }
        tokio::spawn(self.clockwork.clone().run(commands.clone()));
        self.performer = self.bus.take().map(|bus| {
            Performer::start(bus, Arc::clone(&self.clock), commands.clone(), self.clockwork.clone(), None)
        });
    }

    fn arriving(&mut self, command: &mut Command) -> Result<(), WireError> {
        self.clockwork.nudge();
        match command {
            Command::Begin { .. } | Command::Load { .. } | Command::Tick | Command::Settle { .. } => {
                Err(WireError::bad_request("the policy engine gives this command to itself"))
            }
            Command::Observe { .. }
            | Command::Reset { .. }
            | Command::Requeue { .. }
            | Command::Discard { .. }
            | Command::Test { .. }
            | Command::List
            | Command::Overview
            | Command::Show { .. } => Ok(()),
        }
    }

    fn perform(&mut self, _commands: &Commands<EventPolicies>, perform: Perform) {
        if let Some(performer) = &self.performer {
            performer.perform(perform);
        }
    }
}
