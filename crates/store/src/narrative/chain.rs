//! Along causes: what led to an event, what it led to, and everything that belongs together.

use std::collections::HashSet;

use grace_types::id::{CorrelationId, EventId};
use rusqlite::{ToSql, params};

use super::{
    NarrativeDb, Query, Told, error,
    position::Position,
    query::{COLUMNS, UNDER_AN_ID, told},
};
use crate::{StoreError, limits};

impl NarrativeDb {
    /// What led to `of`: its cause, that one's cause, and so on up to the first that is known. At most
    /// [`limits::NARRATIVE_CAUSES`]; a chain that runs in a circle ends where it closes.
    ///
    /// # Errors
    /// The engine's failure.
    pub fn causes(&self, of: &Told) -> Result<Vec<Told>, StoreError> {
        let mut seen = HashSet::from([of.narrative.id]);
        let mut causes: Vec<Told> = Vec::new();
        let mut next = of.narrative.causation;
        while let Some(id) = next.filter(|id| seen.insert(*id) && causes.len() < limits::NARRATIVE_CAUSES) {
            let Some(cause) = self.by_id(id)? else { break };
            next = cause.narrative.causation;
            causes.push(cause);
        }
        Ok(causes)
    }

    /// What `event` caused at first hand, in order, at most `limit`.
    ///
    /// # Errors
    /// The engine's failure.
    pub fn effects(&self, event: EventId, limit: usize) -> Result<Vec<Told>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM narratives n INDEXED BY by_causation WHERE n.causation = ?1 ORDER BY n.pos LIMIT ?2"
        );
        self.all(&sql, params![event.as_bits().to_be_bytes(), most(limit)])
    }

    /// Everything that belongs to `correlation`, in order, at most `limit`.
    ///
    /// # Errors
    /// The engine's failure.
    pub fn story(&self, correlation: CorrelationId, limit: usize) -> Result<Vec<Told>, StoreError> {
        let sql =
            format!("SELECT {COLUMNS} FROM {UNDER_AN_ID} WHERE n.correlation = ?1 ORDER BY n.pos LIMIT ?4");
        let [first, last] = Position::home(correlation.as_bits());
        self.all(&sql, params![correlation.as_bits().to_be_bytes(), first, last, most(limit)])
    }

    /// The newest narrative about `component` from the journal of `teller`; or else about it from any journal; or else the newest that
    /// it decided itself.
    ///
    /// # Errors
    /// The engine's failure.
    pub fn latest_of(&self, component: &str, teller: &str) -> Result<Option<Told>, StoreError> {
        let about = Query { place: Some(component.to_owned()), limit: 1, ..Query::default() };
        let told = Query { source: Some(teller.to_owned()), ..about.clone() };
        let own = Query { actor: Some(component.to_owned()), limit: 1, ..Query::default() };
        for query in [told, about, own] {
            let latest = self.find(&query)?.told.pop();
            if latest.is_some() {
                return Ok(latest);
            }
        }
        Ok(None)
    }

    fn all(&self, sql: &str, values: &[&dyn ToSql]) -> Result<Vec<Told>, StoreError> {
        let read = || -> rusqlite::Result<Vec<Told>> {
            self.connection.prepare_cached(sql)?.query_map(values, told)?.collect()
        };
        read().map_err(|e| error::sqlite(&self.path, &e))
    }
}

fn most(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
