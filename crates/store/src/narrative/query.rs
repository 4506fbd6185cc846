//! Finding narratives.
//!
//! A page is found in two steps: an index gives the places of its rows, in order and no more than asked for; then these rows are read in full.
//! The full-text index knows actors, types and places as well as words, so that whatever is asked for, it intersects. It tells blocks of
//! neighbours ([`Position::block`]), whose rows are then asked one by one.

use grace_types::{
    evidence::{JournalId, Source},
    id::{CorrelationId, EventId},
    narrative::Narrative,
    time::{Hlc, Timestamp},
};
use rusqlite::{
    Connection, OptionalExtension, Row, Statement, params,
    types::{FromSqlError, Type},
};

use super::{
    NarrativeDb, Role, Told, error,
    position::Position,
    probe::{self, Found},
    text,
};
use crate::{StoreError, limits};

/// Which end comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// The newest, and pages go back in time: what was found stays in its place while new rows come.
    #[default]
    NewestFirst,
    /// The oldest.
    OldestFirst,
}

/// What is looked for. Everything that is given must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Query {
    /// The component whose journal it is from, exactly.
    pub source: Option<String>,
    /// Who decided or asked, exactly.
    pub actor: Option<String>,
    /// The component or resource that it concerns, exactly.
    pub place: Option<String>,
    /// The action's word (`started`), the whole type, or the beginning of either.
    pub action: Option<String>,
    /// Words that occur. See [`Query::has_words`].
    pub text: Option<String>,
    /// What it belongs to.
    pub correlation: Option<CorrelationId>,
    /// Not before.
    pub since: Option<Timestamp>,
    /// Not after.
    pub until: Option<Timestamp>,
    /// Which end comes first.
    pub order: Order,
    /// Go on behind this one.
    pub after: Option<Position>,
    /// At most this many; [`limits::NARRATIVE_PAGE`] at most.
    pub limit: usize,
}

impl Query {
    /// Whether a search has any word to look for. Every word must occur; `"in quotes"` in that order; `begin*` any word that begins so.
    #[must_use]
    pub fn has_words(search: &str) -> bool {
        text::search(search).is_some()
    }
}

/// Some narratives, and where to go on.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Page {
    /// What was found.
    pub told: Vec<Told>,
    /// The mark for [`Query::after`], if there are more.
    pub next: Option<Position>,
}

/// A row with all that belongs to it. Its place is `n.pos`.
pub(super) const COLUMNS: &str = "n.pos, n.seq, n.id, n.time, n.millis, n.counter,
  (SELECT word FROM words WHERE id = n.who), (SELECT word FROM words WHERE id = n.what),
  (SELECT word FROM words WHERE id = n.place), n.correlation, n.causation, n.how, n.why, n.event,
  (SELECT component FROM sources WHERE id = n.source), (SELECT journal FROM sources WHERE id = n.source),
  (SELECT CASE WHEN n.seq < l.first + l.count THEN l.log_index + n.seq - l.first END
     FROM links l WHERE l.source = n.source AND l.first <= n.seq ORDER BY l.first DESC LIMIT 1)";

/// Rows `n` that may be an event's or a story's: its id is the value 1, the places of its millisecond are between 2 and 3. Whose id it is has
/// still to be asked of each.
pub(super) const UNDER_AN_ID: &str = "(SELECT pos FROM elsewhere WHERE id = ?1
  UNION ALL SELECT pos FROM narratives WHERE pos BETWEEN ?2 AND ?3 AND ?1 IN (id, correlation)
) under CROSS JOIN narratives n ON n.pos = under.pos";

impl NarrativeDb {
    /// Finds narratives in their order: that of the hybrid clock, by which an effect comes after its cause.
    ///
    /// # Errors
    /// The engine's failure. Nothing that was typed is one.
    pub fn find(&self, query: &Query) -> Result<Page, StoreError> {
        self.try_find(query).map_err(|e| error::sqlite(&self.path, &e))
    }

    fn try_find(&self, query: &Query) -> rusqlite::Result<Page> {
        let limit = query.limit.min(limits::NARRATIVE_PAGE);
        // One view of the database for both steps.
        let tx = self.connection.unchecked_transaction()?;
        let Some(search) = Search::new(&tx, query)? else { return Ok(Page::default()) };
        let down = query.order == Order::NewestFirst;
        let mut places = search.places(&tx, down, limit + 1)?;
        let more = places.len() > limit;
        places.truncate(limit);
        let sql = format!("SELECT {COLUMNS} FROM narratives n WHERE n.pos = ?1");
        let mut select = tx.prepare_cached(&sql)?;
        let told: Vec<Told> =
            places.iter().map(|place| select.query_row([place], told)).collect::<rusqlite::Result<_>>()?;
        let next = told.last().map(|last| last.position).filter(|_| more);
        Ok(Page { told, next })
    }

    /// The narrative of an event.
    ///
    /// # Errors
    /// The engine's failure.
    pub fn by_id(&self, id: EventId) -> Result<Option<Told>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM {UNDER_AN_ID} WHERE n.id = ?1 ORDER BY n.pos LIMIT 1");
        let [first, last] = Position::home(id.as_bits());
        self.connection
            .prepare_cached(&sql)
            .and_then(|mut select| {
                select.query_row(params![id.as_bits().to_be_bytes(), first, last], told).optional()
            })
            .map_err(|e| error::sqlite(&self.path, &e))
    }

    /// Narratives of a component whose event has one of these texts in it, oldest first: those that name a thing which is not where they
    /// happened. No index helps: every narrative of the component is looked at.
    ///
    /// # Errors
    /// The engine's failure.
    pub fn naming(&self, component: &str, texts: &[&str], most: usize) -> Result<Vec<Told>, StoreError> {
        let find = || {
            let sources = sources_of(&self.connection, component)?;
            let named: Vec<String> = (1..=texts.len()).map(|n| format!("instr(n.event, ?{n}) > 0")).collect();
            if sources.is_empty() || named.is_empty() {
                return Ok(Vec::new());
            }
            let sql = format!(
                "SELECT {COLUMNS} FROM narratives n NOT INDEXED WHERE n.source IN ({}) AND ({}) ORDER BY n.pos LIMIT {most}",
                list(&sources, ","),
                named.join(" OR ")
            );
            let mut select = self.connection.prepare(&sql)?;
            let rows = select.query_map(rusqlite::params_from_iter(texts), told)?;
            rows.collect()
        };
        find().map_err(|e| error::sqlite(&self.path, &e))
    }
}

/// A query whose words have been looked up.
struct Search {
    first: i64,
    last: i64,
    /// What the full-text index is asked, all of which must hold in a block; empty when it is not.
    matches: Vec<String>,
    /// `AND …`, on the rows.
    conditions: String,
    /// The words that a row is to have.
    words: Option<String>,
    correlation: Option<CorrelationId>,
}

impl Search {
    /// `None` when nothing can match.
    fn new(connection: &Connection, query: &Query) -> rusqlite::Result<Option<Self>> {
        let mut search = Self {
            first: query.since.map_or(0, |t| Position::first_at(t).0),
            last: query.until.map_or(i64::MAX, |t| Position::last_at(t).0),
            matches: Vec::new(),
            conditions: String::new(),
            words: None,
            correlation: query.correlation,
        };
        if let Some(Position(after)) = query.after {
            match query.order {
                Order::NewestFirst => search.last = search.last.min(after.saturating_sub(1)),
                Order::OldestFirst => search.first = search.first.max(after.saturating_add(1)),
            }
        }
        for (role, word, column) in [(Role::Who, &query.actor, "who"), (Role::Place, &query.place, "place")] {
            let Some(word) = word else { continue };
            let Some(id) = word_of(connection, role, word)? else { return Ok(None) };
            search.is_one_of(column, &[id]);
        }
        if let Some(action) = &query.action {
            let types = types_of(connection, action)?;
            if types.is_empty() {
                return Ok(None);
            }
            search.is_one_of("what", &types);
        }
        if let Some(component) = &query.source {
            let sources = sources_of(connection, component)?;
            if sources.is_empty() {
                return Ok(None);
            }
            search.conditions.push_str(&format!(" AND n.source IN ({})", list(&sources, ",")));
        }
        if query.since.is_some() || query.until.is_some() {
            // Within the first and last millisecond; where the hybrid clock ran ahead of the wall clock, it decides alone.
            let since = query.since.map_or(0, Timestamp::as_nanos).cast_signed();
            let until = query.until.unwrap_or(Timestamp::MAX).as_nanos().cast_signed();
            search.conditions.push_str(&format!(
                " AND (n.time BETWEEN {since} AND {until} OR (n.millis <> 0 AND n.millis <> n.time / 1000000))"
            ));
        }
        if let Some(typed) = &query.text {
            let Some(words) = text::search(typed) else { return Ok(None) };
            search.matches.push(format!("{{text}} : ({words})"));
            search.words = Some(words);
        }
        Ok(Some(search))
    }

    /// Asks for rows whose `column` is one of these numbers; the full-text index, too, unless there is a narrower way or the numbers are many.
    fn is_one_of(&mut self, column: &str, ids: &[i64]) {
        self.conditions.push_str(&format!(" AND n.{column} IN ({})", list(ids, ",")));
        if self.correlation.is_none() && ids.len() <= limits::NARRATIVE_TYPES {
            self.matches.push(format!("{{{column}}} : ({})", list(ids, " OR ")));
        }
    }

    fn places(&self, connection: &Connection, down: bool, limit: usize) -> rusqlite::Result<Vec<i64>> {
        let mut found = Found::new(self.words.clone(), limit)?;
        let order = if down { "DESC" } else { "ASC" };
        let mut rows = connection.prepare_cached(&self.rows(order))?;
        if self.matches.is_empty() || self.correlation.is_some() {
            self.take(&mut rows, [self.first, self.last], &mut found)?;
            return found.places();
        }
        let mut blocks = connection.prepare_cached(&format!(
            "SELECT rowid FROM told WHERE told MATCH ?1 AND rowid BETWEEN ?2 AND ?3 ORDER BY rowid {order}"
        ))?;
        let [first, _] = Position(self.first).block();
        let mut blocks = blocks.query(params![self.matches.join(" AND "), first, self.last])?;
        let mut before = None;
        while let Some(row) = blocks.next()? {
            let block = Position(row.get(0)?).block();
            // One that came in several transactions is there several times.
            if before.replace(block) != Some(block) {
                let within = [block[0].max(self.first), block[1].min(self.last)];
                self.take(&mut rows, within, &mut found)?;
                if found.is_full()? {
                    break;
                }
            }
        }
        found.places()
    }

    /// What is asked of the rows between the values 4 and 5, at most the value 6.
    fn rows(&self, order: &str) -> String {
        let (from, place) = match &self.correlation {
            // The sign keeps the bounds of the page from taking the place of those of the millisecond.
            Some(_) => (UNDER_AN_ID, "+n.pos"),
            None => ("narratives n NOT INDEXED", "n.pos"),
        };
        let columns = if self.words.is_some() { probe::COLUMNS } else { "n.pos" };
        let story = if self.correlation.is_some() { " AND n.correlation = ?1" } else { "" };
        let conditions = &self.conditions;
        format!(
            "SELECT {columns} FROM {from} WHERE {place} BETWEEN ?4 AND ?5{conditions}{story} ORDER BY {place} {order} LIMIT ?6"
        )
    }

    fn take(
        &self,
        rows: &mut Statement<'_>,
        [first, last]: [i64; 2],
        found: &mut Found,
    ) -> rusqlite::Result<()> {
        let id = self.correlation.map(|id| id.as_bits().to_be_bytes());
        let [home, home_end] = self.correlation.map_or([0, 0], |id| Position::home(id.as_bits()));
        let mut rows = rows.query(params![id, home, home_end, first, last, found.most_rows()])?;
        while let Some(row) = rows.next()? {
            found.take(row)?;
            if found.is_full()? {
                break;
            }
        }
        Ok(())
    }
}

/// Numbers with something in between.
fn list(ids: &[i64], between: &str) -> String {
    ids.iter().map(i64::to_string).collect::<Vec<_>>().join(between)
}

fn word_of(connection: &Connection, role: Role, word: &str) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT id FROM words WHERE role = ?1 AND word = ?2")?
        .query_row(params![role as i64, word], |row| row.get(0))
        .optional()
}

/// A component's journals, by number: the one that it has, and those that were set aside.
fn sources_of(connection: &Connection, component: &str) -> rusqlite::Result<Vec<i64>> {
    connection
        .prepare_cached("SELECT id FROM sources WHERE component = ?1")?
        .query_map([component], |row| row.get(0))?
        .collect()
}

/// The types that an action means: those that it names, or else those that begin with it.
fn types_of(connection: &Connection, action: &str) -> rusqlite::Result<Vec<i64>> {
    let mut select = connection.prepare_cached("SELECT id, word FROM words WHERE role = ?1")?;
    let mut rows = select.query([Role::What as i64])?;
    let (mut named, mut begun) = (Vec::new(), Vec::new());
    while let Some(row) = rows.next()? {
        let word = row.get_ref(1)?.as_str()?;
        let short = grace_types::narrative::action_of(word);
        let found = row.get(0)?;
        if word == action || short == action {
            named.push(found);
        } else if word.starts_with(action) || short.starts_with(action) {
            begun.push(found);
        }
    }
    Ok(if named.is_empty() { begun } else { named })
}

/// Reads a row of [`COLUMNS`].
pub(super) fn told(row: &Row<'_>) -> rusqlite::Result<Told> {
    let number = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
    let bits = |column| row.get::<_, [u8; 16]>(column).map(u128::from_be_bytes);
    let json = |column: usize| -> rusqlite::Result<&str> { Ok(row.get_ref(column)?.as_str()?) };
    let bad = |column: usize| {
        move |e: serde_json::Error| {
            rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(FromSqlError::other(e)))
        }
    };
    let narrative = Narrative {
        id: EventId::from_bits(bits(2)?),
        time: Timestamp::from_nanos(number(3)?),
        hlc: Hlc { millis: number(4)?, counter: row.get(5)? },
        who: row.get(6)?,
        what: row.get(7)?,
        place: row.get(8)?,
        correlation: CorrelationId::from_bits(bits(9)?),
        causation: row.get::<_, Option<[u8; 16]>>(10)?.map(|b| EventId::from_bits(u128::from_be_bytes(b))),
        how: row.get(11)?,
        why: serde_json::from_str(json(12)?).map_err(bad(12))?,
        event: serde_json::from_str(json(13)?).map_err(bad(13))?,
    };
    Ok(Told {
        narrative,
        source: Source { component: row.get(14)?, journal: JournalId(number(15)?) },
        sequence: number(1)?,
        log_index: row.get::<_, Option<i64>>(16)?.map(i64::cast_unsigned),
        position: Position(row.get(0)?),
    })
}
