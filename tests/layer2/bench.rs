//! An instance whose intents leave notes, and the bus to it, as any program could speak on it.

use std::{collections::BTreeMap, time::Duration};

use grace_bus::{Bus, Headers, Message, Subscription};
use rustix::process::Signal;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::instance::{Instance, durable::connect, kill, until};

/// The type whose intents each leave a line of text in a file.
const NOTE: &str = r#"bus: {port: 0}
workers: 2
intents:
  note:
    payload: {type: object, required: [text], additionalProperties: false, properties: {text: {type: string}}}
    plan:
      task:
        kind: exec
        command: [sh, -c, 'echo "$0" >> FOLDER/notes', "${payload.text}"]
        timeout: 20s
        retry: {attempts: 5, backoff: 100ms}
"#;

/// Boots an instance with the type `note` and these lines of a manifest.
pub(crate) fn up(more: &str) -> Instance {
    let instance = Instance::of("");
    instance.write_manifest(&format!("{NOTE}{more}"));
    instance.up();
    instance
}

/// The notes so far.
pub(crate) fn notes(instance: &Instance) -> Vec<String> {
    let text = std::fs::read_to_string(instance.file("notes")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Waits for so many notes.
pub(crate) fn until_notes(instance: &Instance, count: usize) -> Vec<String> {
    until(&format!("{count} notes are written"), || {
        Some(notes(instance)).filter(|notes| notes.len() >= count)
    })
}

/// How often each intent's tasks were done, as the task manager's journal tells.
pub(crate) fn done(instance: &Instance) -> BTreeMap<String, usize> {
    let mut done = BTreeMap::new();
    for record in instance.records_of("htm") {
        let by = record["event"]["record"]["event"]["what"]["tasks_done"]["by"].as_array().cloned();
        for task in by.iter().flatten().flat_map(|by| by["tasks"].as_array().into_iter().flatten()) {
            let (intent, _) = task["task"].as_str().unwrap().split_once('.').unwrap();
            *done.entry(intent.replacen("tsk_", "int_", 1)).or_default() += 1;
        }
    }
    done
}

/// Kills a component that is ready, or becomes it.
pub(crate) fn kill_ready(instance: &Instance, name: &str) {
    kill(instance.ready(name).pid.unwrap(), Signal::KILL);
}

/// Kills a component, and waits until another process is ready in its place.
pub(crate) fn kill_and_wait(instance: &Instance, name: &str) {
    let before = instance.ready(name).pid;
    kill(before.unwrap(), Signal::KILL);
    instance.until_component(name, "is ready again", |c| c.ready && c.pid != before);
}

/// The bus, as the operator, who may say everything.
pub(crate) struct Sender {
    runtime: Runtime,
    bus: Bus,
    /// How long an answer is waited for before it counts as lost.
    patience: Duration,
}

impl Sender {
    pub(crate) fn to(instance: &Instance) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let bus = runtime.block_on(async { connect(instance) });
        Self { runtime, bus, patience: Duration::from_secs(2) }
    }

    /// Where nobody is killed no answer is lost, however late it is; said again, an event is answered as one that was there before.
    pub(crate) fn patient(self) -> Self {
        Self { patience: Duration::from_secs(30), ..self }
    }

    /// Says it once, and what is answered; or why nothing is.
    pub(crate) fn request(&self, message: Message) -> Result<Value, String> {
        let asked = self.runtime.block_on(self.bus.request(message, self.patience));
        let answer = asked.map_err(|e| e.to_string())?;
        serde_json::from_slice(&answer.payload).map_err(|e| e.to_string())
    }

    /// What is said on a subject from now on.
    pub(crate) fn listen(&self, subject: &str) -> Heard<'_> {
        let inbox = self.runtime.block_on(async {
            self.bus.connected().wait_for(|connected| *connected).await.unwrap();
            let inbox = self.bus.subscribe(subject, None).await.unwrap();
            self.bus.flush().await.unwrap();
            inbox
        });
        Heard { runtime: &self.runtime, inbox }
    }

    /// Sends an event until it is taken or refused.
    pub(crate) fn send(&self, kind: &str, id: &str, data: &str) -> Value {
        let message = event(&format!("events.{kind}"), kind, id, data);
        until(&format!("{kind} {id} is answered"), || {
            let answer = self.request(message.clone()).ok()?;
            // An error is no answer: it may be taken later.
            answer.get("error").is_none().then_some(answer)
        })
    }
}

/// What is said on a subject.
pub(crate) struct Heard<'s> {
    runtime: &'s Runtime,
    inbox: Subscription,
}

impl Heard<'_> {
    pub(crate) fn next(&mut self) -> Message {
        const PATIENCE: Duration = Duration::from_secs(30);
        let next = async { tokio::time::timeout(PATIENCE, self.inbox.next()).await };
        self.runtime.block_on(next).unwrap().unwrap()
    }
}

/// A CloudEvent in binary mode on any subject.
pub(crate) fn event(subject: &str, kind: &str, id: &str, data: &str) -> Message {
    let attributes = [("specversion", "1.0"), ("id", id), ("source", "/shop"), ("type", kind)];
    let mut headers: Headers =
        attributes.into_iter().map(|(name, value)| (format!("ce-{name}"), value.to_owned())).collect();
    headers.append("content-type", "application/json");
    Message::new(subject, data.as_bytes().to_vec()).with_headers(headers)
}
