//! What may be called what: processes, variables, subjects. Pure text → verdict.

use crate::limits::NAME_BYTES;

/// Names that Grace's own components have, and its users on the bus that are no components.
pub const RESERVED_NAMES: [&str; 30] = [
    "agentic_spine",
    "agents",
    "api_server",
    "clarity",
    "coding_agent",
    "control_plane",
    "conversation",
    "cortex",
    "event_policy",
    "governance",
    "guardian",
    "health_monitor",
    "htm",
    "immutable_log",
    "infrastructure_manager",
    "layer2_watchdog",
    "learning",
    "librarian",
    "memory_fusion",
    "message_bus",
    "meta_loop",
    "notifier",
    "operator",
    "sandbox",
    "scheduler",
    "secret_manager",
    "self_healing",
    "snapshots",
    "trigger_mesh",
    "verification",
];

/// What is wrong with `name` as the name of a process: the message, and what to write.
pub(super) fn process_name(name: &str) -> Result<(), (String, Option<String>)> {
    if RESERVED_NAMES.contains(&name) {
        let message = "this name belongs to a component of Grace itself".to_owned();
        return Err((message, Some(format!("call it something else, such as `my-{name}`"))));
    }
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let inside = |byte: u8| allowed(byte) || matches!(byte, b'-' | b'_' | b'.');
    let sound =
        name.len() <= NAME_BYTES && name.bytes().next().is_some_and(allowed) && name.bytes().all(inside);
    if sound {
        return Ok(());
    }
    let message = format!(
        "a name is made of a-z, 0-9, `-`, `_` and `.`, begins with a letter or digit, and has at most {NAME_BYTES} characters"
    );
    let lower: String =
        name.to_lowercase().chars().map(|c| if c.is_ascii() && inside(c as u8) { c } else { '-' }).collect();
    let better = lower.trim_start_matches(['-', '_', '.']);
    let better = &better[..better.len().min(NAME_BYTES)];
    Err((message, (!better.is_empty()).then(|| format!("for example `{better}`"))))
}

/// Whether `name` can be the name of an environment variable.
pub(super) fn is_variable(name: &str) -> bool {
    name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Whether Grace sets the variable itself, so that a manifest may not.
pub(super) fn is_reserved_variable(name: &str) -> bool {
    matches!(
        name,
        "NATS_URL" | "NOTIFY_SOCKET" | "WATCHDOG_USEC" | "WATCHDOG_PID" | "GRACE_DATA" | "GRACE_REPLICA"
    )
}

/// What is wrong with `pattern` as a subject pattern of NATS.
pub(super) fn subject_pattern(pattern: &str) -> Result<(), &'static str> {
    if pattern.is_empty() {
        return Err("a subject pattern must not be empty");
    }
    if pattern.len() > 255 {
        return Err("a subject pattern has at most 255 characters");
    }
    if pattern.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err("a subject pattern has no spaces");
    }
    let words: Vec<&str> = pattern.split('.').collect();
    for (at, word) in words.iter().enumerate() {
        if word.is_empty() {
            return Err("a subject pattern has no empty words: no dot first, last or doubled");
        }
        if *word == ">" && at + 1 != words.len() {
            return Err("`>` stands for all the words that follow, so it can only be the last word");
        }
        if word.len() > 1 && word.contains(['*', '>']) {
            return Err("`*` and `>` stand for whole words; they cannot be part of one");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["web", "a", "0", "web-1", "a.b_c", &"x".repeat(63)] {
            assert!(process_name(good).is_ok(), "{good}");
        }
        for bad in
            ["", "Web", "-web", ".", "..", "we b", "wéb", "a/b", &"x".repeat(64), "guardian", "clarity"]
        {
            assert!(process_name(bad).is_err(), "{bad}");
        }
        assert_eq!(process_name("My Web").unwrap_err().1.as_deref(), Some("for example `my-web`"));
        assert!(RESERVED_NAMES.is_sorted());
    }

    #[test]
    fn subjects() {
        for good in [">", "a", "a.*.b", "a.>", "_INBOX.>", "$SYS.a"] {
            assert!(subject_pattern(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "a.", ".a", "a..b", "a.>.b", "a b", "a*", "a.b>", "a.**"] {
            assert!(subject_pattern(bad).is_err(), "{bad}");
        }
    }
}
