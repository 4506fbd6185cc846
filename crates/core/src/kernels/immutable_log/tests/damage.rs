//! What is altered, missing or older than it was is refused, with words that say which file and what to do.

use std::sync::Arc;

use grace_log::{checkpoint::Checkpoint, hash::Hash, note::SignerKey};
use grace_types::chance::SeededEntropy;

use super::{batch, check, source};
use crate::kernels::immutable_log::{
    CHECKPOINT, CURSORS, KNOWN, PUBLIC_KEY, SECRET_KEY,
    disk::memory::MemoryDisk,
    known::Point,
    open::{OpenError, Opened, open, remembered},
    publish::{Publication, Publisher},
};

fn opened(disk: &MemoryDisk) -> Result<Opened, OpenError> {
    open(disk, &mut SeededEntropy::new(5), &|| {})
}

fn refusal(disk: &MemoryDisk) -> String {
    opened(disk).err().expect("it is refused").to_string()
}

/// Appends `frames` frames of ten records, the first `published` of them published.
fn grow(disk: &MemoryDisk, frames: u64, published: u64) -> u64 {
    let Opened { mut intake, mut pending, mut known, published: before, .. } = opened(disk).unwrap();
    let mut publisher = Publisher::new(Arc::new(disk.clone()));
    let mut public = before.size;
    for frame in 0..frames {
        let at = intake.size();
        intake.take(&batch(&source("one"), at + 1, 10)).unwrap();
        let sealed = intake.seal(Vec::new()).unwrap();
        pending.write(&sealed, public).unwrap();
        known.sealed(Point::of(&sealed.checkpoint)).unwrap();
        if frame < published {
            let plan = intake.plan().unwrap();
            let snapshot = Some(intake.snapshot());
            let point = Point::of(&plan.checkpoint);
            publisher.carry_out(&Publication { plan, snapshot }, &|| {}).unwrap();
            known.published(point).unwrap();
            public = point.size;
        }
    }
    intake.size()
}

/// The same disk with one file changed.
fn with(disk: &MemoryDisk, path: &str, change: impl FnOnce(&mut Vec<u8>)) -> MemoryDisk {
    let mut files = disk.files();
    if let Some(bytes) = files.get_mut(path) {
        change(bytes);
    }
    let altered = MemoryDisk::default();
    for (name, bytes) in files {
        altered.put(&name, Some(bytes));
    }
    altered
}

fn without(disk: &MemoryDisk, path: &str) -> MemoryDisk {
    let altered = with(disk, path, |_| {});
    altered.put(path, None);
    altered
}

#[test]
fn keys_are_neither_replaced_nor_guessed() {
    let disk = MemoryDisk::default();
    grow(&disk, 2, 1);
    assert!(matches!(opened(&without(&disk, SECRET_KEY)), Err(OpenError::KeyMissing)));
    for at in [3, 20, 40, 60, 80] {
        let refused = refusal(&with(&disk, SECRET_KEY, |bytes| bytes[at] ^= 1));
        assert!(refused.contains(SECRET_KEY) || refused.contains("public half"), "{refused}");
    }
    let stranger = SignerKey::generate("grace/stranger", &mut SeededEntropy::new(9)).unwrap();
    let other = |text: String| move |bytes: &mut Vec<u8>| *bytes = text.into_bytes();
    let refused = refusal(&with(&disk, PUBLIC_KEY, other(stranger.verifier().to_string())));
    assert!(refused.contains("not the public half"), "{refused}");
    let both = with(&disk, PUBLIC_KEY, other(stranger.verifier().to_string()));
    let refused = refusal(&with(&both, SECRET_KEY, other(stranger.to_secret_text())));
    assert!(refused.starts_with(CHECKPOINT), "{refused}");
    let again = without(&disk, PUBLIC_KEY);
    assert!(opened(&again).is_ok());
    assert_eq!(again.files()[PUBLIC_KEY], disk.files()[PUBLIC_KEY]);
}

#[test]
fn an_older_checkpoint_or_another_one_is_found() {
    let disk = MemoryDisk::default();
    grow(&disk, 3, 3);
    let older = disk.files()[CHECKPOINT].clone();
    let size = grow(&disk, 30, 30);
    let rolled_back = with(&disk, CHECKPOINT, |bytes| bytes.clone_from(&older));
    assert!(matches!(opened(&rolled_back), Err(OpenError::RolledBack { found: 30, known }) if known == size));
    // Either of the two memories is enough.
    assert!(matches!(opened(&without(&rolled_back, KNOWN)), Err(OpenError::RolledBack { .. })));
    assert!(matches!(opened(&without(&rolled_back, CURSORS)), Err(OpenError::RolledBack { .. })));
    assert!(
        matches!(opened(&without(&disk, CHECKPOINT)), Err(OpenError::Missing { known }) if known == size)
    );

    let secret = String::from_utf8(disk.files()[SECRET_KEY].clone()).unwrap();
    let key = SignerKey::from_secret_text(secret.trim_end()).unwrap();
    let forked = Checkpoint::new(key.verifier().name(), size, Hash([7; 32])).unwrap().sign(&[&key]).unwrap();
    let forked = with(&disk, CHECKPOINT, |bytes| *bytes = forked.into_bytes());
    let refused = refusal(&forked);
    assert!(refused.contains("forked"), "{refused}");
    let known = remembered(&disk, key.verifier().name()).unwrap();
    assert!(known.iter().all(|known| known.size == size), "{known:?}");
}

#[test]
fn no_altered_byte_of_a_pending_frame_costs_an_entry_silently() {
    let disk = MemoryDisk::default();
    grow(&disk, 1, 1);
    let size = grow(&disk, 3, 0);
    assert_eq!(opened(&with(&disk, "", |_| {})).unwrap().intake.size(), size);
    let segment = ["log-pending/0", "log-pending/1"]
        .into_iter()
        .find(|path| disk.files()[*path].starts_with(b"GRACELG1"))
        .unwrap();
    let (mut damaged, mut refused) = (0, 0);
    for at in (0..disk.files()[segment].len()).step_by(11) {
        let altered = with(&disk, segment, |bytes| bytes[at] ^= 0x10);
        match opened(&altered) {
            // Published already, padding, or past the last frame.
            Ok(opened) => assert_eq!(opened.intake.size(), size, "byte {at}"),
            Err(OpenError::Frame { base, .. }) => {
                assert!((10..size).contains(&base), "byte {at}: {base}");
                damaged += 1;
            }
            Err(OpenError::Lost { known, .. }) => {
                assert_eq!(known, size);
                refused += 1;
            }
            Err(other) => panic!("byte {at}: {other}"),
        }
    }
    assert!(damaged > 100, "{damaged} and {refused}");
    let gone = without(&without(&disk, "log-pending/0"), "log-pending/1");
    assert!(matches!(opened(&gone), Err(OpenError::Lost { found: 10, known }) if known == size));
    assert!(matches!(opened(&with(&disk, KNOWN, |bytes| bytes[20] ^= 1)), Err(OpenError::Known { .. })));
}

#[test]
fn what_can_be_derived_is() {
    let disk = MemoryDisk::default();
    let size = grow(&disk, 30, 30);
    for altered in
        [without(&disk, CURSORS), with(&disk, CURSORS, |bytes| bytes[9] ^= 1), without(&disk, KNOWN)]
    {
        let found = opened(&altered).unwrap();
        assert_eq!(found.intake.snapshot().cursors.next(&source("one")), size + 1);
        grow(&altered, 3, 3);
        assert_eq!(check(&altered)[&source("one")], size + 30);
    }
    // An entry that is read again is compared with its leaf.
    let altered = with(&without(&disk, CURSORS), "log/tile/entries/000", |bytes| bytes[100] ^= 1);
    let refused = refusal(&altered);
    assert!(refused.contains("log/tile/entries/000: entry 0"), "{refused}");
}
