//! The client's side of the control socket. Blocking, with a limit on every wait.
//!
//! Two things are told apart, because a person does different things about them: nothing runs (`not_running`), and
//! something runs that does not answer (`not_reachable`). Both are exit status 3. The guardian holds the listening
//! socket, so while it lives a connection is always taken, and waits there for the next control plane if one just died.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    time::Duration,
};

use grace_core::{
    control::{Answer, Request},
    instance::Instance,
    status::Status,
};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};

use crate::{
    failure::{Exit, Failure},
    limits,
};

/// The state of everything.
pub(crate) fn status(instance: &Instance) -> Result<Status, Failure> {
    for _ in 0..limits::QUESTION_TRIES {
        if let Some(status) = status_within(instance, limits::ANSWER_TIME)? {
            return Ok(status);
        }
    }
    Err(lost(instance))
}

/// The same, asked once and waited for so long; `None` when the control plane ends before it answers.
pub(crate) fn status_within(instance: &Instance, patience: Duration) -> Result<Option<Status>, Failure> {
    match open(instance, &Request::Status)?.next(Some(patience))? {
        Some(Answer::Status(status)) => Ok(Some(*status)),
        Some(other) => Err(other_than_asked(instance, &other)),
        None => Ok(None),
    }
}

/// Asks to do something; what happens now, in a sentence. It is asked once: when the control plane dies before it
/// answers, it may or may not have been done, and the person decides.
pub(crate) fn order(instance: &Instance, request: &Request) -> Result<String, Failure> {
    match ask(instance, request)? {
        Answer::Done { message } => Ok(message),
        other => Err(other_than_asked(instance, &other)),
    }
}

/// Asks once; the answer, whatever it is.
pub(crate) fn ask(instance: &Instance, request: &Request) -> Result<Answer, Failure> {
    open(instance, request)?.next(Some(limits::ANSWER_TIME))?.ok_or_else(|| lost(instance))
}

/// The state of everything, now and after each change.
pub(crate) fn watch(instance: &Instance) -> Result<Watch, Failure> {
    Ok(Watch { connection: open(instance, &Request::Watch)?, first: true })
}

/// See [`watch`]. Ends when the control plane closes the connection.
pub(crate) struct Watch {
    connection: Connection,
    first: bool,
}

impl Iterator for Watch {
    type Item = Result<Status, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        // The first comes at once; the next when something changes, however long that takes.
        let patience = std::mem::take(&mut self.first).then_some(limits::ANSWER_TIME);
        match self.connection.next(patience) {
            Ok(None) => None,
            Ok(Some(Answer::Status(status))) => Some(Ok(*status)),
            Ok(Some(other)) => Some(Err(other_than_asked(&self.connection.instance, &other))),
            Err(failure) => Some(Err(failure)),
        }
    }
}

struct Connection {
    instance: Instance,
    reader: BufReader<UnixStream>,
}

impl Connection {
    /// The next answer; `None` when the other side has closed.
    fn next(&mut self, patience: Option<Duration>) -> Result<Option<Answer>, Failure> {
        let mut line = Vec::new();
        let timed = self.reader.get_ref().set_read_timeout(patience);
        let read =
            timed.and_then(|()| (&mut self.reader).take(limits::ANSWER_BYTES).read_until(b'\n', &mut line));
        match read {
            // A line without its end was cut off by the death of the control plane.
            Ok(_) if line.last() != Some(&b'\n') && (line.len() as u64) < limits::ANSWER_BYTES => Ok(None),
            Ok(_) => serde_json::from_slice(&line)
                .map(Some)
                .map_err(|e| broken(&self.instance, &io::Error::new(io::ErrorKind::InvalidData, e))),
            Err(e) if e.kind() == io::ErrorKind::ConnectionReset => Ok(None),
            Err(e) => Err(broken(&self.instance, &e)),
        }
    }
}

/// Connects and sends the request.
fn open(instance: &Instance, request: &Request) -> Result<Connection, Failure> {
    let send = || {
        let stream = connect(instance)?;
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        (&stream).write_all(&line)?;
        Ok(Connection { instance: instance.clone(), reader: BufReader::new(stream) })
    };
    send().map_err(|e: io::Error| broken(instance, &e))
}

/// The time limit is set first: with the control plane stopped and its backlog full, connecting would block for ever.
fn connect(instance: &Instance) -> io::Result<UnixStream> {
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(limits::ANSWER_TIME))?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(instance.control_socket())?)?;
    Ok(socket.into())
}

/// A refusal, with the exit status that fits its code.
fn refused(code: &str, message: &str, help: &str) -> Failure {
    let exit = match code {
        "not_found" | "bad_request" => Exit::Usage,
        "forbidden" => Exit::Unreachable,
        _ => Exit::Failed,
    };
    Failure::new(exit, code, message).help(help)
}

fn lost(instance: &Instance) -> Failure {
    let what = "the control plane ended before it answered";
    Failure::new(Exit::Unreachable, "not_reachable", what)
        .at(&instance.control_socket().display())
        .help("the guardian starts a new one; see with `grace status` whether it was done")
}

fn broken(instance: &Instance, error: &io::Error) -> Failure {
    let unreachable = |what: String| {
        Failure::new(Exit::Unreachable, "not_reachable", what).at(&instance.control_socket().display())
    };
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            Failure::new(Exit::Unreachable, "not_running", "Grace is not running")
                .at(&instance.data().display())
                .help("start it with `grace up`, or name another instance with --data DIR")
        }
        io::ErrorKind::PermissionDenied => {
            Failure::new(Exit::Unreachable, "forbidden", "this instance belongs to another user")
                .at(&instance.data().display())
                .help("run the command as that user")
        }
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => unreachable(format!(
            "the control plane did not answer within {} s",
            limits::ANSWER_TIME.as_secs()
        ))
        .help("it may be stopped, or its disk may hang; the guardian replaces it soon: try again"),
        io::ErrorKind::InvalidData => unreachable(format!("the answer makes no sense: {error}"))
            .help("are the Grace that runs and this one of the same version?"),
        _ => unreachable(format!("the control socket fails: {error}"))
            .help("try again; `grace doctor` looks at the data folder"),
    }
}

fn other_than_asked(instance: &Instance, answer: &Answer) -> Failure {
    match answer {
        Answer::Refused { code, message, help } => refused(code, message, help),
        Answer::Status(_) | Answer::Done { .. } => {
            let what = io::Error::new(io::ErrorKind::InvalidData, "it answers another question");
            broken(instance, &what)
        }
    }
}
