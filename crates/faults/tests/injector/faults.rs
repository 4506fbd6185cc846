//! Each kind: its bite, its proof, its record, its undo.

use std::time::Duration;

use grace_faults::{
    BiteProof, RefusalCode, Report, UndoCause, UndoProof,
    client::{ClientError, Ended},
    process::STOPPED,
};
use rustix::process::Signal;

use crate::bench::{Bench, order, short, until};

const PATIENCE: Duration = Duration::from_secs(20);

fn how(ended: Ended) -> (UndoCause, UndoProof) {
    match ended {
        Ended::Undone { cause, proof, .. } => (cause, proof),
        Ended::Failed(failed) => panic!("{failed:?}"),
    }
}

#[test]
fn a_kill_is_proved_by_the_pidfd_and_leaves_nothing_to_undo() {
    let (mut bench, mut injector) = Bench::new();
    let sleeper = bench.sleeper();
    let order = order("kill", &sleeper);
    assert_eq!(injector.inject(&order).unwrap().proof, BiteProof::Ended);
    assert_eq!(how(injector.ended(order.id, PATIENCE).unwrap()), (UndoCause::AtOnce, UndoProof::Gone));
    assert_eq!((sleeper.state(), bench.records()), (None, 0));
    let (reports, clean) = injector.finish().unwrap();
    assert!(
        clean && matches!(reports[..], [Report::Ready { .. }, Report::Bitten { .. }, Report::Undone { .. }])
    );
    assert!(bench.ended());
}

#[test]
fn a_stop_is_proved_by_its_state_recorded_while_it_lasts_and_undone_when_asked() {
    let (bench, mut injector) = Bench::new();
    let sleeper = bench.sleeper();
    let order = order("stop", &sleeper);
    assert_eq!(injector.inject(&order).unwrap().proof, BiteProof::Stopped { state: STOPPED });
    assert_eq!((sleeper.state(), bench.records()), (Some(STOPPED), 1));
    let (cause, proof) = how(injector.undo(order.id).unwrap());
    assert!(cause == UndoCause::Asked && matches!(proof, UndoProof::Running { .. }), "{cause:?} {proof:?}");
    assert_eq!(bench.records(), 0, "said to be undone when its record is gone");
    assert!(sleeper.state().is_some_and(|state| state != STOPPED));
    // Asked once more it says the same, since it was said already.
    assert_eq!(how(injector.undo(order.id).unwrap()).0, UndoCause::Asked);
}

#[test]
fn a_mute_is_proved_by_what_was_dropped() {
    let (bench, mut injector) = Bench::new();
    let sleeper = bench.sleeper();
    let order = order("mute", &sleeper);
    let proof = injector.inject(&order).unwrap().proof;
    assert_eq!(proof, BiteProof::Muted { dropped: 1, heartbeat_age_ms: Some(7) });
    assert!(bench.line.is_muted(sleeper.target.pid) && bench.records() == 1);
    assert_eq!(how(injector.undo(order.id).unwrap()), (UndoCause::Asked, UndoProof::Heard));
    assert!(!bench.line.is_muted(sleeper.target.pid) && bench.records() == 0);
}

#[test]
fn a_mute_of_a_program_that_says_nothing_has_failed_and_is_undone() {
    let (bench, mut injector) = Bench::new();
    let sleeper = bench.sleeper();
    bench.line.be_silent();
    let Err(ClientError::Failed(failed)) = injector.inject(&short("mute", &sleeper, 300)) else {
        panic!("it said nothing")
    };
    assert!(failed.clean && failed.undo_proof == Some(UndoProof::Heard), "{failed:?}");
    assert!(failed.error.contains("not proved before its deadline"), "{failed}");
    assert!(!bench.line.is_muted(sleeper.target.pid) && bench.records() == 0);
}

#[test]
fn a_control_plane_that_does_not_answer_holds_up_its_own_faults_only() {
    let (bench, mut injector) = Bench::new();
    let (muted, stopped) = (bench.sleeper(), bench.sleeper());
    bench.line.be_down(true);
    let mute = order("mute", &muted);
    injector.order(&mute).unwrap();
    injector.inject(&order("stop", &stopped)).unwrap();
    bench.line.be_down(false);
    let Err(ClientError::Failed(failed)) = injector.bitten(&mute) else { panic!("nobody answered") };
    assert!(failed.error.contains("nobody answers") && failed.clean, "{failed:?}");
    assert_eq!(bench.records(), 1, "the stop goes on");
}

#[test]
fn several_at_once_each_end_at_their_own_deadline() {
    let (mut bench, mut injector) = Bench::new();
    let sleepers: Vec<_> = (0..3).map(|_| bench.sleeper()).collect();
    let orders: Vec<_> = sleepers
        .iter()
        .zip([900, 300, 600])
        .map(|(sleeper, millis)| short("stop", sleeper, millis))
        .collect();
    for order in &orders {
        injector.order(order).unwrap();
    }
    for order in &orders {
        injector.bitten(order).unwrap();
    }
    let ends: Vec<_> = orders
        .iter()
        .map(|order| match injector.ended(order.id, PATIENCE).unwrap() {
            Ended::Undone { at, cause: UndoCause::Deadline, .. } => at.mono,
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(ends[1] < ends[2] && ends[2] < ends[0], "{ends:?}");
    assert!(sleepers.iter().all(|sleeper| sleeper.state() != Some(STOPPED)));
    drop(injector);
    assert!(bench.ended() && bench.records() == 0);
}

#[test]
fn a_volley_bites_whatever_becomes_of_one_of_it() {
    let (bench, mut injector) = Bench::new();
    let sleepers: Vec<_> = (0..3).map(|_| bench.sleeper()).collect();
    injector.spare(Vec::new(), vec![sleepers[1].target.pid]).unwrap();
    let orders: Vec<_> =
        sleepers.iter().zip(["kill", "stop", "stop"]).map(|(sleeper, kind)| order(kind, sleeper)).collect();
    injector.volley(orders.clone()).unwrap();
    injector.bitten(&orders[0]).unwrap();
    assert!(matches!(
        injector.bitten(&orders[1]),
        Err(ClientError::Refused { code: RefusalCode::Spared, .. })
    ));
    injector.bitten(&orders[2]).unwrap();
    assert_ne!(sleepers[1].state(), Some(STOPPED));
    assert_eq!((sleepers[2].state(), bench.records()), (Some(STOPPED), 1));
}

#[test]
fn a_target_that_is_killed_meanwhile_ends_the_fault() {
    let (bench, mut injector) = Bench::new();
    let sleeper = bench.sleeper();
    let order = order("stop", &sleeper);
    injector.inject(&order).unwrap();
    sleeper.signal(Signal::KILL);
    assert_eq!(how(injector.ended(order.id, PATIENCE).unwrap()), (UndoCause::TargetGone, UndoProof::Gone));
    assert_eq!(bench.records(), 0);
}

#[test]
fn what_somebody_else_let_go_on_is_over_all_the_same_at_its_deadline() {
    let (bench, mut injector) = Bench::new();
    let sleeper = bench.sleeper();
    let order = short("stop", &sleeper, 500);
    injector.inject(&order).unwrap();
    sleeper.signal(Signal::CONT);
    until(|| sleeper.state().filter(|state| *state != STOPPED));
    assert_eq!(how(injector.ended(order.id, PATIENCE).unwrap()).0, UndoCause::Deadline);
    assert_eq!(bench.records(), 0);
}
