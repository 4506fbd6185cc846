//! The state as JSON: for snapshots, and for comparing two states byte by byte.
//!
//! Only what cannot be found by rule is written, in order, with short names for what there may be a million of. Reading compiles the
//! definitions again and builds the index.

use std::{collections::VecDeque, sync::Arc};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::Error as _,
    ser::{SerializeSeq as _, SerializeStruct as _},
};

use super::{
    IntentId,
    event::Origin,
    index::Index,
    state::{Base, Course, Intent, PastKey, Pinned, Stage, State, Task, Type, Worker},
};
use crate::intent::{Definition, IntentType, Json, Priority};

impl Serialize for State {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut state = serializer.serialize_struct("State", 6)?;
        state.serialize_field("base", &self.base)?;
        state.serialize_field("types", &self.types)?;
        state.serialize_field("definitions", &Definitions(self))?;
        state.serialize_field("workers", &self.workers)?;
        state.serialize_field("intents", &Intents(self))?;
        state.serialize_field("past", &self.past)?;
        state.end()
    }
}

struct Definitions<'s>(&'s State);

impl Serialize for Definitions<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.definitions.len()))?;
        for pin in self.0.definitions.values() {
            list.serialize_element(&(pin.number, &pin.definition.name, &pin.definition.source))?;
        }
        list.end()
    }
}

struct Intents<'s>(&'s State);

impl Serialize for Intents<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.intents.len()))?;
        for (id, intent) in self.0.intents.iter() {
            list.serialize_element(&Written {
                id,
                definition: intent.pin.number,
                actor: &intent.actor,
                key: intent.key.as_deref(),
                payload: &intent.payload,
                priority: intent.priority,
                submitted: intent.submitted,
                deadline: intent.deadline,
                late: intent.late,
                shares: intent.shares.as_deref(),
                origin: intent.origin.as_deref(),
                course: (intent.course != Course::Running).then_some(intent.course),
                reason: intent.reason.as_deref(),
                done: intent.done,
                ended: intent.ended,
                tasks: &intent.tasks,
            })?;
        }
        list.end()
    }
}

#[derive(Serialize)]
struct Written<'s> {
    id: IntentId,
    #[serde(rename = "d")]
    definition: u32,
    #[serde(rename = "a")]
    actor: &'s str,
    #[serde(rename = "k", skip_serializing_if = "Option::is_none")]
    key: Option<&'s str>,
    #[serde(rename = "p")]
    payload: &'s Json,
    #[serde(rename = "u")]
    priority: Priority,
    #[serde(rename = "s")]
    submitted: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline: Option<u64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    late: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    shares: Option<&'s str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<&'s Origin>,
    #[serde(skip_serializing_if = "Option::is_none")]
    course: Option<Course>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'s str>,
    #[serde(skip_serializing_if = "is_zero_u16")]
    done: u16,
    #[serde(skip_serializing_if = "is_zero")]
    ended: u64,
    #[serde(rename = "t")]
    tasks: &'s [Task],
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
const fn is_zero(n: &u64) -> bool {
    *n == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
const fn is_zero_u16(n: &u16) -> bool {
    *n == 0
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Read {
    id: IntentId,
    #[serde(rename = "d")]
    definition: u32,
    #[serde(rename = "a")]
    actor: Arc<str>,
    #[serde(rename = "k", default)]
    key: Option<Arc<str>>,
    #[serde(rename = "p")]
    payload: Json,
    #[serde(rename = "u")]
    priority: Priority,
    #[serde(rename = "s")]
    submitted: u64,
    #[serde(default)]
    deadline: Option<u64>,
    #[serde(default)]
    late: bool,
    #[serde(default)]
    shares: Option<Arc<str>>,
    #[serde(default)]
    origin: Option<Arc<Origin>>,
    #[serde(default)]
    course: Option<Course>,
    #[serde(default)]
    reason: Option<Box<str>>,
    #[serde(default)]
    done: u16,
    #[serde(default)]
    ended: u64,
    #[serde(rename = "t")]
    tasks: Box<[Task]>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    base: Base,
    types: std::collections::BTreeMap<Arc<str>, Type>,
    definitions: Vec<(u32, String, IntentType)>,
    workers: std::collections::BTreeMap<u32, Worker>,
    intents: Vec<Read>,
    past: VecDeque<PastKey>,
}

impl<'de> Deserialize<'de> for State {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let saved = Saved::deserialize(deserializer)?;
        let mut state = Self {
            base: saved.base,
            types: saved.types,
            workers: saved.workers,
            past: saved.past,
            index: Index::default(),
            ..Self::default()
        };
        for (number, name, source) in saved.definitions {
            let definition = Definition::compile(&name, source).map_err(|faults| {
                let first = faults.first().map(ToString::to_string).unwrap_or_default();
                D::Error::custom(format!("the definition of `{name}` cannot be used: {first}"))
            })?;
            let pin = Pinned { number, definition: Arc::new(definition), needs: Vec::new() };
            state.definitions.insert(number, Arc::new(pin));
        }
        let mut before: Option<Arc<Origin>> = None;
        for mut read in saved.intents {
            // One for all that were approved together, as it was.
            if before == read.origin {
                read.origin.clone_from(&before);
            } else {
                before.clone_from(&read.origin);
            }
            let Some(pin) = state.definitions.get(&read.definition) else {
                return Err(D::Error::custom(format!("there is no definition {}", read.definition)));
            };
            let intent = intent(read, Arc::clone(pin)).map_err(D::Error::custom)?;
            state.intents.insert(intent.0, intent.1);
        }
        state.reindex();
        Ok(state)
    }
}

fn intent(read: Read, pin: Arc<Pinned>) -> Result<(IntentId, Intent), String> {
    if read.tasks.len() != pin.definition.tasks.len() {
        return Err(format!("{} has {} tasks", read.id, read.tasks.len()));
    }
    let plan = &read.tasks[..pin.definition.forward];
    let succeeded = |task: &&Task| !matches!(task.stage, Stage::Succeeded(_));
    let leased = |task: &&Task| matches!(task.stage, Stage::Leased { .. });
    let count = |n: usize| u16::try_from(n).unwrap_or(u16::MAX);
    let intent = Intent {
        open: count(plan.iter().filter(succeeded).count()),
        leased: count(read.tasks.iter().filter(leased).count()),
        pin,
        actor: read.actor,
        key: read.key,
        payload: read.payload,
        priority: read.priority,
        submitted: read.submitted,
        deadline: read.deadline,
        late: read.late,
        shares: read.shares,
        origin: read.origin,
        course: read.course.unwrap_or(Course::Running),
        reason: read.reason,
        done: read.done,
        ended: read.ended,
        tasks: read.tasks,
    };
    Ok((read.id, intent))
}
