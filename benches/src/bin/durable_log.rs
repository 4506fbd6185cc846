//! The tamper-evident log, durable: entries of 300 bytes appended, sealed and synced, against what else could keep them.
//!
//! - floor: SHA-256 of each entry, the entries written to one file that grows, fdatasync after every 4 MiB
//! - bulk: one sender with many batches on their way; the time until the last is sealed, and until the public files have it
//! - 256 senders: each with one entry on its way, waiting for its seal
//! - PostgreSQL: inserts of the same rows, many a statement, and one a transaction from 16 clients; on a cluster of its own
//! - Go's reference tile log (golang.org/x/mod/sumdb/tlog): the same entries, its tiles and bundles written and synced for each batch
//! - Tessera's POSIX driver: stored figures, with the ratio
//!
//! A peer that is not installed is passed over with a line that says so. Rounds in turn.
//!
//! `cargo run --release -p grace-benches --bin durable_log [-- --rounds N] [--entries N] [--dir FOLDER] [--only PART] [--no-peers]`
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark that cannot run should say so and stop"
)]

#[path = "durable_log/peers.rs"]
mod peers;

use std::{
    fs::File,
    hint::black_box,
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use grace_benches::Machine;
use grace_core::kernels::immutable_log::{Folder, LogWriter, verifier_key};
use grace_kernel::evidence::{
    Sink,
    wire::{Batch, BatchWriter, Joined},
};
use grace_log::{checkpoint::Trust, verify::verify};
use grace_types::{
    chance::{Entropy as _, SeededEntropy},
    evidence::{JournalId, Source, write_entry},
    time::SystemClock,
};
use sha2::{Digest as _, Sha256};

/// Bytes of an entry, with what Grace writes around the record.
const ENTRY_BYTES: usize = 300;
/// Bytes between two syncs of the floor, and entries between two of Go's log.
const SYNC_BYTES: usize = 4 << 20;
const SENDERS: usize = 256;
/// Records in one batch of the bulk: what the shipper sends.
const BULK: u64 = 1500;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let given = |name: &str| args.iter().position(|a| a == name).and_then(|i| args.get(i + 1));
    let number = |name: &str, default: usize| given(name).map_or(default, |n| n.parse().expect("a number"));
    let (rounds, entries) = (number("--rounds", 5), number("--entries", 1_000_000));
    let place = given("--dir").map_or_else(std::env::temp_dir, PathBuf::from);
    // All in one that goes at the end: some file systems are slow to make files where many were just removed.
    let temporary = tempfile::tempdir_in(&place).unwrap();
    let folder = || tempfile::tempdir_in(&temporary).unwrap().keep();

    let rows = rows(entries);
    let machine = Machine::watched();
    let (mut floor, mut bulk, mut public, mut senders, mut median) =
        (Figures::default(), Figures::default(), Figures::default(), Figures::default(), Figures::default());
    let only = given("--only").map(String::as_str);
    let is_wanted = |part: &str| only.is_none_or(|only| only == part);
    for _ in 0..rounds {
        floor.add(entries, seconds(|| hash_and_sync(&rows, &folder().join("floor"))));
        if is_wanted("bulk") {
            let (sealed, published) = in_bulk(&rows, &folder());
            bulk.add(entries, sealed);
            public.add(entries, published);
        }
        if is_wanted("senders") {
            let each = entries / SENDERS / 2;
            let (time, p50) = from_senders(each, &folder());
            senders.add(each * SENDERS, time);
            median.0.push(p50 * 1e3);
        }
    }
    println!("{entries} entries of {ENTRY_BYTES} bytes, {rounds} rounds in turn; median [min – max]\n");
    println!("| | | |\n|---|---|---|");
    let (bulk_shares, public_shares) = (bulk.of(&floor), public.of(&floor));
    let floor = floor.row("SHA-256 + fdatasync of the same bytes", "entries/s");
    let bulk = bulk.row("bulk, sealed and synced", "entries/s");
    public.row("bulk, in the public files too", "entries/s");
    let senders = senders.row("256 senders, each waiting for its seal", "entries/s");
    let median = median.row("256 senders, p50", "ms");
    bulk_shares.row("bulk / floor of the same round", "(target 0.60)");
    public_shares.row("bulk with public files / floor of the same round", "");
    if senders.is_finite() {
        println!("| 256 senders / floor | {:.2} | |", senders / floor);
    }
    machine.report();
    if only.is_none() && !args.iter().any(|a| a == "--no-peers") {
        peers::measure(&rows, &place, bulk, senders);
    }
    if senders.is_finite() {
        peers::tessera(senders, median);
    }
}

/// Figures of several rounds.
#[derive(Default)]
struct Figures(Vec<f64>);

impl Figures {
    fn add(&mut self, count: usize, seconds: f64) {
        self.0.push(count as f64 / seconds);
    }

    /// Each round's figure as a share of the same round's in `floor`: machines change between rounds.
    fn of(&self, floor: &Self) -> Self {
        Self(self.0.iter().zip(&floor.0).map(|(figure, floor)| figure / floor).collect())
    }

    /// Prints a row and returns its median; nothing is printed of what was not measured.
    fn row(mut self, name: &str, unit: &str) -> f64 {
        if self.0.is_empty() {
            return f64::NAN;
        }
        self.0.sort_by(f64::total_cmp);
        let (median, last) = (self.0[self.0.len() / 2], self.0.len() - 1);
        let shown =
            |figure: f64| if figure >= 1000.0 { format!("{figure:.0}") } else { format!("{figure:.2}") };
        println!("| {name} | {} {unit} | [{} – {}] |", shown(median), shown(self.0[0]), shown(self.0[last]));
        median
    }
}

fn seconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

fn source(n: usize) -> Source {
    Source::new(&format!("sender-{n:03}"), JournalId(1)).unwrap()
}

/// The record that makes an entry of [`ENTRY_BYTES`].
fn record(source: &Source, sequence: u64, chance: &mut SeededEntropy) -> Vec<u8> {
    let mut around = Vec::new();
    write_entry(&mut around, source, sequence, b"\"\"");
    let filling: String = (0..(ENTRY_BYTES - around.len()).div_ceil(16))
        .map(|_| format!("{:016x}", chance.next_u64()))
        .collect();
    format!("\"{}\"", &filling[..ENTRY_BYTES - around.len()]).into_bytes()
}

/// The entries of one source, as they stand in the log, with their records.
struct Rows {
    records: Vec<Vec<u8>>,
    /// All entries, one after the other.
    entries: Vec<u8>,
}

fn rows(count: usize) -> Rows {
    let (source, mut chance) = (source(0), SeededEntropy::new(1));
    let (mut records, mut entries) = (Vec::with_capacity(count), Vec::with_capacity(count * ENTRY_BYTES));
    for sequence in 1..=count as u64 {
        let record = record(&source, sequence, &mut chance);
        write_entry(&mut entries, &source, sequence, &record);
        records.push(record);
    }
    assert_eq!(entries.len(), count * ENTRY_BYTES);
    Rows { records, entries }
}

fn hash_and_sync(rows: &Rows, path: &Path) {
    let mut file = File::create(path).unwrap();
    for some in rows.entries.chunks(SYNC_BYTES / ENTRY_BYTES * ENTRY_BYTES) {
        for entry in some.chunks_exact(ENTRY_BYTES) {
            black_box(Sha256::digest(entry));
        }
        file.write_all(some).unwrap();
        file.sync_data().unwrap();
    }
}

fn batch(source: &Source, first: u64, records: &[Vec<u8>]) -> Batch {
    let mut writer = BatchWriter::new(source.clone(), first);
    for record in records {
        assert_eq!(writer.join(record), Joined::Yes);
    }
    Batch::read(Sink::ImmutableLog, &writer.into_message(Sink::ImmutableLog)).unwrap()
}

/// Seconds until all is sealed, and until all is in the public files, which are verified afterwards.
fn in_bulk(rows: &Rows, data: &Path) -> (f64, f64) {
    let source = source(0);
    let batches: Vec<Batch> = (0u64..)
        .zip(rows.records.chunks(BULK as usize))
        .map(|(n, records)| batch(&source, n * BULK + 1, records))
        .collect();
    let (writer, running) = open(data);
    let begun = Instant::now();
    let mut last = None;
    for batch in batches {
        last = Some(writer.append_blocking(batch).unwrap());
    }
    let sealed = last.unwrap().blocking_recv().unwrap().unwrap();
    let sealed_after = begun.elapsed().as_secs_f64();
    assert_eq!((sealed.next, sealed.size), (rows.records.len() as u64 + 1, rows.records.len() as u64));
    writer.stop();
    running.ended_blocking().unwrap();
    let published_after = begun.elapsed().as_secs_f64();
    let report = verify(&Folder::at(data.join("log")), &Trust::in_log(verifier_key(data).unwrap()), &[]);
    assert!(report.is_ok() && report.entries == sealed.size, "{:?}", report.faults);
    (sealed_after, published_after)
}

fn open(data: &Path) -> (LogWriter, grace_core::kernels::immutable_log::Running) {
    let tell = |line: &str| eprintln!("{line}");
    LogWriter::open(data, &mut SeededEntropy::new(2), Arc::new(SystemClock), tell, &|| {}).unwrap()
}

/// Seconds that it takes [`SENDERS`] to have `each` entries sealed, one after the other; and the median of a single wait.
fn from_senders(each: usize, data: &Path) -> (f64, f64) {
    let mut chance = SeededEntropy::new(3);
    let work: Vec<Vec<Batch>> = (0..SENDERS)
        .map(|n| {
            let source = source(n);
            (1..=each as u64).map(|at| batch(&source, at, &[record(&source, at, &mut chance)])).collect()
        })
        .collect();
    let (writer, running) = open(data);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let begun = Instant::now();
    let mut waits: Vec<f64> = runtime.block_on(async {
        let senders: Vec<_> = work
            .into_iter()
            .map(|batches| {
                let writer = writer.clone();
                tokio::spawn(async move {
                    let mut waits = Vec::with_capacity(batches.len());
                    for batch in batches {
                        let sent = Instant::now();
                        writer.append(batch).unwrap().await.unwrap().unwrap();
                        waits.push(sent.elapsed().as_secs_f64());
                    }
                    waits
                })
            })
            .collect();
        let mut waits = Vec::new();
        for sender in senders {
            waits.extend(sender.await.unwrap());
        }
        waits
    });
    let time = begun.elapsed().as_secs_f64();
    writer.stop();
    running.ended_blocking().unwrap();
    waits.sort_by(f64::total_cmp);
    (time, waits[waits.len() / 2])
}
