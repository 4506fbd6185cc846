//! The pure part: whatever batches come in whatever order, each record is taken once and in order.

use std::collections::BTreeMap;

use grace_log::{append::Appender, note::SignerKey};
use grace_types::chance::SeededEntropy;
use proptest::prelude::*;

use super::{batch, source};
use crate::kernels::immutable_log::{
    cursors::{Cursors, Snapshot},
    intake::{Intake, Taken},
};

fn intake() -> Intake {
    let key = SignerKey::generate("grace/test", &mut SeededEntropy::new(1)).unwrap();
    Intake::new(key, Appender::new(), Cursors::default(), 0)
}

proptest! {
    #[test]
    fn each_record_is_taken_once_and_in_order(batches in prop::collection::vec((0..3usize, 1..40u64, 0..20u64), 0..40)) {
        let mut intake = intake();
        let mut model = BTreeMap::new();
        for (of, first, count) in batches {
            let source = source(["one", "two", "three"][of]);
            let size = intake.size();
            let next = *model.get(&source).unwrap_or(&1u64);
            let new = if first > next { 0 } else { (first + count).saturating_sub(next) };
            let taken = intake.take(&batch(&source, first, count)).unwrap();
            prop_assert_eq!(taken, Taken { next: next + new, index: (new > 0).then_some(size) });
            prop_assert_eq!(intake.size(), size + new);
            model.insert(source, next + new);
        }
        let snapshot = intake.snapshot();
        prop_assert_eq!(Snapshot::read(&snapshot.to_bytes()), Some(snapshot));
    }

    #[test]
    fn no_snapshot_is_too_strange(bytes: Vec<u8>, at: prop::sample::Index) {
        prop_assert_eq!(Snapshot::read(&bytes), None);
        let mut intake = intake();
        intake.take(&batch(&source("one"), 1, 3)).unwrap();
        let mut bytes = intake.snapshot().to_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= 4;
        prop_assert_eq!(Snapshot::read(&bytes), None);
    }
}

#[test]
fn a_record_that_does_not_fit_is_named_by_its_digest() {
    let mut intake = intake();
    let large = batch(&source("large"), 1, 32);
    let blobs = intake.blobs(&large);
    assert_eq!(blobs.len(), 2);
    assert!(blobs.iter().all(|(blob, record)| blob.size == record.len() as u64));
    intake.take(&large).unwrap();
    assert!(intake.blobs(&large).is_empty(), "it is there already");
}
