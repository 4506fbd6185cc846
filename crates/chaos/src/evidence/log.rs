//! The tamper-evident log's part of the evidence: the entries of the run's time, each with its proof.
//!
//! Everything is proved against the checkpoint after the run that stands in the record, and checked before it is kept: the log may be
//! what the run has damaged.

use std::{io, path::Path};

use grace_log::{
    checkpoint::{Checkpoint, Trust},
    files::{Files, ReadError, read_entry},
    note::{Note, VerifierKey},
    proof_file::ProofFile,
    witness::AddCheckpoint,
};
use grace_types::evidence::{Blob, Content, LogEntry};

use super::{Folder, limits, write};
use crate::{
    bundle::{
        BLOBS, CHECKPOINT, CHECKPOINT_BEFORE, CONSISTENCY, KEY, LEFT_OUT, LeftOut, entry_name,
        limits::LOG_ENTRIES, proof_name,
    },
    log_folder::LogFolder,
    record::LogRecord,
};

/// The log as it was at the end of the run.
pub(super) struct Logged {
    pub(super) folder: LogFolder,
    pub(super) trust: Trust,
    /// Entries before the first fault. The judgement and the seal come after them; a judgement may be in the log before its end was looked
    /// at.
    pub(super) before: u64,
}

/// Keeps the log's part. An error says why there is none, and so no seal; what is missing in it is added to `errors`.
pub(super) fn keep(
    folder: &Folder,
    data: &Path,
    record: Option<&LogRecord>,
    errors: &mut Vec<String>,
) -> Result<Logged, String> {
    let kept = keep_all(folder, data, record, errors);
    if let Err(why) = &kept {
        errors.push(format!("the log's entries could not be kept: {why}"));
    }
    kept
}

fn keep_all(
    folder: &Folder,
    data: &Path,
    record: Option<&LogRecord>,
    errors: &mut Vec<String>,
) -> Result<Logged, String> {
    let record = record.ok_or("the log could not be read before and after the run")?;
    let key = std::fs::read_to_string(data.join("keys/immutable_log.vkey"));
    let key = key.map_err(|e| format!("its key cannot be read: {e}"))?;
    let key: VerifierKey = key.trim_end_matches('\n').parse().map_err(|e| format!("its key: {e}"))?;
    let trust = Trust::in_log(key.clone());
    let open =
        |note: &str| trust.open(note.as_bytes()).map(|opened| opened.checkpoint).map_err(|e| e.to_string());
    let (before, after) = (open(&record.before.note)?, open(&record.after.note)?);
    let log = LogFolder::of(data);
    let note = Note::parse(record.after.note.as_bytes()).map_err(|e| e.to_string())?;
    let read = |e: ReadError| e.to_string();

    let consistency = AddCheckpoint::make(&log, before.size, after.size, note.clone()).map_err(read)?;
    for (name, text) in [
        (KEY, format!("{key}\n")),
        (CHECKPOINT_BEFORE, record.before.note.clone()),
        (CHECKPOINT, record.after.note.clone()),
        (CONSISTENCY, consistency.to_string()),
    ] {
        write(&folder.path, name, text.as_bytes()).map_err(|e| format!("{name}: {e}"))?;
    }
    let size = before.size;
    let kept = Keeping { folder, log, note, before, after, errors };
    Ok(Logged { folder: kept.entries()?, trust, before: size })
}

struct Keeping<'a> {
    folder: &'a Folder,
    log: LogFolder,
    note: Note,
    before: Checkpoint,
    after: Checkpoint,
    errors: &'a mut Vec<String>,
}

impl Keeping<'_> {
    fn entries(mut self) -> Result<LogFolder, String> {
        let (from, to) = (self.before.size, self.after.size);
        let mut left_out = LeftOut { from: to, to };
        if to - from > LOG_ENTRIES {
            left_out = LeftOut { from: from + LOG_ENTRIES / 2, to: to - LOG_ENTRIES / 2 };
            let text = serde_json::to_vec(&left_out).map_err(|e| e.to_string())?;
            write(&self.folder.path, LEFT_OUT, &text).map_err(|e| e.to_string())?;
            self.errors.push(format!(
                "{} entries were logged during the run: of those, {} from {} on were left out of the evidence",
                to - from,
                left_out.to - left_out.from,
                left_out.from
            ));
        }
        for index in (from..left_out.from).chain(left_out.to..to) {
            self.entry(index).map_err(|why| format!("entry {index}: {why}"))?;
        }
        Ok(self.log)
    }

    fn entry(&mut self, index: u64) -> Result<(), String> {
        let entry = read_entry(&self.log, self.after.size, index).map_err(|e| e.to_string())?;
        let proof = ProofFile::make(&self.log, index, self.after.size, self.note.clone());
        let proof = proof.map_err(|e| e.to_string())?;
        let (leaf, after) = (grace_log::hash::leaf_hash(&entry), &self.after);
        grace_log::proof::verify_inclusion(leaf, index, after.size, after.root, &proof.path)
            .map_err(|e| e.to_string())?;
        let files =
            [(entry_name(index), entry.as_slice()), (proof_name(index), proof.to_string().as_bytes())]
                .map(|(name, bytes)| write(&self.folder.path, &name, bytes));
        files.into_iter().collect::<io::Result<()>>().map_err(|e| e.to_string())?;
        if let Ok(LogEntry { content: Content::Blob(blob), .. }) = LogEntry::read(&entry) {
            self.blob(&blob).map_err(|e| format!("its record: {e}"))?;
        }
        Ok(())
    }

    fn blob(&self, Blob { sha256, .. }: &Blob) -> Result<(), String> {
        if sha256.len() != 64 || !sha256.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err("it is named by what is not a digest".to_owned());
        }
        let bytes =
            self.log.read(&format!("blobs/{sha256}"), limits::BLOB_BYTES).map_err(|e| e.to_string())?;
        let bytes = bytes.ok_or("the file is missing")?;
        if crate::bundle::digests::sha256(&bytes) != *sha256 {
            return Err("the file was altered, or is too long".to_owned());
        }
        write(&self.folder.path, &format!("{BLOBS}{sha256}"), &bytes).map_err(|e| e.to_string())
    }
}
