//! One client of a [`MemoryNet`], with and without a runtime.

use std::{sync::Arc, time::Duration};

use tokio::sync::{oneshot, watch};

use super::{Listener, MemoryNet, Net};
use crate::{
    auth::Verdict,
    client::{Back, Bus, BusError, BusFuture, Subscription, check_subject},
    limits,
    message::Message,
};

/// One client of a [`MemoryNet`]; clones are the same client. Nothing here waits.
#[derive(Clone)]
pub struct MemoryClient {
    handle: Arc<Handle>,
}

struct Handle {
    net: MemoryNet,
    id: u64,
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut net = self.net.lock();
        net.clients.remove(&self.id);
        let gone: Vec<u64> =
            net.subscriptions.iter().filter(|(_, l)| l.client == self.id).map(|(id, _)| *id).collect();
        for id in gone {
            unsubscribe(&mut net, id);
        }
    }
}

/// An answer that may come.
pub struct PendingAnswer {
    net: MemoryNet,
    client: u64,
    token: u64,
    answer: oneshot::Receiver<Result<Message, BusError>>,
}

impl PendingAnswer {
    /// The answer if it has come.
    pub fn try_take(&mut self) -> Option<Result<Message, BusError>> {
        match self.answer.try_recv() {
            Ok(answer) => Some(answer),
            Err(oneshot::error::TryRecvError::Empty) => None,
            Err(oneshot::error::TryRecvError::Closed) => Some(Err(BusError::NotConnected)),
        }
    }
}

impl Drop for PendingAnswer {
    fn drop(&mut self) {
        if let Some(client) = self.net.lock().clients.get_mut(&self.client) {
            client.requests.remove(&self.token);
        }
    }
}

fn unsubscribe(net: &mut Net, id: u64) {
    if let Some(listener) = net.subscriptions.remove(&id) {
        net.trie.remove(listener.subject.as_bytes(), listener.queue.as_deref().map(str::as_bytes), id);
    }
}

impl MemoryClient {
    pub(super) fn new(net: MemoryNet, id: u64) -> Self {
        Self { handle: Arc::new(Handle { net, id }) }
    }

    /// The facade over this client.
    #[must_use]
    pub fn bus(&self) -> Bus {
        Bus::over(self.clone())
    }

    /// Publishes; deliveries arrive at once unless the net steps or delays.
    ///
    /// # Errors
    /// [`BusError::PermissionDenied`], [`BusError::BadSubject`], [`BusError::TooLarge`], [`BusError::NotConnected`].
    pub fn publish_now(&self, message: &Message) -> Result<(), BusError> {
        check_subject(&message.subject, true)?;
        if let Some(reply) = &message.reply {
            check_subject(reply, true)?;
        }
        let headers: usize = message.headers.iter().map(|(n, v)| n.len() + v.len() + 4).sum();
        let size_bytes = message.payload.len() + headers;
        if size_bytes > limits::MAX_PAYLOAD_BYTES {
            return Err(BusError::TooLarge { size_bytes, limit_bytes: limits::MAX_PAYLOAD_BYTES });
        }
        let Handle { net: house, id } = &*self.handle;
        let now = house.clock.now().mono;
        let mut net = house.lock();
        net.publish(*id, message, now)?;
        house.settle(&mut net);
        Ok(())
    }

    /// Subscribes.
    ///
    /// # Errors
    /// [`BusError::PermissionDenied`], [`BusError::BadSubject`], [`BusError::NotConnected`].
    pub fn subscribe_now(&self, subject: &str, queue: Option<&str>) -> Result<Subscription, BusError> {
        check_subject(subject, false)?;
        queue.map_or(Ok(()), |q| check_subject(q, true))?;
        let Handle { net: house, id: client } = &*self.handle;
        let mut net = house.lock();
        let verdict = net.connected_client(*client)?.account.may_subscribe(subject.as_bytes());
        if verdict == Verdict::Denied {
            net.counts.refused += 1;
            return Err(BusError::PermissionDenied { subject: subject.to_owned() });
        }
        if net.subscriptions.values().filter(|l| l.client == *client).count() >= limits::CLIENT_SUBSCRIPTIONS
        {
            return Err(BusError::Closed { reason: "too many subscriptions".to_owned() });
        }
        let id = net.next();
        let other = house.clone();
        let (subscription, inlet) = Subscription::new(move || unsubscribe(&mut other.lock(), id));
        let listener = Listener {
            client: *client,
            subject: subject.to_owned(),
            queue: queue.map(str::to_owned),
            filtered: verdict == Verdict::Filtered,
            inlet,
        };
        net.trie.insert(subject.as_bytes(), queue.map(str::as_bytes), id);
        net.subscriptions.insert(id, listener);
        Ok(subscription)
    }

    /// Sends a request; whoever drops the answer gives up on it.
    ///
    /// # Errors
    /// As [`MemoryClient::publish_now`]; [`BusError::PermissionDenied`] also if the inbox may not be subscribed to.
    pub fn request_now(&self, mut message: Message) -> Result<PendingAnswer, BusError> {
        let Handle { net: house, id } = &*self.handle;
        let (token, answer) = {
            let mut net = house.lock();
            let token = net.next();
            let client = net.connected_client(*id)?;
            let pattern = format!("{}.*", client.inbox);
            if client.account.may_subscribe(pattern.as_bytes()) == Verdict::Denied {
                return Err(BusError::PermissionDenied { subject: pattern });
            }
            if client.requests.len() >= limits::CLIENT_REQUESTS {
                return Err(BusError::NotConnected);
            }
            message.reply = Some(format!("{}.{token}", client.inbox));
            let (sender, answer) = oneshot::channel();
            client.requests.insert(token, (message.subject.clone(), sender));
            (token, answer)
        };
        let pending = PendingAnswer { net: house.clone(), client: *id, token, answer };
        self.publish_now(&message)?;
        Ok(pending)
    }

    /// Cuts the client off, or connects it again. What is under way to a client that is cut off is lost when it is
    /// due.
    pub fn set_connected(&self, connected: bool) {
        if let Some(client) = self.handle.net.lock().clients.get_mut(&self.handle.id) {
            client.connected.send_replace(connected);
            if !connected {
                client.requests.clear();
            }
        }
    }
}

impl Back for MemoryClient {
    fn publish(&self, message: Message) -> BusFuture<'_, ()> {
        Box::pin(async move { self.publish_now(&message) })
    }

    fn subscribe<'a>(&'a self, subject: &'a str, queue: Option<&'a str>) -> BusFuture<'a, Subscription> {
        Box::pin(async move { self.subscribe_now(subject, queue) })
    }

    fn request(&self, message: Message, timeout: Duration) -> BusFuture<'_, Message> {
        Box::pin(async move {
            let subject = message.subject.clone();
            let mut pending = self.request_now(message)?;
            match tokio::time::timeout(timeout, &mut pending.answer).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) => Err(BusError::NotConnected),
                Err(_) => Err(BusError::Timeout { subject, timeout }),
            }
        })
    }

    fn flush(&self) -> BusFuture<'_, ()> {
        Box::pin(async move { self.handle.net.lock().connected_client(self.handle.id).map(|_| ()) })
    }

    fn connected(&self) -> watch::Receiver<bool> {
        let net = self.handle.net.lock();
        net.clients.get(&self.handle.id).map_or_else(|| watch::channel(false).1, |c| c.connected.subscribe())
    }
}
