//! What the broker tells its owner: events, statistics, and why connections end.

use std::{collections::HashMap, net::SocketAddr};

use grace_types::time::Monotonic;
use serde::Serialize;

use crate::limits::VIOLATION_PAIRS;

/// Who is at the other end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Peer {
    /// Over TCP.
    Tcp {
        /// The client's address.
        remote: SocketAddr,
        /// Where it was accepted.
        local: SocketAddr,
    },
    /// Over a Unix socket; both from SO_PEERCRED.
    Unix {
        /// User id.
        uid: u32,
        /// Process id; 0 if the system did not say.
        pid: i32,
    },
    /// Neither: tests and the simulator.
    Local,
}

impl Peer {
    pub(super) fn host(&self) -> (String, u16) {
        match self {
            Self::Tcp { local, .. } => (local.ip().to_string(), local.port()),
            Self::Unix { .. } | Self::Local => ("localhost".to_owned(), 0),
        }
    }
}

/// Why a connection is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No room.
    #[error("maximum connections exceeded")]
    MaxConnections,
    /// The broker is on its way out.
    #[error("the broker is shutting down")]
    LameDuck,
}

impl Refused {
    /// What to write before closing.
    #[must_use]
    pub const fn text(self) -> &'static [u8] {
        match self {
            Self::MaxConnections => b"-ERR 'maximum connections exceeded'\r\n",
            Self::LameDuck => b"-ERR 'Server Shutdown'\r\n",
        }
    }
}

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "reason")]
pub enum CloseReason {
    /// The client went, or its socket failed.
    ClientClosed,
    /// No or wrong credentials.
    AuthorizationViolation,
    /// CONNECT did not come in time.
    AuthenticationTimeout,
    /// A new table does not have the user, or has another credential for it.
    UserRevoked,
    /// It did not read, and its own bound was reached.
    SlowConsumer {
        /// What was waiting for it.
        pending_bytes: usize,
    },
    /// It held the most when the bound over all connections was reached.
    MemoryPressure,
    /// It did not answer PINGs.
    StaleConnection,
    /// One subscription too many.
    MaxSubscriptions,
    /// A message too large.
    MaxPayload,
    /// A line too long.
    MaxControlLine,
    /// Not the protocol.
    ProtocolError {
        /// What was wrong.
        detail: String,
    },
    /// The broker went.
    LameDuck,
}

impl CloseReason {
    /// nats-server's words for it, which clients recognise; `None` if nobody is there to be told, or it is not an
    /// error.
    #[must_use]
    pub fn error_text(&self) -> Option<String> {
        let text = match self {
            Self::ClientClosed | Self::LameDuck | Self::MemoryPressure => return None,
            Self::AuthorizationViolation => "Authorization Violation",
            Self::AuthenticationTimeout => "Authentication Timeout",
            Self::UserRevoked => "User Authentication Revoked",
            Self::SlowConsumer { .. } => "Slow Consumer",
            Self::StaleConnection => "Stale Connection",
            Self::MaxSubscriptions => "maximum subscriptions exceeded",
            Self::MaxPayload => "Maximum Payload Violation",
            Self::MaxControlLine => "maximum control line exceeded",
            Self::ProtocolError { detail } => detail,
        };
        Some(text.to_owned())
    }
}

/// Which way a permission was missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// To publish.
    Publish,
    /// To subscribe.
    Subscribe,
}

/// Something that the owner may want to know, keep or publish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum BrokerEvent {
    /// A client signed in.
    Connected {
        /// Its serial number.
        connection: u64,
        /// As whom.
        user: String,
        /// What it calls itself.
        name: Option<String>,
        /// Where it is.
        peer: Peer,
    },
    /// A connection ended.
    Disconnected {
        /// Its serial number.
        connection: u64,
        /// As whom it had signed in, if it had.
        user: Option<String>,
        /// What it calls itself.
        name: Option<String>,
        /// Where it is.
        peer: Peer,
        /// Why.
        #[serde(flatten)]
        reason: CloseReason,
    },
    /// A user tried what it may not.
    PermissionViolation {
        /// Its connection's serial number.
        connection: u64,
        /// Who.
        user: String,
        /// Which way.
        direction: Direction,
        /// Where to.
        subject: String,
        /// How often that user tried that subject, this time included.
        count: u64,
    },
    /// The way out has been started.
    LameDuck {
        /// So many connections were told.
        connections: usize,
    },
}

/// Counters since the start.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Tally {
    /// Connections accepted.
    pub connections: u64,
    /// Connections refused for want of room.
    pub refused: u64,
    /// Messages from clients.
    pub messages_in: u64,
    /// Bytes from clients.
    pub bytes_in: u64,
    /// Messages delivered.
    pub messages_out: u64,
    /// Messages that the broker's owner published.
    pub messages_internal: u64,
    /// Requests that nobody heard.
    pub no_responders: u64,
    /// Permission violations.
    pub permission_violations: u64,
    /// Failed sign-ins.
    pub authorization_violations: u64,
    /// Connections cut off because they did not read.
    pub slow_consumers: u64,
    /// Connections cut off because all buffers together were full.
    pub memory_pressure: u64,
    /// Connections that did not answer PINGs.
    pub stale_connections: u64,
    /// Connections closed for breaking the protocol or a limit of it.
    pub protocol_errors: u64,
    /// Events that nobody took in time.
    pub events_dropped: u64,
}

impl Tally {
    pub(super) fn closed(&mut self, reason: &CloseReason) {
        match reason {
            CloseReason::ClientClosed | CloseReason::LameDuck | CloseReason::UserRevoked => {}
            CloseReason::AuthorizationViolation | CloseReason::AuthenticationTimeout => {
                self.authorization_violations += 1;
            }
            CloseReason::SlowConsumer { .. } => self.slow_consumers += 1,
            CloseReason::MemoryPressure => self.memory_pressure += 1,
            CloseReason::StaleConnection => self.stale_connections += 1,
            CloseReason::MaxSubscriptions
            | CloseReason::MaxPayload
            | CloseReason::MaxControlLine
            | CloseReason::ProtocolError { .. } => self.protocol_errors += 1,
        }
    }
}

/// What the broker is doing, and did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Statistics {
    /// Connections now.
    pub connections: usize,
    /// Subscriptions now.
    pub subscriptions: usize,
    /// Bytes in all connections' buffers now.
    pub buffered_bytes: usize,
    /// Counters.
    #[serde(flatten)]
    pub tally: Tally,
    /// Permission violations per user and subject, most first.
    pub violations: Vec<ViolationCount>,
}

/// How often a user tried what it may not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ViolationCount {
    /// Who.
    pub user: String,
    /// Which way.
    pub direction: Direction,
    /// Where to; `*` for subjects beyond [`VIOLATION_PAIRS`].
    pub subject: String,
    /// How often.
    pub count: u64,
}

/// A connection, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConnectionInfo {
    /// Its serial number.
    pub connection: u64,
    /// As whom it signed in.
    pub user: Option<String>,
    /// What it calls itself.
    pub name: Option<String>,
    /// Where it is.
    pub peer: Peer,
    /// When it was accepted.
    pub since: Monotonic,
    /// When it last sent anything.
    pub last_heard: Monotonic,
    /// How many it has.
    pub subscriptions: usize,
    /// What it has not read yet.
    pub pending_bytes: usize,
    /// Messages it sent.
    pub messages_in: u64,
    /// Messages it was sent.
    pub messages_out: u64,
}

/// Permission violations, counted per user, direction and subject, in bounded memory.
#[derive(Debug, Default)]
pub(super) struct Violations {
    counts: HashMap<(String, Direction, String), u64>,
}

impl Violations {
    /// Counts one; returns how often it was.
    pub(super) fn count(&mut self, user: &str, direction: Direction, subject: &str) -> u64 {
        let mut key = (user.to_owned(), direction, subject.to_owned());
        if !self.counts.contains_key(&key) && self.counts.len() >= VIOLATION_PAIRS {
            "*".clone_into(&mut key.2);
            if !self.counts.contains_key(&key) && self.counts.len() >= 2 * VIOLATION_PAIRS {
                return 0;
            }
        }
        let count = self.counts.entry(key).or_default();
        *count += 1;
        *count
    }

    pub(super) fn list(&self) -> Vec<ViolationCount> {
        let mut list: Vec<_> = self
            .counts
            .iter()
            .map(|((user, direction, subject), count)| ViolationCount {
                user: user.clone(),
                direction: *direction,
                subject: subject.clone(),
                count: *count,
            })
            .collect();
        list.sort_by(|a, b| (b.count, &a.user, &a.subject).cmp(&(a.count, &b.user, &b.subject)));
        list
    }
}
