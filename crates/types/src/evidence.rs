//! How a journal's record becomes an entry of the tamper-evident log: who wrote it, its place, and its bytes untouched.
//!
//! ```json
//! {"source":"health_monitor","journal":"18a5c3d2e4f60718","sequence":12,"record":{"event":{…}}}
//! ```
//!
//! `source` is the component, as the broker's permissions authenticate it. `journal` tells two journals of one component apart: one that
//! was set aside as damaged, and the one begun in its place. A record that does not fit an entry is stored beside the log,
//! and the entry names it: `"blob":{"sha256":"…","size":70000}` in place of `record`.

use std::{fmt, io::Write as _, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::value::RawValue;

use crate::{limits, time::Timestamp};

/// Which journal of a component: fixed when the journal was made. Shown as 16 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JournalId(pub u64);

impl JournalId {
    /// The id of a journal that is made now.
    #[must_use]
    pub fn made_at(now: Timestamp) -> Self {
        Self(now.as_nanos())
    }
}

impl fmt::Display for JournalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The text is not a journal's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a journal's id has 16 lower-case hexadecimal digits")]
pub struct BadJournalId;

impl FromStr for JournalId {
    type Err = BadJournalId;

    fn from_str(text: &str) -> Result<Self, BadJournalId> {
        let id = u64::from_str_radix(text, 16).map(Self).map_err(|_| BadJournalId)?;
        if id.to_string() == text { Ok(id) } else { Err(BadJournalId) }
    }
}

impl Serialize for JournalId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for JournalId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// One journal of one component: with a sequence number, the key under which a record is known everywhere.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Source {
    /// The component's name: 1 to [`limits::NAME_BYTES`] of `a-z`, `0-9`, `-`, `_` and `.`.
    #[serde(rename = "source")]
    pub component: String,
    /// Which of its journals.
    pub journal: JournalId,
}

impl Source {
    /// The source, if the name can be a component's.
    #[must_use]
    pub fn new(component: &str, journal: JournalId) -> Option<Self> {
        is_name(component).then(|| Self { component: component.to_owned(), journal })
    }
}

fn is_name(component: &str) -> bool {
    let sound = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.');
    (1..=limits::NAME_BYTES).contains(&component.len()) && component.bytes().all(sound)
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.component, self.journal)
    }
}

/// A record that lies beside the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blob {
    /// Of the record's bytes, in lower-case hexadecimal; its file's name.
    pub sha256: String,
    /// Their number.
    pub size: u64,
}

/// What an entry carries.
#[derive(Debug, Clone)]
pub enum Content<'a> {
    /// The record itself.
    Record(&'a RawValue),
    /// Where it lies.
    Blob(Blob),
}

/// An entry of the log, read.
#[derive(Debug, Clone)]
pub struct LogEntry<'a> {
    /// Who wrote the record.
    pub source: Source,
    /// Its place in the source's journal, from 1.
    pub sequence: u64,
    /// The record.
    pub content: Content<'a>,
}

/// Why the bytes are not an entry of ours.
#[derive(Debug, thiserror::Error)]
pub enum LogEntryError {
    /// Not JSON of this form.
    #[error("not an entry of a journal: {0}")]
    Form(#[from] serde_json::Error),
    /// Neither a record nor a blob, or both.
    #[error("an entry carries either `record` or `blob`")]
    Content,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Form<'a> {
    source: String,
    journal: JournalId,
    sequence: u64,
    #[serde(borrow, default)]
    record: Option<&'a RawValue>,
    #[serde(default)]
    blob: Option<Blob>,
}

impl<'a> LogEntry<'a> {
    /// Reads an entry.
    ///
    /// # Errors
    /// See [`LogEntryError`].
    pub fn read(bytes: &'a [u8]) -> Result<Self, LogEntryError> {
        let Form { source, journal, sequence, record, blob } = serde_json::from_slice(bytes)?;
        let content = match (record, blob) {
            (Some(record), None) => Content::Record(record),
            (None, Some(blob)) => Content::Blob(blob),
            _ => return Err(LogEntryError::Content),
        };
        Ok(Self { source: Source { component: source, journal }, sequence, content })
    }
}

/// Whose record an entry is, and its place there: what stands at the head of an entry as [`write_entry`] and [`write_blob_entry`] make it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head<'a> {
    /// The component.
    pub component: &'a str,
    /// Which of its journals.
    pub journal: JournalId,
    /// Its place there, from 1.
    pub sequence: u64,
}

impl<'a> Head<'a> {
    /// Reads the head alone, which takes a tenth of the time that [`LogEntry::read`] does: for entries of a log that is signed, and so holds
    /// whole ones only. `None` for any other form; it may still be an entry.
    #[must_use]
    pub fn read(entry: &'a [u8]) -> Option<Self> {
        let rest = entry.strip_prefix(b"{\"source\":\"")?;
        let (component, rest) =
            rest.split_at(rest.iter().take(limits::NAME_BYTES + 1).position(|b| *b == b'"')?);
        let rest = rest.strip_prefix(b"\",\"journal\":\"")?;
        let (journal, rest) = rest.split_first_chunk::<16>()?;
        let journal =
            journal.iter().try_fold(0u64, |sum, digit| Some(sum << 4 | u64::from(nibble(*digit)?)))?;
        let rest = rest.strip_prefix(b"\",\"sequence\":")?;
        let (digits, rest) = rest.split_at(rest.iter().take(21).position(|b| *b == b',')?);
        let sound = digits.iter().all(u8::is_ascii_digit) && !(digits.len() > 1 && digits[0] == b'0');
        let sequence = std::str::from_utf8(digits).ok().filter(|_| sound)?.parse().ok()?;
        let whole = rest.starts_with(b",\"record\":") || rest.starts_with(b",\"blob\":");
        let component = std::str::from_utf8(component).ok().filter(|_| whole && rest.ends_with(b"}"))?;
        is_name(component).then_some(Self { component, journal: JournalId(journal), sequence })
    }
}

const fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// Appends the entry for `record`, one JSON document, to `out`. The record is not looked into. Component names need no escape.
pub fn write_entry(out: &mut Vec<u8>, source: &Source, sequence: u64, record: &[u8]) {
    write_head(out, source, sequence);
    out.extend_from_slice(b"\"record\":");
    out.extend_from_slice(record);
    out.push(b'}');
}

/// Appends the entry for a record that lies beside the log to `out`.
pub fn write_blob_entry(out: &mut Vec<u8>, source: &Source, sequence: u64, blob: &Blob) {
    write_head(out, source, sequence);
    // Writing to memory does not fail.
    let _ = write!(out, "\"blob\":{{\"sha256\":\"{}\",\"size\":{}}}}}", blob.sha256, blob.size);
}

/// By hand: this is done for every entry, and the formatter takes longer than the hashing.
fn write_head(out: &mut Vec<u8>, source: &Source, sequence: u64) {
    out.extend_from_slice(b"{\"source\":\"");
    out.extend_from_slice(source.component.as_bytes());
    out.extend_from_slice(b"\",\"journal\":\"");
    let nibbles = (0..16).rev().map(|at| (source.journal.0 >> (4 * at)) & 0xf);
    out.extend(nibbles.map(|nibble| b"0123456789abcdef"[nibble as usize]));
    out.extend_from_slice(b"\",\"sequence\":");
    let (mut digits, mut rest, mut from) = ([0; 20], sequence, 20);
    while from == 20 || rest > 0 {
        from -= 1;
        digits[from] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    out.extend_from_slice(&digits[from..]);
    out.push(b',');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> Source {
        Source::new("health_monitor", JournalId(0x18a5)).unwrap()
    }

    #[test]
    fn an_entry_is_read_as_it_was_written() {
        let record = br#"{"event": {"id" : 1}}"#;
        let mut bytes = Vec::new();
        write_entry(&mut bytes, &source(), 12, record);
        let entry = LogEntry::read(&bytes).unwrap();
        assert_eq!((&entry.source, entry.sequence), (&source(), 12));
        assert!(matches!(entry.content, Content::Record(raw) if raw.get().as_bytes() == record));

        let blob = Blob { sha256: "ab".repeat(32), size: 70_000 };
        bytes.clear();
        write_blob_entry(&mut bytes, &source(), 13, &blob);
        assert!(matches!(LogEntry::read(&bytes).unwrap().content, Content::Blob(read) if read == blob));
    }

    #[test]
    fn numbers_are_written_as_the_formatter_does() {
        for number in [0, 1, 9, 10, 0x18a5, 1_234_567_890, u64::MAX / 3, u64::MAX] {
            let source = Source::new("a", JournalId(number)).unwrap();
            let mut bytes = Vec::new();
            write_entry(&mut bytes, &source, number, b"{}");
            let expected = format!(
                "{{\"source\":\"a\",\"journal\":\"{number:016x}\",\"sequence\":{number},\"record\":{{}}}}"
            );
            assert_eq!(String::from_utf8(bytes).unwrap(), expected);
        }
    }

    #[test]
    fn a_head_says_what_the_whole_entry_says() {
        let blob = Blob { sha256: "ab".repeat(32), size: 70_000 };
        for sequence in [1, 12, u64::MAX] {
            let (mut entry, mut beside) = (Vec::new(), Vec::new());
            write_entry(&mut entry, &source(), sequence, b"{}");
            write_blob_entry(&mut beside, &source(), sequence, &blob);
            for bytes in [entry, beside] {
                let (head, whole) = (Head::read(&bytes).unwrap(), LogEntry::read(&bytes).unwrap());
                let Source { component, journal } = &whole.source;
                assert_eq!(head, Head { component, journal: *journal, sequence: whole.sequence });
                let (of_record, of_blob) = (b"\"record\":".as_slice(), b"\"blob\":".as_slice());
                let ends = (0..bytes.len())
                    .find(|at| bytes[*at..].starts_with(of_record) || bytes[*at..].starts_with(of_blob));
                for cut in 0..=ends.unwrap() {
                    assert_eq!(Head::read(&bytes[..cut]), None, "{cut}");
                }
            }
        }
        for other in [
            r#"{"source":"a", "journal":"00000000000018a5","sequence":1,"record":{}}"#,
            r#"{"source":"a","journal":"00000000000018A5","sequence":1,"record":{}}"#,
            r#"{"source":"A","journal":"00000000000018a5","sequence":1,"record":{}}"#,
            r#"{"source":"a","journal":"00000000000018a5","sequence":01,"record":{}}"#,
            r#"{"source":"a","journal":"00000000000018a5","sequence":18446744073709551616,"record":{}}"#,
            r#"{"source":"a","journal":"00000000000018a5","sequence":,"record":{}}"#,
            r#"{"source":"a","journal":"00000000000018a5","sequence":1,"other":{}}"#,
        ] {
            assert_eq!(Head::read(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn what_is_no_entry_is_refused() {
        for wrong in [
            "",
            "{}",
            r#"{"source":"a","journal":"0","sequence":1,"record":{}}"#,
            r#"{"source":"a","journal":"00000000000018a5","sequence":1}"#,
            r#"{"source":"a","journal":"00000000000018a5","sequence":-1,"record":{}}"#,
            r#"{"source":"a","journal":"00000000000018a5","sequence":1,"record":{},"more":1}"#,
        ] {
            assert!(LogEntry::read(wrong.as_bytes()).is_err(), "{wrong}");
        }
        assert!("00000000000018A5".parse::<JournalId>().is_err());
        for name in ["", "a b", "a\"", "A", &"a".repeat(64)] {
            assert!(Source::new(name, JournalId(1)).is_none(), "{name}");
        }
    }
}
