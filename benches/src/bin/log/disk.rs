//! The same log on disk, as whoever checks it has it: `grace log verify` and `grace log prove` as commands, with the start of the
//! process, and proofs of entries from all over the log. The files are in the page cache.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use grace_benches::instance::program;
use grace_core::kernels::immutable_log;
use grace_log::{
    checkpoint::Checkpoint,
    files::read_entry,
    hash::leaf_hash,
    note::SignerKey,
    proof::{prove_inclusion, verify_inclusion},
};
use grace_types::{
    chance::{Entropy as _, SeededEntropy},
    evidence::{JournalId, Source, write_entry},
};

use super::{ENTRY_BYTES, PROOFS, build, row, seconds};

/// How often each proof is made. The quickest counts: a neighbour that takes the processor is no property of an index.
const TRIES: usize = 5;

/// Entries as journals' records make them, each of [`ENTRY_BYTES`].
fn entries(count: usize, chance: &mut SeededEntropy) -> Vec<u8> {
    let source = Source::new("bench", JournalId(1)).unwrap();
    let mut entries = Vec::with_capacity(count * ENTRY_BYTES);
    let mut record = String::new();
    for sequence in 1..=count as u64 {
        let mut around = Vec::new();
        write_entry(&mut around, &source, sequence, b"\"\"");
        let filling = ENTRY_BYTES - around.len();
        record.clear();
        while record.len() < filling {
            record += &format!("{:016x}", chance.next_u64());
        }
        write_entry(&mut entries, &source, sequence, format!("\"{}\"", &record[..filling]).as_bytes());
    }
    entries
}

/// Writes the log of an instance into `data`, without that instance.
fn written(count: usize, data: &Path, key: &SignerKey, chance: &mut SeededEntropy) -> Checkpoint {
    let (folder, checkpoint) = build(&entries(count, chance), key);
    for (path, bytes) in folder {
        let path = data.join(immutable_log::LOG).join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    let vkey = data.join(immutable_log::PUBLIC_KEY);
    fs::create_dir_all(vkey.parent().unwrap()).unwrap();
    fs::write(vkey, format!("{}\n", key.verifier())).unwrap();
    checkpoint
}

fn run(data: &Path, args: &[&str]) {
    let mut command = Command::new(program());
    command.arg("--data").arg(data).args(["log"]).args(args);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    assert!(command.status().unwrap().success(), "{command:?}");
}

/// Prints a row for each command, and one for proofs.
pub(super) fn measure(rounds: usize, count: usize, key: &SignerKey, chance: &mut SeededEntropy) {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let Checkpoint { size, root, .. } = written(count, data, key, chance);
    let log = data.join(immutable_log::LOG).display().to_string();
    let verified = (0..rounds).map(|_| seconds(|| run(data, &["verify", &log]))).collect();
    row("`grace log verify DIR`, from disk", "s (target 3)", verified);

    let folder = immutable_log::Folder::at(data.join(immutable_log::LOG));
    let ends = [0, 1, size / 2, size - 257, size - 1];
    let indices: Vec<u64> = ends.into_iter().chain((0..PROOFS).map(|_| chance.below(size))).collect();
    let made: Vec<f64> = indices
        .iter()
        .map(|index| {
            let mut proof = Vec::new();
            let mut once = || seconds(|| proof = prove_inclusion(&folder, *index, size).unwrap());
            let made = (0..TRIES).map(|_| once()).fold(f64::INFINITY, f64::min);
            let leaf = leaf_hash(&read_entry(&folder, size, *index).unwrap());
            verify_inclusion(leaf, *index, size, root, &proof).unwrap();
            made * 1e6
        })
        .collect();
    let worst = made.iter().copied().fold(0.0, f64::max);
    row("proof made from the files on disk", "µs", made);
    println!("| the slowest of {} indices | {worst:.0} µs (target 1000) | |", indices.len());
    let proved =
        indices.iter().take(100).map(|index| seconds(|| run(data, &["prove", &index.to_string()])) * 1e3);
    row("`grace log prove INDEX`, the whole command", "ms", proved.collect());
}
