//! What a person sees when a command cannot do what was asked: what, where, and what to do next.
//!
//! Codes are stable and listed in `docs/errors.md`; so are the four exit statuses.

use std::{
    fmt::{Display, Write as _},
    io,
};

use grace_types::intent::DISK_RESERVE;

use crate::style::Style;

/// The exit status of `grace`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// 0: done.
    Done,
    /// 1: what was asked for failed.
    Failed,
    /// 2: wrong usage or bad input.
    Usage,
    /// 3: Grace is not running, or cannot be reached.
    Unreachable,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Unreachable => 3,
        })
    }
}

/// Why a command gave up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    /// Stable, in `docs/errors.md`.
    pub(crate) code: String,
    /// One sentence.
    pub(crate) what: String,
    /// The file, folder or component at fault.
    pub(crate) place: Option<Box<str>>,
    /// The next step.
    pub(crate) help: Option<Box<str>>,
    /// Longer text that comes first, such as every error of a manifest.
    pub(crate) detail: Option<Box<str>>,
}

/// What to do where the last of the disk is kept for emergencies.
const MAKE_ROOM: &str = "make room on the disk that holds the data, and ask again; what cannot wait is for `grace emergency begin`";

impl Failure {
    pub(crate) fn new(exit: Exit, code: &str, what: impl Into<String>) -> Self {
        // Whoever says so, the way out is one.
        let help = (code == DISK_RESERVE).then(|| MAKE_ROOM.into());
        Self { exit, code: code.to_owned(), what: what.into(), place: None, help, detail: None }
    }

    pub(crate) fn at(mut self, place: &impl Display) -> Self {
        self.place = Some(place.to_string().into());
        self
    }

    pub(crate) fn help(mut self, help: impl Into<Box<str>>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(crate) fn detail(mut self, detail: impl Into<Box<str>>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// As a person reads it.
    pub(crate) fn text(&self, style: Style) -> String {
        let mut text = String::new();
        if let Some(detail) = &self.detail {
            let _ = writeln!(text, "{}", detail.trim_end());
        }
        let _ = writeln!(text, "{} {}", style.bad(&format!("error[{}]:", self.code)), self.what);
        for (label, value) in [("where:", &self.place), ("next: ", &self.help)] {
            if let Some(value) = value {
                let _ = writeln!(text, "  {} {value}", style.dim(label));
            }
        }
        text
    }

    /// As a script reads it: one line.
    pub(crate) fn json(&self) -> String {
        let object = serde_json::json!({"error": {
            "code": self.code,
            "message": self.what,
            "where": self.place,
            "help": self.help,
            "detail": self.detail,
        }});
        format!("{object}\n")
    }
}

/// Standard output that cannot be written to. A reader that went away (`grace status | head`) is no fault and is
/// handled in `main`.
impl From<io::Error> for Failure {
    fn from(e: io::Error) -> Self {
        let code = if e.kind() == io::ErrorKind::BrokenPipe { BROKEN_PIPE } else { "output" };
        Self::new(Exit::Failed, code, format!("cannot write to standard output: {e}"))
    }
}

/// The code of the one failure that is not shown.
pub(crate) const BROKEN_PIPE: &str = "broken_pipe";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_json_say_the_same() {
        let failure = Failure::new(Exit::Unreachable, "not_running", "Grace is not running")
            .at(&"/srv/shop")
            .help("start it with `grace up`");
        assert_eq!(
            failure.text(Style::plain()),
            "error[not_running]: Grace is not running\n  where: /srv/shop\n  next:  start it with `grace up`\n"
        );
        let json: serde_json::Value = serde_json::from_str(&failure.json()).unwrap();
        assert_eq!(json["error"]["code"], "not_running");
        assert_eq!(json["error"]["detail"], serde_json::Value::Null);
    }
}
