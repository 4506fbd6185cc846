//! The manifest as its users meet it: what is accepted, what is refused and in which words.

mod accepted;
mod golden;
mod property;

use std::path::{Path, PathBuf};

/// This folder.
fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifest")
}

/// The root of the workspace.
fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Compares `actual` with the committed file, or rewrites it when `UPDATE_GOLDEN=1`.
fn assert_golden(path: &Path, actual: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1") {
        std::fs::write(path, actual).expect("golden files can be written");
        return;
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        expected == actual,
        "{} is not current; run again with UPDATE_GOLDEN=1 if the change is wanted.\nexpected:\n{expected}\nactual:\n{actual}",
        path.display()
    );
}
