//! The client facade: what a component can ask of the bus, whichever back carries it.
//!
//! | Back | For |
//! |---|---|
//! | [`native`] | Grace's own processes: lean, over the broker's Unix socket or TCP |
//! | [`cluster`] | a NATS cluster of the user's own, through async-nats |
//! | [`memory`] | tests and the simulator: no IO, faults on command, replays byte for byte |
//!
//! Delivery is at most once, as on any NATS bus; what must not be lost is sent with [`Bus::request_until`], whose
//! reply means that the receiver has it.

pub mod cluster;
pub mod memory;
pub mod native;

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::sync::{mpsc, watch};

use crate::{limits, message::Message, subject};

/// The header under which [`Bus::request_until`] sends its idempotency key.
pub const IDEMPOTENCY_KEY: &str = "Grace-Idempotency-Key";

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

    /// Publishes a message if that can be done without waiting: for hints, of which any may be lost. Whether it was.
    pub fn offer(&self, message: Message) -> bool {
        let mut published = self.back.publish(message);
        let done = published.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        matches!(done, Poll::Ready(Ok(())))
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

    /// Publishes a message and tries again until an answer comes, with the same [`IDEMPOTENCY_KEY`], so that a
    /// receiver that did the work before its answer was lost can tell.
    ///
    /// Tries again when nobody listens, no answer comes in [`limits::RETRY_ATTEMPT`] or the connection is lost, with
    /// growing waits ([`limits::RETRY_FIRST`], [`limits::RETRY_LONGEST`]).
    ///
    /// # Errors
    /// The last try's, once `within` is over; at once what trying again cannot change.
    pub async fn request_until(
        &self,
        mut message: Message,
        idempotency_key: &str,
        within: Duration,
    ) -> Result<Message, BusError> {
        message.headers.append(IDEMPOTENCY_KEY, idempotency_key);
        let mut last = BusError::Timeout { subject: message.subject.clone(), timeout: within };
        let tries = async {
            let mut wait = limits::RETRY_FIRST;
            for attempt in 0u64.. {
                match self.request(message.clone(), limits::RETRY_ATTEMPT).await {
                    Ok(answer) => return Ok(answer),
                    Err(
                        error @ (BusError::Timeout { .. }
                        | BusError::NoResponders { .. }
                        | BusError::NotConnected),
                    ) => last = error,
                    Err(error) => return Err(error),
                }
                // The spread comes from the key: many senders that fail together must not try again together, and
                // the same run must wait the same.
                let spread = subject::hash(idempotency_key.as_bytes()).rotate_left(attempt as u32 * 7) % 512;
                pause(wait + wait.mul_f64(spread as f64 / 1024.0)).await;
                wait = (wait * 2).min(limits::RETRY_LONGEST);
            }
            Err(BusError::NotConnected)
        };
        match tokio::time::timeout(within, tries).await {
            Ok(result) => result,
            Err(_) => Err(last),
        }
    }

    /// Whether there is a connection, now and after each change.
    #[must_use]
    pub fn connected(&self) -> watch::Receiver<bool> {
        self.back.connected()
    }
}

#[expect(clippy::disallowed_methods, reason = "the wait between two tries; the caller bounds all of them")]
async fn pause(wait: Duration) {
    tokio::time::sleep(wait).await;
}

/// Messages that arrive on one subscription. Dropping it unsubscribes.
///
/// It holds at most [`limits::SUBSCRIPTION_MESSAGES`]; further ones are dropped and counted.
pub struct Subscription {
    messages: mpsc::Receiver<Message>,
    dropped: Arc<AtomicU64>,
    on_drop: Option<Box<dyn FnOnce() + Send>>,
}

impl Subscription {
    /// A subscription and the way into it. `on_drop` unsubscribes.
    pub(crate) fn new(on_drop: impl FnOnce() + Send + 'static) -> (Self, Inlet) {
        let (sender, messages) = mpsc::channel(limits::SUBSCRIPTION_MESSAGES);
        let dropped = Arc::new(AtomicU64::new(0));
        let inlet = Inlet { sender, dropped: dropped.clone() };
        (Self { messages, dropped, on_drop: Some(Box::new(on_drop)) }, inlet)
    }

    /// The next message; `None` when the client was closed or the permission was withdrawn.
    pub async fn next(&mut self) -> Option<Message> {
        self.messages.recv().await
    }

    /// The next message if there is one already.
    pub fn try_next(&mut self) -> Option<Message> {
        self.messages.try_recv().ok()
    }

    /// Messages that were dropped because this subscription was full.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(unsubscribe) = self.on_drop.take() {
            unsubscribe();
        }
    }
}

/// Where a back puts what arrives. Dropping it ends the subscription.
pub(crate) struct Inlet {
    sender: mpsc::Sender<Message>,
    dropped: Arc<AtomicU64>,
}

impl Inlet {
    pub(crate) fn push(&self, message: Message) {
        if self.sender.try_send(message).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Refuses what the wire would refuse, with the same words on every back.
pub(crate) fn check_subject(subject: &str, literal: bool) -> Result<(), BusError> {
    let checked = if literal {
        subject::validate_literal(subject.as_bytes())
    } else {
        subject::validate_pattern(subject.as_bytes()).map(|_| ())
    };
    checked.map_err(|reason| BusError::BadSubject { subject: subject.to_owned(), reason: reason.to_string() })
}

/// What an `-ERR` about a permission is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Violation {
    Publish(String),
    Subscribe(String),
}

/// Reads nats-server's words for a permission violation.
pub(crate) fn read_violation(error: &str) -> Option<Violation> {
    let rest = error.trim_matches('\'').strip_prefix("Permissions Violation for ")?;
    let (what, rest) = rest.split_once('"')?;
    // A subject cannot hold a blank, but it can hold a quote.
    let subject = rest.split(' ').next()?.strip_suffix('"')?.to_owned();
    match what.trim() {
        "Publish to" => Some(Violation::Publish(subject)),
        "Subscription to" => Some(Violation::Subscribe(subject)),
        _ => None,
    }
}
