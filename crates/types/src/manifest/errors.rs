//! Everything that is wrong with a manifest, as a compiler would say it.

use std::fmt;

use crate::{limits::YAML_FAULTS, yaml::Diagnostic};

/// Why a manifest was refused: every fault found, in the order of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestErrors {
    /// At least one.
    pub errors: Vec<Diagnostic>,
}

impl fmt::Display for ManifestErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for error in &self.errors {
            write!(f, "{error}")?;
        }
        if self.errors.len() >= YAML_FAULTS {
            writeln!(f, "There may be more: the first {YAML_FAULTS} faults are shown.")?;
        }
        Ok(())
    }
}

impl std::error::Error for ManifestErrors {}

impl From<Diagnostic> for ManifestErrors {
    fn from(error: Diagnostic) -> Self {
        Self { errors: vec![error] }
    }
}
