//! The JSON that both sides introduce themselves with: INFO and CONNECT.

use serde::{Deserialize, Serialize};

/// INFO: what a server tells about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct ServerInfo {
    /// Unique to one run of the server.
    pub server_id: String,
    /// For people.
    pub server_name: String,
    /// The server's version. Ours, not that of any nats-server.
    pub version: String,
    /// 1: the server may send INFO at any time.
    pub proto: u8,
    /// Required by some clients; where the connection was accepted.
    pub host: String,
    /// See `host`; 0 on a Unix socket.
    pub port: u16,
    /// Whether messages may have headers.
    pub headers: bool,
    /// Whether CONNECT must carry credentials.
    pub auth_required: bool,
    /// Bytes of headers and payload of one message.
    pub max_payload: usize,
    /// Names the connection.
    pub client_id: u64,
    /// What a client that has an nkey must sign.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub nonce: String,
    /// Lame duck: the server is about to go, reconnect elsewhere.
    #[serde(rename = "ldm", skip_serializing_if = "is_false")]
    pub lame_duck: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(b: &bool) -> bool {
    !*b
}

/// CONNECT: what a client tells about itself. Unknown keys are ignored, as in nats-server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConnectOptions {
    /// Answer each operation with +OK.
    pub verbose: bool,
    /// Check subjects strictly. The broker always does.
    pub pedantic: bool,
    /// User name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pass: Option<String>,
    /// Public nkey.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nkey: Option<String>,
    /// Signature of the nonce by the nkey, base64url.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sig: Option<String>,
    /// What the client calls itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Language of the client.
    pub lang: Option<String>,
    /// Version of the client.
    pub version: Option<String>,
    /// 1: the client understands INFO at any time.
    pub protocol: u8,
    /// Whether the client's own messages come back to its subscriptions.
    pub echo: bool,
    /// Whether the client understands headers.
    pub headers: bool,
    /// Whether a request that nobody hears is answered with status 503.
    pub no_responders: bool,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            verbose: false,
            pedantic: false,
            user: None,
            pass: None,
            nkey: None,
            sig: None,
            name: None,
            lang: None,
            version: None,
            protocol: 0,
            echo: true,
            headers: false,
            no_responders: false,
        }
    }
}
