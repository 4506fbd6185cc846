//! Puts what is decided about a batch of events into records, each below the host's bound on an entry.
//!
//! Events share a record while there is room. The deliveries of one event may need several: the first has the event, the others only
//! deliveries. All records of a decision become durable together, so that this changes nothing of what is lost or kept.

use super::{happening::weight, step::Step};

/// About what an event costs in a record beside its deliveries, bytes: its mark, its id and the names of a few owners.
const EVENT_BYTES: usize = 300;

/// What goes into one record.
#[derive(Debug)]
pub(crate) struct Share<T> {
    /// Events.
    pub(crate) events: Vec<T>,
    /// Their deliveries, and those left over from the record before.
    pub(crate) steps: Vec<Step>,
    bytes: usize,
}

/// Puts an event and its deliveries into the last of the records, or into new ones, each of about `most` bytes; larger where a
/// single delivery is.
pub(crate) fn put<T>(shares: &mut Vec<Share<T>>, event: T, steps: Vec<Step>, most: usize) {
    let all = EVENT_BYTES + steps.iter().map(weight).sum::<usize>();
    if shares.last().is_none_or(|last| last.bytes + all > most) {
        shares.push(Share { events: Vec::new(), steps: Vec::new(), bytes: 0 });
    }
    let mut event = Some(event);
    for step in steps {
        let (weight, full) = (weight(&step), |share: &Share<T>| !share.steps.is_empty());
        if shares.last().is_none_or(|last| full(last) && event.is_none() && last.bytes + weight > most) {
            shares.push(Share { events: Vec::new(), steps: Vec::new(), bytes: 0 });
        }
        let Some(last) = shares.last_mut() else { return };
        if let Some(event) = event.take() {
            last.events.push(event);
            last.bytes += EVENT_BYTES;
        }
        last.bytes += weight;
        last.steps.push(step);
    }
    if let (Some(event), Some(last)) = (event, shares.last_mut()) {
        last.events.push(event);
        last.bytes += EVENT_BYTES;
    }
}
