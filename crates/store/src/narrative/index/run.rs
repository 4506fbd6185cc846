//! Runs: made of a transaction's narratives, and looked into.

use std::hash::BuildHasher as _;

use hashbrown::{DefaultHashBuilder, HashTable, hash_table::Entry};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    Kind, damaged, merge, number,
    page::{self, Entries, PAGE_BYTES, Writer},
    words,
};
use crate::narrative::position::Position;

/// Places on one page.
const PLACES_A_PAGE: u32 = (PAGE_BYTES / size_of::<i64>()) as u32;

/// Terms of a transaction's narratives, collected.
#[derive(Default)]
pub(in super::super) struct Builder {
    places: Vec<i64>,
    terms: Terms,
    word: String,
}

/// Terms, numbered as they come, and which narrative holds which. Three vectors and a table of numbers, since most terms occur once: a vector of
/// narratives for each would cost more than all else.
#[derive(Default)]
struct Terms {
    numbers: HashTable<u32>,
    hash: DefaultHashBuilder,
    /// The bytes of all terms.
    bytes: Vec<u8>,
    /// One a term: where it ends in `bytes`, the last narrative that holds it, and how many do.
    each: Vec<(u32, u32, u32)>,
    /// A term and a narrative that holds it, in the order of narratives.
    held: Vec<(u32, u32)>,
}

impl Terms {
    fn get(&self, number: u32) -> &[u8] {
        term_of(&self.bytes, &self.each, number)
    }

    /// Narrative `row`, the newest, holds this term.
    fn add(&mut self, row: u32, kind: Kind, rest: &[u8]) {
        let Self { numbers, hash, bytes, each, held } = self;
        // At the end of the others, where it stays if it is new.
        let start = bytes.len();
        bytes.push(kind as u8);
        bytes.extend_from_slice(rest);
        let term = &bytes[start..];
        let same = |number: &u32| term_of(bytes, each, *number) == term;
        let entry =
            numbers.entry(hash.hash_one(term), same, |number| hash.hash_one(term_of(bytes, each, *number)));
        let number = match entry {
            Entry::Occupied(known) => {
                let number = *known.get();
                bytes.truncate(start);
                number
            }
            Entry::Vacant(new) => {
                let number = each.len() as u32;
                new.insert(number);
                each.push((bytes.len() as u32, u32::MAX, 0));
                number
            }
        };
        let (_, last, count) = &mut each[number as usize];
        if std::mem::replace(last, row) != row {
            *count += 1;
            held.push((number, row));
        }
    }

    /// Hands over each term, in order, with the narratives that hold it, rising.
    fn visit(&self, mut visit: impl FnMut(&[u8], &[u32]) -> rusqlite::Result<()>) -> rusqlite::Result<()> {
        // Sorted by counting: where the narratives of each term begin.
        let mut next: Vec<u32> = self
            .each
            .iter()
            .scan(0, |sum, (_, _, count)| {
                *sum += count;
                Some(*sum - count)
            })
            .collect();
        let mut rows = vec![0; self.held.len()];
        for (number, row) in &self.held {
            let at = &mut next[*number as usize];
            rows[*at as usize] = *row;
            *at += 1;
        }
        let mut sorted: Vec<(u64, u32)> =
            (0..self.each.len() as u32).map(|n| (head(self.get(n)), n)).collect();
        sorted.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| self.get(a.1).cmp(self.get(b.1))));
        for (_, number) in sorted {
            let (end, count) = (next[number as usize] as usize, self.each[number as usize].2 as usize);
            visit(self.get(number), &rows[end - count..end])?;
        }
        Ok(())
    }
}

fn term_of<'a>(bytes: &'a [u8], each: &[(u32, u32, u32)], number: u32) -> &'a [u8] {
    let number = number as usize;
    let start = number.checked_sub(1).map_or(0, |before| each[before].0);
    &bytes[start as usize..each[number].0 as usize]
}

/// The first bytes of a term, as a number of the same order.
fn head(term: &[u8]) -> u64 {
    let mut head = [0; 8];
    let length = term.len().min(8);
    head[..length].copy_from_slice(&term[..length]);
    u64::from_be_bytes(head)
}

impl Builder {
    /// The terms that follow are this narrative's.
    pub(in super::super) fn narrative(&mut self, position: Position) {
        self.places.push(position.0);
    }

    fn row(&self) -> u32 {
        (self.places.len() as u32).saturating_sub(1)
    }

    /// Adds a term.
    pub(in super::super) fn term(&mut self, kind: Kind, rest: &[u8]) {
        self.terms.add(self.row(), kind, rest);
    }

    /// Adds the term for the number of a source, actor, type or place.
    pub(in super::super) fn number(&mut self, kind: Kind, id: i64) {
        self.term(kind, &number(id));
    }

    /// Adds the words of a text.
    pub(in super::super) fn text(&mut self, text: &str) {
        let row = self.row();
        let Self { terms, word, .. } = self;
        words::each(text, word, |word| terms.add(row, Kind::Text, word.as_bytes()));
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
        let mut writer = Writer::new(|page: &[u8]| pages.add(page));
        self.terms.visit(|term, rows| {
            writer.term(term)?;
            rows.iter().try_for_each(|row| writer.row(*row))
        })?;
        writer.finish()?;
        let run = Run { id: 0, rows, low: *low, high: *high, places, terms, end: pages.next };
        run.insert(tx)?;
        merge::merge(tx)
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
