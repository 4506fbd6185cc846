//! Generations of policies and charter: checked, handed to the cortex, and in force once it says so.

use std::path::Path;

use grace_kernel::{Decision, Recorded};
use grace_types::{reason::Why, time::Now};

use super::{
    changes,
    command::Refusal,
    decider::{Decided, record},
    event::Event,
    people,
    state::State,
};
use crate::{case::Carried, charter::Charter, limits, policy::Policies};

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
    let mut decision = Decision::reply(super::Reply::Done);
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
