//! Which occurrence comes after which.

use std::{fmt, rc::Rc};

use grace_types::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::{cron::Cron, schedule::When};
use crate::limits;

/// What tells one occurrence of a schedule from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Nominal {
    /// The time at which it should fire, without jitter, milliseconds by the wall clock.
    At(u64),
    /// The how many-th it is, counted from 1.
    Number(u64),
    /// The how many-th that was asked for by hand.
    Asked(u64),
}

impl fmt::Display for Nominal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(ms) => write!(f, "{}", Timestamp::from_nanos(ms.saturating_mul(1_000_000))),
            Self::Number(number) => write!(f, "#{number}"),
            Self::Asked(number) => write!(f, "asked-{number}"),
        }
    }
}

/// The first occurrence that has neither fired nor been skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Next {
    /// Which.
    pub nominal: Nominal,
    /// When it fires, jitter included: milliseconds by the wall clock for `cron` and `once`, on the steady line for the others.
    pub due_ms: u64,
}

/// Computes occurrences of one schedule, without jitter.
pub(super) enum Course {
    Cron(Rc<Cron>),
    Once(u64),
    Every { base_ms: u64, every_ms: u64 },
    After { due_ms: u64 },
}

impl Course {
    /// Of a schedule that was given at `base_ms` on the steady line. `None` for one that was never valid.
    pub(super) fn of(when: &When, base_ms: u64) -> Option<Self> {
        Some(match when {
            When::Cron(times) => Self::Cron(Cron::known(&times.pattern, times.zone.as_deref()).ok()?),
            When::Once(once) => Self::Once(once.as_millis()),
            When::Every(every) => Self::Every { base_ms, every_ms: every.millis().max(1) },
            When::After(after) => Self::After { due_ms: base_ms.saturating_add(after.millis()) },
        })
    }

    /// The first one after a moment of the schedule's own clock. One that happens only once comes whatever the moment.
    pub(super) fn first_after(&self, clock_ms: u64) -> Option<Next> {
        match self {
            Self::Cron(cron) => {
                cron.next_after(clock_ms).map(|at| Next { nominal: Nominal::At(at), due_ms: at })
            }
            Self::Once(at) => Some(Next { nominal: Nominal::At(*at), due_ms: *at }),
            Self::Every { base_ms, every_ms } => {
                let number = clock_ms.saturating_sub(*base_ms) / every_ms + 1;
                let due_ms = base_ms.saturating_add(number.saturating_mul(*every_ms));
                (due_ms <= limits::LAST_MS).then_some(Next { nominal: Nominal::Number(number), due_ms })
            }
            Self::After { due_ms } => Some(Next { nominal: Nominal::Number(1), due_ms: *due_ms }),
        }
    }

    /// The one after another.
    pub(super) fn after(&self, nominal: Nominal) -> Option<Next> {
        match (self, nominal) {
            (Self::Cron(_), Nominal::At(at)) => self.first_after(at),
            (Self::Every { base_ms, every_ms }, Nominal::Number(number)) => {
                self.first_after(base_ms.saturating_add(number.saturating_mul(*every_ms)))
            }
            _ => None,
        }
    }

    /// Whether it has more than one occurrence.
    pub(super) const fn repeats(&self) -> bool {
        matches!(self, Self::Cron(_) | Self::Every { .. })
    }
}

/// The next times of a schedule that is given at `now`, without jitter: at most `count`, and at most [`limits::UPCOMING`].
#[must_use]
pub fn upcoming(when: &When, now: Timestamp, count: usize) -> Vec<Timestamp> {
    let base_ms = now.as_millis();
    let Some(course) = Course::of(when, base_ms) else { return Vec::new() };
    course_times(&course, course.first_after(base_ms), count, |due_ms| due_ms)
}

pub(super) fn course_times(
    course: &Course,
    first: Option<Next>,
    count: usize,
    wall_of: impl Fn(u64) -> u64,
) -> Vec<Timestamp> {
    let each = std::iter::successors(first, |next| course.after(next.nominal));
    let time = |next: Next| Timestamp::from_nanos(wall_of(next.due_ms).saturating_mul(1_000_000));
    each.take(count.min(limits::UPCOMING)).map(time).collect()
}
