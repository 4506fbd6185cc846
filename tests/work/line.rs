//! Commands on the bus, as any program could send them.

use std::time::Duration;

use grace_bus::{
    Bus, Message,
    client::native::{self, NativeOptions, Target},
};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::instance::{Instance, until};

/// The bus, as the operator, who may say everything.
pub(crate) struct Line {
    runtime: Runtime,
    bus: Bus,
}

impl Line {
    pub(crate) fn to(instance: &Instance) -> Self {
        Self::of(instance, "test", &std::fs::read_to_string(instance.place().operator_url()).unwrap())
    }

    /// As the component of this name, with its credential.
    #[allow(dead_code, reason = "not every test binary does")]
    pub(crate) fn as_component(instance: &Instance, name: &str) -> Self {
        let pid = instance.ready(name).pid.unwrap();
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
        let environment = String::from_utf8(environment).unwrap();
        let url = environment.split('\0').find_map(|one| one.strip_prefix("NATS_URL=")).unwrap();
        Self::of(instance, name, url)
    }

    fn of(instance: &Instance, name: &str, url: &str) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let mut options = NativeOptions::from_url(url.trim(), name).unwrap();
        options.target = Target::Unix(instance.place().bus_socket());
        let bus = runtime.block_on(async { native::connect(options) });
        Self { runtime, bus }
    }

    /// Asks until there is an answer.
    pub(crate) fn ask(&self, subject: &str, command: &Value) -> Value {
        let message =
            Message::new(subject.to_owned(), json!({ "command": command }).to_string().into_bytes());
        until("it is answered", || {
            let asked = self.bus.request(message.clone(), Duration::from_secs(5));
            let answer = self.runtime.block_on(asked).ok()?;
            serde_json::from_slice(&answer.payload).ok()
        })
    }

    /// Asks once, and does not wait for longer than this.
    #[allow(dead_code, reason = "not every test binary does")]
    pub(crate) fn ask_once(&self, subject: &str, command: &Value, patience: Duration) {
        let message =
            Message::new(subject.to_owned(), json!({ "command": command }).to_string().into_bytes());
        let _ = self.runtime.block_on(self.bus.request(message, patience));
    }

    /// What is answered to this text, if anything is.
    #[allow(dead_code, reason = "not every test binary does")]
    pub(crate) fn try_say(&self, subject: &str, text: &str) -> Option<Value> {
        let message = Message::new(subject.to_owned(), text.as_bytes().to_vec());
        let connected = async { self.bus.connected().wait_for(|connected| *connected).await.is_ok() };
        assert!(self.runtime.block_on(connected));
        let answer = self.runtime.block_on(self.bus.request(message, Duration::from_secs(5))).ok()?;
        serde_json::from_slice(&answer.payload).ok()
    }

    /// Says it, whether or not anybody hears it.
    #[allow(dead_code, reason = "not every test binary does")]
    pub(crate) fn tell(&self, subject: &str, command: &Value) {
        let message =
            Message::new(subject.to_owned(), json!({ "command": command }).to_string().into_bytes());
        let _ = self.runtime.block_on(self.bus.publish(message));
    }

    /// Returns when so many messages were heard from now on.
    #[allow(dead_code, reason = "not every test binary does")]
    pub(crate) fn hears(&self, subject: &str, count: usize) {
        const PATIENCE: Duration = Duration::from_secs(30);
        self.runtime.block_on(async {
            let mut inbox = self.bus.subscribe(subject, None).await.unwrap();
            for _ in 0..count {
                tokio::time::timeout(PATIENCE, inbox.next()).await.unwrap().unwrap();
            }
        });
    }

    pub(crate) fn register(&self, worker: &str) {
        let offer = json!({"name": worker, "incarnation": "1", "kinds": ["own"], "slots": 4});
        let answer = self.ask(&format!("grace.work.register.{worker}"), &json!({ "register": offer }));
        assert!(answer["done"]["registered"]["beat_ms"].is_number(), "{answer}");
    }

    /// The one task that waits, and its token.
    pub(crate) fn lease(&self, worker: &str) -> (Value, u64) {
        let ask = json!({"lease": {"asks": [{"worker": worker, "max": 1}]}});
        let task = until("a task is given out", || {
            let answer = self.ask(&format!("grace.work.lease.{worker}"), &ask);
            answer["done"]["leased"]["grants"][0]["tasks"].get(0).cloned()
        });
        (task["task"].clone(), task["token"].as_u64().unwrap())
    }

    pub(crate) fn answer(&self, worker: &str, task: &Value, token: u64, output: &str) -> Value {
        let answer = json!({"task": task, "token": token, "output": output});
        let command = json!({"answer": {"worker": worker, "answers": [answer]}});
        let answer = self.ask(&format!("grace.work.answer.{worker}"), &command);
        answer["done"]["answered"]["verdicts"][0].clone()
    }
}
