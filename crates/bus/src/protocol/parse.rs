//! The parser: bytes to frames.

use crate::limits;

/// The body of a message as it stands on the wire: headers, payload and the CR LF behind them, in one piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payload<'a> {
    with_crlf: &'a [u8],
    header_len: usize,
}

impl<'a> Payload<'a> {
    /// From `header_len` bytes of headers, the payload, and CR LF.
    ///
    /// `None` if the bytes are too short or do not end in CR LF.
    #[must_use]
    pub fn new(with_crlf: &'a [u8], header_len: usize) -> Option<Self> {
        let body = with_crlf.len().checked_sub(2)?;
        (header_len <= body && with_crlf.ends_with(b"\r\n")).then_some(Self { with_crlf, header_len })
    }

    /// The header block, or nothing.
    #[must_use]
    pub fn headers(&self) -> &'a [u8] {
        &self.with_crlf[..self.header_len]
    }

    /// The payload proper.
    #[must_use]
    pub fn data(&self) -> &'a [u8] {
        &self.with_crlf[self.header_len..self.with_crlf.len() - 2]
    }

    /// Headers, payload and CR LF.
    #[must_use]
    pub fn wire(&self) -> &'a [u8] {
        self.with_crlf
    }

    /// Payload and CR LF, without the headers.
    #[must_use]
    pub fn wire_without_headers(&self) -> &'a [u8] {
        &self.with_crlf[self.header_len..]
    }

    /// Bytes of headers and payload together.
    #[must_use]
    pub fn size(&self) -> usize {
        self.with_crlf.len() - 2
    }
}

/// One protocol frame. Subjects are as they came: not yet checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame<'a> {
    /// Server to client: JSON about the server.
    Info(&'a [u8]),
    /// Client to server: JSON about the client.
    Connect(&'a [u8]),
    /// PUB or HPUB.
    Publish {
        /// Where to.
        subject: &'a [u8],
        /// Where answers go.
        reply: Option<&'a [u8]>,
        /// Headers and payload.
        payload: Payload<'a>,
    },
    /// SUB.
    Subscribe {
        /// The pattern.
        subject: &'a [u8],
        /// The queue group.
        queue: Option<&'a [u8]>,
        /// The client's name for the subscription.
        sid: &'a [u8],
    },
    /// UNSUB.
    Unsubscribe {
        /// The client's name for the subscription.
        sid: &'a [u8],
        /// After this many messages in all; at once if `None`.
        max: Option<u64>,
    },
    /// MSG or HMSG.
    Deliver {
        /// Where it was published.
        subject: &'a [u8],
        /// The client's name for the subscription.
        sid: &'a [u8],
        /// Where answers go.
        reply: Option<&'a [u8]>,
        /// Headers and payload.
        payload: Payload<'a>,
    },
    /// PING.
    Ping,
    /// PONG.
    Pong,
    /// +OK.
    Ok,
    /// -ERR, with the quotes taken off.
    Error(&'a [u8]),
}

/// What bytes at the front of a buffer amount to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress<'a> {
    /// A whole frame, and how many bytes it took.
    Frame(Frame<'a>, usize),
    /// Not yet a frame. There is no point in trying again before the buffer holds `need` bytes; if `line` is set,
    /// the end of the line is missing and a line feed may come at any byte.
    Incomplete {
        /// Bytes counted from the front of the buffer.
        need: usize,
        /// Whether it is the end of the line that is missing.
        line: bool,
    },
}

/// Why bytes are not the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// No such operation.
    #[error("unknown protocol operation")]
    UnknownOperation,
    /// An operation with arguments that do not fit it.
    #[error("malformed arguments")]
    BadArguments,
    /// A line beyond [`Bounds::line`].
    #[error("maximum control line exceeded")]
    LineTooLong,
    /// A message beyond [`Bounds::payload`].
    #[error("maximum payload violation")]
    PayloadTooLarge,
    /// A payload that CR LF does not follow.
    #[error("the payload is longer than announced")]
    MissingCrLf,
}

/// How much the parser takes.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Bytes of one line, its end included.
    pub line: usize,
    /// Bytes of one message's headers and payload.
    pub payload: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { line: limits::CONTROL_LINE_BYTES, payload: limits::MAX_PAYLOAD_BYTES }
    }
}

/// Reads the frame at the front of `input`.
///
/// # Errors
/// The bytes can never become a frame; the stream is of no further use.
pub fn parse(input: &[u8], bounds: Bounds) -> Result<Progress<'_>, ParseError> {
    let within = &input[..input.len().min(bounds.line)];
    let Some(feed) = memchr::memchr(b'\n', within) else {
        if input.len() >= bounds.line {
            return Err(ParseError::LineTooLong);
        }
        return Ok(Progress::Incomplete { need: input.len() + 1, line: true });
    };
    let line = input[..feed].strip_suffix(b"\r").unwrap_or(&input[..feed]);
    let after = feed + 1;
    // Operations are told apart by their first letters; the match is on what traffic is made of first.
    let (op, rest) = split_word(line);
    let mut name = [0u8; 8];
    let name = name.get_mut(..op.len()).ok_or(ParseError::UnknownOperation)?;
    name.copy_from_slice(op);
    name.make_ascii_uppercase();
    let frame = match &*name {
        b"PUB" => return message(input, after, bounds, &arguments(rest)?, Kind::Publish, false),
        b"HPUB" => return message(input, after, bounds, &arguments(rest)?, Kind::Publish, true),
        b"MSG" => return message(input, after, bounds, &arguments(rest)?, Kind::Deliver, false),
        b"HMSG" => return message(input, after, bounds, &arguments(rest)?, Kind::Deliver, true),
        b"PING" => Frame::Ping,
        b"PONG" => Frame::Pong,
        b"SUB" => subscribe(&arguments(rest)?)?,
        b"UNSUB" => unsubscribe(&arguments(rest)?)?,
        b"+OK" => Frame::Ok,
        b"INFO" => Frame::Info(rest.trim_ascii()),
        b"CONNECT" => Frame::Connect(rest.trim_ascii()),
        b"-ERR" => Frame::Error(unquote(rest.trim_ascii())),
        _ => return Err(ParseError::UnknownOperation),
    };
    Ok(Progress::Frame(frame, after))
}

#[derive(Clone, Copy)]
enum Kind {
    Publish,
    Deliver,
}

/// Up to five arguments; the sixth place tells that there were too many.
struct Arguments<'a> {
    words: [&'a [u8]; 6],
    count: usize,
}

fn arguments(mut rest: &[u8]) -> Result<Arguments<'_>, ParseError> {
    let mut found = Arguments { words: [&[]; 6], count: 0 };
    loop {
        while let [b' ' | b'\t', tail @ ..] = rest {
            rest = tail;
        }
        if rest.is_empty() {
            return Ok(found);
        }
        let (word, tail) = split_word(rest);
        *found.words.get_mut(found.count).ok_or(ParseError::BadArguments)? = word;
        found.count += 1;
        rest = tail;
    }
}

fn split_word(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|b| matches!(b, b' ' | b'\t')).unwrap_or(bytes.len());
    bytes.split_at(end)
}

fn message<'a>(
    input: &'a [u8],
    after: usize,
    bounds: Bounds,
    found: &Arguments<'a>,
    kind: Kind,
    headers: bool,
) -> Result<Progress<'a>, ParseError> {
    let words = &found.words[..found.count];
    let (subject, words) = words.split_first().ok_or(ParseError::BadArguments)?;
    let (sid, words) = match kind {
        Kind::Publish => (&&[][..], words),
        Kind::Deliver => words.split_first().ok_or(ParseError::BadArguments)?,
    };
    let sizes = if headers { 2 } else { 1 };
    let split = words.len().checked_sub(sizes).filter(|n| *n <= 1).ok_or(ParseError::BadArguments)?;
    let (reply, numbers) = words.split_at(split);
    let reply = reply.first().copied();
    let size = number(numbers[sizes - 1])?;
    let header_len = if headers { number(numbers[0])? } else { 0 };
    if header_len > size {
        return Err(ParseError::BadArguments);
    }
    if size > bounds.payload as u64 {
        return Err(ParseError::PayloadTooLarge);
    }
    let (size, header_len) = (size as usize, header_len as usize);
    let end = after + size + 2;
    let Some(body) = input.get(after..end) else {
        return Ok(Progress::Incomplete { need: end, line: false });
    };
    let payload = Payload::new(body, header_len).ok_or(ParseError::MissingCrLf)?;
    let frame = match kind {
        Kind::Publish => Frame::Publish { subject, reply, payload },
        Kind::Deliver => Frame::Deliver { subject, sid, reply, payload },
    };
    Ok(Progress::Frame(frame, end))
}

fn subscribe<'a>(found: &Arguments<'a>) -> Result<Frame<'a>, ParseError> {
    match found.words[..found.count] {
        [subject, sid] => Ok(Frame::Subscribe { subject, queue: None, sid }),
        [subject, queue, sid] => Ok(Frame::Subscribe { subject, queue: Some(queue), sid }),
        _ => Err(ParseError::BadArguments),
    }
}

fn unsubscribe<'a>(found: &Arguments<'a>) -> Result<Frame<'a>, ParseError> {
    match found.words[..found.count] {
        [sid] => Ok(Frame::Unsubscribe { sid, max: None }),
        [sid, max] => Ok(Frame::Unsubscribe { sid, max: Some(number(max)?) }),
        _ => Err(ParseError::BadArguments),
    }
}

/// A decimal number of at most 18 digits, which no 64-bit integer overflows on.
fn number(digits: &[u8]) -> Result<u64, ParseError> {
    if digits.is_empty() || digits.len() > 18 {
        return Err(ParseError::BadArguments);
    }
    digits.iter().try_fold(0u64, |n, d| match d {
        b'0'..=b'9' => Ok(n * 10 + u64::from(d - b'0')),
        _ => Err(ParseError::BadArguments),
    })
}

fn unquote(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"'").and_then(|t| t.strip_suffix(b"'")).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(input: &[u8]) -> Result<Frame<'_>, ParseError> {
        match parse(input, Bounds { line: 256, payload: 64 })? {
            Progress::Frame(frame, used) => {
                assert_eq!(used, input.len(), "{}", String::from_utf8_lossy(input));
                Ok(frame)
            }
            other => panic!("{other:?} from {}", String::from_utf8_lossy(input)),
        }
    }

    #[test]
    fn every_operation() {
        let plain = Payload::new(b"hi\r\n", 0).unwrap();
        let headed = Payload::new(b"NATS/1.0\r\n\r\nhi\r\n", 12).unwrap();
        let publish = |reply, payload| Ok(Frame::Publish { subject: b"a.b", reply, payload });
        assert_eq!(one(b"PUB a.b 2\r\nhi\r\n"), publish(None, plain));
        assert_eq!(one(b"pub\ta.b \t r 2\nhi\r\n"), publish(Some(&b"r"[..]), plain));
        assert_eq!(one(b"HPUB a.b 12 14\r\nNATS/1.0\r\n\r\nhi\r\n"), publish(None, headed));
        let deliver = |reply, payload| Ok(Frame::Deliver { subject: b"a.b", sid: b"7", reply, payload });
        assert_eq!(one(b"MSG a.b 7 2\r\nhi\r\n"), deliver(None, plain));
        assert_eq!(one(b"HMSG a.b 7 r 12 14\r\nNATS/1.0\r\n\r\nhi\r\n"), deliver(Some(&b"r"[..]), headed));
        assert_eq!(one(b"SUB a.* 1\r\n"), Ok(Frame::Subscribe { subject: b"a.*", queue: None, sid: b"1" }));
        assert_eq!(
            one(b"SUB a.* q 1\r\n"),
            Ok(Frame::Subscribe { subject: b"a.*", queue: Some(b"q"), sid: b"1" })
        );
        assert_eq!(one(b"UNSUB 1\r\n"), Ok(Frame::Unsubscribe { sid: b"1", max: None }));
        assert_eq!(one(b"UNSUB 1 5\r\n"), Ok(Frame::Unsubscribe { sid: b"1", max: Some(5) }));
        assert_eq!(one(b"CONNECT {}\r\n"), Ok(Frame::Connect(b"{}")));
        assert_eq!(one(b"INFO {} \r\n"), Ok(Frame::Info(b"{}")));
        assert_eq!(one(b"-ERR 'Slow Consumer'\r\n"), Ok(Frame::Error(b"Slow Consumer")));
        assert_eq!(one(b"PING\r\n"), Ok(Frame::Ping));
        assert_eq!(one(b"pong\n"), Ok(Frame::Pong));
        assert_eq!(one(b"+OK\r\n"), Ok(Frame::Ok));
    }

    #[test]
    fn what_is_refused() {
        for (input, error) in [
            (&b"\r\n"[..], ParseError::UnknownOperation),
            (b"GET / HTTP/1.1\r\n", ParseError::UnknownOperation),
            (b"SUBSCRIBE a 1\r\n", ParseError::UnknownOperation),
            (b"PUB a\r\n", ParseError::BadArguments),
            (b"PUB a b c 1\r\n", ParseError::BadArguments),
            (b"PUB a -1\r\n", ParseError::BadArguments),
            (b"PUB a 1x\r\n", ParseError::BadArguments),
            (b"PUB a 1 2 3 4 5 6 7 8\r\n", ParseError::BadArguments),
            (b"PUB a 9999999999999999999999\r\n", ParseError::BadArguments),
            (b"HPUB a 5 4\r\n", ParseError::BadArguments),
            (b"HPUB a 5\r\n", ParseError::BadArguments),
            (b"SUB a\r\n", ParseError::BadArguments),
            (b"UNSUB\r\n", ParseError::BadArguments),
            (b"UNSUB 1 x\r\n", ParseError::BadArguments),
            (b"PUB a 65\r\n", ParseError::PayloadTooLarge),
            (b"PUB a 999999999999999999\r\n", ParseError::PayloadTooLarge),
            (b"PUB a 2\r\nhiXX", ParseError::MissingCrLf),
            (&[b'A'; 256], ParseError::LineTooLong),
        ] {
            let got = parse(input, Bounds { line: 256, payload: 64 });
            assert_eq!(got, Err(error), "{}", String::from_utf8_lossy(input));
        }
    }

    #[test]
    fn says_how_much_is_missing() {
        let bounds = Bounds::default();
        assert_eq!(parse(b"PUB a", bounds), Ok(Progress::Incomplete { need: 6, line: true }));
        assert_eq!(parse(b"PUB a 5\r\nhe", bounds), Ok(Progress::Incomplete { need: 16, line: false }));
    }
}
