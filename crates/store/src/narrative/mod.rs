//! The narratives of all components in one SQLite file, to be searched by actor, time, action, place and words, and followed along causes.
//!
//! ```text
//! records of a source, in order ─► ingest ─► rows and the source's cursor, in one synced transaction
//! ranges of the log's entries   ─► link   ─► which entry of the log proves which record
//! ```
//!
//! It is a read model: everything in it can be made again from the journals ([`NarrativeDb::rebuild`]) and from the log. A record that
//! cannot be told is counted and passed over, since it would hold up everything behind it otherwise.
//!
//! | Module | What it holds |
//! |---|---|
//! | `schema` | the tables, and why they are so |
//! | `position` | the order of narratives |
//! | `text` | what is found by its words |
//! | `write` | taking records and links in |
//! | `query` | finding narratives |
//! | `probe` | which of some have the words |
//! | `chain` | causes, effects and stories |
//! | `rebuild` | making it all again from the journals |

mod chain;
mod error;
mod position;
mod probe;
mod query;
mod rebuild;
mod schema;
mod text;
mod write;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use grace_types::{
    evidence::{JournalId, Source},
    narrative::Narrative,
};
use rusqlite::{Connection, config::DbConfig};

pub use position::{BadPosition, Position};
pub use query::{Order, Page, Query};
pub use rebuild::{Journals, Lost, Rebuilt};
pub use write::{Batch, Link};

use crate::StoreError;

/// The database. One process writes it; any number read it at the same time.
pub struct NarrativeDb {
    path: PathBuf,
    connection: Connection,
    words: Words,
}

/// The numbers of words that were written lately, by [`Role`].
type Words = [HashMap<String, i64>; 3];

/// What a word stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Role {
    Who = 0,
    What = 1,
    Place = 2,
}

/// A narrative as it is stored, with where it comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// What is told.
    pub narrative: Narrative,
    /// Whose journal it is from.
    pub source: Source,
    /// Its place there.
    pub sequence: u64,
    /// Its entry in the tamper-evident log, once it is known.
    pub log_index: Option<u64>,
    /// Its place among all narratives, and the mark from which a next page goes on.
    pub position: Position,
}

/// How far the records of a source have come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stand {
    /// Whose.
    pub source: Source,
    /// Every record before it is in.
    pub next: u64,
    /// Records that could not be told.
    pub odd: u64,
    /// Why the last of them could not.
    pub last_odd: Option<String>,
}

/// How far the tamper-evident log has been followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogStand {
    /// The log's name.
    pub origin: String,
    /// Entries under the newest checkpoint that was seen.
    pub size: u64,
    /// Its root.
    pub root: [u8; 32],
    /// Every entry before it has been linked. At most `size`.
    pub next: u64,
}

/// Gives a database that nobody has open another name, with the files beside it.
///
/// # Errors
/// The system's failure.
pub fn set_aside(path: &Path, aside: &Path) -> Result<(), StoreError> {
    let with = |path: &Path, suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    // The log first: one that stayed would be taken for the next file's.
    for suffix in ["-wal", "-shm", ""] {
        match std::fs::rename(with(path, suffix), with(aside, suffix)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(crate::file::place::failed(path, &e));
            }
            _ => {}
        }
    }
    Ok(())
}

impl NarrativeDb {
    /// Opens the database at `path` for writing, making it if need be.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when the file is damaged or another's; otherwise the system's failure.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let path = path.into();
        let connection = schema::open(&path)?;
        Ok(Self { path, connection, words: Words::default() })
    }

    /// Opens the database at `path` for reading. Its writer may be at work, or dead.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when there is none yet; otherwise as for [`NarrativeDb::open`].
    pub fn open_read_only(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let path = path.into();
        let connection = schema::open_read_only(&path)?;
        Ok(Self { path, connection, words: Words::default() })
    }

    /// Sets the file aside as `aside`, since it is damaged, and begins an empty one.
    ///
    /// # Errors
    /// As for [`set_aside`] and [`NarrativeDb::open`]; the database is not to be used any more then.
    pub fn begin_anew(&mut self, aside: &Path) -> Result<(), StoreError> {
        let failed = |e: rusqlite::Error| error::sqlite(&self.path, &e);
        // On closing, SQLite would fold the log in and remove it by its name, which is the new file's by then.
        self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(failed)?;
        self.connection = Connection::open_in_memory().map_err(failed)?;
        self.words = Words::default();
        set_aside(&self.path, aside)?;
        self.connection = schema::open(&self.path)?;
        Ok(())
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The number of narratives.
    ///
    /// # Errors
    /// The engine's failure.
    pub fn count(&self) -> Result<u64, StoreError> {
        let sql = "SELECT coalesce(sum(told), 0) FROM sources";
        self.connection
            .query_row(sql, [], |row| row.get::<_, i64>(0))
            .map(i64::cast_unsigned)
            .map_err(|e| error::sqlite(&self.path, &e))
    }

    /// How far each source has come, by name and age.
    ///
    /// # Errors
    /// The engine's failure.
    pub fn stands(&self) -> Result<Vec<Stand>, StoreError> {
        let sql = "SELECT component, journal, next, odd, last_odd FROM sources ORDER BY component, journal";
        let read = || -> rusqlite::Result<Vec<Stand>> {
            let mut select = self.connection.prepare_cached(sql)?;
            let rows = select.query_map([], |row| {
                let journal = JournalId(row.get::<_, i64>(1)?.cast_unsigned());
                Ok(Stand {
                    source: Source { component: row.get(0)?, journal },
                    next: row.get::<_, i64>(2)?.cast_unsigned(),
                    odd: row.get::<_, i64>(3)?.cast_unsigned(),
                    last_odd: row.get(4)?,
                })
            })?;
            rows.collect()
        };
        read().map_err(|e| error::sqlite(&self.path, &e))
    }

    /// How far the log has been followed; `None` before its first checkpoint.
    ///
    /// # Errors
    /// The engine's failure.
    pub fn log_stand(&self) -> Result<Option<LogStand>, StoreError> {
        let read = || {
            let mut select =
                self.connection.prepare_cached("SELECT origin, size, root, next FROM log WHERE id = 0")?;
            let mut rows = select.query([])?;
            let Some(row) = rows.next()? else { return Ok(None) };
            Ok(Some(LogStand {
                origin: row.get(0)?,
                size: row.get::<_, i64>(1)?.cast_unsigned(),
                root: row.get(2)?,
                next: row.get::<_, i64>(3)?.cast_unsigned(),
            }))
        };
        read().map_err(|e: rusqlite::Error| error::sqlite(&self.path, &e))
    }
}
