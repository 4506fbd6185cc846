//! What a run is asked for, and how much happened in it.

use std::ops::AddAssign;

/// What to simulate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Chooses everything.
    pub seed: u64,
    /// Things that happen while there are faults.
    pub steps: u64,
    /// A mistake to make on purpose, to prove that the checker notices.
    pub mistake: Option<Mistake>,
}

/// Mistakes that a layer like this one can make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mistake {
    /// What tasks touch does not look at their tokens.
    IgnoredTokens,
    /// Deliveries are performed without their keys.
    ForgottenKeys,
    /// The front door acknowledges events before the policies have them.
    EarlyAcknowledgement,
    /// The disks acknowledge what they have not synced.
    LyingDisks,
    /// The scheduler's timers follow the wall clock.
    SteppedTimers,
    /// The queue of tasks takes whatever comes.
    ForgottenBounds,
}

/// How much happened: a run in which nothing broke proves nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events that the front door acknowledged to their sources.
    pub events: u64,
    /// Intents that were taken, whoever asked for them.
    pub intents: u64,
    /// Effects of tasks outside.
    pub effects: u64,
    /// Effects that the token kept out.
    pub stale_effects: u64,
    /// Answers of workers that were refused.
    pub stale_answers: u64,
    /// Deliveries that were done.
    pub done: u64,
    /// Deliveries that were given up.
    pub dead: u64,
    /// Chains of policies that were stopped.
    pub stopped: u64,
    /// Occurrences that fired.
    pub fired: u64,
    /// Those of them that come once a day by the clocks of a place, in nights in which these change.
    pub daily: u64,
    /// Occurrences that were too late.
    pub misfired: u64,
    /// Occurrences that were skipped or held because the one before still ran.
    pub overlapped: u64,
    /// Intents refused because too much waits.
    pub overloaded: u64,
    /// Kernels that lost their memory, at rest or in the middle of a write.
    pub crashes: u64,
    /// Workers that did.
    pub dead_workers: u64,
    /// Workers that were stopped for a while.
    pub stalls: u64,
    /// Batches that a disk refused.
    pub failed_batches: u64,
    /// Damaged snapshots that a start passed over.
    pub passed_over: u64,
    /// Steps of the wall clock.
    pub clock_steps: u64,
    /// Pairs cut off from each other.
    pub partitions: u64,
    /// Messages that such a cut kept.
    pub cut_off: u64,
    /// Messages lost.
    pub dropped: u64,
    /// Messages doubled.
    pub duplicated: u64,
    /// Messages that were late enough to be overtaken.
    pub reordered: u64,
    /// Questions that got no answer in time.
    pub unanswered: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        let pairs = [
            (&mut self.events, other.events),
            (&mut self.intents, other.intents),
            (&mut self.effects, other.effects),
            (&mut self.stale_effects, other.stale_effects),
            (&mut self.stale_answers, other.stale_answers),
            (&mut self.done, other.done),
            (&mut self.dead, other.dead),
            (&mut self.stopped, other.stopped),
            (&mut self.fired, other.fired),
            (&mut self.daily, other.daily),
            (&mut self.misfired, other.misfired),
            (&mut self.overlapped, other.overlapped),
            (&mut self.overloaded, other.overloaded),
            (&mut self.crashes, other.crashes),
            (&mut self.dead_workers, other.dead_workers),
            (&mut self.stalls, other.stalls),
            (&mut self.failed_batches, other.failed_batches),
            (&mut self.passed_over, other.passed_over),
            (&mut self.clock_steps, other.clock_steps),
            (&mut self.partitions, other.partitions),
            (&mut self.cut_off, other.cut_off),
            (&mut self.dropped, other.dropped),
            (&mut self.duplicated, other.duplicated),
            (&mut self.reordered, other.reordered),
            (&mut self.unanswered, other.unanswered),
        ];
        pairs.into_iter().for_each(|(sum, more)| *sum += more);
    }
}
