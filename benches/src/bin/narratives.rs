//! The narrative database: records taken in with full text, against plain inserts of the same records; then queries over all of them.
//!
//! - ingest: batches of 500 records of four sources, each batch one synced transaction: parsed, indexed seven ways and by their words
//! - floor: the same records as bytes under a rising key, in the same batches, with the same syncs
//! - queries: a page of 100 of one actor within an hour, of one actor and one action, and by one or two words; each as many times
//!
//! `cargo run --release -p grace-benches --bin narratives [-- --rows N] [--queries N] [--batch N]`
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark that cannot run should say so and stop"
)]

use std::{path::Path, time::Instant};

use grace_benches::Machine;
use grace_store::narrative::{Batch, NarrativeDb, Query};
use grace_types::{
    chance::{Entropy as _, SeededEntropy},
    evidence::{JournalId, Source},
    id::{CorrelationId, EventId},
    time::{Hlc, Timestamp},
};

/// The rows lie within this time.
const DAY_MILLIS: u64 = 24 * 3600 * 1000;
const START_MILLIS: u64 = 1_790_000_000_000;
const ACTORS: u64 = 20;
const ACTIONS: u64 = 40;
const PLACES: u64 = 50;
/// Different words in reasons; word n is about n times as rare as the first.
const WORDS: u64 = 5000;
const PAGE: usize = 100;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let value = |name: &str, default: u64| {
        let given = args.iter().position(|a| a == name).and_then(|i| args.get(i + 1));
        given.map_or(default, |n| n.parse().expect("a number"))
    };
    let (rows, queries, batch) =
        (value("--rows", 1_000_000), value("--queries", 2000), value("--batch", 500));
    let folder = tempfile::tempdir().unwrap();
    let (path, floor_path) = (folder.path().join("narratives.db"), folder.path().join("floor.db"));

    let machine = Machine::watched();
    let floor = floor(&floor_path, rows, batch);
    let mut db = NarrativeDb::open(&path).unwrap();
    let ingest = ingest(&mut db, rows, batch);
    println!("{rows} records in batches of {batch}, one thread\n\n| | | |\n|---|---|---|");
    println!("| plain inserts | {:.0} rows/s | {} MiB |", rows as f64 / floor, mebibytes(&floor_path));
    println!("| ingest | {:.0} rows/s | {} MiB |", rows as f64 / ingest, mebibytes(&path));
    println!("| ingest / plain | {:.2} | |", floor / ingest);
    drop(db);

    let db = NarrativeDb::open_read_only(&path).unwrap();
    let mut chance = SeededEntropy::new(7);
    let at = |millis: u64| Timestamp::from_nanos((START_MILLIS + millis) * 1_000_000);
    let base = Query { limit: PAGE, ..Query::default() };
    let actor_and_time = |chance: &mut SeededEntropy| {
        let since = chance.below(DAY_MILLIS - 3_600_000);
        Query {
            actor: Some(actor(chance.below(ACTORS))),
            since: Some(at(since)),
            until: Some(at(since + 3_600_000)),
            ..base.clone()
        }
    };
    measure("actor and an hour", &db, queries, &mut chance, actor_and_time);
    measure("actor and action", &db, queries, &mut chance, |chance| Query {
        actor: Some(actor(chance.below(ACTORS))),
        action: Some(action(chance.below(ACTIONS))),
        ..base.clone()
    });
    measure("one word", &db, queries, &mut chance, |chance| Query {
        text: Some(word(chance)),
        ..base.clone()
    });
    measure("two words and an hour", &db, queries, &mut chance, |chance| Query {
        text: Some(format!("{} {}", word(chance), word(chance))),
        ..actor_and_time(chance)
    });
    machine.report();
}

fn measure(
    name: &str,
    db: &NarrativeDb,
    times: u64,
    chance: &mut SeededEntropy,
    query: impl Fn(&mut SeededEntropy) -> Query,
) {
    let mut found = 0;
    let mut spent: Vec<f64> = (0..times)
        .map(|_| {
            let query = query(chance);
            let start = Instant::now();
            found += db.find(&query).unwrap().told.len();
            start.elapsed().as_secs_f64() * 1000.0
        })
        .collect();
    spent.sort_by(f64::total_cmp);
    let at = |part: f64| spent[((spent.len() - 1) as f64 * part) as usize];
    println!(
        "| {name}, ms | p50 {:.2}, p99 {:.2}, most {:.2} | {:.0} rows a page |",
        at(0.5),
        at(0.99),
        at(1.0),
        found as f64 / times as f64
    );
}

fn ingest(db: &mut NarrativeDb, rows: u64, batch: u64) -> f64 {
    let sources: Vec<Source> = ["control_plane", "health_monitor", "message_bus", "scheduler"]
        .iter()
        .map(|name| Source::new(name, JournalId(1)).unwrap())
        .collect();
    let mut firsts = vec![1; sources.len()];
    each_batch(rows, batch, |n, records| {
        let which = n % sources.len();
        let records = records.iter().map(Vec::as_slice).collect();
        firsts[which] =
            db.ingest(&[Batch { source: &sources[which], first: firsts[which], records }]).unwrap()[0];
    })
}

fn floor(path: &Path, rows: u64, batch: u64) -> f64 {
    let mut connection = rusqlite::Connection::open(path).unwrap();
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             CREATE TABLE rows (seq INTEGER PRIMARY KEY, record BLOB NOT NULL) STRICT;",
        )
        .unwrap();
    each_batch(rows, batch, |_, records| {
        let tx = connection.transaction().unwrap();
        for record in records {
            tx.prepare_cached("INSERT INTO rows (record) VALUES (?1)").unwrap().execute([record]).unwrap();
        }
        tx.commit().unwrap();
    })
}

/// Seconds spent in `work`, without the making of the records.
fn each_batch(rows: u64, batch: u64, mut work: impl FnMut(usize, &[Vec<u8>])) -> f64 {
    let mut chance = SeededEntropy::new(1);
    let mut spent = 0.0;
    for (n, first) in (0..rows).step_by(usize::try_from(batch).unwrap()).enumerate() {
        let records: Vec<Vec<u8>> =
            (first..rows.min(first + batch)).map(|row| record(row, rows, &mut chance)).collect();
        let start = Instant::now();
        work(n, &records);
        spent += start.elapsed().as_secs_f64();
    }
    spent
}

/// About 600 bytes, as a component writes them.
fn record(row: u64, rows: u64, chance: &mut SeededEntropy) -> Vec<u8> {
    let millis = START_MILLIS + row * DAY_MILLIS / rows;
    let time = Timestamp::from_nanos(millis * 1_000_000);
    let hlc = Hlc { millis, counter: u32::try_from(row % 16).unwrap() };
    let (id, correlation) = (EventId::new(time, chance), CorrelationId::new(time, chance));
    let who = actor(chance.below(ACTORS));
    let (what, place) = (action(chance.below(ACTIONS)), chance.below(PLACES));
    let words: Vec<String> = (0..8).map(|_| word(chance)).collect();
    format!(
        r#"{{"event":{{"id":"{id}","type":"dev.grace.{who}.{what}.v1","time":"{time}","hlc":"{hlc}","who":"{who}","correlation":"{correlation}","boot":"01","number":{row},"record":{{"event":{{"event":"{what}","pid":{},"detail":"{}"}},"why":[{{"code":"restart.exit_status","text":"{} exited with status 1"}},{{"code":"policy.always","text":"its availability says restart: always"}}],"how":"restart policy: always, intensity 3 in 60s","where":"place-{place}"}}}}}}"#,
        row % 30_000,
        words[..4].join(" "),
        words[4..].join(" "),
    )
    .into_bytes()
}

fn actor(n: u64) -> String {
    format!("actor_{n}")
}

fn action(n: u64) -> String {
    format!("action{n}")
}

/// Words as language has them: a few often, most of them seldom.
fn word(chance: &mut SeededEntropy) -> String {
    let part = (chance.below(1 << 30) as f64 + 1.0) / (1u64 << 30) as f64;
    format!("w{}", ((WORDS as f64).powf(part)) as u64)
}

fn mebibytes(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().len() >> 20
}
