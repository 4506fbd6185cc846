//! Spans by way of a collector that is not ours: Rotel takes what Grace sends and passes it on as protobuf, which OpenTelemetry's own
//! definitions decode (`collector.py`). What is seen there at last is what Grace meant.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};

use crate::{
    client::{get, post},
    instance::{Instance, free_port, holds, until},
};

const NEEDED: &str = "python3 -m pip install rotel==0.0.1a15 opentelemetry-proto, if they are missing";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// Both processes; they do not outlive it.
struct Road {
    receiver: Child,
    collector: Child,
    port: u16,
    spans: Arc<Mutex<Vec<Value>>>,
}

impl Road {
    fn start(instance: &Instance) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/api/collector.py");
        let mut receiver =
            Command::new("python3").arg(script).stdout(Stdio::piped()).spawn().expect("python3 is missing");
        let mut lines = BufReader::new(receiver.stdout.take().unwrap()).lines().map_while(Result::ok);
        let decoding = lines.next().expect(NEEDED);
        let spans = Arc::<Mutex<Vec<Value>>>::default();
        let kept = Arc::clone(&spans);
        std::thread::spawn(move || {
            lines.for_each(|line| kept.lock().unwrap().push(serde_json::from_str(&line).unwrap()));
        });
        let (port, other) = (free_port(), free_port());
        let collector = Command::new(rotel())
            .arg("start")
            .args(["--otlp-http-endpoint", &format!("127.0.0.1:{port}")])
            .args(["--otlp-grpc-endpoint", &format!("127.0.0.1:{other}")])
            .args(["--exporter", "otlp", "--otlp-exporter-protocol", "http"])
            .args(["--otlp-exporter-endpoint", &format!("http://127.0.0.1:{decoding}")])
            .stdout(std::fs::File::create(instance.file("collector")).unwrap())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        until("the collector listens", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
        Self { receiver, collector, port, spans }
    }
}

impl Drop for Road {
    fn drop(&mut self) {
        for child in [&mut self.collector, &mut self.receiver] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The collector's program, which its Python package brings along.
fn rotel() -> String {
    let path = "import os, rotel; print(os.path.join(os.path.dirname(rotel.__file__), 'rotel-agent'))";
    let output = Command::new("python3").args(["-c", path]).output().unwrap();
    assert!(output.status.success(), "{NEEDED}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn a_collector_that_is_not_ours_understands_what_is_sent() {
    let instance = Instance::of("");
    let road = Road::start(&instance);
    instance.write_manifest(&format!(
        "bus: {{port: 0}}
telemetry: {{otlp: 'http://127.0.0.1:{}'}}
processes: {{}}
intents:
  good: {{payload: {{type: object}}, plan: {{task: {{kind: exec, command: [\"true\"], timeout: 20s}}}}}}
  bad: {{payload: {{type: object}}, plan: {{task: {{kind: exec, command: [\"false\"], timeout: 20s, retry: {{attempts: 1}}}}}}}}
triggers:
  good: {{types: [shop.good], action: {{submit: {{intent: good, payload: {{}}}}}}}}
  bad: {{types: [shop.bad], action: {{submit: {{intent: bad, payload: {{}}}}}}}}
",
        road.port
    ));
    instance.up();
    let send = |kind: &str, trace: &str| {
        let body = json!({"specversion": "1.0", "id": kind, "source": "/shop", "type": kind, "data": {},
            "traceparent": format!("00-{trace}-b7ad6b7169203331-01")});
        let body = body.to_string();
        let answer = post(&instance, &[("content-type", "application/cloudevents+json")], body.as_bytes());
        assert_eq!(answer.status, 202, "{answer:?}");
    };
    let failing = TRACE.replace('0', "1");
    send("shop.good", TRACE);
    send("shop.bad", &failing);
    let of = |trace: &str| {
        let spans = until("the spans of the road have come through", || {
            let spans = road.spans.lock().unwrap();
            let mine: Vec<Value> = spans.iter().filter(|span| span["trace"] == trace).cloned().collect();
            Some(mine).filter(|mine| mine.len() >= 3)
        });
        ["event", "intent", "task"].map(|name| {
            let mut named = spans.iter().filter(|span| span["name"] == name);
            let span = named.next().unwrap_or_else(|| panic!("no {name} in {spans:?}")).clone();
            assert!(named.next().is_none(), "{name} comes once: {spans:?}");
            span
        })
    };
    let [event, intent, task] = of(TRACE);
    let parents = [&event, &intent, &task].map(|span| span["parent"].clone());
    assert_eq!(parents, [json!("b7ad6b7169203331"), event["span"].clone(), intent["span"].clone()]);
    for span in [&event, &intent, &task] {
        assert_eq!(span["path"], "/v1/traces");
        assert_eq!(span["resource"]["service.name"], json!({"stringValue": "grace"}), "{span}");
        assert_eq!(span["scope"], json!(["grace", env!("CARGO_PKG_VERSION")]));
        assert_eq!(span["kind"], "SPAN_KIND_INTERNAL");
        assert_eq!(span["span"].as_str().unwrap().len(), 16);
        assert_eq!(span["status"][0], "STATUS_CODE_OK", "{span}");
        assert!(!span["attributes"].as_object().unwrap().is_empty(), "{span}");
        let nanos = |key: &str| span[key].as_u64().unwrap();
        assert!(nanos("start") > 1 << 60 && nanos("start") <= nanos("end"), "{span}");
    }
    let [event, intent, task] = of(&failing);
    assert_eq!((&intent["parent"], &task["parent"]), (&event["span"], &intent["span"]));
    assert_eq!(task["status"][0], "STATUS_CODE_ERROR", "{task}");
    assert_ne!(task["status"][1], "", "{task}");
    holds("they are counted", || {
        get(&instance, "/metrics").body.contains("grace_otlp_spans_total{outcome=\"exported\"} 6\n")
    });
    instance.down();
}
