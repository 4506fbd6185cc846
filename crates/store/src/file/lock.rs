//! The lock of a journal's folder, held while something is written. It is the kernel's (`flock`), so a process that dies lets go of it.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

use super::place::failed;
use crate::{StoreError, limits};

/// Between two looks at a lock that another writer holds.
const PAUSE: Duration = Duration::from_millis(1);

/// The open folder.
#[derive(Debug)]
pub(super) struct Lock {
    folder: Arc<File>,
    path: PathBuf,
}

/// Holds the lock until it is dropped.
#[derive(Debug)]
pub(super) struct Held(Arc<File>);

impl Lock {
    pub(super) fn of(folder: &Path) -> Result<Self, StoreError> {
        let open = File::open(folder).map_err(|e| failed(folder, &e))?;
        Ok(Self { folder: Arc::new(open), path: folder.into() })
    }

    /// Takes it, and waits for another writer if need be, at most [`limits::LOCK_TRIES`].
    pub(super) fn take(&self) -> Result<Held, StoreError> {
        for _ in 0..limits::LOCK_TRIES {
            match flock(&self.folder, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Held(Arc::clone(&self.folder))),
                Err(Errno::WOULDBLOCK) => thread::park_timeout(PAUSE),
                Err(Errno::INTR) => {}
                Err(e) => return Err(failed(&self.path, &e.into())),
            }
        }
        let held = io::Error::other("another writer holds it and does not let go");
        Err(failed(&self.path, &held))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}
