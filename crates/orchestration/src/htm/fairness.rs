//! Who is served next. Among priorities: stride scheduling (Waldspurger and Weihl 1995).
//!
//! Each dispatch of a priority moves its mark on by its stride; the lowest mark among those with work that can be given out is next,
//! the more urgent one if they are equal. Strides are the inverse of the shares 64, 16, 4 and 1 of 85. So while every
//! priority has work, 64 of 85 dispatches are critical, and a low task that is the next of its kind waits for at most [`ROUND`]
//! dispatches of others. A priority that had no work does not save up its turns: its mark is raised to the last one served.
//!
//! Within a priority: by age and score ([`place`]).

use serde::{Deserialize, Serialize};

use crate::intent::Priority;

/// Dispatches by share, most urgent first.
pub const SHARES: [u64; 4] = [64, 16, 4, 1];

/// After so many dispatches of others, a priority with work is served.
pub const ROUND: u64 = 64 + 16 + 4 + 1;

/// What a score of 1 is worth against a score of 0, in places of the queue. As many as may wait before it counts as a backlog: within
/// that, score decides alone; behind it, nothing that matters less is passed by for ever.
const SCORE_PLACES: f64 = 1000.0;

/// Bits that tell tasks apart which would stand at the same place: more than score can set two of them off.
const PLACE_BITS: u32 = 20;

/// Where a task waits in its priority, lower is earlier: it is the `order`th that came, and its intent has this mission score, 0 to 1
/// (the middle where it has none). One that matters more stands before those that came up to a thousand places earlier, in proportion
/// to how much less these matter; of equal ones, the older is first. No two tasks share a place.
#[must_use]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and SCORE_PLACES")]
pub fn place(order: u64, score: Option<f64>) -> u64 {
    let lacks = 1.0 - score.filter(|score| score.is_finite()).unwrap_or(0.5).clamp(0.0, 1.0);
    let behind = (lacks * SCORE_PLACES).round() as u64;
    (order + behind) << PLACE_BITS | order & ((1 << PLACE_BITS) - 1)
}

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

    #[test]
    fn what_matters_more_comes_first_and_nothing_is_passed_by_for_ever() {
        assert!(place(900, Some(1.0)) < place(0, Some(0.0)));
        assert!(place(0, Some(0.0)) < place(1001, Some(1.0)));
        assert!(place(10, Some(0.8)) < place(11, Some(0.8)));
        assert!(place(10, None) < place(11, Some(f64::NAN)));
    }

    proptest! {
        #[test]
        fn no_two_share_a_place(a in 0u64..1 << 40, apart in 1u64..5000, scores: (f64, f64)) {
            prop_assert_ne!(place(a, Some(scores.0)), place(a + apart, Some(scores.1)));
        }

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
