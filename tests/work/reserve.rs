//! The last of the disk: below the reserve an emergency goes on from its grant to its end, and everything else waits for room.

use serde_json::Value;

use crate::{
    bench::{MANIFEST, lines, show, submit, until_state},
    instance::{
        Instance,
        disk::{Mount, fill_but},
        holds, until,
    },
};

/// A task that runs until it is told, and what an emergency is about: two tasks, of which the first fails once.
const TYPES: &str = r#"  linger:
    plan:
      task:
        kind: exec
        command: [sh, -c, 'echo "$GRACE_TOKEN" >> FOLDER/lingers; while [ ! -e FOLDER/go ]; do sleep 0.05; done']
        timeout: 2m
  emergency_recovery:
    plan:
      sequence:
        - task: {kind: exec, command: [sh, -c, 'echo "$GRACE_TOKEN" >> FOLDER/tried; [ "$(wc -l < FOLDER/tried)" -ge 2 ]'], retry: {attempts: 3, backoff: 50ms}}
        - task: {kind: exec, command: [sh, -c, 'echo "$GRACE_TOKEN" >> FOLDER/recovered']}
"#;

/// Why an intent is not taken now, and with which exit status.
fn refused(instance: &Instance, kind: &str, more: &[&str]) -> Option<(Option<i32>, String)> {
    let args = [&["--json", "intent", "submit", kind, "--actor", "ann"], more].concat();
    let ran = instance.grace(&args);
    let error: Value = serde_json::from_str(ran.err.trim()).ok()?;
    let said = |field: &str| error["error"][field].as_str().unwrap_or_default().to_owned();
    Some((ran.code, format!("{}: {}", said("code"), said("help"))))
}

fn has(instance: &Instance, component: &str, what: &str) -> bool {
    let ends = format!(".{what}.v1");
    let kind = |record: &Value| record["event"]["type"].as_str().is_some_and(|kind| kind.ends_with(&ends));
    instance.records_of(component).iter().any(kind)
}

#[test]
fn below_the_reserve_an_emergency_goes_its_whole_way_and_everything_else_waits_for_room() {
    let folder = tempfile::tempdir().unwrap();
    let Some(_mount) = Mount::tmpfs(folder.path(), "96m") else { return };
    let instance = Instance::in_folder(tempfile::tempdir().unwrap(), folder.path().to_owned(), "");
    instance.write_manifest(&format!("{MANIFEST}{TYPES}"));
    instance.up();
    // One plain task is with a worker, and another one has to wait for its time.
    let held = submit(&instance, "linger", &[])["id"].as_str().unwrap().to_owned();
    until("the task runs", || (!lines(&instance, "lingers").is_empty()).then_some(()));
    let payload = r#"{"text": "t", "count": 1}"#;
    let delayed = submit(&instance, "mark", &["--payload", payload, "--delay", "15s"])["id"]
        .as_str()
        .unwrap()
        .to_owned();
    // A sixteenth of 96 MiB is kept.
    let ballast = folder.path().join("ballast");
    fill_but(&ballast, 5 << 20);
    holds("the task manager keeps the reserve", || has(&instance, "htm", "reserve_begun"));
    // What the cortex takes in the moment before it looks at the disk is one of those that wait for room.
    let mut key = 0;
    let (code, said) = until("the cortex keeps the reserve", || {
        key += 1;
        refused(&instance, "mark", &["--payload", payload, "--key", &format!("k{key}")])
    });
    let key = format!("k{key}");
    let plain = ["--payload", payload, "--key", &key];
    assert!(said.starts_with("disk_reserve"), "{said}");
    assert!(code == Some(1) && said.contains("make room"), "{code:?} {said}");
    std::fs::write(instance.file("go"), "").unwrap();

    let begun =
        instance.told(&["emergency", "begin", "--reason", "the disk is full", "--for", "15m"]).remove(0);
    let id = until("the cortex has the grant", || {
        let ran = instance.grace(&["--json", "intent", "submit", "emergency_recovery", "--actor", "ann"]);
        let decided: Value = serde_json::from_str(ran.out.trim()).ok()?;
        (decided["decision"] == "allowed").then(|| decided["id"].as_str().map(str::to_owned))?
    });
    let done = until_state(&instance, &id, "succeeded");
    assert_eq!((done["tier"].as_u64(), done["tasks"][0]["attempts"].as_u64()), (Some(4), Some(2)), "{done}");
    assert_eq!(lines(&instance, "recovered").len(), 1);
    holds("its use is on record", || has(&instance, "governance", "emergency_used"));
    holds("a review of it is owed", || has(&instance, "governance", "review_owed"));
    holds("it is told as evidence", || {
        let told = instance.told(&["narratives", "--action", "emergency_used"]);
        told.iter().any(|one| !one["log_index"].is_null())
    });
    instance.told(&["emergency", "end", begun["id"].as_str().unwrap()]);

    // All the while nothing else was put on record.
    let (code, said) = refused(&instance, "mark", &plain).unwrap();
    assert!(code == Some(1) && said.starts_with("disk_reserve"), "{code:?} {said}");
    assert_eq!(show(&instance, &held)["state"], "running");
    assert!(lines(&instance, "marks").is_empty() && !has(&instance, "htm", "reserve_over"));

    std::fs::remove_file(&ballast).unwrap();
    let ended = until_state(&instance, &held, "succeeded");
    assert_eq!(ended["tasks"][0]["attempts"], 1, "{ended}");
    assert_eq!(lines(&instance, "lingers").len(), 1, "it ran once");
    until_state(&instance, &delayed, "succeeded");
    let id = until("there is room", || {
        let args = [&["--json", "intent", "submit", "mark", "--actor", "ann"], plain.as_slice()].concat();
        let ran = instance.grace(&args);
        let decided: Value = serde_json::from_str(ran.out.trim()).ok()?;
        decided["id"].as_str().map(str::to_owned)
    });
    until_state(&instance, &id, "succeeded");
    for args in [["log", "verify"], ["log", "fsck"]] {
        let ran = instance.grace(&args);
        assert_eq!(ran.code, Some(0), "{ran}");
    }
    instance.down();
}
