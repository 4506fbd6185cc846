//! The life of a fault, step by step, and that nothing that may happen, in whatever order, leaves one without its undo.

use grace_types::{
    id::FaultId,
    time::{Now, Timestamp},
};
use proptest::prelude::*;

use super::*;
use crate::order::{Fault, ProcessTarget};

fn order(kind: &str, duration: Duration) -> FaultOrder {
    let target = ProcessTarget { component: "web".to_owned(), pid: 42, start_ticks: 7 };
    let fault = match kind {
        "kill" => Fault::Kill { target },
        "stop" => Fault::Stop { target },
        _ => Fault::Mute { target },
    };
    FaultOrder::new(FaultId::from_bits(1), fault, duration)
}

fn at(millis: u64) -> Now {
    let nanos = millis * 1_000_000;
    Now { wall: Timestamp::from_nanos(nanos), mono: Monotonic::from_nanos(nanos) }
}

fn stopped() -> Input {
    Input::Looked(Ok(Some(BiteProof::Stopped { state: 'T' })))
}

fn running() -> Input {
    Input::Loosened(Ok(Some(UndoProof::Running { state: 'S' })))
}

/// A fault of ten seconds, and what it does at each of these.
fn after(kind: &str, inputs: &[(u64, Input)]) -> (Injection, Vec<Step>) {
    let mut injection = Injection::new(order(kind, Duration::from_secs(10)), at(0).mono);
    let mut last = Vec::new();
    for (millis, input) in inputs {
        last = injection.take(at(*millis), input.clone());
    }
    (injection, last)
}

#[test]
fn a_stop_is_written_down_bites_and_is_undone_at_its_deadline() {
    let mut injection = Injection::new(order("stop", Duration::from_secs(10)), at(0).mono);
    assert_eq!(injection.take(at(0), Input::Begin), [Step::Journal]);
    assert_eq!(injection.take(at(1), Input::Journaled(Ok(()))), [Step::Bite]);
    assert_eq!(injection.take(at(2), Input::Struck(Ok(()))), [Step::Look]);
    assert_eq!(injection.take(at(3), Input::Looked(Ok(None))), []);
    assert_eq!(injection.next_deadline(), Some(at(8).mono));
    assert_eq!(injection.take(at(8), Input::Tick), [Step::Look]);
    let bitten = Report::Bitten {
        id: FaultId::from_bits(1),
        at: at(9),
        proof: BiteProof::Stopped { state: 'T' },
        proved_after_ms: 7,
    };
    assert_eq!(injection.take(at(9), stopped()), [Step::Say(bitten)]);
    assert_eq!(injection.next_deadline(), Some(at(10_000).mono), "it counts from the order");
    assert_eq!(injection.take(at(9_999), Input::Tick), []);
    assert_eq!(injection.take(at(10_000), Input::Tick), [Step::Undo]);
    assert_eq!(injection.take(at(10_001), Input::Loosened(Ok(None))), []);
    assert_eq!(injection.take(at(10_251), Input::Tick), [Step::Undo]);
    assert_eq!(injection.take(at(10_252), running()), [Step::Forget]);
    let undone = Report::Undone {
        id: FaultId::from_bits(1),
        at: at(10_252),
        cause: UndoCause::Deadline,
        proof: UndoProof::Running { state: 'S' },
        lasted_ms: 10_243,
    };
    let told = injection.take(at(10_300), Input::Forgotten);
    assert_eq!(told, [Step::Say(undone)], "it was over before the disk took note");
    assert!(injection.is_over() && injection.is_clean());
}

#[test]
fn a_kill_is_over_when_it_is_proved() {
    let (mut injection, steps) = after(
        "kill",
        &[
            (0, Input::Begin),
            (0, Input::Journaled(Ok(()))),
            (0, Input::Struck(Ok(()))),
            (0, Input::Looked(Ok(None))),
            (1, Input::TargetGone),
            (1, Input::Looked(Ok(Some(BiteProof::Ended)))),
        ],
    );
    assert!(matches!(steps[..], [Step::Say(Report::Bitten { .. }), Step::Forget]), "{steps:?}");
    let last = injection.take(at(1), Input::Forgotten);
    assert!(
        matches!(
            last[..],
            [Step::Say(Report::Undone {
                cause: UndoCause::AtOnce,
                proof: UndoProof::Gone,
                lasted_ms: 0,
                ..
            })]
        ),
        "{last:?}"
    );
}

#[test]
fn what_cannot_be_written_down_is_not_begun() {
    let (injection, steps) =
        after("stop", &[(0, Input::Begin), (1, Input::Journaled(Err("the disk is full".into())))]);
    let [Step::Say(Report::Failed { error, clean: true, undo_proof: None, .. })] = &steps[..] else {
        panic!("{steps:?}")
    };
    assert!(error.ends_with("was not begun: the disk is full"), "{error}");
    assert!(injection.is_clean());
}

#[test]
fn what_is_not_proved_in_time_has_failed_and_is_undone() {
    let begun = [(0, Input::Begin), (0, Input::Journaled(Ok(()))), (0, Input::Struck(Ok(())))];
    for (kind, looks, late, says) in [
        ("stop", Input::Looked(Ok(None)), 5_000, "was not proved within 5 s"),
        ("mute", Input::Looked(Ok(None)), 10_000, "was not proved before its deadline"),
        ("stop", Input::Looked(Err("the process ended".into())), 0, "cannot be proved: the process ended"),
    ] {
        let (mut injection, mut steps) = after(kind, &[&begun[..], &[(0, looks)]].concat());
        if late > 0 {
            steps = injection.take(at(late), Input::Tick);
        }
        assert_eq!(steps, [Step::Undo]);
        assert_eq!(injection.take(at(late), running()), [Step::Forget]);
        let steps = injection.take(at(late), Input::Forgotten);
        let [Step::Say(Report::Failed { error, clean: true, undo_proof: Some(_), .. })] = &steps[..] else {
            panic!("{steps:?}")
        };
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn an_answer_that_never_comes_holds_nothing_up() {
    // The control plane is stopped: neither the mute nor its undo is answered.
    let (mut injection, _) = after("mute", &[(0, Input::Begin), (0, Input::Journaled(Ok(())))]);
    assert_eq!(injection.take(at(10_000), Input::Tick), [Step::Undo]);
    assert_eq!(injection.take(at(10_001), Input::Struck(Ok(()))), [], "too late");
    assert_eq!(injection.next_deadline(), Some(at(40_000).mono));
    let steps = injection.take(at(40_000), Input::Tick);
    assert!(matches!(steps[..], [Step::Say(Report::Failed { clean: false, .. })]), "{steps:?}");
    assert!(injection.is_over() && !injection.is_clean(), "its record stays for the sweep");
}

#[test]
fn a_target_that_ends_ends_the_fault() {
    let bitten = [
        (0, Input::Begin),
        (0, Input::Journaled(Ok(()))),
        (0, Input::Struck(Ok(()))),
        (0, stopped()),
        (700, Input::TargetGone),
    ];
    let (mut injection, steps) = after("stop", &bitten);
    assert_eq!(steps, [Step::Undo]);
    assert_eq!(injection.take(at(700), Input::Loosened(Ok(Some(UndoProof::Gone)))), [Step::Forget]);
    let steps = injection.take(at(701), Input::Forgotten);
    assert!(
        matches!(steps[..], [Step::Say(Report::Undone { cause: UndoCause::TargetGone, lasted_ms: 700, .. })]),
        "{steps:?}"
    );
}

fn inputs() -> impl Strategy<Value = Input> {
    let wrong = || Just(Err::<(), _>("wrong".to_owned()));
    prop_oneof![
        Just(Input::Begin),
        prop_oneof![Just(Ok(())), wrong()].prop_map(Input::Journaled),
        prop_oneof![Just(Ok(())), wrong()].prop_map(Input::Struck),
        Just(Input::Looked(Ok(None))),
        Just(stopped()),
        Just(Input::Looked(Err("wrong".to_owned()))),
        Just(Input::Loosened(Ok(None))),
        Just(running()),
        Just(Input::Loosened(Err("wrong".to_owned()))),
        Just(Input::Forgotten),
        Just(Input::TargetGone),
        Just(Input::End(UndoCause::RunnerGone)),
        Just(Input::Tick),
    ]
}

proptest! {
    /// Whatever comes in whatever order: nothing is done before it is written down, whoever was bitten is undone before the
    /// record goes, and exactly one last word is said, after which nothing more is done than removing a record.
    #[test]
    fn no_order_of_things_leaves_a_fault_without_its_undo(
        kind in prop_oneof![Just("kill"), Just("stop"), Just("mute")],
        happened in prop::collection::vec((0u64..4_000, inputs()), 0..40),
    ) {
        let mut injection = Injection::new(order(kind, Duration::from_secs(10)), at(0).mono);
        let (mut clock, mut written, mut touched, mut proved, mut words) = (0, false, false, false, 0);
        for (passed, input) in happened {
            clock += passed;
            written |= matches!(input, Input::Journaled(Ok(())));
            let over_before = injection.is_over();
            let loosened = matches!(input, Input::Loosened(Ok(Some(_))));
            for step in injection.take(at(clock), input) {
                prop_assert!(!over_before || step == Step::Forget, "{step:?}");
                match step {
                    Step::Bite => {
                        prop_assert!(written);
                        touched = true;
                    }
                    Step::Say(Report::Bitten { .. }) => proved = true,
                    Step::Forget => {
                        prop_assert!(!touched || over_before || loosened || (kind == "kill" && proved));
                    }
                    Step::Say(report) => words += u32::from(report.is_last()),
                    Step::Journal | Step::Look | Step::Undo => {}
                }
            }
            prop_assert_eq!(words, u32::from(injection.is_over()));
        }
        // However it stands, it ends by itself: undone, or with its record left and said so.
        if touched {
            let _ = injection.take(at(clock), Input::End(UndoCause::RunnerGone));
            for _ in 0..200 {
                clock += 250;
                let _ = injection.take(at(clock), Input::Tick);
                let _ = injection.take(at(clock), Input::Loosened(Err("wrong".to_owned())));
                let _ = injection.take(at(clock), Input::Forgotten);
            }
            prop_assert!(injection.is_over());
        }
    }
}
