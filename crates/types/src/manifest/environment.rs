//! Environment variables: `environment`, and files of `NAME=value` lines.
//!
//! The files follow what dotenv libraries agree on: blank lines and `#` comments, an optional `export`, values bare
//! (trimmed, ended by ` #`), in single quotes (as they are) or in double quotes (`\n`, `\t`, `\r`, `\"`, `\\`, `\$`);
//! quoted values may span lines. A name alone passes the variable through. `$NAME` is not expanded: what a value
//! becomes must not depend on the machine that it is read on.

use std::{collections::BTreeMap, ops::Range, path::Path};

use super::{
    checks::Checks,
    names::{is_reserved_variable, is_variable},
    raw::{ListOr, RawProcess, Scalar, TextOr},
};
use crate::yaml::{Diagnostic, Fault, Path as Field};

type Variables = BTreeMap<String, Option<String>>;

impl Checks<'_> {
    pub(super) fn environment(&mut self, at: &Field, raw: &RawProcess) -> Variables {
        let mut variables = Variables::new();
        let files_at = at.key("env_file");
        match &raw.env_file {
            None => {}
            Some(TextOr::Text(file)) => self.env_file(&files_at, file, &mut variables),
            Some(TextOr::Full(files)) => {
                for (index, file) in files.iter().enumerate() {
                    self.env_file(&files_at.index(index), file, &mut variables);
                }
            }
        }
        let at = at.key("environment");
        match &raw.environment {
            None => {}
            Some(ListOr::Full(map)) => {
                for (name, value) in map {
                    let value = value.as_ref().map(|Scalar(text)| text.clone());
                    self.variable(&at.key(name), name, value, &mut variables);
                }
            }
            Some(ListOr::List(list)) => {
                for (index, Scalar(line)) in list.iter().enumerate() {
                    let (name, value) = match line.split_once('=') {
                        Some((name, value)) => (name, Some(value.to_owned())),
                        None => (line.as_str(), None),
                    };
                    self.variable(&at.index(index), name, value, &mut variables);
                }
            }
        }
        variables
    }

    fn variable(&mut self, at: &Field, name: &str, value: Option<String>, variables: &mut Variables) {
        match refuse_variable(name, value.as_deref()) {
            None => {
                variables.insert(name.to_owned(), value);
            }
            Some(message) => self.document.fault_at_key(at, message, None),
        }
    }

    fn env_file(&mut self, at: &Field, file: &str, variables: &mut Variables) {
        if file.is_empty() || file.contains('\0') {
            self.fault(at, "expected the path of a file");
            return;
        }
        let path = self.folder.join(file);
        match (self.read)(&path) {
            Err(error) => self.fault(at, format!("cannot read `{}`: {error}", file.escape_debug())),
            Ok(text) => {
                let (read, faults) = dotenv(&text);
                variables.extend(read);
                let faults = faults.into_iter().take(10);
                self.elsewhere.extend(faults.map(|fault| Diagnostic::new(&*path, &text, fault)));
            }
        }
    }
}

fn refuse_variable(name: &str, value: Option<&str>) -> Option<String> {
    let shown: String = name.chars().take(40).flat_map(char::escape_debug).collect();
    if !is_variable(name) {
        Some(format!(
            "`{shown}` cannot be the name of a variable: letters, digits and `_` only, no digit first"
        ))
    } else if is_reserved_variable(name) {
        Some(format!("`{shown}` is set by Grace for every process that it starts"))
    } else if value.is_some_and(|value| value.contains('\0')) {
        Some(format!("the value of `{shown}` cannot contain the character NUL"))
    } else {
        None
    }
}

/// Reads a whole environment file. What is wrong is reported and left out.
pub(super) fn dotenv(text: &str) -> (Variables, Vec<Fault>) {
    let (mut variables, mut faults) = (Variables::new(), Vec::new());
    let mut at = 0;
    while at < text.len() {
        let line_end = text[at..].find('\n').map_or(text.len(), |end| at + end);
        let line = &text[at..line_end];
        let body = line.trim_start();
        let mut start = at + line.len() - body.len();
        let mut next = line_end + 1;
        let body = match body.strip_prefix("export").filter(|rest| rest.starts_with([' ', '\t'])) {
            Some(rest) => {
                start += body.len() - rest.trim_start().len();
                rest.trim_start()
            }
            None => body,
        };
        let body = body.trim_end();
        if !body.is_empty() && !body.starts_with('#') {
            let (name, value) = match body.split_once('=') {
                None => (body, Ok(None)),
                Some((name, _)) => {
                    let (value, end) = value(text, start + name.len() + 1, line_end);
                    next = end + 1;
                    (name.trim_end(), value.map(Some))
                }
            };
            match value {
                Err(message) => faults.push(fault(start..line_end, message)),
                Ok(value) => match refuse_variable(name, value.as_deref()) {
                    Some(message) => faults.push(fault(start..start + name.len(), message)),
                    None => {
                        variables.insert(name.to_owned(), value);
                    }
                },
            }
        }
        at = next;
    }
    (variables, faults)
}

fn fault(span: Range<usize>, message: String) -> Fault {
    Fault { span, field: String::new(), message, help: None }
}

/// The value that begins at `from`, and where its last line ends.
fn value(text: &str, from: usize, line_end: usize) -> (Result<String, String>, usize) {
    let rest = text[from..line_end].trim_start_matches([' ', '\t']);
    let Some(quote) = rest.chars().next().filter(|c| matches!(c, '"' | '\'')) else {
        let bare = match rest.find(" #").or_else(|| rest.find("\t#")) {
            Some(comment) => &rest[..comment],
            None if rest.starts_with('#') => "",
            None => rest,
        };
        return (Ok(bare.trim().to_owned()), line_end);
    };
    let mut value = String::new();
    let mut chars = text[line_end - rest.len() + 1..].char_indices();
    while let Some((offset, c)) = chars.next() {
        if c == quote {
            let after = line_end - rest.len() + 1 + offset + 1;
            let end = text[after..].find('\n').map_or(text.len(), |end| after + end);
            let trailing = text[after..end].trim();
            if !trailing.is_empty() && !trailing.starts_with('#') {
                return (Err("something follows the closing quote".to_owned()), end);
            }
            return (Ok(value), end);
        }
        match (c, quote) {
            ('\\', '"') => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, 't')) => value.push('\t'),
                Some((_, 'r')) => value.push('\r'),
                Some((_, c @ ('"' | '\\' | '$'))) => value.push(c),
                Some((_, c)) => value.extend(['\\', c]),
                None => {}
            },
            _ => value.push(c),
        }
    }
    (Err("the quote is not closed".to_owned()), line_end)
}

/// The variables of the `.env` beside a Procfile, if there is one.
pub(super) fn beside(
    folder: &Path,
    read: &mut dyn FnMut(&Path) -> std::io::Result<String>,
) -> Result<Variables, Vec<Diagnostic>> {
    let path = folder.join(".env");
    let text = match read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Variables::new()),
        Err(error) => return Err(vec![Diagnostic::of_file(path, format!("cannot be read: {error}"), None)]),
    };
    let (variables, faults) = dotenv(&text);
    if faults.is_empty() {
        Ok(variables)
    } else {
        Err(faults.into_iter().map(|fault| Diagnostic::new(&*path, &text, fault)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn env_files_are_read_as_dotenv_does() {
        let text = "# comment\n\nA=1\nexport B = two words # tail\nC='as $is # x'\nD=\"a\\nb \\\"q\\\" \\x\"\nE=\nF\n\
                    G=\"first\nsecond\" # tail\nH=a#b\r\nI=é\nURL=http://a/?b=c";
        let (variables, faults) = dotenv(text);
        assert_eq!(faults, []);
        let expected = [
            ("A", Some("1")),
            ("B", Some("two words")),
            ("C", Some("as $is # x")),
            ("D", Some("a\nb \"q\" \\x")),
            ("E", Some("")),
            ("F", None),
            ("G", Some("first\nsecond")),
            ("H", Some("a#b")),
            ("I", Some("é")),
            ("URL", Some("http://a/?b=c")),
        ];
        let expected: Variables =
            expected.into_iter().map(|(name, value)| (name.to_owned(), value.map(str::to_owned))).collect();
        assert_eq!(variables, expected);
    }

    #[test]
    fn what_is_wrong_in_an_env_file_is_reported_with_its_place() {
        let (variables, faults) = dotenv("A=1\n1B=2\nC=\"x\" y\nNATS_URL=z\nD='open\nE=5");
        assert_eq!(variables.keys().collect::<Vec<_>>(), ["A", "E"]);
        let places: Vec<usize> = faults.iter().map(|fault| fault.span.start).collect();
        assert_eq!(places, [4, 9, 17, 28]);
    }
}
