//! What a journal's folder holds, and making it, private and durable.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use crate::StoreError;

/// The journal's own numbers.
pub(super) const META: &str = "meta";
/// What was acknowledged last.
pub(super) const HEAD: &str = "head";
/// Before the number of a segment.
pub(super) const SEGMENT: &str = "segment-";
/// Before the position of a snapshot.
pub(super) const SNAPSHOT: &str = "snapshot-";
/// Behind the name of a file that is only being written.
pub(super) const NEW: &str = ".new";

/// Makes `folder` (0700) with those above it, if it does not exist, and syncs the names.
pub(crate) fn create(folder: &Path) -> io::Result<()> {
    for folder in [folder.parent().filter(|p| !p.as_os_str().is_empty()), Some(folder)].into_iter().flatten()
    {
        if !folder.exists() {
            match DirBuilder::new().recursive(true).mode(0o700).create(folder) {
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
                _ => sync_parent(folder)?,
            }
        }
    }
    Ok(())
}

/// Opens a file of the journal for reading and writing, and makes it (0600) if it does not exist. Its name is not synced.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// Puts a file with these parts in place, synced with its name: whole or not at all, whenever the power goes. What was there
/// before under the name is replaced.
pub(super) fn put(path: &Path, parts: &[&[u8]]) -> io::Result<File> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(NEW);
    let fresh = PathBuf::from(fresh);
    let written = (|| {
        let mut file = open(&fresh)?;
        file.set_len(0)?;
        for part in parts {
            file.write_all(part)?;
        }
        file.sync_all()?;
        fs::rename(&fresh, path)?;
        sync_parent(path)?;
        Ok(file)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&fresh);
    }
    written
}

/// The numbers of the files whose names begin with `before`, in order. Other names are passed over.
pub(super) fn numbered(folder: &Path, before: &str) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(before)).filter(|n| n.len() == DIGITS);
        numbers.extend(number.and_then(|n| n.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Digits of a number in a name: as many as the largest has, so that names sort as numbers do.
const DIGITS: usize = 20;

/// The file of that number.
pub(super) fn file(folder: &Path, before: &str, number: u64) -> PathBuf {
    folder.join(format!("{before}{number:0DIGITS$}"))
}

/// Syncs the folder that holds `path`, so that the name itself survives a power loss.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

/// The system's failure with a file.
pub(crate) fn failed(path: &Path, e: &io::Error) -> StoreError {
    let path = path.display().to_string();
    if e.kind() == io::ErrorKind::StorageFull {
        StoreError::Full { path }
    } else {
        StoreError::Io { path, detail: e.to_string() }
    }
}

/// What a file holds is not what was written.
pub(super) fn corrupt(path: &Path, detail: &str) -> StoreError {
    StoreError::Corrupt { what: path.display().to_string(), detail: detail.to_owned() }
}
