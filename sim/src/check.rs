//! What every kernel promises, asked of the journals after a run.
//!
//! The checker rests on the journals' bytes and on what the tellers heard; it shares no bookkeeping with the hosts.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
};

use grace_kernel::{Decider, Entry, Host, Outcome, OutcomeOf, Stored};
use grace_store::{
    Journal, Seq,
    memory::{Disk, MemoryJournal},
};
use grace_types::id::EventId;

use crate::bank::{Accounts, Bank, Command, Event};

/// One operation of a teller's, and what it heard.
#[derive(Debug, Clone)]
pub struct Operation {
    /// The teller's number.
    pub number: u64,
    /// Which bank was asked.
    pub bank: usize,
    /// What for.
    pub command: Command,
    /// The answer, once there is one.
    pub heard: Option<OutcomeOf<Bank>>,
}

/// Something that left a host: the bank, the position and the event.
pub type Left = (usize, Seq, EventId);

/// Every promise that was broken, one sentence each.
#[must_use]
pub fn broken_promises(disks: &[Disk], operations: &[Operation], left: &BTreeSet<Left>) -> Vec<String> {
    let mut broken = Vec::new();
    for (bank, disk) in disks.iter().enumerate() {
        let entries = match read(disk) {
            Ok(entries) => entries,
            Err(e) => {
                broken.push(format!("bank {bank} cannot be read: {e}"));
                continue;
            }
        };
        one_bank(bank, &entries, operations, &mut broken);
        for (_, seq, id) in left.iter().filter(|(b, ..)| *b == bank) {
            let there = usize::try_from(seq.0 - 1).ok().and_then(|i| event(entries.get(i)?)).map(|e| e.id);
            if there != Some(*id) {
                broken.push(format!("bank {bank}: event {id} left as record {}, where {there:?} is", seq.0));
            }
        }
        if let Err(e) = state_is_replay(disk, &entries) {
            broken.push(format!("bank {bank}: {e}"));
        }
    }
    broken
}

fn read(disk: &Disk) -> Result<Vec<Stored<Bank>>, String> {
    let mut journal = MemoryJournal::open(disk).map_err(|e| e.to_string())?;
    let mut texts = Vec::new();
    journal
        .replay(Seq(1), &mut |record| {
            texts.push(record.payload.to_vec());
            ControlFlow::Continue(())
        })
        .map_err(|e| e.to_string())?;
    texts.iter().map(|text| Stored::from_json(text).map_err(|e| e.to_string())).collect()
}

const fn event(record: &Stored<Bank>) -> Option<&Entry<Bank>> {
    match record {
        Stored::Event(entry) => Some(entry),
        Stored::Answer(_) => None,
    }
}

/// A host that starts from the snapshots has the state that the events alone give.
fn state_is_replay(disk: &Disk, entries: &[Stored<Bank>]) -> Result<(), String> {
    let mut state = Accounts::default();
    for entry in entries.iter().filter_map(event) {
        Bank::evolve(&mut state, entry.record.event());
    }
    let mut journal = MemoryJournal::open(disk).map_err(|e| e.to_string())?;
    let host = Host::<Bank, ()>::load("bank", &mut journal).map_err(|e| e.to_string())?;
    if *host.state() == state {
        Ok(())
    } else {
        Err(format!("{:?} is not the replay {state:?}", host.state()))
    }
}

fn one_bank(bank: usize, entries: &[Stored<Bank>], operations: &[Operation], broken: &mut Vec<String>) {
    let mut applied: BTreeMap<u64, Vec<&Event>> = BTreeMap::new();
    for entry in entries.iter().filter_map(event) {
        applied.entry(entry.record.event().operation()).or_default().push(entry.record.event());
    }
    let mut recorded: BTreeMap<&str, &OutcomeOf<Bank>> = BTreeMap::new();
    for answered in entries.iter().filter_map(Stored::answered) {
        if recorded.insert(&answered.key, &answered.outcome).is_some() {
            broken.push(format!("bank {bank}: key {} was settled twice", answered.key));
        }
    }
    for operation in operations.iter().filter(|o| o.bank == bank) {
        let events = applied.remove(&operation.number).unwrap_or_default();
        let whole = match operation.command {
            Command::Deposit { .. } => 1,
            Command::Transfer { .. } => 2,
            Command::Balance { .. } => 0,
        };
        let number = operation.number;
        let wrong = match (&operation.heard, events.len()) {
            (Some(Outcome::Done(_)), n) if n < whole => Some("acknowledged and lost"),
            (Some(Outcome::Refused(_)), n) if n > 0 => Some("refused and applied all the same"),
            (_, n) if n > whole => Some("applied twice"),
            (None, n) if n != 0 && n != whole => Some("applied in part"),
            _ => None,
        };
        broken.extend(wrong.map(|wrong| format!("bank {bank}: operation {number} was {wrong}: {events:?}")));
        let key = key(number);
        if let (Some(heard), Some(kept)) = (&operation.heard, recorded.get(key.as_str()))
            && heard != *kept
        {
            broken.push(format!("bank {bank}: operation {number} heard {heard:?}, on record is {kept:?}"));
        }
    }
    for (number, events) in applied {
        broken.push(format!("bank {bank}: nobody asked for operation {number}: {events:?}"));
    }
}

/// The idempotency key of an operation.
#[must_use]
pub fn key(operation: u64) -> String {
    format!("operation-{operation}")
}
