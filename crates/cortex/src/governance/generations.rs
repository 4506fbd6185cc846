//! Generations of policies and charter: proposed, checked, approved, handed to the cortex, and in force once it says so.

use std::path::Path;

use grace_kernel::{Decision, Recorded};
use grace_types::{
    reason::{Reason, Why},
    time::Now,
};
use serde_json::json;

use super::{
    approvals::own_case,
    changes,
    command::{Refusal, Reply},
    decider::{Decided, label, record, words},
    event::{Change, Event},
    people,
    state::State,
};
use crate::{
    case::{Carried, Case, Generation, sha256},
    charter::Charter,
    limits,
    policy::Policies,
};

/// What is wrong with policies and a charter; nothing when they can be decided by. Texts come with their names, which stand in what is told.
///
/// # Errors
/// `bad_policies` or `bad_charter` with every fault and its place, or that they are too large together.
pub fn check(
    policies: &[(&str, &str)],
    (charter_name, charter): (&str, &str),
    declared: &[String],
) -> Result<(Policies, Charter), Refusal> {
    let bytes = policies.iter().map(|(_, text)| text.len()).sum::<usize>() + charter.len();
    if bytes > limits::GENERATION_BYTES {
        let most = limits::GENERATION_BYTES;
        let text = format!("policies and charter have {bytes} bytes together; at most {most} are taken");
        return Err(Refusal::new("too_large", text));
    }
    let faulty = |code: &str, what: &str, faults: String| Refusal {
        faults: Some(faults.trim_end().to_owned()),
        ..Refusal::new(code, format!("{what} cannot be used, and nothing was changed"))
    };
    let policies = Policies::read(policies, declared)
        .map_err(|faults| faulty("bad_policies", "the policies", faults.to_string()))?;
    let charter = Charter::read(charter, Path::new(charter_name))
        .map_err(|faults| faulty("bad_charter", "the charter", faults.to_string()))?;
    Ok((policies, charter))
}

fn place(number: u64) -> String {
    format!("generation {number}")
}

/// That these could take effect as things are: sound, and the approvers are enough to change them again.
///
/// # Errors
/// As [`check`], or `no_approver`.
pub(super) fn bearable(state: &State, policies: &str, charter: &str) -> Result<(), Refusal> {
    let (policies, _) = check(&[("policies.cedar", policies)], ("charter.yaml", charter), &state.declared)?;
    people::enough(&policies, state.approvers.len())
}

/// Asks people for other policies, another charter, or both.
pub(super) fn propose(
    state: &State,
    now: Now,
    (policies, charter): (Option<&str>, Option<&str>),
    (by, reason): (&str, &str),
) -> Decided {
    if let Err(refusal) = label(by).and_then(|()| words("reason", reason)) {
        return Decision::refuse(refusal);
    }
    if let Some(number) = state.on_its_way {
        let text = format!("generation {number} is on its way to the cortex: wait for what it says");
        return Decision::refuse(Refusal::new("wrong_state", text));
    }
    let Some(in_force) = state.generation(state.in_force).map(|kept| &kept.generation) else {
        return Decision::refuse(Refusal::new("wrong_state", "there is no generation to change yet"));
    };
    let (new_policies, new_charter) =
        (policies.unwrap_or(&in_force.policies), charter.unwrap_or(&in_force.charter));
    let differs = (new_policies != in_force.policies, new_charter != in_force.charter);
    if differs == (false, false) {
        let text = format!("this is what generation {} holds already", in_force.number);
        return Decision::refuse(Refusal::new("unchanged", text));
    }
    if let Err(refusal) = bearable(state, new_policies, new_charter) {
        return Decision::refuse(refusal);
    }
    let kind = if differs.0 { "modify_governance" } else { "change_charter" };
    let payload = json!({
        "over": in_force.number,
        "policies": sha256(new_policies.as_bytes()),
        "charter": sha256(new_charter.as_bytes()),
        "reason": reason,
    });
    let (policies, charter) = (new_policies.to_owned(), new_charter.to_owned());
    let change = Change::Adopt { base: in_force.number, policies, charter };
    let reason = Reason::new("generation.proposed", reason);
    own_case(state, now, (kind, "instance", payload), (by, reason), change)
}

/// A proposal was approved: it goes to the cortex, if nothing came between.
pub(super) fn approved(
    state: &State,
    now: Now,
    (base, policies, charter): (u64, &str, &str),
    case: &Case,
    by: &[String],
) -> Vec<Recorded<Event>> {
    let number = state.last + 1;
    let reason = case.reasons.first().map(|reason| reason.text.clone()).unwrap_or_default();
    let why = Why::because("generation.approved", format!("{} approved {}", by.join(" and "), case.intent))
        .and("generation.proposed", reason.clone());
    let event = Event::Approved {
        generation: Generation { number, policies: policies.to_owned(), charter: charter.to_owned() },
        by: case.actor.name.clone(),
        reason,
        approved_by: by.to_vec(),
        at: now.wall,
        carries: None,
    };
    let approved = record(event, place(number), "approval", why);
    let hindered = if base != state.in_force || state.on_its_way.is_some() {
        Some(format!(
            "it was made over generation {base}, which is not the last one any more: propose it again"
        ))
    } else {
        // The manifest may declare other types than when it was proposed.
        bearable(state, policies, charter).err().map(|refusal| refusal.faults.unwrap_or(refusal.message))
    };
    // What is on its way already stays the one that is: only its successor is refused.
    match hindered {
        None => vec![approved],
        Some(reason) => vec![approved, refused(number, reason, "check")],
    }
}

fn refused(number: u64, reason: String, how: &str) -> Recorded<Event> {
    let why = Why::because("generation.refused", reason.clone())
        .and("generation.kept", "what was in force stays in force");
    record(Event::Refused { number, reason }, place(number), how, why)
}

/// Where a generation carries an intent out, that has come to its end with it.
fn told(state: &State, number: u64, decision: Decided, failed: Option<String>) -> Decided {
    match state.generation(number).and_then(|kept| kept.carries.clone()) {
        Some(carries) => decision.record(changes::over(Carried { failed, ..carries })),
        None => decision,
    }
}

/// What the cortex said to what it was handed.
pub(super) fn confirmed(
    state: &State,
    now: Now,
    (number, revision): (u64, u64),
    refusal: Option<&str>,
) -> Decided {
    let mut decision = Decision::reply(Reply::Done);
    let is_new = state.on_its_way == Some(number);
    match refusal {
        Some(reason) if is_new => {
            let reason: String = reason.chars().take(limits::WORDS_BYTES).collect();
            let why = format!("the cortex does not decide by it: {reason}");
            decision = decision.record(refused(number, reason, "cortex"));
            return told(state, number, decision, Some(why));
        }
        // What is in force is offered again.
        Some(_) => return decision,
        None => {}
    }
    if is_new {
        let why = Why::because("generation.confirmed", "the cortex decides by it from now on");
        decision =
            decision.record(record(Event::Adopted { number, at: now.wall }, place(number), "cortex", why));
    }
    if is_new {
        decision = told(state, number, decision, None);
    }
    if revision > state.taken {
        let why = Why::because(
            "grants.taken",
            format!("the cortex has the emergency grants as of revision {revision}"),
        );
        let event = Event::GrantsTaken { revision };
        decision = decision.record(record(event, "governance", "cortex", why));
    }
    decision
}
