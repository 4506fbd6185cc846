//! `grace log cosign`: the shell around [`grace_log::witness`], which has the protocol.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    net::IpAddr,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
};

use grace_log::{
    checkpoint::{Checkpoint, Cosigned},
    limits::NOTE_BYTES,
    note::{Algorithm, Note, VerifierKey},
    witness::{AddCheckpoint, Reply, read_reply},
};
use serde_json::json;

use super::{
    args::Cosign,
    check::hex,
    place::{Place, key_given, read_bounded},
};
use crate::{
    failure::{Exit, Failure},
    limits,
    output::Output,
    style::tame,
};

/// Asks the witness, and keeps what it signed.
pub(crate) fn run(place: &Place, args: &Cosign, out: &mut Output) -> Result<Exit, Failure> {
    let witness = key_given("--key", &args.key)?;
    if witness.algorithm() != Algorithm::Cosignature {
        return Err(Failure::new(Exit::Usage, "bad_key", "--key: this is a log's key, not a witness's")
            .at(&tame(&args.key))
            .help("a witness's verifier key is of type cosignature/v1 (4)"));
    }
    let url = endpoint(&args.url)?;
    let trust = place.trust()?;
    let (note, opened) = place.checkpoint(&trust)?;
    let note = Note::parse(&note).map_err(|e| refused(&args.url, e.to_string()))?;
    let size = opened.checkpoint.size;

    let kept = place.witnessed().join(format!("{}.checkpoint", file_name(&witness)));
    // Only a place to begin: the witness says where it stands if this is not it.
    let mut old = read_bounded(&kept, NOTE_BYTES)
        .ok()
        .and_then(|note| trust.open(&note).ok())
        .map_or(0, |opened| opened.checkpoint.size.min(size));
    for _ in 0..limits::WITNESS_TRIES {
        let request = AddCheckpoint::make(&place.folder, old, size, note.clone()).map_err(|e| {
            Failure::new(Exit::Failed, "log_not_whole", e.to_string())
                .at(&place.log.display())
                .help("`grace log verify` names every file that is not as it should be")
        })?;
        let (status, body) = post(&url, &request.to_string())?;
        match read_reply(&request, status, &body, &witness).map_err(|e| refused(&url, e.to_string()))? {
            Reply::Conflict { size } => old = size,
            Reply::Cosigned { checkpoint, by } => {
                keep(place, &kept, &checkpoint, &witness)?;
                return show(&opened.checkpoint, &by, &kept, out);
            }
        }
    }
    Err(refused(&url, "the witness changed its mind too often about what it has seen".into()))
}

fn show(checkpoint: &Checkpoint, by: &Cosigned, kept: &Path, out: &mut Output) -> Result<Exit, Failure> {
    if out.json {
        out.json_line(&json!({
            "witness": by.witness,
            "time_seconds": by.time_seconds,
            "size": checkpoint.size,
            "root": checkpoint.root.to_string(),
            "file": kept.display().to_string(),
        }))?;
    } else {
        let witness = tame(&by.witness);
        writeln!(out, "{} has cosigned the checkpoint of {} entries", witness, checkpoint.size)?;
        writeln!(out, "kept in {}; `grace log verify` knows it from now on", kept.display())?;
    }
    Ok(Exit::Done)
}

fn refused(url: &str, why: String) -> Failure {
    Failure::new(Exit::Failed, "witness_refused", why)
        .at(&tame(url))
        .help("what was kept of this witness stands; `grace log verify` holds the log against it")
}

/// The endpoint under a submission prefix. What goes over the network in the clear could be answered by anybody.
fn endpoint(url: &str) -> Result<String, Failure> {
    let bad = |why: &str| {
        Failure::new(Exit::Usage, "bad_url", format!("--url: {why}"))
            .at(&tame(url))
            .help("give the witness's submission prefix: https://…, or http:// and a loopback address")
    };
    let uri: ureq::http::Uri = url.parse().map_err(|_| bad("this is not a URL"))?;
    let host = uri.host().ok_or(bad("it names no host"))?;
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let is_loopback = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    match uri.scheme_str() {
        Some("https") => {}
        Some("http") if is_loopback => {}
        Some("http") => return Err(bad("http is for loopback addresses only")),
        _ => return Err(bad("only https is spoken")),
    }
    if uri.query().is_some() {
        return Err(bad("a prefix has no query"));
    }
    Ok(format!("{}/add-checkpoint", url.trim_end_matches('/')))
}

/// Status and body of the answer.
fn post(url: &str, body: &str) -> Result<(u16, Vec<u8>), Failure> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(limits::WITNESS_TIME))
        // Every status has a meaning here, and a redirection has none.
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .build()
        .into();
    let failed = |e: ureq::Error| {
        Failure::new(Exit::Failed, "witness_unreachable", format!("the witness did not answer: {e}"))
            .at(&tame(url))
            .help("try again: a checkpoint can be cosigned at any later time")
    };
    let mut answer = agent.post(url).content_type("text/plain; charset=utf-8").send(body).map_err(failed)?;
    let status = answer.status().as_u16();
    let body = answer.body_mut().with_config().limit(NOTE_BYTES as u64).read_to_vec().map_err(failed)?;
    Ok((status, body))
}

/// The witness's name may hold anything but spaces and plus signs; its id tells two of one name apart.
fn file_name(witness: &VerifierKey) -> String {
    let sound = |c: char| if c.is_ascii_alphanumeric() || c == '.' || c == '-' { c } else { '_' };
    let name: String = witness.name().chars().take(80).map(sound).collect();
    format!("{}-{}", hex(&witness.id().to_be_bytes()), name)
}

/// Writes the key, then the checkpoint that it belongs to, each at once or not at all.
fn keep(place: &Place, kept: &Path, checkpoint: &Note, witness: &VerifierKey) -> Result<(), Failure> {
    let folder = place.witnessed();
    let write = || -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        replace(&kept.with_extension("vkey"), format!("{witness}\n").as_bytes())?;
        replace(kept, checkpoint.to_string().as_bytes())?;
        File::open(&folder)?.sync_all()
    };
    write().map_err(|e| {
        Failure::new(Exit::Failed, "not_writable", format!("the cosigned checkpoint cannot be kept: {e}"))
            .at(&folder.display())
            .help("mend the folder and ask again: the witness cosigns the same checkpoint once more")
    })
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_else_can_answer_is_asked() {
        for (url, expected) in [
            ("https://w.example", "https://w.example/add-checkpoint"),
            ("https://w.example/a/", "https://w.example/a/add-checkpoint"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/add-checkpoint"),
            ("http://[::1]:8080/w", "http://[::1]:8080/w/add-checkpoint"),
            ("http://localhost", "http://localhost/add-checkpoint"),
        ] {
            assert_eq!(endpoint(url).unwrap(), expected);
        }
        for url in [
            "",
            "w.example",
            "http://w.example",
            "http://10.0.0.1",
            "ftp://w",
            "https://",
            "https://w/?a",
            "\0",
        ] {
            assert_eq!(endpoint(url).unwrap_err().code, "bad_url", "{url}");
        }
    }
}
