//! The way to a component: its commands on the bus, as the operator. The one place in this binary with an async runtime.

use std::{marker::PhantomData, time::Duration};

use grace_bus::{
    Bus, BusError, Message, Subscription,
    client::native::{self, NativeOptions, Target},
};
use grace_core::instance::Instance;
use grace_kernel::{
    Decider, Envelope, Outcome,
    process::wire::{self, WireError},
};
use grace_types::{
    chance::{Entropy as _, OsEntropy},
    intent::WAIT_HEADER,
};
use tokio::runtime::Runtime;

use crate::{
    control,
    failure::{Exit, Failure},
    limits,
};

/// A decider that people give commands to.
pub(crate) trait Asked: Decider {
    /// The component's name.
    const COMPONENT: &'static str;
    /// What people call it: `the task manager`.
    const CALLED: &'static str;
    /// A refusal in the CLI's codes.
    fn refused(refusal: Self::Refusal) -> Failure;
}

/// A connection to the component that runs `D`.
pub(crate) struct Road<D> {
    instance: Instance,
    runtime: Runtime,
    bus: Bus,
    decider: PhantomData<fn() -> D>,
}

impl<D: Asked> Road<D> {
    /// Connects to the bus of the instance.
    pub(crate) fn to(instance: &Instance) -> Result<Self, Failure> {
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
        Ok(Self { instance: instance.clone(), runtime, bus, decider: PhantomData })
    }

    /// Asks for something that changes nothing.
    pub(crate) fn ask(&self, question: D::Command) -> Result<D::Reply, Failure> {
        self.send(&Envelope::new(question), None)
    }

    /// Has something done: once, however often it has to be sent.
    pub(crate) fn order(&self, command: D::Command) -> Result<D::Reply, Failure> {
        let key = format!("cli-{:032x}", OsEntropy.next_u128());
        self.send(&Envelope::new(command), Some(&key))
    }

    fn send(&self, envelope: &Envelope<D::Command>, key: Option<&str>) -> Result<D::Reply, Failure> {
        let mut message = wire::command(D::COMPONENT, envelope)
            .map_err(|e| Failure::new(Exit::Usage, "bad_request", e.to_string()))?;
        if key.is_some() {
            // Whoever looks at it next is to find it.
            message.headers.append(WAIT_HEADER, limits::TAKEN_TIME.as_millis().to_string());
        }
        let answered = self.runtime.block_on(async {
            match key {
                Some(key) => self.bus.request_until(message, key, limits::ANSWER_TIME).await,
                None => self.asked(message).await,
            }
        });
        let answer = answered.map_err(|e| self.unanswered(&e))?;
        match wire::read_answer::<D>(&answer.payload) {
            Ok(Outcome::Done(reply)) => Ok(reply),
            Ok(Outcome::Refused(refusal)) => Err(D::refused(refusal)),
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
            Ok(_) => Failure::new(
                Exit::Unreachable,
                "not_reachable",
                format!("{} did not answer: {error}", D::CALLED),
            )
            .help("`grace status` shows its state; ask again"),
        }
    }

    /// What is heard on `subject` from now on.
    pub(crate) fn hear(&self, subject: &str) -> Result<Subscription, Failure> {
        self.runtime.block_on(self.bus.subscribe(subject, None)).map_err(|e| self.unanswered(&e))
    }

    /// Returns when a message comes, or it is time to ask without one: it may have been lost with a connection.
    pub(crate) fn hint(&self, heard: &mut Subscription) {
        self.runtime.block_on(async {
            let _ = tokio::time::timeout(Duration::from_secs(1), heard.next()).await;
        });
    }
}
