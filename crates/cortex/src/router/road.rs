//! The roads out: to the task manager with what is allowed, to governance with what it is owed. Each is gone again and again until
//! there is an answer, and what was answered is told to the decider.
//!
//! ```text
//! Effect::HandOn ─► grace.htm.submit, many in one request, each under its own name as the key ─► whoever asked and waits, then Settle
//! Effect::Tell   ─► grace.governance.owe {"owe": {"cases": […]}} ─► Told
//! ```

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use grace_bus::{Bus, Message};
use grace_kernel::{
    Envelope, HostError, Outcome,
    process::{here::Here, later, thread::Commands, wire},
};
use grace_types::intent::{
    DISK_RESERVE, IntentId, Json, Origin, Refused, SUBMIT_SUBJECT, Submission, Submitted,
    asked::{Asked, Refusal},
};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};

use super::Router;
use crate::{
    case::{Case, Owed},
    command::Command,
    governance::{self, shell},
    limits,
    tier::Tier,
};

const TASK_MANAGER: &str = "htm";

/// What the task manager is asked.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Ask<'a> {
    Submit { intents: &'a [Submission] },
    Query(Look<'a>),
    Owe { cases: &'a [Case] },
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Look<'a> {
    Check { intents: &'a [Submission] },
}

/// What it answers.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Said {
    Submitted { results: Vec<Submitted> },
    Checked { results: Vec<Submitted> },
}

/// Whether the task manager would take these, one answer for each; `None` when it does not say in time.
pub(super) async fn check(bus: &Bus, intents: &[Submission]) -> Option<Vec<Submitted>> {
    let message = wire::command(TASK_MANAGER, &Envelope::new(Ask::Query(Look::Check { intents }))).ok()?;
    let answer = bus.request(message, limits::CHECK_WAIT).await.ok()?;
    match wire::read_reply::<Said, Refusal>(&answer.payload) {
        Ok(Outcome::Done(Said::Checked { results })) if results.len() == intents.len() => Some(results),
        _ => None,
    }
}

/// What the kernel governance is asked of a change of itself.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Change<'a> {
    Query(Sound<'a>),
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Sound<'a> {
    Sound { kind: &'a str, payload: &'a Json, by: &'a str },
}

/// How many approvers beside `by` governance has for what an intent names.
///
/// # Errors
/// Why it could not be done. While governance is away nobody can tell, which is a no.
pub(super) async fn sound(bus: &Bus, asked: &Asked, by: &str) -> Result<usize, Refused> {
    let question = Change::Query(Sound::Sound { kind: &asked.kind, payload: &asked.payload, by });
    let away = || {
        Refused::new("overloaded", "governance, which has to look at it first, does not answer: ask again")
    };
    let mut message = wire::command(shell::NAME, &Envelope::new(question)).map_err(|_| away())?;
    shell::OWE_SUBJECT.clone_into(&mut message.subject);
    let answer = bus.request(message, limits::ROAD_ANSWER).await.map_err(|_| away())?;
    match wire::read_reply::<governance::Reply, governance::Refusal>(&answer.payload) {
        Ok(Outcome::Done(governance::Reply::Sound { others })) => Ok(others),
        Ok(Outcome::Refused(refusal)) => {
            let faults = refusal.faults.map(|faults| format!(":\n{faults}")).unwrap_or_default();
            let told = format!("{}{faults}", refusal.message);
            let told: String = told.chars().take(limits::REASON_CHARS).collect();
            Err(Refused::new(refusal.code, told))
        }
        Ok(Outcome::Done(_)) | Err(_) => Err(away()),
    }
}

/// Whether it belongs to no emergency.
type Plain = bool;

/// Those who wait for what the task manager says of an intent, and what it said lately.
#[derive(Clone, Default)]
pub(super) struct Waiters {
    by_intent: Arc<Mutex<HashMap<IntentId, Vec<oneshot::Sender<Submitted>>>>>,
    pressed: Arc<AtomicBool>,
    /// What it said that is not on record yet, of emergencies first.
    said: Arc<Mutex<BTreeMap<(Plain, IntentId), Submitted>>>,
    more: Arc<Notify>,
}

impl Waiters {
    /// Hears what the task manager says of it from now on.
    pub(super) fn wait(&self, id: IntentId) -> oneshot::Receiver<Submitted> {
        let (say, hear) = oneshot::channel();
        let mut waiting = self.by_intent.lock().unwrap_or_else(PoisonError::into_inner);
        let of_it = waiting.entry(id).or_default();
        of_it.retain(|one| !one.is_closed());
        of_it.push(say);
        hear
    }

    /// Nobody waits any more who has gone.
    pub(super) fn forget(&self, id: IntentId) {
        let mut waiting = self.by_intent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_it) = waiting.get_mut(&id) {
            of_it.retain(|one| !one.is_closed());
            if of_it.is_empty() {
                waiting.remove(&id);
            }
        }
    }

    /// Whether it had no room for something lately.
    pub(super) fn is_pressed(&self) -> bool {
        self.pressed.load(Ordering::Relaxed)
    }

    pub(super) fn press(&self, pressed: bool) {
        self.pressed.store(pressed, Ordering::Relaxed);
    }

    /// What the task manager said that is not on record yet, so much as goes into one command. Who asks about an intent is to have that on record
    /// before; what is put on record twice counts once. What belongs to emergencies goes alone: on a disk that is almost full nothing else
    /// goes on record.
    pub(super) fn unsettled(&self) -> Option<Vec<(IntentId, Submitted)>> {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let ((first, _), _) = said.first_key_value()?;
        let alike = said.iter().take_while(|((plain, _), _)| plain == first).take(limits::BATCH);
        Some(alike.map(|((_, id), result)| (*id, result.clone())).collect())
    }

    /// The task manager said this.
    fn note(&self, said: Vec<((Plain, IntentId), Submitted)>) {
        // First: who waits may ask as soon as it is told.
        self.said.lock().unwrap_or_else(PoisonError::into_inner).extend(said.iter().cloned());
        self.more.notify_one();
        let mut waiting = self.by_intent.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.is_empty() {
            return;
        }
        for ((_, id), submitted) in said {
            for one in waiting.remove(&id).into_iter().flatten() {
                // It may have gone.
                let _ = one.send(submitted.clone());
            }
        }
    }

    fn noted(&self, intents: &[IntentId]) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        for id in intents {
            if said.remove(&(true, *id)).is_none() {
                said.remove(&(false, *id));
            }
        }
    }
}

/// The way to the task manager.
#[derive(Clone)]
struct Road {
    manager: Here,
    // What is under way stands in the state, which bounds it.
    again: mpsc::UnboundedSender<Submission>,
    waiters: Waiters,
}

/// Starts handing on. What is sent to the way that comes back is handed on.
pub(super) fn hand_on(
    bus: Bus,
    commands: Commands<Router>,
    waiters: Waiters,
) -> mpsc::UnboundedSender<Submission> {
    let (queue, wanted) = mpsc::unbounded_channel();
    tokio::spawn(settle(waiters.clone(), commands));
    let manager = Here::of(bus, TASK_MANAGER);
    let road = Road { manager, again: queue.clone(), waiters };
    tokio::spawn(road.run(wanted));
    queue
}

impl Road {
    async fn run(self, mut wanted: mpsc::UnboundedReceiver<Submission>) {
        let room = Arc::new(Semaphore::new(limits::HAND_FLIGHTS));
        let mut taken = Vec::new();
        while wanted.recv_many(&mut taken, limits::BATCH).await > 0 {
            let (mut part, mut bytes) = (Vec::new(), 0);
            for one in taken.drain(..) {
                let weight = one.payload.len() + limits::SUBMISSION_BYTES;
                if bytes + weight > limits::REQUEST_BYTES && !part.is_empty() {
                    self.go(&room, std::mem::take(&mut part)).await;
                    bytes = 0;
                }
                bytes += weight;
                part.push(one);
            }
            if !part.is_empty() {
                self.go(&room, part).await;
            }
        }
    }

    async fn go(&self, room: &Arc<Semaphore>, mut part: Vec<Submission>) {
        let Ok(permit) = Arc::clone(room).acquire_owned().await else { return };
        let road = self.clone();
        tokio::spawn(async move {
            let _permit = permit;
            let results = loop {
                match road.submitted(&mut part).await {
                    Some(results) => break results,
                    None => later(limits::ROAD_AGAIN).await,
                }
            };
            let mut said = Vec::with_capacity(part.len());
            for (one, result) in part.into_iter().zip(results) {
                let Some(id) = one.id else { continue };
                match &result {
                    // With room again it is taken.
                    Submitted::Refused(refused) if refused.code == "overloaded" => {
                        road.waiters.press(true);
                        road.again_later(one);
                    }
                    Submitted::Refused(refused) if refused.code == DISK_RESERVE => road.again_later(one),
                    _ => {
                        let emergency = one.origin.as_ref().is_some_and(|origin| origin.is_emergency());
                        said.push(((!emergency, id), result));
                    }
                }
            }
            road.waiters.note(said);
        });
    }

    fn again_later(&self, one: Submission) {
        let again = self.again.clone();
        tokio::spawn(async move {
            later(limits::ROOM_AGAIN).await;
            let _ = again.send(one);
        });
    }

    async fn submitted(&self, part: &mut [Submission]) -> Option<Vec<Submitted>> {
        shorten(part);
        let message = asking(part);
        lengthen(part);
        let mut message = message?;
        SUBMIT_SUBJECT.clone_into(&mut message.subject);
        let answer = self.manager.request(message, limits::ROAD_ANSWER).await.ok()?;
        match wire::read_reply::<Said, Refusal>(&answer.payload) {
            Ok(Outcome::Done(Said::Submitted { results })) if results.len() == part.len() => Some(results),
            _ => None,
        }
    }
}

/// The request that hands these on.
fn asking(part: &[Submission]) -> Option<Message> {
    let mut envelope = Envelope::new(Ask::Submit { intents: part });
    let origins = || part.iter().filter_map(|one| one.origin.as_deref());
    envelope.hops = origins().map(|origin| origin.hops).max().unwrap_or(0);
    if let ([_], Some(origin)) = (part, origins().next()) {
        envelope.correlation = origin.correlation.as_deref().and_then(|id| id.parse().ok());
        envelope.causation = origin.causation.as_deref().and_then(|id| id.parse().ok());
        envelope.traceparent.clone_from(&origin.traceparent);
    }
    wire::command(TASK_MANAGER, &envelope).ok()
}

/// As they travel: what is the same in each is said once.
fn shorten(part: &mut [Submission]) {
    let mut before: Option<Arc<Origin>> = None;
    for one in part {
        let same = |origin: &&Arc<Origin>| {
            before.as_ref().is_some_and(|before| Arc::ptr_eq(before, origin) || before == *origin)
        };
        one.origin_as_before = one.origin.as_ref().filter(same).is_some();
        if one.origin_as_before {
            one.origin = None;
        } else {
            before.clone_from(&one.origin);
        }
    }
}

/// The other way round.
fn lengthen(part: &mut [Submission]) {
    let mut before: Option<Arc<Origin>> = None;
    for one in part {
        if std::mem::take(&mut one.origin_as_before) {
            one.origin.clone_from(&before);
        } else {
            before.clone_from(&one.origin);
        }
    }
}

/// Tells the decider what the task manager said, until it is on disk.
async fn settle(waiters: Waiters, commands: Commands<Router>) {
    loop {
        waiters.more.notified().await;
        // Nobody waits for it: what comes within a moment shares a record and a sync, which would hold up decisions.
        later(limits::SETTLE_GATHER).await;
        while let Some(results) = waiters.unsettled() {
            let intents: Vec<IntentId> = results.iter().map(|(id, _)| *id).collect();
            match commands.ask(Envelope::new(Command::Settle { results })).await {
                Err(HostError::Stopping) => return,
                // Another time: something that goes first may have come meanwhile.
                Err(_) => later(limits::ROAD_AGAIN).await,
                Ok(_) => waiters.noted(&intents),
            }
        }
    }
}

/// The ways to governance: one for what belongs to emergencies, which waits for nothing else, and one for the rest.
pub(super) struct Telling([mpsc::UnboundedSender<Case>; 2]);

impl Telling {
    pub(super) fn tell(&self, case: Case) {
        // The receivers end with the process.
        let _ = self.0[usize::from(case.tier == Tier::Emergency)].send(case);
    }
}

/// Starts telling governance of cases.
pub(super) fn tell(bus: &Bus, commands: &Commands<Router>) -> Telling {
    Telling([(); 2].map(|()| way(bus.clone(), commands.clone())))
}

fn way(bus: Bus, commands: Commands<Router>) -> mpsc::UnboundedSender<Case> {
    // What is owed stands in the state, which bounds it.
    let (queue, mut owed) = mpsc::unbounded_channel::<Case>();
    tokio::spawn(async move {
        let mut taken = Vec::new();
        while owed.recv_many(&mut taken, limits::CASES).await > 0 {
            // One at a time where they are large: a request has a bound.
            let most = limits::REQUEST_BYTES / (limits::SUBMISSION_BYTES + largest(&taken));
            for part in taken.chunks(most.max(1)) {
                while held(&bus, part).await.is_none() {
                    later(limits::ROOM_AGAIN).await;
                }
                let cases: Vec<(IntentId, Owed)> = part.iter().map(|case| (case.intent, case.owed)).collect();
                if commands.insist(Command::Told { cases }, limits::ROAD_AGAIN).await.is_err() {
                    return;
                }
            }
            taken.clear();
        }
    });
    queue
}

fn largest(cases: &[Case]) -> usize {
    cases.iter().map(|case| case.payload.len()).max().unwrap_or(0)
}

async fn held(bus: &Bus, cases: &[Case]) -> Option<()> {
    let mut message: Message = wire::command(shell::NAME, &Envelope::new(Ask::Owe { cases })).ok()?;
    shell::OWE_SUBJECT.clone_into(&mut message.subject);
    let answer = bus.request(message, limits::ROAD_ANSWER).await.ok()?;
    match wire::read_reply::<serde::de::IgnoredAny, Refusal>(&answer.payload) {
        Ok(Outcome::Done(_)) => Some(()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shortened_comes_back_whole() {
        let origin =
            |by: &str| Some(Arc::new(Origin { approved_by: Some(by.to_owned()), ..Origin::default() }));
        let (shared, equal) = (origin("a"), origin("a"));
        let all = [None, shared.clone(), shared.clone(), equal, origin("b"), None, shared.clone(), shared];
        let whole = all.map(|origin| Submission { origin, ..Submission::default() });
        let mut part = whole.clone();
        shorten(&mut part);
        let said = part.iter().map(|one| (one.origin.is_some(), one.origin_as_before)).collect::<Vec<_>>();
        let (none, first, again) = ((false, false), (true, false), (false, true));
        assert_eq!(said, [none, first, again, again, first, none, first, again]);
        lengthen(&mut part);
        assert_eq!(part, whole);
    }
}
