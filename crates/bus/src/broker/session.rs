//! What a client's bytes do: framing, CONNECT, SUB, UNSUB, PING. Messages go on to `route`.

use grace_types::time::Monotonic;

use super::{
    Broker, BrokerEvent, CloseReason, ConnId, Direction,
    connection::{Flags, Sid, State, Sub},
    route::Target,
};
use crate::{
    auth::Verdict,
    limits,
    protocol::{Bounds, Frame, ParseError, Progress, info::ConnectOptions, parse},
    subject,
};

impl Broker {
    /// Bytes came from a client. Returns how many were taken: fewer than given if a lot of output was made, so that
    /// the shell can write before it goes on with the rest.
    pub fn receive(&mut self, id: ConnId, bytes: &[u8], now: Monotonic) -> usize {
        self.out.produced = 0;
        let ping_interval = self.config.ping_interval;
        let Some(connection) = self.get_mut(id) else { return bytes.len() };
        if connection.state == State::Open {
            connection.last_heard = now;
            connection.pings_out = 0;
            connection.deadline = now.plus(ping_interval);
        }
        let taken = self.frames(id, bytes, now);
        self.tally.bytes_in += taken as u64;
        taken
    }

    fn frames(&mut self, id: ConnId, bytes: &[u8], now: Monotonic) -> usize {
        let mut at = 0;
        while at < bytes.len() {
            let Some(connection) = self.get_mut(id) else { return bytes.len() };
            let bounds = match connection.state {
                // Nobody gets a large buffer before they have said who they are.
                State::Greeted => Bounds { payload: 0, ..Bounds::default() },
                State::Open => Bounds { payload: self.config.max_payload_bytes, ..Bounds::default() },
                State::Closing | State::Dead => return bytes.len(),
            };
            if self.out.produced >= limits::OUTPUT_PER_CALL_BYTES {
                return at;
            }
            let rest = &bytes[at..];
            let partial = self.get_mut(id).map(|c| std::mem::take(&mut c.partial)).unwrap_or_default();
            if partial.is_empty() {
                at += self.frame(id, rest, bounds, now);
            } else {
                at += self.joined_frame(id, partial, rest, bounds, now);
            }
        }
        at
    }

    /// Takes one frame off the front of `rest`; keeps a partial one.
    fn frame(&mut self, id: ConnId, rest: &[u8], bounds: Bounds, now: Monotonic) -> usize {
        match parse(rest, bounds) {
            Ok(Progress::Frame(frame, used)) => {
                self.handle(id, frame, now);
                used
            }
            Ok(Progress::Incomplete { need, line }) => {
                self.keep_partial(id, rest.to_vec(), need, line, now);
                rest.len()
            }
            Err(error) => {
                self.protocol_error(id, error, now);
                rest.len()
            }
        }
    }

    /// Completes a partial frame with as much of `rest` as it needs, and not a byte more: what follows is parsed
    /// where it lies.
    fn joined_frame(
        &mut self,
        id: ConnId,
        mut partial: Vec<u8>,
        rest: &[u8],
        bounds: Bounds,
        now: Monotonic,
    ) -> usize {
        let Some(connection) = self.get_mut(id) else { return rest.len() };
        let wanted = if connection.partial_line {
            memchr::memchr(b'\n', rest).map_or(rest.len(), |feed| feed + 1).min(bounds.line)
        } else {
            (connection.partial_need - partial.len()).min(rest.len())
        };
        self.out.buffered -= partial.len();
        partial.extend_from_slice(&rest[..wanted]);
        match parse(&partial, bounds) {
            Ok(Progress::Frame(frame, _)) => self.handle(id, frame, now),
            Ok(Progress::Incomplete { need, line }) => self.keep_partial(id, partial, need, line, now),
            Err(error) => self.protocol_error(id, error, now),
        }
        wanted
    }

    fn keep_partial(&mut self, id: ConnId, mut partial: Vec<u8>, need: usize, line: bool, now: Monotonic) {
        if !line {
            partial.reserve_exact(need - partial.len());
        }
        self.out.buffered += partial.len();
        if let Some(connection) = self.get_mut(id) {
            connection.partial = partial;
            connection.partial_need = need;
            connection.partial_line = line;
        }
        self.enforce_bounds(now);
    }

    fn protocol_error(&mut self, id: ConnId, error: ParseError, now: Monotonic) {
        let open = self.get(id).is_some_and(|c| c.state == State::Open);
        let reason = match error {
            _ if !open => CloseReason::AuthorizationViolation,
            ParseError::LineTooLong => CloseReason::MaxControlLine,
            ParseError::PayloadTooLarge => CloseReason::MaxPayload,
            ParseError::UnknownOperation => {
                CloseReason::ProtocolError { detail: "Unknown Protocol Operation".to_owned() }
            }
            ParseError::BadArguments | ParseError::MissingCrLf => {
                CloseReason::ProtocolError { detail: "Parser Error".to_owned() }
            }
        };
        self.fail(id, reason, now);
    }

    fn handle(&mut self, id: ConnId, frame: Frame<'_>, now: Monotonic) {
        let Some(connection) = self.connections.get_mut(id.slot()).and_then(Option::as_mut) else { return };
        match (connection.state, frame) {
            (_, Frame::Ping) => connection.write(&mut self.out, &[b"PONG\r\n"]),
            (_, Frame::Pong) => {}
            (State::Greeted, Frame::Connect(json)) => self.sign_in(id, json, now),
            (State::Greeted, _) => self.fail(id, CloseReason::AuthorizationViolation, now),
            (_, Frame::Publish { subject, reply, payload }) => self.publish(id, subject, reply, payload, now),
            (_, Frame::Subscribe { subject, queue, sid }) => self.subscribe(id, subject, queue, sid, now),
            (_, Frame::Unsubscribe { sid, max }) => self.unsubscribe(id, sid, max),
            (_, Frame::Connect(_) | Frame::Info(_) | Frame::Deliver { .. } | Frame::Ok | Frame::Error(_)) => {
                self.fail(
                    id,
                    CloseReason::ProtocolError { detail: "Unknown Protocol Operation".to_owned() },
                    now,
                );
            }
        }
    }

    fn sign_in(&mut self, id: ConnId, json: &[u8], now: Monotonic) {
        let ping_interval = self.config.ping_interval;
        let Some(connection) = self.connections.get_mut(id.slot()).and_then(Option::as_mut) else { return };
        let account = serde_json::from_slice::<ConnectOptions>(json)
            .ok()
            .and_then(|options| Some((self.authority.authenticate(&options, &connection.nonce)?, options)));
        let Some((account, options)) = account else {
            return self.fail(id, CloseReason::AuthorizationViolation, now);
        };
        connection.flags = Flags {
            verbose: options.verbose,
            echo: options.echo,
            headers: options.headers,
            no_responders: options.no_responders && options.headers,
        };
        connection.name = options.name.map(|n| n.chars().take(128).collect());
        connection.state = State::Open;
        connection.last_heard = now;
        connection.deadline = now.plus(ping_interval);
        let event = BrokerEvent::Connected {
            connection: id.serial(),
            user: account.name.clone(),
            name: connection.name.clone(),
            peer: connection.peer.clone(),
        };
        connection.account = Some(account);
        self.acknowledge(id);
        self.emit(event);
    }

    /// +OK, for a verbose client.
    pub(super) fn acknowledge(&mut self, id: ConnId) {
        if let Some(connection) = self.connections[id.slot()].as_mut()
            && connection.flags.verbose
        {
            connection.write(&mut self.out, &[b"+OK\r\n"]);
        }
    }

    fn subscribe(&mut self, id: ConnId, subject: &[u8], queue: Option<&[u8]>, sid: &[u8], now: Monotonic) {
        let (max, memory) = (self.config.max_subscriptions, self.subscription_memory);
        let Some(connection) = self.connections[id.slot()].as_mut() else { return };
        let Some(sid) = Sid::new(sid) else {
            return self.fail(id, CloseReason::ProtocolError { detail: "Parser Error".to_owned() }, now);
        };
        let queue_is_bad = queue.is_some_and(|q| subject::validate_literal(q).is_err());
        if subject::validate_pattern(subject).is_err() || queue_is_bad {
            return self.error(id, "Invalid Subject");
        }
        let verdict = connection.account.as_ref().map_or(Verdict::Denied, |a| a.may_subscribe(subject));
        if verdict == Verdict::Denied {
            return self.refuse_subscription(id, subject, queue);
        }
        if connection.subscriptions.find(sid).is_none() {
            let sub = Sub {
                sid,
                subject: subject.into(),
                queue: queue.map(Into::into),
                delivered: 0,
                max: None,
                filtered: verdict == Verdict::Filtered,
            };
            let cost = sub.cost();
            if connection.subscriptions.len() >= max
                || connection.subscriptions.cost + cost > limits::SUBSCRIPTION_MEMORY_PER_CONNECTION
                || memory + cost > limits::SUBSCRIPTION_MEMORY
            {
                return self.fail(id, CloseReason::MaxSubscriptions, now);
            }
            self.subscription_memory += cost;
            let sub = connection.subscriptions.insert(sub);
            self.matcher.insert(subject, queue, Target { connection: id.slot, sub });
        }
        self.acknowledge(id);
    }

    fn refuse_subscription(&mut self, id: ConnId, subject: &[u8], queue: Option<&[u8]>) {
        let subject = String::from_utf8_lossy(subject);
        let mut text = format!("Permissions Violation for Subscription to \"{subject}\"");
        if let Some(queue) = queue {
            text.push_str(&format!(" using queue \"{}\"", String::from_utf8_lossy(queue)));
        }
        self.error(id, &text);
        self.violation(id, Direction::Subscribe, &subject);
    }

    /// Counts a violation and tells the owner.
    pub(super) fn violation(&mut self, id: ConnId, direction: Direction, subject: &str) {
        let Some(user) = self.get(id).and_then(|c| c.user()) else { return };
        self.tally.permission_violations += 1;
        let count = self.violations.count(&user, direction, subject);
        let subject = subject.to_owned();
        self.emit(BrokerEvent::PermissionViolation {
            connection: id.serial(),
            user,
            direction,
            subject,
            count,
        });
    }

    fn unsubscribe(&mut self, id: ConnId, sid: &[u8], max: Option<u64>) {
        let Some(connection) = self.connections[id.slot()].as_mut() else { return };
        let found = Sid::new(sid).and_then(|sid| connection.subscriptions.find(sid));
        if let Some(slot) = found
            && let Some(sub) = connection.subscriptions.get_mut(slot)
        {
            // UNSUB with 0 is at once, as in nats-server.
            match max.filter(|m| *m > sub.delivered) {
                Some(max) => sub.max = Some(max),
                None => self.end_subscription(Target { connection: id.slot, sub: slot }),
            }
        }
        self.acknowledge(id);
    }

    pub(super) fn end_subscription(&mut self, target: Target) {
        let Some(connection) = self.connections[target.connection as usize].as_mut() else { return };
        if let Some(sub) = connection.subscriptions.remove(target.sub) {
            self.subscription_memory -= sub.cost();
            self.matcher.remove(&sub.subject, sub.queue.as_deref(), target);
        }
    }

    /// Ends the subscriptions that the connection's account may no longer have.
    pub(super) fn recheck_subscriptions(&mut self, id: ConnId, now: Monotonic) {
        let Some(connection) = self.connections[id.slot()].as_mut() else { return };
        let Some(account) = connection.account.clone() else { return };
        let verdicts: Vec<_> = connection
            .subscriptions
            .iter()
            .map(|(slot, sub)| (slot, account.may_subscribe(&sub.subject)))
            .collect();
        for (slot, verdict) in verdicts {
            let Some(sub) = self.connections[id.slot()].as_mut().and_then(|c| c.subscriptions.get_mut(slot))
            else {
                continue;
            };
            sub.filtered = verdict == Verdict::Filtered;
            if verdict == Verdict::Denied {
                let (subject, queue) = (sub.subject.clone(), sub.queue.clone());
                self.end_subscription(Target { connection: id.slot, sub: slot });
                self.refuse_subscription(id, &subject, queue.as_deref());
            }
        }
        self.enforce_bounds(now);
    }
}
