//! What to tell a person who watches: the difference between one status and the next, a line each. Pure.
//!
//! Times come from the statuses themselves, so that a line says how long a component took, not how long we took to
//! hear of it.

use std::collections::{BTreeMap, BTreeSet};

use grace_core::status::{ComponentState, ComponentStatus, InstanceState, Status};
use grace_types::{
    manifest::{BootPlan, Condition},
    time::Timestamp,
};

use crate::{
    status::{age, state_word},
    style::{Style, tame},
};

/// How good a piece of news is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tone {
    Good,
    Odd,
    Bad,
}

/// One line of news.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct News {
    tone: Tone,
    mark: char,
    text: String,
}

impl News {
    pub(crate) fn good(text: impl Into<String>) -> Self {
        Self { tone: Tone::Good, mark: '✓', text: text.into() }
    }

    pub(crate) fn odd(mark: char, text: impl Into<String>) -> Self {
        Self { tone: Tone::Odd, mark, text: text.into() }
    }

    pub(crate) fn bad(text: impl Into<String>) -> Self {
        Self { tone: Tone::Bad, mark: '✗', text: text.into() }
    }

    /// `✓ web ready after 41 ms`
    pub(crate) fn line(&self, style: Style) -> String {
        let mark = match self.tone {
            Tone::Good => style.good(&self.mark),
            Tone::Odd => style.warn(&self.mark),
            Tone::Bad => style.bad(&self.mark),
        };
        format!("{mark} {}", self.text)
    }
}

/// What was seen last.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    components: BTreeMap<String, Seen>,
    instance: Option<InstanceState>,
    control_plane: Option<u32>,
    warnings: BTreeSet<String>,
}

#[derive(Debug, Clone)]
struct Seen {
    state: ComponentState,
    pid: Option<u32>,
    restarts: u32,
    /// When it was last ready and then was not any more.
    lost: Option<Timestamp>,
}

impl Progress {
    /// Takes in a status; what is new about it.
    pub(crate) fn update(&mut self, status: &Status) -> Vec<News> {
        let mut news = Vec::new();
        if let Some(before) = self.control_plane.replace(status.control_plane_pid)
            && before != status.control_plane_pid
        {
            let text = format!("control plane replaced (pid {before}, now {})", status.control_plane_pid);
            news.push(News::odd('↻', text));
        }
        let before = self.instance.replace(status.state);
        let changed = (before != Some(status.state)).then(|| instance_news(before, status.state)).flatten();
        // That everything is being stopped explains what follows; that everything runs again sums it up.
        let (first, last) =
            if status.state == InstanceState::Running { (None, changed) } else { (changed, None) };
        news.extend(first);
        for component in &status.components {
            news.extend(self.component(component, status.since));
        }
        for warning in status.warnings.iter().filter(|w| !self.warnings.contains(*w)) {
            news.push(News::odd('!', tame(warning)));
        }
        self.warnings = status.warnings.iter().cloned().collect();
        news.extend(last);
        news
    }

    fn component(&mut self, c: &ComponentStatus, boot: Timestamp) -> Option<News> {
        let before = self.components.get(&c.name).cloned();
        let was = before.as_ref().map(|seen| seen.state);
        let replaced = before
            .as_ref()
            .is_some_and(|seen| c.restarts > seen.restarts && c.state == ComponentState::Ready);
        let mut lost = before.as_ref().and_then(|seen| seen.lost);
        if c.state == ComponentState::Restarting && was != Some(ComponentState::Restarting) {
            lost = Some(c.since);
        }
        let news = if was == Some(c.state) && !replaced {
            None
        } else if replaced && was == Some(ComponentState::Ready) {
            let pids =
                [before.as_ref().and_then(|s| s.pid), c.pid].map(|p| p.map_or("-".into(), |p| p.to_string()));
            Some(News::odd(
                '↻',
                format!("{} restarted (pid {}, now {}){}", tame(&c.name), pids[0], pids[1], why(c)),
            ))
        } else {
            component_news(c, was, lost, boot)
        };
        if c.state == ComponentState::Ready {
            lost = None;
        }
        let seen = Seen { state: c.state, pid: c.pid, restarts: c.restarts, lost };
        self.components.insert(c.name.clone(), seen);
        news
    }
}

fn why(c: &ComponentStatus) -> String {
    c.message.as_deref().filter(|m| !m.is_empty()).map(|m| format!(": {}", tame(m))).unwrap_or_default()
}

fn component_news(
    c: &ComponentStatus,
    was: Option<ComponentState>,
    lost: Option<Timestamp>,
    boot: Timestamp,
) -> Option<News> {
    let name = tame(&c.name);
    match c.state {
        ComponentState::Ready => Some(News::good(match (was, lost) {
            (Some(ComponentState::Paused), _) => format!("{name} resumed"),
            (_, Some(lost)) => format!("{name} ready again after {}", age(c.since.since(lost))),
            _ => format!("{name} ready after {}", age(c.since.since(boot))),
        })),
        ComponentState::Restarting => Some(News::odd('↻', format!("{name} restarting{}", why(c)))),
        ComponentState::Paused => Some(News::odd('‖', format!("{name} paused"))),
        ComponentState::Degraded => Some(News::bad(format!("{name} degraded{}", why(c)))),
        ComponentState::Failed => Some(News::bad(format!("{name} failed{}", why(c)))),
        ComponentState::Stopped => Some(News::odd('■', format!("{name} stopped{}", why(c)))),
        ComponentState::Starting | ComponentState::Stopping => None,
    }
}

fn instance_news(before: Option<InstanceState>, now: InstanceState) -> Option<News> {
    match (before, now) {
        (None, InstanceState::Running) => None,
        (_, InstanceState::Running) => Some(News::good("everything runs again")),
        // The component that failed has its own line.
        (_, InstanceState::Degraded) => None,
        (_, InstanceState::Emergency) => Some(News::bad("emergency protocol under way")),
        (_, InstanceState::Stopping) => Some(News::odd('■', "stopping everything, dependents first")),
    }
}

/// Whether the boot is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Boot {
    /// Not yet: these are not ready, and one of them at least is still on its way; with what it is doing.
    Waiting(Vec<(String, String)>),
    /// Everything that should run is ready; what was to run once has ended.
    Ready,
    /// These are not ready and will not be unless something changes; with the reason.
    Failed(Vec<(String, String)>),
}

/// Judges a status. Components wait for others as `plan` says, and one that waits for a failed one waits in vain.
pub(crate) fn boot(status: &Status, plan: &BootPlan) -> Boot {
    let mut failed: BTreeMap<&str, String> = BTreeMap::new();
    for c in &status.components {
        match c.state {
            ComponentState::Failed => drop(failed.insert(&c.name, format!("failed{}", why(c)))),
            ComponentState::Degraded => drop(failed.insert(&c.name, format!("degraded{}", why(c)))),
            _ => {}
        }
    }
    // As often as there are components at most: each round adds one or is the last.
    while let Some((name, cause)) = status.components.iter().find_map(|c| blocked(c, status, plan, &failed)) {
        failed.insert(name, format!("waits for {cause}"));
    }
    let waiting: Vec<_> = status
        .components
        .iter()
        .filter(|c| !failed.contains_key(c.name.as_str()) && !settled(c))
        .map(|c| (c.name.clone(), format!("still {}{}", state_word(c.state), why(c))))
        .collect();
    let failed = failed.into_iter().map(|(name, why)| (name.to_owned(), why));
    if !waiting.is_empty() || status.components.is_empty() {
        return Boot::Waiting(failed.chain(waiting).collect());
    }
    let failed: Vec<_> = failed.collect();
    if failed.is_empty() { Boot::Ready } else { Boot::Failed(failed) }
}

fn settled(c: &ComponentStatus) -> bool {
    match c.state {
        ComponentState::Ready | ComponentState::Stopped => true,
        ComponentState::Starting
        | ComponentState::Paused
        | ComponentState::Restarting
        | ComponentState::Stopping
        | ComponentState::Degraded
        | ComponentState::Failed => false,
    }
}

/// A component that waits in vain, and for which other.
fn blocked<'a>(
    c: &'a ComponentStatus,
    status: &Status,
    plan: &BootPlan,
    failed: &BTreeMap<&str, String>,
) -> Option<(&'a str, String)> {
    if c.state != ComponentState::Starting || c.pid.is_some() || failed.contains_key(c.name.as_str()) {
        return None;
    }
    let needs = &plan.waves.iter().flatten().find(|step| step.name == c.name)?.after;
    let ended_badly = |name: &str| {
        status.components.iter().any(|other| other.name == name && other.succeeded == Some(false))
    };
    // The end of a process, even a bad one, is what `completed` waits for.
    let in_vain = |(name, condition): &(&String, &Condition)| match condition {
        Condition::Completed => false,
        Condition::CompletedSuccessfully => failed.contains_key(name.as_str()) || ended_badly(name),
        Condition::Started | Condition::Ready => failed.contains_key(name.as_str()),
    };
    needs.iter().find(in_vain).map(|(name, _)| (c.name.as_str(), name.clone()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use grace_types::manifest::{ComponentKind, ProcessSpec};

    use super::*;
    use crate::status::tests::{component, instance_of};

    const MS: Duration = Duration::from_millis(1);

    fn lines(progress: &mut Progress, status: &Status) -> Vec<String> {
        progress.update(status).iter().map(|news| news.line(Style::plain())).collect()
    }

    fn one(state: ComponentState, after: Duration, restarts: u32, message: Option<&str>) -> Status {
        let mut c = component("web", state, after);
        (c.restarts, c.message) = (restarts, message.map(str::to_owned));
        instance_of(vec![c])
    }

    #[test]
    fn a_life_in_lines() {
        use ComponentState::{Failed, Paused, Ready, Restarting, Starting, Stopped};
        let mut progress = Progress::default();
        let mut say = |status: &Status| lines(&mut progress, status);
        assert_eq!(say(&one(Starting, MS, 0, None)), [""; 0]);
        assert_eq!(say(&one(Ready, 41 * MS, 0, None)), ["✓ web ready after 41 ms"]);
        assert_eq!(say(&one(Ready, 41 * MS, 0, Some("busy"))), [""; 0]);
        assert_eq!(
            say(&one(Restarting, 9_000 * MS, 1, Some("killed by SIGKILL"))),
            ["↻ web restarting: killed by SIGKILL"]
        );
        assert_eq!(say(&one(Starting, 9_002 * MS, 1, None)), [""; 0]);
        assert_eq!(say(&one(Ready, 9_130 * MS, 1, None)), ["✓ web ready again after 130 ms"]);
        assert_eq!(say(&one(Paused, 10_000 * MS, 1, None)), ["‖ web paused"]);
        assert_eq!(say(&one(Ready, 11_000 * MS, 1, None)), ["✓ web resumed"]);
        assert_eq!(say(&one(Ready, 12_000 * MS, 2, None)), ["↻ web restarted (pid 100, now 100)"]);
        assert_eq!(say(&one(Failed, 13_000 * MS, 4, Some("too often"))), ["✗ web failed: too often"]);
        let mut stopping = one(Stopped, 14_000 * MS, 4, None);
        stopping.state = InstanceState::Stopping;
        assert_eq!(say(&stopping), ["■ stopping everything, dependents first", "■ web stopped"]);
    }

    #[test]
    fn the_control_plane_and_warnings_are_told_once() {
        let mut progress = Progress::default();
        let mut status = one(ComponentState::Ready, MS, 0, None);
        lines(&mut progress, &status);
        status.control_plane_pid = 12;
        status.warnings.push("no space".into());
        assert_eq!(
            lines(&mut progress, &status),
            ["↻ control plane replaced (pid 11, now 12)", "! no space"]
        );
        assert_eq!(lines(&mut progress, &status), [""; 0]);
        status.state = InstanceState::Emergency;
        assert_eq!(lines(&mut progress, &status), ["✗ emergency protocol under way"]);
        status.state = InstanceState::Running;
        assert_eq!(lines(&mut progress, &status), ["✓ everything runs again"]);
    }

    /// `b` needs `a` in this way.
    fn chain(condition: Condition) -> BootPlan {
        let spec = |name: &str| ProcessSpec::new(name, ComponentKind::Process, vec!["x".into()]);
        let mut b = spec("b");
        b.depends_on.insert("a".into(), condition);
        BootPlan::of(&[spec("a"), b]).unwrap()
    }

    #[test]
    fn the_boot_is_over_when_nothing_can_change() {
        use ComponentState::{Failed, Paused, Ready, Restarting, Starting, Stopped};
        let judge = |a, b, condition| {
            let mut waiting = component("b", b, MS);
            waiting.pid = None;
            boot(&instance_of(vec![component("a", a, MS), waiting]), &chain(condition))
        };
        let named = |names: &[(&str, &str)]| -> Vec<(String, String)> {
            names.iter().map(|(n, w)| ((*n).to_owned(), (*w).to_owned())).collect()
        };
        let failed = |names| Boot::Failed(named(names));
        let waiting = |names| Boot::Waiting(named(names));
        assert_eq!(judge(Ready, Ready, Condition::Ready), Boot::Ready);
        assert_eq!(judge(Stopped, Ready, Condition::Completed), Boot::Ready);
        assert_eq!(judge(Ready, Starting, Condition::Ready), waiting(&[("b", "still starting")]));
        assert_eq!(
            judge(Restarting, Paused, Condition::Ready),
            waiting(&[("a", "still restarting"), ("b", "still paused")])
        );
        assert_eq!(
            judge(Failed, Starting, Condition::Ready),
            failed(&[("a", "failed"), ("b", "waits for a")])
        );
        assert_eq!(
            judge(Failed, Starting, Condition::Completed),
            waiting(&[("a", "failed"), ("b", "still starting")])
        );
        assert_eq!(judge(Failed, Ready, Condition::Completed), failed(&[("a", "failed")]));
        assert_eq!(boot(&instance_of(vec![]), &BootPlan { waves: vec![] }), Boot::Waiting(vec![]));
    }

    #[test]
    fn who_needs_success_waits_in_vain_for_what_ended_badly() {
        let judge = |succeeded| {
            let (mut a, mut b) =
                (component("a", ComponentState::Stopped, MS), component("b", ComponentState::Starting, MS));
            (a.succeeded, b.pid) = (Some(succeeded), None);
            boot(&instance_of(vec![a, b]), &chain(Condition::CompletedSuccessfully))
        };
        assert_eq!(judge(false), Boot::Failed(vec![("b".into(), "waits for a".into())]));
        assert_eq!(judge(true), Boot::Waiting(vec![("b".into(), "still starting".into())]));
    }
}
