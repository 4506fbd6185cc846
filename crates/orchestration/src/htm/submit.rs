//! Taking intents: each is checked by itself, and refused by itself.
//!
//! A key that is known gives the intent that it gave before, before anything else is looked at: an intent that was accepted is never
//! refused to a sender who asks again, however much waits.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use grace_kernel::{Decision, HostError, Room};
use grace_types::{intent::DISK_RESERVE, reason::Why, yaml::suggest};

use super::{
    Decided, Htm, IntentId, Reply,
    command::{Refused, Submission, Submitted},
    event::{NewIntent, Origin, What},
    recorded, refusal,
    state::{Pinned, State, fingerprint},
};
use crate::{
    intent::{Json, Priority},
    limits,
};

fn refuse<T>(code: &'static str, message: impl Into<String>) -> Result<T, Refused> {
    Err(Refused::new(code, message))
}

/// What a batch has taken so far.
struct Batch<'s> {
    state: &'s State,
    at: u64,
    on_record: Room,
    taken: Vec<NewIntent>,
    /// The origin of the last one that was looked at, and of the last that was taken.
    origins: [Option<Arc<Origin>>; 2],
    keys: HashMap<&'s str, (IntentId, u64)>,
    /// Ids that it was given.
    named: HashSet<IntentId>,
    /// Tasks that it adds: those that wait at once, and all.
    waiting: u64,
    tasks: u64,
}

pub(super) fn submit(state: &State, at: u64, intents: &[Submission], room: Room) -> Decided {
    let (batch, results) = Batch::of(state, at, intents, room)?;
    let mut decision = Decision::reply(Reply::Submitted { results });
    let (mut part, mut bytes) = (Vec::new(), 0);
    let mut origin = None;
    for mut intent in batch.taken {
        if !intent.origin_as_before {
            origin.clone_from(&intent.origin);
        }
        if bytes > 0 && bytes + intent.payload.len() > limits::SUBMITTED_BYTES {
            decision = record(decision, state, at, std::mem::take(&mut part));
            bytes = 0;
            // The first of a record says it itself.
            (intent.origin, intent.origin_as_before) = (origin.clone(), false);
        }
        bytes += intent.payload.len() + 200;
        part.push(intent);
    }
    Ok(if part.is_empty() { decision } else { record(decision, state, at, part) })
}

/// What would become of these; nothing is recorded.
pub(super) fn check(state: &State, at: u64, intents: &[Submission]) -> Decided {
    let (_, results) = Batch::of(state, at, intents, Room::Enough)?;
    Ok(Decision::reply(Reply::Checked { results }))
}

fn record(decision: Decision<Htm>, state: &State, at: u64, intents: Vec<NewIntent>) -> Decision<Htm> {
    let first = &intents[0];
    let kind = state.definitions.get(&first.definition).map(|pin| &*pin.definition.name).unwrap_or_default();
    let approved = first.origin.as_deref().and_then(approval);
    let what = match intents.len() {
        1 => format!("{} wants {kind}", first.actor),
        n => format!("{} wants {kind}, the first of {n}", first.actor),
    };
    let mut why = Why::because("intent.wanted", what);
    if let Some(approved) = approved {
        why = why.and("intent.approved", approved);
    }
    for reason in first.origin.iter().flat_map(|origin| &origin.reasons).take(8) {
        why = why.and(reason.code.as_str(), reason.text.as_str());
    }
    let waits = state.waiting();
    why = why.and("intent.room", format!("{waits} tasks wait"));
    let place = if intents.len() == 1 { first.id.to_string() } else { "htm".to_owned() };
    decision.record(recorded(at, What::Submitted { intents }, place, "valid, with room in the queue", why))
}

fn approval(origin: &Origin) -> Option<String> {
    let by = origin.approved_by.as_ref()?;
    let tier = origin.tier.as_ref().map(|tier| format!(", tier {tier}")).unwrap_or_default();
    let score = origin.score.map(|score| format!(", score {score}")).unwrap_or_default();
    Some(format!("approved by {by}{tier}{score}"))
}

impl<'s> Batch<'s> {
    /// The batch after these, and what became of each.
    fn of(
        state: &'s State,
        at: u64,
        intents: &'s [Submission],
        on_record: Room,
    ) -> Result<(Self, Vec<Submitted>), super::Refusal> {
        if intents.is_empty() || intents.len() > limits::BATCH {
            let (most, found) = (limits::BATCH, intents.len());
            return Err(refusal("bad_request", format!("1 to {most} intents at a time; these are {found}")));
        }
        let (taken, keys, named) = (Vec::new(), HashMap::new(), HashSet::new());
        let mut batch =
            Self { state, at, on_record, taken, origins: [None, None], keys, named, waiting: 0, tasks: 0 };
        let results =
            intents.iter().map(|intent| batch.take(intent).unwrap_or_else(Submitted::Refused)).collect();
        Ok((batch, results))
    }

    fn take(&mut self, wanted: &'s Submission) -> Result<Submitted, Refused> {
        if !wanted.origin_as_before {
            self.origins[0].clone_from(&wanted.origin);
        }
        for (what, text) in [("key", wanted.key.as_deref()), ("actor", Some(wanted.actor.as_str()))] {
            if text.is_some_and(|text| text.is_empty() || text.len() > limits::KEY_BYTES) {
                return refuse("bad_request", format!("`{what}` has 1 to {} bytes", limits::KEY_BYTES));
            }
        }
        if wanted.payload.len() > limits::PAYLOAD_BYTES {
            let (found, most) = (wanted.payload.len(), limits::PAYLOAD_BYTES);
            return refuse("too_large", format!("a payload of {found} bytes; at most {most} are taken"));
        }
        let value = match wanted.payload.value() {
            Ok(value) => value,
            Err(_) => return refuse("invalid", "the payload is nested too deep"),
        };
        // Without spaces, so that the same payload is the same text.
        let payload = Json::of(&value);
        let mark = wanted.key.as_ref().map(|_| fingerprint(&wanted.kind, &wanted.actor, payload.text()));
        if let Some(answer) = self.repeated(wanted, mark) {
            return answer;
        }
        let pin = self.pin(&wanted.kind)?;
        let definition = &pin.definition;
        let shares = definition.fits(&value, wanted.deadline_ms, wanted.delay_ms)?;
        let priority = wanted.priority.unwrap_or(definition.priority);
        let emergency = || self.origins[0].as_ref().is_some_and(|origin| origin.is_emergency());
        if self.on_record == Room::Reserve && !emergency() {
            return refuse(DISK_RESERVE, HostError::DiskReserve.to_string());
        }
        self.room(priority, definition.forward as u64)?;
        let next = self.state.base.next_intent + self.taken.len() as u64;
        let id = match wanted.id {
            Some(id) if id.era() == self.state.base.era => {
                return refuse("bad_request", format!("ids like {id} are given by the task manager itself"));
            }
            Some(id) if self.state.intents.contains_key(&id) || !self.named.insert(id) => {
                return refuse("bad_request", format!("there is an intent {id} already, under another key"));
            }
            Some(id) => id,
            None => IntentId::new(self.state.base.era, next),
        };
        if let (Some(key), Some(mark)) = (&wanted.key, mark) {
            self.keys.insert(key, (id, mark));
        }
        self.tasks += definition.forward as u64;
        if wanted.delay_ms.is_none_or(|delay| delay == 0) {
            self.waiting +=
                definition.tasks[..definition.forward].iter().filter(|task| task.missing == 0).count() as u64;
        }
        let origin = self.origins[0].clone();
        let origin_as_before = origin.is_some() && self.origins[1] == origin;
        self.origins[1].clone_from(&origin);
        self.taken.push(NewIntent {
            id,
            definition: pin.number,
            actor: wanted.actor.clone(),
            key: wanted.key.clone(),
            payload,
            priority,
            start: wanted.delay_ms.filter(|delay| *delay > 0).map(|delay| self.at + delay),
            deadline: wanted.deadline_ms.or(definition.deadline_ms).map(|span| self.at + span),
            shares,
            origin: origin.filter(|_| !origin_as_before),
            origin_as_before,
        });
        Ok(Submitted::Accepted { id, repeated: false })
    }

    /// The answer that the key got before.
    fn repeated(&self, wanted: &Submission, mark: Option<u64>) -> Option<Result<Submitted, Refused>> {
        let key = wanted.key.as_deref()?;
        let (id, known) = self.keys.get(key).or_else(|| self.state.index.keys.get(key))?;
        Some(if mark == Some(*known) {
            Ok(Submitted::Accepted { id: *id, repeated: true })
        } else {
            refuse("key_reused", format!("the idempotency key `{key}` was used for another intent, {id}"))
        })
    }

    fn pin(&self, name: &str) -> Result<&'s Pinned, Refused> {
        let in_force = self.state.types.get(name).filter(|kind| !kind.retired);
        let pin = in_force.and_then(|kind| self.state.definitions.get(&kind.definition));
        pin.map(AsRef::as_ref).ok_or_else(|| {
            let known = self.state.types.iter().filter(|(_, kind)| !kind.retired).map(|(name, _)| &**name);
            let help = suggest(name, known).map(|help| format!("; {help}")).unwrap_or_default();
            let shown: String = name.chars().take(64).flat_map(char::escape_debug).collect();
            let message = format!("there is no intent type `{shown}`{help}");
            Refused::new("unknown_type", message)
        })
    }

    /// Whether there is room for so many tasks of this priority. Low priority is refused first.
    fn room(&self, priority: Priority, tasks: u64) -> Result<(), Refused> {
        let settings = &self.state.base.settings;
        let waiting = self.state.waiting() + self.waiting;
        let open = self.state.open_tasks() + self.tasks;
        if open + tasks > settings.tasks {
            let most = settings.tasks;
            return refuse("overloaded", format!("{open} tasks are not over; at most {most} are taken"));
        }
        let most = match priority {
            Priority::Low => settings.backlog_critical,
            Priority::Normal => settings.backlog_normal,
            Priority::High | Priority::Critical => settings.tasks,
        };
        if waiting >= most {
            let word = priority.word();
            let message = format!("{waiting} tasks wait; {word} priority is refused from {most} on");
            return refuse("overloaded", message);
        }
        Ok(())
    }
}
