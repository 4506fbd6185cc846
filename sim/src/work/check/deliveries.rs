//! Deliveries, followed from their records: taken in once, begun, ended; and done or dead at the end.

use std::collections::BTreeMap;

use grace_orchestration::{
    delivery::{
        action::Work,
        lane::Delivery,
        step::{End, Step},
    },
    policies, scheduler, triggers,
};
use grace_types::id::EventId;

use super::tasks;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Waiting,
    Flying,
    Done,
    Dead,
    Discarded,
}

/// Every delivery by kernel, owner and key.
#[derive(Default)]
pub(super) struct Ledger {
    all: BTreeMap<(&'static str, String, String), (Delivery, Stage)>,
}

impl Ledger {
    pub(super) fn take_mesh(&mut self, event: &triggers::Event, broken: &mut Vec<String>) {
        match event {
            triggers::Event::Accepted { steps, .. } => self.steps("mesh", steps, broken),
            triggers::Event::Delivery(happening) => self.steps("mesh", &happening.steps, broken),
            _ => {}
        }
    }

    pub(super) fn take_policies(&mut self, event: &policies::Event, broken: &mut Vec<String>) {
        match event {
            policies::Event::Observed { steps, .. } => self.steps("policies", steps, broken),
            policies::Event::Delivery(happening) => self.steps("policies", &happening.steps, broken),
            _ => {}
        }
    }

    pub(super) fn take_scheduler(&mut self, event: &scheduler::Event, broken: &mut Vec<String>) {
        match event {
            scheduler::Event::Fired { step, .. } => {
                self.steps("scheduler", std::slice::from_ref(step), broken);
            }
            scheduler::Event::Delivery(happening) => self.steps("scheduler", &happening.steps, broken),
            scheduler::Event::Removed { name } => {
                // What was not delivered goes with it, as its operator wished.
                let its = self
                    .all
                    .iter_mut()
                    .filter(|((kernel, owner, _), _)| *kernel == "scheduler" && owner == name);
                for (_, (_, stage)) in its.filter(|(_, (_, stage))| *stage != Stage::Done) {
                    *stage = Stage::Discarded;
                }
            }
            _ => {}
        }
    }

    fn steps(&mut self, kernel: &'static str, steps: &[Step], broken: &mut Vec<String>) {
        for step in steps {
            match step {
                Step::Queued { owner, delivery, start } => {
                    let stage = if *start { Stage::Flying } else { Stage::Waiting };
                    self.put(kernel, owner, delivery, stage, broken);
                }
                Step::Dead { owner, delivery, .. } => self.put(kernel, owner, delivery, Stage::Dead, broken),
                Step::Started { owner, keys, .. } => {
                    for key in keys {
                        self.go(kernel, (owner, key), Stage::Waiting, Stage::Flying, broken);
                    }
                }
                Step::Settled { owner, key, end } => {
                    let to = match end {
                        End::Done => Stage::Done,
                        End::Retry { .. } => Stage::Waiting,
                        End::Dead { .. } => Stage::Dead,
                    };
                    self.go(kernel, (owner, key), Stage::Flying, to, broken);
                }
                Step::Requeued { owner, keys } => {
                    for key in keys {
                        self.go(kernel, (owner, key), Stage::Dead, Stage::Waiting, broken);
                    }
                }
                Step::Discarded { owner, keys } => {
                    for key in keys {
                        self.go(kernel, (owner, key), Stage::Dead, Stage::Discarded, broken);
                    }
                }
                Step::Breaker { .. } => {}
            }
        }
    }

    fn put(
        &mut self,
        kernel: &'static str,
        owner: &str,
        delivery: &Delivery,
        stage: Stage,
        broken: &mut Vec<String>,
    ) {
        let place = (kernel, owner.to_owned(), delivery.key.clone());
        match self.all.insert(place, (delivery.clone(), stage)) {
            None | Some((_, Stage::Discarded)) => {}
            Some((_, before)) => {
                broken.push(format!(
                    "{kernel}: delivery {} of {owner} fired twice, it was {before:?}",
                    delivery.key
                ));
            }
        }
    }

    fn go(
        &mut self,
        kernel: &'static str,
        (owner, key): (&String, &String),
        from: Stage,
        to: Stage,
        broken: &mut Vec<String>,
    ) {
        match self.all.get_mut(&(kernel, owner.clone(), key.clone())) {
            Some((_, stage)) if *stage == from => *stage = to,
            other => broken.push(format!(
                "{kernel}: delivery {key} of {owner} becomes {to:?} and was {:?}",
                other.map(|(_, stage)| *stage)
            )),
        }
    }

    /// What fired is done, with what that means, or given up.
    pub(super) fn judge(&self, tasks: &tasks::Ledger, broken: &mut Vec<String>) {
        for ((kernel, owner, key), (delivery, stage)) in &self.all {
            match (stage, &delivery.work) {
                (Stage::Waiting | Stage::Flying, _) => {
                    broken
                        .push(format!("{kernel}: delivery {key} of {owner} fired and is {stage:?} for ever"));
                }
                (Stage::Done, Work::Submit { intent, .. }) if !tasks.has_key(key) => {
                    broken.push(format!(
                        "{kernel}: delivery {key} of {owner} is done, and its intent {intent} was lost"
                    ));
                }
                _ => {}
            }
        }
    }

    /// Events that were published: their performers heard that they are durable.
    pub(super) fn published(&self) -> BTreeMap<EventId, (String, String, u64)> {
        let done = self.all.iter().filter(|(_, (_, stage))| *stage == Stage::Done);
        done.filter_map(|((kernel, owner, _), (delivery, _))| {
            let Work::Publish { kind, data, .. } = &delivery.work else { return None };
            let source = format!("/grace/{kernel}/{owner}");
            Some((delivery.id, (source, kind.clone(), data["n"].as_u64().unwrap_or(0))))
        })
        .collect()
    }

    /// How many deliveries of each owner an event set off.
    pub(super) fn set_off(&self) -> BTreeMap<(&'static str, &str, EventId), usize> {
        let mut counts = BTreeMap::new();
        for ((kernel, owner, _), (delivery, _)) in &self.all {
            if let Some(cause) = &delivery.cause {
                *counts.entry((*kernel, owner.as_str(), cause.event)).or_default() += 1;
            }
        }
        counts
    }

    /// Done, and given up.
    pub(super) fn counts(&self) -> (u64, u64) {
        let of = |wanted: Stage| self.all.values().filter(|(_, stage)| *stage == wanted).count() as u64;
        (of(Stage::Done), of(Stage::Dead))
    }
}
