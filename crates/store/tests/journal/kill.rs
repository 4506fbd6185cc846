//! kill -9 in the middle of appends: everything that was acknowledged is there afterwards.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
};

use grace_store::Journal;

const FOLDER: &str = "GRACE_TEST_JOURNAL";

/// Not a test by itself: the process that `everything_acknowledged_survives_kill_9` kills.
#[test]
fn child_appends_until_killed() {
    let Some(path) = std::env::var_os(FOLDER) else { return };
    let mut journal = crate::open(Path::new(&path)).unwrap();
    let mut out = std::io::stdout();
    writeln!(out, "\nready {}", journal.last().0).unwrap();
    loop {
        let first = journal.last().0 + 1;
        let batch: Vec<[u8; 8]> = (first..first + 1 + first % 7).map(u64::to_le_bytes).collect();
        journal.append(&batch.iter().map(<[u8; 8]>::as_slice).collect::<Vec<_>>()).unwrap();
        if first.is_multiple_of(50) {
            journal.snapshot(journal.last(), &first.to_le_bytes()).unwrap();
        }
        writeln!(out, "acknowledged {}", journal.last().0).unwrap();
    }
}

pub(crate) fn spawn(path: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::child_appends_until_killed", "--nocapture", "--test-threads=1"])
        .env(FOLDER, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn everything_acknowledged_survives_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("j.journal");
    let mut acknowledged = 0;
    for round in 1..=12u64 {
        let mut child = spawn(&path);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Kill it at a different point of each life, and while more is on its way.
        let enough =
            lines.by_ref().map(Result::unwrap).filter_map(|l| number(&l)).take(round as usize * 5).last();
        child.kill().unwrap();
        let heard = lines.map_while(Result::ok).filter_map(|l| number(&l)).last().or(enough);
        acknowledged = acknowledged.max(heard.expect("the child acknowledged something"));
        assert!(!child.wait().unwrap().success());

        let mut journal = crate::open(&path).unwrap();
        assert!(journal.last().0 >= acknowledged, "{} < {acknowledged}", journal.last().0);
        let found = crate::records(&mut journal, 1).unwrap();
        assert!(found.iter().all(|(seq, payload)| payload[..] == seq.to_le_bytes()));
        for info in journal.snapshots().unwrap() {
            journal.restore(info.seq).unwrap();
        }
    }
}

pub(crate) fn number(line: &str) -> Option<u64> {
    line.strip_prefix("acknowledged ").and_then(|n| n.parse().ok())
}
