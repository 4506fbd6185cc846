//! What was read from a file of the operator's, kept for as long as the file stays as it is: a look at it costs one system call.

use std::{
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// What tells one file from the next: device, number, size, and when it was changed.
type Stamp = (u64, u64, u64, i64, i64);

fn stamp(path: &Path) -> io::Result<Option<Stamp>> {
    match std::fs::metadata(path) {
        Ok(of) => Ok(Some((of.dev(), of.ino(), of.size(), of.ctime(), of.ctime_nsec()))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// A file, and what it held when it was last read.
#[derive(Debug)]
pub(crate) struct Kept<T> {
    path: PathBuf,
    read: fn(&Path) -> io::Result<T>,
    known: Mutex<Option<(Option<Stamp>, T)>>,
}

impl<T: Clone> Kept<T> {
    /// The file at `path`, which need not be there, and how it is read.
    pub(crate) const fn at(path: PathBuf, read: fn(&Path) -> io::Result<T>) -> Self {
        Self { path, read, known: Mutex::new(None) }
    }

    /// What it holds now.
    ///
    /// # Errors
    /// It cannot be used; it is read anew the next time.
    pub(crate) fn now(&self) -> io::Result<T> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // Looked at before it is read: a change in between is seen the next time.
        let stamp = stamp(&self.path)?;
        if let Some((of, held)) = &*known
            && *of == stamp
        {
            return Ok(held.clone());
        }
        // What could not be read is not what was there before.
        *known = None;
        let held = (self.read)(&self.path)?;
        *known = Some((stamp, held.clone()));
        Ok(held)
    }
}
