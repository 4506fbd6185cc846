//! The log with its threads: group commit, a disk that is full, an orderly end, and a crash under many senders.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use grace_types::{
    chance::SeededEntropy,
    evidence::Source,
    time::{Clock, ManualClock, SystemClock, Timestamp},
};

use super::{batch, check, source};
use crate::kernels::immutable_log::{
    CURSORS,
    disk::memory::{Loss, MemoryDisk},
    open::{Opened, open},
    publish::{Publication, Publisher},
    writer::{LogWriter, NotSealed, Running},
};

fn start_with(disk: &MemoryDisk, clock: Arc<dyn Clock>) -> (LogWriter, Running) {
    let mut entropy = SeededEntropy::new(3);
    LogWriter::on(Arc::new(disk.clone()), &mut entropy, clock, |_| {}, &|| {}).unwrap()
}

fn start(disk: &MemoryDisk) -> (LogWriter, Running) {
    start_with(disk, Arc::new(SystemClock))
}

fn end(writer: &LogWriter, running: Running) {
    writer.stop();
    running.ended_blocking().unwrap();
}

#[test]
fn what_is_sealed_is_published_at_the_end_and_resumed() {
    let disk = MemoryDisk::default();
    let (writer, running) = start(&disk);
    let one = source("one");
    let asked = writer.append(batch(&one, 1, 0)).unwrap().blocking_recv().unwrap().unwrap();
    assert_eq!((asked.next, asked.index, asked.size), (1, None, 0));
    let sealed = writer.append(batch(&one, 1, 300)).unwrap().blocking_recv().unwrap().unwrap();
    assert_eq!((sealed.next, sealed.index, sealed.size), (301, Some(0), 300));
    let again = writer.append(batch(&one, 100, 201)).unwrap().blocking_recv().unwrap().unwrap();
    assert_eq!((again.next, again.index, again.size), (301, None, 300));
    let gap = writer.append(batch(&one, 302, 5)).unwrap().blocking_recv().unwrap().unwrap();
    assert_eq!((gap.next, gap.index), (301, None));
    let overlap = writer.append(batch(&one, 299, 4)).unwrap().blocking_recv().unwrap().unwrap();
    assert_eq!((overlap.next, overlap.index, overlap.size), (303, Some(300), 302));
    end(&writer, running);
    assert!(matches!(writer.append(batch(&one, 303, 1)), Err(NotSealed::Stopping)));
    assert_eq!(check(&disk)[&one], 302);
    assert!(disk.files().contains_key(CURSORS));
    // Each of them can be derived from the rest.
    for gone in [Some(CURSORS), None] {
        if let Some(path) = gone {
            disk.put(path, None);
        }
        let (writer, running) = start(&disk);
        assert_eq!(writer.published().borrow().checkpoint.size, 302);
        let asked = writer.append(batch(&one, 1, 0)).unwrap().blocking_recv().unwrap().unwrap();
        assert_eq!(asked.next, 303);
        end(&writer, running);
    }
}

#[test]
fn a_full_disk_loses_nothing_and_is_gone_on_from() {
    let disk = MemoryDisk::default();
    let (writer, mut running) = start(&disk);
    let (one, large) = (source("one"), source("large"));
    assert!(writer.append(batch(&one, 1, 20)).unwrap().blocking_recv().unwrap().is_ok());
    for room in [0, 300, 3000, 20_000] {
        disk.room(Some(room));
        let mut refused = 0;
        for source in [&one, &large, &one] {
            let next = |source| {
                disk.room(None);
                let asked = writer.append(batch(source, 1, 0)).unwrap().blocking_recv().unwrap();
                disk.room(Some(room));
                asked.unwrap().next
            };
            let first = next(source);
            let answer = writer.append(batch(source, first, 100)).unwrap().blocking_recv().unwrap();
            match answer {
                Ok(sealed) => assert_eq!(sealed.next, first + 100),
                Err(NotSealed::NotDurable { .. }) => refused += 1,
                Err(other) => panic!("{other}"),
            }
        }
        assert!(refused > 0, "room for {room} bytes was enough");
    }
    disk.room(None);
    let mut next = BTreeMap::new();
    for source in [&one, &large] {
        let asked = writer.append(batch(source, 1, 0)).unwrap().blocking_recv().unwrap().unwrap().next;
        let sealed = writer.append(batch(source, asked, 10)).unwrap().blocking_recv().unwrap().unwrap();
        next.insert((*source).clone(), sealed.next - 1);
    }
    let _ = running.is_alive();
    end(&writer, running);
    assert_eq!(check(&disk), next);
}

#[test]
fn a_clock_that_steps_changes_nothing() {
    let disk = MemoryDisk::default();
    let begun = Timestamp::from_nanos(1_700_000_000_000_000_000);
    let clock = Arc::new(ManualClock::starting_at(begun));
    let (writer, running) = start_with(&disk, clock.clone());
    for turn in 0..20u64 {
        let step = Duration::from_secs(300);
        clock.step_wall(if turn % 2 == 0 { begun.plus(step) } else { begun.minus(step) });
        let sealed = writer.append(batch(&source("one"), turn * 3 + 1, 3)).unwrap().blocking_recv().unwrap();
        assert_eq!(sealed.unwrap().next, turn * 3 + 4);
    }
    end(&writer, running);
    assert_eq!(check(&disk)[&source("one")], 60);
}

#[test]
fn a_publication_that_is_tried_again_leaves_alone_what_the_checkpoint_names() {
    let disk = MemoryDisk::default();
    let Opened { mut intake, .. } = open(&disk, &mut SeededEntropy::new(5), &|| {}).unwrap();
    intake.take(&batch(&source("one"), 1, 300)).unwrap();
    intake.seal(Vec::new()).unwrap();
    let plan = intake.plan().unwrap();
    let publication = Publication { plan, snapshot: Some(intake.snapshot()) };
    let mut publisher = Publisher::new(Arc::new(disk.clone()));
    disk.seal_off(Some("log-pending/cursors"));
    assert!(publisher.carry_out(&publication, &|| {}).is_err());
    assert_eq!(check(&disk)[&source("one")], 300);
    // To write a tile once more it would have to be emptied first, and there may be no room for it any more.
    disk.seal_off(Some("log/tile"));
    publisher.carry_out(&publication, &|| {}).unwrap();
    assert_eq!(check(&disk)[&source("one")], 300);
}

#[test]
fn what_waits_for_publication_does_not_grow_with_each_start() {
    let disk = MemoryDisk::default();
    end_of_a_life(&disk);
    disk.seal_off(Some("log/tile"));
    let one = source("one");
    let mut sizes = Vec::new();
    for _ in 0..4 {
        let (writer, running) = start(&disk);
        let ask = || writer.append(batch(&one, 1, 0)).unwrap().blocking_recv().unwrap();
        let mut size = 0;
        while let Ok(sealed) = ask()
            && let Ok(Ok(_)) = writer.append(batch(&one, sealed.next, 400)).unwrap().blocking_recv()
        {
            size = sealed.size;
        }
        sizes.push(size);
        writer.stop();
        assert!(running.ended_blocking().is_err(), "nothing can be published");
    }
    assert!(sizes[0] > 1000, "{sizes:?}");
    assert_eq!(sizes[1..], [0; 3], "the first life took what there was room for");
    disk.seal_off(None);
    end_of_a_life(&disk);
    assert!(check(&disk)[&one] >= sizes[0]);
}

/// A life in which nothing comes.
fn end_of_a_life(disk: &MemoryDisk) {
    let (writer, running) = start(disk);
    end(&writer, running);
}

/// Sends from several threads until the disk crashes; what was acknowledged.
fn senders(writer: &LogWriter, crashed: &AtomicBool) -> BTreeMap<Source, u64> {
    std::thread::scope(|scope| {
        let handles: Vec<_> = ["a", "b", "c", "d", "large"]
            .map(|name| {
                scope.spawn(move || {
                    let source = source(name);
                    let ask =
                        || writer.append_blocking(batch(&source, 1, 0)).ok()?.blocking_recv().ok()?.ok();
                    let mut next = ask().map_or(1, |sealed| sealed.next);
                    while !crashed.load(Ordering::Acquire) && next < 2000 {
                        let Ok(answered) = writer.append_blocking(batch(&source, next, 1 + next % 9)) else {
                            break;
                        };
                        match answered.blocking_recv() {
                            Ok(Ok(sealed)) => next = sealed.next,
                            _ => crashed.store(true, Ordering::Release),
                        }
                    }
                    (source, next - 1)
                })
            })
            .into_iter()
            .collect();
        handles.into_iter().map(|handle| handle.join().unwrap()).collect()
    })
}

#[test]
fn what_many_senders_were_told_survives_a_crash() {
    for round in 0..25u64 {
        let mut disk = MemoryDisk::default();
        let mut acknowledged = BTreeMap::new();
        for life in 0..3 {
            let (writer, running) = start(&disk);
            disk.crash_at(20 + round * 37 % 400);
            let heard = senders(&writer, &AtomicBool::new(false));
            acknowledged.extend(heard.into_iter().filter(|(_, count)| *count > 0));
            writer.stop();
            let done = running.ended_blocking();
            assert!(done.is_err() || !disk.has_crashed());
            disk = disk.after([Loss::All, Loss::None, Loss::Mixed(round)][life]);
        }
        let (writer, running) = start(&disk);
        end(&writer, running);
        let found = check(&disk);
        for (source, count) in &acknowledged {
            assert!(found.get(source) >= Some(count), "{source}: {:?} < {count}", found.get(source));
        }
    }
}
