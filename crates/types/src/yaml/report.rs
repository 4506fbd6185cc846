//! What is wrong, where, and what to do about it, for a reader at a terminal.

use std::{fmt, ops::Range, path::PathBuf};

/// One thing that is wrong with a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Bytes of the text that it is about.
    pub span: Range<usize>,
    /// Path of the field; empty for the whole file.
    pub field: String,
    /// What is wrong, and what was expected.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

/// A [`Fault`] with its place in a named file, ready to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file.
    pub file: PathBuf,
    /// Line, counted from 1; 0 when it is about the file as a whole.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
    /// Path of the field, such as `processes.web.readiness_probe`; empty for the whole file.
    pub field: String,
    /// What is wrong, and what was expected.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
    /// The part of the line that is shown, and what of it is underlined, in characters.
    excerpt: Option<(String, Range<usize>)>,
}

/// Characters of a line that are shown: it should fit a terminal with its margin.
const EXCERPT_CHARS: usize = 100;

impl Diagnostic {
    /// Places `fault` in `text`, which was read from `file`.
    #[must_use]
    pub fn new(file: impl Into<PathBuf>, text: &str, fault: Fault) -> Self {
        let mut start = fault.span.start.min(text.len());
        while !text.is_char_boundary(start) {
            start -= 1;
        }
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line = text[..start].bytes().filter(|byte| *byte == b'\n').count() + 1;
        let column = text[line_start..start].chars().count() + 1;
        let source = text[line_start..].lines().next().unwrap_or_default();
        let width =
            text.get(start..fault.span.end.min(line_start + source.len())).map_or(0, |s| s.chars().count());
        Self {
            file: file.into(),
            line,
            column,
            field: fault.field,
            message: fault.message,
            help: fault.help,
            excerpt: (!source.trim().is_empty()).then(|| excerpt(source, column - 1, width.max(1))),
        }
    }

    /// About a file as a whole, such as one that cannot be read.
    #[must_use]
    pub fn of_file(file: impl Into<PathBuf>, message: impl Into<String>, help: Option<String>) -> Self {
        Self {
            file: file.into(),
            line: 0,
            column: 0,
            field: String::new(),
            message: message.into(),
            help,
            excerpt: None,
        }
    }
}

/// The part of `line` around `column`, with what a terminal could take for a command made harmless.
fn excerpt(line: &str, column: usize, width: usize) -> (String, Range<usize>) {
    let skip =
        if column + width.min(20) > EXCERPT_CHARS { column.saturating_sub(EXCERPT_CHARS / 3) } else { 0 };
    let shown = |c: char| match c {
        '\t' => ' ',
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    let part: String = line.chars().skip(skip).take(EXCERPT_CHARS).map(shown).collect();
    let length = part.chars().count();
    let from = (column - skip).min(length);
    let to = (from + width).min(length).max(from + 1);
    (part.trim_end().to_owned(), from..to)
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        f.write_str(": error: ")?;
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        writeln!(f, "{}", self.message)?;
        if let Some((source, marked)) = &self.excerpt {
            let number = self.line.to_string();
            writeln!(f, " {number} | {source}")?;
            writeln!(
                f,
                " {:>width$} | {}{}",
                "",
                " ".repeat(marked.start),
                "^".repeat(marked.len()),
                width = number.len()
            )?;
        }
        if let Some(help) = &self.help {
            writeln!(f, "   help: {help}")?;
        }
        Ok(())
    }
}

/// The one of `known` that `name` most looks like a slip of, if any does.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Distance is quadratic in length; nobody mistypes a name of hundreds of letters.
    if name.len() > 100 {
        return None;
    }
    let fold = |name: &str| name.to_lowercase().replace('-', "_");
    let name = fold(name);
    let allowed = (name.chars().count() / 3).max(1);
    known
        .into_iter()
        .filter_map(|candidate| {
            let folded = fold(candidate);
            let distance = strsim::damerau_levenshtein(&name, &folded);
            // `on_fail` is far from `on_failure` in letters, but not in what was meant.
            let begun = name.len() >= 3 && folded.starts_with(&name);
            (distance <= allowed || begun).then_some((distance, candidate))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Help for a name that is not among `known`: the nearest one, or all of them if they are few.
#[must_use]
pub fn suggest<'a>(name: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> Option<String> {
    if let Some(near) = nearest(name, known.clone()) {
        return Some(format!("did you mean `{near}`?"));
    }
    let all: Vec<&str> = known.into_iter().collect();
    (1..=24).contains(&all.len()).then(|| format!("known: {}", all.join(", ")))
}
