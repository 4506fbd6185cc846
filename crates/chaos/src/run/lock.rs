//! One run at a time: the lock on `DATA/chaos.lock`, and who holds it.
//!
//! The lock is the kernel's (flock), so it goes with its holder, however that ends. The file says who it is, for people and
//! for `grace chaos abort`.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use grace_types::time::Timestamp;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

/// Who runs what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The runner's process.
    pub pid: u32,
    /// The run.
    pub run: String,
    /// The scenario.
    pub scenario: String,
    /// Since when.
    pub since: Timestamp,
}

/// The lock, held until this is dropped.
#[derive(Debug)]
pub struct RunLock {
    _file: File,
}

/// Why the lock is not ours.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// A run is under way.
    #[error("a run is under way")]
    Held(Option<Holder>),
    /// The file cannot be used.
    #[error("{path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

/// The lock's file.
#[must_use]
fn path(data: &Path) -> PathBuf {
    data.join("chaos.lock")
}

impl RunLock {
    /// Takes the lock.
    ///
    /// # Errors
    /// See [`LockError`].
    pub fn take(data: &Path, holder: &Holder) -> Result<Self, LockError> {
        let path = path(data);
        let fail = |error: io::Error| LockError::Io { path: path.clone(), error };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(&path).map_err(fail)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(LockError::Held(read(&mut file))),
            Err(errno) => return Err(fail(errno.into())),
        }
        let write = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            file.write_all(&serde_json::to_vec(holder)?)
        };
        write(&mut file).map_err(fail)?;
        Ok(Self { _file: file })
    }

    /// Who holds the lock now; `None` when nobody does.
    ///
    /// # Errors
    /// The file cannot be used.
    pub fn holder(data: &Path) -> Result<Option<Option<Holder>>, LockError> {
        let path = path(data);
        let fail = |error: io::Error| LockError::Io { path: path.clone(), error };
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(fail(error)),
        };
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(None),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(Some(read(&mut file))),
            Err(errno) => Err(fail(errno.into())),
        }
    }
}

/// What the file says; nothing while its holder is just writing it.
fn read(file: &mut File) -> Option<Holder> {
    let mut text = Vec::new();
    file.take(4096).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_and_the_second_is_told_who_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let holder = Holder { pid: 7, run: "run_1".into(), scenario: "x".into(), since: Timestamp::EPOCH };
        assert!(RunLock::holder(folder.path()).unwrap().is_none());
        let lock = RunLock::take(folder.path(), &holder).unwrap();
        let Err(LockError::Held(Some(found))) = RunLock::take(folder.path(), &holder) else { panic!() };
        assert_eq!(found, holder);
        assert_eq!(RunLock::holder(folder.path()).unwrap(), Some(Some(holder.clone())));
        drop(lock);
        assert!(RunLock::holder(folder.path()).unwrap().is_none());
        RunLock::take(folder.path(), &holder).unwrap();
    }
}
