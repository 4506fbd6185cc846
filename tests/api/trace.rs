//! Spans along the road, from an event over HTTP to the program that a task runs, as an OTLP receiver gets them.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

use serde_json::Value;

use crate::{
    client::{get, post},
    instance::{Instance, holds, until},
};

/// A receiver of spans: takes whatever comes, and keeps the spans.
struct Collector {
    address: String,
    spans: Arc<Mutex<Vec<Value>>>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let spans = Arc::<Mutex<Vec<Value>>>::default();
        let kept = Arc::clone(&spans);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let kept = Arc::clone(&kept);
                std::thread::spawn(move || serve(&stream.unwrap(), &kept));
            }
        });
        Self { address, spans }
    }

    /// Name, span and parent of each span so far, of the trace.
    fn of(&self, trace: &str) -> Vec<Value> {
        let spans = self.spans.lock().unwrap();
        spans.iter().filter(|span| span["traceId"] == trace).cloned().collect()
    }
}

fn serve(stream: &TcpStream, kept: &Mutex<Vec<Value>>) {
    let (mut reader, mut writer) = (BufReader::new(stream), stream);
    loop {
        let (mut length, mut line) = (0, String::new());
        if reader.read_line(&mut line).unwrap_or_default() == 0 {
            return;
        }
        assert_eq!(line, "POST /v1/traces HTTP/1.1\r\n");
        while line != "\r\n" {
            line.clear();
            reader.read_line(&mut line).unwrap();
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let request: Value = serde_json::from_slice(&body).unwrap();
        let spans = request["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap();
        kept.lock().unwrap().extend(spans.iter().cloned());
        writer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").unwrap();
    }
}

#[test]
fn one_trace_from_the_event_to_the_program() {
    let collector = Collector::start();
    let instance = Instance::of("");
    instance.write_manifest(&format!(
        "bus: {{port: 0}}
telemetry: {{otlp: 'http://{}/'}}
processes: {{}}
intents:
  note:
    payload: {{type: object}}
    plan: {{task: {{kind: exec, command: [sh, -c, 'printf %s \"$TRACEPARENT\" > FOLDER/trace'], timeout: 20s}}}}
triggers:
  order:
    types: [shop.order.placed]
    action: {{submit: {{intent: note, payload: {{}}}}}}
",
        collector.address
    ));
    instance.up();
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let body = format!(
        r#"{{"specversion": "1.0", "id": "1", "source": "/shop", "type": "shop.order.placed",
            "traceparent": "00-{trace}-b7ad6b7169203331-01", "data": {{}}}}"#
    );
    let answer = post(&instance, &[("content-type", "application/cloudevents+json")], body.as_bytes());
    assert_eq!(answer.status, 202, "{answer:?}");
    let spans = until("the road's spans have arrived", || {
        Some(collector.of(trace)).filter(|spans| spans.iter().any(|span| span["name"] == "task"))
    });
    let one = |name: &str| spans.iter().find(|span| span["name"] == name).unwrap();
    let (event, intent, task) = (one("event"), one("intent"), one("task"));
    assert_eq!(event["parentSpanId"], "b7ad6b7169203331");
    assert_eq!(intent["parentSpanId"], event["spanId"]);
    assert_eq!(task["parentSpanId"], intent["spanId"]);
    assert!(spans.iter().all(|span| span["status"]["code"] == 1), "{spans:?}");
    let nanos = |span: &Value, key: &str| span[key].as_str().unwrap().parse::<u64>().unwrap();
    assert!(nanos(event, "startTimeUnixNano") <= nanos(intent, "startTimeUnixNano"));
    assert!(nanos(task, "startTimeUnixNano") <= nanos(task, "endTimeUnixNano"));

    let seen = std::fs::read_to_string(instance.file("trace")).unwrap();
    assert_eq!(
        seen,
        format!("00-{trace}-{}-01", task["spanId"].as_str().unwrap()),
        "its program is under its span"
    );
    holds("they are counted", || {
        get(&instance, "/metrics").body.contains("grace_otlp_spans_total{outcome=\"exported\"} 3\n")
    });

    // One that nobody wants to see, and one without a trace, which gets one here.
    let unsampled = body.replace("\"1\"", "\"2\"").replace("-01\"", "-00\"").replace(trace, &"1".repeat(32));
    let own = body.replace("\"1\"", "\"3\"").replace("traceparent", "ignored");
    for body in [unsampled, own] {
        let answer = post(&instance, &[("content-type", "application/cloudevents+json")], body.as_bytes());
        assert_eq!(answer.status, 202, "{answer:?}");
    }
    holds("the one without a trace has its three spans", || collector.spans.lock().unwrap().len() == 6);
    assert!(collector.of(&"1".repeat(32)).is_empty());
    instance.down();
}
