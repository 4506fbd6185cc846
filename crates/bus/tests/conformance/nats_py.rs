//! Python's nats-py against our broker: runs `nats_py.py`, which says when it wants the broker restarted.

use std::process::Stdio;

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    process::Command,
};

use crate::fixture::{DEADLINE, Server};

#[tokio::test]
async fn nats_py_agrees() {
    let mut server = Server::start();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conformance/nats_py.py");
    let mut python = Command::new("python3")
        .arg(script)
        .arg(server.address())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("python3 is missing: install the Debian package python3");
    let mut orders = python.stdin.take().unwrap();
    let mut lines = BufReader::new(python.stdout.take().unwrap()).lines();
    let mut errors = python.stderr.take().unwrap();
    let talk = async {
        let mut passed = Vec::new();
        while let Some(line) = lines.next_line().await.unwrap() {
            match line.as_str() {
                "restart" => {
                    server.stop().await;
                    server.start_again();
                    orders.write_all(b"restarted\n").await.unwrap();
                }
                _ => passed.push(line),
            }
        }
        passed
    };
    let passed = tokio::time::timeout(3 * DEADLINE, talk).await;
    let mut complaint = String::new();
    if passed.is_err() {
        python.kill().await.unwrap();
    }
    errors.read_to_string(&mut complaint).await.unwrap();
    let passed = passed.unwrap_or_else(|_| panic!("nats_py.py did not end\n{complaint}"));
    assert!(python.wait().await.unwrap().success(), "passed so far: {passed:?}\n{complaint}");
    assert_eq!(
        passed,
        [
            "publish and subscribe",
            "wildcards",
            "queue groups",
            "headers",
            "request and reply",
            "no responders",
            "permission errors",
            "max payload",
            "reconnect"
        ]
    );
}
