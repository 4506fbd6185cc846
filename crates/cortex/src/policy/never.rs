//! Policies that can never take effect: whoever wrote them meant something else, so a set with one of them is refused.
//!
//! One kind is a policy whose scope and conditions exclude each other. What conditions can speak of is little: who asks and what for, by
//! names that they give, two flags, and a whole number from 0 to 100. So every case that they could tell apart is tried until one holds; Cedar's
//! validator, which reasons about types, would miss most of them. The other kind is a permit of which nothing is left because policies that
//! forbid without conditions cover all of it. Where they cover a part of it, that is no contradiction: "this, but not that" is what forbidding
//! is for.

use std::collections::{BTreeSet, HashSet};

use cedar_policy::{Effect, EntityUid, Policy, PolicySet, ResourceConstraint};

use super::{
    DECLARED, Policies, Ruling, UNKNOWN,
    ask::Action,
    slice::{By, Part, by, to},
};
use crate::{
    limits,
    request::{Actor, ActorKind, Circumstances, Request},
};

/// A name that nobody and nothing has: it stands for all that a policy does not name.
const ANY_OTHER: &str = "any other";

/// A permit of which nothing is left.
pub(super) struct Overruled {
    /// Its place among the policies.
    pub(super) permit: usize,
    /// The places of those that forbid what it permits.
    pub(super) by: Vec<usize>,
}

/// The places of policies whose scope and conditions no request can meet.
pub(super) fn impossible(policies: &Policies) -> Vec<usize> {
    let mut tries = limits::POLICY_TRIES;
    let all = policies.policies.iter().enumerate();
    all.filter(|(_, policy)| !policies.can_hold(policy, &mut tries)).map(|(at, _)| at).collect()
}

/// Permits all of whose scope is forbidden without conditions.
pub(super) fn overruled(policies: &Policies) -> Vec<Overruled> {
    let all = || policies.policies.iter().enumerate();
    let forbids: Vec<(usize, &Policy)> = all()
        .filter(|(_, policy)| policy.effect() == Effect::Forbid && !policy.has_non_scope_constraint())
        .collect();
    if forbids.is_empty() {
        return Vec::new();
    }
    let permits = all().filter(|(_, policy)| policy.effect() == Effect::Permit);
    permits.filter_map(|(at, permit)| policies.left_nothing(at, permit, &forbids)).collect()
}

impl Policies {
    /// Whether a policy holds for some request, or cannot be evaluated for one, which has an effect too. A policy for which there are no
    /// tries left is taken to hold.
    fn can_hold(&self, policy: &Policy, tries: &mut usize) -> bool {
        let mut open = PolicySet::new();
        if open.add(policy.clone()).is_err() {
            return true;
        }
        let part = Part { settled: Vec::new(), open };
        let named = policy.entity_literals();
        let targets = named_by(&named, |of| of == "Target");
        let percents = if policy.to_string().contains("revenue_percent") { 100 } else { 0 };
        let actors = || {
            let of = |kind: ActorKind| {
                let names = named_by(&named, |of| of == kind.entity_type());
                names.into_iter().map(move |name| Actor { kind, name: name.to_owned() })
            };
            ActorKind::ALL.into_iter().flat_map(of)
        };
        let circumstances = || {
            (0..=percents).flat_map(|percent| {
                [(false, false), (false, true), (true, false), (true, true)].map(
                    |(user_facing, emergency)| {
                        let revenue_impact = f64::from(percent) / 100.0;
                        Circumstances { user_facing, emergency, revenue_impact }
                    },
                )
            })
        };
        for (kind, action) in self.told_apart(policy, &named) {
            for (actor, target) in
                actors().flat_map(|actor| targets.iter().map(move |to| (actor.clone(), *to)))
            {
                let mut request = Request {
                    actor,
                    kind: kind.clone(),
                    target: target.to_owned(),
                    circumstances: Circumstances::default(),
                };
                for circumstances in circumstances() {
                    if *tries == 0 {
                        return true;
                    }
                    *tries -= 1;
                    request.circumstances = circumstances;
                    if self.ask(&request, Some(&action), [&part]) != Ruling::NotPermitted {
                        return true;
                    }
                }
            }
        }
        false
    }

    /// The types that a policy's scope lets through, as far as it can tell them apart: those that it names, and of each group one that it
    /// does not name.
    fn told_apart(&self, policy: &Policy, named: &[EntityUid]) -> Vec<(String, Action)> {
        let mut unnamed = HashSet::new();
        let mut kinds: Vec<(String, Action)> = self
            .types
            .iter()
            .filter(|(_, kind)| to(policy, Some(&kind.action.uid), kind.action.group.as_ref()))
            .filter(|(_, kind)| named.contains(&kind.action.uid) || unnamed.insert(kind.action.group.clone()))
            .map(|(name, kind)| (name.clone(), kind.action.clone()))
            .collect();
        let others = [DECLARED, UNKNOWN].map(|group| self.names.action(ANY_OTHER, Some(group)));
        let others = others.into_iter().flatten().filter(|other| to(policy, None, other.group.as_ref()));
        kinds.extend(others.map(|other| (ANY_OTHER.to_owned(), other)));
        kinds
    }

    /// Goes through what a permit's scope lets through, each kind of actor with each type, until something is found that nobody forbids.
    fn left_nothing(&self, at: usize, permit: &Policy, forbids: &[(usize, &Policy)]) -> Option<Overruled> {
        let group = |name| self.names.action(name, None).map(|group| group.uid).ok();
        let mut actions: Vec<(Option<&EntityUid>, Option<EntityUid>)> =
            self.types.values().map(|kind| (Some(&kind.action.uid), kind.action.group.clone())).collect();
        // Any other type of these groups.
        actions.extend([(None, group(DECLARED)), (None, group(UNKNOWN))]);
        actions.retain(|(action, group)| to(permit, *action, group.as_ref()));
        let whom = by(permit);
        let resource = permit.resource_constraint();
        let about: Vec<_> =
            forbids.iter().filter(|(_, forbid)| covers(&forbid.resource_constraint(), &resource)).collect();
        let mut overruling = BTreeSet::new();
        for (action, group) in &actions {
            for kind in &self.names.principals {
                let meant = match &whom {
                    By::Any => true,
                    By::Kind(of) => of == kind,
                    By::One(one) => one.type_name() == kind,
                    By::Nobody => false,
                };
                if !meant {
                    continue;
                }
                let forbids_it = |forbid: &Policy| match by(forbid) {
                    By::Any => true,
                    By::Kind(of) => of == *kind,
                    By::One(one) => matches!(&whom, By::One(same) if *same == one),
                    By::Nobody => false,
                };
                let forbid = about
                    .iter()
                    .find(|(_, forbid)| forbids_it(forbid) && to(forbid, *action, group.as_ref()))?;
                overruling.insert(forbid.0);
            }
        }
        (!overruling.is_empty()).then(|| Overruled { permit: at, by: overruling.into_iter().collect() })
    }
}

/// Whether one scope lets through every target that another does. There is one type of targets, and a target is in no group.
fn covers(wide: &ResourceConstraint, narrow: &ResourceConstraint) -> bool {
    match (one(wide), one(narrow)) {
        (None, _) => true,
        (Some(wide), Some(narrow)) => wide == narrow,
        (Some(_), None) => false,
    }
}

/// The only target that a scope lets through, if there is one.
fn one(of: &ResourceConstraint) -> Option<&EntityUid> {
    match of {
        ResourceConstraint::Any | ResourceConstraint::Is(_) => None,
        ResourceConstraint::Eq(one) | ResourceConstraint::In(one) | ResourceConstraint::IsIn(_, one) => {
            Some(one)
        }
    }
}

/// Names of entities of a type, and one more for all others.
fn named_by(named: &[EntityUid], of: impl Fn(&str) -> bool) -> Vec<&str> {
    let names: BTreeSet<&str> = named
        .iter()
        .filter(|one| of(&one.type_name().to_string()))
        .map(|one| one.id().unescaped())
        .chain([ANY_OTHER])
        .collect();
    names.into_iter().collect()
}
