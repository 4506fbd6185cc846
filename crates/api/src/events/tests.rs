//! Events through the whole interface, against a front door of the test's own on the in-memory bus.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use grace_bus::{
    Bus, Headers, Message,
    auth::{AllowResponses, AuthTable, Credential, User},
    client::memory::MemoryNet,
};
use grace_types::{
    chance::SeededEntropy,
    event::Event,
    manifest::{ApiSettings, Permissions},
    time::{Clock as _, SystemClock},
};
use serde_json::{Value, json};

use crate::{
    api::{Api, router},
    bearer::file::Tokens,
    component::{BUILT_IN, NAME},
    control_plane::ControlPlane,
    limits, server,
    telemetry::Telemetry,
    token::Token,
};

/// What the front door took: subject, headers, data.
type Taken = Arc<Mutex<Vec<(String, Headers, Vec<u8>)>>>;

struct Bench {
    address: SocketAddr,
    token: String,
    taken: Taken,
    /// The runtime of the server and of the front door.
    _runtime: tokio::runtime::Runtime,
    _folder: tempfile::TempDir,
}

struct Answered {
    status: u16,
    retry_after: Option<String>,
    body: Value,
}

impl Bench {
    /// With a front door that answers so; without one where it is `None`.
    fn new(settings: ApiSettings, door: Option<fn(&Message) -> Value>) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys/api.token");
        let token = Token::load_or_make(&path, &mut SeededEntropy::new(3)).unwrap();
        let taken = Taken::default();
        // The server may do here what it may do in an instance, and no more.
        let door_may = Permissions::only([">"], [">"]);
        let user = |name: &str, permissions| User {
            name: name.to_owned(),
            credential: Credential::of_password("x"),
            permissions,
            allow_responses: Some(AllowResponses::DEFAULT),
        };
        let users = vec![user(NAME, (BUILT_IN.permissions)()), user("trigger_mesh", door_may)];
        let net = MemoryNet::new(&AuthTable { users }, 1, Arc::new(SystemClock)).unwrap();
        let bus = |name: &str| net.client(name).unwrap().bus();
        let clock = Arc::new(SystemClock);
        let control_plane = ControlPlane::at(folder.path().join("control.sock"), clock.clone());
        let heard = Arc::new(Telemetry::default());
        let tokens = (token, Tokens::at(folder.path().join("tokens.json")));
        let api = Api::new(
            settings,
            clock,
            (bus(NAME), heard),
            control_plane,
            tokens,
            (folder.path().join("narratives.db"), folder.path().join("hooks.yaml")),
        );
        let (door_bus, seen) = (bus("trigger_mesh"), Arc::clone(&taken));
        let address = runtime.block_on(async move {
            if let Some(answer) = door {
                let mut events = door_bus.subscribe("events.>", Some("trigger_mesh")).await.unwrap();
                tokio::spawn(async move {
                    while let Some(message) = events.next().await {
                        reply(&door_bus, &message, answer(&message)).await;
                        seen.lock().unwrap().push((
                            message.subject,
                            message.headers,
                            message.payload.to_vec(),
                        ));
                    }
                });
            }
            let listener = server::listen("127.0.0.1:0".parse().unwrap()).unwrap();
            let address = listener.local_addr().unwrap();
            tokio::spawn(server::serve(listener, router(Arc::new(api)), std::future::pending()));
            address
        });
        let token = std::fs::read_to_string(&path).unwrap().trim_end().to_owned();
        Self { address, token, taken, _runtime: runtime, _folder: folder }
    }

    fn durable() -> Self {
        Self::new(ApiSettings::default(), Some(|_| json!({"done": {}})))
    }

    fn post(&self, headers: &[(&str, &str)], body: &[u8]) -> Answered {
        let bearer = format!("Bearer {}", self.token);
        let mut all = vec![("authorization", bearer.as_str())];
        all.extend(headers);
        self.send(&all, body)
    }

    fn send(&self, headers: &[(&str, &str)], body: &[u8]) -> Answered {
        let config = ureq::Agent::config_builder().http_status_as_error(false).build();
        let mut request =
            ureq::Agent::new_with_config(config).post(format!("http://{}/v1/events", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut response = request.send(body).unwrap();
        let text = response.body_mut().read_to_string().unwrap();
        let header = |name| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let body: Value = serde_json::from_str(&text).unwrap();
        if response.status().as_u16() >= 400 {
            assert_eq!(header("content-type").as_deref(), Some("application/problem+json"));
            assert_eq!(body["status"], response.status().as_u16());
        }
        Answered { status: response.status().as_u16(), retry_after: header("retry-after"), body }
    }

    fn structured(&self, event: &Value) -> Answered {
        self.post(&[STRUCTURED], event.to_string().as_bytes())
    }

    fn batch(&self, events: &Value) -> Answered {
        self.post(&[BATCH], events.to_string().as_bytes())
    }

    /// What the front door took, as events.
    fn events(&self) -> Vec<(String, Event, Headers)> {
        let taken = self.taken.lock().unwrap();
        let read = |(subject, headers, data): &(String, Headers, Vec<u8>)| {
            let event = Event::from_headers(|name| headers.get(name), data).unwrap();
            (subject.clone(), event, headers.clone())
        };
        taken.iter().map(read).collect()
    }
}

async fn reply(bus: &Bus, message: &Message, answer: Value) {
    if let Some(to) = &message.reply {
        bus.publish(Message::new(to.clone(), answer.to_string())).await.unwrap();
    }
}

const STRUCTURED: (&str, &str) = ("content-type", "application/cloudevents+json; charset=UTF-8");
const BATCH: (&str, &str) = ("content-type", "application/cloudevents-batch+json");

fn event(id: &str) -> Value {
    json!({"specversion": "1.0", "id": id, "source": "/shop", "type": "shop.order.placed", "data": {"n": 1}})
}

#[test]
fn the_three_modes_bring_the_same_event() {
    let bench = Bench::durable();
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let attributes = [
        ("ce-specversion", "1.0"),
        ("ce-id", "A-1"),
        ("ce-source", "/shop"),
        ("ce-type", "shop.order.placed"),
        ("ce-time", "2026-01-02T03:04:05Z"),
        ("ce-subject", "Bestellung%20%C3%BC"),
        ("ce-partition", "7"),
        ("traceparent", trace),
        ("content-type", "application/json"),
    ];
    let answered = bench.post(&attributes, b"{\"n\": 1}");
    assert_eq!(answered.status, 202, "{}", answered.body);
    let mut whole = event("A-1");
    whole["time"] = "2026-01-02T03:04:05Z".into();
    whole["subject"] = "Bestellung ü".into();
    whole["partition"] = 7.into();
    whole["traceparent"] = trace.into();
    assert_eq!(bench.structured(&whole).body, answered.body);
    whole["data_base64"] = "eyJuIjogMX0=".into();
    whole.as_object_mut().unwrap().remove("data");
    assert_eq!(bench.batch(&json!([whole])).body, answered.body);
    let events = bench.events();
    assert_eq!(events.len(), 3);
    for (subject, event, headers) in &events {
        assert_eq!(subject, "events.shop.order.placed");
        assert_eq!(event.data, json!({"n": 1}));
        assert_eq!(event.subject.as_deref(), Some("Bestellung ü"));
        assert_eq!(event.traceparent.as_deref(), Some(trace));
        assert_eq!(headers.get("ce-partition"), Some("7"));
        assert_eq!(headers.get("ce-originalid"), Some("A-1"));
        assert_eq!(answered.body["events"][0], json!({"id": "A-1", "event": event.id.to_string()}));
        assert!(event.hlc.millis > 0);
        assert_eq!(headers.get("Grace-Idempotency-Key"), events[0].2.get("Grace-Idempotency-Key"));
    }
}

#[test]
fn an_id_of_grace_s_own_form_stays_and_time_is_filled_in() {
    let bench = Bench::durable();
    let id = "evt_01JDC5M3Q8V5S0A6T4ZK2H9XWB";
    assert_eq!(bench.structured(&event(id)).status, 202);
    let (_, event, headers) = bench.events().remove(0);
    assert_eq!(event.id.to_string(), id);
    assert_eq!(headers.get("ce-originalid"), None);
    assert!(SystemClock.now().wall.since(event.time) < Duration::from_secs(60));
}

#[test]
fn what_is_malformed_is_said_and_not_sent() {
    let bench = Bench::durable();
    let refused = |body: Value, status: u16, word: &str| {
        let answered = bench.structured(&body);
        assert_eq!(answered.status, status, "{body}: {}", answered.body);
        assert!(answered.body["detail"].as_str().unwrap().contains(word), "{word}: {}", answered.body);
    };
    let with = |name: &str, value: Value| {
        let mut event = event("1");
        event[name] = value;
        event
    };
    for name in ["specversion", "id", "source", "type"] {
        refused(with(name, Value::Null), 400, &format!("`{name}` is missing"));
        refused(with(name, "".into()), 400, "has 0 bytes");
        refused(with(name, json!(["x"])), 400, "no text");
        refused(with(name, json!(1)), 400, "no text");
    }
    refused(with("specversion", "0.3".into()), 400, "expected 1.0");
    refused(with("source", "/grace/htm".into()), 400, "Grace's own");
    for kind in ["a b", "a..b", ".a", "a.*", ">", "a\tb"] {
        refused(with("type", kind.into()), 400, if kind.contains('\t') { "control" } else { "`type`" });
    }
    refused(with("time", "yesterday".into()), 400, "`time`");
    refused(with("hops", "many".into()), 400, "`hops`");
    refused(with("traceparent", "00-x".into()), 400, "`traceparent`");
    refused(with("bad_name", "x".into()), 400, "not the name of an attribute");
    refused(with("ratio", json!(0.5)), 400, "not a whole number");
    refused(with("data_base64", "e30=".into()), 400, "either");
    refused(with("datacontenttype", "text/xml".into()), 415, "data are JSON");
    refused(with("subject", "x".repeat(5000).into()), 400, "5000 bytes");
    refused(json!([event("1")]), 400, "object");
    let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
    let text = event("1").to_string();
    let raw = [
        (STRUCTURED, "{".to_owned(), 400, "body"),
        (STRUCTURED, String::new(), 400, "body"),
        (STRUCTURED, text.replace("{\"n\":1}", &deep), 400, "deeper"),
        (STRUCTURED, text.replace("\"id\"", "\"id\":\"2\",\"id\""), 400, "twice"),
        (BATCH, "{}".to_owned(), 400, "array"),
        (BATCH, format!("[{}1]", "1,".repeat(300)), 413, "more than 256"),
        (("content-type", "text/plain"), "x".to_owned(), 415, "text/plain"),
        (("content-type", "application/cloudevents+avro"), "x".to_owned(), 415, "avro"),
        (("content-type", "application/json; charset=latin1"), text.clone(), 415, "charset"),
        (("content-type", "application/json"), text.clone(), 400, "there is no CloudEvent"),
    ];
    for (kind, body, status, word) in raw {
        let answered = bench.post(&[kind], body.as_bytes());
        assert_eq!(answered.status, status, "{body:.80}: {}", answered.body);
        assert!(answered.body["detail"].as_str().unwrap().contains(word), "{word}: {}", answered.body);
    }
    let bad_header = [("ce-specversion", "1.0"), ("ce-id", "%zz")];
    assert_eq!(bench.post(&bad_header, b"").status, 400);
    assert!(bench.events().is_empty());
}

#[test]
fn as_large_as_the_standard_asks_and_no_larger_than_the_bound() {
    let bench = Bench::durable();
    let mut whole = event("1");
    for size in [64 << 10, 900 << 10] {
        whole["data"] = "x".repeat(size).into();
        assert_eq!(bench.structured(&whole).status, 202);
    }
    whole["data"] = "x".repeat(limits::EVENT_BODY_BYTES).into();
    assert_eq!(bench.structured(&whole).status, 413);
    let chunked = ureq::SendBody::from_owned_reader(std::io::Cursor::new(whole.to_string().into_bytes()));
    let config = ureq::Agent::config_builder().http_status_as_error(false).build();
    let request = ureq::Agent::new_with_config(config)
        .post(format!("http://{}/v1/events", bench.address))
        .header("authorization", format!("Bearer {}", bench.token))
        .header(STRUCTURED.0, STRUCTURED.1);
    assert_eq!(request.send(chunked).unwrap().status().as_u16(), 413, "without a length in its headers");
}

#[test]
fn without_the_token_nothing_is_read() {
    let bench = Bench::durable();
    let body = event("1").to_string();
    let mut statuses = Vec::new();
    for n in 0..limits::WRONG_TOKENS_PER_SECOND * 2 {
        let wrong = format!("Bearer {}{n:02}", &bench.token[2..]);
        statuses.push(bench.send(&[STRUCTURED, ("authorization", wrong.as_str())], body.as_bytes()).status);
    }
    assert_eq!(statuses[0], 401);
    assert!(statuses.iter().all(|status| [401, 429].contains(status)), "{statuses:?}");
    assert_eq!(bench.send(&[STRUCTURED], body.as_bytes()).status / 100, 4);
    assert_eq!(bench.structured(&event("1")).status, 202, "honest senders are not held up");
    assert_eq!(bench.events().len(), 1);
}

#[test]
fn more_than_the_rate_is_told_to_wait() {
    let settings = ApiSettings { events_per_second: 2, ..ApiSettings::default() };
    let bench = Bench::new(settings, Some(|_| json!({"done": {}})));
    let events: Vec<Value> = (0..30).map(|n| event(&n.to_string())).collect();
    assert_eq!(bench.batch(&events.into()).status, 202, "a batch may overdraw");
    let answered = bench.structured(&event("next"));
    assert_eq!(answered.status, 429);
    let wait: u64 = answered.retry_after.unwrap().parse().unwrap();
    assert!((10..=15).contains(&wait), "{wait}");
}

#[test]
fn a_batch_is_durable_as_a_whole_or_says_what_became_of_each() {
    let door = |message: &Message| match message.headers.get("ce-originalid") {
        Some("busy") => json!({"error": {"code": "busy", "message": "later"}}),
        Some("bad") => json!({"refused": {"code": "x"}, "message": "not like this"}),
        _ => json!({"done": {}}),
    };
    let bench = Bench::new(ApiSettings::default(), Some(door));
    let of = |ids: &[&str]| bench.batch(&ids.iter().map(|id| event(id)).collect());
    assert_eq!(of(&[]).status, 202);
    assert_eq!(of(&["a", "b"]).body["accepted"], 2);
    let outcomes = |answered: &Answered| -> Vec<String> {
        let rows = answered.body["events"].as_array().unwrap();
        rows.iter()
            .map(|row| format!("{} {}", row["id"].as_str().unwrap_or("?"), row["outcome"].as_str().unwrap()))
            .collect()
    };
    let answered = of(&["a", "bad", "busy"]);
    assert_eq!((answered.status, answered.retry_after.as_deref()), (503, Some("1")));
    assert_eq!(outcomes(&answered), ["a durable", "bad refused", "busy unavailable"]);
    assert_eq!(answered.body["events"][1]["detail"], "not like this");
    let answered = of(&["bad", "a"]);
    assert_eq!(answered.status, 400);
    assert_eq!(outcomes(&answered), ["bad refused", "a durable"]);
    assert_eq!(bench.structured(&event("bad")).body["code"], "refused");
    assert_eq!(bench.structured(&event("busy")).status, 503);
    let before = bench.events().len();
    let answered = bench.batch(&json!([event("a"), {"specversion": "1.0"}]));
    assert_eq!(answered.status, 400);
    assert_eq!(outcomes(&answered), ["a not_sent", "? refused"]);
    assert_eq!(bench.events().len(), before, "nothing of it was sent");
}

#[test]
fn without_a_front_door_it_says_when_to_come_again() {
    let bench = Bench::new(ApiSettings::default(), None);
    let answered = bench.structured(&event("1"));
    assert_eq!((answered.status, answered.retry_after.as_deref()), (503, Some("1")));
    assert!(answered.body["detail"].as_str().unwrap().contains("nobody takes events"), "{}", answered.body);
}
