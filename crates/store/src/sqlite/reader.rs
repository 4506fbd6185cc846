//! Reading a journal that somebody else may be writing.
//!
//! The connection is read-only. In WAL mode a reader sees the log up to the last commit whose sync was done, waits for no writer and
//! is waited for by none. Only what a dead writer left is different: SQLite takes a last batch that is whole, synced or not. So the log is
//! synced once when the reader opens, before anything is shown from it.
//!
//! Deliberately not here: opening the journal's file by any other way than SQLite's. The writer may live in this process, and a POSIX
//! lock is lost as soon as its process closes any descriptor of the file. Whether the file is still the same is asked of its name (`stat`).

use std::{
    fs::{self, File},
    io,
    ops::ControlFlow,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use grace_types::evidence::JournalId;
use rusqlite::{Connection, OpenFlags, config::DbConfig};

use super::{
    APPLICATION_ID, LOCK_WAIT, SCHEMA_VERSION, error, head,
    rows::{Head, chain_before, check_acknowledged, read_head, read_id, read_meta, record_corrupt, walk},
};
use crate::{JournalReader, Record, Seq, StoreError, limits};

/// A reader of the journal in a SQLite file. See the module's page.
pub struct SqliteReader {
    path: PathBuf,
    connection: Connection,
    file: FileId,
    id: JournalId,
    /// What was read last, and its digest.
    at: Option<Head>,
}

/// Which file it is. The open connection keeps its number from being given to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

impl SqliteReader {
    /// Opens the journal at `path`.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when there is no journal yet, or one without an id, which its writer gives it when it opens it next;
    /// [`StoreError::Corrupt`] when it is not a journal or ends before what was acknowledged; otherwise the system's failure.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let path = path.into();
        // What was acknowledged before the file is looked at must be in it.
        let acknowledged = head::HeadFile::peek(&path)?;
        // The name may come to mean another file while it is being opened.
        for _ in 0..limits::REOPENINGS {
            let file = stat(&path)?;
            let connection = connect(&path).map_err(|e| error::sqlite(&path, &e))?;
            let opened = identify(&path, &connection);
            if stat(&path)? != file {
                continue;
            }
            let id = opened?;
            sync_log(&path)?;
            let mut reader = Self { path, connection, file, id, at: None };
            if let Some((seq, digest)) = acknowledged {
                reader.check(Head { seq, digest })?;
            }
            return Ok(reader);
        }
        let detail = "it was replaced again and again while it was being opened".to_owned();
        Err(StoreError::Io { path: path.display().to_string(), detail })
    }

    /// The journal's file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn check(&mut self, acknowledged: Head) -> Result<(), StoreError> {
        let path = &self.path;
        let tx = self.connection.transaction().map_err(|e| error::sqlite(path, &e))?;
        let meta = read_meta(path, &tx)?;
        let head = read_head(path, &tx, meta.base)?;
        check_acknowledged(path, &tx, meta, head, acknowledged)
    }

    /// Notices that the name means another file now, and goes over to it.
    fn follow(&mut self) -> Result<(), StoreError> {
        if stat(&self.path)? == self.file {
            return Ok(());
        }
        let was = self.id;
        *self = Self::open(self.path.clone())?;
        Err(StoreError::Replaced { path: self.path.display().to_string(), was, now: self.id })
    }
}

impl JournalReader for SqliteReader {
    fn id(&self) -> JournalId {
        self.id
    }

    fn last(&mut self) -> Result<Seq, StoreError> {
        self.follow()?;
        let path = &self.path;
        let tx = self.connection.transaction().map_err(|e| error::sqlite(path, &e))?;
        let meta = read_meta(path, &tx)?;
        read_head(path, &tx, meta.base).map(|head| head.seq)
    }

    fn read(
        &mut self,
        from: Seq,
        max_bytes: usize,
        visit: &mut dyn FnMut(Record<'_>) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.follow()?;
        let path = &self.path;
        let tx = self.connection.transaction().map_err(|e| error::sqlite(path, &e))?;
        let meta = read_meta(path, &tx)?;
        let last = read_head(path, &tx, meta.base)?.seq;
        if from.0 > last.0 + 1 {
            let detail = format!("the journal ends at record {}", last.0);
            return Err(StoreError::Range { seq: from, detail });
        }
        let mut at = chain_before(path, &tx, meta, from)?;
        if self.at.is_some_and(|known| known.seq == at.seq && known.digest != at.digest) {
            return Err(record_corrupt(path, at.seq, "it is not the one that was read before".to_owned()));
        }
        let mut taken = 0usize;
        let walked = walk(path, &tx, &mut at, &mut |record| {
            taken = taken.saturating_add(record.payload.len());
            match visit(record) {
                ControlFlow::Continue(()) if taken < max_bytes => ControlFlow::Continue(()),
                _ => ControlFlow::Break(()),
            }
        });
        // As far as it went it was whole.
        self.at = Some(at);
        if walked?.is_continue() && at.seq < last {
            let detail = format!("missing; the journal holds records up to {}", last.0);
            return Err(record_corrupt(path, Seq(at.seq.0 + 1), detail));
        }
        Ok(())
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(LOCK_WAIT)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    // Negative: in KiB.
    connection.pragma_update(None, "cache_size", -limits::READER_CACHE_KIB)?;
    Ok(connection)
}

fn identify(path: &Path, connection: &Connection) -> Result<JournalId, StoreError> {
    let failed = |e: rusqlite::Error| error::sqlite(path, &e);
    let missing =
        |detail: &str| StoreError::Missing { path: path.display().to_string(), detail: detail.to_owned() };
    let pragma =
        |name: &str| connection.pragma_query_value(None, name, |r| r.get::<_, i32>(0)).map_err(failed);
    if !connection.table_exists(None, "meta").map_err(failed)? {
        let objects: i64 =
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |r| r.get(0)).map_err(failed)?;
        if objects == 0 {
            return Err(missing("the journal has not been begun yet"));
        }
    }
    let (application, version) = (pragma("application_id")?, pragma("user_version")?);
    if application != APPLICATION_ID {
        let detail = format!("it is a SQLite file but not a journal (application id {application:#x})");
        return Err(StoreError::Corrupt { what: path.display().to_string(), detail });
    }
    if version != SCHEMA_VERSION {
        let detail = format!("its format is version {version}; this program knows {SCHEMA_VERSION}");
        return Err(StoreError::Io { path: path.display().to_string(), detail });
    }
    read_id(path, connection)?.ok_or_else(|| missing("the journal has no id until its writer opens it again"))
}

fn stat(path: &Path) -> Result<FileId, StoreError> {
    let missing =
        |detail: &str| StoreError::Missing { path: path.display().to_string(), detail: detail.to_owned() };
    match fs::metadata(path) {
        // Its maker is about to switch it to WAL, where a reader could be in the way.
        Ok(found) if found.len() == 0 => match head::HeadFile::peek(path)? {
            Some((seq, _)) if seq > Seq(0) => Err(super::lost(path, seq, "the file is empty")),
            _ => Err(missing("the journal has not been begun yet")),
        },
        Ok(found) => Ok(FileId { device: found.dev(), inode: found.ino() }),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Err(missing("there is no such file")),
        Err(e) => Err(error::io(path, &e)),
    }
}

/// Makes durable what recovery may have found in the log. SQLite holds no lock on that file.
fn sync_log(path: &Path) -> Result<(), StoreError> {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    match File::open(PathBuf::from(name)).and_then(|log| log.sync_data()) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(error::io(path, &e)),
        _ => Ok(()),
    }
}
