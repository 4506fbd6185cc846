//! One moment of a log that may be growing: its checkpoint is read once, and files are read for that size.
//!
//! While the verifier reads each bundle, the view notes which entries name a blob, so that nothing is read twice.

use std::{
    borrow::Cow,
    cell::{Cell, RefCell},
    collections::BTreeMap,
    io,
};

use grace_core::kernels::immutable_log::Folder;
use grace_log::{
    files::Files,
    tile::{CHECKPOINT_PATH, Entries, Kind, Resource},
};
use grace_types::evidence::{Blob, Content, LogEntry};

/// The folder of records that do not fit an entry.
pub(crate) const BLOBS: &str = "blobs/";

/// A log as it stands under one checkpoint.
pub(crate) struct View<'a> {
    folder: &'a Folder,
    note: Option<Vec<u8>>,
    size: Cell<u64>,
    /// By digest: the first entry that names it, and its size.
    blobs: RefCell<BTreeMap<String, (u64, u64)>>,
    /// Told how many entries have been read, after each bundle.
    progress: &'a dyn Fn(u64),
}

impl<'a> View<'a> {
    /// The log under the checkpoint that is there now.
    pub(crate) fn of(folder: &'a Folder, progress: &'a dyn Fn(u64)) -> io::Result<Self> {
        let note = folder.read(CHECKPOINT_PATH, grace_log::limits::NOTE_BYTES)?.map(Cow::into_owned);
        Ok(Self { folder, note, size: Cell::new(0), blobs: RefCell::default(), progress })
    }

    /// Whether another checkpoint lies there by now.
    pub(crate) fn is_stale(&self) -> bool {
        let now = self.folder.read(CHECKPOINT_PATH, grace_log::limits::NOTE_BYTES);
        now.is_ok_and(|now| now.as_deref() != self.note.as_deref())
    }

    /// What the entries name, of those that were read.
    pub(crate) fn blobs(&self) -> BTreeMap<String, (u64, u64)> {
        self.blobs.take()
    }

    fn note_blobs(&self, bundle: Resource, bytes: &[u8]) {
        let first = bundle.index * 256;
        for (index, entry) in (first..).zip(Entries::of(bytes)) {
            if let Some(Blob { sha256, size }) = blob_of(entry) {
                self.blobs.borrow_mut().entry(sha256).or_insert((index, size));
            }
            self.size.set(self.size.get().max(index + 1));
        }
        (self.progress)(self.size.get());
    }
}

/// The blob that an entry names, if it does.
fn blob_of(entry: &[u8]) -> Option<Blob> {
    // Names have no quotes or commas, so the third comma ends the head of an entry; nearly all hold a record, which need
    // not be looked into.
    let mut commas = entry.iter().enumerate().filter(|(_, byte)| **byte == b',').map(|(at, _)| at);
    let content = entry.get(commas.nth(2)? + 1..)?;
    if !content.starts_with(b"\"blob\":") {
        return None;
    }
    match LogEntry::read(entry).ok()?.content {
        Content::Blob(blob) => Some(blob),
        Content::Record(_) => None,
    }
}

impl Files for View<'_> {
    fn read(&self, path: &str, limit: usize) -> io::Result<Option<Cow<'_, [u8]>>> {
        if path == CHECKPOINT_PATH {
            return Ok(self.note.as_deref().map(Cow::Borrowed));
        }
        let bytes = self.folder.read(path, limit)?;
        if let (Some(bytes), Some(resource)) = (&bytes, Resource::parse(path))
            && resource.kind == Kind::Entries
        {
            self.note_blobs(resource, bytes);
        }
        Ok(bytes)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.folder.list()
    }
}

#[cfg(test)]
mod tests {
    use grace_types::evidence::{JournalId, Source, write_blob_entry, write_entry};

    use super::*;

    #[test]
    fn blobs_are_told_from_records() {
        let source = Source::new("a-b.c_d", JournalId(7)).unwrap();
        let blob = Blob { sha256: "ab".repeat(32), size: 70_000 };
        let mut entry = Vec::new();
        write_blob_entry(&mut entry, &source, 3, &blob);
        assert_eq!(blob_of(&entry), Some(blob));
        for record in ["{}", r#"{"a":1,"blob":{"sha256":"x","size":1}}"#, r#"["blob",2,3,"blob"]"#] {
            entry.clear();
            write_entry(&mut entry, &source, 3, record.as_bytes());
            assert_eq!(blob_of(&entry), None, "{record}");
        }
        for strange in ["", ",,,", ",,,\"blob\":", "a,b,c,\"blob\":{}}"] {
            assert_eq!(blob_of(strange.as_bytes()), None);
        }
    }
}
