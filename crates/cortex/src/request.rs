//! Who asks for what: the question that a judgement answers.

pub use grace_types::intent::asked::Circumstances;
use grace_types::intent::asked::Decision;
use serde::{Deserialize, Serialize};

use crate::limits;

/// What is asked about where nothing is named.
pub const INSTANCE: &str = "instance";

/// What kind of actor asks. It is known from the road on which the request came, never from what the actor says of itself.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    /// A person at the command line of this machine, known by the peer credentials of its socket.
    Operator,
    /// A built-in kernel.
    Kernel,
    /// A trigger, an event policy or a schedule, which an operator set up.
    Automation,
    /// A program of the manifest's.
    Program,
    /// A coding agent, or a client of the MCP server.
    Agent,
    /// Anybody else, who came over the network with a token.
    Remote,
}

impl ActorKind {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Operator, Self::Kernel, Self::Automation, Self::Program, Self::Agent, Self::Remote];

    /// As it is written in subjects and answers.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Kernel => "kernel",
            Self::Automation => "automation",
            Self::Program => "program",
            Self::Agent => "agent",
            Self::Remote => "remote",
        }
    }

    /// Its entity type in policies.
    #[must_use]
    pub const fn entity_type(self) -> &'static str {
        match self {
            Self::Operator => "Operator",
            Self::Kernel => "Kernel",
            Self::Automation => "Automation",
            Self::Program => "Program",
            Self::Agent => "Agent",
            Self::Remote => "Remote",
        }
    }
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// What kind.
    pub kind: ActorKind,
    /// Its name: of an operator the label that it gives, of a kernel or a program the component's, of the others the token's.
    pub name: String,
}

impl Actor {
    /// Whether this actor asked for what was decided.
    #[must_use]
    pub fn asked_for(&self, decision: &Decision) -> bool {
        decision.actor == self.name && decision.actor_kind == self.kind.word()
    }
}

/// A question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Who asks.
    pub actor: Actor,
    /// Which type of intent.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it is about; [`INSTANCE`] where nothing is named.
    pub target: String,
    /// What matters besides.
    #[serde(default)]
    pub circumstances: Circumstances,
}

impl Request {
    /// What is wrong with it; nothing is decided about such a request.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        let names = [("actor", &self.actor.name), ("type", &self.kind), ("target", &self.target)];
        if let Some((what, name)) =
            names.into_iter().find(|(_, name)| name.is_empty() || name.len() > limits::NAME_BYTES)
        {
            let (found, most) = (name.len(), limits::NAME_BYTES);
            return Some(format!("`{what}` has 1 to {most} bytes, found {found}"));
        }
        let impact = self.circumstances.revenue_impact;
        (!(0.0..=1.0).contains(&impact)).then(|| format!("`revenue_impact` is from 0 to 1, found {impact}"))
    }
}
