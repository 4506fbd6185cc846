//! What frames and calls do to the client, without IO.

use std::collections::{HashMap, VecDeque};

use tokio::sync::oneshot;

use crate::{
    client::{BusError, Inlet, Violation, read_violation},
    limits,
    message::Message,
    protocol::{Bounds, Frame, Payload, Progress, encode, headers, info::ServerInfo, parse},
};

/// The inbox's subscription id; others follow.
const INBOX_SID: u64 = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Disconnected,
    Connected,
}

pub(super) struct State {
    pub(super) phase: Phase,
    /// Frames to be written to this connection, or the next.
    pub(super) out: Vec<u8>,
    pub(super) max_payload: usize,
    /// The first subject whose publish was refused since somebody asked.
    pub(super) refused_publish: Option<String>,
    closed: Option<String>,
    subscriptions: HashMap<u64, Entry>,
    last_sid: u64,
    inbox: String,
    inbox_subscribed: bool,
    requests: HashMap<u64, Request>,
    last_token: u64,
    /// Who waits for the answer to each PING, in order.
    pongs: VecDeque<Option<oneshot::Sender<()>>>,
}

struct Entry {
    subject: String,
    queue: Option<String>,
    inlet: Inlet,
}

struct Request {
    subject: String,
    answer: oneshot::Sender<Result<Message, BusError>>,
}

impl State {
    pub(super) fn new(inbox: String) -> Self {
        Self {
            phase: Phase::Disconnected,
            out: Vec::new(),
            max_payload: limits::MAX_PAYLOAD_BYTES,
            refused_publish: None,
            closed: None,
            subscriptions: HashMap::new(),
            last_sid: INBOX_SID,
            inbox,
            inbox_subscribed: false,
            requests: HashMap::new(),
            last_token: 0,
            pongs: VecDeque::new(),
        }
    }

    pub(super) fn check_open(&self) -> Result<(), BusError> {
        match &self.closed {
            None => Ok(()),
            Some(reason) => Err(BusError::Closed { reason: reason.clone() }),
        }
    }

    pub(super) fn next_sid(&mut self) -> u64 {
        self.last_sid += 1;
        self.last_sid
    }

    /// Whether there may be one subscription more.
    pub(super) fn has_room(&self) -> bool {
        self.subscriptions.len() < limits::CLIENT_SUBSCRIPTIONS
    }

    pub(super) fn subscribe(&mut self, sid: u64, subject: &str, queue: Option<&str>, inlet: Inlet) {
        if self.phase == Phase::Connected {
            encode::subscribe(&mut self.out, subject, queue, sid);
        }
        let entry = Entry { subject: subject.to_owned(), queue: queue.map(str::to_owned), inlet };
        self.subscriptions.insert(sid, entry);
    }

    pub(super) fn has_subscription(&self, sid: u64) -> bool {
        self.subscriptions.contains_key(&sid)
    }

    pub(super) fn unsubscribe(&mut self, sid: u64) {
        if self.subscriptions.remove(&sid).is_some() && self.phase == Phase::Connected {
            encode::unsubscribe(&mut self.out, sid, None);
        }
    }

    /// A new request's token, inbox and answer.
    #[expect(clippy::type_complexity, reason = "taken apart where it is called")]
    pub(super) fn begin_request(
        &mut self,
        subject: &str,
    ) -> Result<(u64, String, oneshot::Receiver<Result<Message, BusError>>), BusError> {
        self.check_open()?;
        if self.requests.len() >= limits::CLIENT_REQUESTS {
            return Err(BusError::NotConnected);
        }
        if !self.inbox_subscribed {
            self.inbox_subscribed = true;
            if self.phase == Phase::Connected {
                encode::subscribe(&mut self.out, &format!("{}.*", self.inbox), None, INBOX_SID);
            }
        }
        self.last_token += 1;
        let (answer, receiver) = oneshot::channel();
        self.requests.insert(self.last_token, Request { subject: subject.to_owned(), answer });
        Ok((self.last_token, format!("{}.{}", self.inbox, self.last_token), receiver))
    }

    pub(super) fn end_request(&mut self, token: u64) {
        self.requests.remove(&token);
    }

    /// Sends a PING if there is a connection.
    pub(super) fn ping(&mut self, pong: Option<oneshot::Sender<()>>) -> bool {
        if self.phase == Phase::Disconnected {
            return false;
        }
        self.out.extend_from_slice(b"PING\r\n");
        self.pongs.push_back(pong);
        true
    }

    /// The connection is signed in: everything is subscribed again, before what waits to be sent.
    pub(super) fn up(&mut self) {
        self.phase = Phase::Connected;
        let waiting = std::mem::take(&mut self.out);
        if self.inbox_subscribed {
            encode::subscribe(&mut self.out, &format!("{}.*", self.inbox), None, INBOX_SID);
        }
        for (sid, entry) in &self.subscriptions {
            encode::subscribe(&mut self.out, &entry.subject, entry.queue.as_deref(), *sid);
        }
        self.out.extend_from_slice(&waiting);
    }

    /// The connection is lost.
    pub(super) fn down(&mut self) {
        if self.phase == Phase::Connected {
            self.phase = Phase::Disconnected;
            self.pongs.clear();
            self.keep_publishes();
            for (_, request) in self.requests.drain() {
                let _ = request.answer.send(Err(BusError::NotConnected));
            }
        }
    }

    /// Takes what belonged to the lost connection out of what waits: a PING sent to the next one would be answered
    /// to somebody else. Subscriptions are made anew by [`State::up`].
    fn keep_publishes(&mut self) {
        let waiting = std::mem::take(&mut self.out);
        let mut rest = &waiting[..];
        let bounds = Bounds { line: usize::MAX, payload: usize::MAX };
        while let Ok(Progress::Frame(frame, used)) = parse(rest, bounds) {
            if matches!(frame, Frame::Publish { .. }) {
                self.out.extend_from_slice(&rest[..used]);
            }
            rest = &rest[used..];
        }
    }

    /// Nothing more will come or go.
    pub(super) fn close(&mut self, reason: &str) {
        self.phase = Phase::Disconnected;
        self.closed = Some(reason.to_owned());
        self.out = Vec::new();
        self.pongs.clear();
        self.subscriptions.clear();
        for (_, request) in self.requests.drain() {
            let _ = request.answer.send(Err(BusError::Closed { reason: reason.to_owned() }));
        }
    }

    /// A frame from the broker.
    pub(super) fn take(&mut self, frame: Frame<'_>) {
        match frame {
            Frame::Deliver { subject, sid, reply, payload } => self.deliver(subject, sid, reply, payload),
            Frame::Ping => self.out.extend_from_slice(b"PONG\r\n"),
            Frame::Pong => {
                if let Some(Some(waiting)) = self.pongs.pop_front() {
                    let _ = waiting.send(());
                }
            }
            Frame::Error(text) => self.error(&String::from_utf8_lossy(text)),
            Frame::Info(json) => self.info(json),
            Frame::Ok
            | Frame::Connect(_)
            | Frame::Publish { .. }
            | Frame::Subscribe { .. }
            | Frame::Unsubscribe { .. } => {}
        }
    }

    pub(super) fn info(&mut self, json: &[u8]) {
        if let Ok(info) = serde_json::from_slice::<ServerInfo>(json)
            && info.max_payload > 0
        {
            self.max_payload = info.max_payload;
        }
    }

    fn deliver(&mut self, subject: &[u8], sid: &[u8], reply: Option<&[u8]>, payload: Payload<'_>) {
        let Some(sid) = std::str::from_utf8(sid).ok().and_then(|s| s.parse::<u64>().ok()) else { return };
        // A block that cannot be read is a sender's fault; the payload may still be of use.
        let block = headers::parse(payload.headers()).unwrap_or_default();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let message = || Message {
            subject: text(subject),
            reply: reply.map(text),
            headers: block.headers.clone(),
            payload: bytes::Bytes::copy_from_slice(payload.data()),
        };
        if sid != INBOX_SID {
            if let Some(entry) = self.subscriptions.get(&sid) {
                entry.inlet.push(message());
            }
            return;
        }
        let token = subject
            .rsplit(|b| *b == b'.')
            .next()
            .and_then(|t| std::str::from_utf8(t).ok()?.parse::<u64>().ok());
        let Some(request) = token.and_then(|t| self.requests.remove(&t)) else { return };
        let answer = match block.status {
            Some(503) => Err(BusError::NoResponders { subject: request.subject }),
            _ => Ok(message()),
        };
        let _ = request.answer.send(answer);
    }

    fn error(&mut self, text: &str) {
        match read_violation(text) {
            Some(Violation::Publish(subject)) => {
                let refused: Vec<u64> =
                    self.requests.iter().filter(|(_, r)| r.subject == subject).map(|(t, _)| *t).collect();
                for request in refused.iter().filter_map(|t| self.requests.remove(t)) {
                    let _ = request.answer.send(Err(BusError::PermissionDenied { subject: subject.clone() }));
                }
                if refused.is_empty() {
                    self.refused_publish.get_or_insert(subject);
                }
            }
            Some(Violation::Subscribe(subject)) if subject == format!("{}.*", self.inbox) => {
                self.inbox_subscribed = false;
                for (_, request) in self.requests.drain() {
                    let _ = request.answer.send(Err(BusError::PermissionDenied { subject: subject.clone() }));
                }
            }
            Some(Violation::Subscribe(subject)) => self.subscriptions.retain(|_, e| e.subject != subject),
            // The broker closes the connection after any other error; the task sees that.
            None => tracing::debug!(error = text, "the broker reported an error"),
        }
    }
}
