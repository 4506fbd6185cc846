//! The sender's side of the sd_notify protocol (sd_notify(3)): datagrams of `KEY=VALUE` lines to `$NOTIFY_SOCKET`.
//!
//! The address is used anew for each datagram, so that a control plane that was restarted, and bound the same path again,
//! hears the next one. The socket never blocks: a life line that waits would stop the kernel that it watches. Only where the
//! receiver's queue is full (ten datagrams, on many machines) does it wait for a moment, so that a neighbour that floods the
//! life line does not make a sound kernel look hung; and after a wait in vain, not again before something was taken.

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
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// The life line of one process. Without a socket it is silent.
#[derive(Debug, Default)]
pub struct Notify {
    line: Option<(UnixDatagram, SocketAddr)>,
    /// When the peer was first found gone, with no answer since.
    gone_since: Option<Monotonic>,
    /// Whether the peer took nothing in all the time that was waited for it: it is stopped, and not merely busy.
    stalled: bool,
}

/// Attempts at a full queue, and the longest wait before each: together far less than any watchdog's interval.
const ATTEMPTS: u32 = 20;
const ATTEMPT: Timespec = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };

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
        Ok(Self { line: Some((socket, peer)), gone_since: None, stalled: false })
    }

    /// Sends `message`. A receiver that is behind makes it lost, as sd_notify allows: what matters is repeated.
    pub fn send(&mut self, message: &str, now: Monotonic) {
        let Some((socket, peer)) = &self.line else { return };
        let full = |sent: &io::Result<usize>| matches!(sent, Err(e) if e.kind() == io::ErrorKind::WouldBlock);
        let mut sent = socket.send_to_addr(message.as_bytes(), peer);
        for _ in 0..ATTEMPTS {
            if self.stalled || !full(&sent) {
                break;
            }
            wait_for_room(socket, peer);
            sent = socket.send_to_addr(message.as_bytes(), peer);
        }
        self.stalled = full(&sent);
        match sent {
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

/// Waits until the peer has taken something from its queue, or for as long as one attempt.
fn wait_for_room(socket: &UnixDatagram, peer: &SocketAddr) {
    // Only of a peer that the socket is connected to does poll(2) know whether there is room.
    if socket.connect_addr(peer).is_ok() {
        // Whether it was in vain shows in the next attempt.
        let _ = poll(&mut [PollFd::new(socket, PollFlags::OUT)], Some(&ATTEMPT));
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

    #[test]
    fn a_receiver_that_is_behind_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify.sock");
        let receiver = UnixDatagram::bind(&path).unwrap();
        let flooder = UnixDatagram::unbound().unwrap();
        flooder.set_nonblocking(true).unwrap();
        while flooder.send_to(b"STATUS=x", &path).is_ok() {}
        let reader = std::thread::spawn(move || {
            (0..).map(|_| receive(&receiver)).take_while(|message| message != "WATCHDOG=1").count()
        });
        let mut notify = Notify::to(path.as_os_str()).unwrap();
        notify.send("WATCHDOG=1", Monotonic::ZERO);
        assert!(reader.join().unwrap() > 0);
    }
}
