//! The broker's limits and timeouts, as far as an owner may move them.

use std::time::Duration;

use crate::limits;

/// What may be moved. The defaults, with their reasons, are in [`crate::limits`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerConfig {
    /// For people, in INFO.
    pub server_name: String,
    /// Bytes of headers and payload of one message.
    pub max_payload_bytes: usize,
    /// Connections at once.
    pub max_connections: usize,
    /// Subscriptions of one connection.
    pub max_subscriptions: usize,
    /// Bytes waiting for one connection.
    pub max_pending_bytes: usize,
    /// Bytes waiting for all connections, partial frames included.
    pub max_buffered_bytes: usize,
    /// From the connection until CONNECT must have come.
    pub auth_timeout: Duration,
    /// Silence before a PING.
    pub ping_interval: Duration,
    /// Unanswered PINGs before a connection is stale.
    pub max_pings_out: u32,
    /// From the lame-duck notice until everyone left is closed.
    pub lame_duck: Duration,
}

impl Default for BrokerConfig {
    fn default() -> Self {
        Self {
            server_name: "grace".to_owned(),
            max_payload_bytes: limits::MAX_PAYLOAD_BYTES,
            max_connections: limits::CONNECTIONS,
            max_subscriptions: limits::SUBSCRIPTIONS_PER_CONNECTION,
            max_pending_bytes: limits::PENDING_BYTES,
            max_buffered_bytes: limits::BUFFERED_BYTES,
            auth_timeout: limits::AUTH_TIMEOUT,
            ping_interval: limits::PING_INTERVAL,
            max_pings_out: limits::PINGS_OUT,
            lame_duck: limits::LAME_DUCK,
        }
    }
}
