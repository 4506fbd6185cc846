//! A journal in one SQLite file.
//!
//! WAL mode with `synchronous=FULL`: a commit is one write and one sync of the log file. One transaction a batch; the epoch is
//! checked inside it, so a writer that was fenced between two appends cannot slip one in. Beside the file `NAME.db` lie
//! SQLite's `-wal` and `-shm`, and `-head`, which notices what SQLite would drop in silence (see `head.rs`). One thread of its own
//! keeps the log short (see `fold.rs`).
//!
//! Deliberately not here: other threads, and retries. The handle blocks; its owner decides on which thread, and reloads after an
//! error.

pub(crate) mod error;
mod files;
mod fold;
mod head;
mod reader;
mod rows;

use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
    time::Duration,
};

use grace_types::{evidence::JournalId, time::Timestamp};
use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior, config::DbConfig, params};

pub(crate) use files::create;
pub use reader::SqliteReader;
use rows::{
    Head, Meta, chain_before, check_acknowledged, lost, read_head, read_id, read_meta, read_snapshot,
    record_corrupt, snapshot_info, walk, write_id, write_meta,
};

use crate::{Digest, Epoch, Journal, Record, Seq, SnapshotInfo, StoreError, chain, limits};

/// `GRCJ`: marks the file as one of ours.
const APPLICATION_ID: i32 = 0x4752_434A;
/// Version of the tables below.
const SCHEMA_VERSION: i32 = 1;

const SCHEMA: &str = "
CREATE TABLE meta (
  id INTEGER PRIMARY KEY CHECK (id = 0),
  epoch INTEGER NOT NULL, opened_nanos INTEGER NOT NULL,
  base INTEGER NOT NULL, base_digest BLOB NOT NULL, guard BLOB NOT NULL
) STRICT;
CREATE TABLE records (seq INTEGER PRIMARY KEY, payload BLOB NOT NULL, digest BLOB NOT NULL) STRICT;
CREATE TABLE snapshots (
  seq INTEGER PRIMARY KEY, size INTEGER NOT NULL, digest BLOB NOT NULL, chain BLOB NOT NULL, seal BLOB NOT NULL,
  state BLOB NOT NULL
) STRICT;
";

/// How long closing waits for those who read the journal at that moment.
const FOLD_WAIT: Duration = Duration::from_millis(100);

/// Another process holds the write lock only while it appends; one that was stopped there is waited for this long.
pub(crate) const LOCK_WAIT: Duration = Duration::from_secs(5);

/// A journal in a SQLite file. See the module's page.
pub struct SqliteJournal {
    path: PathBuf,
    connection: Connection,
    head_file: head::HeadFile,
    id: JournalId,
    epoch: Epoch,
    head: Head,
    /// After a failed append nobody knows what is on disk: `head` must be read anew first.
    stale: bool,
    folder: Option<fold::Folder>,
}

impl SqliteJournal {
    /// Opens the journal at `path`, making it if need be, and takes the next epoch durably: from here on every handle
    /// opened earlier is fenced. `now` is stored beside the epoch, for whoever reads the file, and names a new journal.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when the file is not a journal, is damaged, or ends before what was acknowledged; nothing
    /// is changed then. Otherwise the system's failure.
    pub fn open(path: impl Into<PathBuf>, now: Timestamp) -> Result<Self, StoreError> {
        let path = path.into();
        let acknowledged = head::HeadFile::read(&path)?;
        let missing = !path.exists();
        if let (true, Some((_, seq, _))) = (missing, &acknowledged) {
            return Err(lost(&path, *seq, "the file is gone"));
        }
        create(&path).map_err(|e| error::io(&path, &e))?;
        let mut connection = connect(&path).map_err(|e| error::sqlite(&path, &e))?;
        prepare(&path, &mut connection)?;
        let meta = read_meta(&path, &connection)?;
        let head = read_head(&path, &connection, meta.base)?;
        let head_file = match acknowledged {
            Some((file, seq, digest)) => {
                check_acknowledged(&path, &connection, meta, head, Head { seq, digest })?;
                file
            }
            None => head::HeadFile::create(&path, head.seq, head.digest)?,
        };
        let id = JournalId::made_at(now);
        let mut journal =
            Self { path, connection, head_file, id, epoch: meta.epoch, head, stale: false, folder: None };
        journal.take_epoch(now)?;
        journal.folder = Some(fold::Folder::of(&mut journal.connection, &journal.path)?);
        Ok(journal)
    }

    /// The journal's file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn take_epoch(&mut self, now: Timestamp) -> Result<(), StoreError> {
        let path = &self.path;
        let failed = |e: rusqlite::Error| error::sqlite(path, &e);
        let tx = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        let meta = read_meta(path, &tx)?;
        // Another opener may have appended since `open` looked.
        self.head = read_head(path, &tx, meta.base)?;
        self.epoch = Epoch(meta.epoch.0 + 1);
        write_meta(&tx, Meta { epoch: self.epoch, ..meta }, Some(now)).map_err(failed)?;
        match read_id(path, &tx)? {
            Some(id) => self.id = id,
            None => write_id(&tx, self.id).map_err(failed)?,
        }
        tx.commit().map_err(failed)?;
        // From here on the log holds nothing that is not understood, and closing may tidy it away.
        self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false).map_err(failed)?;
        Ok(())
    }

    /// Runs `work` in a write transaction under our epoch and commits it.
    fn write<T>(
        &mut self,
        work: impl FnOnce(&Connection, Meta) -> Result<T, WriteError>,
    ) -> Result<T, StoreError> {
        let path = &self.path;
        let failed = |e: rusqlite::Error| error::sqlite(path, &e);
        let tx = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        let meta = read_meta(path, &tx)?;
        if meta.epoch != self.epoch {
            return Err(StoreError::Fenced { ours: self.epoch, current: meta.epoch });
        }
        let done = work(&tx, meta).map_err(|e| match e {
            WriteError::Sqlite(e) => failed(e),
            WriteError::Store(e) => e,
        })?;
        tx.commit().map_err(failed)?;
        Ok(done)
    }

    fn refresh(&mut self) -> Result<(), StoreError> {
        if self.stale {
            let meta = read_meta(&self.path, &self.connection)?;
            self.head = read_head(&self.path, &self.connection, meta.base)?;
            self.stale = false;
        }
        Ok(())
    }
}

/// What can go wrong inside a write transaction.
enum WriteError {
    Sqlite(rusqlite::Error),
    Store(StoreError),
}

impl From<rusqlite::Error> for WriteError {
    fn from(e: rusqlite::Error) -> Self {
        Self::Sqlite(e)
    }
}

impl From<StoreError> for WriteError {
    fn from(e: StoreError) -> Self {
        Self::Store(e)
    }
}

/// Folds the log in, as SQLite does where the last connection closes: readers of this journal may stay, and a file without its log
/// is easier to copy and to mend. One that reads just now keeps the log; then it is folded in at the next close.
impl Drop for SqliteJournal {
    fn drop(&mut self) {
        if let Some(folder) = self.folder.take() {
            folder.end(&mut self.connection);
        }
        let ours =
            !self.stale && read_meta(&self.path, &self.connection).is_ok_and(|m| m.epoch == self.epoch);
        if ours && self.connection.busy_timeout(FOLD_WAIT).is_ok() {
            let _ = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        }
    }
}

impl Journal for SqliteJournal {
    fn append(&mut self, batch: &[&[u8]]) -> Result<Seq, StoreError> {
        self.refresh()?;
        let first = Seq(self.head.seq.0 + 1);
        if batch.is_empty() {
            let current = read_meta(&self.path, &self.connection)?.epoch;
            let ours = self.epoch;
            return if current == ours { Ok(first) } else { Err(StoreError::Fenced { ours, current }) };
        }
        if let Some(payload) = batch.iter().find(|p| p.len() > limits::RECORD_BYTES) {
            let (size_bytes, limit_bytes) = (payload.len(), limits::RECORD_BYTES);
            return Err(StoreError::TooLarge { what: "a record", size_bytes, limit_bytes });
        }
        let mut head = self.head;
        let written = self.write(|tx, _| {
            let mut insert = tx.prepare_cached("INSERT INTO records VALUES (?1, ?2, ?3)")?;
            for payload in batch {
                let seq = Seq(head.seq.0 + 1);
                head = Head { seq, digest: chain::link(head.digest, seq, payload) };
                insert.execute(params![seq.0.cast_signed(), payload, head.digest.0.as_slice()])?;
            }
            Ok(head)
        });
        match written {
            Ok(head) => {
                self.head = head;
                self.head_file.write(head.seq, head.digest)?;
                Ok(first)
            }
            Err(e) => {
                self.stale = true;
                // If even this fails, the next call tries again before it does anything.
                let _ = self.refresh();
                Err(e)
            }
        }
    }

    fn replay(
        &mut self,
        from: Seq,
        visit: &mut dyn FnMut(Record<'_>) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.refresh()?;
        let path = &self.path;
        let failed = |e: rusqlite::Error| error::sqlite(path, &e);
        let tx = self.connection.transaction().map_err(failed)?;
        let meta = read_meta(path, &tx)?;
        let mut at = chain_before(path, &tx, meta, from)?;
        if walk(path, &tx, &mut at, visit)?.is_break() {
            return Ok(());
        }
        if at.seq < self.head.seq && from <= self.head.seq {
            let detail = format!("missing; the journal held records up to {}", self.head.seq.0);
            return Err(record_corrupt(path, Seq(at.seq.0 + 1), detail));
        }
        Ok(())
    }

    fn last(&self) -> Seq {
        self.head.seq
    }

    fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn snapshot(&mut self, seq: Seq, state: &[u8]) -> Result<SnapshotInfo, StoreError> {
        self.refresh()?;
        if state.len() > limits::SNAPSHOT_BYTES {
            let (size_bytes, limit_bytes) = (state.len(), limits::SNAPSHOT_BYTES);
            return Err(StoreError::TooLarge { what: "a snapshot", size_bytes, limit_bytes });
        }
        let (path, head) = (self.path.clone(), self.head);
        self.write(|tx, meta| {
            if seq > head.seq || seq < meta.base.seq {
                let detail = format!("the journal holds {} to {}", meta.base.seq.0 + 1, head.seq.0);
                return Err(StoreError::Range { seq, detail }.into());
            }
            let chain = chain_before(&path, tx, meta, Seq(seq.0 + 1))?.digest;
            let info = SnapshotInfo { seq, digest: chain::digest(state), size_bytes: state.len() as u64 };
            let seal = chain::seal(seq, info.size_bytes, info.digest, chain);
            tx.prepare_cached("INSERT OR REPLACE INTO snapshots VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?.execute(
                params![
                    seq.0.cast_signed(),
                    info.size_bytes.cast_signed(),
                    info.digest.0.as_slice(),
                    chain.0.as_slice(),
                    seal.0.as_slice(),
                    state
                ],
            )?;
            tx.prepare_cached(
                "DELETE FROM snapshots WHERE seq NOT IN (SELECT seq FROM snapshots ORDER BY seq DESC LIMIT ?1)",
            )?
            .execute([limits::SNAPSHOTS_KEPT])?;
            Ok(info)
        })
    }

    fn snapshots(&mut self) -> Result<Vec<SnapshotInfo>, StoreError> {
        let path = &self.path;
        let failed = |e: rusqlite::Error| error::sqlite(path, &e);
        let mut select = self
            .connection
            .prepare_cached("SELECT seq, size, digest, chain, seal FROM snapshots ORDER BY seq")
            .map_err(failed)?;
        let mut rows = select.query([]).map_err(failed)?;
        let mut infos = Vec::new();
        while let Some(row) = rows.next().map_err(failed)? {
            infos.push(snapshot_info(path, row)?.0);
        }
        Ok(infos)
    }

    fn restore(&mut self, seq: Seq) -> Result<Vec<u8>, StoreError> {
        read_snapshot(&self.path, &self.connection, seq)
    }

    fn truncate(&mut self, seq: Seq) -> Result<(), StoreError> {
        self.refresh()?;
        let path = self.path.clone();
        self.write(|tx, meta| {
            if seq <= meta.base.seq {
                return Ok(());
            }
            let cover: Option<i64> = tx
                .query_row(
                    "SELECT seq FROM snapshots WHERE seq >= ?1 ORDER BY seq LIMIT 1",
                    [seq.0.cast_signed()],
                    |r| r.get(0),
                )
                .optional()?;
            let Some(cover) = cover else {
                return Err(StoreError::Range { seq, detail: "no snapshot covers it".to_owned() }.into());
            };
            read_snapshot(&path, tx, Seq(cover.cast_unsigned()))?;
            let base = chain_before(&path, tx, meta, Seq(seq.0 + 1))?;
            tx.execute("DELETE FROM records WHERE seq <= ?1", [seq.0.cast_signed()])?;
            tx.execute("DELETE FROM snapshots WHERE seq < ?1", [seq.0.cast_signed()])?;
            write_meta(tx, Meta { base, ..meta }, None)?;
            Ok(())
        })
    }

    fn id(&self) -> JournalId {
        self.id
    }

    fn room(&self) -> Option<u64> {
        let device = device(&self.path)?;
        Some(device.f_bavail.saturating_mul(device.f_frsize))
    }

    fn device_bytes(&self) -> Option<u64> {
        let device = device(&self.path)?;
        Some(device.f_blocks.saturating_mul(device.f_frsize))
    }
}

fn device(path: &Path) -> Option<rustix::fs::StatVfs> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    rustix::fs::statvfs(folder).ok()
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(LOCK_WAIT)?;
    // A log that turns out damaged must not be folded into the file, or dropped, just because we close it.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    Ok(connection)
}

/// Sets the connection up and makes the tables if the file is new.
fn prepare(path: &Path, connection: &mut Connection) -> Result<(), StoreError> {
    let failed = |e: rusqlite::Error| error::sqlite(path, &e);
    let id: i32 = connection.pragma_query_value(None, "application_id", |r| r.get(0)).map_err(failed)?;
    let version: i32 = connection.pragma_query_value(None, "user_version", |r| r.get(0)).map_err(failed)?;
    let objects: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |r| r.get(0)).map_err(failed)?;
    let fresh = objects == 0;
    if !fresh && id != APPLICATION_ID {
        let detail = format!("it is a SQLite file but not a journal (application id {id:#x})");
        return Err(StoreError::Corrupt { what: path.display().to_string(), detail });
    }
    if !fresh && version != SCHEMA_VERSION {
        let detail = format!("its format is version {version}; this program knows {SCHEMA_VERSION}");
        return Err(StoreError::Io { path: path.display().to_string(), detail });
    }
    connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;").map_err(failed)?;
    if !fresh {
        return Ok(());
    }
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    // Another opener may have been first.
    let objects: i64 =
        tx.query_row("SELECT count(*) FROM sqlite_schema", [], |r| r.get(0)).map_err(failed)?;
    if objects == 0 {
        tx.execute_batch(SCHEMA).map_err(failed)?;
        tx.pragma_update(None, "application_id", APPLICATION_ID).map_err(failed)?;
        tx.pragma_update(None, "user_version", SCHEMA_VERSION).map_err(failed)?;
        let none = Head { seq: Seq(0), digest: Digest::default() };
        write_meta(&tx, Meta { epoch: Epoch(0), base: none }, Some(Timestamp::EPOCH)).map_err(failed)?;
    }
    tx.commit().map_err(failed)
}
