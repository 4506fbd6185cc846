//! beanstalkd with a sync for each job (`-f0`): put, reserve, delete, over one connection for each sender and worker.

use std::{
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    BODY_BYTES, PACE, PACED, Queue, Run, SENDERS, WORKERS,
    server::{Line, Server, free_port},
};

pub(super) struct Beanstalkd;

impl Queue for Beanstalkd {
    fn throughput(&self, run: Run) -> Result<f64, String> {
        let server = start()?;
        let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let senders: Vec<Line> = (0..SENDERS).map(|_| server.connect()).collect();
        let workers: Vec<Line> = (0..run.workers).map(|_| server.connect()).collect();
        let begun = Instant::now();
        let last = Mutex::new(begun);
        std::thread::scope(|scope| {
            for mut worker in workers {
                let (done, last) = (&done, &last);
                scope.spawn(move || {
                    while done.load(Ordering::Relaxed) < run.tasks {
                        if work(&mut worker).is_some() {
                            done.fetch_add(1, Ordering::Relaxed);
                            *last.lock().unwrap() = Instant::now();
                        }
                    }
                });
            }
            for mut sender in senders {
                let next = &next;
                scope.spawn(move || {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= run.tasks {
                            break;
                        }
                        put(&mut sender, number);
                    }
                });
            }
        });
        let last = *last.lock().unwrap();
        Ok(run.tasks as f64 / (last - begun).as_secs_f64())
    }

    fn latency(&self) -> Result<Vec<f64>, String> {
        let server = start()?;
        let sent = Mutex::new(vec![None::<Instant>; PACED]);
        let took = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..WORKERS {
                let mut worker = server.connect();
                let (sent, took) = (&sent, &took);
                scope.spawn(move || {
                    while took.lock().unwrap().len() < PACED {
                        if let Some(number) = work(&mut worker) {
                            let begun = sent.lock().unwrap()[number].expect("it was sent");
                            took.lock().unwrap().push(begun.elapsed().as_secs_f64() * 1e3);
                        }
                    }
                });
            }
            let mut sender = server.connect();
            let begun = Instant::now();
            for number in 0..PACED {
                let due = Duration::from_secs_f64(number as f64 / PACE as f64);
                std::thread::sleep(due.saturating_sub(begun.elapsed()));
                sent.lock().unwrap()[number] = Some(Instant::now());
                put(&mut sender, number);
            }
        });
        Ok(took.into_inner().unwrap())
    }
}

fn start() -> Result<Server, String> {
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let port = free_port();
    let mut command = Command::new("beanstalkd");
    command.args(["-l", "127.0.0.1", "-p", &port.to_string(), "-f0", "-b"]).arg(folder.path());
    Server::start(&mut command, folder, port)
}

fn put(line: &mut Line, number: usize) {
    line.send(format!("put 0 0 60 {BODY_BYTES}\r\n{number:0BODY_BYTES$}\r\n").as_bytes());
    let answer = line.line();
    assert!(answer.starts_with("INSERTED"), "{answer}");
}

/// Takes a task and deletes it; its number, or nothing after a second without one.
fn work(line: &mut Line) -> Option<usize> {
    line.send(b"reserve-with-timeout 1\r\n");
    let answer = line.line();
    let mut words = answer.split(' ');
    if words.next() != Some("RESERVED") {
        return None;
    }
    let id = words.next().expect("an id");
    let number = String::from_utf8(line.body(BODY_BYTES)).unwrap().parse().unwrap();
    line.send(format!("delete {id}\r\n").as_bytes());
    assert_eq!(line.line(), "DELETED");
    Some(number)
}
