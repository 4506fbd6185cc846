//! Probes against real commands and sockets.

use std::{
    ffi::OsString,
    io::{Read as _, Write as _},
    net::TcpListener,
    path::Path,
    time::Duration,
};

use grace_core::probe::{self, ProbeFailure, Surroundings};
use grace_types::manifest::Check;

use crate::wait;

async fn run(check: Check, timeout: Duration) -> Result<(), ProbeFailure> {
    let env: Vec<(OsString, OsString)> =
        [("PATH", "/usr/bin:/bin"), ("COLOUR", "green")].map(|(n, v)| (n.into(), v.into())).into();
    probe::run(&check, timeout, Surroundings { env: &env, cwd: Some(Path::new("/")) }).await
}

fn shell(script: &str) -> Check {
    Check::Exec { command: ["sh", "-c", script].map(str::to_owned).into() }
}

fn reason(result: Result<(), ProbeFailure>) -> String {
    result.unwrap_err().reason
}

#[tokio::test]
async fn a_command_runs_in_the_components_surroundings() {
    let check = shell("test \"$COLOUR\" = green && test \"$PWD\" = / && test -z \"$HOME\"");
    assert_eq!(run(check, wait::DEADLINE).await, Ok(()));
    let failed = reason(run(shell("echo no database; echo why >&2; exit 3"), wait::DEADLINE).await);
    assert!(failed.starts_with("`sh` ended with exit status: 3: "), "{failed}");
    assert!(failed.contains("no database") && failed.contains("why"), "{failed}");
    let missing = Check::Exec { command: vec!["/no/such/program".into()] };
    assert!(reason(run(missing, wait::DEADLINE).await).contains("cannot be started: No such file"));
}

#[tokio::test]
async fn a_command_that_floods_or_leaves_children_behind_is_bounded() {
    let failed = reason(run(shell("head -c 3000000 /dev/zero | tr '\\0' x; exit 1"), wait::DEADLINE).await);
    assert!(failed.len() < 4096 && failed.contains("xxx"), "{} bytes", failed.len());
    assert_eq!(
        run(shell("sleep 60 & exit 0"), Duration::from_secs(20)).await,
        Ok(()),
        "waited for the child"
    );
}

#[tokio::test]
async fn a_command_that_hangs_is_killed_with_its_children() {
    let folder = tempfile::tempdir().unwrap();
    let pids = folder.path().join("pids");
    let script = format!("sleep 60 & echo $! $$ > {}; echo waiting; wait", pids.display());
    let check = tokio::spawn(run(shell(&script), Duration::from_secs(2)));
    let failed = reason(check.await.unwrap());
    assert!(failed.contains("took longer than 2s: waiting"), "{failed}");
    let text = std::fs::read_to_string(&pids).unwrap();
    for pid in text.split_whitespace() {
        wait::until("the process is gone", || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.is_empty() || stat.contains(") Z ")
        });
    }
}

/// Answers each connection with the next answer, after the request's head.
fn server(answers: Vec<&'static [u8]>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            assert!(head.starts_with(b"GET /health?full=1 HTTP/1.1\r\nHost: "), "{head:?}");
            let _ = stream.write_all(answer);
        }
    });
    port
}

fn get(port: u16) -> Check {
    Check::HttpGet { host: "localhost".into(), port, path: "/health?full=1".into() }
}

#[tokio::test]
async fn an_http_status_decides() {
    static ENDLESS: [u8; 100_000] = {
        let mut bytes = [b'x'; 100_000];
        let begin = *b"HTTP/1.1 100 ";
        let mut i = 0;
        while i < begin.len() {
            bytes[i] = begin[i];
            i += 1;
        }
        bytes
    };
    let port = server(vec![
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.0 302 Found\r\n\r\n",
        b"HTTP/1.1 503 Service Unavailable\r\n\r\nbusy",
        b"hello\r\n",
        b"",
        &ENDLESS,
    ]);
    assert_eq!(run(get(port), wait::DEADLINE).await, Ok(()));
    assert_eq!(run(get(port), wait::DEADLINE).await, Ok(()));
    let unavailable = reason(run(get(port), wait::DEADLINE).await);
    assert_eq!(unavailable, format!("GET http://localhost:{port}/health?full=1 answered 503"));
    assert!(reason(run(get(port), wait::DEADLINE).await).contains("not answered in HTTP/1: `hello"));
    assert!(reason(run(get(port), wait::DEADLINE).await).contains("closed without an answer"));
    let endless = reason(run(get(port), wait::DEADLINE).await);
    assert!(endless.contains("more than 16384 bytes"), "{endless}");
}

#[tokio::test]
async fn tcp_asks_for_a_connection_and_no_more() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let check = || Check::Tcp { host: "127.0.0.1".into(), port };
    assert_eq!(run(check(), wait::DEADLINE).await, Ok(()));
    // Nobody accepts, so an HTTP answer never comes.
    let slow = reason(run(get(port), Duration::from_millis(50)).await);
    assert!(slow.ends_with("took longer than 50ms"), "{slow}");
    drop(listener);
    let refused = reason(run(check(), wait::DEADLINE).await);
    assert!(refused.contains("Connection refused"), "{refused}");
    let injected = Check::HttpGet { host: "127.0.0.1".into(), port, path: "/ HTTP/1.1\r\nX: y".into() };
    assert!(reason(run(injected, wait::DEADLINE).await).contains("not a path"));
}
