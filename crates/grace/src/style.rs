//! Colours, or none.

use std::{fmt::Display, io::IsTerminal};

use crate::args::Color;

/// How to mark words in text that a person reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Style {
    colored: bool,
}

impl Style {
    /// No colours.
    #[cfg(test)]
    pub(crate) const fn plain() -> Self {
        Self { colored: false }
    }

    /// What was asked for; with `auto`, what fits this stream. NO_COLOR counts when it is set and not empty
    /// (no-color.org).
    pub(crate) fn choose(color: Color, stream: &impl IsTerminal) -> Self {
        let colored = match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()),
        };
        Self { colored }
    }

    pub(crate) fn good(self, text: &(impl Display + ?Sized)) -> String {
        self.paint("32", text)
    }

    pub(crate) fn bad(self, text: &(impl Display + ?Sized)) -> String {
        self.paint("1;31", text)
    }

    pub(crate) fn warn(self, text: &(impl Display + ?Sized)) -> String {
        self.paint("33", text)
    }

    pub(crate) fn dim(self, text: &(impl Display + ?Sized)) -> String {
        self.paint("2", text)
    }

    fn paint(self, code: &str, text: &(impl Display + ?Sized)) -> String {
        if self.colored { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
    }
}

/// Text from a program or a manifest, made fit for a terminal: control characters, which could move the cursor or
/// recolour the screen, become `·`.
pub(crate) fn tame(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '·' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_left_alone_and_colours_are_closed() {
        assert_eq!(Style::plain().bad("x"), "x");
        assert_eq!(Style { colored: true }.good("x"), "\x1b[32mx\x1b[0m");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(tame("a\x1b[2Jb\nc"), "a·[2Jb·c");
    }
}
