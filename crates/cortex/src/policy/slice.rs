//! Which policies can apply to whoever asks and to a type of intent, by their scopes alone, and which of those apply whatever else is asked.
//!
//! A policy's scope is read once. In the slice of a kind of actor and a type of intent stand only policies whose scope lets that kind and that
//! type through. Those that name one actor stand once, under its name, and are looked at for nobody else. Where the scope leaves nothing open
//! and nothing but a scope is there, the policy applies: Cedar is asked about the others.

use std::collections::HashMap;

use cedar_policy::{
    ActionConstraint, EntityTypeName, EntityUid, Policy, PolicySet, PolicySetError, PrincipalConstraint,
    ResourceConstraint,
};

/// Policies that can apply.
#[derive(Default)]
pub(super) struct Part {
    /// These do, by their places among all policies.
    pub(super) settled: Vec<usize>,
    /// These may: by their conditions, or by what of their scope is not known yet.
    pub(super) open: PolicySet,
}

/// Those that can apply to any principal of this type, and to this action and its group.
pub(super) fn of_any(
    policies: &[Policy],
    principal: &EntityTypeName,
    action: Option<&EntityUid>,
    group: Option<&EntityUid>,
) -> Result<Part, Box<PolicySetError>> {
    let mut part = Part::default();
    for (at, policy) in policies.iter().enumerate().filter(|(_, policy)| to(policy, action, group)) {
        match by(policy) {
            By::Any => part.add(at, policy, true)?,
            By::Kind(kind) if kind == *principal => part.add(at, policy, true)?,
            By::Kind(_) | By::One(_) | By::Nobody => {}
        }
    }
    Ok(part)
}

/// Those that name one principal of this type, by its name, whatever the action: a part for each name and action would be too many.
pub(super) fn of_one(
    policies: &[Policy],
    principal: &EntityTypeName,
) -> Result<HashMap<String, Part>, Box<PolicySetError>> {
    let mut named: HashMap<String, Part> = HashMap::new();
    for (at, policy) in policies.iter().enumerate() {
        if let By::One(one) = by(policy)
            && one.type_name() == principal
        {
            let any_action = policy.action_constraint() == ActionConstraint::Any;
            named.entry(one.id().unescaped().to_owned()).or_default().add(at, policy, any_action)?;
        }
    }
    Ok(named)
}

impl Part {
    /// `holds`: principal and action are let through.
    fn add(&mut self, at: usize, policy: &Policy, holds: bool) -> Result<(), Box<PolicySetError>> {
        let any_target = policy.resource_constraint() == ResourceConstraint::Any;
        if holds && any_target && !policy.has_non_scope_constraint() {
            self.settled.push(at);
            return Ok(());
        }
        self.open.add(policy.clone()).map_err(Box::new)
    }
}

/// Whom a scope lets through.
pub(super) enum By {
    Any,
    Kind(EntityTypeName),
    One(EntityUid),
    Nobody,
}

/// An actor is in no group, so `in` is equality.
pub(super) fn by(policy: &Policy) -> By {
    match policy.principal_constraint() {
        PrincipalConstraint::Any => By::Any,
        PrincipalConstraint::Is(kind) => By::Kind(kind),
        PrincipalConstraint::Eq(one) | PrincipalConstraint::In(one) => By::One(one),
        PrincipalConstraint::IsIn(kind, one) if kind == *one.type_name() => By::One(one),
        PrincipalConstraint::IsIn(..) => By::Nobody,
    }
}

/// Whether a scope lets an action through, or any other of this group.
pub(super) fn to(policy: &Policy, action: Option<&EntityUid>, group: Option<&EntityUid>) -> bool {
    let is = |one: &EntityUid| Some(one) == action;
    match policy.action_constraint() {
        ActionConstraint::Any => true,
        ActionConstraint::Eq(one) => is(&one),
        ActionConstraint::In(some) => some.iter().any(|one| is(one) || Some(one) == group),
    }
}
