//! The intake asks for memory for a batch, for a bundle and for a tile, and never for an entry: from the message on the bus to the open frame.

use grace_bus::Message;
use grace_kernel::evidence::{
    Sink,
    wire::{Batch, BatchWriter, Joined},
};
use grace_log::{append::Appender, note::SignerKey};
use grace_types::{chance::SeededEntropy, evidence::Source};

use super::{counting::allocations, source};
use crate::kernels::immutable_log::{cursors::Cursors, documents::are_documents, intake::Intake};

const BUNDLE: u64 = 256;

/// Records as deciders write them.
fn message(source: &Source, first: u64, count: u64) -> Message {
    let mut writer = BatchWriter::new(source.clone(), first);
    for sequence in first..first + count {
        let record = format!(
            r#"{{"event": {{"id": "evt_{sequence:026}", "time": "2026-11-23T15:00:00.25Z", "record": {{"what":
                {{"counted": {{"to": {sequence}, "by": [[1, 2.5e-3], ["a\tb", null]]}}}}, "why": [{{"code": "counter.asked",
                "text": "somebody asked for “{sequence}”"}}], "how": "addition", "where": "counter"}}}}}}"#
        );
        assert_eq!(writer.join(record.as_bytes()), Joined::Yes);
    }
    writer.into_message(Sink::ImmutableLog)
}

/// What the kernel does with a message.
fn take(intake: &mut Intake, message: &Message) {
    let batch = Batch::read(Sink::ImmutableLog, message).unwrap();
    are_documents(&batch).unwrap();
    assert!(intake.blobs(&batch).is_empty());
    let end = batch.end();
    assert_eq!(intake.take(&batch).unwrap().next, end);
}

#[test]
fn a_batch_asks_for_memory_as_often_however_many_entries_it_has() {
    let key = SignerKey::generate("grace/test", &mut SeededEntropy::new(1)).unwrap();
    let mut intake = Intake::new(key, Appender::new(), Cursors::default(), 0);
    let one = source("one");
    let mut next = 1;
    let mut spare = Vec::new();
    let mut taken = |count: u64| {
        let message = message(&one, next, count);
        next += count;
        let asked = allocations(|| take(&mut intake, &message));
        // As between two batches that do not wait for each other; the buffers are used again.
        let frame = intake.seal(std::mem::take(&mut spare)).unwrap();
        spare = frame.bytes;
        intake.plan().unwrap();
        asked
    };
    // So that buffers have the size that they will have; each fills a bundle.
    for _ in 0..4 {
        taken(BUNDLE);
    }
    let few = taken(1);
    let many = taken(BUNDLE - 2);
    assert_eq!(few, many, "for one entry and for {}", BUNDLE - 2);
    // The body is not copied, and what is known of the source is.
    assert!(few <= 8, "{few} allocations for a batch");
}

#[test]
fn what_was_there_already_asks_for_no_more() {
    let key = SignerKey::generate("grace/test", &mut SeededEntropy::new(1)).unwrap();
    let mut intake = Intake::new(key, Appender::new(), Cursors::default(), 0);
    let one = source("one");
    take(&mut intake, &message(&one, 1, 200));
    let (few, many) = (message(&one, 1, 1), message(&one, 1, 200));
    let repeated = |intake: &mut Intake, message: &Message| {
        allocations(|| {
            let batch = Batch::read(Sink::ImmutableLog, message).unwrap();
            are_documents(&batch).unwrap();
            assert_eq!(intake.take(&batch).unwrap().index, None);
        })
    };
    // The first time, what the thread keeps for itself is counted as well.
    repeated(&mut intake, &few);
    assert_eq!(repeated(&mut intake, &few), repeated(&mut intake, &many));
}
