//! What is found of a process, and when, as time passes on command.

use std::path::Path;

use grace_types::manifest::{Check, Probe};

use super::*;
use crate::control_plane::kernel_specs;

const RUN: IncarnationId = IncarnationId::from_bits(7);
const FORMER_RUN: IncarnationId = IncarnationId::from_bits(6);

/// A program with no probes and no watchdog.
fn plain() -> ProcessSpec {
    let kernel = kernel_specs(Path::new("grace")).remove(0);
    ProcessSpec {
        name: "web".to_owned(),
        readiness: None,
        watchdog: None,
        start_timeout: Duration::from_secs(30),
        ..kernel
    }
}

fn beating(interval: Duration) -> ProcessSpec {
    ProcessSpec { watchdog: Some(interval), ..plain() }
}

fn probe(check: Check) -> Option<Probe> {
    Some(Probe {
        check,
        initial_delay: Duration::ZERO,
        period: SECOND,
        timeout: SECOND,
        success_threshold: 1,
        failure_threshold: 2,
    })
}

fn tcp(port: u16) -> Option<Probe> {
    probe(Check::Tcp { host: "localhost".to_owned(), port })
}

const SECOND: Duration = Duration::from_secs(1);

const fn at(millis: u64) -> Monotonic {
    Monotonic::from_nanos(1_000_000_000_000 + millis * 1_000_000)
}

/// One process under watch.
struct Bench {
    detectors: Detectors,
    spec: ProcessSpec,
}

impl Bench {
    /// Watched from 0 ms on; what was found at once.
    fn new(spec: ProcessSpec, ready: bool) -> (Self, Option<Input>) {
        let mut detectors = Detectors::default();
        let found = detectors.watch(&spec, RUN, ready, at(0));
        (Self { detectors, spec }, found)
    }

    fn says(&mut self, said: &Notification, millis: u64) -> Option<Input> {
        self.detectors.notified(&self.spec, RUN, said, at(millis))
    }

    fn hangs(&mut self, millis: u64) -> Option<Hang> {
        let (mut found, _) = self.detectors.due(at(millis));
        assert!(found.len() <= 1, "{found:?}");
        found.pop().map(hang)
    }

    /// The probes whose check is to be started now.
    fn checks(&mut self, millis: u64) -> Vec<Probing> {
        let (found, checks) = self.detectors.due(at(millis));
        assert!(found.is_empty(), "{found:?}");
        checks.into_iter().map(|check| check.probing).collect()
    }

    fn probed(&mut self, probing: Probing, result: Result<(), &str>, millis: u64) -> Option<Input> {
        self.detectors.probed(&self.spec, RUN, probing, result.map_err(str::to_owned), at(millis))
    }
}

fn hang(input: Input) -> Hang {
    match input {
        Input::Hung { component, incarnation, hang } if component == "web" && incarnation == RUN => hang,
        other => panic!("found something else: {other:?}"),
    }
}

#[track_caller]
fn assert_ready(found: Option<Input>, by: &str) {
    match found {
        Some(Input::Ready { component, incarnation, how }) => {
            assert_eq!((component.as_str(), incarnation, how), ("web", RUN, by));
        }
        other => panic!("not ready: {other:?}"),
    }
}

#[test]
fn a_heartbeat_in_time_says_nothing_and_one_that_is_missing_is_found_once() {
    let (mut bench, found) = Bench::new(beating(SECOND), false);
    assert_ready(found, "running");
    assert_eq!(bench.hangs(999), None);
    assert!(bench.says(&Notification::Watchdog, 900).is_none());
    assert_eq!(bench.detectors.next_deadline(), Some(at(1900)));
    assert_eq!(bench.detectors.heartbeat_ages(at(1150)), BTreeMap::from([("web".to_owned(), 0.25)]));
    assert_eq!(bench.hangs(1899), None);
    assert_eq!(bench.hangs(1900), Some(Hang::Watchdog { silent: SECOND }));
    assert_eq!((bench.hangs(9000), bench.detectors.next_deadline()), (None, None));
}

#[test]
fn a_program_may_ask_for_more_time_within_bounds() {
    let (mut bench, _) = Bench::new(beating(SECOND), true);
    assert!(bench.says(&Notification::ExtendTimeout(10 * SECOND), 500).is_none());
    assert!(bench.says(&Notification::Watchdog, 800).is_none(), "a heartbeat takes nothing back");
    assert_eq!(bench.hangs(10_499), None);
    assert_eq!(bench.hangs(10_500), Some(Hang::Watchdog { silent: Duration::from_millis(9700) }));

    let (mut bench, _) = Bench::new(beating(SECOND), true);
    bench.says(&Notification::ExtendTimeout(Duration::MAX), 0);
    assert_eq!(bench.detectors.next_deadline(), Some(at(0).plus(LONGEST_EXTENSION)));
}

#[test]
fn a_program_may_call_itself_hung_or_change_its_interval() {
    let (mut bench, _) = Bench::new(beating(SECOND), true);
    let triggered = bench.says(&Notification::WatchdogTrigger, 1).map(hang);
    assert_eq!(triggered, Some(Hang::Triggered));

    let (mut bench, _) = Bench::new(beating(SECOND), true);
    assert!(bench.says(&Notification::WatchdogInterval(5 * SECOND), 500).is_none());
    assert_eq!(bench.hangs(5499), None);
    assert_eq!(bench.hangs(5500), Some(Hang::Watchdog { silent: 5 * SECOND }));

    let (mut bench, _) = Bench::new(plain(), true);
    bench.says(&Notification::WatchdogInterval(SECOND), 0);
    assert_eq!(bench.detectors.next_deadline(), None, "heartbeats are owed by those that have a watchdog");
}

#[test]
fn heartbeats_are_owed_from_ready_on_and_ready_is_said_once() {
    let (mut bench, found) =
        Bench::new(ProcessSpec { readiness: probe(Check::Notify), ..beating(SECOND) }, false);
    assert!(found.is_none());
    assert_eq!(bench.hangs(5000), None);
    assert_ready(bench.says(&Notification::Ready, 5000), "READY=1");
    assert!(bench.says(&Notification::Ready, 5001).is_none());
    assert_eq!(bench.hangs(5999), None);
    assert_eq!(bench.hangs(6000), Some(Hang::Watchdog { silent: SECOND }));
}

#[test]
fn a_start_that_takes_too_long_says_what_was_waited_for() {
    let late = |spec: ProcessSpec| {
        let (mut bench, found) = Bench::new(spec, false);
        assert!(found.is_none());
        assert!(bench.says(&Notification::ExtendTimeout(40 * SECOND), 0).is_none());
        bench.checks(39_999);
        match bench.hangs(40_000) {
            Some(Hang::StartTimeout { reason }) => reason,
            other => panic!("not a start timeout: {other:?}"),
        }
    };
    let with = |check| late(ProcessSpec { readiness: probe(check), ..plain() });
    assert_eq!(with(Check::Notify), "it did not send READY=1 to $NOTIFY_SOCKET within 30 s");
    let line = with(Check::LogLine { pattern: "up".to_owned() });
    assert_eq!(line, "it printed no line that matches /up/ within 30 s");
    let command = vec!["test".to_owned(), "-e".to_owned(), "x".to_owned()];
    assert_eq!(with(Check::Exec { command }), "`test -e x` did not succeed within 30 s");

    let (mut bench, _) = Bench::new(ProcessSpec { readiness: tcp(81), ..plain() }, false);
    assert_eq!(bench.checks(0), [Probing::Readiness]);
    assert!(bench.probed(Probing::Readiness, Err("connection refused"), 10).is_none());
    let reason =
        "nothing accepted a connection on localhost:81 within 30 s; the last check said: connection refused";
    assert_eq!(bench.hangs(30_000), Some(Hang::StartTimeout { reason: reason.to_owned() }));
    assert_eq!(bench.hangs(30_001), None, "found once");
}

#[test]
fn startup_comes_before_readiness_and_readiness_before_liveness() {
    let spec = ProcessSpec { startup: tcp(1), readiness: tcp(2), liveness: tcp(3), ..plain() };
    let (mut bench, found) = Bench::new(spec, false);
    assert!(found.is_none());
    assert_eq!(bench.checks(0), [Probing::Startup]);
    assert_eq!(bench.checks(5000), [], "one check at a time");
    assert!(bench.probed(Probing::Startup, Ok(()), 5000).is_none());
    assert_eq!(bench.checks(5000), [Probing::Readiness]);
    assert_ready(bench.probed(Probing::Readiness, Ok(()), 5001), "its readiness probe");
    assert_eq!(bench.checks(5001), [Probing::Liveness]);
    assert!(bench.probed(Probing::Liveness, Err("slow"), 5500).is_none(), "two in a row are a verdict");
    assert_eq!(bench.checks(6001), [Probing::Liveness]);
    let found = bench.probed(Probing::Liveness, Err("no answer"), 6500).map(hang);
    assert_eq!(found, Some(Hang::Liveness { reason: "no answer".to_owned() }));
    assert_eq!(bench.hangs(60_000), None, "it was ready in time");

    let (mut bench, _) = Bench::new(ProcessSpec { startup: tcp(1), ..plain() }, false);
    assert_eq!(bench.checks(0), [Probing::Startup]);
    assert_ready(bench.probed(Probing::Startup, Ok(()), 1), "its startup probe");
}

#[test]
fn ready_is_not_believed_before_startup_has_succeeded() {
    let spec = ProcessSpec { startup: tcp(1), readiness: probe(Check::Notify), ..plain() };
    let (mut bench, _) = Bench::new(spec, false);
    assert!(bench.says(&Notification::Ready, 0).is_none());
    assert_eq!(bench.checks(0), [Probing::Startup]);
    assert!(bench.probed(Probing::Startup, Ok(()), 1).is_none());
    assert_ready(bench.says(&Notification::Ready, 2), "READY=1");
}

#[test]
fn a_matching_line_makes_ready_once() {
    let spec = ProcessSpec { readiness: probe(Check::LogLine { pattern: "up".to_owned() }), ..plain() };
    let (mut bench, _) = Bench::new(spec, false);
    let mut matched = || bench.detectors.line_matched(&bench.spec, RUN, at(5));
    assert_ready(matched(), "a line of its output");
    assert!(matched().is_none());
}

#[test]
fn time_that_we_lost_ourselves_is_forgiven() {
    let (mut bench, _) = Bench::new(beating(SECOND), true);
    bench.detectors.forgive(5 * SECOND);
    assert_eq!(bench.hangs(6999), None, "the time lost, and an interval to be heard in");
    assert!(bench.hangs(7000).is_some());

    let (mut bench, _) = Bench::new(ProcessSpec { readiness: probe(Check::Notify), ..plain() }, false);
    bench.detectors.forgive(5 * SECOND);
    assert_eq!(bench.hangs(34_999), None);
    assert!(bench.hangs(35_000).is_some());
}

#[test]
fn nothing_is_owed_while_paused_and_everything_anew_once_resumed() {
    let spec = ProcessSpec { readiness: tcp(2), liveness: tcp(3), ..beating(SECOND) };
    let (mut bench, _) = Bench::new(spec, true);
    assert_eq!(bench.checks(0), [Probing::Liveness], "readiness is behind it");
    bench.detectors.unwatch("web");
    assert_eq!((bench.hangs(60_000), bench.detectors.next_deadline()), (None, None));
    assert!(bench.probed(Probing::Liveness, Err("it is paused"), 60_000).is_none());

    let found = bench.detectors.watch(&bench.spec, RUN, true, at(60_000));
    assert!(found.is_none(), "it was ready all the time");
    for late in 0..3 {
        let found = bench.probed(Probing::Liveness, Err("it was paused"), 60_000 + late);
        assert!(found.is_none(), "a result of before says nothing");
    }
    assert_eq!(bench.checks(60_500), [Probing::Liveness]);
    assert_eq!(bench.hangs(61_000), Some(Hang::Watchdog { silent: SECOND }));
}

#[test]
fn what_an_older_run_says_changes_nothing() {
    let spec = ProcessSpec { readiness: probe(Check::Notify), liveness: tcp(3), ..beating(SECOND) };
    let (mut bench, _) = Bench::new(spec.clone(), false);
    let mut former = |said| bench.detectors.notified(&spec, FORMER_RUN, &said, at(10));
    assert!(former(Notification::Ready).is_none());
    assert!(former(Notification::WatchdogTrigger).is_none());
    assert!(former(Notification::ExtendTimeout(100 * SECOND)).is_none());
    assert!(bench.detectors.line_matched(&spec, FORMER_RUN, at(10)).is_none());
    assert!(matches!(bench.hangs(30_000), Some(Hang::StartTimeout { .. })));

    let (mut bench, _) = Bench::new(spec.clone(), true);
    assert!(bench.detectors.notified(&spec, FORMER_RUN, &Notification::Watchdog, at(900)).is_none());
    assert_eq!(bench.checks(900), [Probing::Liveness]);
    for _ in 0..3 {
        let result = Err("gone".to_owned());
        assert!(bench.detectors.probed(&spec, FORMER_RUN, Probing::Liveness, result, at(900)).is_none());
    }
    assert_eq!(bench.hangs(1000), Some(Hang::Watchdog { silent: SECOND }));
}
