//! kill -9 of a process that appends to the tamper-evident log: what it was told is sealed is there afterwards, once and in order.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use grace_core::kernels::immutable_log::{Folder, LOG, LogWriter, remembered, verifier_key};
use grace_kernel::evidence::{
    Sink,
    wire::{Batch, BatchWriter, Joined},
};
use grace_log::{checkpoint::Trust, files::read_entry, verify::verify};
use grace_types::{
    chance::OsEntropy,
    evidence::{Content, JournalId, LogEntry, Source},
    time::SystemClock,
};

const DATA: &str = "GRACE_TEST_LOG_DATA";
const SENDERS: u64 = 4;

pub(crate) fn source(n: u64) -> Source {
    Source::new(&format!("sender-{n}"), JournalId(n)).unwrap()
}

fn record(of: u64, sequence: u64) -> String {
    let filling = if sequence.is_multiple_of(97) { 66_000 } else { sequence % 500 };
    format!("{{\"of\":{of},\"n\":{sequence},\"x\":\"{}\"}}", "x".repeat(usize::try_from(filling).unwrap()))
}

fn batch(of: u64, first: u64, count: u64) -> Batch {
    let mut writer = BatchWriter::new(source(of), first);
    for sequence in first..first + count {
        assert_eq!(writer.join(record(of, sequence).as_bytes()), Joined::Yes);
    }
    Batch::read(Sink::ImmutableLog, &writer.into_message(Sink::ImmutableLog)).unwrap()
}

/// Not a test by itself: the process that `what_was_sealed_survives_kill_9` kills.
#[test]
fn child_appends_until_killed() {
    let Some(data) = std::env::var_os(DATA) else { return };
    let tell = |line: &str| panic!("{line}");
    let (writer, _running) =
        LogWriter::open(Path::new(&data), &mut OsEntropy, Arc::new(SystemClock), tell, &|| {}).unwrap();
    println!("\nready");
    std::thread::scope(|scope| {
        for of in 0..SENDERS {
            let writer = &writer;
            scope.spawn(move || {
                let seal = |first, count| {
                    let answered = writer.append_blocking(batch(of, first, count)).unwrap();
                    answered.blocking_recv().unwrap().unwrap().next
                };
                let mut next = seal(1, 0);
                loop {
                    next = seal(next, 1 + next * 7 % (5 + of * 9));
                    writeln!(std::io::stdout().lock(), "sealed {of} {}", next - 1).unwrap();
                }
            });
        }
    });
}

fn spawn(data: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "log_kill::child_appends_until_killed", "--nocapture", "--test-threads=1"])
        .env(DATA, data)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn heard(line: &str) -> Option<(u64, u64)> {
    let (of, sequence) = line.strip_prefix("sealed ")?.split_once(' ')?;
    Some((of.parse().ok()?, sequence.parse().ok()?))
}

/// The log in `data` is whole and holds of each source the records from 1 on, as `record` says them, each once and in order: how many.
pub(crate) fn found(data: &Path, record: fn(u64, u64) -> String) -> BTreeMap<u64, u64> {
    let files = Folder::at(data.join(LOG));
    let trust = Trust::in_log(verifier_key(data).unwrap());
    let report = verify(&files, &trust, &remembered(data, &trust.origin).unwrap());
    assert!(report.is_ok(), "{:?}", report.faults);
    assert!(report.unsealed.is_empty() && report.unknown.is_empty());
    let mut found = BTreeMap::new();
    for index in 0..report.entries {
        let bytes = read_entry(&files, report.entries, index).unwrap();
        let entry = LogEntry::read(&bytes).unwrap();
        let count = found.entry(entry.source.journal.0).or_insert(0);
        *count += 1;
        assert_eq!(entry.sequence, *count);
        let text = match entry.content {
            Content::Record(raw) => raw.get().to_owned(),
            Content::Blob(blob) => {
                std::fs::read_to_string(data.join(LOG).join("blobs").join(blob.sha256)).unwrap()
            }
        };
        assert_eq!(text, record(entry.source.journal.0, entry.sequence));
    }
    found
}

#[test]
fn what_was_sealed_survives_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let mut sealed = BTreeMap::new();
    for round in 1..=40usize {
        let mut child = spawn(data);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Killed at another point of each life, the first ones while the log is made.
        let mut said: Vec<String> = Vec::new();
        if round > 3 {
            said.extend(lines.by_ref().take(round * 3 % 50).map(Result::unwrap));
        }
        child.kill().unwrap();
        said.extend(lines.map_while(Result::ok));
        assert!(!child.wait().unwrap().success());
        sealed.extend(said.iter().filter_map(|line| heard(line)));
    }
    let tell = |line: &str| panic!("{line}");
    let (writer, running) =
        LogWriter::open(data, &mut OsEntropy, Arc::new(SystemClock), tell, &|| {}).unwrap();
    let again = LogWriter::open(data, &mut OsEntropy, Arc::new(SystemClock), tell, &|| {});
    assert!(again.is_err_and(|e| e.to_string().contains("another process")));
    writer.stop();
    running.ended_blocking().unwrap();

    let found = found(data, record);
    assert!(sealed.len() as u64 == SENDERS, "each sender was told something: {sealed:?}");
    for (of, sequence) in sealed {
        assert!(found[&of] >= sequence, "{of}: {} < {sequence}", found[&of]);
    }
}
