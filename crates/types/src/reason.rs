//! Why something was decided, in a form that people can read and machines can query.
//!
//! A [`Reason`] is one step of an argument. [`Account`] is the 5W1H of one decision: who, what, when, where,
//! why (at least one reason) and how. The kernel host refuses to record a decision without one.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    id::{CorrelationId, EventId},
    time::Timestamp,
};

/// One step of an argument: a stable code for machines, a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Reason {
    /// Stable, dotted, lower case: `restart.exit_status`. Queries and tests rely on it.
    pub code: String,
    /// One sentence with the facts that mattered, without a final full stop.
    pub text: String,
}

impl Reason {
    /// A reason from its code and its sentence.
    pub fn new(code: impl Into<String>, text: impl Into<String>) -> Self {
        Self { code: code.into(), text: text.into() }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A list of reasons that is never empty: a decision that cannot say why cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Reason>")]
pub struct Why(Vec<Reason>);

impl Why {
    /// An argument of one step.
    pub fn because(code: impl Into<String>, text: impl Into<String>) -> Self {
        Self(vec![Reason::new(code, text)])
    }

    /// Adds a further step.
    #[must_use]
    pub fn and(mut self, code: impl Into<String>, text: impl Into<String>) -> Self {
        self.0.push(Reason::new(code, text));
        self
    }

    /// The steps, first to last.
    #[must_use]
    pub fn reasons(&self) -> &[Reason] {
        &self.0
    }
}

/// A list of reasons was empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a decision needs at least one reason")]
pub struct NoReason;

impl TryFrom<Vec<Reason>> for Why {
    type Error = NoReason;

    fn try_from(reasons: Vec<Reason>) -> Result<Self, NoReason> {
        if reasons.is_empty() { Err(NoReason) } else { Ok(Self(reasons)) }
    }
}

impl From<Why> for Vec<Reason> {
    fn from(why: Why) -> Self {
        why.0
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, reason) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{reason}")?;
        }
        Ok(())
    }
}

/// The 5W1H of one decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The component or person that decided.
    pub who: String,
    /// What was decided, as an event type: `dev.grace.control_plane.process_restarted.v1`.
    pub what: String,
    /// When, by the wall clock of the decider.
    pub when: Timestamp,
    /// The component or resource that it concerns.
    #[serde(rename = "where")]
    pub place: String,
    /// The argument, never empty.
    pub why: Why,
    /// The mechanism: the rule, algorithm or setting that chose.
    pub how: String,
    /// What this belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation: Option<CorrelationId>,
    /// The event that caused this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causation: Option<EventId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_without_a_reason_does_not_even_parse() {
        let error = serde_json::from_str::<Why>("[]").unwrap_err();
        assert!(error.to_string().contains("at least one reason"), "{error}");
        let why = Why::because("a.b", "first").and("c.d", "second");
        assert_eq!(why.to_string(), "first; second");
        let text = serde_json::to_string(&why).unwrap();
        assert_eq!(serde_json::from_str::<Why>(&text).unwrap(), why);
    }
}
