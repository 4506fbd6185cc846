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
        let url = std::fs::read_to_string(instance.place().operator_url()).unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let mut options = NativeOptions::from_url(url.trim(), "test").unwrap();
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

    /// Says it, whether or not anybody hears it.
    #[allow(dead_code, reason = "not every test binary does")]
    pub(crate) fn tell(&self, subject: &str, command: &Value) {
        let message =
            Message::new(subject.to_owned(), json!({ "command": command }).to_string().into_bytes());
        let _ = self.runtime.block_on(self.bus.publish(message));
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
