//! `grace doctor`: what this host offers, and what each lack means. Looks only; the one thing that it writes is a
//! probe file in the data folder, which it removes.
//!
//! A row is either *needed*, and then its lack is exit status 1, or it makes something better, and then the row says
//! what goes without it.

mod host;
mod kernel;
mod place;

use std::{fmt::Write as _, io::Write as _};

use grace_core::instance::Instance;
use serde::Serialize;

use crate::{
    failure::{Exit, Failure},
    output::Output,
    style::{Style, tame},
};

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Row {
    check: &'static str,
    ok: bool,
    /// Whether Grace cannot run without it.
    needed: bool,
    found: String,
    /// What its lack means.
    #[serde(skip_serializing_if = "Option::is_none")]
    means: Option<&'static str>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

impl Row {
    fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, ok: true, needed: false, found: found.into(), means: None, advice: None }
    }

    /// Something is missing; this is what goes without it.
    fn lack(
        check: &'static str,
        found: impl Into<String>,
        means: &'static str,
        advice: impl Into<String>,
    ) -> Self {
        let advice = Some(advice.into());
        Self { check, ok: false, needed: false, found: found.into(), means: Some(means), advice }
    }

    /// Grace cannot run without it.
    const fn needed(mut self) -> Self {
        self.needed = true;
        self
    }
}

/// Runs every check.
pub(crate) fn run(instance: &Instance, out: &mut Output) -> Result<Exit, Failure> {
    let rows = rows(instance);
    if out.json {
        out.json_line(&rows)?;
    } else {
        write!(out, "{}", table(&rows, out.style))?;
        out.flush()?;
    }
    let fatal = rows.iter().any(|row| !row.ok && row.needed);
    Ok(if fatal { Exit::Failed } else { Exit::Done })
}

fn rows(instance: &Instance) -> Vec<Row> {
    vec![
        host::pidfd(),
        host::cgroups(),
        host::pressure(),
        host::user_namespaces(),
        host::landlock(),
        host::open_files(),
        host::clock(),
        place::writable(instance),
        place::space(instance),
        place::port(instance),
    ]
}

fn table(rows: &[Row], style: Style) -> String {
    let width = rows.iter().map(|row| row.check.len()).max().unwrap_or(0);
    let mut text = String::new();
    for row in rows {
        let verdict = match (row.ok, row.needed) {
            (true, _) => style.good("ok  "),
            (false, true) => style.bad("lack"),
            (false, false) => style.warn("lack"),
        };
        let _ = writeln!(text, "{verdict}  {:width$}  {}", row.check, tame(&row.found));
        let indent = " ".repeat(width + 8);
        for (label, value) in [("means:", row.means), ("do:   ", row.advice.as_deref())] {
            if let Some(value) = value {
                let _ = writeln!(text, "{indent}{} {}", style.dim(label), tame(value));
            }
        }
    }
    let lacks = rows.iter().filter(|row| !row.ok).count();
    let fatal = rows.iter().filter(|row| !row.ok && row.needed).count();
    let summary = match (lacks, fatal) {
        (0, _) => style.good("everything is there"),
        (_, 0) => format!("Grace can run here; {lacks} of {} checks found a lack", rows.len()),
        _ => style.bad(&format!("Grace cannot run here: {fatal} of what it needs is missing")),
    };
    let _ = writeln!(text, "{summary}");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_lack_says_what_it_means_and_what_to_do() {
        let rows = [
            Row::ok("pidfd", "Linux 6.1"),
            Row::lack("cgroup v2", "only version 1", "no memory limit a group", "boot with x"),
        ];
        assert_eq!(
            table(&rows, Style::plain()),
            "\
ok    pidfd      Linux 6.1
lack  cgroup v2  only version 1
                 means: no memory limit a group
                 do:    boot with x
Grace can run here; 1 of 2 checks found a lack
"
        );
        let fatal = [rows[1].clone().needed()];
        assert!(
            table(&fatal, Style::plain()).ends_with("Grace cannot run here: 1 of what it needs is missing\n")
        );
    }

    #[test]
    fn every_check_runs_on_this_host_and_explains_itself() {
        let folder = tempfile::tempdir().unwrap();
        for row in rows(&Instance::at(folder.path())) {
            assert!(!row.found.is_empty(), "{row:?}");
            assert_eq!(row.ok, row.means.is_none() && row.advice.is_none(), "{row:?}");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "the probe file was left behind");
    }
}
