//! More events than some can take, in batches over HTTP: each event's sender hears what became of it, a subscription that is slow keeps
//! nobody else from it, and of what was acknowledged nothing is lost.
//!
//! The whole storm, as many a second as are taken for a minute:
//! `STORM=5000x60 cargo test -p grace-tests --release --test api storm -- --nocapture` (`GRACE_BINARY` says which `grace`).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use grace_types::time::{Clock as _, SystemClock};
use serde_json::{Value, json};

use crate::{
    client::{Answer, post},
    instance::{Instance, holds, until},
};

/// Events a second that are taken, and for how many seconds they come, where nobody says: more than the queue and the dead letters of one
/// who is slow hold.
const USUAL: (u64, u64) = (2000, 6);
/// Events in a batch, and those who send one at a time each.
const BATCH: u64 = 250;
const SENDERS: u64 = 4;
/// The same as the bound of the dead letters of one subscription.
const DEAD_LETTERS: u64 = grace_orchestration::limits::LANE_DEAD_LETTERS as u64;

fn manifest(rate: u64) -> String {
    format!(
        "bus: {{port: 0}}
api: {{events_per_second: {rate}}}
triggers:
  fast:
    types: [com.shop.tick]
    action: {{publish: {{type: com.shop.told, data: {{of: '${{event.id}}'}}}}}}
    delivery: {{queue: 100000, in_flight: 512}}
  slow:
    types: [com.shop.tick]
    action: {{publish: {{type: com.shop.slowly, data: {{of: '${{event.id}}'}}}}}}
    delivery: {{queue: 100, rate: {{count: 5, per: 1s}}}}
processes: {{}}
"
    )
}

/// The numbers of the events that are durable, and of those that are not with what was said of each.
#[derive(Default)]
struct Told {
    durable: BTreeSet<u64>,
    unavailable: BTreeMap<u64, String>,
}

impl Told {
    fn add(&mut self, more: Self) {
        self.durable.extend(more.durable);
        self.unavailable.extend(more.unavailable);
    }
}

/// Sends these events in one batch, as soon as the rate lets it.
fn send(instance: &Instance, numbers: &[u64]) -> Told {
    let event = |n: &u64| json!({"specversion": "1.0", "id": format!("S-{n}"), "source": "/shop", "type": "com.shop.tick", "data": {}});
    let body = numbers.iter().map(event).collect::<Value>().to_string();
    let kind = [("content-type", "application/cloudevents-batch+json")];
    let answer: Answer = until("the batch is within the rate", || {
        let answer = post(instance, &kind, body.as_bytes());
        if answer.status == 429 {
            assert!(answer.retry_after.is_some_and(|seconds| seconds >= 1), "{answer:?}");
            return None;
        }
        Some(answer)
    });
    let told = answer.json();
    let mut sum = Told::default();
    if answer.status == 202 {
        assert_eq!(told["accepted"], numbers.len(), "{told}");
        sum.durable.extend(numbers);
        return sum;
    }
    assert_eq!(answer.status, 503, "{told}");
    assert!(answer.retry_after.is_some(), "{answer:?}");
    let rows = told["events"].as_array().unwrap();
    assert_eq!(rows.len(), numbers.len(), "each is told of");
    for (n, row) in numbers.iter().zip(rows) {
        assert_eq!(row["id"], format!("S-{n}"));
        match row["outcome"].as_str() {
            Some("durable") => drop(sum.durable.insert(*n)),
            Some("unavailable") => drop(sum.unavailable.insert(*n, row["detail"].to_string())),
            _ => panic!("{row}"),
        }
    }
    sum
}

/// Sends all of them from several senders at a time.
fn storm(instance: &Instance, all: u64) -> Told {
    let next = AtomicU64::new(0);
    let sender = || {
        let mut sum = Told::default();
        loop {
            let first = next.fetch_add(BATCH, Ordering::Relaxed);
            if first >= all {
                return sum;
            }
            let numbers: Vec<u64> = (first..all.min(first + BATCH)).collect();
            sum.add(send(instance, &numbers));
        }
    };
    thread::scope(|scope| {
        let senders: Vec<_> = (0..SENDERS).map(|_| scope.spawn(sender)).collect();
        senders.into_iter().fold(Told::default(), |mut sum, sender| {
            sum.add(sender.join().unwrap());
            sum
        })
    })
}

fn row(instance: &Instance, name: &str) -> Value {
    // Right behind a storm its answer may come later than the command waits for it.
    until("the trigger mesh answers", || {
        let ran = instance.grace(&["--json", "trigger", "list"]);
        let rows = ran.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        rows.filter(|_| ran.code == Some(0)).find(|row| row["name"] == name)
    })
}

fn number(row: &Value, key: &str) -> u64 {
    row[key].as_u64().unwrap()
}

#[test]
fn a_storm_of_batches_tells_each_sender_what_became_of_each_event_and_loses_none() {
    let wanted = std::env::var("STORM").ok();
    let parsed = wanted.as_deref().map(|text| {
        let (rate, seconds) = text.split_once('x').unwrap();
        (rate.parse().unwrap(), seconds.parse().unwrap())
    });
    let (rate, seconds): (u64, u64) = parsed.unwrap_or(USUAL);
    let all = rate * seconds;
    let instance = Instance::of("");
    instance.write_manifest(&manifest(rate));
    instance.up();
    let began = SystemClock.now().mono;
    let mut told = storm(&instance, all);
    let took = SystemClock.now().mono.since(began);
    holds("whoever heard nothing of an event, as on a machine that is too busy, sends it again", || {
        let unheard = told.unavailable.iter().filter(|(_, why)| !why.contains("slow"));
        let unheard: Vec<u64> = unheard.map(|(n, _)| *n).take(BATCH as usize).collect();
        unheard.iter().for_each(|n| drop(told.unavailable.remove(n)));
        if !unheard.is_empty() {
            told.add(send(&instance, &unheard));
        }
        unheard.is_empty()
    });
    let missed = told.unavailable.len() as u64;
    println!("{all} events in {took:?}: {} acknowledged, {missed} not", told.durable.len());
    assert_eq!(told.durable.len() as u64 + missed, all, "each is answered");
    assert!(missed > 0, "there were more than the slow one holds, dead letters included");

    // Who is not slow has each event once, also those that the slow one had no room for.
    let done = || number(&row(&instance, "fast"), "done");
    let mut last = done();
    while last < all {
        holds("the fast one goes on until it has done all", || done() > last);
        last = done();
    }
    println!("the fast one had done all after {:?}", SystemClock.now().mono.since(began));
    let fast = row(&instance, "fast");
    assert_eq!((number(&fast, "fired"), number(&fast, "dead")), (all, 0), "{fast}");
    // Of the slow one each that was acknowledged is done, waits, or is a dead letter.
    let slow = row(&instance, "slow");
    let kept = ["done", "waiting", "in_flight", "dead"].map(|key| number(&slow, key));
    assert_eq!(number(&slow, "fired") + missed, all, "{slow}");
    assert_eq!(kept.iter().sum::<u64>(), number(&slow, "fired"), "{slow}");
    assert!(kept[3] > 0 && kept[3] <= DEAD_LETTERS, "{slow}");

    // What was not acknowledged is taken once there is room, and whoever had it has it once.
    assert_eq!(instance.grace(&["trigger", "discard", "slow"]).code, Some(0));
    let again: Vec<u64> = told.unavailable.keys().rev().copied().take(BATCH as usize).collect();
    holds("they are acknowledged", || send(&instance, &again).unavailable.is_empty());
    assert_eq!(number(&row(&instance, "fast"), "fired"), all, "the fast one had them already");
    instance.down();
}
