//! Events: what was acknowledged sets off what it must, once; and loops of policies end.

use std::collections::BTreeMap;

use grace_kernel::Recorded;
use grace_orchestration::{
    limits,
    policies::{self, Then},
    seen::Mark,
    triggers,
};
use grace_types::{
    event::Event as CloudEvent,
    id::EventId,
    time::{Hlc, Timestamp},
};
use serde_json::Value;

use super::{
    super::setup::{RINGS, SETUP, must_react, must_trigger},
    deliveries,
};

/// Judges; how many chains were stopped.
pub(super) fn judge(
    mesh: &[Recorded<triggers::Event>],
    policies: &[Recorded<policies::Event>],
    acknowledged: &BTreeMap<EventId, (String, String, u64)>,
    deliveries: &deliveries::Ledger,
    broken: &mut Vec<String>,
) -> u64 {
    let taken = taken(mesh, broken);
    let observed = observed(policies, broken);
    for (id, (source, kind, n)) in acknowledged {
        let mark = mark(*id, source);
        let fired = |by: &BTreeMap<u128, Vec<String>>, name: &str| {
            by.get(&mark).is_some_and(|fired| fired.iter().any(|one| one == name))
        };
        for name in must_trigger(kind, *n).iter().filter(|name| !fired(&taken, name)) {
            broken.push(format!(
                "{kind} {id} was acknowledged and lost: it did not fire the subscription {name}"
            ));
        }
        for name in must_react(kind).iter().filter(|name| !fired(&observed, name)) {
            broken.push(format!("{kind} {id} was acknowledged and lost: it did not fire the policy {name}"));
        }
    }
    for ((kernel, owner, event), count) in deliveries.set_off() {
        let most = match kernel {
            "policies" => SETUP.policies.get(owner).map_or(1, acts),
            _ => 1,
        };
        if count > most {
            broken.push(format!("{kernel}: {event} set off {count} deliveries of {owner}; {most} may be"));
        }
    }
    loops(policies, broken)
}

fn acts(policy: &policies::Policy) -> usize {
    policy.then.iter().filter(|then| !matches!(then, Then::Annotate(_))).count()
}

/// What stands for the event in records.
fn mark(id: EventId, source: &str) -> u128 {
    let event = CloudEvent {
        id,
        source: source.to_owned(),
        kind: String::new(),
        subject: None,
        time: Timestamp::EPOCH,
        correlationid: None,
        causationid: None,
        traceparent: None,
        hops: 0,
        hlc: Hlc::default(),
        data: Value::Null,
    };
    bits(Mark::of(&event))
}

fn bits(mark: Mark) -> u128 {
    let text = serde_json::to_value(mark).ok();
    text.as_ref().and_then(Value::as_str).and_then(|text| u128::from_str_radix(text, 16).ok()).unwrap_or(0)
}

fn taken(mesh: &[Recorded<triggers::Event>], broken: &mut Vec<String>) -> BTreeMap<u128, Vec<String>> {
    let mut all = BTreeMap::new();
    for record in mesh {
        let triggers::Event::Accepted { events, .. } = record.event() else { continue };
        for one in events {
            if all.insert(bits(one.mark), one.fired.clone()).is_some() {
                broken.push(format!("mesh: an event was taken twice, and fired {:?} again", one.fired));
            }
        }
    }
    all
}

fn observed(policies: &[Recorded<policies::Event>], broken: &mut Vec<String>) -> BTreeMap<u128, Vec<String>> {
    let mut all = BTreeMap::new();
    for record in policies {
        let policies::Event::Observed { events, .. } = record.event() else { continue };
        for one in events {
            let fired = one.fired.iter().map(|(name, _)| name.clone()).collect();
            if all.insert(bits(one.mark), fired).is_some() {
                broken.push(format!("policies: {} was observed twice", one.id));
            }
        }
    }
    all
}

/// No policy of a loop fires more often for one root than it may, and none at the greatest depth.
fn loops(policies: &[Recorded<policies::Event>], broken: &mut Vec<String>) -> u64 {
    let (mut stopped, mut fired) = (0, BTreeMap::<(String, String), u32>::new());
    for record in policies {
        match record.event() {
            policies::Event::Stopped { .. } => stopped += 1,
            policies::Event::Observed { events, .. } => {
                for one in events {
                    for (name, _) in &one.fired {
                        *fired.entry((one.root.to_string(), name.clone())).or_default() += 1;
                        if one.hops >= limits::CASCADE_DEPTH && acts(&SETUP.policies[name]) > 0 {
                            broken.push(format!("{name} acted at depth {}", one.hops));
                        }
                    }
                }
            }
            _ => {}
        }
    }
    for ((root, name), count) in fired {
        let ring =
            RINGS.iter().find(|(ring, ..)| name.strip_prefix(ring).is_some_and(|rest| rest.starts_with('-')));
        let most = match (ring, name.as_str()) {
            (Some((_, _, repeat)), _) => 1 + repeat,
            (None, "journey") => 1,
            (None, _) => continue,
        };
        if count > most {
            broken.push(format!("the loop of {name} did not stop: it fired {count} times for {root}"));
        }
    }
    stopped
}
