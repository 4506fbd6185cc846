//! The scheduler: what is to be done at a time, again and again or once.
//!
//! ```text
//! Schedule ─► next occurrence, with its due moment ─ tick ─┬─► fired ─► a delivery (crate::delivery)
//!                  ▲                                       ├─► misfired: too late, counted and skipped
//!                  └───────────── the one after it ◄───────┴─► skipped, or held: the one before still runs
//! ```
//!
//! **Identity.** An occurrence is named by its schedule, the schedule's generation (which changes when the schedule does), and its
//! nominal time or number: `sch:backup:1:2026-03-29T01:00:00Z`. That is the key of what it does. Each occurrence is fired, or
//! recorded as misfired or skipped, exactly once: the state holds the first that is neither, and every record moves it on. So a
//! clock that steps back repeats nothing, a clock that steps forward loses nothing, and a crash between a record and what it asks
//! for is made good by performing it again under the same key.
//!
//! **Time.** `cron` and `once` follow the wall clock: occurrences are computed from the one before, never from the time of the tick.
//! When the wall clock steps back, they wait until it has come there again. When it steps forward, those that it stepped over are
//! late, and the misfire policy decides. `every` and `after` run on the steady line ([`crate::steady`]): steps of the wall clock do
//! not touch them, restarts neither; over a boot of the machine the time away is taken from the wall clock.
//!
//! **Daylight saving.** A fixed time that the clocks skip (02:30 in the night they go forward) fires at the first moment after the
//! gap, 03:00; several in one gap fire once, together. A fixed time that comes twice fires once, the first time. Patterns with a
//! `*` or a step in seconds, minutes or hours ("every 15 minutes") follow elapsed time: they skip the gap and run in both halves of
//! a repeated hour. Zones come from the database in the binary, so that every machine agrees.
//!
//! **Late.** An occurrence that is due and not older than `grace` fires. An older one is a misfire: `skip` records it, `run_once` fires
//! the last of them, `run_all` fires the first [`crate::limits::MISFIRE_RUNS`]. A paused schedule has no misfires: its occurrences
//! pass unnoticed, except that of `once` and `after`, which is late when the schedule is resumed.
//!
//! **Jitter** is drawn for each occurrence when it becomes the next one, and recorded with it.
//!
//! **Overlap.** `allow` fires whatever runs. `skip` and `queue` know that an occurrence runs from its firing until the shell reports
//! that its intent has ended (or was never taken); meanwhile the next one is skipped, or held, at most one.
//!
//! Not here: sleeping until the next moment, and performing (the shell).

mod cron;
mod decider;
mod firing;
mod message;
mod occurrence;
mod schedule;
pub mod shell;
mod state;
#[cfg(test)]
mod tests;

pub use cron::{Cron, local};
pub use decider::Scheduler;
pub use message::{Command, Event, Origin, Refusal, Reply, Row};
pub use occurrence::{Next, Nominal, upcoming};
pub use schedule::{CronTimes, Misfire, Overlap, Schedule, When};
pub use state::{Late, State};
