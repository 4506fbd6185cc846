//! What `grace up` says to systemd (or any supervisor) when it runs under it: sd_notify(3) datagrams, pings at half
//! of the watchdog's interval.
//!
//! Only the front speaks here. The life line between Grace and its own components is a socket of Grace's own.

use std::{
    ffi::OsStr,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::Duration,
};

/// A supervisor to report to, if there is one.
#[derive(Debug)]
pub(crate) struct Supervisor {
    to: Option<(UnixDatagram, SocketAddr)>,
    ping: Option<Duration>,
}

impl Supervisor {
    /// From `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`.
    pub(crate) fn from_environment() -> Self {
        let to = std::env::var_os("NOTIFY_SOCKET").and_then(|address| {
            let socket = UnixDatagram::unbound().and_then(|s| s.set_nonblocking(true).map(|()| s)).ok()?;
            Some((socket, socket_address(&address)?))
        });
        let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let for_us = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let interval = number("WATCHDOG_USEC").filter(|usec| *usec > 0 && for_us);
        Self { ping: interval.filter(|_| to.is_some()).map(|usec| Duration::from_micros(usec / 2)), to }
    }

    /// Nobody: a command that does not stay has nothing to report.
    pub(crate) const fn none() -> Self {
        Self { to: None, ping: None }
    }

    /// How often [`Self::say`] `WATCHDOG=1` is expected.
    pub(crate) const fn ping_period(&self) -> Option<Duration> {
        self.ping
    }

    /// Sends lines such as `READY=1`. A supervisor that does not listen is no reason to stop.
    pub(crate) fn say(&self, lines: &[&str]) {
        if let Some((socket, address)) = &self.to {
            let _ = socket.send_to_addr(lines.join("\n").as_bytes(), address);
        }
    }
}

/// A path, or `@NAME` for the abstract namespace.
fn socket_address(text: &OsStr) -> Option<SocketAddr> {
    match text.as_bytes().split_first()? {
        (b'@', name) => SocketAddr::from_abstract_name(name).ok(),
        (b'/', _) => SocketAddr::from_pathname(text).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_paths_or_abstract_names() {
        assert!(socket_address(OsStr::new("/run/x")).is_some_and(|a| a.as_pathname().is_some()));
        assert!(socket_address(OsStr::new("@x")).is_some_and(|a| a.as_abstract_name() == Some(b"x")));
        assert!(socket_address(OsStr::new("")).is_none());
        assert!(socket_address(OsStr::new("vsock:2:1")).is_none());
    }
}
