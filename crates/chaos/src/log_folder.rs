//! The files of a tamper-evident log on disk, read by name: no kernel needs to run.

use std::{
    borrow::Cow,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use grace_log::files::Files;

/// The log of an instance.
pub(crate) struct LogFolder(PathBuf);

impl LogFolder {
    /// Of the instance whose data lie in `data`.
    #[must_use]
    pub(crate) fn of(data: &Path) -> Self {
        Self(data.join("log"))
    }
}

impl Files for LogFolder {
    fn read(&self, path: &str, limit: usize) -> io::Result<Option<Cow<'_, [u8]>>> {
        let file = match File::open(self.0.join(path)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        // Without a guess of its size a file is read in very small steps.
        let size = usize::try_from(file.metadata()?.len()).unwrap_or(limit);
        let mut bytes = Vec::with_capacity(size.min(limit) + 1);
        file.take(limit as u64 + 1).read_to_end(&mut bytes)?;
        Ok(Some(Cow::Owned(bytes)))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        // Proofs need the files of one path each; the whole log is `grace log verify`'s.
        Err(io::ErrorKind::Unsupported.into())
    }
}
