//! `grace log verify`: is the log whole?

use std::{
    cell::Cell,
    io::{IsTerminal as _, Write},
    path::Path,
};

use grace_core::{instance::Instance, kernels::immutable_log};
use grace_log::{
    checkpoint::{Checkpoint, CheckpointError, Opened, Trust},
    limits::NOTE_BYTES,
};
use serde_json::json;

use super::{
    args::Verify,
    check::{Checked, check},
    place::{Place, key_given, key_in, read_bounded},
};
use crate::{
    failure::{Exit, Failure},
    limits,
    output::Output,
    style::tame,
};

/// Checks the log in the given folder, or this instance's.
pub(crate) fn run(instance: &Instance, args: &Verify, out: &mut Output) -> Result<Exit, Failure> {
    let place = match &args.dir {
        Some(dir) => Place::at(dir)?,
        None => Place::of(instance)?,
    };
    let (mut trust, key_from) = match &args.key {
        Some(given) => (Trust::in_log(key_given("--key", given)?), None),
        None => match place.trust() {
            Ok(trust) => (trust, Some(place.key_file())),
            // The folder's own key is damaged: that is what was asked.
            Err(failure) if failure.exit == Exit::Failed => {
                let error = format!("keys/immutable_log.vkey: {}", failure.what);
                let checked = Checked { errors: vec![error], ..Checked::default() };
                return show(&place, &Findings { checked, ..Findings::default() }, out);
            }
            Err(failure) => return Err(failure),
        },
    };
    for given in &args.witness {
        trust.witnesses.push(key_given("--witness", given)?);
    }
    let quorum = args.quorum.unwrap_or(trust.witnesses.len());
    let mut findings = inspect(&place, trust, &args.known, quorum)?;
    findings.key_from = key_from.map(|path| path.display().to_string());
    show(&place, &findings, out)
}

/// What there is to tell about a log.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) checked: Checked,
    pub(crate) trust: Option<Trust>,
    /// The file that the key was taken from, if nobody named a key.
    pub(crate) key_from: Option<String>,
    /// Checkpoints that the log was held against.
    known: Vec<Opened>,
    /// And those that the kernel remembers beside it.
    remembered: Vec<Checkpoint>,
}

impl Findings {
    pub(crate) fn is_ok(&self) -> bool {
        self.checked.errors.is_empty()
    }
}

/// Checks a log against its key, the checkpoints in `known`, and those that witnesses have cosigned.
pub(crate) fn inspect(
    place: &Place,
    mut trust: Trust,
    known: &[impl AsRef<Path>],
    quorum: usize,
) -> Result<Findings, Failure> {
    let mut errors = Vec::new();
    // Whatever stands in the checkpoint counts, and what is missing is counted below.
    trust.quorum = 0;
    let asked = trust.witnesses.clone();
    let mut opened = Vec::new();
    for path in known {
        opened.push(open_known(path.as_ref(), &trust)?);
    }
    for (name, result) in witnessed(place, &mut trust) {
        match result {
            Ok(found) => opened.push(found),
            Err(why) => errors.push(format!("witnessed/{name}: {why}")),
        }
    }
    // Before the log's own checkpoint is read, which can only be newer.
    let remembered = remembered(place, &trust).unwrap_or_else(|why| {
        errors.push(format!("log-pending/: {why}"));
        Vec::new()
    });
    let mut checkpoints: Vec<Checkpoint> = opened.iter().map(|opened| opened.checkpoint.clone()).collect();
    checkpoints.extend(remembered.iter().cloned());
    let progress = Progress::default();
    let checked = check(place, &trust, &checkpoints, &|entries| progress.at(entries));
    progress.clear();
    let mut checked = checked.map_err(|e| super::place::unreadable(&place.log, &e))?;
    let now = checked.report.opened.iter();
    let by: Vec<_> = now.chain(&opened).flat_map(|opened| &opened.cosigned).collect();
    let found = asked.iter().filter(|key| by.iter().any(|by| by.witness == key.name())).count();
    if checked.report.opened.is_some() && found < quorum {
        errors.push(format!("checkpoint: {}", CheckpointError::Witnesses { found, needed: quorum }));
    }
    checked.errors.extend(errors);
    Ok(Findings { checked, trust: Some(trust), key_from: None, known: opened, remembered })
}

/// What the kernel remembers of this log beside its public files.
fn remembered(place: &Place, trust: &Trust) -> Result<Vec<Checkpoint>, String> {
    let mut tries = 0;
    loop {
        tries += 1;
        match immutable_log::remembered(&place.data, &trust.origin) {
            Ok(mut remembered) => {
                // It may remember one tree for two reasons.
                remembered.dedup();
                return Ok(remembered);
            }
            // It is written in place, and may have been read in the middle of it.
            Err(_) if tries < limits::LOG_TRIES => {}
            Err(e) => return Err(e.to_string()),
        }
    }
}

fn open_known(path: &Path, trust: &Trust) -> Result<Opened, Failure> {
    let failed = |why: String| {
        Failure::new(Exit::Usage, "bad_checkpoint", format!("--known: {why}"))
            .at(&path.display())
            .help("`grace log checkpoint` prints one; it must be of this log, signed by its key")
    };
    let note = read_bounded(path, NOTE_BYTES).map_err(|e| failed(e.to_string()))?;
    trust.open(&note).map_err(|e| failed(e.to_string()))
}

/// The checkpoints that witnesses cosigned, each with the name of its file. Their keys are added to `trust`.
fn witnessed(place: &Place, trust: &mut Trust) -> Vec<(String, Result<Opened, String>)> {
    let entries = std::fs::read_dir(place.witnessed()).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names.retain(|name| name.ends_with(".checkpoint"));
    names.truncate(limits::WITNESSES);
    let open = |name: &String| {
        let path = place.witnessed().join(name);
        let key = key_in(&path.with_extension("vkey"))?.ok_or("the witness's key is missing beside it")?;
        let mut by_one = Trust { witnesses: vec![key.clone()], quorum: 1, ..trust.clone() };
        let note = read_bounded(&path, NOTE_BYTES).map_err(|e| e.to_string())?;
        let opened = by_one.open(&note).map_err(|e| e.to_string())?;
        Ok((opened, by_one.witnesses.remove(0)))
    };
    let opened: Vec<_> = names.iter().map(open).collect();
    let mut found = Vec::new();
    for (name, result) in names.into_iter().zip(opened) {
        let result = result.map(|(opened, key)| {
            if !trust.witnesses.contains(&key) {
                trust.witnesses.push(key);
            }
            opened
        });
        found.push((name, result));
    }
    found
}

/// A line on a terminal that says how far a large log has been read.
#[derive(Default)]
pub(crate) struct Progress {
    shown: Cell<u64>,
}

impl Progress {
    pub(crate) fn at(&self, entries: u64) {
        if entries >= self.shown.get() + limits::PROGRESS_ENTRIES && std::io::stderr().is_terminal() {
            self.shown.set(entries);
            // It only keeps somebody company.
            let _ = write!(std::io::stderr(), "\r{entries} entries read …\x1b[K");
        }
    }

    pub(crate) fn clear(&self) {
        if self.shown.get() > 0 {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

/// Prints the findings; the exit status says whether the log is whole.
fn show(place: &Place, findings: &Findings, out: &mut Output) -> Result<Exit, Failure> {
    if out.json {
        out.json_line(&as_json(findings))?;
    } else {
        print(place, findings, out)?;
        print_errors(&findings.checked.errors, out)?;
    }
    Ok(if findings.is_ok() { Exit::Done } else { Exit::Failed })
}

/// As a script reads it.
pub(crate) fn as_json(findings: &Findings) -> serde_json::Value {
    let Findings { checked, trust, key_from, known, remembered } = findings;
    let known = known.iter().map(|opened| &opened.checkpoint).chain(remembered);
    let checkpoint = checked.report.opened.as_ref().map(|opened| &opened.checkpoint);
    let cosigned: Vec<_> = cosigned(findings)
        .map(|(size, by)| json!({"witness": by.witness, "time_seconds": by.time_seconds, "size": size}))
        .collect();
    json!({
        "ok": findings.is_ok(),
        "size": checkpoint.map(|checkpoint| checkpoint.size),
        "root": checkpoint.map(|checkpoint| checkpoint.root.to_string()),
        "errors": checked.errors,
        "origin": checkpoint.map(|checkpoint| &checkpoint.origin),
        "key": trust.as_ref().map(|trust| trust.log.to_string()),
        "key_from": key_from,
        "entry_bytes": checked.report.entry_bytes,
        "blobs": checked.blobs,
        "unsealed_files": checked.unsealed,
        "known": known.map(|checkpoint| checkpoint.size).collect::<Vec<_>>(),
        "cosigned": cosigned,
    })
}

fn cosigned(findings: &Findings) -> impl Iterator<Item = (u64, &grace_log::checkpoint::Cosigned)> {
    let all = findings.checked.report.opened.iter().chain(&findings.known);
    all.flat_map(|opened| opened.cosigned.iter().map(|by| (opened.checkpoint.size, by)))
}

/// As a person reads it, without the errors.
pub(crate) fn print(place: &Place, findings: &Findings, out: &mut Output) -> Result<(), Failure> {
    let Findings { checked, key_from, known, remembered, .. } = findings;
    let style = out.style;
    let Some(opened) = &checked.report.opened else {
        writeln!(out, "{}  {}", style.bad("not whole"), tame(&place.log.display().to_string()))?;
        return Ok(());
    };
    let checkpoint = &opened.checkpoint;
    let verdict = if findings.is_ok() { style.good("whole") } else { style.bad("not whole") };
    writeln!(
        out,
        "{verdict}  {}, {} entries, {} blobs, root {}",
        tame(&checkpoint.origin),
        checkpoint.size,
        checked.blobs,
        checkpoint.root
    )?;
    if let Some(path) = key_from {
        let note = "its word is as good as that file: compare it with a copy kept elsewhere";
        writeln!(out, "key    {} {}", tame(path), style.dim(&format!("({note})")))?;
    }
    for opened in known {
        let Checkpoint { size, .. } = opened.checkpoint;
        writeln!(out, "known  the checkpoint of {size} entries{}", by(opened))?;
    }
    for Checkpoint { size, .. } in remembered {
        writeln!(out, "known  the tree of {size} entries, which the kernel remembers")?;
    }
    if checked.unsealed > 0 {
        let note = format!("{} files lie past the checkpoint, not sealed yet", checked.unsealed);
        writeln!(out, "{}", style.dim(&note))?;
    }
    Ok(())
}

fn by(opened: &Opened) -> String {
    let names: Vec<String> = opened.cosigned.iter().map(|by| tame(&by.witness)).collect();
    if names.is_empty() { String::new() } else { format!(", cosigned by {}", names.join(" and ")) }
}

/// A line each.
pub(crate) fn print_errors(errors: &[String], out: &mut Output) -> Result<(), Failure> {
    let mark = out.style.bad("✗");
    for error in errors {
        writeln!(out, "{mark} {}", tame(error))?;
    }
    Ok(())
}
