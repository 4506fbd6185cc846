//! What the watchdog of Layer 2 says when something is put to the vote: whether there are hands for it, and whether promises are kept.

use grace_kernel::{
    Envelope, Outcome,
    process::{thread::Commands, voter::View},
    vote::{Proposal, Vote},
};
use grace_types::{manifest::Severity, reason::Reason};

use super::{
    alert::Alert,
    decider::Layer2Watchdog,
    message::{Command, Reply},
    telemetry::Telemetry,
};

/// Of so many promises at most one may have been broken: 95 % are kept.
const PROMISES: u64 = 20;

/// What it says of the last look and the alerts that are raised.
#[must_use]
pub fn say(last: Option<&Telemetry>, alerts: &[Alert]) -> (Vote, Vec<Reason>) {
    let Some(last) = last else {
        return (Vote::Abstain, vec![Reason::new("layer2.unknown", "Layer 2 has not been looked at yet")]);
    };
    let told = |alert: &Alert| Reason::new(format!("layer2.{}", alert.rule), alert.text.clone());
    let critical: Vec<Reason> =
        alerts.iter().filter(|alert| alert.severity == Severity::Critical).map(told).collect();
    if !critical.is_empty() {
        return (Vote::No, critical);
    }
    let kept = last.dispatches + last.trigger_firings + last.policy_firings + last.scheduler_dispatches;
    let broken = last.sla_breaches;
    let promises =
        Reason::new("layer2.promises", format!("{broken} promises were broken, {kept} things were done"));
    if kept >= PROMISES && broken.saturating_mul(PROMISES) > kept {
        return (Vote::No, vec![promises]);
    }
    let work = format!(
        "{} tasks wait and {} run, with {} workers and no critical alert",
        last.htm_queue_depth, last.htm_running, last.workers
    );
    let mut reasons = vec![Reason::new("layer2.work", work), promises];
    reasons.extend(alerts.iter().map(told));
    (Vote::Yes, reasons)
}

/// Asks the own decider.
pub(super) struct LastLook(pub(super) Commands<Layer2Watchdog>);

impl View for LastLook {
    async fn look(&mut self, _proposal: &Proposal) -> (Vote, Vec<Reason>) {
        match self.0.ask(Envelope::new(Command::Overview)).await {
            Ok(Outcome::Done(Reply::Overview { telemetry, alerts })) => say(telemetry.as_deref(), &alerts),
            _ => say(None, &[]),
        }
    }
}

#[cfg(test)]
mod tests {
    use grace_types::time::Timestamp;

    use super::*;
    use crate::watchdog::alert::Rule;

    #[test]
    fn a_critical_alert_or_broken_promises_are_a_no() {
        let well = Telemetry { dispatches: 100, workers: 3, sla_breaches: 5, ..Telemetry::default() };
        let alert = |severity| Alert {
            rule: Rule::QueueWarning,
            component: "htm".into(),
            severity,
            since: Timestamp::from_nanos(0),
            text: "many tasks wait".into(),
        };
        let (vote, reasons) = say(Some(&well), &[alert(Severity::Warning)]);
        assert_eq!((vote, reasons.last().unwrap().text.as_str()), (Vote::Yes, "many tasks wait"));
        assert_eq!(say(Some(&well), &[alert(Severity::Critical)]).0, Vote::No);
        let broken = Telemetry { sla_breaches: 6, ..well };
        let (vote, reasons) = say(Some(&broken), &[]);
        assert_eq!((vote, reasons[0].code.as_str()), (Vote::No, "layer2.promises"));
        let young = Telemetry { dispatches: 3, sla_breaches: 1, ..Telemetry::default() };
        assert_eq!(say(Some(&young), &[]).0, Vote::Yes, "too little to judge by");
        assert_eq!(say(None, &[]).0, Vote::Abstain);
    }
}
