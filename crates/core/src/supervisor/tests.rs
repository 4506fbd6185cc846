//! The rules of supervision, shown one by one on a bench that starts processes at once and lets time pass on command.

use std::{collections::BTreeMap, time::Duration};

use grace_types::{
    chance::{Entropy, SeededEntropy},
    id::{BootId, IncarnationId},
    manifest::{ComponentKind, Condition, ProcessSpec, RestartPolicy},
    time::{Monotonic, Now, Timestamp},
};
use proptest::prelude::*;

use crate::status::ComponentState;

use super::{
    Command, Effect, Event, Exit, Found, Hang, Input, Outcome, Phase, Plan, Refusal, State, Then,
    decider::{decide, effects, next_deadline},
};

fn spec(name: &str) -> ProcessSpec {
    ProcessSpec::new(name, ComponentKind::Process, vec!["true".to_owned()])
}

fn after(name: &str, needs: &[(&str, Condition)]) -> ProcessSpec {
    let depends_on = needs.iter().map(|(n, c)| ((*n).to_owned(), *c)).collect();
    ProcessSpec { depends_on, ..spec(name) }
}

fn critical(name: &str) -> ProcessSpec {
    ProcessSpec { critical: true, kind: ComponentKind::Kernel, ..spec(name) }
}

/// A supervisor whose processes start at once, with pids counted up from 100.
struct Bench {
    state: State,
    now: Now,
    entropy: SeededEntropy,
    next_pid: u32,
    log: Vec<Event>,
    signals: Vec<(String, i32)>,
    quit: bool,
}

impl Bench {
    fn new(specs: Vec<ProcessSpec>) -> Self {
        let mut bench = Self {
            state: State::new(Plan::new(specs)),
            now: Now {
                wall: Timestamp::from_nanos(1_764_000_000_000_000_000),
                mono: Monotonic::from_nanos(1),
            },
            entropy: SeededEntropy::new(5),
            next_pid: 100,
            log: Vec::new(),
            signals: Vec::new(),
            quit: false,
        };
        bench.tell(Input::Boot { boot: BootId::from_bits(1) });
        bench
    }

    fn tell(&mut self, input: Input) {
        self.ask(input).unwrap();
    }

    fn ask(&mut self, input: Input) -> Result<(), Refusal> {
        let command = Command { seed: self.entropy.next_u64(), input };
        let mut spawned = Vec::new();
        for recorded in decide(&self.state, self.now, &command)? {
            self.state.evolve(recorded.event(), &recorded.why().to_string(), self.now);
            for effect in effects(&self.state, recorded.event()) {
                match effect {
                    Effect::Spawn { component, incarnation } => {
                        let (pid, start_ticks) = (self.next_pid, u64::from(self.next_pid) * 10);
                        self.next_pid += 1;
                        spawned.push(Input::Spawned { component, incarnation, pid, start_ticks });
                    }
                    Effect::Signal { component, signal, .. } => self.signals.push((component, signal)),
                    Effect::Quit => self.quit = true,
                    Effect::Watch { .. } | Effect::Unwatch { .. } | Effect::CleanUp { .. } => {}
                }
            }
            self.log.push(recorded.event().clone());
        }
        for input in spawned {
            self.tell(input);
        }
        Ok(())
    }

    fn pass(&mut self, d: Duration) {
        let end = self.now.mono.plus(d);
        while let Some(at) = next_deadline(&self.state).filter(|at| *at <= end) {
            self.move_to(at);
            self.tell(Input::Tick);
        }
        self.move_to(end);
    }

    fn move_to(&mut self, at: Monotonic) {
        self.now = Now { wall: self.now.wall.plus(at.since(self.now.mono)), mono: at.max(self.now.mono) };
    }

    fn phase(&self, name: &str) -> &Phase {
        &self.state.components[name].phase
    }

    fn run(&self, name: &str) -> IncarnationId {
        self.phase(name).incarnation().unwrap_or_else(|| panic!("{name} has no run: {:?}", self.phase(name)))
    }

    fn pid(&self, name: &str) -> u32 {
        self.phase(name).run().unwrap().pid
    }

    fn is_up(&self, name: &str) -> bool {
        matches!(self.phase(name), Phase::Running { .. })
    }

    fn ready(&mut self, name: &str) {
        let incarnation = self.run(name);
        self.tell(Input::Ready { component: name.into(), incarnation, how: "test" });
    }

    fn exit(&mut self, name: &str, exit: Exit) {
        let incarnation = self.run(name);
        self.tell(Input::Exited { component: name.into(), incarnation, exit });
    }

    fn delays(&self) -> Vec<Duration> {
        let delay = |e: &Event| match e {
            Event::RestartScheduled { delay, .. } => Some(*delay),
            _ => None,
        };
        self.log.iter().filter_map(delay).collect()
    }
}

mod injected;

const KILLED: Exit = Exit::Signal(9);

#[test]
fn a_dependent_starts_only_when_what_it_needs_is_truly_ready() {
    let mut bench = Bench::new(vec![spec("db"), after("web", &[("db", Condition::Ready)])]);
    assert!(bench.is_up("db") && !bench.is_up("web"));
    bench.ready("db");
    assert!(bench.is_up("web"));
}

#[test]
fn completion_is_waited_for_and_success_is_told_from_failure() {
    let once = |name: &str| {
        let mut s = spec(name);
        s.availability.restart = RestartPolicy::No;
        s
    };
    let mut bench = Bench::new(vec![
        once("setup"),
        after("any", &[("setup", Condition::Completed)]),
        after("well", &[("setup", Condition::CompletedSuccessfully)]),
    ]);
    assert!(!bench.is_up("any"));
    bench.exit("setup", Exit::Status(3));
    assert!(bench.is_up("any") && !bench.is_up("well"));
    bench.tell(Input::Restart { component: "setup".into() });
    bench.exit("setup", Exit::Status(0));
    assert!(bench.is_up("well"));
}

#[test]
fn a_sound_run_is_replaced_at_once_and_a_crash_loop_slows_down_until_it_is_given_up() {
    let mut bench = Bench::new(vec![spec("web")]);
    bench.ready("web");
    bench.pass(Duration::from_secs(5));
    bench.exit("web", KILLED);
    assert!(bench.is_up("web"), "no back-off after a sound run");
    for _ in 0..2 {
        bench.exit("web", Exit::Status(1));
        bench.pass(Duration::from_secs(1));
    }
    assert!(bench.is_up("web"));
    let delays = bench.delays();
    assert_eq!(delays[0..2], [Duration::ZERO; 2]);
    assert!((100..=120).contains(&delays[2].as_millis()), "{delays:?}");
    bench.exit("web", Exit::Status(1));
    assert_eq!(*bench.phase("web"), Phase::GaveUp { outcome: Outcome::Failed });
    assert_eq!(bench.state.components["web"].restarts, 3);
    bench.pass(Duration::from_secs(600));
    assert_eq!(*bench.phase("web"), Phase::GaveUp { outcome: Outcome::Failed }, "given up is given up");
    bench.tell(Input::Restart { component: "web".into() });
    assert!(bench.is_up("web"), "an operator's restart starts the count afresh");
}

#[test]
fn restarts_outside_the_window_are_forgotten() {
    let mut bench = Bench::new(vec![spec("web")]);
    for _ in 0..20 {
        bench.ready("web");
        bench.pass(Duration::from_secs(25));
        bench.exit("web", KILLED);
        assert!(bench.is_up("web"));
    }
}

#[test]
fn a_kernel_is_degraded_where_a_program_fails() {
    let mut bench = Bench::new(vec![ProcessSpec { kind: ComponentKind::Kernel, ..spec("clarity") }]);
    for _ in 0..4 {
        bench.exit("clarity", Exit::Status(1));
        bench.pass(Duration::from_secs(1));
    }
    assert_eq!(*bench.phase("clarity"), Phase::GaveUp { outcome: Outcome::Degraded });
}

#[test]
fn restart_policies_are_kept() {
    let with = |name: &str, restart| {
        let mut s = spec(name);
        s.availability.restart = restart;
        s
    };
    let mut bench =
        Bench::new(vec![with("no", RestartPolicy::No), with("failure", RestartPolicy::OnFailure)]);
    bench.exit("no", Exit::Status(1));
    assert_eq!(*bench.phase("no"), Phase::Completed { exit: Exit::Status(1) });
    bench.exit("failure", Exit::Status(1));
    assert!(bench.is_up("failure"));
    bench.exit("failure", Exit::Status(0));
    assert_eq!(*bench.phase("failure"), Phase::Completed { exit: Exit::Status(0) });
}

#[test]
fn a_hung_process_is_killed_not_asked_and_replaced() {
    let mut bench = Bench::new(vec![spec("web")]);
    bench.ready("web");
    let (incarnation, pid) = (bench.run("web"), bench.pid("web"));
    let hang = Hang::Watchdog { silent: Duration::from_secs(2) };
    bench.tell(Input::Hung { component: "web".into(), incarnation, hang: hang.clone() });
    assert_eq!(bench.signals, [("web".to_owned(), 9)]);
    // The same finding again, or one about a run that is over, changes nothing.
    bench.tell(Input::Hung { component: "web".into(), incarnation, hang });
    bench.exit("web", KILLED);
    assert_ne!(bench.pid("web"), pid);
    assert_eq!(bench.signals.len(), 1);
}

#[test]
fn a_paused_process_is_neither_hung_nor_forgotten() {
    let mut bench = Bench::new(vec![spec("web")]);
    bench.ready("web");
    bench.tell(Input::Pause { component: "web".into() });
    let incarnation = bench.run("web");
    bench.tell(Input::Hung { component: "web".into(), incarnation, hang: Hang::Stopped });
    assert_eq!(bench.signals, [("web".to_owned(), 19)]);
    assert!(matches!(bench.ask(Input::Pause { component: "web".into() }), Err(Refusal::WrongState { .. })));
    bench.tell(Input::Resume { component: "web".into() });
    assert_eq!(bench.signals.last(), Some(&("web".to_owned(), 18)));
    assert!(matches!(bench.ask(Input::Resume { component: "web".into() }), Err(Refusal::WrongState { .. })));
    assert_eq!(
        bench.ask(Input::Pause { component: "nobody".into() }),
        Err(Refusal::NotFound("nobody".into()))
    );
}

#[test]
fn a_restart_that_an_operator_asks_for_is_not_held_against_the_program() {
    let mut bench = Bench::new(vec![spec("web")]);
    for _ in 0..10 {
        bench.ready("web");
        bench.tell(Input::Restart { component: "web".into() });
        assert!(matches!(bench.phase("web"), Phase::Stopping { then: Then::Restart, .. }));
        bench.exit("web", Exit::Signal(15));
        assert!(bench.is_up("web"));
    }
    assert!(bench.state.components["web"].window.is_empty());
}

#[test]
fn shutdown_goes_in_reverse_order_and_kills_who_does_not_listen() {
    let mut bench = Bench::new(vec![
        spec("db"),
        after("web", &[("db", Condition::Started)]),
        after("never", &[("web", Condition::Completed)]),
    ]);
    bench.tell(Input::Shutdown { cause: "test".into() });
    assert_eq!(*bench.phase("never"), Phase::Resting);
    assert!(matches!(bench.phase("web"), Phase::Stopping { then: Then::Rest, .. }));
    assert!(bench.is_up("db"), "db is needed until web has ended");
    bench.pass(Duration::from_secs(10));
    assert_eq!(bench.signals.last(), Some(&("web".to_owned(), 9)));
    bench.exit("web", KILLED);
    assert!(matches!(bench.phase("db"), Phase::Stopping { .. }));
    bench.exit("db", Exit::Signal(15));
    assert!(bench.quit && bench.state.finished);
    assert_eq!(bench.ask(Input::Restart { component: "db".into() }), Err(Refusal::Stopping));
}

#[test]
fn programs_end_before_the_kernels_do() {
    let kernel = ProcessSpec { kind: ComponentKind::Kernel, ..spec("bus") };
    let mut bench = Bench::new(vec![kernel, spec("web")]);
    bench.tell(Input::Shutdown { cause: "test".into() });
    assert!(bench.is_up("bus"), "web may publish to the last");
    assert_eq!(bench.state.components["web"].shown(), ComponentState::Stopping);
    bench.exit("web", Exit::Signal(15));
    assert_eq!(bench.state.components["web"].shown(), ComponentState::Stopped);
    assert!(matches!(bench.phase("bus"), Phase::Stopping { .. }));
    bench.exit("bus", Exit::Status(0));
    assert!(bench.quit);
}

#[test]
fn those_who_keep_the_evidence_end_last_but_for_what_they_need() {
    let kernel = |spec: ProcessSpec| ProcessSpec { kind: ComponentKind::Kernel, ..spec };
    let needs_bus = |name| kernel(after(name, &[("bus", Condition::Started)]));
    let log = ProcessSpec { ends_late: true, ..needs_bus("log") };
    let mut bench = Bench::new(vec![kernel(spec("bus")), log, needs_bus("monitor")]);
    bench.tell(Input::Shutdown { cause: "test".into() });
    assert!(matches!(bench.phase("monitor"), Phase::Stopping { .. }));
    assert!(bench.is_up("log") && bench.is_up("bus"), "the monitor may record something to the last");
    bench.exit("monitor", Exit::Status(0));
    assert!(matches!(bench.phase("log"), Phase::Stopping { .. }) && bench.is_up("bus"));
    bench.exit("log", Exit::Status(0));
    bench.exit("bus", Exit::Status(0));
    assert!(bench.quit);
}

#[test]
fn why_a_run_ended_stands_until_the_next_one_is_ready() {
    let mut bench = Bench::new(vec![spec("web")]);
    bench.ready("web");
    let trouble = |bench: &Bench| bench.state.components["web"].trouble.clone();
    bench.exit("web", Exit::Signal(11));
    assert!(bench.is_up("web") && trouble(&bench).contains("SIGSEGV"), "{}", trouble(&bench));
    bench.ready("web");
    bench.pass(Duration::from_secs(2));
    assert_eq!(trouble(&bench), "");
    let (component, incarnation) = ("web".to_owned(), bench.run("web"));
    bench.tell(Input::Hung { component, incarnation, hang: Hang::Triggered });
    bench.exit("web", KILLED);
    assert!(trouble(&bench).contains("WATCHDOG=trigger"), "not that it was killed: {}", trouble(&bench));
    bench.ready("web");
    bench.tell(Input::Restart { component: "web".into() });
    bench.exit("web", Exit::Signal(15));
    assert_eq!(trouble(&bench), "", "an operator asked for it");
}

#[test]
fn a_restart_that_is_nobodys_failure_leaves_the_budget_as_it_was() {
    let mut bench = Bench::new(vec![spec("web")]);
    for _ in 0..2 {
        bench.exit("web", Exit::Status(1));
        bench.pass(Duration::from_secs(1));
    }
    let window = bench.state.components["web"].window.len();
    let event = Event::StartDecided { component: "web".into(), incarnation: IncarnationId::from_bits(9) };
    bench.state.evolve(&event, "", bench.now);
    let nothing = Input::TakeOver { boot: BootId::from_bits(1), found: vec![], reaped: BTreeMap::new() };
    bench.tell(nothing);
    assert!(bench.is_up("web"));
    assert_eq!((bench.state.components["web"].window.len(), window), (2, 2));
    assert_eq!(bench.state.components["web"].short_runs, 2);
}

#[test]
fn a_critical_program_that_has_done_its_work_is_no_emergency_and_keeps_none_open() {
    let once = |name: &str| {
        let mut once = critical(name);
        once.availability.restart = RestartPolicy::No;
        once
    };
    let mut bench = Bench::new(vec![once("a"), once("b"), critical("bus"), critical("log")]);
    for name in ["a", "b", "bus", "log"] {
        bench.ready(name);
    }
    bench.exit("a", Exit::Status(0));
    bench.exit("b", Exit::Status(0));
    assert!(bench.state.emergency.is_none());
    bench.exit("bus", KILLED);
    bench.exit("log", KILLED);
    assert!(bench.state.emergency.is_some());
    bench.ready("bus");
    bench.ready("log");
    assert!(bench.state.emergency.is_none());
}

#[test]
fn a_crash_during_shutdown_is_not_restarted() {
    let mut bench = Bench::new(vec![spec("a"), after("b", &[("a", Condition::Started)])]);
    bench.tell(Input::Shutdown { cause: "test".into() });
    bench.exit("a", KILLED);
    assert_eq!(*bench.phase("a"), Phase::Completed { exit: KILLED });
    bench.exit("b", Exit::Signal(15));
    assert!(bench.quit);
}

#[test]
fn a_critical_kernel_out_of_restarts_is_an_emergency_that_restarts_what_it_needs_in_order() {
    let needs_bus = ProcessSpec {
        critical: true,
        kind: ComponentKind::Kernel,
        ..after("log", &[("bus", Condition::Ready)])
    };
    let mut bench = Bench::new(vec![critical("bus"), needs_bus]);
    bench.ready("bus");
    bench.ready("log");
    for _ in 0..4 {
        bench.exit("log", Exit::Status(1));
        bench.pass(Duration::from_secs(1));
    }
    let declared = bench.log.iter().find_map(|e| match e {
        Event::EmergencyDeclared { down, restart, round } => Some((down.clone(), restart.clone(), *round)),
        _ => None,
    });
    assert_eq!(declared, Some((vec!["log".into()], vec!["bus".into(), "log".into()], 1)));
    assert!(matches!(bench.phase("bus"), Phase::Stopping { then: Then::Restart, .. }));
    bench.exit("bus", Exit::Signal(15));
    bench.pass(Duration::from_secs(60));
    assert!(!bench.is_up("log"), "it waits for the bus");
    bench.ready("bus");
    assert!(bench.is_up("log") && bench.state.emergency.is_some());
    bench.ready("log");
    assert!(bench.state.emergency.is_none());
    assert!(matches!(bench.log.last(), Some(Event::EmergencyResolved { .. })));
}

#[test]
fn two_critical_kernels_down_at_once_are_an_emergency_and_restart_in_parallel() {
    let mut bench = Bench::new(vec![critical("a"), critical("b"), spec("c")]);
    for name in ["a", "b", "c"] {
        bench.ready(name);
    }
    bench.pass(Duration::from_secs(5));
    bench.exit("a", KILLED);
    assert!(bench.state.emergency.is_none());
    bench.exit("b", KILLED);
    assert!(bench.state.emergency.is_some() && bench.is_up("a") && bench.is_up("b"));
    bench.ready("a");
    bench.ready("b");
    assert!(bench.state.emergency.is_none());
}

#[test]
fn a_successor_restarts_nothing_that_did_not_die() {
    let mut bench = Bench::new(vec![spec("kept"), spec("died"), spec("hidden")]);
    bench.ready("kept");
    let found = |bench: &Bench, name: &str| {
        let run = *bench.phase(name).run().unwrap();
        Found {
            component: name.into(),
            incarnation: run.incarnation,
            pid: run.pid,
            start_ticks: run.start_ticks,
        }
    };
    let (kept, died) = (bench.pid("kept"), bench.pid("died"));
    let new_run = IncarnationId::from_bits(77);
    let found = vec![
        found(&bench, "kept"),
        // Restarted by the predecessor in its last moment: no record of it survived.
        Found { component: "hidden".into(), incarnation: new_run, pid: 900, start_ticks: 1 },
    ];
    bench.tell(Input::TakeOver {
        boot: BootId::from_bits(2),
        found,
        reaped: BTreeMap::from([(died, KILLED)]),
    });
    assert_eq!(bench.pid("kept"), kept);
    assert!(bench.state.components["kept"].is_ready());
    assert_eq!(bench.state.components["kept"].restarts, 0);
    assert_eq!((bench.pid("hidden"), bench.run("hidden")), (900, new_run));
    assert_ne!(bench.pid("died"), died);
    assert!(bench.log.iter().any(
        |e| matches!(e, Event::Exited { component, exit, .. } if component == "died" && *exit == KILLED)
    ));
}

#[test]
fn a_take_over_without_any_record_adopts_what_runs_and_starts_the_rest() {
    let mut bench = Bench::new(vec![spec("runs"), spec("rests")]);
    bench.state = State::new(bench.state.plan.clone());
    let incarnation = IncarnationId::from_bits(9);
    let found = vec![Found { component: "runs".into(), incarnation, pid: 500, start_ticks: 3 }];
    bench.tell(Input::TakeOver { boot: BootId::from_bits(2), found, reaped: BTreeMap::new() });
    assert_eq!(bench.state.boot, Some(BootId::from_bits(2)));
    assert_eq!((bench.pid("runs"), bench.run("runs")), (500, incarnation));
    assert!(bench.is_up("rests") && bench.pid("rests") != 500);
}

#[test]
fn what_a_dead_run_let_go_is_not_taken_for_the_run() {
    let mut bench = Bench::new(vec![spec("web")]);
    bench.ready("web");
    let (run, pid) = (bench.run("web"), bench.pid("web"));
    let daemon = Found { component: "web".into(), incarnation: run, pid: 900, start_ticks: 1 };
    let reaped = BTreeMap::from([(pid, Exit::Status(3))]);
    bench.tell(Input::TakeOver { boot: BootId::from_bits(2), found: vec![daemon], reaped });
    assert!(bench.log.iter().any(|e| matches!(e, Event::Exited { exit: Exit::Status(3), .. })));
    assert!(bench.is_up("web") && bench.run("web") != run && bench.pid("web") != 900);
}

#[test]
fn a_take_over_in_the_middle_of_a_start_neither_doubles_nor_loses_it() {
    for started in [true, false] {
        let mut bench = Bench::new(vec![spec("web")]);
        // The predecessor decided the start and died before it heard that the process runs.
        let incarnation = IncarnationId::from_bits(9);
        let event = Event::StartDecided { component: "web".into(), incarnation };
        bench.state.evolve(&event, "", bench.now);
        let process = Found { component: "web".into(), incarnation, pid: 500, start_ticks: 3 };
        let found = if started { vec![process] } else { vec![] };
        bench.tell(Input::TakeOver { boot: BootId::from_bits(2), found, reaped: BTreeMap::new() });
        assert!(bench.is_up("web"));
        assert_eq!(bench.run("web") == incarnation, started);
    }
}

#[test]
fn replaying_the_journal_gives_the_same_state() {
    let mut bench = Bench::new(vec![critical("a"), after("b", &[("a", Condition::Ready)]), spec("c")]);
    let mut replayed = State::new(bench.state.plan.clone());
    bench.ready("a");
    bench.exit("c", KILLED);
    bench.tell(Input::Pause { component: "a".into() });
    for event in &bench.log {
        let text = serde_json::to_string(event).unwrap();
        let event: Event = serde_json::from_str(&text).unwrap();
        replayed.evolve(&event, "", bench.now);
    }
    for (name, component) in &bench.state.components {
        assert_eq!(replayed.components[name].phase, component.phase, "{name}");
        assert_eq!(replayed.components[name].window, component.window, "{name}");
    }
}

/// What a random adversary may do to the bench.
#[derive(Debug, Clone)]
enum Act {
    Exit(usize, i32),
    Ready(usize),
    Hang(usize),
    Restart(usize),
    Pause(usize),
    Resume(usize),
    Mute(usize),
    Pass(u64),
    TakeOver,
}

fn act() -> impl Strategy<Value = Act> {
    let who = 0..4usize;
    prop_oneof![
        (who.clone(), 0..2i32).prop_map(|(w, s)| Act::Exit(w, s)),
        who.clone().prop_map(Act::Ready),
        who.clone().prop_map(Act::Hang),
        who.clone().prop_map(Act::Restart),
        who.clone().prop_map(Act::Pause),
        who.clone().prop_map(Act::Resume),
        who.prop_map(Act::Mute),
        (0..70_000u64).prop_map(Act::Pass),
        Just(Act::TakeOver),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_dependencies_and_budgets_hold_and_shutdown_ends(acts in proptest::collection::vec(act(), 0..60)) {
        let names = ["a", "b", "c", "d"];
        let mut bench = Bench::new(vec![
            critical("a"),
            ProcessSpec { critical: true, ..after("b", &[("a", Condition::Ready)]) },
            after("c", &[("b", Condition::Started)]),
            spec("d"),
        ]);
        for act in acts {
            let live = |bench: &Bench, w: usize| bench.phase(names[w]).run().map(|r| r.incarnation);
            let component = |w: usize| names[w].to_owned();
            match act {
                Act::Exit(w, code) => if let Some(incarnation) = live(&bench, w) {
                    bench.tell(Input::Exited { component: component(w), incarnation, exit: Exit::Status(code) });
                },
                Act::Ready(w) => if let Some(incarnation) = live(&bench, w) {
                    bench.tell(Input::Ready { component: component(w), incarnation, how: "test" });
                },
                Act::Hang(w) => if let Some(incarnation) = live(&bench, w) {
                    bench.tell(Input::Hung { component: component(w), incarnation, hang: Hang::Stopped });
                },
                Act::Restart(w) => { let _ = bench.ask(Input::Restart { component: component(w) }); }
                Act::Pause(w) => { let _ = bench.ask(Input::Pause { component: component(w) }); }
                Act::Resume(w) => { let _ = bench.ask(Input::Resume { component: component(w) }); }
                Act::Mute(w) => if let Some(pid) = bench.phase(names[w]).run().map(|run| run.pid) {
                    let (start_ticks, time) = (None, Duration::from_secs(5));
                    let _ = bench.ask(Input::Mute { component: component(w), pid, start_ticks, time });
                }
                Act::Pass(ms) => bench.pass(Duration::from_millis(ms)),
                Act::TakeOver => {
                    let found = names.iter().filter_map(|n| bench.phase(n).run().map(|run| Found {
                        component: (*n).to_owned(), incarnation: run.incarnation, pid: run.pid, start_ticks: run.start_ticks,
                    })).collect();
                    bench.tell(Input::TakeOver { boot: BootId::from_bits(2), found, reaped: BTreeMap::new() });
                }
            }
            for (name, component) in &bench.state.components {
                let budget = bench.state.plan.spec(name).unwrap().availability.intensity as usize;
                prop_assert!(component.window.len() <= budget, "{name} overran its budget");
                let muted_until = component.phase.run().and_then(|run| run.muted_until);
                prop_assert!(muted_until.is_none_or(|until| until > bench.now.mono), "{name} is muted for too long");
                prop_assert!(!matches!(component.phase, Phase::Spawning { .. }), "{name} was left half-started");
            }
            let a = &bench.state.components["a"];
            prop_assert!(!matches!(a.phase, Phase::GaveUp { .. }), "a critical kernel is never given up");
        }
        bench.tell(Input::Shutdown { cause: "the end".to_owned() });
        for _ in 0..20 {
            bench.pass(Duration::from_secs(11));
            for name in names {
                // SIGKILL is not survived: whoever was sent it ends.
                if matches!(bench.phase(name), Phase::Stopping { kill_at: None, .. }) {
                    bench.exit(name, KILLED);
                }
            }
        }
        prop_assert!(bench.quit, "{:?}", bench.state.components);
    }
}
