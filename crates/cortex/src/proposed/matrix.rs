//! The permission matrix: what becomes of every type of intent, asked for by every kind of actor, in every situation that policies tell apart.
//!
//! What a scope names (an actor, a target) has a row or a column of its own. What only a condition names has none: of that the recorded
//! intents tell more ([`super::replay`]).

use std::{collections::BTreeSet, fmt};

use serde::{Deserialize, Serialize};

use crate::{
    charter::Charter,
    judge::{Judgement, Outcome, Standing, judge},
    limits,
    policy::{KNOWN, Policies},
    request::{Actor, ActorKind, Circumstances, INSTANCE, Request},
    tier::Tier,
};

/// The name of the actor that stands for all of its kind.
pub const ANYBODY: &str = "anybody";
/// The type that stands for all that nobody has heard of.
pub const UNHEARD: &str = "type_nobody_declared";

/// A judgement in short: what becomes of it, and what is owed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Cell {
    /// The tier, where it is permitted.
    pub tier: Option<Tier>,
    /// How many different people have to say yes, where it waits for people.
    pub quorum: u8,
    /// What becomes of it.
    pub outcome: Outcome,
    /// Whether somebody has to look at it afterwards.
    pub review: bool,
}

impl From<&Judgement> for Cell {
    fn from(judgement: &Judgement) -> Self {
        Self {
            tier: judgement.tier,
            quorum: judgement.quorum,
            outcome: judgement.outcome,
            review: judgement.review,
        }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.tier {
            Some(tier) => write!(f, "{tier} ")?,
            None => f.write_str("- ")?,
        }
        if self.outcome == Outcome::WaitsForApproval && self.quorum > 1 {
            return write!(f, "approval by {}", self.quorum);
        }
        f.write_str(match self.outcome {
            Outcome::Allowed if self.review => "allowed, review",
            Outcome::Allowed => "allowed",
            Outcome::WaitsForApproval => "approval",
            Outcome::WaitsForVote => "vote",
            Outcome::Denied => "denied",
        })
    }
}

/// What may matter beside who asks for what.
#[derive(Debug, Clone, PartialEq)]
pub struct Situation {
    /// In a few words; empty for the plain one.
    pub name: &'static str,
    /// What the asker says.
    pub circumstances: Circumstances,
    /// Whether an emergency grant is live for whoever asks.
    pub grant: bool,
}

impl Situation {
    /// All that policies can tell apart, the plain one first.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let of = |name, (user_facing, emergency, impact), grant| {
            let circumstances = Circumstances { user_facing, emergency, revenue_impact: impact };
            Self { name, circumstances, grant }
        };
        vec![
            of("", (false, false, 0.0), false),
            of("user facing", (true, false, 0.0), false),
            of("about an emergency", (false, true, 0.0), false),
            of("full revenue impact", (false, false, 1.0), false),
            of("under an emergency grant", (false, false, 0.0), true),
            of("under an emergency grant, user facing", (true, false, 0.0), true),
            of("under an emergency grant, about an emergency", (false, true, 0.0), true),
            of("under an emergency grant, full revenue impact", (false, false, 1.0), true),
        ]
    }
}

/// The sides of the matrix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matrix {
    /// Types of intents.
    pub types: Vec<String>,
    /// Who asks: each kind, then those that a scope names.
    pub actors: Vec<Actor>,
    /// What it is about.
    pub targets: Vec<String>,
    /// Actors and targets that a scope names and that have no place any more.
    pub left_out: usize,
}

impl Matrix {
    /// For these sets of policies: everything that any of them tells apart by its scopes.
    #[must_use]
    pub fn of(sets: &[&Policies]) -> Self {
        let known = KNOWN.iter().map(|name| (*name).to_owned());
        let declared: BTreeSet<String> =
            sets.iter().flat_map(|set| set.declared()).map(str::to_owned).collect();
        let named: BTreeSet<(ActorKind, String)> = sets.iter().flat_map(|set| set.actors()).collect();
        let mut targets: BTreeSet<String> = sets.iter().flat_map(|set| set.targets()).collect();
        targets.remove(INSTANCE);
        let left_out = named.len().saturating_sub(limits::MATRIX_NAMES)
            + targets.len().saturating_sub(limits::MATRIX_NAMES);
        let kinds = ActorKind::ALL.map(|kind| Actor { kind, name: ANYBODY.to_owned() });
        Self {
            types: known.chain(declared).chain([UNHEARD.to_owned()]).collect(),
            actors: kinds
                .into_iter()
                .chain(named.into_iter().take(limits::MATRIX_NAMES).map(Actor::from))
                .collect(),
            targets: [INSTANCE.to_owned()]
                .into_iter()
                .chain(targets.into_iter().take(limits::MATRIX_NAMES))
                .collect(),
            left_out,
        }
    }

    /// Every question of one row and column, in each situation.
    pub fn questions(&self) -> impl Iterator<Item = (&str, &Actor, &str)> {
        self.types.iter().flat_map(move |kind| {
            self.actors.iter().flat_map(move |actor| {
                self.targets.iter().map(move |target| (kind.as_str(), actor, target.as_str()))
            })
        })
    }
}

/// The judgement of one cell.
#[must_use]
pub fn judged(
    (kind, actor, target): (&str, &Actor, &str),
    situation: &Situation,
    policies: &Policies,
    charter: &Charter,
) -> Judgement {
    let request = Request {
        actor: actor.clone(),
        kind: kind.to_owned(),
        target: target.to_owned(),
        circumstances: situation.circumstances.clone(),
    };
    let standing = Standing { grant: situation.grant.then(|| "a live emergency grant".to_owned()) };
    judge(&request, policies, charter, &standing)
}
