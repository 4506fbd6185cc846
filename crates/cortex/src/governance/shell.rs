//! Governance as a process: the decider on its journal, its key, the cortex's subject, and what is told to the cortex.
//!
//! The key signs what is in force, emergency grants with it, on its way to the cortex; it is in a file of its own (`keys/governance.key`), and never in a record.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use grace_bus::{Bus, Message};
use grace_kernel::{
    Envelope, HostError, Outcome, private,
    process::{
        Context, KernelError, boot,
        serve::{Shell, Storage, hear_also, run_decider},
        tell,
        thread::Commands,
        voter::{self, Voter},
        wire::{self, WireError},
    },
};
use grace_log::note::SignerKey;
use grace_types::{chance::OsEntropy, intent::IntentId, manifest::Permissions};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::Notify;

use super::{Command, Governance, Query, Reply, command::HandOver, view::OwnView};
use crate::{
    case::{Carried, InForce, Verdict},
    command::{GOVERN_SUBJECT, Taken},
    limits,
};

/// Its name as a component.
pub const NAME: &str = "governance";
/// The interval within which it beats.
pub const WATCHDOG: Duration = Duration::from_secs(2);
pub use grace_types::intent::asked::OWE_SUBJECT;
/// Where it answers questions and takes what an approver has signed, and nothing else: for the HTTP interface, at whose word nothing is done.
pub const DESK_SUBJECT: &str = "grace.governance.desk";

const CONTROL_PLANE_STATUS: &str = "grace.control_plane.status";
const EMERGENCIES: &str = "grace.event.control_plane.*";

/// What it may say and hear on the bus.
#[must_use]
pub fn permissions() -> Permissions {
    let own = Permissions::only(
        ["grace.event.governance.>", GOVERN_SUBJECT, CONTROL_PLANE_STATUS],
        ["grace.cmd.governance", OWE_SUBJECT, DESK_SUBJECT, EMERGENCIES, "_INBOX.governance.>"],
    );
    voter::permitted(own, NAME)
}

/// Runs it until it is told to stop. `journal` is its journal's file, `keys` the folder of the instance's keys, `declared` the types of
/// intents that the manifest declares.
///
/// # Errors
/// The key cannot be read or made, or the journal cannot be opened or replayed.
pub async fn main(
    context: Context,
    journal: PathBuf,
    keys: &Path,
    declared: Vec<String>,
) -> Result<(), KernelError> {
    let path = keys.join("governance.key");
    let key = private::signer_key(&path, NAME, &mut OsEntropy)
        .map_err(|source| KernelError::System { what: "governance's key", source })?;
    publish(&public_key(keys), &key)
        .map_err(|source| KernelError::System { what: "governance's public key", source })?;
    let storage = Storage::file(journal, context.clock.now().wall);
    let bus = context.bus.clone();
    let voter = Voter::of(&context);
    let works = Works { declared, key: Arc::new(key), bus, nudge: Arc::new(Notify::new()), voter };
    run_decider::<Governance, _>(context, storage, works).await
}

/// The file of its public key, where the cortex reads with what it is to check what is in force: beside the private one, in a folder that is the owner's.
#[must_use]
pub fn public_key(keys: &Path) -> PathBuf {
    keys.join("governance.vkey")
}

/// Written before anything can be signed with it.
fn publish(path: &Path, key: &SignerKey) -> std::io::Result<()> {
    let text = format!("{}\n", key.verifier());
    match private::read(path, text.len() as u64) {
        Ok(Some(known)) if known == text.as_bytes() => Ok(()),
        _ => private::write(path, text.as_bytes()),
    }
}

/// The shell around the decider.
struct Works {
    declared: Vec<String>,
    key: Arc<SignerKey>,
    bus: Option<Bus>,
    nudge: Arc<Notify>,
    voter: Option<Voter>,
}

impl Shell<Governance> for Works {
    fn start(&mut self, commands: &Commands<Governance>) {
        // Into the queue before anything from the bus can be.
        let begin = Command::Begin {
            boot: boot(),
            declared: std::mem::take(&mut self.declared),
            instance: self.key.verifier().to_string(),
        };
        if let Err(e) = commands.tell(Envelope::new(begin), None) {
            tell(&format!("governance is not set up: {e}"));
        }
        tokio::spawn(ticks(commands.clone()));
        if let Some(voter) = self.voter.take() {
            voter.start(OwnView::of(commands.clone()));
        }
        let Some(bus) = self.bus.take() else { return };
        tokio::spawn(hear_also(bus.clone(), commands.clone(), (NAME, OWE_SUBJECT), owes));
        tokio::spawn(hear_also(bus.clone(), commands.clone(), (NAME, DESK_SUBJECT), proves_itself));
        tokio::spawn(emergencies(bus.clone(), commands.clone()));
        let herald = Herald {
            bus,
            commands: commands.clone(),
            key: Arc::clone(&self.key),
            nudge: Arc::clone(&self.nudge),
            told: false,
            silent: false,
        };
        tokio::spawn(herald.run());
    }

    fn arriving(&mut self, command: &mut Command) -> Result<(), WireError> {
        let not_here = |message: &str| Err(WireError::bad_request(message));
        match command {
            Command::Begin { .. }
            | Command::Tick
            | Command::Emergency { .. }
            | Command::Told { .. }
            | Command::ResultsTold { .. }
            | Command::Adopted { .. }
            | Command::HandOver => not_here("governance gives this command to itself"),
            Command::Owe { .. } => not_here("what people owe is for the cortex to say, on its own subject"),
            Command::Approve(_)
            | Command::Deny(_)
            | Command::EnrollFirst { .. }
            | Command::Accept { .. }
            | Command::Flag { .. }
            | Command::BeginEmergency { .. }
            | Command::EndEmergency { .. }
            | Command::Query(_) => Ok(()),
        }
    }

    fn perform(&mut self, _commands: &Commands<Governance>, (): ()) {
        self.nudge.notify_one();
    }
}

async fn ticks(commands: Commands<Governance>) {
    let mut ticks = tokio::time::interval(limits::GOVERNANCE_LOOK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if matches!(commands.ask(Envelope::new(Command::Tick)).await, Err(HostError::Stopping)) {
            return;
        }
    }
}

/// What the cortex may say.
fn owes(message: &Message) -> Result<Envelope<Command>, WireError> {
    let envelope = wire::read_command::<Governance>(message)?;
    match envelope.command {
        Command::Owe { .. } | Command::Query(Query::Sound { .. }) => Ok(envelope),
        _ => Err(WireError::bad_request("here the cortex says what people owe, and nothing else")),
    }
}

/// What needs nobody's trust: questions, and what carries its own proof.
fn proves_itself(message: &Message) -> Result<Envelope<Command>, WireError> {
    let envelope = wire::read_command::<Governance>(message)?;
    match envelope.command {
        Command::Query(_) | Command::Approve(_) | Command::Deny(_) => Ok(envelope),
        _ => Err(WireError::bad_request(
            "here are taken `query`, and what an approver has signed: `approve`, `deny`",
        )),
    }
}

/// Hears of the control plane's emergencies, and asks now and then, since an event may be missed.
async fn emergencies(bus: Bus, commands: Commands<Governance>) {
    let mut looks = tokio::time::interval(limits::EMERGENCY_LOOK);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut inbox = bus.subscribe(EMERGENCIES, None).await.ok();
    loop {
        let declared = tokio::select! {
            heard = async { match &mut inbox { Some(inbox) => inbox.next().await, None => std::future::pending().await } } => {
                match heard {
                    Some(message) => told_of(&message.subject),
                    None => { inbox = None; None }
                }
            }
            _ = looks.tick() => {
                if inbox.is_none() {
                    inbox = bus.subscribe(EMERGENCIES, None).await.ok();
                }
                asked(&bus).await
            }
        };
        let Some(declared) = declared else { continue };
        let reason = "critical kernels are down, and the control plane restarts what they need".to_owned();
        if matches!(
            commands.ask(Envelope::new(Command::Emergency { declared, reason })).await,
            Err(HostError::Stopping)
        ) {
            return;
        }
    }
}

fn told_of(subject: &str) -> Option<bool> {
    match subject.rsplit('.').next()? {
        "emergency_declared" => Some(true),
        "emergency_resolved" => Some(false),
        _ => None,
    }
}

async fn asked(bus: &Bus) -> Option<bool> {
    let question = Message::new(CONTROL_PLANE_STATUS, Vec::new());
    let answer = bus.request(question, limits::GOVERNANCE_ANSWER).await.ok()?;
    let status: Value = serde_json::from_slice(&answer.payload).ok()?;
    status["state"].as_str().map(|state| state == "emergency")
}

/// What the cortex is told.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    Resolve { verdicts: Vec<Verdict> },
    Carried { results: Vec<Carried> },
    Adopt { in_force: InForce },
}

/// The cortex's answer, as far as it matters here.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    done: Option<Value>,
    #[serde(default)]
    refused: Option<Value>,
    #[serde(default)]
    message: Option<String>,
}

/// Tells the cortex what it has not taken yet, until it has.
struct Herald {
    bus: Bus,
    commands: Commands<Governance>,
    key: Arc<SignerKey>,
    nudge: Arc<Notify>,
    /// Whether the cortex was told since this process began what it decides by: it may have lost it.
    told: bool,
    /// Whether it was said that the cortex does not answer.
    silent: bool,
}

impl Herald {
    async fn run(mut self) {
        let mut looks = tokio::time::interval(limits::GOVERNANCE_LOOK);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.nudge.notified() => {}
                _ = looks.tick() => {}
            }
            let due = match self.commands.ask(Envelope::new(Command::HandOver)).await {
                Ok(Outcome::Done(Reply::HandOver(due))) => *due,
                Err(HostError::Stopping) => return,
                _ => continue,
            };
            if self.hand_over(due).await.is_err() {
                return;
            }
        }
    }

    /// `Err` when the host is stopping. What the cortex cannot take now keeps nothing else from it: on a disk that is almost full it takes
    /// grants, and no verdicts.
    async fn hand_over(&mut self, due: HandOver) -> Result<(), ()> {
        if !due.verdicts.is_empty() {
            let intents: Vec<IntentId> = due.verdicts.iter().map(|verdict| verdict.intent).collect();
            let answer = self.say(Word::Resolve { verdicts: due.verdicts }).await;
            for (intents, refused) in answer.map(|answer| sorted(intents, answer)).into_iter().flatten() {
                self.note(Command::Told { intents, refused }).await?;
            }
        }
        if !due.results.is_empty() {
            let intents: Vec<IntentId> = due.results.iter().map(|one| one.intent).collect();
            let answer = self.say(Word::Carried { results: due.results }).await;
            if answer.is_some_and(|answer| answer.done.is_some()) {
                self.note(Command::ResultsTold { intents }).await?;
            }
        }
        if due.taken && self.told {
            return Ok(());
        }
        let (number, revision) = (due.generation.number, due.revision);
        let (generation, grants) = (due.generation, due.grants);
        let in_force = InForce { revision, generation, grants, signature: String::new() }.signed(&self.key);
        let Some(answer) = self.say(Word::Adopt { in_force }).await else { return Ok(()) };
        self.told = true;
        let refused =
            answer.done.is_none().then(|| answer.message.unwrap_or_else(|| "it says no".to_owned()));
        self.note(Command::Adopted { number, revision, refused }).await
    }

    async fn note(&self, command: Command) -> Result<(), ()> {
        match self.commands.ask(Envelope::new(command)).await {
            Err(HostError::Stopping) => Err(()),
            _ => Ok(()),
        }
    }

    /// `None` when there is no answer, or an error: it is said again.
    async fn say(&mut self, word: Word) -> Option<Answer> {
        let mut message = wire::command("cortex", &Envelope::new(word)).ok()?;
        GOVERN_SUBJECT.clone_into(&mut message.subject);
        let answer = self.bus.request(message, limits::GOVERNANCE_ANSWER).await;
        let answer = answer.map_err(|e| e.to_string()).and_then(|answer| {
            let answer: Answer = serde_json::from_slice(&answer.payload).map_err(|e| e.to_string())?;
            let is_one = answer.done.is_some() || answer.refused.is_some();
            is_one.then_some(answer).ok_or_else(|| "it answers with an error".to_owned())
        });
        match answer {
            Ok(answer) => {
                self.silent = false;
                Some(answer)
            }
            Err(e) => {
                if !std::mem::replace(&mut self.silent, true) {
                    tell(&format!("the cortex is told again and again, until it answers: {e}"));
                }
                None
            }
        }
    }
}

/// Which verdicts are taken, and for which the cortex has no use, with its reason.
fn sorted(intents: Vec<IntentId>, answer: Answer) -> Vec<(Vec<IntentId>, Option<String>)> {
    let Some(done) = answer.done else {
        // All of it is refused for now: it is said again.
        return Vec::new();
    };
    let results: Option<Vec<Taken>> =
        done.get("resolved").and_then(|it| serde_json::from_value(it.get("results")?.clone()).ok());
    let Some(results) = results else { return vec![(intents, None)] };
    let mut taken = Vec::new();
    let mut sorted = Vec::new();
    for (intent, result) in intents.into_iter().zip(results) {
        match result {
            Taken::Taken => taken.push(intent),
            Taken::Refused { message, .. } => sorted.push((vec![intent], Some(message))),
        }
    }
    sorted.push((taken, None));
    sorted
}
