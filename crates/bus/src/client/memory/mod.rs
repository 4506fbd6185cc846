//! The in-memory back, for tests and the simulator: the broker's own trie, permissions and queue groups, no IO.
//!
//! A [`MemoryNet`] stands for the broker and all wires. Every message to a recipient is a *delivery*, which the
//! net's [`Faults`] may drop, duplicate, delay or move out of order. By default deliveries arrive at once; after
//! [`MemoryNet::step_by_step`] they wait until [`MemoryNet::deliver_next`] is called. Chance comes from the seed and
//! time from the clock given at the start, and nothing depends on a hash map's order, so the same calls give the same
//! deliveries. Everything can be done without a runtime ([`MemoryClient`]); the [`crate::Bus`] over it is for code that awaits.
//!
//! Differences from the other backs: a refused publish fails at once instead of at the next flush, and a client cut off
//! with [`MemoryClient::set_connected`] fails instead of keeping what is published meanwhile.

mod client;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use grace_types::{
    chance::{Entropy, SeededEntropy},
    time::{Clock, Monotonic},
};
use tokio::sync::{oneshot, watch};

pub use self::client::{MemoryClient, PendingAnswer};
use super::{BusError, Inlet};
use crate::{
    auth::{Account, AuthError, AuthTable, Authority, Grants},
    limits,
    message::Message,
    trie::{Matched, Trie},
};

/// What happens to deliveries. Shares are 0.0 to 1.0, drawn for each delivery.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Faults {
    /// Share that never arrives.
    pub drop: f64,
    /// Share that arrives twice.
    pub duplicate: f64,
    /// Share that overtakes those before it.
    pub reorder: f64,
    /// Each takes at least this long.
    pub delay_min: Duration,
    /// And at most this long.
    pub delay_max: Duration,
}

/// What the net did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemoryCounts {
    /// Messages published.
    pub published: u64,
    /// Deliveries that arrived.
    pub delivered: u64,
    /// Deliveries lost to a fault, or to a full net, or to a client that was cut off.
    pub dropped: u64,
    /// Deliveries made twice by a fault.
    pub duplicated: u64,
    /// Deliveries moved ahead by a fault.
    pub reordered: u64,
    /// Publishes and subscriptions refused.
    pub refused: u64,
}

/// A delivery that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// The user it went to.
    pub user: String,
    /// What it was. A request that nobody heard is answered with an empty message on its inbox.
    pub message: Message,
}

/// The broker and all wires. Clones are the same net.
#[derive(Clone)]
pub struct MemoryNet {
    net: Arc<Mutex<Net>>,
    clock: Arc<dyn Clock>,
}

struct Net {
    authority: Authority,
    dice: SeededEntropy,
    faults: Faults,
    stepping: bool,
    trie: Trie<u64>,
    subscriptions: BTreeMap<u64, Listener>,
    clients: BTreeMap<u64, Client>,
    in_flight: VecDeque<Delivery>,
    counts: MemoryCounts,
    last: u64,
    found: Matched<u64>,
}

struct Listener {
    client: u64,
    subject: String,
    queue: Option<String>,
    filtered: bool,
    inlet: Inlet,
}

struct Client {
    account: Arc<Account>,
    grants: Grants,
    inbox: String,
    requests: BTreeMap<u64, (String, oneshot::Sender<Result<Message, BusError>>)>,
    connected: watch::Sender<bool>,
}

#[derive(Clone)]
struct Delivery {
    due: Monotonic,
    client: u64,
    to: To,
    message: Message,
}

#[derive(Clone, Copy)]
enum To {
    Subscription(u64),
    Request(u64),
    /// The request's sender, as status 503 would.
    NoResponders(u64),
}

impl MemoryNet {
    /// A net for these users.
    ///
    /// # Errors
    /// The table is refused.
    pub fn new(users: &AuthTable, seed: u64, clock: Arc<dyn Clock>) -> Result<Self, AuthError> {
        let net = Net {
            authority: Authority::new(users)?,
            dice: SeededEntropy::new(seed),
            faults: Faults::default(),
            stepping: false,
            trie: Trie::default(),
            subscriptions: BTreeMap::new(),
            clients: BTreeMap::new(),
            in_flight: VecDeque::new(),
            counts: MemoryCounts::default(),
            last: 0,
            found: Matched::default(),
        };
        Ok(Self { net: Arc::new(Mutex::new(net)), clock })
    }

    /// A client signed in as `user`. Its inbox is `_INBOX.<user>.<number>.*`.
    ///
    /// # Errors
    /// [`BusError::Closed`]: there is no such user.
    pub fn client(&self, user: &str) -> Result<MemoryClient, BusError> {
        let mut net = self.lock();
        let account = net
            .authority
            .account(user)
            .ok_or_else(|| BusError::Closed { reason: "Authorization Violation".to_owned() })?;
        let id = net.next();
        let client = Client {
            account,
            grants: Grants::default(),
            inbox: format!("_INBOX.{user}.{id}"),
            requests: BTreeMap::new(),
            connected: watch::channel(true).0,
        };
        net.clients.insert(id, client);
        Ok(MemoryClient::new(self.clone(), id))
    }

    /// From now on, these faults happen.
    pub fn set_faults(&self, faults: Faults) {
        self.lock().faults = faults;
    }

    /// From now on, deliveries wait for [`MemoryNet::deliver_next`].
    pub fn step_by_step(&self) {
        self.lock().stepping = true;
    }

    /// Lets the next delivery arrive that is due; `None` if none is.
    pub fn deliver_next(&self) -> Option<Delivered> {
        let now = self.clock.now().mono;
        self.lock().deliver_next(now)
    }

    /// When the next delivery is due, so that a simulator can move its clock there.
    #[must_use]
    pub fn next_due(&self) -> Option<Monotonic> {
        self.lock().in_flight.iter().map(|d| d.due).min()
    }

    /// Deliveries under way.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.lock().in_flight.len()
    }

    /// What the net did so far.
    #[must_use]
    pub fn counts(&self) -> MemoryCounts {
        self.lock().counts
    }

    fn lock(&self) -> MutexGuard<'_, Net> {
        self.net.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets everything arrive that is due, unless somebody steps.
    fn settle(&self, net: &mut Net) {
        if !net.stepping {
            let now = self.clock.now().mono;
            while net.deliver_next(now).is_some() {}
        }
    }
}

impl Net {
    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    fn connected_client(&mut self, id: u64) -> Result<&mut Client, BusError> {
        self.clients.get_mut(&id).filter(|c| *c.connected.borrow()).ok_or(BusError::NotConnected)
    }

    fn publish(&mut self, from: u64, message: &Message, now: Monotonic) -> Result<(), BusError> {
        let subject = message.subject.as_bytes();
        let client = self.connected_client(from)?;
        if !client.account.may_publish(subject) && !client.grants.take(subject, now) {
            self.counts.refused += 1;
            return Err(BusError::PermissionDenied { subject: message.subject.clone() });
        }
        self.counts.published += 1;
        let recipients = self.recipients(message);
        if recipients.is_empty()
            && let Some(token) = message.reply.as_deref().and_then(|r| self.clients.get(&from)?.token(r))
        {
            let answer = Message::new(message.reply.clone().unwrap_or_default(), "");
            self.send(Delivery { due: now, client: from, to: To::NoResponders(token), message: answer });
        }
        for (client, to) in recipients {
            self.send(Delivery { due: now, client, to, message: message.clone() });
        }
        Ok(())
    }

    fn recipients(&mut self, message: &Message) -> Vec<(u64, To)> {
        let subject = message.subject.as_bytes();
        let mut found = std::mem::take(&mut self.found);
        self.trie.matches(subject, &mut found);
        let may_receive = |net: &Self, id: u64| {
            let listener = net.subscriptions.get(&id)?;
            let client = net.clients.get(&listener.client)?;
            (!listener.filtered || client.account.may_receive(subject)).then_some(listener.client)
        };
        let mut recipients = Vec::new();
        for id in &found.plain {
            recipients.extend(may_receive(self, *id).map(|client| (client, To::Subscription(*id))));
        }
        for members in &found.queues {
            let start = self.dice.below(members.len() as u64) as usize;
            let (before, after) = members.split_at(start);
            let chosen = after.iter().chain(before).find_map(|id| Some((may_receive(self, *id)?, *id)));
            recipients.extend(chosen.map(|(client, id)| (client, To::Subscription(id))));
        }
        self.found = found;
        let inbox =
            self.clients.iter().find_map(|(id, c)| c.token(&message.subject).map(|t| (*id, To::Request(t))));
        recipients.extend(inbox);
        recipients
    }

    /// Puts a delivery on its way, as the faults will have it.
    fn send(&mut self, mut delivery: Delivery) {
        let faults = self.faults;
        let chance = |dice: &mut SeededEntropy, share: f64| share > 0.0 && dice.unit() < share;
        if chance(&mut self.dice, faults.drop) || self.in_flight.len() >= limits::MEMORY_IN_FLIGHT {
            self.counts.dropped += 1;
            return;
        }
        let spread = faults.delay_max.saturating_sub(faults.delay_min);
        let drawn = if spread.is_zero() { 0.0 } else { self.dice.unit() };
        delivery.due = delivery.due.plus(faults.delay_min + spread.mul_f64(drawn));
        if chance(&mut self.dice, faults.duplicate) {
            self.counts.duplicated += 1;
            self.in_flight.push_back(delivery.clone());
        }
        if chance(&mut self.dice, faults.reorder) && !self.in_flight.is_empty() {
            self.counts.reordered += 1;
            let place = self.dice.below(self.in_flight.len() as u64) as usize;
            self.in_flight.insert(place, delivery);
        } else {
            self.in_flight.push_back(delivery);
        }
    }

    /// The first in line among those that are due: order is kept unless a fault changed it.
    fn deliver_next(&mut self, now: Monotonic) -> Option<Delivered> {
        loop {
            let place = self.in_flight.iter().position(|d| d.due <= now)?;
            let Delivery { client: id, to, message, .. } = self.in_flight.remove(place)?;
            let Ok(client) = self.connected_client(id) else {
                self.counts.dropped += 1;
                continue;
            };
            let user = client.account.name.clone();
            if let (Some(reply), Some(rule)) = (&message.reply, client.account.allow_responses) {
                client.grants.note(rule, reply.as_bytes(), now);
            }
            // Without its recipient (unsubscribed, timed out, answered before) it arrives at nobody.
            match to {
                To::Subscription(id) => {
                    if let Some(listener) = self.subscriptions.get(&id) {
                        listener.inlet.push(message.clone());
                    }
                }
                To::Request(token) => {
                    if let Some((_, answer)) = client.requests.remove(&token) {
                        let _ = answer.send(Ok(message.clone()));
                    }
                }
                To::NoResponders(token) => {
                    if let Some((subject, answer)) = client.requests.remove(&token) {
                        let _ = answer.send(Err(BusError::NoResponders { subject }));
                    }
                }
            }
            self.counts.delivered += 1;
            return Some(Delivered { user, message });
        }
    }
}

impl Client {
    /// Which of this client's requests an inbox subject belongs to.
    fn token(&self, subject: &str) -> Option<u64> {
        subject.strip_prefix(&self.inbox)?.strip_prefix('.')?.parse().ok()
    }
}
