//! `grace policy`: asks the policy engine over the bus. A file's policies are looked through and tried out here, by the same decider.

pub(crate) mod args;
mod show;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use grace_core::instance::Instance;
use grace_orchestration::policies::{self, Command, EventPolicies, Refusal, Reply, shell};

use self::args::Policy;
use super::{file, letters};
use crate::{
    failure::{Exit, Failure},
    output::Output,
    road::{self, Asked},
};

impl Asked for EventPolicies {
    const COMPONENT: &'static str = shell::NAME;
    const CALLED: &'static str = "the policy engine";

    fn refused(refusal: Refusal) -> Failure {
        let what = refusal.to_string();
        match refusal {
            Refusal::Unknown { .. } => {
                Failure::new(Exit::Usage, "not_found", what).help("`grace policy list` shows the names")
            }
            Refusal::Invalid { faults } => file::invalid("a policy", &faults),
            Refusal::Full { .. } => Failure::new(Exit::Failed, "full", what),
        }
    }
}

type Road = road::Road<EventPolicies>;
type Policies = BTreeMap<String, policies::Policy>;

/// Runs a command of `grace policy`.
pub(crate) fn run(instance: &Instance, command: Policy, out: &mut Output) -> Result<Exit, Failure> {
    match command {
        Policy::List => {
            let Reply::Policies { rows } = Road::to(instance)?.ask(Command::List)? else {
                return Err(file::odd::<EventPolicies>());
            };
            show::list(&rows, out)?;
        }
        Policy::Show { name } => {
            let reply = Road::to(instance)?.ask(Command::Show { name })?;
            let Reply::Policy { row, policy, dead_letters } = reply else {
                return Err(file::odd::<EventPolicies>());
            };
            show::one(&row, &policy, &dead_letters, out)?;
        }
        Policy::Lint { files } => return lint(&files, out),
        Policy::Test { event, file } => {
            let event = Box::new(file::event(&event)?);
            let question = Command::Test { event: event.clone() };
            let reply = match file {
                Some(path) => {
                    file::dry::<EventPolicies>(&[Command::Load { policies: of(&path)? }], &question)?
                }
                None => Road::to(instance)?.ask(question)?,
            };
            let Reply::Verdicts { verdicts } = reply else { return Err(file::odd::<EventPolicies>()) };
            show::verdicts(&event, &verdicts, out)?;
        }
        Policy::Reset { name } => {
            Road::to(instance)?.order(Command::Reset { name: name.clone() })?;
            out.message(&format!("the policy `{name}` takes part"))?;
        }
        Policy::Requeue(which) => {
            let (name, keys) = which.split();
            letters(instance, Command::Requeue { name, keys }, "to be tried again", out)?;
        }
        Policy::Discard(which) => {
            let (name, keys) = which.split();
            letters(instance, Command::Discard { name, keys }, "thrown away", out)?;
        }
    }
    Ok(Exit::Done)
}

fn letters(instance: &Instance, command: Command, what: &str, out: &mut Output) -> Result<(), Failure> {
    match Road::to(instance)?.order(command)? {
        Reply::Letters { count } => letters::told(count, what, out),
        _ => Err(file::odd::<EventPolicies>()),
    }
}

fn lint(files: &[PathBuf], out: &mut Output) -> Result<Exit, Failure> {
    let mut all = Policies::new();
    for path in files {
        for (name, policy) in of(path)? {
            if all.contains_key(&name) {
                let what = format!("the policy `{name}` is in another of these files, too");
                return Err(Failure::new(Exit::Usage, "bad_definition", what).at(&path.display()));
            }
            all.insert(name, policy);
        }
    }
    let findings = policies::lint(&all);
    show::findings(&findings, all.len(), out)?;
    let bad = findings.iter().any(policies::Finding::is_error);
    Ok(if bad { Exit::Failed } else { Exit::Done })
}

/// The policies of a file.
fn of(path: &Path) -> Result<Policies, Failure> {
    let policies = file::sections(path)?.policies;
    if policies.is_empty() { Err(file::empty(path, "policies")) } else { Ok(policies) }
}
