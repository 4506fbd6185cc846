//! The event policy engine's decisions, but for those about events ([`super::observe`]).

use std::collections::BTreeMap;

use grace_kernel::{Decider, Decision, Recorded};
use grace_types::{reason::Why, time::Now};

use super::{
    compiled::Compiled,
    message::{Command, Event, Refusal, Reply, Row},
    observe::{observe, test},
    policy::Policy,
    state::State,
};
use crate::{
    clockwork::Passed,
    delivery::{
        action::{Fault, is_name},
        breaker::Change,
        happening::Happening,
        overview::Overview,
        step::{Perform, Step},
    },
    limits,
};

/// The decider.
#[derive(Debug)]
pub enum EventPolicies {}

type Decided = Decision<EventPolicies>;

impl Decider for EventPolicies {
    type State = State;
    type Command = Command;
    type Event = Event;
    type Reply = Reply;
    type Refusal = Refusal;
    type Effect = Perform;

    fn decide(state: &State, now: Now, command: &Command) -> Decided {
        match command {
            Command::Begin { boot } => begin(state, now, boot),
            Command::Load { policies } => load(state, policies),
            Command::Observe { events, chance } => observe(state, now, events, *chance),
            Command::Tick => {
                let steps = state.lanes.start(state.steady.at(now), limits::STARTS);
                let passed = Passed::after(&steps, state.next_ms(), state.steady.at(now));
                happened(state, now, steps, Reply::Ticked(passed))
            }
            Command::Settle { reports, chance } => {
                let steps = state.lanes.settle(reports, state.steady.at(now), now.wall, *chance);
                happened(state, now, steps, Reply::Done)
            }
            Command::Reset { name } => reset(state, now, name),
            Command::Requeue { name, keys } => {
                letters(state, now, name, |state| state.lanes.requeue(name, keys.as_deref(), |_| None))
            }
            Command::Discard { name, keys } => letters(state, now, name, |state| {
                state.lanes.discard(name, keys.as_deref()).into_iter().collect()
            }),
            Command::Test { event } => Decision::reply(Reply::Verdicts { verdicts: test(state, now, event) }),
            Command::List => {
                let rows = state.policies.keys().filter_map(|name| row(state, name)).collect();
                Decision::reply(Reply::Policies { rows })
            }
            Command::Show { name } => show(state, name),
            Command::Overview => Decision::reply(Reply::Overview(overview(state))),
        }
    }

    fn evolve(state: &mut State, event: &Event) {
        state.take(event);
    }

    fn effects(state: &State, event: &Recorded<Event>) -> Vec<Perform> {
        match event.event() {
            Event::Observed { steps, .. } => {
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
            Event::Put { .. } => "policy_put",
            Event::Removed { .. } => "policy_removed",
            Event::Observed { .. } => "events_observed",
            Event::Stopped { .. } => "cascade_stopped",
            Event::Guard { change: Change::Opened { .. }, .. } => "policy_rests",
            Event::Guard { change: Change::HalfOpened, .. } => "policy_on_trial",
            Event::Guard { change: Change::Closed, .. } => "policy_mended",
            Event::Rested { .. } => "policy_did_not_act",
            Event::Failed { .. } => "condition_failed",
            Event::Delivery(happening) => happening.kind.what(),
        }
    }
}

fn begin(state: &State, now: Now, boot: &str) -> Decided {
    match state.steady.begin(boot, now) {
        None => Decision::reply(Reply::Done),
        Some(began) => {
            let why = Why::because("boot.new", "the machine was started since");
            Decision::reply(Reply::Done).record(Recorded::new(
                Event::Began(began),
                "event_policy",
                "boot id",
                why,
            ))
        }
    }
}

fn load(state: &State, policies: &BTreeMap<String, Policy>) -> Decided {
    if policies.len() > limits::POLICIES {
        let reason = format!("{} policies; at most {} are taken", policies.len(), limits::POLICIES);
        return Decision::refuse(Refusal::Full { reason });
    }
    let changed = |(name, policy): &(&String, &Policy)| {
        state.policies.get(*name).is_none_or(|entry| entry.policy != **policy)
    };
    let changed: Vec<(&String, &Policy)> = policies.iter().filter(changed).collect();
    let mut faults = Vec::new();
    for (name, policy) in &changed {
        if !is_name(name) {
            faults.push(Fault::new(&[name], "a name has letters, digits, `_` and `-`, at most 63"));
        }
        if let Err(more) = Compiled::of(policy) {
            faults.extend(more.into_iter().map(|mut fault| {
                fault.path.insert(0, (*name).clone());
                fault
            }));
        }
    }
    if !faults.is_empty() {
        return Decision::refuse(Refusal::Invalid { faults });
    }
    let mut decision = Decision::reply(Reply::Done);
    for name in state.policies.keys().filter(|name| !policies.contains_key(*name)) {
        let dropped =
            state.lanes.get(name).map_or(0, |lane| lane.depth() + lane.flying.len() + lane.dead.len());
        let event = Event::Removed { name: name.clone(), dropped: dropped as u64 };
        let why =
            Why::because("policy.removed", format!("it is in no file; {dropped} deliveries go with it"));
        decision = decision.record(Recorded::new(event, name.as_str(), "files", why));
    }
    for (name, policy) in changed {
        let text = match state.policies.get(name) {
            None => "it is in a file, and was not known",
            Some(_) => "it was changed in its file",
        };
        let event = Event::Put { name: name.clone(), policy: Box::new(policy.clone()) };
        decision = decision.record(Recorded::new(
            event,
            name.as_str(),
            "files",
            Why::because("policy.loaded", text),
        ));
    }
    decision
}

fn unknown(name: &str) -> Decided {
    Decision::refuse(Refusal::Unknown { name: name.to_owned() })
}

fn reset(state: &State, now: Now, name: &str) -> Decided {
    let Some(entry) = state.policies.get(name) else { return unknown(name) };
    if entry.guard.reason().is_none() {
        return Decision::reply(Reply::Done);
    }
    let event = Event::Guard { policy: name.to_owned(), change: Change::Closed, at_ms: state.steady.at(now) };
    let why = Why::because("policy.reset", "asked for by an operator");
    Decision::reply(Reply::Done).record(Recorded::new(event, name, "operator", why))
}

fn letters(state: &State, now: Now, name: &str, steps: impl FnOnce(&State) -> Vec<Step>) -> Decided {
    if !state.policies.contains_key(name) {
        return unknown(name);
    }
    let steps = steps(state);
    let of = |step: &Step| match step {
        Step::Requeued { keys, .. } | Step::Discarded { keys, .. } => keys.len(),
        _ => 0,
    };
    let count = steps.iter().map(of).sum();
    happened(state, now, steps, Reply::Letters { count })
}

fn happened(state: &State, now: Now, steps: Vec<Step>, reply: Reply) -> Decided {
    let groups = Happening::group(steps, state.steady.at(now), now.wall.as_millis());
    groups
        .into_iter()
        .fold(Decision::reply(reply), |decision, group| decision.record(group.recorded(Event::Delivery)))
}

/// A policy that rests counts as one whose breaker is open.
fn overview(state: &State) -> Overview {
    let closed = |name: &str| state.lanes.get(name).is_none_or(|lane| lane.breaker.reason().is_none());
    let rest = state.policies.iter().filter(|(name, entry)| entry.guard.reason().is_some() && closed(name));
    let rest = rest.count();
    let overview = state.lanes.overview(state.policies.len(), state.totals);
    Overview { breakers_open: overview.breakers_open + rest, ..overview }
}

fn row(state: &State, name: &str) -> Option<Row> {
    let (entry, lane) = (state.policies.get(name)?, state.lanes.get(name)?);
    Some(Row {
        name: name.to_owned(),
        types: entry.policy.types.clone(),
        enabled: entry.policy.enabled,
        priority: entry.policy.priority,
        fired: entry.fired,
        stopped: entry.stopped,
        guard: entry.guard.word().to_owned(),
        done: lane.done,
        waiting: lane.depth(),
        dead: lane.dead.len(),
        breaker: lane.breaker.word().to_owned(),
        reason: entry.guard.reason().or(lane.breaker.reason()).map(str::to_owned),
    })
}

fn show(state: &State, name: &str) -> Decided {
    let (Some(row), Some(entry), Some(lane)) =
        (row(state, name), state.policies.get(name), state.lanes.get(name))
    else {
        return unknown(name);
    };
    Decision::reply(Reply::Policy {
        row,
        policy: Box::new(entry.policy.clone()),
        dead_letters: lane.dead.iter().take(limits::ROWS).cloned().collect(),
    })
}
