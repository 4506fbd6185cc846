//! A policy, as it is written in a manifest or a file.

use serde::{Deserialize, Serialize};

use super::compiled::Compiled;
use crate::{
    delivery::{
        action::{Fault, Publish, Submit},
        lane,
    },
    period::Period,
};

/// When such an event, then that.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping with `match` and `then`")]
pub struct Policy {
    /// Types of events, `com.shop.order.paid`; `*` stands for one or more whole words, once in each.
    #[serde(rename = "match")]
    pub types: Vec<String>,
    /// Counts the events of these types; `count` in `when` and `then` is how many there were in the window, this one included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// A CEL expression over `event`, `data` and `count` that must be true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// What follows, in order.
    pub then: Vec<Then>,
    /// Policies of higher priority come first.
    #[serde(default)]
    pub priority: i32,
    /// Whether an event that fires this policy is kept from those that come after it.
    #[serde(default)]
    pub last: bool,
    /// How often it may come again in one chain of causes.
    #[serde(default)]
    pub repeat: u32,
    /// Whether it takes part.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// The queue of what is to be done, its rate, retries and breaker.
    #[serde(default)]
    pub delivery: lane::Settings,
}

/// A sliding window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping such as `{within: 10m}`")]
pub struct Window {
    /// How far it reaches back.
    pub within: Period,
    /// A CEL expression whose value tells groups apart that are counted each for itself: `data.actor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// One thing that follows. Texts may hold `${ CEL }` over `event`, `data` and `count`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "ThenWritten", into = "ThenWritten")]
#[schemars(with = "ThenWritten")]
pub enum Then {
    /// Publish an event.
    Emit(Publish),
    /// Submit an intent.
    Submit(Submit),
    /// Record a remark about the event.
    Annotate(String),
}

/// As it is written: exactly one key.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
struct ThenWritten {
    /// Publish an event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    emit: Option<Publish>,
    /// Submit an intent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    submit: Option<Submit>,
    /// Record a remark about the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    annotate: Option<String>,
}

impl TryFrom<ThenWritten> for Then {
    type Error = &'static str;

    fn try_from(written: ThenWritten) -> Result<Self, Self::Error> {
        match written {
            ThenWritten { emit: Some(one), submit: None, annotate: None } => Ok(Self::Emit(one)),
            ThenWritten { submit: Some(one), emit: None, annotate: None } => Ok(Self::Submit(one)),
            ThenWritten { annotate: Some(one), emit: None, submit: None } => Ok(Self::Annotate(one)),
            _ => Err("say exactly one of `emit`, `submit` or `annotate`"),
        }
    }
}

impl From<Then> for ThenWritten {
    fn from(one: Then) -> Self {
        match one {
            Then::Emit(one) => Self { emit: Some(one), ..Self::default() },
            Then::Submit(one) => Self { submit: Some(one), ..Self::default() },
            Then::Annotate(one) => Self { annotate: Some(one), ..Self::default() },
        }
    }
}

impl Policy {
    /// Everything that is wrong with it.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        Compiled::of(self).err().unwrap_or_default()
    }
}

const fn yes() -> bool {
    true
}
