//! What policies make of a batch of events.

use std::collections::{HashMap, HashSet};

use grace_kernel::{Decision, Recorded};
use grace_types::{
    chance::SeededEntropy,
    event::Event as CloudEvent,
    id::EventId,
    reason::Why,
    time::{Now, Timestamp},
};
use serde_json::Value;

use super::{
    cascade::{Stop, root_of},
    compiled::{Compiled, Outcome, Verdict},
    decider::EventPolicies,
    message::{Event, Observation, Observed, Refusal, Reply},
    state::{Entry, Guard, State},
};
use crate::{
    delivery::{
        action::{Cause, Work},
        breaker::{Breaker, Change},
        lane::Delivery,
        share::{Share, put},
        step::{Intake, Step},
    },
    expression::Scope,
    limits,
    seen::Mark,
};

/// One batch while it is decided: the state does not change until it is recorded.
struct Batch<'s> {
    state: &'s State,
    at_ms: u64,
    wall: Timestamp,
    entropy: SeededEntropy,
    intake: Intake<'s>,
    marks: HashSet<Mark>,
    /// Counted in this batch.
    counted: HashMap<(&'s str, String), usize>,
    /// Set off in this batch, by root.
    made: HashMap<u128, u32>,
    /// Policies whose guard changed in this batch, or that were told of.
    rests: HashSet<&'s str>,
    told: HashSet<&'s str>,
    records: Vec<Recorded<Event>>,
}

/// What came of one event.
#[derive(Default)]
struct Course {
    /// How many causes lie before it: as is known here, and as counts.
    known: u32,
    hops: u32,
    counted: Vec<(String, String)>,
    fired: Vec<(String, Vec<String>)>,
    stopped: Vec<String>,
    /// Those that had no room for what they set off.
    missed: Vec<String>,
    steps: Vec<Step>,
    records: Vec<Recorded<Event>>,
}

pub(super) fn observe(
    state: &State,
    now: Now,
    events: &[CloudEvent],
    chance: u64,
) -> Decision<EventPolicies> {
    if events.len() > limits::EVENTS {
        let reason = format!("{} events in one batch; at most {} are taken", events.len(), limits::EVENTS);
        return Decision::refuse(Refusal::Full { reason });
    }
    let at_ms = state.steady.at(now);
    let mut batch = Batch {
        state,
        at_ms,
        wall: now.wall,
        entropy: SeededEntropy::new(chance),
        intake: Intake::new(&state.lanes, at_ms),
        marks: HashSet::new(),
        counted: HashMap::new(),
        made: HashMap::new(),
        rests: HashSet::new(),
        told: HashSet::new(),
        records: Vec::new(),
    };
    let mut replies = Vec::with_capacity(events.len());
    let mut groups: Vec<Share<Observed>> = Vec::new();
    for event in events {
        let mark = Mark::of(event);
        // Of one that others have seen, it is for those who had no room.
        let left = state.memory.missed(mark);
        if batch.marks.contains(&mark) || (state.memory.knows(mark) && left.is_none()) {
            replies.push(Observation::Duplicate);
            continue;
        }
        let course = batch.event(event, left);
        let fired = course.fired.iter().map(|(name, _)| name.clone()).collect();
        replies.push(match course.missed.as_slice() {
            [] => Observation::Done { fired, stopped: course.stopped },
            names => Observation::Busy { reason: full(names) },
        });
        batch.records.extend(course.records);
        if course.counted.is_empty() && course.fired.is_empty() {
            continue;
        }
        batch.marks.insert(mark);
        let Course { counted, fired, missed, hops, .. } = course;
        let (id, root) = (event.id, root_of(event));
        let one = Observed { mark, id, root, hops, counted, fired, missed };
        put(&mut groups, one, course.steps, limits::RECORD_BYTES);
    }
    let wall_ms = now.wall.as_millis();
    let mut decision = Decision::reply(Reply::Observed { events: replies });
    for Share { events, steps, .. } in groups {
        let why = why(&events);
        let event = Event::Observed { at_ms, wall_ms, events, steps };
        decision = decision.record(Recorded::new(
            event,
            "event_policy",
            "type, window and condition of each policy",
            why,
        ));
    }
    batch.records.into_iter().fold(decision, Decision::record)
}

fn why(events: &[Observed]) -> Why {
    let mut fired: Vec<&str> =
        events.iter().flat_map(|one| &one.fired).map(|(name, _)| name.as_str()).collect();
    fired.sort_unstable();
    fired.dedup();
    let more = fired.len().saturating_sub(8);
    fired.truncate(8);
    let counted: usize = events.iter().map(|one| one.counted.len()).sum();
    let names = fired.join(", ");
    match (fired.is_empty(), more) {
        (true, _) => {
            Why::because("policy.counted", format!("{counted} windows count {} events", events.len()))
        }
        (false, 0) => Why::because("policy.fired", format!("{} events fire {names}", events.len())),
        (false, more) => {
            Why::because("policy.fired", format!("{} events fire {names} and {more} more", events.len()))
        }
    }
}

impl<'s> Batch<'s> {
    /// `left`: those that it is for, where others have seen it already.
    fn event(&mut self, event: &CloudEvent, left: Option<&[String]>) -> Course {
        let mut course = Course { known: self.state.cascades.depth(event), ..Course::default() };
        let state = self.state;
        // Who says less than is known makes its chain no longer; who says more makes it shorter.
        let deeper = (event.hops < course.known).then(|| CloudEvent { hops: course.known, ..event.clone() });
        let event = deeper.as_ref().unwrap_or(event);
        course.hops = event.hops;
        let order = state.index.matching(&event.kind);
        // What policies without a window see: one for all of them, and what it converts once.
        let plain = Scope::new().with_event(event).with("count", &Value::Null);
        for (_, name) in &order {
            if left.is_some_and(|left| !left.iter().any(|one| **one == **name)) {
                continue;
            }
            let Some((name, entry)) = state.policies.get_key_value(&**name) else { continue };
            let (true, Some(compiled)) = (entry.policy.enabled, state.compiled.get(name.as_str())) else {
                continue;
            };
            let fired = match self.count(name, entry, compiled, event) {
                Ok(Some((group, count))) => {
                    // One that is there again was counted.
                    let count = if left.is_some() {
                        count - 1
                    } else {
                        course.counted.push((name.clone(), group));
                        count
                    };
                    let count = Value::from(count);
                    let scope = Scope::new().with_event(event).with("count", &count);
                    self.judge((name, entry, compiled), (event, &scope), &mut course)
                }
                Ok(None) => self.judge((name, entry, compiled), (event, &plain), &mut course),
                Err(reason) => {
                    self.failed(name, event, reason);
                    continue;
                }
            };
            if fired && entry.policy.last {
                break;
            }
        }
        for (name, group) in &course.counted {
            if let Some((name, _)) = state.policies.get_key_value(name) {
                *self.counted.entry((name, group.clone())).or_default() += 1;
            }
        }
        *self.made.entry(root_of(event).as_bits()).or_default() +=
            u32::try_from(course.steps.len()).unwrap_or(u32::MAX);
        course
    }

    /// Fires a policy whose condition holds, unless something speaks against it; whether it does.
    fn judge(
        &mut self,
        (name, entry, compiled): (&'s str, &'s Entry, &'s Compiled),
        (event, scope): (&CloudEvent, &Scope<'_>),
        course: &mut Course,
    ) -> bool {
        match compiled.holds(scope) {
            Ok(true) if self.may_fire(name, entry, compiled, event, course) => {
                self.fire(name, compiled, (event, scope), course);
                true
            }
            Ok(_) => false,
            Err(reason) => {
                self.failed(name, event, reason);
                false
            }
        }
    }

    /// The group that an event is counted in, and how many there are with it.
    fn count(
        &self,
        name: &'s str,
        entry: &Entry,
        compiled: &Compiled,
        event: &CloudEvent,
    ) -> Result<Option<(String, usize)>, String> {
        let Some(window) = &entry.policy.window else { return Ok(None) };
        let group = compiled.group(&Scope::new().with_event(event))?;
        let before = entry.counts.count(&group, self.at_ms, window.within.millis());
        let now = self.counted.get(&(name, group.clone())).copied().unwrap_or(0);
        let count = (before + now + 1).min(limits::WINDOW_EVENTS);
        Ok(Some((group, count)))
    }

    /// Whether nothing speaks against a policy's acting: its chain and its guard.
    fn may_fire(
        &mut self,
        name: &'s str,
        entry: &Entry,
        compiled: &Compiled,
        event: &CloudEvent,
        course: &mut Course,
    ) -> bool {
        if !compiled.acts() {
            return true;
        }
        let made = self.made.get(&root_of(event).as_bits()).copied().unwrap_or(0);
        let more = made.saturating_add(u32::try_from(course.steps.len()).unwrap_or(u32::MAX));
        let stop = self.state.cascades.judge(name, entry.policy.repeat, event, more);
        let rests = self.rests.contains(name).then(|| "its chain was stopped".to_owned());
        match (stop, rests, State::guard(entry, self.at_ms)) {
            // A policy on trial that comes again in its own chain has failed the trial.
            (Some(stop), None, guard)
                if !matches!((&guard, &entry.guard), (Guard::Rests(_), Breaker::Open { .. })) =>
            {
                self.stop(name, event, stop, course);
                false
            }
            (_, Some(reason), _) | (_, None, Guard::Rests(reason)) => {
                self.rested(name, event, &reason);
                false
            }
            (Some(_), None, _) => false,
            (None, None, Guard::Open) => true,
            (None, None, Guard::Trial) => {
                // One: the others of this batch come when it is known how that went.
                self.rests.insert(name);
                let text = "its rest is over; it may act once";
                course.records.push(self.guard(name, Change::HalfOpened, "cascade.trial", text));
                true
            }
            (None, None, Guard::Mended) => {
                if self.told.insert(name) {
                    let text = "it acted on trial, and its chain was not stopped";
                    course.records.push(self.guard(name, Change::Closed, "cascade.mended", text));
                }
                true
            }
        }
    }

    fn guard(&self, name: &str, change: Change, code: &str, text: &str) -> Recorded<Event> {
        let event = Event::Guard { policy: name.to_owned(), change, at_ms: self.at_ms };
        Recorded::new(event, name, "guard", Why::because(code, text))
    }

    fn stop(&mut self, name: &'s str, event: &CloudEvent, stop: Stop, course: &mut Course) {
        course.stopped.push(name.to_owned());
        let (code, text) = (stop.code(), stop.to_string());
        // That its chain is so long is its sender's word alone: it goes no further, and the policy acts for others.
        let claimed = matches!(stop, Stop::Depth { .. }) && course.known < limits::CASCADE_DEPTH;
        if claimed && self.was_told(name) {
            return;
        }
        let until_ms = self.at_ms.saturating_add(limits::CASCADE_REST_MS);
        let change = Change::Opened { until_ms, reason: text.clone() };
        let stopped =
            Event::Stopped { policy: name.to_owned(), cause: Cause::of(event), stop, at_ms: self.at_ms };
        course.records.push(Recorded::new(
            stopped,
            name,
            "cascade detector",
            Why::because(code, text.clone()),
        ));
        if claimed {
            return;
        }
        self.rests.insert(name);
        course.records.push(self.guard(name, change, code, &text));
    }

    /// Fires a policy: it does all that follows, or, where there is no room for all of it, nothing.
    fn fire(
        &mut self,
        name: &'s str,
        compiled: &Compiled,
        (event, scope): (&CloudEvent, &Scope<'_>),
        course: &mut Course,
    ) {
        let (works, notes, dead) = match compiled.render(scope) {
            Ok((works, notes)) => (works, notes, None),
            Err(why) => {
                let work = Work::Unrendered { event: Box::new(event.clone()) };
                (vec![work], Vec::new(), Some(format!("what follows cannot be rendered: {why}")))
            }
        };
        let before = course.steps.len();
        for work in works {
            let id = EventId::new(self.wall, &mut self.entropy);
            // What follows belongs to the same root, also where the root says nothing of it.
            let cause = Cause { correlation: Some(root_of(event)), ..Cause::of(event) };
            let delivery = Delivery { key: id.to_string(), id, work, cause: Some(cause), attempts: 0 };
            match self.intake.take(name, delivery, dead.clone(), self.wall) {
                Some(step) => course.steps.push(step),
                // What was placed of it counts until the batch is decided: a little less is taken then, never more.
                None => {
                    course.steps.truncate(before);
                    return course.missed.push(name.to_owned());
                }
            }
        }
        course.fired.push((name.to_owned(), notes));
    }

    fn was_told(&mut self, name: &'s str) -> bool {
        let before = self.state.policies.get(name).and_then(|entry| entry.told_ms);
        let lately = before.is_some_and(|then| then.saturating_add(limits::FAILURES_EVERY_MS) > self.at_ms);
        lately || !self.told.insert(name)
    }

    fn failed(&mut self, name: &'s str, event: &CloudEvent, reason: String) {
        if self.was_told(name) {
            return;
        }
        let text = format!("the condition cannot be evaluated, so it does not fire: {reason}");
        let event = Event::Failed { policy: name.to_owned(), cause: event.id, reason, at_ms: self.at_ms };
        self.records.push(Recorded::new(event, name, "condition", Why::because("policy.condition", text)));
    }

    fn rested(&mut self, name: &'s str, event: &CloudEvent, reason: &str) {
        if self.was_told(name) {
            return;
        }
        let event = Event::Rested { policy: name.to_owned(), cause: event.id, at_ms: self.at_ms };
        let why = Why::because("policy.rests", format!("it does not act on what it matches: {reason}"));
        self.records.push(Recorded::new(event, name, "guard", why));
    }
}

/// What is said of those that have no room.
fn full(names: &[String]) -> String {
    format!("there is no room left in the queue and the dead letters of {}", names.join(", "))
}

/// What would come of an event, in the order in which policies see it. The rest follows by name.
pub(super) fn test(state: &State, now: Now, event: &CloudEvent) -> Vec<Verdict> {
    let at_ms = state.steady.at(now);
    let (mut verdicts, mut kept) = (Vec::new(), None::<String>);
    let order = state.index.matching(&event.kind);
    for (_, name) in &order {
        let Some(entry) = state.policies.get(&**name) else { continue };
        let outcome = match &kept {
            _ if !entry.policy.enabled => Outcome::Disabled,
            Some(policy) => Outcome::KeptBy { policy: policy.clone() },
            None => verdict(state, name, entry, event, at_ms),
        };
        if entry.policy.last && matches!(outcome, Outcome::Fires { .. } | Outcome::Fails { .. }) {
            kept = Some(name.to_string());
        }
        verdicts.push(Verdict { policy: name.to_string(), outcome });
    }
    let seen: HashSet<&str> = order.iter().map(|(_, name)| &**name).collect();
    let others = state.policies.iter().filter(|(name, _)| !seen.contains(name.as_str()));
    verdicts.extend(others.map(|(name, entry)| Verdict {
        policy: name.clone(),
        outcome: if entry.policy.enabled { Outcome::OtherType } else { Outcome::Disabled },
    }));
    verdicts
}

fn verdict(state: &State, name: &str, entry: &Entry, event: &CloudEvent, at_ms: u64) -> Outcome {
    let (true, Some(compiled)) = (entry.policy.enabled, state.compiled.get(name)) else {
        return Outcome::Disabled;
    };
    let count = match &entry.policy.window {
        None => Value::Null,
        Some(window) => match compiled.group(&Scope::new().with_event(event)) {
            Ok(group) => Value::from(entry.counts.count(&group, at_ms, window.within.millis()) + 1),
            Err(reason) => return Outcome::ConditionFails { reason },
        },
    };
    let scope = Scope::new().with_event(event).with("count", &count);
    match compiled.holds(&scope) {
        Ok(true) => {}
        Ok(false) => return Outcome::ConditionFalse,
        Err(reason) => return Outcome::ConditionFails { reason },
    }
    if compiled.acts() {
        if let Guard::Rests(reason) = State::guard(entry, at_ms) {
            return Outcome::Rests { reason };
        }
        if let Some(stop) = state.cascades.judge(name, entry.policy.repeat, event, 0) {
            return Outcome::Stopped { reason: stop.to_string() };
        }
    }
    match compiled.render(&scope) {
        Ok((works, notes)) => Outcome::Fires { works, notes },
        Err(reason) => Outcome::Fails { reason },
    }
}
