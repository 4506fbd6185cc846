//! How many people what governance is asked to do itself takes, and that there are so many: rules that nobody could change any more are refused.

use super::{approvals::tame, command::Refusal, state::State};
use crate::{
    change::TYPES,
    policy::{Policies, Ruling},
    request::{Actor, ActorKind, INSTANCE, Request},
    rules::Rules,
    tier::Tier,
};

fn takes(policies: &Policies, by: &str, kind: &str, target: &str) -> u8 {
    let request = Request {
        actor: Actor { kind: ActorKind::Operator, name: by.to_owned() },
        kind: kind.to_owned(),
        target: target.to_owned(),
        circumstances: Default::default(),
    };
    match policies.rule(&request) {
        Ruling::Permitted { tier: Tier::Approval, quorum, .. } => quorum,
        // Governance does nothing by itself without a person, whatever the policies say of those who ask the cortex.
        _ => 1,
    }
}

/// How many people have to say yes to what `by` asks governance for, by the policies in force.
pub(super) fn needed(state: &State, by: &str, kind: &str, target: &str) -> u8 {
    let in_force = state.generation(state.in_force).map(|kept| &kept.generation);
    Rules::read(in_force, &state.declared).map_or(1, |rules| takes(&rules.policies, by, kind, target))
}

/// That so many approvers can change the rules under these policies.
///
/// # Errors
/// There are too few.
pub(super) fn enough(policies: &Policies, approvers: usize) -> Result<(), Refusal> {
    for kind in TYPES {
        let needed = usize::from(takes(policies, "operator", kind, INSTANCE));
        if approvers < needed {
            let text = format!(
                "{kind} would take {needed} people, and {approvers} would be approvers: nobody could change that any more. \
                 Enrol more first"
            );
            return Err(Refusal::new("no_approver", text));
        }
    }
    Ok(())
}

/// That this approver can be let go: the policies in force bear one less.
///
/// # Errors
/// There is no such approver (`not_found`), or nobody could change the rules any more (`no_approver`).
pub(super) fn dispensable(state: &State, approver: &str) -> Result<(), Refusal> {
    if !state.approvers.contains_key(approver) {
        return Err(Refusal::new("not_found", format!("`{}` is no approver", tame(approver))));
    }
    let left = state.approvers.len() - 1;
    if left == 0 {
        let text = format!("{approver} is the only approver: without one nothing could be approved any more");
        return Err(Refusal::new("no_approver", text));
    }
    let in_force = state.generation(state.in_force).map(|kept| &kept.generation);
    Rules::read(in_force, &state.declared).map_or(Ok(()), |rules| enough(&rules.policies, left))
}
