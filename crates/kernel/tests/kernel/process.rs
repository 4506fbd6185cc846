//! A decider as a real process: its life line, its signals, and what is on disk after its death.

use std::{
    collections::HashMap,
    ffi::OsString,
    os::unix::net::UnixDatagram,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use grace_kernel::{
    Envelope,
    process::{Environment, KernelError, run, serve, thread::Commands},
};
use grace_store::{Journal, Seq, file::FileJournal};
use grace_types::time::Timestamp;
use rustix::process::{Pid, Signal, kill_process};

use crate::tally::{Tally, add};

const CHILD: &str = "GRACE_TEST_KERNEL";

/// Adds without end; hangs its loop when the file `hang` is there.
struct Busy(std::path::PathBuf);

impl serve::Shell<Tally> for Busy {
    fn start(&mut self, commands: &Commands<Tally>) {
        let commands = commands.clone();
        tokio::spawn(async move { while commands.ask(Envelope::new(add("a", 1.0))).await.is_ok() {} });
    }

    fn perform(&mut self, _commands: &Commands<Tally>, _effect: String) {
        while self.0.exists() {
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    fn reload(&mut self, _commands: &Commands<Tally>) {
        println!("\nreloaded");
    }
}

/// Not a test by itself: the kernel that the tests below start.
#[test]
fn child_kernel() {
    let Some(data) = std::env::var_os(CHILD).map(std::path::PathBuf::from) else { return };
    let storage = serve::Storage::file(data.join("x.journal"), Timestamp::EPOCH);
    run(Environment::read().unwrap(), async |context| {
        serve::run_decider::<Tally, _>(context, storage, Busy(data.join("hang"))).await
    })
    .unwrap();
}

struct Kernel {
    child: Child,
    line: UnixDatagram,
}

impl Kernel {
    fn start(folder: &Path) -> Self {
        let socket = folder.join("notify.sock");
        let _ = std::fs::remove_file(&socket);
        let line = UnixDatagram::bind(&socket).unwrap();
        line.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "process::child_kernel", "--nocapture", "--test-threads=1"])
            .env(CHILD, folder)
            .env("GRACE_COMPONENT", "tally")
            .env("GRACE_DATA", folder)
            .env("NOTIFY_SOCKET", &socket)
            .env("WATCHDOG_USEC", "200000")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { child, line }
    }

    fn hear(&self) -> Option<String> {
        let mut bytes = [0u8; 4096];
        let length = self.line.recv(&mut bytes).ok()?;
        Some(String::from_utf8(bytes[..length].to_vec()).unwrap())
    }

    fn hear_until(&self, wanted: &str) {
        loop {
            if self.hear().unwrap_or_else(|| panic!("`{wanted}` never came")).lines().any(|l| l == wanted) {
                return;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_kernel_gets_ready_beats_reloads_and_ends_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let mut kernel = Kernel::start(folder.path());
    kernel.hear_until("READY=1");
    for _ in 0..3 {
        // Each beat tells again that it is ready, for a control plane that is new.
        let beat = kernel.hear().unwrap();
        assert!(
            beat.contains("READY=1") && beat.contains("WATCHDOG=1") && beat.contains("STATUS=ready"),
            "{beat}"
        );
    }
    kernel.signal(Signal::HUP);
    kernel.hear().unwrap();
    kernel.signal(Signal::TERM);
    kernel.hear_until("STOPPING=1");
    let status = kernel.child.wait().unwrap();
    assert!(status.success());
    let mut out = String::new();
    std::io::Read::read_to_string(&mut kernel.child.stdout.take().unwrap(), &mut out).unwrap();
    assert!(out.contains("reloaded"), "{out}");
    let mut journal = FileJournal::open(folder.path().join("x.journal"), Timestamp::EPOCH).unwrap();
    assert_eq!(journal.snapshots().unwrap().last().unwrap().seq, journal.last());
}

#[test]
fn a_kernel_whose_loop_hangs_stops_beating() {
    let folder = tempfile::tempdir().unwrap();
    let kernel = Kernel::start(folder.path());
    kernel.hear_until("READY=1");
    std::fs::write(folder.path().join("hang"), b"").unwrap();
    // What was sent before the hang is heard first; then nothing for ten times the interval.
    kernel.line.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    while kernel.hear().is_some() {}
    std::fs::remove_file(folder.path().join("hang")).unwrap();
    kernel.line.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    kernel.hear_until("WATCHDOG=1");
}

#[test]
fn a_killed_kernel_comes_back_with_all_that_it_knew() {
    let folder = tempfile::tempdir().unwrap();
    let mut last = Seq(0);
    for _ in 0..3 {
        let mut kernel = Kernel::start(folder.path());
        kernel.hear_until("READY=1");
        kernel.hear_until("WATCHDOG=1");
        kernel.signal(Signal::KILL);
        kernel.child.wait().unwrap();
        let journal = FileJournal::open(folder.path().join("x.journal"), Timestamp::EPOCH).unwrap();
        assert!(journal.last() > last);
        last = journal.last();
    }
}

#[test]
fn the_environment_is_read_or_the_variable_at_fault_is_named() {
    let read = |pairs: &[(&str, &str)]| {
        let map: HashMap<String, OsString> =
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).into())).collect();
        Environment::from(|name| map.get(name).cloned(), 7)
    };
    let base = [("GRACE_COMPONENT", "x"), ("GRACE_DATA", "/d"), ("WATCHDOG_USEC", "2000000")];
    let with = |more: (&'static str, &'static str)| read(&[&base[..], &[more]].concat());
    assert_eq!(read(&base).unwrap().watchdog, Some(Duration::from_secs(2)));
    assert_eq!(with(("WATCHDOG_PID", "7")).unwrap().watchdog, Some(Duration::from_secs(2)));
    assert_eq!(with(("WATCHDOG_PID", "8")).unwrap().watchdog, None);
    assert_eq!(with(("NATS_URL", "")).unwrap().nats_url, None);
    let named = |r: Result<Environment, KernelError>| match r {
        Err(KernelError::Environment { name, .. }) => name,
        other => panic!("{other:?}"),
    };
    assert_eq!(named(read(&base[1..])), "GRACE_COMPONENT");
    assert_eq!(named(read(&base[..1])), "GRACE_DATA");
    assert_eq!(named(read(&[base[0], base[1], ("WATCHDOG_USEC", "2s")])), "WATCHDOG_USEC");
}
