//! Spans out of what the task manager records: intents that were taken, and attempts at their tasks.
//!
//! [`Road`] is pure: events in, spans out. It remembers the context of intents that have one, and when their tasks were given out, both
//! within bounds; the oldest is forgotten. While no intent has a context, nothing but `submitted` is read.

use std::collections::{HashMap, VecDeque, hash_map::Entry};

use grace_bus::{Bus, Message};
use grace_kernel::process::{serve::listen, tell};
use grace_types::{time::Timestamp, trace::TraceContext};
use serde::{Deserialize, de::DeserializeOwned};

use super::{Span, Tracer};
use crate::limits;

/// What is heard.
pub(crate) const SUBJECTS: &str = "grace.event.htm.*";
const PREFIX: &str = "grace.event.htm.";

/// Reports spans for as long as there is a bus.
pub(crate) async fn follow(tracer: Tracer, bus: Bus, group: String) {
    let mut road = Road::default();
    match listen(bus, SUBJECTS.to_owned(), group).await {
        Ok(mut messages) => {
            while let Some(message) = messages.next().await {
                road.hear(&message).into_iter().for_each(|span| tracer.report(span));
            }
        }
        Err(e) => tell(&format!("intents and tasks have no spans: {e}")),
    }
}

/// The record of an event, as far as spans need it.
#[derive(Deserialize)]
struct Record<W> {
    event: Happened<W>,
}

#[derive(Deserialize)]
struct Happened<W> {
    what: W,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum What {
    Submitted { intents: Vec<Intent> },
    Dispatched { to: Vec<Dispatch> },
    TasksDone { by: Vec<DoneBy> },
    TaskFailed { task: String, token: u64, reason: String },
}

#[derive(Deserialize)]
struct Dispatch {
    name: String,
    tasks: Vec<Attempt>,
}

#[derive(Deserialize)]
struct DoneBy {
    tasks: Vec<Attempt>,
}

#[derive(Deserialize)]
struct Intent {
    id: String,
    actor: String,
    #[serde(default)]
    origin: Option<Origin>,
}

#[derive(Deserialize)]
struct Origin {
    #[serde(default)]
    traceparent: Option<String>,
}

#[derive(Deserialize)]
struct Attempt {
    task: String,
    token: u64,
}

/// See the module's page.
#[derive(Debug, Default)]
struct Road {
    /// What set off each intent.
    intents: HashMap<String, TraceContext>,
    order: VecDeque<String>,
    /// By token: when it was given out, and to whom.
    running: HashMap<u64, (Timestamp, String)>,
    tokens: VecDeque<u64>,
}

impl Road {
    fn hear(&mut self, message: &Message) -> Vec<Span> {
        let what = message.subject.strip_prefix(PREFIX).unwrap_or_default();
        let wanted = match what {
            "submitted" => true,
            "dispatched" | "tasks_done" | "task_failed" => !self.intents.is_empty(),
            _ => false,
        };
        let time = message.headers.get("ce-time").and_then(|time| time.parse().ok());
        match (wanted, time) {
            (true, Some(time)) => {
                read::<What>(&message.payload).map(|what| self.spans(what, time)).unwrap_or_default()
            }
            _ => Vec::new(),
        }
    }

    fn spans(&mut self, what: What, time: Timestamp) -> Vec<Span> {
        match what {
            What::Submitted { intents } => {
                intents.into_iter().filter_map(|intent| self.intent(intent, time)).collect()
            }
            What::Dispatched { to } => {
                for Dispatch { name, tasks } in to {
                    for Attempt { task, token } in tasks {
                        if self.intents.contains_key(&intent_of(&task)) {
                            self.running.insert(token, (time, name.clone()));
                            self.tokens.push_back(token);
                        }
                    }
                }
                while self.tokens.len() > limits::TRACED {
                    self.tokens.pop_front().map(|token| self.running.remove(&token));
                }
                Vec::new()
            }
            What::TasksDone { by } => by
                .into_iter()
                .flat_map(|by| by.tasks)
                .filter_map(|attempt| self.task(attempt, time, None))
                .collect(),
            What::TaskFailed { task, token, reason } => {
                self.task(Attempt { task, token }, time, Some(reason)).into_iter().collect()
            }
        }
    }

    fn intent(&mut self, intent: Intent, time: Timestamp) -> Option<Span> {
        let above: TraceContext = intent.origin?.traceparent?.parse().ok()?;
        let span = Span {
            context: above.of_intent(&intent.id),
            parent: Some(above.span_id()),
            name: "intent",
            start: time,
            end: time,
            attributes: vec![("grace.intent", intent.id.clone()), ("grace.actor", intent.actor)],
            error: None,
        };
        if let Entry::Vacant(place) = self.intents.entry(intent.id.clone()) {
            place.insert(above);
            self.order.push_back(intent.id);
        }
        while self.order.len() > limits::TRACED {
            self.order.pop_front().map(|oldest| self.intents.remove(&oldest));
        }
        Some(span)
    }

    fn task(
        &mut self,
        Attempt { task, token }: Attempt,
        time: Timestamp,
        error: Option<String>,
    ) -> Option<Span> {
        let intent = intent_of(&task);
        let above = *self.intents.get(&intent)?;
        let (start, worker) = self.running.remove(&token)?;
        Some(Span {
            context: above.of_task(&intent, &task, token),
            parent: Some(above.of_intent(&intent).span_id()),
            name: "task",
            start,
            end: time,
            attributes: vec![("grace.task", task), ("grace.intent", intent), ("grace.worker", worker)],
            error,
        })
    }
}

/// `tsk_3xq7k-42.0` belongs to `int_3xq7k-42`.
fn intent_of(task: &str) -> String {
    let number = task.strip_prefix("tsk_").and_then(|rest| rest.split('.').next());
    format!("int_{}", number.unwrap_or_default())
}

fn read<W: DeserializeOwned>(payload: &[u8]) -> Option<W> {
    serde_json::from_slice::<Record<W>>(payload).ok().map(|record| record.event.what)
}

#[cfg(test)]
mod tests {
    use grace_bus::Headers;
    use serde_json::{Value, json};

    use super::*;

    const ABOVE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn said(what: &str, second: u64, body: &Value) -> Message {
        let event = json!({"event": {"at": 1, "what": {what: body}}, "why": [], "how": "x", "where": "y"});
        let time = Timestamp::from_nanos(second * 1_000_000_000).to_string();
        let headers: Headers = [("ce-time", time)].into_iter().collect();
        Message::new(format!("{PREFIX}{what}"), event.to_string()).with_headers(headers)
    }

    #[test]
    fn an_intent_and_its_attempts_share_a_trace() {
        let mut road = Road::default();
        let submitted = json!({"intents": [
            {"id": "int_00000-1", "actor": "a", "definition": 1, "payload": {}, "priority": "normal", "origin": {"traceparent": ABOVE}},
            {"id": "int_00000-2", "actor": "a", "definition": 1, "payload": {}, "priority": "normal"},
        ]});
        let mut spans = road.hear(&said("submitted", 1, &submitted));
        let granted = json!({"fairness": {}, "to": [{"worker": 1, "name": "w", "tasks": [
            {"task": "tsk_00000-1.0", "token": 7}, {"task": "tsk_00000-2.0", "token": 8}]}]});
        spans.extend(road.hear(&said("dispatched", 2, &granted)));
        let failed =
            json!({"task": "tsk_00000-1.0", "token": 7, "reason": "no", "next": {"retry": {"due": 1}}});
        spans.extend(road.hear(&said("task_failed", 3, &failed)));
        let again =
            json!({"to": [{"worker": 1, "name": "w", "tasks": [{"task": "tsk_00000-1.0", "token": 9}]}]});
        spans.extend(road.hear(&said("dispatched", 4, &again)));
        let done = json!({"by": [{"worker": 1, "tasks": [{"task": "tsk_00000-1.0", "token": 9, "output": {}},
            {"task": "tsk_00000-2.0", "token": 8}]}]});
        spans.extend(road.hear(&said("tasks_done", 5, &done)));
        let shown: Vec<_> =
            spans.iter().map(|s| (s.name, s.error.as_deref(), s.end.since(s.start).as_secs())).collect();
        assert_eq!(shown, [("intent", None, 0), ("task", Some("no"), 1), ("task", None, 1)]);
        let above: TraceContext = ABOVE.parse().unwrap();
        assert!(spans.iter().all(|span| span.context.trace_id() == above.trace_id()));
        assert_eq!(spans[0].parent, Some(above.span_id()));
        assert!(spans[1..].iter().all(|span| span.parent == Some(spans[0].context.span_id())));
        assert_eq!(spans[2].context, above.of_task("int_00000-1", "tsk_00000-1.0", 9));
        assert!(road.running.is_empty());
    }

    #[test]
    fn memory_is_bounded() {
        let mut road = Road::default();
        for n in 0..limits::TRACED as u64 * 2 {
            let id = format!("00000-{n}");
            let intents = json!({"intents": [{"id": format!("int_{id}"), "actor": "a", "origin": {"traceparent": ABOVE}}]});
            road.hear(&said("submitted", 1, &intents));
            let tasks =
                json!({"to": [{"name": "w", "tasks": [{"task": format!("tsk_{id}.0"), "token": n}]}]});
            road.hear(&said("dispatched", 1, &tasks));
        }
        assert_eq!((road.intents.len(), road.running.len()), (limits::TRACED, limits::TRACED));
        assert!(road.order.len() <= limits::TRACED && road.tokens.len() <= limits::TRACED);
    }
}
