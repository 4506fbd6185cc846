//! A broker in this process, and beside it kernels and sinks as processes that can be killed and stopped.

use std::{
    collections::BTreeMap,
    net::TcpListener,
    ops::ControlFlow,
    os::unix::{net::UnixListener, process::ExitStatusExt as _},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use grace_bus::{
    Bus,
    auth::{AllowResponses, AuthTable, Credential, User},
    client::native::{self, NativeOptions, Target},
    shell::{Listeners, ServeConfig, serve},
};
use grace_core::{instance::Instance, kernels};
use grace_kernel::{
    Envelope, Outcome,
    evidence::{self, Sink},
    process::wire,
};
use grace_store::{JournalReader as _, Seq, file::FileReader};
use grace_types::{evidence::Source, manifest::Permissions};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    runtime::Runtime,
    sync::{mpsc, oneshot},
};

use crate::{
    clock::SetClock,
    held::{self, Held},
    instance::{kernel, until},
    programs::{self, Ask, Counter},
};

const TESTER: &str = "tester";
const ANSWER: Duration = Duration::from_secs(10);

/// A process of the bench.
pub(crate) struct Program {
    pub(crate) name: &'static str,
    child: Child,
    /// How often it was killed.
    pub(crate) kills: u32,
}

/// See the module's page. Its processes do not outlive it.
pub(crate) struct Bench {
    pub(crate) programs: Vec<Program>,
    metrics: Arc<Mutex<BTreeMap<String, Value>>>,
    pub(crate) tester: Bus,
    address: String,
    pub(crate) place: Instance,
    sources: Vec<&'static str>,
    /// The clock that the processes read, where it is not the machine's.
    clock: Option<SetClock>,
    pub(crate) runtime: Runtime,
    _stop: oneshot::Sender<()>,
    _folder: TempDir,
}

fn user(name: &str, publish: Vec<String>, subscribe: Vec<String>) -> User {
    User {
        name: name.to_owned(),
        credential: Credential::of_password(name),
        permissions: Permissions::only(publish, subscribe),
        allow_responses: Some(AllowResponses::DEFAULT),
    }
}

fn is_sink(name: &str) -> bool {
    Sink::ALL.iter().any(|sink| sink.name() == name)
}

/// What the control plane would allow them, and no more; `others` with what they need besides shipping.
fn users(sources: &[&str], others: &[(&str, Permissions)]) -> AuthTable {
    let everything = || vec![">".to_owned()];
    let mut users = vec![user(TESTER, everything(), everything())];
    for sink in kernels::all().into_iter().filter(|kernel| is_sink(kernel.name)) {
        let Permissions { publish, subscribe } = (sink.permissions)();
        users.push(user(sink.name, publish.allow, subscribe.allow));
    }
    for name in sources {
        let mut publish = evidence::subjects(name);
        publish.push(format!("grace.event.{name}.>"));
        // A client's inbox is one word after the prefix.
        let inbox = format!("_INBOX.{}.>", name.replace('.', "_"));
        users.push(user(name, publish, vec![wire::command_subject(name), inbox]));
    }
    for (name, Permissions { publish, subscribe }) in others.iter().cloned() {
        users.push(user(name, [evidence::subjects(name), publish.allow].concat(), subscribe.allow));
    }
    AuthTable { users }
}

impl Bench {
    /// A broker and both sinks; no source runs yet.
    pub(crate) fn new(sources: &[&'static str]) -> Self {
        Self::with(sources, &[], None)
    }

    /// The same whose processes read this clock, and where `others` may be started as well.
    pub(crate) fn with(
        sources: &[&'static str],
        others: &[(&str, Permissions)],
        clock: Option<SetClock>,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = Instance::at(folder.path().join("data"));
        for folder in [place.run(), place.journals()] {
            std::fs::create_dir_all(folder).unwrap();
        }
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap().to_string();
        let unix = UnixListener::bind(place.bus_socket()).unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let config = ServeConfig::for_users(users(sources, others));
        runtime.spawn(async move {
            let (_commands, command_queue) = mpsc::channel(1);
            let (events, _events) = mpsc::channel(1);
            let listeners = Listeners { tcp: vec![tcp], unix: vec![unix] };
            serve(config, listeners, command_queue, events, async { drop(stopped.await) }).await.unwrap();
        });
        let options = NativeOptions::new(Target::Unix(place.bus_socket()), TESTER, TESTER, TESTER);
        let tester = {
            let _inside = runtime.enter();
            native::connect(options)
        };
        let metrics = Arc::default();
        runtime.spawn(listen(tester.clone(), Arc::clone(&metrics)));
        let sources = sources.to_vec();
        let mut bench = Self {
            programs: Vec::new(),
            metrics,
            tester,
            address,
            place,
            sources,
            clock,
            runtime,
            _stop: stop,
            _folder: folder,
        };
        for sink in Sink::ALL {
            bench.start(sink.name(), kernel(sink.name()));
        }
        bench
    }

    /// Starts every source.
    pub(crate) fn start_sources(&mut self, loaded: bool) {
        for name in self.sources.clone() {
            self.start(name, programs::source(loaded));
        }
    }

    pub(crate) fn start(&mut self, name: &'static str, command: Command) {
        let child = self.spawn(name, command);
        self.programs.push(Program { name, child, kills: 0 });
    }

    fn spawn(&self, name: &str, mut command: Command) -> Child {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.place.data().join(format!("{name}.log")))
            .unwrap();
        command
            .env("GRACE_COMPONENT", name)
            .env("GRACE_DATA", self.place.data())
            .env("GRACE_BUS_SOCKET", self.place.bus_socket())
            .env("NATS_URL", format!("nats://{name}:{name}@{}", self.address))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        if let Some(clock) = &self.clock {
            clock.give_to(&mut command);
        }
        command.spawn().unwrap()
    }

    fn command(&self, name: &str, loaded: bool) -> Command {
        if self.sources.contains(&name) { programs::source(loaded) } else { kernel(name) }
    }

    /// Kills a program, proves it, and starts it again.
    pub(crate) fn kill(&mut self, at: usize) {
        self.end(at, Signal::KILL);
        self.programs[at].kills += 1;
        let name = self.programs[at].name;
        self.programs[at].child = self.spawn(name, self.command(name, true));
    }

    fn end(&mut self, at: usize, signal: Signal) {
        let program = &mut self.programs[at];
        let pid = program.child.id();
        assert!(program.child.try_wait().unwrap().is_none(), "{} ended by itself: see its log", program.name);
        kill_process(Pid::from_child(&program.child), signal).unwrap();
        let ended = program.child.wait().unwrap();
        match signal {
            Signal::KILL => assert_eq!(ended.signal(), Some(9), "the fault bit"),
            // One that is only just starting has no handler yet.
            _ => assert!(ended.success() || ended.signal() == Some(15), "{}: {ended:?}", program.name),
        }
        SetClock::left_by(pid);
    }

    /// Ends the load: each source ends in order and is started again without.
    pub(crate) fn unload(&mut self) {
        for at in 0..self.programs.len() {
            let name = self.programs[at].name;
            if self.sources.contains(&name) {
                self.end(at, Signal::TERM);
                self.programs[at].child = self.spawn(name, self.command(name, false));
            }
        }
    }

    pub(crate) fn signal(&self, name: &str, signal: Signal) {
        let program = self.programs.iter().find(|program| program.name == name).unwrap();
        kill_process(Pid::from_child(&program.child), signal).unwrap();
    }

    /// Asks a source on the bus; its answer means that what it did is on disk.
    pub(crate) fn ask(&self, name: &str, ask: Ask) -> u64 {
        let message = wire::command(name, &Envelope::new(ask)).unwrap();
        let answer = self.runtime.block_on(self.tester.request_until(message, &unique(), ANSWER)).unwrap();
        match wire::read_answer::<Counter>(&answer.payload).unwrap() {
            Outcome::Done(count) => count,
            Outcome::Refused(never) => panic!("{never}"),
        }
    }

    /// What a source last said of a sink.
    pub(crate) fn metric(&self, source: &str, sink: Sink) -> Option<Value> {
        let metrics = self.metrics.lock().unwrap();
        Some(metrics.get(source)?["sinks"].get(sink.name())?.clone())
    }

    /// How many records a sink has acknowledged to a source.
    pub(crate) fn acknowledged(&self, source: &str, sink: Sink) -> u64 {
        self.metric(source, sink).and_then(|metric| metric["next"].as_u64()).map_or(0, |next| next - 1)
    }

    /// How many records a source has written.
    pub(crate) fn written(&self, source: &str) -> u64 {
        FileReader::open(self.place.journal(source)).unwrap().last().unwrap().0
    }

    /// Every source's journal.
    pub(crate) fn journals(&self) -> Held {
        let read = |name: &&str| {
            let mut reader = FileReader::open(self.place.journal(name)).unwrap();
            let mut records = Vec::new();
            let mut visit = |record: grace_store::Record<'_>| {
                records.push(record.payload.to_vec());
                ControlFlow::Continue(())
            };
            reader.read(Seq(1), usize::MAX, &mut visit).unwrap();
            (Source::new(name, reader.id()).unwrap(), records)
        };
        self.sources.iter().map(read).collect()
    }

    /// Waits until the sinks have acknowledged everything, and compares what they hold with the journals: no gap, no
    /// duplicate, the same bytes, the same order.
    pub(crate) fn compare(&self) -> Held {
        let journals = self.journals();
        for (source, records) in &journals {
            for sink in Sink::ALL {
                until(&format!("{} has all of {source}", sink.name()), || {
                    (self.acknowledged(&source.component, sink) == records.len() as u64).then_some(())
                });
            }
        }
        let data = self.place.data();
        let total: usize = journals.values().map(Vec::len).sum();
        // Sealed is acknowledged; the public files follow.
        until("the log's files hold everything", || (held::log_size(data) >= total as u64).then_some(()));
        let log = held::log(data);
        assert!(log.keys().eq(journals.keys()), "{:?}", log.keys());
        for (source, records) in &journals {
            let differs = records.iter().zip(&log[source]).position(|(journal, log)| journal != log);
            assert_eq!(differs, None, "the log differs from {source} at this record");
            assert_eq!(log[source].len(), records.len(), "{source}");
        }
        held::assert_narrated(data, &journals);
        journals
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        for program in &mut self.programs {
            let _ = program.child.kill();
            let _ = program.child.wait();
            SetClock::left_by(program.child.id());
            if std::thread::panicking() {
                let log = self.place.data().join(format!("{}.log", program.name));
                let log = std::fs::read_to_string(log).unwrap_or_default();
                let tail: Vec<&str> = log.lines().rev().take(20).collect();
                println!("--- {}\n{}", program.name, tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
            }
        }
    }
}

fn unique() -> String {
    use grace_types::chance::{Entropy as _, OsEntropy};
    format!("{:x}", OsEntropy.next_u64())
}

async fn listen(bus: Bus, metrics: Arc<Mutex<BTreeMap<String, Value>>>) {
    let mut heard = bus.subscribe("grace.telemetry.evidence.>", None).await.unwrap();
    while let Some(message) = heard.next().await {
        let metric: Value = serde_json::from_slice(&message.payload).unwrap();
        let component = metric["component"].as_str().unwrap().to_owned();
        for sink in Sink::ALL {
            let sink = &metric["sinks"][sink.name()];
            assert!(sink["rewinds"].as_u64().unwrap_or(0) == 0 && sink["halted"].is_null(), "{metric}");
        }
        metrics.lock().unwrap().insert(component, metric);
    }
}
