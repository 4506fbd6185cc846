//! How many people a change of governance takes, and that there are so many: rules that nobody could change any more are refused.

use super::{approvals::tame, command::Refusal, state::State};
use crate::{
    change::TYPES,
    policy::{Policies, Ruling},
    request::{Actor, ActorKind, INSTANCE, Request},
    rules::Rules,
    tier::Tier,
};

/// How many people an operator whom no policy names needs for it.
fn takes(policies: &Policies, kind: &str) -> u8 {
    let request = Request {
        actor: Actor { kind: ActorKind::Operator, name: "operator".to_owned() },
        kind: kind.to_owned(),
        target: INSTANCE.to_owned(),
        circumstances: Default::default(),
    };
    match policies.rule(&request) {
        Ruling::Permitted { tier: Tier::Approval, quorum, .. } => quorum,
        // It takes a person whatever tier they give it (`change::guarded`).
        _ => 1,
    }
}

/// That so many approvers can change the rules under these policies.
///
/// # Errors
/// There are too few.
pub(super) fn enough(policies: &Policies, approvers: usize) -> Result<(), Refusal> {
    for kind in TYPES {
        let needed = usize::from(takes(policies, kind));
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
