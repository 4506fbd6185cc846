//! Folds SQLite's log into the journal's file beside the appends.
//!
//! What is appended is durable in the log; now and then its pages must go to their places in the file, so that the log can begin anew.
//! That is some milliseconds of writing and a sync, in which an append would wait, so a thread with a connection of its own does it.
//! What was appended meanwhile is left over, and only a log that is in the file altogether begins anew: the append after it does
//! the rest, which is little.

use std::{
    ffi::c_int,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
};

use rusqlite::{Connection, hooks::Wal};

use super::{connect, error};
use crate::{StoreError, limits};

/// The thread.
pub(super) struct Folder {
    thread: JoinHandle<()>,
}

impl Folder {
    /// Looks after the log that `writer` appends to, from now on.
    pub(super) fn of(writer: &mut Connection, path: &Path) -> Result<Self, StoreError> {
        let (wake, woken) = sync_channel(1);
        let folded = Arc::new(AtomicBool::new(false));
        let (file, done) = (path.to_owned(), Arc::clone(&folded));
        let thread =
            thread::Builder::new().name("folder".to_owned()).spawn(move || fold(&file, &woken, &done));
        let thread = thread.map_err(|e| error::io(path, &e))?;
        writer.wal_hook(Some(after_commit(wake, folded))).map_err(|e| error::sqlite(path, &e))?;
        Ok(Self { thread })
    }

    /// Ends with the hook, which holds the way to the thread.
    pub(super) fn end(self, writer: &mut Connection) {
        if writer.wal_hook(None::<fn(&mut Wal, c_int) -> rusqlite::Result<()>>).is_ok() {
            let _ = self.thread.join();
        }
    }
}

/// What the writer does after each commit, when the log has so many pages. The commit stands whatever comes of it: what cannot be folded in,
/// for a reader or a full disk, stays in the log for the next time.
fn after_commit(
    wake: SyncSender<()>,
    folded: Arc<AtomicBool>,
) -> impl FnMut(&mut Wal, c_int) -> rusqlite::Result<()> + Send + 'static {
    let mut wake_at = limits::JOURNAL_LOG_PAGES;
    let mut before = 0;
    move |log, pages| {
        if pages < before {
            wake_at = limits::JOURNAL_LOG_PAGES;
        }
        before = pages;
        if folded.swap(false, Ordering::AcqRel) {
            let _ = log.checkpoint();
        } else if pages >= wake_at {
            wake_at = pages + limits::JOURNAL_LOG_PAGES;
            if wake.try_send(()).is_err() {
                // It has been told before and has not begun: this append does its work, unless it is at it.
                let _ = log.checkpoint();
            }
        }
        Ok(())
    }
}

fn fold(file: &Path, woken: &Receiver<()>, folded: &AtomicBool) {
    let mut connection = None;
    while woken.recv().is_ok() {
        if connection.is_none() {
            connection = connect(file).ok();
        }
        let Some(open) = &connection else { continue };
        // Passive: it holds up neither the writer nor a reader.
        if open.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).is_ok() {
            folded.store(true, Ordering::Release);
        }
    }
}
