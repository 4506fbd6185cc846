//! Triggers, policies and schedules that are looked at with Grace not running.

use std::path::Path;

use super::binary::{Ran, grace};

const WORK: &str = r#"
processes: {web: {command: [sleep, 1d]}}
triggers:
  small:
    types: [com.shop.picture.*]
    filter: data.size < 100
    action: {submit: {intent: resize, payload: {path: "${data.path}"}}}
  large: {types: [com.shop.picture.added], filter: data.size >= 100, action: {publish: {type: com.shop.large}}}
  other: {types: [com.shop.order.*], action: {publish: {type: com.shop.other}}}
policies:
  keeps: {match: [com.shop.*], priority: 1, last: true, then: [{annotate: "seen ${event.type}"}]}
  hidden: {match: [com.shop.picture.added], then: [{annotate: x}]}
  x: {match: [com.x], when: data.go, then: [{emit: {type: com.y}}]}
  y: {match: [com.y], when: data.go, then: [{emit: {type: com.x}}]}
"#;

const EVENT: &str =
    r#"{"type": "com.shop.picture.added", "source": "/shop", "data": {"path": "a.png", "size": 3}}"#;

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("work.yaml"), WORK).unwrap();
    std::fs::write(folder.path().join("event.json"), EVENT).unwrap();
    folder
}

fn run(folder: &Path, args: &str) -> Ran {
    let words: Vec<&str> = args.split_whitespace().collect();
    grace(folder, &[&["--data", "data"], words.as_slice()].concat())
}

#[test]
fn an_event_is_tried_out_on_a_file() {
    let folder = folder();
    let ran = run(folder.path(), "trigger test event.json --file work.yaml");
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    let expected = "\
com.shop.picture.added from /shop
· large  its filter is false
· other  the event's type is none of its types
✓ small  fires: submit resize {\"path\":\"a.png\"}
";
    assert_eq!(ran.stdout, expected);
    let ran = run(folder.path(), "--json policy test event.json --file work.yaml");
    let first: serde_json::Value = serde_json::from_str(ran.stdout.lines().next().unwrap()).unwrap();
    assert_eq!((&first["policy"], &first["outcome"]), (&"keeps".into(), &"fires".into()));
    assert_eq!(first["notes"][0], "seen com.shop.picture.added");
    assert!(ran.stdout.lines().nth(1).unwrap().contains("\"kept_by\""), "{}", ran.stdout);
}

#[test]
fn lint_tells_what_will_not_do_what_it_says() {
    let folder = folder();
    let ran = run(folder.path(), "policy lint work.yaml");
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(1), ""));
    for part in [
        "error[shadowed]: hidden: it never sees an event: `keeps` comes first and keeps them all",
        "error[loop]: x: a loop that only its conditions can end: x → y → x",
        "4 policies: 2 errors, 0 warnings",
    ] {
        assert!(ran.stdout.contains(part), "{part}\n{}", ran.stdout);
    }
    std::fs::write(
        folder.path().join("off.yaml"),
        "policies: {a: {match: [b], then: [{annotate: c}], enabled: false}}\n",
    )
    .unwrap();
    let ran = run(folder.path(), "policy lint off.yaml");
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (Some(0), "warning[disabled]: a: it is not enabled\n1 policy: 0 errors, 1 warnings\n")
    );
    let twice = run(folder.path(), "policy lint off.yaml off.yaml");
    assert!(twice.code == Some(2) && twice.stderr.contains("`a` is in another of these files"), "{twice:?}");
}

#[test]
fn the_nights_on_which_clocks_change() {
    let folder = folder();
    let next = |from: &str| {
        let zone = ["--data", "data", "schedule", "next", "--cron", "30 2 * * *", "--zone", "Europe/Berlin"];
        grace(folder.path(), &[zone.as_slice(), &["--from", from, "-n", "2"]].concat())
    };
    let spring = next("2027-03-27T12:00:00Z");
    let expected = "\
2027-03-28T01:00:00Z  Sun 2027-03-28 03:00:00 CEST
2027-03-29T00:30:00Z  Mon 2027-03-29 02:30:00 CEST
";
    assert_eq!((spring.code, spring.stdout.as_str()), (Some(0), expected));
    let expected = "\
2027-10-31T00:30:00Z  Sun 2027-10-31 02:30:00 CEST
2027-11-01T01:30:00Z  Mon 2027-11-01 02:30:00 CET
";
    assert_eq!(next("2027-10-30T12:00:00Z").stdout, expected);
}

#[test]
fn bad_input_is_told_with_its_place() {
    let folder = folder();
    std::fs::write(folder.path().join("bad.yaml"), "types: [x.*.*]\naction: {publsh: {type: y}}\n").unwrap();
    std::fs::write(folder.path().join("none.yaml"), "polices: {}\n").unwrap();
    std::fs::write(folder.path().join("event.txt"), "{\"type\": \"x\"}").unwrap();
    for (args, code, part) in [
        (
            "trigger add a --file bad.yaml",
            "bad_definition",
            "bad.yaml:2:10: error: action.publsh: unknown key",
        ),
        ("policy lint none.yaml", "bad_definition", "there is nothing under `policies:` in it"),
        ("policy lint missing.yaml", "unreadable_file", "it cannot be read"),
        ("trigger test event.txt --file work.yaml", "bad_event", "`source` is missing"),
        ("trigger test work.yaml", "bad_event", "it is not JSON"),
        ("schedule next --cron @x", "bad_definition", "five fields"),
        (
            "schedule next --cron @daily --zone Europe/Berln",
            "bad_definition",
            "did you mean `Europe/Berlin`?",
        ),
        ("schedule add a --every 10ms --publish com.x", "bad_definition", "when.every: at least 1s"),
    ] {
        let ran = run(folder.path(), args);
        assert_eq!(ran.code, Some(2), "{args}: {ran:?}");
        assert!(
            ran.stderr.contains(&format!("error[{code}]")) && ran.stderr.contains(part),
            "{args}: {}",
            ran.stderr
        );
    }
    for args in ["trigger list", "policy list", "schedule list", "trigger test event.json", "schedule next a"]
    {
        let ran = run(folder.path(), args);
        assert_eq!((ran.code, ran.stderr.contains("error[not_running]")), (Some(3), true), "{args}: {ran:?}");
    }
}

#[test]
fn a_manifests_work_is_checked_before_anything_starts() {
    let folder = folder();
    let ran = run(folder.path(), "up --check --manifest work.yaml");
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(
        ran.stderr.contains(
            "work.yaml:7:31: error: triggers.small.action.submit.intent: there is no type of intents `resize`"
        ),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("error[bad_manifest]: the manifest has a fault, and nothing was started"));
}
