//! The entries of a log, one bundle after the other, and one entry as a line that a person reads.
//!
//! Nothing is verified here: `verify`, `prove` and `fsck` do that.

use std::{borrow::Cow, io, io::Read as _, ops::Range};

use grace_core::kernels::immutable_log::Folder;
use grace_log::{
    files::Files,
    limits::BUNDLE_BYTES,
    tile::{Entries, Kind, Resource},
};
use grace_types::{
    evidence::{Content, LogEntry},
    narrative::Narrative,
};

use super::{
    place::{Place, unreadable},
    view::BLOBS,
};
use crate::{
    failure::{Exit, Failure},
    limits,
    style::{Style, tame},
};

/// Visits the entries of `range`, in order, in a log of `size` entries.
pub(crate) fn each(
    place: &Place,
    size: u64,
    range: Range<u64>,
    mut visit: impl FnMut(u64, &[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut at = range.start;
    while at < range.end {
        let bundle = Resource::in_tree(Kind::Entries, at / 256, size);
        let bytes = match bundle {
            Some(bundle) => read(&place.folder, bundle).map_err(|e| unreadable(&place.log, &e))?,
            None => None,
        };
        let first = at / 256 * 256;
        let wanted = (first..).zip(Entries::of(bytes.as_deref().unwrap_or_default()));
        for (index, entry) in wanted.take_while(|(index, _)| *index < range.end) {
            if index == at {
                visit(index, entry)?;
                at += 1;
            }
        }
        if at < range.end && !at.is_multiple_of(256) || at == first {
            return Err(Failure::new(Exit::Failed, "log_not_whole", format!("entry {at} is not there"))
                .at(&place.log.display())
                .help("`grace log verify` names every file that is not as it should be"));
        }
    }
    Ok(())
}

/// A bundle, or the full one that took its place.
fn read(folder: &Folder, bundle: Resource) -> io::Result<Option<Cow<'_, [u8]>>> {
    match folder.read(&bundle.to_string(), BUNDLE_BYTES)? {
        Some(bytes) => Ok(Some(bytes)),
        None => folder.read(&bundle.full().to_string(), BUNDLE_BYTES),
    }
}

/// The record that an entry carries or names.
pub(crate) fn record<'a>(place: &Place, entry: &'a LogEntry<'_>) -> io::Result<Cow<'a, [u8]>> {
    match &entry.content {
        Content::Record(record) => Ok(Cow::Borrowed(record.get().as_bytes())),
        Content::Blob(blob) if blob.sha256.bytes().all(|b| b.is_ascii_hexdigit()) => {
            let file = place.open(&format!("{BLOBS}{}", blob.sha256))?.ok_or(io::ErrorKind::NotFound)?;
            let mut bytes = Vec::new();
            file.take(limits::BLOB_SHOWN_BYTES as u64).read_to_end(&mut bytes)?;
            Ok(Cow::Owned(bytes))
        }
        Content::Blob(_) => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// `     12  2026-11-23T15:00:00.5Z  control_plane  7  started web: because`
pub(crate) fn line(place: &Place, index: u64, bytes: &[u8], style: Style) -> String {
    let Ok(entry) = LogEntry::read(bytes) else {
        return format!("{index:>8}  {}", style.warn("not an entry of a journal"));
    };
    let told = match record(place, &entry) {
        Ok(record) => Narrative::read(&record).ok(),
        Err(_) => None,
    };
    let (time, what) = match told {
        Some(Some(told)) => (time(&told), sentence(&told)),
        // The time of an answer is that of the decision before it.
        Some(None) => (String::new(), "answer kept for its key".to_owned()),
        None => (String::new(), "a record of another form".to_owned()),
    };
    let source = tame(&entry.source.component);
    format!(
        "{index:>8}  {}  {source:<16} {:>6}  {}",
        style.dim(&format!("{time:<24}")),
        entry.sequence,
        tame(&what)
    )
}

/// To the millisecond, so that lines stand under each other.
fn time(told: &Narrative) -> String {
    let text = told.time.to_string();
    let (seconds, fraction) =
        text.trim_end_matches('Z').split_once('.').unwrap_or((text.trim_end_matches('Z'), ""));
    let millis: String = fraction.chars().chain("000".chars()).take(3).collect();
    format!("{seconds}.{millis}Z")
}

fn sentence(told: &Narrative) -> String {
    let why = told.why.first().map_or("", |reason| reason.text.as_str());
    let place = if told.place.is_empty() { String::new() } else { format!(" {}", told.place) };
    let text = format!("{}{place}: {why}", told.action());
    // What is longer is for `--json`.
    match text.char_indices().nth(limits::LINE_CHARACTERS) {
        Some((end, _)) => format!("{} …", &text[..end]),
        None => text,
    }
}
