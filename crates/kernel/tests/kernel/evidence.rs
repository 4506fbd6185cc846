//! A journal shipped over the in-memory bus to sinks that come, go, fail and forget.

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use grace_bus::{
    Message,
    auth::{AuthTable, Credential, User},
    client::memory::{Faults, MemoryClient, MemoryNet},
};
use grace_kernel::evidence::{
    Open, Shippers, Sink,
    wire::{Batch, Position, WireError, evidence_pattern, reply},
};
use grace_store::{
    Journal, JournalReader, Record, Seq, StoreError,
    memory::{Disk, MemoryJournal, MemoryReader},
};
use grace_types::{
    evidence::{JournalId, Source},
    manifest::Permissions,
    time::{Clock, SystemClock},
};
use serde_json::Value;
use tokio::{sync::watch, task::JoinHandle};

const PATIENCE: Duration = Duration::from_secs(20);

/// What a sink holds, by source, from sequence number 1.
type Held = Arc<Mutex<BTreeMap<Source, Vec<Vec<u8>>>>>;

fn net(seed: u64) -> MemoryNet {
    let user = |name: &str, publish: &[String], subscribe: &[String]| User {
        name: name.into(),
        credential: Credential::of_password("x"),
        permissions: Permissions::only(publish, subscribe),
        allow_responses: None,
    };
    let everything = [">".to_owned()];
    let ours = grace_kernel::evidence::subjects("web.1");
    let users =
        vec![user("web.1", &ours, &["_INBOX.web.1.>".to_owned()]), user("sink", &everything, &everything)];
    MemoryNet::new(&AuthTable { users }, seed, Arc::new(SystemClock)).unwrap()
}

fn record(n: usize) -> Vec<u8> {
    format!(r#"{{"event":{{"time":"2026-11-23T15:00:00Z","n":{n}}}}}"#).into_bytes()
}

/// A journal, and word of what is written there.
struct Writer {
    disk: Disk,
    journal: MemoryJournal,
    written: watch::Sender<Seq>,
}

impl Writer {
    fn new() -> Self {
        let disk = Disk::with_id(JournalId(7));
        let journal = MemoryJournal::open(&disk).unwrap();
        Self { disk, journal, written: watch::Sender::new(Seq(0)) }
    }

    fn write(&mut self, count: usize) {
        let first = self.journal.last().0 as usize + 1;
        let records: Vec<Vec<u8>> = (first..first + count).map(record).collect();
        self.journal.append(&records.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap();
        self.written.send_replace(self.journal.last());
    }

    fn ship(&self, net: &MemoryNet) -> Shippers {
        let disk = self.disk.clone();
        let open: Open = Arc::new(move || Ok(Box::new(MemoryReader::open(&disk))));
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let bus = net.client("web.1").unwrap().bus();
        Shippers::start("web.1", &open, &bus, &clock, &self.written.subscribe())
    }
}

fn source() -> Source {
    Source::new("web.1", JournalId(7)).unwrap()
}

/// Takes what comes, until it is dropped.
struct Taker(JoinHandle<()>);

impl Drop for Taker {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn take(client: &MemoryClient, sink: Sink, held: &Held) -> Taker {
    let mut batches = client.subscribe_now(&evidence_pattern(sink), None).unwrap();
    let (bus, held) = (client.bus(), Arc::clone(held));
    Taker(tokio::spawn(async move {
        while let Some(message) = batches.next().await {
            let taken = Batch::read(sink, &message).map(|batch| {
                let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
                let records = held.entry(batch.source.clone()).or_default();
                for (sequence, record) in batch.records() {
                    if sequence == records.len() as u64 + 1 {
                        records.push(record.to_vec());
                    }
                }
                Position::new(records.len() as u64 + 1)
            });
            let _ = bus.publish(Message::new(message.reply.unwrap(), reply(&taken))).await;
        }
    }))
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let wait = async {
        while !done() {
            tokio::task::yield_now().await;
            std::thread::park_timeout(Duration::from_millis(1));
        }
    };
    assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "{what}: not in time");
}

fn count(held: &Held) -> usize {
    held.lock().unwrap().get(&source()).map_or(0, Vec::len)
}

fn complete(held: &Held, total: usize) {
    let held = held.lock().unwrap();
    let expected: Vec<Vec<u8>> = (1..=total).map(record).collect();
    assert!(held[&source()] == expected, "the sink holds something else than the journal");
}

/// Counts what it shows.
struct Counting(MemoryReader, Arc<AtomicUsize>);

impl JournalReader for Counting {
    fn id(&self) -> JournalId {
        self.0.id()
    }
    fn last(&mut self) -> Result<Seq, StoreError> {
        self.0.last()
    }
    fn read(
        &mut self,
        from: Seq,
        max_bytes: usize,
        visit: &mut dyn FnMut(Record<'_>) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let shown = &self.1;
        self.0.read(from, max_bytes, &mut |record| {
            shown.fetch_add(1, Ordering::Relaxed);
            visit(record)
        })
    }
}

#[tokio::test]
async fn what_both_sinks_need_is_read_once_and_one_that_was_away_comes_into_step_again() {
    let (net, mut writer) = (net(6), Writer::new());
    let (log, clarity) = (Held::default(), Held::default());
    let client = net.client("sink").unwrap();
    let _log = take(&client, Sink::ImmutableLog, &log);
    let mut taker = Some(take(&client, Sink::Clarity, &clarity));
    let shown = Arc::new(AtomicUsize::new(0));
    let (disk, counter) = (writer.disk.clone(), Arc::clone(&shown));
    let open: Open =
        Arc::new(move || Ok(Box::new(Counting(MemoryReader::open(&disk), Arc::clone(&counter)))));
    let (clock, bus): (Arc<dyn Clock>, _) = (Arc::new(SystemClock), net.client("web.1").unwrap().bus());
    let written = writer.written.subscribe();
    let gather = Duration::from_millis(5);
    let _shippers = Shippers::gathering("web.1", &open, &bus, &clock, &written, gather);

    let mut total = 0;
    for (round, both) in [(0, true), (1, false), (2, true)] {
        let before = shown.load(Ordering::Relaxed);
        if !both {
            taker = None;
        } else if taker.is_none() {
            taker = Some(take(&client, Sink::Clarity, &clarity));
            until("clarity is back", || count(&clarity) == total).await;
        }
        let back = shown.load(Ordering::Relaxed);
        assert!(
            back - before <= 2 * 20 * 50,
            "round {round}: what one had missed was read {} times",
            back - before
        );
        for _ in 0..20 {
            writer.write(50);
            total += 50;
            until("all is there", || count(&log) == total && (!both || count(&clarity) == total)).await;
        }
        let read = shown.load(Ordering::Relaxed) - back;
        // Until both are in step, each reads for itself; and the age of what waits is looked up.
        assert!((20 * 50..25 * 50).contains(&read), "round {round}: {read} records were read");
    }
    complete(&log, total);
    complete(&clarity, total);
}

#[tokio::test]
async fn each_sink_gets_everything_and_one_that_is_away_holds_up_neither_the_other_nor_the_end() {
    let (net, mut writer) = (net(1), Writer::new());
    let (log, clarity) = (Held::default(), Held::default());
    let client = net.client("sink").unwrap();
    writer.write(100);
    let mut shippers = writer.ship(&net);
    let taker = take(&client, Sink::ImmutableLog, &log);
    until("what was there before", || count(&log) == 100).await;
    writer.write(50);
    shippers.finish(PATIENCE).await;
    complete(&log, 150);
    assert_eq!(count(&clarity), 0);
    drop(taker);

    // The next process goes on where each sink stands.
    let _both = (take(&client, Sink::ImmutableLog, &log), take(&client, Sink::Clarity, &clarity));
    writer.write(20_000);
    writer.ship(&net).finish(PATIENCE).await;
    until("the rest", || count(&clarity) == 20_150 && count(&log) == 20_150).await;
    complete(&log, 20_150);
    complete(&clarity, 20_150);
}

#[tokio::test]
async fn over_a_bus_that_loses_doubles_and_reorders_there_is_no_gap_and_no_duplicate() {
    let (net, mut writer) = (net(2), Writer::new());
    let held = Held::default();
    net.set_faults(Faults { drop: 0.02, duplicate: 0.2, reorder: 0.2, ..Faults::default() });
    let _taker = take(&net.client("sink").unwrap(), Sink::Clarity, &held);
    let _shippers = writer.ship(&net);
    let mut total = 0;
    while total < 2000 {
        writer.write(20);
        total += 20;
        until("something", || count(&held) * 2 >= total).await;
    }
    net.set_faults(Faults::default());
    until("everything", || count(&held) == total).await;
    complete(&held, total);
}

#[tokio::test]
async fn a_sink_that_lost_records_gets_them_again_and_the_metric_says_so() {
    let (net, mut writer) = (net(3), Writer::new());
    let held = Held::default();
    let client = net.client("sink").unwrap();
    let mut metrics = client.subscribe_now("grace.telemetry.evidence.web.1", None).unwrap();
    let _takers = (take(&client, Sink::ImmutableLog, &held), take(&client, Sink::Clarity, &Held::default()));
    writer.write(10);
    let _shippers = writer.ship(&net);
    until("ten", || count(&held) == 10).await;
    held.lock().unwrap().get_mut(&source()).unwrap().truncate(4);
    writer.write(1);
    until("eleven", || count(&held) == 11).await;
    complete(&held, 11);
    let told = async {
        loop {
            let metric: Value = serde_json::from_slice(&metrics.next().await.unwrap().payload).unwrap();
            let log = &metric["sinks"]["immutable_log"];
            if log["rewinds"] == 1 && log["waiting"] == 0 {
                return metric;
            }
        }
    };
    let metric = tokio::time::timeout(PATIENCE, told).await.unwrap();
    assert_eq!((&metric["component"], &metric["journal"]), (&"web.1".into(), &"0000000000000007".into()));
    let log = &metric["sinks"]["immutable_log"];
    assert_eq!((&log["next"], &log["last"], &log["standing"]), (&12.into(), &11.into(), &"shipping".into()));
    assert!(log["lag_seconds"].is_f64() && log["oldest_waiting_seconds"].is_null(), "{log}");
}

#[tokio::test]
async fn while_a_sink_is_away_the_metric_shows_what_waits_and_how_old_it_is() {
    let (net, mut writer) = (net(4), Writer::new());
    let held = Held::default();
    let client = net.client("sink").unwrap();
    let mut metrics = client.subscribe_now("grace.telemetry.evidence.web.1", None).unwrap();
    let taker = take(&client, Sink::Clarity, &held);
    writer.write(5);
    let _shippers = writer.ship(&net);
    until("five", || count(&held) == 5).await;
    drop(taker);
    writer.write(5);
    let told = async {
        loop {
            let metric: Value = serde_json::from_slice(&metrics.next().await.unwrap().payload).unwrap();
            let clarity = &metric["sinks"]["clarity"];
            if clarity["standing"] == "away" && clarity["oldest_waiting_seconds"].is_f64() {
                return clarity.clone();
            }
        }
    };
    let clarity = tokio::time::timeout(PATIENCE, told).await.unwrap();
    assert_eq!((&clarity["next"], &clarity["last"], &clarity["waiting"]), (&6.into(), &10.into(), &5.into()));
    let _taker = take(&client, Sink::Clarity, &held);
    until("ten", || count(&held) == 10).await;
    complete(&held, 10);
}

#[tokio::test]
async fn a_journal_in_the_place_of_another_is_another_source() {
    let (net, mut writer) = (net(5), Writer::new());
    let held = Held::default();
    let _taker = take(&net.client("sink").unwrap(), Sink::ImmutableLog, &held);
    writer.write(10);
    let _shippers = writer.ship(&net);
    until("ten", || count(&held) == 10).await;
    writer.disk.begin_anew(JournalId(8));
    writer.journal = MemoryJournal::open(&writer.disk).unwrap();
    writer.write(3);
    let new = Source::new("web.1", JournalId(8)).unwrap();
    until("the new one's", || held.lock().unwrap().get(&new).is_some_and(|records| records.len() == 3)).await;
    complete(&held, 10);
}

#[tokio::test]
async fn a_sink_that_answers_with_an_error_is_asked_again() {
    let (net, mut writer) = (net(6), Writer::new());
    let client = net.client("sink").unwrap();
    let mut batches = client.subscribe_now(&evidence_pattern(Sink::ImmutableLog), None).unwrap();
    writer.write(3);
    let _shippers = writer.ship(&net);
    for n in 0..3 {
        let message = tokio::time::timeout(PATIENCE, batches.next()).await.unwrap().unwrap();
        let batch = Batch::read(Sink::ImmutableLog, &message).unwrap();
        assert_eq!(batch.count(), 0, "it is asked where it stands, {n}");
        let full = Err(WireError { code: "disk_full".to_owned(), message: "no space".to_owned() });
        client.publish_now(&Message::new(message.reply.unwrap(), reply(&full))).unwrap();
    }
    drop(batches);
    let held = Held::default();
    let _taker = take(&client, Sink::ImmutableLog, &held);
    until("three", || count(&held) == 3).await;
}
