//! Both sides killed at random, 500 times, under load.

use std::time::Duration;

use grace_kernel::evidence::Sink;
use grace_types::chance::{Entropy as _, OsEntropy, SeededEntropy};

use crate::{bench::Bench, instance::holds};

const KILLS: u32 = 500;
/// The longest time between two kills.
const PAUSE_MILLIS: u64 = 100;

#[test]
fn five_hundred_kills_leave_no_gap_and_no_duplicate() {
    let seed = OsEntropy.next_u64();
    println!("seed {seed}");
    let mut chance = SeededEntropy::new(seed);
    let mut bench = Bench::new(&["alpha", "beta", "gamma.1"]);
    bench.start_sources(true);
    holds("records reach the sinks", || Sink::ALL.iter().all(|sink| bench.acknowledged("alpha", *sink) > 0));
    for _ in 0..KILLS {
        // The schedule of the faults; nothing is waited for.
        std::thread::park_timeout(Duration::from_millis(chance.below(PAUSE_MILLIS)));
        bench.kill(chance.below(bench.programs.len() as u64) as usize);
    }
    let kills: Vec<(&str, u32)> =
        bench.programs.iter().map(|program| (program.name, program.kills)).collect();
    assert!(kills.iter().all(|(_, kills)| *kills > 50), "{kills:?}");
    bench.unload();
    let journals = bench.compare();
    let records: usize = journals.values().map(Vec::len).sum();
    println!("{kills:?}, {records} records");
    assert!(records > 1000, "there was load: {records}");
}
