//! The records of all tokens: a file of the operator's, read by this interface whenever it has changed.
//!
//! Whoever changes it holds a lock, writes a whole new file and puts it in the old one's place. A request looks at the file's number, size and
//! time, which costs one system call, and reads it anew when they differ: what is revoked is revoked with the next request.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use grace_kernel::private;
use grace_types::time::Timestamp;

use super::record::{Record, Standing};
use crate::{kept::Kept, limits};

/// Reads all records; none where there is no file.
///
/// # Errors
/// The file cannot be read, is none of ours, or can be read by others.
pub fn read(path: &Path) -> io::Result<Vec<Record>> {
    let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
    match private::read(path, limits::TOKENS_BYTES).map_err(named)? {
        Some(text) => serde_json::from_slice(&text).map_err(|e| named(e.into())),
        None => Ok(Vec::new()),
    }
}

/// Changes the records: `change` sees all of them, and what it leaves is written. Records that ended long ago are dropped.
///
/// # Errors
/// What `change` says, or the file cannot be read or written.
pub fn change<T, E: From<io::Error>>(
    path: &Path,
    now: Timestamp,
    change: impl FnOnce(&mut Vec<Record>) -> Result<T, E>,
) -> Result<T, E> {
    let _lock = lock(path)?;
    let mut records = read(path)?;
    let done = change(&mut records)?;
    let ended = |record: &Record| record.revoked.unwrap_or(record.expires);
    records.retain(|record| {
        record.standing(now) == Standing::Live || now.since(ended(record)) < limits::ENDED_TOKENS_KEPT
    });
    let mut text = serde_json::to_vec_pretty(&records).map_err(io::Error::from)?;
    text.push(b'\n');
    private::write(path, &text)?;
    Ok(done)
}

/// Held until the file is dropped.
fn lock(path: &Path) -> io::Result<File> {
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let lock = path.with_extension("lock");
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(lock)?;
    file.lock()?;
    Ok(file)
}

/// The records as they are now.
#[derive(Debug)]
pub struct Tokens(Kept<Arc<[Record]>>);

impl Tokens {
    /// Those in the file at `path`.
    #[must_use]
    pub const fn at(path: PathBuf) -> Self {
        Self(Kept::at(path, |path| read(path).map(Into::into)))
    }

    /// All of them.
    ///
    /// # Errors
    /// The file cannot be used: then nobody is known.
    pub fn now(&self) -> io::Result<Arc<[Record]>> {
        self.0.now()
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt as _, time::Duration};

    use grace_types::chance::SeededEntropy;

    use super::*;
    use crate::bearer::record::{Kind, Scope};

    fn record(seed: u64) -> Record {
        let end = Timestamp::EPOCH.plus(Duration::from_secs(10));
        let scopes = (vec![Scope::Evaluate], 5);
        Record::make(("ci", Kind::Agent), scopes, (Timestamp::EPOCH, end), &mut SeededEntropy::new(seed)).0
    }

    fn add(path: &Path, record: Record, now: Timestamp) {
        change::<_, io::Error>(path, now, |all| {
            all.push(record);
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn a_change_is_seen_at_once_and_only_the_owner_can_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys/tokens.json");
        let tokens = Tokens::at(path.clone());
        assert!(tokens.now().unwrap().is_empty());
        for seed in 1..=20 {
            add(&path, record(seed), Timestamp::EPOCH);
            assert_eq!(tokens.now().unwrap().len() as u64, seed);
        }
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        std::fs::remove_file(&path).unwrap();
        assert!(tokens.now().unwrap().is_empty(), "nobody is known without a file");
    }

    #[test]
    fn a_file_that_cannot_be_used_knows_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.json");
        add(&path, record(1), Timestamp::EPOCH);
        let tokens = Tokens::at(path.clone());
        assert_eq!(tokens.now().unwrap().len(), 1);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(tokens.now().unwrap_err().to_string().contains("others can read it (mode 640)"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(tokens.now().unwrap().len(), 1);
        for text in ["", "{}", "[{\"id\": 1}]", "[null]"] {
            std::fs::write(&path, text).unwrap();
            assert!(tokens.now().is_err(), "{text}");
        }
    }

    #[test]
    fn what_ended_long_ago_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.json");
        add(&path, record(1), Timestamp::EPOCH);
        let later = Timestamp::EPOCH.plus(Duration::from_secs(20));
        add(&path, record(2), later);
        assert_eq!(read(&path).unwrap().len(), 2, "an ended one is shown for a while");
        add(&path, record(3), later.plus(limits::ENDED_TOKENS_KEPT));
        assert_eq!(read(&path).unwrap().len(), 0, "all of these have ended");
    }
}
