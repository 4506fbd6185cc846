//! A full disk under work: what cannot be written is refused with words, and what was acknowledged runs when there is room again.

use rustix::process::Signal;
use serde_json::Value;

use crate::{
    bench::{MANIFEST, lines, until_state},
    instance::{
        Instance,
        disk::{Mount, fill},
        holds, kill, until,
    },
};

/// Asks for a mark under a key of its own; its id, or why not.
fn mark(instance: &Instance, n: usize) -> Result<String, String> {
    let (key, payload) = (format!("k{n}"), format!(r#"{{"text": "t{n}", "count": {n}}}"#));
    let args = ["--json", "intent", "submit", "mark", "--actor", "ann", "--key", &key, "--payload", &payload];
    let ran = instance.grace(&args);
    if ran.code != Some(0) {
        return Err(ran.to_string());
    }
    let decided: Value = serde_json::from_str(&ran.out).unwrap();
    Ok(decided["id"].as_str().unwrap().to_owned())
}

#[test]
fn on_a_full_disk_intents_are_refused_and_what_was_acknowledged_runs_when_there_is_room() {
    const REFUSED: usize = 3;
    let folder = tempfile::tempdir().unwrap();
    let Some(_mount) = Mount::tmpfs(folder.path(), "16m") else { return };
    let instance = Instance::in_folder(tempfile::tempdir().unwrap(), folder.path().to_owned(), "");
    instance.write_manifest(MANIFEST);
    instance.up();
    let mut acknowledged = vec![mark(&instance, 0).unwrap()];
    let ballast = folder.path().join("ballast");
    let mut refused = Vec::new();
    for n in 1.. {
        fill(&ballast);
        match mark(&instance, n) {
            Ok(id) => acknowledged.push(id),
            Err(why) => refused.push((n, why)),
        }
        if refused.len() == REFUSED {
            break;
        }
        assert!(n < 500, "the fault bites: {acknowledged:?}");
    }
    let clear = |why: &str| ["not_durable", "disk_reserve", "no space left"].iter().any(|w| why.contains(w));
    assert!(refused.iter().all(|(_, why)| clear(why)), "{refused:#?}");
    // A task manager that starts on a full disk is set up once there is room.
    let pid = instance.ready("htm").pid.unwrap();
    kill(pid, Signal::KILL);
    instance.until_component("htm", "was restarted", |c| c.pid.is_some_and(|new| new != pid));
    std::fs::remove_file(&ballast).unwrap();
    holds("it is set up again", || {
        let records = instance.records_of("htm");
        let what = |record: &Value| !record["event"]["record"]["event"]["what"]["configured"].is_null();
        records.iter().filter(|record| what(record)).count() >= 2
    });
    instance.all_ready();
    for id in &acknowledged {
        until_state(&instance, id, "succeeded");
    }
    // What was refused is taken under the same key.
    for (n, _) in refused {
        let id = until("there is room", || mark(&instance, n).ok());
        until_state(&instance, &id, "succeeded");
    }
    let marks = lines(&instance, "marks");
    assert!(marks.len() >= acknowledged.len() + REFUSED, "{marks:?}");
    instance.down();
}
