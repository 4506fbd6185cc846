//! `grace log`: the tamper-evident log, read from its files alone, so that it works with everything down, and beside a Grace
//! that is appending to it.
//!
//! ```text
//! place (which folder, which key) ─► view (one checkpoint, files of that size) ─► grace_log::verify ─► check ─► verify, fsck
//!                                └─► show (one entry as a line) ─► tail        └─► prove, checkpoint, cosign
//! ```

pub(crate) mod args;
pub(crate) mod check;
mod cosign;
pub(crate) mod entries;
mod fsck;
pub(crate) mod place;
mod prove;
pub(crate) mod tail;
pub(crate) mod verify;
mod view;

use std::io::Write as _;

use grace_core::instance::Instance;
use serde_json::json;

use self::{args::Log, place::Place};
use crate::{
    failure::{Exit, Failure},
    output::Output,
};

/// Runs a command of `grace log`.
pub(crate) fn run(instance: &Instance, command: &Log, out: &mut Output) -> Result<Exit, Failure> {
    match command {
        Log::Tail(args) => tail::run(&Place::of(instance)?, args, out),
        Log::Checkpoint => checkpoint(&Place::of(instance)?, out),
        Log::Prove(args) => prove::run(&Place::of(instance)?, args, out),
        Log::Verify(args) => verify::run(instance, args, out),
        Log::Fsck => fsck::run(instance, out),
        Log::Cosign(args) => cosign::run(&Place::of(instance)?, args, out),
    }
}

/// Prints the signed checkpoint, once its signature was checked.
fn checkpoint(place: &Place, out: &mut Output) -> Result<Exit, Failure> {
    let trust = place.trust()?;
    let (note, opened) = place.checkpoint(&trust)?;
    // What was opened is UTF-8.
    let note = String::from_utf8_lossy(&note);
    if out.json {
        let checkpoint = &opened.checkpoint;
        out.json_line(&json!({
            "origin": checkpoint.origin,
            "size": checkpoint.size,
            "root": checkpoint.root.to_string(),
            "key": trust.log.to_string(),
            "note": note,
        }))?;
    } else {
        // The note alone on standard output, so that it can be kept as a file.
        write!(out, "{note}")?;
        out.flush()?;
        let _ = writeln!(std::io::stderr(), "verifier key: {}", trust.log);
    }
    Ok(Exit::Done)
}
