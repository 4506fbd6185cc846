//! Policies as they are compared and shown: each by its name, and whom and what their scopes name.

use std::collections::BTreeSet;

use cedar_policy::{EntityUid, Policy, PrincipalConstraint, ResourceConstraint};
use serde::Serialize;
use serde_json::Value;

use super::{KNOWN, Note, Policies};
use crate::{
    request::{Actor, ActorKind},
    tier::Tier,
};

/// A policy as it is compared.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PolicyView {
    /// Its name.
    pub id: String,
    /// Whether it permits rather than forbids.
    pub permits: bool,
    /// The tier under which it permits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<Tier>,
    /// How many people have to say yes, where it says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quorum: Option<u8>,
    /// What it advises.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
    /// Scope and conditions in Cedar's JSON form, without annotations: the same however it is laid out in its text.
    #[serde(skip)]
    pub body: Value,
    /// As it is written.
    #[serde(skip)]
    pub text: String,
}

impl Policies {
    /// All of them, in the order of their texts.
    #[must_use]
    pub fn views(&self) -> Vec<PolicyView> {
        self.policies.iter().zip(&self.notes).map(|(policy, note)| view(policy, note)).collect()
    }

    /// Types that the manifest declares, as far as Grace does not know them by itself.
    pub fn declared(&self) -> impl Iterator<Item = &str> {
        self.types.keys().map(String::as_str).filter(|name| !KNOWN.contains(name))
    }

    /// Actors that a scope names, beside those that it names by kind alone.
    #[must_use]
    pub fn actors(&self) -> BTreeSet<(ActorKind, String)> {
        let named = self.policies.iter().filter_map(|policy| match policy.principal_constraint() {
            PrincipalConstraint::Eq(one)
            | PrincipalConstraint::In(one)
            | PrincipalConstraint::IsIn(_, one) => Some(one),
            PrincipalConstraint::Any | PrincipalConstraint::Is(_) => None,
        });
        let actor = |one: EntityUid| {
            let of = one.type_name().to_string();
            let kind = ActorKind::ALL.into_iter().find(|kind| kind.entity_type() == of)?;
            let name = one.id().unescaped().to_owned();
            Some((kind, name))
        };
        named.filter_map(actor).collect()
    }

    /// Targets that a scope names.
    #[must_use]
    pub fn targets(&self) -> BTreeSet<String> {
        let named = self.policies.iter().filter_map(|policy| match policy.resource_constraint() {
            ResourceConstraint::Eq(one) | ResourceConstraint::In(one) | ResourceConstraint::IsIn(_, one) => {
                Some(one.id().unescaped().to_owned())
            }
            ResourceConstraint::Any | ResourceConstraint::Is(_) => None,
        });
        named.collect()
    }
}

fn view(policy: &Policy, note: &Note) -> PolicyView {
    // What has no JSON form is compared as it is written.
    let mut body = policy.to_json().unwrap_or_else(|_| Value::String(policy.to_string()));
    if let Some(body) = body.as_object_mut() {
        body.remove("annotations");
    }
    let Note { name, permits, tier, quorum, advice } = note;
    PolicyView {
        id: name.clone(),
        permits: *permits,
        tier: *tier,
        quorum: *quorum,
        advice: advice.clone(),
        body,
        text: policy.to_string(),
    }
}

impl From<(ActorKind, String)> for Actor {
    fn from((kind, name): (ActorKind, String)) -> Self {
        Self { kind, name }
    }
}
