//! The way to other components: a request on the bus each, and what went wrong with it as a problem.

use grace_bus::{Bus, BusError, Message, Subscription};
use grace_cortex::{
    command::{self as cortex, Query},
    governance::{self, Governance},
    request::Actor,
    router::Router,
};
use grace_kernel::{
    Decider, Envelope, Outcome,
    process::{
        later,
        wire::{self, WireError},
    },
};
use grace_orchestration::htm::{self, Htm};
use grace_types::intent::{WAIT_HEADER, asked::intent_subject};
use tokio::time::timeout;

use crate::{limits, problem::Problem};

/// What a component said: done, or refused.
pub(crate) type Said<D> = Outcome<<D as Decider>::Reply, <D as Decider>::Refusal>;

/// See the module's page.
pub(crate) struct Road {
    bus: Bus,
}

impl Road {
    pub(crate) const fn new(bus: Bus) -> Self {
        Self { bus }
    }

    /// The bus that it leads over.
    pub(crate) const fn bus(&self) -> &Bus {
        &self.bus
    }

    /// Has the cortex do something for an actor: once under this key, however often it has to be sent.
    pub(crate) async fn order(
        &self,
        actor: &Actor,
        envelope: &Envelope<cortex::Command>,
        key: &str,
    ) -> Result<Said<Router>, Problem> {
        let mut message = message(envelope, intent_subject(actor.kind.word(), &actor.name))?;
        // Whoever asks next finds its tasks.
        message.headers.append(WAIT_HEADER, limits::TAKEN_TIME.as_millis().to_string());
        let answer = self.bus.request_until(message, key, limits::ORDER_TIME).await;
        read::<Router>("the cortex", answer)
    }

    /// Asks the cortex for an actor.
    pub(crate) async fn look(&self, actor: &Actor, query: Query) -> Result<Said<Router>, Problem> {
        let subject = intent_subject(actor.kind.word(), &actor.name);
        self.ask::<Router>("the cortex", subject, cortex::Command::Query(query)).await
    }

    /// Asks the task manager.
    pub(crate) async fn work(&self, query: htm::command::Query) -> Result<Said<Htm>, Problem> {
        let subject = htm::shell::LOOK_SUBJECT.to_owned();
        self.ask::<Htm>("the task manager", subject, htm::Command::Query(query)).await
    }

    /// Asks governance, or hands in what an approver has signed.
    pub(crate) async fn govern(&self, command: governance::Command) -> Result<Said<Governance>, Problem> {
        let subject = governance::shell::DESK_SUBJECT.to_owned();
        self.ask::<Governance>("governance", subject, command).await
    }

    /// A question may be sent again while nobody listens: with a key it would be put on record.
    async fn ask<D: Decider>(
        &self,
        whom: &str,
        subject: String,
        command: D::Command,
    ) -> Result<Said<D>, Problem> {
        let message = message(&Envelope::new(command), subject)?;
        let asking = async {
            loop {
                match self.bus.request(message.clone(), limits::ASK_TIME).await {
                    Err(BusError::NoResponders { .. } | BusError::NotConnected) => {
                        later(limits::ASK_AGAIN).await;
                    }
                    done => return done,
                }
            }
        };
        let late = || BusError::Timeout { subject: message.subject.clone(), timeout: limits::ASK_TIME };
        let answer = timeout(limits::ASK_TIME, asking).await.unwrap_or_else(|_| Err(late()));
        read::<D>(whom, answer)
    }

    /// What is heard on a subject from now on; nothing while there is no bus, and then only asking helps.
    pub(crate) async fn hear(&self, subject: &str) -> Option<Subscription> {
        self.bus.subscribe(subject, None).await.ok()
    }
}

fn message<C: serde::Serialize>(envelope: &Envelope<C>, subject: String) -> Result<Message, Problem> {
    let mut message = wire::command("", envelope).map_err(|e| Problem::malformed(e.to_string()))?;
    message.subject = subject;
    Ok(message)
}

fn read<D: Decider>(whom: &str, answer: Result<Message, BusError>) -> Result<Said<D>, Problem> {
    let unavailable = |detail: String| Problem::unavailable("unavailable", detail, limits::RETRY_AFTER);
    let answer = answer.map_err(|e| match e {
        BusError::TooLarge { .. } => Problem::too_large(e.to_string()),
        BusError::NoResponders { .. } | BusError::NotConnected | BusError::Timeout { .. } => {
            unavailable(format!("{whom} did not answer in time"))
        }
        other => unavailable(other.to_string()),
    })?;
    // What is not understood is no answer.
    wire::read_answer::<D>(&answer.payload)
        .map_err(|WireError { code, message }| unavailable(format!("{whom}: {message} ({code})")))
}
