//! `grace log tail`: the last entries, and with `--follow` those that are sealed from now on.

use std::{io::Write as _, ops::Range, thread};

use grace_log::{checkpoint::Checkpoint, hash::leaf_hash, note::Note};
use serde_json::{json, value::RawValue};

use super::{args::Tail, entries, place::Place};
use crate::{
    failure::{Exit, Failure},
    limits,
    output::Output,
};

/// Prints entries.
pub(crate) fn run(place: &Place, args: &Tail, out: &mut Output) -> Result<Exit, Failure> {
    // A log that has just been begun has no checkpoint yet; whoever follows it waits for the first.
    let mut shown = match size(place) {
        Ok(size) => {
            print(place, size, size.saturating_sub(args.lines)..size, out)?;
            size
        }
        Err(failure) if args.follow && failure.code == "no_log" => 0,
        Err(failure) => return Err(failure),
    };
    if !args.follow {
        return Ok(Exit::Done);
    }
    loop {
        thread::park_timeout(limits::FOLLOW_PAUSE);
        let size = match size(place) {
            Ok(size) => size,
            Err(failure) if failure.code == "no_log" => continue,
            Err(failure) => return Err(failure),
        };
        if size < shown {
            let what =
                format!("the log has {size} entries and had {shown}: it was rolled back or begun anew");
            return Err(Failure::new(Exit::Failed, "log_not_whole", what)
                .at(&place.log.display())
                .help("`grace log verify --known` holds it against a checkpoint that you kept"));
        }
        print(place, size, shown..size, out)?;
        shown = size;
    }
}

/// Entries that are sealed. The signature is not checked here.
pub(crate) fn size(place: &Place) -> Result<u64, Failure> {
    let failed = |why: String| {
        Failure::new(Exit::Failed, "log_not_whole", format!("the checkpoint is damaged: {why}"))
            .at(&place.log.join("checkpoint").display())
            .help("`grace log verify` looks at the whole log")
    };
    let note = Note::parse(&place.note()?).map_err(|e| failed(e.to_string()))?;
    Ok(Checkpoint::parse(&note.text).map_err(|e| failed(e.to_string()))?.size)
}

fn print(place: &Place, size: u64, range: Range<u64>, out: &mut Output) -> Result<(), Failure> {
    entries::each(place, size, range, |index, entry| {
        if out.json {
            // Whatever was logged, a line stays one JSON document.
            let parsed =
                std::str::from_utf8(entry).ok().and_then(|text| serde_json::from_str::<&RawValue>(text).ok());
            let object = match parsed {
                Some(entry) if !entry.get().contains(['\n', '\r']) => {
                    json!({"index": index, "leaf": leaf_hash(entry.get().as_bytes()).to_string(), "entry": entry})
                }
                _ => {
                    let text = String::from_utf8_lossy(entry);
                    json!({"index": index, "leaf": leaf_hash(entry).to_string(), "entry": text})
                }
            };
            writeln!(out, "{object}")?;
        } else {
            writeln!(out, "{}", entries::line(place, index, entry, out.style))?;
        }
        Ok(())
    })?;
    out.flush()?;
    Ok(())
}
