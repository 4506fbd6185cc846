//! The watchdog's looks: ask the control plane and the four, hand what they say to the decider, publish what it tells.
//!
//! Whoever is asked has two seconds, all at the same time, so that a look that nobody answers ends. A question has no idempotency key,
//! so nothing of it is recorded where it is asked.

use std::{collections::BTreeMap, io, path::PathBuf, sync::Arc, time::Duration};

use grace_bus::{Bus, Message};
use grace_kernel::{
    Decider, Envelope, HostError, Outcome,
    process::{
        Context, KernelError,
        serve::{Shell, Storage, run_decider},
        tell,
        thread::Commands,
        voter::{self, Voter},
        wire,
    },
};
use grace_types::{
    manifest::{Manifest, Permissions},
    time::{Clock, Monotonic, Timestamp},
};
use serde::Deserialize;
use tokio::{
    sync::watch,
    time::{Interval, MissedTickBehavior, interval},
};

use super::{
    alert::Alert,
    decider::Layer2Watchdog,
    message::{Command, Reply, Settings},
    sample::{Answer, Firings, Queue, Readiness, Sample, Standing},
    telemetry::Telemetry,
    view::LastLook,
};
use crate::{
    delivery::overview::Overview,
    htm::{self, Htm},
    limits,
    policies::{self, EventPolicies},
    scheduler::{self, Scheduler},
    steady,
    triggers::{self, TriggerMesh},
};

/// Its name as a component.
pub const NAME: &str = "layer2_watchdog";
/// The interval within which it beats.
pub const WATCHDOG: Duration = Duration::from_secs(2);
/// Where each look is published.
pub const TELEMETRY: &str = "grace.telemetry.layer2";
/// Where the control plane tells its status.
const STATUS: &str = "grace.control_plane.status";
/// Those that are asked, where the instance has them.
const ASKED: [&str; 4] = ["htm", "trigger_mesh", "event_policy", "scheduler"];

/// What it may say and hear on the bus.
#[must_use]
pub fn permissions() -> Permissions {
    let asked = ASKED.map(wire::command_subject);
    let own = [TELEMETRY.to_owned(), STATUS.to_owned(), wire::event_subject(NAME, ">")];
    let heard = [wire::command_subject(NAME), format!("_INBOX.{NAME}.>")];
    voter::permitted(Permissions::only(own.into_iter().chain(asked), heard), NAME)
}

/// Watches until it is told to stop. `journal` is its journal's file, `manifest` the file of the manifest that the instance runs.
///
/// # Errors
/// The journal cannot be opened or replayed.
pub async fn main(context: Context, journal: PathBuf, manifest: PathBuf) -> Result<(), KernelError> {
    let watchdog = Watchdog {
        manifest,
        bus: context.bus.clone(),
        clock: Arc::clone(&context.clock),
        reloads: watch::Sender::new(0),
        note: watch::Sender::new(None),
        voter: Voter::of(&context),
    };
    let storage = Storage::file(journal, context.clock.now().wall);
    run_decider::<Layer2Watchdog, _>(context, storage, watchdog).await
}

/// The shell around the decider.
struct Watchdog {
    manifest: PathBuf,
    bus: Option<Bus>,
    clock: Arc<dyn Clock>,
    /// Rises when the manifest is to be read again.
    reloads: watch::Sender<u64>,
    /// What the last look found, in one line.
    note: watch::Sender<Option<String>>,
    voter: Option<Voter>,
}

impl Shell<Layer2Watchdog> for Watchdog {
    fn start(&mut self, commands: &Commands<Layer2Watchdog>) {
        if let Some(voter) = self.voter.take() {
            voter.start(LastLook(commands.clone()));
        }
        let Some(bus) = self.bus.clone() else { return };
        let looks = Looks {
            manifest: self.manifest.clone(),
            bus,
            clock: Arc::clone(&self.clock),
            commands: commands.clone(),
            note: self.note.clone(),
            settings: Settings::default(),
            standing: None,
            first: None,
            trouble: None,
        };
        tokio::spawn(looks.run(self.reloads.subscribe()));
    }

    fn arriving(&mut self, command: &mut Command) -> Result<(), wire::WireError> {
        match command {
            Command::Overview => Ok(()),
            Command::Configure { .. }
            | Command::Judge { .. }
            | Command::Observe { .. }
            | Command::Look { .. } => {
                Err(wire::WireError::bad_request("the watchdog gives this command to itself"))
            }
        }
    }

    fn perform(&mut self, _commands: &Commands<Layer2Watchdog>, (): ()) {}

    fn reload(&mut self, _commands: &Commands<Layer2Watchdog>) {
        self.reloads.send_modify(|n| *n += 1);
    }

    fn status(&self) -> Option<String> {
        self.note.borrow().clone()
    }
}

/// What the control plane says, as far as it matters here.
#[derive(Deserialize)]
struct StatusView {
    state: String,
    since: Timestamp,
    components: Vec<ComponentView>,
}

#[derive(Deserialize)]
struct ComponentView {
    name: String,
    layer: u8,
    kind: String,
    state: String,
    since: Timestamp,
    ready: bool,
}

/// What comes of asking for the status.
enum Seen {
    Standing(Standing),
    /// The instance ends: what is not ready now is not to be.
    Stopping,
    Nothing(String),
}

struct Looks {
    manifest: PathBuf,
    bus: Bus,
    clock: Arc<dyn Clock>,
    commands: Commands<Layer2Watchdog>,
    note: watch::Sender<Option<String>>,
    settings: Settings,
    /// The last that the control plane said.
    standing: Option<Standing>,
    /// When it was heard first, and how old the instance was then, as far as the wall clock can be trusted with that.
    first: Option<(Monotonic, Duration)>,
    /// Why the last look is not on record. Said once.
    trouble: Option<HostError>,
}

impl Looks {
    /// Goes on until the kernel ends.
    async fn run(mut self, mut reloads: watch::Receiver<u64>) {
        self.configure().await;
        let mut looks = every(self.settings.layer2.interval);
        let mut judging = every(limits::READINESS_LOOK);
        let mut settled = false;
        loop {
            tokio::select! {
                reload = reloads.changed() => match reload {
                    Ok(()) => {
                        self.configure().await;
                        looks = every(self.settings.layer2.interval);
                    }
                    Err(_) => return,
                },
                _ = judging.tick(), if !settled => settled = self.judge().await,
                _ = looks.tick() => self.look().await,
            }
        }
    }

    /// Puts the manifest's settings in force. One that cannot be read changes nothing.
    async fn configure(&mut self) {
        let read =
            || -> io::Result<Manifest> { Ok(serde_json::from_slice(&std::fs::read(&self.manifest)?)?) };
        match read() {
            Ok(manifest) => {
                let workers_expected = manifest.workers > 0 || !manifest.intents.is_empty();
                self.settings = Settings { layer2: manifest.layer2, workers_expected };
            }
            Err(e) => tell(&format!("{}: {e}; the thresholds stay as they were", self.manifest.display())),
        }
        let settings = self.settings.clone();
        self.ask(Command::Configure { boot: steady::boot(), settings }).await;
    }

    /// Whether there is a verdict on the readiness of Layer 2.
    async fn judge(&mut self) -> bool {
        let Seen::Standing(standing) = self.seen().await else { return false };
        let now = self.clock.now();
        let ready_within = self.settings.layer2.ready_within;
        // A wall clock that was set meanwhile must not end the time at once.
        let age = now.wall.since(standing.booted).min(ready_within / 2);
        let (since, age) = *self.first.get_or_insert((now.mono, age));
        let age = age + now.mono.since(since);
        let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        let judged = self.ask(Command::Judge { standing, age_ms }).await;
        matches!(judged, Some(Reply::Judged { settled: true }))
    }

    async fn look(&mut self) {
        // Without the bus there is nothing to say about anybody.
        if !*self.bus.connected().borrow() {
            return;
        }
        let (status, silence) = match self.seen().await {
            Seen::Standing(standing) => (Some(standing), None),
            Seen::Nothing(why) => (None, Some(why)),
            Seen::Stopping => return,
        };
        let (htm, trigger_mesh, event_policy, scheduler) = tokio::join!(
            self.answer::<Htm, _>("htm", htm::Command::Query(htm::command::Query::Overview), queue),
            self.answer::<TriggerMesh, _>("trigger_mesh", triggers::Command::Overview, subscriptions),
            self.answer::<EventPolicies, _>("event_policy", policies::Command::Overview, rules),
            self.answer::<Scheduler, _>("scheduler", scheduler::Command::Overview, firings),
        );
        let sample = Sample { status, silence, htm, trigger_mesh, event_policy, scheduler };
        self.observe(Box::new(sample)).await;
    }

    async fn observe(&mut self, sample: Box<Sample>) {
        let observed = match self.ask(Command::Observe { sample: sample.clone() }).await {
            // What cannot be written is told all the same: it is when people look.
            None if self.trouble.is_some() => {
                let looked = self.commands.ask(Envelope::new(Command::Look { sample })).await;
                match looked {
                    Ok(Outcome::Done(reply)) => Some(reply),
                    _ => None,
                }
            }
            observed => observed,
        };
        let Some(Reply::Observed { telemetry, alerts }) = observed else { return };
        self.note.send_replace(Some(note(&telemetry, &alerts)));
        if let Ok(body) = serde_json::to_vec(&telemetry) {
            // Lost with the connection: the next look says it again.
            let _ = self.bus.publish(Message::new(TELEMETRY, body)).await;
        }
    }

    /// Asks the control plane who is ready.
    async fn seen(&mut self) -> Seen {
        let asked = self.bus.request(Message::new(STATUS, Vec::new()), limits::LOOK_WAIT).await;
        let view: StatusView = match asked.map(|answer| serde_json::from_slice(&answer.payload)) {
            Ok(Ok(view)) => view,
            Ok(Err(e)) => return Seen::Nothing(format!("its status cannot be read: {e}")),
            Err(e) => return Seen::Nothing(e.to_string()),
        };
        if view.state == "stopping" {
            return Seen::Stopping;
        }
        let layer2 = view.components.into_iter().filter(|component| component.layer == 2);
        let components: BTreeMap<String, Readiness> = layer2
            .map(|c| {
                let readiness = Readiness {
                    // One that is stopped in place is not.
                    ready: c.ready && c.state == "ready",
                    worker: c.kind == "worker",
                    state: c.state,
                    since: c.since,
                };
                (c.name, readiness)
            })
            .collect();
        let standing = Standing { booted: view.since, components };
        self.standing = Some(standing.clone());
        Seen::Standing(standing)
    }

    /// Asks one of the four, if the instance has it. `pick` takes from the reply what is wanted.
    async fn answer<D: Decider, T>(
        &self,
        name: &str,
        command: D::Command,
        pick: fn(D::Reply) -> Option<T>,
    ) -> Option<Answer<T>> {
        self.standing.as_ref()?.components.get(name)?;
        let begun = self.clock.now().mono;
        let said = match wire::command(name, &Envelope::new(command)) {
            Ok(message) => match self.bus.request(message, limits::LOOK_WAIT).await {
                Ok(answer) => match wire::read_answer::<D>(&answer.payload) {
                    Ok(Outcome::Done(reply)) => {
                        pick(reply).ok_or_else(|| "another answer than asked".to_owned())
                    }
                    Ok(Outcome::Refused(refusal)) => Err(refusal.to_string()),
                    Err(e) => Err(e.message),
                },
                Err(e) => Err(e.to_string()),
            },
            Err(e) => Err(e.to_string()),
        };
        let after = self.clock.now().mono.since(begun);
        Some(match said {
            Ok(said) => Answer::Given { said, after_ms: after.as_secs_f64() * 1000.0 },
            Err(why) => Answer::Missing(why),
        })
    }

    async fn ask(&mut self, command: Command) -> Option<Reply> {
        let (reply, trouble) = match self.commands.ask(Envelope::new(command)).await {
            Ok(Outcome::Done(reply)) => (Some(reply), None),
            Ok(Outcome::Refused(refusal)) => {
                tell(&refusal.to_string());
                return None;
            }
            Err(error) => (None, Some(error)),
        };
        if self.trouble != trouble {
            match &trouble {
                Some(error) => tell(&format!("the looks are not on record: {error}")),
                None => tell("the looks are on record again"),
            }
            self.trouble = trouble;
        }
        reply
    }
}

fn queue(reply: htm::Reply) -> Option<Queue> {
    if let htm::Reply::Overview(overview) = reply { Some(Queue::from(&*overview)) } else { None }
}

fn subscriptions(reply: triggers::Reply) -> Option<Overview> {
    if let triggers::Reply::Overview(overview) = reply { Some(overview) } else { None }
}

fn rules(reply: policies::Reply) -> Option<Overview> {
    if let policies::Reply::Overview(overview) = reply { Some(overview) } else { None }
}

fn firings(reply: scheduler::Reply) -> Option<Firings> {
    if let scheduler::Reply::Overview { overview, late } = reply {
        Some(Firings { overview, late })
    } else {
        None
    }
}

fn every(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// What `grace status` shows beside it.
fn note(telemetry: &Telemetry, alerts: &[Alert]) -> String {
    match alerts {
        [] => format!("no alerts; {} tasks wait, {} run", telemetry.htm_queue_depth, telemetry.htm_running),
        [worst, more @ ..] => {
            let others = if more.is_empty() { String::new() } else { format!(" (and {} more)", more.len()) };
            format!("{}: {}{others}", worst.severity.word(), worst.text)
        }
    }
}
