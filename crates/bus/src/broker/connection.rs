//! One connection's state: its output, its partial frame, its subscriptions.

use std::{collections::HashMap, sync::Arc};

use grace_types::time::Monotonic;

use super::{
    ConnId, Out,
    event::{ConnectionInfo, Peer},
};
use crate::{
    auth::{Account, DecisionCache, Grants},
    limits::{SID_BYTES, SPARE_BUFFER_BYTES, SPARE_BUFFERS},
    subject,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// INFO is on its way; nothing but CONNECT counts.
    Greeted,
    /// Signed in.
    Open,
    /// Out of everything; may still read what is left for it.
    Closing,
    /// To be dropped.
    Dead,
}

pub(super) struct Connection {
    pub(super) id: ConnId,
    pub(super) peer: Peer,
    pub(super) state: State,
    /// What it means depends on the state: CONNECT is due, silence ends in a PING, lingering ends.
    pub(super) deadline: Monotonic,
    pub(super) since: Monotonic,
    pub(super) last_heard: Monotonic,
    pub(super) pings_out: u32,
    pub(super) account: Option<Arc<Account>>,
    pub(super) nonce: String,
    pub(super) name: Option<String>,
    pub(super) flags: Flags,
    /// The start of a frame whose rest has not come yet, and how many bytes it needs to be looked at again.
    pub(super) partial: Vec<u8>,
    pub(super) partial_need: usize,
    /// Whether it is the end of the line that is missing.
    pub(super) partial_line: bool,
    pub(super) output: Output,
    pub(super) dirty: bool,
    pub(super) subscriptions: Subscriptions,
    pub(super) decisions: DecisionCache,
    pub(super) grants: Grants,
    pub(super) messages_in: u64,
    pub(super) messages_out: u64,
}

/// What CONNECT asked for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Flags {
    pub(super) verbose: bool,
    pub(super) echo: bool,
    pub(super) headers: bool,
    pub(super) no_responders: bool,
}

impl Connection {
    pub(super) fn new(id: ConnId, peer: Peer, nonce: String, now: Monotonic) -> Self {
        Self {
            id,
            peer,
            state: State::Greeted,
            deadline: now,
            since: now,
            last_heard: now,
            pings_out: 0,
            account: None,
            nonce,
            name: None,
            flags: Flags::default(),
            partial: Vec::new(),
            partial_need: 0,
            partial_line: false,
            output: Output::default(),
            dirty: false,
            subscriptions: Subscriptions::default(),
            decisions: DecisionCache::default(),
            grants: Grants::default(),
            messages_in: 0,
            messages_out: 0,
        }
    }

    /// Appends to the output. For what the broker itself says: small, and bounded by what makes it say it.
    pub(super) fn write(&mut self, out: &mut Out, parts: &[&[u8]]) {
        if self.state == State::Dead {
            return;
        }
        self.output.push(parts, out);
        self.mark_dirty(out);
    }

    pub(super) fn mark_dirty(&mut self, out: &mut Out) {
        if !self.dirty {
            self.dirty = true;
            out.dirty.push_back(self.id);
        }
    }

    /// Bytes that count against the bound over all connections.
    pub(super) fn buffered(&self) -> usize {
        self.output.pending().len() + self.partial.len()
    }

    pub(super) fn user(&self) -> Option<String> {
        self.account.as_ref().map(|a| a.name.clone())
    }

    pub(super) fn describe(&self) -> ConnectionInfo {
        ConnectionInfo {
            connection: self.id.serial(),
            user: self.user(),
            name: self.name.clone(),
            peer: self.peer.clone(),
            since: self.since,
            last_heard: self.last_heard,
            subscriptions: self.subscriptions.len(),
            pending_bytes: self.output.pending().len(),
            messages_in: self.messages_in,
            messages_out: self.messages_out,
        }
    }
}

/// Bytes on their way to a client. Holds no memory while empty.
#[derive(Default)]
pub(super) struct Output {
    bytes: Vec<u8>,
    /// So many of `bytes` are written.
    head: usize,
}

impl Output {
    pub(super) fn pending(&self) -> &[u8] {
        &self.bytes[self.head..]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.head == self.bytes.len()
    }

    #[inline]
    pub(super) fn push(&mut self, parts: &[&[u8]], out: &mut Out) {
        let more: usize = parts.iter().map(|p| p.len()).sum();
        if self.bytes.capacity() - self.bytes.len() < more {
            self.make_room(more, out);
        }
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        out.buffered += more;
        out.produced += more;
    }

    #[cold]
    fn make_room(&mut self, more: usize, out: &mut Out) {
        if self.bytes.capacity() == 0
            && let Some(spare) = out.spare.pop()
        {
            self.bytes = spare;
        }
        if self.head > 0 {
            self.bytes.drain(..self.head);
            self.head = 0;
        }
        let wanted = self.bytes.len() + more;
        if wanted > self.bytes.capacity() {
            // Doubling a large buffer would waste up to its size, and the bound counts only what is in it.
            let step = self.bytes.capacity().clamp(4096, 1 << 20);
            self.bytes.reserve_exact(more.max(step));
        }
    }

    pub(super) fn sent(&mut self, count: usize, out: &mut Out) {
        let count = count.min(self.pending().len());
        self.head += count;
        out.buffered -= count;
        if self.is_empty() {
            self.release(out);
        }
    }

    pub(super) fn discard(&mut self, out: &mut Out) {
        out.buffered -= self.pending().len();
        self.release(out);
    }

    fn release(&mut self, out: &mut Out) {
        let mut bytes = std::mem::take(&mut self.bytes);
        self.head = 0;
        if (1..=SPARE_BUFFER_BYTES).contains(&bytes.capacity()) && out.spare.len() < SPARE_BUFFERS {
            bytes.clear();
            out.spare.push(bytes);
        }
    }
}

/// A client's name for a subscription, inline: it is read for every delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Sid {
    len: u8,
    bytes: [u8; SID_BYTES],
}

impl Sid {
    pub(super) fn new(sid: &[u8]) -> Option<Self> {
        let mut bytes = [0; SID_BYTES];
        bytes.get_mut(..sid.len())?.copy_from_slice(sid);
        (!sid.is_empty()).then_some(Self { len: sid.len() as u8, bytes })
    }

    #[inline]
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len as usize]
    }
}

pub(super) struct Sub {
    pub(super) sid: Sid,
    pub(super) subject: Box<[u8]>,
    pub(super) queue: Option<Box<[u8]>>,
    pub(super) delivered: u64,
    /// Ends after so many messages.
    pub(super) max: Option<u64>,
    /// Part of what it matches is denied.
    pub(super) filtered: bool,
}

impl Sub {
    /// An estimate of the bytes it takes, here and in the trie: per token a map with one entry (672 bytes as built)
    /// and the token's text; its own fields and allocations.
    pub(super) fn cost(&self) -> usize {
        let text = self.subject.len() + self.queue.as_ref().map_or(0, |q| q.len());
        256 + 2 * text + 704 * subject::tokens(&self.subject).count()
    }
}

#[derive(Default)]
pub(super) struct Subscriptions {
    slots: Vec<Option<Sub>>,
    free: Vec<u32>,
    by_sid: HashMap<Sid, u32>,
    pub(super) cost: usize,
}

impl Subscriptions {
    pub(super) fn len(&self) -> usize {
        self.by_sid.len()
    }

    #[inline]
    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Sub> {
        self.slots.get_mut(slot as usize).and_then(Option::as_mut)
    }

    pub(super) fn find(&self, sid: Sid) -> Option<u32> {
        self.by_sid.get(&sid).copied()
    }

    pub(super) fn insert(&mut self, sub: Sub) -> u32 {
        self.cost += sub.cost();
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.slots.push(None);
                (self.slots.len() - 1) as u32
            }
        };
        self.by_sid.insert(sub.sid, slot);
        self.slots[slot as usize] = Some(sub);
        slot
    }

    pub(super) fn remove(&mut self, slot: u32) -> Option<Sub> {
        let sub = self.slots.get_mut(slot as usize)?.take()?;
        self.cost -= sub.cost();
        self.by_sid.remove(&sub.sid);
        self.free.push(slot);
        Some(sub)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Sub)> {
        self.slots.iter().enumerate().filter_map(|(i, s)| s.as_ref().map(|s| (i as u32, s)))
    }

    pub(super) fn drain(&mut self) -> impl Iterator<Item = (u32, Sub)> {
        let slots = std::mem::take(self).slots;
        slots.into_iter().enumerate().filter_map(|(i, s)| s.map(|s| (i as u32, s)))
    }
}
