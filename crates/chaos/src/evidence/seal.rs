//! Anchoring the evidence in the log: the digest of all digests becomes an event of the run, and that event an entry of the log.

use std::{ops::Range, thread};

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

/// What the chaos component records, as an event of type `dev.grace.chaos.evidence_sealed.v1`, with these fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealEvent {
    /// The run.
    pub run: String,
    /// SHA-256 of `digests.json`, in hexadecimal.
    pub digest: String,
}

/// The event's entry in the log, and the proof file of it.
pub(super) struct Seal {
    pub(super) entry: Vec<u8>,
    pub(super) proof: Vec<u8>,
}

/// Has the event recorded, and waits until it is in the log.
pub(super) fn wait(event: &SealEvent, logged: &Logged, sources: &mut Sources<'_>) -> Result<Seal, String> {
    (sources.seal)(event).map_err(|e| format!("the event could not be recorded: {e}"))?;
    let deadline = sources.clock.now().mono.plus(limits::SEAL_TIME);
    let mut searched = logged.size;
    loop {
        match look(event, logged, &mut searched) {
            Ok(Some(found)) => return Ok(found),
            Ok(None) if sources.clock.now().mono < deadline => thread::park_timeout(limits::SEAL_PAUSE),
            Ok(None) => {
                let seconds = limits::SEAL_TIME.as_secs();
                return Err(format!("the event was recorded, but was not in the log within {seconds} s"));
            }
            // The log may be down, and coming back.
            Err(_) if sources.clock.now().mono < deadline => thread::park_timeout(limits::SEAL_PAUSE),
            Err(why) => return Err(format!("the log cannot be read: {why}")),
        }
    }
}

/// Looks at the entries from `searched` on.
fn look(event: &SealEvent, logged: &Logged, searched: &mut u64) -> Result<Option<Seal>, String> {
    let note = logged.folder.read(CHECKPOINT_PATH, NOTE_BYTES).map_err(|e| e.to_string())?;
    let note = note.ok_or("there is no checkpoint")?;
    let Opened { checkpoint, .. } = logged.trust.open(&note).map_err(|e| e.to_string())?;
    let fresh: Range<u64> = *searched..checkpoint.size;
    for index in fresh {
        let entry = read_entry(&logged.folder, checkpoint.size, index).map_err(|e| e.to_string())?;
        // Few entries hold the digest; only those are worth a look.
        if contains(&entry, event.digest.as_bytes()) {
            let note = Note::parse(&note).map_err(|e| e.to_string())?;
            let proof =
                ProofFile::make(&logged.folder, index, checkpoint.size, note).map_err(|e| e.to_string())?;
            proof.verify(&entry, &logged.trust).map_err(|e| e.to_string())?;
            if crate::bundle::verify::is_seal(&entry, event).is_ok() {
                return Ok(Some(Seal { entry, proof: proof.to_string().into_bytes() }));
            }
        }
        *searched = index + 1;
    }
    Ok(None)
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
