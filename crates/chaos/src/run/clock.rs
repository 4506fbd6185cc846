//! The clock of one run: the calendar as it stood when the run began, carried on by monotonic time.
//!
//! Somebody may set the machine's clock while a run goes on, and a scenario may be about just that. All times that a run notes
//! down are of this clock, so they are in order and their differences are durations. What others recorded has their times.

use grace_types::time::{Clock, Now, SystemClock};

/// See the module's page.
#[derive(Debug, Clone, Copy)]
pub(super) struct RunClock {
    began: Now,
}

impl RunClock {
    /// Of a run that begins now.
    #[must_use]
    pub(super) fn start() -> Self {
        Self { began: SystemClock.now() }
    }

    /// What this clock shows when the machine's show `machine`.
    fn show(self, machine: Now) -> Now {
        Now { wall: self.began.wall.plus(machine.mono.since(self.began.mono)), mono: machine.mono }
    }
}

impl Clock for RunClock {
    fn now(&self) -> Now {
        self.show(SystemClock.now())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use grace_types::time::{Monotonic, Timestamp};

    use super::*;

    #[test]
    fn a_calendar_that_is_set_meanwhile_does_not_matter() {
        let began = Now { wall: Timestamp::from_nanos(1_000_000_000_000), mono: Monotonic::from_nanos(5) };
        let clock = RunClock { began };
        for step in [Duration::ZERO, Duration::from_secs(300)] {
            for wall in [began.wall.plus(step), began.wall.minus(step)] {
                let later = Now { wall, mono: began.mono.plus(Duration::from_secs(7)) };
                assert_eq!(clock.show(later).wall, began.wall.plus(Duration::from_secs(7)));
            }
        }
    }
}
