//! Bounded memory, measured: the broker runs in this process, its clients are bare sockets.
//!
//! One test at a time (a lock): they read the memory of the whole process.
#![allow(clippy::unwrap_used, reason = "tests")]

mod fixture;

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    time::Duration,
};

use fixture::{Server, eventually};
use grace_bus::{
    broker::{BrokerConfig, CloseReason},
    limits,
};
use tokio::sync::Mutex;

static ALONE: Mutex<()> = Mutex::const_new(());

/// This process's resident memory in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() * 1024
}

/// A signed-in client that does nothing by itself.
async fn client(server: &Server) -> UnixStream {
    let path = server.unix_path.clone();
    // The broker runs on this thread: a blocking client must not.
    tokio::task::spawn_blocking(move || {
        let mut stream = UnixStream::connect(path).unwrap();
        stream.write_all(b"CONNECT {\"user\":\"all\",\"pass\":\"all\"}\r\nPING\r\n").unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(b"PONG\r\n") {
            let mut byte = [0; 512];
            let count = stream.read(&mut byte).unwrap();
            assert!(count > 0, "{}", String::from_utf8_lossy(&seen));
            seen.extend_from_slice(&byte[..count]);
        }
        stream
    })
    .await
    .unwrap()
}

/// Writes until the broker closes or everything is written; returns the stream and whether it took it all.
async fn flood(mut stream: UnixStream, chunk: Vec<u8>, times: usize) -> (UnixStream, bool) {
    tokio::task::spawn_blocking(move || {
        let all = (0..times).all(|_| stream.write_all(&chunk).is_ok());
        (stream, all)
    })
    .await
    .unwrap()
}

/// Reads to the end of the connection.
async fn last_words(mut stream: UnixStream) -> String {
    tokio::task::spawn_blocking(move || {
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut all = Vec::new();
        // A reset after the last words is as good as an end.
        let _ = stream.read_to_end(&mut all);
        String::from_utf8_lossy(&all).into_owned()
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn a_thousand_idle_connections() {
    let _alone = ALONE.lock().await;
    let server = Server::start();
    let mut clients = vec![client(&server).await];
    let before = resident();
    for _ in 0..1000 {
        clients.push(client(&server).await);
    }
    let grown = resident().saturating_sub(before);
    assert_eq!(server.statistics().await.connections, 1001);
    assert_eq!(server.statistics().await.buffered_bytes, 0);
    assert!(grown < 16 << 20, "{grown} bytes for 1,000 idle connections");
}

#[tokio::test]
async fn one_that_never_reads_under_a_flood() {
    let _alone = ALONE.lock().await;
    let bound = 4 << 20;
    let mut server = Server::with(BrokerConfig { max_pending_bytes: bound, ..BrokerConfig::default() });
    let (mut sloth, sender) = (client(&server).await, client(&server).await);
    sloth.write_all(b"SUB flood 1\r\n").unwrap();
    eventually("subscribed", async || (server.statistics().await.subscriptions == 1).then_some(())).await;
    let before = resident();
    let message = format!("PUB flood 1000\r\n{}\r\n", "x".repeat(1000));
    let (_sender, all) = flood(sender, message.repeat(100).into_bytes(), 600).await;
    assert!(all, "the sender is not hurt");
    eventually("it is cut off", async || (server.statistics().await.tally.slow_consumers == 1).then_some(()))
        .await;
    let grown = resident().saturating_sub(before);
    assert!(grown < 4 * bound, "{grown} bytes; the bound is {bound}");
    let reason = eventually("the owner is told", async || match server.events.try_recv() {
        Ok(grace_bus::broker::BrokerEvent::Disconnected { reason, .. }) => Some(reason),
        _ => None,
    })
    .await;
    assert!(
        matches!(reason, CloseReason::SlowConsumer { pending_bytes } if pending_bytes <= bound),
        "{reason:?}"
    );
}

#[tokio::test]
async fn giant_lines_headers_and_subscriptions() {
    let _alone = ALONE.lock().await;
    let server = Server::start();
    let mut ends = Vec::new();
    let before = resident();
    for (chunk, times) in [
        (vec![b'A'; 1 << 20], 64),
        (b"SUB ".to_vec(), 1 << 16),
        (format!("HPUB x {0} {0}\r\n", 1 << 30).into_bytes(), 1),
        (b"HPUB x 1000000 1000000\r\n".iter().chain(&vec![b'h'; 1 << 22]).copied().collect(), 4),
    ] {
        let (stream, _) = flood(client(&server).await, chunk, times).await;
        ends.push(last_words(stream).await);
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes");
    assert!(ends[0].contains("maximum control line exceeded") || ends[0].is_empty(), "{:?}", ends[0]);
    assert!(ends[2].contains("Maximum Payload Violation"), "{:?}", ends[2]);
    let mut subscriptions = String::new();
    for n in 0..=limits::SUBSCRIPTIONS_PER_CONNECTION {
        subscriptions.push_str(&format!("SUB a.b.c.d.{n} {n}\r\n"));
    }
    let (stream, _) = flood(client(&server).await, subscriptions.into_bytes(), 1).await;
    let end = last_words(stream).await;
    assert!(end.ends_with("-ERR 'maximum subscriptions exceeded'\r\n"), "{end}");
    assert_eq!(server.statistics().await.subscriptions, 0);
}
