//! The Merkle log in memory, against raw SHA-256 of the same bytes; rounds in turn.
//!
//! - append: entries of 300 bytes hashed and laid out in bundles and tiles, sealed every 65,536, nothing written to disk
//! - verify: the whole log from its files, on one thread
//! - proof: an inclusion proof of a random entry, made from tiles and verified
//! - from disk: `grace log verify` and `grace log prove` as commands, and proofs made from the files
//!
//! Appending durably, and what else could do it, is the benchmark `durable_log`.
//!
//! `cargo run --release -p grace-benches --bin log [-- --rounds N] [--entries N]`
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark that cannot run should say so and stop"
)]

#[path = "log/disk.rs"]
mod disk;

use std::{collections::BTreeMap, hint::black_box, time::Instant};

use grace_benches::Machine;
use grace_log::{
    append::{Appender, Plan},
    checkpoint::{Checkpoint, Trust},
    files::read_entry,
    hash::leaf_hash,
    note::SignerKey,
    proof::{prove_inclusion, verify_inclusion},
    verify::verify,
};
use grace_types::chance::{Entropy as _, SeededEntropy};
use sha2::{Digest, Sha256};

const ENTRY_BYTES: usize = 300;
const BATCH: usize = 65_536;
const ORIGIN: &str = "log.example/bench";
const PROOFS: usize = 2000;

type Folder = BTreeMap<String, Vec<u8>>;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let value = |name: &str, default: usize| {
        let given = args.iter().position(|a| a == name).and_then(|i| args.get(i + 1));
        given.map_or(default, |n| n.parse().expect("a number"))
    };
    let (rounds, entries) = (value("--rounds", 5), value("--entries", 1_000_000));
    let mut chance = SeededEntropy::new(1);
    let mut bytes = vec![0; entries * ENTRY_BYTES];
    chance.fill(&mut bytes);
    let key = SignerKey::generate(ORIGIN, &mut chance).unwrap();

    let machine = Machine::watched();
    let (mut raw, mut append, mut verified) = (Vec::new(), Vec::new(), Vec::new());
    let (folder, checkpoint) = build(&bytes, &key);
    for _ in 0..rounds {
        raw.push(seconds(|| {
            for entry in bytes.chunks_exact(ENTRY_BYTES) {
                black_box(Sha256::digest(entry));
            }
        }));
        append.push(seconds(|| in_batches(&bytes, &key, |plan| drop(black_box(plan)))));
        let trust = Trust::in_log(key.verifier().clone());
        verified.push(seconds(|| {
            let report = verify(&folder, &trust, &[]);
            assert!(report.is_ok() && report.entries == entries as u64, "{:?}", report.faults);
        }));
    }
    println!(
        "{entries} entries of {ENTRY_BYTES} bytes, {rounds} rounds in turn, one thread; median [min – 99th percentile]\n"
    );
    let per_second = |times: &[f64]| times.iter().map(|time| entries as f64 / time / 1e6).collect::<Vec<_>>();
    println!("| | | |\n|---|---|---|");
    let (raw, append) = (
        row("raw SHA-256", "M entries/s", per_second(&raw)),
        row("append and seal", "M entries/s", per_second(&append)),
    );
    println!("| append / raw | {:.2} | |", append / raw);
    row("verify", "s", verified);
    let (made, checked) = proofs(&folder, &checkpoint, &mut chance);
    row("proof made", "µs", made);
    row("proof verified", "µs", checked);
    drop((folder, bytes));
    disk::measure(rounds, entries, &key, &mut chance);
    machine.report();
}

fn seconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

/// Prints a row and returns its median.
fn row(name: &str, unit: &str, mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let median = figures[figures.len() / 2];
    println!(
        "| {name} | {median:.2} {unit} | [{:.2} – {:.2}] |",
        figures[0],
        figures[figures.len() * 99 / 100]
    );
    median
}

/// A log of all entries, without the partial files that full ones have superseded.
fn build(bytes: &[u8], key: &SignerKey) -> (Folder, Checkpoint) {
    let (mut folder, mut checkpoint) = (Folder::new(), None);
    in_batches(bytes, key, |plan| {
        folder.extend(plan.writes.into_iter().map(|write| (write.path, write.bytes)));
        for gone in plan.superseded {
            // A folder's files follow `FOLDER/` and come before `FOLDER0`, the next byte after the slash.
            let partial = folder.range(format!("{gone}/")..format!("{gone}0"));
            let partial: Vec<String> = partial.map(|(path, _)| path.clone()).collect();
            for path in partial {
                folder.remove(&path);
            }
        }
        checkpoint = Some(plan.checkpoint);
    });
    (folder, checkpoint.unwrap())
}

/// Appends all entries and hands out the plan of each batch.
fn in_batches(bytes: &[u8], key: &SignerKey, mut sealed: impl FnMut(Plan)) {
    let mut appender = Appender::new();
    for batch in bytes.chunks(BATCH * ENTRY_BYTES) {
        for entry in batch.chunks_exact(ENTRY_BYTES) {
            appender.append(entry).unwrap();
        }
        sealed(appender.seal(ORIGIN, &[key]).unwrap());
    }
}

/// Microseconds that proofs of random entries take to make and to verify.
fn proofs(folder: &Folder, checkpoint: &Checkpoint, chance: &mut SeededEntropy) -> (Vec<f64>, Vec<f64>) {
    let Checkpoint { size, root, .. } = *checkpoint;
    (0..PROOFS)
        .map(|_| {
            let index = chance.below(size);
            let leaf = leaf_hash(&read_entry(folder, size, index).unwrap());
            let mut proof = Vec::new();
            let made = seconds(|| proof = prove_inclusion(folder, index, size).unwrap());
            let checked = seconds(|| verify_inclusion(leaf, index, size, root, &proof).unwrap());
            (made * 1e6, checked * 1e6)
        })
        .unzip()
}
