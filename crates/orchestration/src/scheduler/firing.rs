//! What becomes of the occurrences of one schedule that are due.

use grace_kernel::Recorded;
use grace_types::{
    chance::{Entropy as _, SeededEntropy},
    id::EventId,
    reason::Why,
    time::Now,
};
use serde_json::json;

use super::{
    message::{Event, Origin},
    occurrence::{Course, Next, Nominal},
    schedule::{Misfire, NAMES, Overlap, Schedule},
    state::{Entry, State},
};
use crate::{
    delivery::{
        action::Plan,
        lane::Delivery,
        step::{Place, Step},
    },
    expression::Scope,
    limits,
    period::Period,
};

/// The firings of one schedule in one decision: what happens first changes what happens then.
pub(super) struct Firing<'s> {
    state: &'s State,
    name: &'s str,
    entry: &'s Entry,
    now: Now,
    at_ms: u64,
    running: bool,
    held: bool,
    /// Deliveries of this decision.
    begun: usize,
    queued: usize,
    dead: usize,
    pub(super) records: Vec<Recorded<Event>>,
    pub(super) fired: usize,
    /// The key of the last one that fired.
    pub(super) key: Option<String>,
}

/// The name of the schedule whose occurrence has this key.
pub(super) fn owner_of(key: &str) -> Option<&str> {
    key.strip_prefix("sch:").and_then(|rest| rest.split(':').next())
}

/// The key of an occurrence.
fn key(name: &str, generation: u32, nominal: Nominal) -> String {
    format!("sch:{name}:{generation}:{nominal}")
}

/// Adds the jitter that is drawn for it.
pub(super) fn jittered(next: Option<Next>, schedule: &Schedule, entropy: &mut SeededEntropy) -> Option<Next> {
    let jitter = schedule.jitter.millis();
    next.map(|next| match jitter {
        0 => next,
        jitter => Next { due_ms: next.due_ms.saturating_add(entropy.below(jitter + 1)), ..next },
    })
}

impl<'s> Firing<'s> {
    pub(super) fn new(state: &'s State, name: &'s str, entry: &'s Entry, now: Now) -> Self {
        Self {
            state,
            name,
            entry,
            now,
            at_ms: state.steady.at(now),
            running: entry.running.is_some(),
            held: entry.held.is_some(),
            begun: 0,
            queued: 0,
            dead: 0,
            records: Vec::new(),
            fired: 0,
            key: None,
        }
    }

    /// What is due by the schedule's clock.
    pub(super) fn due(&mut self, entropy: &mut SeededEntropy) {
        let schedule = &self.entry.schedule;
        let clock_ms = if schedule.is_wall() { self.now.wall.as_millis() } else { self.at_ms };
        let (Some(course), Some(first)) = (Course::of(&schedule.when, self.entry.base_ms), self.entry.next)
        else {
            return;
        };
        let too_late = |next: &Next| clock_ms.saturating_sub(next.due_ms) > schedule.grace.millis();
        let (mut late, mut next, mut more) = (Vec::new(), Some(first), false);
        while let Some(one) = next.filter(|one| one.due_ms <= clock_ms && too_late(one)) {
            if late.len() >= limits::MISFIRES_COUNTED {
                more = true;
                next = course.first_after(clock_ms.saturating_sub(schedule.grace.millis()));
                break;
            }
            late.push(one);
            next = jittered(course.after(one.nominal), schedule, entropy);
        }
        self.misfires(&late, next, more, entropy, clock_ms);
        while let Some(one) = next.filter(|one| one.due_ms <= clock_ms) {
            if self.records.len() >= limits::FIRINGS + limits::MISFIRE_RUNS {
                break;
            }
            next = jittered(course.after(one.nominal), schedule, entropy);
            self.occurrence(one.nominal, Origin::Time { next }, clock_ms - one.due_ms, entropy);
        }
    }

    fn misfires(
        &mut self,
        late: &[Next],
        next: Option<Next>,
        more: bool,
        entropy: &mut SeededEntropy,
        clock_ms: u64,
    ) {
        let policy = self.entry.schedule.misfire;
        let (run, skip): (&[Next], &[Next]) = match (policy, late) {
            (_, []) => return,
            (Misfire::Skip, late) => (&[], late),
            (Misfire::RunOnce, [skip @ .., _]) => (&late[late.len() - 1..], skip),
            (Misfire::RunAll, late) => late.split_at(late.len().min(limits::MISFIRE_RUNS)),
        };
        // Records move the schedule on, so they stand in the order of the occurrences.
        if policy == Misfire::RunOnce {
            self.misfired(skip, run.first().copied(), more, clock_ms);
        }
        for (at, one) in run.iter().enumerate() {
            let after = run.get(at + 1).or(if policy == Misfire::RunAll { skip.first() } else { None });
            let next = after.copied().or(next);
            self.occurrence(one.nominal, Origin::Time { next }, clock_ms.saturating_sub(one.due_ms), entropy);
        }
        if policy != Misfire::RunOnce {
            self.misfired(skip, next, more, clock_ms);
        }
    }

    fn misfired(&mut self, late: &[Next], next: Option<Next>, more: bool, clock_ms: u64) {
        let (Some(first), Some(last)) = (late.first(), late.last()) else { return };
        let count = late.len() as u64;
        let by = Period::from_millis(clock_ms.saturating_sub(first.due_ms));
        let why = Why::because(
            "schedule.late",
            format!("{count}{} occurrences are late, the first by {by}", if more { " or more" } else { "" }),
        );
        let event = Event::Misfired {
            name: self.name.to_owned(),
            first: first.nominal,
            last: last.nominal,
            count,
            more,
            next,
        };
        let how = match self.entry.schedule.misfire {
            Misfire::Skip => "misfire: skip",
            Misfire::RunOnce => "misfire: run_once",
            Misfire::RunAll => "misfire: run_all, its bound",
        };
        self.records.push(Recorded::new(event, self.name, how, why));
    }

    /// One occurrence whose turn it is.
    pub(super) fn occurrence(
        &mut self,
        nominal: Nominal,
        origin: Origin,
        late_ms: u64,
        entropy: &mut SeededEntropy,
    ) {
        match (self.entry.schedule.overlap, origin) {
            (Overlap::Skip, Origin::Time { .. }) if self.running => {
                self.skipped(nominal, origin, "the one before still runs", "overlap: skip");
            }
            (Overlap::Queue, Origin::Time { next }) if self.running && !self.held => {
                self.held = true;
                let event = Event::Held { name: self.name.to_owned(), nominal, next };
                let why =
                    Why::because("schedule.overlap", "the one before still runs; this one waits for its end");
                self.records.push(Recorded::new(event, self.name, "overlap: queue", why));
            }
            (Overlap::Queue, Origin::Time { .. }) if self.running => {
                let reason = "the one before still runs, and another one waits for it";
                self.skipped(nominal, origin, reason, "overlap: queue");
            }
            _ => self.fire(nominal, origin, late_ms, entropy),
        }
    }

    fn skipped(&mut self, nominal: Nominal, origin: Origin, reason: &str, how: &str) {
        let event = Event::Skipped { name: self.name.to_owned(), nominal, reason: reason.to_owned(), origin };
        let why = Why::because("schedule.skipped", reason);
        self.records.push(Recorded::new(event, self.name, how, why));
    }

    fn fire(&mut self, nominal: Nominal, origin: Origin, late_ms: u64, entropy: &mut SeededEntropy) {
        let schedule = &self.entry.schedule;
        let key = key(self.name, self.entry.generation, nominal);
        let facts = json!({"name": self.name, "time": nominal.to_string(), "key": key});
        let work = match Plan::compile(&schedule.action, &NAMES) {
            Ok(plan) => plan.render(&Scope::new().with("schedule", &facts)).map_err(|why| why.0),
            Err(faults) => Err(faults.first().map(ToString::to_string).unwrap_or_default()),
        };
        let work = match work {
            Ok(work) => work,
            Err(why) => {
                return self.skipped(
                    nominal,
                    origin,
                    &format!("the action cannot be rendered: {why}"),
                    "action",
                );
            }
        };
        let id = EventId::new(self.now.wall, entropy);
        let delivery = Delivery { key: key.clone(), id, work, cause: None, attempts: 0 };
        let owner = self.name.to_owned();
        let step = match self.place() {
            Place::Flight => Step::Queued { owner, delivery, start: true },
            Place::Queue => Step::Queued { owner, delivery, start: false },
            Place::DeadLetters => {
                Step::Dead { owner, delivery, reason: "the queue is full".to_owned(), time: self.now.wall }
            }
            Place::Nowhere => {
                let reason = "the queue and the dead letters are full";
                return self.skipped(nominal, origin, reason, "queue");
            }
        };
        self.running |= schedule.overlap != Overlap::Allow && matches!(step, Step::Queued { .. });
        let (code, text) = match origin {
            Origin::Time { .. } => ("schedule.due", format!("{nominal} is due, {late_ms} ms ago")),
            Origin::Held => ("schedule.free", format!("the one before {nominal} has ended")),
            Origin::Asked => ("schedule.asked", "asked for by hand".to_owned()),
        };
        let event = Event::Fired {
            name: self.name.to_owned(),
            nominal,
            origin,
            late_ms,
            step: Box::new(step),
            at_ms: self.at_ms,
            wall_ms: self.now.wall.as_millis(),
        };
        self.records.push(Recorded::new(event, self.name, how(schedule), Why::because(code, text)));
        self.fired += 1;
        self.key = Some(key);
    }

    fn place(&mut self) -> Place {
        let Some(lane) = self.state.lanes.get(self.name) else {
            return self.fresh_place();
        };
        let (room, trial) = lane.room(self.at_ms);
        if !trial && lane.depth() == 0 && self.queued == 0 && self.begun < room {
            self.begun += 1;
            return Place::Flight;
        }
        self.waiting_place(lane.depth(), lane.dead.len())
    }

    /// In a lane that is not there yet.
    fn fresh_place(&mut self) -> Place {
        let settings = &self.entry.schedule.delivery;
        let burst = settings.rate.as_ref().map_or(u32::MAX, |rate| rate.burst.unwrap_or(rate.count));
        if self.begun < usize::try_from(settings.in_flight.min(burst)).unwrap_or(usize::MAX) {
            self.begun += 1;
            return Place::Flight;
        }
        self.waiting_place(0, 0)
    }

    fn waiting_place(&mut self, depth: usize, dead: usize) -> Place {
        let most = usize::try_from(self.entry.schedule.delivery.queue).unwrap_or(usize::MAX);
        if depth + self.queued < most {
            self.queued += 1;
            return Place::Queue;
        }
        if dead + self.dead < limits::LANE_DEAD_LETTERS {
            self.dead += 1;
            return Place::DeadLetters;
        }
        Place::Nowhere
    }
}

fn how(schedule: &Schedule) -> String {
    use super::schedule::When;
    match &schedule.when {
        When::Cron(times) => format!("cron: {} in {}", times.pattern, times.zone.as_deref().unwrap_or("UTC")),
        When::Once(once) => format!("once: {once}"),
        When::Every(every) => format!("every: {every}"),
        When::After(after) => format!("after: {after}"),
    }
}
