//! The lean client: one connection, one task, the broker's own codec.
//!
//! A call encodes its frame into the one outgoing buffer under a short lock and wakes the task; the task writes
//! whatever has gathered with one write, and reads. Requests share one inbox, `_INBOX.<name>.<random>.*`. When the
//! connection is lost the task connects again with growing, jittered waits and subscribes again; what was handed over
//! meanwhile waits in the same bounded buffer.
//!
//! What was written to a connection that then broke may or may not have arrived: requests that were under way fail
//! with [`BusError::NotConnected`], publishes are at most once.
//!
//! | Module | What it holds |
//! |---|---|
//! | `state` | what the frames do, without IO |
//! | `link` | the task: connecting, signing in, reading, writing |

mod link;
mod state;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use grace_types::chance::{Entropy, OsEntropy};
use tokio::sync::{Notify, oneshot, watch};

use self::state::{Phase, State};
use super::{Back, Bus, BusError, BusFuture, Subscription, check_subject};
use crate::{
    limits,
    message::Message,
    protocol::{encode, headers},
};

/// Where the broker is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Its Unix socket.
    Unix(PathBuf),
    /// `host:port`.
    Tcp(String),
}

/// What the client needs to know.
pub struct NativeOptions {
    /// Where the broker is.
    pub target: Target,
    /// User name.
    pub user: String,
    /// Password.
    pub password: String,
    /// What the client calls itself; part of its inbox. Characters that cannot stand in a token become `_`.
    pub name: String,
    /// For the inbox and the jitter of reconnects.
    pub entropy: Box<dyn Entropy>,
    /// Bytes that wait to be written; see [`limits::CLIENT_PENDING_BYTES`].
    pub pending_bytes: usize,
}

/// Why a text is not the address of a broker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not nats://user:password@host:port or unix://user:password@/path")]
pub struct BadUrl(String);

impl NativeOptions {
    /// The usual bounds, with the machine's generator.
    pub fn new(
        target: Target,
        user: impl Into<String>,
        password: impl Into<String>,
        name: impl Into<String>,
    ) -> Self {
        Self {
            target,
            user: user.into(),
            password: password.into(),
            name: name.into(),
            entropy: Box::new(OsEntropy),
            pending_bytes: limits::CLIENT_PENDING_BYTES,
        }
    }

    /// From `nats://user:password@host:port` (as in `NATS_URL`) or `unix://user:password@/path`. The port may be
    /// left out (4222). Names and passwords stand as they are, without percent-encoding.
    ///
    /// # Errors
    /// The text is neither. The error hides the password.
    pub fn from_url(url: &str, name: impl Into<String>) -> Result<Self, BadUrl> {
        let bad = || {
            let shown =
                url.rsplit_once('@').map_or_else(|| url.to_owned(), |(_, place)| format!("…@{place}"));
            BadUrl(shown.chars().take(256).collect())
        };
        let (scheme, rest) = url.split_once("://").ok_or_else(bad)?;
        let (login, place) = rest.rsplit_once('@').ok_or_else(bad)?;
        let (user, password) = login.split_once(':').ok_or_else(bad)?;
        let target = match scheme {
            "unix" if place.starts_with('/') => Target::Unix(place.into()),
            "nats" | "tcp" if !place.is_empty() => {
                let place = place.trim_end_matches('/');
                let has_port = place.rsplit_once(':').is_some_and(|(_, p)| p.parse::<u16>().is_ok());
                Target::Tcp(if has_port { place.to_owned() } else { format!("{place}:4222") })
            }
            _ => return Err(bad()),
        };
        Ok(Self::new(target, user, password, name))
    }
}

/// A client of the broker at `options.target`. Returns at once; a task connects in the background and goes on
/// trying, so the broker need not be up yet. The task ends when the last handle is dropped.
///
/// # Panics
/// Outside a tokio runtime, as `tokio::spawn` does.
#[must_use]
pub fn connect(mut options: NativeOptions) -> Bus {
    let token = |name: &str| -> String {
        name.chars()
            .map(|c| if c.is_alphanumeric() || c == '-' || c == '_' { c } else { '_' })
            .take(64)
            .collect()
    };
    let inbox = format!("_INBOX.{}.{:016x}", token(&options.name), options.entropy.next_u64());
    let (connected, _) = watch::channel(false);
    let shared = Arc::new(Shared {
        state: Mutex::new(State::new(inbox)),
        work: Notify::new(),
        room: Notify::new(),
        connected,
        pending_bytes: options.pending_bytes,
        closing: Notify::new(),
    });
    tokio::spawn(link::run(shared.clone(), options));
    Bus::over(Native { shared })
}

/// What the calls and the task share.
struct Shared {
    state: Mutex<State>,
    /// Something is to be written.
    work: Notify,
    /// Something was written.
    room: Notify,
    connected: watch::Sender<bool>,
    pending_bytes: usize,
    /// The last handle is gone.
    closing: Notify,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Native {
    shared: Arc<Shared>,
}

impl Drop for Native {
    fn drop(&mut self) {
        self.shared.closing.notify_one();
    }
}

impl Native {
    /// Appends a frame that must not be larger than what the buffer takes. Waits for room while connected.
    async fn hand_over(&self, frame: &[u8]) -> Result<(), BusError> {
        loop {
            let mut room = std::pin::pin!(self.shared.room.notified());
            room.as_mut().enable();
            {
                let mut state = self.shared.lock();
                state.check_open()?;
                // A frame larger than the whole bound still goes when nothing else waits.
                if state.out.is_empty() || state.out.len() + frame.len() <= self.shared.pending_bytes {
                    state.out.extend_from_slice(frame);
                    break;
                }
                if state.phase == Phase::Disconnected {
                    return Err(BusError::NotConnected);
                }
            }
            room.await;
        }
        self.shared.work.notify_one();
        Ok(())
    }

    fn encode(&self, message: &Message) -> Result<Vec<u8>, BusError> {
        check_subject(&message.subject, true)?;
        if let Some(reply) = &message.reply {
            check_subject(reply, true)?;
        }
        let mut block = Vec::new();
        headers::encode(&mut block, &message.headers).map_err(|name| BusError::BadSubject {
            subject: message.subject.clone(),
            reason: format!("the header `{}` cannot be sent", name.escape_debug()),
        })?;
        let size_bytes = block.len() + message.payload.len();
        let limit_bytes = self.shared.lock().max_payload;
        if size_bytes > limit_bytes {
            return Err(BusError::TooLarge { size_bytes, limit_bytes });
        }
        let mut frame = Vec::with_capacity(size_bytes + message.subject.len() + 64);
        encode::publish(&mut frame, &message.subject, message.reply.as_deref(), &block, &message.payload);
        Ok(frame)
    }

    /// A round trip to the broker, if there is a connection.
    fn ping(&self) -> Option<oneshot::Receiver<()>> {
        let (sender, pong) = oneshot::channel();
        let pinged = self.shared.lock().ping(Some(sender));
        self.shared.work.notify_one();
        pinged.then_some(pong)
    }
}

impl Back for Native {
    fn publish(&self, message: Message) -> BusFuture<'_, ()> {
        Box::pin(async move { self.hand_over(&self.encode(&message)?).await })
    }

    fn subscribe<'a>(&'a self, subject: &'a str, queue: Option<&'a str>) -> BusFuture<'a, Subscription> {
        Box::pin(async move {
            check_subject(subject, false)?;
            queue.map_or(Ok(()), |q| check_subject(q, true))?;
            let (sid, subscription) = {
                let mut state = self.shared.lock();
                state.check_open()?;
                // Before the subscription exists: dropping it takes the lock that is held here.
                if !state.has_room() {
                    return Err(BusError::Closed { reason: "too many subscriptions".to_owned() });
                }
                let sid = state.next_sid();
                let shared = self.shared.clone();
                let (subscription, inlet) = Subscription::new(move || {
                    shared.lock().unsubscribe(sid);
                    shared.work.notify_one();
                });
                state.subscribe(sid, subject, queue, inlet);
                (sid, subscription)
            };
            // The broker answers a refusal before the PONG. Without a connection there is nobody to ask: a later
            // refusal ends the subscription.
            if let Some(pong) = self.ping() {
                let _ = pong.await;
            }
            if self.shared.lock().has_subscription(sid) {
                return Ok(subscription);
            }
            self.shared.lock().check_open()?;
            Err(BusError::PermissionDenied { subject: subject.to_owned() })
        })
    }

    fn request(&self, mut message: Message, timeout: Duration) -> BusFuture<'_, Message> {
        Box::pin(async move {
            let (token, inbox, answer) = self.shared.lock().begin_request(&message.subject)?;
            let waiting = Waiting { shared: &self.shared, token };
            message.reply = Some(inbox);
            let subject = message.subject.clone();
            let exchange = async {
                self.hand_over(&self.encode(&message)?).await?;
                answer.await.unwrap_or(Err(BusError::NotConnected))
            };
            let result = tokio::time::timeout(timeout, exchange).await;
            drop(waiting);
            result.unwrap_or(Err(BusError::Timeout { subject, timeout }))
        })
    }

    fn flush(&self) -> BusFuture<'_, ()> {
        Box::pin(async move {
            self.shared.lock().check_open()?;
            let pong = self.ping().ok_or(BusError::NotConnected)?;
            pong.await.map_err(|_| BusError::NotConnected)?;
            match self.shared.lock().refused_publish.take() {
                Some(subject) => Err(BusError::PermissionDenied { subject }),
                None => Ok(()),
            }
        })
    }

    fn connected(&self) -> watch::Receiver<bool> {
        self.shared.connected.subscribe()
    }
}

/// Forgets a request when its future is done or dropped.
struct Waiting<'a> {
    shared: &'a Shared,
    token: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.shared.lock().end_request(self.token);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let read = |url: &str| NativeOptions::from_url(url, "n").map(|o| (o.target, o.user, o.password));
        let tcp = |place: &str| Ok((Target::Tcp(place.into()), "u".to_owned(), "p".to_owned()));
        assert_eq!(read("nats://u:p@127.0.0.1:4333"), tcp("127.0.0.1:4333"));
        assert_eq!(read("nats://u:p@localhost/"), tcp("localhost:4222"));
        assert_eq!(read("nats://u:p@[::1]:99"), tcp("[::1]:99"));
        let unix = read("unix://u:p:q@/run/bus.sock").unwrap();
        assert_eq!(unix, (Target::Unix("/run/bus.sock".into()), "u".into(), "p:q".into()));
        for bad in ["", "nats://host", "http://u:p@h", "unix://u:p@relative", "nats://u@h"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        let error = read("http://u:secret@h").unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
    }
}
