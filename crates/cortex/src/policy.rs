//! Policies in Cedar: read, checked, and asked.
//!
//! Every type of intent is an action; the kind of the actor is the principal's entity type. A policy carries its name (`@id`), a permit
//! also the tier under which it permits (`@tier`) and, where that leaves it to people, how many of them (`@quorum`), and either may say what
//! to do next (`@advice`).
//!
//! Cedar evaluates every policy of a set for every request. Here they are put into slices when they are read ([`slice`]): for each kind of
//! actor and each type, those whose scope can apply. A slice never changes an answer, since a policy whose scope does not hold has no say.
//!
//! A set in which a policy can never take effect contradicts itself and is refused ([`never`]).
//!
//! It fails closed: a policy that cannot be evaluated makes the whole answer "no", even where another one permits.

mod ask;
mod never;
mod read;
mod slice;
#[cfg(test)]
mod tests;
mod view;

use std::collections::{BTreeMap, HashMap};

use cedar_policy::{Authorizer, Policy, PolicyId};

use self::{
    ask::{Action, Names},
    slice::Part,
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
    /// What they say of themselves, in the same order.
    notes: Vec<Note>,
    /// The place of each in that order.
    places: HashMap<PolicyId, usize>,
    types: BTreeMap<String, Type>,
    /// For types that nobody has heard of.
    unknown: Slices,
    /// Those that name one actor: for each kind of actor, in their order, by its name.
    named: Vec<HashMap<String, Part>>,
    names: Names,
    authorizer: Authorizer,
}

impl std::fmt::Debug for Policies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Policies").field("names", &self.names().collect::<Vec<_>>()).finish_non_exhaustive()
    }
}

/// What a policy says of itself in its annotations.
struct Note {
    name: String,
    permits: bool,
    tier: Option<Tier>,
    quorum: Option<u8>,
    advice: Option<String>,
}

/// A type of intents.
struct Type {
    action: Action,
    slices: Slices,
}

/// One for each kind of actor, in their order.
type Slices = Vec<Part>;

/// The group of an action that the manifest declares, and of one that nobody has heard of.
const DECLARED: &str = "declared";
const UNKNOWN: &str = "unknown";

impl Policies {
    /// Names of the policies, in order.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.notes.iter().map(|note| note.name.clone())
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
        let (kind, actor) = (self.types.get(&request.kind), request.actor.kind as usize);
        let any = &kind.map_or(&self.unknown, |kind| &kind.slices)[actor];
        let parts = [Some(any), self.named[actor].get(&request.actor.name)];
        self.ask(request, kind.map(|kind| &kind.action), parts.into_iter().flatten())
    }

    /// The same without slices: every policy is evaluated.
    #[cfg(test)]
    fn rule_by_all(&self, request: &Request) -> Ruling {
        let action = self.types.get(&request.kind).map(|kind| &kind.action);
        let open = cedar_policy::PolicySet::from_policies(self.policies.iter().cloned()).unwrap();
        self.ask(request, action, [&Part { settled: Vec::new(), open }])
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
