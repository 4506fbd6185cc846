//! Taking records and links in.

use std::{borrow::Cow, collections::BTreeMap, fmt::Write as _};

use grace_types::{evidence::Source, narrative::Raw};
use rusqlite::{Connection, OptionalExtension, Statement, TransactionBehavior, params};

use super::{LogStand, NarrativeDb, Role, Words, error, position, position::Position, text};
use crate::{StoreError, limits};

/// Records of one source, one after the other.
#[derive(Debug, Clone)]
pub struct Batch<'a> {
    /// Whose.
    pub source: &'a Source,
    /// The sequence number of the first, from 1.
    pub first: u64,
    /// One JSON document each.
    pub records: Vec<&'a [u8]>,
}

/// Records of one source that lie one after the other in the log, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Whose.
    pub source: Source,
    /// The sequence number of the first.
    pub first: u64,
    /// How many.
    pub count: u64,
    /// The first one's index in the log.
    pub log_index: u64,
}

impl NarrativeDb {
    /// Takes in the records of some sources, all in one transaction that is synced before this returns. Gives for each batch what its source
    /// needs next: the records before it are in, whether they could be told or not. Records that were in already are skipped; of a batch
    /// that begins after what is needed nothing is taken.
    ///
    /// # Errors
    /// The engine's failure; nothing was taken then.
    pub fn ingest(&mut self, batches: &[Batch<'_>]) -> Result<Vec<u64>, StoreError> {
        let done = self.try_ingest(batches);
        if done.is_err() {
            // Words that were new in it are not there.
            self.words = Words::default();
        }
        done.map_err(|e| error::sqlite(&self.path, &e))
    }

    fn try_ingest(&mut self, batches: &[Batch<'_>]) -> rusqlite::Result<Vec<u64>> {
        let tx = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut told = Vec::new();
        let mut nexts = Vec::with_capacity(batches.len());
        for batch in batches {
            nexts.push(read_batch(&tx, batch, &mut told)?);
        }
        insert(&tx, &mut self.words, told)?;
        tx.commit()?;
        Ok(nexts)
    }

    /// What `source` needs next: 1 for one that has sent nothing yet.
    ///
    /// # Errors
    /// The engine's failure.
    pub fn next(&self, source: &Source) -> Result<u64, StoreError> {
        find_source(&self.connection, source)
            .map(|found| found.map_or(1, |(_, next)| next))
            .map_err(|e| error::sqlite(&self.path, &e))
    }

    /// Notes which entries of the log prove which records, and how far the log has been followed, in one synced transaction.
    ///
    /// # Errors
    /// The engine's failure; nothing was noted then.
    pub fn link(&mut self, links: &[Link], stand: &LogStand) -> Result<(), StoreError> {
        self.try_link(links, stand).map_err(|e| error::sqlite(&self.path, &e))
    }

    fn try_link(&mut self, links: &[Link], stand: &LogStand) -> rusqlite::Result<()> {
        let tx = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for Link { source, first, count, log_index } in links {
            let (source, _) = source_row(&tx, source)?;
            // What goes on where the last range ended is the same range.
            let longer = tx
                .prepare_cached(
                    "UPDATE links SET count = count + ?3 WHERE source = ?1 AND first = (
                       SELECT max(first) FROM links WHERE source = ?1 AND first <= ?2)
                     AND first + count = ?2 AND log_index + count = ?4",
                )?
                .execute(params![
                    source,
                    first.cast_signed(),
                    count.cast_signed(),
                    log_index.cast_signed()
                ])?;
            if longer == 0 {
                tx.prepare_cached("INSERT OR REPLACE INTO links VALUES (?1, ?2, ?3, ?4)")?.execute(
                    params![source, first.cast_signed(), count.cast_signed(), log_index.cast_signed()],
                )?;
            }
        }
        tx.prepare_cached("INSERT OR REPLACE INTO log VALUES (0, ?1, ?2, ?3, ?4)")?.execute(params![
            stand.origin,
            stand.size.cast_signed(),
            stand.root.as_slice(),
            stand.next.cast_signed()
        ])?;
        tx.commit()
    }

    /// Forgets every link and how far the log was followed: another log lies in its place.
    ///
    /// # Errors
    /// The engine's failure.
    pub fn unlink(&mut self) -> Result<(), StoreError> {
        self.connection
            .execute_batch("BEGIN IMMEDIATE; DELETE FROM links; DELETE FROM log; COMMIT;")
            .map_err(|e| error::sqlite(&self.path, &e))
    }
}

/// A narrative that is to be stored.
pub(super) struct New<'a> {
    source: i64,
    sequence: u64,
    narrative: Raw<'a>,
    text: String,
}

/// Reads the records that are new of a batch and moves its source's cursor; what it needs next.
pub(super) fn read_batch<'a>(
    tx: &Connection,
    batch: &Batch<'a>,
    told: &mut Vec<New<'a>>,
) -> rusqlite::Result<u64> {
    let (source, next) = source_row(tx, batch.source)?;
    let end = batch.first.saturating_add(batch.records.len() as u64);
    if batch.first > next || end <= next {
        return Ok(next);
    }
    let skip = usize::try_from(next - batch.first).unwrap_or(usize::MAX);
    let mut odd = 0i64;
    let mut last_odd = None;
    for (sequence, record) in (next..).zip(batch.records.iter().skip(skip)) {
        let read = Raw::read(record).and_then(|raw| {
            let Some(narrative) = raw else { return Ok(None) };
            let text = text::of(&narrative)?;
            Ok(Some(New { source, sequence, narrative, text }))
        });
        match read {
            Ok(Some(new)) => told.push(new),
            Ok(None) => {}
            Err(error) => {
                odd += 1;
                last_odd = Some(format!("record {sequence}: {error}"));
            }
        }
    }
    tx.prepare_cached(
        "UPDATE sources SET next = ?2, odd = odd + ?3, last_odd = coalesce(?4, last_odd) WHERE id = ?1",
    )?
    .execute(params![source, end.cast_signed(), odd, last_odd])?;
    Ok(end)
}

/// Stores narratives, in the order of their places: the full-text index is written in runs of rising row numbers.
pub(super) fn insert(tx: &Connection, words: &mut Words, told: Vec<New<'_>>) -> rusqlite::Result<()> {
    let mut placed: Vec<(Position, New<'_>)> = told
        .into_iter()
        .map(|new| (Position::first_for(new.narrative.hlc, new.narrative.time).apart(new.narrative.id), new))
        .collect();
    placed.sort_by_key(|(position, new)| (*position, new.source, new.sequence));
    let mut counts: BTreeMap<i64, i64> = BTreeMap::new();
    let mut rows: Vec<(Position, [i64; 3], &str)> = Vec::with_capacity(placed.len());
    let mut insert = tx.prepare_cached(
        "INSERT INTO narratives VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
    )?;
    let mut elsewhere = tx.prepare_cached("INSERT OR IGNORE INTO elsewhere VALUES (?1, ?2)")?;
    let mut named = Named::default();
    for (position, new) in &placed {
        let narrative = &new.narrative;
        let named = named.rows(tx, words, narrative)?;
        let Some(position) = insert_row(tx, &mut insert, *position, new, named)? else {
            let detail = format!("record {}: there is no room at its time", new.sequence);
            tx.execute(
                "UPDATE sources SET odd = odd + 1, last_odd = ?2 WHERE id = ?1",
                params![new.source, detail],
            )?;
            continue;
        };
        for id in [narrative.id.as_bits(), narrative.correlation.as_bits()] {
            if !position.is_home_of(id) {
                elsewhere.execute(params![id.to_be_bytes(), position.0])?;
            }
        }
        *counts.entry(new.source).or_default() += 1;
        rows.push((position, named, &new.text));
    }
    // One whose place was taken may have gone behind the next.
    rows.sort_unstable_by_key(|(position, ..)| *position);
    let mut index =
        tx.prepare_cached("INSERT INTO told (rowid, who, what, place, text) VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for block in rows.chunk_by(|(a, ..), (b, ..)| a.block() == b.block()) {
        let [who, what, place] = [0, 1, 2].map(|role| numbers(block.iter().map(|(_, words, _)| words[role])));
        let text = match block {
            [(.., text)] => Cow::Borrowed(*text),
            _ => Cow::Owned(text::together(block.iter().map(|(.., text)| *text))),
        };
        index.execute(params![block[0].0.0, who, what, place, text])?;
    }
    let mut count = tx.prepare_cached("UPDATE sources SET told = told + ?2 WHERE id = ?1")?;
    for (source, told) in counts {
        count.execute([source, told])?;
    }
    Ok(())
}

/// Actor, type and place of the narrative before, since the next one's are often the same.
#[derive(Default)]
struct Named<'a> {
    words: [&'a str; 3],
    rows: Option<[i64; 3]>,
}

impl<'a> Named<'a> {
    /// The numbers of those of the next one.
    fn rows(
        &mut self,
        tx: &Connection,
        words: &mut Words,
        narrative: &'a Raw<'a>,
    ) -> rusqlite::Result<[i64; 3]> {
        let named: [&str; 3] = [&narrative.who, &narrative.what, &narrative.place];
        let mut rows = [0; 3];
        for (at, role) in [Role::Who, Role::What, Role::Place].into_iter().enumerate() {
            let before = self.rows.filter(|_| self.words[at] == named[at]);
            rows[at] = match before {
                Some(before) => before[at],
                None => word_row(tx, words, role, named[at])?,
            };
        }
        (self.words, self.rows) = (named, Some(rows));
        Ok(rows)
    }
}

/// Numbers as words, each once.
fn numbers(of: impl Iterator<Item = i64>) -> String {
    let (mut numbers, mut words) = (Vec::new(), String::new());
    for number in of {
        if !numbers.contains(&number) {
            numbers.push(number);
            let _ = write!(words, "{number} ");
        }
    }
    words
}

/// Inserts at the first free place from `position` on; `None` when there is none.
fn insert_row(
    tx: &Connection,
    insert: &mut Statement<'_>,
    position: Position,
    new: &New<'_>,
    words: [i64; 3],
) -> rusqlite::Result<Option<Position>> {
    match insert_at(insert, position, new, words) {
        Ok(()) => Ok(Some(position)),
        Err(e) if is_taken(&e) => {
            let free = free(tx, position)?;
            free.map(|position| insert_at(insert, position, new, words).map(|()| position)).transpose()
        }
        Err(e) => Err(e),
    }
}

fn insert_at(
    insert: &mut Statement<'_>,
    position: Position,
    new: &New<'_>,
    [who, what, place]: [i64; 3],
) -> rusqlite::Result<()> {
    let New { source, sequence, narrative, text: _ } = new;
    insert.execute(params![
        position.0,
        source,
        sequence.cast_signed(),
        narrative.id.as_bits().to_be_bytes(),
        narrative.time.as_nanos().cast_signed(),
        narrative.hlc.millis.cast_signed(),
        narrative.hlc.counter,
        who,
        what,
        place,
        narrative.correlation.as_bits().to_be_bytes(),
        narrative.causation.map(|id| id.as_bits().to_be_bytes()),
        narrative.how,
        narrative.why,
        narrative.event
    ])?;
    Ok(())
}

fn is_taken(e: &rusqlite::Error) -> bool {
    use rusqlite::ffi::{SQLITE_CONSTRAINT_PRIMARYKEY, SQLITE_CONSTRAINT_ROWID};
    e.sqlite_error()
        .is_some_and(|e| [SQLITE_CONSTRAINT_PRIMARYKEY, SQLITE_CONSTRAINT_ROWID].contains(&e.extended_code))
}

/// A free place near one that is taken: in the same reading of the clock, or else after the last within a second, which only records
/// without a hybrid clock can need. `None` where time itself ends.
fn free(tx: &Connection, taken: Position) -> rusqlite::Result<Option<Position>> {
    let start = taken.reading();
    let mut select =
        tx.prepare_cached("SELECT pos FROM narratives WHERE pos BETWEEN ?1 AND ?2 ORDER BY pos")?;
    let mut rows = select.query([start.0, start.0 + (position::APART - 1)])?;
    let mut candidate = start.0;
    while let Some(row) = rows.next()? {
        if row.get::<_, i64>(0)? != candidate {
            break;
        }
        candidate += 1;
    }
    if candidate - start.0 < position::APART {
        return Ok(Some(Position(candidate)));
    }
    let last: i64 = tx
        .prepare_cached("SELECT max(pos) FROM narratives WHERE pos < ?1")?
        .query_row([start.a_second_on().0], |row| row.get(0))?;
    Ok(last.checked_add(1).filter(|next| *next < start.a_second_on().0).map(Position))
}

fn find_source(connection: &Connection, source: &Source) -> rusqlite::Result<Option<(i64, u64)>> {
    connection
        .prepare_cached("SELECT id, next FROM sources WHERE component = ?1 AND journal = ?2")?
        .query_row(params![source.component, source.journal.0.cast_signed()], |row| {
            Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned()))
        })
        .optional()
}

/// The source's row and what it needs next.
pub(super) fn source_row(tx: &Connection, source: &Source) -> rusqlite::Result<(i64, u64)> {
    if let Some(found) = find_source(tx, source)? {
        return Ok(found);
    }
    tx.prepare_cached("INSERT INTO sources (component, journal, next, told, odd) VALUES (?1, ?2, 1, 0, 0)")?
        .execute(params![source.component, source.journal.0.cast_signed()])?;
    Ok((tx.last_insert_rowid(), 1))
}

fn word_row(tx: &Connection, words: &mut Words, role: Role, word: &str) -> rusqlite::Result<i64> {
    let words = &mut words[role as usize];
    if let Some(id) = words.get(word) {
        return Ok(*id);
    }
    let found = tx
        .prepare_cached("SELECT id FROM words WHERE role = ?1 AND word = ?2")?
        .query_row(params![role as i64, word], |row| row.get(0))
        .optional()?;
    let id = match found {
        Some(id) => id,
        None => {
            tx.prepare_cached("INSERT INTO words (role, word) VALUES (?1, ?2)")?
                .execute(params![role as i64, word])?;
            tx.last_insert_rowid()
        }
    };
    if words.len() >= limits::NARRATIVE_WORDS {
        words.clear();
    }
    words.insert(word.to_owned(), id);
    Ok(id)
}
