//! An instance's data folder, sleeping processes that belong to it, a control plane that only mutes, and an injector.

use std::{
    collections::BTreeMap,
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::Duration,
};

use grace_faults::{
    Fault, FaultOrder, LifeLine, LifeLineState, ProcessTarget,
    client::Injector,
    injector::{Streams, serve},
    journal,
    process::Process,
};
use grace_types::{
    chance::{Entropy as _, OsEntropy},
    id::FaultId,
    time::{Clock as _, SystemClock},
};
use rustix::process::Signal;
use tempfile::TempDir;

/// How long a condition may take to come true.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = SystemClock.now().mono.plus(PATIENCE);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(SystemClock.now().mono < deadline, "not within {PATIENCE:?}");
        thread::park_timeout(Duration::from_millis(2));
    }
}

/// A control plane of which only the life line is there: each look finds one more datagram dropped.
#[derive(Clone, Default)]
pub(crate) struct Line(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    muted: BTreeMap<u32, u64>,
    silent: bool,
    down: bool,
}

impl Line {
    pub(crate) fn is_muted(&self, pid: u32) -> bool {
        self.0.lock().unwrap().muted.contains_key(&pid)
    }

    /// The program says nothing, so nothing is dropped.
    pub(crate) fn be_silent(&self) {
        self.0.lock().unwrap().silent = true;
    }

    /// Nobody answers.
    pub(crate) fn be_down(&self, down: bool) {
        self.0.lock().unwrap().down = down;
    }

    fn ask<T>(&self, does: impl FnOnce(&mut State) -> T) -> Result<T, String> {
        let mut state = self.0.lock().unwrap();
        if state.down { Err("nobody answers".to_owned()) } else { Ok(does(&mut state)) }
    }
}

impl LifeLine for Line {
    fn mute(&mut self, target: &ProcessTarget, time: Duration) -> Result<(), String> {
        assert!(!time.is_zero());
        self.ask(|state| _ = state.muted.insert(target.pid, 0))
    }

    fn unmute(&mut self, target: &ProcessTarget) -> Result<(), String> {
        self.ask(|state| _ = state.muted.remove(&target.pid))
    }

    fn state(&mut self, target: &ProcessTarget) -> Result<LifeLineState, String> {
        self.ask(|state| {
            let more = u64::from(!state.silent);
            let Some(dropped) = state.muted.get_mut(&target.pid) else { return LifeLineState::Open };
            *dropped += more;
            LifeLineState::Muted { dropped: *dropped, heartbeat_age: Some(Duration::from_millis(7)) }
        })
    }
}

/// A process of the instance, which sleeps.
pub(crate) struct Sleeper {
    child: Child,
    pub(crate) target: ProcessTarget,
}

impl Sleeper {
    pub(crate) fn of(data: &Path, component: &str) -> Self {
        let mut command = Command::new("sleep");
        command.arg("600").env("GRACE_DATA", data).env("GRACE_COMPONENT", component);
        let child = command.spawn().unwrap();
        let target = ProcessTarget::now(component, child.id()).unwrap();
        let sleeper = Self { child, target };
        // The kernel lets the parent go on before the new program's environment is in its place.
        let environment = || sleeper.process()?.environment();
        until(|| environment().filter(|environment| environment.is("GRACE_COMPONENT", component)));
        sleeper
    }

    pub(crate) fn process(&self) -> Option<Process> {
        Process::of(&self.target).unwrap()
    }

    pub(crate) fn state(&self) -> Option<char> {
        self.process().and_then(|process| process.state())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process().unwrap().signal(signal).unwrap();
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) struct Bench {
    folder: TempDir,
    pub(crate) line: Line,
    /// A signal that asks for its end.
    pub(crate) signal: UnixStream,
    injector: Option<JoinHandle<bool>>,
}

impl Bench {
    pub(crate) fn new() -> (Self, Injector) {
        let folder = tempfile::tempdir().unwrap();
        let line = Line::default();
        let ((input, orders), (reports, output)) = (pipe(), pipe());
        let (signals, signal) = UnixStream::pair().unwrap();
        let (data, life_line) = (folder.path().to_owned(), Box::new(line.clone()));
        let streams = Streams { input, output, signals };
        let injector = Some(thread::spawn(move || serve(&data, life_line, streams).unwrap()));
        let client = Injector::connect(orders, reports).unwrap();
        (Self { folder, line, signal, injector }, client)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().canonicalize().unwrap()
    }

    pub(crate) fn sleeper(&self) -> Sleeper {
        Sleeper::of(&self.data(), "web")
    }

    /// Records of faults under way.
    pub(crate) fn records(&self) -> usize {
        std::fs::read_dir(journal::folder(&self.data())).map_or(0, Iterator::count)
    }

    /// Waits for the injector's end; whether it undid everything.
    pub(crate) fn ended(&mut self) -> bool {
        self.injector.take().unwrap().join().unwrap()
    }
}

/// A pipe that no sleeper inherits: it would hold it open.
pub(crate) fn pipe() -> (OwnedFd, OwnedFd) {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap()
}

/// An order of this kind, for ten minutes unless it says otherwise.
pub(crate) fn order(kind: &str, sleeper: &Sleeper) -> FaultOrder {
    let target = sleeper.target.clone();
    let fault = match kind {
        "kill" => Fault::Kill { target },
        "stop" => Fault::Stop { target },
        "mute" => Fault::Mute { target },
        _ => panic!("there is no {kind}"),
    };
    FaultOrder::new(FaultId::from_bits(OsEntropy.next_u128()), fault, Duration::from_secs(600))
}

/// The same for so many milliseconds.
pub(crate) fn short(kind: &str, sleeper: &Sleeper, millis: u64) -> FaultOrder {
    FaultOrder { duration_ms: millis, ..order(kind, sleeper) }
}
