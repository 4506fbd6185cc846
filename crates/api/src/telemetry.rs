//! The last word of everybody who publishes telemetry: `grace.telemetry.>`.
//!
//! Messages are kept as they come, one a subject, and read when somebody asks for metrics: between two scrapes telemetry costs no
//! more than being received.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use grace_bus::{Bus, BusError, Message};
use grace_kernel::process::{serve::listen, tell};
use grace_types::time::{Clock, Monotonic};
use serde::de::DeserializeOwned;

use crate::limits;

/// What is heard.
pub const SUBJECTS: &str = "grace.telemetry.>";
const PREFIX: &str = "grace.telemetry.";

/// See the module's page.
#[derive(Debug, Default)]
pub struct Telemetry {
    last: Mutex<BTreeMap<String, (Monotonic, Bytes)>>,
}

impl Telemetry {
    /// Takes a message, if there is room for it.
    pub fn hear(&self, message: Message, now: Monotonic) {
        let Some(subject) = message.subject.strip_prefix(PREFIX) else { return };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let known = last.contains_key(subject);
        if message.payload.len() <= limits::TELEMETRY_BYTES
            && (known || last.len() < limits::TELEMETRY_SUBJECTS)
        {
            last.insert(subject.to_owned(), (now, message.payload));
        }
    }

    /// The last message under `subject` (without `grace.telemetry.`), if it is not too old and a `T`.
    #[must_use]
    pub fn of<T: DeserializeOwned>(&self, subject: &str, now: Monotonic) -> Option<T> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.get(subject).filter(|(when, _)| is_fresh(*when, now)).and_then(read)
    }

    /// The same for all subjects that begin with `prefix`, in order.
    #[must_use]
    pub fn under<T: DeserializeOwned>(&self, prefix: &str, now: Monotonic) -> Vec<T> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let under = last.range(prefix.to_owned()..).take_while(|(subject, _)| subject.starts_with(prefix));
        under.filter(|(_, (when, _))| is_fresh(*when, now)).filter_map(|(_, kept)| read(kept)).collect()
    }

    /// Seconds since each subject was last heard.
    #[must_use]
    pub fn ages(&self, now: Monotonic) -> Vec<(String, f64)> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.iter().map(|(subject, (when, _))| (subject.clone(), now.since(*when).as_secs_f64())).collect()
    }
}

fn is_fresh(when: Monotonic, now: Monotonic) -> bool {
    now.since(when) <= limits::TELEMETRY_AGE
}

/// What is not a `T` is as good as not there: its sender is of another version.
fn read<T: DeserializeOwned>((_, payload): &(Monotonic, Bytes)) -> Option<T> {
    serde_json::from_slice(payload).ok()
}

/// Hears telemetry for as long as there is a bus.
pub async fn follow(telemetry: Arc<Telemetry>, bus: Bus, clock: Arc<dyn Clock>, group: String) {
    match subscribe(&bus, &group).await {
        Ok(mut messages) => {
            while let Some(message) = messages.next().await {
                telemetry.hear(message, clock.now().mono);
            }
        }
        Err(e) => tell(&format!("no telemetry is heard: {e}")),
    }
}

async fn subscribe(bus: &Bus, group: &str) -> Result<grace_bus::Subscription, BusError> {
    listen(bus.clone(), SUBJECTS.to_owned(), group.to_owned()).await
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_last_word_counts_until_it_is_old() {
        let telemetry = Telemetry::default();
        let start = Monotonic::from_nanos(1);
        let say = |subject: &str, value: Value| {
            telemetry.hear(Message::new(format!("grace.telemetry.{subject}"), value.to_string()), start);
        };
        say("evidence.a", json!(1));
        say("evidence.a", json!(2));
        say("evidence.b", json!(3));
        say("evidencex", json!(4));
        say("layer2", json!("word"));
        assert_eq!(telemetry.under::<u64>("evidence.", start), [2, 3]);
        assert_eq!(telemetry.of::<String>("layer2", start).as_deref(), Some("word"));
        assert_eq!(telemetry.of::<u64>("layer2", start), None, "of another form");
        let late = start.plus(limits::TELEMETRY_AGE + Duration::from_secs(1));
        assert_eq!(telemetry.under::<u64>("evidence.", late), [0; 0]);
        assert_eq!(telemetry.ages(late).len(), 4);
    }

    #[test]
    fn there_is_room_for_so_many() {
        let telemetry = Telemetry::default();
        for n in 0..=limits::TELEMETRY_SUBJECTS {
            telemetry.hear(Message::new(format!("grace.telemetry.{n:04}"), "1"), Monotonic::ZERO);
        }
        telemetry.hear(
            Message::new("grace.telemetry.0000", vec![b' '; limits::TELEMETRY_BYTES + 1]),
            Monotonic::ZERO,
        );
        assert_eq!(telemetry.under::<u64>("", Monotonic::ZERO).len(), limits::TELEMETRY_SUBJECTS);
    }
}
