//! The next segment, made ahead of its use by a thread of its own: a file of zeros, synced with its name.
//!
//! It is made under a name that belongs to this writer's epoch, and gets its own only where no file has that: a writer that was fenced
//! meanwhile must not touch what its successor writes.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
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
    given_up: Arc<AtomicBool>,
}

impl Ahead {
    /// Begins to make it. Where that fails, for want of room or of a thread, appends make the file longer themselves.
    pub(super) fn begin(folder: &Path, number: u64, bytes: u64, epoch: Epoch) -> Self {
        let path = place::file(folder, SEGMENT, number);
        let fresh = path.with_extension(format!("{}{NEW}", epoch.0));
        let given_up = Arc::new(AtomicBool::new(false));
        let wanted = Arc::clone(&given_up);
        let make = move || {
            let made = !path.exists() && make(&fresh, &path, bytes, &wanted).is_ok();
            if !made {
                let _ = fs::remove_file(&fresh);
            }
            made
        };
        Self { number, given_up, thread: thread::Builder::new().name("segment".to_owned()).spawn(make).ok() }
    }

    /// Whether it has been made. One that is wanted before it is ready is given up: whoever writes faster than the device takes zeros and
    /// records has more of growing files.
    pub(super) fn ready(mut self) -> bool {
        let done = self.thread.take_if(|thread| thread.is_finished());
        self.given_up.store(true, Ordering::Release);
        done.is_some_and(|thread| thread.join().unwrap_or(false))
    }

    /// Gives it up unless it is ready, and waits until its thread touches nothing any more.
    pub(super) fn end(mut self) {
        self.given_up.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn make(fresh: &PathBuf, path: &Path, bytes: u64, given_up: &AtomicBool) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(fresh)?;
    let zeros = vec![0u8; limits::ZEROS_BYTES];
    let mut left = bytes;
    while left > 0 {
        if given_up.load(Ordering::Acquire) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let piece = left.min(zeros.len() as u64);
        file.write_all(&zeros[..piece as usize])?;
        file.sync_data()?;
        left -= piece;
    }
    file.sync_all()?;
    renameat_with(CWD, fresh, CWD, path, RenameFlags::NOREPLACE)?;
    place::sync_parent(path)
}
