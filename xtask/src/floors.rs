//! The floor check: a crate imports only crates on lower floors, never a sibling, and nobody imports what stands
//! beside the house. ARCHITECTURE.md says what lives on each floor.
//!
//! Dependencies for tests and build scripts count too: a test that reaches up ties the floors together as firmly as
//! code does.

use std::path::Path;

use crate::metadata::Package;

/// Folders in `crates/`, floor by floor. A crate that is not here yet has its place all the same.
const FLOORS: [&[&str]; 6] = [
    &["types"],
    &["log", "check", "store", "bus", "faults", "sandbox"],
    &["kernel"],
    &["core", "orchestration", "cortex", "chaos", "coding"],
    &["api"],
    &["grace"],
];

/// What stands beside the house: may import any floor, and is imported by nobody.
const BESIDE: [&str; 5] = ["sim", "tests", "benches", "fuzz", "xtask"];

/// Every breach of the rule, in the order of `packages`.
pub(crate) fn faults(packages: &[Package]) -> Vec<String> {
    packages.iter().flat_map(faults_of).collect()
}

enum Place {
    Floor(usize),
    Beside,
    Nowhere,
}

fn place(folder: &Path) -> Place {
    let floor_of = |name: &Path| FLOORS.iter().position(|floor| floor.iter().any(|c| Path::new(c) == name));
    if let Ok(name) = folder.strip_prefix("crates") {
        return floor_of(name).map_or(Place::Nowhere, Place::Floor);
    }
    if BESIDE.iter().any(|beside| folder.starts_with(beside)) { Place::Beside } else { Place::Nowhere }
}

fn faults_of(package: &Package) -> Vec<String> {
    let shown = package.folder.display();
    let own = place(&package.folder);
    if matches!(own, Place::Nowhere) {
        return vec![format!(
            "{shown} has no floor: give it one in xtask/src/floors.rs and in ARCHITECTURE.md"
        )];
    }
    let fault = |import: &Path| {
        let to = import.display();
        match (&own, place(import)) {
            (_, Place::Beside) => {
                Some(format!("{shown} imports {to}, which stands beside the house: nobody imports it"))
            }
            (_, Place::Nowhere) => Some(format!("{shown} imports {to}, which has no floor")),
            (Place::Floor(from), Place::Floor(onto)) if onto == *from => {
                Some(format!("{shown} imports its sibling {to}: both are on floor {from}"))
            }
            (Place::Floor(from), Place::Floor(onto)) if onto > *from => {
                Some(format!("{shown} (floor {from}) imports {to} (floor {onto}): only downwards"))
            }
            _ => None,
        }
    };
    package.imports.iter().filter_map(|import| fault(import)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(folder: &str, imports: &[&str]) -> Package {
        Package {
            name: folder.replace('/', "-"),
            folder: folder.into(),
            imports: imports.iter().map(Into::into).collect(),
            binaries: Vec::new(),
        }
    }

    fn one(folder: &str, import: &str) -> Vec<String> {
        faults(&[package(folder, &[import])])
    }

    #[test]
    fn downwards_is_allowed_from_anywhere() {
        assert_eq!(
            faults(&[
                package("crates/types", &[]),
                package("crates/bus", &["crates/types"]),
                package("crates/grace", &["crates/types", "crates/core", "crates/api"]),
                package("sim", &["crates/kernel", "crates/store"]),
                package("tests", &["crates/grace"]),
            ]),
            [""; 0]
        );
    }

    #[test]
    fn upwards_is_refused() {
        assert_eq!(
            one("crates/store", "crates/kernel"),
            ["crates/store (floor 1) imports crates/kernel (floor 2): only downwards"]
        );
    }

    #[test]
    fn a_sibling_is_refused() {
        assert_eq!(
            one("crates/store", "crates/bus"),
            ["crates/store imports its sibling crates/bus: both are on floor 1"]
        );
    }

    #[test]
    fn nobody_imports_what_stands_beside() {
        for beside in BESIDE {
            assert_eq!(one("crates/grace", beside).len(), 1, "{beside}");
            assert_eq!(one("xtask", beside).len(), 1, "{beside}");
        }
    }

    #[test]
    fn a_crate_without_a_floor_is_named() {
        assert!(one("crates/misc", "crates/types")[0].starts_with("crates/misc has no floor"));
        assert!(one("crates/bus", "crates/misc")[0].contains("which has no floor"));
    }
}
