//! What led to something and what it led to: the tree behind `grace why` and `/v1/narratives/why/{id}`.
//!
//! It holds the event's causes up to the first that is known, everything of the same correlation, and what each of these caused. Its edges are
//! the causes that the components recorded; nothing is guessed from times.

use std::collections::{HashMap, HashSet};

use grace_cortex::router;
use grace_orchestration::htm::{self, IntentId, TaskId};
use grace_store::{
    StoreError,
    narrative::{NarrativeDb, Told},
};
use grace_types::id::{CorrelationId, EventId, RunId};
use serde_json::{Value, json};

use super::object;
use crate::limits;

/// Whose decisions about a component come before what others say of it: the health monitor says something all the time.
const SUPERVISOR: &str = "control_plane";

/// The component that records the runs of chaos scenarios. Its crate is not needed here for anything else.
const RUNS: &str = "chaos";

/// Narratives that belong together.
#[derive(Debug)]
pub struct Story {
    /// The event that was asked for; `None` for a whole correlation.
    pub asked: Option<EventId>,
    /// For a component's name: whether it is the supervisor's own decision.
    pub decided: Option<bool>,
    /// In order.
    pub told: Vec<Told>,
    /// There is more than is shown.
    pub cut: bool,
}

/// The story of an event, a correlation, an intent, a task, a run of a chaos scenario, or the latest of a component or whatever else events
/// are about; `None` when nothing was told of it.
///
/// # Errors
/// The database cannot be read.
pub fn story(db: &NarrativeDb, asked: &str) -> Result<Option<Story>, StoreError> {
    let most = limits::WHY_NARRATIVES;
    let mut story = Story { asked: None, decided: None, told: Vec::new(), cut: false };
    if let Ok(correlation) = asked.parse::<CorrelationId>() {
        story.told = db.story(correlation, most)?;
    } else if let Ok(run) = asked.parse::<RunId>() {
        // The first record that names it is its start, and all of a run is of one correlation.
        if let Some(start) = db.naming(RUNS, &[&format!("\"{run}\"")], 1)?.into_iter().next() {
            story.asked = Some(start.narrative.id);
            story.told = db.story(start.narrative.correlation, most)?;
        }
    } else if let Some(told) = of_work(db, asked, most)? {
        story.asked = told.iter().find(|told| told.narrative.place == asked).map(|told| told.narrative.id);
        story.cut = told.len() >= most;
        if let Some(first) = told.first() {
            story.told = db.causes(first)?;
            story.told.truncate(most / 2);
            story.told.extend(db.story(first.narrative.correlation, most)?);
        }
        story.told.extend(told);
    } else {
        let focus = match asked.parse::<EventId>() {
            Ok(id) => db.by_id(id)?,
            Err(_) => {
                let latest = db.latest_of(asked, SUPERVISOR)?;
                story.decided = latest.as_ref().map(|told| told.source.component == SUPERVISOR);
                latest
            }
        };
        let Some(focus) = focus else { return Ok(None) };
        story.asked = Some(focus.narrative.id);
        story.told = db.causes(&focus)?;
        story.told.truncate(most / 2);
        story.told.extend(db.story(focus.narrative.correlation, most)?);
        story.told.push(focus);
    }
    let mut seen = HashSet::new();
    story.told.retain(|told| seen.insert(told.narrative.id));
    // What they caused, and what that caused in turn.
    let mut next = 0;
    while let Some(told) = story.told.get(next) {
        let effects = db.effects(told.narrative.id, most)?;
        next += 1;
        for effect in effects {
            if seen.len() >= most {
                story.cut = true;
                break;
            }
            if seen.insert(effect.narrative.id) {
                story.told.push(effect);
            }
        }
    }
    story.cut |= story.told.len() >= most;
    story.told.sort_by_key(|told| told.position);
    Ok((!story.told.is_empty()).then_some(story))
}

/// What the cortex and the task manager recorded of an intent or a task, oldest first; `None` for what is neither. A dispatch is of a worker and of
/// many tasks: it is found by what it names.
fn of_work(db: &NarrativeDb, asked: &str, most: usize) -> Result<Option<Vec<Told>>, StoreError> {
    let names = if let Ok(intent) = asked.parse::<IntentId>() {
        // `tsk_3xq7k-42.`
        let task = intent.task(0).to_string();
        [format!("\"{intent}\""), format!("\"{}", task.trim_end_matches('0'))]
    } else if let Ok(task) = asked.parse::<TaskId>() {
        [format!("\"{task}\""), format!("\"{}\"", task.intent)]
    } else {
        return Ok(None);
    };
    let names = names.each_ref().map(String::as_str);
    let mut told = db.naming(router::shell::NAME, &names, most)?;
    told.extend(db.naming(htm::shell::NAME, &names, most)?);
    told.truncate(most);
    Ok((!told.is_empty()).then_some(told))
}

impl Story {
    /// Each narrative with its depth and whether it is the last at each level, in the order of a tree.
    #[must_use]
    pub fn tree(&self) -> Vec<(&Told, Vec<bool>)> {
        let ids: HashSet<EventId> = self.told.iter().map(|told| told.narrative.id).collect();
        let mut children: HashMap<EventId, Vec<&Told>> = HashMap::new();
        let mut roots = Vec::new();
        for told in &self.told {
            match told.narrative.causation.filter(|cause| ids.contains(cause) && *cause != told.narrative.id)
            {
                Some(cause) => children.entry(cause).or_default().push(told),
                None => roots.push(told),
            }
        }
        let mut tree = Vec::new();
        let mut placed = HashSet::new();
        let mut stack: Vec<(&Told, Vec<bool>)> =
            roots.into_iter().rev().map(|told| (told, Vec::new())).collect();
        // Events that cause each other in a circle hang from no root; the oldest of them stands in for one.
        let mut rest = self.told.iter();
        loop {
            while let Some((told, levels)) = stack.pop() {
                if !placed.insert(told.narrative.id) {
                    continue;
                }
                let below = children.remove(&told.narrative.id).unwrap_or_default();
                let count = below.len();
                for (n, child) in below.into_iter().enumerate().rev() {
                    let mut levels = levels.clone();
                    levels.push(n + 1 == count);
                    stack.push((child, levels));
                }
                tree.push((told, levels));
            }
            match rest.find(|told| !placed.contains(&told.narrative.id)) {
                Some(told) => stack.push((told, Vec::new())),
                None => return tree,
            }
        }
    }

    /// As scripts read it.
    #[must_use]
    pub fn object(&self) -> Value {
        let told: Vec<Value> = self
            .tree()
            .into_iter()
            .map(|(told, levels)| {
                let mut object = object(told);
                object["depth"] = levels.len().into();
                object
            })
            .collect();
        json!({"asked": self.asked, "narratives": told, "complete": !self.cut})
    }
}
