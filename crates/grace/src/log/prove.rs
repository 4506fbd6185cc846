//! `grace log prove`: a proof that an entry is in the log, checked before it is given away.

use std::{fs::OpenOptions, io::Write as _, os::unix::fs::OpenOptionsExt as _, path::Path};

use grace_log::{
    files::{ReadError, read_entry},
    hash::leaf_hash,
    note::Note,
    proof_file::ProofFile,
};
use serde_json::{json, value::RawValue};

use super::{args::Prove, place::Place};
use crate::{
    failure::{Exit, Failure},
    output::Output,
};

/// Makes, checks and prints a proof.
pub(crate) fn run(place: &Place, args: &Prove, out: &mut Output) -> Result<Exit, Failure> {
    let trust = place.trust()?;
    let (note, opened) = place.checkpoint(&trust)?;
    let size = opened.checkpoint.size;
    if args.index >= size {
        let what = format!("the log has no entry {}: it has {size}, from 0", args.index);
        return Err(Failure::new(Exit::Usage, "not_found", what)
            .at(&place.log.display())
            .help("`grace log tail` shows the last ones with their indexes"));
    }
    let not_whole = |why: String| {
        Failure::new(Exit::Failed, "log_not_whole", why)
            .at(&place.log.display())
            .help("`grace log verify` names every file that is not as it should be")
    };
    let read = |e: ReadError| not_whole(e.to_string());
    let entry = read_entry(&place.folder, size, args.index).map_err(read)?;
    let note = Note::parse(&note).map_err(|e| not_whole(e.to_string()))?;
    let proof = ProofFile::make(&place.folder, args.index, size, note).map_err(read)?;
    proof.verify(&entry, &trust).map_err(|e| not_whole(format!("entry {}: {e}", args.index)))?;

    if let Some(path) = &args.entry {
        write(path, &entry)?;
    }
    if let Some(path) = &args.out {
        write(path, proof.to_string().as_bytes())?;
    }
    if out.json {
        let text = std::str::from_utf8(&entry).ok();
        let parsed = text.and_then(|text| serde_json::from_str::<&RawValue>(text).ok());
        out.json_line(&json!({
            "index": args.index,
            "size": size,
            "leaf": leaf_hash(&entry).to_string(),
            "entry": parsed,
            "proof": proof.to_string(),
            "key": trust.log.to_string(),
        }))?;
        return Ok(Exit::Done);
    }
    if args.out.is_none() {
        write!(out, "{proof}")?;
        out.flush()?;
    }
    let file = |path: &Option<_>, else_: &str| {
        path.as_ref().map_or(else_.to_owned(), |p: &std::path::PathBuf| p.display().to_string())
    };
    // Standard output holds the proof alone.
    let _ = writeln!(
        std::io::stderr(),
        "entry {} is in the log of {size}; anyone can check it, without the log:\n  grace verify {} --entry {} --key '{}'",
        args.index,
        file(&args.out, "PROOF"),
        file(&args.entry, "ENTRY"),
        trust.log
    );
    Ok(Exit::Done)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    // An entry may hold what others should not read.
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(bytes)).map_err(|e| {
        Failure::new(Exit::Failed, "not_writable", format!("the file cannot be written: {e}"))
            .at(&path.display())
            .help("name another file")
    })
}
