//! The broker, without IO: bytes in, bytes and events out.
//!
//! A shell owns the sockets. It reports what happened ([`Broker::connect`], [`Broker::receive`],
//! [`Broker::disconnected`], [`Broker::tick`]) with the time, then carries out what the broker wants: write
//! [`Broker::outgoing`] of each connection that [`Broker::next_dirty`] names, drop connections that are
//! [`Closing::Now`], pass on [`Broker::next_event`]. The broker never waits, never reads a clock, and draws chance
//! only from the source it was given, so it also runs in the simulator.
//!
//! | Module | What it holds |
//! |---|---|
//! | `config` | the limits and timeouts that may be moved |
//! | `connection` | one connection: its output, its partial frame, its subscriptions |
//! | `session` | what a client's frames do: CONNECT, SUB, UNSUB, PING |
//! | `route` | the way of a message: permission, mapping, matching, delivery |
//! | `event` | what the broker tells its owner: events, statistics |
//!
//! Memory is bounded by construction: [`crate::limits`] names each bound. What a connection has not read and what it
//! has sent in part are counted together, per connection and over all ([`BrokerConfig::max_buffered_bytes`]).
//!
//! Deliberately not here: clusters, accounts, JetStream, TLS. Absent too: any knowledge of a component's name.

mod config;
mod connection;
mod event;
mod route;
mod session;
#[cfg(test)]
mod tests;

use std::{collections::VecDeque, time::Duration};

use grace_types::{
    chance::{Entropy, SeededEntropy},
    time::Monotonic,
};

pub use self::config::BrokerConfig;
pub use self::event::{
    BrokerEvent, CloseReason, ConnectionInfo, Direction, Peer, Refused, Statistics, ViolationCount,
};
use self::{
    connection::{Connection, State},
    event::{Tally, Violations},
    route::Target,
};
use crate::{
    auth::{AuthError, AuthTable, Authority},
    limits,
    mapping::{MappingError, Mappings, SubjectMapping},
    protocol::{encode, info::ServerInfo},
    trie::Matcher,
};

/// Names a connection. Never used again after the connection is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId {
    slot: u32,
    serial: u64,
}

impl ConnId {
    /// Small, and free again after the connection is gone: fit as an index.
    #[must_use]
    pub const fn slot(self) -> usize {
        self.slot as usize
    }

    /// Counts connections; `client_id` in INFO.
    #[must_use]
    pub const fn serial(self) -> u64 {
        self.serial
    }
}

/// Whether a connection is on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    /// It is not.
    No,
    /// When what is left for it has been written, or its time is up.
    AfterFlush,
    /// Drop it.
    Now,
}

/// The broker. See the module.
pub struct Broker {
    config: BrokerConfig,
    authority: Authority,
    mappings: Mappings,
    server_id: String,
    connections: Vec<Option<Connection>>,
    free: Vec<u32>,
    open: usize,
    next_serial: u64,
    matcher: Matcher<Target>,
    subscription_memory: usize,
    out: Out,
    tally: Tally,
    violations: Violations,
    events: VecDeque<BrokerEvent>,
    /// Secrets: nonces.
    entropy: Box<dyn Entropy>,
    /// Chance that need not be secret: queue members, weights.
    dice: SeededEntropy,
    lame_duck: Option<Monotonic>,
    /// Reused: what a mapping made of a subject; messages' first lines.
    mapped: Vec<u8>,
    scratch: Vec<u8>,
}

/// Everything about output that is not one connection's: handed down the delivery path as one.
#[derive(Default)]
struct Out {
    /// Connections with new output, or to be dropped.
    dirty: VecDeque<ConnId>,
    /// Bytes in all connections' output and partial frames.
    buffered: usize,
    /// Bytes of output made since `receive` was called.
    produced: usize,
    /// Empty buffers for reuse.
    spare: Vec<Vec<u8>>,
    /// Slots that went over their bound during a delivery.
    overflowing: Vec<u32>,
    /// Subscriptions that had their last message during a delivery.
    finished: Vec<Target>,
}

impl Broker {
    /// A broker with nobody connected.
    ///
    /// # Errors
    /// The table is refused; see [`AuthError`].
    pub fn new(
        config: BrokerConfig,
        users: &AuthTable,
        mut entropy: Box<dyn Entropy>,
    ) -> Result<Self, AuthError> {
        let dice = SeededEntropy::new(entropy.next_u64());
        let server_id = format!("{:032X}", entropy.next_u128());
        Ok(Self {
            config,
            authority: Authority::new(users)?,
            mappings: Mappings::default(),
            server_id,
            connections: Vec::new(),
            free: Vec::new(),
            open: 0,
            next_serial: 1,
            matcher: Matcher::default(),
            subscription_memory: 0,
            out: Out::default(),
            tally: Tally::default(),
            violations: Violations::default(),
            events: VecDeque::new(),
            entropy,
            dice,
            lame_duck: None,
            mapped: Vec::new(),
            scratch: Vec::new(),
        })
    }

    /// Someone connected. The greeting (INFO) is the connection's first output.
    ///
    /// # Errors
    /// There is no room; write [`Refused::text`] and close.
    pub fn connect(&mut self, peer: Peer, now: Monotonic) -> Result<ConnId, Refused> {
        if self.lame_duck.is_some() {
            return Err(Refused::LameDuck);
        }
        if self.open >= self.config.max_connections {
            self.tally.refused += 1;
            return Err(Refused::MaxConnections);
        }
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.connections.push(None);
                u32::try_from(self.connections.len() - 1).map_err(|_| Refused::MaxConnections)?
            }
        };
        let id = ConnId { slot, serial: self.next_serial };
        self.next_serial += 1;
        self.open += 1;
        self.tally.connections += 1;
        let nonce = if self.authority.uses_nkeys() { self.nonce() } else { String::new() };
        let mut connection = Connection::new(id, peer, nonce, now);
        connection.deadline = now.plus(self.config.auth_timeout);
        self.connections[id.slot()] = Some(connection);
        self.send_info(id);
        Ok(id)
    }

    /// The connection is gone on the shell's side.
    pub fn disconnected(&mut self, id: ConnId, now: Monotonic) {
        self.close(id, CloseReason::ClientClosed, now);
        let Some(connection) =
            self.connections.get_mut(id.slot()).filter(|c| is(c.as_ref(), id)).and_then(Option::take)
        else {
            return;
        };
        self.out.buffered -= connection.buffered();
        self.free.push(id.slot);
        self.open -= 1;
    }

    /// Lets timeouts happen. Returns when to call again at the latest.
    pub fn tick(&mut self, now: Monotonic) -> Monotonic {
        let mut next = now.plus(self.config.ping_interval.min(self.config.auth_timeout));
        if let Some(end) = self.lame_duck {
            next = next.min(end.max(now.plus(Duration::from_millis(1))));
        }
        for slot in 0..self.connections.len() {
            let Some(connection) = &mut self.connections[slot] else { continue };
            let id = connection.id;
            match connection.state {
                State::Greeted if connection.deadline <= now => {
                    self.fail(id, CloseReason::AuthenticationTimeout, now);
                }
                State::Open if self.lame_duck.is_some_and(|end| end <= now) => {
                    self.close(id, CloseReason::LameDuck, now);
                }
                State::Open if connection.deadline <= now => {
                    if connection.pings_out >= self.config.max_pings_out {
                        self.fail(id, CloseReason::StaleConnection, now);
                    } else if now.since(connection.last_heard) < self.config.ping_interval {
                        connection.deadline = connection.last_heard.plus(self.config.ping_interval);
                    } else {
                        connection.pings_out += 1;
                        connection.deadline = now.plus(self.config.ping_interval);
                        connection.write(&mut self.out, &[b"PING\r\n"]);
                    }
                }
                State::Closing if connection.deadline <= now => {
                    connection.state = State::Dead;
                    connection.mark_dirty(&mut self.out);
                }
                State::Greeted | State::Open | State::Closing | State::Dead => {}
            }
            if let Some(connection) = &self.connections[slot]
                && connection.state != State::Dead
            {
                next = next.min(connection.deadline);
            }
        }
        next
    }

    /// The next connection that has output to be written, or must be dropped.
    pub fn next_dirty(&mut self) -> Option<ConnId> {
        loop {
            let id = self.out.dirty.pop_front()?;
            if let Some(connection) = self.get_mut(id) {
                connection.dirty = false;
                return Some(id);
            }
        }
    }

    /// What is to be written to the connection, from its first byte not yet written.
    #[must_use]
    pub fn outgoing(&self, id: ConnId) -> &[u8] {
        self.get(id).map_or(&[], |c| c.output.pending())
    }

    /// So many bytes of [`Broker::outgoing`] were written.
    pub fn sent(&mut self, id: ConnId, count: usize) {
        if let Some(connection) =
            self.connections.get_mut(id.slot()).and_then(Option::as_mut).filter(|c| c.id == id)
        {
            connection.output.sent(count, &mut self.out);
        }
    }

    /// Whether the connection is on its way out.
    #[must_use]
    pub fn closing(&self, id: ConnId) -> Closing {
        match self.get(id).map(|c| (c.state, c.output.is_empty())) {
            Some((State::Greeted | State::Open, _)) => Closing::No,
            Some((State::Closing, false)) => Closing::AfterFlush,
            Some((State::Closing, true) | (State::Dead, _)) | None => Closing::Now,
        }
    }

    /// The next event for the owner.
    pub fn next_event(&mut self) -> Option<BrokerEvent> {
        self.events.pop_front()
    }

    /// Puts another table in force. Connections whose user is gone or has another credential are closed;
    /// subscriptions that are no longer allowed end with the usual error.
    ///
    /// # Errors
    /// The table is refused and the old one stays.
    pub fn set_users(&mut self, users: &AuthTable, now: Monotonic) -> Result<(), AuthError> {
        self.authority = Authority::new(users)?;
        for slot in 0..self.connections.len() {
            let Some(connection) = &mut self.connections[slot] else { continue };
            let id = connection.id;
            let Some(account) = connection.account.as_ref().filter(|_| connection.state == State::Open)
            else {
                continue;
            };
            match self.authority.successor(account) {
                None => self.fail(id, CloseReason::UserRevoked, now),
                Some(account) => {
                    connection.account = Some(account);
                    connection.decisions.clear();
                    self.recheck_subscriptions(id, now);
                }
            }
        }
        Ok(())
    }

    /// Puts another set of mappings in force.
    ///
    /// # Errors
    /// The set is refused and the old one stays.
    pub fn set_mappings(&mut self, set: &[SubjectMapping]) -> Result<(), MappingError> {
        self.mappings = Mappings::new(set)?;
        Ok(())
    }

    /// Starts the way out: everyone is told (INFO with `ldm`), nobody new is let in, and who is left after
    /// [`BrokerConfig::lame_duck`] is closed. Saying it twice changes nothing.
    pub fn lame_duck(&mut self, now: Monotonic) {
        if self.lame_duck.is_some() {
            return;
        }
        self.lame_duck = Some(now.plus(self.config.lame_duck));
        let told: Vec<ConnId> = self.live().filter(|c| c.state == State::Open).map(|c| c.id).collect();
        for id in &told {
            self.send_info(*id);
        }
        self.emit(BrokerEvent::LameDuck { connections: told.len() });
    }

    /// Whether the way out has been started.
    #[must_use]
    pub fn is_lame_duck(&self) -> bool {
        self.lame_duck.is_some()
    }

    /// Connections now.
    #[must_use]
    pub fn connection_count(&self) -> usize {
        self.open
    }

    /// Counters and gauges.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        Statistics {
            connections: self.open,
            subscriptions: self.matcher.len(),
            buffered_bytes: self.out.buffered,
            tally: self.tally.clone(),
            violations: self.violations.list(),
        }
    }

    /// Every connection.
    #[must_use]
    pub fn connections(&self) -> Vec<ConnectionInfo> {
        self.live().map(Connection::describe).collect()
    }

    fn live(&self) -> impl Iterator<Item = &Connection> {
        self.connections.iter().flatten()
    }

    fn get(&self, id: ConnId) -> Option<&Connection> {
        self.connections.get(id.slot()).and_then(Option::as_ref).filter(|c| c.id == id)
    }

    fn get_mut(&mut self, id: ConnId) -> Option<&mut Connection> {
        self.connections.get_mut(id.slot()).and_then(Option::as_mut).filter(|c| c.id == id)
    }

    fn nonce(&mut self) -> String {
        use base64::Engine as _;
        let mut bytes = [0; 16];
        self.entropy.fill(&mut bytes);
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
    }

    fn emit(&mut self, event: BrokerEvent) {
        if self.events.len() < limits::EVENTS {
            self.events.push_back(event);
        } else {
            self.tally.events_dropped += 1;
        }
    }

    fn send_info(&mut self, id: ConnId) {
        let Some(connection) = self.connections.get_mut(id.slot()).and_then(Option::as_mut) else { return };
        let (host, port) = connection.peer.host();
        let info = ServerInfo {
            server_id: self.server_id.clone(),
            server_name: self.config.server_name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            proto: 1,
            host,
            port,
            headers: true,
            auth_required: true,
            max_payload: self.config.max_payload_bytes,
            client_id: id.serial,
            nonce: connection.nonce.clone(),
            lame_duck: self.lame_duck.is_some(),
        };
        self.scratch.clear();
        encode::json(&mut self.scratch, "INFO", &info);
        connection.write(&mut self.out, &[&self.scratch]);
    }

    /// Says why, then closes.
    fn fail(&mut self, id: ConnId, reason: CloseReason, now: Monotonic) {
        if let Some(text) = reason.error_text() {
            self.error(id, &text);
        }
        self.close(id, reason, now);
    }

    /// Answers -ERR; the connection stays.
    fn error(&mut self, id: ConnId, text: &str) {
        self.scratch.clear();
        encode::error(&mut self.scratch, text);
        if let Some(connection) =
            self.connections.get_mut(id.slot()).and_then(Option::as_mut).filter(|c| c.id == id)
        {
            connection.write(&mut self.out, &[&self.scratch]);
        }
    }

    /// Takes a connection out of everything; what it is owed may still be written for a while.
    fn close(&mut self, id: ConnId, reason: CloseReason, now: Monotonic) {
        let Some(connection) =
            self.connections.get_mut(id.slot()).and_then(Option::as_mut).filter(|c| c.id == id)
        else {
            return;
        };
        if matches!(connection.state, State::Closing | State::Dead) {
            return;
        }
        for (slot, sub) in connection.subscriptions.drain() {
            self.subscription_memory -= sub.cost();
            self.matcher.remove(
                &sub.subject,
                sub.queue.as_deref(),
                Target { connection: id.slot, sub: slot },
            );
        }
        self.out.buffered -= connection.partial.len();
        connection.partial = Vec::new();
        connection.grants = Default::default();
        connection.decisions.clear();
        connection.state = State::Closing;
        connection.deadline = now.plus(limits::LINGER);
        if reason == CloseReason::MemoryPressure || reason == CloseReason::ClientClosed {
            connection.output.discard(&mut self.out);
            connection.state = State::Dead;
        }
        connection.mark_dirty(&mut self.out);
        self.tally.closed(&reason);
        let event = BrokerEvent::Disconnected {
            connection: id.serial,
            user: connection.user(),
            name: connection.name.clone(),
            peer: connection.peer.clone(),
            reason,
        };
        self.emit(event);
    }

    /// Cuts off whoever went over a bound while output was made.
    fn enforce_bounds(&mut self, now: Monotonic) {
        while let Some(slot) = self.out.overflowing.pop() {
            if let Some(connection) = &self.connections[slot as usize] {
                let (id, pending_bytes) = (connection.id, connection.output.pending().len());
                self.fail(id, CloseReason::SlowConsumer { pending_bytes }, now);
            }
        }
        while self.out.buffered > self.config.max_buffered_bytes {
            let Some(largest) = self.live().max_by_key(|c| c.buffered()).filter(|c| c.buffered() > 0) else {
                return;
            };
            let id = largest.id;
            if largest.state == State::Closing {
                // Cut off before, and still owed bytes: it had its chance.
                if let Some(connection) = self.connections[id.slot()].as_mut() {
                    connection.output.discard(&mut self.out);
                    connection.state = State::Dead;
                    connection.mark_dirty(&mut self.out);
                }
            } else {
                self.close(id, CloseReason::MemoryPressure, now);
            }
        }
    }
}

fn is(connection: Option<&Connection>, id: ConnId) -> bool {
    connection.is_some_and(|c| c.id == id)
}
