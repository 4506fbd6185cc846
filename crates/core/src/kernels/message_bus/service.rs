//! What can be asked of the broker over the bus: requests on `grace.cmd.message_bus`.
//!
//! ```json
//! {"command": {"op": "statistics"}}              {"done": {"connections": 3, "messages_in": 120, …}}
//! {"command": {"op": "connections"}}             {"done": [{"connection": 1, "user": "web", …}]}
//! {"command": {"op": "mappings"}}                {"done": [{"source": "a", "destinations": [{"subject": "b", "weight": 10}]}]}
//! {"command": {"op": "set_mappings", "mappings": […]}}        {"done": null}
//! ```
//!
//! or `{"refused": {"code": …}, "message": …}`, or `{"error": {"code": "bad_request", "message": …}}`: the forms of every
//! kernel's answers.

use std::path::PathBuf;

use bytes::Bytes;
use grace_bus::{
    Headers,
    broker::Statistics,
    mapping::{Mappings, SubjectMapping},
    shell::BrokerCommand,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use super::mappings;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    command: Command,
}

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Counters and gauges.
    Statistics,
    /// Every connection.
    Connections,
    /// The subject mappings in force.
    Mappings,
    /// Another set of mappings instead. Answered when it is on disk and in force.
    SetMappings {
        /// The whole set.
        mappings: Vec<SubjectMapping>,
    },
}

/// Where the broker's counters are published.
const TELEMETRY: &str = "grace.telemetry.message_bus";

/// The broker's counters as they are published. What is there now has a name of its own: the tally counts all connections there were.
#[derive(Serialize)]
struct Telemetry<T> {
    open_connections: usize,
    subscriptions: usize,
    buffered_bytes: usize,
    #[serde(flatten)]
    tally: T,
}

/// Why it was not done.
struct Refusal {
    code: &'static str,
    message: String,
}

/// The broker, as its kernel sees it.
pub(super) struct Broker {
    commands: mpsc::Sender<BrokerCommand>,
    mappings: PathBuf,
}

impl Broker {
    pub(super) const fn new(commands: mpsc::Sender<BrokerCommand>, mappings: PathBuf) -> Self {
        Self { commands, mappings }
    }

    /// Gives an order. A broker that has ended takes none; its end is seen elsewhere.
    pub(super) async fn order(&self, command: BrokerCommand) {
        let _ = self.commands.send(command).await;
    }

    /// Counters and gauges; `None` when the broker has ended.
    pub(super) async fn statistics(&self) -> Option<Statistics> {
        self.ask(BrokerCommand::Statistics).await.ok()
    }

    /// Publishes the counters.
    pub(super) async fn tell_telemetry(&self) {
        let Some(Statistics { connections, subscriptions, buffered_bytes, tally, .. }) =
            self.statistics().await
        else {
            return;
        };
        let telemetry = Telemetry { open_connections: connections, subscriptions, buffered_bytes, tally };
        if let Ok(body) = serde_json::to_vec(&telemetry) {
            self.order(publish(TELEMETRY.to_owned(), body)).await;
        }
    }

    /// The answer to a request's body.
    pub(super) async fn answer(&self, body: &[u8]) -> Vec<u8> {
        let answer = match serde_json::from_slice::<Request>(body) {
            Err(error) => json!({"error": {"code": "bad_request", "message": format!("the body: {error}")}}),
            Ok(request) => match self.carry_out(request.command).await {
                Ok(done) => json!({"done": done}),
                Err(refusal) => json!({"refused": {"code": refusal.code}, "message": refusal.message}),
            },
        };
        answer.to_string().into_bytes()
    }

    async fn carry_out(&self, command: Command) -> Result<Value, Refusal> {
        match command {
            Command::Statistics => self.ask(BrokerCommand::Statistics).await.and_then(value),
            Command::Connections => self.ask(BrokerCommand::Connections).await.and_then(value),
            Command::Mappings => mappings::load(&self.mappings).map_err(|e| not_stored(&e)).and_then(value),
            Command::SetMappings { mappings } => self.set_mappings(mappings).await.and_then(value),
        }
    }

    /// Checked, then stored, then put in force, then answered (law 3).
    async fn set_mappings(&self, set: Vec<SubjectMapping>) -> Result<(), Refusal> {
        let refused =
            |e: grace_bus::mapping::MappingError| Refusal { code: "bad_mapping", message: e.to_string() };
        Mappings::new(&set).map_err(refused)?;
        let (path, stored) = (self.mappings.clone(), set.clone());
        // A sync may take long, and the broker lives on this thread.
        tokio::task::spawn_blocking(move || mappings::store(&path, &stored))
            .await
            .map_err(|_| STOPPING)?
            .map_err(|e| not_stored(&e))?;
        self.ask(|answer| BrokerCommand::SetMappings(set, answer)).await?.map_err(refused)
    }

    async fn ask<T>(&self, order: impl FnOnce(oneshot::Sender<T>) -> BrokerCommand) -> Result<T, Refusal> {
        let (answer, done) = oneshot::channel();
        self.commands.send(order(answer)).await.map_err(|_| STOPPING)?;
        done.await.map_err(|_| STOPPING)
    }
}

const STOPPING: Refusal = Refusal { code: "stopping", message: String::new() };

fn not_stored(error: &std::io::Error) -> Refusal {
    Refusal { code: "not_durable", message: format!("the mappings on disk: {error}") }
}

fn value(done: impl Serialize) -> Result<Value, Refusal> {
    serde_json::to_value(done).map_err(|e| Refusal { code: "unreadable", message: e.to_string() })
}

/// The order to publish an answer.
pub(super) fn publish(subject: String, payload: Vec<u8>) -> BrokerCommand {
    BrokerCommand::Publish {
        subject,
        reply: None,
        headers: Headers::new(),
        payload: Bytes::from(payload),
        delivered: None,
    }
}
