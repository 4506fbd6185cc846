//! The task manager as a process: the decider on its journal, its clockwork, and the road of operators.
//!
//! ```text
//! grace.htm.submit (the cortex alone) ─► desk ─► host ─► journal ─► answers, grace.event.htm.<what>
//! grace.cmd.htm (operators; everything but `submit`) ─► host
//! grace.htm.look (who may only look; `query`) ─► host
//! grace.work.<verb>.<worker> ─► desk (bound to the worker's name; leases wait there) ─► host
//! host ─► effects ─► grace.htm.ended.<intent>, grace.htm.stop.<worker>, and the desk: tasks wait
//! ```
//!
//! What is submitted has been decided by the cortex: it alone may publish on `grace.htm.submit`, and it says who approved what. On
//! `grace.cmd.htm` nobody may submit.
//!
//! Not here: what is decided ([`super`]), and holding the asks of workers (`desk`).

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use grace_bus::{Bus, Message};
use grace_kernel::{
    Envelope, HostError, Outcome,
    process::{
        Context, KernelError,
        serve::{Shell, Storage, hear_also, run_decider},
        tell,
        thread::Commands,
        wire::{self, WireError},
    },
};
use grace_types::{
    chance::{Entropy, OsEntropy},
    intent::SUBMIT_SUBJECT,
    manifest::Permissions,
    time::Clock,
};
use tokio::sync::{Notify, mpsc};

use super::{
    Command, Effect, Era, Htm,
    desk::{Desk, Heard},
    event::Settings,
};
use crate::{intent::IntentType, limits, steady};

/// Its name as a component.
pub const NAME: &str = "htm";
/// The interval within which it beats.
pub const WATCHDOG: Duration = Duration::from_secs(2);

/// Where it answers questions and takes nothing else: for components that may look at work and not change it.
pub const LOOK_SUBJECT: &str = "grace.htm.look";

/// What it may say and hear on the bus.
#[must_use]
pub fn permissions() -> Permissions {
    Permissions::only(
        ["grace.event.htm.>", "grace.here.htm", "grace.htm.ended.*", "grace.htm.stop.*"],
        ["grace.cmd.htm", SUBMIT_SUBJECT, LOOK_SUBJECT, "grace.work.*.*", "_INBOX.htm.>"],
    )
}

/// Where a worker hears at once that it need not go on with a task.
#[must_use]
pub fn stop_subject(worker: &str) -> String {
    format!("grace.htm.stop.{worker}")
}

/// Runs it until it is told to stop. `journal` is its journal's file, `types` what the manifest defines.
///
/// # Errors
/// The journal cannot be opened or replayed.
pub async fn main(
    context: Context,
    journal: PathBuf,
    types: BTreeMap<String, IntentType>,
) -> Result<(), KernelError> {
    let manager = Manager {
        types,
        bus: context.bus.clone(),
        clock: Arc::clone(&context.clock),
        ready: Arc::new(Notify::new()),
        hints: None,
    };
    let storage = Storage::file(journal, context.clock.now().wall);
    run_decider::<Htm, _>(context, storage, manager).await
}

/// The shell around the decider.
struct Manager {
    types: BTreeMap<String, IntentType>,
    bus: Option<Bus>,
    clock: Arc<dyn Clock>,
    /// Tasks wait.
    ready: Arc<Notify>,
    hints: Option<mpsc::Sender<Message>>,
}

impl Shell<Htm> for Manager {
    fn start(&mut self, commands: &Commands<Htm>) {
        let configure = Command::Configure {
            boot: steady::boot(),
            era: Era::from_bits(OsEntropy.next_u64()),
            settings: Settings::default(),
        };
        let define = Command::Define { types: std::mem::take(&mut self.types) };
        // The first task: what it asks is in the queue before anything from the bus can be, which takes the broker's answers.
        tokio::spawn(set_up(commands.clone(), configure, define));
        let heard = Heard::default();
        tokio::spawn(ticks(commands.clone(), Arc::clone(&self.clock), heard.clone()));
        if let Some(bus) = self.bus.clone() {
            let (hints, given) = mpsc::channel(limits::HINTS);
            self.hints = Some(hints);
            tokio::spawn(give_hints(bus.clone(), given));
            tokio::spawn(hear_also(bus.clone(), commands.clone(), (NAME, LOOK_SUBJECT), asks));
            let desk =
                Desk::new(bus, commands.clone(), Arc::clone(&self.clock), Arc::clone(&self.ready), heard);
            tokio::spawn(desk.run());
        }
    }

    fn arriving(&mut self, command: &mut Command) -> Result<(), WireError> {
        match command {
            Command::Submit { .. } => Err(WireError::bad_request(
                "intents are asked for at the cortex: on grace.cmd.cortex, or grace.intent.<kind>.<name>",
            )),
            Command::Cancel { .. }
            | Command::Retry { .. }
            | Command::Pause { .. }
            | Command::Resume { .. }
            | Command::Lost { .. }
            | Command::Query(_) => Ok(()),
            Command::Configure { .. } | Command::Define { .. } | Command::Tick { .. } => {
                Err(WireError::bad_request("the task manager gives this command to itself"))
            }
            Command::Register(_)
            | Command::Leave { .. }
            | Command::Beat { .. }
            | Command::Lease { .. }
            | Command::Answer { .. }
            | Command::Turn { .. }
            | Command::Extend { .. } => {
                Err(WireError::bad_request("workers speak on grace.work.<verb>.<worker>"))
            }
        }
    }

    fn perform(&mut self, _commands: &Commands<Htm>, effect: Effect) {
        let (subject, body) = match effect {
            Effect::Ready => return self.ready.notify_one(),
            Effect::Ended { intent, ending } => {
                (format!("grace.htm.ended.{intent}"), serde_json::to_vec(&ending))
            }
            Effect::Stop { worker, granted } => (stop_subject(&worker), serde_json::to_vec(&granted)),
        };
        // Both are hints: who waits for an end asks now and then, and a worker hears of the stop with its next sign of life.
        if let (Some(hints), Ok(body)) = (&self.hints, body) {
            let _ = hints.try_send(Message::new(subject, body));
        }
    }
}

/// Lets hints go when all else that can be done has been: whoever waits for an answer goes first.
async fn give_hints(bus: Bus, mut hints: mpsc::Receiver<Message>) {
    let mut given = Vec::new();
    while hints.recv_many(&mut given, limits::HINTS).await > 0 {
        tokio::task::yield_now().await;
        for hint in given.drain(..) {
            bus.offer(hint);
        }
    }
}

/// What those may say who may only look.
fn asks(message: &Message) -> Result<Envelope<Command>, WireError> {
    let envelope = wire::read_command::<Htm>(message)?;
    match envelope.command {
        Command::Query(_) => Ok(envelope),
        _ => Err(WireError::bad_request("nothing but `query` is taken here")),
    }
}

/// Sets the task manager up; one that cannot be, on a full disk, is set up as soon as there is room. Until then it refuses what comes.
async fn set_up(commands: Commands<Htm>, configure: Command, define: Command) {
    let ask = |command: &Command| commands.ask(Envelope::new(command.clone()));
    let (configured, defined) = tokio::join!(biased; ask(&configure), ask(&define));
    if matches!((&configured, &defined), (Ok(_), Ok(_))) {
        return;
    }
    tell("the task manager could not be set up; that is tried again");
    for command in [configure, define] {
        if commands.insist(command, limits::SET_UP_AGAIN).await.is_err() {
            return;
        }
    }
    tell("the task manager is set up");
}

/// Lets time pass. A tick with which nothing is due costs a look at the first timer and is not recorded.
async fn ticks(commands: Commands<Htm>, clock: Arc<dyn Clock>, heard: Heard) {
    let mut every = tokio::time::interval(limits::TICK_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        loop {
            let heard = heard.ago(clock.now().mono);
            let tick = Command::Tick { chance: OsEntropy.next_u64(), heard };
            match commands.ask(Envelope::new(tick)).await {
                Ok(Outcome::Done(super::Reply::Ticked { more: true, .. })) => {}
                Err(HostError::Stopping) => return,
                // A journal that cannot be written now is tried again with the next tick; the host tells of it.
                _ => break,
            }
        }
    }
}
