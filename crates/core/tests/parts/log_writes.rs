//! kill -9 at each single thing that the tamper-evident log does to its files: a process of its own on a real disk kills itself before the
//! N-th of them, for each N until it comes through.
//!
//! Of a write there are three points: before it, with the file made and nothing in it, and with half of it there, where it spans pages: a
//! process is killed between two pages of a write, never within one. Recovery is cut off in the same way. What was acknowledged is there afterwards, the public files are whole at every moment, and the log goes on.

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use grace_core::kernels::immutable_log::{
    Folder, LOG, LogWriter, PENDING, RealDisk,
    disk::{Disk, InPlace},
    verifier_key,
};
use grace_kernel::evidence::{
    Sink,
    wire::{Batch, BatchWriter, Joined},
};
use grace_log::{checkpoint::Trust, tile::CHECKPOINT_PATH, verify::verify};
use grace_types::{chance::OsEntropy, time::SystemClock};
use rustix::process::{Signal, getpid, kill_process};

use crate::log_kill::{found, source};

const DATA: &str = "GRACE_TEST_LOG_DATA";
const AT: &str = "GRACE_TEST_LOG_KILLED_AT";
/// Batches of a life: some small, some a third of a pending segment, so that segments take turns, and a record that fits no entry.
const BATCHES: [(u64, u64); 7] = [(0, 3), (1, 1), (0, 300), (1, 2), (1, 1), (1, 1), (0, 40)];
/// Of the zeros with which a new segment is filled, one write in so many is a point: they are all alike.
const FILLING: u64 = 64;

/// Bytes of a page.
const PAGE: u64 = 4096;

/// The pages of a write at `offset` that are there when it is cut off in the middle; `None` where it is all on one page.
fn half(offset: u64, bytes: &[u8]) -> Option<&[u8]> {
    let middle = (offset + bytes.len() as u64 / 2) / PAGE * PAGE;
    let written = usize::try_from(middle.checked_sub(offset)?).unwrap();
    (written > 0).then(|| &bytes[..written])
}

/// Where in its work the process is, and where it ends.
#[derive(Clone)]
struct Points {
    passed: Arc<AtomicU64>,
    last: Option<u64>,
}

impl Points {
    /// The next point. Where it is the last, `rest` is done, and nothing after it.
    fn pass(&self, rest: impl FnOnce()) {
        let at = self.passed.fetch_add(1, Ordering::SeqCst);
        if Some(at) == self.last {
            rest();
            kill_process(getpid(), Signal::KILL).unwrap();
            unreachable!("nobody outlives this signal");
        }
    }
}

/// The real disk, on which the process ends at a point.
struct Deadly {
    disk: RealDisk,
    points: Points,
}

impl Disk for Deadly {
    fn read(&self, path: &str, limit: usize) -> io::Result<Option<Vec<u8>>> {
        self.disk.read(path, limit)
    }

    fn names(&self, folder: &str) -> io::Result<Vec<String>> {
        self.disk.names(folder)
    }

    // Files of a publication come here too, one by one, by the trait's own `store`.
    fn write(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        self.points.pass(|| {});
        self.points.pass(|| self.disk.write(path, &[]).unwrap());
        if let Some(half) = half(0, bytes) {
            self.points.pass(|| self.disk.write(path, half).unwrap());
        }
        self.disk.write(path, bytes)
    }

    fn sync(&self, path: &str) -> io::Result<()> {
        self.points.pass(|| {});
        self.disk.sync(path)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.points.pass(|| {});
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.points.pass(|| {});
        self.disk.remove(path)
    }

    fn remove_folder(&self, folder: &str) -> io::Result<()> {
        self.points.pass(|| {});
        // One of its files is gone, and the folder is there.
        self.points.pass(|| {
            if let Some(name) = self.disk.names(folder).unwrap().first() {
                self.disk.remove(&format!("{folder}/{name}")).unwrap();
            }
        });
        self.disk.remove_folder(folder)
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn InPlace>> {
        self.points.pass(|| {});
        let file = self.disk.open(path)?;
        Ok(Box::new(DeadlyFile { file, points: self.points.clone(), filled: 0 }))
    }
}

struct DeadlyFile {
    file: Box<dyn InPlace>,
    points: Points,
    filled: u64,
}

impl InPlace for DeadlyFile {
    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(offset, bytes)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let filling = bytes.len() as u64 == PAGE && bytes.iter().all(|byte| *byte == 0);
        self.filled += u64::from(filling);
        if !filling || self.filled % FILLING == 1 {
            self.points.pass(|| {});
            if let Some(half) = half(offset, bytes) {
                let file = &mut self.file;
                self.points.pass(|| file.write_at(offset, half).unwrap());
            }
        }
        self.file.write_at(offset, bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.points.pass(|| {});
        self.file.sync()
    }
}

/// What a source says: every fifth record of the second one fits no entry.
fn record(of: u64, sequence: u64) -> String {
    let filling = match (of, sequence % 5) {
        (0, _) => sequence % 500,
        (_, 0) => 66_000,
        _ => 60_000,
    };
    format!("{{\"of\":{of},\"n\":{sequence},\"x\":\"{}\"}}", "x".repeat(usize::try_from(filling).unwrap()))
}

fn batch(of: u64, first: u64, count: u64) -> Batch {
    let mut writer = BatchWriter::new(source(of), first);
    for sequence in first..first + count {
        assert_eq!(writer.join(record(of, sequence).as_bytes()), Joined::Yes);
    }
    Batch::read(Sink::ImmutableLog, &writer.into_message(Sink::ImmutableLog)).unwrap()
}

fn say(line: &str) {
    writeln!(io::stdout().lock(), "\n{line}").unwrap();
}

/// Not a test by itself: the process that kills itself, or comes through. It says where the log stands, and what it acknowledges.
#[test]
fn child_appends_and_dies() {
    let Some(data) = std::env::var_os(DATA) else { return };
    let last = std::env::var(AT).ok().map(|at| at.parse().unwrap());
    let points = Points { passed: Arc::default(), last };
    let disk = RealDisk::at(data).lock(&format!("{PENDING}/lock")).unwrap().expect("nobody else has it");
    let disk = Arc::new(Deadly { disk, points });
    let tell = |line: &str| panic!("{line}");
    let (writer, running) = LogWriter::on(disk, &mut OsEntropy, Arc::new(SystemClock), tell, &|| {}).unwrap();
    let append = |batch| writer.append_blocking(batch).unwrap().blocking_recv().unwrap().unwrap().next;
    let mut next = [0, 1].map(|of| append(batch(of, 1, 0)));
    for (of, next) in next.iter().enumerate() {
        say(&format!("stands {of} {}", next - 1));
    }
    for (of, count) in BATCHES {
        let at = &mut next[usize::try_from(of).unwrap()];
        *at = append(batch(of, *at, count));
        say(&format!("sealed {of} {}", *at - 1));
    }
    writer.stop();
    running.ended_blocking().unwrap();
}

/// What a life said.
#[derive(Debug, Default)]
struct Life {
    killed: bool,
    /// Where the log stood at its start, if it came so far.
    stood: BTreeMap<u64, u64>,
    sealed: BTreeMap<u64, u64>,
}

/// Lives until the process is killed at the point `at`, or all is done.
fn live(data: &Path, at: Option<u64>) -> Life {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "log_writes::child_appends_and_dies", "--nocapture", "--test-threads=1"]);
    command.env(DATA, data).stdin(Stdio::null());
    if let Some(at) = at {
        command.env(AT, at.to_string());
    }
    let output = command.output().unwrap();
    let killed = output.status.signal() == Some(9);
    assert!(killed || output.status.success(), "at {at:?}: {}", String::from_utf8_lossy(&output.stderr));
    let mut life = Life { killed, ..Life::default() };
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let mut words = line.split(' ');
        let (word, mut numbers) = (words.next(), words.map_while(|word| word.parse::<u64>().ok()));
        let said = match word {
            Some("stands") => &mut life.stood,
            Some("sealed") => &mut life.sealed,
            _ => continue,
        };
        if let (Some(of), Some(last)) = (numbers.next(), numbers.next()) {
            said.insert(of, last);
        }
    }
    life
}

/// What is published is whole, whatever was cut off.
fn public_files_are_whole(data: &Path, at: u64) {
    if !data.join(LOG).join(CHECKPOINT_PATH).exists() {
        return;
    }
    let report = verify(&Folder::at(data.join(LOG)), &Trust::in_log(verifier_key(data).unwrap()), &[]);
    assert!(report.is_ok(), "killed at {at}: {:?}", report.faults);
    assert!(report.unknown.is_empty(), "killed at {at}: {:?}", report.unknown);
}

fn holds(found: &BTreeMap<u64, u64>, acknowledged: &BTreeMap<u64, u64>, at: u64) {
    for (of, count) in acknowledged {
        assert!(
            found.get(of) >= Some(count),
            "killed at {at}: of {of} there is {:?} < {count}",
            found.get(of)
        );
    }
}

// In four parts, so that they run beside each other.

#[test]
fn what_was_sealed_survives_kill_9_at_every_fourth_write() {
    killed_at_each(0);
}

#[test]
fn what_was_sealed_survives_kill_9_one_write_later() {
    killed_at_each(1);
}

#[test]
fn what_was_sealed_survives_kill_9_two_writes_later() {
    killed_at_each(2);
}

#[test]
fn what_was_sealed_survives_kill_9_three_writes_later() {
    killed_at_each(3);
}

/// Is killed at each point of which `first` is the first.
fn killed_at_each(first: u64) {
    let mut at = first;
    loop {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path();
        let Life { killed, sealed: mut acknowledged, .. } = live(data, Some(at));
        public_files_are_whole(data, at);
        // The second life is cut off while it recovers, or soon after.
        let second = live(data, Some(at * 13 % 60));
        public_files_are_whole(data, at);
        if !second.stood.is_empty() {
            holds(&second.stood, &acknowledged, at);
        }
        acknowledged.extend(second.sealed);
        let third = live(data, None);
        holds(&third.stood, &acknowledged, at);
        assert_eq!(found(data, record), third.sealed, "killed at {at}");
        if !killed {
            break;
        }
        at += 4;
    }
    assert!(at > 100, "only {at} points were there to be killed at");
}
