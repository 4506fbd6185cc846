//! The history of a run: lines of text and a digest of them; and what a run reports.

use std::fmt::{self, Write as _};

use grace_types::time::Monotonic;
use sha2::{Digest, Sha256};

/// What happened in a run.
#[derive(Debug)]
pub struct Report<C> {
    /// One line a happening.
    pub history: String,
    /// SHA-256 of the history, in hexadecimal.
    pub digest: String,
    /// Promises that were broken. Empty is good.
    pub broken: Vec<String>,
    /// How much happened.
    pub counts: C,
}

/// Lines in order, each with the step and the virtual time.
#[derive(Default)]
pub(crate) struct History {
    text: String,
}

impl History {
    /// Adds a line.
    pub(crate) fn note(&mut self, step: u64, now: Monotonic, what: fmt::Arguments<'_>) {
        let micros = now.as_nanos() / 1000;
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{step:>6} {micros:>10}us {what}");
    }

    /// The text and its SHA-256 in hexadecimal.
    pub(crate) fn finish(self) -> (String, String) {
        let digest = Sha256::digest(self.text.as_bytes());
        let hex = digest.iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        (self.text, hex)
    }
}
