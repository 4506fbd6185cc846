//! Sources of events: they send, and send again until the front door says that it has them.

use std::{collections::BTreeMap, time::Duration};

use grace_types::{
    chance::Entropy,
    event::Event as CloudEvent,
    id::EventId,
    time::{Clock, Hlc},
};
use serde_json::json;

use super::{
    Phase, Purpose, Todo, World,
    net::{Ask, Node, Told},
    setup,
};

const PATIENCE: Duration = Duration::from_millis(900);

/// Batches that are not acknowledged, by number.
#[derive(Default)]
pub(super) struct Source {
    pub(super) batches: BTreeMap<u64, Vec<CloudEvent>>,
    last: u64,
}

impl World {
    pub(super) fn source_acts(&mut self, source: usize, todo: &Todo) {
        match todo {
            Todo::Act if self.phase == Phase::Faults => {
                let count = 1 + self.draw(3);
                let events = (0..count).map(|_| self.make_event(source)).collect();
                self.sources[source].last += 1;
                let batch = self.sources[source].last;
                self.sources[source].batches.insert(batch, events);
                self.send_batch(source, batch);
                self.todo_soon(Node::Source(source), 1_800_000, Todo::Act);
            }
            Todo::Batch(batch) => self.send_batch(source, *batch),
            _ => {}
        }
    }

    fn make_event(&mut self, source: usize) -> CloudEvent {
        let kind = match self.entropy.below(16) {
            0..4 => "shop.order.paid".to_owned(),
            4..6 => "shop.order.sent".to_owned(),
            6..10 => "plant.leak".to_owned(),
            10 => "trip.begun".to_owned(),
            11 => "nobody.cares".to_owned(),
            _ => {
                let ring = self.draw(setup::RINGS.len());
                setup::ring_start(setup::RINGS[ring].0)
            }
        };
        let wall = self.clock.now().wall;
        let data = json!({"n": self.entropy.below(4), "shop": self.entropy.below(2).to_string()});
        CloudEvent {
            id: EventId::new(wall, &mut self.entropy),
            source: format!("/source/{source}"),
            kind,
            subject: None,
            time: wall,
            correlationid: None,
            causationid: None,
            traceparent: None,
            hops: 0,
            hlc: Hlc::default(),
            data,
        }
    }

    fn send_batch(&mut self, source: usize, batch: u64) {
        if let Some(events) = self.sources[source].batches.get(&batch).cloned() {
            let node = Node::Source(source);
            self.ask(node, Node::Mesh, Ask::Events(events), Purpose::Batch(batch), PATIENCE);
        }
    }

    pub(super) fn source_answered(&mut self, source: usize, purpose: &Purpose, told: &Told) {
        let &Purpose::Batch(batch) = purpose else { return };
        if !matches!(told, Told::Taken) {
            return self.todo(Node::Source(source), Duration::from_millis(300), Todo::Batch(batch));
        }
        let events = self.sources[source].batches.remove(&batch).unwrap_or_default();
        for event in &events {
            self.counts.events += 1;
            self.is_durable(event);
        }
    }

    /// The sender of an event has heard that it is durable.
    pub(super) fn is_durable(&mut self, event: &CloudEvent) {
        let n = event.data["n"].as_u64().unwrap_or(0);
        self.acknowledged.insert(event.id, (event.source.clone(), event.kind.clone(), n));
    }

    pub(super) fn source_unanswered(&mut self, source: usize, purpose: &Purpose) {
        if let &Purpose::Batch(batch) = purpose {
            self.todo_soon(Node::Source(source), 100_000, Todo::Batch(batch));
        }
    }
}
