//! Appending asks for memory once for a bundle and for a tile, and never for an entry.
//!
//! A binary of its own, since the allocator that counts is the whole program's.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say so and stop")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use grace_log::{append::Appender, note::SignerKey};
use grace_types::chance::SeededEntropy;

/// The system's allocator, which counts what the thread asks of it: others, such as the harness's, have nothing to do with it.
struct Counting;

thread_local! {
    static ASKED: Cell<u64> = const { Cell::new(0) };
}

fn asked() {
    ASKED.with(|asked| asked.set(asked.get() + 1));
}

#[expect(unsafe_code, reason = "an allocator can be written in no other way")]
// SAFETY: each call is passed on to the system's allocator as it is. The counter is a plain number of the thread, which neither
// allocates nor has a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        asked();
        // SAFETY: the caller's promises are those that `System` wants.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        asked();
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        asked();
        // SAFETY: as above; `old` came from `System`, as everything did.
        unsafe { System.realloc(old, layout, size) }
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(old, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// How often `work` asks for memory.
fn allocations(work: impl FnOnce()) -> u64 {
    let before = ASKED.get();
    work();
    ASKED.get() - before
}

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
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1)))), 1);
    assert_eq!(allocations(|| assert_eq!(std::hint::black_box(1), 1)), 0);
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
