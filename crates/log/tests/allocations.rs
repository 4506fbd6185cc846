//! Appending asks for memory once for a bundle and for a tile, and never for an entry.
//!
//! A binary of its own, since the allocator that counts is the whole program's.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say so and stop")]

#[path = "counting.rs"]
mod counting;

use grace_log::{append::Appender, note::SignerKey};
use grace_types::chance::SeededEntropy;

use counting::allocations;

const BUNDLE: u64 = 256;

/// A log that has seen a batch of `bundles` already, so that its buffers have the size that they will have, and the entry for it.
fn warmed(bundles: u64) -> (Appender, [u8; 300], SignerKey) {
    let key = SignerKey::generate("log.example/allocations", &mut SeededEntropy::new(1)).unwrap();
    let (mut appender, entry) = (Appender::new(), [7; 300]);
    for _ in 0..bundles * BUNDLE {
        appender.append(&entry).unwrap();
    }
    appender.seal("log.example/allocations", &[&key]).unwrap();
    (appender, entry, key)
}

#[test]
fn an_entry_that_fills_no_bundle_asks_for_no_memory() {
    let (mut appender, entry, _) = warmed(8);
    let asked = allocations(|| {
        for _ in 0..BUNDLE - 1 {
            appender.append(&entry).unwrap();
        }
    });
    assert_eq!((asked, appender.unsealed()), (0, BUNDLE - 1));
}

#[test]
fn twice_the_entries_ask_for_memory_once_more_for_each_bundle() {
    /// For a bundle: its path, the next one's bytes, the next tile's; and now and then a longer list of what is full.
    const EACH: u64 = 6;
    const SOME: u64 = 32;
    for bundles in [16, 32, 64] {
        let (mut appender, entry, key) = warmed(bundles);
        let mut batch = |bundles: u64| {
            let appended = allocations(|| {
                for _ in 0..bundles * BUNDLE {
                    appender.append(&entry).unwrap();
                }
            });
            let sealed = allocations(|| drop(appender.seal("log.example/allocations", &[&key]).unwrap()));
            (appended, sealed)
        };
        for times in [1, 2] {
            let count = times * bundles;
            let (appended, sealed) = batch(count);
            assert!(appended <= EACH * count, "{appended} allocations for {count} bundles");
            // Paths are texts, which are put together.
            assert!(sealed <= 4 * EACH * count + SOME * EACH, "{sealed} allocations to seal {count} bundles");
        }
    }
}
