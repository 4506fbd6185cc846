//! The front door: where events come in. What asks for an answer gets one, and `done` means that the event is durable in the trigger mesh
//! and in the policy engine.
//!
//! ```text
//! events.<type>                  ─┐                            ┌─► the trigger mesh's host
//! grace.event.<component>.<what> ─┼─► read ─► batch, in order ─┤                          ─► done, refused or an error
//! DATA/events/*.json (folder)    ─┘                            └─► grace.cmd.event_policy
//! ```
//!
//! - An event is a CloudEvent in the NATS binding, in binary or structured mode. The subject says its type, so that the broker's
//!   permissions say who may publish which types; one that says something else is refused. Types that begin with `dev.grace.` come from
//!   Grace's own components, on their own subjects, and from nobody else.
//! - Whoever is answered `busy`, or not at all, sends again: both receivers know a copy by its source and id.
//! - One that has no room left keeps nobody else from an event: the others have it at once, and what is sent again is for him alone.
//! - The door takes no more than [`limits::DOOR_FLIGHTS`] batches at a time; the rest waits in the subscription.
//! - What asks for no answer is tried again beside the road for [`limits::DOOR_PATIENCE`], at most [`limits::DOOR_WAITING`] batches,
//!   and then dropped with a word in the log: nobody waits behind it. So Grace's own events, which nobody repeats, come at most once;
//!   while the trigger mesh is away they pass. Each is on record in its component's journal.
//! - Of Grace's own events only those come in that a subscription or a policy takes (`own`). To who asks for an answer on a subject from
//!   which none is taken, the bus says that nobody listens.
//! - The records of the trigger mesh and the policy engine about single events are not events here: each would make another one.

mod folder;
mod own;
mod read;

use std::{path::PathBuf, sync::Arc};

use grace_bus::{Bus, Message, Subscription};
use grace_kernel::{
    Envelope, Outcome,
    process::{here::announce, later, serve::listen, tell, thread::Commands, wire},
};
use grace_types::{
    chance::{Entropy as _, OsEntropy},
    time::Clock,
};
use serde::{Deserialize, Serialize};
use serde_json::{json, value::RawValue};
use tokio::sync::Semaphore;

pub(super) use self::own::Wishes;
use self::read::Written;
pub use self::read::{Wrong, structured};
use super::{Command, Ingested, Reply, TriggerMesh};
use crate::{
    clockwork::Clockwork,
    limits,
    policies::{self, EventPolicies, Observation},
};

/// Everybody's events.
const EVENTS: &str = "events.>";
/// What comes in on the bus.
pub(super) const SUBJECTS: [&str; 2] = [EVENTS, own::EVERYTHING];

/// Why an event was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotTaken {
    /// Why.
    pub message: String,
    /// Whether it would not be taken later either.
    pub lasting: bool,
}

/// An answer as it is read.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    done: Option<serde_json::Value>,
    #[serde(default)]
    refused: Option<serde_json::Value>,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    error: Option<wire::WireError>,
}

/// Reads the door's answer to an event.
///
/// # Errors
/// It was not taken.
pub fn read_answer(body: &[u8]) -> Result<(), NotTaken> {
    let odd = || NotTaken { message: "the front door's answer is not understood".to_owned(), lasting: false };
    let answer: Answer = serde_json::from_slice(body).map_err(|_| odd())?;
    match answer {
        Answer { done: Some(_), .. } => Ok(()),
        Answer { refused: Some(_), message, .. } => {
            Err(NotTaken { message: message.unwrap_or_default(), lasting: true })
        }
        Answer { error: Some(error), .. } => Err(NotTaken { message: error.message, lasting: false }),
        _ => Err(odd()),
    }
}

/// What became of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    /// It is durable where it is wanted.
    Done { fired: usize },
    /// It may be sent again.
    Busy(String),
}

impl Fate {
    fn answer(&self) -> Vec<u8> {
        match self {
            Self::Done { fired } => json!({"done": {"fired": fired}}).to_string().into_bytes(),
            Self::Busy(message) => {
                wire::error(&wire::WireError { code: "busy".to_owned(), message: message.clone() })
            }
        }
    }
}

/// An event, and where its answer goes.
struct Arrived {
    event: Written,
    reply: Option<String>,
}

/// The policy engine's command to observe events that are written already.
#[derive(Serialize)]
struct Observe<'e> {
    op: &'static str,
    events: Vec<&'e RawValue>,
    chance: u64,
}

/// See the module's page; clones are the same door.
#[derive(Clone)]
pub(super) struct Door {
    pub(super) bus: Bus,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) commands: Commands<TriggerMesh>,
    pub(super) clockwork: Clockwork,
}

impl Door {
    /// Takes events from the bus and from the folder until the process ends.
    pub(super) fn open(self, folder: PathBuf, wishes: Wishes) {
        let door = self.clone();
        tokio::spawn(async move {
            match listen(door.bus.clone(), EVENTS.to_owned(), super::shell::NAME.to_owned()).await {
                Ok(inbox) => {
                    // Events that went down with a trigger mesh before this one are sent again.
                    tokio::spawn(announce(door.bus.clone(), super::shell::NAME));
                    door.hear(inbox, EVENTS.to_owned()).await;
                }
                Err(e) => tell(&format!("events on {EVENTS} are not heard: {e}")),
            }
        });
        tokio::spawn(own::hear(self.clone(), wishes));
        tokio::spawn(folder::watch(self, folder));
    }

    async fn hear(self, mut inbox: Subscription, subject: String) {
        let flights = Arc::new(Semaphore::new(limits::DOOR_FLIGHTS));
        let waiting = Arc::new(Semaphore::new(limits::DOOR_WAITING));
        let mut dropped = 0;
        while let Some(first) = inbox.next().await {
            let batch = self.batch(first, &mut inbox).await;
            if inbox.dropped() > dropped {
                dropped = inbox.dropped();
                tell(&format!(
                    "{dropped} events on {subject} came faster than they could be taken, and are lost"
                ));
            }
            if batch.is_empty() {
                continue;
            }
            let Ok(permit) = Arc::clone(&flights).acquire_owned().await else { return };
            let (door, waiting) = (self.clone(), Arc::clone(&waiting));
            // Its first step, into the host's queue, is taken before that of a later batch.
            tokio::spawn(async move {
                let left = door.take(batch).await;
                drop(permit);
                if !left.is_empty() {
                    door.try_again(left, &waiting).await;
                }
            });
        }
    }

    /// What has come so far, within bounds. What is no event is answered here.
    async fn batch(&self, first: Message, inbox: &mut Subscription) -> Vec<Arrived> {
        let (mut batch, mut bytes, mut next) = (Vec::new(), 0, Some(first));
        while let Some(message) = next {
            bytes += message.payload.len() + 512;
            let reply = message.reply.clone();
            let read = read::from_bus(&message, self.clock.now().wall);
            match read.and_then(|event| event.map(Written::of).transpose()) {
                Ok(Some(event)) => batch.push(Arrived { event, reply }),
                Ok(None) => {}
                Err(wrong) => self.refuse(&message, reply, &wrong).await,
            }
            if batch.len() >= limits::DOOR_BATCH || bytes >= limits::DOOR_BATCH_BYTES {
                break;
            }
            next = inbox.try_next();
        }
        batch
    }

    async fn refuse(&self, message: &Message, reply: Option<String>, wrong: &Wrong) {
        match reply {
            Some(reply) => {
                let body = json!({"refused": {"code": wrong.code()}, "message": wrong.to_string()});
                self.say(reply, body.to_string().into_bytes()).await;
            }
            None => tell(&format!("no event on {}: {wrong}", message.subject)),
        }
    }

    async fn say(&self, to: String, body: Vec<u8>) {
        // Lost with the connection: whoever asked sends again.
        let _ = self.bus.publish(Message::new(to, body)).await;
    }

    /// Has events taken, and answers those that ask for it; what is left over of those that do not.
    async fn take(&self, batch: Vec<Arrived>) -> Vec<Written> {
        let (events, replies): (Vec<Written>, Vec<Option<String>>) =
            batch.into_iter().map(|one| (one.event, one.reply)).unzip();
        let fates = self.bring(&events).await;
        let mut left = Vec::new();
        for ((event, reply), fate) in events.into_iter().zip(replies).zip(fates) {
            match (reply, &fate) {
                (Some(reply), _) => self.say(reply, fate.answer()).await,
                (None, Fate::Busy(_)) => left.push(event),
                (None, Fate::Done { .. }) => {}
            }
        }
        left
    }

    /// Tries again with events whose senders do not.
    async fn try_again(&self, mut left: Vec<Written>, waiting: &Semaphore) {
        let give_up = self.clock.now().mono.plus(limits::DOOR_PATIENCE);
        let room = waiting.try_acquire();
        while room.is_ok() && self.clock.now().mono < give_up {
            later(limits::DOOR_RETRY).await;
            let fates = self.bring(&left).await;
            let busy = left.into_iter().zip(fates).filter(|(_, fate)| matches!(fate, Fate::Busy(_)));
            left = busy.map(|(event, _)| event).collect();
            if left.is_empty() {
                return;
            }
        }
        let (count, first) = (left.len(), &left[0].event);
        tell(&format!(
            "{count} events could not be taken and are lost, {} of {} first",
            first.kind, first.source
        ));
    }

    /// What becomes of each.
    async fn bring(&self, events: &[Written]) -> Vec<Fate> {
        let given = events.iter().map(|one| one.event.clone()).collect();
        let ingest = Command::Ingest { events: given, chance: OsEntropy.next_u64() };
        let (taken, observed) = tokio::join!(self.ingest(ingest), self.observe_all(events));
        taken
            .into_iter()
            .zip(observed)
            .map(|fates| match fates {
                (Fate::Done { fired: a }, Fate::Done { fired: b }) => Fate::Done { fired: a + b },
                (busy @ Fate::Busy(_), _) | (_, busy) => busy,
            })
            .collect()
    }

    /// In as many requests as it takes, one after the other, so that they come in order.
    async fn observe_all(&self, mut events: &[Written]) -> Vec<Fate> {
        let mut fates = Vec::with_capacity(events.len());
        while !events.is_empty() {
            let (some, rest) = events.split_at(fitting(events));
            fates.extend(self.observe(some).await);
            events = rest;
        }
        fates
    }

    async fn ingest(&self, ingest: Command) -> Vec<Fate> {
        let Command::Ingest { events, .. } = &ingest else { return Vec::new() };
        let count = events.len();
        let answer = self.commands.ask(Envelope::new(ingest)).await;
        self.clockwork.nudge();
        let why = match answer {
            Ok(Outcome::Done(Reply::Ingested { events })) if events.len() == count => {
                return events.into_iter().map(Fate::from).collect();
            }
            Ok(Outcome::Refused(refusal)) => refusal.to_string(),
            Ok(Outcome::Done(_)) => "the trigger mesh answered something else".to_owned(),
            Err(e) => e.to_string(),
        };
        vec![Fate::Busy(why); count]
    }

    async fn observe(&self, events: &[Written]) -> Vec<Fate> {
        let count = events.len();
        let asked = async {
            let observe = Observe {
                op: "observe",
                events: events.iter().map(|one| &*one.json).collect(),
                chance: OsEntropy.next_u64(),
            };
            let message =
                wire::command(policies::shell::NAME, &Envelope::new(observe)).map_err(|e| e.to_string())?;
            let answer = self.bus.request(message, limits::DELIVERY_ANSWER).await;
            let answer = answer.map_err(|e| format!("the policy engine did not answer: {e}"))?;
            match wire::read_answer::<EventPolicies>(&answer.payload) {
                Ok(Outcome::Done(policies::Reply::Observed { events })) if events.len() == count => {
                    Ok(events)
                }
                Ok(Outcome::Done(_)) => Err("the policy engine answered something else".to_owned()),
                Ok(Outcome::Refused(refusal)) => Err(refusal.to_string()),
                Err(e) => Err(e.message),
            }
        };
        match asked.await {
            Ok(events) => events.into_iter().map(Fate::from).collect(),
            Err(why) => vec![Fate::Busy(why); count],
        }
    }
}

/// How many of these, from the first, go into one request to the policy engine; at least one.
fn fitting(events: &[Written]) -> usize {
    let mut bytes = 0;
    let fits = |one: &&Written| {
        bytes += one.json.get().len() + 1;
        bytes <= limits::DOOR_REQUEST_BYTES
    };
    events.iter().take_while(fits).count().max(1)
}

impl From<Ingested> for Fate {
    fn from(ingested: Ingested) -> Self {
        match ingested {
            Ingested::Taken { fired } => Self::Done { fired },
            Ingested::Duplicate | Ingested::Unwanted => Self::Done { fired: 0 },
            Ingested::Busy { reason } => Self::Busy(reason),
        }
    }
}

impl From<Observation> for Fate {
    fn from(observation: Observation) -> Self {
        match observation {
            Observation::Done { fired, .. } => Self::Done { fired: fired.len() },
            Observation::Duplicate => Self::Done { fired: 0 },
            Observation::Busy { reason } => Self::Busy(reason),
        }
    }
}
