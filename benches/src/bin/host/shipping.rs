//! Where the journal is shipped to: a broker and two sinks in a process of their own, as on a machine that runs Grace.
//!
//! The sinks of the bench append each batch to a file and sync it. With `--grace PROGRAM` they are the real kernels of that build:
//! `immutable_log` and `clarity`, a process each.

use std::{
    fs::{File, create_dir_all},
    io::Write as _,
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use grace_bus::{
    Bus, Message,
    auth::{AuthTable, Credential, User},
    client::native::{self, NativeOptions, Target},
    shell::{Listeners, ServeConfig, serve},
};
use grace_kernel::evidence::{
    self, Shippers, Sink,
    wire::{Batch, Position, evidence_pattern, reply},
};
use grace_store::Seq;
use grace_types::{
    manifest::Permissions,
    time::{Clock, SystemClock},
};
use tokio::sync::{mpsc, watch};

/// As whom the journal is shipped, and with which password everybody signs in.
const COMPONENT: &str = "bench";
/// The argument that makes this program the broker and the sinks.
pub(crate) const CHILD: &str = "--serve";

/// The other processes. They end with it.
pub(crate) struct Sinks {
    socket: PathBuf,
    children: Vec<Child>,
}

impl Sinks {
    /// Starts them in `folder`.
    pub(crate) fn start(folder: &Path, grace: Option<&Path>) -> Self {
        create_dir_all(folder.join("run")).unwrap();
        let socket = folder.join("run/bus.sock");
        let mut broker = Command::new(std::env::current_exe().unwrap());
        broker.arg(CHILD).arg(&socket).arg(folder);
        broker.arg(if grace.is_some() { "broker" } else { "sinks" });
        let mut children = vec![broker.spawn().unwrap()];
        while !socket.exists() {
            std::thread::park_timeout(Duration::from_millis(1));
        }
        for sink in grace.iter().flat_map(|_| Sink::ALL) {
            let mut kernel = Command::new(grace.unwrap());
            kernel
                .args(["kernel", sink.name()])
                .env("GRACE_COMPONENT", sink.name())
                .env("GRACE_DATA", folder)
                .env("GRACE_BUS_SOCKET", &socket)
                .env("NATS_URL", format!("nats://{0}:{COMPONENT}@127.0.0.1:1", sink.name()))
                .stdout(Stdio::null());
            children.push(kernel.spawn().unwrap());
        }
        Self { socket, children }
    }

    /// Processor time of each of the other processes so far.
    pub(crate) fn seconds(&self) -> Vec<f64> {
        self.children.iter().map(|child| grace_benches::seconds_of(child.id())).collect()
    }

    /// What each of them spent on a command, one row a round, in words.
    pub(crate) fn told(&self, spent: &[Vec<f64>]) -> String {
        let names: &[&str] = if self.children.len() == 1 {
            &["broker and sinks"]
        } else {
            &["broker", "immutable_log", "clarity"]
        };
        let of = |at: usize| super::median(spent, |round| round[at]);
        names.iter().enumerate().map(|(at, name)| format!(", {:.1} us of {name}", of(at))).collect()
    }

    /// Ships the journal at `path` from now on. Inside a tokio runtime.
    pub(crate) fn ship(&self, path: &Path, written: &watch::Receiver<Seq>) -> Shippers {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let bus = connect(&self.socket, COMPONENT);
        Shippers::start(COMPONENT, &evidence::file(path.to_owned()), &bus, &clock, written)
    }
}

impl Drop for Sinks {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn connect(socket: &Path, user: &str) -> Bus {
    native::connect(NativeOptions::new(Target::Unix(socket.to_owned()), user, COMPONENT, user))
}

/// What the child does until it is killed.
pub(crate) fn serve_child(args: &[String]) {
    let [socket, folder, what] = args else { panic!("{CHILD} SOCKET FOLDER broker|sinks") };
    let (socket, folder) = (PathBuf::from(socket), PathBuf::from(folder));
    let user = |name: &str| User {
        name: name.to_owned(),
        credential: Credential::of_password(COMPONENT),
        permissions: Permissions::only([">"], [">"]),
        allow_responses: None,
    };
    let users = [COMPONENT, Sink::ImmutableLog.name(), Sink::Clarity.name()].map(user).into();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let unix = vec![UnixListener::bind(&socket).unwrap()];
        if what == "sinks" {
            for sink in Sink::ALL {
                tokio::spawn(take(connect(&socket, sink.name()), sink, folder.join(sink.name())));
            }
        }
        let (_commands, queue) = mpsc::channel(1);
        let (events, _heard) = mpsc::channel(1);
        let config = ServeConfig::for_users(AuthTable { users });
        let listeners = Listeners { tcp: Vec::new(), unix };
        serve(config, listeners, queue, events, std::future::pending()).await.unwrap();
    });
}

/// A sink that keeps one file of all that it is sent.
async fn take(bus: Bus, sink: Sink, path: PathBuf) {
    let mut batches = bus.subscribe(&evidence_pattern(sink), None).await.unwrap();
    let mut file = File::create(path).unwrap();
    let mut stand = std::collections::BTreeMap::new();
    while let Some(message) = batches.next().await {
        let batch = Batch::read(sink, &message).unwrap();
        let next = stand.entry(batch.source.clone()).or_insert(1);
        if batch.first == *next && batch.count() > 0 {
            *next = batch.end();
            file.write_all(&message.payload).unwrap();
            file = tokio::task::spawn_blocking(move || {
                file.sync_data().unwrap();
                file
            })
            .await
            .unwrap();
        }
        let taken = Ok(Position::new(*next));
        bus.publish(Message::new(message.reply.unwrap(), reply(&taken))).await.unwrap();
    }
}
