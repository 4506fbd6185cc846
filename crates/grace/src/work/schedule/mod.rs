//! `grace schedule`: asks the scheduler over the bus. The times of a pattern are computed here, by the same code.

pub(crate) mod args;
mod show;

use grace_core::instance::Instance;
use grace_orchestration::{
    delivery::action::{Action, Publish, Submit},
    intent::Priority,
    limits,
    scheduler::{self, Command, Cron, CronTimes, Refusal, Reply, Row, Scheduler, When, shell, upcoming},
};
use grace_types::chance::{Entropy as _, OsEntropy};

use self::args::{Add, Next, Schedule};
use super::{file, letters};
use crate::{
    failure::{Exit, Failure},
    output::Output,
    road::{self, Asked},
};

impl Asked for Scheduler {
    const COMPONENT: &'static str = shell::NAME;
    const CALLED: &'static str = "the scheduler";

    fn refused(refusal: Refusal) -> Failure {
        let what = refusal.to_string();
        match refusal {
            Refusal::Unknown { .. } => {
                Failure::new(Exit::Usage, "not_found", what).help("`grace schedule list` shows the names")
            }
            Refusal::Declared { .. } => Failure::new(Exit::Failed, "declared", what),
            Refusal::Invalid { faults } => file::invalid("the schedule", &faults),
            Refusal::Full { .. } => Failure::new(Exit::Failed, "full", what),
            Refusal::Blocked { .. } => Failure::new(Exit::Failed, "wrong_state", what),
        }
    }
}

type Road = road::Road<Scheduler>;

/// Runs a command of `grace schedule`.
pub(crate) fn run(instance: &Instance, command: Schedule, out: &mut Output) -> Result<Exit, Failure> {
    match command {
        Schedule::List => show::list(&rows(&Road::to(instance)?)?, out)?,
        Schedule::Show { name, times } => one(&Road::to(instance)?, name, times, out)?,
        Schedule::Next(args) => next(instance, args, out)?,
        Schedule::Add(args) => {
            let (name, schedule) = (args.name.clone(), Box::new(definition(*args)?));
            let road = Road::to(instance)?;
            let chance = OsEntropy.next_u64();
            road.order(Command::Put { name: name.clone(), schedule, chance })?;
            one(&road, name, 1, out)?;
        }
        Schedule::Remove { name } => {
            Road::to(instance)?.order(Command::Remove { name: name.clone() })?;
            out.message(&format!("the schedule `{name}` is gone"))?;
        }
        Schedule::Pause { name } => {
            Road::to(instance)?.order(Command::Pause { name: name.clone() })?;
            out.message(&format!("the schedule `{name}` is paused"))?;
        }
        Schedule::Resume { name } => {
            let road = Road::to(instance)?;
            road.order(Command::Resume { name: name.clone(), chance: OsEntropy.next_u64() })?;
            one(&road, name, 1, out)?;
        }
        Schedule::Run { name } => {
            let run = Command::RunNow { name, chance: OsEntropy.next_u64() };
            let Reply::Running { key } = Road::to(instance)?.order(run)? else {
                return Err(file::odd::<Scheduler>());
            };
            show::running(&key, out)?;
        }
        Schedule::Requeue(which) => {
            let (name, keys) = which.split();
            letters(instance, Command::Requeue { name, keys }, "to be tried again", out)?;
        }
        Schedule::Discard(which) => {
            let (name, keys) = which.split();
            letters(instance, Command::Discard { name, keys }, "thrown away", out)?;
        }
    }
    Ok(Exit::Done)
}

/// All of them, page after page.
fn rows(road: &Road) -> Result<Vec<Row>, Failure> {
    let mut all: Vec<Row> = Vec::new();
    loop {
        let after = all.last().map(|row| row.name.clone());
        let Reply::Schedules { rows, more } = road.ask(Command::List { after })? else {
            return Err(file::odd::<Scheduler>());
        };
        let none = rows.is_empty();
        all.extend(rows);
        if !more || none {
            return Ok(all);
        }
    }
}

fn one(road: &Road, name: String, times: usize, out: &mut Output) -> Result<(), Failure> {
    match road.ask(Command::Show { name, times })? {
        Reply::Schedule { row, schedule, times, dead_letters } => {
            show::one(&row, &schedule, &times, &dead_letters, out)
        }
        _ => Err(file::odd::<Scheduler>()),
    }
}

fn letters(instance: &Instance, command: Command, what: &str, out: &mut Output) -> Result<(), Failure> {
    match Road::to(instance)?.order(command)? {
        Reply::Letters { count } => letters::told(count, what, out),
        _ => Err(file::odd::<Scheduler>()),
    }
}

fn next(instance: &Instance, args: Next, out: &mut Output) -> Result<(), Failure> {
    let count = args.times.min(limits::UPCOMING);
    let (times, zone) = match (args.name, args.cron) {
        (Some(name), _) => {
            let reply = Road::to(instance)?.ask(Command::Show { name, times: count })?;
            let Reply::Schedule { schedule, times, .. } = reply else {
                return Err(file::odd::<Scheduler>());
            };
            (times, zone_of(&schedule.when))
        }
        (None, pattern) => {
            let pattern = pattern.unwrap_or_default();
            Cron::parse(&pattern, args.zone.as_deref())
                .map_err(|fault| file::invalid("the pattern", &[fault]))?;
            let when = When::Cron(CronTimes { pattern, zone: args.zone });
            let from = args.from.unwrap_or_else(|| file::now().wall);
            (upcoming(&when, from, count), zone_of(&when))
        }
    };
    show::times(&times, zone.as_deref(), out)
}

/// The zone that a schedule's times are in.
fn zone_of(when: &When) -> Option<String> {
    match when {
        When::Cron(times) => times.zone.clone(),
        When::Once(_) | When::Every(_) | When::After(_) => None,
    }
}

/// What is given, in a file or in words.
fn definition(args: Add) -> Result<scheduler::Schedule, Failure> {
    if let Some(path) = &args.file {
        return file::definition(path, "the schedule", scheduler::Schedule::faults);
    }
    let when = match (args.cron, args.once, args.every, args.after) {
        (Some(pattern), ..) => When::Cron(CronTimes { pattern, zone: args.zone }),
        (_, Some(once), ..) => When::Once(once),
        (_, _, Some(every), _) => When::Every(every),
        (.., after) => When::After(after.unwrap_or_default()),
    };
    let payload = args.payload.unwrap_or_default();
    let action = match (args.submit, args.publish) {
        (Some(intent), _) => {
            Action::Submit(Submit { intent, payload, priority: Priority::default(), deadline: None })
        }
        (None, kind) => {
            Action::Publish(Publish { kind: kind.unwrap_or_default(), subject: None, data: payload })
        }
    };
    let schedule = scheduler::Schedule {
        jitter: args.jitter.unwrap_or_default(),
        overlap: args.overlap.map(Into::into).unwrap_or_default(),
        misfire: args.misfire.map(Into::into).unwrap_or_default(),
        ..scheduler::Schedule::new(when, action)
    };
    let faults = schedule.faults();
    if faults.is_empty() { Ok(schedule) } else { Err(file::invalid("the schedule", &faults)) }
}
