//! The bus against Debian's nats-server, with the same bare-socket client, in the same run.
//!
//! Messages per second from one publisher to one and to four subscribers, and the round trip of one outstanding
//! request, at 128 bytes, signed in as one of 20 users with 18 allow and 4 deny rules each. The two servers take
//! turns, several rounds; a bare one-hop echo is the floor of the round trip. Publisher, subscribers and server
//! share the machine, so absolute numbers move with it; the ratios are what counts.
//!
//! `cargo run --release -p grace-benches --bin bus [-- --rounds N] [--only ours|nats]`
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock and sleeps between polls")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark that cannot run should say so and stop"
)]

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Barrier,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use grace_bus::{
    auth::{AllowResponses, AuthTable, Credential, User},
    shell::{Listeners, ServeConfig, serve},
};
use grace_types::manifest::{Permissions, SubjectRules};

const PAYLOAD_BYTES: usize = 128;
/// How far the publisher may be ahead of the slowest subscriber.
const WINDOW: usize = 16_384;
const USER: &str = "u3";
const SUBJECT: &str = "bench.alpha.status";

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| args.iter().position(|a| a == name).and_then(|i| args.get(i + 1)).cloned();
    match args.first().map(String::as_str) {
        Some("broker") => broker(&args[1], &args[2]),
        Some("echo") => echo(&args[1], Path::new(&args[2])),
        _ => {
            let rounds = value("--rounds").map_or(5, |n| n.parse().expect("--rounds takes a number"));
            compare(rounds, value("--only").as_deref());
        }
    }
}

// ---- servers ----

fn rules() -> SubjectRules {
    let mut allow: Vec<String> = (0..14).map(|n| format!("team{n}.*.status")).collect();
    allow.extend(["bench.*.status", "bench.ping", "bench.pong", "_INBOX.>"].map(str::to_owned));
    SubjectRules { allow, deny: (0..4).map(|n| format!("team{n}.secret.>")).collect() }
}

fn broker(port: &str, path: &str) {
    let users = (0..20)
        .map(|n| User {
            name: format!("u{n}"),
            credential: Credential::of_password(&format!("u{n}")),
            permissions: Permissions { publish: rules(), subscribe: rules() },
            allow_responses: Some(AllowResponses::DEFAULT),
        })
        .collect();
    let listeners = Listeners {
        tcp: vec![TcpListener::bind(format!("127.0.0.1:{port}")).unwrap()],
        unix: vec![UnixListener::bind(path).unwrap()],
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (_keep, commands) = tokio::sync::mpsc::channel(1);
        let (events, _taken) = tokio::sync::mpsc::channel(16);
        let config = ServeConfig::for_users(AuthTable { users });
        serve(config, listeners, commands, events, std::future::pending()).await.unwrap();
    });
}

fn echo(port: &str, path: &Path) {
    fn answer(mut stream: impl Read + Write + Send + 'static) {
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count) = stream.read(&mut buffer) {
                if count == 0 || stream.write_all(&buffer[..count]).is_err() {
                    break;
                }
            }
        });
    }
    let unix = UnixListener::bind(path).unwrap();
    thread::spawn(move || unix.incoming().flatten().for_each(answer));
    for stream in TcpListener::bind(format!("127.0.0.1:{port}")).unwrap().incoming().flatten() {
        stream.set_nodelay(true).unwrap();
        answer(stream);
    }
}

fn nats_config(port: u16) -> String {
    let quoted = |l: &[String]| l.iter().map(|s| format!("\"{s}\"")).collect::<Vec<_>>().join(", ");
    let SubjectRules { allow, deny } = rules();
    let rules = format!("{{ allow: [{}], deny: [{}] }}", quoted(&allow), quoted(&deny));
    let users: Vec<String> = (0..20)
        .map(|n| {
            format!(
                "{{ user: u{n}, password: u{n}, permissions: {{ publish: {rules}, subscribe: {rules} }} }}"
            )
        })
        .collect();
    let users = users.join("\n");
    format!("port: {port}\nhost: \"127.0.0.1\"\nmax_pending: 1GB\nauthorization {{ users: [\n{users}\n] }}\n")
}

/// A server process; ended when dropped.
struct Server {
    child: Child,
    tcp: String,
    unix: PathBuf,
}

impl Server {
    fn start(command: &mut Command, port: u16, unix: PathBuf) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = child.expect("the server starts (nats-server is the Debian package nats-server)");
        let tcp = format!("127.0.0.1:{port}");
        let begun = Instant::now();
        while TcpStream::connect(&tcp).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(10), "{tcp} does not listen");
            thread::sleep(Duration::from_millis(2));
        }
        Self { child, tcp, unix }
    }

    fn own(kind: &str, dir: &Path) -> Self {
        let (port, unix) = (free_port(), dir.join(format!("{kind}.sock")));
        let mut command = Command::new(std::env::current_exe().unwrap());
        Self::start(command.arg(kind).arg(port.to_string()).arg(&unix), port, unix)
    }

    fn nats(dir: &Path) -> Self {
        let (port, config) = (free_port(), dir.join("nats.conf"));
        std::fs::write(&config, nats_config(port)).unwrap();
        let binary =
            ["/usr/sbin/nats-server", "/usr/bin/nats-server"].into_iter().find(|p| Path::new(p).exists());
        Self::start(Command::new(binary.unwrap_or("nats-server")).arg("-c").arg(config), port, PathBuf::new())
    }

    fn dial(&self, over: Over) -> Wire {
        match over {
            Over::Tcp => {
                let stream = TcpStream::connect(&self.tcp).unwrap();
                stream.set_nodelay(true).unwrap();
                Wire::new(Box::new(stream.try_clone().unwrap()), Box::new(stream))
            }
            Over::Unix => {
                let stream = UnixStream::connect(&self.unix).unwrap();
                Wire::new(Box::new(stream.try_clone().unwrap()), Box::new(stream))
            }
        }
    }

    /// Connected and signed in.
    fn client(&self, over: Over) -> Wire {
        let mut wire = self.dial(over);
        wire.line();
        wire.say(&format!(
            "CONNECT {{\"verbose\":false,\"user\":\"{USER}\",\"pass\":\"{USER}\"}}\r\nPING\r\n"
        ));
        assert_eq!(wire.line(), "PONG");
        wire
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

// ---- client ----

#[derive(Clone, Copy)]
enum Over {
    Tcp,
    Unix,
}

/// The least that a client can be: a socket and a buffer.
struct Wire {
    reader: Box<dyn Read + Send>,
    writer: Box<dyn Write + Send>,
    buffer: Vec<u8>,
    head: usize,
    tail: usize,
}

impl Wire {
    fn new(reader: Box<dyn Read + Send>, writer: Box<dyn Write + Send>) -> Self {
        Self { reader, writer, buffer: vec![0; 1 << 18], head: 0, tail: 0 }
    }

    fn say(&mut self, text: &str) {
        self.writer.write_all(text.as_bytes()).unwrap();
    }

    fn fill(&mut self) {
        self.buffer.copy_within(self.head..self.tail, 0);
        self.tail -= self.head;
        self.head = 0;
        let count = self.reader.read(&mut self.buffer[self.tail..]).expect("the connection holds");
        assert!(count > 0, "the server closed the connection");
        self.tail += count;
    }

    fn line(&mut self) -> String {
        loop {
            let here = &self.buffer[self.head..self.tail];
            if let Some(end) = here.iter().position(|b| *b == b'\n') {
                let line = String::from_utf8_lossy(&here[..end]).trim_end().to_owned();
                self.head += end + 1;
                return line;
            }
            self.fill();
        }
    }

    fn subscribe(&mut self, subject: &str) {
        self.say(&format!("SUB {subject} 1\r\nPING\r\n"));
        assert_eq!(self.line(), "PONG");
    }

    /// Takes every whole message at hand, at least one; all are of `size` bytes on the wire.
    fn take(&mut self, size: usize) -> usize {
        let mut count = 0;
        loop {
            while self.tail - self.head >= 6 && self.buffer[self.head] == b'P' {
                self.head += 6;
                self.say("PONG\r\n");
            }
            let whole = (self.tail - self.head) / size;
            // Messages are all alike; a PING between them is found because it is where a message should start.
            let run = (0..whole).take_while(|n| self.buffer[self.head + n * size] == b'M').count();
            self.head += run * size;
            count += run;
            if count > 0 && run == whole {
                return count;
            }
            if run == 0 {
                self.fill();
            }
        }
    }
}

fn publication(subject: &str) -> Vec<u8> {
    format!("PUB {subject} {PAYLOAD_BYTES}\r\n{}\r\n", "x".repeat(PAYLOAD_BYTES)).into_bytes()
}

fn delivery_size(subject: &str) -> usize {
    format!("MSG {subject} 1 {PAYLOAD_BYTES}\r\n").len() + PAYLOAD_BYTES + 2
}

/// Messages per second until every subscriber has them all.
fn throughput(server: &Server, over: Over, count: usize, subscribers: usize) -> f64 {
    let got: Arc<Vec<AtomicUsize>> = Arc::new((0..subscribers).map(|_| AtomicUsize::new(0)).collect());
    let ready = Arc::new(Barrier::new(subscribers + 1));
    let readers: Vec<_> = (0..subscribers)
        .map(|me| {
            let (mut wire, got, ready) = (server.client(over), got.clone(), ready.clone());
            thread::spawn(move || {
                wire.subscribe(SUBJECT);
                ready.wait();
                let mut seen = 0;
                while seen < count {
                    seen += wire.take(delivery_size(SUBJECT));
                    got[me].store(seen, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let mut publisher = server.client(over);
    let batch = publication(SUBJECT).repeat(256);
    let one = batch.len() / 256;
    ready.wait();
    let begun = Instant::now();
    let mut sent = 0;
    while sent < count {
        let slowest = got.iter().map(|g| g.load(Ordering::Relaxed)).min().unwrap_or(0);
        let room = (slowest + WINDOW - sent).min(256).min(count - sent);
        if room < 64.min(count - sent) {
            thread::sleep(Duration::from_micros(20));
            continue;
        }
        publisher.writer.write_all(&batch[..room * one]).unwrap();
        sent += room;
    }
    for reader in readers {
        reader.join().unwrap();
    }
    count as f64 / begun.elapsed().as_secs_f64()
}

/// Microseconds of `count` round trips: p50 and p99.
fn quantiles(mut times: Vec<f64>) -> (f64, f64) {
    times.sort_by(f64::total_cmp);
    (times[times.len() / 2], times[times.len() * 99 / 100])
}

fn round_trip(server: &Server, over: Over, count: usize) -> (f64, f64) {
    let (ping, pong) = ("bench.ping", "bench.pong");
    let mut service = server.client(over);
    service.subscribe(ping);
    let mut asker = server.client(over);
    asker.subscribe(pong);
    let answers = thread::spawn(move || {
        let answer = publication(pong);
        for _ in 0..count + 500 {
            service.take(delivery_size(ping));
            service.writer.write_all(&answer).unwrap();
        }
    });
    let request = publication(ping);
    let times = (0..count + 500).map(|_| {
        let begun = Instant::now();
        asker.writer.write_all(&request).unwrap();
        asker.take(delivery_size(pong));
        begun.elapsed().as_secs_f64() * 1e6
    });
    let result = quantiles(times.skip(500).collect());
    answers.join().unwrap();
    result
}

fn bare_echo(server: &Server, over: Over, count: usize) -> (f64, f64) {
    let mut wire = server.dial(over);
    let mut payload = [b'x'; PAYLOAD_BYTES];
    let times = (0..count + 500).map(|_| {
        let begun = Instant::now();
        wire.writer.write_all(&payload).unwrap();
        wire.reader.read_exact(&mut payload).unwrap();
        begun.elapsed().as_secs_f64() * 1e6
    });
    quantiles(times.skip(500).collect())
}

// ---- comparison ----

#[derive(Default)]
struct Series(Vec<f64>);

impl Series {
    fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
    }

    fn show(&self, unit: f64) -> String {
        let low = self.0.iter().copied().fold(f64::INFINITY, f64::min);
        let high = self.0.iter().copied().fold(0.0, f64::max);
        format!("{:>8.2}  ({:.2} – {:.2})", self.median() / unit, low / unit, high / unit)
    }
}

fn compare(rounds: usize, only: Option<&str>) {
    let dir = tempfile::tempdir().unwrap();
    let ours = Server::own("broker", dir.path());
    let floor = Server::own("echo", dir.path());
    let nats = (only != Some("ours")).then(|| Server::nats(dir.path()));
    let names = ["grace TCP", "grace Unix", "nats-server TCP"];
    let mut rates: [[Series; 2]; 3] = Default::default();
    let mut trips: [[Series; 2]; 5] = Default::default();
    for _ in 0..rounds {
        for (which, subscribers) in [1, 4].into_iter().enumerate() {
            let count = if subscribers == 1 { 600_000 } else { 250_000 };
            if only != Some("nats") {
                rates[0][which].0.push(throughput(&ours, Over::Tcp, count, subscribers));
                rates[1][which].0.push(throughput(&ours, Over::Unix, count, subscribers));
            }
            if let Some(nats) = &nats {
                rates[2][which].0.push(throughput(nats, Over::Tcp, count, subscribers));
            }
        }
        let mut note = |place: usize, (p50, p99)| {
            trips[place][0].0.push(p50);
            trips[place][1].0.push(p99);
        };
        if only != Some("nats") {
            note(0, round_trip(&ours, Over::Tcp, 8000));
            note(1, round_trip(&ours, Over::Unix, 8000));
        }
        if let Some(nats) = &nats {
            note(2, round_trip(nats, Over::Tcp, 8000));
        }
        note(3, bare_echo(&floor, Over::Tcp, 8000));
        note(4, bare_echo(&floor, Over::Unix, 8000));
    }
    println!(
        "{PAYLOAD_BYTES} B, 20 users with 22 rules, {rounds} rounds in turn: median (lowest – highest)\n"
    );
    for (which, title) in ["1 → 1, million messages/s", "1 → 4, million published/s"].into_iter().enumerate()
    {
        println!("{title}");
        for (name, series) in names.iter().zip(&rates).filter(|(_, s)| !s[which].0.is_empty()) {
            println!("  {name:<22} {}", series[which].show(1e6));
        }
        if only.is_some() {
            continue;
        }
        let base = rates[2][which].median();
        println!(
            "  ratio to nats-server   TCP {:.2}, Unix {:.2}\n",
            rates[0][which].median() / base,
            rates[1][which].median() / base
        );
    }
    println!("round trip, µs, p50 then p99");
    let names = [names[0], names[1], names[2], "floor: bare echo TCP", "floor: bare echo Unix"];
    for (name, series) in names.iter().zip(&trips).filter(|(_, s)| !s[0].0.is_empty()) {
        println!("  {name:<22} {}   {}", series[0].show(1.0), series[1].show(1.0));
    }
    if only.is_some() {
        return;
    }
    let ratio = |q: usize, a: usize| trips[a][q].median() / trips[2][q].median();
    println!(
        "  ratio to nats-server   TCP p50 {:.2}, p99 {:.2}; Unix p50 {:.2}, p99 {:.2}",
        ratio(0, 0),
        ratio(1, 0),
        ratio(0, 1),
        ratio(1, 1)
    );
}
