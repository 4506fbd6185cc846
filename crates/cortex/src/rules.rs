//! What is decided by, read once for each generation: policies and charter. It is made from what a component has on record, and no part of it.

use std::path::Path;

use crate::{
    case::Generation,
    charter::{self, Charter},
    policy::{self, Policies},
};

/// Policies and charter, ready to be asked.
#[derive(Debug)]
pub struct Rules {
    /// What may be done.
    pub policies: Policies,
    /// How much it matters.
    pub charter: Charter,
}

impl Rules {
    /// Reads them for an instance that declares these types; what Grace brings along where there is no generation.
    pub(crate) fn read<'t>(
        generation: Option<&Generation>,
        declared: impl IntoIterator<Item = &'t String>,
    ) -> Result<Self, String> {
        let (policies, charter) = generation.map_or((policy::DEFAULT, charter::DEFAULT), |generation| {
            (generation.policies.as_str(), generation.charter.as_str())
        });
        let declared: Vec<String> = declared.into_iter().cloned().collect();
        let policies =
            Policies::read(&[("policies.cedar", policies)], &declared).map_err(|e| e.to_string())?;
        let charter = Charter::read(charter, Path::new("charter.yaml")).map_err(|e| e.to_string())?;
        Ok(Self { policies, charter })
    }
}
