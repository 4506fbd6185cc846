//! The client facade: what a component can ask of the bus, whichever back carries it.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use tokio::sync::{mpsc, watch};

use crate::message::Message;

/// Why the bus did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BusError {
    /// There is no connection, and the bounded queue of what waits for one is full or does not take this.
    #[error("the bus is not connected")]
    NotConnected,
    /// No answer came in time.
    #[error("no answer on `{subject}` within {timeout:?}")]
    Timeout {
        /// Where the request went.
        subject: String,
        /// How long was waited.
        timeout: Duration,
    },
    /// Nobody listens there.
    #[error("nobody listens on `{subject}`")]
    NoResponders {
        /// Where the request went.
        subject: String,
    },
    /// The broker refused the subject to this user.
    #[error("the permissions of this user do not allow `{subject}`")]
    PermissionDenied {
        /// The subject that was refused.
        subject: String,
    },
    /// The message is larger than the broker takes.
    #[error("{size_bytes} bytes are more than the broker's limit of {limit_bytes}")]
    TooLarge {
        /// Of the headers and the payload.
        size_bytes: usize,
        /// The broker's limit.
        limit_bytes: usize,
    },
    /// The subject is not a valid one for this use.
    #[error("`{subject}` is not a valid subject here: {reason}")]
    BadSubject {
        /// What was given.
        subject: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The client was closed, or its user was refused for good.
    #[error("the bus client is closed: {reason}")]
    Closed {
        /// Why.
        reason: String,
    },
}

/// A boxed future; the facade's backs are chosen at run time.
pub type BusFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, BusError>> + Send + 'a>>;

/// What a back provides. Requests, retries and the rest of the facade are built on these.
pub trait Back: Send + Sync {
    /// Hands the message to the back; returns when it is in the (bounded) way out.
    fn publish(&self, message: Message) -> BusFuture<'_, ()>;
    /// Subscribes; the subscription outlives reconnects.
    fn subscribe<'a>(&'a self, subject: &'a str, queue: Option<&'a str>) -> BusFuture<'a, Subscription>;
    /// Publishes with an inbox and waits for the first answer.
    fn request(&self, message: Message, timeout: Duration) -> BusFuture<'_, Message>;
    /// Returns when everything handed over before has reached the broker.
    fn flush(&self) -> BusFuture<'_, ()>;
    /// Whether there is a connection, now and after each change.
    fn connected(&self) -> watch::Receiver<bool>;
}

/// A handle on the bus; clones share one connection.
#[derive(Clone)]
pub struct Bus {
    back: Arc<dyn Back>,
}

impl Bus {
    /// The facade over a back.
    pub fn over(back: impl Back + 'static) -> Self {
        Self { back: Arc::new(back) }
    }

    /// Publishes a message.
    ///
    /// # Errors
    /// See [`BusError`]. `Ok` means handed over, not delivered.
    pub async fn publish(&self, message: Message) -> Result<(), BusError> {
        self.back.publish(message).await
    }

    /// Subscribes to a subject pattern, alone or as one of a queue group.
    ///
    /// # Errors
    /// [`BusError::PermissionDenied`], [`BusError::BadSubject`], or the state of the connection.
    pub async fn subscribe(&self, subject: &str, queue: Option<&str>) -> Result<Subscription, BusError> {
        self.back.subscribe(subject, queue).await
    }

    /// Publishes a message and waits for the first answer.
    ///
    /// # Errors
    /// [`BusError::NoResponders`], [`BusError::Timeout`], and what `publish` can fail with.
    pub async fn request(&self, message: Message, timeout: Duration) -> Result<Message, BusError> {
        self.back.request(message, timeout).await
    }

    /// Returns when everything handed over before has reached the broker.
    ///
    /// # Errors
    /// The state of the connection.
    pub async fn flush(&self) -> Result<(), BusError> {
        self.back.flush().await
    }

    /// Whether there is a connection, now and after each change.
    #[must_use]
    pub fn connected(&self) -> watch::Receiver<bool> {
        self.back.connected()
    }
}

/// Messages that arrive on one subscription. Dropping it unsubscribes.
pub struct Subscription {
    messages: mpsc::Receiver<Message>,
}

impl Subscription {
    /// The next message; `None` when the client was closed.
    pub async fn next(&mut self) -> Option<Message> {
        self.messages.recv().await
    }
}
