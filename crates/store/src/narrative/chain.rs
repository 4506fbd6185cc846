//! Along causes: what led to an event, what it led to, and everything that belongs together.

use std::collections::HashSet;

use super::{NarrativeDb, Query, Told, index::Kind};
use crate::{StoreError, limits};
use grace_types::id::{CorrelationId, EventId};

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
        self.holding(Kind::Causation, event.as_bits(), limit)
    }

    /// Everything that belongs to `correlation`, in order, at most `limit`.
    ///
    /// # Errors
    /// The engine's failure.
    pub fn story(&self, correlation: CorrelationId, limit: usize) -> Result<Vec<Told>, StoreError> {
        self.holding(Kind::Correlation, correlation.as_bits(), limit)
    }

    /// The newest narrative that concerns `component` or that it decided.
    ///
    /// # Errors
    /// The engine's failure.
    pub fn latest_of(&self, component: &str) -> Result<Option<Told>, StoreError> {
        let named = || Some(component.to_owned());
        // What was decided about it comes before what it decided itself.
        for query in
            [Query { place: named(), ..Query::default() }, Query { actor: named(), ..Query::default() }]
        {
            let latest = self.find(&Query { limit: 1, ..query })?.told.pop();
            if latest.is_some() {
                return Ok(latest);
            }
        }
        Ok(None)
    }
}
