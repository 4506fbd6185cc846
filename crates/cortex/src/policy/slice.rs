//! Which policies can apply to whoever asks and to a type of intent, by their scopes alone, and which of those apply whatever else is asked.
//!
//! A policy's scope is read once. In the slice of a kind of actor and a type of intent stand only policies whose scope lets that kind and that
//! type through; those that name one actor stand under its name, and are looked at for nobody else. Where the scope leaves nothing open and
//! nothing but a scope is there, the policy applies: Cedar is asked about the others.

use std::collections::HashMap;

use cedar_policy::{
    ActionConstraint, EntityTypeName, EntityUid, Policy, PolicySet, PolicySetError, PrincipalConstraint,
    ResourceConstraint,
};

/// What can apply to actors of one kind and one type of intent.
pub(super) struct Slice {
    /// Whoever of that kind asks.
    any: Part,
    /// Besides, by the name of the only one to whom it can apply.
    named: HashMap<String, Part>,
}

/// Policies whose scopes let principal and action through.
#[derive(Default)]
pub(super) struct Part {
    /// These apply, by their places among all policies.
    pub(super) settled: Vec<usize>,
    /// These may apply: by their conditions, or by what it is about.
    pub(super) open: PolicySet,
}

impl Slice {
    /// Of `policies`, for a principal of this type, and this action and its group.
    pub(super) fn new(
        policies: &[Policy],
        principal: &EntityTypeName,
        action: Option<&EntityUid>,
        group: Option<&EntityUid>,
    ) -> Result<Self, Box<PolicySetError>> {
        let mut slice = Self { any: Part::default(), named: HashMap::new() };
        for (at, policy) in policies.iter().enumerate().filter(|(_, policy)| to(policy, action, group)) {
            match by(policy) {
                By::Any => slice.any.add(at, policy)?,
                By::Kind(kind) if kind == *principal => slice.any.add(at, policy)?,
                By::One(one) if one.type_name() == principal => {
                    slice.named.entry(one.id().unescaped().to_owned()).or_default().add(at, policy)?;
                }
                By::Kind(_) | By::One(_) | By::Nobody => {}
            }
        }
        Ok(slice)
    }

    /// What can apply to the actor of this name.
    pub(super) fn parts(&self, actor: &str) -> impl Iterator<Item = &Part> {
        [Some(&self.any), self.named.get(actor)].into_iter().flatten()
    }
}

impl Part {
    fn add(&mut self, at: usize, policy: &Policy) -> Result<(), Box<PolicySetError>> {
        if policy.resource_constraint() == ResourceConstraint::Any && !policy.has_non_scope_constraint() {
            self.settled.push(at);
            return Ok(());
        }
        self.open.add(policy.clone()).map_err(Box::new)
    }
}

/// Whom a scope lets through.
enum By {
    Any,
    Kind(EntityTypeName),
    One(EntityUid),
    Nobody,
}

/// An actor is in no group, so `in` is equality.
fn by(policy: &Policy) -> By {
    match policy.principal_constraint() {
        PrincipalConstraint::Any => By::Any,
        PrincipalConstraint::Is(kind) => By::Kind(kind),
        PrincipalConstraint::Eq(one) | PrincipalConstraint::In(one) => By::One(one),
        PrincipalConstraint::IsIn(kind, one) if kind == *one.type_name() => By::One(one),
        PrincipalConstraint::IsIn(..) => By::Nobody,
    }
}

fn to(policy: &Policy, action: Option<&EntityUid>, group: Option<&EntityUid>) -> bool {
    let is = |one: &EntityUid| Some(one) == action;
    match policy.action_constraint() {
        ActionConstraint::Any => true,
        ActionConstraint::Eq(one) => is(&one),
        ActionConstraint::In(some) => some.iter().any(|one| is(one) || Some(one) == group),
    }
}
