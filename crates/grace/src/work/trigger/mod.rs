//! `grace trigger`: asks the trigger mesh over the bus. A file's triggers are tried out here, by the same decider.

pub(crate) mod args;
mod show;

use std::{collections::BTreeMap, path::Path};

use grace_core::instance::Instance;
use grace_orchestration::triggers::{Command, Refusal, Reply, Subscription, TriggerMesh, shell};

use self::args::Trigger;
use super::{file, letters};
use crate::{
    failure::{Exit, Failure},
    output::Output,
    road::{self, Asked},
};

impl Asked for TriggerMesh {
    const COMPONENT: &'static str = shell::NAME;
    const CALLED: &'static str = "the trigger mesh";

    fn refused(refusal: Refusal) -> Failure {
        let what = refusal.to_string();
        match refusal {
            Refusal::Unknown { .. } => {
                Failure::new(Exit::Usage, "not_found", what).help("`grace trigger list` shows the names")
            }
            Refusal::Declared { .. } => Failure::new(Exit::Failed, "declared", what),
            Refusal::Invalid { faults } => file::invalid("the subscription", &faults),
            Refusal::Full { .. } => Failure::new(Exit::Failed, "full", what),
        }
    }
}

type Road = road::Road<TriggerMesh>;

/// Runs a command of `grace trigger`.
pub(crate) fn run(instance: &Instance, command: Trigger, out: &mut Output) -> Result<Exit, Failure> {
    match command {
        Trigger::List => {
            let Reply::Subscriptions { rows } = Road::to(instance)?.ask(Command::List)? else {
                return Err(file::odd::<TriggerMesh>());
            };
            show::list(&rows, out)?;
        }
        Trigger::Show { name } => one(&Road::to(instance)?, name, out)?,
        Trigger::Add { name, file } => {
            let subscription = file::definition(&file, "the subscription", Subscription::faults)?;
            let road = Road::to(instance)?;
            road.order(Command::Put { name: name.clone(), subscription: Box::new(subscription) })?;
            one(&road, name, out)?;
        }
        Trigger::Remove { name } => {
            Road::to(instance)?.order(Command::Remove { name: name.clone() })?;
            out.message(&format!("the subscription `{name}` is gone"))?;
        }
        Trigger::Test { event, file } => {
            let event = Box::new(file::event(&event)?);
            let question = Command::Test { event: event.clone() };
            let reply = match file {
                Some(path) => {
                    file::dry::<TriggerMesh>(&[Command::Declare { subscriptions: of(&path)? }], &question)?
                }
                None => Road::to(instance)?.ask(question)?,
            };
            let Reply::Verdicts { verdicts } = reply else { return Err(file::odd::<TriggerMesh>()) };
            show::verdicts(&event, &verdicts, out)?;
        }
        Trigger::Requeue(which) => {
            let (name, keys) = which.split();
            letters(instance, Command::Requeue { name, keys }, "to be tried again", out)?;
        }
        Trigger::Discard(which) => {
            let (name, keys) = which.split();
            letters(instance, Command::Discard { name, keys }, "thrown away", out)?;
        }
    }
    Ok(Exit::Done)
}

fn one(road: &Road, name: String, out: &mut Output) -> Result<(), Failure> {
    match road.ask(Command::Show { name })? {
        Reply::Subscription { row, subscription, dead_letters } => {
            show::one(&row, &subscription, &dead_letters, out)
        }
        _ => Err(file::odd::<TriggerMesh>()),
    }
}

fn letters(instance: &Instance, command: Command, what: &str, out: &mut Output) -> Result<(), Failure> {
    match Road::to(instance)?.order(command)? {
        Reply::Letters { count } => letters::told(count, what, out),
        _ => Err(file::odd::<TriggerMesh>()),
    }
}

/// The subscriptions of a file.
fn of(path: &Path) -> Result<BTreeMap<String, Subscription>, Failure> {
    let subscriptions = file::sections(path)?.triggers;
    if subscriptions.is_empty() { Err(file::empty(path, "triggers")) } else { Ok(subscriptions) }
}
