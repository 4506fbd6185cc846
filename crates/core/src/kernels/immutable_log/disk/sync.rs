//! Makes many files durable at once.
//!
//! A sync of a file ends in a flush of the disk's cache, and a plan of the public files has hundreds. So a large plan asks the file
//! system to write all that it has (`syncfs`), with the names: a third of the time, on the machine where this was measured. It
//! waits for what others have written to the same file system too, so it is not for small plans, and it is only used where
//! it says what failed: on Linux 5.8 or later, and on file systems that are known to flush the disk.

use std::{
    fs::File,
    io,
    path::Path,
    sync::{OnceLock, mpsc},
    thread,
    time::Duration,
};

use rustix::fs::{fstatfs, syncfs};

/// Fewer files are synced one by one.
pub(super) const MANY: usize = 32;

/// Threads that sync files one by one: the system makes one flush of all that are asked for at the same time.
const SYNCING_AT_ONCE: usize = 8;

/// Files for which a further thread is worth its start.
const FILES_A_THREAD: usize = 4;
/// They do nothing else.
const STACK_BYTES: usize = 64 << 10;

/// Between two signs of life while the file system is synced, and how many there are: it may be busy for others, but a disk that
/// hangs is to be seen.
const STEP: Duration = Duration::from_millis(200);
const STEPS: usize = 150;

/// ext2 to ext4, XFS, Btrfs, F2FS and tmpfs (`linux/magic.h`). Not those that may leave the flush to a server.
const FLUSHING: [u64; 5] = [0xef53, 0x5846_5342, 0x9123_683e, 0xf2f5_2010, 0x0102_1994];

/// The file system that a log lies on.
#[derive(Debug, Default)]
pub(super) struct FileSystem {
    /// Open for as long as the log is: a failed write is told to whoever had a file open before it, once. `None` where a sync of
    /// all cannot be relied on.
    handle: OnceLock<Option<File>>,
}

impl FileSystem {
    /// The handle, if a sync of all can be relied on. To be asked for before anything is written that is to be synced.
    pub(super) fn of(&self, folder: &Path) -> Option<&File> {
        self.handle.get_or_init(|| open(folder).ok().flatten()).as_ref()
    }
}

fn open(folder: &Path) -> io::Result<Option<File>> {
    let folder = File::open(folder)?;
    let kind = u64::try_from(fstatfs(&folder)?.f_type).unwrap_or(0);
    let release = rustix::system::uname();
    Ok((FLUSHING.contains(&kind) && tells_of_failures(&release.release().to_string_lossy()))
        .then_some(folder))
}

/// Whether `syncfs` of this release of Linux returns the errors of earlier writes.
fn tells_of_failures(release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|n| n.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(5), Some(8))
}

/// Makes all that was written to the file system durable, and calls `step` meanwhile.
///
/// # Errors
/// Something that was written since the last call is not durable, not necessarily a file of ours.
pub(super) fn everything(handle: &File, step: &dyn Fn()) -> io::Result<()> {
    thread::scope(|scope| {
        let (tell, done) = mpsc::sync_channel(1);
        // Whoever asked waits for it.
        let sync = move || tell.send(syncfs(handle)).unwrap_or_default();
        if thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, sync).is_err() {
            return Ok(syncfs(handle)?);
        }
        for _ in 0..STEPS {
            match done.recv_timeout(STEP) {
                Err(mpsc::RecvTimeoutError::Timeout) => step(),
                done => return Ok(done.map_err(|_| gone())??),
            }
        }
        Ok(done.recv().map_err(|_| gone())??)
    })
}

fn gone() -> io::Error {
    io::Error::other("a sync ended without a word")
}

/// Makes all of the files durable, but not their names.
///
/// # Errors
/// Any of them may not be durable.
pub(super) fn each(files: &[File]) -> io::Result<()> {
    let threads = (files.len() / FILES_A_THREAD).clamp(1, SYNCING_AT_ONCE);
    let share = |first: usize| files.iter().skip(first).step_by(threads).try_for_each(File::sync_all);
    thread::scope(|scope| {
        let others: Vec<_> = (1..threads)
            .map(|first| {
                thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, move || share(first))
            })
            .collect();
        let mut done = share(0);
        for (first, other) in (1..).zip(others) {
            let other = match other {
                Ok(other) => other.join().unwrap_or_else(|_| Err(io::Error::other("a sync panicked"))),
                // Without a thread it only takes longer.
                Err(_) => share(first),
            };
            done = done.and(other);
        }
        done
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_kernel_that_tells_of_failures_is_relied_on() {
        for release in ["5.8", "5.8.0-rc1", "5.10.0-28-amd64", "6.1.0", "10.0"] {
            assert!(tells_of_failures(release), "{release}");
        }
        for release in ["5.4.0", "5.7.19", "4.19.0", "", "x"] {
            assert!(!tells_of_failures(release), "{release}");
        }
    }

    #[test]
    fn a_file_system_is_synced_whole() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), b"bytes").unwrap();
        let system = FileSystem::default();
        if let Some(handle) = system.of(folder.path()) {
            everything(handle, &|| {}).unwrap();
        }
        assert!(FileSystem::default().of(Path::new("/proc")).is_none());
    }
}
