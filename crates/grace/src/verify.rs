//! `grace verify`: checks a bundle of evidence, or the proof of one log entry, from its bytes alone: with no Grace running, on any
//! machine.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use clap::Args;
use grace_chaos::{
    bundle::{self, Verdict},
    evidence::BUNDLE,
};
use grace_log::{
    checkpoint::{Opened, Trust},
    limits::{ENTRY_BYTES, PROOF_FILE_BYTES},
    note::VerifierKey,
    proof_file::ProofFile,
};
use serde_json::json;

use crate::{
    failure::{Exit, Failure},
    log::place::{key_given, read_bounded},
    output::Output,
    style::tame,
};

/// With what a proof file begins, and a bundle does not.
const PROOF_BEGINS: &[u8] = b"c2sp.org/tlog-proof@v1\n";

/// `grace verify`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  grace verify bundle.tar.zst --key log.vkey       the evidence of a chaos run
  grace verify 12.tlog-proof --entry 12.json --key log.vkey

A bundle is accepted if no byte was changed, every file is the one that was sealed, and the seal and
every log entry in it are proved to be in the log that the key signs. Needs no network and no
running Grace.

Without --key, the key that lies in the bundle is believed: that finds accidents, but not somebody
who made everything anew with a key of their own. `grace log checkpoint` prints a log's key.")]
pub(crate) struct Verify {
    /// A bundle (bundle.tar.zst) or the folder of a run that has one, or a proof of one entry (.tlog-proof)
    pub(crate) file: PathBuf,
    /// The log's verifier key, or a file that holds it
    #[arg(long, value_name = "VKEY|FILE")]
    pub(crate) key: Option<String>,
    /// The entry that a .tlog-proof is about
    #[arg(long, value_name = "FILE")]
    pub(crate) entry: Option<PathBuf>,
}

/// Checks the file.
pub(crate) fn run(args: &Verify, out: &mut Output) -> Result<Exit, Failure> {
    let key = args.key.as_deref().map(|given| key_given("--key", given)).transpose()?;
    // A run's folder stands for the bundle in it.
    let file = if args.file.is_dir() { args.file.join(BUNDLE) } else { args.file.clone() };
    let bytes = read(&file, bundle::limits::BUNDLE_BYTES)?;
    if bytes.starts_with(PROOF_BEGINS) {
        return proof(args, &bytes, key, out);
    }
    if args.entry.is_some() {
        return Err(Failure::new(Exit::Usage, "bad_proof", "--entry is for a .tlog-proof, and this is none")
            .at(&args.file.display())
            .help("`grace log prove INDEX --out FILE` makes one"));
    }
    let verdict = match bundle::unpack(&bytes) {
        Ok(files) => bundle::verify(&files, key.as_ref()),
        Err(e) => Verdict { errors: vec![e.to_string()], ..Verdict::default() },
    };
    if out.json {
        out.json_line(&as_json(&verdict))?;
    } else {
        print(&verdict, out)?;
    }
    Ok(if verdict.is_ok() { Exit::Done } else { Exit::Failed })
}

fn read(path: &Path, limit: usize) -> Result<Vec<u8>, Failure> {
    read_bounded(path, limit).map_err(|e| {
        Failure::new(Exit::Usage, "unreadable_file", format!("the file cannot be read: {e}"))
            .at(&path.display())
            .help("a run that came to its end has its bundle in DATA/runs/RUN/; one that was killed has none")
    })
}

fn as_json(verdict: &Verdict) -> serde_json::Value {
    let record = verdict.record.as_ref();
    json!({
        "ok": verdict.is_ok(),
        "errors": verdict.errors,
        "more_errors": verdict.more_errors,
        "run": record.map(|record| &record.run),
        "scenario": record.map(|record| &record.scenario.id),
        "passed": record.map(|record| record.judgement.passed),
        "started": record.map(|record| record.started),
        "origin": verdict.key.as_ref().map(VerifierKey::name),
        "key": verdict.key.as_ref().map(ToString::to_string),
        "key_from_bundle": verdict.key_from_bundle,
        "files": verdict.files,
        "bytes": verdict.bytes,
        "entries": verdict.entries,
        "entries_left_out": verdict.left_out,
        "seal_index": verdict.seal_index,
    })
}

fn print(verdict: &Verdict, out: &mut Output) -> Result<(), Failure> {
    let style = out.style;
    let word = if verdict.is_ok() { style.good("whole") } else { style.bad("not whole") };
    match &verdict.record {
        Some(record) => {
            let judged = if record.judgement.passed { "passed" } else { "failed" };
            let (run, id) = (tame(&record.run), tame(&record.scenario.id));
            writeln!(out, "{word}  {run}: {id} {judged}, {}", record.started)?;
        }
        None => writeln!(out, "{word}")?,
    }
    if verdict.files > 0 {
        let left_out = match verdict.left_out {
            0 => String::new(),
            n => format!("; {n} more were left out of the bundle"),
        };
        let (files, bytes, entries) = (verdict.files, verdict.bytes, verdict.entries);
        writeln!(out, "files  {files}, with {bytes} bytes")?;
        writeln!(out, "log    {entries} entries of the run's time proved{left_out}")?;
    }
    if let Some(index) = verdict.seal_index {
        writeln!(out, "seal   entry {index} of the log")?;
    }
    if let Some(key) = &verdict.key {
        writeln!(out, "key    {}", tame(&key.to_string()))?;
        if verdict.key_from_bundle {
            let note = "this key came along with the bundle, and is trusted for no better reason; --key takes one that you know";
            writeln!(out, "       {}", style.warn(note))?;
        }
    }
    for error in &verdict.errors {
        writeln!(out, "{} {}", style.bad(&'✗'), tame(error))?;
    }
    if verdict.more_errors > 0 {
        writeln!(out, "{} and {} more", style.bad(&'✗'), verdict.more_errors)?;
    }
    Ok(())
}

/// One entry of a log.
fn proof(args: &Verify, bytes: &[u8], key: Option<VerifierKey>, out: &mut Output) -> Result<Exit, Failure> {
    let bad = |why: String, help: &str| {
        Failure::new(Exit::Usage, "bad_proof", why).at(&args.file.display()).help(help)
    };
    let Some(entry) = &args.entry else {
        return Err(bad(
            "the entry that is to be proved is missing".into(),
            "name its file with --entry FILE",
        ));
    };
    let Some(key) = key else {
        let help = "give it with --key; `grace log checkpoint` prints it";
        return Err(bad("the log's key is missing: nothing in a proof can vouch for it".into(), help));
    };
    let entry = read(entry, ENTRY_BYTES)?;
    let trust = Trust::in_log(key);
    // No proof is longer, and a bundle may be.
    let proof = if bytes.len() > PROOF_FILE_BYTES {
        Err("it is too long".into())
    } else {
        ProofFile::parse(bytes).map_err(|e| e.to_string())
    };
    let verified = proof.and_then(|proof| match proof.verify(&entry, &trust) {
        Ok(Opened { checkpoint, .. }) => Ok((proof.index, checkpoint)),
        Err(e) => Err(e.to_string()),
    });
    let style = out.style;
    match (&verified, out.json) {
        (Ok((index, checkpoint)), true) => out.json_line(&json!({
            "ok": true, "errors": [], "index": index, "size": checkpoint.size, "root": checkpoint.root.to_string(),
            "origin": checkpoint.origin, "key": trust.log.to_string(),
        }))?,
        (Err(why), true) => out.json_line(&json!({"ok": false, "errors": [why], "key": trust.log.to_string()}))?,
        (Ok((index, checkpoint)), false) => {
            let origin = tame(&checkpoint.origin);
            writeln!(out, "{}  this is entry {index} of the {} in {origin}", style.good("proved"), checkpoint.size)?;
        }
        (Err(why), false) => writeln!(out, "{}  {}", style.bad("not proved"), tame(why))?,
    }
    Ok(if verified.is_ok() { Exit::Done } else { Exit::Failed })
}
