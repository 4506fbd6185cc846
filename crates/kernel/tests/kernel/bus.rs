//! A decider on the in-memory bus: commands, answers, events, errors.

use std::{sync::Arc, time::Duration};

use grace_bus::{
    Message,
    auth::{AuthTable, Credential, User},
    client::memory::{MemoryClient, MemoryNet},
};
use grace_kernel::{
    Envelope, Outcome, evidence,
    process::{Context, Environment, life::Life, notify::Notify, serve, thread::Commands, wire},
};
use grace_store::{
    Journal,
    memory::{Disk, Fault, MemoryJournal, MemoryReader},
};
use grace_types::{
    chance::SeededEntropy,
    event::Event,
    manifest::Permissions,
    time::{Clock, ManualClock, SystemClock, Timestamp},
};

use crate::tally::{Tally, add, read};

const WAIT: Duration = Duration::from_secs(10);

fn net() -> MemoryNet {
    let all = Permissions::only([">"], [">"]);
    let user = |name: &str| User {
        name: name.into(),
        credential: Credential::of_password("x"),
        permissions: all.clone(),
        allow_responses: None,
    };
    let clock = ManualClock::starting_at(Timestamp::EPOCH);
    MemoryNet::new(&AuthTable { users: vec![user("tally"), user("tester")] }, 1, Arc::new(clock)).unwrap()
}

/// Runs the tally on the net beside `test`, until the test is done.
async fn with_kernel(net: &MemoryNet, disk: &Disk, test: impl AsyncFnOnce(MemoryClient)) {
    with_notified_kernel(net, disk, Notify::default(), test).await;
}

async fn with_notified_kernel(
    net: &MemoryNet,
    disk: &Disk,
    notify: Notify,
    test: impl AsyncFnOnce(MemoryClient),
) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let context = Context {
        environment: Environment { component: "tally".into(), ..Environment::default() },
        clock: clock.clone(),
        entropy: Box::new(SeededEntropy::new(1)),
        bus: Some(net.client("tally").unwrap().bus()),
        life: Life::new(notify, None, clock).unwrap(),
    };
    let (disk, read) = (disk.clone(), disk.clone());
    let open = move || MemoryJournal::open(&disk).map(|j| Box::new(j) as Box<dyn Journal>);
    let reader: evidence::Open = Arc::new(move || Ok(Box::new(MemoryReader::open(&read))));
    let storage = serve::Storage::new(open, Some(reader));
    let confirm = |commands: &Commands<Tally>, _effect: String| {
        commands.tell(Envelope::new(crate::tally::Command::Announced), None).unwrap();
    };
    tokio::select! {
        ended = serve::run_decider::<Tally, _>(context, storage, confirm) => panic!("{ended:?}"),
        () = test(net.client("tester").unwrap()) => {}
    }
}

async fn ask(
    client: &MemoryClient,
    envelope: &Envelope<crate::tally::Command>,
) -> Result<Outcome<f64, crate::tally::TooMuch>, wire::WireError> {
    let message = wire::command("tally", envelope).unwrap();
    let key = envelope.key.clone().unwrap_or_default();
    let answer = if key.is_empty() {
        client.bus().request(message, WAIT).await
    } else {
        client.bus().request_until(message, &key, WAIT).await
    };
    wire::read_answer::<Tally>(&answer.unwrap().payload)
}

#[tokio::test]
async fn commands_events_and_errors_travel() {
    let (net, disk) = (net(), Disk::new());
    with_kernel(&net, &disk, async |client| {
        let mut events = client.subscribe_now("grace.event.tally.>", None).unwrap();
        let keyed = Envelope::new(add("a", 1.5)).with_key("k");
        for _ in 0..2 {
            assert_eq!(ask(&client, &keyed).await, Ok(Outcome::Done(1.5)));
        }
        let mut read_a = Envelope::new(read("a"));
        assert_eq!(ask(&client, &read_a).await, Ok(Outcome::Done(1.5)));
        assert!(matches!(ask(&client, &Envelope::new(add("a", 1e9))).await, Ok(Outcome::Refused(_))));

        let first = tokio::time::timeout(WAIT, events.next()).await.unwrap().unwrap();
        assert_eq!(first.subject, "grace.event.tally.added");
        let header = |name: &str| first.headers.get(name);
        let event = Event::from_headers(header, &first.payload).unwrap();
        assert_eq!(event.kind, "dev.grace.tally.added.v1");
        assert_eq!(event.data["event"]["added"]["by"], 1.5);
        let second = tokio::time::timeout(WAIT, events.next()).await.unwrap().unwrap();
        assert_eq!(second.subject, "grace.event.tally.announced", "the effect was performed");

        disk.inject(Fault::Full);
        let error = ask(&client, &Envelope::new(add("a", 1.0))).await.unwrap_err();
        assert_eq!(error.code, "not_durable");
        assert!(error.message.contains("no space left"), "{}", error.message);
        read_a.traceparent = Some("00-x".into());
        assert_eq!(ask(&client, &read_a).await, Ok(Outcome::Done(1.5)));
    })
    .await;
}

#[tokio::test]
async fn what_is_no_command_is_answered_with_what_is_wrong() {
    let (net, disk) = (net(), Disk::new());
    with_kernel(&net, &disk, async |client| {
        let bus = client.bus();
        ask(&client, &Envelope::new(read("a")).with_key("until it listens")).await.unwrap();
        let before = disk.log_bytes();
        let request = |body: &'static str, name: &'static str, value: &'static str| {
            let headers = [(name, value)].into_iter().collect();
            bus.request(Message::new("grace.cmd.tally", body).with_headers(headers), WAIT)
        };
        let good = r#"{"command": {"read": {"name": "a"}}}"#;
        for (body, name, value, wanted) in [
            ("", "x", "y", "the body"),
            ("{", "x", "y", "the body"),
            (r#"{"command": {"fly": {}}}"#, "x", "y", "unknown variant `fly`"),
            (good, "ce-hops", "many", "the header ce-hops"),
            (good, "ce-causationid", "evt_1", "the header ce-causationid"),
        ] {
            let answer = request(body, name, value).await.unwrap();
            let error = wire::read_answer::<Tally>(&answer.payload).unwrap_err();
            assert_eq!(error.code, "bad_request");
            assert!(error.message.contains(wanted), "{}", error.message);
        }
        let answer = request(good, "Grace-Idempotency-Key", "").await.unwrap();
        assert_eq!(wire::read_answer::<Tally>(&answer.payload).unwrap_err().code, "bad_key");
        assert_eq!(disk.log_bytes(), before);
    })
    .await;
}

#[tokio::test]
async fn on_a_disk_that_is_almost_full_a_message_is_no_emergency_because_it_says_so() {
    let (net, disk) = (net(), Disk::new());
    disk.set_room(Some(1 << 20));
    with_kernel(&net, &disk, async |client| {
        let claimed = [("ce-emergency", "true"), ("emergency", "true"), ("Grace-Emergency", "1")];
        let message = wire::command("tally", &Envelope::new(add("a", 1.0))).unwrap();
        let message = message.with_headers(claimed.into_iter().collect());
        let answer = client.bus().request_until(message, "k", WAIT).await.unwrap();
        let error = wire::read_answer::<Tally>(&answer.payload).unwrap_err();
        assert_eq!(error.code, "disk_reserve");
        assert_eq!(ask(&client, &Envelope::new(read("a"))).await, Ok(Outcome::Done(0.0)));
        assert_eq!(ask(&client, &Envelope::new(add("fire", 1.0))).await, Ok(Outcome::Done(1.0)));
        disk.set_room(None);
        assert_eq!(ask(&client, &Envelope::new(add("a", 1.0))).await.unwrap_err().code, "disk_reserve");
        disk.set_room(Some(u64::MAX));
        while ask(&client, &Envelope::new(add("a", 1.0))).await != Ok(Outcome::Done(1.0)) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn that_only_emergencies_are_recorded_is_told_on_the_life_line() {
    let (net, disk) = (net(), Disk::new());
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("notify");
    let life_line = tokio::net::UnixDatagram::bind(&socket).unwrap();
    let until_told = async |wanted: &str| {
        let mut bytes = [0; 1024];
        let heard = async {
            loop {
                let length = life_line.recv(&mut bytes).await.unwrap();
                if bytes[..length].ends_with(wanted.as_bytes()) {
                    return;
                }
            }
        };
        tokio::time::timeout(WAIT, heard).await.unwrap_or_else(|_| panic!("{wanted:?} is never said"));
    };
    disk.set_room(Some(1 << 20));
    let notify = Notify::to(socket.as_os_str()).unwrap();
    with_notified_kernel(&net, &disk, notify, async |client| {
        until_told("STATUS=ready").await;
        assert_eq!(ask(&client, &Envelope::new(add("a", 1.0))).await.unwrap_err().code, "disk_reserve");
        until_told("STATUS=ready; the disk is almost full: only emergencies are put on record").await;
        disk.set_room(Some(u64::MAX));
        while ask(&client, &Envelope::new(add("a", 1.0))).await != Ok(Outcome::Done(1.0)) {
            tokio::task::yield_now().await;
        }
        until_told("STATUS=ready").await;
    })
    .await;
}
