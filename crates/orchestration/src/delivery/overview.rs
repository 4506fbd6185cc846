//! What lanes hold and what became of it, in numbers. Asking for it costs a look at each lane, not at what is in it.

use serde::{Deserialize, Serialize};

use super::step::{End, Lanes, Step};

/// What became of work since the journal was begun. It stays when its owner is removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Totals {
    /// Firings.
    pub fired: u64,
    /// Deliveries that were done.
    pub done: u64,
    /// Deliveries that were given up, those included that were put back since.
    pub dead: u64,
}

impl Totals {
    /// Counts the ends among steps that were recorded.
    pub fn count<'s>(&mut self, steps: impl IntoIterator<Item = &'s Step>) {
        for step in steps {
            match step {
                Step::Settled { end: End::Done, .. } => self.done += 1,
                Step::Settled { end: End::Dead { .. }, .. } | Step::Dead { .. } => self.dead += 1,
                _ => {}
            }
        }
    }
}

/// A decider with lanes, in numbers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Overview {
    /// Subscriptions, policies or schedules.
    pub count: usize,
    /// Since the journal was begun.
    pub totals: Totals,
    /// Deliveries that wait or are tried again later.
    pub waiting: usize,
    /// Deliveries under way.
    pub in_flight: usize,
    /// Dead letters.
    pub dead_letters: usize,
    /// Of the owners, those whose breaker is not closed.
    pub breakers_open: usize,
    /// How full the fullest queue is, 0.0 to 1.0.
    pub fullest: f64,
}

impl Lanes {
    /// In numbers; `count` and `totals` are the owners'.
    #[must_use]
    pub fn overview(&self, count: usize, totals: Totals) -> Overview {
        let mut overview = Overview { count, totals, ..Overview::default() };
        for (_, lane) in self.iter() {
            let depth = lane.depth();
            overview.waiting += depth;
            overview.in_flight += lane.flying.len();
            overview.dead_letters += lane.dead.len();
            overview.breakers_open += usize::from(lane.breaker.reason().is_some());
            let full = depth as f64 / f64::from(lane.settings.queue.max(1));
            overview.fullest = overview.fullest.max(full.min(1.0));
        }
        overview
    }
}
