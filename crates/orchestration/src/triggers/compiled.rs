//! A subscription, checked and compiled, and what it makes of an event.

use grace_types::event::Event;
use serde::{Deserialize, Serialize};

use super::subscription::Subscription;
use crate::{
    delivery::action::{Fault, Plan, Work},
    expression::{EVENT_NAMES, Expression, Scope},
    limits,
    pattern::Pattern,
};

/// See the module's page.
#[derive(Debug, Clone)]
pub(super) struct Compiled {
    pub(super) patterns: Vec<Pattern>,
    pub(super) filter: Option<Expression>,
    pub(super) plan: Plan,
}

/// What a subscription makes of an event, for a dry run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Its name.
    pub subscription: String,
    /// What comes of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What comes of an event in one subscription.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It fires.
    Fires {
        /// What is done.
        work: Work,
        /// What holds that up, where something does: an open breaker, a rate, a full queue.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        held_up: Option<String>,
    },
    /// It would fire, and its action cannot be rendered: a dead letter.
    Fails {
        /// Why.
        reason: String,
    },
    /// It takes no events.
    Disabled,
    /// The event's type is none of its types.
    OtherType,
    /// The filter is false.
    Filtered,
    /// The filter cannot be evaluated.
    FilterFails {
        /// Why.
        reason: String,
    },
    /// The event stands at the end of a chain of causes that is too long.
    ChainTooLong {
        /// How many causes lie before it.
        hops: u32,
    },
    /// It fired less than `once_within` ago.
    Throttled {
        /// How long until it may fire again, milliseconds.
        for_ms: u64,
    },
}

impl Compiled {
    /// Checks and compiles a subscription.
    pub(super) fn of(subscription: &Subscription) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let count = subscription.types.len();
        if count == 0 || count > limits::PATTERNS {
            faults
                .push(Fault::new(&["types"], format!("name 1 to {} types, found {count}", limits::PATTERNS)));
        }
        let mut patterns = Vec::new();
        for (at, text) in subscription.types.iter().enumerate().take(limits::PATTERNS) {
            match Pattern::parse(text) {
                Ok(pattern) => patterns.push(pattern),
                Err(message) => faults.push(Fault::new(&["types", &at.to_string()], message)),
            }
        }
        let filter = subscription.filter.as_deref().and_then(|text| {
            Expression::compile(text, &EVENT_NAMES)
                .map_err(|bad| faults.push(Fault { help: bad.help, ..Fault::new(&["filter"], bad.message) }))
                .ok()
        });
        if let Some((key, message)) = subscription.delivery.fault() {
            faults.push(Fault::new(&["delivery", key], message));
        }
        let plan = Plan::compile(&subscription.action, &EVENT_NAMES);
        match plan {
            Ok(plan) if faults.is_empty() => Ok(Self { patterns, filter, plan }),
            Ok(_) => Err(faults),
            Err(more) => {
                let inside = |mut fault: Fault| {
                    fault.path.insert(0, "action".to_owned());
                    fault
                };
                faults.extend(more.into_iter().map(inside));
                Err(faults)
            }
        }
    }

    /// What comes of an event whose type matches, but for the throttle.
    pub(super) fn judge(&self, scope: &Scope<'_>) -> Outcome {
        match self.filter.as_ref().map(|filter| filter.holds(scope)) {
            Some(Ok(false)) => return Outcome::Filtered,
            Some(Err(why)) => return Outcome::FilterFails { reason: why.0 },
            Some(Ok(true)) | None => {}
        }
        match self.plan.render(scope) {
            Ok(work) => Outcome::Fires { work, held_up: None },
            Err(why) => Outcome::Fails { reason: why.0 },
        }
    }

    pub(super) fn takes(&self, event: &Event) -> bool {
        self.patterns.iter().any(|pattern| pattern.matches(&event.kind))
    }
}
