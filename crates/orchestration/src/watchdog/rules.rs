//! The rules: what is wrong with a sample, and how that is said. Pure.
//!
//! | Rule | Holds | Over | Severity |
//! |---|---|---|---|
//! | `queue_warning`, `queue_critical` | more tasks wait than the threshold | four fifths of it or fewer | warning, critical |
//! | `no_workers` | the task manager knows none, and there is work or there should be workers | it knows one | critical, at once |
//! | `few_subscriptions` | fewer than the threshold | as many | warning |
//! | `slow_dispatch` | tasks waited at this look and at the one before, and fewer than 1 a second were given out between | none waits, or a fourth more were | warning |
//! | `not_ready` | the control plane says so; 30 s after boot at once | it is ready | critical; warning for a worker later on |
//! | `no_answer` | it is ready and does not answer | it answers | critical |
//!
//! `few_subscriptions` counts only where the manifest gives the number, or once there were five: an instance without triggers is
//! nobody's fault, one that lost them is. `no_workers` counts where the manifest has workers or types of intents, or tasks are open.
//! All but those of the queue count from the time that readiness was judged.

use grace_types::manifest::{SUBSCRIPTIONS_WARNING, Severity};

use super::{
    alert::{Found, Rule, above},
    message::{Settings, State},
    sample::{Answer, Queue, Readiness, Sample},
};

/// What one rule finds of one component.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// Which rule.
    pub rule: Rule,
    /// Of whom.
    pub component: String,
    /// How bad it is.
    pub severity: Severity,
    /// What it finds.
    pub found: Found,
    /// Whether one look is enough to raise it.
    pub at_once: bool,
    /// What it saw, in one sentence.
    pub text: String,
}

impl Finding {
    fn new(rule: Rule, component: &str, severity: Severity, found: Found, text: String) -> Self {
        Self { rule, component: component.to_owned(), severity, found, at_once: false, text }
    }
}

/// Everything that the rules find. `rate` is dispatches a second since the look before, where it is known.
#[must_use]
pub fn find(state: &State, sample: &Sample, rate: Option<f64>) -> Vec<Finding> {
    let settings = &state.settings;
    let judged = sample.status.as_ref().is_none_or(|status| state.judged == Some(status.booted));
    let mut findings = Vec::new();
    if let Some(htm) = &sample.htm {
        findings.extend(queue(settings, htm));
        findings.push(slow_dispatch(state, htm, rate));
        if judged {
            findings.push(no_workers(settings, htm));
        }
    }
    if !judged {
        return findings;
    }
    if let Some(mesh) = &sample.trigger_mesh {
        findings.push(few_subscriptions(state, mesh.said().map(|said| said.count as u64)));
    }
    let standing = sample.status.iter().flat_map(|status| &status.components);
    findings.extend(standing.map(|(name, readiness)| not_ready(name, readiness)));
    findings.extend(sample.answers().map(|(name, answer)| {
        let found = match answer {
            Ok(_) => Found::Over,
            // Why is known, and told.
            Err(_) if sample.is_ready(name) == Some(false) => Found::Open,
            Err(_) => Found::Holds,
        };
        let text = match answer {
            Ok(ms) => format!("{name} answers, in {ms:.0} ms"),
            Err(why) => format!("{name} does not answer: {why}"),
        };
        Finding::new(Rule::NoAnswer, name, Severity::Critical, found, text)
    }));
    findings
}

fn queue(settings: &Settings, htm: &Answer<Queue>) -> [Finding; 2] {
    let thresholds = [
        (Rule::QueueWarning, Severity::Warning, settings.layer2.queue_warning),
        (Rule::QueueCritical, Severity::Critical, settings.layer2.queue_critical),
    ];
    thresholds.map(|(rule, severity, threshold)| {
        let (found, text) = match htm.said() {
            None => (Found::Open, String::new()),
            Some(queue) => {
                let found = above(queue.waiting, threshold);
                let than = if found == Found::Holds { "more than" } else { "the threshold is" };
                (found, format!("{} tasks wait for a worker, {than} {threshold}", queue.waiting))
            }
        };
        Finding::new(rule, "htm", severity, found, text)
    })
}

fn no_workers(settings: &Settings, htm: &Answer<Queue>) -> Finding {
    let (found, text) = match htm.said() {
        None => (Found::Open, String::new()),
        Some(queue) if !queue.workers.is_empty() => {
            (Found::Over, format!("{} workers are there", queue.workers.len()))
        }
        Some(queue) if settings.workers_expected || queue.open > 0 => {
            (Found::Holds, format!("no worker is there to run tasks; {} are open", queue.open))
        }
        Some(_) => (Found::Over, "there is no work, and no worker is asked for".to_owned()),
    };
    Finding { at_once: true, ..Finding::new(Rule::NoWorkers, "htm", Severity::Critical, found, text) }
}

fn slow_dispatch(state: &State, htm: &Answer<Queue>, rate: Option<f64>) -> Finding {
    let least = state.settings.layer2.dispatch_rate_warning;
    let waited = state.last.as_ref().is_some_and(|last| last.htm_queue_depth > 0);
    let (found, text) = match (htm.said(), rate) {
        (Some(queue), _) if queue.waiting == 0 => (Found::Over, "no task waits".to_owned()),
        (Some(queue), Some(rate)) => {
            let found = if rate >= least * 1.25 {
                Found::Over
            } else if rate < least && waited {
                Found::Holds
            } else {
                Found::Open
            };
            let waiting = queue.waiting;
            (
                found,
                format!(
                    "{waiting} tasks wait, and {rate:.2} a second are given out; at least {least} should be"
                ),
            )
        }
        _ => (Found::Open, String::new()),
    };
    Finding::new(Rule::SlowDispatch, "htm", Severity::Warning, found, text)
}

fn few_subscriptions(state: &State, count: Option<u64>) -> Finding {
    let given = state.settings.layer2.subscriptions_warning;
    let once = (state.most_subscriptions >= SUBSCRIPTIONS_WARNING).then_some(SUBSCRIPTIONS_WARNING);
    let least = given.or(once).unwrap_or(0);
    let (found, text) = match count {
        None => (Found::Open, String::new()),
        Some(count) if count < least => {
            let should = match given {
                Some(least) => format!("the manifest wants at least {least}"),
                None => format!("there were {} once", state.most_subscriptions),
            };
            (Found::Holds, format!("the trigger mesh has {count} subscriptions; {should}"))
        }
        Some(count) => (Found::Over, format!("the trigger mesh has {count} subscriptions")),
    };
    Finding::new(Rule::FewSubscriptions, "trigger_mesh", Severity::Warning, found, text)
}

fn not_ready(name: &str, readiness: &Readiness) -> Finding {
    let found = if readiness.ready { Found::Over } else { Found::Holds };
    // One of several: the others go on.
    let severity = if readiness.worker { Severity::Warning } else { Severity::Critical };
    let text = if readiness.ready {
        format!("{name} is ready")
    } else {
        format!("{name} is not ready: it is {}", readiness.state)
    };
    Finding::new(Rule::NotReady, name, severity, found, text)
}
