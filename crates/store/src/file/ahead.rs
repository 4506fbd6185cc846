//! The next segment, made ahead of its use by a thread of its own: a file of zeros, synced with its name.
//!
//! It is made under a name that belongs to this writer's epoch, and gets its own only where no file has that: a writer that was fenced
//! meanwhile must not touch what its successor writes.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    thread::{self, JoinHandle},
};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::place::{self, NEW, SEGMENT};
use crate::{Epoch, limits};

/// A segment in the making.
#[derive(Debug)]
pub(super) struct Ahead {
    /// Which one.
    pub(super) number: u64,
    thread: Option<JoinHandle<bool>>,
}

impl Ahead {
    /// Begins to make it. Where that fails, for want of room or of a thread, appends make the file longer themselves.
    pub(super) fn begin(folder: &Path, number: u64, bytes: u64, epoch: Epoch) -> Self {
        let path = place::file(folder, SEGMENT, number);
        let fresh = path.with_extension(format!("{}{NEW}", epoch.0));
        let make = move || {
            let made = make(&fresh, &path, bytes).is_ok();
            if !made {
                let _ = fs::remove_file(&fresh);
            }
            made
        };
        Self { number, thread: thread::Builder::new().name("segment".to_owned()).spawn(make).ok() }
    }

    /// Waits for it; false where it could not be made.
    pub(super) fn finish(self) -> bool {
        self.thread.is_some_and(|thread| thread.join().unwrap_or(false))
    }
}

fn make(fresh: &PathBuf, path: &Path, bytes: u64) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(fresh)?;
    let zeros = vec![0u8; limits::ZEROS_BYTES];
    let mut left = bytes;
    while left > 0 {
        let piece = left.min(zeros.len() as u64);
        file.write_all(&zeros[..piece as usize])?;
        file.sync_data()?;
        left -= piece;
    }
    file.sync_all()?;
    renameat_with(CWD, fresh, CWD, path, RenameFlags::NOREPLACE)?;
    place::sync_parent(path)
}
