//! The scheduler as a process: the decider on its journal, the clock, what carries out its firings, and who knows when they have ended.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use grace_bus::{Bus, Message, Subscription};
use grace_kernel::{
    Envelope, HostError, Outcome,
    process::{
        Context, KernelError,
        serve::{Shell, Storage, run_decider},
        tell,
        thread::Commands,
        wire::{self, WireError},
    },
};
use grace_types::{
    chance::{Entropy as _, OsEntropy},
    intent::asked::{
        ActorName, Decision, DecisionState, Look, Refusal, Reply as CortexReply, Request, intent_subject,
    },
    manifest::Permissions,
    time::Clock,
};
use tokio::sync::mpsc;

use super::{Command, Reply, Schedule, Scheduler, firing::owner_of};
use crate::{
    clockwork::{Clockwork, Passed, Timed},
    delivery::{
        perform::{AUTOMATION, Begun, Deliverer, Performer, permissions_to_deliver},
        step::{Perform, Report},
    },
    htm::{self, Htm, IntentId, command::Query},
    limits, steady,
};

/// Its name as a component.
pub const NAME: &str = "scheduler";
/// The interval within which it beats.
pub const WATCHDOG: Duration = Duration::from_secs(2);

/// Where the task manager says that an intent has ended.
const ENDED: &str = "grace.htm.ended.";

/// What it may say and hear on the bus.
#[must_use]
pub fn permissions() -> Permissions {
    let mut permissions = permissions_to_deliver(NAME);
    permissions.subscribe.allow.push(format!("{ENDED}*"));
    // What became of its intents.
    permissions.publish.allow.push(wire::command_subject(htm::shell::NAME));
    permissions
}

/// Runs it until it is told to stop. `journal` is its journal's file, `declared` what the manifest says.
///
/// # Errors
/// The journal cannot be opened or replayed.
pub async fn main(
    context: Context,
    journal: PathBuf,
    declared: BTreeMap<String, Schedule>,
) -> Result<(), KernelError> {
    let storage = Storage::file(journal, context.clock.now().wall);
    let works = Works {
        declared,
        bus: context.bus.clone(),
        clock: context.clock.clone(),
        clockwork: Clockwork::default(),
        performer: None,
    };
    run_decider::<Scheduler, _>(context, storage, works).await
}

impl Timed for Scheduler {
    fn tick(chance: u64) -> Command {
        Command::Tick { chance }
    }

    fn passed(reply: &Reply) -> Option<Passed> {
        match reply {
            Reply::Ticked { passed, .. } => Some(*passed),
            _ => None,
        }
    }
}

impl Deliverer for Scheduler {
    const COMPONENT: &'static str = NAME;
    const OWNER: &'static str = "schedule";

    fn settle(reports: Vec<Report>, chance: u64) -> Command {
        Command::Settle { reports, chance }
    }
}

/// The shell around the decider.
struct Works {
    declared: BTreeMap<String, Schedule>,
    bus: Option<Bus>,
    clock: Arc<dyn Clock>,
    clockwork: Clockwork,
    performer: Option<Performer>,
}

impl Shell<Scheduler> for Works {
    fn start(&mut self, commands: &Commands<Scheduler>) {
        // Into the queue before anything from the bus can be.
        let declare =
            Command::Declare { schedules: std::mem::take(&mut self.declared), chance: OsEntropy.next_u64() };
        for command in [Command::Begin { boot: steady::boot() }, declare] {
            if let Err(e) = commands.tell(Envelope::new(command), None) {
                tell(&format!("the scheduler is not set up: {e}"));
            }
        }
        tokio::spawn(self.clockwork.clone().run(commands.clone()));
        let Some(bus) = self.bus.take() else { return };
        let (begun, firings) = mpsc::unbounded_channel();
        let (clock, clockwork) = (Arc::clone(&self.clock), self.clockwork.clone());
        let ends = Ends {
            bus: bus.clone(),
            commands: commands.clone(),
            clockwork: clockwork.clone(),
            watched: HashMap::new(),
        };
        tokio::spawn(ends.watch(firings));
        self.performer = Some(Performer::start(bus, clock, commands.clone(), clockwork, Some(begun)));
    }

    fn arriving(&mut self, command: &mut Command) -> Result<(), WireError> {
        self.clockwork.nudge();
        match command {
            Command::Begin { .. }
            | Command::Declare { .. }
            | Command::Tick { .. }
            | Command::Settle { .. }
            | Command::Ended { .. } => {
                Err(WireError::bad_request("the scheduler gives this command to itself"))
            }
            Command::Put { .. }
            | Command::Remove { .. }
            | Command::Pause { .. }
            | Command::Resume { .. }
            | Command::RunNow { .. }
            | Command::Running
            | Command::Requeue { .. }
            | Command::Discard { .. }
            | Command::List { .. }
            | Command::Overview
            | Command::Show { .. } => Ok(()),
        }
    }

    fn perform(&mut self, _commands: &Commands<Scheduler>, perform: Perform) {
        if let Some(performer) = &self.performer {
            performer.perform(perform);
        }
    }
}

/// Finds out which firings have ended: by the task manager's hints, and by asking now and then for those that should run.
struct Ends {
    bus: Bus,
    commands: Commands<Scheduler>,
    clockwork: Clockwork,
    /// Keys of firings by their intents.
    watched: HashMap<IntentId, String>,
}

impl Ends {
    async fn watch(mut self, mut firings: mpsc::UnboundedReceiver<Begun>) {
        let mut hints = None;
        let mut looks = tokio::time::interval(limits::FIRINGS_EVERY);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                begun = firings.recv() => match begun {
                    Some(begun) => {
                        let late = hints.is_none();
                        if late {
                            hints = self.hints().await;
                        }
                        self.begun(begun, late).await;
                    }
                    None => return,
                },
                hint = heard(&mut hints) => match hint {
                    Some(hint) => self.hint(&hint).await,
                    None => hints = None,
                },
                _ = looks.tick() => {
                    // Every intent's end is a hint, and none concerns a scheduler none of whose firings runs.
                    if self.watched.is_empty() {
                        hints = None;
                    } else if hints.is_none() {
                        hints = self.hints().await;
                    }
                    if self.look().await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    async fn hints(&self) -> Option<Subscription> {
        self.bus.subscribe(&format!("{ENDED}*"), None).await.ok()
    }

    /// Watches a firing. One that began before ends were heard of may have ended before.
    async fn begun(&mut self, begun: Begun, late: bool) {
        if late && self.is_over(&begun.key).await == Some(true) {
            let _ = self.ended(vec![begun.key]).await;
        } else if self.watched.len() < limits::FIRINGS_WATCHED {
            self.watched.insert(begun.intent, begun.key);
        }
    }

    async fn hint(&mut self, hint: &Message) {
        let intent = hint.subject.strip_prefix(ENDED).and_then(|id| id.parse().ok());
        if let Some(key) = intent.and_then(|intent| self.watched.remove(&intent)) {
            let _ = self.ended(vec![key]).await;
        }
    }

    async fn ended(&self, keys: Vec<String>) -> Result<(), HostError> {
        let answer = self.commands.ask(Envelope::new(Command::Ended { keys })).await;
        self.clockwork.nudge();
        match answer {
            Err(HostError::Stopping) => Err(HostError::Stopping),
            // What cannot be written now is found again with the next look.
            _ => Ok(()),
        }
    }

    /// Asks the task manager about each firing that runs as far as the state knows.
    async fn look(&mut self) -> Result<(), HostError> {
        let keys = match self.commands.ask(Envelope::new(Command::Running)).await {
            Ok(Outcome::Done(Reply::Firings { keys })) => keys,
            Err(HostError::Stopping) => return Err(HostError::Stopping),
            _ => return Ok(()),
        };
        let mut over = Vec::new();
        for key in keys {
            match self.is_over(&key).await {
                Some(true) => over.push(key),
                Some(false) => {}
                // It is away: later.
                None => break,
            }
        }
        if over.is_empty() {
            return Ok(());
        }
        // Their hints were lost.
        self.watched.retain(|_, key| !over.contains(key));
        self.ended(over).await
    }

    /// Whether the intent of this firing is over; `None` when nobody says.
    async fn is_over(&self, key: &str) -> Option<bool> {
        let decision = match self.decision(key).await? {
            Ok(decision) => decision,
            // Not known: its delivery is not done yet, and the lane will see to it.
            Err(code) => return Some(code == "forgotten"),
        };
        match decision.state {
            DecisionState::Waiting => Some(false),
            DecisionState::Succeeded | DecisionState::Failed | DecisionState::Denied => Some(true),
            DecisionState::Running => self.is_done(decision.id).await,
        }
    }

    /// What the cortex decided under this key; the code of its refusal where it knows none.
    async fn decision(&self, key: &str) -> Option<Result<Decision, String>> {
        // The delivery's key begins with the schedule's name, as its actor ends with it.
        let owner = format!("{}:{}", Scheduler::OWNER, owner_of(key)?);
        let actor = ActorName { kind: AUTOMATION, name: &owner };
        let query = Envelope::new(Request::Query(Look::Key { actor, key }));
        let subject = intent_subject(AUTOMATION, NAME);
        let message = Message { subject: subject.clone(), ..wire::command(&subject, &query).ok()? };
        let answer = self.bus.request(message, limits::DELIVERY_ANSWER).await.ok()?;
        match wire::read_reply::<CortexReply, Refusal>(&answer.payload).ok()? {
            Outcome::Done(CortexReply::Intent(decision)) => Some(Ok(*decision)),
            Outcome::Done(_) => None,
            Outcome::Refused(refusal) => Some(Err(refusal.code)),
        }
    }

    /// Whether the task manager is done with an intent that it took.
    async fn is_done(&self, id: IntentId) -> Option<bool> {
        let query = Envelope::new(htm::Command::Query(Query::Intent(id)));
        let message = wire::command(htm::shell::NAME, &query).ok()?;
        let answer = self.bus.request(message, limits::DELIVERY_ANSWER).await.ok()?;
        match wire::read_answer::<Htm>(&answer.payload).ok()? {
            Outcome::Done(htm::Reply::Intent(intent)) => Some(intent.state.is_over()),
            Outcome::Done(_) => None,
            // It had it on disk: it has ended, and was forgotten.
            Outcome::Refused(refusal) => {
                Some(refusal.code == "unknown_intent" || refusal.code == "forgotten")
            }
        }
    }
}

async fn heard(hints: &mut Option<Subscription>) -> Option<Message> {
    match hints {
        Some(hints) => hints.next().await,
        None => std::future::pending().await,
    }
}
