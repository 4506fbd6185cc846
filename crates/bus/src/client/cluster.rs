//! The back for a NATS cluster of the user's own: async-nats behind the facade.
//!
//! async-nats has no round trip to the server, so two things are weaker here than on the other backs:
//! [`Bus::flush`] means that everything was written to the socket, and a subscription that the server refuses is
//! `Ok` at first and ends when the refusal arrives.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_nats::{
    Client, ConnectOptions, Event,
    client::{FlushErrorKind, PublishErrorKind, RequestErrorKind},
};
use futures_util::StreamExt as _;
use grace_types::chance::Entropy;
use tokio::sync::{broadcast, oneshot, watch};

use super::{Back, Bus, BusError, BusFuture, Inlet, Subscription, Violation, check_subject, read_violation};
use crate::{
    limits,
    message::{Headers, Message},
};

/// How many refusals a request may lag behind before it misses one; it then times out instead.
const REFUSALS_KEPT: usize = 64;

/// What the client needs to know.
pub struct ClusterOptions {
    /// `nats://host:port`, several separated by commas.
    pub servers: String,
    /// User name.
    pub user: String,
    /// Password.
    pub password: String,
    /// What the client calls itself; part of its inbox, so a subject token.
    pub name: String,
    /// For the inbox.
    pub entropy: Box<dyn Entropy>,
}

/// A client of a cluster. Returns at once where the cluster cannot be reached yet; it goes on trying.
///
/// # Errors
/// [`BusError::Closed`] if the addresses or the name are of no use.
pub async fn connect(mut options: ClusterOptions) -> Result<Bus, BusError> {
    check_subject(&options.name, true)?;
    let shared = Arc::new(Shared::new());
    let seen = shared.clone();
    let inbox = format!("_INBOX.{}.{:016x}", options.name, options.entropy.next_u64());
    let servers: Vec<String> = options.servers.split(',').map(|s| s.trim().to_owned()).collect();
    let client = ConnectOptions::with_user_and_password(options.user, options.password)
        .name(options.name)
        .custom_inbox_prefix(inbox)
        .subscription_capacity(limits::SUBSCRIPTION_MESSAGES)
        .retry_on_initial_connect()
        .event_callback(move |event| {
            seen.note(&event);
            std::future::ready(())
        })
        .connect(servers)
        .await
        .map_err(|e| BusError::Closed { reason: e.to_string() })?;
    Ok(Bus::over(Cluster { client, shared }))
}

struct Cluster {
    client: Client,
    shared: Arc<Shared>,
}

/// What the server said outside of messages.
struct Shared {
    connected: watch::Sender<bool>,
    refused: broadcast::Sender<String>,
    notes: Mutex<Notes>,
}

#[derive(Default)]
struct Notes {
    refused_publish: Option<String>,
    /// Ends the subscription when dropped.
    subscriptions: HashMap<u64, (String, oneshot::Sender<()>)>,
    last: u64,
}

impl Shared {
    fn new() -> Self {
        Self {
            connected: watch::channel(false).0,
            refused: broadcast::channel(REFUSALS_KEPT).0,
            notes: Mutex::default(),
        }
    }

    fn notes(&self) -> std::sync::MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, event: &Event) {
        match event {
            Event::Connected => drop(self.connected.send_replace(true)),
            Event::Disconnected | Event::Closed => drop(self.connected.send_replace(false)),
            Event::ServerError(async_nats::ServerError::Other(text)) => match read_violation(text) {
                Some(Violation::Publish(subject)) => {
                    self.notes().refused_publish.get_or_insert_with(|| subject.clone());
                    // Nobody may be waiting for it.
                    let _ = self.refused.send(subject);
                }
                Some(Violation::Subscribe(subject)) => {
                    self.notes().subscriptions.retain(|_, (s, _)| *s != subject);
                }
                None => {}
            },
            _ => {}
        }
    }
}

impl Cluster {
    fn check_size(&self, message: &Message) -> Result<(), BusError> {
        let headers: usize = message.headers.iter().map(|(n, v)| n.len() + v.len() + 4).sum();
        let size_bytes = message.payload.len() + if headers > 0 { headers + 12 } else { 0 };
        let limit_bytes = self.client.max_payload();
        if size_bytes > limit_bytes { Err(BusError::TooLarge { size_bytes, limit_bytes }) } else { Ok(()) }
    }

    async fn exchange(&self, message: Message, timeout: Duration) -> Result<Message, BusError> {
        let subject = message.subject.clone();
        let request = async_nats::Request::new()
            .payload(message.payload)
            .headers(to_wire(&subject, &message.headers)?)
            .timeout(Some(timeout));
        match self.client.send_request(message.subject, request).await {
            Ok(answer) => Ok(from_wire(answer)),
            Err(error) => Err(match error.kind() {
                RequestErrorKind::TimedOut => BusError::Timeout { subject, timeout },
                RequestErrorKind::NoResponders => BusError::NoResponders { subject },
                RequestErrorKind::InvalidSubject => {
                    BusError::BadSubject { subject, reason: error.to_string() }
                }
                RequestErrorKind::MaxPayloadExceeded | RequestErrorKind::Other => BusError::NotConnected,
            }),
        }
    }
}

impl Back for Cluster {
    fn publish(&self, message: Message) -> BusFuture<'_, ()> {
        Box::pin(async move {
            check_subject(&message.subject, true)?;
            self.check_size(&message)?;
            let headers = to_wire(&message.subject, &message.headers)?;
            let (subject, payload) = (message.subject, message.payload);
            let sent = match (message.reply, headers.is_empty()) {
                (None, true) => self.client.publish(subject, payload).await,
                (None, false) => self.client.publish_with_headers(subject, headers, payload).await,
                (Some(reply), true) => self.client.publish_with_reply(subject, reply, payload).await,
                (Some(reply), false) => {
                    self.client.publish_with_reply_and_headers(subject, reply, headers, payload).await
                }
            };
            sent.map_err(|e| match e.kind() {
                PublishErrorKind::Send => BusError::Closed { reason: e.to_string() },
                _ => BusError::NotConnected,
            })
        })
    }

    fn subscribe<'a>(&'a self, subject: &'a str, queue: Option<&'a str>) -> BusFuture<'a, Subscription> {
        Box::pin(async move {
            check_subject(subject, false)?;
            queue.map_or(Ok(()), |q| check_subject(q, true))?;
            let subscribed = match queue {
                None => self.client.subscribe(subject.to_owned()).await,
                Some(queue) => self.client.queue_subscribe(subject.to_owned(), queue.to_owned()).await,
            };
            let subscriber = subscribed.map_err(|e| BusError::Closed { reason: e.to_string() })?;
            let (end, ended) = oneshot::channel();
            let key = {
                let mut notes = self.shared.notes();
                notes.last += 1;
                let key = notes.last;
                notes.subscriptions.insert(key, (subject.to_owned(), end));
                key
            };
            let shared = self.shared.clone();
            let (subscription, inlet) =
                Subscription::new(move || drop(shared.notes().subscriptions.remove(&key)));
            tokio::spawn(forward(subscriber, inlet, ended));
            Ok(subscription)
        })
    }

    fn request(&self, message: Message, timeout: Duration) -> BusFuture<'_, Message> {
        Box::pin(async move {
            check_subject(&message.subject, true)?;
            self.check_size(&message)?;
            let subject = message.subject.clone();
            let mut refused = self.shared.refused.subscribe();
            let refusal = async {
                loop {
                    match refused.recv().await {
                        Ok(which) if which == subject => return,
                        Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                        Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
                    }
                }
            };
            tokio::select! {
                answer = self.exchange(message, timeout) => answer,
                () = refusal => Err(BusError::PermissionDenied { subject: subject.clone() }),
            }
        })
    }

    fn flush(&self) -> BusFuture<'_, ()> {
        Box::pin(async move {
            self.client.flush().await.map_err(|e| match e.kind() {
                FlushErrorKind::SendError => BusError::Closed { reason: e.to_string() },
                FlushErrorKind::FlushError => BusError::NotConnected,
            })?;
            match self.shared.notes().refused_publish.take() {
                Some(subject) => Err(BusError::PermissionDenied { subject }),
                None => Ok(()),
            }
        })
    }

    fn connected(&self) -> watch::Receiver<bool> {
        self.shared.connected.subscribe()
    }
}

/// Passes messages on until either side ends; dropping the subscriber unsubscribes.
async fn forward(mut subscriber: async_nats::Subscriber, inlet: Inlet, mut ended: oneshot::Receiver<()>) {
    loop {
        tokio::select! {
            _ = &mut ended => return,
            message = subscriber.next() => match message {
                Some(message) => inlet.push(from_wire(message)),
                None => return,
            },
        }
    }
}

fn to_wire(subject: &str, headers: &Headers) -> Result<async_nats::HeaderMap, BusError> {
    let mut map = async_nats::HeaderMap::new();
    for (name, value) in headers.iter() {
        let parsed =
            name.parse::<async_nats::HeaderName>().ok().zip(value.parse::<async_nats::HeaderValue>().ok());
        let (parsed_name, value) = parsed.ok_or_else(|| BusError::BadSubject {
            subject: subject.to_owned(),
            reason: format!("the header `{}` cannot be sent", name.escape_debug()),
        })?;
        map.append(parsed_name, value);
    }
    Ok(map)
}

fn from_wire(message: async_nats::Message) -> Message {
    let mut headers = Headers::new();
    for (name, values) in message.headers.iter().flat_map(async_nats::HeaderMap::iter) {
        for value in values {
            headers.append(name.to_string(), value.as_str());
        }
    }
    Message {
        subject: message.subject.to_string(),
        reply: message.reply.map(|r| r.to_string()),
        headers,
        payload: message.payload,
    }
}
