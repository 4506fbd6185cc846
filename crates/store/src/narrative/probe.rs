//! Which of some narratives have the words of a search. The full-text index tells blocks of narratives; whether it is this one, an index of
//! its own text says, in memory: of the same kind and asked the same, so that a word is a word in both.

use std::collections::HashSet;

use grace_types::narrative::RawReason;
use rusqlite::{
    Connection, Row, params,
    types::{FromSqlError, Type},
};

use super::text;

/// What is read of a row `n` that may have the words.
pub(super) const COLUMNS: &str = "n.pos, n.how, n.why, n.event, (SELECT word FROM words WHERE id = n.place),
  (SELECT word FROM words WHERE id = n.who), (SELECT word FROM words WHERE id = n.what)";

/// The place of a row of [`COLUMNS`], and its text.
fn candidate(row: &Row<'_>) -> rusqlite::Result<(i64, String)> {
    let text = |column: usize| -> rusqlite::Result<&str> { Ok(row.get_ref(column)?.as_str()?) };
    let bad = |e: serde_json::Error| {
        rusqlite::Error::FromSqlConversionFailure(2, Type::Text, Box::new(FromSqlError::other(e)))
    };
    let reasons: Vec<RawReason<'_>> = serde_json::from_str(text(2)?).map_err(bad)?;
    let values = text::values(&reasons, [text(1)?, text(4)?, text(5)?], text(6)?, text(3)?);
    Ok((row.get(0)?, values.map_err(bad)?))
}

/// Texts that are asked together at least, since each time costs as much as some dozens of them; and at most.
const TOGETHER: [usize; 2] = [32, 256];

/// What was found for a page, in order.
pub(super) struct Found {
    probe: Option<Probe>,
    /// Rows that may have the words, behind all others.
    candidates: Vec<(i64, String)>,
    places: Vec<i64>,
    limit: usize,
}

impl Found {
    /// Nothing yet of `limit` rows that have `words`, in the index's own syntax, if there are any.
    pub(super) fn new(words: Option<String>, limit: usize) -> rusqlite::Result<Self> {
        let probe = words.map(Probe::new).transpose()?;
        Ok(Self { probe, candidates: Vec::new(), places: Vec::new(), limit })
    }

    /// How many rows to ask for; of those that have still to be looked at, any number (which is -1).
    pub(super) fn most_rows(&self) -> i64 {
        let left = self.limit - self.places.len().min(self.limit);
        if self.probe.is_some() { -1 } else { i64::try_from(left).unwrap_or(i64::MAX) }
    }

    /// Takes the next row: its place, or with words [`COLUMNS`].
    pub(super) fn take(&mut self, row: &Row<'_>) -> rusqlite::Result<()> {
        if self.probe.is_some() {
            self.candidates.push(candidate(row)?);
        } else {
            self.places.push(row.get(0)?);
        }
        Ok(())
    }

    /// Whether there are enough.
    pub(super) fn is_full(&mut self) -> rusqlite::Result<bool> {
        let wanted = self.limit.saturating_sub(self.places.len());
        if self.candidates.len() >= wanted.clamp(TOGETHER[0], TOGETHER[1]) {
            self.settle()?;
        }
        Ok(self.places.len() >= self.limit)
    }

    fn settle(&mut self) -> rusqlite::Result<()> {
        if let Some(probe) = self.probe.as_ref().filter(|_| !self.candidates.is_empty()) {
            let matching = probe.matching(&self.candidates)?;
            let places = self.candidates.drain(..).map(|(place, _)| place);
            self.places.extend(places.filter(|place| matching.contains(place)));
        }
        Ok(())
    }

    /// All that was found.
    pub(super) fn places(mut self) -> rusqlite::Result<Vec<i64>> {
        self.settle()?;
        self.places.truncate(self.limit);
        Ok(self.places)
    }
}

/// A search, to be asked of texts.
struct Probe {
    index: Connection,
    words: String,
}

impl Probe {
    fn new(words: String) -> rusqlite::Result<Self> {
        let index = Connection::open_in_memory()?;
        index.execute_batch(&format!(
            "CREATE VIRTUAL TABLE texts USING fts5 (text, content='', columnsize=0, detail=full, tokenize='{}')",
            text::TOKENIZER
        ))?;
        Ok(Self { index, words })
    }

    /// The places of those candidates that have them.
    fn matching(&self, candidates: &[(i64, String)]) -> rusqlite::Result<HashSet<i64>> {
        let tx = self.index.unchecked_transaction()?;
        let mut insert = tx.prepare_cached("INSERT INTO texts (rowid, text) VALUES (?1, ?2)")?;
        for (place, text) in candidates {
            insert.execute(params![place, text])?;
        }
        let mut select = tx.prepare_cached("SELECT rowid FROM texts WHERE texts MATCH ?1")?;
        let matching = select.query_map([&self.words], |row| row.get(0))?.collect();
        // What was put in goes with the transaction.
        matching
    }
}
