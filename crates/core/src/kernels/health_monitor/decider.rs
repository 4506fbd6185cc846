//! The health monitor's decisions: which changes of health are worth a record, and what becomes of alerts. Pure.
//!
//! A round of readings comes in as a command every [`limits::HEALTH_ROUND`]. Most rounds change nothing and cost no write: a score
//! is recorded when it moves by [`NOTABLE`] or into another band, an alert when it takes a step. So the journal holds the story
//! of each component's health, with reasons, and a restart of the monitor neither forgets a pending alert nor raises one twice.

use std::collections::{BTreeMap, VecDeque};

use grace_kernel::{Decider, Decision, Recorded};
use grace_types::{
    manifest::{AlertRule, Comparison, Metric},
    reason::Why,
    time::{Monotonic, Now, Timestamp},
};
use serde::{Deserialize, Serialize};

use super::{
    alerts::{self, Alert, Phase, Step},
    score::{Reading, Score, score},
};
use crate::limits;

/// A score that moves by this much is recorded even within its band.
pub const NOTABLE: f64 = 0.2;

/// The decider.
#[derive(Debug)]
pub enum HealthMonitor {}

/// Everything that the monitor knows.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The boot of the machine in which the monotonic times below were read.
    pub boot: String,
    /// The rules in force, by name.
    pub rules: BTreeMap<String, AlertRule>,
    /// The last score on record of each component.
    pub components: BTreeMap<String, Health>,
    /// Alerts that are not over, by `rule/component`.
    pub alerts: BTreeMap<String, Alert>,
    /// Alerts that fired and are over, oldest first, at most [`limits::ALERTS_ENDED`].
    pub ended: VecDeque<Ended>,
}

/// A score on record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// The score and what takes from it.
    pub score: Score,
    /// Since when.
    pub since: Timestamp,
}

/// An alert that is over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    /// As it was.
    pub alert: Alert,
    /// When it resolved.
    pub resolved: Timestamp,
}

/// What the monitor can be asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Command {
    /// These rules are in force from now on, in this boot of the machine.
    Configure {
        /// The machine's boot id.
        boot: String,
        /// All of them.
        rules: Vec<AlertRule>,
    },
    /// A round of readings, of every component that there is.
    Observe {
        /// By component.
        readings: BTreeMap<String, Reading>,
    },
    /// Every component's score.
    Scores,
    /// Every alert.
    Alerts,
    /// One component's score and alerts.
    Component {
        /// Its name.
        name: String,
    },
}

/// What can happen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Other rules are in force, or the machine was booted.
    Configured {
        /// The machine's boot id.
        boot: String,
        /// All rules.
        rules: Vec<AlertRule>,
        /// When, for alerts whose monotonic times are of another boot.
        at: Monotonic,
    },
    /// A component's health changed notably.
    HealthChanged {
        /// Which component.
        component: String,
        /// Its score before; `None` the first time.
        from: Option<f64>,
        /// Its score now.
        to: Score,
        /// When.
        at: Timestamp,
    },
    /// A component is there no more.
    ComponentGone {
        /// Which component.
        component: String,
    },
    /// An alert got to a phase.
    AlertMoved {
        /// The alert as it is now.
        alert: Alert,
    },
    /// An alert is over.
    AlertEnded {
        /// The alert as it was.
        alert: Alert,
        /// When.
        at: Timestamp,
        /// Whether it had fired.
        fired: bool,
    },
}

/// What the monitor answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The rules are in force.
    Configured,
    /// The round was taken in.
    Observed {
        /// How many changes were recorded.
        changes: usize,
    },
    /// Scores by component.
    Scores(BTreeMap<String, f64>),
    /// Alerts.
    Alerts {
        /// Not over yet.
        active: Vec<Alert>,
        /// Resolved, oldest first.
        ended: Vec<Ended>,
    },
    /// One component.
    Component {
        /// Its score.
        health: Health,
        /// Its alerts that are not over.
        alerts: Vec<Alert>,
    },
}

/// Why it did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum Refusal {
    /// There is no such component.
    #[error("no component `{name}` has been measured")]
    NotFound {
        /// The name that was asked for.
        name: String,
    },
    /// More rules or components than it takes.
    #[error("{count} {what} are more than the {limit} that the health monitor takes")]
    TooMany {
        /// Of what.
        what: String,
        /// How many there were.
        count: usize,
        /// How many it takes.
        limit: usize,
    },
}

impl Decider for HealthMonitor {
    type State = State;
    type Command = Command;
    type Event = Event;
    type Reply = Reply;
    type Refusal = Refusal;
    type Effect = ();

    fn decide(state: &State, now: Now, command: &Command) -> Decision<Self> {
        match command {
            Command::Configure { boot, rules } => configure(state, now, boot, rules),
            Command::Observe { readings } => observe(state, now, readings),
            Command::Scores => {
                let scores = state.components.iter().map(|(name, health)| (name.clone(), health.score.value));
                Decision::reply(Reply::Scores(scores.collect()))
            }
            Command::Alerts => Decision::reply(Reply::Alerts {
                active: state.alerts.values().cloned().collect(),
                ended: state.ended.iter().cloned().collect(),
            }),
            Command::Component { name } => match state.components.get(name) {
                None => Decision::refuse(Refusal::NotFound { name: name.clone() }),
                Some(health) => Decision::reply(Reply::Component {
                    health: health.clone(),
                    alerts: state.alerts.values().filter(|alert| alert.component == *name).cloned().collect(),
                }),
            },
        }
    }

    fn evolve(state: &mut State, event: &Event) {
        match event {
            Event::Configured { boot, rules, at } => {
                if state.boot != *boot {
                    // Times of another boot cannot be compared with this one's: what waited begins to wait anew.
                    state.alerts.values_mut().for_each(|alert| alert.since_mono = *at);
                }
                state.boot.clone_from(boot);
                state.rules = rules.iter().map(|rule| (rule.name.clone(), rule.clone())).collect();
            }
            Event::HealthChanged { component, to, at, .. } => {
                state.components.insert(component.clone(), Health { score: to.clone(), since: *at });
            }
            Event::ComponentGone { component } => {
                state.components.remove(component);
            }
            Event::AlertMoved { alert } => {
                state.alerts.insert(key(&alert.rule, &alert.component), alert.clone());
            }
            Event::AlertEnded { alert, at, fired } => {
                state.alerts.remove(&key(&alert.rule, &alert.component));
                if *fired {
                    state.ended.push_back(Ended { alert: alert.clone(), resolved: *at });
                }
                if state.ended.len() > limits::ALERTS_ENDED {
                    state.ended.pop_front();
                }
            }
        }
    }

    fn what(event: &Event) -> &'static str {
        match event {
            Event::Configured { .. } => "configured",
            Event::HealthChanged { .. } => "health_changed",
            Event::ComponentGone { .. } => "component_gone",
            Event::AlertMoved { alert } => match alert.phase {
                Phase::Pending => "alert_pending",
                Phase::Firing => "alert_firing",
                Phase::Recovering => "alert_recovering",
            },
            Event::AlertEnded { fired: true, .. } => "alert_resolved",
            Event::AlertEnded { fired: false, .. } => "alert_cleared",
        }
    }
}

fn key(rule: &str, component: &str) -> String {
    format!("{rule}/{component}")
}

fn configure(state: &State, now: Now, boot: &str, rules: &[AlertRule]) -> Decision<HealthMonitor> {
    if rules.len() > limits::ALERT_RULES {
        let (what, count, limit) = ("alert rules".to_owned(), rules.len(), limits::ALERT_RULES);
        return Decision::refuse(Refusal::TooMany { what, count, limit });
    }
    let mut decision = Decision::reply(Reply::Configured);
    let same_rules =
        rules.len() == state.rules.len() && rules.iter().all(|r| state.rules.get(&r.name) == Some(r));
    if same_rules && state.boot == boot {
        return decision;
    }
    let mut why = Why::because("health.configured", format!("{} alert rules are in force", rules.len()));
    if state.boot != boot {
        why = why.and("health.boot", format!("the machine was booted: {boot}"));
    }
    let event = Event::Configured { boot: boot.to_owned(), rules: rules.to_vec(), at: now.mono };
    decision =
        decision.record(Recorded::new(event, "health_monitor", "built-in rules and the manifest's", why));
    for alert in state.alerts.values().filter(|alert| !rules.iter().any(|rule| rule.name == alert.rule)) {
        let why = Why::because("alert.rule_gone", format!("the rule `{}` is in force no more", alert.rule));
        decision = decision.record(ended(alert, now, why));
    }
    decision
}

fn observe(state: &State, now: Now, readings: &BTreeMap<String, Reading>) -> Decision<HealthMonitor> {
    if readings.len() > limits::MONITORED {
        let (what, count, limit) = ("components".to_owned(), readings.len(), limits::MONITORED);
        return Decision::refuse(Refusal::TooMany { what, count, limit });
    }
    let mut records = Vec::new();
    let scores: BTreeMap<&str, Score> = readings.iter().map(|(name, r)| (name.as_str(), score(r))).collect();
    for (name, to) in &scores {
        records.extend(health_change(name, state.components.get(*name).map(|h| &h.score), to, now));
    }
    for name in state.components.keys().filter(|name| !readings.contains_key(*name)) {
        let event = Event::ComponentGone { component: name.clone() };
        let why = Why::because("health.component_gone", format!("the control plane knows no `{name}`"));
        records.push(Recorded::new(event, name, "status of the control plane", why));
    }
    let mut room = limits::ALERTS.saturating_sub(state.alerts.len());
    for rule in state.rules.values() {
        let watched =
            readings.iter().filter(|(name, _)| rule.component.as_ref().is_none_or(|only| only == *name));
        for (name, reading) in watched {
            let alert = state.alerts.get(&key(&rule.name, name));
            let value = scores.get(name.as_str()).and_then(|s| alerts::measure(rule.metric, reading, s));
            let step = alerts::step(alert, alerts::holds(rule, value), rule.hold, now);
            if step.is_some() && alert.is_none() {
                if room == 0 {
                    continue;
                }
                room -= 1;
            }
            records.extend(step.and_then(|step| alert_step(rule, name, alert, step, value, now)));
        }
    }
    for alert in state.alerts.values().filter(|alert| !readings.contains_key(&alert.component)) {
        let why = Why::because("alert.component_gone", format!("there is no `{}` any more", alert.component));
        records.push(ended(alert, now, why));
    }
    let reply = Decision::reply(Reply::Observed { changes: records.len() });
    records.into_iter().fold(reply, Decision::record)
}

/// Healthy, impaired, unhealthy.
fn band(value: f64) -> u8 {
    u8::from(value >= 0.5) + u8::from(value >= 0.8)
}

fn health_change(name: &str, from: Option<&Score>, to: &Score, now: Now) -> Option<Recorded<Event>> {
    let notable = from.is_none_or(|from| {
        let recovered = to.value >= 1.0 && from.value < 1.0;
        band(from.value) != band(to.value) || (from.value - to.value).abs() >= NOTABLE || recovered
    });
    if !notable {
        return None;
    }
    let text = match from {
        None => format!("`{name}` was measured for the first time: {}", to.value),
        Some(from) => format!("the health of `{name}` went from {} to {}", from.value, to.value),
    };
    let why = to.factors.iter().fold(Why::because("health.score", text), |why, factor| {
        why.and(format!("health.{}", factor.name), format!("{} (×{})", factor.text, factor.value))
    });
    let event = Event::HealthChanged {
        component: name.to_owned(),
        from: from.map(|from| from.value),
        to: to.clone(),
        at: now.wall,
    };
    Some(Recorded::new(event, name, "product of the health factors", why))
}

fn alert_step(
    rule: &AlertRule,
    component: &str,
    alert: Option<&Alert>,
    step: Step,
    value: Option<f64>,
    now: Now,
) -> Option<Recorded<Event>> {
    let why = Why::because(format!("alert.{}", reason_code(step)), reason_text(rule, component, step, value));
    match step {
        Step::Resolved | Step::Cleared => alert.map(|alert| ended(alert, now, why)),
        Step::To(phase) => {
            let alert = Alert {
                rule: rule.name.clone(),
                component: component.to_owned(),
                severity: rule.severity,
                phase,
                since: now.wall,
                since_mono: now.mono,
                began: alert.map_or(now.wall, |alert| alert.began),
                value: value.or_else(|| alert.map(|alert| alert.value)).unwrap_or_default(),
            };
            Some(Recorded::new(Event::AlertMoved { alert }, component, how(&rule.name), why))
        }
    }
}

fn ended(alert: &Alert, now: Now, why: Why) -> Recorded<Event> {
    let fired = alert.phase != Phase::Pending;
    let event = Event::AlertEnded { alert: alert.clone(), at: now.wall, fired };
    Recorded::new(event, &alert.component, how(&alert.rule), why)
}

fn how(rule: &str) -> String {
    format!("alert rule {rule}")
}

const fn reason_code(step: Step) -> &'static str {
    match step {
        Step::To(Phase::Pending) => "pending",
        Step::To(Phase::Firing) => "firing",
        Step::To(Phase::Recovering) => "recovering",
        Step::Resolved => "resolved",
        Step::Cleared => "cleared",
    }
}

fn reason_text(rule: &AlertRule, component: &str, step: Step, value: Option<f64>) -> String {
    let metric = match rule.metric {
        Metric::Health => "health",
        Metric::CpuCores => "CPU in cores",
        Metric::MemoryBytes => "memory in bytes",
        Metric::Restarts => "restarts in the window",
        Metric::HeartbeatAgeSeconds => "seconds since the last heartbeat",
    };
    let measured = value.map_or_else(|| "not measured".to_owned(), |value| value.to_string());
    let limit = rule.threshold;
    let comparison = match rule.comparison {
        Comparison::Above => "above",
        Comparison::Below => "below",
    };
    let hold = rule.hold;
    match step {
        Step::To(Phase::Pending) => {
            format!("{metric} of `{component}` is {measured}, {comparison} {limit}; it fires after {hold:?}")
        }
        Step::To(Phase::Firing) => {
            format!("{metric} of `{component}` is {measured}, {comparison} {limit} for {hold:?}")
        }
        Step::To(Phase::Recovering) | Step::Cleared => {
            format!("{metric} of `{component}` is {measured}, not {comparison} {limit}")
        }
        Step::Resolved => {
            format!("{metric} of `{component}` is {measured}, not {comparison} {limit} for {hold:?}")
        }
    }
}
