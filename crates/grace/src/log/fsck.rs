//! `grace log fsck`: the log, its key pair, and every journal against what the log has of it.
//!
//! A record is durable in its journal before it is shipped, so the log can only lag: what it has of a journal must be that journal's
//! first records, byte for byte, each once. The log is read first, so a Grace that runs meanwhile makes no difference.

use std::{collections::BTreeMap, io::Write as _, ops::ControlFlow, os::unix::fs::PermissionsExt as _};

use grace_core::instance::Instance;
use grace_log::note::SignerKey;
use grace_store::{
    JournalReader as _, Seq, StoreError,
    file::{EXTENSION, FileReader},
};
use grace_types::evidence::{Content, LogEntry, Source};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::{
    check::hex,
    entries,
    place::{Place, read_bounded},
    verify::{Findings, as_json, inspect, print, print_errors},
};
use crate::{
    failure::{Exit, Failure},
    limits,
    output::Output,
    style::tame,
};

/// Checks everything, and prints it.
pub(crate) fn run(instance: &Instance, out: &mut Output) -> Result<Exit, Failure> {
    let place = Place::of(instance)?;
    let trust = place.trust()?;
    let mut findings = inspect(&place, trust, &[] as &[&std::path::Path], 0)?;
    findings.key_from = Some(place.key_file().display().to_string());
    let key_error = check_key_pair(&place, &findings).err();
    findings.checked.errors.extend(key_error);
    let (journals, errors) =
        match findings.checked.report.opened.as_ref().map(|opened| opened.checkpoint.size) {
            // What is in a log that is not whole is no measure for journals.
            Some(size) if findings.is_ok() => check_journals(instance, &place, size)?,
            _ => (Vec::new(), Vec::new()),
        };
    findings.checked.errors.extend(errors);
    findings.checked.errors.extend(journals.iter().flat_map(|journal| journal.errors.clone()));
    if out.json {
        let mut json = as_json(&findings);
        let list = journals.iter().map(|j| {
            json!({"journal": j.name, "logged": j.logged, "waiting": j.waiting, "ok": j.errors.is_empty()})
        });
        json["journals"] = list.collect::<Vec<_>>().into();
        out.json_line(&json)?;
    } else {
        print(&place, &findings, out)?;
        for journal in &journals {
            let waiting = match journal.waiting {
                0 => String::new(),
                n => format!(", {n} wait to be shipped"),
            };
            let mark = if journal.errors.is_empty() { out.style.good(&'✓') } else { out.style.bad(&'✗') };
            writeln!(out, "{mark} {}: {} records in the log{waiting}", tame(&journal.name), journal.logged)?;
        }
        print_errors(&findings.checked.errors, out)?;
    }
    Ok(if findings.is_ok() { Exit::Done } else { Exit::Failed })
}

/// The secret key belongs to the public one, and nobody else can read it.
fn check_key_pair(place: &Place, findings: &Findings) -> Result<(), String> {
    let path = place.secret_key_file();
    let failed = |why: String| format!("keys/immutable_log.key: {why}");
    let mode = std::fs::metadata(&path).map_err(|e| failed(e.to_string()))?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(failed(format!("others may read it (mode {mode:o}); it should have mode 600")));
    }
    let text = read_bounded(&path, limits::KEY_BYTES).map_err(|e| failed(e.to_string()))?;
    let text = String::from_utf8(text).map_err(|_| failed("the key is damaged: it is not text".into()))?;
    let key = SignerKey::from_secret_text(text.strip_suffix('\n').unwrap_or(&text));
    let key = key.map_err(|e| failed(e.to_string()))?;
    if findings.trust.as_ref().is_some_and(|trust| trust.log != *key.verifier()) {
        return Err(failed("it does not belong to keys/immutable_log.vkey".into()));
    }
    Ok(())
}

/// What there is to tell about a journal.
struct JournalFindings {
    name: String,
    /// Records that the log has.
    logged: u64,
    /// Records that it has not yet.
    waiting: u64,
    errors: Vec<String>,
}

/// The digests of the records of each source, in order of their sequence numbers.
type Logged = BTreeMap<Source, Vec<[u8; 32]>>;

/// What there is to tell about each journal, and what is wrong with the log's own order.
fn check_journals(
    instance: &Instance,
    place: &Place,
    size: u64,
) -> Result<(Vec<JournalFindings>, Vec<String>), Failure> {
    let (mut logged, mut errors) = (Logged::new(), Vec::new());
    entries::each(place, size, 0..size, |index, entry| {
        if let Err(error) = take_in(&mut logged, entry)
            && errors.len() < limits::JOURNAL_ERRORS
        {
            errors.push(format!("entry {index}: {error}"));
        }
        Ok(())
    })?;
    let mut names: Vec<String> = std::fs::read_dir(instance.journals())
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            entry.ok()?.file_name().to_str()?.strip_suffix(EXTENSION)?.strip_suffix('.').map(str::to_owned)
        })
        .collect();
    names.sort();
    Ok((names.iter().map(|name| check_journal(instance, name, &logged)).collect(), errors))
}

/// Notes the digest of an entry's record, which must be the next of its source.
fn take_in(logged: &mut Logged, entry: &[u8]) -> Result<(), String> {
    let entry = LogEntry::read(entry).map_err(|e| e.to_string())?;
    let digest = match &entry.content {
        Content::Record(record) => Sha256::digest(record.get()).into(),
        Content::Blob(blob) => unhex(&blob.sha256).ok_or("it names a blob by what is not a digest")?,
    };
    let name = entry.source.to_string();
    let known = logged.entry(entry.source).or_default();
    let next = known.len() as u64 + 1;
    if entry.sequence < next {
        return Err(format!("record {} of {name} is there a second time", entry.sequence));
    }
    let missing = entry.sequence - next;
    if missing > 0 {
        // What follows is not compared: it would be reported again for each record.
        return Err(format!("{missing} records of {name} from {next} on are missing before this one"));
    }
    known.push(digest);
    Ok(())
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, digits) in digest.iter_mut().zip(text.as_bytes().as_chunks::<2>().0) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    (hex(&digest) == text).then_some(digest)
}

fn check_journal(instance: &Instance, name: &str, logged: &Logged) -> JournalFindings {
    let mut findings = JournalFindings { name: name.to_owned(), logged: 0, waiting: 0, errors: Vec::new() };
    if let Err(error) = compare(instance, name, logged, &mut findings) {
        findings.errors.push(format!("journals/{name}.journal: {error}"));
    }
    findings
}

fn compare(
    instance: &Instance,
    name: &str,
    logged: &Logged,
    findings: &mut JournalFindings,
) -> Result<(), String> {
    let mut reader = match FileReader::open(instance.journal(name)) {
        Ok(reader) => reader,
        // One that is only now being made has nothing to compare.
        Err(StoreError::Missing { .. }) => return Ok(()),
        Err(e) => return Err(e.to_string()),
    };
    let source = Source { component: name.to_owned(), journal: reader.id() };
    let digests = logged.get(&source).map_or(&[] as &[_], Vec::as_slice);
    findings.logged = digests.len() as u64;
    let last = reader.last().map_err(|e| e.to_string())?.0;
    if last < findings.logged {
        let logged = findings.logged;
        return Err(format!(
            "it ends at record {last}, and the log has {logged}: acknowledged records are gone"
        ));
    }
    findings.waiting = last - findings.logged;
    let (mut next, mut altered) = (1, None);
    while next <= findings.logged && altered.is_none() {
        let before = next;
        let read = reader.read(Seq(next), limits::JOURNAL_READ_BYTES, &mut |record| {
            let known = usize::try_from(record.seq.0 - 1).ok().and_then(|at| digests.get(at));
            match known {
                Some(known) if known[..] != Sha256::digest(record.payload)[..] => {
                    altered = Some(record.seq.0);
                }
                Some(_) => {}
                None => return ControlFlow::Break(()),
            }
            next = record.seq.0 + 1;
            if altered.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        match read {
            Ok(()) if next == before => break,
            Ok(()) => {}
            // Records that a snapshot made superfluous are gone from the journal, and kept in the log.
            Err(StoreError::Range { .. }) => next = first_kept(&mut reader, next, findings.logged)?,
            Err(e) => return Err(e.to_string()),
        }
    }
    match altered {
        Some(at) => Err(format!("record {at} is not the one that the log has")),
        None => Ok(()),
    }
}

/// The first record that the journal still has, between `gone`, which it has not, and the one after `logged`.
fn first_kept(reader: &mut FileReader, mut gone: u64, logged: u64) -> Result<u64, String> {
    let mut kept = logged + 1;
    while kept - gone > 1 {
        let middle = gone + (kept - gone) / 2;
        match reader.read(Seq(middle), 1, &mut |_| ControlFlow::Break(())) {
            Ok(()) => kept = middle,
            Err(StoreError::Range { .. }) => gone = middle,
            Err(e) => return Err(e.to_string()),
        }
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use grace_types::evidence::{Blob, JournalId, write_blob_entry, write_entry};

    use super::*;

    #[test]
    fn a_gap_a_duplicate_and_a_stranger_are_told_apart() {
        let mut logged = Logged::new();
        let mut take = |journal, sequence| {
            let mut entry = Vec::new();
            write_entry(&mut entry, &Source::new("a", JournalId(journal)).unwrap(), sequence, b"{}");
            take_in(&mut logged, &entry)
        };
        // A journal that was begun anew is another source.
        for (journal, sequence) in [(1, 1), (1, 2), (2, 1), (1, 3)] {
            assert_eq!(take(journal, sequence), Ok(()));
        }
        let name = "a@0000000000000001";
        assert_eq!(take(1, 3).unwrap_err(), format!("record 3 of {name} is there a second time"));
        assert_eq!(
            take(1, 6).unwrap_err(),
            format!("2 records of {name} from 4 on are missing before this one")
        );
        assert!(take_in(&mut logged, b"{}").is_err());
        let (mut entry, source) = (Vec::new(), Source::new("b", JournalId(1)).unwrap());
        write_blob_entry(&mut entry, &source, 1, &Blob { sha256: "AB".repeat(32), size: 1 });
        assert!(take_in(&mut logged, &entry).unwrap_err().contains("not a digest"));
        entry.clear();
        write_blob_entry(&mut entry, &source, 1, &Blob { sha256: "ab".repeat(32), size: 1 });
        assert_eq!((take_in(&mut logged, &entry), logged[&source][0]), (Ok(()), [0xab; 32]));
    }
}
