//! Lines over a pipe, without ever waiting for the other side longer than asked for.

use std::{
    collections::VecDeque,
    io,
    os::fd::{AsFd, BorrowedFd},
};

use grace_types::time::{Clock as _, Monotonic, SystemClock};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use serde::Serialize;

use crate::limits;

/// What a pipe takes at once whenever it says that it takes something: a page (pipe(7)). So writing this much never blocks, and the
/// other side's descriptor need not be made non-blocking.
const CHUNK: usize = 4096;

/// Cuts what comes over a pipe into lines.
#[derive(Debug, Default)]
pub(crate) struct LineReader {
    buffer: VecDeque<u8>,
    skipping: bool,
}

/// A line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// Without its end.
    Text(Vec<u8>),
    /// It had more than [`limits::LINE_BYTES`], and is skipped.
    TooLong,
}

impl LineReader {
    /// Takes what is there, once; waits if there is nothing. False at the end.
    pub(crate) fn read(&mut self, from: impl AsFd) -> io::Result<bool> {
        let mut bytes = [0; CHUNK];
        match rustix::io::read(from, &mut bytes) {
            Ok(n) => {
                self.buffer.extend(&bytes[..n]);
                Ok(n > 0)
            }
            Err(Errno::INTR | Errno::AGAIN) => Ok(true),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The next whole line. To be asked until there is none after each [`LineReader::read`].
    pub(crate) fn next(&mut self) -> Option<Line> {
        loop {
            let Some(end) = self.buffer.iter().position(|b| *b == b'\n') else {
                let too_long = self.buffer.len() > limits::LINE_BYTES;
                if too_long || self.skipping {
                    self.buffer.clear();
                }
                let news = too_long && !self.skipping;
                self.skipping |= too_long;
                return news.then_some(Line::TooLong);
            };
            let mut line: Vec<u8> = self.buffer.drain(..=end).collect();
            line.pop();
            if !std::mem::take(&mut self.skipping) {
                return Some(Line::Text(line));
            }
        }
    }
}

/// Lines that wait to be written.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    waiting: VecDeque<u8>,
}

impl Outbox {
    /// Adds a line; false if it was dropped, because [`limits::REPORT_BYTES`] wait already.
    pub(crate) fn add(&mut self, message: &impl Serialize) -> bool {
        let Ok(line) = serde_json::to_vec(message) else { return false };
        let fits = self.waiting.len() + line.len() < limits::REPORT_BYTES;
        if fits {
            self.waiting.extend(line);
            self.waiting.push_back(b'\n');
        }
        fits
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Writes what the pipe takes at once. To be called when it takes something.
    pub(crate) fn write(&mut self, to: impl AsFd) -> io::Result<()> {
        let chunk = self.waiting.make_contiguous();
        match rustix::io::write(to, &chunk[..chunk.len().min(CHUNK)]) {
            Ok(n) => drop(self.waiting.drain(..n)),
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(errno) => return Err(errno.into()),
        }
        Ok(())
    }

    /// Writes everything, until `deadline` at most.
    ///
    /// # Errors
    /// `TimedOut`, or nobody reads any more.
    pub(crate) fn flush(&mut self, to: impl AsFd, deadline: Monotonic) -> io::Result<()> {
        while !self.is_empty() {
            if !wait(to.as_fd(), PollFlags::OUT, deadline)? {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.write(to.as_fd())?;
        }
        Ok(())
    }
}

/// Waits until a descriptor is as wanted, or in error; false when `deadline` passes first.
pub(crate) fn wait(fd: BorrowedFd<'_>, wanted: PollFlags, deadline: Monotonic) -> io::Result<bool> {
    loop {
        let left = deadline.since(SystemClock.now().mono);
        let timeout = Timespec::try_from(left).ok();
        match poll(&mut [PollFd::from_borrowed_fd(fd, wanted)], timeout.as_ref()) {
            Ok(0) if left.is_zero() => return Ok(false),
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return Ok(true),
            Err(errno) => return Err(errno.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(reader: &mut LineReader, bytes: &[u8]) -> Vec<Line> {
        reader.buffer.extend(bytes);
        std::iter::from_fn(|| reader.next()).collect()
    }

    #[test]
    fn lines_are_cut_wherever_the_reads_fall_and_a_long_one_is_skipped() {
        let text = |text: &str| Line::Text(text.into());
        let mut reader = LineReader::default();
        assert_eq!(lines(&mut reader, b"a\n\nb"), [text("a"), text("")]);
        assert_eq!(lines(&mut reader, b"c\nd"), [text("bc")]);
        let long = vec![b'x'; limits::LINE_BYTES];
        assert_eq!(lines(&mut reader, &long), [Line::TooLong]);
        assert_eq!(lines(&mut reader, &long), []);
        assert_eq!(lines(&mut reader, b"rest of it\nnext\n"), [text("next")]);
    }

    #[test]
    fn a_reader_that_does_not_read_costs_its_lines_and_no_time() {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let mut outbox = Outbox::default();
        let mut added = 0;
        while outbox.add(&"x".repeat(1000)) {
            added += 1;
        }
        let full = outbox.flush(&writer, SystemClock.now().mono).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::TimedOut);
        let mut lines = LineReader::default();
        let mut read = 0;
        while read < added {
            let _ = outbox.flush(&writer, SystemClock.now().mono);
            lines.read(&reader).unwrap();
            read += std::iter::from_fn(|| lines.next()).count();
        }
        assert!(outbox.is_empty());
        drop(reader);
        assert!(outbox.add(&1));
        assert_eq!(
            outbox.flush(&writer, SystemClock.now().mono).unwrap_err().kind(),
            io::ErrorKind::BrokenPipe
        );
    }
}
