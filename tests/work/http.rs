//! Requests as tasks: what a server is asked, and what becomes of its answers.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::mpsc::{Receiver, channel},
};

use serde_json::json;

use crate::bench::{submit, up};

/// Answers one request for each of these statuses, and tells what it was asked: the head's lines in lower case, and the body.
fn server(statuses: &'static [&'static str]) -> (String, Receiver<(Vec<String>, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for status in statuses {
            let (stream, _) = listener.accept().unwrap();
            tell.send(answer(stream, status)).unwrap();
        }
    });
    (address, told)
}

fn answer(mut stream: TcpStream, status: &str) -> (Vec<String>, String) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            break;
        }
        head.push(line.trim().to_lowercase());
    }
    let length =
        head.iter().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let text = r#"{"id": 7}"#;
    let kind = "content-type: application/json\r\nconnection: close";
    write!(stream, "HTTP/1.1 {status}\r\n{kind}\r\ncontent-length: {}\r\n\r\n{text}", text.len()).unwrap();
    (head, String::from_utf8(body).unwrap())
}

#[test]
fn a_request_is_tried_again_under_one_key_until_it_is_answered_as_expected() {
    let instance = up();
    let (address, asked) = server(&["503 Busy", "201 Created"]);
    let payload = json!({"address": address, "note": "hello"}).to_string();
    let done = submit(&instance, "call", &["--payload", &payload, "--wait"]);
    let task = &done["tasks"][0];
    assert_eq!((&task["attempts"], &task["output"]["body"]["id"]), (&2.into(), &7.into()), "{done}");
    let asked: Vec<(Vec<String>, String)> = asked.iter().collect();
    let key = format!("idempotency-key: {}", task["id"].as_str().unwrap());
    let token = |head: &[String]| -> u64 {
        head.iter().find_map(|line| line.strip_prefix("grace-token: ")?.parse().ok()).unwrap()
    };
    for (head, body) in &asked {
        assert_eq!((head[0].as_str(), body.as_str()), ("post /notes http/1.1", r#"{"note":"hello"}"#));
        assert!(head.contains(&key) && head.contains(&"x-secret: hidden".to_owned()), "{head:?}");
    }
    assert!(token(&asked[1].0) > token(&asked[0].0), "a later attempt has a greater token");
    instance.down();
}

#[test]
fn a_request_that_is_wrong_is_not_repeated_and_a_failure_tells_no_secrets() {
    let instance = up();
    let (address, asked) = server(&["404 Not Found"]);
    let payload = json!({"address": address, "note": "hello"}).to_string();
    let args = ["--json", "intent", "submit", "call", "--actor", "ann", "--wait", "--payload", &payload];
    let failed = instance.grace(&args);
    assert_eq!(failed.code, Some(1), "{failed}");
    assert_eq!(asked.iter().count(), 1);
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let payload = json!({"address": format!("user:password@{free}"), "note": "hello"}).to_string();
    let args = ["--json", "intent", "submit", "call", "--actor", "ann", "--wait", "--payload", &payload];
    assert_eq!(instance.grace(&args).code, Some(1));
    let dead = instance.grace(&["task", "list", "--dead"]);
    assert!(dead.out.contains("status 404 is not what was expected"), "{dead}");
    assert!(dead.out.contains("3 attempts") && !dead.out.contains("hidden"), "{dead}");
    instance.down();
}
