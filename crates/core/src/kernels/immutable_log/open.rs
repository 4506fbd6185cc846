//! Start: what the disk holds becomes a log that can be appended to, or an error that says what is wrong and what to do.
//!
//! ```text
//! key ─► checkpoint, signed ─► right edge of the tiles ─► pending frames past it ─► known and snapshot agree? ─► append
//! ```
//!
//! The frames are [`super::replay`]'s. Whatever is missing or altered is refused: a log that
//! goes on from the wrong place cannot be mended later.

use std::{borrow::Cow, io};

use grace_log::{
    append::{AppendError, Appender, ResumeError},
    checkpoint::{Checkpoint, CheckpointError, Trust},
    files::{Files, ReadError},
    hash::leaf_hash,
    limits::{BUNDLE_BYTES, NOTE_BYTES, TILE_BYTES},
    tile::{Entries, Kind, Resource},
};
use grace_types::{
    chance::Entropy,
    evidence::{LogEntry, LogEntryError},
};

use super::{
    CHECKPOINT, CURSORS, KNOWN, LOG, PENDING,
    cursors::{Cursors, Snapshot},
    disk::{self, Disk, LogOn, parent},
    intake::Intake,
    keys::{self, KeyFileError},
    known::{KNOWN_BYTES, Known, KnownFile, Point},
    limits::SNAPSHOT_BYTES,
    pending::Pending,
    replay::{Replay, Replayed},
};

/// Why the log cannot be appended to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The key.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// Another process appends to the log.
    #[error("another process appends to this log: it holds {}", super::LOCK)]
    InUse,
    /// A log without its key.
    #[error(
        "there is a log in {LOG} and no key in {}; put the key back. Without it, move {LOG} and {PENDING} away to begin a new log",
        super::SECRET_KEY
    )]
    KeyMissing,
    /// The checkpoint cannot be trusted.
    #[error("{CHECKPOINT}: {0}; restore {LOG} from a copy and check it with `grace log verify`")]
    Checkpoint(#[source] CheckpointError),
    /// A log that was there is not.
    #[error(
        "{CHECKPOINT} is missing, and the log had {known} entries; restore {LOG}, or move {PENDING} away to begin anew"
    )]
    Missing {
        /// What is known.
        known: u64,
    },
    /// The log is older than it was.
    #[error(
        "the log was rolled back: {CHECKPOINT} has {found} entries, and {known} were published; restore {LOG}. To go on from the older one, and lose what came after, move {PENDING} away"
    )]
    RolledBack {
        /// In the checkpoint.
        found: u64,
        /// What is known.
        known: u64,
    },
    /// The log is another one than it was.
    #[error(
        "the log forked: at {size} entries its root is {found}, and was {known}; restore {LOG} and find out who wrote the other"
    )]
    Fork {
        /// Entries.
        size: u64,
        /// Now.
        found: String,
        /// What is known.
        known: String,
    },
    /// The right edge of the public files.
    #[error("{LOG}/{0}; `grace log verify` names all that is wrong")]
    Edge(#[source] ResumeError),
    /// An entry that should be in the public files.
    #[error(
        "{LOG}/{path}: entry {index} is not the one that was logged ({detail}); `grace log verify` names all that is wrong"
    )]
    Entry {
        /// The bundle.
        path: String,
        /// The entry's place in the log.
        index: u64,
        /// What is wrong with it.
        detail: String,
    },
    /// A pending frame was altered.
    #[error(
        "{PENDING}/{segment}: the frame at byte {offset}, with the entries from {base} on, is damaged, and what follows it was acknowledged; restore the file"
    )]
    Frame {
        /// Which of the two files.
        segment: usize,
        /// Where the frame begins.
        offset: u64,
        /// The first entry in it.
        base: u64,
    },
    /// Pending entries are gone.
    #[error(
        "the entries from {found} to {known} were acknowledged and are neither in {LOG} nor in {PENDING}; restore {PENDING}, or remove {KNOWN} to go on without them"
    )]
    Lost {
        /// Entries that are there.
        found: u64,
        /// Entries that were there.
        known: u64,
    },
    /// The note of what was sealed is damaged.
    #[error("{path} is damaged, so what was sealed last is not known; remove it to go on with what is there")]
    Known {
        /// The file.
        path: &'static str,
    },
    /// More waits in the pending file than this program ever leaves there.
    #[error("{PENDING}: {0}")]
    Pending(#[source] AppendError),
    /// The disk.
    #[error("the disk: {0}")]
    Io(#[from] io::Error),
}

/// A log that can be appended to.
pub(super) struct Opened {
    /// Where its entries go.
    pub(super) intake: Intake,
    /// Where they become durable.
    pub(super) pending: Pending,
    /// What was sealed and published last.
    pub(super) known: KnownFile,
    /// What the public files say.
    pub(super) published: Checkpoint,
    /// The tree's size at the last snapshot of the cursors.
    pub(super) snapshot: u64,
    /// Whether the log was made just now: it has no checkpoint yet.
    pub(super) is_new: bool,
    /// What was passed over, a sentence each.
    pub(super) notices: Vec<String>,
}

/// Opens the log on `disk`, or begins one. `step` is called now and then, as a sign that it goes on.
///
/// # Errors
/// See [`OpenError`].
pub(super) fn open(disk: &dyn Disk, entropy: &mut dyn Entropy, step: &dyn Fn()) -> Result<Opened, OpenError> {
    let known = read_known(disk)?;
    let note = disk.read(CHECKPOINT, NOTE_BYTES)?;
    let key = match keys::load(disk)? {
        Some(key) => key,
        None if note.is_some() || known.is_some() => return Err(OpenError::KeyMissing),
        None => keys::make(disk, entropy)?,
    };
    let mut start = Start { disk, step, trust: Trust::in_log(key.verifier().clone()), notices: Vec::new() };
    let published = start.published(note.as_deref(), known)?;
    if let Some(known) = known {
        start.agree(known.published, &published)?;
        start.agree(known.sealed, &published)?;
    }
    let edge = start.resume(&published)?;
    let (snapshot, mut cursors) = start.cursors(&published)?;
    start.read_entries(snapshot, published.size, &mut cursors)?;
    start.clear_leftovers(published.size)?;
    let sealed = known.map_or(Point::EMPTY, |known| known.sealed);
    let replay = Replay { disk, step, trust: &start.trust, sealed };
    let (Replayed { appender, cursors, bytes }, segments) = replay.run(&edge, &cursors)?;

    let now = Point { size: appender.size(), root: appender.root() };
    let known = start.known_file(known.is_some(), now, &published)?;
    let notices = start.notices;
    let intake = Intake::new(key, appender, cursors, bytes);
    Ok(Opened {
        intake,
        pending: Pending::new(segments),
        known,
        published,
        snapshot,
        is_new: note.is_none(),
        notices,
    })
}

fn read_known(disk: &dyn Disk) -> Result<Option<Known>, OpenError> {
    let Some(bytes) = disk.read(KNOWN, KNOWN_BYTES)? else { return Ok(None) };
    Known::read(&bytes).map(Some).ok_or(OpenError::Known { path: KNOWN })
}

/// The newest checkpoints of the log in `data` that its kernel remembers, unsigned: what was published last, and what the cursors were
/// kept for. The sealed one is left out, as it may be ahead of the public files for some milliseconds.
///
/// # Errors
/// A file cannot be read or is damaged.
pub(super) fn remembered(disk: &dyn Disk, origin: &str) -> Result<Vec<Checkpoint>, OpenError> {
    let published = read_known(disk)?.map(|known| known.published);
    let snapshot = disk.read(CURSORS, SNAPSHOT_BYTES)?.and_then(|bytes| Snapshot::read(&bytes));
    let snapshot = snapshot.map(|snapshot| Point { size: snapshot.size, root: snapshot.root });
    let points = [published, snapshot].into_iter().flatten().filter(|point| point.size > 0);
    points
        .map(|point| Checkpoint::new(origin, point.size, point.root).map_err(OpenError::Checkpoint))
        .collect()
}

struct Start<'a> {
    disk: &'a dyn Disk,
    step: &'a dyn Fn(),
    trust: Trust,
    notices: Vec<String>,
}

impl Start<'_> {
    const fn files(&self) -> LogOn<'_> {
        LogOn { disk: self.disk, folder: LOG }
    }

    fn checkpoint(&self, point: Point) -> Result<Checkpoint, OpenError> {
        Checkpoint::new(&self.trust.origin, point.size, point.root).map_err(OpenError::Checkpoint)
    }

    /// What the public files say, checked.
    fn published(&self, note: Option<&[u8]>, known: Option<Known>) -> Result<Checkpoint, OpenError> {
        let remembered = known.map_or(0, |known| known.published.size);
        match note {
            Some(note) => {
                let opened = self.trust.open(note).map_err(OpenError::Checkpoint)?.checkpoint;
                if opened.size < remembered {
                    return Err(OpenError::RolledBack { found: opened.size, known: remembered });
                }
                Ok(opened)
            }
            None if remembered > 0 => Err(OpenError::Missing { known: remembered }),
            None => self.checkpoint(Point::EMPTY),
        }
    }

    fn resume(&self, checkpoint: &Checkpoint) -> Result<Appender, OpenError> {
        Appender::resume(checkpoint, &self.files()).map_err(OpenError::Edge)
    }

    /// Whether the log had this root when it had this size. What lies past the public files is the replay's to check.
    fn agree(&self, point: Point, published: &Checkpoint) -> Result<(), OpenError> {
        let fork = |found: String| OpenError::Fork { size: point.size, found, known: point.root.to_string() };
        if point.size > published.size || point.size == 0 {
            return Ok(());
        }
        if point.size == published.size {
            return if point.root == published.root { Ok(()) } else { Err(fork(published.root.to_string())) };
        }
        let earlier = Earlier { files: self.files(), size: published.size };
        match Appender::resume(&self.checkpoint(point)?, &earlier) {
            Ok(_) => Ok(()),
            Err(ResumeError::Root { found, .. }) => Err(fork(found.to_string())),
            Err(e) => Err(OpenError::Edge(e)),
        }
    }

    /// The cursors as they were kept, and the size of the tree at which they were.
    fn cursors(&mut self, published: &Checkpoint) -> Result<(u64, Cursors), OpenError> {
        let Some(bytes) = self.disk.read(CURSORS, SNAPSHOT_BYTES)? else {
            return Ok((0, Cursors::default()));
        };
        let Some(Snapshot { size, root, cursors }) = Snapshot::read(&bytes) else {
            self.notices.push(format!("{CURSORS} is damaged; reading the whole log instead"));
            return Ok((0, Cursors::default()));
        };
        if size > published.size {
            return Err(OpenError::RolledBack { found: published.size, known: size });
        }
        self.agree(Point { size, root }, published)?;
        Ok((size, cursors))
    }

    /// Lets the entries from `from` to `size` move the cursors. Each is compared with its leaf.
    fn read_entries(&self, from: u64, size: u64, cursors: &mut Cursors) -> Result<(), OpenError> {
        for index in from / 256..size.div_ceil(256) {
            (self.step)();
            let first = index * 256;
            let (path, bundle) = self.resource(Kind::Entries, index, size)?;
            let (_, leaves) = self.resource(Kind::Tile(0), index, size)?;
            let wanted = usize::try_from((size - first).min(256)).unwrap_or(256);
            let mut entries = Entries::of(&bundle);
            let leaves = leaves.as_chunks::<32>().0;
            for (at, place) in (0..wanted).zip(first..) {
                let wrong = |detail: &str| OpenError::Entry {
                    path: path.clone(),
                    index: place,
                    detail: detail.to_owned(),
                };
                let entry = entries.next().ok_or_else(|| wrong("it is cut off"))?;
                if leaves.get(at).is_none_or(|leaf| leaf_hash(entry).0 != *leaf) {
                    return Err(wrong("it does not hash to its leaf"));
                }
                if place >= from {
                    advance(cursors, entry).map_err(|e| wrong(&e.to_string()))?;
                }
            }
        }
        Ok(())
    }

    /// A bundle or tile in a tree of `size`: the partial one, or the full one if that is all there is.
    fn resource(&self, kind: Kind, index: u64, size: u64) -> Result<(String, Vec<u8>), OpenError> {
        let outside = || OpenError::Edge(ResumeError::Size(size));
        let resource = Resource::in_tree(kind, index, size).ok_or_else(outside)?;
        let limit = if kind == Kind::Entries { BUNDLE_BYTES } else { TILE_BYTES };
        for candidate in [resource, resource.full()] {
            let path = candidate.to_string();
            if let Some(bytes) = self.files().read(&path, limit)? {
                return Ok((path, bytes.into_owned()));
            }
        }
        Err(OpenError::Edge(ResumeError::Read(ReadError::Missing { path: resource.to_string() })))
    }

    /// Removes what a publication that was cut off left past the checkpoint. It will be written again; but a partial file of a size
    /// that is passed over would stay, with whatever the crash made of it.
    fn clear_leftovers(&self, size: u64) -> Result<(), OpenError> {
        for kind in std::iter::once(Kind::Entries).chain((0..8).map(Kind::Tile)) {
            let level = if let Kind::Tile(level) = kind { u32::from(level) } else { 0 };
            let hashes = size >> (8 * level);
            let (edge, width) = (hashes / 256, hashes % 256);
            // More groups of a thousand files than a publication spans.
            for group in edge / 1000..edge / 1000 + 4 {
                let first = Resource { kind, index: group * 1000, width: 256 }.to_string();
                let folder = parent(&first);
                for name in self.disk.names(&format!("{LOG}/{folder}"))? {
                    self.clear(&format!("{folder}/{name}"), edge, width)?;
                }
            }
        }
        Ok(())
    }

    /// Removes one name in a folder of tiles if it lies past the edge.
    fn clear(&self, path: &str, edge: u64, width: u64) -> Result<(), OpenError> {
        let on_disk = format!("{LOG}/{path}");
        let partials = path.strip_suffix(".p").and_then(Resource::parse);
        match (partials, Resource::parse(path)) {
            (Some(at), _) if at.index > edge => self.disk.remove_folder(&on_disk)?,
            (Some(at), _) if at.index == edge => {
                for name in self.disk.names(&on_disk)? {
                    if name.parse::<u64>().map_or(true, |found| found > width) {
                        self.disk.remove(&format!("{on_disk}/{name}"))?;
                    }
                }
            }
            (None, Some(at)) if at.index >= edge => self.disk.remove(&on_disk)?,
            _ => {}
        }
        Ok(())
    }

    /// A file that is there is overwritten in place, which needs no room on the disk.
    fn known_file(
        &self,
        exists: bool,
        sealed: Point,
        published: &Checkpoint,
    ) -> Result<KnownFile, OpenError> {
        let known = Known { sealed, published: Point::of(published) };
        if !exists {
            disk::replace(self.disk, KNOWN, &format!("{PENDING}/known.new"), &known.to_bytes())?;
            self.disk.sync("")?;
        }
        let mut file = KnownFile::new(self.disk.open(KNOWN)?, known);
        file.sealed(sealed)?;
        Ok(file)
    }
}

/// The log as it was at some earlier size: what was partial then is the beginning of what stands in its place now.
struct Earlier<'a> {
    files: LogOn<'a>,
    /// Entries now.
    size: u64,
}

impl Files for Earlier<'_> {
    fn read(&self, path: &str, limit: usize) -> io::Result<Option<Cow<'_, [u8]>>> {
        let Some(then) = Resource::parse(path) else { return self.files.read(path, limit) };
        let now = Resource::in_tree(then.kind, then.index, self.size).unwrap_or(then);
        let Some(bytes) = self.files.read(&now.to_string(), limit)? else { return Ok(None) };
        let mut bytes = bytes.into_owned();
        let width = usize::from(then.width);
        bytes.truncate(match then.kind {
            Kind::Tile(_) => width * 32,
            Kind::Entries => {
                let mut entries = Entries::of(&bytes);
                entries.by_ref().take(width).for_each(drop);
                bytes.len() - entries.rest().len()
            }
        });
        Ok(Some(Cow::Owned(bytes)))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.files.list()
    }
}

/// Lets an entry move the cursors.
pub(super) fn advance(cursors: &mut Cursors, entry: &[u8]) -> Result<(), LogEntryError> {
    let LogEntry { source, sequence, .. } = LogEntry::read(entry)?;
    cursors.advance(&source, sequence.saturating_add(1));
    Ok(())
}
