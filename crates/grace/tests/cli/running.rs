//! Commands against a control plane that runs: what is asked of it, and what becomes of each kind of answer.

use std::path::Path;

use grace_core::{control::Request, instance::Instance};

use super::{
    binary::{Ran, grace},
    fake::{control_plane, done, refused, status},
};

/// Runs a command against these answers; what it printed, and what was asked.
fn run(args: &[&str], answers: Vec<String>) -> (Ran, Vec<Request>) {
    let data = tempfile::tempdir().unwrap();
    run_in(data.path(), args, answers)
}

fn run_in(data: &Path, args: &[&str], answers: Vec<String>) -> (Ran, Vec<Request>) {
    let plane = control_plane(data, answers);
    let mut all = vec!["--data", data.to_str().unwrap()];
    all.extend(args);
    (grace(data, &all), plane.join().unwrap())
}

#[test]
fn status_as_a_table_and_as_json() {
    let (ran, asked) = run(&["status"], vec![status("degraded", "failed")]);
    assert_eq!(asked, [Request::Status]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    let lines: Vec<Vec<&str>> = ran.stdout.lines().map(|l| l.split_whitespace().collect()).collect();
    assert_eq!(lines[0][0], "degraded");
    assert_eq!(lines[2][..6], ["web", "0", "failed", "-", "1", "0.50"]);

    let (ran, _) = run(&["--json", "status"], vec![status("degraded", "failed")]);
    let json: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&json["state"], &json["components"][0]["name"]), (&"degraded".into(), &"web".into()));
}

#[test]
fn a_question_goes_to_the_next_control_plane_when_one_dies() {
    let cut = status("running", "ready")[..50].to_owned();
    let answers = vec![String::new(), cut, status("running", "ready")];
    let (ran, asked) = run(&["status"], answers);
    assert_eq!((ran.code, asked.len()), (Some(0), 3), "{ran:?}");
    let (ran, _) = run(&["status"], vec![String::new(); 3]);
    assert_eq!(ran.code, Some(3));
    assert!(ran.stderr.starts_with("error[not_reachable]"), "{ran:?}");
}

#[test]
fn an_order_is_asked_once() {
    let (ran, asked) = run(&["restart", "web"], vec![done("web is stopped and started anew")]);
    assert_eq!(asked, [Request::Restart { name: "web".into() }]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "web is stopped and started anew\n"));
    let (ran, asked) = run(&["pause", "web"], vec![String::new()]);
    assert_eq!((ran.code, asked.len()), (Some(3), 1));
    let (ran, _) = run(&["--json", "resume", "web"], vec![done("ok")]);
    assert_eq!(ran.stdout, "{\"message\":\"ok\"}\n");
}

#[test]
fn a_refusal_says_why_and_what_to_do() {
    for (code, exit) in
        [("not_found", 2), ("bad_request", 2), ("wrong_state", 1), ("stopping", 1), ("busy", 1)]
    {
        let (ran, _) = run(&["resume", "web"], vec![refused(code)]);
        let text = format!("error[{code}]: it is not so\n  next:  do this\n");
        assert_eq!((ran.code, ran.stderr), (Some(exit), text));
    }
}

#[test]
fn nonsense_is_not_trusted() {
    let long = format!("{}\n", "x".repeat(17 << 20));
    for answer in ["{}\n".to_owned(), "\u{7f}ELF\n".to_owned(), done("not a status"), long] {
        let (ran, _) = run(&["status"], vec![answer]);
        assert_eq!(ran.code, Some(3), "{ran:?}");
        assert!(ran.stderr.starts_with("error[not_reachable]"), "{ran:?}");
    }
}

#[test]
fn watching_prints_each_change_until_nothing_runs() {
    let data = tempfile::tempdir().unwrap();
    let changes = status("running", "starting") + &status("running", "ready");
    let (ran, asked) = run_in(data.path(), &["--json", "status", "--watch"], vec![changes]);
    assert_eq!(asked, [Request::Watch]);
    let states: Vec<serde_json::Value> =
        ran.stdout.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(states[0]["components"][0]["state"], "starting");
    assert_eq!(states[1]["components"][0]["state"], "ready");
    assert!(ran.code == Some(3) && ran.stderr.contains("not_running"), "{ran:?}");
}

#[test]
fn down_waits_for_the_end_of_the_guardian() {
    // The made-up guardian's process does not exist, so it has ended.
    let stopping = status("stopping", "stopped");
    let answers = vec![status("running", "ready"), done("stopping"), stopping];
    let data = tempfile::tempdir().unwrap();
    let plane = control_plane(data.path(), answers);
    let ran = grace(data.path(), &["--data", ".", "down"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    assert!(ran.stdout.ends_with("■ everything has stopped\n"), "{}", ran.stdout);
    // It may not have been watched any more; only what was asked before matters.
    let _ = std::os::unix::net::UnixStream::connect(data.path().join("run/control.sock"))
        .map(|s| std::io::Write::write_all(&mut &s, b"{\"op\":\"watch\"}\n"));
    let asked = plane.join().unwrap();
    assert_eq!(asked[..2], [Request::Status, Request::Down]);
}

#[test]
fn a_deep_data_folder_is_reached() {
    let folder = tempfile::tempdir().unwrap();
    let deep = folder.path().join("d".repeat(100)).join("e".repeat(100));
    std::fs::create_dir_all(&deep).unwrap();
    let (ran, _) = run_in(&deep, &["status"], vec![status("running", "ready")]);
    let sockets = Instance::at(deep.canonicalize().unwrap()).run();
    assert!(!sockets.starts_with(folder.path()), "the folder was meant to be too deep");
    std::fs::remove_dir_all(sockets).unwrap();
    assert_eq!(ran.code, Some(0), "{ran:?}");
}

#[test]
fn logs_of_a_component_that_printed_nothing() {
    let (ran, _) = run(&["logs", "web"], vec![status("running", "ready")]);
    assert_eq!(ran, Ran { code: Some(0), stdout: String::new(), stderr: String::new() });
    let (ran, _) = run(&["logs", "other"], vec![status("running", "ready")]);
    assert!(ran.code == Some(2) && ran.stderr.contains("not_found"), "{ran:?}");
}

#[test]
fn logs_are_printed_as_they_are_or_as_objects() {
    let data = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(data.path().join("logs")).unwrap();
    std::fs::write(data.path().join("logs/web.log"), "t1 out a\nt2 err b c\n").unwrap();
    let ran = grace(data.path(), &["--data", ".", "logs", "web", "-n", "1"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "t2 err b c\n"));
    let ran = grace(data.path(), &["--data", ".", "--json", "logs", "web"]);
    let last: serde_json::Value = serde_json::from_str(ran.stdout.lines().last().unwrap()).unwrap();
    assert_eq!((&last["stream"], &last["text"]), (&"err".into(), &"b c".into()));
}
