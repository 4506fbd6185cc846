//! Carries out what lanes have begun: intents go to the cortex, events to the front door. What became of each is reported.
//!
//! ```text
//! Perform ─► submit ─► grace.intent.automation.<component>, many in one request, each under its delivery's key ─┐
//!         └► publish ─► events.<type>, a request: the answer means durable ────────────────────────────────────┴─► Report ─► settle
//! ```
//!
//! Nothing that was received is tried again here but the report: the lane decides about that. A receiver that is away, or a lost
//! connection, is no failure at first: the same is sent until somebody is there again, at once to one that says that it is back, within [`limits::DELIVERY_ANSWER`]. What was done
//! and whose answer was lost is done again under the same key, and the receiver knows it. What runs at a time is bounded by the lanes
//! ([`super::lane::Settings`]).

use std::sync::Arc;

use grace_bus::{Bus, BusError, Headers, Message};
use grace_kernel::{
    Decider, Envelope, Outcome,
    process::{
        here::{Here, here_subject},
        later,
        thread::Commands,
        wire::{self, command_subject},
    },
};
use grace_types::{
    chance::{Entropy as _, OsEntropy},
    event::Event,
    id::{CorrelationId, EventId},
    intent::{
        DISK_RESERVE, Origin,
        asked::{Answered, Asked, DecisionState, Refusal, Reply, Request, intent_subject},
    },
    manifest::Permissions,
    reason::Reason,
    time::{Clock, Hlc},
};
use tokio::sync::{Semaphore, mpsc};

use super::{
    action::{Cause, Work},
    step::{Perform, Report},
};
use crate::{
    clockwork::Clockwork,
    htm::IntentId,
    intent::{Json, Priority},
    limits, triggers,
};

/// The subject of an event of this type at the front door, where an answer means that it is durable.
#[must_use]
pub fn event_subject(kind: &str) -> String {
    format!("events.{kind}")
}

/// What kind of actor asks for what a trigger, an event policy or a schedule wants.
pub(crate) const AUTOMATION: &str = "automation";

/// Who decides about intents.
const CORTEX: &str = "cortex";

/// What the component `name`, which delivers, may say and hear on the bus.
pub(crate) fn permissions_to_deliver(name: &str) -> Permissions {
    Permissions::only(
        [format!("grace.event.{name}.>"), intent_subject(AUTOMATION, name), event_subject(">")],
        [
            command_subject(name),
            here_subject(CORTEX),
            here_subject(triggers::shell::NAME),
            format!("_INBOX.{name}.>"),
        ],
    )
}

/// A decider whose state holds lanes.
pub(crate) trait Deliverer: Decider<Effect = Perform, Command: Clone> {
    /// Its name as a component.
    const COMPONENT: &'static str;
    /// What an owner of a lane is called: `trigger`.
    const OWNER: &'static str;
    /// The command that says what became of deliveries.
    fn settle(reports: Vec<Report>, chance: u64) -> Self::Command;
}

/// An intent that was submitted for a delivery.
#[derive(Debug, Clone)]
pub(crate) struct Begun {
    /// The delivery's key.
    pub(crate) key: String,
    /// The intent.
    pub(crate) intent: IntentId,
}

/// The way to have deliveries performed.
pub(crate) struct Performer {
    // Bounded by the lanes: each has so many under way at most, and they stand in the state already.
    queue: mpsc::UnboundedSender<Perform>,
}

impl Performer {
    /// Starts performing. `begun` hears of each intent that was taken.
    pub(crate) fn start<D: Deliverer>(
        bus: Bus,
        clock: Arc<dyn Clock>,
        commands: Commands<D>,
        clockwork: Clockwork,
        begun: Option<mpsc::UnboundedSender<Begun>>,
    ) -> Self {
        let (queue, performs) = mpsc::unbounded_channel();
        let (reports, settled) = mpsc::unbounded_channel();
        let cortex = Here::of(bus.clone(), CORTEX);
        let front_door = Here::of(bus, triggers::shell::NAME);
        let (owner, component) = (D::OWNER, D::COMPONENT);
        let road = Road { cortex, front_door, clock, reports, begun, owner, component };
        tokio::spawn(road.perform(performs));
        tokio::spawn(settle(settled, commands, clockwork));
        Self { queue }
    }

    /// Has it performed.
    pub(crate) fn perform(&self, perform: Perform) {
        // It ends with the process.
        let _ = self.queue.send(perform);
    }
}

/// Tells the decider what became of deliveries, until it has heard.
async fn settle<D: Deliverer>(
    mut settled: mpsc::UnboundedReceiver<Report>,
    commands: Commands<D>,
    clockwork: Clockwork,
) {
    let mut reports = Vec::new();
    while settled.recv_many(&mut reports, limits::EVENTS).await > 0 {
        let settle = D::settle(std::mem::take(&mut reports), OsEntropy.next_u64());
        if commands.insist(settle, limits::SETTLE_RETRY).await.is_err() {
            return;
        }
        clockwork.nudge();
    }
}

#[derive(Clone)]
struct Road {
    cortex: Here,
    front_door: Here,
    clock: Arc<dyn Clock>,
    reports: mpsc::UnboundedSender<Report>,
    begun: Option<mpsc::UnboundedSender<Begun>>,
    owner: &'static str,
    component: &'static str,
}

impl Road {
    async fn perform(self, mut performs: mpsc::UnboundedReceiver<Perform>) {
        let room = Arc::new(Semaphore::new(limits::REQUESTS_UNDER_WAY));
        let mut taken = Vec::new();
        while performs.recv_many(&mut taken, limits::BATCH).await > 0 {
            let (mut submits, mut bytes) = (Vec::new(), 0);
            for perform in taken.drain(..) {
                match &perform.delivery.work {
                    Work::Submit { .. } => {
                        let weight = perform.delivery.work.weight();
                        if bytes + weight > limits::SUBMIT_BYTES && !submits.is_empty() {
                            self.submit(&room, std::mem::take(&mut submits)).await;
                            bytes = 0;
                        }
                        bytes += weight;
                        submits.push(perform);
                    }
                    Work::Publish { .. } => self.publish(&room, perform).await,
                    Work::Unrendered { .. } => {
                        self.report(&perform, Some(("it could not be rendered", true)));
                    }
                }
            }
            if !submits.is_empty() {
                self.submit(&room, submits).await;
            }
        }
    }

    /// Sends a request for these on a task of its own, as soon as there is room.
    async fn submit(&self, room: &Arc<Semaphore>, performs: Vec<Perform>) {
        let Ok(permit) = Arc::clone(room).acquire_owned().await else { return };
        let road = self.clone();
        tokio::spawn(async move {
            let _permit = permit;
            match road.submitted(&performs).await {
                Ok(results) => {
                    for (perform, result) in performs.iter().zip(results) {
                        road.taken(perform, result);
                    }
                }
                Err(why) => performs.iter().for_each(|one| road.report(one, Some((&why, false)))),
            }
        });
    }

    async fn submitted(&self, performs: &[Perform]) -> Result<Vec<Answered>, String> {
        let intents: Vec<Asked> = performs.iter().filter_map(|one| self.asked(one)).collect();
        let mut envelope = Envelope::new(Request::Submit { intents: &intents });
        envelope.hops = performs.iter().map(|one| hops(one.delivery.cause.as_ref())).max().unwrap_or(0);
        if let [one] = performs {
            let cause = one.delivery.cause.as_ref();
            envelope.correlation = Some(correlation(cause, one.delivery.id));
            envelope.causation = cause.map(|cause| cause.event);
            envelope.traceparent = cause.and_then(|cause| cause.traceparent.clone());
        }
        let subject = intent_subject(AUTOMATION, self.component);
        let message = wire::command(&subject, &envelope).map_err(|e| e.to_string())?;
        let message = Message { subject, ..message };
        let answer = self.ask(&self.cortex, message).await;
        let answer = answer.map_err(|e| format!("the cortex did not answer: {e}"))?;
        match wire::read_reply::<Reply, Refusal>(&answer.payload) {
            Ok(Outcome::Done(Reply::Submitted { results })) if results.len() == intents.len() => Ok(results),
            Ok(Outcome::Done(_)) => Err("the cortex answered something else".to_owned()),
            Ok(Outcome::Refused(refusal)) => Err(refusal.message),
            Err(e) => Err(e.message),
        }
    }

    /// Asks until somebody is there who can answer: whoever is started again is back within moments, and a lane that counted that as
    /// failures would open its breaker over it.
    async fn ask(&self, receiver: &Here, message: Message) -> Result<Message, BusError> {
        let give_up = self.clock.now().mono.plus(limits::DELIVERY_ANSWER);
        loop {
            let left = give_up.since(self.clock.now().mono);
            let asked = receiver.request(message.clone(), left).await;
            let away = matches!(asked, Err(BusError::NoResponders { .. } | BusError::NotConnected));
            if !away || self.clock.now().mono >= give_up {
                return asked;
            }
            later(limits::DELIVERY_AGAIN).await;
        }
    }

    fn taken(&self, perform: &Perform, result: Answered) {
        let (why, lasting) = match result {
            Answered::Decided(decision)
                if matches!(decision.state, DecisionState::Denied | DecisionState::Failed) =>
            {
                let reasons: Vec<String> = decision.reasons.iter().map(ToString::to_string).collect();
                (format!("{} {}: {}", decision.id, decision.state.word(), reasons.join("; ")), true)
            }
            // What waits for people is on disk there: there is nothing to send again.
            Answered::Decided(decision) => {
                if let Some(begun) = &self.begun {
                    let _ = begun.send(Begun { key: perform.delivery.key.clone(), intent: decision.id });
                }
                return self.report(perform, None);
            }
            // With room again it may be taken; what is wrong with it stays wrong.
            Answered::Refused(refused) => {
                (refused.to_string(), !["overloaded", DISK_RESERVE].contains(&refused.code.as_str()))
            }
        };
        self.report(perform, Some((&why, lasting)));
    }

    fn asked(&self, perform: &Perform) -> Option<Asked> {
        let Work::Submit { intent, payload, priority, deadline_ms } = &perform.delivery.work else {
            return None;
        };
        let actor = format!("{}:{}", self.owner, perform.owner);
        let cause = perform.delivery.cause.as_ref();
        let reason = cause.map_or_else(
            || {
                Reason::new(
                    format!("{}.fired", self.owner),
                    format!("{} {} fired", self.owner, perform.owner),
                )
            },
            |cause| {
                let (owner, name, kind, source) = (self.owner, &perform.owner, &cause.kind, &cause.source);
                let text = format!("{owner} {name} fired on {kind} from {source} ({})", cause.event);
                Reason::new(format!("{owner}.fired"), text)
            },
        );
        Some(Asked {
            kind: intent.clone(),
            payload: Json::of(payload),
            key: Some(perform.delivery.key.clone()),
            priority: (*priority != Priority::default()).then_some(*priority),
            deadline_ms: *deadline_ms,
            origin: Some(Box::new(Origin {
                reasons: vec![reason],
                correlation: Some(correlation(cause, perform.delivery.id).to_string()),
                causation: cause.map(|cause| cause.event.to_string()),
                hops: hops(cause),
                traceparent: cause.and_then(|cause| cause.traceparent.clone()),
                ..Origin::default()
            })),
            actor,
            ..Asked::default()
        })
    }

    async fn publish(&self, room: &Arc<Semaphore>, perform: Perform) {
        let Ok(permit) = Arc::clone(room).acquire_owned().await else { return };
        let road = self.clone();
        tokio::spawn(async move {
            let _permit = permit;
            let failed = road.published(&perform).await.err();
            road.report(&perform, failed.as_ref().map(|(why, lasting)| (why.as_str(), *lasting)));
        });
    }

    async fn published(&self, perform: &Perform) -> Result<(), (String, bool)> {
        let Some(event) = self.event(perform) else { return Ok(()) };
        let headers: Headers = event.to_headers().into_iter().collect();
        let body = serde_json::to_vec(&event.data).map_err(|e| (e.to_string(), true))?;
        let message = Message::new(event_subject(&event.kind), body).with_headers(headers);
        let answer = self.ask(&self.front_door, message).await;
        let answer = answer.map_err(|e| (format!("the trigger mesh did not answer: {e}"), false))?;
        match triggers::door::read_answer(&answer.payload) {
            Ok(()) => Ok(()),
            Err(refused) => Err((refused.message, refused.lasting)),
        }
    }

    fn event(&self, perform: &Perform) -> Option<Event> {
        let Work::Publish { kind, subject, data } = &perform.delivery.work else { return None };
        let (cause, now) = (perform.delivery.cause.as_ref(), self.clock.now().wall);
        Some(Event {
            id: perform.delivery.id,
            source: format!("/grace/{}/{}", self.component, perform.owner),
            kind: kind.clone(),
            subject: subject.clone(),
            time: now,
            correlationid: Some(correlation(cause, perform.delivery.id)),
            causationid: cause.map(|cause| cause.event),
            traceparent: cause.and_then(|cause| cause.traceparent.clone()),
            hops: hops(cause),
            hlc: Hlc::default().tick(now),
            data: data.clone(),
        })
    }

    fn report(&self, perform: &Perform, failed: Option<(&str, bool)>) {
        let _ = self.reports.send(Report {
            owner: perform.owner.clone(),
            key: perform.delivery.key.clone(),
            failed: failed.map(|(why, _)| why.chars().take(limits::REASON_CHARS).collect()),
            lasting: failed.is_some_and(|(_, lasting)| lasting),
        });
    }
}

/// What it belongs to: what its cause belongs to; an event that belongs to nothing begins something.
fn correlation(cause: Option<&Cause>, id: EventId) -> CorrelationId {
    let begins = |event: EventId| CorrelationId::from_bits(event.as_bits());
    cause.map_or_else(|| begins(id), |cause| cause.correlation.unwrap_or_else(|| begins(cause.event)))
}

fn hops(cause: Option<&Cause>) -> u32 {
    cause.map_or(0, |cause| cause.hops.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use grace_bus::{
        auth::{AuthTable, Credential, User},
        client::memory::MemoryNet,
    };
    use grace_types::time::SystemClock;
    use serde_json::json;

    use super::*;
    use crate::delivery::lane::Delivery;

    /// One delivery of an event that is on its way to the front door.
    struct Bench {
        net: MemoryNet,
        bus: Bus,
        settled: mpsc::UnboundedReceiver<Report>,
        _queue: mpsc::UnboundedSender<Perform>,
    }

    fn bench() -> Bench {
        let users = vec![User {
            name: "a".into(),
            credential: Credential::of_password("a"),
            permissions: Permissions::only([">"], [">"]),
            allow_responses: None,
        }];
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let net = MemoryNet::new(&AuthTable { users }, 1, Arc::clone(&clock)).unwrap();
        let bus = net.client("a").unwrap().bus();
        let (reports, settled) = mpsc::unbounded_channel();
        let (queue, performs) = mpsc::unbounded_channel();
        let road = Road {
            cortex: Here::of(bus.clone(), CORTEX),
            front_door: Here::of(bus.clone(), triggers::shell::NAME),
            clock,
            reports,
            begun: None,
            owner: "trigger",
            component: "trigger_mesh",
        };
        tokio::spawn(road.perform(performs));
        let work = Work::Publish { kind: "com.x".into(), subject: None, data: json!({}) };
        let delivery =
            Delivery { key: "k".into(), id: EventId::from_bits(7), work, cause: None, attempts: 1 };
        queue.send(Perform { owner: "one".into(), delivery }).unwrap();
        Bench { net, bus, settled, _queue: queue }
    }

    impl Bench {
        async fn answered(&mut self, asked: Message) {
            let done = Message::new(asked.reply.unwrap(), r#"{"done": {"fired": 0}}"#);
            self.bus.publish(done).await.unwrap();
            let report = self.settled.recv().await.unwrap();
            assert_eq!((report.key.as_str(), report.failed), ("k", None));
        }
    }

    #[tokio::test]
    async fn a_receiver_that_is_away_is_asked_again_until_it_is_back() {
        let mut bench = bench();
        // Nobody has heard it, more than once.
        while bench.net.counts().published < 3 {
            tokio::task::yield_now().await;
        }
        assert!(bench.settled.try_recv().is_err(), "it is no failure yet");
        let mut door = bench.bus.subscribe("events.>", None).await.unwrap();
        let asked = door.next().await.unwrap();
        bench.answered(asked).await;
    }

    #[tokio::test]
    async fn a_receiver_that_went_down_with_the_question_is_asked_again_when_it_says_that_it_is_back() {
        let mut bench = bench();
        let mut door = bench.bus.subscribe("events.>", None).await.unwrap();
        door.next().await.unwrap();
        bench.bus.publish(Message::new(here_subject(triggers::shell::NAME), "")).await.unwrap();
        let asked = door.next().await.unwrap();
        bench.answered(asked).await;
    }
}
