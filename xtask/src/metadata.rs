//! What `cargo metadata` says of the workspace: its packages, where they lie, what they import, their binaries.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::workspace;

/// A package of the workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Package {
    /// As in its `Cargo.toml`.
    pub(crate) name: String,
    /// Relative to the root.
    pub(crate) folder: PathBuf,
    /// Folders, relative to the root, of the packages in this tree that it depends on, for tests and builds as well.
    pub(crate) imports: Vec<PathBuf>,
    /// Names of its binaries.
    pub(crate) binaries: Vec<String>,
}

/// Asks cargo, which touches no network for this.
pub(crate) fn read() -> Result<Vec<Package>, String> {
    let output = workspace::cargo(&["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .output()
        .map_err(|e| format!("`cargo metadata` cannot be started: {e}"))?;
    if !output.status.success() {
        return Err(format!("`cargo metadata` failed: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    parse(&output.stdout, &workspace::root())
}

fn parse(json: &[u8], root: &Path) -> Result<Vec<Package>, String> {
    let metadata: Value =
        serde_json::from_slice(json).map_err(|e| format!("`cargo metadata` is not JSON: {e}"))?;
    let inside = |path: &Path| path.strip_prefix(root).ok().map(Path::to_path_buf);
    let package = |p: &Value| {
        let manifest = Path::new(p["manifest_path"].as_str()?);
        let imports = entries(&p["dependencies"])
            .filter_map(|d| d["path"].as_str())
            .filter_map(|path| inside(Path::new(path)))
            .collect();
        let binaries = entries(&p["targets"])
            .filter(|t| entries(&t["kind"]).any(|k| k == "bin"))
            .filter_map(|t| t["name"].as_str().map(str::to_owned))
            .collect();
        Some(Package {
            name: p["name"].as_str()?.to_owned(),
            folder: inside(manifest.parent()?)?,
            imports,
            binaries,
        })
    };
    let packages: Vec<Package> = entries(&metadata["packages"]).filter_map(package).collect();
    if packages.is_empty() { Err("`cargo metadata` names no package".into()) } else { Ok(packages) }
}

fn entries(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_workspace_is_read() {
        let packages = read().unwrap();
        let grace = packages.iter().find(|p| p.folder == Path::new("crates/grace")).unwrap();
        assert_eq!(
            (grace.name.as_str(), grace.binaries.as_slice()),
            ("grace-grace", ["grace".to_owned()].as_slice())
        );
        assert!(grace.imports.contains(&PathBuf::from("crates/types")), "{:?}", grace.imports);
    }

    #[test]
    fn a_dependency_from_elsewhere_is_not_an_import() {
        let json = br#"{"packages": [{"name": "a", "manifest_path": "/w/crates/a/Cargo.toml", "targets": [],
            "dependencies": [{"name": "serde"}, {"name": "b", "path": "/w/crates/b"}, {"name": "c", "path": "/other"}]}]}"#;
        let packages = parse(json, Path::new("/w")).unwrap();
        assert_eq!(packages[0].imports, [PathBuf::from("crates/b")]);
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(parse(b"{}", Path::new("/w")).is_err());
        assert!(parse(b"[", Path::new("/w")).is_err());
    }
}
