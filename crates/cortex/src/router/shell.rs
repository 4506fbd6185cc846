//! The cortex as a process: the decider on its journal, the intake before it, and the roads behind it.
//!
//! ```text
//! grace.cmd.cortex, grace.intent.<kind>.<name>, grace.cortex.govern ─► intake ─► host ─► journal ─► answers, grace.event.cortex.<what>
//! host ─► effects ─► road: grace.htm.submit, grace.governance.owe; polls: grace.vote.open; grace.cortex.decided.<id>
//! ```

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use grace_bus::{Bus, Message};
use grace_kernel::{
    Envelope, HostError, Outcome,
    process::{
        Context, KernelError, boot,
        serve::{Shell, Storage, run_decider},
        tell,
        thread::Commands,
        voter, wire,
    },
};
use grace_types::{
    chance::{Entropy, OsEntropy},
    intent::{Era, Refused, SUBMIT_SUBJECT, Submission},
    manifest::Permissions,
    time::Clock,
};
use tokio::sync::mpsc;

use super::{
    Effect, Router,
    intake::Intake,
    polls::Polls,
    road::{self, Telling, Waiters},
};
use crate::{
    command::{Asked, Command, GOVERN_SUBJECT, decided_subject},
    governance, limits,
};

/// Its name as a component.
pub const NAME: &str = "cortex";
/// The interval within which it beats.
pub const WATCHDOG: Duration = Duration::from_secs(2);

/// What it may say and hear on the bus.
#[must_use]
pub fn permissions() -> Permissions {
    Permissions::only(
        [
            "grace.event.cortex.>",
            "grace.cortex.decided.*",
            "grace.here.cortex",
            SUBMIT_SUBJECT,
            "grace.cmd.htm",
            governance::shell::OWE_SUBJECT,
            voter::OPEN,
        ],
        [
            "grace.cmd.cortex",
            "grace.here.htm",
            "grace.intent.*.*",
            GOVERN_SUBJECT,
            &format!("{}.*", voter::KEYS),
            &format!("{}.*", voter::BALLOTS),
            "_INBOX.cortex.>",
        ],
    )
}

/// What the manifest says of types of intents.
pub trait Types: Send + Sync {
    /// Those that have a plan.
    fn names(&self) -> Vec<String>;
    /// Whether this one has.
    fn has(&self, kind: &str) -> bool;
    /// Why the task manager would refuse this intent, whatever else there is to do; nothing for a type that it does not know.
    fn fault(&self, asked: &Asked) -> Option<Refused>;
}

/// Runs it until it is told to stop. `journal` is its journal's file, `keys` the folder of the instance's keys, `types` what the manifest
/// defines.
///
/// # Errors
/// The journal cannot be opened or replayed.
pub async fn main(
    context: Context,
    journal: PathBuf,
    keys: &Path,
    types: Box<dyn Types>,
) -> Result<(), KernelError> {
    let storage = Storage::file(journal, context.clock.now().wall);
    let (bus, clock) = (context.bus.clone(), Arc::clone(&context.clock));
    let public_key = governance::shell::public_key(keys);
    let process = Process { types: Some(types), public_key, bus, clock, ways: None };
    run_decider::<Router, _>(context, storage, process).await
}

/// The ways out, and the one into the intake.
struct Ways {
    bus: Bus,
    arriving: mpsc::Sender<Message>,
    hand_on: mpsc::UnboundedSender<Submission>,
    tell: Telling,
    polls: Polls,
}

struct Process {
    /// Until the intake takes them.
    types: Option<Box<dyn Types>>,
    public_key: PathBuf,
    bus: Option<Bus>,
    clock: Arc<dyn Clock>,
    ways: Option<Ways>,
}

impl Shell<Router> for Process {
    fn start(&mut self, commands: &Commands<Router>) {
        let Some(types) = self.types.take() else { return };
        // Into the queue before anything from the bus can be.
        let era = Era::from_bits(OsEntropy.next_u64());
        let configure = Command::Configure { era, declared: types.names(), boot: boot() };
        if let Err(e) = commands.tell(Envelope::new(configure.clone()), None) {
            tell(&format!("the cortex is not set up: {e}"));
        }
        tokio::spawn(ticks(commands.clone(), configure));
        let Some(bus) = self.bus.clone() else { return };
        let waiters = Waiters::default();
        let (arriving, messages) = mpsc::channel(limits::REQUESTS);
        let hand_on = road::hand_on(bus.clone(), commands.clone(), waiters.clone());
        let telling = road::tell(&bus, commands);
        let clock = Arc::clone(&self.clock);
        let intake =
            Intake::new(bus.clone(), commands.clone(), clock, waiters, types, self.public_key.clone());
        tokio::spawn(intake.run(messages));
        let polls = Polls::start(&bus, commands);
        self.ways = Some(Ways { bus, arriving, hand_on, tell: telling, polls });
    }

    fn message(&mut self, message: Message) -> Option<Message> {
        let ways = self.ways.as_ref()?;
        if let Err(unheard) = ways.arriving.try_send(message) {
            let message = unheard.into_inner();
            let error = wire::WireError::from(HostError::Busy);
            if let Some(reply) = message.reply {
                let bus = ways.bus.clone();
                tokio::spawn(async move { bus.publish(Message::new(reply, wire::error(&error))).await });
            }
        }
        None
    }

    fn perform(&mut self, _commands: &Commands<Router>, effect: Effect) {
        let Some(ways) = &self.ways else { return };
        // The receivers end with the process.
        match effect {
            Effect::HandOn(submission) => drop(ways.hand_on.send(*submission)),
            Effect::Tell(case) => ways.tell.tell(*case),
            Effect::Propose(proposal) => ways.polls.open(*proposal),
            Effect::Resolved(id) => {
                ways.polls.close(id);
                // A hint: who waits asks now and then.
                let (bus, subject) = (ways.bus.clone(), decided_subject(&id.to_string()));
                tokio::spawn(async move { bus.publish(Message::new(subject, Vec::new())).await });
            }
        }
    }
}

/// Lets time pass. A tick with which nothing is due is not recorded. A cortex that could not be set up (a full disk) is set up as soon
/// as that is possible.
async fn ticks(commands: Commands<Router>, configure: Command) {
    let mut every = tokio::time::interval(limits::TICK_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        // A journal that cannot be written now is tried again with the next tick; the host tells of it.
        match commands.ask(Envelope::new(Command::Tick)).await {
            Err(HostError::Stopping) => return,
            Ok(Outcome::Refused(refusal)) if refusal.code == "not_configured" => {
                let _ = commands.ask(Envelope::new(configure.clone())).await;
            }
            _ => {}
        }
    }
}
