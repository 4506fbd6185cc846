//! A shell's command line as far as it can be told from its text: which commands it runs, and which words stand in it.
//!
//! Two looks with opposite errors. What counts as harmless must be understood to the end ([`commands`]: whatever cannot be told for sure is
//! `None`), and what counts as dangerous need only be mentioned ([`mentions`]: `echo rm` is one). Neither sees through an adversary.

use crate::limits;

/// The commands of the line, without what separates them; `None` where it holds more than commands and their plain arguments.
#[must_use]
pub fn commands(line: &str) -> Option<Vec<String>> {
    if line.len() > limits::HOOK_COMMAND_BYTES {
        return None;
    }
    let (mut done, mut command) = (Vec::new(), String::new());
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        match c {
            ';' | '|' | '&' | '\n' => done.push(std::mem::take(&mut command)),
            '>' => {
                rest = nowhere(rest.as_str())?.chars();
                // The descriptor's number before it.
                if command.ends_with([' ', '\t'])
                    || command.trim_end_matches(['1', '2']).ends_with([' ', '\t'])
                {
                    command.truncate(command.trim_end_matches(['1', '2']).len());
                }
            }
            '<' | '$' | '`' | '(' | ')' | '{' | '}' => return None,
            '\'' | '"' => quoted(c, &mut rest, &mut command)?,
            '\\' => command.extend([c, rest.next()?]),
            c => command.push(c),
        }
    }
    done.push(command);
    let trimmed = done.iter().map(|command| command.trim().to_owned());
    Some(trimmed.filter(|command| !command.is_empty()).collect())
}

/// To the end of what is quoted, in which nothing may be replaced.
fn quoted(quote: char, rest: &mut std::str::Chars<'_>, command: &mut String) -> Option<()> {
    command.push(quote);
    loop {
        let c = rest.next()?;
        command.push(c);
        match c {
            c if c == quote => return Some(()),
            '$' | '`' if quote == '"' => return None,
            '\\' if quote == '"' => command.push(rest.next()?),
            _ => {}
        }
    }
}

/// What follows a redirection that writes nothing.
fn nowhere(rest: &str) -> Option<&str> {
    let left = rest.strip_prefix("&1").or_else(|| rest.strip_prefix("&2"));
    let left = left.or_else(|| rest.trim_start_matches(' ').strip_prefix("/dev/null"))?;
    let over = left.chars().next().is_none_or(|c| matches!(c, ' ' | '\t' | '\n' | ';' | '|' | '&'));
    over.then_some(left)
}

/// Whether something in the line, from the beginning of a word on, fits. A line that is too long to be looked through does.
pub fn mentions(line: &str, fits: impl Fn(&str) -> bool) -> bool {
    if line.len() > limits::HOOK_COMMAND_BYTES {
        return true;
    }
    let mut plain = String::with_capacity(line.len());
    for c in line.chars() {
        match c {
            '"' | '\'' | '\\' => {}
            c if c.is_whitespace() => {
                if !plain.ends_with(' ') {
                    plain.push(' ');
                }
            }
            c => plain.push(c),
        }
    }
    let edge = |c: char| " /=;|&(){}`$<>,:@[]".contains(c);
    let mut before = ' ';
    plain.char_indices().any(|(at, c)| {
        let begins = edge(before) && !edge(c);
        before = c;
        begins && plain.get(at..).is_some_and(&fits)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_told_is_no_list_of_commands() {
        let told = |line: &str| commands(line).map(|all| all.join("¦"));
        for (line, expected) in [
            ("ls -la", "ls -la"),
            ("cd src && cargo test 2>&1 | tail -5", "cd src¦cargo test¦tail -5"),
            ("pwd 2>/dev/null; ls > /dev/null", "pwd¦ls"),
            ("grep -E 'a|b;c' \"x y\"", "grep -E 'a|b;c' \"x y\""),
            ("echo a\\;b", "echo a\\;b"),
            ("ls &\nwc x", "ls¦wc x"),
            ("", ""),
        ] {
            assert_eq!(told(line).as_deref(), Some(expected), "{line}");
        }
        for line in [
            "ls $(rm -rf x)",
            "ls `x`",
            "ls \"$(x)\"",
            "cat <(x)",
            "echo x > a",
            "echo x >/dev/nullx",
            "ls >> a",
            "cat < a",
            "ls 'a",
            "ls \\",
            "{ ls; }",
            "ls $X",
            &"x ".repeat(40_000),
        ] {
            assert_eq!(told(line), None, "{line}");
        }
    }

    #[test]
    fn a_word_is_found_wherever_it_begins() {
        let rm = |text: &str| text.starts_with("rm ");
        for line in [
            "rm x",
            "sudo  rm\tx",
            "/bin/rm x",
            "bash -c \"rm x\"",
            "a;rm x",
            "$(rm x)",
            "r\\m x",
            "A=1 'rm' x",
        ] {
            assert!(mentions(line, rm), "{line}");
        }
        for line in ["", "farm x", "rmdir x", "rm"] {
            assert!(!mentions(line, rm), "{line}");
        }
        assert!(mentions(&"x ".repeat(40_000), rm), "too long to be looked through");
    }
}
