//! Each file in `bad/` is refused with exactly the words in the `.txt` beside it.

use grace_types::manifest;

use super::{assert_golden, here};

#[test]
fn bad_manifests_are_refused_in_these_words() {
    let folder = here().join("bad");
    let mut names: Vec<String> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".yaml") || name.starts_with("Procfile.") && !name.ends_with(".txt"))
        .collect();
    names.sort();
    assert!(names.len() >= 50);
    for name in names {
        let path = folder.join(&name);
        let errors = manifest::load(&path).expect_err(&name);
        assert!(!errors.errors.is_empty(), "{name}");
        // Shown without the folder, which differs from machine to machine.
        let text = errors.to_string().replace(&format!("{}/", folder.display()), "");
        assert_golden(&folder.join(format!("{name}.txt")), &text);
    }
}

#[test]
fn a_file_that_is_too_large_or_absent_is_refused() {
    let folder = std::env::temp_dir().join(format!("grace-manifest-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let large = folder.join("large.yaml");
    std::fs::write(&large, "# comment\n".repeat(110_000)).unwrap();
    let text = manifest::load(&large).unwrap_err().to_string();
    assert!(text.ends_with("large.yaml: error: cannot be read: it has more than 1048576 bytes\n"), "{text}");
    let text = manifest::load(&folder.join("absent.yaml")).unwrap_err().to_string();
    assert!(text.contains("absent.yaml: error: cannot be read: No such file"), "{text}");
    assert!(manifest::load(&folder).is_err(), "a folder is not a manifest");
    std::fs::remove_dir_all(&folder).unwrap();
}
