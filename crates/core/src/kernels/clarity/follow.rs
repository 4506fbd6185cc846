//! Following the log: which entry proves which record, and whether it is still the log that was seen before.
//!
//! The newest checkpoint that was seen is kept with the links, in another file than the log's and by another process. So a log that was
//! rolled back, forked, rewritten or replaced is noticed by comparing with it: this kernel is a second witness on the same machine. What
//! contradicts is told, and nothing is linked until the log is as it was, or somebody accepts the new one.
//!
//! Deliberately not here: hashing entries. `grace log verify` does that.

use std::{
    borrow::Cow,
    fmt,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use grace_log::{
    checkpoint::{Checkpoint, Relation, Trust},
    files::{Files, ReadError},
    hash::Hash,
    limits::{BUNDLE_BYTES, NOTE_BYTES},
    note::VerifierKey,
    proof::{prove_consistency, verify_consistency},
    tile::{CHECKPOINT_PATH, Entries, Kind, Resource},
};
use grace_store::{
    StoreError,
    narrative::{Link, LogStand, NarrativeDb},
};
use grace_types::evidence::{Head, LogEntry, Source};
use serde::Serialize;

use super::limits;

/// The log's folder and its public key, relative to the data folder.
const LOG: &str = "log";
const KEY: &str = "keys/immutable_log.vkey";

/// How the log contradicts what was seen of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Contradiction {
    /// Stable, for machines: `missing`, `unsigned`, `replaced`, `rolled_back`, `forked`, `rewritten`.
    pub code: &'static str,
    /// One sentence with the facts.
    pub text: String,
}

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What came of a look at the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// There is nothing new, or what is there cannot be read at this moment.
    Nothing,
    /// Entries were linked; there are more.
    More,
    /// All entries are linked.
    Done,
    /// It is not the log that was seen.
    Contradicted(Contradiction),
}

/// Follows the log of one instance.
pub struct Follower {
    folder: LogFolder,
    key: PathBuf,
}

impl Follower {
    /// Of the instance whose files lie in `data`.
    #[must_use]
    pub fn of(data: &Path) -> Self {
        Self { folder: LogFolder(data.join(LOG)), key: data.join(KEY) }
    }

    /// Looks at the log and links the next entries in `db`, at most [`limits::BUNDLES_A_STEP`] bundles of them.
    ///
    /// # Errors
    /// The database's failure.
    pub fn look(&self, db: &mut NarrativeDb) -> Result<Look, StoreError> {
        let known = db.log_stand()?;
        let (key, checkpoint) = match self.newest(known.as_ref()) {
            Ok(Some(newest)) => newest,
            Ok(None) => return Ok(Look::Nothing),
            Err(contradiction) => return Ok(Look::Contradicted(contradiction)),
        };
        let mut stand = known.unwrap_or(LogStand { origin: key, size: 0, root: Hash::EMPTY.0, next: 0 });
        if stand.next >= checkpoint.size && stand.size == checkpoint.size {
            return Ok(Look::Done);
        }
        (stand.size, stand.root) = (checkpoint.size, checkpoint.root.0);
        let links = self.links(&mut stand);
        db.link(&links, &stand)?;
        Ok(if stand.next < stand.size && !links.is_empty() { Look::More } else { Look::Done })
    }

    /// The checkpoint that lies there, if it does not contradict what is known. `None` when it cannot be told now.
    fn newest(&self, known: Option<&LogStand>) -> Result<Option<(String, Checkpoint)>, Contradiction> {
        let contradicts = |code, text: String| Err(Contradiction { code, text });
        let Ok(note) = self.folder.read(CHECKPOINT_PATH, NOTE_BYTES) else { return Ok(None) };
        let Some(note) = note else {
            return match known {
                Some(known) => contradicts(
                    "missing",
                    format!("there is no checkpoint any more; the log had {} entries", known.size),
                ),
                None => Ok(None),
            };
        };
        // The key is written before the first checkpoint.
        let Some(key) = self.key() else { return Ok(None) };
        let shown = key.to_string();
        if let Some(known) = known.filter(|known| known.origin != shown) {
            let text = format!("another log lies here: its key is {shown} and was {}", known.origin);
            return contradicts("replaced", text);
        }
        let checkpoint = match Trust::in_log(key).open(&note) {
            Ok(opened) => opened.checkpoint,
            Err(error) => return contradicts("unsigned", format!("its checkpoint is refused: {error}")),
        };
        let Some(known) = known else { return Ok(Some((shown, checkpoint))) };
        let before = Checkpoint { size: known.size, root: Hash(known.root), ..checkpoint.clone() };
        let (was, is) = (before.size, checkpoint.size);
        match checkpoint.relation_to(&before) {
            Relation::Same => {}
            Relation::Behind => {
                return contradicts("rolled_back", format!("it has {is} entries and had {was}"));
            }
            Relation::Fork => {
                let text = format!(
                    "two roots over {is} entries: {} now, and {} before",
                    checkpoint.root, before.root
                );
                return contradicts("forked", text);
            }
            Relation::Ahead => match prove_consistency(&self.folder, was, is) {
                Ok(proof) => {
                    if let Err(e) = verify_consistency(was, before.root, is, checkpoint.root, &proof) {
                        return contradicts(
                            "rewritten",
                            format!("its {is} entries do not begin with the {was} that it had: {e}"),
                        );
                    }
                }
                // Partial tiles go when full ones come: a later checkpoint is there by now, or will be.
                Err(ReadError::Missing { .. } | ReadError::Io { .. }) => return Ok(None),
                Err(e) => return contradicts("rewritten", format!("its tiles are not whole: {e}")),
            },
        }
        Ok(Some((shown, checkpoint)))
    }

    fn key(&self) -> Option<VerifierKey> {
        let bytes = read(&self.key, limits::KEY_FILE_BYTES).ok()??;
        std::str::from_utf8(&bytes).ok()?.trim().parse().ok()
    }

    /// The links of the next entries; moves `stand.next` behind them. Stops where a bundle cannot be read, which is tried again later.
    fn links(&self, stand: &mut LogStand) -> Vec<Link> {
        let mut links: Vec<Link> = Vec::new();
        let first = stand.next / 256;
        for index in first..first + limits::BUNDLES_A_STEP {
            let Some(bundle) = Resource::in_tree(Kind::Entries, index, stand.size) else { break };
            let Some(bytes) = self.bundle(bundle) else { break };
            let start = index * 256;
            let end = start + u64::from(bundle.width);
            let whole = Entries::of(&bytes).count() as u64 >= u64::from(bundle.width);
            if !whole {
                break;
            }
            for (at, entry) in (start..end).zip(Entries::of(&bytes)) {
                if at < stand.next {
                    continue;
                }
                if let Some(head) = Head::read(entry) {
                    join(&mut links, head, at);
                } else if let Ok(LogEntry { source: Source { component, journal }, sequence, .. }) =
                    LogEntry::read(entry)
                {
                    join(&mut links, Head { component: &component, journal, sequence }, at);
                }
                // What is no entry of a journal has nothing to be linked to.
            }
            stand.next = end;
        }
        links
    }

    fn bundle(&self, bundle: Resource) -> Option<Cow<'_, [u8]>> {
        let read = |bundle: Resource| self.folder.read(&bundle.to_string(), BUNDLE_BYTES).ok().flatten();
        read(bundle).or_else(|| read(bundle.full()))
    }
}

/// Adds the link of an entry, to the last one where it goes on from there.
fn join(links: &mut Vec<Link>, entry: Head<'_>, log_index: u64) {
    let Head { component, journal, sequence } = entry;
    match links.last_mut() {
        Some(last)
            if last.first + last.count == sequence
                && last.log_index + last.count == log_index
                && last.source.journal == journal
                && last.source.component == component =>
        {
            last.count += 1;
        }
        _ => {
            let source = Source { component: component.to_owned(), journal };
            links.push(Link { source, first: sequence, count: 1, log_index });
        }
    }
}

/// The log's folder, for reading.
struct LogFolder(PathBuf);

impl Files for LogFolder {
    fn read(&self, path: &str, limit: usize) -> io::Result<Option<Cow<'_, [u8]>>> {
        Ok(read(&self.0.join(path), limit)?.map(Cow::Owned))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Err(io::Error::other("whoever follows a log never lists it"))
    }
}

fn read(path: &Path, limit: usize) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let mut bytes = Vec::new();
    file.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}
