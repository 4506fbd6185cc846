//! Policies in Cedar: read, checked, and asked.
//!
//! Every type of intent is an action; the kind of the actor is the principal's entity type. A policy carries its name (`@id`), a permit
//! also the tier under which it permits (`@tier`) and, where that leaves it to people, how many of them (`@quorum`), and either may say what
//! to do next (`@advice`).
//!
//! Cedar evaluates every policy of a set for every request. Here they are put into slices when they are read: for each kind of actor
//! and each type, those whose scope can apply. A slice never changes an answer, since a policy whose scope does not hold has no say.
//!
//! It fails closed: a policy that cannot be evaluated makes the whole answer "no", even where another one permits.

mod read;
mod slice;
#[cfg(test)]
mod tests;
mod view;

use std::collections::{BTreeMap, HashMap, HashSet};

use cedar_policy::{
    Authorizer, Context, Decision, Effect, Entities, Entity, EntityId, EntityTypeName, EntityUid, Policy,
    PolicySet, Request as CedarRequest, RestrictedExpression,
};

pub use self::{
    read::{PolicyFault, PolicyFaults},
    view::PolicyView,
};
use crate::{
    request::{ActorKind, Request},
    tier::Tier,
};

/// The policies that are in force where nobody wrote others.
pub const DEFAULT: &str = include_str!("../../../policies/default.cedar");
/// The schema that policies are checked against.
pub const SCHEMA: &str = include_str!("../../../policies/schema.cedarschema");

/// Types of intents that Grace knows by itself: of its own, in tiers 0 to 4 three, three, three, three and two, and what agents do.
pub const KNOWN: [&str; 22] = [
    "modify_governance",
    "change_charter",
    "grant_permissions",
    "execute_sandbox",
    "deploy_model",
    "modify_config",
    "query_knowledge",
    "generate_summary",
    "schedule_task",
    "self_improve",
    "extend_grace",
    "optimize_system",
    "emergency_recovery",
    "critical_incident",
    "edit_files",
    "run_command",
    "call_tool",
    "edit_elsewhere",
    "delete_data",
    "use_network",
    "publish_package",
    "read_secrets",
];

/// What the policies say to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ruling {
    /// It is permitted.
    Permitted {
        /// The strictest of those that its permits name.
        tier: Tier,
        /// How many people have to say yes where the tier leaves it to them: the most that its permits name, or one.
        quorum: u8,
        /// The policies that permit it, by name.
        by: Vec<String>,
        /// What they advise.
        advice: Vec<String>,
    },
    /// A policy forbids it, whatever permits it.
    Forbidden {
        /// The policies that forbid it, by name.
        by: Vec<String>,
        /// What they advise.
        advice: Vec<String>,
    },
    /// No policy permits it.
    NotPermitted,
    /// It could not be decided, which is a no.
    Failed {
        /// Why, a sentence each.
        errors: Vec<String>,
    },
}

/// A set of policies, ready to be asked.
pub struct Policies {
    /// In the order of their texts.
    policies: Vec<Policy>,
    all: PolicySet,
    /// What stands in the annotations, by name.
    notes: HashMap<String, Note>,
    types: BTreeMap<String, Type>,
    /// For types that nobody has heard of, by kind of actor.
    unknown: HashMap<ActorKind, PolicySet>,
    principals: HashMap<ActorKind, EntityTypeName>,
    target: EntityTypeName,
    authorizer: Authorizer,
}

impl std::fmt::Debug for Policies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Policies").field("names", &self.names().collect::<Vec<_>>()).finish_non_exhaustive()
    }
}

struct Note {
    tier: Option<Tier>,
    quorum: Option<u8>,
    advice: Option<String>,
}

/// A type of intents as an action.
struct Type {
    action: EntityUid,
    /// The action with its group.
    entities: Entities,
    slices: HashMap<ActorKind, PolicySet>,
}

/// The group of an action that the manifest declares, and of one that nobody has heard of.
const DECLARED: &str = "declared";
const UNKNOWN: &str = "unknown";

impl Policies {
    /// Names of the policies, in order.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.policies.iter().map(|policy| policy.id().to_string())
    }

    /// What they say to a request.
    #[must_use]
    pub fn rule(&self, request: &Request) -> Ruling {
        if let Some(fault) = request.fault() {
            return Ruling::Failed { errors: vec![fault] };
        }
        if [DECLARED, UNKNOWN].contains(&request.kind.as_str()) {
            // In Cedar a group is in itself: it would pass for any type of it.
            return Ruling::Failed {
                errors: vec![format!("`{}` is a group of types, and no type", request.kind)],
            };
        }
        let unheard;
        let (kind, slice) = match self.types.get(&request.kind) {
            Some(kind) => (kind, kind.slices.get(&request.actor.kind)),
            None => {
                unheard = Type::of(&request.kind, Some(UNKNOWN));
                match &unheard {
                    Ok(kind) => (kind, self.unknown.get(&request.actor.kind)),
                    Err(error) => return Ruling::Failed { errors: vec![error.clone()] },
                }
            }
        };
        self.ask(request, kind, slice.unwrap_or(&self.all))
    }

    /// The same without slices: every policy is evaluated.
    #[cfg(test)]
    fn rule_by_all(&self, request: &Request) -> Ruling {
        let kind = match self.types.get(&request.kind) {
            Some(_) if KNOWN.contains(&request.kind.as_str()) => Type::of(&request.kind, None),
            Some(_) => Type::of(&request.kind, Some(DECLARED)),
            None => Type::of(&request.kind, Some(UNKNOWN)),
        };
        self.ask(request, &kind.unwrap(), &self.all)
    }

    fn ask(&self, request: &Request, kind: &Type, set: &PolicySet) -> Ruling {
        let Some(principal) = self.principals.get(&request.actor.kind) else {
            return Ruling::Failed { errors: vec!["this kind of actor has no entity type".to_owned()] };
        };
        let uid = |name: &EntityTypeName, id: &str| {
            EntityUid::from_type_name_and_id(name.clone(), EntityId::new(id))
        };
        let asked = context(request).and_then(|context| {
            let (actor, target) = (uid(principal, &request.actor.name), uid(&self.target, &request.target));
            CedarRequest::new(actor, kind.action.clone(), target, context, None).map_err(|e| e.to_string())
        });
        let asked = match asked {
            Ok(asked) => asked,
            Err(error) => return Ruling::Failed { errors: vec![error] },
        };
        let response = self.authorizer.is_authorized(&asked, set, &kind.entities);
        let errors: Vec<String> = response.diagnostics().errors().map(ToString::to_string).collect();
        if !errors.is_empty() {
            return Ruling::Failed { errors };
        }
        let mut by: Vec<String> = response.diagnostics().reason().map(ToString::to_string).collect();
        by.sort_unstable();
        let notes: Vec<&Note> = by.iter().filter_map(|name| self.notes.get(name)).collect();
        let advice = notes.iter().filter_map(|note| note.advice.clone()).collect();
        match response.decision() {
            Decision::Allow => {
                let tier = notes.iter().filter_map(|note| note.tier).max_by_key(|tier| tier.strictness());
                // Each permit names one: it is checked when they are read.
                let tier = tier.unwrap_or(Tier::Approval);
                let quorum = notes.iter().filter_map(|note| note.quorum).max().unwrap_or(1);
                Ruling::Permitted { tier, quorum, by, advice }
            }
            Decision::Deny if by.is_empty() => Ruling::NotPermitted,
            Decision::Deny => Ruling::Forbidden { by, advice },
        }
    }

    /// Whether a person at the terminal could still change the rules.
    fn can_be_governed(&self) -> bool {
        let actor = crate::request::Actor { kind: ActorKind::Operator, name: "operator".to_owned() };
        let kind = "modify_governance".to_owned();
        let request =
            Request { actor, kind, target: "instance".to_owned(), circumstances: Default::default() };
        matches!(self.rule(&request), Ruling::Permitted { .. })
    }
}

impl Type {
    fn of(name: &str, group: Option<&str>) -> Result<Self, String> {
        let action_type: EntityTypeName = "Action".parse().map_err(|e| format!("{e}"))?;
        let uid = |id: &str| EntityUid::from_type_name_and_id(action_type.clone(), EntityId::new(id));
        let action = uid(name);
        let parents: HashSet<EntityUid> = group.into_iter().map(uid).collect();
        let groups = parents.iter().map(|parent| Entity::new_no_attrs(parent.clone(), HashSet::new()));
        let all: Vec<Entity> =
            groups.chain([Entity::new_no_attrs(action.clone(), parents.clone())]).collect();
        let entities = Entities::from_entities(all, None).map_err(|e| e.to_string())?;
        Ok(Self { action, entities, slices: HashMap::new() })
    }
}

fn context(request: &Request) -> Result<Context, String> {
    let of = &request.circumstances;
    #[expect(clippy::cast_possible_truncation, reason = "from 0 to 100: it was checked")]
    let percent = (of.revenue_impact * 100.0).round() as i64;
    Context::from_pairs([
        ("user_facing".to_owned(), RestrictedExpression::new_bool(of.user_facing)),
        ("emergency".to_owned(), RestrictedExpression::new_bool(of.emergency)),
        ("revenue_percent".to_owned(), RestrictedExpression::new_long(percent)),
    ])
    .map_err(|e| e.to_string())
}

/// Whether a policy permits rather than forbids.
fn permits(policy: &Policy) -> bool {
    policy.effect() == Effect::Permit
}
