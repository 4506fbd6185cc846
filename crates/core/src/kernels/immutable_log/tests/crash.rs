//! A crash at every single write, sync, rename and removal, three ways each; and then again while it recovers.

use std::{collections::BTreeMap, sync::Arc};

use grace_types::{chance::SeededEntropy, evidence::Source};

use super::{batch, check, source};
use crate::kernels::immutable_log::{
    disk::memory::{Loss, MemoryDisk},
    known::Point,
    open::{Opened, open},
    publish::{Publication, Publisher, store_blob},
};

/// What was acknowledged.
type Acknowledged = BTreeMap<Source, u64>;

/// Opens the log and appends batches, as the threads do, one step after the other; until it is done or the disk crashes.
fn live(disk: &MemoryDisk, batches: u64, acknowledged: &mut Acknowledged) -> Result<(), String> {
    let shared = Arc::new(disk.clone());
    let error = |e: &dyn std::fmt::Display| e.to_string();
    let Opened { mut intake, mut pending, mut known, published, is_new, .. } =
        open(disk, &mut SeededEntropy::new(5), &|| {}).map_err(|e| error(&e))?;
    let mut publisher = Publisher::new(shared);
    let mut public = published.size;
    if is_new || intake.has_unplanned() {
        let plan = intake.plan().unwrap();
        public = plan.checkpoint.size;
        publisher.carry_out(&Publication { plan, snapshot: None }, &|| {}).map_err(|e| error(&e))?;
    }
    for turn in 0..batches {
        let source = source(["one", "two", "large"][turn as usize % 3]);
        let next = acknowledged.get(&source).copied().unwrap_or(0) + 1;
        // Some of it was sent before.
        let first = next.saturating_sub(turn % 2).max(1);
        let count = 1 + (turn + 1) * 17 % 70 + next - first;
        let batch = batch(&source, first, count);
        for (blob, record) in intake.blobs(&batch) {
            store_blob(disk, &blob, record).map_err(|e| error(&e))?;
        }
        let taken = intake.take(&batch).unwrap();
        assert!(taken.next >= batch.end());
        if intake.is_open() {
            let frame = intake.seal(Vec::new()).unwrap();
            pending.write(&frame, public).map_err(|e| error(&e))?;
            known.sealed(Point::of(&frame.checkpoint)).map_err(|e| error(&e))?;
        }
        acknowledged.insert(source, taken.next - 1);
        if turn % 3 == 2 {
            let snapshot = (turn % 2 == 0).then(|| intake.snapshot());
            let plan = intake.plan().unwrap();
            let point = Point::of(&plan.checkpoint);
            publisher.carry_out(&Publication { plan, snapshot }, &|| {}).map_err(|e| error(&e))?;
            public = point.size;
            known.published(point).map_err(|e| error(&e))?;
        }
    }
    let plan = intake.plan().unwrap();
    publisher
        .carry_out(&Publication { plan, snapshot: Some(intake.snapshot()) }, &|| {})
        .map_err(|e| error(&e))
}

fn holds(found: &Acknowledged, acknowledged: &Acknowledged) {
    for (source, count) in acknowledged {
        assert!(found.get(source) >= Some(count), "{source}: {:?} < {count}", found.get(source));
    }
}

// In four parts, so that they run beside each other.

#[test]
fn acknowledged_entries_survive_a_crash_at_every_fourth_step() {
    crash_at_each(0);
}

#[test]
fn acknowledged_entries_survive_a_crash_one_step_later() {
    crash_at_each(1);
}

#[test]
fn acknowledged_entries_survive_a_crash_two_steps_later() {
    crash_at_each(2);
}

#[test]
fn acknowledged_entries_survive_a_crash_three_steps_later() {
    crash_at_each(3);
}

/// Crashes at each step of which `first` is the first.
fn crash_at_each(first: u64) {
    let mut steps = first;
    loop {
        let mut reached_the_end = false;
        let extreme = if (steps / 4).is_multiple_of(2) { Loss::All } else { Loss::None };
        for loss in [extreme, Loss::Mixed(steps)] {
            let disk = MemoryDisk::default();
            let mut acknowledged = Acknowledged::new();
            disk.crash_at(steps);
            let first = live(&disk, 15, &mut acknowledged);
            reached_the_end = first.is_ok();
            // The second life is cut off too, early or late.
            let disk = disk.after(loss);
            disk.crash_at(steps * 13 % 60);
            let second = live(&disk, 3, &mut acknowledged);
            assert!(second.is_ok() || disk.has_crashed(), "crash at {steps}, {loss:?}: {second:?}");
            let disk = disk.after(loss);
            live(&disk, 0, &mut acknowledged).unwrap_or_else(|e| panic!("crash at {steps}, {loss:?}: {e}"));
            holds(&check(&disk), &acknowledged);
            live(&disk, 6, &mut acknowledged).unwrap();
            let found = check(&disk);
            assert_eq!(
                found.get(&source("one")),
                acknowledged.get(&source("one")),
                "crash at {steps}, {loss:?}"
            );
            holds(&found, &acknowledged);
        }
        if reached_the_end {
            break;
        }
        steps += 4;
    }
    assert!(steps > 100, "only {steps} steps were there to crash at");
}
