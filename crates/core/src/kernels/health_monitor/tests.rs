//! The score's formula, the steps of alerts, and the decider's story of both.

use std::{collections::BTreeMap, time::Duration};

use grace_kernel::{Decider, Envelope, Host, Outcome};
use grace_store::memory::{Disk, MemoryJournal};
use grace_types::{
    chance::SeededEntropy,
    manifest::{AlertRule, Comparison, ComponentKind, Manifest, Metric, Severity},
    time::{Monotonic, Now, Timestamp},
};
use proptest::prelude::*;

use super::{
    alerts::{self, Phase},
    decider::{Command, Event, HealthMonitor, Refusal, Reply, State},
    sample::{Sampler, StatusView, Usage},
    score::{Reading, score},
};
use crate::{
    limits,
    status::{ComponentState, ComponentStatus},
};

fn at(seconds: u64) -> Now {
    Now {
        wall: Timestamp::from_nanos((1_795_437_000 + seconds) * 1_000_000_000),
        mono: Monotonic::from_nanos(seconds * 1_000_000_000),
    }
}

fn well() -> Reading {
    Reading {
        state: ComponentState::Ready,
        ready: true,
        restarts: 0,
        intensity: 3,
        heartbeat_age_seconds: None,
        heartbeat_interval_seconds: None,
        cpu_cores: None,
        cpu_limit_cores: None,
        memory_bytes: None,
        memory_limit_bytes: None,
    }
}

#[test]
fn each_factor_takes_what_the_formula_says() {
    let beat =
        |age| Reading { heartbeat_age_seconds: Some(age), heartbeat_interval_seconds: Some(2.0), ..well() };
    let memory = |used| Reading { memory_bytes: Some(used), memory_limit_bytes: Some(1000), ..well() };
    let cpu = |used| Reading { cpu_cores: Some(used), cpu_limit_cores: Some(1.0), ..well() };
    let state = |state| Reading { state, ready: false, ..well() };
    let cases = [
        (well(), 1.0),
        (state(ComponentState::Ready), 0.7),
        (state(ComponentState::Starting), 0.7),
        (state(ComponentState::Stopped), 1.0),
        (state(ComponentState::Paused), 0.5),
        (state(ComponentState::Restarting), 0.3),
        (state(ComponentState::Degraded), 0.1),
        (state(ComponentState::Failed), 0.0),
        (Reading { restarts: 3, ..well() }, 0.5),
        (Reading { restarts: 9, intensity: 0, ..well() }, 0.5),
        (beat(2.0), 1.0),
        (beat(3.0), 0.5),
        (beat(9.0), 0.0),
        (memory(800), 1.0),
        (memory(900), 0.75),
        (memory(5000), 0.5),
        (cpu(0.9), 1.0),
        (cpu(2.0), 0.8),
        (
            Reading {
                memory_bytes: Some(1000),
                cpu_cores: Some(1.0),
                cpu_limit_cores: Some(1.0),
                ..memory(1000)
            },
            0.4,
        ),
    ];
    for (reading, expected) in cases {
        let got = score(&reading);
        assert!((got.value - expected).abs() < 1e-9, "{reading:?} is {got:?}, not {expected}");
        assert_eq!(got.factors.is_empty(), expected == 1.0);
        assert!(got.factors.is_sorted_by(|a, b| a.value <= b.value), "{got:?}");
    }
}

proptest! {
    #[test]
    fn a_score_is_always_a_share_whatever_was_measured(
        (a, b, c, d) in (any::<f64>(), any::<f64>(), any::<f64>(), any::<f64>()),
        (m, l, r, i) in (any::<u64>(), any::<u64>(), any::<u32>(), any::<u32>()),
    ) {
        let reading = Reading {
            heartbeat_age_seconds: Some(a), heartbeat_interval_seconds: Some(b),
            cpu_cores: Some(c), cpu_limit_cores: Some(d),
            memory_bytes: Some(m), memory_limit_bytes: Some(l), restarts: r, intensity: i, ..well()
        };
        let score = score(&reading);
        prop_assert!((0.0..=1.0).contains(&score.value), "{:?}", score);
        let text = serde_json::to_string(&score).unwrap();
        prop_assert_eq!(serde_json::from_str::<super::score::Score>(&text).unwrap(), score);
    }
}

fn rule(hold_seconds: u64) -> AlertRule {
    AlertRule {
        name: "busy".into(),
        component: Some("web".into()),
        metric: Metric::CpuCores,
        comparison: Comparison::Above,
        threshold: 0.5,
        hold: Duration::from_secs(hold_seconds),
        severity: Severity::Warning,
    }
}

/// A monitor on a disk, as its process runs it.
struct Monitor {
    disk: Disk,
    entropy: SeededEntropy,
    /// `what component` of every event, in order.
    told: Vec<String>,
}

impl Monitor {
    fn new() -> Self {
        Self { disk: Disk::new(), entropy: SeededEntropy::new(1), told: Vec::new() }
    }

    /// Each command comes to a monitor that was just restarted, so that nothing can depend on what is not on disk.
    fn ask(&mut self, now: Now, command: Command) -> Outcome<Reply, Refusal> {
        let mut journal = MemoryJournal::open(&self.disk).unwrap();
        let mut host: Host<HealthMonitor, ()> = Host::load("health_monitor", &mut journal).unwrap();
        host.take(now, &mut self.entropy, Envelope::new(command), ());
        let mut released = host.commit(&mut journal);
        for (_, entry) in &released.entries {
            self.told.push(format!("{} {}", HealthMonitor::what(entry.record.event()), entry.record.place()));
        }
        released.answers.pop().unwrap().1.unwrap()
    }

    fn observe(&mut self, seconds: u64, readings: &[(&str, Reading)]) -> usize {
        let readings = readings.iter().map(|(name, r)| ((*name).to_owned(), r.clone())).collect();
        match self.ask(at(seconds), Command::Observe { readings }) {
            Outcome::Done(Reply::Observed { changes }) => changes,
            other => panic!("{other:?}"),
        }
    }

    fn configure(&mut self, seconds: u64, boot: &str, rules: Vec<AlertRule>) {
        let outcome = self.ask(at(seconds), Command::Configure { boot: boot.into(), rules });
        assert_eq!(outcome, Outcome::Done(Reply::Configured));
    }

    /// What was told since the last call.
    fn told(&mut self) -> Vec<String> {
        std::mem::take(&mut self.told)
    }
}

fn busy(cores: f64) -> Reading {
    Reading { cpu_cores: Some(cores), ..well() }
}

#[test]
fn an_alert_fires_when_it_has_held_and_resolves_when_it_has_not() {
    let mut monitor = Monitor::new();
    monitor.configure(0, "boot", vec![rule(10)]);
    monitor.observe(0, &[("web", busy(0.1)), ("db", busy(0.9))]);
    assert_eq!(
        monitor.told(),
        ["configured health_monitor", "health_changed db", "health_changed web"],
        "the rule is for `web` only"
    );
    let mut story = Vec::new();
    for (seconds, cores) in [
        (2, 0.9),
        (4, 0.1),
        (6, 0.9),
        (14, 0.9),
        (16, 0.9),
        (18, 0.9),
        (20, 0.1),
        (22, 0.9),
        (24, 0.1),
        (34, 0.1),
    ] {
        monitor.observe(seconds, &[("web", busy(cores)), ("db", busy(0.9))]);
        story.extend(monitor.told().into_iter().map(|what| format!("{seconds} {what}")));
    }
    assert_eq!(
        story,
        [
            "2 alert_pending web",
            "4 alert_cleared web",
            "6 alert_pending web",
            "16 alert_firing web",
            "20 alert_recovering web",
            "22 alert_firing web",
            "24 alert_recovering web",
            "34 alert_resolved web",
        ]
    );
    let Outcome::Done(Reply::Alerts { active, ended }) = monitor.ask(at(35), Command::Alerts) else {
        panic!()
    };
    assert!(active.is_empty() && ended.len() == 1);
    assert_eq!((ended[0].alert.began, ended[0].resolved), (at(6).wall, at(34).wall));
}

#[test]
fn a_reboot_of_the_machine_neither_fires_nor_loses_what_waits() {
    let mut monitor = Monitor::new();
    monitor.configure(1000, "first", vec![rule(10)]);
    monitor.observe(1000, &[("web", busy(0.9))]);
    monitor.configure(3, "second", vec![rule(10)]);
    monitor.told();
    monitor.observe(4, &[("web", busy(0.9))]);
    assert!(monitor.told().is_empty());
    monitor.observe(13, &[("web", busy(0.9))]);
    assert_eq!(monitor.told(), ["alert_firing web"]);
    monitor.configure(14, "second", vec![rule(10)]);
    assert!(monitor.told().is_empty(), "the same rules again are no event");
    monitor.configure(15, "second", Vec::new());
    assert_eq!(monitor.told(), ["configured health_monitor", "alert_resolved web"]);
}

#[test]
fn without_data_a_condition_does_not_hold() {
    for metric in [Metric::CpuCores, Metric::MemoryBytes, Metric::HeartbeatAgeSeconds] {
        for comparison in [Comparison::Above, Comparison::Below] {
            let rule = AlertRule { metric, comparison, threshold: 1e12, ..rule(0) };
            assert!(!alerts::holds(&rule, alerts::measure(metric, &well(), &score(&well()))));
        }
    }
    let mut monitor = Monitor::new();
    monitor.configure(0, "boot", vec![rule(0)]);
    monitor.observe(0, &[("web", busy(0.9))]);
    monitor.told();
    monitor.observe(2, &[("web", well())]);
    assert_eq!(monitor.told(), ["alert_resolved web"]);
}

#[test]
fn only_notable_changes_of_health_are_recorded_and_each_says_why() {
    let mut monitor = Monitor::new();
    monitor.configure(0, "boot", alerts::built_in());
    assert_eq!(monitor.observe(0, &[("web", well())]), 1);
    assert_eq!(monitor.observe(2, &[("web", well())]), 0, "a quiet round costs no write");
    let slightly = Reading { memory_bytes: Some(850), memory_limit_bytes: Some(1000), ..well() };
    assert_eq!(monitor.observe(4, &[("web", slightly)]), 0);
    monitor.told();
    let failed = Reading { state: ComponentState::Failed, ready: false, restarts: 4, ..well() };
    monitor.observe(6, &[("web", failed)]);
    let told = monitor.told();
    assert_eq!(
        told,
        ["health_changed web", "alert_pending web", "alert_firing web", "alert_pending web"],
        "impaired and unhealthy wait, restarting_often does not"
    );
    let Outcome::Done(Reply::Component { health, alerts }) =
        monitor.ask(at(7), Command::Component { name: "web".into() })
    else {
        panic!("no component")
    };
    assert_eq!((health.score.value, health.since), (0.0, at(6).wall));
    assert_eq!(health.score.factors[0].text, "it failed");
    assert_eq!(alerts.iter().filter(|a| a.phase == Phase::Firing).count(), 1);
    monitor.observe(8, &[]);
    assert_eq!(monitor.told()[0], "component_gone web");
    assert_eq!(
        monitor.ask(at(9), Command::Component { name: "web".into() }),
        Outcome::Refused(Refusal::NotFound { name: "web".into() })
    );
}

#[test]
fn bounds_are_refused_and_not_exceeded() {
    let rules: Vec<AlertRule> = (0..=limits::ALERT_RULES)
        .map(|n| AlertRule { name: n.to_string(), component: None, ..rule(10) })
        .collect();
    let state = State::default();
    let boot = "boot".to_owned();
    let configure = Command::Configure { boot: boot.clone(), rules: rules.clone() };
    let refused = HealthMonitor::decide(&state, at(0), &configure);
    assert!(matches!(refused.outcome(), Outcome::Refused(Refusal::TooMany { .. })), "{refused:?}");
    let mut state = State::default();
    let rules = rules[..100].to_vec();
    HealthMonitor::evolve(&mut state, &Event::Configured { boot, rules, at: Monotonic::ZERO });
    let readings: BTreeMap<String, Reading> = (0..100).map(|n| (format!("c{n}"), busy(0.9))).collect();
    let decision = HealthMonitor::decide(&state, at(0), &Command::Observe { readings });
    for record in decision.events() {
        assert!(!record.why().reasons().is_empty());
        HealthMonitor::evolve(&mut state, record.event());
    }
    assert_eq!(state.alerts.len(), limits::ALERTS);
}

fn component(name: &str, pid: Option<u32>, restarts: u32) -> ComponentStatus {
    ComponentStatus {
        name: name.into(),
        layer: 0,
        kind: ComponentKind::Process,
        state: ComponentState::Ready,
        pid,
        restarts,
        health: None,
        since: Timestamp::EPOCH,
        ready: true,
        critical: false,
        heartbeat_age_seconds: None,
        muted: None,
        succeeded: None,
        message: None,
    }
}

#[test]
fn rates_are_of_the_same_processes_and_restarts_of_the_window() {
    let mut sampler = Sampler::new(&Manifest::default());
    let usage = |start_ticks, millis, resident_bytes| Usage {
        start_ticks,
        cpu_time: Duration::from_millis(millis),
        resident_bytes,
    };
    let mut round = |seconds, restarts, used: &[(u32, Usage)]| {
        let status = StatusView { components: vec![component("health_monitor", Some(7), restarts)] };
        let used: BTreeMap<u32, Usage> = used.iter().copied().collect();
        sampler.round(&status, at(seconds).mono, |_| used.clone()).remove("health_monitor").unwrap()
    };
    let first = round(0, 5, &[(7, usage(1, 500, 100))]);
    assert_eq!((first.cpu_cores, first.memory_bytes, first.restarts), (None, Some(100), 0));
    assert_eq!(first.heartbeat_interval_seconds, Some(2.0));
    // A child that came to be is counted from the next round on.
    let second = round(2, 6, &[(7, usage(1, 1500, 100)), (8, usage(9, 9000, 50))]);
    assert_eq!((second.cpu_cores, second.memory_bytes, second.restarts), (Some(0.5), Some(150), 1));
    // Another process under the same number.
    let third = round(4, 8, &[(7, usage(2, 0, 10)), (8, usage(9, 9100, 50))]);
    assert_eq!((third.cpu_cores, third.restarts), (Some(0.05), 3));
    let fourth = round(63, 100, &[]);
    assert_eq!((fourth.cpu_cores, fourth.memory_bytes), (None, None));
    assert_eq!(fourth.restarts, 4, "no more than the window allows and one");
    assert_eq!(round(130, 100, &[]).restarts, 0);
}
