//! The way to the task manager: its commands on the bus, as the operator. The one place in this binary with an async runtime.

use std::time::Duration;

use grace_bus::{
    Bus, BusError, Message, Subscription,
    client::native::{self, NativeOptions, Target},
};
use grace_core::instance::Instance;
use grace_kernel::{
    Envelope, Outcome,
    process::wire::{self, WireError},
};
use grace_orchestration::htm::{
    Command, Htm, IntentId, Refusal, Reply, command::Query, shell, view::IntentView,
};
use grace_types::chance::{Entropy as _, OsEntropy};
use tokio::runtime::Runtime;

use crate::{
    control,
    failure::{Exit, Failure},
    limits,
};

/// A connection to the task manager.
pub(super) struct Road {
    instance: Instance,
    runtime: Runtime,
    bus: Bus,
}

impl Road {
    /// Connects to the bus of the instance.
    pub(super) fn to(instance: &Instance) -> Result<Self, Failure> {
        let url = match std::fs::read_to_string(instance.operator_url()) {
            Ok(url) => url,
            // The control plane knows better what is wrong.
            Err(e) => {
                control::status(instance)?;
                return Err(Failure::new(
                    Exit::Unreachable,
                    "not_reachable",
                    format!("the bus is not known: {e}"),
                )
                .at(&instance.operator_url().display()));
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| Failure::new(Exit::Failed, "system", e.to_string()))?;
        let mut options = NativeOptions::from_url(url.trim(), "cli")
            .map_err(|e| Failure::new(Exit::Failed, "system", e.to_string()))?;
        options.target = Target::Unix(instance.bus_socket());
        let bus = runtime.block_on(async { native::connect(options) });
        Ok(Self { instance: instance.clone(), runtime, bus })
    }

    /// Asks for something that changes nothing.
    pub(super) fn query(&self, query: Query) -> Result<Reply, Failure> {
        self.send(&Envelope::new(Command::Query(query)), None)
    }

    /// Has something done: once, however often it has to be sent.
    pub(super) fn order(&self, command: Command) -> Result<Reply, Failure> {
        let key = format!("cli-{:032x}", OsEntropy.next_u128());
        self.send(&Envelope::new(command), Some(&key))
    }

    fn send(&self, envelope: &Envelope<Command>, key: Option<&str>) -> Result<Reply, Failure> {
        let message = wire::command(shell::NAME, envelope)
            .map_err(|e| Failure::new(Exit::Usage, "bad_request", e.to_string()))?;
        let answered = self.runtime.block_on(async {
            match key {
                Some(key) => self.bus.request_until(message, key, limits::ANSWER_TIME).await,
                None => self.asked(message).await,
            }
        });
        let answer = answered.map_err(|e| self.unanswered(&e))?;
        match wire::read_answer::<Htm>(&answer.payload) {
            Ok(Outcome::Done(reply)) => Ok(reply),
            Ok(Outcome::Refused(refusal)) => Err(refused(refusal)),
            Err(WireError { code, message }) => Err(Failure::new(Exit::Failed, &code, message)),
        }
    }

    /// A question may be asked again: with a key it would be put on record.
    async fn asked(&self, message: Message) -> Result<Message, BusError> {
        let mut last = BusError::NotConnected;
        for _ in 0..limits::QUESTION_TRIES {
            let mut connected = self.bus.connected();
            let waited = tokio::time::timeout(limits::LAST_WORDS_TIME, connected.wait_for(|c| *c)).await;
            if waited.is_err() {
                continue;
            }
            match self.bus.request(message.clone(), limits::ANSWER_TIME).await {
                Err(error @ BusError::NoResponders { .. }) => {
                    last = error;
                    // It may be on its way back.
                    let _ = tokio::time::timeout(limits::LAST_WORDS_TIME, std::future::pending::<()>()).await;
                }
                Err(error @ BusError::NotConnected) => last = error,
                done => return done,
            }
        }
        Err(last)
    }

    fn unanswered(&self, error: &BusError) -> Failure {
        // Whether anything runs at all is the control plane's to say.
        match control::status(&self.instance) {
            Err(failure) => failure,
            Ok(status) if status.components.iter().any(|c| c.name == shell::NAME) => Failure::new(
                Exit::Unreachable,
                "not_reachable",
                format!("the task manager did not answer: {error}"),
            )
            .help("`grace status` shows its state; ask again"),
            Ok(_) => Failure::new(Exit::Usage, "no_intents", "this instance has no types of intents")
                .help("declare some under `intents:` in the manifest, and start it again"),
        }
    }

    /// The intent, once it is over.
    pub(super) fn ended(&self, id: IntentId) -> Result<IntentView, Failure> {
        let subject = format!("grace.htm.ended.{id}");
        let heard = self.runtime.block_on(self.bus.subscribe(&subject, None));
        let mut heard = heard.map_err(|e| self.unanswered(&e))?;
        loop {
            match self.query(Query::Intent(id)) {
                Ok(Reply::Intent(intent)) if super::is_over(intent.state) => return Ok(*intent),
                Ok(_) => {}
                // The task manager is being replaced; the intent is safe.
                Err(failure) if failure.code == "not_reachable" => {}
                Err(failure) => return Err(failure),
            }
            self.runtime.block_on(hint(&mut heard));
        }
    }
}

/// Returns when a message comes, or it is time to ask without one: it may have been lost with a connection.
async fn hint(heard: &mut Subscription) {
    let _ = tokio::time::timeout(Duration::from_secs(1), heard.next()).await;
}

fn refused(refusal: Refusal) -> Failure {
    let exit = match refusal.code.as_str() {
        "unknown_intent" | "unknown_task" | "unknown_type" | "bad_request" => Exit::Usage,
        _ => Exit::Failed,
    };
    let code = match refusal.code.as_str() {
        "unknown_intent" | "unknown_task" => "not_found",
        "over" | "not_dead" | "compensated" => "wrong_state",
        other => other,
    };
    Failure::new(exit, code, refusal.message)
}
