//! The index of narratives: which of them hold a term. A term is a word of their text, an actor, a type, a place or an id.
//!
//! ```text
//! a transaction's narratives ─► Builder ─► run: terms in order, each with the narratives that hold it
//!                                           8 runs of about one size ─► merge ─► one run, up to a quarter of a million narratives
//! a search ─► from the newest run to the oldest: the lists of its terms, intersected ─► places, in order
//! ```
//!
//! It is a log-structured merge tree of inverted lists, in SQLite's pages and transactions. All is appended in order and nothing is changed
//! in place, so a narrative costs some microseconds, where a B-tree for each column and FTS5 cost forty. It is rewritten once
//! for each factor of eight, and a search looks into some dozen runs for a million narratives (`docs/decisions/0013-the-index-of-narratives.md`).
//!
//! A run knows its narratives as 0, 1, 2, … in the order of their arrival, so that to merge runs is to put their lists one behind the other.
//!
//! | Module | What it holds |
//! |---|---|
//! | `words` | the words of a text |
//! | `page` | the bytes of a page of terms |
//! | `run` | runs: made, and looked into |
//! | `merge` | runs into one |
//! | `find` | searching all runs |

mod find;
mod merge;
mod page;
mod run;
pub(super) mod words;

pub(super) use self::{
    find::{Any, Needle, find},
    run::Builder,
};

/// The tables. The pages of a run have numbers in a row: from `places` the places of its narratives, in the order of arrival, and from `terms` to
/// before `end` its terms.
pub(super) const SCHEMA: &str = "
CREATE TABLE runs (
  id INTEGER PRIMARY KEY, rows INTEGER NOT NULL, low INTEGER NOT NULL, high INTEGER NOT NULL,
  places INTEGER NOT NULL, terms INTEGER NOT NULL, end INTEGER NOT NULL
) STRICT;
CREATE TABLE pages (id INTEGER PRIMARY KEY, page BLOB NOT NULL) STRICT;
";

/// What a term is of; its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// A word of the text, as [`words`] makes it.
    Text = b't',
    /// The number of whose journal it is from, four bytes; likewise the next three.
    Source = b's',
    /// An actor's.
    Who = b'w',
    /// A type's.
    What = b'a',
    /// A place's.
    Place = b'p',
    /// An event's id, 16 bytes; likewise the next two.
    Id = b'i',
    Correlation = b'c',
    Causation = b'x',
}

impl Kind {
    /// The term of this kind.
    pub(super) fn term(self, rest: &[u8]) -> Vec<u8> {
        let mut term = Vec::with_capacity(1 + rest.len());
        term.push(self as u8);
        term.extend_from_slice(rest);
        term
    }

    /// The term for the number of a source, actor, type or place.
    pub(super) fn numbered(self, id: i64) -> Vec<u8> {
        self.term(&number(id))
    }
}

/// There are never as many sources, actors, types or places as 32 bits count.
const fn number(id: i64) -> [u8; 4] {
    (id as u32).to_be_bytes()
}

/// The index contradicts itself, which only damage does.
fn damaged(detail: &str) -> rusqlite::Error {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
    rusqlite::Error::SqliteFailure(code, Some(format!("the index of narratives: {detail}")))
}
