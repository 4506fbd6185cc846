//! Injected faults: life lines that are muted, and faults undone in their injector's place.

use grace_types::id::FaultId;

use super::*;
use crate::supervisor::Run;

fn mute(bench: &Bench, seconds: u64) -> Input {
    let (pid, time) = (bench.pid("web"), Duration::from_secs(seconds));
    Input::Mute { component: "web".into(), pid, start_ticks: Some(u64::from(pid) * 10), time }
}

fn muted(bench: &Bench) -> bool {
    bench.phase("web").run().unwrap().muted_until.is_some()
}

/// How often it was muted, and heard again.
fn mutes(bench: &Bench) -> (usize, usize) {
    let count = |is: fn(&Event) -> bool| bench.log.iter().filter(|event| is(event)).count();
    (
        count(|event| matches!(event, Event::LifeLineMuted { .. })),
        count(|event| matches!(event, Event::LifeLineUnmuted { .. })),
    )
}

#[test]
fn a_mute_ends_at_its_deadline_when_asked_and_with_its_process() {
    let mut bench = Bench::new(vec![spec("web")]);
    bench.ready("web");
    bench.tell(mute(&bench, 5));
    bench.pass(Duration::from_secs(4));
    assert!(muted(&bench));
    bench.pass(Duration::from_secs(1));
    assert!(!muted(&bench) && mutes(&bench) == (1, 1));

    bench.tell(mute(&bench, 5));
    let pid = bench.pid("web");
    bench.tell(Input::Unmute { component: "web".into(), pid: pid + 1 });
    assert!(muted(&bench), "that is another process");
    for _ in 0..2 {
        bench.tell(Input::Unmute { component: "web".into(), pid });
        assert!(!muted(&bench) && mutes(&bench) == (2, 2), "asking twice is no error and no event");
    }

    bench.tell(mute(&bench, 600));
    bench.exit("web", KILLED);
    assert!(bench.is_up("web") && !muted(&bench) && mutes(&bench) == (3, 3), "the next process is heard");
}

#[test]
fn a_mute_survives_the_control_plane_and_is_over_in_time_all_the_same() {
    let mut bench = Bench::new(vec![spec("web")]);
    bench.ready("web");
    bench.tell(mute(&bench, 5));
    let json = serde_json::to_vec(&bench.state).unwrap();
    bench.state = State { plan: bench.state.plan.clone(), ..serde_json::from_slice(&json).unwrap() };
    let run = *bench.phase("web").run().unwrap();
    let found = Found {
        component: "web".into(),
        incarnation: run.incarnation,
        pid: run.pid,
        start_ticks: run.start_ticks,
    };
    bench.pass(Duration::from_secs(1));
    let boot = BootId::from_bits(1);
    bench.tell(Input::TakeOver { boot, found: vec![found], reaped: BTreeMap::new() });
    assert!(muted(&bench));
    bench.pass(Duration::from_secs(4));
    assert!(!muted(&bench) && bench.phase("web").run() == Some(&Run { muted_until: None, ..run }));
}

#[test]
fn a_mute_without_bounds_or_of_another_process_is_refused() {
    let mut bench = Bench::new(vec![spec("web")]);
    for (wrong, says) in
        [(mute(&bench, 0), "not for 0 ms"), (mute(&bench, 601), "1 ms to 600 s, not for 601000 ms")]
    {
        assert!(bench.ask(wrong).unwrap_err().to_string().contains(says));
    }
    let (pid, time) = (bench.pid("web"), Duration::from_secs(1));
    let of = |component: &str, pid, start_ticks| Input::Mute {
        component: component.into(),
        pid,
        start_ticks,
        time,
    };
    assert!(matches!(bench.ask(of("no", pid, None)), Err(Refusal::NotFound(_))));
    for wrong in [of("web", pid + 1, None), of("web", pid, Some(1))] {
        assert!(matches!(bench.ask(wrong), Err(Refusal::WrongState { .. })));
    }
    bench.tell(of("web", pid, None));
    let again = bench.ask(mute(&bench, 1)).unwrap_err().to_string();
    assert_eq!(again, "`web` is muted already: one fault at a time");
    bench.tell(Input::Shutdown { cause: "a test asks".into() });
    assert_eq!(bench.ask(mute(&bench, 1)), Err(Refusal::Stopping));
    assert_eq!(mutes(&bench), (1, 0));
}

#[test]
fn a_fault_that_was_undone_in_its_injectors_place_is_on_record_and_changes_nothing() {
    let mut bench = Bench::new(vec![spec("web")]);
    let before = bench.phase("web").clone();
    let (why, proof) = ("its injector has ended".to_owned(), "the process goes on".to_owned());
    let fault = FaultId::from_bits(1);
    bench.tell(Input::FaultSwept { fault, kind: "stop", component: "web".into(), why, proof });
    let event = Event::FaultUndone { component: "web".into(), fault, kind: "stop".into() };
    assert_eq!((bench.log.last(), bench.phase("web")), (Some(&event), &before));
}
