//! Everything that the log does to a disk, behind one small trait: [`real`] does it to files, and a memory twin for the tests
//! crashes at any step and loses what was not synced.
//!
//! Paths are relative to the instance's data folder, with `/`. Files are 0600, folders 0700.

#[cfg(test)]
pub(super) mod memory;
pub mod real;
mod sync;

use std::{borrow::Cow, io};

use grace_log::{append::Write, files::Files};

/// Files by name.
pub trait Disk: Send + Sync {
    /// The file's bytes, `None` if there is none. Of one longer than `limit`, at least `limit + 1` bytes.
    ///
    /// # Errors
    /// The file may be there and could not be read.
    fn read(&self, path: &str, limit: usize) -> io::Result<Option<Vec<u8>>>;

    /// The names in a folder, in any order; none if there is no such folder.
    ///
    /// # Errors
    /// The folder could not be read.
    fn names(&self, folder: &str) -> io::Result<Vec<String>>;

    /// Makes the file, or makes it anew, with these bytes. Its folders are made where they are missing. Nothing is synced.
    ///
    /// # Errors
    /// The disk is full or broken; then the file may hold anything.
    fn write(&self, path: &str, bytes: &[u8]) -> io::Result<()>;

    /// Makes the bytes of a file, or the names in a folder, durable.
    ///
    /// # Errors
    /// They may not be durable.
    fn sync(&self, path: &str) -> io::Result<()>;

    /// Gives a file another name, atomically, in place of what had it. Its folder is made where it is missing.
    ///
    /// # Errors
    /// The names are as they were.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file. That there is none is no error.
    ///
    /// # Errors
    /// The file may still be there.
    fn remove(&self, path: &str) -> io::Result<()>;

    /// Removes a folder that holds files and no folders. That there is none is no error.
    ///
    /// # Errors
    /// It may be there with some of its files.
    fn remove_folder(&self, folder: &str) -> io::Result<()>;

    /// Opens a file to be written in place; makes it where it is missing.
    ///
    /// # Errors
    /// It cannot be opened.
    fn open(&self, path: &str) -> io::Result<Box<dyn InPlace>>;

    /// Writes files under `folder` and makes them durable. `step` is called now and then, as a sign that it goes on.
    ///
    /// # Errors
    /// Any of them may be missing or incomplete.
    fn store(&self, folder: &str, writes: &[Write], step: &dyn Fn()) -> io::Result<Durable> {
        let paths: Vec<String> = writes.iter().map(|write| format!("{folder}/{}", write.path)).collect();
        for (path, write) in paths.iter().zip(writes) {
            self.write(path, &write.bytes)?;
            step();
        }
        paths.iter().try_for_each(|path| {
            step();
            self.sync(path)
        })?;
        Ok(Durable::Bytes)
    }
}

/// How much of what was stored survives a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durable {
    /// The bytes, but not the names of the files and of their folders.
    Bytes,
    /// All of it.
    BytesAndNames,
}

/// A file that is written in place.
pub trait InPlace: Send {
    /// Bytes in the file.
    ///
    /// # Errors
    /// It cannot be told.
    fn length(&self) -> io::Result<u64>;

    /// Reads from `offset` up to the end of `bytes` or of the file, and returns how much it was.
    ///
    /// # Errors
    /// It cannot be read.
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize>;

    /// Writes at `offset`; the file grows where it must. Nothing is synced.
    ///
    /// # Errors
    /// Any part of the bytes may have been written.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes what was written durable.
    ///
    /// # Errors
    /// It may not be durable.
    fn sync(&mut self) -> io::Result<()>;
}

/// Replaces a file atomically and durably. `fresh` is its name until it is whole.
///
/// # Errors
/// `path` holds what it held, or `bytes`.
pub(super) fn replace(disk: &dyn Disk, path: &str, fresh: &str, bytes: &[u8]) -> io::Result<()> {
    disk.write(fresh, bytes)?;
    disk.sync(fresh)?;
    disk.rename(fresh, path)?;
    disk.sync(parent(path))
}

/// The folder of `path`; the data folder itself is the empty path.
pub(super) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// A log's folder on a disk, as the pure log reads it.
pub(super) struct LogOn<'a> {
    /// The disk.
    pub(super) disk: &'a dyn Disk,
    /// The log's folder.
    pub(super) folder: &'a str,
}

impl Files for LogOn<'_> {
    fn read(&self, path: &str, limit: usize) -> io::Result<Option<Cow<'_, [u8]>>> {
        Ok(self.disk.read(&format!("{}/{path}", self.folder), limit)?.map(Cow::Owned))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Err(io::Error::other("the kernel never lists a whole log"))
    }
}
