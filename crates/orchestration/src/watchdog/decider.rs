//! The watchdog's decisions: whether Layer 2 got ready, what each look tells, which alerts are raised and cleared. Pure.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use grace_kernel::{Decider, Decision, Recorded};
use grace_types::{
    manifest::Severity,
    reason::Why,
    time::{Now, Timestamp},
};

use super::{
    alert::{Alert, Rule, Step, step},
    message::{Command, Event, Refusal, Reply, Settings, State},
    rules::{Finding, find},
    sample::{Answer, Readiness, Sample, Standing},
    telemetry::Telemetry,
};
use crate::limits;

/// The decider.
#[derive(Debug)]
pub enum Layer2Watchdog {}

type Decided = Decision<Layer2Watchdog>;

impl Decider for Layer2Watchdog {
    type State = State;
    type Command = Command;
    type Event = Event;
    type Reply = Reply;
    type Refusal = Refusal;
    type Effect = ();

    fn decide(state: &State, now: Now, command: &Command) -> Decided {
        match command {
            Command::Configure { boot, settings } => configure(state, boot, settings),
            Command::Judge { standing, age_ms } => judge(state, now.wall, standing, *age_ms),
            Command::Observe { sample } => {
                let (events, reply) = match observe(state, now, sample) {
                    Ok(observed) => observed,
                    Err(refusal) => return Decision::refuse(refusal),
                };
                events.into_iter().fold(Decision::reply(reply), Decision::record)
            }
            Command::Look { sample } => match observe(state, now, sample) {
                Ok((_, reply)) => Decision::reply(reply),
                Err(refusal) => Decision::refuse(refusal),
            },
            Command::Overview => Decision::reply(Reply::Overview {
                telemetry: state.last.clone().map(Box::new),
                alerts: worst_first(state.alerts.values().cloned()),
            }),
        }
    }

    fn evolve(state: &mut State, event: &Event) {
        match event {
            Event::Configured { boot, settings } => {
                if state.boot != *boot {
                    state.answered = None;
                }
                state.boot.clone_from(boot);
                state.settings = settings.clone();
            }
            Event::Judged { booted, .. } => state.judged = Some(*booted),
            Event::Telemetry { telemetry, answered, near } => {
                state.most_subscriptions = state.most_subscriptions.max(telemetry.trigger_subscriptions);
                state.answered = answered.or(state.answered);
                state.last = Some((**telemetry).clone());
                state.near.clone_from(near);
            }
            Event::AlertRaised { alert } => {
                state.alerts.insert(key(alert.rule, &alert.component), alert.clone());
            }
            Event::AlertCleared { alert, .. } => {
                state.alerts.remove(&key(alert.rule, &alert.component));
            }
        }
    }

    fn what(event: &Event) -> &'static str {
        match event {
            Event::Configured { .. } => "configured",
            Event::Judged { late, .. } if late.is_empty() => "layer2_ready",
            Event::Judged { .. } => "layer2_late",
            Event::Telemetry { .. } => "telemetry",
            Event::AlertRaised { .. } => "alert_raised",
            Event::AlertCleared { .. } => "alert_cleared",
        }
    }
}

fn key(rule: Rule, component: &str) -> String {
    format!("{rule}/{component}")
}

fn worst_first(alerts: impl IntoIterator<Item = Alert>) -> Vec<Alert> {
    let mut alerts: Vec<Alert> = alerts.into_iter().collect();
    alerts.sort_by_key(|alert| (Reverse(alert.severity), alert.since));
    alerts
}

fn configure(state: &State, boot: &str, settings: &Settings) -> Decided {
    let decision = Decision::reply(Reply::Configured);
    if state.boot == boot && state.settings == *settings {
        return decision;
    }
    let why = if state.boot == boot {
        Why::because("settings.changed", "the manifest has other thresholds")
    } else {
        Why::because("boot.new", "the machine was started since, or this is the first start")
    };
    let event = Event::Configured { boot: boot.to_owned(), settings: settings.clone() };
    decision.record(Recorded::new(event, "layer2", "manifest", why))
}

/// The verdict on a boot, once: when all are ready, or when the time for it is over.
fn judge(state: &State, at: Timestamp, standing: &Standing, age_ms: u64) -> Decided {
    if state.judged == Some(standing.booted) {
        return Decision::reply(Reply::Judged { settled: true });
    }
    if standing.components.len() > limits::WATCHED {
        return Decision::refuse(Refusal::TooMany { count: standing.components.len() });
    }
    let ready_within = state.settings.layer2.ready_within;
    let (ready, late): (Vec<_>, Vec<_>) =
        standing.components.iter().partition(|(_, readiness)| readiness.ready);
    let over = u128::from(age_ms) >= ready_within.as_millis();
    if !over && (!late.is_empty() || ready.is_empty()) {
        return Decision::reply(Reply::Judged { settled: false });
    }
    let took = |readiness: &Readiness| readiness.since.since(standing.booted).as_millis();
    let took_ms: BTreeMap<String, u64> = ready
        .iter()
        .map(|(name, readiness)| ((*name).clone(), u64::try_from(took(readiness)).unwrap_or(u64::MAX)))
        .collect();
    let slowest = took_ms.iter().max_by_key(|(_, took)| **took);
    let last = slowest.map_or_else(String::new, |(name, took)| format!(", {name} last after {took} ms"));
    let why = if late.is_empty() {
        Why::because("layer2.ready", format!("all {} are ready{last}", took_ms.len()))
    } else {
        let names: Vec<&str> = late.iter().map(|(name, _)| name.as_str()).collect();
        let text = format!("{} not ready {age_ms} ms after boot{last}", names.join(", "));
        Why::because("layer2.late", text)
    };
    let names = late.iter().map(|(name, _)| (*name).clone()).collect();
    let event = Event::Judged { booted: standing.booted, took_ms, late: names };
    let how = format!("ready within {ready_within:?}");
    let decision = Decision::reply(Reply::Judged { settled: true }).record(Recorded::new(
        event,
        "layer2",
        how.as_str(),
        why,
    ));
    late.into_iter().fold(decision, |decision, (name, readiness)| {
        if state.alerts.contains_key(&key(Rule::NotReady, name)) {
            return decision;
        }
        let text = format!("{name} is not ready {age_ms} ms after boot: it is {}", readiness.state);
        let alert = Alert {
            rule: Rule::NotReady,
            component: name.clone(),
            severity: Severity::Critical,
            since: at,
            text,
        };
        decision.record(raised(alert, &how))
    })
}

type Observed = (Vec<Recorded<Event>>, Reply);

/// What a look records and tells.
fn observe(state: &State, now: Now, sample: &Sample) -> Result<Observed, Refusal> {
    let count = sample.status.as_ref().map_or(0, |status| status.components.len());
    if count > limits::WATCHED {
        return Err(Refusal::TooMany { count });
    }
    let rate = rate(state, now, sample);
    let mut telemetry = Telemetry::of(state, sample, now.wall, rate);
    let mut findings = find(state, sample, rate);
    findings.extend(gone(state, sample, &findings));
    let (mut near, mut alerts, mut moved) = (BTreeSet::new(), state.alerts.clone(), Vec::new());
    for finding in findings {
        let key = key(finding.rule, &finding.component);
        let raised_now = state.alerts.get(&key);
        match step(raised_now.is_some(), state.near.contains(&key), finding.found, finding.at_once) {
            Step::Stay => {}
            Step::Near => drop(near.insert(key)),
            Step::Raise => {
                let looks =
                    if finding.at_once { "one look is enough" } else { "two looks in a row found it" };
                let alert = alert(finding, now.wall);
                alerts.insert(key, alert.clone());
                moved.push(raised(alert, looks));
            }
            Step::Clear => {
                if let Some(alert) = alerts.remove(&key) {
                    moved.push(cleared(alert, now.wall, &finding.text));
                }
            }
        }
    }
    let count = |severity| alerts.values().filter(|alert| alert.severity == severity).count() as u64;
    telemetry.alerts_warning = count(Severity::Warning);
    telemetry.alerts_critical = count(Severity::Critical);
    let why = Why::because("layer2.look", telemetry.summary());
    let answered = sample.htm.as_ref().and_then(Answer::said).map(|_| now.mono);
    let event = Event::Telemetry { telemetry: Box::new(telemetry.clone()), answered, near };
    let interval = state.settings.layer2.interval;
    let mut events = vec![Recorded::new(event, "layer2", format!("a look every {interval:?}"), why)];
    events.append(&mut moved);
    let alerts = worst_first(alerts.into_values());
    Ok((events, Reply::Observed { telemetry: Box::new(telemetry), alerts }))
}

/// Dispatches a second since the task manager's last answer. An answer from long before says nothing about now.
fn rate(state: &State, now: Now, sample: &Sample) -> Option<f64> {
    let queue = sample.htm.as_ref().and_then(Answer::said)?;
    let (last, answered) = (state.last.as_ref()?, state.answered?);
    let past = now.mono.since(answered);
    let fresh = !past.is_zero() && past <= state.settings.layer2.interval * limits::LOOKS_FRESH;
    let dispatched = queue.dispatched.checked_sub(last.dispatches)?;
    fresh.then(|| dispatched as f64 / past.as_secs_f64())
}

/// Alerts about what the instance does not have any more: nothing finds them, and they are over.
fn gone(state: &State, sample: &Sample, findings: &[Finding]) -> Vec<Finding> {
    let known = sample.status.as_ref().is_some_and(|status| state.judged == Some(status.booted));
    let found = |alert: &Alert| {
        findings.iter().any(|finding| finding.rule == alert.rule && finding.component == alert.component)
    };
    let alerts = state.alerts.values().filter(|alert| known && !found(alert));
    alerts
        .map(|alert| Finding {
            rule: alert.rule,
            component: alert.component.clone(),
            severity: alert.severity,
            found: super::alert::Found::Over,
            at_once: false,
            text: format!("{} is no part of the instance any more", alert.component),
        })
        .collect()
}

fn alert(finding: Finding, since: Timestamp) -> Alert {
    let Finding { rule, component, severity, text, .. } = finding;
    Alert { rule, component, severity, since, text }
}

fn raised(alert: Alert, how: &str) -> Recorded<Event> {
    let why =
        Why::because(format!("layer2.{}", alert.rule), format!("{}: {}", alert.severity.word(), alert.text));
    let place = alert.component.clone();
    Recorded::new(Event::AlertRaised { alert }, place, how, why)
}

fn cleared(alert: Alert, at: Timestamp, text: &str) -> Recorded<Event> {
    let lasted = at.since(alert.since);
    let why = Why::because(format!("layer2.{}.over", alert.rule), text.to_owned())
        .and("alert.lasted", format!("it was raised for {:.1} s: {}", lasted.as_secs_f64(), alert.text));
    let place = alert.component.clone();
    Recorded::new(Event::AlertCleared { alert, at }, place, "two looks in a row found it over", why)
}
