//! `grace logs`: what a component printed, from its files alone, so that it works with everything down.

use std::io::{self, Write};

use grace_core::instance::Instance;

use crate::{
    args::Logs,
    control,
    failure::{Exit, Failure},
    limits,
    output::Output,
    style::tame,
};

/// Prints the last lines, and with `--follow` what is added.
pub(crate) fn run(instance: &Instance, args: &Logs, out: &mut Output) -> Result<Exit, Failure> {
    let name = &args.name;
    // Names come from the manifest, which allows no others; a path must not leave the folder of logs.
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || !name.chars().all(legal) {
        let what = format!("`{}` is not a component's name", tame(name));
        return Err(Failure::new(Exit::Usage, "bad_name", what).help("`grace status` lists the names"));
    }
    let path = instance.log(name);
    if !path.exists() && !known(instance, name)? {
        return Err(unknown(instance, name));
    }
    let read = if out.json {
        let mut json = JsonLines { out, component: name, line: Vec::new() };
        grace_core::output::read(&path, args.lines, args.follow, &mut json)
    } else {
        grace_core::output::read(&path, args.lines, args.follow, out)
    };
    match read {
        Ok(()) => Ok(Exit::Done),
        // It runs and has printed nothing yet.
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Exit::Done),
        Err(e) => Err(Failure::new(Exit::Failed, "log_unreadable", format!("the log cannot be read: {e}"))
            .at(&path.display())
            .help("`grace doctor` looks at the data folder")),
    }
}

/// Whether the running instance has such a component; not when nothing runs.
fn known(instance: &Instance, name: &str) -> Result<bool, Failure> {
    match control::status(instance) {
        Ok(status) => Ok(status.components.iter().any(|c| c.name == name)),
        Err(failure) if failure.code == "not_running" => Ok(false),
        Err(failure) => Err(failure),
    }
}

fn unknown(instance: &Instance, name: &str) -> Failure {
    let mut names: Vec<String> = std::fs::read_dir(instance.logs())
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_suffix(".log").map(str::to_owned))
        .collect();
    names.sort();
    let help = if names.is_empty() {
        "nothing has run on this data folder yet; `grace up` starts it".to_owned()
    } else {
        format!("there is output of {}", tame(&names.join(", ")))
    };
    Failure::new(Exit::Usage, "not_found", format!("there is no component `{name}`"))
        .at(&instance.data().display())
        .help(help)
}

/// Turns `TIME STREAM TEXT` lines into objects.
struct JsonLines<'a> {
    out: &'a mut Output,
    component: &'a str,
    line: Vec<u8>,
}

impl Write for JsonLines<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            self.line.extend_from_slice(piece);
            // Nobody but a stranger's file has such a line; it is cut.
            if self.line.ends_with(b"\n") || self.line.len() > limits::JSON_LINE_BYTES {
                let object = object(self.component, &String::from_utf8_lossy(&self.line));
                writeln!(self.out, "{object}")?;
                self.line.clear();
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn object(component: &str, line: &str) -> serde_json::Value {
    let line = line.trim_end_matches('\n');
    let mut parts = line.splitn(3, ' ');
    let (time, stream, text) = (parts.next(), parts.next(), parts.next());
    serde_json::json!({"component": component, "time": time, "stream": stream, "text": text.unwrap_or_default()})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_becomes_an_object() {
        assert_eq!(
            object("web", "2026-11-23T12:30:00.123456Z err a  \"b\"\n").to_string(),
            r#"{"component":"web","time":"2026-11-23T12:30:00.123456Z","stream":"err","text":"a  \"b\""}"#
        );
        assert_eq!(object("web", "x\n")["text"], "");
    }
}
