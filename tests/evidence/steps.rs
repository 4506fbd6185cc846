//! The wall clock of kernels and sinks set forward and back by 300 s, again and again, while records arrive: what was acknowledged is in
//! the log, in order, and nothing waits for the wall clock to come back.

use std::time::Duration;

use grace_core::kernels::immutable_log::{Folder, LOG, remembered, verifier_key};
use grace_kernel::evidence::Sink;
use grace_log::{checkpoint::Trust, verify::verify};
use grace_types::time::Timestamp;

use crate::{
    bench::Bench,
    clock::{SetClock, Watch},
    held,
    instance::holds,
    programs::Ask,
};

const STEP: Duration = Duration::from_secs(300);
const STEPS: u64 = 12;
/// Far more than a record waits, on a busy machine too, and far less than the clock is set by.
const BOUND: Duration = Duration::from_secs(60);

#[test]
fn while_the_clock_is_set_forward_and_back_the_log_takes_everything_in_order_and_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let clock = SetClock::new(folder.path());
    let mut bench = Bench::with(&["alpha", "beta"], &[], Some(clock.same()));
    bench.start_sources(true);
    let sinks = Sink::ALL;
    holds("records reach the sinks", || sinks.iter().all(|sink| bench.acknowledged("beta", *sink) > 0));
    let mut slowest = Duration::ZERO;
    for turn in 0..STEPS {
        let ahead = i64::try_from(STEP.as_secs()).unwrap();
        clock.set_ahead(if turn % 2 == 0 { ahead } else { -ahead });
        let watch = Watch::start();
        // Its answer means that it is on disk, and each record before it too.
        bench.ask("alpha", Ask::Count);
        let written = bench.written("alpha");
        holds("it is acknowledged", || {
            sinks.iter().all(|sink| bench.acknowledged("alpha", *sink) >= written)
        });
        slowest = slowest.max(watch.passed());
        if turn % 4 == 3 {
            // Whoever starts anew finds the clock elsewhere than it was.
            bench.kill(usize::try_from(turn / 4 % 4).unwrap());
        }
    }
    println!("the slowest was acknowledged after {slowest:?}, its metric's pause included");
    assert!(slowest < BOUND, "{slowest:?}");
    clock.set_ahead(0);
    bench.unload();
    let journals = bench.compare();

    let data = bench.place.data();
    let trust = Trust::in_log(verifier_key(data).unwrap());
    let known = remembered(data, &trust.origin).unwrap();
    let report = verify(&Folder::at(data.join(LOG)), &trust, &known);
    assert!(report.is_ok(), "{:?}", report.faults);
    for (source, records) in &journals {
        let times: Vec<Timestamp> = records.iter().map(|record| held::decided(record)).collect();
        let jumps = |ahead: fn(&[Timestamp]) -> Duration| {
            u64::try_from(times.windows(2).filter(|pair| ahead(pair) > STEP).count()).unwrap()
        };
        let (back, forward) = (jumps(|pair| pair[0].since(pair[1])), jumps(|pair| pair[1].since(pair[0])));
        println!("{source}: {} records, {back} times back and {forward} times forward", times.len());
        assert!(back >= STEPS / 2 - 1 && forward >= STEPS / 2 - 1, "{source}: the fault bit");
    }
}
