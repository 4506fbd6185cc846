//! Checks whether a process is ready or alive, from outside.
//!
//! [`ProbeSchedule`] is pure: it says when to check next and when a row of results becomes a verdict. [`run`] carries one
//! check out. Whoever owns both (the control plane) does nothing but carry results from one to the other.
//!
//! Not here: readiness by `READY=1` (see [`crate::notify`]) and by a line of output (see [`crate::output`]); both are
//! awaited and have no schedule.

mod exec;
mod http;
mod schedule;

use std::{ffi::OsString, net::Ipv4Addr, net::Ipv6Addr, path::Path, time::Duration};

use grace_types::manifest::Check;
use tokio::net::TcpStream;

pub use schedule::{ProbeSchedule, Verdict};

/// One check failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct ProbeFailure {
    /// What was seen, in one sentence: `GET http://127.0.0.1:8080/ answered 503`.
    pub reason: String,
}

impl ProbeFailure {
    fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }
}

/// Where an `exec` check runs: as its component does.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// The whole environment; nothing else is inherited.
    pub env: &'a [(OsString, OsString)],
    /// The folder; that of the control plane when `None`.
    pub cwd: Option<&'a Path>,
}

/// Carries out one check. It ends within `timeout`; dropping the future ends what it started.
///
/// # Errors
/// [`ProbeFailure`] says what was seen. [`Check::Notify`] and [`Check::LogLine`] always fail here: they are awaited.
pub async fn run(check: &Check, timeout: Duration, around: Surroundings<'_>) -> Result<(), ProbeFailure> {
    match check {
        Check::Exec { command } => exec::run(command, timeout, around).await,
        Check::HttpGet { host, port, path } => {
            let what = format!("GET http://{}{path}", authority(host, *port));
            within(timeout, &what, http::get(&what, host, *port, path)).await
        }
        Check::Tcp { host, port } => {
            let what = format!("a connection to {}", authority(host, *port));
            within(timeout, &what, async { connect(&what, host, *port).await.map(drop) }).await
        }
        Check::Notify | Check::LogLine { .. } => {
            Err(ProbeFailure::new("this kind of readiness is awaited, not checked"))
        }
    }
}

async fn within(
    timeout: Duration,
    what: &str,
    check: impl Future<Output = Result<(), ProbeFailure>>,
) -> Result<(), ProbeFailure> {
    tokio::time::timeout(timeout, check)
        .await
        .unwrap_or_else(|_| Err(ProbeFailure::new(format!("{what} took longer than {timeout:?}"))))
}

async fn connect(what: &str, host: &str, port: u16) -> Result<TcpStream, ProbeFailure> {
    let connected = if host.eq_ignore_ascii_case("localhost") {
        // The usual name needs no resolver, whose look-up would cost a thread.
        match TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await {
            Ok(stream) => Ok(stream),
            Err(first) => TcpStream::connect((Ipv6Addr::LOCALHOST, port)).await.map_err(|_| first),
        }
    } else {
        TcpStream::connect((host.trim_start_matches('[').trim_end_matches(']'), port)).await
    };
    connected.map_err(|e| ProbeFailure::new(format!("{what} failed: {e}")))
}

/// `host:port`, with an IPv6 address in brackets.
fn authority(host: &str, port: u16) -> String {
    if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}
