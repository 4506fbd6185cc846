//! Checking a whole log: entries, tiles and checkpoint (`grace_log::verify`), the blobs beside them, and files that do not
//! belong there.

use std::{collections::BTreeMap, io, io::Read as _};

use grace_log::{
    checkpoint::{Checkpoint, Trust},
    tile::Resource,
    verify::{Problem, Report, verify},
};
use sha2::{Digest, Sha256};

use super::{
    place::Place,
    view::{BLOBS, View},
};
use crate::limits;

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    pub(crate) report: Report,
    /// What is wrong, a sentence each, beginning with the file.
    pub(crate) errors: Vec<String>,
    /// Blobs that entries name.
    pub(crate) blobs: u64,
    /// Files past the checkpoint, of a batch that was not sealed: nothing vouches for them, and nothing is wrong.
    pub(crate) unsealed: u64,
}

/// Checks the log in `place`. Grace may be appending to it: then what is looked at is the log as it was at one checkpoint.
pub(crate) fn check(
    place: &Place,
    trust: &Trust,
    known: &[Checkpoint],
    progress: &dyn Fn(u64),
) -> io::Result<Checked> {
    let mut tries = 0;
    loop {
        tries += 1;
        let view = View::of(&place.folder, progress)?;
        let mut report = verify(&view, trust, known);
        // A partial file that was listed and then replaced by its full one reads as something else than it was.
        report.faults.retain(|fault| fault.problem != Problem::Stale || still_there(place, &fault.path));
        // With faults, and while the log grows, a newer checkpoint tells whether they are real.
        if report.faults.is_empty() || tries == limits::LOG_TRIES || !view.is_stale() {
            return Ok(finish(place, report, &view.blobs()));
        }
    }
}

fn still_there(place: &Place, path: &str) -> bool {
    place.log.join(path).exists() || Resource::parse(path).is_none()
}

fn finish(place: &Place, report: Report, blobs: &BTreeMap<String, (u64, u64)>) -> Checked {
    let mut checked = Checked { blobs: blobs.len() as u64, ..Checked::default() };
    checked.errors.extend(report.faults.iter().map(ToString::to_string));
    if report.more_faults > 0 {
        checked.errors.push(format!("and {} more; the verification gave up there", report.more_faults));
    }
    for path in &report.unknown {
        checked.errors.push(format!("{path}: this file is no part of a log"));
    }
    checked.unsealed += report.unsealed.len() as u64;
    for (digest, (index, size)) in blobs {
        if let Err(problem) = check_blob(place, digest, *size) {
            checked.errors.push(format!("{BLOBS}{digest}: {problem} (the record of entry {index})"));
        }
    }
    if report.opened.is_some() {
        stray_blobs(place, blobs, &mut checked);
    }
    checked.report = report;
    checked
}

fn is_digest(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn check_blob(place: &Place, digest: &str, size: u64) -> Result<(), String> {
    if !is_digest(digest) {
        return Err("this is not a digest".to_owned());
    }
    let unreadable = |e: io::Error| format!("the file cannot be read: {e}");
    let file = place.open(&format!("{BLOBS}{digest}")).map_err(unreadable)?;
    let mut file = file.ok_or("the file is missing")?.take(size.saturating_add(1));
    let (mut hash, mut read, mut buffer) = (Sha256::new(), 0u64, vec![0; limits::READ_BYTES]);
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => {
                hash.update(&buffer[..length]);
                read += length as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(unreadable(e)),
        }
    }
    if read != size {
        let found = if read > size { format!("more than {size}") } else { read.to_string() };
        return Err(format!("the file has {found} bytes and should have {size}"));
    }
    let found = hex(&hash.finalize());
    if found == digest { Ok(()) } else { Err(format!("the file was altered: its digest is {found}")) }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// A blob is written before the entry that names it is sealed, so one that no entry names is no fault. Other files are.
fn stray_blobs(place: &Place, named: &BTreeMap<String, (u64, u64)>, checked: &mut Checked) {
    let entries = match std::fs::read_dir(place.log.join(BLOBS)) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return,
        Err(e) => return checked.errors.push(format!("{BLOBS}: the folder cannot be read: {e}")),
    };
    for name in entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()) {
        if named.contains_key(&name) {
            continue;
        }
        if is_digest(&name) {
            checked.unsealed += 1;
        } else {
            checked.errors.push(format!("{BLOBS}{name}: this file is no part of a log"));
        }
    }
}
