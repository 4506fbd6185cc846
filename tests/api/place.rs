//! Where the interface is found, what it says of what is not there, and that a new process goes on in the old one's place.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    time::Duration,
};

use rustix::process::Signal;

use crate::{
    client::{get, try_get, url},
    instance::{Instance, free_port, holds, kill},
};

#[test]
fn a_new_process_listens_at_the_same_address_with_the_same_token() {
    let instance = Instance::of("");
    instance.up();
    let (address, token) = (url(&instance), std::fs::read(instance.place().api_token()).unwrap());
    let mode = |path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(instance.place().api_token()), 0o600);
    assert_eq!(mode(instance.place().api_url()), 0o600);
    let before = instance.component("api_server").pid.unwrap();
    kill(before, Signal::KILL);
    holds("another process answers", || {
        instance.component("api_server").pid.is_some_and(|pid| pid != before)
            && try_get(&instance, "/livez").is_some_and(|answer| answer.status == 200)
    });
    assert_eq!(url(&instance), address);

    for (path, status) in [("/", 404), ("/v1/nothing", 404), ("/v1/events", 405), ("/livez/", 404)] {
        let answer = get(&instance, path);
        assert_eq!((answer.status, answer.kind.as_str()), (status, "application/problem+json"), "{path}");
        assert_eq!(answer.json()["status"], status);
    }
    // What a browser sends that was led here by somebody else's name for this machine.
    let answer = raw(&address, "GET /metrics HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 421 "), "{answer}");
    let many = format!("GET /livez HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "A: b\r\n".repeat(200));
    assert!(raw(&address, &many).starts_with("HTTP/1.1 431 "));
    assert!(raw(&address, "\u{0}\u{1}\r\n\r\n").starts_with("HTTP/1.1 400 "));

    instance.down();
    assert_eq!(std::fs::read(instance.place().api_token()).unwrap(), token, "senders keep it");
}

#[test]
fn a_port_that_is_taken_is_said_and_costs_nothing_else() {
    let port = free_port();
    let taken = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let instance = Instance::of("");
    instance.write_manifest(&format!("bus: {{port: 0}}\napi: {{port: {port}}}\nprocesses: {{}}\n"));
    let ran = instance.try_up(&[]);
    assert_eq!(ran.code, Some(1), "{ran}");
    let printed = instance.printed("api_server").join("\n");
    assert!(printed.contains(&format!("another program listens at 127.0.0.1:{port}")), "{printed}");
    assert!(instance.component("message_bus").ready);
    drop(taken);
    instance.grace(&["restart", "api_server"]);
    instance.ready("api_server");
    assert_eq!(url(&instance), format!("http://127.0.0.1:{port}"));
    instance.down();
}

fn raw(url: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    // It may be cut off while it sends, once the answer is there.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}
