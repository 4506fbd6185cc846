//! The encoder: frames to bytes, appended to a buffer that the caller bounds.

/// Appends `n` in decimal.
pub fn number(out: &mut Vec<u8>, n: usize) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut left = n;
    loop {
        at -= 1;
        digits[at] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// PUB, or HPUB if there are headers (a whole block, its blank line included).
pub fn publish(out: &mut Vec<u8>, subject: &str, reply: Option<&str>, headers: &[u8], data: &[u8]) {
    out.extend_from_slice(if headers.is_empty() { b"PUB " } else { b"HPUB " });
    out.extend_from_slice(subject.as_bytes());
    out.push(b' ');
    if let Some(reply) = reply {
        out.extend_from_slice(reply.as_bytes());
        out.push(b' ');
    }
    sizes(out, headers.len(), headers.len() + data.len());
    out.extend_from_slice(headers);
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
}

/// The sizes that end a message's first line, and the line's end.
pub fn sizes(out: &mut Vec<u8>, header_len: usize, size: usize) {
    if header_len > 0 {
        number(out, header_len);
        out.push(b' ');
    }
    number(out, size);
    out.extend_from_slice(b"\r\n");
}

/// SUB.
pub fn subscribe(out: &mut Vec<u8>, subject: &str, queue: Option<&str>, sid: u64) {
    out.extend_from_slice(b"SUB ");
    out.extend_from_slice(subject.as_bytes());
    out.push(b' ');
    if let Some(queue) = queue {
        out.extend_from_slice(queue.as_bytes());
        out.push(b' ');
    }
    number(out, sid as usize);
    out.extend_from_slice(b"\r\n");
}

/// UNSUB, at once or after `max` messages.
pub fn unsubscribe(out: &mut Vec<u8>, sid: u64, max: Option<u64>) {
    out.extend_from_slice(b"UNSUB ");
    number(out, sid as usize);
    if let Some(max) = max {
        out.push(b' ');
        number(out, max as usize);
    }
    out.extend_from_slice(b"\r\n");
}

/// An operation whose argument is JSON: INFO or CONNECT.
pub fn json(out: &mut Vec<u8>, operation: &str, value: &impl serde::Serialize) {
    let start = out.len();
    out.extend_from_slice(operation.as_bytes());
    out.push(b' ');
    if serde_json::to_writer(&mut *out, value).is_err() {
        // Only a map with keys that are not text fails, and these structs have none.
        out.truncate(start);
        return;
    }
    out.extend_from_slice(b"\r\n");
}

/// -ERR with its text in quotes. Line ends in the text (it may quote a client) become blanks.
pub fn error(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(b"-ERR '");
    out.extend(text.bytes().map(|b| if b.is_ascii_control() { b' ' } else { b }));
    out.extend_from_slice(b"'\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Bounds, Frame, Progress, parse};

    #[test]
    fn what_is_written_is_read_back() {
        let mut out = Vec::new();
        publish(&mut out, "a.b", Some("r"), b"NATS/1.0\r\n\r\n", b"hello");
        subscribe(&mut out, "a.>", Some("q"), 12);
        unsubscribe(&mut out, u64::MAX, Some(3));
        error(&mut out, "no\r\nway");
        let mut rest = &out[..];
        let mut seen = Vec::new();
        while let Ok(Progress::Frame(frame, used)) = parse(rest, Bounds::default()) {
            seen.push(frame);
            rest = &rest[used..];
        }
        assert!(rest.is_empty());
        let Frame::Publish { subject, reply, payload } = seen[0] else { panic!("{seen:?}") };
        assert_eq!((subject, reply, payload.data()), (&b"a.b"[..], Some(&b"r"[..]), &b"hello"[..]));
        assert_eq!(payload.headers(), b"NATS/1.0\r\n\r\n");
        assert_eq!(seen[1], Frame::Subscribe { subject: b"a.>", queue: Some(b"q"), sid: b"12" });
        assert!(matches!(seen[3], Frame::Error(b"no  way")));
    }
}
