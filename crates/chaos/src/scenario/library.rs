//! Where scenarios are found: in a folder of the user's, which wins, and in the binary.
//!
//! A file is named after the scenario in it, `ID.yaml`, so that one is found without reading the others, and a bad file does
//! not keep the good ones from being run.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use grace_types::yaml::{Diagnostic, suggest};

use super::{Origin, Scenario, ScenarioErrors, parse};
use crate::limits;

/// The scenarios in the binary.
const BUILT_IN: [(&str, &str); 1] =
    [("dirt-critical-kernel-kill", include_str!("../../../../scenarios/dirt-critical-kernel-kill.yaml"))];

/// Why there is no scenario to run.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// There is none of this name.
    #[error("there is no scenario `{id}`")]
    NotFound {
        /// What was asked for.
        id: String,
        /// What there is instead.
        help: Option<String>,
    },
    /// It has faults.
    #[error("{0}")]
    Bad(#[from] ScenarioErrors),
    /// The folder cannot be read, or is the wrong one.
    #[error("{}: {detail}", folder.display())]
    Folder {
        /// Which.
        folder: PathBuf,
        /// What is wrong.
        detail: String,
    },
}

/// See the module's page.
#[derive(Debug, Clone, Default)]
pub struct Library {
    folder: Option<PathBuf>,
}

impl Library {
    /// The built-in scenarios, and those in `folder`. A folder that is not there holds none.
    #[must_use]
    pub const fn new(folder: Option<PathBuf>) -> Self {
        Self { folder }
    }

    /// The ids of all scenarios, in order, with where each comes from. The files are not read.
    ///
    /// # Errors
    /// The folder cannot be listed.
    pub fn ids(&self) -> Result<BTreeMap<String, Origin>, LibraryError> {
        let mut ids: BTreeMap<String, Origin> =
            BUILT_IN.iter().map(|(id, _)| ((*id).to_owned(), Origin::BuiltIn)).collect();
        for path in self.files()? {
            if let Some(id) = path.file_stem() {
                ids.insert(id.to_string_lossy().into_owned(), Origin::File(path.clone()));
            }
        }
        Ok(ids)
    }

    /// The scenario `id`; or the file, if `id` is the path of one (it has a `/`, or ends in `.yaml`).
    ///
    /// # Errors
    /// See [`LibraryError`].
    pub fn load(&self, id: &str) -> Result<Scenario, LibraryError> {
        if id.contains('/') || id.ends_with(".yaml") || id.ends_with(".yml") {
            return Ok(read(Path::new(id), Origin::File(id.into()), None)?);
        }
        match self.ids()?.remove(id) {
            Some(Origin::File(path)) => Ok(read(&path, Origin::File(path.clone()), Some(id))?),
            Some(Origin::BuiltIn) => {
                let text = BUILT_IN.iter().find(|(name, _)| *name == id).map_or("", |(_, text)| text);
                Ok(parse(text, Path::new(&format!("{id}.yaml")), Origin::BuiltIn)?)
            }
            None => {
                let known = self.ids()?;
                let help = suggest(id, known.keys().map(String::as_str));
                Err(LibraryError::NotFound { id: id.chars().take(100).collect(), help })
            }
        }
    }

    fn files(&self) -> Result<Vec<PathBuf>, LibraryError> {
        let Some(folder) = &self.folder else { return Ok(Vec::new()) };
        let fail = |detail: String| LibraryError::Folder { folder: folder.clone(), detail };
        let entries = match std::fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(fail(error.to_string())),
        };
        let mut files = Vec::new();
        for entry in entries {
            let path = entry.map_err(|error| fail(error.to_string()))?.path();
            if path.extension().is_some_and(|e| e == "yaml" || e == "yml") {
                files.push(path);
            }
            if files.len() > limits::SCENARIO_FILES {
                return Err(fail(format!("it has more than {} scenario files", limits::SCENARIO_FILES)));
            }
        }
        files.sort();
        Ok(files)
    }
}

/// Reads a file; its id has to be `named`, if that is given.
fn read(path: &Path, origin: Origin, named: Option<&str>) -> Result<Scenario, ScenarioErrors> {
    let of_file = |message: String| ScenarioErrors { errors: vec![Diagnostic::of_file(path, message, None)] };
    let text = read_text(path).map_err(|error| of_file(format!("cannot be read: {error}")))?;
    let scenario = parse(&text, path, origin)?;
    match named {
        Some(named) if scenario.id != named => {
            Err(of_file(format!("its id is `{}`: name the file `{}.yaml`", scenario.id, scenario.id)))
        }
        _ => Ok(scenario),
    }
}

/// The text of a file, if it is not too large to be a scenario or a safeguard.
pub(crate) fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(limits::SCENARIO_BYTES as u64 + 1).read_to_string(&mut text)?;
    if text.len() > limits::SCENARIO_BYTES {
        let message = format!("it has more than {} bytes", limits::SCENARIO_BYTES);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(text)
}
