//! Events from outside, in all modes, well-formed and not.

use serde_json::{Value, json};

use crate::{
    client::{Answer, get, post, post_as_it_is},
    instance::Instance,
};

const STRUCTURED: (&str, &str) = ("content-type", "application/cloudevents+json");
const BATCH: (&str, &str) = ("content-type", "application/cloudevents-batch+json");

type Headers<'a> = &'a [(&'a str, &'a str)];

fn event(id: &str) -> Value {
    json!({"specversion": "1.0", "id": id, "source": "/shop", "type": "shop.order.placed", "data": {"n": 1}})
}

#[test]
fn events_are_taken_in_all_modes_and_what_is_wrong_is_said() {
    let instance = Instance::of("");
    instance.write_manifest("bus: {port: 0}\napi: {events_per_second: 200}\nprocesses: {}\n");
    instance.up();
    let binary = [
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "/shop"),
        ("ce-type", "shop.order.placed"),
        ("content-type", "application/json"),
    ];
    let taken = |answer: &Answer| assert_eq!(answer.status, 202, "{answer:?}");
    taken(&post(&instance, &binary, b"{}"));
    taken(&post(&instance, &[STRUCTURED], event("2").to_string().as_bytes()));
    let batch: Value = (0..20).map(|n| event(&format!("b{n}"))).collect();
    let answer = post(&instance, &[BATCH], batch.to_string().as_bytes());
    taken(&answer);
    assert_eq!(answer.json()["accepted"], 20);
    let mut large = event("3");
    large["data"] = "x".repeat(64 << 10).into();
    taken(&post(&instance, &[STRUCTURED], large.to_string().as_bytes()));

    let text = event("4").to_string();
    let deep = text.replace("{\"n\":1}", &format!("{}{}", "[".repeat(70), "]".repeat(70)));
    let huge = format!("{text}{}", " ".repeat(2 << 20));
    let bad: [(Headers, &str, u16, &str); 7] = [
        (&[STRUCTURED], "{not json", 400, "malformed"),
        (&[STRUCTURED], "{\"specversion\": \"1.0\"}", 400, "malformed"),
        (&[STRUCTURED], &deep, 400, "malformed"),
        (&[STRUCTURED], &huge, 413, "too_large"),
        (&[("content-type", "text/plain")], "hello", 415, "unsupported_media_type"),
        (&binary[..2], "{}", 400, "malformed"),
        (&[BATCH], &text, 400, "malformed"),
    ];
    for (headers, body, status, code) in bad {
        let answer = post(&instance, headers, body.as_bytes());
        assert_eq!((answer.status, answer.kind.as_str()), (status, "application/problem+json"), "{answer:?}");
        assert_eq!(answer.json()["code"], code, "{answer:?}");
    }
    assert_eq!(post_as_it_is(&instance, &[STRUCTURED], text.as_bytes()).status, 401);

    let flood: Value = (0..250).map(|n| event(&format!("f{n}"))).collect();
    let flooded = (0..5).map(|_| post(&instance, &[BATCH], flood.to_string().as_bytes()));
    let refused: Vec<Answer> = flooded.filter(|answer| answer.status != 202).collect();
    assert!(!refused.is_empty());
    assert!(refused.iter().all(|a| a.status == 429 && a.retry_after.is_some_and(|s| s >= 1)), "{refused:?}");
    assert_eq!(get(&instance, "/livez").status, 200);
    instance.down();
}
