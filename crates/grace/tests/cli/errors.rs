//! What goes wrong before anything is asked of anybody: the texts, and the exit status of each.

use std::{fs, os::unix::fs::PermissionsExt as _};

use super::{
    binary::{Ran, command, grace},
    golden,
};

/// Requests that could not be sent.
const REQUEST: &str = "\
intents:
  call:
    plan:
      sequence:
        - task: {kind: http, url: 'ftp://x/', method: post, expect: {status: [99]}}
        - task:
            kind: http
            url: https://ann:secret@example.com/
            headers: {Grace-Token: '1', 'a b': x, Host: y}
";

#[test]
fn every_error_text() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("bad.yaml"), "processes:\n  web:\n    comand: [x]\n  db: {command: []}\n")
        .unwrap();
    fs::write(folder.path().join("request.yaml"), REQUEST).unwrap();
    fs::create_dir_all(folder.path().join("work")).unwrap();
    fs::write(folder.path().join("parts.yaml"), "include: [work/*.yaml, wrok/*.yaml]\nintents: {a: 7}\n")
        .unwrap();
    let task = "plan: {task: {kind: wait, for: 1s}}";
    fs::write(folder.path().join("work/one.yaml"), format!("intents:\n  note: {{{task}}}\n")).unwrap();
    fs::write(folder.path().join("work/two.yaml"), format!("intents:\n  note: {{{task}}}\n  b: {{}}\n"))
        .unwrap();
    fs::create_dir_all(folder.path().join("data/logs")).unwrap();
    fs::write(folder.path().join("data/logs/web.log"), "t out hello\n").unwrap();
    let cases: &[(&[&str], i32)] = &[
        (&[], 2),
        (&["stat"], 2),
        (&["status", "--colour", "never"], 2),
        (&["up", "--check", "--detach"], 2),
        (&["up", "--detach", "--timeout", "0"], 2),
        (&["logs"], 2),
        (&["logs", "web", "-n", "many"], 2),
        (&["--data", "", "status"], 2),
        (&["--data", "data", "logs", "../web"], 2),
        (&["--data", "data", "logs", "wbe"], 2),
        (&["--data", "none", "logs", "web"], 2),
        (&["up", "--manifest", "bad.yaml"], 2),
        (&["up", "--check", "--manifest", "missing.yaml"], 2),
        (&["up", "--check", "--manifest", "request.yaml"], 2),
        (&["up", "--check", "--manifest", "parts.yaml"], 2),
        (&["--data", "data", "status"], 3),
        (&["--data", "data", "status", "--watch"], 3),
        (&["--data", "data", "down"], 3),
        (&["--data", "data", "restart", "web"], 3),
        (&["--data", "data", "--json", "pause", "web"], 3),
    ];
    let mut texts = String::new();
    for (args, code) in cases {
        let Ran { code: got, stdout, stderr } = grace(folder.path(), args);
        assert_eq!((got, stdout.as_str()), (Some(*code), ""), "{args:?}\n{stderr}");
        let stderr = stderr.replace(folder.path().to_str().unwrap(), "FOLDER");
        texts += &format!("$ grace {}\n{stderr}[{code}]\n\n", args.join(" "));
    }
    golden::check("errors.txt", &texts);
}

#[test]
fn colours_only_where_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let stderr = |args: &[&str], no_color: Option<&str>| {
        let mut command = command(folder.path(), args);
        if let Some(value) = no_color {
            command.env("NO_COLOR", value);
        }
        String::from_utf8(command.output().unwrap().stderr).unwrap()
    };
    assert!(!stderr(&["status"], None).contains('\x1b'));
    assert!(!stderr(&["status", "--color", "never"], None).contains('\x1b'));
    // What is said on the command line counts more than the environment.
    assert!(stderr(&["status", "--color", "always"], Some("1")).contains('\x1b'));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let logs = folder.path().join("logs");
    fs::create_dir_all(&logs).unwrap();
    fs::write(logs.join("web.log"), "2026-11-23T12:30:00Z out x\n".repeat(100_000)).unwrap();
    for json in ["--color=never", "--json"] {
        let args = ["--data", ".", json, "logs", "web", "-n", "100000"];
        let mut child = command(folder.path(), &args)
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "", "{json}");
    }
}

#[test]
fn an_instance_of_another_user_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    fs::create_dir(&run).unwrap();
    fs::set_permissions(&run, fs::Permissions::from_mode(0o000)).unwrap();
    let ran = grace(folder.path(), &["--data", ".", "status"]);
    // Root may enter everything, and finds nothing there.
    let code = if fs::read_dir(&run).is_ok() { "not_running" } else { "forbidden" };
    fs::set_permissions(&run, fs::Permissions::from_mode(0o700)).unwrap();
    assert!(ran.code == Some(3) && ran.stderr.contains(code), "{ran:?}");
}
