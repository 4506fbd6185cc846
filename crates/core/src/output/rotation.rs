//! When a log file is full, and what is renamed to what then. Pure, but for the listing of what is there.
//!
//! `NAME.log` is the current file, `NAME.log.1` the one before it, and so on; the highest number is the oldest.

use std::{
    io,
    path::{Path, PathBuf},
};

/// One step of a rotation. They are carried out in order; one that names a file that is not there is skipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The oldest file goes.
    Remove(PathBuf),
    /// A file gets older.
    Rename {
        /// Its name now.
        from: PathBuf,
        /// Its name then.
        to: PathBuf,
    },
}

/// Whether `incoming_bytes` may be appended to a file of `size_bytes`. An empty file takes anything: a line that is longer
/// than the limit has to go somewhere.
#[must_use]
pub const fn fits(size_bytes: u64, incoming_bytes: u64, max_size_bytes: u64) -> bool {
    size_bytes == 0 || size_bytes.saturating_add(incoming_bytes) <= max_size_bytes
}

/// The steps that make room for a new current file, oldest file first, so that a crash between two of them loses nothing.
#[must_use]
pub fn steps(path: &Path, max_files: u32) -> Vec<Step> {
    let last = max_files.max(1) - 1;
    let mut steps = vec![Step::Remove(numbered(path, last))];
    steps
        .extend((0..last).rev().map(|n| Step::Rename { from: numbered(path, n), to: numbered(path, n + 1) }));
    steps
}

/// The path of the file that has been rotated `n` times; the current one for 0.
#[must_use]
pub fn numbered(path: &Path, n: u32) -> PathBuf {
    if n == 0 {
        return path.to_owned();
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{n}"));
    name.into()
}

/// The rotated files that exist, newest first, the current one not included.
///
/// # Errors
/// The folder cannot be read.
pub fn rotated(path: &Path) -> io::Result<Vec<(u32, PathBuf)>> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str())) else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let number = entry
            .file_name()
            .to_str()
            .and_then(|n| n.strip_prefix(name)?.strip_prefix('.')?.parse::<u32>().ok())
            .filter(|n| *n > 0 && numbered(path, *n) == entry.path());
        if let Some(number) = number {
            found.push((number, entry.path()));
        }
    }
    found.sort_unstable();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rename(from: &str, to: &str) -> Step {
        Step::Rename { from: from.into(), to: to.into() }
    }

    #[test]
    fn files_get_older_one_by_one() {
        assert_eq!(
            steps(Path::new("a.log"), 3),
            [Step::Remove("a.log.2".into()), rename("a.log.1", "a.log.2"), rename("a.log", "a.log.1")]
        );
        for max_files in [0, 1] {
            assert_eq!(steps(Path::new("a.log"), max_files), [Step::Remove("a.log".into())]);
        }
    }

    #[test]
    fn an_empty_file_takes_a_line_of_any_length() {
        assert!(fits(0, 1000, 10));
        assert!(fits(4, 6, 10));
        assert!(!fits(4, 7, 10));
        assert!(!fits(1, u64::MAX, 10));
    }

    #[test]
    fn only_rotated_files_of_this_log_are_listed() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.log", "a.log.2", "a.log.1", "a.log.01", "a.log.0", "a.log.x", "ba.log.1", "a.log.11"]
        {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let numbers: Vec<u32> =
            rotated(&folder.path().join("a.log")).unwrap().into_iter().map(|(n, _)| n).collect();
        assert_eq!(numbers, [1, 2, 11]);
    }
}
