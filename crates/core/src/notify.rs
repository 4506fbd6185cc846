//! The receiving side of sd_notify: what supervised programs say of themselves over the life line.
//!
//! A datagram holds lines of `KEY=VALUE` (sd_notify(3) of systemd). The kernel attaches the sender's pid and user id, which
//! no sender can forge without privileges; the control plane matches the pid with a component. File descriptors that are
//! sent along are closed, which is also what `BARRIER=1` waits for.
//!
//! Not here: what a notification means for a component (the supervisor decides), and the sending side (the kernel host).

use std::{
    io::{self, IoSliceMut},
    mem::MaybeUninit,
    os::{fd::OwnedFd, unix::fs::PermissionsExt as _},
    path::Path,
    time::Duration,
};

use rustix::{
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    io::Errno,
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SocketAddrUnix,
        SocketFlags, SocketType, bind, recvmsg, socket_with, sockopt::set_socket_passcred,
    },
};
use tokio::{io::Interest, net::UnixDatagram};

use crate::{limits, output::recent::printable};

/// One thing that a program says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notification {
    /// It is ready for work.
    Ready,
    /// It reads its configuration again; `READY=1` follows.
    Reloading,
    /// It is on its way out.
    Stopping,
    /// A sentence about its state.
    Status(String),
    /// A heartbeat.
    Watchdog,
    /// It asks to be treated as hung, now.
    WatchdogTrigger,
    /// It changes its heartbeat interval.
    WatchdogInterval(Duration),
    /// It needs this much longer for what it is doing (starting, stopping).
    ExtendTimeout(Duration),
    /// Another process than the one that was started is the main one.
    MainPid(u32),
    /// The errno of a failure.
    Errno(i32),
}

/// The notifications in one datagram, in order. Unknown keys, values that do not parse and lines that are no assignment
/// are left out, as systemd does: newer programs must work with an older receiver.
#[must_use]
pub fn parse(datagram: &[u8]) -> Vec<Notification> {
    datagram.split(|byte| *byte == b'\n').filter_map(parse_line).collect()
}

fn parse_line(line: &[u8]) -> Option<Notification> {
    let at = line.iter().position(|byte| *byte == b'=')?;
    let (key, value) = (&line[..at], &line[at + 1..]);
    let text = || str::from_utf8(value).ok();
    let micros = || Some(Duration::from_micros(text()?.parse().ok()?));
    Some(match (key, value) {
        (b"READY", b"1") => Notification::Ready,
        (b"RELOADING", b"1") => Notification::Reloading,
        (b"STOPPING", b"1") => Notification::Stopping,
        (b"STATUS", _) => Notification::Status(printable(value, limits::RECENT_LINE_BYTES)),
        (b"WATCHDOG", b"1") => Notification::Watchdog,
        (b"WATCHDOG", b"trigger") => Notification::WatchdogTrigger,
        (b"WATCHDOG_USEC", _) => Notification::WatchdogInterval(micros()?),
        (b"EXTEND_TIMEOUT_USEC", _) => Notification::ExtendTimeout(micros()?),
        (b"MAINPID", _) => Notification::MainPid(text()?.parse().ok().filter(|pid| *pid > 0)?),
        (b"ERRNO", _) => Notification::Errno(text()?.parse().ok()?),
        _ => return None,
    })
}

/// What one process said in one datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram {
    /// The sender, as the kernel attests it.
    pub pid: u32,
    /// The sender's user.
    pub uid: u32,
    /// What it said; empty when nothing of it is known here.
    pub notifications: Vec<Notification>,
}

/// The socket that `NOTIFY_SOCKET` names.
#[derive(Debug)]
pub struct NotifySocket {
    socket: UnixDatagram,
}

impl NotifySocket {
    /// Makes the socket's file, for this user only; one that an earlier instance left behind is replaced.
    /// The descriptor can be handed on, so that datagrams queue up while no control plane is there.
    ///
    /// # Errors
    /// The path is too long (107 bytes) or cannot be written.
    pub fn bind(path: &Path) -> io::Result<OwnedFd> {
        match std::fs::remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
        // Before the address exists, so that no datagram comes without its sender.
        set_socket_passcred(&socket, true)?;
        bind(&socket, &SocketAddrUnix::new(path)?)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        Ok(socket)
    }

    /// Takes over a socket made by [`NotifySocket::bind`], in this process or another one.
    ///
    /// # Errors
    /// It is no socket, or cannot be watched.
    ///
    /// # Panics
    /// Outside a tokio runtime with IO enabled.
    pub fn from_fd(socket: OwnedFd) -> io::Result<Self> {
        set_socket_passcred(&socket, true)?;
        fcntl_setfl(&socket, fcntl_getfl(&socket)? | OFlags::NONBLOCK)?;
        Ok(Self { socket: UnixDatagram::from_std(socket.into())? })
    }

    /// Waits for datagrams and returns those that are there, at least one and at most [`limits::NOTIFY_BURST`]. Dropping
    /// the future loses none. Datagrams that are too long or come from outside the pid namespace are skipped.
    ///
    /// # Errors
    /// The socket is broken.
    pub async fn recv(&self) -> io::Result<Vec<Datagram>> {
        let mut received = Vec::new();
        loop {
            self.socket.readable().await?;
            for _ in 0..limits::NOTIFY_BURST {
                match self.socket.try_io(Interest::READABLE, || Ok(receive(&self.socket)?)) {
                    Ok(datagram) => received.extend(datagram),
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                    Err(e) => return Err(e),
                }
            }
            if !received.is_empty() {
                return Ok(received);
            }
        }
    }
}

/// Takes one datagram; `None` when it is to be ignored.
fn receive(socket: &UnixDatagram) -> Result<Option<Datagram>, Errno> {
    let mut bytes = [0; limits::NOTIFY_BYTES];
    let mut space =
        [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1), ScmRights(limits::NOTIFY_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut iov = [IoSliceMut::new(&mut bytes)];
    let message = match recvmsg(socket, &mut iov, &mut control, RecvFlags::CMSG_CLOEXEC) {
        Ok(message) => message,
        Err(Errno::INTR) => return Ok(None),
        Err(e) => return Err(e),
    };
    let mut sender = None;
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmCredentials(credentials) = part {
            sender = Some(credentials);
        }
        // Descriptors close as they are dropped.
    }
    let Some(sender) = sender else { return Ok(None) };
    if message.flags.contains(ReturnFlags::TRUNC) {
        return Ok(None);
    }
    Ok(Some(Datagram {
        pid: sender.pid.as_raw_pid().cast_unsigned(),
        uid: sender.uid.as_raw(),
        notifications: parse(&bytes[..message.bytes]),
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_known_key_is_read() {
        let text = "READY=1\nRELOADING=1\nSTOPPING=1\nSTATUS=serving 3=4\nWATCHDOG=1\nWATCHDOG=trigger\n\
                    WATCHDOG_USEC=2000000\nEXTEND_TIMEOUT_USEC=500\nMAINPID=42\nERRNO=28\n";
        assert_eq!(
            parse(text.as_bytes()),
            [
                Notification::Ready,
                Notification::Reloading,
                Notification::Stopping,
                Notification::Status("serving 3=4".into()),
                Notification::Watchdog,
                Notification::WatchdogTrigger,
                Notification::WatchdogInterval(Duration::from_secs(2)),
                Notification::ExtendTimeout(Duration::from_micros(500)),
                Notification::MainPid(42),
                Notification::Errno(28),
            ]
        );
    }

    #[test]
    fn what_is_unknown_or_malformed_is_left_out() {
        for text in
            ["", "\n\n", "READY", "READY=0", "ready=1", "MAINPID=0", "MAINPID=-1", "WATCHDOG_USEC=x", "X_Y=1"]
        {
            assert!(parse(text.as_bytes()).is_empty(), "{text}");
        }
        assert_eq!(
            parse(b"X=\xFF\nSTATUS=a\xFFb\x1b\nREADY=1"),
            [Notification::Status("a\u{FFFD}b\u{FFFD}".into()), Notification::Ready]
        );
    }

    proptest! {
        #[test]
        fn no_datagram_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..limits::NOTIFY_BYTES)) {
            prop_assert!(parse(&bytes).len() <= bytes.len() / 6);
        }
    }
}
