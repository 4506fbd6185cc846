//! What every part of the validation shares: the document to report to, and the checks of single values.

use std::{fmt::Display, ops::RangeInclusive, path::PathBuf, time::Duration};

use super::{
    load::ReadFile,
    raw::{DurationText, Scalar, SizeText, TextOr},
    units::{self, NotAQuantity},
};
use crate::yaml::{Diagnostic, Document, Path as Field};

/// A validation under way. Checks report what is wrong and go on with a value that is in range, so that the next fault
/// is found too; the caller drops everything if anything was reported.
pub(super) struct Checks<'a> {
    pub(super) document: &'a mut Document,
    /// Folder of the manifest; relative paths start there.
    pub(super) folder: PathBuf,
    pub(super) read: &'a mut ReadFile<'a>,
    /// Faults in other files than the manifest.
    pub(super) elsewhere: Vec<Diagnostic>,
}

impl Checks<'_> {
    pub(super) fn fault(&mut self, at: &Field, message: impl Into<String>) {
        self.document.fault(at, message, None);
    }

    pub(super) fn fault_with_help(
        &mut self,
        at: &Field,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.document.fault(at, message, Some(help.into()));
    }

    fn no_quantity(&mut self, at: &Field, error: NotAQuantity) {
        self.document.fault(at, error.message, error.help);
    }

    /// The duration of `text`, or of `seconds` (the key with `_seconds`), within `range`; else `default`.
    pub(super) fn duration(
        &mut self,
        at: &Field,
        text: Option<&DurationText>,
        range: RangeInclusive<Duration>,
        default: Duration,
    ) -> Duration {
        let Some(DurationText(text)) = text else { return default };
        match units::duration(text) {
            Ok(value) if range.contains(&value) => value,
            Ok(_) => {
                let (least, most) = (Written(*range.start()), Written(*range.end()));
                self.fault(at, format!("expected {least} to {most}, found `{text}`"));
                default
            }
            Err(error) => {
                self.no_quantity(at, error);
                default
            }
        }
    }

    /// As [`Self::duration`] for `at.key`, which may be given in whole seconds as `at.key_seconds` instead.
    pub(super) fn duration_or_seconds(
        &mut self,
        at: &Field,
        key: &str,
        (text, seconds): (Option<&DurationText>, Option<u32>),
        range: RangeInclusive<Duration>,
        default: Duration,
    ) -> Duration {
        let seconds_key = at.key(&format!("{key}_seconds"));
        match (text, seconds) {
            (Some(_), Some(_)) => {
                self.fault_with_help(&seconds_key, format!("`{key}` is given too"), "keep one of the two");
                default
            }
            (None, Some(seconds)) => {
                let text = DurationText(format!("{seconds}s"));
                self.duration(&seconds_key, Some(&text), range, default)
            }
            (text, None) => self.duration(&at.key(key), text, range, default),
        }
    }

    pub(super) fn size(
        &mut self,
        at: &Field,
        text: Option<&SizeText>,
        range: RangeInclusive<u64>,
        default: u64,
    ) -> u64 {
        let Some(SizeText(text)) = text else { return default };
        match units::size(text) {
            Ok(value) if range.contains(&value) => value,
            Ok(_) => {
                let (least, most) = (size_written(*range.start()), size_written(*range.end()));
                self.fault(at, format!("expected {least} to {most}, found `{text}`"));
                default
            }
            Err(error) => {
                self.no_quantity(at, error);
                default
            }
        }
    }

    pub(super) fn number<N: PartialOrd + Display + Copy>(
        &mut self,
        at: &Field,
        value: Option<N>,
        range: RangeInclusive<N>,
        default: N,
    ) -> N {
        match value {
            Some(value) if range.contains(&value) => value,
            Some(value) => {
                self.fault(at, format!("expected {} to {}, found `{value}`", range.start(), range.end()));
                default
            }
            None => default,
        }
    }

    /// An argv. Empty only when something was reported.
    pub(super) fn command(&mut self, at: &Field, command: &TextOr<Vec<Scalar>>) -> Vec<String> {
        let argv = match command {
            TextOr::Full(words) => words.iter().map(|Scalar(word)| word.clone()).collect(),
            TextOr::Text(line) => match self.split(at, line) {
                Some(words) => words,
                None => return Vec::new(),
            },
        };
        if argv.iter().any(|word: &String| word.contains('\0')) {
            self.fault(at, "a command cannot contain the character NUL");
        }
        if argv.first().is_none_or(String::is_empty) {
            self.fault(at, "a command needs a program as its first word");
            return Vec::new();
        }
        argv
    }

    fn split(&mut self, at: &Field, line: &str) -> Option<Vec<String>> {
        const OPERATORS: [&str; 12] = ["|", "||", "&&", "&", ";", ">", ">>", "<", "2>", "2>&1", "&>", "|&"];
        let Ok(words) = shell_words::split(line) else {
            self.fault(at, "a quote is not closed");
            return None;
        };
        if let Some(operator) = words.iter().find(|word| OPERATORS.contains(&word.as_str())) {
            let message = format!("`{operator}` needs a shell, and a command runs without one");
            self.fault_with_help(at, message, "write `[sh, -c, \"…\"]`, or a list if it is an argument");
            return None;
        }
        Some(words)
    }

    pub(super) fn host(&mut self, at: &Field, host: Option<&String>) -> String {
        let Some(host) = host else { return "127.0.0.1".to_owned() };
        if host.is_empty()
            || host.len() > 253
            || !host.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/')
        {
            self.fault(at, "expected a host name or an address, without scheme, port or path");
        }
        host.clone()
    }

    pub(super) fn port(&mut self, at: &Field, port: u16) -> u16 {
        self.number(at, Some(port), 1..=u16::MAX, 1)
    }
}

/// A duration in the manifest's own notation.
pub(super) struct Written(pub(super) Duration);

impl Display for Written {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let nanos = self.0.as_nanos();
        for (unit, name) in [(86_400_000_000_000, "d"), (3_600_000_000_000, "h"), (60_000_000_000, "m")] {
            if nanos >= unit && nanos.is_multiple_of(unit) {
                return write!(f, "{}{name}", nanos / unit);
            }
        }
        match nanos {
            0 => f.write_str("0s"),
            _ if nanos.is_multiple_of(1_000_000_000) => write!(f, "{}s", nanos / 1_000_000_000),
            _ if nanos.is_multiple_of(1_000_000) => write!(f, "{}ms", nanos / 1_000_000),
            _ => write!(f, "{}us", nanos / 1_000),
        }
    }
}

fn size_written(bytes: u64) -> String {
    let units = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.iter().find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{}{name}", bytes / unit),
        None => format!("{bytes}B"),
    }
}
