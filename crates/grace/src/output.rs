//! Standard output: how it is styled, how wide it is, and in which form to print.

use std::io::{self, IsTerminal as _, Write};

use serde::Serialize;

use crate::{
    args::Globals,
    failure::{Exit, Failure},
    style::{Style, tame},
};

/// Where a command prints. Writing returns its errors, where `println!` would panic when the reader goes away.
#[derive(Debug)]
pub(crate) struct Output {
    out: io::Stdout,
    pub(crate) style: Style,
    /// Whether `--json` was given.
    pub(crate) json: bool,
}

impl Output {
    pub(crate) fn new(globals: &Globals) -> Self {
        let out = io::stdout();
        let style = Style::choose(globals.color, &out);
        Self { out, style, json: globals.json }
    }

    /// Columns of the terminal; `None` when this is not one.
    pub(crate) fn width(&self) -> Option<usize> {
        if !self.out.is_terminal() {
            return None;
        }
        rustix::termios::tcgetwinsize(&self.out)
            .ok()
            .map(|size| size.ws_col.into())
            .filter(|columns| *columns > 0)
    }

    /// One sentence about what was done.
    pub(crate) fn message(&mut self, message: &str) -> Result<(), Failure> {
        if self.json {
            return self.json_line(&serde_json::json!({"message": message}));
        }
        writeln!(self, "{}", tame(message))?;
        self.flush()?;
        Ok(())
    }

    /// One value, one line of JSON.
    pub(crate) fn json_line(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let line = serde_json::to_string(value)
            .map_err(|e| Failure::new(Exit::Failed, "output", format!("cannot be told as JSON: {e}")))?;
        writeln!(self, "{line}")?;
        self.flush()?;
        Ok(())
    }
}

impl Write for Output {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.out.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
