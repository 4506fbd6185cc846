//! What changes governance is asked for as any other intent is; here it is also said who may say yes to it.
//!
//! ```text
//! payload ─► work::intent: grace.cmd.cortex ─► decided ─► waits ─► grace.cmd.governance: until the case is there ─► shown, with who may approve
//! ```

use grace_core::instance::Instance;
use grace_cortex::{
    command::{Asked, Decision, Outcome},
    governance::{Command, Query, Reply},
};
use grace_types::{
    intent::Json,
    time::{Clock as _, SystemClock},
};
use serde_json::Value;

use super::Road;
use crate::{
    failure::{Exit, Failure},
    limits,
    output::Output,
    work::intent,
};

/// Where governance says that it has a case.
const ASKED: &str = "grace.event.governance.approval_asked";

/// Asks for a change of governance, and shows what was decided and what comes next.
pub(super) fn ask(
    instance: &Instance,
    (kind, payload): (&str, &Value),
    by: String,
    out: &mut Output,
) -> Result<Exit, Failure> {
    let asked = Asked { kind: kind.to_owned(), actor: by, payload: Json::of(payload), ..Asked::default() };
    let mut decision = intent::decide(instance, asked)?;
    if decision.outcome == Outcome::WaitsForApproval {
        // It replaces what the policy says in general.
        decision.advice = vec![next(instance, &decision)?];
    }
    let denied = decision.outcome == Outcome::Denied;
    intent::tell(decision, out)?;
    Ok(if denied { Exit::Failed } else { Exit::Done })
}

/// Who may say yes, and how: as soon as governance has the case, so that whoever does it next finds it.
fn next(instance: &Instance, decision: &Decision) -> Result<String, Failure> {
    let (id, road) = (decision.id, Road::to(instance)?);
    let mut heard = road.hear(ASKED)?;
    let until = SystemClock.now().mono.plus(limits::ANSWER_TIME);
    while SystemClock.now().mono < until {
        match road.ask(Command::Query(Query::Approval(id))) {
            Ok(Reply::Approval(view)) => {
                let (may, people) = (view.may.join(" or "), view.case.quorum);
                let both = if people > 1 { format!(", {people} of them") } else { String::new() };
                return Ok(format!("{may}{both}: `grace approvals approve {id} --as NAME`"));
            }
            Ok(_) => return Err(super::odd()),
            Err(failure) if failure.code == "not_found" => road.hint(&mut heard),
            // It is safe with the cortex.
            Err(failure) if failure.code == "not_reachable" => break,
            Err(failure) => return Err(failure),
        }
    }
    Ok(format!("once governance has it: `grace approvals show {id}`"))
}
