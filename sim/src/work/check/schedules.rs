//! Schedules, followed from their records: every occurrence once, in order, not before its time, and none left out.
//!
//! Which occurrence comes after which is reckoned here by hand from what the schedules of this world are.

use std::collections::{BTreeMap, BTreeSet};

use grace_kernel::Recorded;
use grace_orchestration::scheduler::{Event, Nominal, Origin};
use grace_types::time::{Monotonic, Now, Timestamp};

use super::super::setup::{Beat, MOVED, beat_of};

/// How far behind a schedule may be: its jitter, a tick, and a commit.
const BEHIND_MS: u64 = 2500;

/// One schedule.
struct Line {
    beat: Beat,
    base_ms: u64,
    /// The occurrence whose turn it is.
    next: Option<Nominal>,
    /// When an occurrence that comes once is due, by its own clock.
    once_ms: u64,
    wall: bool,
    paused: bool,
    held: Option<Nominal>,
    asked: u64,
}

/// All of them.
#[derive(Default)]
pub(super) struct Lines {
    lines: BTreeMap<String, Line>,
    /// Every key under which something fired, and every name that was put.
    keys: BTreeSet<String>,
    put: BTreeSet<String>,
    latest_wall_ms: u64,
    now_ms: u64,
    fired: u64,
    misfired: u64,
    overlapped: u64,
    /// Those that come once a day by the clocks of a place, fired in time.
    pub(super) daily: u64,
    pub(super) broken: Vec<String>,
}

impl Line {
    /// The occurrence after another.
    fn after(&self, nominal: Nominal) -> Option<Nominal> {
        match (&self.beat, nominal) {
            (Beat::Wall(step), Nominal::At(ms)) => Some(Nominal::At(after_wall(ms, *step))),
            (Beat::Daily(times), Nominal::At(ms)) => next_of(times, ms),
            (Beat::Steady(_), Nominal::Number(n)) => Some(Nominal::Number(n + 1)),
            _ => None,
        }
    }

    /// When an occurrence is due by the schedule's clock, jitter aside.
    fn due_ms(&self, nominal: Nominal) -> u64 {
        match (&self.beat, nominal) {
            (_, Nominal::At(ms)) => ms,
            (Beat::Steady(every), Nominal::Number(n)) => self.base_ms + n * every,
            _ => self.once_ms,
        }
    }
}

/// The first whole multiple of `step` seconds within a minute after a moment.
fn after_wall(ms: u64, step: u64) -> u64 {
    let second = ms / 1000 + 1;
    (second..).find(|second| (second % 60).is_multiple_of(step)).unwrap_or(second) * 1000
}

/// The first of these times after a moment.
fn next_of(times: &[u64], ms: u64) -> Option<Nominal> {
    times.iter().map(|seconds| seconds * 1000).find(|next| *next > ms).map(Nominal::At)
}

impl Lines {
    pub(super) fn of(events: &[Recorded<Event>], latest_wall: Timestamp, now: Monotonic) -> Self {
        let (latest_wall_ms, now_ms) = (latest_wall.as_millis(), now.as_nanos() / 1_000_000);
        let mut lines = Self { latest_wall_ms, now_ms, ..Self::default() };
        events.iter().for_each(|event| lines.take(event.event()));
        lines
    }

    /// Fired, too late, and skipped or held for the one before.
    pub(super) const fn counts(&self) -> (u64, u64, u64) {
        (self.fired, self.misfired, self.overlapped)
    }

    fn wrong(&mut self, name: &str, what: std::fmt::Arguments<'_>) {
        self.broken.push(format!("schedule {name}: {what}"));
    }

    fn take(&mut self, event: &Event) {
        match event {
            Event::Put { name, schedule, next, at_ms, wall_ms, .. } => {
                let beat = beat_of(schedule);
                let first = match beat {
                    Beat::Wall(step) => Some(Nominal::At(after_wall(*wall_ms, step))),
                    Beat::Daily(times) => next_of(times, *wall_ms),
                    Beat::Steady(_) => Some(Nominal::Number(1)),
                    Beat::Once => next.map(|next| next.nominal),
                };
                let once_ms = next.map_or(0, |next| next.due_ms);
                let line = Line {
                    beat,
                    base_ms: *at_ms,
                    next: first,
                    once_ms,
                    wall: schedule.is_wall(),
                    paused: false,
                    held: None,
                    asked: 0,
                };
                self.lines.insert(name.clone(), line);
                if !self.put.insert(name.clone()) && name != MOVED {
                    self.wrong(name, format_args!("it was put twice, and is the same"));
                }
            }
            Event::Paused { name } => self.pause(name, true),
            Event::Resumed { name, next } => self.resumed(name, next.map(|next| next.nominal)),
            Event::Fired { name, nominal, origin, step, at_ms, wall_ms, .. } => {
                self.fired += 1;
                let daily = self.lines.get(name).is_some_and(|line| matches!(line.beat, Beat::Daily(_)));
                self.daily += u64::from(daily && matches!(origin, Origin::Time { .. }));
                self.turn(name, *nominal, *origin);
                self.in_time(name, *nominal, *origin, (*at_ms, *wall_ms));
                let key = match &**step {
                    grace_orchestration::delivery::step::Step::Queued { delivery, .. }
                    | grace_orchestration::delivery::step::Step::Dead { delivery, .. } => {
                        delivery.key.clone()
                    }
                    other => format!("{other:?}"),
                };
                if !self.keys.insert(key.clone()) {
                    self.wrong(name, format_args!("{nominal} fired under {key}, as another did before"));
                }
            }
            Event::Misfired { name, first, last, count, more, .. } => {
                self.misfired += count;
                let mut nominal = *first;
                self.pass(name, nominal);
                for _ in 1..*count {
                    let after = self.lines.get(name).and_then(|line| line.after(nominal));
                    let Some(after) = after else { break };
                    nominal = after;
                    self.pass(name, nominal);
                }
                if nominal != *last || *more {
                    self.wrong(
                        name,
                        format_args!("{count} from {first} on were too late, the last is {last}"),
                    );
                }
            }
            Event::Skipped { name, nominal, origin, .. } => {
                self.overlapped += 1;
                self.turn(name, *nominal, *origin);
            }
            Event::Held { name, nominal, .. } => {
                self.overlapped += 1;
                self.pass(name, *nominal);
                let before = self.lines.get_mut(name).and_then(|line| line.held.replace(*nominal));
                if let Some(before) = before {
                    self.wrong(name, format_args!("{before} was held and is lost"));
                }
            }
            Event::Removed { name } => drop(self.lines.remove(name)),
            Event::Began(_) | Event::Ended { .. } | Event::Delivery(_) => {}
        }
    }

    fn pause(&mut self, name: &str, paused: bool) {
        if let Some(line) = self.lines.get_mut(name) {
            line.paused = paused;
        }
    }

    /// What came while it was paused passed unnoticed; what it begins with now is not before that.
    fn resumed(&mut self, name: &str, next: Option<Nominal>) {
        self.pause(name, false);
        let Some(line) = self.lines.get_mut(name) else { return };
        let expected = std::mem::replace(&mut line.next, next);
        if next < expected {
            self.wrong(name, format_args!("it goes on with {next:?} and was at {expected:?}"));
        }
    }

    /// An occurrence that has its turn, by time or otherwise.
    fn turn(&mut self, name: &str, nominal: Nominal, origin: Origin) {
        match origin {
            Origin::Time { .. } => self.pass(name, nominal),
            Origin::Held => {
                let held = self.lines.get_mut(name).and_then(|line| line.held.take());
                if held != Some(nominal) {
                    self.wrong(name, format_args!("{nominal} fires as one that was held; held was {held:?}"));
                }
            }
            Origin::Asked => {
                let Some(line) = self.lines.get_mut(name) else { return };
                line.asked += 1;
                if nominal != Nominal::Asked(line.asked) {
                    let asked = line.asked;
                    self.wrong(name, format_args!("{nominal} fires when asked for the {asked}th time"));
                }
            }
        }
    }

    fn pass(&mut self, name: &str, nominal: Nominal) {
        let Some(line) = self.lines.get_mut(name) else { return };
        let (expected, paused) = (line.next, line.paused);
        line.next = line.after(nominal);
        if expected != Some(nominal) {
            self.wrong(name, format_args!("{nominal} has its turn, which is {expected:?}'s"));
        }
        if paused {
            self.wrong(name, format_args!("{nominal} has its turn while it is paused"));
        }
    }

    /// Not before its time, by the clock that it follows.
    fn in_time(&mut self, name: &str, nominal: Nominal, origin: Origin, (at_ms, wall_ms): (u64, u64)) {
        let Some(line) = self.lines.get(name) else { return };
        if !matches!(origin, Origin::Time { .. }) {
            return;
        }
        let due = line.due_ms(nominal);
        let (clock, latest) = if line.wall { (wall_ms, self.latest_wall_ms) } else { (at_ms, self.now_ms) };
        if due > clock || due > latest {
            self.wrong(name, format_args!("{nominal} fired before its time"));
        }
    }

    /// Those that go on and are behind.
    pub(super) fn overdue(&self, now: Now) -> Vec<String> {
        let mut sentences = Vec::new();
        for (name, line) in self.lines.iter().filter(|(_, line)| !line.paused) {
            let Some(next) = line.next else { continue };
            let clock = if line.wall { now.wall.as_millis() } else { now.mono.as_nanos() / 1_000_000 };
            let due = line.due_ms(next);
            if due + BEHIND_MS < clock {
                sentences.push(format!("schedule {name}: {next} is lost, it was due {} ms ago", clock - due));
            }
        }
        sentences
    }
}
