//! Who is back: a question that was lost with the process that had heard it is asked again as soon as another is in its place.
//!
//! ```text
//! a component hears its subjects (at its start, and after each connection) ─► grace.here.<component> ─► whoever waits for its answer asks again
//! ```
//!
//! The bus does not tell who waits for an answer that the one who had the question is gone: without this, everybody would wait until his
//! patience is over. A word that is not heard costs no more than that patience. Only for questions that count once however often they
//! come, which everything is that is asked over the bus here.

use std::time::Duration;

use grace_bus::{Bus, BusError, Message};
use tokio::sync::watch;

use super::serve::listen;

/// Where `component` says that it hears what is asked of it.
#[must_use]
pub fn here_subject(component: &str) -> String {
    format!("grace.here.{component}")
}

/// Says that `component` is here, now and after each connection, for as long as the process lives. To be called when it hears what it is
/// asked.
pub async fn announce(bus: Bus, component: &'static str) {
    let mut connected = bus.connected();
    loop {
        // What this connection subscribes to has reached the broker before the word does.
        if *connected.borrow_and_update() {
            let _ = bus.publish(Message::new(here_subject(component), Vec::new())).await;
        }
        if connected.changed().await.is_err() {
            return;
        }
    }
}

/// The way to a component that may be killed with a question in its hands.
#[derive(Clone)]
pub struct Here {
    bus: Bus,
    /// Changes each time that it says so.
    back: watch::Receiver<()>,
}

impl Here {
    /// To `component`. Inside a tokio runtime only.
    #[must_use]
    pub fn of(bus: Bus, component: &str) -> Self {
        let (tell, back) = watch::channel(());
        tokio::spawn(hear(bus.clone(), here_subject(component), tell));
        Self { bus, back }
    }

    /// Asks as [`Bus::request`] does, and asks again when the component is back before there is an answer. `patience` is each time's.
    ///
    /// # Errors
    /// As for [`Bus::request`].
    pub async fn request(&self, message: Message, patience: Duration) -> Result<Message, BusError> {
        let mut back = self.back.clone();
        back.mark_unchanged();
        loop {
            tokio::select! {
                biased;
                answer = self.bus.request(message.clone(), patience) => return answer,
                Ok(()) = back.changed() => {}
            }
        }
    }
}

async fn hear(bus: Bus, subject: String, tell: watch::Sender<()>) {
    // Without the permission nobody is heard, and patience has to do.
    let Ok(mut inbox) = listen(bus, subject, None).await else { return };
    while inbox.next().await.is_some() {
        if tell.send(()).is_err() {
            return;
        }
    }
}
