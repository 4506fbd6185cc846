//! When a probe checks next, and when a row of results becomes a verdict. Pure.

use std::time::Duration;

use grace_types::{manifest::Probe, time::Monotonic};

/// What a row of results says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// `success_threshold` checks in a row succeeded.
    Succeeded,
    /// `failure_threshold` checks in a row failed.
    Failed,
}

/// Between the first two checks of a process that is waited for.
const FIRST_GAP: Duration = Duration::from_millis(20);

/// The schedule of one probe of one run of a process.
///
/// Checks never overlap: the next one is due one period after the start of the last, or when that has ended, whichever is
/// later.
#[derive(Debug, Clone)]
pub struct ProbeSchedule {
    probe: Probe,
    due: Monotonic,
    /// Until the first success, the time between two checks; `None` afterwards, and for a probe that was never eager.
    eager: Option<Duration>,
    running: bool,
    successes: u32,
    failures: u32,
    verdict: Option<Verdict>,
}

impl ProbeSchedule {
    /// The schedule of a process that was started `now` (or whose startup probe has succeeded now).
    #[must_use]
    pub fn new(probe: Probe, now: Monotonic) -> Self {
        let due = now.plus(probe.initial_delay);
        Self { probe, due, eager: None, running: false, successes: 0, failures: 0, verdict: None }
    }

    /// The same for a process that is waited for: checks begin close together and spread out to one a period, so that a program which
    /// is ready after 30 ms is not waited for a whole period.
    #[must_use]
    pub fn eager(probe: Probe, now: Monotonic) -> Self {
        Self { eager: Some(FIRST_GAP), ..Self::new(probe, now) }
    }

    /// The probe.
    #[must_use]
    pub const fn probe(&self) -> &Probe {
        &self.probe
    }

    /// When [`ProbeSchedule::start`] has something to say next; `None` while a check runs.
    #[must_use]
    pub fn deadline(&self) -> Option<Monotonic> {
        (!self.running).then_some(self.due)
    }

    /// Whether a check is under way.
    #[must_use]
    pub const fn is_running(&self) -> bool {
        self.running
    }

    /// Whether to run a check now. It counts as running until [`ProbeSchedule::finish`].
    #[must_use]
    pub fn start(&mut self, now: Monotonic) -> bool {
        if self.running || now < self.due {
            return false;
        }
        self.running = true;
        let gap = self.eager.map_or(self.probe.period, |gap| gap.min(self.probe.period));
        self.eager = self.eager.map(|gap| gap * 2).filter(|gap| *gap < self.probe.period);
        self.due = now.plus(gap);
        true
    }

    /// Takes a check's result. A verdict is given when it changes, and once at the beginning; not again with every
    /// result that agrees with it.
    pub fn finish(&mut self, succeeded: bool) -> Option<Verdict> {
        self.running = false;
        let (verdict, row, threshold) = if succeeded {
            self.failures = 0;
            self.successes = self.successes.saturating_add(1);
            (Verdict::Succeeded, self.successes, self.probe.success_threshold)
        } else {
            self.successes = 0;
            self.failures = self.failures.saturating_add(1);
            (Verdict::Failed, self.failures, self.probe.failure_threshold)
        };
        (row >= threshold && self.verdict.replace(verdict) != Some(verdict)).then_some(verdict)
    }

    /// Forgets the row, not the verdict, and checks again one period from `now`: the process was paused, so the results
    /// from then say nothing. A check that is on its way is to be dropped without [`ProbeSchedule::finish`].
    pub fn resume(&mut self, now: Monotonic) {
        self.running = false;
        self.successes = 0;
        self.failures = 0;
        self.due = now.plus(self.probe.period);
    }

    /// The last verdict.
    #[must_use]
    pub const fn verdict(&self) -> Option<Verdict> {
        self.verdict
    }
}

#[cfg(test)]
mod tests {
    use grace_types::manifest::Check;

    use super::*;

    fn at(millis: u64) -> Monotonic {
        Monotonic::from_nanos(millis * 1_000_000)
    }

    fn probe(success_threshold: u32, failure_threshold: u32) -> Probe {
        Probe {
            check: Check::Notify,
            initial_delay: Duration::from_millis(100),
            period: Duration::from_millis(50),
            timeout: Duration::from_millis(10),
            success_threshold,
            failure_threshold,
        }
    }

    #[test]
    fn checks_start_after_the_delay_once_a_period_and_never_overlap() {
        let mut s = ProbeSchedule::new(probe(1, 1), at(1000));
        assert_eq!(s.deadline(), Some(at(1100)));
        assert!(!s.start(at(1099)));
        assert!(s.start(at(1110)));
        assert_eq!(s.deadline(), None);
        assert!(!s.start(at(1500)));
        s.finish(true);
        assert_eq!(s.deadline(), Some(at(1160)), "a slow check delays the next one, and does not add to it");
        assert!(s.start(at(1500)));
    }

    #[test]
    fn a_verdict_needs_its_row_and_is_given_once() {
        let mut s = ProbeSchedule::new(probe(2, 3), at(0));
        let given: Vec<_> = "++-+-++---+--++".chars().map(|c| s.finish(c == '+')).collect();
        assert_eq!(given[1], Some(Verdict::Succeeded));
        assert_eq!(given[9], Some(Verdict::Failed));
        assert_eq!(given[14], Some(Verdict::Succeeded));
        assert_eq!(given.iter().flatten().count(), 3, "{given:?}");
    }

    #[test]
    fn a_pause_forgives_the_failures_before_it() {
        let mut s = ProbeSchedule::new(probe(1, 2), at(0));
        assert!(s.start(at(100)));
        assert_eq!(s.finish(false), None);
        assert!(s.start(at(150)));
        s.resume(at(9000));
        assert_eq!(s.deadline(), Some(at(9050)));
        assert_eq!(s.finish(false), None);
        assert_eq!(s.finish(false), Some(Verdict::Failed));
    }

    #[test]
    fn a_process_that_is_waited_for_is_checked_often_at_first_and_then_once_a_period() {
        let probe =
            Probe { period: Duration::from_millis(100), initial_delay: Duration::ZERO, ..probe(1, 1) };
        let mut schedule = ProbeSchedule::eager(probe, Monotonic::ZERO);
        let mut gaps = Vec::new();
        let mut now = Monotonic::ZERO;
        for _ in 0..5 {
            assert!(schedule.start(now));
            let _ = schedule.finish(false);
            let due = schedule.deadline().unwrap();
            gaps.push(due.since(now).as_millis());
            now = due;
        }
        assert_eq!(gaps, [20, 40, 80, 100, 100]);
    }
}
