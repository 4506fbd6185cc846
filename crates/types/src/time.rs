//! Time as an argument: timestamps, the clock that shells own, and the hybrid logical clock.
//!
//! Two clocks are kept apart. [`Timestamp`] is wall-clock time: it is what people read, and it can jump.
//! [`Monotonic`] never goes back: every deadline, back-off and timeout is counted in it, so that a stepped wall
//! clock neither fires nor loses a timer. [`Hlc`] orders causes and effects across processes whatever the wall
//! clock does.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::text;

/// Wall-clock time: nanoseconds since the Unix epoch, UTC. Text form: RFC 3339, as in `2026-11-23T08:15:30.250Z`.
///
/// Years 1970 to 2261; arithmetic saturates at both ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The Unix epoch.
    pub const EPOCH: Self = Self(0);
    /// The last representable instant (the limit of the text form's 64-bit nanoseconds).
    pub const MAX: Self = Self(i64::MAX as u64);

    /// From nanoseconds since the Unix epoch.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        if nanos > Self::MAX.0 { Self::MAX } else { Self(nanos) }
    }

    /// Nanoseconds since the Unix epoch.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// How long `earlier` lies before `self`; zero if it does not.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This instant plus `d`.
    #[must_use]
    pub fn plus(self, d: Duration) -> Self {
        Self::from_nanos(self.0.saturating_add(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// This instant minus `d`.
    #[must_use]
    pub fn minus(self, d: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// The longest text of a [`Timestamp`], in bytes.
const TEXT_BYTES: usize = "2026-11-23T08:15:30.123456789Z".len();

impl Timestamp {
    /// Its text, written into `text`: each record holds several, and the way by a calendar of all zones takes most of the time of writing them.
    /// The date is `civil_from_days` of <https://howardhinnant.github.io/date_algorithms.html>, for days that are not before 1970.
    fn written(self, text: &mut [u8; TEXT_BYTES]) -> &str {
        let (seconds, mut fraction) = (self.0 / 1_000_000_000, self.0 % 1_000_000_000);
        let (days, second) = (seconds / 86_400 + 719_468, seconds % 86_400);
        let (era, day) = (days / 146_097, days % 146_097);
        let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let march = (5 * day + 2) / 153;
        let (day, month) = (day - (153 * march + 2) / 5 + 1, if march < 10 { march + 3 } else { march - 9 });
        let year = year + era * 400 + u64::from(month <= 2);
        *text = *b"0000-00-00T00:00:00.000000000Z";
        let mut put = |at: usize, digits: usize, mut number: u64| {
            for digit in text[at..at + digits].iter_mut().rev() {
                *digit = b'0' + (number % 10) as u8;
                number /= 10;
            }
        };
        for (at, digits, number) in [(0, 4, year), (5, 2, month), (8, 2, day)] {
            put(at, digits, number);
        }
        for (at, number) in [(11, second / 3600), (14, second / 60 % 60), (17, second % 60)] {
            put(at, 2, number);
        }
        let mut digits = 9;
        put(20, digits, fraction);
        while digits > 0 && fraction.is_multiple_of(10) {
            fraction /= 10;
            digits -= 1;
        }
        let end = if digits == 0 { 19 } else { 20 + digits };
        text[end] = b'Z';
        // Always digits.
        std::str::from_utf8(&text[..=end]).unwrap_or_default()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.written(&mut [0; TEXT_BYTES]))
    }
}

/// Why a text is not a [`Timestamp`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an RFC 3339 time between 1970 and 2261, such as 2026-11-23T08:15:30Z")]
pub struct ParseTimestampError {
    text: String,
}

impl std::str::FromStr for Timestamp {
    type Err = ParseTimestampError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || ParseTimestampError { text: text.chars().take(64).collect() };
        let t: jiff::Timestamp = text.parse().map_err(|_| refuse())?;
        u64::try_from(t.as_nanosecond()).ok().filter(|n| *n <= Self::MAX.0).map(Self).ok_or_else(refuse)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.written(&mut [0; TEXT_BYTES]))
    }
}

impl schemars::JsonSchema for Timestamp {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Timestamp".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "format": "date-time",
            "description": "A time of day in UTC (RFC 3339).",
        })
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        text::deserialize(d)
    }
}

/// Monotonic time of this machine since its boot (CLOCK_BOOTTIME's cousin CLOCK_MONOTONIC): never goes back, and
/// is the same clock in every process, so that a control plane can resume its predecessor's deadlines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Monotonic(u64);

impl Monotonic {
    /// The clock's origin.
    pub const ZERO: Self = Self(0);

    /// From nanoseconds since the clock's origin.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the clock's origin.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long `earlier` lies before `self`; zero if it does not.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This instant plus `d`, saturating.
    #[must_use]
    pub fn plus(self, d: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// Both clocks read at one moment. Deciders receive it as `now`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Now {
    /// What the calendar says; may jump.
    pub wall: Timestamp,
    /// What timers count in; never goes back.
    pub mono: Monotonic,
}

/// Where a shell reads the time.
pub trait Clock: Send + Sync {
    /// Both clocks, now.
    fn now(&self) -> Now;
}

/// The machine's clocks.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clocks")]
    fn now(&self) -> Now {
        let wall = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |d| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX));
        let mono = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let mono = mono.tv_sec.cast_unsigned() * 1_000_000_000 + mono.tv_nsec.cast_unsigned();
        Now { wall: Timestamp::from_nanos(wall), mono: Monotonic(mono) }
    }
}

/// A clock that moves only when told; clones share it. For tests and the simulator.
#[derive(Debug, Clone, Default)]
pub struct ManualClock {
    wall: Arc<AtomicU64>,
    mono: Arc<AtomicU64>,
}

impl ManualClock {
    /// A clock whose calendar starts at `wall` and whose monotonic side starts at zero.
    #[must_use]
    pub fn starting_at(wall: Timestamp) -> Self {
        let clock = Self::default();
        clock.wall.store(wall.as_nanos(), Ordering::SeqCst);
        clock
    }

    /// Lets time pass: both clocks move on by `d`.
    pub fn advance(&self, d: Duration) {
        let nanos = u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
        self.wall.fetch_add(nanos, Ordering::SeqCst);
        self.mono.fetch_add(nanos, Ordering::SeqCst);
    }

    /// Steps the calendar only, as an administrator or NTP would.
    pub fn step_wall(&self, to: Timestamp) {
        self.wall.store(to.as_nanos(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Now {
        Now {
            wall: Timestamp::from_nanos(self.wall.load(Ordering::SeqCst)),
            mono: Monotonic(self.mono.load(Ordering::SeqCst)),
        }
    }
}

/// A hybrid logical clock reading (Kulkarni et al. 2014): wall milliseconds and a counter that breaks ties, so
/// that an effect is always later than its cause even when a wall clock was stepped back.
///
/// Text form: `<milliseconds>-<counter>` in fixed-width hexadecimal, so that texts sort as readings do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Hlc {
    /// Milliseconds since the Unix epoch: the largest wall time seen.
    pub millis: u64,
    /// How many readings were taken within `millis`.
    pub counter: u32,
}

impl Hlc {
    /// The next reading for a local event or a message about to be sent.
    #[must_use]
    pub fn tick(self, wall: Timestamp) -> Self {
        self.observe(Self::default(), wall)
    }

    /// The next reading after receiving a message stamped `remote`. Later than both `self` and `remote`.
    ///
    /// A remote stamp further ahead than [`crate::limits::HLC_MAX_DRIFT`] is not believed: it is ordered after our
    /// own reading instead, so that one broken sender cannot drag every clock into the future.
    #[must_use]
    pub fn observe(self, remote: Self, wall: Timestamp) -> Self {
        let wall_ms = wall.as_millis();
        let drift_ms = u64::try_from(crate::limits::HLC_MAX_DRIFT.as_millis()).unwrap_or(u64::MAX);
        let remote = if remote.millis > wall_ms.max(self.millis).saturating_add(drift_ms) {
            Self::default()
        } else {
            remote
        };
        let latest = self.max(remote);
        if wall_ms > latest.millis {
            return Self { millis: wall_ms, counter: 0 };
        }
        match latest.counter.checked_add(1) {
            Some(counter) => Self { millis: latest.millis, counter },
            None => Self { millis: latest.millis + 1, counter: 0 },
        }
    }
}

impl fmt::Display for Hlc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:012x}-{:08x}", self.millis, self.counter)
    }
}

/// Why a text is not an [`Hlc`] reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a hybrid logical clock reading: expected 12 and 8 hexadecimal digits with `-` between")]
pub struct ParseHlcError;

impl std::str::FromStr for Hlc {
    type Err = ParseHlcError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (millis, counter) = text.split_once('-').ok_or(ParseHlcError)?;
        if millis.len() != 12 || counter.len() != 8 || text.contains('+') {
            return Err(ParseHlcError);
        }
        Ok(Self {
            millis: u64::from_str_radix(millis, 16).map_err(|_| ParseHlcError)?,
            counter: u32::from_str_radix(counter, 16).map_err(|_| ParseHlcError)?,
        })
    }
}

impl Serialize for Hlc {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hlc {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        text::deserialize(d)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_ms(ms: u64) -> Timestamp {
        Timestamp::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn timestamps_survive_their_text() {
        for nanos in [0, 1, 999, 1_764_000_000_123_456_789, Timestamp::MAX.as_nanos()] {
            let t = Timestamp::from_nanos(nanos);
            assert_eq!(t.to_string().parse(), Ok(t));
        }
        assert_eq!(at_ms(1_763_885_730_250).to_string(), "2025-11-23T08:15:30.25Z");
        assert!("1969-12-31T23:59:59Z".parse::<Timestamp>().is_err());
        assert!("yesterday".parse::<Timestamp>().is_err());
    }

    proptest::proptest! {
        #[test]
        fn a_text_is_what_a_calendar_writes(nanos in 0..=Timestamp::MAX.as_nanos(), coarse in 0..10u32) {
            let nanos = nanos - nanos % 10_u64.pow(coarse);
            let known = jiff::Timestamp::from_nanosecond(i128::from(nanos)).unwrap().to_string();
            let t = Timestamp::from_nanos(nanos);
            proptest::prop_assert_eq!(t.to_string(), known.clone());
            proptest::prop_assert_eq!(serde_json::to_value(t).unwrap(), known);
        }
    }

    #[test]
    fn an_effect_is_later_than_its_cause_even_when_the_wall_steps_back() {
        let cause = Hlc::default().tick(at_ms(10_000));
        let effect = cause.tick(at_ms(4_000));
        assert!(effect > cause);
        let elsewhere = Hlc::default().observe(effect, at_ms(1_000));
        assert!(elsewhere > effect);
    }

    #[test]
    fn a_stamp_from_the_far_future_is_not_believed() {
        let local = Hlc::default().tick(at_ms(10_000));
        let liar = Hlc { millis: u64::MAX >> 20, counter: 0 };
        let next = local.observe(liar, at_ms(10_001));
        assert_eq!(next, Hlc { millis: 10_001, counter: 0 });
    }

    #[test]
    fn hlc_texts_sort_as_readings() {
        let mut readings = vec![Hlc::default()];
        for wall in [5, 5, 5, 9, 2, 4_000_000] {
            let last = *readings.last().unwrap();
            readings.push(last.tick(at_ms(wall)));
        }
        let texts: Vec<String> = readings.iter().map(ToString::to_string).collect();
        assert!(texts.is_sorted());
        for (text, reading) in texts.iter().zip(&readings) {
            assert_eq!(text.parse(), Ok(*reading));
        }
        for bad in ["", "-", "1-2", "+00000000000-00000000", "000000000000_00000000"] {
            assert!(bad.parse::<Hlc>().is_err(), "{bad}");
        }
    }
}
