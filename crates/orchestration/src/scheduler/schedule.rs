//! A schedule, as it is written in a manifest or a file, or given at run time.

use grace_types::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::cron::Cron;
use crate::{
    delivery::{
        action::{Action, Fault, Plan},
        lane,
    },
    limits,
    period::Period,
};

/// What is to be done, and when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping with `when` and `action`")]
pub struct Schedule {
    /// When.
    pub when: When,
    /// What. Texts in it may hold `${ CEL }` over `schedule.name`, `schedule.time` (the nominal time or number) and `schedule.key`.
    pub action: Action,
    /// Each occurrence is put off by up to this, at random.
    #[serde(default, skip_serializing_if = "is_none")]
    pub jitter: Period,
    /// What happens when the occurrence before still runs.
    #[serde(default)]
    pub overlap: Overlap,
    /// What happens to occurrences that are late by more than `grace`.
    #[serde(default)]
    pub misfire: Misfire,
    /// How late an occurrence may fire as if it were in time.
    #[serde(default = "grace")]
    pub grace: Period,
    /// Retries and dead letters of what is to be done.
    #[serde(default)]
    pub delivery: lane::Settings,
}

/// When something is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "WhenWritten", into = "WhenWritten")]
#[schemars(with = "WhenWritten")]
pub enum When {
    /// At the times that a cron pattern names.
    Cron(CronTimes),
    /// Once, at this time (RFC 3339).
    Once(Timestamp),
    /// Again and again, this long after one another, counted from when the schedule was given. At least a second.
    Every(Period),
    /// Once, this long after the schedule was given.
    After(Period),
}

/// As it is written: exactly one key.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
struct WhenWritten {
    /// At the times that a cron pattern names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cron: Option<CronTimes>,
    /// Once, at this time (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    once: Option<Timestamp>,
    /// Again and again, this long after one another, counted from when the schedule was given. At least a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    every: Option<Period>,
    /// Once, this long after the schedule was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after: Option<Period>,
}

impl TryFrom<WhenWritten> for When {
    type Error = &'static str;

    fn try_from(written: WhenWritten) -> Result<Self, Self::Error> {
        match written {
            WhenWritten { cron: Some(one), once: None, every: None, after: None } => Ok(Self::Cron(one)),
            WhenWritten { once: Some(one), cron: None, every: None, after: None } => Ok(Self::Once(one)),
            WhenWritten { every: Some(one), cron: None, once: None, after: None } => Ok(Self::Every(one)),
            WhenWritten { after: Some(one), cron: None, once: None, every: None } => Ok(Self::After(one)),
            _ => Err("say exactly one of `cron`, `once`, `every` or `after`"),
        }
    }
}

impl From<When> for WhenWritten {
    fn from(one: When) -> Self {
        match one {
            When::Cron(one) => Self { cron: Some(one), ..Self::default() },
            When::Once(one) => Self { once: Some(one), ..Self::default() },
            When::Every(one) => Self { every: Some(one), ..Self::default() },
            When::After(one) => Self { after: Some(one), ..Self::default() },
        }
    }
}

/// The times that a cron pattern names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a mapping such as `{pattern: \"30 2 * * *\", zone: Europe/Berlin}`"
)]
pub struct CronTimes {
    /// `minute hour day month weekday`, or with seconds before them.
    pub pattern: String,
    /// A zone of the IANA database, `Europe/Berlin`; UTC where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
}

/// What happens when the occurrence before still runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// It fires all the same.
    #[default]
    Allow,
    /// It is skipped.
    Skip,
    /// It is held until the other has ended; at most one.
    Queue,
}

/// What happens to occurrences that are late.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Misfire {
    /// They are recorded and do nothing.
    Skip,
    /// The last of them fires, for all.
    #[default]
    RunOnce,
    /// Each of them fires, oldest first, within a bound.
    RunAll,
}

/// The names that a schedule's action may use.
pub(super) const NAMES: [&str; 3] = ["schedule.name", "schedule.time", "schedule.key"];

impl Schedule {
    /// With everything else as it is when nothing is said about it.
    #[must_use]
    pub fn new(when: When, action: Action) -> Self {
        Self {
            when,
            action,
            jitter: Period::default(),
            overlap: Overlap::default(),
            misfire: Misfire::default(),
            grace: grace(),
            delivery: lane::Settings::default(),
        }
    }

    /// Everything that is wrong with it.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let inside = |mut fault: Fault, step: &str| {
            fault.path.insert(0, step.to_owned());
            fault
        };
        match &self.when {
            When::Cron(times) => {
                let inside = |fault| inside(inside(fault, "cron"), "when");
                faults.extend(Cron::parse(&times.pattern, times.zone.as_deref()).err().map(inside));
            }
            When::Every(every) if every.millis() < limits::SHORTEST_EVERY_MS => {
                faults.push(Fault::new(&["when", "every"], "at least 1s"));
            }
            When::Once(_) | When::Every(_) | When::After(_) => {}
        }
        for (key, period) in [("jitter", self.jitter), ("grace", self.grace)] {
            if period.millis() > limits::LONGEST_LATE_MS {
                let most = Period::from_millis(limits::LONGEST_LATE_MS);
                faults.push(Fault::new(&[key], format!("at most {most}")));
            }
        }
        if let Some((key, message)) = self.delivery.fault() {
            faults.push(Fault::new(&["delivery", key], message));
        }
        match Plan::compile(&self.action, &NAMES) {
            Ok(_) => {}
            Err(more) => faults.extend(more.into_iter().map(|fault| inside(fault, "action"))),
        }
        faults
    }

    /// Whether it follows the wall clock rather than the steady line.
    #[must_use]
    pub const fn is_wall(&self) -> bool {
        matches!(self.when, When::Cron(_) | When::Once(_))
    }
}

const fn grace() -> Period {
    Period::from_secs(10)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_none(period: &Period) -> bool {
    period.millis() == 0
}
