//! Records on a real disk, and sweeps over real processes.

use std::{
    os::fd::AsFd as _,
    os::unix::fs::PermissionsExt as _,
    process::{Child, Command},
    time::Duration,
};

use grace_types::time::{Clock as _, SystemClock};
use rustix::{event::PollFlags, process::Signal};
use tempfile::TempDir;

use super::*;
use crate::{
    life_line::{LifeLine, LifeLineState},
    limits, lines,
    order::{Fault, ProcessTarget},
    process::{Process, STOPPED},
    report::UndoProof,
};

/// A control plane in which one process is muted, until it is not.
#[derive(Default)]
struct Line {
    muted: bool,
    down: bool,
}

impl LifeLine for Line {
    fn mute(&mut self, _: &ProcessTarget, _: Duration) -> Result<(), String> {
        self.muted = true;
        Ok(())
    }

    fn unmute(&mut self, _: &ProcessTarget) -> Result<(), String> {
        if self.down {
            return Err("nobody answers".to_owned());
        }
        self.muted = false;
        Ok(())
    }

    fn state(&mut self, _: &ProcessTarget) -> Result<LifeLineState, String> {
        Ok(match self.muted {
            true => LifeLineState::Muted { dropped: 3, heartbeat_age: None },
            false => LifeLineState::Open,
        })
    }
}

struct Sleeper(Child);

impl Sleeper {
    fn new() -> Self {
        Self(Command::new("sleep").arg("600").spawn().unwrap())
    }

    fn target(&self) -> ProcessTarget {
        ProcessTarget::now("web", self.0.id()).unwrap()
    }

    fn process(&self) -> Process {
        Process::of(&self.target()).unwrap().unwrap()
    }

    fn stopped(self) -> Self {
        let process = self.process();
        process.signal(Signal::STOP).unwrap();
        until(|| process.state() == Some(STOPPED));
        self
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn until(mut condition: impl FnMut() -> bool) {
    let deadline = SystemClock.now().mono.plus(Duration::from_secs(20));
    let (never, _writer) = rustix::pipe::pipe().unwrap();
    while !condition() {
        assert!(SystemClock.now().mono < deadline);
        let next = SystemClock.now().mono.plus(Duration::from_millis(2));
        assert!(!lines::wait(never.as_fd(), PollFlags::IN, next).unwrap());
    }
}

fn soon(time: Duration) -> Now {
    let now = SystemClock.now();
    Now { wall: now.wall.plus(time), mono: now.mono.plus(time) }
}

fn order(id: u128, fault: Fault) -> FaultOrder {
    FaultOrder::new(FaultId::from_bits(id), fault, Duration::from_secs(60))
}

struct Bench {
    data: TempDir,
    journal: Journal,
    line: Line,
}

impl Bench {
    fn new() -> Self {
        let data = tempfile::tempdir().unwrap();
        let journal = Journal::of(data.path()).unwrap();
        Self { data, journal, line: Line::default() }
    }

    fn folder(&self) -> PathBuf {
        folder(self.data.path())
    }

    fn files(&self) -> usize {
        fs::read_dir(self.folder()).map_or(0, Iterator::count)
    }

    fn sweep_at(&mut self, now: Now) -> Swept {
        sweep(&folder(self.data.path()), now, &mut self.line).unwrap()
    }

    fn sweep(&mut self) -> Swept {
        self.sweep_at(SystemClock.now())
    }

    /// As if the injector that wrote it had ended.
    fn orphan(&mut self) {
        self.journal.holder.start_ticks += 1;
    }
}

#[test]
fn a_record_is_private_whole_and_written_once() {
    let mut bench = Bench::new();
    let sleeper = Sleeper::new();
    let order = order(1, Fault::Stop { target: sleeper.target() });
    bench.journal.write(&order, soon(Duration::from_secs(60))).unwrap();
    let path = bench.folder().join("flt_00000000000000000000000001.json");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&bench.folder()), mode(&path), bench.files()), (0o700, 0o600, 1));
    let record: Record = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!((record.order, record.injector.pid), (order.clone(), std::process::id()));
    let again = bench.journal.write(&order, soon(Duration::ZERO)).unwrap_err();
    assert_eq!((again.kind(), bench.files()), (io::ErrorKind::AlreadyExists, 1));
    assert_eq!(bench.sweep(), Swept::default(), "its injector lives and its time is not over");
    bench.journal.remove(order.id).unwrap();
    bench.journal.remove(order.id).unwrap();
    assert_eq!(bench.files(), 0);
}

#[test]
fn nothing_is_left_where_nothing_can_be_written() {
    let bench = Bench::new();
    fs::write(bench.folder(), "a file in its place").unwrap();
    let order = order(1, Fault::Kill { target: Sleeper::new().target() });
    assert!(bench.journal.write(&order, soon(Duration::ZERO)).is_err());
}

#[test]
fn an_orphaned_stop_goes_on_and_an_overdue_one_after_a_grace() {
    let mut bench = Bench::new();
    let sleepers = [Sleeper::new().stopped(), Sleeper::new().stopped()];
    let stop = |n: usize| order(n as u128 + 1, Fault::Stop { target: sleepers[n].target() });
    let deadline = soon(Duration::ZERO);
    bench.journal.write(&stop(0), deadline).unwrap();
    assert_eq!(bench.sweep_at(deadline), Swept::default(), "its injector is given a moment");
    bench.orphan();
    bench.journal.write(&stop(1), soon(Duration::from_secs(60))).unwrap();
    let late = Now { mono: deadline.mono.plus(limits::SWEEP_GRACE), ..deadline };
    let mut why = Vec::new();
    until(|| {
        why.extend(bench.sweep_at(late).undone.into_iter().map(|swept| (swept.id, swept.why)));
        why.len() == 2
    });
    why.sort_unstable_by_key(|(id, _)| *id);
    assert_eq!(why, [(stop(0).id, WhySwept::Overdue), (stop(1).id, WhySwept::InjectorGone)]);
    assert!(sleepers.iter().all(|sleeper| sleeper.process().state() != Some(STOPPED)));
    assert_eq!(bench.files(), 0);
}

#[test]
fn a_reused_pid_is_not_signalled() {
    let mut bench = Bench::new();
    let sleeper = Sleeper::new().stopped();
    let mut target = sleeper.target();
    target.start_ticks -= 1;
    bench.orphan();
    bench.journal.write(&order(1, Fault::Stop { target }), soon(Duration::ZERO)).unwrap();
    assert_eq!(bench.sweep().undone[0].proof, UndoProof::Gone);
    assert_eq!(sleeper.process().state(), Some(STOPPED), "whoever has the pid now stays as it is");
    assert_eq!(bench.files(), 0);
}

#[test]
fn an_orphaned_kill_is_not_carried_out_and_one_of_another_boot_means_nothing() {
    let mut bench = Bench::new();
    let sleeper = Sleeper::new().stopped();
    bench.orphan();
    let kill = order(1, Fault::Kill { target: sleeper.target() });
    bench.journal.write(&kill, soon(Duration::ZERO)).unwrap();
    assert_eq!(bench.sweep().undone[0].proof, UndoProof::Running { state: STOPPED });
    bench.journal.machine_boot.push('x');
    let stop = order(2, Fault::Stop { target: sleeper.target() });
    bench.journal.write(&stop, soon(Duration::ZERO)).unwrap();
    let swept = bench.sweep();
    assert_eq!((swept.undone[0].why, &swept.undone[0].proof), (WhySwept::Rebooted, &UndoProof::Rebooted));
    assert_eq!(sleeper.process().state(), Some(STOPPED));
}

#[test]
fn an_orphaned_mute_is_unmuted_as_soon_as_somebody_answers() {
    let mut bench = Bench::new();
    let sleeper = Sleeper::new();
    bench.orphan();
    bench.line = Line { muted: true, down: true };
    let mute = order(1, Fault::Mute { target: sleeper.target() });
    bench.journal.write(&mute, soon(Duration::from_secs(60))).unwrap();
    assert_eq!(bench.sweep().not_yet, [(mute.id, "nobody answers".to_owned())]);
    assert_eq!(bench.files(), 1);
    bench.line.down = false;
    assert_eq!(bench.sweep().undone[0].proof, UndoProof::Heard);
    assert!(!bench.line.muted && bench.files() == 0);
}

#[test]
fn a_torn_record_is_removed_an_unknown_one_stays_and_what_is_not_ours_is_left_alone() {
    let mut bench = Bench::new();
    let order = order(1, Fault::Stop { target: Sleeper::new().target() });
    bench.orphan();
    bench.journal.write(&order, soon(Duration::ZERO)).unwrap();
    let whole = fs::read(bench.journal.path(order.id)).unwrap();
    bench.journal.remove(order.id).unwrap();
    let file = |name: &str, content: &[u8]| fs::write(bench.folder().join(name), content).unwrap();
    file("torn.json", &whole[..whole.len() / 2]);
    file("empty.json", b"");
    file("newer.json", String::from_utf8_lossy(&whole).replace("stop", "drown").as_bytes());
    file("huge.json", &vec![b' '; 1 << 20]);
    file("notes.txt", b"");
    let own = |ticks: u64| format!("flt_x.{}.{ticks}.part", std::process::id());
    let ticks = process::start_ticks(std::process::id()).unwrap();
    file(&own(ticks), &whole[..10]);
    file(&own(ticks + 1), &whole[..10]);
    file("strange.part", b"");
    let swept = bench.sweep();
    let mut found: Vec<(String, bool)> = swept
        .unreadable
        .iter()
        .map(|file| (file.path.file_name().unwrap().to_string_lossy().into_owned(), file.removed))
        .collect();
    found.sort();
    let named = |name: &str, removed| (name.to_owned(), removed);
    let expected = [
        named("empty.json", true),
        named("huge.json", false),
        named("newer.json", false),
        named("torn.json", true),
    ];
    assert_eq!(found, expected);
    let mut left: Vec<String> = fs::read_dir(bench.folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    left.sort();
    assert_eq!(left, [own(ticks).as_str(), "huge.json", "newer.json", "notes.txt", "strange.part"]);
}

#[test]
fn no_folder_is_no_fault() {
    assert_eq!(Bench::new().sweep(), Swept::default());
}
