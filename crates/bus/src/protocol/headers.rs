//! Message headers as they stand in a block: `NATS/1.0[ status[ text]]`, lines of `Name: value`, a blank line.
//!
//! The broker never looks inside a block; this is for clients. Source: NATS ADR-4.

use crate::message::Headers;

/// The first line of every block.
const VERSION: &str = "NATS/1.0";

/// The block that says that nobody listens (ADR-4: status 503, no headers).
pub const NO_RESPONDERS: &[u8] = b"NATS/1.0 503\r\n\r\n";

/// A block, read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Block {
    /// A status from the server, such as 503 for no responders.
    pub status: Option<u16>,
    /// The pairs.
    pub headers: Headers,
}

/// Reads a block; `None` if it is not one.
#[must_use]
pub fn parse(block: &[u8]) -> Option<Block> {
    if block.is_empty() {
        return Some(Block::default());
    }
    let text = std::str::from_utf8(block).ok()?;
    let mut lines = text.split("\r\n");
    let first = lines.next()?.strip_prefix(VERSION)?;
    let status = match first.split_whitespace().next() {
        None => None,
        Some(code) => Some(code.parse().ok()?),
    };
    let mut headers = Headers::new();
    for line in lines.filter(|l| !l.is_empty()) {
        let (name, value) = line.split_once(':')?;
        headers.append(name, value.trim());
    }
    Some(Block { status, headers })
}

/// Appends the block for `headers`; nothing if there are none.
///
/// A pair whose name or value cannot stand in a block (line ends; a colon or blank in the name) is refused whole:
/// the caller would otherwise let one value write another header.
///
/// # Errors
/// The name of the pair.
pub fn encode<'h>(out: &mut Vec<u8>, headers: &'h Headers) -> Result<(), &'h str> {
    if headers.is_empty() {
        return Ok(());
    }
    let start = out.len();
    out.extend_from_slice(VERSION.as_bytes());
    out.extend_from_slice(b"\r\n");
    for (name, value) in headers.iter() {
        let bad_name = name.is_empty() || name.bytes().any(|b| b <= b' ' || b == b':' || b == 0x7f);
        if bad_name || value.bytes().any(|b| matches!(b, b'\r' | b'\n')) {
            out.truncate(start);
            return Err(name);
        }
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_survives() {
        let headers: Headers =
            [("ce-id", "evt_1"), ("Empty", ""), ("ce-id", "again: and again")].into_iter().collect();
        let mut out = Vec::new();
        encode(&mut out, &headers).unwrap();
        assert_eq!(parse(&out), Some(Block { status: None, headers }));
        assert_eq!(parse(NO_RESPONDERS), Some(Block { status: Some(503), headers: Headers::new() }));
        assert_eq!(parse(b"NATS/1.0 503 No Responders\r\n\r\n").unwrap().status, Some(503));
        assert_eq!(parse(b""), Some(Block::default()));
        for bad in [&b"HTTP/1.0\r\n\r\n"[..], b"NATS/1.0\r\nno colon\r\n\r\n", b"NATS/1.0 x\r\n\r\n", b"\xff"]
        {
            assert_eq!(parse(bad), None);
        }
    }

    #[test]
    fn no_value_writes_another_header() {
        for (name, value) in [("a", "b\r\nc: d"), ("a\r\nb", ""), ("a:b", ""), ("", "x"), ("a b", "x")] {
            let mut out = vec![1];
            assert!(encode(&mut out, &[(name, value)].into_iter().collect()).is_err(), "{name:?}");
            assert_eq!(out, [1]);
        }
    }
}
