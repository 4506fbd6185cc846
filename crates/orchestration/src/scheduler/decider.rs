//! The scheduler's decisions.

use std::{collections::BTreeMap, sync::Arc};

use grace_kernel::{Decider, Decision, Recorded};
use grace_types::{
    chance::SeededEntropy,
    reason::Why,
    time::{Now, Timestamp},
};

use super::{
    firing::{Firing, jittered, owner_of},
    message::{Command, Event, Origin, Refusal, Reply, Row},
    occurrence::{Course, Nominal, course_times},
    schedule::{Overlap, Schedule},
    state::{Entry, State},
};
use crate::{
    clockwork::Passed,
    delivery::{
        action::{Fault, is_name},
        happening::Happening,
        step::{Perform, Step},
    },
    limits,
};

/// The decider.
#[derive(Debug)]
pub enum Scheduler {}

type Decided = Decision<Scheduler>;

impl Decider for Scheduler {
    type State = State;
    type Command = Command;
    type Event = Event;
    type Reply = Reply;
    type Refusal = Refusal;
    type Effect = Perform;

    fn decide(state: &State, now: Now, command: &Command) -> Decided {
        match command {
            Command::Begin { boot } => begin(state, now, boot),
            Command::Put { name, schedule, chance } => put(state, now, name, (schedule, *chance)),
            Command::Declare { schedules, chance } => declare(state, now, schedules, *chance),
            Command::Remove { name } => match state.schedules.get(name.as_str()) {
                Some(entry) if entry.declared => Decision::refuse(Refusal::Declared { name: name.clone() }),
                _ => simple(state, name, "schedule.removed", |name| Event::Removed { name }),
            },
            Command::Pause { name } => match state.schedules.get(name.as_str()) {
                Some(entry) if entry.paused => Decision::reply(Reply::Done),
                _ => simple(state, name, "schedule.paused", |name| Event::Paused { name }),
            },
            Command::Resume { name, chance } => resume(state, now, name, *chance),
            Command::RunNow { name, chance } => run_now(state, now, name, *chance),
            Command::Tick { chance } => tick(state, now, *chance),
            Command::Settle { reports, chance } => {
                let steps = state.lanes.settle(reports, state.steady.at(now), now.wall, *chance);
                happened(state, now, steps, Reply::Done)
            }
            Command::Ended { keys } => ended(state, keys),
            Command::Running => {
                let keys = state.running().take(limits::EVENTS).map(|(_, key)| key.to_owned()).collect();
                Decision::reply(Reply::Firings { keys })
            }
            Command::Requeue { name, keys } => {
                letters(state, now, name, |state| state.lanes.requeue(name, keys.as_deref(), |_| None))
            }
            Command::Discard { name, keys } => letters(state, now, name, |state| {
                state.lanes.discard(name, keys.as_deref()).into_iter().collect()
            }),
            Command::List { after } => list(state, now, after.as_deref()),
            Command::Show { name, times } => show(state, now, name, *times),
            Command::Overview => {
                let overview = state.lanes.overview(state.schedules.len(), state.totals);
                Decision::reply(Reply::Overview { overview, late: state.late })
            }
        }
    }

    fn evolve(state: &mut State, event: &Event) {
        state.take(event);
    }

    fn effects(state: &State, event: &Recorded<Event>) -> Vec<Perform> {
        match event.event() {
            Event::Fired { step, .. } => state.lanes.performs(step),
            Event::Delivery(happening) => happening.performs(&state.lanes),
            _ => Vec::new(),
        }
    }

    fn outstanding(state: &State) -> Vec<Perform> {
        state.lanes.under_way()
    }

    fn what(event: &Event) -> &'static str {
        match event {
            Event::Began(_) => "began",
            Event::Put { .. } => "schedule_put",
            Event::Removed { .. } => "schedule_removed",
            Event::Paused { .. } => "schedule_paused",
            Event::Resumed { .. } => "schedule_resumed",
            Event::Fired { .. } => "schedule_fired",
            Event::Misfired { .. } => "schedule_misfired",
            Event::Skipped { .. } => "occurrence_skipped",
            Event::Held { .. } => "occurrence_held",
            Event::Ended { .. } => "firing_ended",
            Event::Delivery(happening) => happening.kind.what(),
        }
    }
}

fn begin(state: &State, now: Now, boot: &str) -> Decided {
    match state.steady.begin(boot, now) {
        None => Decision::reply(Reply::Done),
        Some(began) => {
            let why = Why::because("boot.new", "the machine was started since");
            Decision::reply(Reply::Done).record(Recorded::new(
                Event::Began(began),
                "scheduler",
                "boot id",
                why,
            ))
        }
    }
}

fn put(state: &State, now: Now, name: &str, (schedule, chance): (&Schedule, u64)) -> Decided {
    let before = state.schedules.get(name);
    if before.is_some_and(|before| before.declared) {
        return Decision::refuse(Refusal::Declared { name: name.to_owned() });
    }
    if before.is_none() && state.schedules.len() >= limits::SCHEDULES {
        let reason = format!("there are {} schedules, and no more are taken", limits::SCHEDULES);
        return Decision::refuse(Refusal::Full { reason });
    }
    let faults = faults(name, schedule);
    if !faults.is_empty() {
        return Decision::refuse(Refusal::Invalid { faults });
    }
    if before.is_some_and(|before| *before.schedule == *schedule) {
        return Decision::reply(Reply::Done);
    }
    let mut entropy = SeededEntropy::new(chance);
    Decision::reply(Reply::Done).record(given(state, now, (name, schedule, false), &mut entropy))
}

fn faults(name: &str, schedule: &Schedule) -> Vec<Fault> {
    if !is_name(name) {
        return vec![Fault::new(&["name"], "letters, digits, `_` and `-`, at most 63")];
    }
    schedule.faults()
}

fn given(
    state: &State,
    now: Now,
    (name, schedule, declared): (&str, &Schedule, bool),
    entropy: &mut SeededEntropy,
) -> Recorded<Event> {
    let before = state.schedules.get(name);
    let (at_ms, wall_ms) = (state.steady.at(now), now.wall.as_millis());
    let course = Course::of(&schedule.when, at_ms);
    // What a schedule of this name has fired is not fired by its successor.
    let past_ms = before.map_or(0, |before| before.past_ms);
    let from_ms = if schedule.is_wall() { wall_ms.max(past_ms) } else { at_ms };
    let first = course.as_ref().and_then(|course| course.first_after(from_ms));
    let first = first.filter(|next| !matches!(next.nominal, Nominal::At(at) if at <= past_ms));
    let next = jittered(first, schedule, entropy);
    let generation = before.map_or(state.past_generation, |before| before.generation) + 1;
    let text = if before.is_none() {
        "a new schedule was given"
    } else {
        "the schedule was given anew, and differs"
    };
    let event = Event::Put {
        name: name.to_owned(),
        schedule: Box::new(schedule.clone()),
        generation,
        next,
        at_ms,
        wall_ms,
        declared,
    };
    let by = if declared { "manifest" } else { "operator" };
    Recorded::new(event, name, by, Why::because("schedule.given", text))
}

/// One that the manifest declares as it was put goes on as it was, with its generation.
fn declare(state: &State, now: Now, declared: &BTreeMap<String, Schedule>, chance: u64) -> Decided {
    let put =
        state.schedules.iter().filter(|(name, entry)| !entry.declared && !declared.contains_key(&***name));
    if put.count() + declared.len() > limits::SCHEDULES {
        let reason = format!("at most {} schedules are taken", limits::SCHEDULES);
        return Decision::refuse(Refusal::Full { reason });
    }
    let each =
        declared.iter().flat_map(|(name, one)| faults(name, one).into_iter().map(|fault| fault.under(name)));
    let faults: Vec<Fault> = each.collect();
    if !faults.is_empty() {
        return Decision::refuse(Refusal::Invalid { faults });
    }
    let gone =
        state.schedules.iter().filter(|(name, entry)| entry.declared && !declared.contains_key(&***name));
    let mut decision = gone.fold(Decision::reply(Reply::Done), |decision, (name, _)| {
        let why = Why::because("schedule.removed", "the manifest does not declare it any more");
        decision.record(Recorded::new(Event::Removed { name: name.to_string() }, &**name, "manifest", why))
    });
    let mut entropy = SeededEntropy::new(chance);
    for (name, schedule) in declared {
        let before = state.schedules.get(name.as_str());
        if before.is_none_or(|before| !before.declared || *before.schedule != *schedule) {
            decision = decision.record(given(state, now, (name, schedule, true), &mut entropy));
        }
    }
    decision
}

fn unknown(name: &str) -> Decided {
    Decision::refuse(Refusal::Unknown { name: name.to_owned() })
}

fn simple(state: &State, name: &str, code: &str, event: impl FnOnce(String) -> Event) -> Decided {
    if !state.schedules.contains_key(name) {
        return unknown(name);
    }
    let why = Why::because(code, "asked for by an operator");
    Decision::reply(Reply::Done).record(Recorded::new(event(name.to_owned()), name, "operator", why))
}

fn resume(state: &State, now: Now, name: &str, chance: u64) -> Decided {
    let Some(entry) = state.schedules.get(name) else { return unknown(name) };
    if !entry.paused {
        return Decision::reply(Reply::Done);
    }
    let clock_ms = if entry.schedule.is_wall() { now.wall.as_millis() } else { state.steady.at(now) };
    let next = match (Course::of(&entry.schedule.when, entry.base_ms), entry.next) {
        (Some(course), Some(next)) if course.repeats() && next.due_ms <= clock_ms => {
            let first = course.first_after(clock_ms);
            jittered(first, &entry.schedule, &mut SeededEntropy::new(chance))
        }
        (_, next) => next,
    };
    let why = Why::because("schedule.resumed", "asked for by an operator");
    let event = Event::Resumed { name: name.to_owned(), next };
    Decision::reply(Reply::Done).record(Recorded::new(event, name, "operator", why))
}

fn run_now(state: &State, now: Now, name: &str, chance: u64) -> Decided {
    let Some(entry) = state.schedules.get(name) else { return unknown(name) };
    if entry.schedule.overlap != Overlap::Allow
        && let Some(key) = &entry.running
    {
        let reason = format!("{key} still runs, and the schedule allows one at a time");
        return Decision::refuse(Refusal::Blocked { reason });
    }
    let mut firing = Firing::new(state, name, entry, now);
    let mut entropy = SeededEntropy::new(chance);
    firing.occurrence(Nominal::Asked(entry.asked + 1), Origin::Asked, 0, &mut entropy);
    let reply = match firing.key.take() {
        Some(key) => Reply::Running { key },
        None => Reply::Done,
    };
    firing.records.into_iter().fold(Decision::reply(reply), Decision::record)
}

fn tick(state: &State, now: Now, chance: u64) -> Decided {
    let mut entropy = SeededEntropy::new(chance);
    let (at_ms, wall_ms) = (state.steady.at(now), now.wall.as_millis());
    let (mut records, mut fired) = (Vec::new(), 0);
    for name in state.freed.iter().take(limits::TICK) {
        let Some(entry) = state.schedules.get(name) else { continue };
        let Some(nominal) = entry.held else { continue };
        let mut firing = Firing::new(state, name, entry, now);
        firing.occurrence(nominal, Origin::Held, 0, &mut entropy);
        fired += firing.fired;
        records.extend(firing.records);
    }
    let due = |order: &'_ std::collections::BTreeSet<(u64, Arc<str>)>, clock_ms: u64| -> Vec<Arc<str>> {
        let due = order.iter().take_while(|(due, _)| *due <= clock_ms);
        due.map(|(_, name)| Arc::clone(name)).take(limits::TICK).collect()
    };
    let names = due(&state.by_wall, wall_ms).into_iter().chain(due(&state.by_steady, at_ms));
    let mut more = false;
    for name in names {
        // One that was held fires first; what is due comes with the next tick.
        if state.freed.contains(&name) || records.len() >= limits::TICK {
            more = true;
            continue;
        }
        let Some(entry) = state.schedules.get(&name) else { continue };
        let mut firing = Firing::new(state, &name, entry, now);
        firing.due(&mut entropy);
        fired += firing.fired;
        records.extend(firing.records);
    }
    let steps = state.lanes.start(at_ms, limits::STARTS);
    // What comes after what was recorded is not known before it has evolved.
    let more = more || !records.is_empty() || !steps.is_empty();
    let passed = Passed { more, next_ms: if more { None } else { state.next_ms(now) } };
    let decision = happened(state, now, steps, Reply::Ticked { fired, passed });
    records.into_iter().fold(decision, Decision::record)
}

fn ended(state: &State, keys: &[String]) -> Decided {
    let mut decision = Decision::reply(Reply::Done);
    for key in keys.iter().take(limits::EVENTS) {
        let name = owner_of(key).unwrap_or_default();
        let runs = |entry: &Entry| entry.running.as_ref() == Some(key);
        if state.schedules.get(name).is_some_and(runs) {
            let why = Why::because("schedule.ended", format!("the intent of {key} has ended"));
            let event = Event::Ended { name: name.to_owned(), key: key.clone() };
            decision = decision.record(Recorded::new(event, name, "report", why));
        }
    }
    decision
}

fn letters(state: &State, now: Now, name: &str, steps: impl FnOnce(&State) -> Vec<Step>) -> Decided {
    if !state.schedules.contains_key(name) {
        return unknown(name);
    }
    let steps = steps(state);
    let of = |step: &Step| match step {
        Step::Requeued { keys, .. } | Step::Discarded { keys, .. } => keys.len(),
        _ => 0,
    };
    let count = steps.iter().map(of).sum();
    happened(state, now, steps, Reply::Letters { count })
}

fn happened(state: &State, now: Now, steps: Vec<Step>, reply: Reply) -> Decided {
    let groups = Happening::group(steps, state.steady.at(now), now.wall.as_millis());
    groups
        .into_iter()
        .fold(Decision::reply(reply), |decision, group| decision.record(group.recorded(Event::Delivery)))
}

/// A moment of the schedule's clock, by the wall clock.
fn wall_of(state: &State, now: Now, entry: &Entry, due_ms: u64) -> u64 {
    if entry.schedule.is_wall() {
        return due_ms;
    }
    (now.wall.as_millis() + due_ms).saturating_sub(state.steady.at(now))
}

fn row(state: &State, now: Now, name: &str, entry: &Entry) -> Row {
    let time = |ms: u64| Timestamp::from_nanos(ms.saturating_mul(1_000_000));
    let word = match (entry.paused, entry.next) {
        (true, _) => "paused",
        (false, Some(_)) => "waiting",
        (false, None) => "ended",
    };
    Row {
        name: name.to_owned(),
        state: word.to_owned(),
        declared: entry.declared,
        next: entry.next.map(|next| time(wall_of(state, now, entry, next.due_ms))),
        last: entry.last_ms.map(time),
        fired: entry.fired,
        misfired: entry.misfired,
        skipped: entry.skipped,
        running: entry.running.clone(),
        dead: state.lanes.get(name).map_or(0, |lane| lane.dead.len()),
    }
}

fn list(state: &State, now: Now, after: Option<&str>) -> Decided {
    use std::ops::Bound;
    let from = after.map_or(Bound::Unbounded, Bound::Excluded);
    let mut all = state.schedules.range::<str, _>((from, Bound::Unbounded));
    let rows = all.by_ref().take(limits::ROWS).map(|(name, entry)| row(state, now, name, entry)).collect();
    Decision::reply(Reply::Schedules { rows, more: all.next().is_some() })
}

fn show(state: &State, now: Now, name: &str, times: usize) -> Decided {
    let Some(entry) = state.schedules.get(name) else { return unknown(name) };
    let times = match Course::of(&entry.schedule.when, entry.base_ms) {
        Some(course) => course_times(&course, entry.next, times, |due_ms| wall_of(state, now, entry, due_ms)),
        None => Vec::new(),
    };
    let dead = state.lanes.get(name).into_iter().flat_map(|lane| &lane.dead);
    Decision::reply(Reply::Schedule {
        row: row(state, now, name, entry),
        schedule: Box::new((*entry.schedule).clone()),
        times,
        dead_letters: dead.take(limits::ROWS).cloned().collect(),
    })
}
