//! The check of an unpacked bundle: every file is the one that was sealed, the seal is in the log, and so is every entry.
//!
//! Whatever is wrong is named and the rest is still looked at. Nothing outside the bundle is asked, but for the log's key if the
//! caller knows it. Without it, the key in the bundle is believed, and the verdict says so: then the bundle vouches for itself, against
//! accidents and half-hearted changes, but not against somebody who makes a new key and signs everything anew.

use std::collections::BTreeSet;

use grace_log::{
    checkpoint::{Checkpoint, Opened, Trust},
    hash::leaf_hash,
    note::VerifierKey,
    proof::{verify_consistency, verify_inclusion},
    proof_file::ProofFile,
    witness::AddCheckpoint,
};
use grace_types::{
    evidence::{Content, LogEntry},
    narrative::Narrative,
};

use super::{
    BLOBS, CHECKPOINT, CHECKPOINT_BEFORE, CONSISTENCY, DIGESTS, DUMPS, ENTRIES, Files, INCIDENT, JUDGED,
    JUDGED_ACTION, JUDGED_PROOF, KEY, LEFT_OUT, LeftOut, NARRATIVES, PROOFS, REPORT, RESOURCES, SCENARIO,
    SEAL, SEAL_ACTION, SEAL_COMPONENT, SEAL_PROOF, TELEMETRY, UNSEALED,
    digests::{self, Digests, is_listed, sha256},
    entry_name, limits, proof_name,
};
use crate::{
    evidence::SealEvent,
    record::{self, Judgement, LogPoint, RunRecord},
};

/// What a check found.
#[derive(Debug, Default)]
pub struct Verdict {
    /// What is wrong, a sentence each, beginning with the file. With [`limits::FAULTS`] of them no more are named.
    pub errors: Vec<String>,
    /// Faults past those.
    pub more_errors: u64,
    /// The run, if it could be read.
    pub record: Option<Box<RunRecord>>,
    /// The key that everything was checked with.
    pub key: Option<VerifierKey>,
    /// Whether that key came with the bundle, so that nobody but the bundle says that it is the log's.
    pub key_from_bundle: bool,
    /// Files.
    pub files: usize,
    /// Bytes of them.
    pub bytes: u64,
    /// Log entries whose proof holds.
    pub entries: u64,
    /// Entries of the run's time that are not in the bundle.
    pub left_out: u64,
    /// The seal's place in the log, if it holds.
    pub seal_index: Option<u64>,
}

impl Verdict {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.errors.is_empty()
    }

    fn add(&mut self, name: &str, problem: impl std::fmt::Display) {
        if self.errors.len() < limits::FAULTS {
            self.errors.push(format!("{name}: {problem}"));
        } else {
            self.more_errors += 1;
        }
    }
}

/// Checks the files of a bundle; the log's key is `key`, if the caller knows it.
#[must_use]
pub fn verify(files: &Files, key: Option<&VerifierKey>) -> Verdict {
    let bytes = files.values().map(|bytes| bytes.len() as u64).sum();
    let mut verdict = Verdict { files: files.len(), bytes, ..Verdict::default() };
    check_names(files, &mut verdict);
    let digests = check_digests(files, &mut verdict);
    check_incident(files, digests.as_ref(), &mut verdict);
    let Some(trust) = choose_key(files, key, &mut verdict) else { return verdict };
    if let Some(opened) = check_checkpoints(files, &trust, &mut verdict) {
        check_entries(files, &opened, &mut verdict);
    }
    match check_seal(files, digests.as_ref(), &trust) {
        Ok(index) => {
            verdict.seal_index = Some(index);
            if files.contains_key(UNSEALED) {
                verdict.add(UNSEALED, "the bundle has a seal, so this file has no place in it");
            }
            if let Err((name, problem)) = check_judgement(files, index, &trust, verdict.record.as_deref()) {
                verdict.add(name, problem);
            }
        }
        Err((name, problem)) => verdict.add(name, problem),
    }
    verdict
}

/// What every bundle has.
const ALWAYS: [&str; 7] = [INCIDENT, SCENARIO, REPORT, RESOURCES, TELEMETRY, NARRATIVES, DIGESTS];
/// What it may have.
const SOMETIMES: [&str; 10] = [
    JUDGED,
    JUDGED_PROOF,
    SEAL,
    SEAL_PROOF,
    UNSEALED,
    CHECKPOINT,
    CHECKPOINT_BEFORE,
    CONSISTENCY,
    KEY,
    LEFT_OUT,
];
const FOLDERS: [&str; 4] = [DUMPS, ENTRIES, PROOFS, BLOBS];

/// All that belongs there is there, and nothing else.
fn check_names(files: &Files, verdict: &mut Verdict) {
    for name in ALWAYS {
        if !files.contains_key(name) {
            verdict.add(name, "the file is missing");
        }
    }
    for name in files.keys() {
        let known = ALWAYS.contains(&name.as_str()) || SOMETIMES.contains(&name.as_str());
        if !known && !FOLDERS.iter().any(|folder| name.starts_with(folder)) {
            verdict.add(name, "this file is no part of a bundle");
        }
    }
}

/// Every file has its digest, and every digest its file.
fn check_digests(files: &Files, verdict: &mut Verdict) -> Option<Digests> {
    let digests: Digests = match serde_json::from_slice(files.get(DIGESTS)?) {
        Ok(digests) => digests,
        Err(e) => {
            verdict.add(DIGESTS, format!("it cannot be read: {e}"));
            return None;
        }
    };
    if digests.format != digests::FORMAT {
        verdict
            .add(DIGESTS, format!("its form is {}, and {} is known here", digests.format, digests::FORMAT));
    }
    let mut listed = BTreeSet::new();
    for file in &digests.files {
        listed.insert(file.name.as_str());
        match files.get(&file.name) {
            None => verdict.add(&file.name, "the file is missing"),
            Some(_) if !is_listed(&file.name) => {
                verdict.add(&file.name, "this file has no place in the list");
            }
            Some(bytes) if bytes.len() as u64 != file.size => {
                verdict.add(&file.name, format!("it has {} bytes and had {}", bytes.len(), file.size));
            }
            Some(bytes) if sha256(bytes) != file.sha256 => {
                verdict.add(&file.name, "it was altered: its digest is another");
            }
            Some(_) => {}
        }
    }
    for name in files.keys().filter(|name| is_listed(name) && !listed.contains(name.as_str())) {
        verdict.add(name, format!("the file is not in {DIGESTS}: it was added"));
    }
    Some(digests)
}

/// The record of the run has the form of its schema, and is of the run that was sealed.
fn check_incident(files: &Files, digests: Option<&Digests>, verdict: &mut Verdict) {
    let Some(bytes) = files.get(INCIDENT) else { return };
    let record: RunRecord = match serde_json::from_slice(bytes) {
        Ok(record) => record,
        Err(e) => return verdict.add(INCIDENT, format!("it is not of the form that an incident has: {e}")),
    };
    if record.format != record::FORMAT {
        verdict.add(INCIDENT, format!("its form is {}, and {} is known here", record.format, record::FORMAT));
    }
    if digests.is_some_and(|digests| digests.run != record.run) {
        verdict.add(INCIDENT, "it is of another run than the one that was sealed");
    }
    let scenario = files.get(SCENARIO).map(|text| (text == record.scenario.text.as_bytes(), sha256(text)));
    if scenario.is_some_and(|(same, digest)| !same || digest != record.scenario.sha256) {
        verdict.add(INCIDENT, format!("the scenario in it is not {SCENARIO}"));
    }
    verdict.record = Some(Box::new(record));
}

/// The caller's key, which must be the bundle's, or the bundle's.
fn choose_key(files: &Files, key: Option<&VerifierKey>, verdict: &mut Verdict) -> Option<Trust> {
    let inside = files.get(KEY).map(|bytes| {
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        text.trim_end_matches('\n').parse::<VerifierKey>()
    });
    match (&inside, key) {
        (Some(Err(e)), _) => verdict.add(KEY, e),
        (Some(Ok(inside)), Some(key)) if inside != key => {
            verdict.add(
                KEY,
                format!("the bundle is of the log {}, and not of the one whose key was given", inside.name()),
            );
        }
        (None, None) => verdict.add(KEY, "the file is missing, and no key was given"),
        _ => {}
    }
    verdict.key_from_bundle = key.is_none();
    verdict.key = key.cloned().or(inside.and_then(Result::ok));
    verdict.key.clone().map(Trust::in_log)
}

/// Both checkpoints are the log's, and the later one contains the earlier.
fn check_checkpoints(
    files: &Files,
    trust: &Trust,
    verdict: &mut Verdict,
) -> Option<(Checkpoint, Checkpoint)> {
    let mut open = |name: &str| -> Option<Checkpoint> {
        let Some(note) = files.get(name) else {
            verdict.add(name, "the file is missing");
            return None;
        };
        match trust.open(note) {
            Ok(Opened { checkpoint, .. }) => Some(checkpoint),
            Err(e) => {
                verdict.add(name, e);
                None
            }
        }
    };
    let (before, after) = (open(CHECKPOINT_BEFORE), open(CHECKPOINT));
    let (before, after) = (before?, after?);
    let proof = files.get(CONSISTENCY).map(|bytes| AddCheckpoint::parse(bytes));
    let proved = match proof {
        None => Err("the file is missing".to_owned()),
        Some(Err(e)) => Err(e.to_string()),
        Some(Ok(proof)) if proof.old != before.size => Err("it begins at another checkpoint".to_owned()),
        Some(Ok(proof)) => verify_consistency(before.size, before.root, after.size, after.root, &proof.proof)
            .map_err(|e| e.to_string()),
    };
    if let Err(problem) = proved {
        verdict.add(CONSISTENCY, problem);
    }
    let recorded = verdict.record.as_ref().and_then(|record| record.log.clone());
    let says = |point: &LogPoint, checkpoint: &Checkpoint| {
        point.size == checkpoint.size && point.root == checkpoint.root.to_string()
    };
    if recorded.is_none_or(|log| !says(&log.before, &before) || !says(&log.after, &after)) {
        verdict.add(INCIDENT, "the log's sizes in it are not those of the checkpoints");
    }
    Some((before, after))
}

/// Every entry between the checkpoints is there and proved, and no other.
fn check_entries(files: &Files, (before, after): &(Checkpoint, Checkpoint), verdict: &mut Verdict) {
    let left_out = match files.get(LEFT_OUT).map(|bytes| serde_json::from_slice::<LeftOut>(bytes)) {
        None => LeftOut { from: after.size, to: after.size },
        Some(Ok(left_out)) => left_out,
        Some(Err(e)) => return verdict.add(LEFT_OUT, e),
    };
    if left_out.from < before.size || left_out.to < left_out.from || after.size < left_out.to {
        return verdict.add(LEFT_OUT, "no such entries are between the checkpoints");
    }
    verdict.left_out = left_out.to - left_out.from;
    let mut expected = BTreeSet::new();
    let kept = (before.size..left_out.from).chain(left_out.to..after.size);
    // One more than there can be: a checkpoint may state any size, and nobody should count that far.
    for index in kept.take(usize::try_from(limits::LOG_ENTRIES).unwrap_or(usize::MAX) + 1) {
        let (entry, proof) = (entry_name(index), proof_name(index));
        match (files.get(&entry), files.get(&proof)) {
            (Some(bytes), Some(proved)) => match check_entry(bytes, proved, index, after) {
                Ok(()) => {
                    verdict.entries += 1;
                    check_blob(files, bytes, &entry, verdict);
                }
                Err(problem) => verdict.add(&proof, problem),
            },
            (None, _) => verdict.add(&entry, "the file is missing"),
            (_, None) => verdict.add(&proof, "the file is missing"),
        }
        expected.extend([entry, proof]);
        if verdict.more_errors > 0 {
            return;
        }
    }
    let unexpected = |name: &&String| name.starts_with(ENTRIES) || name.starts_with(PROOFS);
    for name in files.keys().filter(unexpected).filter(|name| !expected.contains(name.as_str())) {
        verdict.add(name, "no such entry is between the checkpoints");
    }
}

fn check_entry(entry: &[u8], proof: &[u8], index: u64, after: &Checkpoint) -> Result<(), String> {
    let proof = ProofFile::parse(proof).map_err(|e| e.to_string())?;
    if proof.index != index {
        return Err(format!("it proves entry {}", proof.index));
    }
    // The same text was opened with the key; a signature takes far longer to check than a proof.
    if proof.checkpoint.text != after.to_string() {
        return Err(format!("its checkpoint is not that of {CHECKPOINT}"));
    }
    verify_inclusion(leaf_hash(entry), index, after.size, after.root, &proof.path).map_err(|e| e.to_string())
}

/// A record that lies beside the log is the one that the entry names.
fn check_blob(files: &Files, entry: &[u8], name: &str, verdict: &mut Verdict) {
    let Ok(LogEntry { content: Content::Blob(blob), .. }) = LogEntry::read(entry) else { return };
    let path = format!("{BLOBS}{}", blob.sha256);
    match files.get(&path) {
        None => verdict.add(name, format!("the record that it names, {path}, is missing")),
        Some(bytes) if sha256(bytes) != blob.sha256 => {
            verdict.add(&path, "it is not the record that was logged");
        }
        Some(_) => {}
    }
}

/// The digest of `digests.json` stands in an entry of the log. Gives the entry's index.
fn check_seal(
    files: &Files,
    digests: Option<&Digests>,
    trust: &Trust,
) -> Result<u64, (&'static str, String)> {
    let (Some(entry), Some(proof)) = (files.get(SEAL), files.get(SEAL_PROOF)) else {
        let why = files.get(UNSEALED).map(|bytes| String::from_utf8_lossy(bytes));
        let why = why.map_or("the file is missing".into(), |why| {
            format!("the bundle was made without a seal: {}", why.trim_end())
        });
        return Err((SEAL, why));
    };
    let digests = digests.ok_or((DIGESTS, "nothing in it can be held against the seal".to_owned()))?;
    let digest = files.get(DIGESTS).map(|bytes| sha256(bytes)).unwrap_or_default();
    is_seal(entry, &SealEvent { run: digests.run.clone(), digest }).map_err(|why| (SEAL, why))?;
    let proof = ProofFile::parse(proof).map_err(|e| (SEAL_PROOF, e.to_string()))?;
    proof.verify(entry, trust).map_err(|e| (SEAL_PROOF, e.to_string()))?;
    Ok(proof.index)
}

/// The judgement in the log is of this run, was recorded before the seal, and says the same as the record of the run.
fn check_judgement(
    files: &Files,
    seal: u64,
    trust: &Trust,
    record: Option<&RunRecord>,
) -> Result<(), (&'static str, String)> {
    let file = |name| files.get(name).ok_or((name, "the file is missing".to_owned()));
    let (entry, proof) = (file(JUDGED)?, file(JUDGED_PROOF)?);
    // Without a record there is a fault already.
    let Some(record) = record else { return Ok(()) };
    let judged = judgement(entry, &record.run).map_err(|why| (JUDGED, why))?;
    let proof = ProofFile::parse(proof).map_err(|e| (JUDGED_PROOF, e.to_string()))?;
    proof.verify(entry, trust).map_err(|e| (JUDGED_PROOF, e.to_string()))?;
    if proof.index >= seal {
        return Err((JUDGED, "it was recorded after the seal".to_owned()));
    }
    if judged != record.judgement {
        let word = |judgement: &Judgement| if judgement.passed { "passed" } else { "failed" };
        let (says, log) = (word(&record.judgement), word(&judged));
        let why = format!("it says that the run {says}, which is not what the log holds: {log}");
        return Err((
            INCIDENT,
            if says == log { "its reasons are not those that the log holds".to_owned() } else { why },
        ));
    }
    Ok(())
}

/// The judgement of `run` that a log entry holds; if it holds none, why.
pub(crate) fn judgement(entry: &[u8], run: &str) -> Result<Judgement, String> {
    #[derive(serde::Deserialize)]
    struct Judged {
        run: String,
        #[serde(flatten)]
        judgement: Judgement,
    }
    let judged: Judged = event_of(entry, JUDGED_ACTION)?.ok_or("it judges nothing")?;
    if judged.run == run { Ok(judged.judgement) } else { Err("it judges another run".to_owned()) }
}

/// The event of a log entry of the component that runs; none if it is another kind of event.
fn event_of<T: serde::de::DeserializeOwned>(entry: &[u8], action: &str) -> Result<Option<T>, String> {
    let read = LogEntry::read(entry).map_err(|e| e.to_string())?;
    if read.source.component != SEAL_COMPONENT {
        return Err("it is not of the component that seals evidence".to_owned());
    }
    let Content::Record(record) = read.content else { return Err("it holds no record".to_owned()) };
    let told = Narrative::read(record.get().as_bytes()).map_err(|e| e.to_string())?;
    let told = told.filter(|told| told.action() == action);
    told.map(|told| serde_json::from_value(told.event).map_err(|e| e.to_string())).transpose()
}

/// Whether a log entry is the seal that `event` asks for, and if not, why.
pub(crate) fn is_seal(entry: &[u8], event: &SealEvent) -> Result<(), String> {
    let sealed: SealEvent = event_of(entry, SEAL_ACTION)?.ok_or("it seals nothing")?;
    if sealed.run != event.run {
        return Err("it seals another run".to_owned());
    }
    if sealed.digest != event.digest {
        return Err(format!("it holds another digest than that of {DIGESTS}: that file was altered"));
    }
    Ok(())
}
