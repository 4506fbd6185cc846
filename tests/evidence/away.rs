//! A sink that is stopped or gone: kernels go on, records wait and are seen to wait, and all is there when it is back.

use grace_kernel::evidence::Sink;
use rustix::process::Signal;

use crate::{bench::Bench, instance::holds, programs::Ask};

#[test]
fn while_the_log_hangs_kernels_work_and_the_lag_rises_and_then_all_is_there() {
    let mut bench = Bench::new(&["alpha"]);
    bench.start_sources(true);
    let log = Sink::ImmutableLog;
    holds("records reach the log", || bench.acknowledged("alpha", log) > 0);

    bench.signal(log.name(), Signal::STOP);
    let before = bench.ask("alpha", Ask::Read);
    let number = |field: &str| bench.metric("alpha", log).and_then(|metric| metric[field].as_f64());
    holds("the oldest record that waits is seconds old", || {
        // It answers all the while, and what it answers is on disk.
        bench.ask("alpha", Ask::Count);
        number("oldest_waiting_seconds").is_some_and(|age| age > 3.0)
    });
    let metric = bench.metric("alpha", log).unwrap();
    assert!(metric["waiting"].as_u64().unwrap() > 100 && metric["standing"] == "away", "{metric}");
    assert!(bench.ask("alpha", Ask::Read) > before + 100, "the kernel worked");
    let other = bench.metric("alpha", Sink::Clarity).unwrap();
    assert!(other["standing"] == "shipping" && other["lag_seconds"].as_f64().unwrap() < 3.0, "{other}");

    bench.signal(log.name(), Signal::CONT);
    holds("the log has caught up", || number("oldest_waiting_seconds").is_none_or(|age| age < 1.0));
    bench.unload();
    bench.compare();
}
