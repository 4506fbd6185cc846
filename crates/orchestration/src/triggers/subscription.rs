//! A subscription, as it is written in a manifest or a file, or given at run time.

use serde::{Deserialize, Serialize};

use super::compiled::Compiled;
use crate::{
    delivery::{
        action::{Action, Fault},
        lane,
    },
    period::Period,
};

/// Which events set off which action.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping with `types` and `action`")]
pub struct Subscription {
    /// Types of events, `com.shop.order.paid`; `*` stands for one or more whole words, once in each.
    pub types: Vec<String>,
    /// A CEL expression over `event` and `data` that must be true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// How often it may fire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttle: Option<Throttle>,
    /// What is done. Texts in it may hold `${ CEL }` over `event` and `data`.
    pub action: Action,
    /// The queue of what is to be done, its rate, retries and breaker.
    #[serde(default)]
    pub delivery: lane::Settings,
    /// Whether it takes events. What waits already is done in any case.
    #[serde(default = "yes")]
    pub enabled: bool,
}

/// How often a subscription may fire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping such as `{once_within: 1s}`")]
pub struct Throttle {
    /// Once in this time: events that come sooner after the last firing do nothing.
    pub once_within: Period,
}

impl Subscription {
    /// Everything that is wrong with it.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        Compiled::of(self).err().unwrap_or_default()
    }
}

const fn yes() -> bool {
    true
}
