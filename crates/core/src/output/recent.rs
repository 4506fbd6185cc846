//! The last lines of a component, kept in memory for status and failure reports. Pure.

use std::collections::VecDeque;

use crate::limits;

/// At most [`limits::RECENT_LINES`] lines and [`limits::RECENT_BYTES`] bytes, the newest.
#[derive(Debug, Default)]
pub struct Recent {
    lines: VecDeque<String>,
    size_bytes: usize,
}

impl Recent {
    /// Adds a line. It is made fit for a report: UTF-8, no control characters, at most
    /// [`limits::RECENT_LINE_BYTES`] long.
    pub fn push(&mut self, line: &[u8]) {
        let text = printable(line, limits::RECENT_LINE_BYTES);
        self.size_bytes += text.len();
        self.lines.push_back(text);
        while self.lines.len() > limits::RECENT_LINES || self.size_bytes > limits::RECENT_BYTES {
            self.size_bytes -= self.lines.pop_front().map_or(0, |old| old.len());
        }
    }

    /// The lines, oldest first.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.lines.iter().cloned().collect()
    }
}

/// Bytes as text that is safe in a report or on a terminal: what is no UTF-8 or a control character becomes U+FFFD, and what
/// goes past `limit_bytes` is replaced by `…`.
#[must_use]
pub fn printable(bytes: &[u8], limit_bytes: usize) -> String {
    let shown = &bytes[..bytes.len().min(limit_bytes)];
    let mut text = String::with_capacity(shown.len());
    for chunk in shown.utf8_chunks() {
        text.extend(chunk.valid().chars().map(|c| if c.is_control() && c != '\t' { '\u{FFFD}' } else { c }));
        if !chunk.invalid().is_empty() {
            text.push('\u{FFFD}');
        }
    }
    if text.len() > limit_bytes || shown.len() < bytes.len() {
        text.truncate(text.floor_char_boundary(limit_bytes));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded_by_lines_and_by_bytes() {
        let mut recent = Recent::default();
        for n in 0..200 {
            recent.push(format!("line {n}").as_bytes());
        }
        assert_eq!(recent.lines().len(), limits::RECENT_LINES);
        assert_eq!(recent.lines().last().unwrap(), "line 199");
        for _ in 0..200 {
            recent.push(&[0xFF; 100_000]);
            assert!(recent.size_bytes <= limits::RECENT_BYTES);
        }
        assert!(recent.lines().len() > 1);
    }

    #[test]
    fn a_report_holds_no_escape_sequences() {
        assert_eq!(printable(b"\x1b[31mred\xff\tend\r", 100), "\u{FFFD}[31mred\u{FFFD}\tend\u{FFFD}");
        assert_eq!(printable("ééé".as_bytes(), 5), "éé…");
        assert_eq!(printable(b"", 5), "");
    }
}
