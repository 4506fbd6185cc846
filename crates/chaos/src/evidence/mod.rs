//! The evidence of one run: a folder that is filled while the run goes on, and closed with a report and a bundle.
//!
//! ```text
//! DATA/runs/<run>/
//!   scenario.yaml            what was to be run; there before anything is attacked
//!   dumps/<n>-<cause>.json   statuses of the control plane      ─┐
//!   resources.jsonl          what each component uses            ├ as they come; a run that is killed leaves these
//!   telemetry.jsonl          messages on the bus                ─┘
//!   narratives.jsonl  log/   what was decided, with proofs      ─┐
//!   incident.json            the record of the run               ├ at the end, by `Folder::finish`
//!   report.html              for people                         ─┘
//!   judged.json judged.tlog-proof            the judgement, as it stands in the log
//!   digests.json seal.json seal.tlog-proof   the seal
//!   bundle.tar.zst           all of it in one file
//! ```
//!
//! Nothing but the bundle is synced: it holds all of the rest, and is durable, with the folders that lead to it, before anybody
//! is told where it is. The other files are for whoever is at hand, and survive the runner's death.
//!
//! A run without `incident.json` did not come to its end. What has a bound and reached it is counted, and the count is told in
//! [`RunRecord::evidence_errors`].
//!
//! Everything here blocks: an async caller calls it from a thread that may.

pub mod limits;
mod log;
mod sample;
mod seal;
mod stream;
#[cfg(test)]
pub(crate) mod tests;

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use grace_types::{
    narrative::Narrative,
    time::{Clock, Timestamp},
};
use serde::{Deserialize, Serialize};

pub use sample::{ComponentSample, HostSample, ResourceLine, Sample};
pub use seal::SealEvent;

use self::{seal::Seal, stream::Stream};
use crate::{
    bundle::{
        self, DIGESTS, DUMPS, Files, INCIDENT, JUDGED, JUDGED_PROOF, NARRATIVES, REPORT, RESOURCES, SCENARIO,
        SEAL, SEAL_PROOF, TELEMETRY, UNSEALED, digests::Digests, is_sound,
    },
    record::RunRecord,
    report,
};

/// The name of the bundle in a run's folder.
pub const BUNDLE: &str = "bundle.tar.zst";

/// A status of the control plane, and why it was asked then.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dump {
    /// When.
    pub at: Timestamp,
    /// Why then.
    pub cause: String,
    /// As `grace status --json` prints it.
    pub status: serde_json::Value,
}

/// One line of `telemetry.jsonl`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TelemetryLine {
    /// When it was received.
    pub at: Timestamp,
    /// Its subject.
    pub subject: String,
    /// Its payload, as text; what is not UTF-8 is replaced.
    pub payload: String,
    /// Bytes of the payload, if that is not all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
}

/// The folder of one run.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    dumps: u32,
    dumps_left_out: u64,
    resources: Stream,
    telemetry: Stream,
}

/// Where the rest of the evidence comes from, once the run is over.
pub struct Sources<'a> {
    /// The instance's data folder: its log and the log's key.
    pub data: &'a Path,
    /// The narratives of the run's time.
    pub narratives: &'a [Narrative],
    /// Records this event in the chaos component's journal, from where it is shipped to the log. An error says why it could not be.
    pub seal: &'a mut dyn FnMut(&SealEvent) -> Result<(), String>,
    /// To wait no longer than [`limits::SEAL_TIME`] for the event to be in the log.
    pub clock: &'a dyn Clock,
}

/// What came of a run's evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// The bundle.
    pub bundle: PathBuf,
    /// Why it has no seal, if it has none.
    pub unsealed: Option<String>,
    /// What else could not be kept, a sentence each; as in the record that was stored.
    pub errors: Vec<String>,
}

impl Folder {
    /// Makes the folder of a run, which must not exist, and keeps the scenario's text in it.
    ///
    /// # Errors
    /// The folder exists, or cannot be made or written.
    pub fn create(path: impl Into<PathBuf>, scenario: &str) -> io::Result<Self> {
        let path = path.into();
        if let Some(runs) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(runs)?;
        }
        DirBuilder::new().mode(0o700).create(&path)?;
        DirBuilder::new().mode(0o700).create(path.join(DUMPS))?;
        write(&path, SCENARIO, scenario.as_bytes())?;
        let (resources, telemetry) = (Stream::create(&path, RESOURCES)?, Stream::create(&path, TELEMETRY)?);
        Ok(Self { path, dumps: 0, dumps_left_out: 0, resources, telemetry })
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps a status of the control plane.
    ///
    /// # Errors
    /// It cannot be written, or is too long.
    pub fn dump(&mut self, at: Timestamp, cause: &str, status: &serde_json::Value) -> io::Result<()> {
        if self.dumps >= limits::DUMPS {
            self.dumps_left_out += 1;
            return Ok(());
        }
        let dump = Dump { at, cause: cause.to_owned(), status: status.clone() };
        let bytes = serde_json::to_vec_pretty(&dump)?;
        if bytes.len() > limits::DUMP_BYTES {
            self.dumps_left_out += 1;
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "a status of the control plane is too long",
            ));
        }
        self.dumps += 1;
        write(&self.path, &format!("{DUMPS}{:04}-{}.json", self.dumps, slug(cause)), &bytes)
    }

    /// Keeps a reading of what the components use.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn resources(&mut self, at: Timestamp, cause: &str, sample: &Sample) -> io::Result<()> {
        self.resources.line(&ResourceLine { at, cause: cause.to_owned(), sample: sample.clone() })
    }

    /// Keeps a message.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn message(&mut self, at: Timestamp, subject: &str, payload: &[u8]) -> io::Result<()> {
        let kept = &payload[..payload.len().min(limits::PAYLOAD_BYTES)];
        let size_bytes = (kept.len() < payload.len()).then_some(payload.len() as u64);
        let payload = String::from_utf8_lossy(kept).into_owned();
        self.telemetry.line(&TelemetryLine { at, subject: subject.to_owned(), payload, size_bytes })
    }

    /// Closes the folder: the rest of the evidence, the report, the seal and the bundle.
    ///
    /// What cannot be had does not keep the rest from being kept.
    ///
    /// # Errors
    /// The record, the report or the bundle cannot be written.
    pub fn finish(mut self, record: &RunRecord, mut sources: Sources<'_>) -> io::Result<Finished> {
        let mut record = record.clone();
        let errors = &mut record.evidence_errors;
        self.keep_narratives(sources.narratives, errors)?;
        let logged = log::keep(&self, sources.data, record.log.as_ref(), errors);
        for (stream, name) in [(&mut self.resources, RESOURCES), (&mut self.telemetry, TELEMETRY)] {
            if let Some(error) = stream.close(name) {
                errors.push(error);
            }
        }
        if self.dumps_left_out > 0 {
            errors.push(format!(
                "{} statuses of the control plane were left out: too many, or too long",
                self.dumps_left_out
            ));
        }
        write(&self.path, INCIDENT, &serde_json::to_vec_pretty(&record)?)?;
        let samples = read_samples(&self.path)?;
        write(&self.path, REPORT, report::html(&record, &samples).as_bytes())?;

        let mut files = read_files(&self.path)?;
        let digests = serde_json::to_vec(&Digests::of(&record.run, &files))?;
        write(&self.path, DIGESTS, &digests)?;
        let event = SealEvent { run: record.run.clone(), digest: bundle::digests::sha256(&digests) };
        files.insert(DIGESTS.to_owned(), digests);
        let unsealed = match logged.and_then(|logged| seal::wait(&event, &logged, &mut sources)) {
            Ok(Seal { entry, proof, judged, judged_proof }) => {
                let judgement = [(JUDGED, judged), (JUDGED_PROOF, judged_proof)];
                for (name, bytes) in judgement.into_iter().chain([(SEAL, entry), (SEAL_PROOF, proof)]) {
                    write(&self.path, name, &bytes)?;
                    files.insert(name.to_owned(), bytes);
                }
                None
            }
            Err(why) => {
                write(&self.path, UNSEALED, format!("{why}\n").as_bytes())?;
                files.insert(UNSEALED.to_owned(), format!("{why}\n").into_bytes());
                Some(why)
            }
        };
        let bundle = write_bundle(&self.path, &bundle::pack(&files)?)?;
        Ok(Finished { bundle, unsealed, errors: record.evidence_errors })
    }

    fn keep_narratives(&self, narratives: &[Narrative], errors: &mut Vec<String>) -> io::Result<()> {
        let mut stream = Stream::create(&self.path, NARRATIVES)?;
        for narrative in narratives {
            stream.line(narrative)?;
        }
        errors.extend(stream.close(NARRATIVES));
        Ok(())
    }
}

/// A cause as part of a file's name.
fn slug(cause: &str) -> String {
    let mut slug = String::new();
    for c in cause.chars().take(limits::CAUSE_CHARS) {
        if c.is_ascii_alphanumeric() {
            slug.push(c.to_ascii_lowercase());
        } else if !slug.ends_with('-') && !slug.is_empty() {
            slug.push('-');
        }
    }
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() { "status".to_owned() } else { slug.to_owned() }
}

/// Writes a file. Not synced: see the module's page.
fn write(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let path = folder.join(name);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = match options.open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(0o700).create(path.parent().unwrap_or(folder))?;
            options.open(&path)?
        }
        opened => opened?,
    };
    file.write_all(bytes)
}

/// Writes the bundle whole or not at all, and durably: when this returns, it and the way to it survive a crash of the machine.
fn write_bundle(folder: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
    let (path, new) = (folder.join(BUNDLE), folder.join(BUNDLE).with_extension("tmp"));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, &path)?;
    // The run's folder, `runs/`, and the data folder: the first run makes them all.
    folder.ancestors().take(3).try_for_each(|folder| File::open(folder)?.sync_all())?;
    Ok(path)
}

/// All that goes into the bundle.
fn read_files(folder: &Path) -> io::Result<Files> {
    let (mut files, mut folders, mut total) = (Files::new(), vec![String::new()], 0);
    while let Some(under) = folders.pop() {
        for entry in fs::read_dir(folder.join(&under))? {
            let entry = entry?;
            let name = format!("{under}{}", entry.file_name().to_string_lossy());
            if entry.file_type()?.is_dir() {
                folders.push(format!("{name}/"));
            } else if is_sound(&name) && !name.ends_with(".tmp") && name != BUNDLE {
                total += entry.metadata()?.len();
                if total > bundle::limits::FILES_BYTES as u64 {
                    return Err(io::Error::new(
                        io::ErrorKind::FileTooLarge,
                        "the evidence is too large for a bundle",
                    ));
                }
                files.insert(name, fs::read(entry.path())?);
            }
        }
    }
    Ok(files)
}

/// The timeline, as it was written.
fn read_samples(folder: &Path) -> io::Result<Vec<ResourceLine>> {
    let text = fs::read_to_string(folder.join(RESOURCES))?;
    // What cannot be read is missing in the plots, and stays in the file.
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}
