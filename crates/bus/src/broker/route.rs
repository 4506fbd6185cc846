//! The way of a message: permission, mapping, matching, delivery.
//!
//! This is the hot path. It allocates nothing for a message on a subject that was seen before: the decision and the
//! recipients come from caches, the first line is put together in a reused buffer, and the payload is copied once
//! per recipient, from the read buffer into the recipient's output.

use grace_types::{chance::Entropy, time::Monotonic};

use super::{Broker, CloseReason, ConnId, Direction, Out, connection::Connection};
use crate::{
    auth::Decision,
    limits,
    protocol::{Payload, encode, headers::NO_RESPONDERS},
    subject,
};

/// A subscription: the connection's slot, and its own within the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) connection: u32,
    pub(super) sub: u32,
}

/// A message in the making, as `scratch` holds it: `MSG <subject> `, then ` [reply ]<sizes>` and the line's end.
struct Wire<'a> {
    first: &'a [u8],
    last: &'a [u8],
    /// The same for a recipient that does not take headers, if there are any.
    plain: Option<(&'a [u8], &'a [u8])>,
    payload: Payload<'a>,
    subject: &'a [u8],
    reply: Option<&'a [u8]>,
    /// Who sent it, for those that want no echo.
    from: Option<u32>,
    max_pending: usize,
    now: Monotonic,
}

impl Broker {
    /// A client's PUB or HPUB.
    pub(super) fn publish(
        &mut self,
        id: ConnId,
        subject: &[u8],
        reply: Option<&[u8]>,
        payload: Payload<'_>,
        now: Monotonic,
    ) {
        self.tally.messages_in += 1;
        let hash = subject::hash(subject);
        let Some(connection) = self.connections[id.slot()].as_mut() else { return };
        connection.messages_in += 1;
        let Some(account) = &connection.account else { return };
        match connection.decisions.decide(account, subject, hash) {
            Decision::Allowed => {}
            Decision::Denied if connection.grants.take(subject, now) => {}
            Decision::Denied => {
                let subject = String::from_utf8_lossy(subject);
                self.error(id, &format!("Permissions Violation for Publish to \"{subject}\""));
                return self.violation(id, Direction::Publish, &subject);
            }
            Decision::Invalid => return self.error(id, "Invalid Publish Subject"),
        }
        if reply.is_some_and(|r| subject::validate_literal(r).is_err()) {
            return self.error(id, "Invalid Publish Subject");
        }
        if !payload.headers().is_empty() && !connection.flags.headers {
            let detail = "message headers not supported".to_owned();
            return self.fail(id, CloseReason::ProtocolError { detail }, now);
        }
        let no_responders = connection.flags.no_responders;
        if connection.flags.verbose {
            self.acknowledge(id);
        }
        let delivered = self.map_and_route(Some(id.slot), subject, hash, reply, payload, now);
        if delivered == 0
            && no_responders
            && let Some(reply) = reply
        {
            self.tally.no_responders += 1;
            self.answer_no_responders(id, reply, now);
        }
        self.enforce_bounds(now);
    }

    /// A message from the broker's owner, which needs no permission. Returns how many received it.
    ///
    /// `headers` is a whole block ([`crate::protocol::headers::encode`]) or empty. A subject that is not a literal
    /// reaches nobody.
    pub fn publish_internal(
        &mut self,
        subject: &str,
        reply: Option<&str>,
        headers: &[u8],
        data: &[u8],
        now: Monotonic,
    ) -> usize {
        if subject::validate_literal(subject.as_bytes()).is_err()
            || headers.len() + data.len() > self.config.max_payload_bytes
        {
            return 0;
        }
        let wire = [headers, data, b"\r\n"].concat();
        let Some(payload) = Payload::new(&wire, headers.len()) else { return 0 };
        self.tally.messages_internal += 1;
        let (subject, reply) = (subject.as_bytes(), reply.map(str::as_bytes));
        let delivered = self.map_and_route(None, subject, subject::hash(subject), reply, payload, now);
        self.enforce_bounds(now);
        delivered
    }

    fn map_and_route(
        &mut self,
        from: Option<u32>,
        subject: &[u8],
        hash: u64,
        reply: Option<&[u8]>,
        payload: Payload<'_>,
        now: Monotonic,
    ) -> usize {
        if self.mappings.is_empty() || !self.mappings.apply(subject, &mut self.dice, &mut self.mapped) {
            return self.route(from, subject, hash, reply, payload, now);
        }
        let mapped = std::mem::take(&mut self.mapped);
        let delivered = self.route(from, &mapped, subject::hash(&mapped), reply, payload, now);
        self.mapped = mapped;
        delivered
    }

    fn route(
        &mut self,
        from: Option<u32>,
        subject: &[u8],
        hash: u64,
        reply: Option<&[u8]>,
        payload: Payload<'_>,
        now: Monotonic,
    ) -> usize {
        let found = self.matcher.matches(subject, hash);
        if found.plain.is_empty() && found.queues.is_empty() {
            return 0;
        }
        let parts = first_lines(&mut self.scratch, subject, reply, payload);
        let wire = Wire {
            max_pending: self.config.max_pending_bytes,
            subject,
            reply,
            from,
            now,
            ..parts.on(&self.scratch, payload)
        };
        let mut delivered = 0;
        for target in &found.plain {
            delivered += usize::from(deliver(&mut self.connections, &mut self.out, *target, &wire));
        }
        for members in &found.queues {
            let start = if members.len() > 1 { self.dice.below(members.len() as u64) as usize } else { 0 };
            let (before, after) = members.split_at(start);
            for target in after.iter().chain(before) {
                if deliver(&mut self.connections, &mut self.out, *target, &wire) {
                    delivered += 1;
                    break;
                }
            }
        }
        self.tally.messages_out += delivered as u64;
        while let Some(target) = self.out.finished.pop() {
            self.end_subscription(target);
        }
        delivered
    }

    /// Tells a client that nobody heard its request, on whichever of its own subscriptions listens for the answer.
    fn answer_no_responders(&mut self, id: ConnId, reply: &[u8], now: Monotonic) {
        let found = self.matcher.matches(reply, subject::hash(reply));
        let members = found.queues.iter().flatten();
        let Some(target) = found.plain.iter().chain(members).copied().find(|t| t.connection == id.slot)
        else {
            return;
        };
        let wire = [NO_RESPONDERS, b"\r\n"].concat();
        let Some(payload) = Payload::new(&wire, NO_RESPONDERS.len()) else { return };
        let parts = first_lines(&mut self.scratch, reply, None, payload);
        let wire = Wire {
            max_pending: self.config.max_pending_bytes,
            subject: reply,
            now,
            ..parts.on(&self.scratch, payload)
        };
        deliver(&mut self.connections, &mut self.out, target, &wire);
        while let Some(target) = self.out.finished.pop() {
            self.end_subscription(target);
        }
    }
}

/// Where in the scratch buffer the pieces of the first line end.
struct FirstLines {
    first: usize,
    last: usize,
    plain_last: usize,
    headed: bool,
}

/// `HMSG subject `, ` reply sizes`, and if there are headers the second piece again without them. The piece
/// `MSG subject ` is the first one less its first letter.
fn first_lines(
    scratch: &mut Vec<u8>,
    subject: &[u8],
    reply: Option<&[u8]>,
    payload: Payload<'_>,
) -> FirstLines {
    scratch.clear();
    scratch.extend_from_slice(b"HMSG ");
    scratch.extend_from_slice(subject);
    scratch.push(b' ');
    let first = scratch.len();
    let mut tail = |header_len: usize, size: usize| {
        scratch.push(b' ');
        if let Some(reply) = reply {
            scratch.extend_from_slice(reply);
            scratch.push(b' ');
        }
        encode::sizes(scratch, header_len, size);
        scratch.len()
    };
    let header_len = payload.headers().len();
    let last = tail(header_len, payload.size());
    let headed = header_len > 0;
    let plain_last = if headed { tail(0, payload.data().len()) } else { last };
    FirstLines { first, last, plain_last, headed }
}

impl FirstLines {
    fn on<'a>(&self, scratch: &'a [u8], payload: Payload<'a>) -> Wire<'a> {
        let headed = &scratch[..self.first];
        let plain = &scratch[1..self.first];
        Wire {
            first: if self.headed { headed } else { plain },
            last: &scratch[self.first..self.last],
            plain: self.headed.then(|| (plain, &scratch[self.last..self.plain_last])),
            payload,
            subject: &[],
            reply: None,
            from: None,
            max_pending: limits::PENDING_BYTES,
            now: Monotonic::ZERO,
        }
    }
}

/// Puts a message into one recipient's output; whether it went there.
#[inline]
fn deliver(connections: &mut [Option<Connection>], out: &mut Out, target: Target, wire: &Wire<'_>) -> bool {
    let Some(connection) = connections[target.connection as usize].as_mut() else { return false };
    if wire.from == Some(target.connection) && !connection.flags.echo {
        return false;
    }
    let Some(sub) = connection.subscriptions.get_mut(target.sub) else { return false };
    let account = connection.account.as_ref();
    if sub.filtered && !account.is_some_and(|a| a.may_receive(wire.subject)) {
        return false;
    }
    let (first, last, body) = match wire.plain {
        Some((first, last)) if !connection.flags.headers => {
            (first, last, wire.payload.wire_without_headers())
        }
        _ => (wire.first, wire.last, wire.payload.wire()),
    };
    let size = first.len() + last.len() + body.len() + sub.sid.as_bytes().len();
    if connection.output.pending().len() + size > wire.max_pending {
        if !out.overflowing.contains(&target.connection) {
            out.overflowing.push(target.connection);
        }
        return false;
    }
    if let (Some(reply), Some(account)) = (wire.reply, account)
        && let Some(rule) = account.allow_responses
        && !account.may_publish(reply)
    {
        connection.grants.note(rule, reply, wire.now);
    }
    connection.output.push(&[first, sub.sid.as_bytes(), last, body], out);
    connection.messages_out += 1;
    sub.delivered += 1;
    // `max` may be behind `delivered` already if UNSUB came late; the subscription then ends with this message.
    if sub.max.is_some_and(|max| sub.delivered >= max) {
        out.finished.push(target);
    }
    connection.mark_dirty(out);
    true
}
