//! The smallest HTTP/1.1 client that can tell whether an endpoint is well: one GET, the status line of the answer.
//!
//! No TLS, no redirects (a redirect is success), no body. Format: RFC 9112.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{ProbeFailure, authority, connect};
use crate::{limits, output::recent::printable};

/// Sends the request and judges the answer's status; `what` names the check in the reason.
pub(super) async fn get(what: &str, host: &str, port: u16, path: &str) -> Result<(), ProbeFailure> {
    // A line break in the path would begin a header of its own.
    if path.bytes().any(|b| b <= b' ' || b == 0x7F) || !path.starts_with('/') {
        let shown = printable(path.as_bytes(), 200);
        return Err(ProbeFailure::new(format!("`{shown}` is not a path that can be asked for over HTTP")));
    }
    let mut stream = connect(what, host, port).await?;
    let failed = |e: std::io::Error| ProbeFailure::new(format!("{what} failed: {e}"));
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: grace-probe\r\nAccept: */*\r\nConnection: close\r\n\r\n",
        authority(host, port)
    );
    stream.write_all(request.as_bytes()).await.map_err(failed)?;
    let mut head = Vec::with_capacity(1024);
    loop {
        match status(&head) {
            Progress::Status(200..=399) => return Ok(()),
            Progress::Status(status) => {
                return Err(ProbeFailure::new(format!("{what} answered {status}")));
            }
            Progress::NotHttp => {
                let shown = printable(&head, 80);
                return Err(ProbeFailure::new(format!("{what} was not answered in HTTP/1: `{shown}`")));
            }
            Progress::More => {}
        }
        if head.len() >= limits::PROBE_HEAD_BYTES {
            return Err(ProbeFailure::new(format!(
                "{what} was answered with a head of more than {} bytes",
                limits::PROBE_HEAD_BYTES
            )));
        }
        let room = limits::PROBE_HEAD_BYTES - head.len();
        if (&mut stream).take(room as u64).read_buf(&mut head).await.map_err(failed)? == 0 {
            return Err(ProbeFailure::new(format!("{what}: the connection was closed without an answer")));
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Progress {
    More,
    Status(u16),
    NotHttp,
}

/// The status of the final answer in what has been received so far. Interim answers (1xx) are passed over.
fn status(mut received: &[u8]) -> Progress {
    loop {
        let Some(end) = received.windows(2).position(|w| w == b"\r\n") else {
            let begin = b"HTTP/1.";
            let same = received.iter().zip(begin).all(|(a, b)| a == b);
            return if same && received.len() < limits::LINE_BYTES {
                Progress::More
            } else {
                Progress::NotHttp
            };
        };
        let status = match &received[..end] {
            [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'0'..=b'9', b' ', code @ ..] => {
                let digits = code.get(..3).filter(|_| code.get(3).is_none_or(|b| *b == b' '));
                digits.and_then(|d| str::from_utf8(d).ok()?.parse::<u16>().ok())
            }
            _ => None,
        };
        match status {
            Some(100..=199) => {}
            Some(status) => return Progress::Status(status),
            None => return Progress::NotHttp,
        }
        let Some(blank) = received.windows(4).position(|w| w == b"\r\n\r\n") else { return Progress::More };
        received = &received[blank + 4..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_found_wherever_the_bytes_are_cut() {
        let answer = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.0 204\r\n";
        for n in 0..answer.len() {
            assert_eq!(status(&answer[..n]), Progress::More, "{n} bytes");
        }
        assert_eq!(status(answer), Progress::Status(204));
    }

    #[test]
    fn what_is_not_http_is_seen_at_once() {
        for bytes in
            [&b"SSH-2.0-x"[..], b"HTTP/2 200\r\n", b"HTTP/1.1 20\r\n", b"HTTP/1.1 2000 x\r\n", b"\r\n"]
        {
            assert_eq!(status(bytes), Progress::NotHttp, "{}", String::from_utf8_lossy(bytes));
        }
    }
}
