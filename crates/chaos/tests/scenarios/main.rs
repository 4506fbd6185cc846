//! Scenarios as their writers meet them: what is refused and in which words, and the schemas that editors read.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::{Path, PathBuf};

use grace_chaos::{
    safeguard,
    scenario::{self, Library, LibraryError, Origin},
};

/// The root of the workspace.
fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn bad() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios/bad")
}

/// Compares `actual` with the committed file, or rewrites it when `UPDATE_GOLDEN=1`.
fn assert_golden(path: &Path, actual: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1") {
        std::fs::write(path, actual).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(expected, actual, "{} is not current; UPDATE_GOLDEN=1 rewrites it", path.display());
}

#[test]
fn bad_scenarios_are_refused_in_these_words() {
    let library = Library::default();
    let mut names: Vec<PathBuf> = std::fs::read_dir(bad()).unwrap().map(|e| e.unwrap().path()).collect();
    names.retain(|path| path.extension().is_some_and(|e| e == "yaml"));
    names.sort();
    assert!(names.len() >= 10);
    for path in names {
        let Err(LibraryError::Bad(errors)) = library.load(&path.to_string_lossy()) else {
            panic!("{} is not refused", path.display())
        };
        let text = errors.to_string().replace(&format!("{}/", bad().display()), "");
        assert_golden(&path.with_extension("yaml.txt"), &text);
    }
}

#[test]
fn every_built_in_scenario_is_sound_and_named_after_its_file() {
    let library = Library::new(Some(workspace().join("scenarios")));
    let (built_in, files) = (Library::default().ids().unwrap(), library.ids().unwrap());
    assert!(built_in.keys().eq(files.keys()), "each file in scenarios/ is built in");
    for id in built_in.keys() {
        let scenario = Library::default().load(id).unwrap();
        assert_eq!((&scenario.id, &scenario.origin), (id, &Origin::BuiltIn));
        assert_eq!(library.load(id).unwrap().text, scenario.text);
    }
}

#[test]
fn a_folder_of_the_users_wins_and_what_is_not_there_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let library = Library::new(Some(folder.path().to_owned()));
    let own = "id: own\ntitle: Own\ncategory: c\nseverity: low\nverifications: [{name: v, check: 'true'}]\n";
    std::fs::write(folder.path().join("own.yaml"), own).unwrap();
    std::fs::write(folder.path().join("other.yaml"), own).unwrap();
    std::fs::write(
        folder.path().join("dirt-critical-kernel-kill.yaml"),
        own.replace("own", "dirt-critical-kernel-kill"),
    )
    .unwrap();
    assert_eq!(library.load("own").unwrap().title, "Own");
    assert_eq!(library.load("dirt-critical-kernel-kill").unwrap().title, "Own");
    let told = library.load("other").unwrap_err().to_string();
    assert!(told.contains("its id is `own`: name the file `own.yaml`"), "{told}");
    let Err(LibraryError::NotFound { help, .. }) = library.load("dirt-critical-kernel-kil") else { panic!() };
    assert_eq!(help.as_deref(), Some("did you mean `dirt-critical-kernel-kill`?"));
    assert_eq!(Library::new(Some(folder.path().join("none"))).ids().unwrap().len(), 1);
    let large = format!("{own}# {}", "x".repeat(300 << 10));
    std::fs::write(folder.path().join("own.yaml"), large).unwrap();
    assert!(library.load("own").unwrap_err().to_string().contains("it has more than 262144 bytes"));
}

#[test]
fn the_committed_schemas_are_current() {
    for (name, schema) in [("scenario", scenario::json_schema()), ("safeguard", safeguard::json_schema())] {
        let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        assert_golden(&workspace().join(format!("schemas/{name}.schema.json")), &text);
    }
}
