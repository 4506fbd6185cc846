//! A thousand bad days of Layer 2, each twice: the same seed gives the same bytes, and no promise is broken on any of them.

use std::sync::atomic::{AtomicU64, Ordering};

use grace_sim::work::{Counts, Mistake, Options, run};

const SEEDS: u64 = 1000;
const STEPS: u64 = 700;

#[test]
fn a_thousand_seeds_twice_give_the_same_bytes_and_break_no_promise() {
    let next = AtomicU64::new(0);
    let work = || {
        let mut sum = Counts::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= SEEDS {
                return sum;
            }
            let options = Options { seed, steps: STEPS, mistake: None };
            let (first, second) = (run(options), run(options));
            assert!(first.history == second.history, "seed {seed}: two runs, two histories");
            assert_eq!(first.digest, second.digest);
            assert!(first.broken.is_empty(), "seed {seed}: {:#?}", first.broken);
            sum += first.counts;
        }
    };
    let counts = std::thread::scope(|scope| {
        let other = scope.spawn(work);
        let mut counts = work();
        counts += other.join().expect("the other half of the seeds");
        counts
    });
    // A day on which nothing broke proves nothing.
    let Counts { events, intents, effects, done, dead, fired, misfired, .. } = counts;
    assert!(events > 10 * SEEDS && intents > 10 * SEEDS && effects > 20 * SEEDS, "{counts:?}");
    assert!(
        done > 20 * SEEDS && dead > SEEDS / 10 && fired > 4 * SEEDS && misfired > 4 * SEEDS,
        "{counts:?}"
    );
    assert!(counts.daily > SEEDS / 3, "{counts:?}");
    let Counts { stale_effects, stale_answers, stopped, overlapped, overloaded, .. } = counts;
    assert!(stale_effects > SEEDS / 4 && stale_answers > SEEDS && stopped > SEEDS, "{counts:?}");
    assert!(overlapped > SEEDS / 5 && overloaded > SEEDS / 2, "{counts:?}");
    let Counts { crashes, dead_workers, stalls, failed_batches, passed_over, clock_steps, .. } = counts;
    assert!(crashes > SEEDS && dead_workers > SEEDS / 2 && stalls > SEEDS / 2, "{counts:?}");
    assert!(failed_batches > SEEDS / 4 && passed_over > SEEDS / 100 && clock_steps > SEEDS, "{counts:?}");
    let Counts { partitions, cut_off, dropped, duplicated, reordered, unanswered, .. } = counts;
    assert!(partitions > SEEDS && cut_off > SEEDS && dropped > SEEDS && duplicated > SEEDS, "{counts:?}");
    assert!(reordered > SEEDS && unanswered > SEEDS, "{counts:?}");
}

fn sentences(mistake: Mistake) -> Vec<String> {
    (0..60).flat_map(|seed| run(Options { seed, steps: STEPS, mistake: Some(mistake) }).broken).collect()
}

/// Each mistake is found, and by what it breaks.
#[test]
fn mistakes_are_caught() {
    for (mistake, sentence) in [
        (Mistake::IgnoredTokens, "had an effect under the stale token"),
        (Mistake::ForgottenKeys, "was taken twice"),
        (Mistake::EarlyAcknowledgement, "was acknowledged and lost: it did not fire the policy"),
        (Mistake::LyingDisks, "was acknowledged and lost"),
        (Mistake::SteppedTimers, "fired before its time"),
        (Mistake::ForgottenBounds, "tasks are open"),
    ] {
        let caught = sentences(mistake);
        assert!(caught.iter().any(|s| s.contains(sentence)), "{mistake:?}: {caught:#?}");
    }
}
