//! Runs: made of a transaction's narratives, and looked into.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    Kind, damaged, merge, number,
    page::{self, Entries, List, PAGE_BYTES, Writer},
    words,
};
use crate::narrative::position::Position;

/// Places on one page.
const PLACES_A_PAGE: u32 = (PAGE_BYTES / size_of::<i64>()) as u32;

/// Terms of a transaction's narratives, collected.
#[derive(Default)]
pub(in super::super) struct Builder {
    places: Vec<i64>,
    terms: HashMap<Box<[u8]>, List>,
    /// The term at hand.
    term: Vec<u8>,
    word: String,
}

impl Builder {
    /// The terms that follow are this narrative's.
    pub(in super::super) fn narrative(&mut self, position: Position) {
        self.places.push(position.0);
    }

    /// Adds a term.
    pub(in super::super) fn term(&mut self, kind: Kind, rest: &[u8]) {
        let row = (self.places.len() as u32).saturating_sub(1);
        add(&mut self.terms, &mut self.term, row, kind, rest);
    }

    /// Adds the term for the number of an actor, type or place.
    pub(in super::super) fn number(&mut self, kind: Kind, id: i64) {
        self.term(kind, &number(id));
    }

    /// Adds the words of a text.
    pub(in super::super) fn text(&mut self, text: &str) {
        let row = (self.places.len() as u32).saturating_sub(1);
        let Self { terms, term, word, .. } = self;
        words::each(text, word, |word| add(terms, term, row, Kind::Text, word.as_bytes()));
    }

    /// Stores all of it as a run, and merges where it is time.
    pub(in super::super) fn store(self, tx: &Connection) -> rusqlite::Result<()> {
        let (Some(low), Some(high)) = (self.places.iter().min(), self.places.iter().max()) else {
            return Ok(());
        };
        let mut pages = Pages::new(tx)?;
        let (places, rows) = (pages.next, self.places.len() as u32);
        for part in self.places.chunks(PLACES_A_PAGE as usize) {
            let bytes: Vec<u8> = part.iter().flat_map(|place| place.to_le_bytes()).collect();
            pages.add(&bytes)?;
        }
        let terms = pages.next;
        let mut sorted: Vec<(&Box<[u8]>, &List)> = self.terms.iter().collect();
        sorted.sort_unstable_by_key(|(term, _)| *term);
        let mut writer = Writer::new(|page: &[u8]| pages.add(page));
        for (term, list) in sorted {
            writer.add(term, list.bytes(), 0)?;
        }
        writer.finish()?;
        let run = Run { id: 0, rows, low: *low, high: *high, places, terms, end: pages.next };
        run.insert(tx)?;
        merge::merge(tx)
    }
}

fn add(terms: &mut HashMap<Box<[u8]>, List>, term: &mut Vec<u8>, row: u32, kind: Kind, rest: &[u8]) {
    term.clear();
    term.push(kind as u8);
    term.extend_from_slice(rest);
    match terms.get_mut(term.as_slice()) {
        Some(list) => list.push(row),
        None => terms.entry(term.as_slice().into()).or_default().push(row),
    }
}

/// Adds pages with numbers in a row.
pub(super) struct Pages<'a> {
    insert: rusqlite::CachedStatement<'a>,
    pub(super) next: i64,
}

impl<'a> Pages<'a> {
    pub(super) fn new(tx: &'a Connection) -> rusqlite::Result<Self> {
        let last: Option<i64> =
            tx.prepare_cached("SELECT max(id) FROM pages")?.query_row([], |row| row.get(0))?;
        Ok(Self {
            insert: tx.prepare_cached("INSERT INTO pages VALUES (?1, ?2)")?,
            next: last.unwrap_or(0) + 1,
        })
    }

    pub(super) fn add(&mut self, page: &[u8]) -> rusqlite::Result<()> {
        self.insert.execute(params![self.next, page])?;
        self.next += 1;
        Ok(())
    }
}

/// A run: which pages are its own, and what lies in them.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) id: i64,
    /// Its narratives.
    pub(super) rows: u32,
    /// The first and the last place of them.
    pub(super) low: i64,
    pub(super) high: i64,
    /// Its pages; see [`super::SCHEMA`].
    pub(super) places: i64,
    pub(super) terms: i64,
    pub(super) end: i64,
}

impl Run {
    pub(super) const COLUMNS: &str = "id, rows, low, high, places, terms, end";

    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let [low, high, places, terms, end] =
            [row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?];
        Ok(Self { id: row.get(0)?, rows: row.get(1)?, low, high, places, terms, end })
    }

    pub(super) fn insert(&self, tx: &Connection) -> rusqlite::Result<()> {
        let Self { id: _, rows, low, high, places, terms, end } = self;
        tx.prepare_cached("INSERT INTO runs VALUES (NULL, ?1, ?2, ?3, ?4, ?5, ?6)")?
            .execute(params![rows, low, high, places, terms, end])?;
        Ok(())
    }

    /// The page of this number, as `of` sees it.
    pub(super) fn page<V>(
        connection: &Connection,
        id: i64,
        of: impl FnOnce(&[u8]) -> rusqlite::Result<V>,
    ) -> rusqlite::Result<V> {
        let mut select = connection.prepare_cached("SELECT page FROM pages WHERE id = ?1")?;
        let found = select.query_row([id], |row| of(row.get_ref(0)?.as_blob()?)).optional()?;
        found.ok_or_else(|| damaged("a page is missing"))
    }

    /// The places of the narratives `rows`, which rise.
    pub(super) fn places(&self, connection: &Connection, rows: &[u32]) -> rusqlite::Result<Vec<i64>> {
        let mut places = Vec::with_capacity(rows.len());
        for rows in rows.chunk_by(|a, b| a / PLACES_A_PAGE == b / PLACES_A_PAGE) {
            Self::page(connection, self.places + i64::from(rows[0] / PLACES_A_PAGE), |page| {
                let (of, _) = page.as_chunks();
                for row in rows {
                    let place = of.get((row % PLACES_A_PAGE) as usize).filter(|_| *row < self.rows);
                    places
                        .push(i64::from_le_bytes(*place.ok_or_else(|| damaged("a narrative has no place"))?));
                }
                Ok(())
            })?;
        }
        Ok(places)
    }

    /// Adds to `rows` the narratives that hold `term`, or with `begins` any term that begins so.
    pub(super) fn lookup(
        &self,
        connection: &Connection,
        term: &[u8],
        begins: bool,
        rows: &mut Vec<u32>,
    ) -> rusqlite::Result<()> {
        // The last page that begins before the term: it may begin in it.
        let (mut low, mut high) = (self.terms, self.end);
        while low < high {
            let middle = low + (high - low) / 2;
            if Self::page(connection, middle, |page| Ok(page::first_term(page)? < term))? {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let mut entries = Entries::default();
        for id in (low - 1).max(self.terms)..self.end {
            Self::page(connection, id, |page| {
                entries.page(page);
                Ok(())
            })?;
            while entries.step()? {
                let found = entries.term();
                if found == term || (begins && found.starts_with(term)) {
                    page::each(entries.list(), 0, |row| {
                        rows.push(row);
                        Ok(())
                    })?;
                } else if found > term {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}
