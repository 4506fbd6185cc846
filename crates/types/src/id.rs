//! Typed, sortable identifiers.
//!
//! An id is 48 bits of wall milliseconds and 80 random bits, written as a prefix and 26 digits of Crockford's
//! base 32 (the ULID layout): `evt_01JDC5M3Q8V5S0A6T4ZK2H9XWB`. Texts sort as the ids do, which is by time.
//! The prefix is part of the type, so a task's id cannot be passed where an intent's is due.

use std::{cmp::Ordering, fmt, hash, marker::PhantomData, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{chance::Entropy, text, time::Timestamp};

/// What an id names: its prefix in text.
pub trait Kind {
    /// Lower-case letters before the underscore.
    const PREFIX: &'static str;
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $alias:ident = $kind:ident($prefix:literal);)*) => {$(
        #[doc = concat!("Marks ids that begin with `", $prefix, "_`.")]
        #[derive(Debug, Clone, Copy)]
        pub enum $kind {}
        impl Kind for $kind { const PREFIX: &'static str = $prefix; }
        $(#[$doc])*
        pub type $alias = Id<$kind>;
    )*};
}

kinds! {
    /// Names an event; with its source, the key for removing duplicates.
    EventId = EventKind("evt");
    /// Names one run of one process: a restart makes a new incarnation.
    IncarnationId = IncarnationKind("inc");
    /// Names one boot of a Grace instance.
    BootId = BootKind("boot");
    /// Ties together everything that one cause set off.
    CorrelationId = CorrelationKind("cor");
    /// Names one run of a chaos scenario.
    RunId = RunKind("run");
    /// Names one injected fault.
    FaultId = FaultKind("flt");
}

/// An identifier of a `K`. 128 bits; ordered by time of making, then at random.
pub struct Id<K> {
    bits: u128,
    kind: PhantomData<fn() -> K>,
}

impl<K> Id<K> {
    /// Makes an id from the time and 80 fresh random bits.
    pub fn new(now: Timestamp, entropy: &mut (impl Entropy + ?Sized)) -> Self {
        let random = entropy.next_u128() & ((1 << 80) - 1);
        Self::from_bits((u128::from(now.as_millis()) << 80) | random)
    }

    /// From its 128 bits.
    #[must_use]
    pub const fn from_bits(bits: u128) -> Self {
        Self { bits, kind: PhantomData }
    }

    /// Its 128 bits.
    #[must_use]
    pub const fn as_bits(self) -> u128 {
        self.bits
    }
}

impl<K> Clone for Id<K> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<K> Copy for Id<K> {}
impl<K> PartialEq for Id<K> {
    fn eq(&self, other: &Self) -> bool {
        self.bits == other.bits
    }
}
impl<K> Eq for Id<K> {}
impl<K> PartialOrd for Id<K> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<K> Ord for Id<K> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.bits.cmp(&other.bits)
    }
}
impl<K> hash::Hash for Id<K> {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.bits.hash(state);
    }
}

const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// What each digit stands for; [`NONE`] for a byte that is none.
const VALUES: [u8; 256] = {
    let mut values = [NONE; 256];
    let mut value = 0;
    while value < DIGITS.len() {
        values[DIGITS[value] as usize] = value as u8;
        value += 1;
    }
    values
};
const NONE: u8 = u8::MAX;
/// 26 digits of 5 bits hold 130 bits; the first digit is therefore at most 7.
const TEXT_DIGITS: usize = 26;

impl<K: Kind> fmt::Display for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0u8; TEXT_DIGITS];
        for (i, digit) in text.iter_mut().enumerate() {
            let shift = 5 * (TEXT_DIGITS - 1 - i);
            *digit = DIGITS[(self.bits >> shift) as usize & 31];
        }
        write!(f, "{}_{}", K::PREFIX, std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl<K: Kind> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is not an id of the kind that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an id of this kind: expected `{prefix}_` and 26 digits of Crockford's base 32")]
pub struct ParseIdError {
    text: String,
    prefix: &'static str,
}

impl<K: Kind> FromStr for Id<K> {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || ParseIdError { text: text.chars().take(64).collect(), prefix: K::PREFIX };
        let digits = text.strip_prefix(K::PREFIX).and_then(|t| t.strip_prefix('_')).ok_or_else(refuse)?;
        if digits.len() != TEXT_DIGITS || digits.as_bytes()[0] > b'7' {
            return Err(refuse());
        }
        let mut bits = 0u128;
        for byte in digits.bytes() {
            let value = VALUES[usize::from(byte)];
            if value == NONE {
                return Err(refuse());
            }
            bits = (bits << 5) | u128::from(value);
        }
        Ok(Self::from_bits(bits))
    }
}

impl<K: Kind> Serialize for Id<K> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de, K: Kind> Deserialize<'de> for Id<K> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        text::deserialize(d)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance::SeededEntropy;

    #[test]
    fn texts_round_trip_and_sort_by_time() {
        let mut entropy = SeededEntropy::new(3);
        let ids: Vec<EventId> =
            (0..50).map(|ms| EventId::new(Timestamp::from_nanos(ms * 1_000_000), &mut entropy)).collect();
        let texts: Vec<String> = ids.iter().map(ToString::to_string).collect();
        assert!(ids.is_sorted() && texts.is_sorted());
        for (id, text) in ids.iter().zip(&texts) {
            assert_eq!(text.parse(), Ok(*id));
        }
    }

    #[test]
    fn an_id_of_another_kind_is_refused() {
        let id = EventId::new(Timestamp::EPOCH, &mut SeededEntropy::new(1));
        let error = id.to_string().parse::<BootId>().unwrap_err();
        assert!(error.to_string().contains("boot_"), "{error}");
        for bad in ["", "evt_", "evt_8ZZZZZZZZZZZZZZZZZZZZZZZZZ", "evt_0000000000000000000000000I", "evt_é"]
        {
            assert!(bad.parse::<EventId>().is_err(), "{bad}");
        }
    }
}
