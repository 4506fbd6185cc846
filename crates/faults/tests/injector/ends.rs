//! However the runner or the injector ends, everything is undone first.

use std::{io::Write as _, time::Duration};

use grace_faults::{Report, Request, UndoCause, client::ClientError, process::STOPPED};

use crate::bench::{Bench, order, pipe, until};

#[test]
fn when_the_runner_dies_everything_is_undone_at_once() {
    let (mut bench, mut injector) = Bench::new();
    let (stopped, muted) = (bench.sleeper(), bench.sleeper());
    injector.inject(&order("stop", &stopped)).unwrap();
    injector.inject(&order("mute", &muted)).unwrap();
    assert_eq!(bench.records(), 2);
    // Nobody reads what it still has to say.
    drop(injector);
    assert!(bench.ended());
    assert!(stopped.state() != Some(STOPPED) && !bench.line.is_muted(muted.target.pid));
    assert_eq!(bench.records(), 0);
}

#[test]
fn a_runner_that_finishes_hears_how_each_ended() {
    let (mut bench, mut injector) = Bench::new();
    let sleeper = bench.sleeper();
    injector.inject(&order("stop", &sleeper)).unwrap();
    let (reports, clean) = injector.finish().unwrap();
    let last = reports.last().unwrap();
    assert!(clean && matches!(last, Report::Undone { cause: UndoCause::RunnerGone, .. }), "{last:?}");
    assert!(bench.ended());
}

#[test]
fn a_signal_asks_for_the_end_and_no_order_is_taken_after_it() {
    let (mut bench, mut injector) = Bench::new();
    let (stopped, muted) = (bench.sleeper(), bench.sleeper());
    let stop = order("stop", &stopped);
    injector.inject(&stop).unwrap();
    injector.inject(&order("mute", &muted)).unwrap();
    // The mute cannot be undone yet, which keeps the injector.
    bench.line.be_down(true);
    bench.signal.write_all(&[0]).unwrap();
    injector.ended(stop.id, Duration::from_secs(20)).unwrap();
    assert!(stopped.state() != Some(STOPPED));
    let refused = injector.inject(&order("kill", &stopped)).unwrap_err();
    assert_eq!(refused.to_string(), "refused: everything is being undone");
    bench.line.be_down(false);
    assert!(bench.ended() && bench.records() == 0 && !bench.line.is_muted(muted.target.pid));
    assert!(matches!(injector.listen(Duration::from_secs(20)), Ok(true)));
    assert!(matches!(injector.inject(&order("kill", &stopped)), Err(ClientError::Gone)));
}

#[test]
fn a_runner_that_does_not_read_holds_up_no_deadline() {
    use grace_faults::{
        FaultOrder,
        injector::{Streams, serve},
    };
    let (bench, _injector) = Bench::new();
    let sleeper = bench.sleeper();
    let ((input, orders), (reports, output)) = (pipe(), pipe());
    let (signals, _signal) = std::os::unix::net::UnixStream::pair().unwrap();
    let (data, line) = (bench.data(), Box::new(bench.line.clone()));
    let injector =
        std::thread::spawn(move || serve(&data, line, Streams { input, output, signals }).unwrap());
    let mut orders = std::fs::File::from(orders);
    // More answers than any pipe holds.
    for _ in 0..5_000 {
        orders.write_all(b"this is no request\n").unwrap();
    }
    let order = FaultOrder { duration_ms: 400, ..order("stop", &sleeper) };
    let mut line = serde_json::to_vec(&Request::Inject { order }).unwrap();
    line.push(b'\n');
    orders.write_all(&line).unwrap();
    until(|| sleeper.state().filter(|state| *state == STOPPED));
    until(|| sleeper.state().filter(|state| *state != STOPPED));
    drop((orders, reports));
    assert!(injector.join().unwrap());
}
