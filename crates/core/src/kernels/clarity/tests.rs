//! The kernel on an in-memory bus, and a log that changes under it.

use std::{fs, path::Path, sync::Arc, time::Duration};

use grace_bus::{
    Bus, Message,
    auth::{AllowResponses, AuthTable, Credential, User},
    client::memory::MemoryNet,
};
use grace_kernel::evidence::wire::{BatchWriter, Joined, read_reply};
use grace_kernel::process::{life::Life, notify::Notify};
use grace_log::{append::Appender, note::SignerKey};
use grace_store::{
    Journal,
    file::FileJournal,
    narrative::{NarrativeDb, Query},
};
use grace_types::{
    chance::{OsEntropy, SeededEntropy},
    evidence::{JournalId, Source, write_entry},
    manifest::Permissions,
    time::{Clock, SystemClock, Timestamp},
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{
    follow::{Follower, Look},
    *,
};
use crate::instance::Instance;

const PATIENCE: Duration = Duration::from_secs(20);

fn source(name: &str) -> Source {
    Source::new(name, JournalId(7)).unwrap()
}

/// The nth record of a component's journal.
fn record(n: u64) -> Vec<u8> {
    let time = Timestamp::from_nanos(n * 1_000_000);
    let (id, correlation) = (EventId::from_bits(n.into()), CorrelationId::from_bits(1));
    json!({"event": {
        "id": id, "type": "dev.grace.web.started.v1", "time": time, "hlc": Hlc { millis: n, counter: 0 }, "who": "web",
        "correlation": correlation,
        "record": {"event": {"n": n}, "why": [{"code": "a.b", "text": "because"}], "how": "rule", "where": "web"},
    }})
    .to_string()
    .into_bytes()
}

/// A log in an instance's folder, as its kernel would write it.
struct Log {
    key: SignerKey,
    appender: Appender,
    sequence: u64,
}

impl Log {
    fn new(seed: u64) -> Self {
        let key = SignerKey::generate("grace/0123456789abcdef", &mut SeededEntropy::new(seed)).unwrap();
        Self { key, appender: Appender::new(), sequence: 0 }
    }

    fn append(&mut self, name: &str, count: u64) {
        for _ in 0..count {
            self.sequence += 1;
            let mut entry = Vec::new();
            write_entry(&mut entry, &source(name), self.sequence, &record(self.sequence));
            self.appender.append(&entry).unwrap();
        }
    }

    fn publish(&mut self, data: &Path) {
        let write = |path: &Path, bytes: &[u8]| {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        };
        write(&data.join("keys/immutable_log.vkey"), format!("{}\n", self.key.verifier()).as_bytes());
        for file in self.appender.seal(self.key.verifier().name(), &[&self.key]).unwrap().writes {
            write(&data.join("log").join(&file.path), &file.bytes);
        }
    }
}

fn look_to_the_end(follower: &Follower, db: &mut NarrativeDb) -> Look {
    loop {
        match follower.look(db).unwrap() {
            Look::More => {}
            look => return look,
        }
    }
}

#[test]
fn entries_are_linked_as_the_log_grows() {
    let data = tempfile::tempdir().unwrap();
    let mut db = NarrativeDb::open(database(data.path())).unwrap();
    let follower = Follower::of(data.path());
    assert_eq!(follower.look(&mut db).unwrap(), Look::Nothing);
    let records: Vec<Vec<u8>> = (1..=9000).map(record).collect();
    let batch = |first: u64, records: &[Vec<u8>]| {
        let (source, records) = (source("web"), records.to_vec());
        move |db: &mut NarrativeDb| {
            let records = records.iter().map(Vec::as_slice).collect();
            db.ingest(&[grace_store::narrative::Batch { source: &source, first, records }]).unwrap()
        }
    };
    assert_eq!(batch(1, &records)(&mut db), [9001]);
    let mut log = Log::new(1);
    for (more, size) in [(3, 3), (253, 256), (1, 257), (8000, 8257)] {
        log.append("web", more);
        log.publish(data.path());
        assert_eq!(look_to_the_end(&follower, &mut db), Look::Done);
        let index = |n: u64| db.by_id(EventId::from_bits(n.into())).unwrap().unwrap().log_index;
        assert_eq!((index(1), index(size), index(size + 1)), (Some(0), Some(size - 1), None), "{size}");
    }
    assert_eq!(db.log_stand().unwrap().unwrap().next, 8257);
}

#[test]
fn a_log_that_is_not_what_was_seen_is_told_and_not_followed() {
    let data = tempfile::tempdir().unwrap();
    let mut db = NarrativeDb::open(database(data.path())).unwrap();
    let follower = Follower::of(data.path());
    let mut log = Log::new(1);
    log.append("web", 300);
    log.publish(data.path());
    assert_eq!(look_to_the_end(&follower, &mut db), Look::Done);
    let seen = db.log_stand().unwrap();

    let mut expect = |code: &str, change: &mut dyn FnMut()| {
        change();
        match follower.look(&mut db).unwrap() {
            Look::Contradicted(contradiction) => assert_eq!(contradiction.code, code, "{contradiction}"),
            look => panic!("{code}: {look:?}"),
        }
        assert_eq!(db.log_stand().unwrap(), seen);
    };
    let other = |seed: u64, names: [&str; 2], count: u64| {
        let mut log = Log::new(seed);
        log.append(names[0], 100);
        log.append(names[1], count);
        log.publish(data.path());
    };
    expect("rolled_back", &mut || other(1, ["web", "web"], 50));
    expect("forked", &mut || other(1, ["web", "db"], 200));
    expect("rewritten", &mut || other(1, ["web", "db"], 500));
    expect("replaced", &mut || other(2, ["web", "web"], 500));
    let checkpoint = data.path().join("log/checkpoint");
    expect("unsigned", &mut || {
        let key = Log::new(1).key.verifier().to_string();
        fs::write(data.path().join("keys/immutable_log.vkey"), key).unwrap();
    });
    expect("missing", &mut || fs::remove_file(&checkpoint).unwrap());

    // The log is put back, and goes on.
    log.append("web", 10);
    other(1, ["web", "web"], 200);
    log.publish(data.path());
    assert_eq!(look_to_the_end(&follower, &mut db), Look::Done);
    assert_eq!(db.log_stand().unwrap().unwrap().next, 310);
    // Or another one is accepted.
    other(2, ["web", "web"], 7);
    assert!(matches!(follower.look(&mut db).unwrap(), Look::Contradicted(_)));
    db.unlink().unwrap();
    assert_eq!(look_to_the_end(&follower, &mut db), Look::Done);
    assert_eq!(db.log_stand().unwrap().unwrap().next, 107);
}

/// The kernel at work, and a client.
struct House {
    data: tempfile::TempDir,
    bus: Bus,
    net: MemoryNet,
    kernel: Option<JoinHandle<Result<(), KernelError>>>,
}

impl House {
    fn new() -> Self {
        let user = |name: &str, permissions| User {
            name: name.into(),
            credential: Credential::of_password("x"),
            permissions,
            allow_responses: Some(AllowResponses::DEFAULT),
        };
        let everything = Permissions::only([">"], [">"]);
        let users = vec![user("operator", everything), user(NAME, permissions())];
        let net = MemoryNet::new(&AuthTable { users }, 1, Arc::new(SystemClock)).unwrap();
        let bus = net.client("operator").unwrap().bus();
        Self { data: tempfile::tempdir().unwrap(), bus, net, kernel: None }
    }

    fn start(&mut self) {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let context = Context {
            environment: Environment {
                component: NAME.to_owned(),
                data: self.data.path().to_owned(),
                ..Environment::default()
            },
            life: Life::new(Notify::default(), None, Arc::clone(&clock)).unwrap(),
            clock,
            entropy: Box::new(OsEntropy),
            bus: Some(self.net.client(NAME).unwrap().bus()),
        };
        self.kernel = Some(tokio::spawn(main(context)));
    }

    fn database(&self) -> PathBuf {
        database(self.data.path())
    }

    /// Asks until somebody listens.
    async fn ask(&self, message: Message) -> Message {
        self.bus.request_until(message, "test", PATIENCE).await.unwrap()
    }

    async fn command(&self, command: Value) -> Value {
        let body = json!({"command": command}).to_string();
        let answer = self.ask(Message::new(COMMANDS, body)).await;
        serde_json::from_slice(&answer.payload).unwrap()
    }

    async fn send(&self, name: &str, first: u64, end: u64) -> u64 {
        let mut batch = BatchWriter::new(source(name), first);
        for n in first..end {
            assert_eq!(batch.join(&record(n)), Joined::Yes);
        }
        read_reply(&self.ask(batch.into_message(Sink::Clarity)).await.payload).unwrap().next
    }

    /// Ends the kernel in the middle of things, and waits until its thread has closed the database.
    async fn kill(&mut self) {
        let kernel = self.kernel.take().unwrap();
        kernel.abort();
        assert!(kernel.await.unwrap_err().is_cancelled());
        let log = format!("{}-wal", self.database().display());
        let closed = async {
            while Path::new(&log).exists() {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, closed).await.unwrap();
    }
}

#[tokio::test]
async fn batches_are_taken_once_each_and_survive_the_kernel() {
    let mut house = House::new();
    house.start();
    assert_eq!(house.send("web", 1, 1).await, 1);
    assert_eq!(house.send("web", 1, 11).await, 11);
    assert_eq!(house.send("web", 5, 21).await, 21);
    assert_eq!(house.send("web", 30, 31).await, 21);
    house.kill().await;
    house.start();
    assert_eq!(house.send("web", 1, 1).await, 21);
    let stand = house.command(json!({"op": "stand"})).await;
    assert_eq!(stand["done"]["narratives"], 20);
    assert_eq!(stand["done"]["sources"][0]["next"], 21);
    let refused = house.command(json!({"op": "nonsense"})).await;
    assert_eq!(refused["error"]["code"], "bad_request");
    // Read by somebody else, while it runs.
    let db = NarrativeDb::open_read_only(house.database()).unwrap();
    assert_eq!(db.find(&Query { limit: 100, ..Query::default() }).unwrap().told.len(), 20);
}

#[tokio::test]
async fn a_damaged_database_is_set_aside_and_everything_is_asked_for_again() {
    let mut house = House::new();
    house.start();
    assert_eq!(house.send("web", 1, 200).await, 200);
    house.kill().await;
    let path = house.database();
    fs::write(&path, b"this was a database once".repeat(1000)).unwrap();
    house.start();
    assert_eq!(house.send("web", 1, 1).await, 1);
    assert_eq!(house.send("web", 1, 200).await, 200);
    let names: Vec<String> = fs::read_dir(house.data.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    assert!(names.iter().any(|name| name.starts_with("narratives.damaged-")), "{names:?}");
}

#[tokio::test]
async fn a_rebuild_reads_the_journals_and_loses_nothing_unasked() {
    let mut house = House::new();
    let instance = Instance::at(house.data.path());
    let mut journal = FileJournal::open(instance.journal("web"), Timestamp::from_nanos(7)).unwrap();
    let records: Vec<Vec<u8>> = (1..51).map(record).collect();
    journal.append(&records.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap();
    house.start();
    assert_eq!(house.send("web", 1, 41).await, 41);
    let stand = house.command(json!({"op": "stand"})).await;
    assert_eq!(stand["done"]["sources"][0]["waiting"], 10);
    let rebuilt = house.command(json!({"op": "rebuild"})).await;
    assert_eq!(rebuilt["done"]["records"], 50, "{rebuilt}");
    assert_eq!(house.send("web", 1, 1).await, 51);
    // A source without a journal would be gone.
    assert_eq!(house.send("db", 1, 4).await, 4);
    let rebuilt = house.command(json!({"op": "rebuild"})).await;
    assert_eq!(rebuilt["refused"]["code"], "would_lose", "{rebuilt}");
    assert_eq!(house.send("db", 1, 1).await, 4);
    let rebuilt = house.command(json!({"op": "rebuild", "accept_loss": true})).await;
    assert_eq!(rebuilt["done"]["lost"][0]["had"], 3, "{rebuilt}");
    assert_eq!(house.send("db", 1, 1).await, 1);
}

#[tokio::test]
async fn a_log_that_was_rolled_back_is_an_event() {
    let mut house = House::new();
    let mut events = house.bus.subscribe("grace.event.clarity.>", None).await.unwrap();
    let mut log = Log::new(1);
    log.append("web", 300);
    log.publish(house.data.path());
    house.start();
    assert_eq!(house.send("web", 1, 101).await, 101);
    let announce = || Message::new(CHECKPOINTS, Vec::new());
    loop {
        house.bus.publish(announce()).await.unwrap();
        let stand = house.command(json!({"op": "stand"})).await;
        if stand["done"]["log"]["linked"] == 300 {
            break;
        }
    }
    let db = NarrativeDb::open_read_only(house.database()).unwrap();
    assert_eq!(db.by_id(EventId::from_bits(100)).unwrap().unwrap().log_index, Some(99));
    let mut older = Log::new(1);
    older.append("web", 20);
    older.publish(house.data.path());
    house.bus.publish(announce()).await.unwrap();
    let event = timeout(PATIENCE, events.next()).await.unwrap().unwrap();
    let event = Event::from_headers(|name| event.headers.get(name), &event.payload).unwrap();
    assert_eq!(event.kind, "dev.grace.clarity.log_contradicted.v1");
    assert_eq!(event.data["why"][0]["code"], "log.rolled_back");
    let stand = house.command(json!({"op": "stand"})).await;
    assert_eq!(stand["done"]["contradiction"]["code"], "rolled_back");
    assert_eq!(house.command(json!({"op": "accept_log"})).await, json!({"done": null}));
}
