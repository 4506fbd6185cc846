//! What the guardian keeps for the next control plane. All of it is bounded.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    os::fd::{AsFd, OwnedFd},
};

use grace_types::id::BootId;

use super::channel::{Channel, ToControlPlane};
use crate::supervisor::Exit;

/// Decisions kept while the journal cannot be written: some hours of a quiet instance, some minutes of one that is in
/// trouble. Past it the oldest is dropped, and the number of those dropped is told to the next control plane.
const TAIL_RECORDS: usize = 4096;
/// Exit statuses kept until somebody asks for them. Strays that nobody asks for push out the oldest.
const REAPED: usize = 1024;
/// Descriptors kept: two for each of 1,000 processes, and the sockets.
const DESCRIPTORS: usize = 2100;

/// Descriptors, unwritten decisions, exit statuses, and the name and the secret of this boot.
pub(super) struct Store {
    secret: String,
    boot: BootId,
    /// The number of the last decision, written or not.
    recorded: u64,
    descriptors: BTreeMap<String, OwnedFd>,
    tail: VecDeque<(u64, String)>,
    tail_lost: u64,
    reaped: VecDeque<(u32, Exit)>,
}

impl Store {
    pub(super) const fn new(secret: String, boot: BootId) -> Self {
        Self {
            secret,
            boot,
            recorded: 0,
            descriptors: BTreeMap::new(),
            tail: VecDeque::new(),
            tail_lost: 0,
            reaped: VecDeque::new(),
        }
    }

    pub(super) fn keep(&mut self, name: String, fd: OwnedFd) {
        if self.descriptors.len() < DESCRIPTORS || self.descriptors.contains_key(&name) {
            self.descriptors.insert(name, fd);
        }
    }

    pub(super) fn forget(&mut self, name: &str) {
        self.descriptors.remove(name);
    }

    pub(super) fn record(&mut self, number: u64, json: String) {
        self.recorded = self.recorded.max(number);
        if self.tail.len() >= TAIL_RECORDS {
            self.tail.pop_front();
            self.tail_lost += 1;
        }
        self.tail.push_back((number, json));
    }

    pub(super) fn written(&mut self, upto: u64) {
        while self.tail.front().is_some_and(|(number, _)| *number <= upto) {
            self.tail.pop_front();
        }
    }

    pub(super) fn reaped(&mut self, pid: u32, exit: Exit) {
        if self.reaped.len() >= REAPED {
            self.reaped.pop_front();
        }
        self.reaped.push_back((pid, exit));
    }

    /// How the last process of this number ended. Numbers are used again: older ones are forgotten with it.
    pub(super) fn take_reaped(&mut self, pid: u32) -> Option<Exit> {
        let exit = self.reaped.iter().rev().find(|(p, _)| *p == pid).map(|(_, exit)| *exit);
        self.reaped.retain(|(p, _)| *p != pid);
        exit
    }

    /// Tells a new control plane everything, and that it is to `stop`, if it is.
    pub(super) fn hand_over(
        &self,
        channel: &mut Channel,
        predecessors: u32,
        stop: Option<&str>,
    ) -> io::Result<()> {
        let (secret, boot, recorded) = (self.secret.clone(), self.boot, self.recorded);
        channel.send(&ToControlPlane::Hello { secret, predecessors, boot, recorded }, &[])?;
        for (name, fd) in &self.descriptors {
            channel.send(&ToControlPlane::Kept { name: name.clone() }, &[fd.as_fd()])?;
        }
        if self.tail_lost > 0 {
            channel.send(&ToControlPlane::TailLost { count: self.tail_lost }, &[])?;
        }
        for (number, json) in &self.tail {
            channel.send(&ToControlPlane::Tail { number: *number, json: json.clone() }, &[])?;
        }
        for (pid, exit) in &self.reaped {
            channel.send(&ToControlPlane::Reaped { pid: *pid, exit: *exit }, &[])?;
        }
        if let Some(cause) = stop {
            channel.send(&ToControlPlane::Stop { cause: cause.to_owned() }, &[])?;
        }
        channel.send(&ToControlPlane::Welcome, &[])
    }
}

#[cfg(test)]
mod tests {
    use super::{super::channel::WAITING_PACKETS, *};

    #[test]
    fn unwritten_decisions_are_handed_over_in_order_and_written_ones_are_not() {
        let boot = BootId::from_bits(7);
        let mut store = Store::new("s".into(), boot);
        for number in 1..=5 {
            store.record(number, format!("{{\"n\":{number}}}"));
        }
        store.written(3);
        let (mut ours, theirs) = Channel::pair().unwrap();
        let mut theirs = Channel::over(theirs);
        store.hand_over(&mut ours, 2, Some("enough")).unwrap();
        let heard: Vec<ToControlPlane> =
            std::iter::from_fn(|| theirs.receive().ok().map(|(message, _)| message)).collect();
        let hello = ToControlPlane::Hello { secret: "s".into(), predecessors: 2, boot, recorded: 5 };
        assert_eq!(heard[0], hello);
        assert_eq!(heard[1], ToControlPlane::Tail { number: 4, json: "{\"n\":4}".into() });
        assert_eq!(heard[2], ToControlPlane::Tail { number: 5, json: "{\"n\":5}".into() });
        assert_eq!(heard[3], ToControlPlane::Stop { cause: "enough".into() });
        assert_eq!(heard[4], ToControlPlane::Welcome);
    }

    #[test]
    fn the_ring_is_bounded_and_counts_what_it_drops() {
        let mut store = Store::new(String::new(), BootId::from_bits(1));
        for number in 0..TAIL_RECORDS as u64 + 10 {
            store.record(number, String::new());
            store.reaped(u32::try_from(number).unwrap(), Exit::Unknown);
        }
        assert_eq!((store.tail.len(), store.tail_lost), (TAIL_RECORDS, 10));
        assert_eq!(store.reaped.len(), REAPED);
        assert_eq!(store.take_reaped(0), None);
        assert_eq!(store.take_reaped(4000), Some(Exit::Unknown));
    }

    #[test]
    fn of_two_processes_of_one_number_the_later_one_counts() {
        let mut store = Store::new(String::new(), BootId::from_bits(1));
        store.reaped(7, Exit::Status(0));
        store.reaped(7, Exit::Signal(9));
        assert_eq!(store.take_reaped(7), Some(Exit::Signal(9)));
        assert_eq!(store.take_reaped(7), None);
    }

    // With its descriptors, which a test has no room for.
    const _: () = assert!(TAIL_RECORDS + REAPED + DESCRIPTORS + 4 <= WAITING_PACKETS);

    #[test]
    fn the_fullest_store_is_handed_over_whole_to_one_who_does_not_read_yet() {
        let mut store = Store::new(String::new(), BootId::from_bits(1));
        for number in 0..TAIL_RECORDS.max(REAPED) as u64 {
            store.record(number, "x".repeat(500));
            store.reaped(u32::try_from(number).unwrap(), Exit::Unknown);
        }
        let (mut ours, theirs) = Channel::pair().unwrap();
        store.hand_over(&mut ours, 1, None).unwrap();
        assert_eq!(ours.dropped, 0);
        drop(theirs);
    }
}
