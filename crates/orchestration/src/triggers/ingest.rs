//! What subscriptions make of a batch of events.

use std::collections::{HashMap, HashSet};

use grace_kernel::{Decision, Recorded};
use grace_types::{
    chance::SeededEntropy,
    event::Event as CloudEvent,
    id::EventId,
    reason::Why,
    time::{Now, Timestamp},
};

use super::{
    compiled::{Outcome, Verdict},
    decider::TriggerMesh,
    message::{Event, Ingested, Refusal, Reply, Taken},
    state::State,
    subscription::Subscription,
};
use crate::{
    delivery::{
        action::{Cause, Work},
        lane::Delivery,
        share::{Share, put},
        step::{Intake, Step},
    },
    expression::Scope,
    limits,
    seen::Mark,
};

/// One `ingest` while it is decided.
struct Ingestion<'s> {
    state: &'s State,
    at_ms: u64,
    wall: Timestamp,
    entropy: SeededEntropy,
    intake: Intake<'s>,
    /// Firings within this batch.
    fired: HashMap<&'s str, u64>,
    marks: HashSet<Mark>,
    failures: Vec<Recorded<Event>>,
    failed: HashSet<&'s str>,
}

pub(super) fn ingest(state: &State, now: Now, events: &[CloudEvent], chance: u64) -> Decision<TriggerMesh> {
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
        marks: HashSet::new(),
        failures: Vec::new(),
        failed: HashSet::new(),
    };
    let mut replies = Vec::with_capacity(events.len());
    let mut batches: Vec<Share<Taken>> = Vec::new();
    for event in events {
        let mark = Mark::of(event);
        // Of one that others have, it is for those who had no room.
        let (known, left) = (state.memory.knows(mark), state.memory.missed(mark));
        if ingestion.marks.contains(&mark) || (known && left.is_none()) {
            replies.push(Ingested::Duplicate);
            continue;
        }
        let Course { fired, throttled, missed, steps } = ingestion.take(event, left);
        replies.push(match missed.as_slice() {
            [] if !fired.is_empty() || !throttled.is_empty() => Ingested::Taken { fired: fired.len() },
            [] if known => Ingested::Duplicate,
            [] => Ingested::Unwanted,
            names => Ingested::Busy { reason: full(names) },
        });
        if !fired.is_empty() || !throttled.is_empty() {
            ingestion.marks.insert(mark);
            let taken = Taken { mark, fired, throttled, missed };
            put(&mut batches, taken, steps, limits::RECORD_BYTES);
        }
    }
    let failures = std::mem::take(&mut ingestion.failures);
    let wall_ms = now.wall.as_millis();
    let mut decision = Decision::reply(Reply::Ingested { events: replies });
    for Share { events, steps, .. } in batches {
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
    let mut why = Why::because("trigger.match", text);
    if let Some(taken) = events.iter().find(|taken| !taken.missed.is_empty()) {
        why = why.and("trigger.full", full(&taken.missed));
    }
    Recorded::new(event, "trigger_mesh", "type and filter of each subscription", why)
}

/// What came of one event.
#[derive(Default)]
struct Course {
    fired: Vec<String>,
    throttled: Vec<String>,
    /// Those that had no room for it.
    missed: Vec<String>,
    steps: Vec<Step>,
}

impl<'s> Ingestion<'s> {
    /// `left`: those that it is for, where others have it already.
    fn take(&mut self, event: &CloudEvent, left: Option<&[String]>) -> Course {
        let mut course = Course::default();
        let state = self.state;
        let names = state.index.matching(&event.kind);
        if names.is_empty() {
            return course;
        }
        let scope = Scope::new().with_event(event);
        for name in &names {
            if left.is_some_and(|left| !left.iter().any(|one| **one == **name)) {
                continue;
            }
            let Some((name, entry)) = state.subscriptions.get_key_value(&**name) else { continue };
            let (true, Some(compiled)) = (entry.subscription.enabled, state.compiled.get(name.as_str()))
            else {
                continue;
            };
            if event.hops >= limits::CASCADE_DEPTH {
                self.chain_stopped(name, event);
                continue;
            }
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
                course.throttled.push(name.clone());
                continue;
            }
            let id = EventId::new(self.wall, &mut self.entropy);
            let delivery =
                Delivery { key: id.to_string(), id, work, cause: Some(Cause::of(event)), attempts: 0 };
            match self.intake.take(name, delivery, dead, self.wall) {
                Some(step) => {
                    course.steps.push(step);
                    course.fired.push(name.clone());
                    self.fired.insert(name, self.at_ms);
                }
                None => course.missed.push(name.clone()),
            }
        }
        course
    }

    /// How long until the subscription may fire again, where it may not now.
    fn too_soon(&self, name: &str) -> Option<u64> {
        let entry = self.state.subscriptions.get(name)?;
        let within = entry.subscription.throttle.as_ref()?.once_within.millis();
        let last = self.fired.get(name).copied().or(entry.fired_ms)?;
        last.saturating_add(within).checked_sub(self.at_ms).filter(|left| *left > 0)
    }

    fn filter_failed(&mut self, name: &'s str, event: &CloudEvent, reason: String) {
        let why = Why::because(
            "trigger.filter",
            format!("the filter cannot be evaluated, so it does not fire: {reason}"),
        );
        let failed =
            Event::FilterFailed { name: name.to_owned(), cause: event.id, reason, at_ms: self.at_ms };
        self.tell(name, Recorded::new(failed, name, "filter", why));
    }

    fn chain_stopped(&mut self, name: &'s str, event: &CloudEvent) {
        let (hops, most) = (event.hops, limits::CASCADE_DEPTH);
        let why = Why::because(
            "trigger.chain",
            format!("{} has {hops} causes before it, and at {most} a chain is stopped", event.kind),
        );
        let stopped = Event::ChainStopped { name: name.to_owned(), cause: event.id, hops, at_ms: self.at_ms };
        self.tell(name, Recorded::new(stopped, name, "recursion limit", why));
    }

    /// Has it recorded, unless something of the kind was recorded lately.
    fn tell(&mut self, name: &'s str, record: Recorded<Event>) {
        let before = self.state.subscriptions.get(name).and_then(|entry| entry.failed_ms);
        let lately = before.is_some_and(|then| then.saturating_add(limits::FAILURES_EVERY_MS) > self.at_ms);
        if !lately && self.failed.insert(name) {
            self.failures.push(record);
        }
    }
}

/// What is said of those that have no room.
fn full(names: &[String]) -> String {
    format!("there is no room left in the queue and the dead letters of {}", names.join(", "))
}

/// What would come of an event in each subscription.
pub(super) fn test(state: &State, now: Now, event: &CloudEvent) -> Vec<Verdict> {
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
    if event.hops >= limits::CASCADE_DEPTH {
        return Outcome::ChainTooLong { hops: event.hops };
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
