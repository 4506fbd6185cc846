//! What time brings: waits that are over, leases that end, workers that are silent, intents that are late, and the backlog's level.

use std::collections::{BTreeMap, BTreeSet};

use grace_kernel::{Decision, Room};
use grace_types::reason::Why;

use super::{
    Htm, Reply, TaskId,
    answers::{after_failure, mix},
    counted,
    event::{Level, Settings, What},
    index::Timer,
    recorded, reserve,
    state::{Stage, State},
};
use crate::limits;

pub(super) fn tick(
    state: &State,
    at: u64,
    chance: u64,
    heard: &BTreeMap<String, u64>,
    room: Room,
) -> Decision<Htm> {
    let told = match room {
        Room::Enough => reserve::over(state, at),
        Room::Reserve => reserve::begun(state, at),
    };
    if room == Room::Reserve && !state.has_emergencies() {
        let nothing = Decision::reply(Reply::Ticked { more: false, next_ms: None });
        return told.into_iter().fold(nothing, Decision::record);
    }
    let may_fire = |timer: Timer| match timer {
        _ if room == Room::Reserve => state.concerns_emergency(timer),
        // That it is over makes these longer, with this decision.
        Timer::Lease(_) => told.is_none() || state.concerns_emergency(timer),
        _ => true,
    };
    let timers =
        state.index.timers.iter().filter(|(_, timer)| may_fire(*timer) && !speaks(state, heard, *timer));
    let mut timers = timers.peekable();
    let mut due: Vec<Timer> = Vec::new();
    while due.len() < limits::TICK
        && let Some((_, timer)) = timers.next_if(|(due, _)| *due <= at)
    {
        due.push(*timer);
    }
    let later = timers.next().map(|(due, _)| due.saturating_sub(at));
    let more = later == Some(0);
    let mut decision = Decision::reply(Reply::Ticked { more, next_ms: later });
    decision = told.into_iter().fold(decision, Decision::record);
    let (mut delays, mut late, mut silent) = (Vec::new(), Vec::new(), BTreeSet::new());
    for timer in &due {
        match timer {
            Timer::Delay(task) => delays.push(*task),
            Timer::Deadline(intent) => late.push(*intent),
            Timer::Silence(worker) => drop(silent.insert(*worker)),
            Timer::Lease(_) => {}
        }
    }
    if !delays.is_empty() {
        let why = Why::because("delay.over", format!("{} waited long enough", counted(delays.len(), "task")));
        let place = if delays.len() == 1 { delays[0].to_string() } else { "htm".to_owned() };
        decision = decision.record(recorded(
            at,
            What::DelaysOver { tasks: delays },
            place,
            "back-off or delay",
            why,
        ));
    }
    for number in &silent {
        decision = lost(decision, state, at, *number, heard);
    }
    for timer in due {
        if let Timer::Lease(task) = timer {
            decision = lease_over(decision, state, at, task, &silent, chance);
        }
    }
    if !late.is_empty() {
        let why =
            Why::because("deadline.missed", format!("{} not done in time", counted(late.len(), "intent")));
        let place = if late.len() == 1 { late[0].to_string() } else { "htm".to_owned() };
        decision =
            decision.record(recorded(at, What::DeadlinesMissed { intents: late }, place, "deadline", why));
    }
    if room == Room::Reserve { decision } else { backlog(decision, state, at) }
}

/// Whether this is the silence of a worker that was heard meanwhile, though that is not on record. Its timer stays where it is.
fn speaks(state: &State, heard: &BTreeMap<String, u64>, timer: Timer) -> bool {
    let Timer::Silence(number) = timer else { return false };
    let ago = state.workers.get(&number).and_then(|worker| heard.get(&*worker.name));
    ago.is_some_and(|ago| *ago < state.base.settings.worker_silence_ms)
}

fn lost(
    decision: Decision<Htm>,
    state: &State,
    at: u64,
    number: u32,
    heard: &BTreeMap<String, u64>,
) -> Decision<Htm> {
    let Some(worker) = state.workers.get(&number) else { return decision };
    let tasks = state.index.held.get(&number).map_or(0, BTreeSet::len);
    let on_record = at.saturating_sub(worker.seen);
    let silence = heard.get(&*worker.name).map_or(on_record, |ago| on_record.min(*ago));
    let why = Why::because("worker.silent", format!("{} has not spoken for {silence} ms", worker.name))
        .and("worker.tasks", format!("{} of it go back to the queue", counted(tasks, "task")));
    let what = What::WorkerGone { worker: number, name: worker.name.to_string(), lost: true };
    decision.record(recorded(at, what, worker.name.to_string(), "missed heartbeats", why))
}

fn lease_over(
    decision: Decision<Htm>,
    state: &State,
    at: u64,
    id: TaskId,
    silent: &BTreeSet<u32>,
    chance: u64,
) -> Decision<Htm> {
    let Some((_, task)) = state.task(id) else { return decision };
    let Stage::Leased { worker, .. } = task.stage else { return decision };
    // Its worker is lost with this tick: that is the reason, and it does not count as an attempt.
    if silent.contains(&worker) {
        return decision;
    }
    let name = state.workers.get(&worker).map(|worker| &*worker.name).unwrap_or_default();
    let (next, rule) = after_failure(state, at, id, true, mix(chance, task.token));
    let reason = format!("{name} gave no answer in time");
    let why = Why::because("lease.over", reason.clone()).and("task.next", rule);
    let what = What::TaskFailed { task: id, token: task.token, reason, next };
    decision.record(recorded(at, what, id.to_string(), "the lease's end", why))
}

fn backlog(decision: Decision<Htm>, state: &State, at: u64) -> Decision<Htm> {
    let (waiting, before) = (state.waiting(), state.base.level);
    let level = level(&state.base.settings, waiting, before);
    if level == before {
        return decision;
    }
    let Settings { backlog_warning, backlog_critical, .. } = state.base.settings;
    let told =
        format!("{waiting} tasks wait; warning from {backlog_warning}, critical from {backlog_critical}");
    let what = What::BacklogChanged { level, waiting };
    decision.record(recorded(
        at,
        what,
        "htm",
        "thresholds, left at four fifths",
        Why::because("backlog.level", told),
    ))
}

/// The level of so many waiting tasks. A level is left only at four fifths of its threshold.
pub(super) fn level(settings: &Settings, waiting: u64, before: Level) -> Level {
    let reached = |threshold: u64, level: Level| {
        let threshold = if before >= level { threshold - threshold / 5 } else { threshold };
        waiting >= threshold.max(1)
    };
    if reached(settings.backlog_critical, Level::Critical) {
        Level::Critical
    } else if reached(settings.backlog_warning, Level::Warning) {
        Level::Warning
    } else {
        Level::Normal
    }
}
