//! A thousand bad days, each twice: the same seed gives the same bytes, and no promise is broken on any of them.

use std::sync::atomic::{AtomicU64, Ordering};

use grace_sim::{
    Options, run,
    world::{Counts, Mistake},
};

const SEEDS: u64 = 1000;
const STEPS: u64 = 800;

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
            sum = add(sum, first.counts);
        }
    };
    let counts = std::thread::scope(|scope| {
        let other = scope.spawn(work);
        add(work(), other.join().expect("the other half of the seeds"))
    });
    // A day on which nothing broke proves nothing.
    let Counts { answered, retries, crashes, fenced, failed_batches, passed_over, .. } = counts;
    assert!(answered > 5 * SEEDS && retries > 5 * SEEDS, "{counts:?}");
    assert!(crashes > SEEDS && fenced > SEEDS / 2 && failed_batches > SEEDS / 4, "{counts:?}");
    assert!(passed_over > SEEDS / 10 && counts.dropped > SEEDS && counts.duplicated > SEEDS, "{counts:?}");
    assert!(counts.reordered > SEEDS / 2, "{counts:?}");
}

fn add(a: Counts, b: Counts) -> Counts {
    Counts {
        answered: a.answered + b.answered,
        retries: a.retries + b.retries,
        crashes: a.crashes + b.crashes,
        fenced: a.fenced + b.fenced,
        failed_batches: a.failed_batches + b.failed_batches,
        passed_over: a.passed_over + b.passed_over,
        dropped: a.dropped + b.dropped,
        duplicated: a.duplicated + b.duplicated,
        reordered: a.reordered + b.reordered,
    }
}

fn sentences(mistake: Mistake) -> Vec<String> {
    (0..100).flat_map(|seed| run(Options { seed, steps: STEPS, mistake: Some(mistake) }).broken).collect()
}

#[test]
fn disks_that_lie_about_syncs_are_caught() {
    let caught = sentences(Mistake::LyingDisks);
    assert!(caught.iter().any(|s| s.contains("acknowledged and lost")), "{caught:?}");
}

#[test]
fn keys_that_are_forgotten_are_caught() {
    let caught = sentences(Mistake::ForgottenKeys);
    assert!(caught.iter().any(|s| s.contains("applied twice")), "{caught:?}");
}
