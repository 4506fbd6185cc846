//! `grace governance propose`: other policies or another charter, checked here with the names of their files, and asked for as an intent.

use std::path::Path;

use grace_core::instance::Instance;
use grace_cortex::{
    case::Generation,
    change,
    governance::{Command, Query, Reply},
};
use serde_json::json;

use super::{
    super::{Road, args::Proposed, ask::ask, me, odd},
    source::Source,
};
use crate::{
    failure::{Exit, Failure},
    output::Output,
};

/// What the command line names.
pub(super) struct Proposal<'a> {
    pub(super) policies: Option<&'a Path>,
    pub(super) charter: Option<&'a Path>,
    /// What an earlier generation held.
    pub(super) generation: Option<u64>,
    pub(super) reason: &'a str,
    pub(super) actor: Option<&'a str>,
}

/// Asks for it, over the generation that is in force now: where another one comes in between, this one would undo it, and does not take effect.
pub(super) fn run(instance: &Instance, given: &Proposal<'_>, out: &mut Output) -> Result<Exit, Failure> {
    let road = Road::to(instance)?;
    let now = generation(&road, None)?;
    let (policies, charter) = match given.generation {
        Some(number) => {
            let earlier = generation(&road, Some(number))?;
            (Some(earlier.policies), Some(earlier.charter))
        }
        None => read(instance, given)?,
    };
    let policies = policies.filter(|text| *text != now.policies);
    let charter = charter.filter(|text| *text != now.charter);
    let kind = match (&policies, &charter) {
        (None, None) => {
            let what = format!("this is what generation {} holds already", now.number);
            return Err(Failure::new(Exit::Failed, "unchanged", what));
        }
        (Some(_), _) => change::POLICIES,
        (None, Some(_)) => change::CHARTER,
    };
    let mut payload = json!({"over": now.number, "reason": given.reason});
    for (name, text) in [("policies", policies), ("charter", charter)] {
        if let Some(text) = text {
            payload[name] = text.into();
        }
    }
    ask(instance, (kind, &payload), me(given.actor), out)
}

fn generation(road: &Road, number: Option<u64>) -> Result<Generation, Failure> {
    match road.ask(Command::Query(Query::Generation(number)))? {
        Reply::Generation(kept) => Ok(kept.generation),
        _ => Err(odd()),
    }
}

/// The texts of the files, once they can be decided by.
fn read(instance: &Instance, given: &Proposal<'_>) -> Result<(Option<String>, Option<String>), Failure> {
    let Proposal { policies, charter, .. } = given;
    let files = Proposed {
        policies: policies.map(Path::to_owned),
        charter: charter.map(Path::to_owned),
        intent: None,
    };
    let source = Source::proposed(instance, &files)?;
    source.read(&source.declared)?;
    let texts: Vec<&str> = source.texts().into_iter().map(|(_, text)| text).collect();
    Ok((policies.map(|_| texts.join("\n")), charter.map(|_| source.charter.1)))
}
