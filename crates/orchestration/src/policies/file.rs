//! Files of policies: `policies:` and a mapping of names. Everything that is wrong with one is reported, with its place.

use std::{collections::BTreeMap, fmt, path::Path as FilePath};

use grace_types::yaml::{Diagnostic, Document, Path, Step};
use serde::Deserialize;

use super::{compiled::Compiled, policy::Policy};
use crate::{
    delivery::action::{Fault, is_name},
    limits,
};

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Grace event policies", rename = "EventPolicies")]
struct File {
    /// By name: letters, digits, `_` and `-`.
    #[serde(default)]
    policies: BTreeMap<String, Policy>,
}

/// Everything that is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyErrors(pub Vec<Diagnostic>);

impl fmt::Display for PolicyErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|one| write!(f, "{one}"))
    }
}

impl std::error::Error for PolicyErrors {}

/// Reads the policies in `text`, which was read from `file`.
///
/// # Errors
/// Everything that is wrong with it, with its place.
pub fn read(file: &FilePath, text: &str) -> Result<BTreeMap<String, Policy>, PolicyErrors> {
    if text.len() > limits::POLICY_FILE_BYTES {
        let message = format!("{} bytes; at most {} are taken", text.len(), limits::POLICY_FILE_BYTES);
        return Err(PolicyErrors(vec![Diagnostic::of_file(file, message, None)]));
    }
    let mut document = Document::parse(text);
    let policies = document.decode::<File>().map(|file| file.policies).unwrap_or_default();
    let root = Path::default().key("policies");
    for (name, policy) in &policies {
        let at = root.key(name);
        if !is_name(name) {
            document.fault_at_key(&at, "a name has letters, digits, `_` and `-`, at most 63", None);
        }
        if let Err(faults) = Compiled::of(policy) {
            for fault in faults {
                let path = path_of(&at, &fault);
                document.fault(&path, fault.message, fault.help);
            }
        }
    }
    if policies.len() > limits::POLICIES {
        document.fault(&root, format!("more than {} policies", limits::POLICIES), None);
    }
    if document.is_sound() {
        return Ok(policies);
    }
    let faults = document.into_faults();
    Err(PolicyErrors(faults.into_iter().map(|fault| Diagnostic::new(file, text, fault)).collect()))
}

fn path_of(at: &Path, fault: &Fault) -> Path {
    let mut path = at.clone();
    for step in &fault.path {
        path.0.push(match step.parse() {
            Ok(index) => Step::Index(index),
            Err(_) => Step::Key(step.clone()),
        });
    }
    path
}

/// The JSON Schema of a file of policies.
#[must_use]
pub fn schema() -> schemars::Schema {
    schemars::schema_for!(File)
}
