//! The sender's side of the sd_notify protocol (sd_notify(3)): datagrams of `KEY=VALUE` lines to `$NOTIFY_SOCKET`.
//!
//! The address is used anew for each datagram, so that a control plane that was restarted, and bound the same path again,
//! hears the next one. The socket never blocks: a life line that waits would stop the kernel that it watches.

use std::{
    ffi::OsStr,
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::Duration,
};

use grace_types::time::Monotonic;

/// The life line of one process. Without a socket it is silent.
#[derive(Debug, Default)]
pub struct Notify {
    line: Option<(UnixDatagram, SocketAddr)>,
    /// When the peer was first found gone, with no answer since.
    gone_since: Option<Monotonic>,
}

impl Notify {
    /// To the address in `NOTIFY_SOCKET`: an absolute path, or `@` and an abstract name.
    ///
    /// # Errors
    /// When the address is neither, or a socket cannot be made.
    pub fn to(address: &OsStr) -> io::Result<Self> {
        let bytes = address.as_bytes();
        let peer = match bytes.split_first() {
            Some((b'@', name)) => SocketAddr::from_abstract_name(name)?,
            Some((b'/', _)) => SocketAddr::from_pathname(address)?,
            _ => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "neither a path nor an abstract name",
                ));
            }
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Self { line: Some((socket, peer)), gone_since: None })
    }

    /// Sends `message`. A receiver that is behind makes it lost, as sd_notify allows: what matters is repeated.
    pub fn send(&mut self, message: &str, now: Monotonic) {
        let Some((socket, peer)) = &self.line else { return };
        match socket.send_to_addr(message.as_bytes(), peer) {
            Err(e) if matches!(e.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) => {
                self.gone_since.get_or_insert(now);
            }
            // A full buffer is a living peer's.
            Ok(_) | Err(_) => self.gone_since = None,
        }
    }

    /// How long nobody has been at the other end; zero while somebody is.
    #[must_use]
    pub fn gone_for(&self, now: Monotonic) -> Duration {
        self.gone_since.map_or(Duration::ZERO, |since| now.since(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receive(socket: &UnixDatagram) -> String {
        let mut bytes = [0u8; 4096];
        let length = socket.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    #[test]
    fn a_receiver_that_was_bound_again_hears_the_next_message() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify.sock");
        let second = Duration::from_secs(1);
        let mut notify = Notify::to(path.as_os_str()).unwrap();
        let start = Monotonic::ZERO;

        notify.send("READY=1", start);
        assert_eq!(notify.gone_for(start.plus(second)), second, "there is no file yet");
        let first = UnixDatagram::bind(&path).unwrap();
        notify.send("READY=1\nWATCHDOG=1", start.plus(second));
        assert_eq!(receive(&first), "READY=1\nWATCHDOG=1");
        assert_eq!(notify.gone_for(start.plus(second * 2)), Duration::ZERO);

        drop(first);
        notify.send("WATCHDOG=1", start.plus(second * 2));
        notify.send("WATCHDOG=1", start.plus(second * 3));
        assert_eq!(notify.gone_for(start.plus(second * 4)), second * 2, "the file has no reader");
        std::fs::remove_file(&path).unwrap();
        let again = UnixDatagram::bind(&path).unwrap();
        notify.send("WATCHDOG=1", start.plus(second * 5));
        assert_eq!(receive(&again), "WATCHDOG=1");
        assert_eq!(notify.gone_for(start.plus(second * 9)), Duration::ZERO);
    }

    #[test]
    fn abstract_names_and_a_full_receiver() {
        let name = format!("grace-notify-test-{}", std::process::id());
        let receiver = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let mut notify = Notify::to(OsStr::new(&format!("@{name}"))).unwrap();
        for _ in 0..10_000 {
            notify.send("WATCHDOG=1", Monotonic::ZERO);
        }
        assert_eq!(notify.gone_for(Monotonic::from_nanos(5)), Duration::ZERO);
        assert_eq!(receive(&receiver), "WATCHDOG=1");
        for bad in ["", "relative/path", "vsock:2:1"] {
            assert!(Notify::to(OsStr::new(bad)).is_err(), "{bad}");
        }
    }
}
