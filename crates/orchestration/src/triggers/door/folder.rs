//! Events from files: whoever has no client for the bus puts one into `DATA/events/`, a JSON file with one event or a list of them.
//!
//! A file is read when its name ends with `.json`; so that none is read half written, it is written under another name and renamed. What
//! was taken is removed; what is wrong is moved to `refused/` with a file beside it that says why. Killed in between, it is read
//! again, and what was taken is known by its ids.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use grace_kernel::process::{later, tell};

use super::{Door, Fate, read};
use crate::limits;

/// Looks into the folder again and again.
pub(super) async fn watch(door: Door, folder: PathBuf) {
    let refused = folder.join("refused");
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&refused);
    if let Err(e) = made {
        return tell(&format!("{}: {e}; no events are taken from files", refused.display()));
    }
    loop {
        for path in waiting(&folder) {
            if let Err(e) = take(&door, &path, &refused).await {
                tell(&format!("{}: {e}", path.display()));
            }
        }
        later(limits::LOOK_EVERY).await;
    }
}

/// The files there, by name, as many as are taken in one round.
fn waiting(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let is_event = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.ends_with(".json") && !name.starts_with('.')
    };
    let mut paths: Vec<PathBuf> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_event).take(limits::FILES).collect();
    paths.sort_unstable();
    paths
}

async fn take(door: &Door, path: &Path, refused: &Path) -> io::Result<()> {
    let size = fs::symlink_metadata(path)?;
    if !size.is_file() {
        return refuse(path, refused, "it is no file");
    }
    if size.len() > limits::FILE_BYTES {
        return refuse(
            path,
            refused,
            &format!("{} bytes; at most {} are taken", size.len(), limits::FILE_BYTES),
        );
    }
    let read = read::from_file(&fs::read(path)?, door.clock.now().wall)
        .and_then(|events| events.into_iter().map(read::Written::of).collect::<Result<Vec<_>, _>>());
    let events = match read {
        Ok(events) => events,
        Err(wrong) => return refuse(path, refused, &wrong.to_string()),
    };
    for some in events.chunks(limits::DOOR_BATCH) {
        let fates = door.bring(some).await;
        if let Some(Fate::Busy(why)) = fates.into_iter().find(|fate| matches!(fate, Fate::Busy(_))) {
            // Later, whole: what was taken is known.
            return Err(io::Error::other(format!("not taken yet: {why}")));
        }
    }
    fs::remove_file(path)
}

fn refuse(path: &Path, refused: &Path, why: &str) -> io::Result<()> {
    tell(&format!("{}: {why}; moved to {}", path.display(), refused.display()));
    let Some(name) = path.file_name() else { return Ok(()) };
    let mut reason = name.to_owned();
    reason.push(".reason");
    fs::write(refused.join(reason), format!("{why}\n"))?;
    fs::rename(path, refused.join(name))
}
