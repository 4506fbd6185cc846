//! The kernel that keeps the narratives of all components, to be asked who did what, when, where, why and how.
//!
//! ```text
//! grace.evidence.clarity.<component> ─► inbox ─► keeper, a thread that may block ─► DATA/narratives.db ─► answers
//! grace.log.checkpoint, and now and then ─►┘        └─► DATA/log: links to entries; is it still the log that was seen before?
//! grace.cmd.clarity ─────────────────────►┘
//! ```
//!
//! | Module | What it holds |
//! |---|---|
//! | [`follow`] | the log, followed and witnessed |
//! | [`journals`] | the journals that lie in an instance's folder |
//! | `keeper` | the thread that owns the database |
//! | [`limits`] | every bound, with its reason |
//! | [`view`] | what it says in votes |
//!
//! The kernel is no decider (`docs/decisions/0009-narratives-are-a-read-model.md`): what it keeps are other components' decisions, and
//! all of it can be made again. Its loss costs nothing but the time until what waits is told, so it is not critical; `grace narratives`
//! and `grace why` read the file themselves.
//!
//! Commands on `grace.cmd.clarity`: `{"command": {"op": "stand"}}` tells how far every source and the log have come;
//! `{"command": {"op": "rebuild", "accept_loss": false}}` makes everything again from the journals; `{"command": {"op": "accept_log"}}` forgets
//! the log that was followed and begins with the one that lies there now, after the kernel has said that it is another one.

pub mod follow;
pub mod journals;
mod keeper;
pub mod limits;
#[cfg(test)]
mod tests;
pub mod view;

use std::{path::PathBuf, time::Duration};

use grace_bus::{Bus, BusError, Message, Subscription};
use grace_kernel::{
    Recorded,
    evidence::{
        Sink,
        wire::{self, Batch, evidence_pattern},
    },
    process::{
        Context, Environment, KernelError,
        life::Signal,
        tell,
        voter::{self, Voter},
    },
};
use grace_types::{
    event::Event,
    id::{CorrelationId, EventId},
    manifest::{ComponentKind, Permissions},
    reason::Why,
    time::Hlc,
};
use serde::Deserialize;
use serde_json::json;
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{MissedTickBehavior, interval, timeout},
};

use self::{
    follow::Contradiction,
    keeper::{Keeper, Said, Work},
};
use super::BuiltIn;

/// What the control plane must know.
pub const BUILT_IN: BuiltIn = BuiltIn {
    name: NAME,
    kind: ComponentKind::Kernel,
    critical: false,
    depends_on: &["message_bus"],
    // Its syncs are of whole groups of batches, and it is no loss while it waits for a slow disk.
    watchdog: Duration::from_secs(10),
    permissions,
    stateful: false,
    run,
};

const NAME: &str = "clarity";
const COMMANDS: &str = "grace.cmd.clarity";
const CHECKPOINTS: &str = "grace.log.checkpoint";
/// The database, relative to the data folder.
const DATABASE: &str = "narratives.db";

/// The narrative database of the instance whose files lie in `data`.
#[must_use]
pub fn database(data: &std::path::Path) -> PathBuf {
    data.join(DATABASE)
}

fn permissions() -> Permissions {
    let own = Permissions::only(
        ["grace.event.clarity.>"],
        [COMMANDS, CHECKPOINTS, &evidence_pattern(Sink::Clarity), "_INBOX.clarity.>"],
    );
    voter::permitted(own, NAME)
}

fn run(environment: Environment) -> Result<(), KernelError> {
    grace_kernel::process::run_behind(environment, main)
}

/// What can be asked of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// How far everything has come.
    Stand,
    /// Everything again, from the journals.
    Rebuild {
        /// Also when the journals do not give all that was there.
        #[serde(default)]
        accept_loss: bool,
    },
    /// Follow the log that lies there now, whatever was followed before.
    AcceptLog,
}

/// Keeps narratives until it is told to stop.
///
/// # Errors
/// The database cannot be opened, or the bus refuses what the kernel listens to.
pub async fn main(mut context: Context) -> Result<(), KernelError> {
    let (said, mut says) = mpsc::channel(limits::SAID);
    let mut keeper = Keeper::start(context.environment.data.clone(), context.clock.clone(), said)?;
    if let Some(voter) = Voter::of(&context) {
        voter.start(view::Narratives(context.environment.data.clone()));
    }
    let bus = context.bus.clone();
    let mut announcer = Announcer::default();
    let publisher = bus.clone().map(Publisher::start);
    let (heard, mut inbox) = mpsc::channel(limits::HEARD);
    let mut listening = bus.map(|bus| tokio::spawn(listen(bus, heard)));
    let mut looks = interval(limits::LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut stopping, mut hearing) = (false, true);
    loop {
        tokio::select! {
            biased;
            signal = context.life.next() => match signal {
                Signal::Beat if keeper.is_alive() => context.life.beat(),
                // No beat: the keeper's thread hangs, and whoever watches is to see it.
                Signal::Beat | Signal::Reload => {}
                Signal::Stop(_) if stopping => {}
                Signal::Stop(_) => {
                    stopping = true;
                    context.life.stopping();
                    if let Some(listening) = listening.take() {
                        listening.abort();
                    }
                    inbox.close();
                    keeper.stop();
                }
            },
            said = says.recv() => match said {
                Some(Said::Opened(status)) => {
                    if listening.is_none() {
                        context.life.ready(status);
                    } else {
                        context.life.status(status);
                    }
                }
                Some(Said::Answer(message)) => publish(publisher.as_ref(), message),
                Some(Said::Contradicted(contradiction)) => {
                    context.life.status(format!("the log contradicts what was seen: {contradiction}"));
                    if let Some(message) = announcer.announce(&contradiction, &mut context) {
                        publish(publisher.as_ref(), message);
                    }
                }
                Some(Said::Reconciled) => context.life.status("telling"),
                None => {
                    if let Some(publisher) = publisher {
                        publisher.finish().await;
                    }
                    return keeper.ended();
                }
            },
            heard = inbox.recv(), if hearing && !stopping => match heard {
                Some(Heard::Listening) => context.life.ready("telling"),
                Some(Heard::Message(message)) => if let Some(answer) = take(&keeper, &message) {
                    publish(publisher.as_ref(), answer);
                },
                Some(Heard::Refused(error)) => return Err(KernelError::Bus(error)),
                // There is no bus.
                None => hearing = false,
            },
            _ = looks.tick(), if !stopping => keeper.look(),
        }
    }
}

/// Hands a message to the keeper; what is to be answered at once.
fn take(keeper: &Keeper, message: &Message) -> Option<Message> {
    if message.subject == CHECKPOINTS {
        keeper.look();
        return None;
    }
    // Nobody waits for the answer: there is nothing to do either.
    let reply = message.reply.clone()?;
    if message.subject == COMMANDS {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Request {
            command: Command,
        }
        let refuse = |code: &str, text: &str| json!({"error": {"code": code, "message": text}}).to_string();
        let body = match serde_json::from_slice::<Request>(&message.payload) {
            Err(error) => refuse("bad_request", &format!("the body: {error}")),
            Ok(Request { command }) if keeper.hand(Work::Command(command, reply.clone())) => return None,
            Ok(_) => refuse("busy", BUSY),
        };
        return Some(Message::new(reply, body));
    }
    let error = match Batch::read(Sink::Clarity, message) {
        Ok(batch) => {
            if keeper.hand(Work::Batch(batch, reply.clone())) {
                return None;
            }
            wire::WireError { code: "busy".to_owned(), message: BUSY.to_owned() }
        }
        Err(error) => error,
    };
    Some(Message::new(reply, wire::reply(&Err(error))))
}

const BUSY: &str = "too many batches are waiting; try again later";

/// What comes from the bus.
enum Heard {
    /// From here on everything that is sent is heard.
    Listening,
    Message(Message),
    Refused(BusError),
}

/// Listens until the kernel ends. The bus reconnects by itself.
async fn listen(bus: Bus, heard: mpsc::Sender<Heard>) {
    let mut connected = bus.connected();
    let subscriptions = loop {
        if connected.wait_for(|connected| *connected).await.is_err() {
            return;
        }
        match subscribe(&bus).await {
            Ok(subscriptions) => break subscriptions,
            Err(BusError::NotConnected | BusError::Timeout { .. }) => {}
            Err(error) => return drop(heard.send(Heard::Refused(error)).await),
        }
    };
    if heard.send(Heard::Listening).await.is_err() {
        return;
    }
    let [mut evidence, mut commands, mut checkpoints] = subscriptions;
    loop {
        let message = tokio::select! {
            message = evidence.next() => message,
            message = commands.next() => message,
            message = checkpoints.next() => message,
        };
        let Some(message) = message else { return };
        if heard.send(Heard::Message(message)).await.is_err() {
            return;
        }
    }
}

async fn subscribe(bus: &Bus) -> Result<[Subscription; 3], BusError> {
    let subscriptions = [
        // In a queue group, so that a second instance of the kernel does not double the answers.
        bus.subscribe(&evidence_pattern(Sink::Clarity), Some(NAME)).await?,
        bus.subscribe(COMMANDS, Some(NAME)).await?,
        bus.subscribe(CHECKPOINTS, None).await?,
    ];
    bus.flush().await?;
    Ok(subscriptions)
}

/// Hands messages to the bus on a task of its own: a bus that does not take them must not stop the heartbeats.
struct Publisher {
    queue: mpsc::Sender<Message>,
    bus: Bus,
    task: JoinHandle<()>,
}

impl Publisher {
    fn start(bus: Bus) -> Self {
        let (queue, mut messages) = mpsc::channel::<Message>(limits::SAID);
        let out = bus.clone();
        let task = tokio::spawn(async move {
            while let Some(message) = messages.recv().await {
                // Whoever waits for an answer that was lost asks again.
                let _ = out.publish(message).await;
            }
        });
        Self { queue, bus, task }
    }

    /// Lets out what waits, for a bounded time.
    async fn finish(self) {
        drop(self.queue);
        let rest = async {
            let _ = self.task.await;
            let _ = self.bus.flush().await;
        };
        if timeout(grace_kernel::limits::FLUSH, rest).await.is_err() {
            tell("the last answers could not be published in time");
        }
    }
}

fn publish(publisher: Option<&Publisher>, message: Message) {
    if let Some(publisher) = publisher {
        // Full only while the bus is away; then nobody hears it anyway.
        let _ = publisher.queue.try_send(message);
    }
}

/// Makes events of contradictions, in the form of all events.
#[derive(Default)]
struct Announcer {
    hlc: Hlc,
}

impl Announcer {
    fn announce(&mut self, contradiction: &Contradiction, context: &mut Context) -> Option<Message> {
        let now = context.clock.now();
        let why = Why::because(format!("log.{}", contradiction.code), contradiction.text.clone());
        let how = "comparison with the newest checkpoint that was seen before";
        let data = serde_json::to_value(Recorded::new(contradiction, "immutable_log", how, why)).ok()?;
        self.hlc = self.hlc.tick(now.wall);
        let event = Event {
            id: EventId::new(now.wall, &mut *context.entropy),
            source: format!("/grace/{NAME}"),
            kind: format!("dev.grace.{NAME}.log_contradicted.v1"),
            subject: Some("immutable_log".to_owned()),
            time: now.wall,
            correlationid: Some(CorrelationId::new(now.wall, &mut *context.entropy)),
            causationid: None,
            traceparent: None,
            hops: 0,
            hlc: self.hlc,
            data,
        };
        let body = serde_json::to_vec(&event.data).ok()?;
        let headers = event.to_headers().into_iter().collect();
        Some(Message::new(format!("grace.event.{NAME}.log_contradicted"), body).with_headers(headers))
    }
}
