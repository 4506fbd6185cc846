//! Which priority is served next: stride scheduling (Waldspurger and Weihl 1995).
//!
//! Each dispatch of a priority moves its mark on by its stride; the lowest mark among those with work that can be given out is next,
//! the more urgent one if they are equal. Strides are the inverse of the shares 64, 16, 4 and 1 of 85. So while every
//! priority has work, 64 of 85 dispatches are critical, and a low task that is the next of its kind waits for at most [`ROUND`]
//! dispatches of others. A priority that had no work does not save up its turns: its mark is raised to the last one served.

use serde::{Deserialize, Serialize};

use crate::intent::Priority;

/// Dispatches by share, most urgent first.
pub const SHARES: [u64; 4] = [64, 16, 4, 1];

/// After so many dispatches of others, a priority with work is served.
pub const ROUND: u64 = 64 + 16 + 4 + 1;

/// The marks, and the last one served.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fairness {
    marks: [u64; 4],
    last: u64,
}

impl Fairness {
    /// Which of the priorities with work is next.
    #[must_use]
    pub fn next(&self, has_work: [bool; 4]) -> Option<Priority> {
        Priority::ALL.into_iter().filter(|p| has_work[p.rank()]).min_by_key(|p| (self.mark(*p), p.rank()))
    }

    /// Takes note of a dispatch.
    pub fn served(&mut self, priority: Priority) {
        let mark = self.mark(priority);
        self.last = mark;
        self.marks[priority.rank()] = mark + SHARES[0] / SHARES[priority.rank()];
    }

    fn mark(&self, priority: Priority) -> u64 {
        self.marks[priority.rank()].max(self.last)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn shares_are_kept() {
        let mut fairness = Fairness::default();
        let mut served = [0u64; 4];
        for _ in 0..10 * ROUND {
            let next = fairness.next([true; 4]).unwrap();
            served[next.rank()] += 1;
            fairness.served(next);
        }
        assert_eq!(served, SHARES.map(|share| share * 10));
    }

    proptest! {
        #[test]
        fn none_starves(work in prop::collection::vec(any::<[bool; 4]>(), 1..400)) {
            let mut fairness = Fairness::default();
            let mut waited = [0u64; 4];
            for mut has_work in work {
                has_work[3] = true;
                let Some(next) = fairness.next(has_work) else { continue };
                fairness.served(next);
                for priority in Priority::ALL {
                    let at = priority.rank();
                    waited[at] = if has_work[at] && priority != next { waited[at] + 1 } else { 0 };
                    prop_assert!(waited[at] <= ROUND, "{priority:?} waited {}", waited[at]);
                }
            }
        }
    }
}
