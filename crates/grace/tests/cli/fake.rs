//! A control plane that answers as it is told, one connection after the other.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::UnixListener,
    path::Path,
    thread::JoinHandle,
};

use grace_core::{control::Request, instance::Instance};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// A test whose client never comes has failed.
const PATIENCE: Timespec = Timespec { tv_sec: 20, tv_nsec: 0 };

/// Listens in `data` and answers each connection with the next of `answers`, verbatim; the connection is then closed.
/// Joining gives the requests.
pub(super) fn control_plane(data: &Path, answers: Vec<String>) -> JoinHandle<Vec<Request>> {
    let instance = Instance::at(data.canonicalize().unwrap());
    std::fs::create_dir_all(instance.run()).unwrap();
    let listener = UnixListener::bind(instance.control_socket()).unwrap();
    std::thread::spawn(move || {
        let mut requests = Vec::new();
        for answer in answers {
            let mut fds = [PollFd::new(&listener, PollFlags::IN)];
            assert_eq!(poll(&mut fds, Some(&PATIENCE)), Ok(1), "nobody asks any more, after {requests:?}");
            let (stream, _) = listener.accept().unwrap();
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).unwrap();
            requests.push(serde_json::from_str(&line).unwrap());
            // The client may give up on nonsense before it has read all of it.
            let _ = (&stream).write_all(answer.as_bytes());
        }
        requests
    })
}

/// A status with one component, as the control plane sends it.
pub(super) fn status(state: &str, component: &str) -> String {
    let status = serde_json::json!({
        "answer": "status", "state": state, "guardian_pid": 4_000_000, "control_plane_pid": 4_000_001,
        "control_plane_restarts": 0, "bus_address": "127.0.0.1:4222", "since": "2026-11-23T08:00:00Z",
        "components": [{
            "name": "web", "layer": 0, "kind": "process", "state": component, "pid": null, "restarts": 1,
            "health": 0.5, "since": "2026-11-23T08:00:01Z", "ready": component == "ready", "critical": false,
        }],
    });
    format!("{status}\n")
}

/// An order that was carried out.
pub(super) fn done(message: &str) -> String {
    format!("{}\n", serde_json::json!({"answer": "done", "message": message}))
}

/// An order that was refused.
pub(super) fn refused(code: &str) -> String {
    let refused =
        serde_json::json!({"answer": "refused", "code": code, "message": "it is not so", "help": "do this"});
    format!("{refused}\n")
}
