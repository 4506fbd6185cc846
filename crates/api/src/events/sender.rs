//! Events on their way to the front door: a request each on `events.<type>`, whose answer means durable.
//!
//! The front door answers as every kernel does: `{"done": …}`, `{"refused": …, "message": …}` for what is wrong with the event,
//! `{"error": {"code", "message"}}` for what is wrong with the moment. While nobody listens or no answer comes, the event is sent
//! again under the same key, within [`limits::DURABLE_TIME`]: a restart of the front door is no sender's affair.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use grace_bus::{Bus, BusError, Message};
use grace_types::time::{Clock, Hlc};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::{sync::Semaphore, time::timeout};

use super::binding::{Moment, Outgoing};
use crate::limits;

/// Where events go.
pub(crate) const SUBJECTS: &str = "events.>";

/// What became of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is durable.
    Durable,
    /// It will never be taken as it is.
    Refused(String),
    /// It is larger than the bus takes.
    TooLarge(String),
    /// Whether it was taken is open: it is to be sent again.
    Unavailable {
        /// Stable.
        code: String,
        /// For people.
        message: String,
    },
}

/// See the module's page.
pub(crate) struct Sender {
    bus: Bus,
    clock: Arc<dyn Clock>,
    hlc: Mutex<Hlc>,
    flights: Semaphore,
    within: Duration,
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow, default)]
    done: Option<&'a RawValue>,
    #[serde(borrow, default)]
    refused: Option<&'a RawValue>,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    error: Option<Fault>,
}

#[derive(Deserialize)]
struct Refused<'a> {
    code: &'a str,
}

#[derive(Deserialize)]
struct Fault {
    code: String,
    message: String,
}

impl Sender {
    pub(crate) fn new(bus: Bus, clock: Arc<dyn Clock>) -> Self {
        Self {
            bus,
            clock,
            hlc: Mutex::default(),
            flights: Semaphore::new(limits::IN_FLIGHT),
            within: limits::DURABLE_TIME,
        }
    }

    /// The moment at which events that have just arrived did so.
    pub(crate) fn moment(&self) -> Moment {
        let wall = self.clock.now().wall;
        let mut hlc = self.hlc.lock().unwrap_or_else(PoisonError::into_inner);
        *hlc = hlc.tick(wall);
        Moment { wall, hlc: *hlc }
    }

    /// Sends an event until it is known what becomes of it, within a bounded time.
    pub(crate) async fn send(&self, outgoing: Outgoing) -> Outcome {
        let key = outgoing.key();
        let subject = format!("events.{}", outgoing.event.kind);
        let headers = outgoing.headers();
        let sent = timeout(self.within, async {
            let _flight = self.flights.acquire().await;
            let message = Message::new(subject, outgoing.data).with_headers(headers);
            self.bus.request_until(message, &key, self.within).await
        });
        match sent.await {
            Ok(Ok(answer)) => read(&answer.payload),
            Ok(Err(e)) => failed(&e),
            Err(_) => unavailable("timeout", format!("no answer within {:?}", self.within)),
        }
    }
}

fn unavailable(code: &str, message: impl Into<String>) -> Outcome {
    Outcome::Unavailable { code: code.to_owned(), message: message.into() }
}

fn failed(error: &BusError) -> Outcome {
    match error {
        BusError::TooLarge { .. } => Outcome::TooLarge(error.to_string()),
        BusError::BadSubject { .. } => Outcome::Refused(error.to_string()),
        BusError::NoResponders { .. } => unavailable("no_front_door", "nobody takes events at present"),
        BusError::Timeout { .. } => unavailable("timeout", "whoever takes events did not answer in time"),
        other => unavailable("bus", other.to_string()),
    }
}

fn read(body: &[u8]) -> Outcome {
    match serde_json::from_slice::<Answer<'_>>(body) {
        Ok(Answer { error: Some(Fault { code, message }), .. }) => unavailable(&code, message),
        Ok(Answer { refused: Some(refused), message, .. }) => {
            let message = message.unwrap_or_else(|| refused.get().to_owned());
            match serde_json::from_str(refused.get()) {
                Ok(Refused { code: "too_large" }) => Outcome::TooLarge(message),
                _ => Outcome::Refused(message),
            }
        }
        Ok(Answer { done: Some(_), .. }) => Outcome::Durable,
        // Fail closed: what is not understood is no promise.
        _ => unavailable("bad_answer", "the answer of whoever takes events is not understood"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_done_is_a_promise() {
        assert_eq!(read(br#"{"done": {"fired": 2}}"#), Outcome::Durable);
        assert_eq!(read(br#"{"done": {}}"#), Outcome::Durable);
        assert_eq!(read(br#"{"refused": {"code": "x"}, "message": "no"}"#), Outcome::Refused("no".into()));
        assert_eq!(
            read(br#"{"refused": {"code": "too_large"}, "message": "no"}"#),
            Outcome::TooLarge("no".into())
        );
        assert_eq!(read(br#"{"refused": "x"}"#), Outcome::Refused("\"x\"".into()));
        let busy = br#"{"error": {"code": "busy", "message": "later"}}"#;
        assert_eq!(read(busy), unavailable("busy", "later"));
        for unclear in [&b""[..], b"{}", b"null", b"{\"done\": null}", b"[]", b"ok", b"{\"error\": 1}"] {
            assert!(matches!(read(unclear), Outcome::Unavailable { .. }), "{unclear:?}");
        }
    }
}
