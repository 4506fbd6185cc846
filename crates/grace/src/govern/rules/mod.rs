//! `grace governance`: what is decided by, and what others would mean.
//!
//! ```text
//! files named on the command line ─┐
//! governance, where it runs ───────┼─► source ─► policies and charter ─► cases: held to what people wrote down
//! the cortex's records in the log ─┘                           ├─► diff: compared with others
//!               └─────────────────────────────────────────────┼─► replay: asked again what was asked for
//!                                                              └─► propose: checked, and asked for as an intent
//! ```

mod cases;
mod diff;
mod propose;
mod records;
mod replay;
mod source;

use std::path::Path;

use grace_core::instance::Instance;
use grace_cortex::{
    charter,
    governance::{Command, Governance, Query, Reply, check},
    policy,
};

use self::{propose::Proposal, source::Source};
use super::{Road, args::Governance as Rules, odd, show, text};
use crate::{
    failure::{Exit, Failure},
    output::Output,
    road::Asked as _,
};

/// Runs a command of `grace governance`.
pub(crate) fn governance(instance: &Instance, command: &Rules, out: &mut Output) -> Result<Exit, Failure> {
    match command {
        Rules::Show { number } => {
            let Reply::Generation(kept) =
                Road::to(instance)?.ask(Command::Query(Query::Generation(*number)))?
            else {
                return Err(odd());
            };
            show::generation(&kept, out)?;
        }
        Rules::History => {
            let Reply::Generations(rows) = Road::to(instance)?.ask(Command::Query(Query::Generations))?
            else {
                return Err(odd());
            };
            show::generations(&rows, out)?;
        }
        Rules::Propose { policies, charter, generation, reason, actor } => {
            let (policies, charter) = (policies.as_deref(), charter.as_deref());
            let (generation, actor) = (*generation, actor.as_deref());
            return propose::run(instance, &Proposal { policies, charter, generation, reason, actor }, out);
        }
        Rules::Test { files, proposed } => {
            return cases::run(files, &Source::proposed(instance, proposed)?, out);
        }
        Rules::Diff { proposed, against } => diff::run(instance, proposed, against.as_deref(), out)?,
        Rules::Replay { proposed, since, until, limit } => {
            replay::run(instance, proposed, (*since, *until), *limit, out)?;
        }
        Rules::Lint { file } => lint(instance, file, out)?,
    }
    Ok(Exit::Done)
}

/// Checks a file as governance would, with the types of the instance's manifest where there is one.
fn lint(instance: &Instance, path: &Path, out: &mut Output) -> Result<(), Failure> {
    let (text, name) = (text(path)?, path.display().to_string());
    let declared = source::declared(instance);
    let is_policies = path.extension().is_some_and(|extension| extension == "cedar");
    let read = if is_policies {
        check(&[(&name, &text)], ("charter.yaml", charter::DEFAULT), &declared)
    } else {
        check(&[("default.cedar", policy::DEFAULT)], (&name, &text), &declared)
    };
    read.map_err(Governance::refused)?;
    out.message(&format!("{name} can be used"))
}
