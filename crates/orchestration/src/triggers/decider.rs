//! The trigger mesh's decisions.

use std::{collections::HashMap, fmt};

use grace_kernel::{Decider, Decision, Recorded};
use grace_types::{
    chance::SeededEntropy,
    event::Event as CloudEvent,
    id::EventId,
    reason::Why,
    time::{Now, Timestamp},
};
use serde::{Deserialize, Serialize};

use super::{
    compiled::{Compiled, Outcome, Verdict},
    state::State,
    subscription::Subscription,
};
use crate::{
    delivery::{
        action::{Cause, Fault, Work, is_name},
        happening::Happening,
        lane::{DeadLetter, Delivery},
        step::{Intake, Perform, Place, Report, Step},
    },
    expression::{Scope, short},
    limits,
    seen::Mark,
    steady::Began,
};

/// The decider.
#[derive(Debug)]
pub enum TriggerMesh {}

/// What the trigger mesh can be asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Command {
    /// A process takes over. Before everything else.
    Begin {
        /// The machine's boot id.
        boot: String,
    },
    /// This subscription is there from now on; it replaces the one of that name.
    Put {
        /// Its name.
        name: String,
        /// What it is.
        subscription: Box<Subscription>,
    },
    /// This subscription is there no longer, nor what is in its lane.
    Remove {
        /// Its name.
        name: String,
    },
    /// These events happened.
    Ingest {
        /// At most [`limits::EVENTS`].
        events: Vec<CloudEvent>,
        /// For the ids of what is published.
        chance: u64,
    },
    /// Time has passed.
    Tick,
    /// This became of attempts.
    Settle {
        /// At most [`limits::EVENTS`].
        reports: Vec<Report>,
        /// For the times of retries.
        chance: u64,
    },
    /// Dead letters are to be tried again.
    Requeue {
        /// Whose.
        name: String,
        /// Which; all where it is left out.
        keys: Option<Vec<String>>,
    },
    /// Dead letters are to be thrown away.
    Discard {
        /// Whose.
        name: String,
        /// Which; all where it is left out.
        keys: Option<Vec<String>>,
    },
    /// What would come of this event?
    Test {
        /// The event.
        event: Box<CloudEvent>,
    },
    /// All subscriptions, in short.
    List,
    /// One subscription, with its dead letters.
    Show {
        /// Its name.
        name: String,
    },
}

/// What can happen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The line of time goes on in another boot.
    Began(Began),
    /// A subscription was put in.
    Put {
        /// Its name.
        name: String,
        /// What it is.
        subscription: Box<Subscription>,
    },
    /// A subscription was taken out.
    Removed {
        /// Its name.
        name: String,
        /// Deliveries that waited, and dead letters, that went with it.
        dropped: u64,
    },
    /// Events were taken.
    Accepted {
        /// When, steady milliseconds.
        at_ms: u64,
        /// When, by the wall clock, milliseconds.
        wall_ms: u64,
        /// Each of them.
        events: Vec<Taken>,
        /// Their deliveries.
        steps: Vec<Step>,
    },
    /// Deliveries went on.
    Delivery(Happening),
    /// A filter cannot be evaluated.
    FilterFailed {
        /// Whose.
        name: String,
        /// Over which event.
        cause: EventId,
        /// Why.
        reason: String,
        /// When, steady milliseconds.
        at_ms: u64,
    },
}

/// An event that was taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Taken {
    /// Its source and id.
    pub mark: Mark,
    /// The subscriptions that fired.
    pub fired: Vec<String>,
    /// The subscriptions that it came too soon for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub throttled: Vec<String>,
}

/// What the trigger mesh answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    /// Done.
    Done,
    /// What came of each event, in order.
    Ingested {
        /// One for each.
        events: Vec<Ingested>,
    },
    /// What would come of the event in each subscription.
    Verdicts {
        /// By name.
        verdicts: Vec<Verdict>,
    },
    /// All subscriptions.
    Subscriptions {
        /// By name.
        rows: Vec<Row>,
    },
    /// One subscription.
    Subscription {
        /// In short.
        row: Row,
        /// As it was given.
        subscription: Box<Subscription>,
        /// Oldest first, at most [`limits::ROWS`].
        dead_letters: Vec<DeadLetter>,
    },
    /// So many dead letters.
    Letters {
        /// How many.
        count: usize,
    },
}

/// What came of one event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Ingested {
    /// It fired so many subscriptions.
    Taken {
        /// How many.
        fired: usize,
    },
    /// It had been taken before.
    Duplicate,
    /// No subscription takes it.
    Unwanted,
    /// There is no room for what it sets off: send it again later.
    Busy {
        /// Why.
        reason: String,
    },
}

/// A subscription in short.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// Its types.
    pub types: Vec<String>,
    /// Whether it takes events.
    pub enabled: bool,
    /// Firings.
    pub fired: u64,
    /// Events that came too soon.
    pub throttled: u64,
    /// Deliveries that were done.
    pub done: u64,
    /// Deliveries that wait or are tried again later.
    pub waiting: usize,
    /// Deliveries under way.
    pub in_flight: usize,
    /// Dead letters.
    pub dead: usize,
    /// `closed`, `open` or `half_open`.
    pub breaker: String,
    /// Why it is not closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What the trigger mesh refuses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "refusal", rename_all = "snake_case")]
pub enum Refusal {
    /// There is no such subscription.
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// The subscription cannot be used.
    Invalid {
        /// Everything that is wrong with it.
        faults: Vec<Fault>,
    },
    /// There are too many.
    Full {
        /// Of what, and how many are taken.
        reason: String,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { name } => write!(f, "there is no subscription `{}`", short(name)),
            Self::Invalid { faults } => {
                let all: Vec<String> = faults.iter().map(ToString::to_string).collect();
                f.write_str(&all.join("; "))
            }
            Self::Full { reason } => f.write_str(reason),
        }
    }
}

impl Decider for TriggerMesh {
    type State = State;
    type Command = Command;
    type Event = Event;
    type Reply = Reply;
    type Refusal = Refusal;
    type Effect = Perform;

    fn decide(state: &State, now: Now, command: &Command) -> Decision<Self> {
        match command {
            Command::Begin { boot } => begin(state, now, boot),
            Command::Put { name, subscription } => put(state, name, subscription),
            Command::Remove { name } => remove(state, name),
            Command::Ingest { events, chance } => ingest(state, now, events, *chance),
            Command::Tick => {
                let steps = state.lanes.start(state.steady.at(now), limits::STARTS);
                happened(state, now, steps, Reply::Done)
            }
            Command::Settle { reports, chance } => {
                let steps = state.lanes.settle(reports, state.steady.at(now), now.wall, *chance);
                happened(state, now, steps, Reply::Done)
            }
            Command::Requeue { name, keys } => letters(state, now, name, |state| {
                let plan = state.compiled.get(name.as_str()).map(|compiled| &compiled.plan);
                let render = |event: &CloudEvent| plan?.render(&Scope::new().with_event(event)).ok();
                state.lanes.requeue(name, keys.as_deref(), render)
            }),
            Command::Discard { name, keys } => letters(state, now, name, |state| {
                state.lanes.discard(name, keys.as_deref()).into_iter().collect()
            }),
            Command::Test { event } => Decision::reply(Reply::Verdicts { verdicts: test(state, now, event) }),
            Command::List => {
                let rows = state.subscriptions.keys().filter_map(|name| row(state, name)).collect();
                Decision::reply(Reply::Subscriptions { rows })
            }
            Command::Show { name } => show(state, name),
        }
    }

    fn evolve(state: &mut State, event: &Event) {
        match event {
            Event::Began(began) => state.steady.began(began),
            Event::Put { name, subscription } => state.put(name, subscription),
            Event::Removed { name, .. } => state.remove(name),
            Event::Accepted { at_ms, wall_ms, events, steps } => {
                state.steady.seen(*at_ms, *wall_ms);
                for step in steps {
                    state.lanes.apply(step, *at_ms);
                }
                for taken in events {
                    state.memory.add(taken.mark, *at_ms);
                    for name in &taken.fired {
                        if let Some(entry) = state.subscriptions.get_mut(name) {
                            entry.fired += 1;
                            entry.fired_ms = Some(*at_ms);
                        }
                    }
                    for name in &taken.throttled {
                        if let Some(entry) = state.subscriptions.get_mut(name) {
                            entry.throttled += 1;
                        }
                    }
                }
            }
            Event::Delivery(happening) => {
                state.steady.seen(happening.at_ms, happening.wall_ms);
                happening.apply(&mut state.lanes);
            }
            Event::FilterFailed { name, at_ms, .. } => {
                if let Some(entry) = state.subscriptions.get_mut(name) {
                    entry.failed_ms = Some(*at_ms);
                }
            }
        }
    }

    fn effects(state: &State, event: &Recorded<Event>) -> Vec<Perform> {
        match event.event() {
            Event::Accepted { steps, .. } => {
                steps.iter().flat_map(|step| state.lanes.performs(step)).collect()
            }
            Event::Delivery(happening) => happening.performs(&state.lanes),
            _ => Vec::new(),
        }
    }

    fn outstanding(state: &State) -> Vec<Perform> {
        state.lanes.under_way()
    }

    fn what(event: &Event) -> &'static str {
        match event {
            Event::Began(_) => "began",
            Event::Put { .. } => "subscription_put",
            Event::Removed { .. } => "subscription_removed",
            Event::Accepted { .. } => "events_accepted",
            Event::Delivery(happening) => happening.kind.what(),
            Event::FilterFailed { .. } => "filter_failed",
        }
    }
}

fn begin(state: &State, now: Now, boot: &str) -> Decision<TriggerMesh> {
    match state.steady.begin(boot, now) {
        None => Decision::reply(Reply::Done),
        Some(began) => {
            let why = Why::because("boot.new", "the machine was started since");
            Decision::reply(Reply::Done).record(Recorded::new(
                Event::Began(began),
                "trigger_mesh",
                "boot id",
                why,
            ))
        }
    }
}

fn put(state: &State, name: &str, subscription: &Subscription) -> Decision<TriggerMesh> {
    if !is_name(name) {
        let message = "letters, digits, `_` and `-`, at most 63";
        return Decision::refuse(Refusal::Invalid { faults: vec![Fault::new(&["name"], message)] });
    }
    let before = state.subscriptions.get(name);
    if before.is_none() && state.subscriptions.len() >= limits::SUBSCRIPTIONS {
        let reason = format!("there are {} subscriptions, and no more are taken", limits::SUBSCRIPTIONS);
        return Decision::refuse(Refusal::Full { reason });
    }
    if let Err(faults) = Compiled::of(subscription) {
        return Decision::refuse(Refusal::Invalid { faults });
    }
    if before.is_some_and(|before| before.subscription == *subscription) {
        return Decision::reply(Reply::Done);
    }
    let text = match before {
        None => "a new subscription was given",
        Some(_) => "the subscription was given anew, and differs",
    };
    let event = Event::Put { name: name.to_owned(), subscription: Box::new(subscription.clone()) };
    let why = Why::because("subscription.given", text);
    Decision::reply(Reply::Done).record(Recorded::new(event, name, "operator", why))
}

fn remove(state: &State, name: &str) -> Decision<TriggerMesh> {
    let Some(lane) = state.lanes.get(name) else {
        return Decision::refuse(Refusal::Unknown { name: name.to_owned() });
    };
    let dropped = (lane.depth() + lane.flying.len() + lane.dead.len()) as u64;
    let event = Event::Removed { name: name.to_owned(), dropped };
    let why = Why::because("subscription.removed", format!("asked for; {dropped} deliveries go with it"));
    Decision::reply(Reply::Done).record(Recorded::new(event, name, "operator", why))
}

fn letters(
    state: &State,
    now: Now,
    name: &str,
    steps: impl FnOnce(&State) -> Vec<Step>,
) -> Decision<TriggerMesh> {
    if !state.subscriptions.contains_key(name) {
        return Decision::refuse(Refusal::Unknown { name: name.to_owned() });
    }
    let steps = steps(state);
    let of = |step: &Step| match step {
        Step::Requeued { keys, .. } | Step::Discarded { keys, .. } => keys.len(),
        _ => 0,
    };
    let count = steps.iter().map(of).sum();
    happened(state, now, steps, Reply::Letters { count })
}

fn happened(state: &State, now: Now, steps: Vec<Step>, reply: Reply) -> Decision<TriggerMesh> {
    let groups = Happening::group(steps, state.steady.at(now), now.wall.as_millis());
    groups
        .into_iter()
        .fold(Decision::reply(reply), |decision, group| decision.record(group.recorded(Event::Delivery)))
}

/// One `ingest` while it is decided.
struct Ingestion<'s> {
    state: &'s State,
    at_ms: u64,
    wall: Timestamp,
    entropy: SeededEntropy,
    intake: Intake<'s>,
    /// Firings within this batch.
    fired: HashMap<&'s str, u64>,
    marks: std::collections::HashSet<Mark>,
    failures: Vec<Recorded<Event>>,
    failed: std::collections::HashSet<&'s str>,
    bytes: u64,
}

fn ingest(state: &State, now: Now, events: &[CloudEvent], chance: u64) -> Decision<TriggerMesh> {
    if events.len() > limits::EVENTS {
        let reason = format!("{} events in one batch; at most {} are taken", events.len(), limits::EVENTS);
        return Decision::refuse(Refusal::Full { reason });
    }
    let at_ms = state.steady.at(now);
    let mut ingestion = Ingestion {
        state,
        at_ms,
        wall: now.wall,
        entropy: SeededEntropy::new(chance),
        intake: Intake::new(&state.lanes, at_ms),
        fired: HashMap::new(),
        marks: std::collections::HashSet::new(),
        failures: Vec::new(),
        failed: std::collections::HashSet::new(),
        bytes: state.lanes.bytes(),
    };
    let mut replies = Vec::with_capacity(events.len());
    let mut batches: Vec<(Vec<Taken>, Vec<Step>, usize)> = Vec::new();
    for event in events {
        let mark = Mark::of(event);
        if state.memory.knows(mark) || ingestion.marks.contains(&mark) {
            replies.push(Ingested::Duplicate);
            continue;
        }
        match ingestion.take(event) {
            Err(reason) => replies.push(Ingested::Busy { reason }),
            Ok((fired, throttled, _)) if fired.is_empty() && throttled.is_empty() => {
                replies.push(Ingested::Unwanted);
            }
            Ok((fired, throttled, steps)) => {
                ingestion.marks.insert(mark);
                replies.push(Ingested::Taken { fired: fired.len() });
                let weight: usize = steps.iter().map(weight).sum();
                match batches.last_mut() {
                    Some(last) if last.2 + weight <= limits::RECORD_BYTES => {
                        last.0.push(Taken { mark, fired, throttled });
                        last.1.extend(steps);
                        last.2 += weight;
                    }
                    _ => batches.push((vec![Taken { mark, fired, throttled }], steps, weight)),
                }
            }
        }
    }
    let failures = std::mem::take(&mut ingestion.failures);
    let wall_ms = now.wall.as_millis();
    let mut decision = Decision::reply(Reply::Ingested { events: replies });
    for (events, steps, _) in batches {
        decision = decision.record(accepted(Event::Accepted { at_ms, wall_ms, events, steps }));
    }
    failures.into_iter().fold(decision, Decision::record)
}

fn accepted(event: Event) -> Recorded<Event> {
    let Event::Accepted { events, .. } = &event else {
        return Recorded::new(event, "trigger_mesh", "subscription", Why::because("trigger.taken", "taken"));
    };
    let mut names: Vec<&str> = events.iter().flat_map(|taken| &taken.fired).map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    let more = names.len().saturating_sub(8);
    names.truncate(8);
    let (count, names) = (events.len(), names.join(", "));
    let text = match more {
        0 => format!("{count} events match {names}"),
        more => format!("{count} events match {names} and {more} more"),
    };
    Recorded::new(
        event,
        "trigger_mesh",
        "type and filter of each subscription",
        Why::because("trigger.match", text),
    )
}

/// About the bytes of a step in the journal, the names and ids around the work included.
fn weight(step: &Step) -> usize {
    match step {
        Step::Queued { delivery, .. } | Step::Dead { delivery, .. } => delivery.work.weight() + 400,
        _ => 200,
    }
}

type Fired = (Vec<String>, Vec<String>, Vec<Step>);

impl<'s> Ingestion<'s> {
    fn take(&mut self, event: &CloudEvent) -> Result<Fired, String> {
        let (mut fired, mut throttled, mut steps) = (Vec::new(), Vec::new(), Vec::new());
        let state = self.state;
        let names = state.index.matching(&event.kind);
        if names.is_empty() {
            return Ok((fired, throttled, steps));
        }
        let scope = Scope::new().with_event(event);
        let mut bytes = 0;
        for name in &names {
            let Some((name, entry)) = state.subscriptions.get_key_value(&**name) else { continue };
            let (true, Some(compiled)) = (entry.subscription.enabled, state.compiled.get(name.as_str()))
            else {
                continue;
            };
            let (work, dead) = match compiled.judge(&scope) {
                Outcome::Fires { work, .. } => (work, None),
                Outcome::Fails { reason } => (
                    Work::Unrendered { event: Box::new(event.clone()) },
                    Some(format!("the action cannot be rendered: {reason}")),
                ),
                Outcome::FilterFails { reason } => {
                    self.filter_failed(name, event, reason);
                    continue;
                }
                _ => continue,
            };
            if self.too_soon(name).is_some() {
                throttled.push(name.clone());
                continue;
            }
            bytes += work.weight() as u64;
            if self.bytes + bytes > limits::DELIVERY_BYTES {
                return Err(format!("{} bytes of work wait already", self.bytes));
            }
            let id = EventId::new(self.wall, &mut self.entropy);
            let delivery =
                Delivery { key: id.to_string(), id, work, cause: Some(Cause::of(event)), attempts: 0 };
            steps.push(self.place(name, delivery, dead)?);
            fired.push(name.clone());
        }
        self.bytes += bytes;
        for name in &fired {
            if let Some((name, _)) = state.subscriptions.get_key_value(name) {
                self.fired.insert(name, self.at_ms);
            }
        }
        Ok((fired, throttled, steps))
    }

    fn place(&mut self, name: &'s str, delivery: Delivery, dead: Option<String>) -> Result<Step, String> {
        let (owner, time) = (name.to_owned(), self.wall);
        match self.intake.place(name, dead.is_some()) {
            Place::Flight => Ok(Step::Queued { owner, delivery, start: true }),
            Place::Queue => Ok(Step::Queued { owner, delivery, start: false }),
            Place::DeadLetters => {
                let reason = dead.unwrap_or_else(|| "the queue is full".to_owned());
                Ok(Step::Dead { owner, delivery, reason, time })
            }
            Place::Nowhere => Err(format!("the queue and the dead letters of {name} are full")),
        }
    }

    /// How long until the subscription may fire again, where it may not now.
    fn too_soon(&self, name: &str) -> Option<u64> {
        let entry = self.state.subscriptions.get(name)?;
        let within = entry.subscription.throttle.as_ref()?.once_within.millis();
        let last = self.fired.get(name).copied().or(entry.fired_ms)?;
        last.saturating_add(within).checked_sub(self.at_ms).filter(|left| *left > 0)
    }

    fn filter_failed(&mut self, name: &'s str, event: &CloudEvent, reason: String) {
        let before = self.state.subscriptions.get(name).and_then(|entry| entry.failed_ms);
        let lately = before.is_some_and(|then| then.saturating_add(limits::FAILURES_EVERY_MS) > self.at_ms);
        if lately || !self.failed.insert(name) {
            return;
        }
        let why = Why::because(
            "trigger.filter",
            format!("the filter cannot be evaluated, so it does not fire: {reason}"),
        );
        let event = Event::FilterFailed { name: name.to_owned(), cause: event.id, reason, at_ms: self.at_ms };
        self.failures.push(Recorded::new(event, name, "filter", why));
    }
}

fn test(state: &State, now: Now, event: &CloudEvent) -> Vec<Verdict> {
    let at_ms = state.steady.at(now);
    let scope = Scope::new().with_event(event);
    let each = state.subscriptions.iter().take(limits::SUBSCRIPTIONS);
    each.map(|(name, entry)| Verdict {
        subscription: name.clone(),
        outcome: verdict(state, name, &entry.subscription, (event, &scope), (entry.fired_ms, at_ms)),
    })
    .collect()
}

fn verdict(
    state: &State,
    name: &str,
    subscription: &Subscription,
    (event, scope): (&CloudEvent, &Scope<'_>),
    (fired_ms, at_ms): (Option<u64>, u64),
) -> Outcome {
    let Some(compiled) = state.compiled.get(name) else { return Outcome::Disabled };
    if !compiled.takes(event) {
        return Outcome::OtherType;
    }
    if !subscription.enabled {
        return Outcome::Disabled;
    }
    let outcome = compiled.judge(scope);
    if !matches!(outcome, Outcome::Fires { .. } | Outcome::Fails { .. }) {
        return outcome;
    }
    if let (Some(throttle), Some(then)) = (&subscription.throttle, fired_ms) {
        let until = then.saturating_add(throttle.once_within.millis());
        if until > at_ms {
            return Outcome::Throttled { for_ms: until - at_ms };
        }
    }
    match (outcome, state.lanes.get(name)) {
        (Outcome::Fires { work, .. }, Some(lane)) => {
            let held_up = match (lane.room(at_ms), lane.breaker.reason()) {
                ((0, _), Some(reason)) => Some(format!("the breaker is {}: {reason}", lane.breaker.word())),
                ((0, _), None) => {
                    Some("it waits for its turn: the rate or the deliveries under way".to_owned())
                }
                _ => None,
            };
            Outcome::Fires { work, held_up }
        }
        (outcome, _) => outcome,
    }
}

fn row(state: &State, name: &str) -> Option<Row> {
    let (entry, lane) = (state.subscriptions.get(name)?, state.lanes.get(name)?);
    Some(Row {
        name: name.to_owned(),
        types: entry.subscription.types.clone(),
        enabled: entry.subscription.enabled,
        fired: entry.fired,
        throttled: entry.throttled,
        done: lane.done,
        waiting: lane.depth(),
        in_flight: lane.flying.len(),
        dead: lane.dead.len(),
        breaker: lane.breaker.word().to_owned(),
        reason: lane.breaker.reason().map(str::to_owned),
    })
}

fn show(state: &State, name: &str) -> Decision<TriggerMesh> {
    let (Some(row), Some(entry), Some(lane)) =
        (row(state, name), state.subscriptions.get(name), state.lanes.get(name))
    else {
        return Decision::refuse(Refusal::Unknown { name: name.to_owned() });
    };
    Decision::reply(Reply::Subscription {
        row,
        subscription: Box::new(entry.subscription.clone()),
        dead_letters: lane.dead.iter().take(limits::ROWS).cloned().collect(),
    })
}
