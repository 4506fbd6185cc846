//! The host's memory of idempotency keys: which commands were applied, and what was answered.
//!
//! Filled only from journal entries, so that a replay rebuilds it, and kept in snapshots. Bounded by count and by bytes
//! ([`limits::KEYS`], [`limits::KEYS_BYTES`]); the oldest is forgotten first, by position and not by time, so that it is
//! the same after a replay.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::limits;

/// What identifies a command's content: a key that comes back with another command is a mistake of the sender's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// Of a command's JSON. 64 bits: it guards against mistakes, not against attackers.
    pub(crate) fn of(json: &[u8]) -> Self {
        let digest = Sha256::digest(json);
        let mut head = [0u8; 8];
        head.copy_from_slice(&digest[..8]);
        Self(u64::from_le_bytes(head))
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    fingerprint: Fingerprint,
    outcome: Box<str>,
}

/// See the module's page.
#[derive(Debug, Default, Deserialize)]
#[serde(from = "Vec<(String, Fingerprint, String)>")]
pub(crate) struct Keys {
    order: VecDeque<Arc<str>>,
    known: HashMap<Arc<str>, Known>,
    bytes: usize,
}

impl Keys {
    /// The fingerprint of the command that was applied under `key`, and the JSON of its outcome.
    pub(crate) fn get(&self, key: &str) -> Option<(Fingerprint, &str)> {
        self.known.get(key).map(|known| (known.fingerprint, &*known.outcome))
    }

    /// Remembers an outcome.
    pub(crate) fn insert(&mut self, key: &str, fingerprint: Fingerprint, outcome: &str) {
        if self.known.contains_key(key) {
            return;
        }
        let key: Arc<str> = key.into();
        self.bytes += key.len() + outcome.len();
        self.known.insert(Arc::clone(&key), Known { fingerprint, outcome: outcome.into() });
        self.order.push_back(key);
        while self.order.len() > limits::KEYS || self.bytes > limits::KEYS_BYTES {
            let Some(oldest) = self.order.pop_front() else { break };
            if let Some(forgotten) = self.known.remove(&oldest) {
                self.bytes -= oldest.len() + forgotten.outcome.len();
            }
        }
    }
}

impl From<Vec<(String, Fingerprint, String)>> for Keys {
    fn from(list: Vec<(String, Fingerprint, String)>) -> Self {
        let mut keys = Self::default();
        for (key, fingerprint, outcome) in list {
            keys.insert(&key, fingerprint, &outcome);
        }
        keys
    }
}

impl Serialize for Keys {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let known = |key: &Arc<str>| self.known.get(key).map(|known| (known.fingerprint, &*known.outcome));
        let rows =
            self.order.iter().filter_map(|key| known(key).map(|(mark, outcome)| (&**key, mark, outcome)));
        serializer.collect_seq(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten_and_a_round_trip_keeps_the_order() {
        let mut keys = Keys::default();
        for n in 0..limits::KEYS + 10 {
            keys.insert(&format!("k{n}"), Fingerprint::of(b"x"), "1");
        }
        assert!(keys.get("k9").is_none() && keys.get("k10").is_some());
        let json = serde_json::to_string(&keys).unwrap();
        let mut back: Keys = serde_json::from_str(&json).unwrap();
        assert_eq!(serde_json::to_string(&back).unwrap(), json);
        back.insert("large", Fingerprint::of(b"x"), &"x".repeat(limits::KEYS_BYTES / 2));
        back.insert("larger", Fingerprint::of(b"x"), &"x".repeat(limits::KEYS_BYTES / 2));
        assert!(back.get("k10").is_none() && back.get("large").is_none() && back.get("larger").is_some());
        assert!(back.bytes <= limits::KEYS_BYTES);
    }
}
