//! Policies and charters that are looked at with Grace not running.

use std::path::Path;

use super::binary::{Ran, grace};

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/governance/cases.yaml");
const DEFAULT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../policies/default.cedar");

fn run(folder: &Path, args: &str) -> Ran {
    let words: Vec<&str> = args.split_whitespace().collect();
    grace(folder, &[&["--data", "data"], words.as_slice()].concat())
}

#[test]
fn cases_hold_on_what_grace_brings_along_and_fail_on_others_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    std::fs::copy(EXAMPLE, path.join("cases.yaml")).unwrap();
    let ran = run(path, "governance test cases.yaml");
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{}", ran.stdout);
    assert!(ran.stdout.ends_with("9 passed, 0 failed\n"), "{}", ran.stdout);

    // The same set with one policy more, in a file of its own.
    std::fs::create_dir(path.join("new")).unwrap();
    std::fs::copy(DEFAULT, path.join("new/a.cedar")).unwrap();
    let more =
        "@id(\"no.builds\")\nforbid (principal is Agent, action == Action::\"run_command\", resource);\n";
    std::fs::write(path.join("new/b.cedar"), more).unwrap();
    let ran = run(path, "governance test cases.yaml --policies new");
    assert_eq!(ran.code, Some(1), "{}", ran.stdout);
    let failed = "\
✗ an agent may build and test by itself
    outcome   expected allowed
              decided  denied
    tier      expected 2
              decided  none
    because   Agent claude asks for run_command
    because   forbidden by no.builds
";
    assert!(ran.stdout.contains(failed), "{}", ran.stdout);
    let ran = run(path, "--json governance test cases.yaml --policies new");
    let told: Vec<serde_json::Value> =
        ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(told.iter().filter(|one| one["passed"] == false).count(), 1, "{}", ran.stdout);
}

#[test]
fn a_file_that_is_not_as_it_should_be_is_told_with_line_and_field() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let cases = "cases:\n  - name: a\n    type: b\n    expect: {outcome: alowed}\n";
    std::fs::write(path.join("cases.yaml"), cases).unwrap();
    let ran = run(path, "governance test cases.yaml");
    assert_eq!(ran.code, Some(2), "{}", ran.stdout);
    for words in ["error[bad_cases]", "cases.yaml:4:", "cases[0].expect.outcome"] {
        assert!(ran.stderr.contains(words), "{words}: {}", ran.stderr);
    }
    std::fs::copy(EXAMPLE, path.join("cases.yaml")).unwrap();
    std::fs::create_dir(path.join("none")).unwrap();
    std::fs::write(path.join("bad.cedar"), "@id(\"a\")\npermit (principal, action").unwrap();
    for (policies, code) in
        [("none", "unreadable_file"), ("missing", "unreadable_file"), ("bad.cedar", "bad_policies")]
    {
        let ran = run(path, &format!("governance test cases.yaml --policies {policies}"));
        assert_eq!(ran.code, Some(2), "{}", ran.stdout);
        assert!(ran.stderr.contains(&format!("error[{code}]")), "{}", ran.stderr);
    }
}

#[test]
fn a_diff_says_what_is_written_and_what_it_means() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let default = std::fs::read_to_string(DEFAULT).unwrap();
    std::fs::write(path.join("old.cedar"), &default).unwrap();
    let more = "\n@id(\"bot\") @tier(\"1\") permit (principal == Remote::\"bot\", action == Action::\"call_tool\", resource);\n";
    std::fs::write(path.join("new.cedar"), default + more).unwrap();
    let ran = run(path, "governance diff --policies new.cedar --against old.cedar");
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{}", ran.stdout);
    let expected = "\
+ policy bot  added, permits at tier 1

TYPE       ACTOR       BEFORE    AFTER              WHEN
call_tool  remote bot  - denied  1 allowed, review  always
";
    assert!(ran.stdout.ends_with(expected), "{}", ran.stdout);
    let same = run(path, "--json governance diff --policies old.cedar");
    let same: serde_json::Value = serde_json::from_str(&same.stdout).unwrap();
    assert_eq!((&same["policies"], &same["outcomes"]), (&serde_json::json!([]), &serde_json::json!([])));
    assert_eq!(run(path, "governance diff").code, Some(2));
}
