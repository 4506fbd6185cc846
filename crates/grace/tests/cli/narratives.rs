//! `grace narratives` and `grace why` on a database and journals that are made up here, with nothing running.

use std::{fs, path::Path};

use grace_store::{
    Journal,
    file::FileJournal,
    narrative::{Batch, Link, LogStand, NarrativeDb},
};
use grace_types::{
    evidence::{JournalId, Source},
    time::Timestamp,
};
use serde_json::{Value, json};

use super::{binary::grace, golden};

fn id(n: u64) -> String {
    format!("evt_{n:026}")
}

/// A web server that dies of a bad configuration, and what the control plane makes of it.
fn records() -> Vec<Vec<u8>> {
    let record = |n: u64, action: &str, place: &str, cause: Option<u64>, why: &[(&str, &str)], how: &str| {
        let why: Vec<Value> = why.iter().map(|(code, text)| json!({"code": code, "text": text})).collect();
        let millis = 1_795_446_000_000 + n * 250;
        json!({"event": {
            "id": id(n), "type": format!("dev.grace.control_plane.{action}.v1"),
            "time": Timestamp::from_nanos(millis * 1_000_000), "hlc": format!("{millis:012x}-00000000"),
            "who": "control_plane", "correlation": format!("cor_{:026}", if n < 6 { 1 } else { 2 }),
            "causation": cause.map(id),
            "record": {"event": {"event": action, "attempt": n}, "why": why, "how": how, "where": place},
        }})
        .to_string()
        .into_bytes()
    };
    let exit = ("restart.exit_status", "it exited with status 1: \u{1b}[31m bad config");
    let policy = ("restart.policy", "its availability says restart: always");
    vec![
        record(1, "started", "web", None, &[("boot.plan", "the manifest names it")], "boot plan"),
        record(2, "exited", "web", Some(1), &[exit], "pidfd"),
        record(3, "restarted", "web", Some(2), &[exit, policy], "restart policy"),
        record(4, "ready", "web", Some(3), &[("readiness.http", "GET / answered 200")], "readiness probe"),
        record(
            5,
            "degraded",
            "db",
            Some(2),
            &[("dependency.lost", "web, which it needs, was away")],
            "dependencies",
        ),
        record(6, "started", "cache", None, &[("boot.plan", "the manifest names it")], "boot plan"),
    ]
}

fn instance(data: &Path) {
    fs::create_dir_all(data.join("journals")).unwrap();
    let source = Source::new("control_plane", JournalId(5)).unwrap();
    let mut journal =
        FileJournal::open(data.join("journals/control_plane.journal"), Timestamp::from_nanos(5)).unwrap();
    let records = records();
    let records: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
    journal.append(&records).unwrap();
    let mut db = NarrativeDb::open(data.join("narratives.db")).unwrap();
    db.ingest(&[Batch { source: &source, first: 1, records: records[..5].to_vec() }]).unwrap();
    let stand = LogStand { origin: "o".to_owned(), size: 13, root: [0; 32], next: 13 };
    db.link(&[Link { source, first: 1, count: 4, log_index: 9 }], &stand).unwrap();
}

#[test]
fn what_was_decided_is_found_and_explained() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    instance(&data);
    let exited = id(2);
    let mut text = String::new();
    let shown: &[&[&str]] = &[
        &["narratives"],
        &["narratives", "--limit", "2"],
        &["narratives", "--oldest-first", "--action", "start", "--actor", "control_plane"],
        &["narratives", "--text", "\"bad config\" exit*", "--about", "web"],
        &["narratives", "--about", "nothing"],
        &["why", &exited],
        &["why", "db"],
        &["why", "cor_00000000000000000000000001"],
        &["why", "cache"],
        &["why", "evt_00000000000000000000000099"],
        &["narratives", "--text=---"],
        &["narratives", "--since", "yesterday"],
        &["narratives", "rebuild"],
        &["why", "cache"],
        &["why", "nobody"],
    ];
    for args in shown {
        let ran = grace(folder.path(), &[&["--data", "data"], *args].concat());
        let place = folder.path().to_string_lossy().into_owned();
        let printed = (ran.stdout + &ran.stderr).replace(&place, "DIR");
        text += &format!("$ grace {}\n{printed}[status {}]\n\n", args.join(" "), ran.code.unwrap());
    }
    golden::check("narratives.txt", &text);
}

#[test]
fn scripts_get_one_object_a_line_and_pages_without_gaps() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    instance(&data);
    let run = |args: &[&str]| {
        let ran = grace(folder.path(), &[&["--data", "data", "--json"], args].concat());
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
        ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    };
    let all = run(&["narratives"]);
    let ids: Vec<&Value> = all.iter().map(|told| &told["id"]).collect();
    assert_eq!(ids, [&json!(id(5)), &json!(id(4)), &json!(id(3)), &json!(id(2)), &json!(id(1))]);
    let restarted = &all[2];
    for (field, expected) in [
        ("who", json!("control_plane")),
        ("what", json!("dev.grace.control_plane.restarted.v1")),
        ("where", json!("web")),
        ("how", json!("restart policy")),
        ("log_index", json!(11)),
        ("causation", json!(id(2))),
        ("sequence", json!(3)),
    ] {
        assert_eq!(restarted[field], expected, "{field}");
    }
    assert_eq!(restarted["why"].as_array().unwrap().len(), 2);
    assert_eq!((&all[0]["log_index"], &all[4]["causation"]), (&Value::Null, &Value::Null));
    let mut paged = run(&["narratives", "--limit", "2"]);
    while let Some(cursor) = paged.last().map(|told| told["cursor"].as_str().unwrap().to_owned()) {
        let more = run(&["narratives", "--limit", "2", "--after", &cursor]);
        if more.is_empty() {
            break;
        }
        paged.extend(more);
    }
    assert_eq!(paged, all);
    let why = run(&["why", &id(4)]).remove(0);
    assert_eq!((&why["asked"], &why["complete"]), (&json!(id(4)), &json!(true)));
    let depths: Vec<u64> =
        why["narratives"].as_array().unwrap().iter().map(|n| n["depth"].as_u64().unwrap()).collect();
    assert_eq!(depths, [0, 1, 2, 3, 2]);
}

#[test]
fn a_rebuild_mends_what_is_damaged_and_loses_nothing_unasked() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let run = |args: &[&str]| {
        let ran = grace(folder.path(), &[&["--data", "data", "--json"], args].concat());
        let json: Value = serde_json::from_str(&(ran.stdout + &ran.stderr)).unwrap_or_default();
        (ran.code.unwrap(), json)
    };
    assert_eq!(run(&["narratives"]).1["error"]["code"], "no_narratives");
    assert_eq!(run(&["narratives", "rebuild"]).0, 2);
    instance(&data);
    fs::write(data.join("narratives.db"), b"no database".repeat(900)).unwrap();
    let (code, failed) = run(&["why", "web"]);
    assert_eq!((code, &failed["error"]["code"]), (1, &json!("narratives_unreadable")));
    assert_eq!(
        run(&["narratives", "rebuild"]),
        (0, json!({"records": 6, "journals": 1, "lost": [], "unreadable": []}))
    );
    fs::rename(data.join("journals/control_plane.journal"), data.join("elsewhere.journal")).unwrap();
    let (code, failed) = run(&["narratives", "rebuild"]);
    assert_eq!((code, &failed["error"]["code"]), (1, &json!("would_lose")));
    assert!(failed["error"]["detail"].as_str().unwrap().contains("records 1 to 6"));
    assert_eq!(run(&["narratives", "--limit", "1"]).0, 0);
    let (code, done) = run(&["narratives", "rebuild", "--accept-loss"]);
    assert_eq!((code, done["lost"].as_array().unwrap().len()), (0, 1));
}
