//! Whether the threads of this process wait for a processor, by the scheduler's own account.
//!
//! `/proc/self/task/<thread>/schedstat` says how long a thread was ready to run and did not: its second number, nanoseconds. Threads that have
//! ended are forgotten, so that a sum may shrink; that counts as no wait. A kernel that keeps no such account says nothing, and processors
//! are then taken to be free.

use std::fs;

use grace_types::time::Monotonic;

use crate::limits::{EVIDENCE_CONTENDED, EVIDENCE_CONTENDED_OVER};

/// What was seen last.
#[derive(Debug, Default)]
pub(super) struct Pressure {
    seen: Option<(Monotonic, u64)>,
    high: bool,
}

impl Pressure {
    /// Whether processors were short since the last call.
    pub(super) fn is_high(&mut self, now: Monotonic) -> bool {
        if self.seen.is_none_or(|(at, _)| now.since(at) >= EVIDENCE_CONTENDED_OVER) {
            self.account(now, waited_nanos());
        }
        self.high
    }

    fn account(&mut self, now: Monotonic, waited: u64) {
        self.high = self.seen.is_some_and(|(at, before)| {
            let share = waited.saturating_sub(before) as f64 / 1e9 / now.since(at).as_secs_f64();
            share >= EVIDENCE_CONTENDED
        });
        self.seen = Some((now, waited));
    }
}

/// By all threads that live.
fn waited_nanos() -> u64 {
    let Ok(threads) = fs::read_dir("/proc/self/task") else { return 0 };
    let of = |text: String| text.split_ascii_whitespace().nth(1)?.parse::<u64>().ok();
    let waited = threads.filter_map(|thread| {
        // One that ends meanwhile has nothing to say.
        of(fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?)
    });
    waited.sum()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn processors_are_short_where_threads_wait_for_a_part_of_the_time() {
        let mut pressure = Pressure::default();
        let at = |millis| Monotonic::ZERO.plus(Duration::from_millis(millis));
        let mut high = |millis, waited_millis: u64| {
            pressure.account(at(millis), waited_millis * 1_000_000);
            pressure.high
        };
        // What was waited before the first look says nothing.
        assert!(!high(100, 500));
        assert!(!high(200, 509));
        assert!(high(300, 520));
        // A thread with a long wait has ended.
        assert!(!high(400, 30));
        assert!(high(500, 60));
        assert!(!high(600, 60));
    }

    #[test]
    fn a_short_time_leaves_the_last_answer() {
        let mut pressure = Pressure { seen: Some((Monotonic::ZERO, 0)), high: true };
        assert!(pressure.is_high(Monotonic::ZERO.plus(Duration::from_millis(1))));
        assert_eq!(pressure.seen, Some((Monotonic::ZERO, 0)));
    }
}
