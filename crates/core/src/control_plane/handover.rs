//! What a control plane gets from the guardian before it does anything, and the state that follows from it.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use grace_types::{
    id::BootId,
    time::{Clock, SystemClock},
};
use rustix::event::{PollFd, PollFlags};

use crate::{
    guardian::channel::{Channel, ToControlPlane},
    supervisor::Exit,
};

/// Time for the guardian to say everything. It wrote it before this process began.
const HANDOVER_TIME: Duration = Duration::from_secs(10);

/// Everything that survives a control plane.
#[derive(Debug, Default)]
pub(super) struct Handover {
    /// Seeds the credentials of this boot.
    pub(super) secret: String,
    /// How many control planes came before this one in this boot.
    pub(super) predecessors: u32,
    /// Names this boot. Always there when the hand-over is complete.
    pub(super) boot: Option<BootId>,
    /// The number of the last decision that a predecessor told the guardian; 0 when there was none.
    pub(super) recorded: u64,
    /// Descriptors by name.
    pub(super) kept: BTreeMap<String, OwnedFd>,
    /// Decisions that may not be in the journal.
    pub(super) tail: Vec<(u64, String)>,
    /// Decisions that were dropped for want of room.
    pub(super) tail_lost: u64,
    /// Exits that nobody has asked for yet.
    pub(super) reaped: BTreeMap<u32, Exit>,
    /// A request to stop that came before this process.
    pub(super) stop: Option<String>,
}

/// Hears the guardian out.
///
/// # Errors
/// The guardian died or does not follow the protocol.
pub(super) fn receive(channel: &mut Channel) -> io::Result<Handover> {
    let mut handover = Handover::default();
    let deadline = SystemClock.now().mono.plus(HANDOVER_TIME);
    loop {
        match channel.receive::<ToControlPlane>() {
            Ok((message, mut fds)) => match (message, fds.pop()) {
                (ToControlPlane::Hello { secret, predecessors, boot, recorded }, _) => {
                    handover.secret = secret;
                    handover.predecessors = predecessors;
                    handover.boot = Some(boot);
                    handover.recorded = recorded;
                }
                (ToControlPlane::Kept { name }, Some(fd)) => {
                    handover.kept.insert(name, fd);
                }
                (ToControlPlane::Tail { number, json }, _) => handover.tail.push((number, json)),
                (ToControlPlane::TailLost { count }, _) => handover.tail_lost = count,
                (ToControlPlane::Reaped { pid, exit }, _) => {
                    handover.reaped.insert(pid, exit);
                }
                (ToControlPlane::Stop { cause }, _) => handover.stop = Some(cause),
                (ToControlPlane::Welcome, _) => return Ok(handover),
                (ToControlPlane::Kept { .. }, None) | (ToControlPlane::Alive, _) => {}
            },
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                wait(channel, deadline.since(SystemClock.now().mono))?;
            }
            Err(error) => return Err(error),
        }
    }
}

fn wait(channel: &Channel, left: Duration) -> io::Result<()> {
    if left.is_zero() {
        return Err(io::Error::new(io::ErrorKind::TimedOut, "the guardian did not finish its hand-over"));
    }
    let fd = channel.as_fd();
    let timeout = rustix::event::Timespec::try_from(left).ok();
    match rustix::event::poll(&mut [PollFd::new(&fd, PollFlags::IN)], timeout.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
