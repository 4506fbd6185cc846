//! The channel between the guardian and the control plane: packets of JSON, some with descriptors.
//!
//! A `SOCK_SEQPACKET` pair keeps packets whole and in order, and its end is seen at once by the other side: each learns
//! of the other's death without asking. Neither side ever blocks on a send: the other may be stopped (SIGSTOP).

use std::{
    collections::VecDeque,
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use grace_types::{
    id::BootId,
    time::{Clock, SystemClock},
};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::supervisor::Exit;

/// Largest packet. A record is a few hundred bytes; reasons quote at most a few lines.
pub const PACKET_BYTES: usize = 64 << 10;

/// Most descriptors in one packet; the kernel allows 253 (`SCM_MAX_FD`).
pub const PACKET_DESCRIPTORS: usize = 250;

/// Packets that wait for a peer that does not read: more than the fullest hand-over has. At a few hundred bytes each this is
/// some megabytes; a peer that lets so much gather is stopped, and what it misses is counted by the caller.
pub const WAITING_PACKETS: usize = 8192;

/// What the control plane tells the guardian.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub enum ToGuardian {
    /// Keep the descriptors that come along, under these names, for my successor.
    Keep {
        /// Unique; as many as there are descriptors.
        names: Vec<String>,
    },
    /// Close what is kept under this name.
    Forget {
        /// As it was kept.
        name: String,
    },
    /// Keep these records until I say that they are written. What was decided at once comes at once: a successor must not find an
    /// exit without what was to follow from it.
    Record {
        /// Ascending numbers, and the journal records as JSON.
        entries: Vec<(u64, String)>,
    },
    /// Decisions up to this number are in the journal.
    Written {
        /// The last of them.
        upto: u64,
    },
    /// I am at work.
    Alive,
    /// Tell me how this process ended; it was adopted, so its status came to you.
    Reap {
        /// The process.
        pid: u32,
    },
    /// Everything has been stopped; I end now, and so should you.
    Finished,
}

/// What the guardian tells the control plane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub enum ToControlPlane {
    /// First of all.
    Hello {
        /// Seeds the credentials of this boot. Hexadecimal.
        secret: String,
        /// How many control planes came before this one in this boot.
        predecessors: u32,
        /// Names this boot: what the journal holds of another one is history.
        boot: BootId,
        /// The number of the last decision that was told in this boot; 0 when there was none.
        recorded: u64,
    },
    /// A descriptor from the store comes along.
    Kept {
        /// As it was kept.
        name: String,
    },
    /// A decision of a predecessor's that may not be in the journal.
    Tail {
        /// Ascending.
        number: u64,
        /// The journal record, JSON.
        json: String,
    },
    /// Decisions that were dropped because there were too many.
    TailLost {
        /// How many.
        count: u64,
    },
    /// The hand-over is complete.
    Welcome,
    /// How an adopted process ended.
    Reaped {
        /// The process.
        pid: u32,
        /// How.
        exit: Exit,
    },
    /// Stop everything in order.
    Stop {
        /// Who or what asks for it.
        cause: String,
    },
    /// I am at work too.
    Alive,
}

/// One end of the channel.
#[derive(Debug)]
pub struct Channel {
    socket: OwnedFd,
    waiting: VecDeque<(Vec<u8>, Vec<OwnedFd>)>,
    buffer: Vec<u8>,
    /// Packets dropped because the peer did not read.
    pub dropped: u64,
}

impl Channel {
    /// A pair of ends.
    ///
    /// # Errors
    /// What the system said.
    pub fn pair() -> io::Result<(Self, OwnedFd)> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (ours, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        Ok((Self::over(ours), theirs))
    }

    /// The end that was inherited.
    #[must_use]
    pub const fn over(socket: OwnedFd) -> Self {
        Self { socket, waiting: VecDeque::new(), buffer: Vec::new(), dropped: 0 }
    }

    /// Sends a packet, or queues it while the peer does not read. The oldest packet without a descriptor is dropped,
    /// and counted, where the queue is full.
    ///
    /// # Errors
    /// The peer is gone.
    pub fn send(&mut self, message: &impl Serialize, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let packet = serde_json::to_vec(message)?;
        if packet.len() > PACKET_BYTES {
            self.dropped += 1;
            return Ok(());
        }
        if self.flush()? && transmit(self.socket.as_fd(), &packet, fds)? {
            return Ok(());
        }
        if self.waiting.len() >= WAITING_PACKETS {
            let oldest = self.waiting.iter().position(|(_, fds)| fds.is_empty()).unwrap_or(0);
            self.waiting.remove(oldest);
            self.dropped += 1;
        }
        let fds = fds.iter().map(|fd| fd.try_clone_to_owned()).collect::<io::Result<_>>()?;
        self.waiting.push_back((packet, fds));
        Ok(())
    }

    /// Sends what waits; `true` when nothing waits any more.
    ///
    /// # Errors
    /// The peer is gone.
    pub fn flush(&mut self) -> io::Result<bool> {
        while let Some((packet, fds)) = self.waiting.front() {
            let fds: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
            if !transmit(self.socket.as_fd(), packet, &fds)? {
                return Ok(false);
            }
            self.waiting.pop_front();
        }
        Ok(true)
    }

    /// Waits until nothing waits any more, the peer is gone, or `patience` is over.
    pub fn flush_for(&mut self, patience: Duration) {
        let until = SystemClock.now().mono.plus(patience);
        while matches!(self.flush(), Ok(false)) {
            let left = until.since(SystemClock.now().mono);
            let timeout = Timespec::try_from(left).ok();
            let ready =
                rustix::event::poll(&mut [PollFd::new(&self.socket, PollFlags::OUT)], timeout.as_ref());
            if left.is_zero() || matches!(ready, Err(errno) if errno != rustix::io::Errno::INTR) {
                return;
            }
        }
    }

    /// Whether packets wait for the peer to read.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The next packet, if there is one. A packet that cannot be understood is skipped: it comes from another version
    /// of the same program, and must not stop either side.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when there is none; [`io::ErrorKind::UnexpectedEof`] when the peer is gone.
    pub fn receive<T: DeserializeOwned>(&mut self) -> io::Result<(T, Vec<OwnedFd>)> {
        self.buffer.resize(PACKET_BYTES, 0);
        loop {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(PACKET_DESCRIPTORS))];
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            let received = rustix::net::recvmsg(
                &self.socket,
                &mut [io::IoSliceMut::new(&mut self.buffer)],
                &mut ancillary,
                RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT,
            );
            let length = match received {
                Ok(message) => message.bytes,
                Err(rustix::io::Errno::INTR) => continue,
                Err(rustix::io::Errno::CONNRESET) => 0,
                Err(errno) => return Err(errno.into()),
            };
            if length == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let mut received = Vec::new();
            for message in ancillary.drain() {
                if let RecvAncillaryMessage::ScmRights(fds) = message {
                    received.extend(fds);
                }
            }
            if let Ok(message) = serde_json::from_slice(&self.buffer[..length]) {
                return Ok((message, received));
            }
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Sends one packet now; `false` when the peer's queue is full.
fn transmit(socket: BorrowedFd<'_>, packet: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<bool> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(PACKET_DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(fds));
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    loop {
        match rustix::net::sendmsg(socket, &[io::IoSlice::new(packet)], &mut ancillary, flags) {
            Ok(_) => return Ok(true),
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::NOBUFS) => return Ok(false),
            Err(errno) => return Err(errno.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Channel, Channel) {
        let (a, b) = Channel::pair().unwrap();
        (a, Channel::over(b))
    }

    #[test]
    fn a_descriptor_travels_with_its_packet() {
        let (mut a, mut b) = pair();
        let (read, write) = rustix::pipe::pipe().unwrap();
        a.send(&ToGuardian::Keep { names: vec!["x".into()] }, &[write.as_fd()]).unwrap();
        drop(write);
        let (message, fds) = b.receive::<ToGuardian>().unwrap();
        assert_eq!(message, ToGuardian::Keep { names: vec!["x".into()] });
        rustix::io::write(&fds[0], b"hi").unwrap();
        let mut buffer = [0; 8];
        assert_eq!(rustix::io::read(&read, &mut buffer), Ok(2));
    }

    #[test]
    fn a_peer_that_does_not_read_costs_bounded_memory_and_loses_nothing_before_the_bound() {
        let (mut a, mut b) = pair();
        for number in 0..WAITING_PACKETS as u64 {
            a.send(&ToGuardian::Record { entries: vec![(number, "x".repeat(100))] }, &[]).unwrap();
        }
        assert!(a.is_waiting() && a.dropped == 0);
        for expected in 0..WAITING_PACKETS as u64 {
            a.flush().unwrap();
            let (message, _) = b.receive::<ToGuardian>().unwrap();
            assert!(matches!(message, ToGuardian::Record { entries } if entries[0].0 == expected));
        }
        for number in 0..3 * WAITING_PACKETS as u64 {
            a.send(&ToGuardian::Record { entries: vec![(number, String::new())] }, &[]).unwrap();
        }
        assert!(a.dropped > 0 && a.waiting.len() == WAITING_PACKETS);
    }

    #[test]
    fn the_end_of_a_peer_is_seen() {
        let (a, mut b) = pair();
        assert_eq!(b.receive::<ToGuardian>().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(a);
        assert_eq!(b.receive::<ToGuardian>().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert!(b.send(&ToControlPlane::Alive, &[]).is_err());
    }
}
