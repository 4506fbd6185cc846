//! Which policies can apply to a kind of actor and a type of intent, by their scopes alone.

use cedar_policy::{
    ActionConstraint, EntityTypeName, EntityUid, Policy, PolicySet, PolicySetError, PrincipalConstraint,
};

/// Those of `policies` whose scope can hold for a principal of this type and an action that is, or is in, one of `actions`.
pub(super) fn slice(
    policies: &[Policy],
    principal: &EntityTypeName,
    actions: &[EntityUid],
) -> Result<PolicySet, Box<PolicySetError>> {
    let fitting = policies.iter().filter(|policy| by(policy, principal) && to(policy, actions));
    PolicySet::from_policies(fitting.cloned()).map_err(Box::new)
}

/// Whether a principal of this type may be meant. An actor is in no group, so `in` is equality.
fn by(policy: &Policy, principal: &EntityTypeName) -> bool {
    match policy.principal_constraint() {
        PrincipalConstraint::Any => true,
        PrincipalConstraint::Eq(one) | PrincipalConstraint::In(one) => one.type_name() == principal,
        PrincipalConstraint::Is(kind) => kind == *principal,
        PrincipalConstraint::IsIn(kind, one) => kind == *principal && one.type_name() == principal,
    }
}

fn to(policy: &Policy, actions: &[EntityUid]) -> bool {
    match policy.action_constraint() {
        ActionConstraint::Any => true,
        // The action itself stands first, then its groups.
        ActionConstraint::Eq(one) => actions.first() == Some(&one),
        ActionConstraint::In(some) => some.iter().any(|one| actions.contains(one)),
    }
}
