//! Golden files: text that changes only on purpose. `UPDATE_GOLDEN=1 cargo test -p grace-grace` writes them anew; the
//! difference is then read in the commit.

use std::path::Path;

/// Compares with `tests/cli/golden/NAME`.
pub(super) fn check(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        return;
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, golden, "{} differs; if that is meant, run with UPDATE_GOLDEN=1", path.display());
}
