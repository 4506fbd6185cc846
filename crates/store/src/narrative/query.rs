//! Finding narratives.
//!
//! A page is found in two steps: the index gives the places of its rows, in order and no more than asked for; then these rows are read in full.
//! Where nothing but a time is asked for, the rows lie in that order themselves.

use grace_types::{
    evidence::{JournalId, Source},
    id::{CorrelationId, EventId},
    narrative::Narrative,
    time::{Hlc, Timestamp},
};
use rusqlite::{
    Connection, OptionalExtension, Row, params,
    types::{FromSqlError, Type},
};

use super::{
    NarrativeDb, Role, Told,
    index::{self, Any, Kind, Needle},
    position::Position,
    text::Sought,
};
use crate::{StoreError, limits, sqlite::error};

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
        Sought::read(search).is_some()
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
const COLUMNS: &str = "n.pos, n.seq, n.id, n.time, n.millis, n.counter,
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
        let mut places = search.places(&tx, limit + 1)?;
        let more = places.len() > limit;
        places.truncate(limit);
        let told: Vec<Told> = places.iter().map(|place| at(&tx, *place)).collect::<rusqlite::Result<_>>()?;
        let next = told.last().map(|last| last.position).filter(|_| more);
        Ok(Page { told, next })
    }

    /// The narrative of an event.
    ///
    /// # Errors
    /// The engine's failure.
    pub fn by_id(&self, id: EventId) -> Result<Option<Told>, StoreError> {
        self.holding(Kind::Id, id.as_bits(), 1).map(|mut found| found.pop())
    }

    /// What holds this id, in order.
    pub(super) fn holding(&self, kind: Kind, bits: u128, limit: usize) -> Result<Vec<Told>, StoreError> {
        let read = || -> rusqlite::Result<Vec<Told>> {
            let tx = self.connection.unchecked_transaction()?;
            let all = vec![Any::Of(vec![kind.term(&bits.to_be_bytes())])];
            let needle = Needle { all, first: 0, last: i64::MAX, down: false, limit };
            let places = index::find(&tx, &needle, &mut |_| Ok(true))?;
            places.iter().map(|place| at(&tx, *place)).collect()
        };
        read().map_err(|e| error::sqlite(&self.path, &e))
    }
}

/// The row at a place.
fn at(connection: &Connection, place: i64) -> rusqlite::Result<Told> {
    let sql = format!("SELECT {COLUMNS} FROM narratives n WHERE n.pos = ?1");
    connection.prepare_cached(&sql)?.query_row([place], told)
}

/// A query whose words have been looked up.
struct Search {
    first: i64,
    last: i64,
    down: bool,
    since: Timestamp,
    until: Timestamp,
    all: Vec<Any>,
    text: Option<Sought>,
}

impl Search {
    /// `None` when nothing can match.
    fn new(connection: &Connection, query: &Query) -> rusqlite::Result<Option<Self>> {
        let mut search = Self {
            first: query.since.map_or(0, |t| Position::first_at(t).0),
            last: query.until.map_or(i64::MAX, |t| Position::last_at(t).0),
            down: query.order == Order::NewestFirst,
            since: query.since.unwrap_or(Timestamp::EPOCH),
            until: query.until.unwrap_or(Timestamp::MAX),
            all: Vec::new(),
            text: None,
        };
        if let Some(Position(after)) = query.after {
            match query.order {
                Order::NewestFirst => search.last = search.last.min(after.saturating_sub(1)),
                Order::OldestFirst => search.first = search.first.max(after.saturating_add(1)),
            }
        }
        if let Some(correlation) = query.correlation {
            let term = Kind::Correlation.term(&correlation.as_bits().to_be_bytes());
            search.all.push(Any::Of(vec![term]));
        }
        if let Some(component) = &query.source {
            let sources = sources_of(connection, component)?;
            search.all.push(Any::Of(sources.into_iter().map(|id| Kind::Source.numbered(id)).collect()));
        }
        let named = [(Role::Who, &query.actor, Kind::Who), (Role::Place, &query.place, Kind::Place)];
        for (role, word, kind) in named {
            let Some(word) = word else { continue };
            let Some(id) = word_of(connection, role, word)? else { return Ok(None) };
            search.all.push(Any::Of(vec![kind.numbered(id)]));
        }
        if let Some(action) = &query.action {
            let types = types_of(connection, action)?;
            if types.is_empty() {
                return Ok(None);
            }
            search.all.push(Any::Of(types.into_iter().map(|id| Kind::What.numbered(id)).collect()));
        }
        if let Some(typed) = &query.text {
            let Some(sought) = Sought::read(typed) else { return Ok(None) };
            search.all.extend(sought.terms());
            search.text = Some(sought).filter(Sought::has_phrase);
        }
        Ok(Some(search))
    }

    fn places(&self, connection: &Connection, limit: usize) -> rusqlite::Result<Vec<i64>> {
        if !self.all.is_empty() {
            let Self { first, last, down, all, .. } = self;
            let needle = Needle { all: all.clone(), first: *first, last: *last, down: *down, limit };
            return index::find(connection, &needle, &mut |place| self.holds(connection, place));
        }
        let order = if self.down { "DESC" } else { "ASC" };
        let sql = format!("SELECT pos FROM narratives WHERE pos BETWEEN ?1 AND ?2 ORDER BY pos {order}");
        let mut select = connection.prepare_cached(&sql)?;
        let mut rows = select.query([self.first, self.last])?;
        let mut places = Vec::new();
        while places.len() < limit {
            let Some(row) = rows.next()? else { break };
            let place = row.get(0)?;
            if self.holds(connection, place)? {
                places.push(place);
            }
        }
        Ok(places)
    }

    /// What the index does not tell of a row: whether it lies within the first and the last millisecond, and the order of words.
    fn holds(&self, connection: &Connection, place: i64) -> rusqlite::Result<bool> {
        let inner = Position::last_at(self.since).0 < place && place < Position::first_at(self.until).0;
        if inner && self.text.is_none() {
            return Ok(true);
        }
        let Told { narrative, .. } = at(connection, place)?;
        let Narrative { time, hlc, .. } = &narrative;
        // Where the hybrid clock ran ahead of the wall clock, it decides alone.
        let in_time =
            (self.since..=self.until).contains(time) || (hlc.millis != 0 && hlc.millis != time.as_millis());
        Ok(in_time && self.text.as_ref().is_none_or(|text| text.is_in(&narrative)))
    }
}

fn word_of(connection: &Connection, role: Role, word: &str) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT id FROM words WHERE role = ?1 AND word = ?2")?
        .query_row(params![role as i64, word], |row| row.get(0))
        .optional()
}

/// A component's journals: the one that it has, and those that were set aside.
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
fn told(row: &Row<'_>) -> rusqlite::Result<Told> {
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
