//! One line of time that neither jumps nor begins anew: what retries, throttles, windows and intervals are counted in.
//!
//! [`grace_types::time::Monotonic`] never goes back, whatever the wall clock does, and is the same for every process of one boot
//! of the machine; but it starts again with each boot. A [`Steady`] goes on: the kernel's shell says which boot it is in
//! ([`Steady::begin`]) before anything else, and when that is another one the time in between is taken from the wall clock, as far
//! as that went forward. That is the only place where a wrong wall clock can shift a deadline, and it can do so once a boot.

pub use grace_kernel::process::boot;
use grace_types::time::Now;
use serde::{Deserialize, Serialize};

/// Where the line stands. Part of a decider's state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Steady {
    /// The machine's boot that `offset_ms` belongs to.
    boot: String,
    /// Added to the monotonic clock.
    offset_ms: i64,
    /// The last moment on record, on the line and by the wall clock.
    seen_ms: u64,
    seen_wall_ms: u64,
}

/// The line goes on in another boot. Part of a decider's event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Began {
    /// The machine's boot.
    pub boot: String,
    /// Added to the monotonic clock from now on.
    pub offset_ms: i64,
    /// The moment, on the line.
    pub at_ms: u64,
    /// The moment, by the wall clock.
    pub wall_ms: u64,
}

impl Steady {
    /// The moment `now` on the line, in milliseconds. Never before the last one on record.
    #[must_use]
    pub fn at(&self, now: Now) -> u64 {
        millis(now).saturating_add_signed(self.offset_ms).max(self.seen_ms)
    }

    /// What is to be recorded when a process of boot `boot` takes over; `None` when the line simply goes on.
    #[must_use]
    pub fn begin(&self, boot: &str, now: Now) -> Option<Began> {
        if self.boot == boot {
            return None;
        }
        let wall_ms = now.wall.as_millis();
        // The first boot starts the line at its own clock.
        let away = if self.boot.is_empty() { 0 } else { wall_ms.saturating_sub(self.seen_wall_ms) };
        let at_ms = if self.boot.is_empty() { millis(now) } else { self.seen_ms.saturating_add(away) };
        let offset_ms = i64::try_from(i128::from(at_ms) - i128::from(millis(now))).unwrap_or(0);
        Some(Began { boot: boot.to_owned(), offset_ms, at_ms, wall_ms })
    }

    /// Takes it into the state.
    pub fn began(&mut self, began: &Began) {
        self.boot.clone_from(&began.boot);
        self.offset_ms = began.offset_ms;
        self.seen(began.at_ms, began.wall_ms);
    }

    /// Something was recorded at this moment.
    pub fn seen(&mut self, at_ms: u64, wall_ms: u64) {
        self.seen_ms = self.seen_ms.max(at_ms);
        self.seen_wall_ms = wall_ms;
    }
}

const fn millis(now: Now) -> u64 {
    now.mono.as_nanos() / 1_000_000
}

#[cfg(test)]
mod tests {
    use grace_types::time::{Monotonic, Timestamp};

    use super::*;

    fn now(wall_s: u64, mono_s: u64) -> Now {
        Now {
            wall: Timestamp::from_nanos(wall_s * 1_000_000_000),
            mono: Monotonic::from_nanos(mono_s * 1_000_000_000),
        }
    }

    #[test]
    fn the_line_goes_on_over_steps_and_boots() {
        let mut line = Steady::default();
        line.began(&line.begin("a", now(1000, 50)).unwrap());
        assert_eq!(line.at(now(1000, 50)), 50_000);
        assert_eq!(line.at(now(700, 60)), 60_000, "a step of the wall clock changes nothing");
        assert_eq!(line.begin("a", now(2000, 61)), None);
        line.seen(60_000, 1_010_000);
        let began = line.begin("b", now(1040, 3)).unwrap();
        line.began(&began);
        assert_eq!(line.at(now(1040, 3)), 90_000, "thirty seconds by the wall clock");
        assert_eq!(line.at(now(1045, 8)), 95_000);
        line.began(&line.begin("c", now(500, 1)).unwrap());
        assert_eq!(line.at(now(500, 1)), 90_000, "a wall clock that went back adds nothing");
        assert_eq!(line.at(now(500, 0)), 90_000, "it never goes back");
    }
}
