//! `grace status`: a table for people, JSON for scripts.

use std::{fmt::Write as _, io::Write, time::Duration};

use grace_core::{
    instance::Instance,
    status::{ComponentState, ComponentStatus, InstanceState, Status},
};
use grace_types::time::{Clock as _, SystemClock, Timestamp};

use crate::{
    control,
    failure::{Exit, Failure},
    output::Output,
    style::{Style, tame},
    table,
};

/// Prints the state of everything, once or after every change.
pub(crate) fn run(instance: &Instance, watch: bool, out: &mut Output) -> Result<Exit, Failure> {
    if !watch {
        print(&control::status(instance)?, out, false)?;
        return Ok(Exit::Done);
    }
    // A connection that ends is a control plane that ended: either the next one takes us on, or nothing runs any more,
    // and then connecting says so.
    loop {
        for status in control::watch(instance)? {
            print(&status?, out, true)?;
        }
    }
}

fn print(status: &Status, out: &mut Output, again: bool) -> Result<(), Failure> {
    if out.json {
        return out.json_line(status);
    }
    let width = out.width();
    let text = table(status, SystemClock.now().wall, width, out.style);
    if again && width.is_some() {
        // Home, then clear to the end of each line and of the screen: no flicker.
        write!(out, "\x1b[H{}\x1b[J", text.replace('\n', "\x1b[K\n"))?;
    } else {
        write!(out, "{text}{}", if again { "\n" } else { "" })?;
    }
    out.flush()?;
    Ok(())
}

/// The table. Notes are cut off at `width` columns.
fn table(status: &Status, now: Timestamp, width: Option<usize>, style: Style) -> String {
    let mut text = headline(status, now, style);
    for warning in &status.warnings {
        let _ = writeln!(text, "{} {}", style.warn("warning:"), tame(warning));
    }
    let rows: Vec<[String; 8]> = status.components.iter().map(|c| row(c, now)).collect();
    let head = ["NAME", "LAYER", "STATE", "PID", "RESTARTS", "HEALTH", "FOR", "NOTE"];
    let painted = |n: usize, i: usize, cell: String| {
        if i == 2 { paint(&status.components[n], &cell, style) } else { cell }
    };
    text += &table::table(head, &rows, width, style, painted);
    text
}

fn headline(status: &Status, now: Timestamp, style: Style) -> String {
    let state = match status.state {
        InstanceState::Running => style.good("running"),
        InstanceState::Degraded => style.warn("degraded"),
        InstanceState::Emergency => style.bad("emergency"),
        InstanceState::Stopping => style.warn("stopping"),
    };
    let restarts = match status.control_plane_restarts {
        0 => String::new(),
        n => format!(" ({n} restarted)"),
    };
    format!(
        "{state} for {}, bus {}, guardian {}, control plane {}{restarts}\n",
        age(now.since(status.since)),
        tame(&status.bus_address),
        status.guardian_pid,
        status.control_plane_pid
    )
}

fn row(c: &ComponentStatus, now: Timestamp) -> [String; 8] {
    let absent = || "-".to_owned();
    let mut note = tame(c.message.as_deref().unwrap_or_default());
    if c.state == ComponentState::Ready && !c.ready {
        note = format!("not ready now{}{note}", if note.is_empty() { "" } else { ": " });
    }
    [
        tame(&c.name),
        c.layer.to_string(),
        state_word(c.state).to_owned(),
        c.pid.map_or_else(absent, |pid| pid.to_string()),
        c.restarts.to_string(),
        c.health.map_or_else(absent, |h| format!("{h:.2}")),
        age(now.since(c.since)),
        note,
    ]
}

/// As in the JSON.
pub(crate) const fn state_word(state: ComponentState) -> &'static str {
    match state {
        ComponentState::Starting => "starting",
        ComponentState::Ready => "ready",
        ComponentState::Paused => "paused",
        ComponentState::Restarting => "restarting",
        ComponentState::Degraded => "degraded",
        ComponentState::Failed => "failed",
        ComponentState::Stopping => "stopping",
        ComponentState::Stopped => "stopped",
    }
}

fn paint(c: &ComponentStatus, word: &str, style: Style) -> String {
    match c.state {
        ComponentState::Ready if c.ready => style.good(&word),
        ComponentState::Ready
        | ComponentState::Starting
        | ComponentState::Restarting
        | ComponentState::Stopping
        | ComponentState::Paused => style.warn(&word),
        ComponentState::Degraded | ComponentState::Failed => style.bad(&word),
        ComponentState::Stopped => style.dim(&word),
    }
}

/// `850 ms`, `12 s`, `3 m 12 s`, `2 h 5 m`, `3 d 4 h`.
pub(crate) fn age(d: Duration) -> String {
    let s = d.as_secs();
    match s {
        0 => format!("{} ms", d.subsec_millis()),
        1..60 => format!("{s} s"),
        60..3600 => format!("{} m {} s", s / 60, s % 60),
        3600..86_400 => format!("{} h {} m", s / 3600, s / 60 % 60),
        _ => format!("{} d {} h", s / 86_400, s / 3600 % 24),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use grace_types::manifest::ComponentKind;

    use super::*;

    /// A moment to count from in tests.
    pub(crate) fn boot() -> Timestamp {
        Timestamp::from_nanos(1_780_000_000_000_000_000)
    }

    /// A component that entered `state` this long after [`boot`].
    pub(crate) fn component(name: &str, state: ComponentState, after: Duration) -> ComponentStatus {
        let running =
            matches!(state, ComponentState::Ready | ComponentState::Starting | ComponentState::Paused);
        ComponentStatus {
            name: name.into(),
            layer: 0,
            kind: ComponentKind::Process,
            state,
            pid: running.then_some(100),
            restarts: 0,
            health: None,
            since: boot().plus(after),
            ready: state == ComponentState::Ready,
            critical: false,
            heartbeat_age_seconds: None,
            muted: None,
            succeeded: None,
            message: None,
        }
    }

    /// An instance with these components.
    pub(crate) fn instance_of(components: Vec<ComponentStatus>) -> Status {
        Status {
            state: InstanceState::Running,
            guardian_pid: 10,
            control_plane_pid: 11,
            control_plane_restarts: 0,
            bus_address: "127.0.0.1:4222".into(),
            since: boot(),
            warnings: Vec::new(),
            components,
        }
    }

    #[test]
    fn the_table_is_aligned_and_cut() {
        let ms = Duration::from_millis;
        let mut bus = component("message_bus", ComponentState::Ready, ms(41));
        (bus.layer, bus.kind, bus.health) = (1, ComponentKind::Kernel, Some(1.0));
        let mut web = component("web", ComponentState::Failed, ms(61_000));
        web.restarts = 4;
        web.message = Some("exited with status 1\x1b[2J four times".into());
        let mut late = component("late", ComponentState::Ready, ms(0));
        late.ready = false;
        let mut status = instance_of(vec![bus, web, late]);
        status.state = InstanceState::Degraded;
        status.control_plane_restarts = 2;
        status.warnings.push("the journal cannot be written: no space".into());
        let now = boot().plus(Duration::from_secs(3 * 3600 + 61));
        assert_eq!(
            table(&status, now, None, Style::plain()),
            "\
degraded for 3 h 1 m, bus 127.0.0.1:4222, guardian 10, control plane 11 (2 restarted)
warning: the journal cannot be written: no space
NAME         LAYER  STATE   PID  RESTARTS  HEALTH  FOR      NOTE
message_bus  1      ready   100  0         1.00    3 h 1 m
web          0      failed  -    4         -       3 h 0 m  exited with status 1·[2J four times
late         0      ready   100  0         -       3 h 1 m  not ready now
"
        );
        let cut = table(&status, now, Some(60), Style::plain());
        assert!(cut.lines().skip(2).all(|l| l.chars().count() <= 66), "{cut}");
        assert!(cut.contains("exited w\n") || !cut.contains("four times"), "{cut}");
    }

    #[test]
    fn ages() {
        let secs = Duration::from_secs;
        let texts = [Duration::from_millis(7), secs(59), secs(60), secs(7_500), secs(90_000)].map(age);
        assert_eq!(texts, ["7 ms", "59 s", "1 m 0 s", "2 h 5 m", "1 d 1 h"]);
    }
}
