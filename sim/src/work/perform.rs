//! Performers: do what deliveries say, and report. They forget everything with their process; what was under way is performed
//! again under the same key.

use std::time::Duration;

use grace_orchestration::{
    delivery::{
        action::{Cause, Work},
        lane::Delivery,
        step::{Perform, Report},
    },
    htm::{
        self, Json,
        command::{Refused, Submission, Submitted},
        event::Origin,
    },
};
use grace_types::{
    event::Event as CloudEvent,
    id::CorrelationId,
    time::{Clock, Hlc, Timestamp},
};
use serde_json::Value;

use super::{
    Mistake, Purpose, World,
    net::{Ask, Node, Told},
};

/// How long a performer waits for an answer before it reports a failure.
const PATIENCE: Duration = Duration::from_millis(1200);

impl World {
    pub(super) fn perform(&mut self, node: Node, perform: Perform) {
        let Perform { owner, delivery } = perform;
        let purpose = Purpose::Perform(owner.clone(), delivery.key.clone());
        let (to, ask) = match &delivery.work {
            Work::Submit { .. } => {
                let key = (self.mistake != Some(Mistake::ForgottenKeys)).then(|| delivery.key.clone());
                let intents = vec![submission(&owner, &delivery, key)];
                (Node::Htm, Ask::Work(htm::Command::Submit { intents }))
            }
            Work::Publish { kind, data, .. } => {
                let source = format!("/grace/{node}/{owner}");
                let event = self.event_of(&delivery, source, kind.clone(), data.clone());
                (Node::Mesh, Ask::Events(vec![event]))
            }
            Work::Unrendered { .. } => {
                return self.breaks(format!("{owner} performs what was never rendered"));
            }
        };
        self.ask(node, to, ask, purpose, PATIENCE);
    }

    fn event_of(&self, delivery: &Delivery, source: String, kind: String, data: Value) -> CloudEvent {
        let cause = delivery.cause.as_ref();
        CloudEvent {
            id: delivery.id,
            source,
            kind,
            subject: None,
            time: self.clock.now().wall,
            correlationid: Some(correlation(delivery)),
            causationid: cause.map(|cause| cause.event),
            traceparent: None,
            hops: cause.map_or(0, |cause| cause.hops + 1),
            hlc: Hlc::default(),
            data,
        }
    }

    /// What became of an attempt.
    pub(super) fn performed(&mut self, node: Node, owner: String, key: String, told: Told) {
        let (failed, lasting) = match told {
            Told::Taken => (None, false),
            Told::Work(htm::Reply::Submitted { results }) => match results.into_iter().next() {
                Some(Submitted::Accepted { .. }) => (None, false),
                Some(Submitted::Refused(Refused { code, message, .. })) => {
                    (Some(message), code != "overloaded")
                }
                None => (Some("no result".to_owned()), false),
            },
            Told::Busy(why) => (Some(why), false),
            // One that is not configured yet will be.
            Told::Refused(code) => (Some(code), false),
            Told::Work(other) => (Some(format!("{other:?}")), true),
        };
        self.settle(node, Report { owner, key, failed, lasting });
    }
}

/// What a delivery belongs to: its cause's correlation or, for one without, the cause itself.
fn correlation(delivery: &Delivery) -> CorrelationId {
    let of =
        |cause: &Cause| cause.correlation.unwrap_or_else(|| CorrelationId::from_bits(cause.event.as_bits()));
    delivery.cause.as_ref().map_or_else(|| CorrelationId::from_bits(delivery.id.as_bits()), of)
}

fn submission(owner: &str, delivery: &Delivery, key: Option<String>) -> Submission {
    let Work::Submit { intent, payload, priority, deadline_ms } = &delivery.work else {
        return Submission::default();
    };
    let cause = delivery.cause.as_ref();
    let origin = Origin {
        approved_by: Some("operator".to_owned()),
        correlation: Some(correlation(delivery).to_string()),
        causation: cause.map(|cause| cause.event.to_string()),
        hops: cause.map_or(0, |cause| cause.hops + 1),
        ..Origin::default()
    };
    Submission {
        id: None,
        kind: intent.clone(),
        actor: owner.to_owned(),
        payload: Json::of(payload),
        key,
        priority: Some(*priority),
        deadline_ms: *deadline_ms,
        delay_ms: None,
        origin: Some(std::sync::Arc::new(origin)),
        origin_as_before: false,
    }
}

/// An event that a worker publishes for a task: the same for every attempt.
pub(super) fn announced(about: u128, origin: Option<&Origin>, time: Timestamp) -> CloudEvent {
    let parsed = |text: Option<&String>| text.and_then(|text| text.parse().ok());
    CloudEvent {
        id: grace_types::id::Id::from_bits(about),
        source: "/worker".to_owned(),
        kind: "trip.begun".to_owned(),
        subject: None,
        time,
        correlationid: parsed(origin.and_then(|origin| origin.correlation.as_ref())),
        causationid: origin.and_then(|origin| origin.causation.as_ref()).and_then(|text| text.parse().ok()),
        traceparent: None,
        hops: origin.map_or(0, |origin| origin.hops + 1),
        hlc: Hlc::default(),
        data: Value::Null,
    }
}
