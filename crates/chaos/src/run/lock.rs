//! One run at a time: the lock on `DATA/chaos.lock`, and who holds it.
//!
//! The lock is the kernel's (flock), so it goes with its holder, however that ends. The file says who it is, for people and
//! for `grace chaos abort`.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use grace_faults::process::{self, Process};
use grace_types::{id::RunId, time::Timestamp};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

/// Who runs what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The runner's process.
    pub pid: u32,
    /// When that process began, in clock ticks since the machine booted: its pid alone may be another's by now.
    pub start_ticks: u64,
    /// The run.
    pub run: String,
    /// The scenario.
    pub scenario: String,
    /// Since when.
    pub since: Timestamp,
}

impl Holder {
    /// This process.
    pub(super) fn new(run: RunId, scenario: &str, since: Timestamp) -> Self {
        let pid = std::process::id();
        // Without `/proc` nobody can signal us by this; they can all the same by the pid that they see.
        let start_ticks = process::start_ticks(pid).unwrap_or_default();
        Self { pid, start_ticks, run: run.to_string(), scenario: scenario.to_owned(), since }
    }

    /// Its process, if it runs; the file may have been written by one that does not any more, while another takes the lock.
    #[must_use]
    pub fn process(&self) -> Option<Process> {
        Process::open(self.pid, self.start_ticks).ok().flatten()
    }
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
        for try_again in (0..LOCK_TRIES).rev() {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    let holder = read(&mut file);
                    if try_again == 0 || holder.as_ref().is_some_and(|holder| holder.process().is_some()) {
                        return Err(LockError::Held(holder));
                    }
                    // Somebody just asks who holds it, or has just taken it and is about to say so.
                    std::thread::park_timeout(LOCK_PAUSE);
                }
                Err(errno) => return Err(fail(errno.into())),
            }
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

/// How often the lock is tried while the file names no process that runs, and the pause between two tries: those who ask who holds
/// it hold it themselves for some microseconds.
const LOCK_TRIES: u32 = 20;
/// See [`LOCK_TRIES`].
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// What the file says; nothing while its holder is just writing it.
fn read(file: &mut File) -> Option<Holder> {
    let mut text = Vec::new();
    file.rewind().ok()?;
    file.take(4096).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_and_the_second_is_told_who_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let holder = Holder::new(RunId::from_bits(1), "x", Timestamp::EPOCH);
        assert!(RunLock::holder(folder.path()).unwrap().is_none());
        let lock = RunLock::take(folder.path(), &holder).unwrap();
        let Err(LockError::Held(Some(found))) = RunLock::take(folder.path(), &holder) else { panic!() };
        assert_eq!(found, holder);
        assert_eq!(RunLock::holder(folder.path()).unwrap(), Some(Some(holder.clone())));
        drop(lock);
        assert!(RunLock::holder(folder.path()).unwrap().is_none());
        RunLock::take(folder.path(), &holder).unwrap();
    }

    #[test]
    fn one_who_only_asks_who_is_there_keeps_nobody_out() {
        let folder = tempfile::tempdir().unwrap();
        let holder = Holder::new(RunId::from_bits(1), "x", Timestamp::EPOCH);
        // The process of an earlier run, whose pid is ours now.
        let dead = Holder { start_ticks: holder.start_ticks + 1, ..holder.clone() };
        assert!(dead.process().is_none() && holder.process().is_some());
        drop(RunLock::take(folder.path(), &dead).unwrap());
        let asker = File::open(path(folder.path())).unwrap();
        flock(&asker, FlockOperation::NonBlockingLockShared).unwrap();
        let leave = std::thread::spawn(move || {
            std::thread::park_timeout(Duration::from_millis(30));
            drop(asker);
        });
        let lock = RunLock::take(folder.path(), &holder).unwrap();
        leave.join().unwrap();
        assert_eq!(RunLock::holder(folder.path()).unwrap(), Some(Some(holder)));
        drop(lock);
    }
}
