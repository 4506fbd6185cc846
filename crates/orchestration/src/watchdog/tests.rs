//! What raises an alert and what clears it, that nothing flaps, what is told of each look, and that a restart knows the same.

use std::collections::BTreeMap;

use grace_kernel::{Decider, Outcome};
use grace_types::{
    manifest::{Layer2Settings, Severity},
    time::{Monotonic, Now, Timestamp},
};
use proptest::prelude::*;

use super::{
    alert::{Found, Rule, Step, above, step},
    sample::{Answer, Firings, Queue, Readiness, Sample, Standing},
    telemetry::Telemetry,
    *,
};
use crate::{
    delivery::overview::{Overview, Totals},
    limits,
    scheduler::Late,
};

const BOOTED: Timestamp = Timestamp::from_nanos(1_764_000_000_000_000_000);
const LOOK: u64 = 15_000;

/// A watchdog with a clock, whose every decision is checked against a replay.
struct Watch {
    state: State,
    now_ms: u64,
    recorded: Vec<Event>,
    whats: Vec<String>,
}

fn settings(layer2: Layer2Settings) -> Settings {
    Settings { layer2, workers_expected: true }
}

impl Watch {
    /// One that has seen everything get ready.
    fn ready() -> Self {
        Self::with(Layer2Settings::default())
    }

    fn with(layer2: Layer2Settings) -> Self {
        let mut watch = Self::started(layer2);
        let judge = Command::Judge { standing: standing(&[]), age_ms: 900 };
        assert_eq!(watch.ask(&judge), Ok(Reply::Judged { settled: true }));
        watch
    }

    fn started(layer2: Layer2Settings) -> Self {
        let mut watch =
            Self { state: State::default(), now_ms: 1000, recorded: Vec::new(), whats: Vec::new() };
        let configure = Command::Configure { boot: "one".into(), settings: settings(layer2) };
        assert_eq!(watch.ask(&configure), Ok(Reply::Configured));
        watch
    }

    fn now(&self) -> Now {
        let nanos = self.now_ms * 1_000_000;
        Now {
            wall: Timestamp::from_nanos(1_764_000_000_000_000_000 + nanos),
            mono: Monotonic::from_nanos(nanos),
        }
    }

    fn ask(&mut self, command: &Command) -> Result<Reply, Refusal> {
        let decision = Layer2Watchdog::decide(&self.state, self.now(), command);
        for recorded in decision.events() {
            Layer2Watchdog::evolve(&mut self.state, recorded.event());
            self.recorded.push(recorded.event().clone());
            let what = Layer2Watchdog::what(recorded.event());
            if !["telemetry", "configured"].contains(&what) {
                let why: Vec<&str> = recorded.why().reasons().iter().map(|reason| &*reason.text).collect();
                self.whats.push(format!("{what} {}: {}", recorded.place(), why.join("; ")));
            }
        }
        match decision.outcome().clone() {
            Outcome::Done(reply) => Ok(reply),
            Outcome::Refused(refusal) => Err(refusal),
        }
    }

    /// A look, an interval after the last.
    fn look(&mut self, sample: Sample) -> Telemetry {
        self.now_ms += LOOK;
        match self.ask(&Command::Observe { sample: Box::new(sample) }) {
            Ok(Reply::Observed { telemetry, .. }) => *telemetry,
            other => panic!("{other:?}"),
        }
    }

    /// What was raised and cleared since the last call.
    fn whats(&mut self) -> Vec<String> {
        std::mem::take(&mut self.whats)
    }

    fn raised(&self) -> Vec<&str> {
        self.state.alerts.keys().map(String::as_str).collect()
    }

    fn check_replay(&self) {
        let mut replayed = State::default();
        for event in &self.recorded {
            let text = serde_json::to_string(event).unwrap();
            Layer2Watchdog::evolve(&mut replayed, &serde_json::from_str(&text).unwrap());
        }
        let bytes = |state: &State| serde_json::to_string(state).unwrap();
        assert_eq!(bytes(&replayed), bytes(&self.state));
        let snapshot: State = serde_json::from_str(&bytes(&self.state)).unwrap();
        assert_eq!(snapshot, self.state);
    }
}

const NAMES: [&str; 6] = ["htm", "trigger_mesh", "event_policy", "scheduler", "worker-1", "worker-2"];

/// All of Layer 2, of which these are not ready.
fn standing(not_ready: &[&str]) -> Standing {
    let components = NAMES.map(|name| {
        let ready = !not_ready.contains(&name);
        let readiness = Readiness {
            ready,
            worker: name.starts_with("worker"),
            state: if ready { "ready" } else { "paused" }.into(),
            since: Timestamp::from_nanos(1_764_000_000_700_000_000),
        };
        (name.to_owned(), readiness)
    });
    Standing { booted: BOOTED, components: components.into() }
}

fn given<T>(said: T) -> Option<Answer<T>> {
    Some(Answer::Given { said, after_ms: 2.0 })
}

fn queue(waiting: u64) -> Queue {
    Queue {
        waiting,
        open: waiting,
        dispatched: 0,
        workers: ["worker-1", "worker-2"].map(String::from).into(),
        ..Queue::default()
    }
}

/// Everything as it should be, but for the task manager's queue.
fn well(queue: Queue) -> Sample {
    Sample {
        status: Some(standing(&[])),
        silence: None,
        htm: given(queue),
        trigger_mesh: given(Overview { count: 2, ..Overview::default() }),
        event_policy: given(Overview::default()),
        scheduler: given(Firings::default()),
    }
}

fn waits(waiting: u64) -> Sample {
    well(queue(waiting))
}

fn subscriptions(count: usize) -> Sample {
    Sample { trigger_mesh: given(Overview { count, ..Overview::default() }), ..waits(0) }
}

#[test]
fn the_verdict_on_a_boot_says_how_long_each_took() {
    let mut watch = Watch::started(Layer2Settings::default());
    let judge = |watch: &mut Watch, not_ready: &[&str], age_ms| match watch
        .ask(&Command::Judge { standing: standing(not_ready), age_ms })
    {
        Ok(Reply::Judged { settled }) => settled,
        other => panic!("{other:?}"),
    };
    assert!(!judge(&mut watch, &["htm"], 500));
    assert!(watch.whats().is_empty(), "nothing is recorded before the verdict");
    assert!(judge(&mut watch, &[], 1500));
    assert!(judge(&mut watch, &["htm"], 40_000), "there is one verdict for each boot");
    let whats = watch.whats();
    assert_eq!(whats.len(), 1);
    assert!(whats[0].starts_with("layer2_ready layer2: all 6 are ready, "), "{whats:?}");
    assert!(whats[0].ends_with("after 700 ms"), "{whats:?}");

    let mut watch = Watch::started(Layer2Settings::default());
    assert!(!judge(&mut watch, &["htm", "worker-1"], 29_999));
    assert!(judge(&mut watch, &["htm", "worker-1"], 30_000));
    let whats = watch.whats();
    assert_eq!(whats.len(), 3);
    assert!(
        whats[0].starts_with("layer2_late layer2: htm, worker-1 not ready 30000 ms after boot"),
        "{whats:?}"
    );
    assert!(
        whats[1]
            .starts_with("alert_raised htm: critical: htm is not ready 30000 ms after boot: it is paused")
    );
    assert!(watch.state.alerts.values().all(|alert| alert.severity == Severity::Critical));
    // What is late gets ready.
    watch.look(waits(0));
    watch.look(waits(0));
    assert!(watch.raised().is_empty());
    watch.check_replay();
}

#[test]
fn the_queue_warns_and_clears_with_a_margin() {
    let mut watch = Watch::with(Layer2Settings { dispatch_rate_warning: 0.0, ..Layer2Settings::default() });
    watch.whats();
    watch.look(waits(1000));
    watch.look(waits(1001));
    assert!(watch.whats().is_empty(), "one look is not enough");
    watch.look(waits(1001));
    let whats = watch.whats();
    assert_eq!(whats, ["alert_raised htm: warning: 1001 tasks wait for a worker, more than 1000"]);
    watch.look(waits(6000));
    let told = watch.look(waits(6000));
    assert_eq!(watch.raised(), ["queue_critical/htm", "queue_warning/htm"].as_slice());
    assert_eq!((told.alerts_warning, told.alerts_critical, told.htm_queue_depth), (1, 1, 6000));
    for waiting in [4001, 4001, 801, 801, 801] {
        watch.look(waits(waiting));
    }
    assert_eq!(watch.raised(), ["queue_warning/htm"], "above four fifths it stays");
    watch.look(waits(800));
    watch.look(waits(900));
    watch.look(waits(800));
    assert_eq!(watch.raised().len(), 1, "not two in a row");
    watch.whats();
    watch.look(waits(800));
    let whats = watch.whats();
    assert!(whats[0].starts_with("alert_cleared htm: 800 tasks wait"), "{whats:?}");
    assert!(whats[0].contains("it was raised for 165.0 s: 1001 tasks wait"), "{whats:?}");
    watch.check_replay();
}

#[test]
fn no_worker_at_all_is_critical_at_once_where_there_should_be_one() {
    let nobody = |open| well(Queue { open, workers: [].into(), ..queue(0) });
    let mut watch = Watch::ready();
    watch.look(nobody(0));
    assert_eq!(watch.raised(), ["no_workers/htm"]);
    assert_eq!(watch.state.last.as_ref().unwrap().components["htm"].health, 0.3);
    watch.look(waits(0));
    watch.look(waits(0));
    assert!(watch.raised().is_empty());

    let mut watch = Watch::ready();
    let settings = Settings { workers_expected: false, ..settings(Layer2Settings::default()) };
    watch.ask(&Command::Configure { boot: "one".into(), settings }).unwrap();
    watch.look(nobody(0));
    assert!(watch.raised().is_empty(), "nobody asked for any, and there is nothing to do");
    watch.look(nobody(1));
    assert_eq!(watch.raised(), ["no_workers/htm"]);

    let mut watch = Watch::started(Layer2Settings::default());
    watch.look(nobody(0));
    assert!(watch.raised().is_empty(), "they are still starting");
}

#[test]
fn few_subscriptions_are_a_warning_where_there_were_more_or_the_manifest_wants_them() {
    let mut watch = Watch::ready();
    for count in [0, 0, 4, 4] {
        watch.look(subscriptions(count));
    }
    assert!(watch.raised().is_empty(), "an instance without triggers is nobody's fault");
    watch.look(subscriptions(6));
    watch.look(subscriptions(4));
    watch.look(subscriptions(4));
    assert_eq!(watch.raised(), ["few_subscriptions/trigger_mesh"]);
    let whats = watch.whats().pop().unwrap();
    assert!(whats.ends_with("the trigger mesh has 4 subscriptions; there were 6 once"), "{whats}");
    watch.look(subscriptions(5));
    watch.look(subscriptions(5));
    assert!(watch.raised().is_empty());

    let wants = |n| Layer2Settings { subscriptions_warning: Some(n), ..Layer2Settings::default() };
    let mut watch = Watch::with(wants(2));
    watch.look(subscriptions(1));
    watch.look(subscriptions(1));
    assert_eq!(watch.raised(), ["few_subscriptions/trigger_mesh"]);
    let mut watch = Watch::with(wants(0));
    for count in [9, 0, 0] {
        watch.look(subscriptions(count));
    }
    assert!(watch.raised().is_empty(), "0 is never");
    watch.check_replay();
}

#[test]
fn slow_dispatch_counts_while_work_waits() {
    let at = |waiting, dispatched| well(Queue { dispatched, ..queue(waiting) });
    let mut watch = Watch::ready();
    assert_eq!(watch.look(at(9, 100)).dispatches_per_second, None, "there is none to count from");
    assert_eq!(watch.look(at(9, 114)).dispatches_per_second, Some(0.933));
    assert!(watch.raised().is_empty());
    watch.look(at(9, 128));
    assert_eq!(watch.raised(), ["slow_dispatch/htm"]);
    watch.look(at(9, 145));
    watch.look(at(9, 162));
    assert_eq!(watch.raised().len(), 1, "1.13 a second is within the margin");
    watch.look(at(9, 200));
    watch.look(at(0, 200));
    assert!(watch.raised().is_empty(), "faster, and then nothing waits");
    watch.look(at(9, 200));
    watch.look(at(9, 200));
    assert!(watch.raised().is_empty(), "it waited for one interval only");
    // After a long absence, or in another boot, the rate is not known.
    watch.now_ms += 10 * LOOK;
    assert_eq!(watch.look(at(9, 900)).dispatches_per_second, None);
    watch.ask(&Command::Configure { boot: "two".into(), settings: watch.state.settings.clone() }).unwrap();
    assert_eq!(watch.look(at(9, 901)).dispatches_per_second, None);
    watch.check_replay();
}

#[test]
fn silence_is_a_finding_where_it_is_not_explained() {
    let silent = || Sample { scheduler: Some(Answer::Missing("no answer within 2 s".into())), ..waits(0) };
    let mut watch = Watch::ready();
    watch.whats();
    watch.look(silent());
    watch.look(silent());
    assert_eq!(
        watch.whats(),
        ["alert_raised scheduler: critical: scheduler does not answer: no answer within 2 s"]
    );
    assert_eq!(watch.state.last.as_ref().unwrap().components["scheduler"].health, 0.0);
    watch.look(waits(0));
    watch.look(waits(0));
    // One that is paused does not answer either; that it is paused says it all.
    watch.whats();
    for _ in 0..2 {
        watch.look(Sample { status: Some(standing(&["scheduler"])), ..silent() });
    }
    assert_eq!(watch.whats(), ["alert_raised scheduler: critical: scheduler is not ready: it is paused"]);
    // Without the control plane nothing is known of who is ready, and nothing is cleared.
    let blind = || Sample { status: None, silence: Some("no responders".into()), ..waits(0) };
    watch.look(blind());
    let told = watch.look(blind());
    assert_eq!(watch.raised(), ["no_answer/control_plane", "not_ready/scheduler"].as_slice());
    assert_eq!(told.components["htm"].ready, None);
    // A component that is no part of the instance any more.
    let mut less = standing(&[]);
    less.components.remove("scheduler");
    let without = || Sample { status: Some(less.clone()), scheduler: None, ..waits(0) };
    watch.look(without());
    watch.look(without());
    assert!(watch.raised().is_empty());
    watch.check_replay();
}

#[test]
fn a_worker_that_is_not_ready_is_a_warning() {
    let mut watch = Watch::ready();
    for _ in 0..2 {
        watch.look(Sample { status: Some(standing(&["worker-2"])), ..waits(0) });
    }
    assert_eq!(watch.raised(), ["not_ready/worker-2"]);
    assert_eq!(watch.state.alerts["not_ready/worker-2"].severity, Severity::Warning);
}

#[test]
fn telemetry_counts_and_scores() {
    let totals = Totals { fired: 10, done: 7, dead: 2 };
    let lanes = Overview {
        count: 4,
        totals,
        breakers_open: 1,
        dead_letters: 2,
        fullest: 0.75,
        ..Overview::default()
    };
    let sample = Sample {
        htm: Some(Answer::Given {
            said: Queue {
                waiting: 3000,
                running: 4,
                delayed: 5,
                dead: 6,
                dispatched: 100,
                deadlines_missed: 1,
                ..queue(0)
            },
            after_ms: 1050.0,
        }),
        trigger_mesh: given(lanes.clone()),
        event_policy: given(Overview {
            totals: Totals { fired: 3, ..Totals::default() },
            ..Overview::default()
        }),
        scheduler: given(Firings {
            overview: Overview {
                count: 9,
                totals: Totals { fired: 8, done: 8, dead: 0 },
                ..Overview::default()
            },
            late: Late { fired: 3, misfired: 4 },
        }),
        ..waits(0)
    };
    let mut watch = Watch::ready();
    let told = watch.look(sample.clone());
    assert_eq!((told.htm_queue_depth, told.htm_running, told.htm_delayed, told.htm_dead), (3000, 4, 5, 6));
    assert_eq!((told.workers, told.trigger_subscriptions, told.trigger_firings), (2, 4, 10));
    assert_eq!((told.policy_firings, told.scheduler_dispatches, told.dispatches), (3, 8, 100));
    assert_eq!(told.sla_breaches, 1 + 2 + 7);
    let health = |told: &Telemetry, name: &str| told.components[name].health;
    // Half of the way from 1000 to 5000, and half of the way to the time limit.
    assert_eq!(health(&told, "htm"), 0.488);
    assert_eq!(health(&told, "trigger_mesh"), 0.569, "0.65 for the queue, 0.875 for a breaker of four");
    assert_eq!((health(&told, "event_policy"), health(&told, "worker-1")), (1.0, 1.0));
    // Two more broken promises with four more firings; a worker that the task manager does not know.
    let totals = Totals { fired: 14, done: 9, dead: 4 };
    let later = Sample {
        htm: given(Queue {
            dispatched: 1000,
            deadlines_missed: 1,
            workers: ["worker-1".into()].into(),
            ..queue(0)
        }),
        trigger_mesh: given(Overview { totals, fullest: 0.0, breakers_open: 0, ..lanes }),
        event_policy: Some(Answer::Missing("busy".into())),
        ..sample
    };
    let told = watch.look(later);
    assert_eq!((health(&told, "trigger_mesh"), health(&told, "worker-2")), (0.75, 0.3));
    assert_eq!((told.policy_firings, health(&told, "event_policy")), (3, 0.0), "totals never fall");
    assert_eq!(told.dispatches_per_second, Some(60.0));
    let json = serde_json::to_value(&told).unwrap();
    for key in ["htm_queue_depth", "sla_breaches", "dispatches"] {
        assert!(json[key].is_u64(), "{key}");
    }
    assert_eq!(json["components"]["htm"]["ready"], true);
    watch.check_replay();
}

#[test]
fn a_look_without_a_record_tells_the_same() {
    let mut watch = Watch::ready();
    watch.look(waits(6000));
    let (state, recorded) = (watch.state.clone(), watch.recorded.len());
    let sample = Box::new(waits(6000));
    watch.now_ms += LOOK;
    let looked = watch.ask(&Command::Look { sample: sample.clone() });
    assert_eq!((&watch.state, watch.recorded.len()), (&state, recorded));
    assert_eq!(looked, watch.ask(&Command::Observe { sample }));
    let Ok(Reply::Overview { alerts, telemetry: Some(_) }) = watch.ask(&Command::Overview) else { panic!() };
    assert_eq!(alerts[0].rule, Rule::QueueCritical, "the worst first");
    let components: BTreeMap<String, Readiness> =
        (0..=limits::WATCHED).map(|n| (n.to_string(), standing(&[]).components["htm"].clone())).collect();
    let status = Some(Standing { booted: BOOTED, components });
    let many = Box::new(Sample { status, ..waits(0) });
    assert!(matches!(watch.ask(&Command::Observe { sample: many }), Err(Refusal::TooMany { .. })));
}

#[test]
fn nothing_of_a_look_is_large() {
    let mut watch = Watch::ready();
    let told = watch.look(waits(0));
    let bytes = serde_json::to_vec(&told).unwrap().len();
    assert!(bytes < 1500, "{bytes} bytes of telemetry, 5,760 times a day");
}

fn alert_events(whats: &[String], component: &str) -> usize {
    whats.iter().filter(|what| what.starts_with("alert_") && what.contains(component)).count()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A signal that swings from look to look raises nothing, and at most one thing when one look is enough.
    #[test]
    fn what_swings_from_look_to_look_makes_no_noise(low in 0u64..800, high in 1001u64..100_000, looks in 2usize..60) {
        let mut watch = Watch::ready();
        watch.whats();
        for n in 0..looks {
            let waiting = if n % 2 == 0 { high } else { low };
            let workers = if n % 2 == 0 { [].into() } else { queue(0).workers };
            watch.look(well(Queue { workers, dispatched: 100 * n as u64, ..queue(waiting) }));
        }
        let whats = watch.whats();
        prop_assert!(whats.len() <= 1, "{whats:?}");
        watch.check_replay();
    }

    /// Between four fifths of the threshold and above it, whatever the rhythm: at most one event.
    #[test]
    fn what_stays_above_the_margin_makes_at_most_one_event(depths in prop::collection::vec(801u64..3000, 1..80)) {
        let mut watch = Watch::ready();
        watch.whats();
        for (n, waiting) in depths.iter().enumerate() {
            watch.look(well(Queue { dispatched: 100 * n as u64, ..queue(*waiting) }));
        }
        prop_assert!(alert_events(&watch.whats(), "htm") <= 1);
    }

    /// Whatever is seen: at most one event of an alert in two looks, two in three of the one that is raised at once; they take
    /// turns; and a replay knows the same.
    #[test]
    fn events_are_bounded_and_take_turns(looks in prop::collection::vec((0u64..2000, 0u8..4, any::<bool>()), 1..60)) {
        let mut watch = Watch::ready();
        for (n, (waiting, workers, silent)) in looks.iter().enumerate() {
            let workers = if *workers == 0 { [].into() } else { queue(0).workers };
            let sample = well(Queue { workers, dispatched: 100 * n as u64, ..queue(*waiting) });
            let status = Some(standing(if *silent { &["scheduler"] } else { &[] }));
            watch.look(Sample { status, ..sample });
        }
        let mut raised: BTreeMap<(Rule, String), (bool, usize)> = BTreeMap::new();
        for event in &watch.recorded {
            let (alert, up) = match event {
                Event::AlertRaised { alert } => (alert, true),
                Event::AlertCleared { alert, .. } => (alert, false),
                _ => continue,
            };
            let entry = raised.entry((alert.rule, alert.component.clone())).or_default();
            prop_assert!(entry.0 != up, "{alert:?} twice");
            *entry = (up, entry.1 + 1);
        }
        for ((rule, _), (_, events)) in raised {
            let most = if rule == Rule::NoWorkers { (2 * looks.len()).div_ceil(3) } else { looks.len() / 2 };
            prop_assert!(events <= most, "{events} of {rule} in {} looks", looks.len());
        }
        watch.check_replay();
    }

    /// The score is a share, whatever the numbers.
    #[test]
    fn a_score_is_a_share(waiting: u64, dispatched: u64, missed: u64, fullest in 0.0f64..2.0, open: u16, ms in 0.0f64..1e9) {
        let mut watch = Watch::ready();
        watch.look(waits(0));
        let lanes = Overview { count: 3, breakers_open: usize::from(open), fullest, ..Overview::default() };
        let said = Queue { dispatched, deadlines_missed: missed, ..queue(waiting >> 1) };
        let sample = Sample {
            htm: Some(Answer::Given { said, after_ms: ms }),
            trigger_mesh: given(lanes),
            ..waits(0)
        };
        let told = watch.look(sample);
        for health in told.components.values() {
            prop_assert!((0.0..=1.0).contains(&health.health), "{health:?}");
        }
    }
}

#[test]
fn steps_of_an_alert() {
    use Found::{Holds, Open, Over};
    assert_eq!(step(false, false, Holds, false), Step::Near);
    assert_eq!(step(false, true, Holds, false), Step::Raise);
    assert_eq!(step(false, false, Holds, true), Step::Raise);
    assert_eq!(step(true, true, Holds, true), Step::Stay);
    assert_eq!(step(true, false, Over, true), Step::Near);
    assert_eq!(step(true, true, Over, false), Step::Clear);
    assert_eq!(step(true, true, Open, false), Step::Stay);
    assert_eq!([1001, 1000, 801, 800, 0].map(|n| above(n, 1000)), [Holds, Open, Open, Over, Over]);
    assert_eq!([1, 0].map(|n| above(n, 0)), [Holds, Over]);
}
