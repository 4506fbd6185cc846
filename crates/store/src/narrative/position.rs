//! Where a narrative stands among all: a number that is its row's key, its order and its page mark in one.
//!
//! ```text
//! 42 bits: milliseconds of the hybrid clock │ 15 bits: its counter │ 6 bits: apart from others of the same reading
//! ```
//!
//! The hybrid clock and not the wall clock, so that an effect stands after its cause even when the wall clock was stepped back. Past 32,768
//! readings in one millisecond, which only a clock that was stepped back for long makes, the counter runs on into the next one.

use std::{fmt, str::FromStr};

use grace_types::{
    id::EventId,
    time::{Hlc, Timestamp},
};

const COUNTER_BITS: u32 = 15;
const APART_BITS: u32 = 6;
/// Narratives of different sources that can have the same reading of the clock; more go to the next counter.
pub(super) const APART: i64 = 1 << APART_BITS;
/// The year 2109. What claims a later time stands at the end.
const LAST_MILLIS: u64 = (1 << 42) - 1;
/// Readings of the clock, one after the other, whose narratives are searched together: see [`Position::block`].
const BLOCK_BITS: u32 = 5;
const LAST_READING: u64 = (1 << (63 - APART_BITS)) - 1;

/// A place in the order of narratives: a row's, and the mark from which the next page goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub(super) i64);

impl Position {
    /// The first place for a reading of the hybrid clock. Records from before there was one are placed by their wall time.
    pub(super) fn first_for(hlc: Hlc, time: Timestamp) -> Self {
        let millis = if hlc.millis == 0 { time.as_millis() } else { hlc.millis };
        Self::of_reading((millis.min(LAST_MILLIS) << COUNTER_BITS).saturating_add(u64::from(hlc.counter)))
    }

    /// The first place of the millisecond in which `time` lies.
    pub(super) fn first_at(time: Timestamp) -> Self {
        Self::of_reading(time.as_millis().min(LAST_MILLIS) << COUNTER_BITS)
    }

    /// The last place of the millisecond in which `time` lies.
    pub(super) fn last_at(time: Timestamp) -> Self {
        Self::last_of(time.as_millis())
    }

    const fn last_of(millis: u64) -> Self {
        let first = Self::of_reading(millis.saturating_add(1) << COUNTER_BITS).0;
        Self(if millis >= LAST_MILLIS { i64::MAX } else { first - 1 })
    }

    /// The places of the millisecond in which an id was made, first and last: that of an event of then. See [`Self::is_home_of`].
    pub(super) const fn home(id: u128) -> [i64; 2] {
        let millis = made_millis(id);
        let first = if millis > LAST_MILLIS { i64::MAX } else { Self::of_reading(millis << COUNTER_BITS).0 };
        [first, Self::last_of(millis).0]
    }

    /// Whether the id was made in the millisecond of this place.
    pub(super) const fn is_home_of(self, id: u128) -> bool {
        self.0.cast_unsigned() >> (COUNTER_BITS + APART_BITS) == made_millis(id)
    }

    /// The place among those of one reading that an event takes if it is free.
    pub(super) fn apart(self, id: EventId) -> Self {
        let bits = id.as_bits();
        let mixed = (bits ^ (bits >> 64)) as u64;
        Self(self.0 + (mixed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - APART_BITS)).cast_signed())
    }

    /// The first place of the same reading.
    pub(super) fn reading(self) -> Self {
        Self(self.0 & !(APART - 1))
    }

    /// The first and the last place of the block in which this one lies. While little happens, a narrative has one for itself, as it has its
    /// millisecond; in a burst some dozens share one.
    pub(super) const fn block(self) -> [i64; 2] {
        let first = self.0 & !((1 << (BLOCK_BITS + APART_BITS)) - 1);
        [first, first + (1 << (BLOCK_BITS + APART_BITS)) - 1]
    }

    /// The place a second later.
    pub(super) fn a_second_on(self) -> Self {
        Self(self.0.saturating_add(1000 << (COUNTER_BITS + APART_BITS)))
    }

    const fn of_reading(reading: u64) -> Self {
        let reading = if reading > LAST_READING { LAST_READING } else { reading };
        Self((reading << APART_BITS).cast_signed())
    }
}

/// What an id says of the time when it was made.
const fn made_millis(id: u128) -> u64 {
    (id >> 80) as u64
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The text is not a page mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a page mark has 16 hexadecimal digits, as `next` of the page before gives them")]
pub struct BadPosition;

impl FromStr for Position {
    type Err = BadPosition;

    fn from_str(text: &str) -> Result<Self, BadPosition> {
        let digits = text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let number = digits.then(|| i64::from_str_radix(text, 16).ok()).flatten();
        number.map(Self).ok_or(BadPosition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_that_of_the_hybrid_clock() {
        let at = |millis, counter| Position::first_for(Hlc { millis, counter }, Timestamp::EPOCH);
        let places = [at(1, 0), at(1, 1), at(1, 32_767), at(2, 0), at(u64::MAX, 0)];
        assert!(places.is_sorted() && places.windows(2).all(|w| w[1].0 - w[0].0 >= APART));
        assert!(at(1, 40_000) > at(2, 0));
        let id = EventId::from_bits(u128::MAX - 12_345);
        assert!((0..APART).contains(&(at(1, 1).apart(id).0 - at(1, 1).0)));
        assert!(at(u64::MAX, u32::MAX).apart(id).0 > 0);
        let time = Timestamp::from_nanos(7_500_000);
        assert_eq!(Position::first_for(Hlc::default(), time), Position::first_at(time));
        assert_eq!(Position::last_at(time).0 + 1, at(8, 0).0);
        assert_eq!(Position::last_at(Timestamp::MAX).0, i64::MAX);
    }

    #[test]
    fn texts_are_read_back() {
        for position in [Position(0), Position(0x1234), Position(i64::MAX)] {
            assert_eq!(position.to_string().parse(), Ok(position));
        }
        for bad in ["", "12", "ffffffffffffffff", "+00000000000000f", "000000000000000g"] {
            assert_eq!(bad.parse::<Position>(), Err(BadPosition), "{bad}");
        }
    }
}
