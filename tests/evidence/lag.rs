//! From a decision to its seal, over the whole road and at a calm rate: a process decides, ships, and the log of another process seals.
//!
//! When a record was sealed is not read from anybody's metric: the tester hears the log's replies on the bus, each of which says up to where
//! it is sealed and synced, and compares with the times of decision that the records themselves tell.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use grace_bus::Bus;
use grace_kernel::{evidence::Sink, limits};
use grace_types::time::{Clock as _, SystemClock, Timestamp};
use serde_json::Value;

use crate::{bench::Bench, held, instance::holds, programs::Ask};

/// What the log promises beside its disk.
const SEALED: Duration = Duration::from_millis(200);
/// For two syncs and a machine that is busy with all tests at once. What is to be found here is a wait for something that never comes, or
/// for a timer that somebody added: a recheck, a retry, the end of a pause.
const SLACK: Duration = Duration::from_secs(10);
const DECISIONS: u64 = 300;

/// What the log said, and when: records before it are sealed.
type Seals = Arc<Mutex<Vec<(u64, Timestamp)>>>;

async fn listen(bus: Bus, seals: Seals) {
    let mut replies = bus.subscribe("_INBOX.alpha.>", None).await.unwrap();
    while let Some(message) = replies.next().await {
        let now = SystemClock.now().wall;
        let reply: Value = serde_json::from_slice(&message.payload).unwrap();
        // Only the log says how many entries it has.
        if let (Some(next), true) = (reply["next"].as_u64(), reply["size"].is_u64()) {
            seals.lock().unwrap().push((next, now));
        }
    }
}

#[test]
fn from_a_decision_to_its_seal_nothing_is_waited_for_but_the_shippers_pause_and_the_log() {
    let mut bench = Bench::new(&["alpha"]);
    let seals = Seals::default();
    bench.runtime.spawn(listen(bench.tester.clone(), Arc::clone(&seals)));
    bench.start_sources(false);
    let log = Sink::ImmutableLog;
    // The first is there when everybody has found each other, which is no lag.
    bench.ask("alpha", Ask::Count);
    holds("the first is sealed", || seals.lock().unwrap().iter().any(|(next, _)| *next > 1));
    let mut metrics = Vec::new();
    for n in 0..DECISIONS {
        bench.ask("alpha", Ask::Count);
        if n % 10 == 9 {
            // A rest: what comes after it is sent alone.
            let written = bench.written("alpha");
            holds("it is sealed", || seals.lock().unwrap().iter().any(|(next, _)| *next > written));
            metrics.extend(bench.metric("alpha", log).and_then(|metric| metric["lag_seconds"].as_f64()));
        }
    }
    let journals = bench.compare();
    let (source, records) = journals.first_key_value().unwrap();
    assert_eq!((source.component.as_str(), records.len() as u64), ("alpha", DECISIONS + 1));
    let seals = seals.lock().unwrap().clone();
    let lag = |(record, sequence): (&Vec<u8>, u64)| {
        let (_, sealed) = seals.iter().find(|(next, _)| *next > sequence).unwrap();
        sealed.since(held::decided(record))
    };
    let mut lags: Vec<Duration> = records.iter().zip(1..).skip(1).map(lag).collect();
    lags.sort_unstable();
    let (median, longest) = (lags[lags.len() / 2], lags[lags.len() - 1]);
    println!("from decision to seal: median {median:?}, longest {longest:?}");
    let pauses = limits::EVIDENCE_GATHER + limits::EVIDENCE_LATE;
    assert!(longest < pauses + SEALED + SLACK, "{longest:?}");
    // What the metric says is this lag, and no other.
    let told = metrics.iter().copied().fold(0.0, f64::max);
    println!("the metric said {told:.3} s at most, {} times", metrics.len());
    assert!(!metrics.is_empty() && told < (pauses + SEALED + SLACK).as_secs_f64(), "{metrics:?}");
}
