//! Bringing the public files up to a seal: bundles, tiles, checkpoint, each synced, in the order that no crash can break.
//!
//! Whatever fails or is cut off, the checkpoint in the folder describes files that are there; carrying the same publication out
//! again, or a later one after a restart, writes the rest.

use std::{collections::BTreeSet, io, sync::Arc};

use grace_log::append::{Plan, Write};
use grace_types::evidence::Blob;

use super::{
    BLOBS, CHECKPOINT, CURSORS, LOG, PENDING,
    cursors::Snapshot,
    disk::{self, Disk, Durable, parent},
};

/// Folders whose names are known to be durable; past this many they are forgotten and synced once more.
const FOLDERS: usize = 1024;

/// One step of the public files.
#[derive(Debug, Clone)]
pub(super) struct Publication {
    /// What to write.
    pub(super) plan: Plan,
    /// The cursors at the plan's checkpoint, now and then.
    pub(super) snapshot: Option<Snapshot>,
}

/// Carries publications out.
pub(super) struct Publisher {
    disk: Arc<dyn Disk>,
    /// Folders that are named in a parent that was synced.
    durable: BTreeSet<String>,
    /// The size of the tree whose files are durable. They are not written once more when a later step fails and all is tried again: the
    /// checkpoint may name them by then, and to write a file is to empty it first.
    stored: Option<u64>,
}

impl Publisher {
    /// On `disk`, of which nothing is known.
    pub(super) fn new(disk: Arc<dyn Disk>) -> Self {
        Self { disk, durable: BTreeSet::new(), stored: None }
    }

    /// Carries one out. `step` is called now and then, as a sign that it goes on.
    ///
    /// # Errors
    /// It is not done, or not durable: carry it out again.
    pub(super) fn carry_out(&mut self, publication: &Publication, step: &dyn Fn()) -> io::Result<()> {
        let Publication { plan, snapshot } = publication;
        let Some((checkpoint, files)) = plan.writes.split_last() else { return Ok(()) };
        let size = Some(plan.checkpoint.size);
        if self.stored != size {
            if self.disk.store(LOG, files, step)? == Durable::Bytes {
                self.sync_names(files, step)?;
            }
            self.stored = size;
        }
        self.replace(CHECKPOINT, "checkpoint.new", &checkpoint.bytes)?;
        if !self.durable.contains(LOG) {
            self.disk.sync("")?;
            self.durable.insert(LOG.to_owned());
        }
        step();
        for folder in &plan.superseded {
            self.disk.remove_folder(&format!("{LOG}/{folder}"))?;
            self.durable.remove(&format!("{LOG}/{folder}"));
        }
        match snapshot {
            Some(snapshot) => self.replace(CURSORS, "cursors.new", &snapshot.to_bytes()),
            None => Ok(()),
        }
    }

    fn replace(&self, path: &str, fresh: &str, bytes: &[u8]) -> io::Result<()> {
        disk::replace(&*self.disk, path, &format!("{PENDING}/{fresh}"), bytes)
    }

    /// Makes the names of the files durable, and those of their folders where they may be new.
    fn sync_names(&mut self, files: &[Write], step: &dyn Fn()) -> io::Result<()> {
        if self.durable.len() > FOLDERS {
            self.durable.clear();
        }
        let mut folders = BTreeSet::new();
        let mut fresh = BTreeSet::new();
        for write in files {
            let path = format!("{LOG}/{}", write.path);
            let mut folder = parent(&path);
            folders.insert(folder.to_owned());
            while !folder.is_empty() && !self.durable.contains(folder) && fresh.insert(folder.to_owned()) {
                folder = parent(folder);
                folders.insert(folder.to_owned());
            }
        }
        for folder in folders {
            self.disk.sync(&folder)?;
            step();
        }
        self.durable.append(&mut fresh);
        Ok(())
    }
}

/// Writes a record that does not fit an entry beside the log, durably.
///
/// # Errors
/// It may not be there, or not be durable.
pub(super) fn store_blob(disk: &dyn Disk, blob: &Blob, record: &[u8]) -> io::Result<()> {
    disk::replace(disk, &format!("{LOG}/{BLOBS}/{}", blob.sha256), &format!("{PENDING}/blob.new"), record)?;
    disk.sync(LOG)
}
