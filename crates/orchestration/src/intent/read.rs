//! Intent types from YAML: `intents:` of a manifest or of a file of its own, with every fault in it at its place.

use std::{collections::BTreeMap, fmt, path::Path as FilePath};

use grace_types::{
    limits::MANIFEST_BYTES,
    manifest::Manifest,
    yaml::{Diagnostic, Document, Path},
};
use serde::Deserialize;

use super::{Definition, IntentType};
use crate::limits;

/// A file of intent types.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a mapping with `intents`")]
struct File {
    intents: BTreeMap<String, IntentType>,
}

/// Everything that is wrong with a file of intent types.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct IntentErrors {
    /// At least one.
    pub errors: Vec<Diagnostic>,
}

impl fmt::Display for IntentErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.errors.iter().try_for_each(|error| error.fmt(f))
    }
}

/// Reads the types under `intents:` of `text`, which came from the file `origin`. Keys that begin with `x-` are the user's own.
///
/// # Errors
/// Everything that is wrong with it, each with its place.
pub fn read(text: &str, origin: &FilePath) -> Result<BTreeMap<String, IntentType>, IntentErrors> {
    read_beside(text, origin, |key| key.starts_with("x-"))
}

/// The same of a manifest, whose other keys are not looked at.
///
/// # Errors
/// As for [`read`].
pub fn read_manifest(text: &str, origin: &FilePath) -> Result<BTreeMap<String, IntentType>, IntentErrors> {
    read_beside(text, origin, |key| key != "intents")
}

/// The types that a manifest holds since it was read.
///
/// # Errors
/// It was made by another version.
pub fn of_manifest(manifest: &Manifest) -> serde_json::Result<BTreeMap<String, IntentType>> {
    let each =
        |(name, kind): (&String, &serde_json::Value)| Ok((name.clone(), IntentType::deserialize(kind)?));
    manifest.intents.iter().map(each).collect()
}

fn read_beside(
    text: &str,
    origin: &FilePath,
    ignored: fn(&str) -> bool,
) -> Result<BTreeMap<String, IntentType>, IntentErrors> {
    if text.len() > MANIFEST_BYTES {
        let message = format!("it has more than {MANIFEST_BYTES} bytes");
        return Err(IntentErrors { errors: vec![Diagnostic::of_file(origin, message, None)] });
    }
    let mut document = Document::parse(text);
    document.ignore_root_keys(ignored);
    let file: File = document.decode().unwrap_or_default();
    let at = Path::default().key("intents");
    if file.intents.len() > limits::TYPES {
        document.fault(&at, format!("more than {} types", limits::TYPES), None);
    }
    for (name, kind) in &file.intents {
        for fault in Definition::compile(name, kind.clone()).err().unwrap_or_default() {
            let mut path = at.key(name);
            path.0.extend(fault.path.0);
            if fault.at_key {
                document.fault_at_key(&path, fault.message, fault.help);
            } else {
                document.fault(&path, fault.message, fault.help);
            }
        }
    }
    if document.is_sound() {
        return Ok(file.intents);
    }
    let faults = document.into_faults().into_iter();
    Err(IntentErrors { errors: faults.map(|fault| Diagnostic::new(origin, text, fault)).collect() })
}
