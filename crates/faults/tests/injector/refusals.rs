//! Whom it does not touch.

use std::{os::unix::fs::PermissionsExt as _, path::Path};

use grace_faults::{
    FaultOrder, ProcessTarget, RefusalCode,
    client::{ClientError, Injector},
    process::STOPPED,
};

use crate::bench::{Bench, Sleeper, order, short};

fn refused(injector: &mut Injector, order: &FaultOrder) -> RefusalCode {
    match injector.inject(order) {
        Err(ClientError::Refused { code, message }) => {
            assert!(!message.is_empty());
            code
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_not_a_process_of_this_component_of_this_instance_is_not_touched() {
    let (bench, mut injector) = Bench::new();
    let own = bench.sleeper();
    let elsewhere = Sleeper::of(Path::new("/"), "web");
    let mut mistaken = Sleeper::of(&bench.data(), "db");
    mistaken.target.component = "web".to_owned();
    let mut reused = bench.sleeper();
    reused.target.start_ticks -= 1;
    for kind in ["kill", "stop", "mute"] {
        assert_eq!(refused(&mut injector, &order(kind, &elsewhere)), RefusalCode::Foreign);
        assert_eq!(refused(&mut injector, &order(kind, &mistaken)), RefusalCode::Foreign);
        assert_eq!(refused(&mut injector, &order(kind, &reused)), RefusalCode::NotFound);
    }
    reused.target.start_ticks += 1;
    for sleeper in [&own, &elsewhere, &mistaken, &reused] {
        assert!(sleeper.state().is_some_and(|state| state != STOPPED));
    }
    assert_eq!(bench.records(), 0);
}

#[test]
fn what_is_spared_is_not_touched() {
    let (bench, mut injector) = Bench::new();
    let (by_name, by_pid, free) = (Sleeper::of(&bench.data(), "db"), bench.sleeper(), bench.sleeper());
    injector.spare(vec!["db".to_owned()], vec![by_pid.target.pid]).unwrap();
    assert_eq!(refused(&mut injector, &order("kill", &by_name)), RefusalCode::Spared);
    assert_eq!(refused(&mut injector, &order("kill", &by_pid)), RefusalCode::Spared);
    let mut itself = order("stop", &free);
    for pid in [std::process::id(), std::os::unix::process::parent_id()] {
        let (component, start_ticks) = ("web".to_owned(), 0);
        itself.fault = grace_faults::Fault::Stop { target: ProcessTarget { component, pid, start_ticks } };
        assert_eq!(refused(&mut injector, &itself), RefusalCode::Spared);
    }
    injector.inject(&order("kill", &free)).unwrap();
    assert!(by_name.state().is_some() && by_pid.state().is_some());
}

#[test]
fn a_blast_radius_that_cannot_be_kept_ends_it() {
    let (mut bench, mut injector) = Bench::new();
    let sleeper = bench.sleeper();
    injector.inject(&order("stop", &sleeper)).unwrap();
    injector.spare(Vec::new(), (0..5_000).collect()).unwrap();
    assert!(bench.ended());
    assert!(sleeper.state() != Some(STOPPED) && bench.records() == 0);
}

#[test]
fn orders_out_of_bounds_and_ids_used_twice_are_refused() {
    let (bench, mut injector) = Bench::new();
    let sleeper = bench.sleeper();
    for millis in [0, 9, 600_001, u64::MAX] {
        assert_eq!(refused(&mut injector, &short("stop", &sleeper, millis)), RefusalCode::BadOrder);
    }
    let first = order("stop", &sleeper);
    injector.inject(&first).unwrap();
    injector.undo(first.id).unwrap();
    let again = FaultOrder { duration_ms: 10_000, ..first.clone() };
    injector.order(&again).unwrap();
    let mut said = injector.reports().len();
    while said == injector.reports().len() {
        assert!(injector.listen(std::time::Duration::from_secs(20)).unwrap());
    }
    said = injector.reports().len();
    assert_eq!(injector.reports()[said - 1].id(), Some(first.id));
    let unknown = order("stop", &sleeper).id;
    assert!(matches!(injector.undo(unknown), Err(ClientError::Refused { code: RefusalCode::NotFound, .. })));
}

#[test]
fn what_cannot_be_written_down_is_not_begun() {
    let (bench, mut injector) = Bench::new();
    let sleeper = bench.sleeper();
    std::fs::write(bench.data().join("faults"), "in its place").unwrap();
    let Err(ClientError::Failed(failed)) = injector.inject(&order("kill", &sleeper)) else {
        panic!("it cannot be written down")
    };
    assert!(failed.clean && failed.error.contains("cannot be written down"), "{failed:?}");
    assert!(sleeper.state().is_some());
    std::fs::remove_file(bench.data().join("faults")).unwrap();
    injector.inject(&order("kill", &sleeper)).unwrap();
    let folder = std::fs::metadata(bench.data().join("faults")).unwrap();
    assert_eq!(folder.permissions().mode() & 0o777, 0o700);
}
