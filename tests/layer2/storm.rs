//! More events than some can take: a subscription that is slow and one whose target stands still keep nobody else from the same events,
//! memory stays within its bounds, and of what was acknowledged nothing is lost.
//!
//! The whole storm, 5,000 events a second for a minute, takes a machine that is fast enough:
//! `STORM=5000x60 cargo test -p grace-tests --release --test layer2 storm -- --nocapture` (`GRACE_BINARY` says which `grace`).

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use grace_bus::Bus;
use grace_core::procfs;
use grace_orchestration::limits;
use grace_types::time::{Clock as _, SystemClock};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::{
    bench::{event, up},
    instance::{Instance, durable::connect, holds, until},
};

/// Events a second and seconds, where nobody says: a little more than the queue and the dead letters of one who is slow hold.
const USUAL: (u64, u64) = (1500, 8);
/// Events that wait for their answers. A sender that has so many under way waits for some.
const UNDER_WAY: usize = 2000;
/// How often those that nobody acknowledged are sent again, at the least.
const AGAIN: Duration = Duration::from_millis(500);

/// `fast` takes all that comes, `slow` five a second, and `stuck` asks the cortex, which stands still.
const MANIFEST: &str = "triggers:
  fast:
    types: [com.shop.tick]
    action: {publish: {type: com.shop.told, data: {of: '${event.id}'}}}
    delivery: {queue: 100000, in_flight: 512}
  slow:
    types: [com.shop.tick]
    action: {publish: {type: com.shop.slowly, data: {of: '${event.id}'}}}
    delivery: {queue: 100, rate: {count: 5, per: 1s}}
  stuck:
    types: [com.shop.tick]
    action: {submit: {intent: note, payload: {text: '${event.id}'}}}
    delivery: {queue: 100, in_flight: 8, breaker: {failures: 3, open_for: 1s}, retry: {attempts: 10, first: 100ms, longest: 1s}}
";

/// What is under way, and what became of it.
#[derive(Default)]
struct Sent {
    acknowledged: u64,
    /// For whom there was no room the last time that an event was answered.
    busy: BTreeMap<u64, String>,
    slowest: Duration,
}

/// Sends one event until it is answered.
async fn send(bus: Bus, n: u64, sent: Arc<Mutex<Sent>>) {
    let began = SystemClock.now().mono;
    loop {
        let message = event("events.com.shop.tick", "com.shop.tick", &format!("S-{n}"), "{}");
        let Ok(answer) = bus.request(message, Duration::from_secs(30)).await else { continue };
        let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
        let mut sent = sent.lock().unwrap();
        sent.slowest = sent.slowest.max(SystemClock.now().mono.since(began));
        match answer["error"]["message"].as_str() {
            None => {
                assert!(answer["done"]["fired"].is_u64(), "{answer}");
                sent.acknowledged += 1;
                sent.busy.remove(&n);
            }
            Some(why) => {
                sent.busy.insert(n, why.to_owned());
            }
        }
        return;
    }
}

/// Sends so many events a second, as far as their answers let it.
async fn storm(bus: &Bus, (rate, seconds): (u64, u64), mut look: impl FnMut()) -> Sent {
    const SLICE: Duration = Duration::from_millis(20);
    let sent = Arc::new(Mutex::new(Sent::default()));
    let mut slices = tokio::time::interval(SLICE);
    slices.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut under_way, all) = (JoinSet::new(), rate * seconds);
    let (mut n, mut last) = (0, 0);
    while n < all {
        slices.tick().await;
        let more = (rate / 50).min(all - n);
        for next in n..n + more {
            while under_way.len() >= UNDER_WAY {
                under_way.join_next().await.unwrap().unwrap();
            }
            under_way.spawn(send(bus.clone(), next, Arc::clone(&sent)));
        }
        n += more;
        while under_way.try_join_next().is_some() {}
        if n / rate > last {
            last = n / rate;
            look();
        }
    }
    under_way.join_all().await;
    Arc::into_inner(sent).unwrap().into_inner().unwrap()
}

fn rows(instance: &Instance) -> BTreeMap<String, Value> {
    // Right behind a storm, on a machine that is busy with all tests, its answer may come later than the command waits for it.
    let out = until("the trigger mesh answers", || {
        let ran = instance.grace(&["--json", "trigger", "list"]);
        (ran.code == Some(0)).then_some(ran.out)
    });
    let rows = out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    rows.map(|row| (row["name"].as_str().unwrap().to_owned(), row)).collect()
}

fn number(row: &Value, key: &str) -> u64 {
    row[key].as_u64().unwrap()
}

/// Memory of a component's process.
fn pss(instance: &Instance, name: &str) -> u64 {
    procfs::proportional_bytes(instance.component(name).pid.unwrap()).unwrap()
}

/// The most that the trigger mesh may need for what it keeps: two kilobytes for each delivery that may wait, fly or be dead, and what it
/// remembers of events to know a copy; and what its allocator and its journal hold beside that.
fn mesh_bound() -> u64 {
    let lanes = [100_000 + 512, 100 + 64, 100 + 8].map(|most| most + limits::LANE_DEAD_LETTERS);
    (lanes.iter().sum::<usize>() * 2048 + limits::SEEN * 256 + (64 << 20)) as u64
}

#[test]
fn a_storm_of_events_with_a_slow_and_a_stuck_subscription_holds_up_nobody_else_and_loses_nothing() {
    let wanted = std::env::var("STORM").ok();
    let parsed = wanted.as_deref().map(|text| {
        let (rate, seconds) = text.split_once('x').unwrap();
        (rate.parse().unwrap(), seconds.parse().unwrap())
    });
    let (rate, seconds) = parsed.unwrap_or(USUAL);
    let instance = up(MANIFEST);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let bus = runtime.block_on(async {
        let bus = connect(&instance);
        bus.connected().wait_for(|connected| *connected).await.unwrap();
        bus
    });
    assert_eq!(instance.grace(&["pause", "cortex"]).code, Some(0));
    let names = ["trigger_mesh", "message_bus"];
    let before = names.map(|name| pss(&instance, name));
    let mut most = before;
    let began = SystemClock.now().mono;
    let sent = runtime.block_on(storm(&bus, (rate, seconds), || {
        most = std::array::from_fn(|n| most[n].max(pss(&instance, names[n])));
    }));
    let took = SystemClock.now().mono.since(began);
    let all = rate * seconds;
    let (acknowledged, busy) = (sent.acknowledged, sent.busy.len() as u64);
    assert_eq!(acknowledged + busy, all, "each is answered");
    println!(
        "{all} events in {took:?}: {acknowledged} acknowledged, {busy} not; the slowest answer took {:?}",
        sent.slowest
    );
    println!("PSS of {names:?}: {before:?} before, {most:?} at most");
    assert!(most[0] <= before[0] + mesh_bound(), "{} bytes of the trigger mesh", most[0]);
    let held = grace_bus::limits::BUFFERED_BYTES as u64 + (64 << 20);
    assert!(most[1] <= before[1] + held, "{} bytes of the broker", most[1]);

    // Who is not slow has had each event, also those that others had no room for, and none twice.
    let done = || number(&rows(&instance)["fast"], "done");
    let mut last = done();
    while last < all {
        holds("the fast one goes on until it has done all", || done() > last);
        last = done();
    }
    let rows_now = rows(&instance);
    assert_eq!((number(&rows_now["fast"], "fired"), number(&rows_now["fast"], "dead")), (all, 0));
    // Of the others each event is done, waits, is a dead letter, or was not acknowledged.
    for name in ["slow", "stuck"] {
        let row = &rows_now[name];
        let missed = sent.busy.values().filter(|why| why.contains(name)).count() as u64;
        assert_eq!(number(row, "fired") + missed, all, "{name}: {row}");
        let kept = ["done", "waiting", "in_flight", "dead"].map(|key| number(row, key));
        assert_eq!(kept.iter().sum::<u64>(), number(row, "fired"), "{name}: {row}");
        assert!(kept[1] <= 100 + 8, "its queue is bounded: {row}");
        assert!(kept[3] <= limits::LANE_DEAD_LETTERS as u64 && kept[3] > 0, "{row}");
        let shown = instance.told(&["trigger", "show", name]).remove(0);
        let letter = &shown["dead_letters"][0];
        assert!(letter["reason"].as_str().is_some_and(|why| !why.is_empty()), "{letter}");
    }
    assert!(busy > 0, "there were more than a slow one holds, dead letters included");

    // What was not acknowledged is taken once there is room.
    assert_eq!(instance.grace(&["resume", "cortex"]).code, Some(0));
    for name in ["slow", "stuck"] {
        let ran = instance.grace(&["trigger", "discard", name]);
        assert_eq!(ran.code, Some(0), "{ran}");
    }
    // The newest: of a whole storm, the first are more events ago than a copy is known for.
    let again: Vec<u64> = sent.busy.keys().rev().copied().take(100).collect();
    let sent = Arc::new(Mutex::new(sent));
    let mut rounds =
        tokio::runtime::Handle::block_on(runtime.handle(), async { tokio::time::interval(AGAIN) });
    holds("they are acknowledged", || {
        runtime.block_on(async {
            rounds.tick().await;
            for n in &again {
                send(bus.clone(), *n, Arc::clone(&sent)).await;
            }
        });
        let sent = sent.lock().unwrap();
        again.iter().all(|n| !sent.busy.contains_key(n))
    });
    assert_eq!(number(&rows(&instance)["fast"], "fired"), all, "the fast one had them already");
    holds("the stuck one goes on", || number(&rows(&instance)["stuck"], "done") > 0);
    instance.down();
}
