//! Runs into one.
//!
//! A run's size class is the number of octal digits of its narratives' number. Eight of one class become one of the next, until they are large:
//! so there are at most seven of each small class, and merging never takes much longer than some transactions do.

use rusqlite::{Connection, params};

use super::{
    page::{self, Entries, PAGE_BYTES, Writer},
    run::{Pages, Run},
};
use crate::limits;

/// Runs that become one.
const TOGETHER: usize = 8;

/// Merges until there is nothing more to merge.
pub(super) fn merge(tx: &Connection) -> rusqlite::Result<()> {
    while let Some(runs) = due(tx)? {
        into_one(tx, &runs)?;
    }
    Ok(())
}

/// The oldest runs of the first class that has enough.
fn due(tx: &Connection) -> rusqlite::Result<Option<Vec<Run>>> {
    let sql = format!("SELECT {} FROM runs WHERE rows < ?1 ORDER BY id", Run::COLUMNS);
    let mut select = tx.prepare_cached(&sql)?;
    let mut classes: [Vec<Run>; 11] = Default::default();
    for run in select.query_map([limits::NARRATIVE_MERGED_ROWS], Run::read)? {
        let run = run?;
        let class = &mut classes[(run.rows.max(1).ilog2() / 3) as usize];
        class.push(run);
        if class.len() == TOGETHER {
            return Ok(Some(std::mem::take(class)));
        }
    }
    Ok(None)
}

fn into_one(tx: &Connection, runs: &[Run]) -> rusqlite::Result<()> {
    let mut pages = Pages::new(tx)?;
    let places = pages.next;
    let mut buffer = Vec::with_capacity(2 * PAGE_BYTES);
    for run in runs {
        for id in run.places..run.terms {
            Run::page(tx, id, |page| {
                buffer.extend_from_slice(page);
                Ok(())
            })?;
            while buffer.len() >= PAGE_BYTES {
                pages.add(&buffer[..PAGE_BYTES])?;
                buffer.drain(..PAGE_BYTES);
            }
        }
    }
    if !buffer.is_empty() {
        pages.add(&buffer)?;
    }
    let terms = pages.next;
    join_terms(tx, runs, &mut pages)?;
    let whole = Run {
        id: 0,
        rows: runs.iter().map(|run| run.rows).sum(),
        low: runs.iter().map(|run| run.low).min().unwrap_or(0),
        high: runs.iter().map(|run| run.high).max().unwrap_or(0),
        places,
        terms,
        end: pages.next,
    };
    for run in runs {
        tx.prepare_cached("DELETE FROM pages WHERE id >= ?1 AND id < ?2")?
            .execute(params![run.places, run.end])?;
        tx.prepare_cached("DELETE FROM runs WHERE id = ?1")?.execute([run.id])?;
    }
    whole.insert(tx)
}

/// A run that is read from its first term to its last.
struct Reading<'a> {
    run: &'a Run,
    /// Its next page.
    next: i64,
    entries: Entries,
    /// What its narratives are moved up by.
    offset: u32,
    over: bool,
}

impl Reading<'_> {
    fn step(&mut self, tx: &Connection) -> rusqlite::Result<()> {
        while !self.entries.step()? {
            if self.next >= self.run.end {
                self.over = true;
                return Ok(());
            }
            Run::page(tx, self.next, |page| {
                self.entries.page(page);
                Ok(())
            })?;
            self.next += 1;
        }
        Ok(())
    }
}

fn join_terms(tx: &Connection, runs: &[Run], pages: &mut Pages<'_>) -> rusqlite::Result<()> {
    let mut offset = 0;
    let mut readings = Vec::with_capacity(runs.len());
    for run in runs {
        let mut reading = Reading { run, next: run.terms, entries: Entries::default(), offset, over: false };
        reading.step(tx)?;
        offset += run.rows;
        readings.push(reading);
    }
    let mut writer = Writer::new(|page: &[u8]| pages.add(page));
    // The least term; of several that have it the earliest run, so that narratives rise.
    while let Some(least) = readings
        .iter_mut()
        .filter(|reading| !reading.over)
        .min_by(|a, b| a.entries.term().cmp(b.entries.term()))
    {
        writer.term(least.entries.term())?;
        page::each(least.entries.list(), least.offset, |row| writer.row(row))?;
        least.step(tx)?;
    }
    writer.finish()
}
