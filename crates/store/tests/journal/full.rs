//! A full disk: the error says so, nothing half-written is left, and with space again the journal goes on.

use std::{
    fs,
    path::{Path, PathBuf},
};

use grace_store::{Journal, StoreError};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::{append_numbers, open, records};

/// A small tmpfs, unmounted again whatever the test does.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where mounting is not allowed.
    fn mount(at: &Path, options: &std::ffi::CStr) -> Option<Self> {
        mount("tmpfs", at, "tmpfs", MountFlags::empty(), options).ok()?;
        Some(Self(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

#[test]
fn a_full_disk_refuses_whole_batches_and_recovers() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(folder.path(), c"size=1m") else {
        // Without the right to mount, the next test still covers writes that fail half way.
        return;
    };
    let path = folder.path().join("x.journal");
    let mut journal = open(&path).unwrap();
    append_numbers(&mut journal, 5);
    let ballast = folder.path().join("ballast");
    fs::write(&ballast, vec![0u8; 100_000]).unwrap();
    let payload = vec![7u8; 20_000];
    let mut whole = 0;
    let error = loop {
        match journal.append(&[&payload, &payload, &payload]) {
            Ok(_) => whole += 1,
            Err(e) => break e,
        }
        assert!(whole < 100, "the disk never got full");
    };
    assert!(matches!(&error, StoreError::Full { path } if path.ends_with("x.journal")), "{error}");
    let expected = 5 + whole * 3;
    assert_eq!(records(&mut journal, 1).unwrap().len(), expected);

    fs::remove_file(&ballast).unwrap();
    journal.append(&[b"there is space again"]).unwrap();
    assert_eq!(records(&mut journal, 1).unwrap().len(), expected + 1);
    drop(journal);
    let mut journal = open(&path).unwrap();
    assert_eq!(records(&mut journal, 1).unwrap().len(), expected + 1);
    drop(journal);
    drop(disk);
}

const CHILD: &str = "GRACE_TEST_LIMITED";

/// Not a test by itself: runs under a file size limit that its parent's other tests must not feel.
#[test]
fn child_with_a_file_size_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Some(path) = std::env::var_os(CHILD) else { return };
    let path = Path::new(&path);
    let mut journal = open(path).unwrap();
    append_numbers(&mut journal, 5);
    let unlimited = getrlimit(Resource::Fsize);
    setrlimit(Resource::Fsize, Rlimit { current: Some(300_000), maximum: unlimited.maximum }).unwrap();
    let payload = vec![7u8; 20_000];
    let mut whole = 0;
    let error = loop {
        match journal.append(&[&payload, &payload]) {
            Ok(_) => whole += 1,
            Err(e) => break e,
        }
        assert!(whole < 100, "the limit was never reached");
    };
    assert!(matches!(&error, StoreError::Io { .. } | StoreError::Full { .. }), "{error}");
    assert_eq!(records(&mut journal, 1).unwrap().len(), 5 + whole * 2);
    setrlimit(Resource::Fsize, unlimited).unwrap();
    journal.append(&[b"no limit any more"]).unwrap();
    assert_eq!(records(&mut journal, 1).unwrap().len(), 5 + whole * 2 + 1);
}

#[test]
fn a_write_that_fails_half_way_leaves_nothing_of_its_batch() {
    let folder = tempfile::tempdir().unwrap();
    // SIGXFSZ ends a process by default; a shell that ignores it passes that on.
    let output = std::process::Command::new("/bin/sh")
        .args(["-c", "trap '' XFSZ; exec \"$0\" --exact full::child_with_a_file_size_limit --nocapture"])
        .arg(std::env::current_exe().unwrap())
        .env(CHILD, folder.path().join("x.journal"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
