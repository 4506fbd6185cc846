//! Further files that a manifest names under `include:`: found and read.
//!
//! ```text
//! include: [paths and patterns] ─► the files that they mean, in order, each once ─► their texts, and what is wrong with the list
//! ```
//!
//! A path starts at the manifest's folder. In a pattern, `*` stands for any characters within one name; a name that begins with a dot is
//! meant only by a pattern that begins with one. The files of a pattern come in the order of their names. A pattern may mean the manifest
//! itself, which is left out.
//!
//! The only IO among what is written, bounded by [`limits::INCLUDED`] and by what [`read_text`] takes of a file. Not here: files that include
//! further ones. One list tells all that is read.

use std::{
    collections::BTreeSet,
    path::{Component, Path as FilePath, PathBuf},
};

use grace_types::{
    manifest::read_text,
    yaml::{Diagnostic, Document, Path},
};
use serde::Deserialize;

use crate::limits;

/// The key.
pub(super) const KEY: &str = "include";

#[derive(Default, Deserialize)]
#[serde(default)]
struct Including {
    include: Vec<String>,
}

/// Those files that could be read, each with its text, and what is wrong with the list in `text`, which came from `origin`.
pub(super) fn files(text: &str, origin: &FilePath) -> (Vec<(PathBuf, String)>, Vec<Diagnostic>) {
    let mut document = Document::parse(text);
    document.ignore_root_keys(|key| key != KEY);
    let list: Including = document.decode().unwrap_or_default();
    let mut files = Vec::new();
    let mut known = BTreeSet::from([same(origin)]);
    for (n, pattern) in list.include.iter().enumerate() {
        let at = Path::default().key(KEY).index(n);
        let found = match find(origin.parent().unwrap_or_else(|| FilePath::new("")), pattern) {
            Ok(found) => found,
            Err((message, help)) => {
                document.fault(&at, message, help);
                continue;
            }
        };
        for path in found.into_iter().filter(|path| known.insert(same(path))) {
            if files.len() == limits::INCLUDED {
                document.fault(&at, format!("more than {} files in all", limits::INCLUDED), None);
                break;
            }
            match read_text(&path) {
                Ok(text) => files.push((path, text)),
                Err(e) => document.fault(&at, format!("`{}` cannot be read: {e}", path.display()), None),
            }
        }
    }
    // What is wrong with the rest of the text is told by whoever reads that.
    let faults = document.into_faults().into_iter().filter(|fault| fault.field.starts_with(KEY));
    (files, faults.map(|fault| Diagnostic::new(origin, text, fault)).collect())
}

/// One name for a file, however it was reached.
fn same(path: &FilePath) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// The files that `pattern` means, or what is wrong with it and what to do.
fn find(folder: &FilePath, pattern: &str) -> Result<Vec<PathBuf>, (String, Option<String>)> {
    if pattern.is_empty() {
        return Err(("expected the path of a file, or a pattern such as `intents/*.yaml`".to_owned(), None));
    }
    let mut found = vec![folder.to_owned()];
    for part in FilePath::new(pattern).components() {
        match part {
            Component::Normal(name) if name.to_string_lossy().contains('*') => {
                let name = name.to_string_lossy();
                found =
                    found.iter().flat_map(|folder| within(folder, &name)).take(limits::LISTED + 1).collect();
            }
            other => found.iter_mut().for_each(|path| path.push(other)),
        }
    }
    if found.len() > limits::LISTED {
        return Err((format!("it means more than {} files and folders", limits::LISTED), None));
    }
    if !pattern.contains('*') {
        return Ok(found);
    }
    found.retain(|path| path.is_file());
    if found.is_empty() {
        let help = Some(format!("paths start at the manifest's folder, `{}`", shown(folder)));
        return Err((format!("no file is meant by `{pattern}`"), help));
    }
    Ok(found)
}

fn shown(folder: &FilePath) -> String {
    let folder = if folder.as_os_str().is_empty() { FilePath::new(".") } else { folder };
    folder.display().to_string()
}

/// What is called so in a folder, in the order of the names. A folder that cannot be looked into has nothing.
fn within(folder: &FilePath, name: &str) -> Vec<PathBuf> {
    let start = if folder.as_os_str().is_empty() { FilePath::new(".") } else { folder };
    let entries = std::fs::read_dir(start).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name());
    let fitting = names.filter(|found| found.to_str().is_some_and(|found| fits(name, found)));
    let mut found: Vec<PathBuf> = fitting.take(limits::LISTED + 1).map(|name| folder.join(name)).collect();
    found.sort_unstable();
    found
}

/// Whether a name is meant by a pattern: its parts between the stars, in order, the first and the last at the ends.
fn fits(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut name) = name.strip_prefix(first) else { return false };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    for part in middle.split('*') {
        match name.find(part) {
            Some(at) => name = &name[at + part.len()..],
            None => return false,
        }
    }
    name.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_characters_within_a_name() {
        for (pattern, name) in [
            ("*", "a"),
            ("*.yaml", "a.yaml"),
            ("a*", "a"),
            ("a*b*c", "abc"),
            ("a*b*c", "a-b-b-c"),
            ("**", "x"),
            (".*", ".hidden"),
            ("a", "a"),
        ] {
            assert!(fits(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("*", ".hidden"),
            ("*.yaml", "a.yml"),
            ("ab*bc", "abc"),
            ("a*b*c", "acb"),
            ("a", "b"),
            ("a*b*b", "ab"),
        ] {
            assert!(!fits(pattern, name), "{pattern} {name}");
        }
    }
}
