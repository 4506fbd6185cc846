//! A program that does what its arguments say, one after the other: what the tests let Grace run.
//!
//! ```text
//! puppet say=hello until=/tmp/gate notify=READY=1 beat=100
//! ```
//!
//! A verb that begins something in the background (`http`, `tcp`, `ignore-term`) returns at once; `wait` and `beat` never
//! return. After the last verb it ends with status 0.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, TcpListener},
    os::unix::{net::UnixDatagram, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio, exit},
    thread,
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};
use signal_hook::{consts::SIGTERM, iterator::Signals};

fn main() -> io::Result<()> {
    for step in std::env::args().skip(1) {
        let (verb, value) = step.split_once('=').unwrap_or((&step, ""));
        perform(verb, value)?;
    }
    Ok(())
}

fn perform(verb: &str, value: &str) -> io::Result<()> {
    match verb {
        // Output.
        "say" => println!("{value}"),
        "complain" => eprintln!("{value}"),
        "flood" => flood(number(value))?,
        "count" => count(Duration::from_millis(number(value)))?,
        "environment" => std::env::vars().for_each(|(name, value)| println!("{name}={value}")),
        // Files.
        "until" => until(Path::new(value)),
        // The life line.
        "notify" => notify(value)?,
        "beat" => loop {
            notify("WATCHDOG=1")?;
            pause(Duration::from_millis(number(value)));
        },
        // Servers.
        "http" => http(value)?,
        "tcp" => {
            let listener = listen(value)?;
            thread::spawn(move || listener.incoming().for_each(drop));
        }
        // Resources.
        "open" => open_files(number(value)),
        "allocate" => allocate(number(value)),
        // Life and death.
        "ignore-term" => drop(Signals::new([SIGTERM])?),
        "stamp" => stamp_at_term(value.into())?,
        "leave-session" => drop(rustix::process::setsid()),
        "daemon" => daemon(value)?,
        "child" => child(value)?,
        "exit" => exit(i32::try_from(number(value)).unwrap_or(1)),
        "wait" => loop {
            thread::park();
        },
        _ => {
            eprintln!("puppet: there is no verb `{verb}`");
            exit(64);
        }
    }
    io::stdout().flush()
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or_else(|_| {
        eprintln!("puppet: `{text}` is not a number");
        exit(64)
    })
}

fn pause(time: Duration) {
    // It may wake early, which no test minds.
    thread::park_timeout(time);
}

/// One line of so many bytes.
fn flood(bytes: u64) -> io::Result<()> {
    io::copy(&mut io::repeat(b'x').take(bytes), &mut io::stdout())?;
    println!();
    Ok(())
}

/// 1, 2, 3 …, one a line, for ever.
fn count(pause_between: Duration) -> io::Result<()> {
    for n in 1u64.. {
        println!("{n}");
        io::stdout().flush()?;
        pause(pause_between);
    }
    Ok(())
}

fn until(path: &Path) {
    while !path.exists() {
        pause(Duration::from_millis(5));
    }
}

/// Assignments are separated by `;`.
fn notify(text: &str) -> io::Result<()> {
    let socket = std::env::var_os("NOTIFY_SOCKET").unwrap_or_default();
    UnixDatagram::unbound()?.send_to(text.replace(';', "\n").as_bytes(), socket)?;
    Ok(())
}

fn listen(port: &str) -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, u16::try_from(number(port)).unwrap_or_default()))
}

/// `PORT:FILE`: status 200 while the file is there, 503 while it is not.
fn http(value: &str) -> io::Result<()> {
    let (port, file) = value.split_once(':').unwrap_or((value, "/"));
    let (listener, file) = (listen(port)?, PathBuf::from(file));
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 1024];
            let _ = stream.read(&mut request);
            let status = if file.exists() { "200 OK" } else { "503 Service Unavailable" };
            let _ = write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        }
    });
    Ok(())
}

/// Tries to have so many descriptors open at once.
fn open_files(wanted: u64) {
    let opened: Vec<File> = (0..wanted).map_while(|_| File::open("/dev/null").ok()).collect();
    println!("opened {} of {wanted}", opened.len());
}

fn allocate(bytes: u64) {
    let mut memory: Vec<u8> = Vec::new();
    match memory.try_reserve_exact(usize::try_from(bytes).unwrap_or(usize::MAX)) {
        Ok(()) => println!("got {bytes} bytes"),
        Err(_) => println!("was refused {bytes} bytes"),
    }
}

/// At SIGTERM, notes the time in nanoseconds and its component's name in a file, and ends.
fn stamp_at_term(file: PathBuf) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM])?;
    thread::spawn(move || {
        let _ = signals.wait();
        let now = clock_gettime(ClockId::Monotonic);
        let name = std::env::var("GRACE_COMPONENT").unwrap_or_default();
        let line = format!("{:010}{:09} {name}\n", now.tv_sec, now.tv_nsec);
        let written = OpenOptions::new()
            .create(true)
            .append(true)
            .open(file)
            .and_then(|mut f| f.write_all(line.as_bytes()));
        exit(i32::from(written.is_err()));
    });
    Ok(())
}

fn itself(steps: &str) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(steps.split_whitespace()).stdin(Stdio::null());
    Ok(command)
}

/// Lets a process of these steps go, in a session of its own: what a daemon does. Its pid goes to the output.
fn daemon(steps: &str) -> io::Result<()> {
    let child = itself(&format!("leave-session {steps}"))?.spawn()?;
    println!("{}", child.id());
    Ok(())
}

/// Starts a process of these steps in its own process group. Its pid goes to the output.
fn child(steps: &str) -> io::Result<()> {
    let child = itself(steps)?.arg0("puppet-child").spawn()?;
    println!("{}", child.id());
    Ok(())
}
