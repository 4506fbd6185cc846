//! Which events were taken lately, so that a copy is known as one.
//!
//! An event that some of those that want it had no room for was taken by the others: a copy of it is for those alone.

use std::collections::{BTreeMap, HashSet, VecDeque};

use grace_types::event::Event;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::limits;

/// What stands for an event's source and id: half of a SHA-256, so that nobody can make an event that passes for another's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark(u128);

impl Mark {
    /// Of this event.
    #[must_use]
    pub fn of(event: &Event) -> Self {
        let mut hash = Sha256::new();
        hash.update(event.id.as_bits().to_be_bytes());
        hash.update(event.source.as_bytes());
        let digest = hash.finalize();
        let mut half = [0u8; 16];
        half.copy_from_slice(&digest[..16]);
        Self(u128::from_be_bytes(half))
    }
}

impl Serialize for Mark {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:032x}", self.0))
    }
}

impl<'de> Deserialize<'de> for Mark {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        u128::from_str_radix(&text, 16).map(Self).map_err(serde::de::Error::custom)
    }
}

/// The events that were taken lately, bounded in number and time.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub struct Memory {
    order: VecDeque<(u64, Mark)>,
    known: HashSet<Mark>,
    /// Who had no room for an event.
    missed: BTreeMap<Mark, Vec<String>>,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Stored {
    /// Nobody missed any.
    Plain(VecDeque<(u64, Mark)>),
    Whole {
        order: VecDeque<(u64, Mark)>,
        missed: BTreeMap<Mark, Vec<String>>,
    },
}

impl From<Stored> for Memory {
    fn from(stored: Stored) -> Self {
        let (order, missed) = match stored {
            Stored::Plain(order) => (order, BTreeMap::new()),
            Stored::Whole { order, missed } => (order, missed),
        };
        let known = order.iter().map(|(_, mark)| *mark).collect();
        Self { order, known, missed }
    }
}

impl From<Memory> for Stored {
    fn from(Memory { order, missed, .. }: Memory) -> Self {
        if missed.is_empty() { Self::Plain(order) } else { Self::Whole { order, missed } }
    }
}

impl Memory {
    /// Whether this event was taken lately.
    #[must_use]
    pub fn knows(&self, mark: Mark) -> bool {
        self.known.contains(&mark)
    }

    /// Who had no room for this event when it was taken by others; `None` when all have it, or it is not known.
    #[must_use]
    pub fn missed(&self, mark: Mark) -> Option<&[String]> {
        self.missed.get(&mark).map(Vec::as_slice)
    }

    /// This event was taken, but for those that had no room for it.
    pub fn add(&mut self, mark: Mark, missed: &[String], at_ms: u64) {
        if self.known.insert(mark) {
            self.order.push_back((at_ms, mark));
        }
        if missed.is_empty() {
            self.missed.remove(&mark);
        } else {
            self.missed.insert(mark, missed.to_vec());
        }
        while let Some((then, mark)) = self.order.front().copied() {
            if self.order.len() <= limits::SEEN && then.saturating_add(limits::SEEN_FOR_MS) > at_ms {
                break;
            }
            self.order.pop_front();
            self.known.remove(&mark);
            self.missed.remove(&mark);
        }
    }
}
