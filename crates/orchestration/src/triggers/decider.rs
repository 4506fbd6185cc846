//! The trigger mesh's decisions, but for those about events ([`super::ingest`]).

use std::collections::BTreeMap;

use grace_kernel::{Decider, Decision, Recorded};
use grace_types::{event::Event as CloudEvent, reason::Why, time::Now};

use super::{
    compiled::Compiled,
    ingest::{ingest, test},
    message::{Command, Event, Refusal, Reply, Row},
    state::State,
    subscription::Subscription,
};
use crate::{
    clockwork::Passed,
    delivery::{
        action::{Fault, is_name},
        happening::Happening,
        lane::Lane,
        step::{Perform, Step},
    },
    expression::Scope,
    limits,
};

/// The decider.
#[derive(Debug)]
pub enum TriggerMesh {}

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
            Command::Declare { subscriptions } => declare(state, subscriptions),
            Command::Remove { name } => remove(state, name),
            Command::Ingest { events, chance } => ingest(state, now, events, *chance),
            Command::Tick => {
                let steps = state.lanes.start(state.steady.at(now), limits::STARTS);
                let passed = Passed::after(&steps, state.next_ms(), state.steady.at(now));
                happened(state, now, steps, Reply::Ticked(passed))
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
            Command::Overview => Decision::reply(Reply::Overview(
                state.lanes.overview(state.subscriptions.len(), state.totals),
            )),
        }
    }

    fn evolve(state: &mut State, event: &Event) {
        match event {
            Event::Began(began) => state.steady.began(began),
            Event::Put { name, subscription, declared } => state.put(name, subscription, *declared),
            Event::Removed { name, .. } => state.remove(name),
            Event::Accepted { at_ms, wall_ms, events, steps } => {
                state.steady.seen(*at_ms, *wall_ms);
                for step in steps {
                    state.lanes.apply(step, *at_ms);
                }
                state.totals.count(steps);
                for taken in events {
                    state.memory.add(taken.mark, &taken.missed, *at_ms);
                    state.totals.fired += taken.fired.len() as u64;
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
                state.totals.count(&happening.steps);
            }
            Event::FilterFailed { name, at_ms, .. } | Event::ChainStopped { name, at_ms, .. } => {
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
            Event::ChainStopped { .. } => "chain_stopped",
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
    let before = state.subscriptions.get(name);
    if before.is_some_and(|before| before.declared) {
        return Decision::refuse(Refusal::Declared { name: name.to_owned() });
    }
    if before.is_none() && state.subscriptions.len() >= limits::SUBSCRIPTIONS {
        let reason = format!("there are {} subscriptions, and no more are taken", limits::SUBSCRIPTIONS);
        return Decision::refuse(Refusal::Full { reason });
    }
    let faults = faults(name, subscription);
    if !faults.is_empty() {
        return Decision::refuse(Refusal::Invalid { faults });
    }
    if before.is_some_and(|before| before.subscription == *subscription) {
        return Decision::reply(Reply::Done);
    }
    Decision::reply(Reply::Done).record(given(name, subscription, before.is_some(), false))
}

fn faults(name: &str, subscription: &Subscription) -> Vec<Fault> {
    if !is_name(name) {
        return vec![Fault::new(&["name"], "letters, digits, `_` and `-`, at most 63")];
    }
    Compiled::of(subscription).err().unwrap_or_default()
}

fn given(name: &str, subscription: &Subscription, again: bool, declared: bool) -> Recorded<Event> {
    let text =
        if again { "the subscription was given anew, and differs" } else { "a new subscription was given" };
    let event = Event::Put { name: name.to_owned(), subscription: Box::new(subscription.clone()), declared };
    let by = if declared { "manifest" } else { "operator" };
    Recorded::new(event, name, by, Why::because("subscription.given", text))
}

fn declare(state: &State, declared: &BTreeMap<String, Subscription>) -> Decision<TriggerMesh> {
    let put =
        state.subscriptions.iter().filter(|(name, entry)| !entry.declared && !declared.contains_key(*name));
    if put.count() + declared.len() > limits::SUBSCRIPTIONS {
        let reason = format!("at most {} subscriptions are taken", limits::SUBSCRIPTIONS);
        return Decision::refuse(Refusal::Full { reason });
    }
    let each =
        declared.iter().flat_map(|(name, one)| faults(name, one).into_iter().map(|fault| fault.under(name)));
    let faults: Vec<Fault> = each.collect();
    if !faults.is_empty() {
        return Decision::refuse(Refusal::Invalid { faults });
    }
    let gone =
        state.subscriptions.iter().filter(|(name, entry)| entry.declared && !declared.contains_key(*name));
    let mut records: Vec<Recorded<Event>> = gone
        .map(|(name, _)| removed(state, name, "manifest", "the manifest does not declare it any more"))
        .collect();
    for (name, subscription) in declared {
        let before = state.subscriptions.get(name);
        if before.is_none_or(|before| !before.declared || before.subscription != *subscription) {
            records.push(given(name, subscription, before.is_some(), true));
        }
    }
    records.into_iter().fold(Decision::reply(Reply::Done), Decision::record)
}

fn remove(state: &State, name: &str) -> Decision<TriggerMesh> {
    match state.subscriptions.get(name) {
        None => Decision::refuse(Refusal::Unknown { name: name.to_owned() }),
        Some(entry) if entry.declared => Decision::refuse(Refusal::Declared { name: name.to_owned() }),
        Some(_) => Decision::reply(Reply::Done).record(removed(state, name, "operator", "asked for")),
    }
}

fn removed(state: &State, name: &str, by: &str, because: &str) -> Recorded<Event> {
    let held = |lane: &Lane| lane.depth() + lane.flying.len() + lane.dead.len();
    let dropped = state.lanes.get(name).map_or(0, held) as u64;
    let event = Event::Removed { name: name.to_owned(), dropped };
    let why = Why::because("subscription.removed", format!("{because}; {dropped} deliveries go with it"));
    Recorded::new(event, name, by, why)
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

fn row(state: &State, name: &str) -> Option<Row> {
    let (entry, lane) = (state.subscriptions.get(name)?, state.lanes.get(name)?);
    Some(Row {
        name: name.to_owned(),
        types: entry.subscription.types.clone(),
        enabled: entry.subscription.enabled,
        declared: entry.declared,
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
