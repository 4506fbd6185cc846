//! Workers come, speak, and go.

use grace_kernel::Decision;
use grace_types::reason::Why;

use super::{
    Decided, Reply, counted, cut,
    event::{Granted, Offer, What},
    recorded, refusal,
    state::{Course, State},
};
use crate::limits;

pub(super) fn register(state: &State, at: u64, offer: &Offer) -> Decided {
    if let Some(wrong) = wrong(offer) {
        return Err(refusal("bad_request", wrong));
    }
    let reply = Decision::reply(Reply::Registered { beat_ms: beat_ms(state) });
    let known = state.worker_named(&offer.name);
    if let Some((_, worker)) = known {
        let sorted = |list: &[String]| list.iter().cloned().collect::<std::collections::BTreeSet<_>>();
        let same = worker.incarnation == offer.incarnation
            && worker.slots == offer.slots
            && worker.kinds.iter().map(ToString::to_string).eq(sorted(&offer.kinds))
            && worker.labels.iter().map(ToString::to_string).eq(sorted(&offer.labels));
        if same {
            return Ok(reply);
        }
    } else if state.workers.len() >= limits::WORKERS {
        return Err(refusal("full", format!("{} workers are known; no more are taken", limits::WORKERS)));
    }
    let told = format!(
        "{} offers {} and {}",
        offer.name,
        counted(offer.slots as usize, "slot"),
        offer.kinds.join(", ")
    );
    let mut why = Why::because("worker.offered", told);
    if let Some((number, _)) = known {
        let had = state.index.held.get(&number).map_or(0, std::collections::BTreeSet::len);
        why = why.and(
            "worker.replaced",
            format!("it takes the place of an earlier run, which had {}", counted(had, "task")),
        );
    }
    let what = What::WorkerJoined { number: state.base.next_worker, worker: offer.clone() };
    Ok(reply.record(recorded(at, what, offer.name.as_str(), "registration", why)))
}

fn wrong(offer: &Offer) -> Option<String> {
    let short = |text: &str| !text.is_empty() && text.len() <= limits::NAME_BYTES;
    if !short(&offer.name) || !short(&offer.incarnation) {
        return Some(format!("`name` and `incarnation` have 1 to {} bytes", limits::NAME_BYTES));
    }
    if offer.slots == 0 || offer.slots > limits::SLOTS {
        return Some(format!("expected 1 to {} slots, found {}", limits::SLOTS, offer.slots));
    }
    if offer.kinds.is_empty() {
        return Some("a worker offers at least one kind".to_owned());
    }
    for (what, list) in [("kinds", &offer.kinds), ("labels", &offer.labels)] {
        if list.len() > limits::OFFERS || !list.iter().all(|word| short(word)) {
            return Some(format!("at most {} `{what}` of 1 to {} bytes", limits::OFFERS, limits::NAME_BYTES));
        }
    }
    None
}

/// How often a worker is to give a sign of life: three may be missed.
fn beat_ms(state: &State) -> u64 {
    (state.base.settings.worker_silence_ms / 3).max(1)
}

/// A worker that left, or that is lost for a reason.
pub(super) fn gone(state: &State, at: u64, worker: &str, lost: Option<&str>) -> Decided {
    let Some((number, _)) = state.worker_named(worker) else {
        return Err(refusal("unknown_worker", "no such worker is known, or it was lost before"));
    };
    let tasks = state.index.held.get(&number).map_or(0, std::collections::BTreeSet::len);
    let why = match lost {
        Some(reason) => Why::because("worker.lost", cut(reason)),
        None => Why::because("worker.left", "it left in good order"),
    };
    let why = why.and("worker.tasks", format!("{} of it go back to the queue", counted(tasks, "task")));
    let what = What::WorkerGone { worker: number, name: worker.to_owned(), lost: lost.is_some() };
    let event = recorded(at, what, worker, "tasks go back to their places", why);
    Ok(Decision::reply(Reply::Gone { tasks }).record(event))
}

/// A sign of life is recorded only if nobody remembers it and the last one on record is older than the time between two: leases and
/// answers are signs, too.
pub(super) fn beat(state: &State, at: u64, worker: &str, remembered: bool) -> Decided {
    let Some((number, known)) = state.worker_named(worker) else {
        return Err(refusal("unknown_worker", "register first: no such worker is known, or it was lost"));
    };
    let beat_ms = beat_ms(state);
    let held = state.index.held.get(&number).into_iter().flatten();
    let unneeded = held.filter_map(|id| {
        let (intent, task) = state.task(*id)?;
        matches!(intent.course, Course::Unwinding(_)).then_some(Granted { task: *id, token: task.token })
    });
    let stop = unneeded.take(limits::BATCH).collect();
    let reply = Decision::reply(Reply::Beaten { stop, beat_ms });
    // Beats that come a little early would otherwise be recorded every second time only.
    if remembered || at < known.seen + beat_ms / 2 {
        return Ok(reply);
    }
    let why = Why::because("worker.alive", format!("{} ms since its last sign of life", at - known.seen));
    Ok(reply.record(recorded(at, What::WorkerSeen { worker: number }, worker, "heartbeat", why)))
}
