//! The help pages.

use super::{binary::grace, golden};

#[test]
fn every_help_page() {
    let folder = tempfile::tempdir().unwrap();
    let mut pages = String::new();
    let commands =
        ["", "up", "down", "status", "logs", "restart", "pause", "resume", "doctor", "log", "verify"];
    let narratives = ["narratives", "narratives rebuild", "why"];
    let log = ["log tail", "log checkpoint", "log prove", "log verify", "log fsck", "log cosign"];
    let chaos = ["chaos", "chaos list", "chaos run", "chaos abort"];
    let work = [
        "intent",
        "intent submit",
        "intent list",
        "intent show",
        "task",
        "task list",
        "task show",
        "task cancel",
        "task retry",
    ];
    let reactions = ["trigger", "policy", "schedule"].into_iter().flat_map(|group| {
        let own: &[&str] = match group {
            "trigger" => &["", "list", "show", "add", "remove", "test", "requeue", "discard"],
            "policy" => &["", "list", "show", "lint", "test", "reset", "requeue", "discard"],
            _ => {
                &["", "list", "show", "next", "add", "remove", "pause", "resume", "run", "requeue", "discard"]
            }
        };
        own.iter().map(move |command| format!("{group} {command}"))
    });
    let governing = [
        ("approvals", "list show approve deny enroll dismiss approvers"),
        ("reviews", "list show accept flag"),
        ("token", "create list revoke"),
    ];
    let agents = [("hook", "claude-code codex gemini cursor install"), ("mcp", "proxy")];
    let ruling =
        [("emergency", "begin list end"), ("governance", "show history propose test diff replay lint")];
    let governing = governing.into_iter().chain(ruling).chain(agents).flat_map(|(group, own)| {
        let own = own.split_whitespace().map(move |command| format!("{group} {command}"));
        std::iter::once(group.to_owned()).chain(own)
    });
    let reactions: Vec<String> = reactions.chain(governing).collect();
    let work = work.into_iter().chain(reactions.iter().map(String::as_str));
    for command in commands.into_iter().chain(narratives).chain(log).chain(chaos).chain(work) {
        let args: Vec<&str> = command.split_whitespace().chain(["--help"]).collect();
        let ran = grace(folder.path(), &args);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{command}");
        assert!(ran.stdout.lines().all(|line| line.chars().count() <= 100), "{}", ran.stdout);
        pages += &format!("$ grace {}\n{}\n", args.join(" "), ran.stdout);
    }
    golden::check("help.txt", &pages);
}

#[test]
fn the_internal_entry_points_are_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let help = grace(folder.path(), &["--help"]).stdout;
    for word in ["guardian", "control-plane", "kernel "] {
        assert!(!help.contains(word), "{word}: {help}");
    }
}
