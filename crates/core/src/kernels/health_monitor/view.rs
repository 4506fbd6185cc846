//! What the health monitor says when something is put to the vote: whether everything that matters is well.

use grace_bus::{Bus, Message};
use grace_kernel::{
    process::voter::View,
    vote::{Proposal, Vote},
};
use grace_types::reason::Reason;

use super::{sample::StatusView, shell::STATUS};
use crate::{
    limits,
    status::{ComponentState, ComponentStatus},
};

/// Below this score nothing of high impact is begun on a component: it is the score at which the built-in alert `unhealthy` holds.
pub const WELL: f64 = 0.5;

/// What it looks at, of one component.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// Which.
    pub name: String,
    /// Whether its loss is an emergency.
    pub critical: bool,
    /// Whether it does not do what it is there for.
    pub down: bool,
    /// 0.0 to 1.0, where it was measured.
    pub health: Option<f64>,
}

impl From<&ComponentStatus> for Seen {
    fn from(status: &ComponentStatus) -> Self {
        let down = match status.state {
            ComponentState::Ready => !status.ready,
            ComponentState::Stopped | ComponentState::Stopping => false,
            _ => true,
        };
        Self { name: status.name.clone(), critical: status.critical, down, health: status.health }
    }
}

/// What it says of something that is about `target`.
#[must_use]
pub fn say(components: &[Seen], target: &str) -> (Vote, Vec<Reason>) {
    if components.is_empty() {
        return (Vote::Abstain, vec![Reason::new("health.unknown", "nobody says how the components are")]);
    }
    let named = |of: &dyn Fn(&&Seen) -> bool| -> Vec<&str> {
        components.iter().filter(of).map(|one| one.name.as_str()).collect()
    };
    let down = named(&|one| one.critical && one.down);
    if !down.is_empty() {
        return (
            Vote::No,
            vec![Reason::new("health.critical", format!("critical and down: {}", down.join(", ")))],
        );
    }
    let concerned = components.iter().find(|one| one.name == target);
    if let Some(Seen { name, health: Some(health), .. }) = concerned.filter(|one| one.health < Some(WELL)) {
        let told = format!("{name}, which it is about, has a health of {health:.2}, less than {WELL:.2}");
        return (Vote::No, vec![Reason::new("health.target", told)]);
    }
    let mut reasons = vec![Reason::new("health.critical", "every critical component is up")];
    let worst = components.iter().filter_map(|one| Some((one.health?, &one.name)));
    if let Some((health, name)) = worst.min_by(|a, b| a.0.total_cmp(&b.0)) {
        let told = format!("the lowest health of {} components is {health:.2} ({name})", components.len());
        reasons.push(Reason::new("health.lowest", told));
    }
    let others = named(&|one| one.down);
    if !others.is_empty() {
        reasons.push(Reason::new(
            "health.others",
            format!("not critical, and not ready: {}", others.join(", ")),
        ));
    }
    (Vote::Yes, reasons)
}

/// Asks the control plane.
pub(super) struct StatusOfAll(pub(super) Bus);

impl View for StatusOfAll {
    async fn look(&mut self, proposal: &Proposal) -> (Vote, Vec<Reason>) {
        let asked = self.0.request(Message::new(STATUS, Vec::new()), limits::STATUS_TIMEOUT).await;
        let status = asked.ok().and_then(|answer| serde_json::from_slice::<StatusView>(&answer.payload).ok());
        let seen: Vec<Seen> =
            status.map(|status| status.components.iter().map(Seen::from).collect()).unwrap_or_default();
        say(&seen, &proposal.target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(name: &str, critical: bool, down: bool, health: f64) -> Seen {
        Seen { name: name.to_owned(), critical, down, health: Some(health) }
    }

    #[test]
    fn what_is_critical_and_down_or_what_it_is_about_and_ill_is_a_no() {
        let well = [seen("message_bus", true, false, 1.0), seen("web", false, false, 0.9)];
        let (vote, reasons) = say(&well, "instance");
        assert_eq!(vote, Vote::Yes);
        assert!(
            reasons.iter().any(|reason| reason.text == "the lowest health of 2 components is 0.90 (web)")
        );
        let down = [seen("message_bus", true, true, 0.3), seen("web", false, true, 0.0)];
        let (vote, reasons) = say(&down, "instance");
        assert_eq!((vote, reasons[0].text.as_str()), (Vote::No, "critical and down: message_bus"));
        let ill = [seen("message_bus", true, false, 1.0), seen("web", false, true, 0.1)];
        assert_eq!(say(&ill, "web").0, Vote::No);
        let (vote, reasons) = say(&ill, "instance");
        assert_eq!((vote, reasons.last().unwrap().code.as_str()), (Vote::Yes, "health.others"));
        assert_eq!(say(&[], "instance").0, Vote::Abstain);
    }
}
