//! What can be said about an HTTP task before its expressions are evaluated. The worker checks the rest.

use grace_types::yaml::Path;

use super::{Fault, model::Task};

/// Headers that belong to the connection, or say how the body is sent. All that begin with `grace-` are reserved, too: a plan that set
/// the fencing token would defeat it.
const RESERVED: [&str; 7] =
    ["connection", "content-length", "expect", "host", "te", "transfer-encoding", "upgrade"];

/// What is wrong with its method, URL, headers and expectations.
pub(super) fn faults(task: &Task, at: &Path) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut fault = |path: Path, at_key: bool, message: String, help: Option<&str>| {
        faults.push(Fault { path, at_key, message, help: help.map(str::to_owned) });
    };
    let plain = |text: &&String| !text.contains("${");
    if let Some(method) = task.method.as_ref().filter(plain)
        && (method.is_empty() || !method.bytes().all(|b| b.is_ascii_uppercase()) || method == "CONNECT")
    {
        let shown: String = method.chars().take(80).flat_map(char::escape_debug).collect();
        let message = format!("expected a method in capital letters, such as `POST`, found `{shown}`");
        fault(at.key("method"), false, message, None);
    }
    if let Some(url) = &task.url {
        let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        let host = rest.and_then(|rest| rest.split(['/', '?', '#']).next()).unwrap_or_default();
        if !url.starts_with("${") && host.is_empty() {
            let help = Some("write it as `https://example.com/path`");
            fault(at.key("url"), false, "expected `http://` or `https://` and a host".to_owned(), help);
        } else if !host.contains("${") && host.contains('@') {
            let help = Some("put it into the header `authorization`");
            fault(at.key("url"), false, "a URL must not hold a user or a password".to_owned(), help);
        }
    }
    for name in task.headers.iter().flat_map(|headers| headers.keys()) {
        let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        let lower = name.to_ascii_lowercase();
        let shown: String = name.chars().take(80).flat_map(char::escape_debug).collect();
        let message = if name.is_empty() || !name.bytes().all(is_token) {
            format!("expected the name of a header, such as `X-Shop`, found `{shown}`")
        } else if lower.starts_with("grace-") || RESERVED.contains(&lower.as_str()) {
            format!("the header `{shown}` is the worker's to set: take it out")
        } else {
            continue;
        };
        fault(at.key("headers").key(name), true, message, None);
    }
    for (n, status) in task.expect.iter().flat_map(|expect| &expect.status).enumerate() {
        if !(100..600).contains(status) {
            let message = format!("expected an HTTP status from 100 to 599, found `{status}`");
            fault(at.key("expect").key("status").index(n), false, message, None);
        }
    }
    faults
}
