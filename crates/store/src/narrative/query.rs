//! Finding narratives.
//!
//! A page is found in two steps: the narrowest index gives the places of its rows, in order and no more than asked for; then these
//! rows are read in full. Which index is the narrowest is known from how often the words occur, and not left to the engine's guess.

use std::collections::HashSet;

use grace_types::{
    evidence::{JournalId, Source},
    id::{CorrelationId, EventId},
    narrative::Narrative,
    time::{Hlc, Timestamp},
};
use rusqlite::{
    Connection, OptionalExtension, Row, ToSql, params,
    types::{FromSqlError, Type},
};

use super::{NarrativeDb, Role, Told, position::Position, text};
use crate::{StoreError, limits, sqlite::error};

/// Types that an action may mean for each of them to be looked up by itself; past it, walking all rows in order finds a page sooner.
const TYPES: usize = 1024;

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
        let sql = format!("SELECT {COLUMNS} FROM narratives n WHERE n.id = ?1 ORDER BY n.pos LIMIT 1");
        self.connection
            .prepare_cached(&sql)
            .and_then(|mut select| select.query_row([id.as_bits().to_be_bytes()], told).optional())
            .map_err(|e| error::sqlite(&self.path, &e))
    }
}

/// A query whose words have been looked up.
struct Search {
    first: i64,
    last: i64,
    /// `AND …`, with every value that is not a number of ours in `values`.
    conditions: String,
    values: Vec<Box<dyn ToSql>>,
    /// The types of which it must be one, by number; empty when it may be any.
    types: Vec<i64>,
    way: Way,
}

/// By which index the rows are found.
enum Way {
    Text,
    Index(&'static str),
    /// Each of the types by itself.
    Types,
    Order,
}

impl Search {
    /// `None` when nothing can match.
    fn new(connection: &Connection, query: &Query) -> rusqlite::Result<Option<Self>> {
        let mut search = Self {
            first: query.since.map_or(0, |t| Position::first_at(t).0),
            last: query.until.map_or(i64::MAX, |t| Position::last_at(t).0),
            conditions: String::new(),
            values: Vec::new(),
            types: Vec::new(),
            way: Way::Order,
        };
        if let Some(Position(after)) = query.after {
            match query.order {
                Order::NewestFirst => search.last = search.last.min(after.saturating_sub(1)),
                Order::OldestFirst => search.first = search.first.max(after.saturating_add(1)),
            }
        }
        let (mut narrowest, mut actor) = (i64::MAX, None);
        for (role, word, column, index) in
            [(Role::Who, &query.actor, "who", "by_who"), (Role::Place, &query.place, "place", "by_place")]
        {
            let Some(word) = word else { continue };
            let Some((id, uses)) = word_of(connection, role, word)? else { return Ok(None) };
            search.conditions.push_str(&format!(" AND n.{column} = {id}"));
            if role == Role::Who {
                actor = Some(id);
            }
            if uses < narrowest {
                (narrowest, search.way) = (uses, Way::Index(index));
            }
        }
        if let Some(component) = &query.source {
            let sources = sources_of(connection, component)?;
            if sources.is_empty() {
                return Ok(None);
            }
            search.conditions.push_str(&format!(" AND n.source IN ({})", sources.join(",")));
        }
        if let Some(action) = &query.action {
            let mut types = types_of(connection, action)?;
            if let Some(who) = actor {
                let known = types_with(connection, who)?;
                types.retain(|(id, _)| known.contains(id));
            }
            let uses: i64 = types.iter().map(|(_, uses)| uses).sum();
            if types.is_empty() {
                return Ok(None);
            }
            if types.len() <= TYPES && uses < narrowest {
                search.way = Way::Types;
            }
            search.types = types.into_iter().map(|(id, _)| id).collect();
        }
        if query.since.is_some() || query.until.is_some() {
            // Within the first and last millisecond; where the hybrid clock ran ahead of the wall clock, it decides alone.
            let since = query.since.map_or(0, Timestamp::as_nanos).cast_signed();
            let until = query.until.unwrap_or(Timestamp::MAX).as_nanos().cast_signed();
            search.conditions.push_str(&format!(
                " AND (n.time BETWEEN {since} AND {until} OR (n.millis <> 0 AND n.millis <> n.time / 1000000))"
            ));
        }
        if let Some(correlation) = query.correlation {
            search.conditions.push_str(" AND n.correlation = ?4");
            search.values.push(Box::new(correlation.as_bits().to_be_bytes()));
            search.way = Way::Index("by_correlation");
        }
        if let Some(typed) = &query.text {
            let Some(words) = text::search(typed) else { return Ok(None) };
            search.conditions.push_str(&format!(" AND told MATCH ?{}", 4 + search.values.len()));
            search.values.push(Box::new(words));
            search.way = Way::Text;
        }
        Ok(Some(search))
    }

    fn places(&self, connection: &Connection, down: bool, limit: usize) -> rusqlite::Result<Vec<i64>> {
        let (from, place) = match self.way {
            Way::Text => ("told CROSS JOIN narratives n ON n.pos = told.rowid".to_owned(), "told.rowid"),
            Way::Index(index) => (format!("narratives n INDEXED BY {index}"), "n.pos"),
            Way::Types => ("narratives n INDEXED BY by_what".to_owned(), "n.pos"),
            Way::Order => ("narratives n NOT INDEXED".to_owned(), "n.pos"),
        };
        let each = matches!(self.way, Way::Types);
        let types = match self.types.as_slice() {
            [] => String::new(),
            _ if each => format!(" AND n.what = ?{}", 4 + self.values.len()),
            types => {
                let ids: Vec<String> = types.iter().map(i64::to_string).collect();
                format!(" AND n.what IN ({})", ids.join(","))
            }
        };
        let sql = format!(
            "SELECT {place} FROM {from} WHERE {place} BETWEEN ?1 AND ?2{}{types} ORDER BY {place} {} LIMIT ?3",
            self.conditions,
            if down { "DESC" } else { "ASC" }
        );
        let mut select = connection.prepare_cached(&sql)?;
        let most = i64::try_from(limit).unwrap_or(i64::MAX);
        let fixed: [&dyn ToSql; 3] = [&self.first, &self.last, &most];
        let mut values: Vec<&dyn ToSql> = fixed.into_iter().chain(self.values.iter().map(|v| &**v)).collect();
        if !each {
            return select.query_map(values.as_slice(), |row| row.get(0))?.collect();
        }
        // Each type's rows are in order; the first of them all are among the first of each.
        let mut places: Vec<i64> = Vec::new();
        for kind in &self.types {
            values.push(kind);
            for place in select.query_map(values.as_slice(), |row| row.get(0))? {
                places.push(place?);
            }
            values.pop();
            places.sort_unstable();
            if down {
                places.reverse();
            }
            places.truncate(limit);
        }
        Ok(places)
    }
}

fn word_of(connection: &Connection, role: Role, word: &str) -> rusqlite::Result<Option<(i64, i64)>> {
    connection
        .prepare_cached("SELECT id, uses FROM words WHERE role = ?1 AND word = ?2")?
        .query_row(params![role as i64, word], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
}

/// A component's journals, by number: the one that it has, and those that were set aside.
fn sources_of(connection: &Connection, component: &str) -> rusqlite::Result<Vec<String>> {
    connection
        .prepare_cached("SELECT id FROM sources WHERE component = ?1")?
        .query_map([component], |row| row.get::<_, i64>(0).map(|id| id.to_string()))?
        .collect()
}

/// The types with which an actor has to do.
fn types_with(connection: &Connection, who: i64) -> rusqlite::Result<HashSet<i64>> {
    connection
        .prepare_cached("SELECT what FROM pairs WHERE who = ?1")?
        .query_map([who], |row| row.get(0))?
        .collect()
}

/// The types that an action means: those that it names, or else those that begin with it.
fn types_of(connection: &Connection, action: &str) -> rusqlite::Result<Vec<(i64, i64)>> {
    let mut select = connection.prepare_cached("SELECT id, uses, word FROM words WHERE role = ?1")?;
    let mut rows = select.query([Role::What as i64])?;
    let (mut named, mut begun) = (Vec::new(), Vec::new());
    while let Some(row) = rows.next()? {
        let word = row.get_ref(2)?.as_str()?;
        let short = grace_types::narrative::action_of(word);
        let found = (row.get(0)?, row.get(1)?);
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
