//! What the broker noticed, as events on the bus: CloudEvents with their reasons. Pure.
//!
//! Published: a subject that a user may not use, a client that was cut off because it does not read, and a sign-in that was
//! refused. Connections that come and go in order are counted and not published: they are as many as clients like.

use bytes::Bytes;
use grace_bus::{
    broker::{BrokerEvent, CloseReason, Direction},
    shell::BrokerCommand,
};
use grace_kernel::Recorded;
use grace_types::{
    chance::Entropy,
    event::Event,
    id::{CorrelationId, EventId},
    reason::Why,
    time::{Hlc, Now},
};
use serde_json::Value;

use super::NAME;

/// Turns the broker's events into messages; keeps the kernel's hybrid logical clock.
#[derive(Debug, Default)]
pub(super) struct Announcer {
    hlc: Hlc,
}

/// What is published of an event.
struct Notable {
    what: &'static str,
    place: String,
    how: &'static str,
    why: Why,
}

impl Announcer {
    /// The order to publish the event, if it is one that is published.
    pub(super) fn announce(
        &mut self,
        event: &BrokerEvent,
        now: Now,
        entropy: &mut dyn Entropy,
    ) -> Option<BrokerCommand> {
        let Notable { what, place, how, why } = notable(event)?;
        let data: Value = serde_json::to_value(Recorded::new(event, place.clone(), how, why)).ok()?;
        self.hlc = self.hlc.tick(now.wall);
        let event = Event {
            id: EventId::new(now.wall, entropy),
            source: format!("/grace/{NAME}"),
            kind: format!("dev.grace.{NAME}.{what}.v1"),
            subject: Some(place).filter(|place| !place.is_empty()),
            time: now.wall,
            correlationid: Some(CorrelationId::new(now.wall, entropy)),
            causationid: None,
            traceparent: None,
            hops: 0,
            hlc: self.hlc,
            data,
        };
        Some(BrokerCommand::Publish {
            subject: format!("grace.event.{NAME}.{what}"),
            reply: None,
            headers: event.to_headers().into_iter().collect(),
            payload: Bytes::from(serde_json::to_vec(&event.data).ok()?),
            delivered: None,
        })
    }
}

fn notable(event: &BrokerEvent) -> Option<Notable> {
    match event {
        BrokerEvent::PermissionViolation { user, direction, subject, count, .. } => {
            let verb = match direction {
                Direction::Publish => "publish to",
                Direction::Subscribe => "subscribe to",
            };
            let text = format!("`{user}` may not {verb} `{subject}`; it has tried {count} times");
            Some(Notable {
                what: "permission_violation",
                place: user.clone(),
                how: "permissions of the user, default deny",
                why: Why::because("bus.permission_violation", text),
            })
        }
        BrokerEvent::Disconnected { user, reason, .. } => {
            let place = user.clone().unwrap_or_default();
            let who = user
                .as_ref()
                .map_or_else(|| "a client that had not signed in".to_owned(), |u| format!("`{u}`"));
            match reason {
                CloseReason::SlowConsumer { pending_bytes } => Some(Notable {
                    what: "slow_consumer",
                    place,
                    how: "bound of one connection's output",
                    why: Why::because(
                        "bus.slow_consumer",
                        format!("{who} left {pending_bytes} bytes unread and was cut off"),
                    ),
                }),
                CloseReason::MemoryPressure => Some(Notable {
                    what: "slow_consumer",
                    place,
                    how: "bound of all connections' output together",
                    why: Why::because(
                        "bus.memory_pressure",
                        format!("{who} had the most unread when the broker's memory bound was reached"),
                    ),
                }),
                CloseReason::AuthorizationViolation => Some(Notable {
                    what: "sign_in_refused",
                    place,
                    how: "table of users",
                    why: Why::because(
                        "bus.sign_in_refused",
                        "the name or the password is not known".to_owned(),
                    ),
                }),
                CloseReason::ClientClosed
                | CloseReason::AuthenticationTimeout
                | CloseReason::UserRevoked
                | CloseReason::StaleConnection
                | CloseReason::MaxSubscriptions
                | CloseReason::MaxPayload
                | CloseReason::MaxControlLine
                | CloseReason::ProtocolError { .. }
                | CloseReason::LameDuck => None,
            }
        }
        BrokerEvent::Connected { .. } | BrokerEvent::LameDuck { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use grace_bus::broker::Peer;
    use grace_types::{chance::SeededEntropy, time::Timestamp};

    use super::*;

    fn announce(event: &BrokerEvent) -> Option<Event> {
        let now = Now { wall: Timestamp::from_nanos(1_795_437_000_000_000_000), ..Now::default() };
        let order = Announcer::default().announce(event, now, &mut SeededEntropy::new(1))?;
        let BrokerCommand::Publish { subject, headers, payload, .. } = order else { panic!("{order:?}") };
        let event = Event::from_headers(|name| headers.get(name), &payload).unwrap();
        let what = subject.strip_prefix("grace.event.message_bus.").unwrap();
        assert_eq!(event.kind, format!("dev.grace.message_bus.{what}.v1"));
        Some(event)
    }

    #[test]
    fn a_violation_is_an_event_with_its_reason() {
        let violation = BrokerEvent::PermissionViolation {
            connection: 7,
            user: "web".into(),
            direction: Direction::Publish,
            subject: "grace.cmd.x".into(),
            count: 3,
        };
        let event = announce(&violation).unwrap();
        assert_eq!(event.subject.as_deref(), Some("web"));
        assert_eq!(event.data["event"]["subject"], "grace.cmd.x");
        assert_eq!(event.data["why"][0]["code"], "bus.permission_violation");
    }

    #[test]
    fn a_client_that_comes_and_goes_is_no_event_and_one_that_is_cut_off_is() {
        let gone = |reason| BrokerEvent::Disconnected {
            connection: 1,
            user: None,
            name: None,
            peer: Peer::Local,
            reason,
        };
        assert!(announce(&gone(CloseReason::ClientClosed)).is_none());
        let event = announce(&gone(CloseReason::SlowConsumer { pending_bytes: 9 })).unwrap();
        assert!(event.data["why"][0]["text"].as_str().unwrap().contains("9 bytes"));
    }
}
