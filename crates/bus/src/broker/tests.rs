//! Tests of the broker without IO: bytes in, bytes out, time as an argument.

use grace_types::manifest::{Permissions, SubjectRules};
use proptest::prelude::*;

use super::*;
use crate::{
    auth::{AllowResponses, Credential, User},
    mapping::Destination,
};

const CONNECT_HEADERS: &str = r#","headers":true,"no_responders":true"#;

fn user(name: &str, allow: &[&str], deny: &[&str]) -> User {
    let list = |l: &[&str]| l.iter().map(|s| (*s).to_owned()).collect();
    let rules = SubjectRules { allow: list(allow), deny: list(deny) };
    User {
        name: name.into(),
        credential: Credential::of_password(name),
        permissions: Permissions { publish: rules.clone(), subscribe: rules },
        allow_responses: Some(AllowResponses::DEFAULT),
    }
}

fn table() -> AuthTable {
    AuthTable {
        users: vec![
            user("all", &[">"], &["secret.>"]),
            user("web", &["app.>", "_INBOX.web.>"], &["app.private.>"]),
            user("job", &["job.>"], &[]),
        ],
    }
}

/// A broker, its clock, and its clients' eyes.
struct House {
    broker: Broker,
    now: Monotonic,
}

impl House {
    fn with(config: BrokerConfig) -> Self {
        let broker = Broker::new(config, &table(), Box::new(SeededEntropy::new(1))).unwrap();
        Self { broker, now: Monotonic::from_nanos(1) }
    }

    fn new() -> Self {
        Self::with(BrokerConfig::default())
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now.plus(time);
        self.broker.tick(self.now);
    }

    fn greet(&mut self) -> ConnId {
        self.broker.connect(Peer::Local, self.now).unwrap()
    }

    fn client_with(&mut self, name: &str, more: &str) -> ConnId {
        let id = self.greet();
        assert!(self.read(id).starts_with("INFO {"));
        self.say(id, format!("CONNECT {{\"user\":\"{name}\",\"pass\":\"{name}\"{more}}}\r\nPING\r\n"));
        assert!(self.read(id).ends_with("PONG\r\n"));
        id
    }

    fn client(&mut self, name: &str) -> ConnId {
        self.client_with(name, CONNECT_HEADERS)
    }

    fn say(&mut self, id: ConnId, text: impl AsRef<[u8]>) {
        let mut rest = text.as_ref();
        while !rest.is_empty() {
            let taken = self.broker.receive(id, rest, self.now);
            rest = &rest[taken..];
        }
    }

    /// Everything that waits for the client, as a shell would write it.
    fn read(&mut self, id: ConnId) -> String {
        let text = String::from_utf8_lossy(self.broker.outgoing(id)).into_owned();
        let count = self.broker.outgoing(id).len();
        self.broker.sent(id, count);
        text
    }

    /// What the client is told before it is dropped.
    fn last_words(&mut self, id: ConnId) -> String {
        assert_ne!(self.broker.closing(id), Closing::No);
        let words = self.read(id);
        assert_eq!(self.broker.closing(id), Closing::Now);
        self.broker.disconnected(id, self.now);
        words
    }

    fn events(&mut self) -> Vec<BrokerEvent> {
        std::iter::from_fn(|| self.broker.next_event()).collect()
    }

    /// Everyone goes; nothing may be left.
    fn empty(mut self) {
        let ids: Vec<ConnId> = self.broker.live().map(|c| c.id).collect();
        for id in ids {
            self.broker.disconnected(id, self.now);
        }
        assert_eq!(self.broker.out.buffered, 0);
        assert_eq!(self.broker.subscription_memory, 0);
        assert!(self.broker.matcher.is_empty());
        assert_eq!(self.broker.connection_count(), 0);
    }
}

#[test]
fn publish_reaches_subscribers_of_every_kind() {
    let mut house = House::new();
    let (a, b) = (house.client("all"), house.client("all"));
    house.say(a, "SUB x.y 1\r\nSUB x.* 2\r\nSUB > 3\r\nSUB z 4\r\n");
    house.say(b, "PUB x.y 5\r\nhello\r\n");
    assert_eq!(house.read(a), "MSG x.y 3 5\r\nhello\r\nMSG x.y 1 5\r\nhello\r\nMSG x.y 2 5\r\nhello\r\n");
    house.say(b, "PUB z back 0\r\n\r\n");
    assert_eq!(house.read(a), "MSG z 3 back 0\r\n\r\nMSG z 4 back 0\r\n\r\n");
    house.say(a, "UNSUB 3\r\n");
    house.say(a, "PUB z 2\r\nme\r\n");
    assert_eq!(house.read(a), "MSG z 4 2\r\nme\r\n", "echo is on unless turned off");
    let quiet = house.client_with("all", r#","echo":false"#);
    house.say(quiet, "SUB q 1\r\nPUB q 0\r\n\r\n");
    assert_eq!(house.read(quiet), "");
    house.empty();
}

#[test]
fn headers_are_passed_or_stripped() {
    let mut house = House::new();
    let (new, old) = (house.client("all"), house.client_with("all", ""));
    house.say(new, "SUB h 1\r\n");
    house.say(old, "SUB h 1\r\n");
    house.say(new, "HPUB h r 17 19\r\nNATS/1.0\r\nA:b\r\n\r\nhi\r\n");
    assert_eq!(house.read(old), "MSG h 1 r 2\r\nhi\r\n", "stripped");
    assert_eq!(house.read(new), "HMSG h 1 r 17 19\r\nNATS/1.0\r\nA:b\r\n\r\nhi\r\n");
    house.say(old, "HPUB h 12 12\r\nNATS/1.0\r\n\r\n\r\n");
    assert_eq!(house.last_words(old), "-ERR 'message headers not supported'\r\n");
    house.empty();
}

#[test]
fn a_queue_group_shares_and_merges() {
    let mut house = House::new();
    let workers: Vec<ConnId> = (0..3).map(|_| house.client("all")).collect();
    for (n, worker) in workers.iter().enumerate() {
        house.say(*worker, if n == 0 { "SUB jobs.* q 1\r\n" } else { "SUB jobs.a q 1\r\n" });
    }
    let boss = house.client("all");
    for _ in 0..300 {
        house.say(boss, "PUB jobs.a 1\r\nx\r\n");
    }
    let counts: Vec<usize> = workers.iter().map(|w| house.read(*w).matches("MSG").count()).collect();
    assert_eq!(counts.iter().sum::<usize>(), 300, "each message once: {counts:?}");
    assert!(counts.iter().all(|c| *c > 50), "fairly spread: {counts:?}");
    house.empty();
}

#[test]
fn unsubscribing_after_a_number_of_messages() {
    let mut house = House::new();
    let a = house.client("all");
    house.say(a, "SUB x 1\r\nUNSUB 1 2\r\nPUB x 1\r\n1\r\nPUB x 1\r\n2\r\nPUB x 1\r\n3\r\n");
    assert_eq!(house.read(a), "MSG x 1 1\r\n1\r\nMSG x 1 1\r\n2\r\n");
    assert_eq!(house.broker.statistics().subscriptions, 0);
    house.say(a, "SUB x 2\r\nPUB x 1\r\n1\r\nUNSUB 2 1\r\nPUB x 1\r\n2\r\n");
    assert_eq!(house.read(a), "MSG x 2 1\r\n1\r\n", "already past its number: ends at once");
    house.empty();
}

#[test]
fn nobody_is_let_in_without_proof() {
    let mut house = House::new();
    for first in [
        "CONNECT {\"user\":\"web\",\"pass\":\"no\"}\r\n",
        "CONNECT {}\r\n",
        "CONNECT nonsense\r\n",
        "SUB > 1\r\n",
        "PUB a 1\r\nx\r\n",
        "PUB a 100000\r\n",
        "GET / HTTP/1.1\r\n",
    ] {
        let id = house.greet();
        house.read(id);
        house.say(id, first);
        assert_eq!(house.last_words(id), "-ERR 'Authorization Violation'\r\n", "{first}");
    }
    let id = house.greet();
    house.read(id);
    house.pass(Duration::from_secs(3));
    assert_eq!(house.last_words(id), "-ERR 'Authentication Timeout'\r\n");
    assert_eq!(house.broker.statistics().tally.authorization_violations, 8);
    house.empty();
}

#[test]
fn permissions_are_answered_counted_and_told() {
    let mut house = House::new();
    let web = house.client("web");
    house.events();
    house.say(web, "PUB other 1\r\nx\r\nPUB app.private.a 0\r\n\r\nPUB app.ok 0\r\n\r\nSUB other 1\r\n");
    house.say(web, "SUB app.private.x q 2\r\nSUB app.> 3\r\nPUB other 1\r\nx\r\n");
    assert_eq!(
        house.read(web),
        "-ERR 'Permissions Violation for Publish to \"other\"'\r\n\
         -ERR 'Permissions Violation for Publish to \"app.private.a\"'\r\n\
         -ERR 'Permissions Violation for Subscription to \"other\"'\r\n\
         -ERR 'Permissions Violation for Subscription to \"app.private.x\" using queue \"q\"'\r\n\
         -ERR 'Permissions Violation for Publish to \"other\"'\r\n"
    );
    let events = house.events();
    assert_eq!(events.len(), 5);
    assert!(
        matches!(&events[4], BrokerEvent::PermissionViolation { user, direction: Direction::Publish, subject, count: 2, .. }
        if user == "web" && subject == "other")
    );
    assert_eq!(house.broker.statistics().violations[0].count, 2);
    // A wildcard that overlaps a denied subject is delivered less what is denied.
    let all = house.client("all");
    house.say(all, "PUB app.private.a 1\r\ns\r\nPUB app.public 1\r\np\r\n");
    assert_eq!(house.read(web), "MSG app.public 3 1\r\np\r\n");
    house.empty();
}

#[test]
fn a_request_allows_its_answer_once_and_for_a_while() {
    let mut house = House::new();
    let (job, web) = (house.client("job"), house.client("all"));
    house.say(job, "SUB job.> 1\r\n");
    house.say(web, "SUB _INBOX.w.* 1\r\nPUB job.a _INBOX.w.1 0\r\n\r\n");
    house.say(job, "PUB _INBOX.w.1 2\r\nok\r\nPUB _INBOX.w.1 2\r\nno\r\nPUB _INBOX.w.2 2\r\nno\r\n");
    assert_eq!(house.read(web), "MSG _INBOX.w.1 1 2\r\nok\r\n");
    assert_eq!(house.read(job).matches("Permissions Violation").count(), 2);
    house.say(web, "PUB job.a _INBOX.w.3 0\r\n\r\n");
    house.now = house.now.plus(Duration::from_secs(121));
    house.say(job, "PUB _INBOX.w.3 4\r\nlate\r\n");
    assert_eq!(house.read(web), "");
    house.empty();
}

#[test]
fn a_request_that_nobody_hears_is_answered() {
    let mut house = House::new();
    let a = house.client("all");
    house.say(a, "SUB _INBOX.a.* 9\r\nPUB void _INBOX.a.1 2\r\nhi\r\n");
    assert_eq!(house.read(a), "HMSG _INBOX.a.1 9 16 16\r\nNATS/1.0 503\r\n\r\n\r\n");
    let old = house.client_with("all", r#","headers":true"#);
    house.say(old, "SUB _INBOX.b.* 9\r\nPUB void _INBOX.b.1 2\r\nhi\r\n");
    assert_eq!(house.read(old), "", "only for those who asked for it");
    house.say(a, "PUB void _INBOX.b.1 2\r\nhi\r\n");
    assert_eq!(house.read(old), "", "only on the requester's own subscription");
    house.empty();
}

#[test]
fn verbose_clients_are_answered() {
    let mut house = House::new();
    let id = house.greet();
    house.read(id);
    house.say(id, "CONNECT {\"user\":\"all\",\"pass\":\"all\",\"verbose\":true}\r\nSUB a 1\r\nPUB b 0\r\n\r\nUNSUB 1\r\n");
    assert_eq!(house.read(id), "+OK\r\n".repeat(4));
    house.say(id, "PUB a.*.b 0\r\n\r\nSUB a..b 2\r\n");
    assert_eq!(house.read(id), "-ERR 'Invalid Publish Subject'\r\n-ERR 'Invalid Subject'\r\n");
    house.empty();
}

#[test]
fn mappings_change_at_run_time() {
    let mut house = House::new();
    let a = house.client("all");
    house.say(a, "SUB v1.* 1\r\nSUB v2.* 2\r\n");
    let set = |subject: &str, weight| SubjectMapping {
        source: "task.*".into(),
        destinations: vec![Destination { subject: subject.into(), weight }],
    };
    house.broker.set_mappings(&[set("v1.$1", 100)]).unwrap();
    house.say(a, "PUB task.x 0\r\n\r\n");
    house.broker.set_mappings(&[set("v2.{{wildcard(1)}}", 100)]).unwrap();
    house.say(a, "PUB task.x 0\r\n\r\n");
    assert!(house.broker.set_mappings(&[set("v3.$7", 100)]).is_err());
    house.say(a, "PUB task.x 0\r\n\r\n");
    assert_eq!(house.read(a), "MSG v1.x 1 0\r\n\r\nMSG v2.x 2 0\r\n\r\nMSG v2.x 2 0\r\n\r\n");
    house.empty();
}

#[test]
fn a_new_table_takes_effect_at_once() {
    let mut house = House::new();
    let (web, job) = (house.client("web"), house.client("job"));
    house.say(web, "SUB app.a 1\r\nSUB app.b 2\r\nPUB app.a 0\r\n\r\n");
    assert_eq!(house.read(web), "MSG app.a 1 0\r\n\r\n");
    let narrow = AuthTable { users: vec![user("web", &["app.b"], &[])] };
    house.broker.set_users(&narrow, house.now).unwrap();
    assert_eq!(house.last_words(job), "-ERR 'User Authentication Revoked'\r\n");
    assert_eq!(house.read(web), "-ERR 'Permissions Violation for Subscription to \"app.a\"'\r\n");
    house.say(web, "PUB app.a 0\r\n\r\nPUB app.b 0\r\n\r\n");
    assert_eq!(
        house.read(web),
        "-ERR 'Permissions Violation for Publish to \"app.a\"'\r\nMSG app.b 2 0\r\n\r\n"
    );
    assert!(
        house.broker.set_users(&AuthTable { users: vec![user("x", &["a..b"], &[])] }, house.now).is_err()
    );
    house.say(web, "PUB app.b 0\r\n\r\n");
    assert_eq!(house.read(web), "MSG app.b 2 0\r\n\r\n", "a refused table changes nothing");
    house.empty();
}

#[test]
fn silence_is_pinged_and_then_cut() {
    let mut house = House::new();
    let (quiet, lively) = (house.client("all"), house.client("all"));
    for round in 0..3 {
        house.say(lively, "PONG\r\n");
        house.pass(limits::PING_INTERVAL);
        if round < 2 {
            assert_eq!(house.read(quiet), "PING\r\n");
        }
    }
    assert_eq!(house.last_words(quiet), "-ERR 'Stale Connection'\r\n");
    assert_eq!(house.broker.closing(lively), Closing::No);
    house.empty();
}

#[test]
fn a_lame_duck_says_so_and_goes() {
    let mut house = House::new();
    let a = house.client("all");
    house.broker.lame_duck(house.now);
    assert!(house.read(a).contains("\"ldm\":true"));
    assert_eq!(house.broker.connect(Peer::Local, house.now), Err(Refused::LameDuck));
    house.say(a, "SUB x 1\r\nPUB x 0\r\n\r\n");
    assert_eq!(house.read(a), "MSG x 1 0\r\n\r\n", "what is under way goes on");
    house.pass(limits::LAME_DUCK);
    assert_eq!(house.last_words(a), "");
    house.empty();
}

#[test]
fn one_that_does_not_read_is_cut_off_and_told() {
    let mut house = House::with(BrokerConfig { max_pending_bytes: 10_000, ..BrokerConfig::default() });
    let (sloth, other, sender) = (house.client("all"), house.client("all"), house.client("all"));
    house.say(sloth, "SUB x 1\r\n");
    house.say(other, "SUB x 1\r\n");
    house.events();
    for _ in 0..300 {
        house.say(sender, format!("PUB x 100\r\n{}\r\n", "x".repeat(100)));
        house.read(other);
        assert!(house.broker.outgoing(sloth).len() <= 10_100);
    }
    assert!(house.last_words(sloth).ends_with("-ERR 'Slow Consumer'\r\n"));
    assert_eq!(house.broker.statistics().tally.slow_consumers, 1);
    assert!(house.events().iter().any(|e| matches!(
        e,
        BrokerEvent::Disconnected { reason: CloseReason::SlowConsumer { pending_bytes }, .. } if *pending_bytes > 9_000
    )));
    assert_eq!(house.broker.closing(other), Closing::No);
    house.empty();
}

#[test]
fn all_buffers_together_are_bounded_and_the_largest_gives_way() {
    let config =
        BrokerConfig { max_pending_bytes: 50_000, max_buffered_bytes: 100_000, ..BrokerConfig::default() };
    let mut house = House::with(config);
    let sender = house.client("all");
    let sloths: Vec<ConnId> = (0..10).map(|_| house.client("all")).collect();
    for (n, sloth) in sloths.iter().enumerate() {
        house.say(*sloth, if n == 3 { "SUB x 1\r\nSUB x 2\r\n" } else { "SUB x 1\r\n" });
    }
    for _ in 0..200 {
        house.say(sender, format!("PUB x 1000\r\n{}\r\n", "x".repeat(1000)));
        assert!(house.broker.out.buffered <= 100_000, "{}", house.broker.out.buffered);
    }
    assert_eq!(house.broker.closing(sloths[3]), Closing::Now, "it held twice as much as the others");
    assert_eq!(house.broker.closing(sender), Closing::No);
    assert!(house.broker.statistics().tally.memory_pressure >= 1);
    house.empty();
}

#[test]
fn giant_lines_payloads_and_partial_frames_are_bounded() {
    let mut house = House::new();
    let giant = house.client("all");
    house.say(giant, vec![b'A'; 100_000]);
    assert_eq!(house.last_words(giant), "-ERR 'maximum control line exceeded'\r\n");
    let large = house.client("all");
    house.say(large, format!("HPUB x 2000000 {}\r\n", 2_000_000));
    assert_eq!(house.last_words(large), "-ERR 'Maximum Payload Violation'\r\n");
    let odd = house.client("all");
    house.say(odd, "FLY to the moon\r\n");
    assert_eq!(house.last_words(odd), "-ERR 'Unknown Protocol Operation'\r\n");
    let torn = house.client("all");
    house.say(torn, "PUB x 5\r\nhello world\r\n");
    assert_eq!(house.last_words(torn), "-ERR 'Parser Error'\r\n");
    // Many that send most of a large message and stop: together they stay within the bound.
    let mut half = format!("PUB x {}\r\n", limits::MAX_PAYLOAD_BYTES).into_bytes();
    half.resize(1 << 20, b'x');
    for _ in 0..200 {
        let id = house.client("all");
        house.say(id, &half);
        assert!(house.broker.out.buffered <= limits::BUFFERED_BYTES);
    }
    assert!(house.broker.statistics().tally.memory_pressure >= 100);
    house.empty();
}

#[test]
fn a_flood_of_subscriptions_ends_at_the_bound() {
    let mut house = House::new();
    let a = house.client("all");
    for n in 0..=limits::SUBSCRIPTIONS_PER_CONNECTION {
        house.say(a, format!("SUB s.{n} {n}\r\n"));
    }
    assert_eq!(house.last_words(a), "-ERR 'maximum subscriptions exceeded'\r\n");
    assert_eq!(house.broker.statistics().subscriptions, 0);
    let deep = house.client("all");
    let tail = "t.".repeat(limits::SUBJECT_TOKENS - 2);
    for n in 0..limits::SUBSCRIPTIONS_PER_CONNECTION {
        house.say(deep, format!("SUB {n}.{tail}x {n}\r\n"));
        assert!(house.broker.subscription_memory <= limits::SUBSCRIPTION_MEMORY_PER_CONNECTION);
    }
    assert_eq!(house.last_words(deep), "-ERR 'maximum subscriptions exceeded'\r\n");
    house.empty();
}

#[test]
fn too_many_connections_and_events_are_refused_and_counted() {
    let mut house = House::with(BrokerConfig { max_connections: 2, ..BrokerConfig::default() });
    let (a, _b) = (house.client("web"), house.greet());
    assert_eq!(house.broker.connect(Peer::Local, house.now), Err(Refused::MaxConnections));
    for n in 0..3 * limits::EVENTS {
        house.say(a, format!("PUB no.{n} 0\r\n\r\n"));
        house.read(a);
    }
    assert_eq!(house.events().len(), limits::EVENTS);
    let statistics = house.broker.statistics();
    assert!(statistics.tally.events_dropped >= 2 * limits::EVENTS as u64);
    assert_eq!(statistics.violations.len(), limits::VIOLATION_PAIRS + 1);
    let counted: u64 = statistics.violations.iter().map(|v| v.count).sum();
    assert_eq!(counted, 3 * limits::EVENTS as u64, "none is lost from the count");
    house.empty();
}

#[test]
fn the_owner_publishes_without_being_anyone() {
    let mut house = House::new();
    let a = house.client("all");
    house.say(a, "SUB grace.> 1\r\n");
    assert_eq!(house.broker.publish_internal("grace.event", None, b"", b"hi", house.now), 1);
    assert_eq!(house.broker.publish_internal("grace.*", None, b"", b"hi", house.now), 0);
    assert_eq!(
        house.broker.publish_internal("grace.event", Some("r"), b"NATS/1.0\r\n\r\n", b"hi", house.now),
        1
    );
    assert_eq!(
        house.read(a),
        "MSG grace.event 1 2\r\nhi\r\nHMSG grace.event 1 r 12 14\r\nNATS/1.0\r\n\r\nhi\r\n"
    );
    house.empty();
}

#[test]
fn a_large_fan_out_pauses_for_the_shell() {
    let mut house = House::new();
    let (a, b) = (house.client("all"), house.client("all"));
    for sid in 0..50 {
        house.say(a, format!("SUB x {sid}\r\n"));
    }
    let batch = format!("PUB x 1000\r\n{}\r\n", "x".repeat(1000)).repeat(100);
    let taken = house.broker.receive(b, batch.as_bytes(), house.now);
    assert!(taken < batch.len(), "it stops early");
    assert!(house.broker.outgoing(a).len() < 2 * limits::OUTPUT_PER_CALL_BYTES);
    house.read(a);
    let again = house.broker.receive(b, &batch.as_bytes()[taken..], house.now);
    assert!(again > 0, "and goes on");
    house.empty();
}

proptest! {
    #[test]
    fn any_split_of_the_bytes_gives_the_same(cuts in prop::collection::vec(1usize..40, 1..200)) {
        let script = "SUB a.* 1\r\nSUB b q 2\r\nPUB a.x 5\r\nhello\r\nHPUB b r 17 19\r\nNATS/1.0\r\nA:b\r\n\r\nhi\r\n\
            PING\r\nPUB a.y 12\r\nwith\r\nbreaks\r\nPUB a..b 0\r\n\r\nUNSUB 2\r\nPUB b 3\r\nend\r\nPUB a.z 2\r\nzz\r\n";
        let mut whole = House::new();
        let a = whole.client("all");
        whole.say(a, script);
        let expected = whole.read(a);
        let mut split = House::new();
        let b = split.client("all");
        let mut rest = script.as_bytes();
        for cut in cuts.iter().cycle() {
            if rest.is_empty() { break; }
            let (now, later) = rest.split_at((*cut).min(rest.len()));
            split.say(b, now);
            rest = later;
        }
        prop_assert_eq!(split.read(b), expected);
        split.empty();
    }

    #[test]
    fn no_bytes_bring_it_down(noise in prop::collection::vec(any::<u8>(), 0..400), signed_in: bool) {
        let mut house = House::new();
        let id = if signed_in { house.client("all") } else { house.greet() };
        house.say(id, &noise);
        house.empty();
    }
}
