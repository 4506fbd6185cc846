//! Anchoring the evidence in the log: the digest of all digests becomes an event of the run, and that event an entry of the log. The
//! run's judgement, which is recorded before it, is taken from there too, so that the record of the run can be held against it.

use std::thread;

use grace_log::{
    checkpoint::Opened,
    files::{Files, read_entry},
    limits::NOTE_BYTES,
    note::Note,
    proof_file::ProofFile,
    tile::CHECKPOINT_PATH,
};
use serde::{Deserialize, Serialize};

use super::{Sources, limits, log::Logged};
use crate::bundle::verify::{is_seal, judgement};

/// What the chaos component records, as an event of type `dev.grace.chaos.evidence_sealed.v1`, with these fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealEvent {
    /// The run.
    pub run: String,
    /// SHA-256 of `digests.json`, in hexadecimal.
    pub digest: String,
}

/// The event's entry in the log, and that of the run's judgement, each with its proof file.
pub(super) struct Seal {
    pub(super) entry: Vec<u8>,
    pub(super) proof: Vec<u8>,
    pub(super) judged: Vec<u8>,
    pub(super) judged_proof: Vec<u8>,
}

/// How far the log was looked through.
struct Search {
    /// The next entry.
    next: u64,
    /// The judgement, which comes before the seal: where it is, and its entry.
    judged: Option<(u64, Vec<u8>)>,
    /// The checkpoint up to which that was.
    note: Vec<u8>,
}

/// Has the event recorded, and waits until it is in the log.
pub(super) fn wait(event: &SealEvent, logged: &Logged, sources: &mut Sources<'_>) -> Result<Seal, String> {
    (sources.seal)(event).map_err(|e| format!("the event could not be recorded: {e}"))?;
    let began = sources.clock.now().mono;
    let deadline = began.plus(limits::SEAL_TIME);
    let mut search = Search { next: logged.before, judged: None, note: Vec::new() };
    loop {
        match look(event, logged, &mut search) {
            Ok(Some(found)) => return Ok(found),
            Ok(None) if sources.clock.now().mono < deadline => {}
            Ok(None) => {
                let seconds = limits::SEAL_TIME.as_secs();
                return Err(format!("the event was recorded, but was not in the log within {seconds} s"));
            }
            // The log may be down, and coming back.
            Err(_) if sources.clock.now().mono < deadline => {}
            Err(why) => return Err(format!("the log cannot be read: {why}")),
        }
        let pause = sources.clock.now().mono.since(began) / 8;
        thread::park_timeout(pause.clamp(limits::SEAL_PAUSE, limits::SEAL_PAUSE_LONGEST));
    }
}

/// Looks at the entries that were not looked at yet.
fn look(event: &SealEvent, logged: &Logged, search: &mut Search) -> Result<Option<Seal>, String> {
    let note = logged.folder.read(CHECKPOINT_PATH, NOTE_BYTES).map_err(|e| e.to_string())?;
    let note = note.ok_or("there is no checkpoint")?;
    if *note == *search.note {
        return Ok(None);
    }
    let Opened { checkpoint, .. } = logged.trust.open(&note).map_err(|e| e.to_string())?;
    let prove = |index: u64, entry: &[u8]| {
        let note = Note::parse(&note).map_err(|e| e.to_string())?;
        let proof =
            ProofFile::make(&logged.folder, index, checkpoint.size, note).map_err(|e| e.to_string())?;
        proof.verify(entry, &logged.trust).map_err(|e| e.to_string())?;
        Ok::<_, String>(proof.to_string().into_bytes())
    };
    for index in search.next..checkpoint.size {
        let entry = read_entry(&logged.folder, checkpoint.size, index).map_err(|e| e.to_string())?;
        // Few entries are of this run; only those are worth a look.
        if contains(&entry, event.run.as_bytes()) {
            if judgement(&entry, &event.run).is_ok() {
                search.judged = Some((index, entry));
            } else if is_seal(&entry, event).is_ok() {
                let (at, judged) = search.judged.take().ok_or("the judgement is not in the log")?;
                let (judged_proof, proof) = (prove(at, &judged)?, prove(index, &entry)?);
                return Ok(Some(Seal { entry, proof, judged, judged_proof }));
            }
        }
        search.next = index + 1;
    }
    search.note = note.into_owned();
    Ok(None)
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
