//! A log's folder on disk, read as it lies there.

use std::{
    borrow::Cow,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use grace_log::files::Files;

/// The files of a log in a folder.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    path: PathBuf,
}

impl Folder {
    pub(crate) fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a file of the folder; `None` if there is none.
    pub(crate) fn open(&self, path: &str) -> io::Result<Option<File>> {
        match File::open(self.path.join(path)) {
            Ok(file) => Ok(Some(file)),
            // A file where a folder should be hides what would lie in it.
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(e) => Err(e),
        }
    }
}

impl Files for Folder {
    fn read(&self, path: &str, limit: usize) -> io::Result<Option<Cow<'_, [u8]>>> {
        let Some(file) = self.open(path)? else { return Ok(None) };
        let length = file.metadata()?.len().min(limit as u64);
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0) + 1);
        file.take(limit as u64 + 1).read_to_end(&mut bytes)?;
        Ok(Some(Cow::Owned(bytes)))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let (mut found, mut folders) = (Vec::new(), vec![String::new()]);
        while let Some(folder) = folders.pop() {
            let entries = match std::fs::read_dir(self.path.join(&folder)) {
                Ok(entries) => entries,
                // Partial files go, with their folder, once the full one is there.
                Err(e) if e.kind() == io::ErrorKind::NotFound && !folder.is_empty() => continue,
                Err(e) => return Err(e),
            };
            for entry in entries {
                let entry = entry?;
                let name = entry.file_name();
                let path = format!("{folder}{}", name.to_string_lossy());
                match entry.file_type() {
                    // A link to a folder is no part of a log, and following it could lead in circles.
                    Ok(kind) if kind.is_dir() => folders.push(format!("{path}/")),
                    Ok(_) => found.push(path),
                    Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                    Err(e) => return Err(e),
                }
            }
        }
        Ok(found)
    }
}
