//! The tables of the narrative database, and how its file is opened.
//!
//! - A narrative's row number is its place in time ([`super::position`]). Every index of SQLite ends in the row number, so each of them
//!   gives its rows in the order in which they are shown, and a page is read without sorting.
//! - Actors, types and places repeat in row after row. They are stored once, in `words`, and are known by their numbers.
//! - The full text is an FTS5 table without content: the index alone, no second copy of the text. `columnsize=0` since nothing is ranked:
//!   results are shown by time. `detail=full`, for phrases: a name such as `health_monitor` is two words to the tokenizer.
//! - A document of it is not a narrative but a block of neighbours ([`super::position::Position::block`]) that came in one transaction, with each
//!   value once: those of a burst say nearly the same, and a block of 32 costs little more than one. Which of them it is, the rows tell.
//! - It holds the numbers of actor, type and place as well, each in a column of its own, so that any of them are looked for together with each other
//!   and with words. A B-tree of each would be a page written for nearly each narrative: half of what it costs to take one in.
//! - Segments of the full text are merged sixteen at a time and not eight: a batch costs a third less, and a search looks into a few more.
//! - An id begins with the millisecond in which it was made, and so does a row's place: an event is found by its id among the rows of its
//!   millisecond, and a story's first event by its correlation. `elsewhere` has the ids of the rows for which that is not so: later events of
//!   a story, and events of a clock that was stepped back. An index of either for each row would be a tenth of what it costs to take one in.
//! - That a record is in once is its source's cursor's affair: an index of sources and sequence numbers would only cost.

use std::{io, path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags, TransactionBehavior, config::DbConfig};

use super::error;
use crate::{StoreError, file::place, limits};

/// `GRCN`: marks the file as one of ours.
const APPLICATION_ID: i32 = 0x4752_434E;
/// Version of the tables below.
const SCHEMA_VERSION: i32 = 4;

const SCHEMA: &str = "
CREATE TABLE sources (
  id INTEGER PRIMARY KEY, component TEXT NOT NULL, journal INTEGER NOT NULL,
  next INTEGER NOT NULL, told INTEGER NOT NULL, odd INTEGER NOT NULL, last_odd TEXT,
  UNIQUE (component, journal)
) STRICT;
CREATE TABLE words (
  id INTEGER PRIMARY KEY, role INTEGER NOT NULL, word TEXT NOT NULL, UNIQUE (role, word)
) STRICT;
CREATE TABLE narratives (
  pos INTEGER PRIMARY KEY,
  source INTEGER NOT NULL, seq INTEGER NOT NULL, id BLOB NOT NULL,
  time INTEGER NOT NULL, millis INTEGER NOT NULL, counter INTEGER NOT NULL,
  who INTEGER NOT NULL, what INTEGER NOT NULL, place INTEGER NOT NULL,
  correlation BLOB NOT NULL, causation BLOB,
  how TEXT NOT NULL, why TEXT NOT NULL, event TEXT NOT NULL
) STRICT;
CREATE TABLE elsewhere (id BLOB NOT NULL, pos INTEGER NOT NULL, PRIMARY KEY (id, pos)) STRICT, WITHOUT ROWID;
CREATE INDEX by_causation ON narratives (causation) WHERE causation IS NOT NULL;
CREATE VIRTUAL TABLE told USING fts5 (
  who, what, place, text, content='', columnsize=0, detail=full, tokenize='unicode61 remove_diacritics 2'
);
INSERT INTO told (told, rank) VALUES ('automerge', 16);
INSERT INTO told (told, rank) VALUES ('crisismerge', 64);
CREATE TABLE links (
  source INTEGER NOT NULL, first INTEGER NOT NULL, count INTEGER NOT NULL, log_index INTEGER NOT NULL,
  PRIMARY KEY (source, first)
) STRICT, WITHOUT ROWID;
CREATE TABLE log (
  id INTEGER PRIMARY KEY CHECK (id = 0), origin TEXT NOT NULL, size INTEGER NOT NULL, root BLOB NOT NULL,
  next INTEGER NOT NULL
) STRICT;
";

/// Another process holds the write lock only while it takes something in; one that was stopped there is waited for this long.
const LOCK_WAIT: Duration = Duration::from_secs(5);

/// Opens the file for writing, making it (0600) and its tables if need be.
pub(super) fn open(path: &Path) -> Result<Connection, StoreError> {
    create(path).map_err(|e| place::failed(path, &e))?;
    let failed = |e: rusqlite::Error| error::sqlite(path, &e);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    set_up(&connection).map_err(failed)?;
    if fresh(&connection).map_err(failed)? {
        connection.pragma_update(None, "page_size", limits::NARRATIVE_PAGE_BYTES).map_err(failed)?;
        connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;").map_err(failed)?;
        let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        // Another opener may have been first.
        if fresh(&tx).map_err(failed)? {
            tx.execute_batch(SCHEMA).map_err(failed)?;
            tx.pragma_update(None, "application_id", APPLICATION_ID).map_err(failed)?;
            tx.pragma_update(None, "user_version", SCHEMA_VERSION).map_err(failed)?;
        }
        tx.commit().map_err(failed)?;
    }
    check(path, &connection)?;
    connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;").map_err(failed)?;
    connection.pragma_update(None, "wal_autocheckpoint", limits::NARRATIVE_LOG_PAGES).map_err(failed)?;
    Ok(connection)
}

/// Opens the file for reading, whether or not its writer lives.
pub(super) fn open_read_only(path: &Path) -> Result<Connection, StoreError> {
    let missing = || StoreError::Missing {
        path: path.display().to_string(),
        detail: "there is no such file".to_owned(),
    };
    match std::fs::metadata(path) {
        Ok(found) if found.len() > 0 => {}
        Ok(_) => return Err(missing()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(missing()),
        Err(e) => return Err(place::failed(path, &e)),
    }
    let failed = |e: rusqlite::Error| error::sqlite(path, &e);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    set_up(&connection).map_err(failed)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(failed)?;
    if fresh(&connection).map_err(failed)? {
        return Err(missing());
    }
    check(path, &connection)?;
    Ok(connection)
}

fn create(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
        place::create(parent)?;
    }
    if !path.exists() {
        place::open(path)?.sync_all()?;
        place::sync_parent(path)?;
    }
    Ok(())
}

fn set_up(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(LOCK_WAIT)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    // Negative: in KiB.
    connection.pragma_update(None, "cache_size", -limits::NARRATIVE_CACHE_KIB)
}

fn fresh(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT count(*) = 0 FROM sqlite_schema", [], |row| row.get(0))
}

fn check(path: &Path, connection: &Connection) -> Result<(), StoreError> {
    let pragma = |name: &str| {
        connection.pragma_query_value(None, name, |r| r.get::<_, i32>(0)).map_err(|e| error::sqlite(path, &e))
    };
    let (application, version) = (pragma("application_id")?, pragma("user_version")?);
    if application != APPLICATION_ID {
        let detail =
            format!("it is a SQLite file but not one of narratives (application id {application:#x})");
        return Err(StoreError::Corrupt { what: path.display().to_string(), detail });
    }
    if version < SCHEMA_VERSION {
        // What the journals give again is not carried over.
        let detail = format!("its format is version {version}, which is older than {SCHEMA_VERSION}");
        return Err(StoreError::Corrupt { what: path.display().to_string(), detail });
    }
    if version != SCHEMA_VERSION {
        let detail = format!("its format is version {version}; this program knows {SCHEMA_VERSION}");
        return Err(StoreError::Io { path: path.display().to_string(), detail });
    }
    Ok(())
}
