//! Rules of the tree that no compiler checks: a module doc on every source file, no file that is named after nothing,
//! no Markdown in the root beyond the three files that a newcomer reads.

use std::{fs, io, path::Path};

/// A name that says nothing about what is inside collects everything.
const EMPTY_NAMES: [&str; 4] = ["utils", "helpers", "common", "imp"];

/// The only Markdown in the root: no status reports.
const ROOT_MARKDOWN: [&str; 3] = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"];

/// Every breach in the tree at `root`, ordered by path.
pub(crate) fn faults(root: &Path) -> io::Result<Vec<String>> {
    let mut faults = Vec::new();
    visit(root, root, &mut faults)?;
    for entry in fs::read_dir(root)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.to_lowercase().ends_with(".md") && !ROOT_MARKDOWN.contains(&name.as_str()) {
            faults.push(format!("{name}: the root holds no Markdown but {}", ROOT_MARKDOWN.join(", ")));
        }
    }
    faults.sort();
    Ok(faults)
}

fn visit(root: &Path, folder: &Path, faults: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        let name = entry.file_name().to_string_lossy().into_owned();
        if kind.is_dir() && (name.starts_with('.') || name == "target") {
            continue;
        }
        let shown = path.strip_prefix(root).unwrap_or(&path).display();
        let source = kind.is_file() && name.ends_with(".rs");
        let stem = name.strip_suffix(".rs").unwrap_or(&name);
        if (source || kind.is_dir()) && EMPTY_NAMES.contains(&stem) {
            faults.push(format!("{shown}: the name says nothing; name it after what it holds"));
        }
        if kind.is_dir() {
            visit(root, &path, faults)?;
        } else if source && !begins_with_module_doc(&fs::read_to_string(&path)?) {
            faults.push(format!("{shown}: does not begin with a module doc (`//! …`)"));
        }
    }
    Ok(())
}

fn begins_with_module_doc(text: &str) -> bool {
    let first = text.lines().map(str::trim).find(|line| !line.is_empty());
    first.and_then(|line| line.strip_prefix("//!")).is_some_and(|doc| !doc.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn a_clean_tree_has_no_faults() {
        let root = tree(&[
            ("README.md", "# x"),
            ("docs/notes.md", "# elsewhere is fine"),
            ("crates/a/src/lib.rs", "\n//! What it is for.\n"),
            ("target/debug/build/out.rs", "generated"),
            (".git/common/x.rs", "not ours"),
        ]);
        assert_eq!(faults(root.path()).unwrap(), [""; 0]);
    }

    #[test]
    fn each_breach_is_named_with_its_file() {
        let root = tree(&[
            ("STATUS.md", "all done"),
            ("crates/a/src/lib.rs", "pub fn a() {}\n//! too late\n"),
            ("crates/a/src/empty.rs", "//!\n"),
            ("crates/a/src/utils.rs", "//! Everything.\n"),
            ("crates/a/tests/common/mod.rs", "//! Shared.\n"),
        ]);
        let faults = faults(root.path()).unwrap();
        let files: Vec<&str> = faults.iter().filter_map(|f| f.split(':').next()).collect();
        assert_eq!(
            files,
            [
                "STATUS.md",
                "crates/a/src/empty.rs",
                "crates/a/src/lib.rs",
                "crates/a/src/utils.rs",
                "crates/a/tests/common"
            ]
        );
    }
}
