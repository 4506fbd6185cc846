//! A Procfile: one `name: command line` a line, as foreman reads it.
//!
//! The command line is run by `/bin/sh -c`, since Procfiles use variables and `&&`; the shell is in the process's group,
//! so signals reach both. `PORT` is 5000 for the first line, 5100 for the second and so on; a `.env` beside the file is
//! read. What differs from foreman: a process that ends is restarted, and the others keep running.

use std::{collections::BTreeMap, path::Path};

use super::{
    environment,
    errors::ManifestErrors,
    load::{ReadFile, folder_of},
    model::{ComponentKind, Manifest, ProcessSpec},
    names::process_name,
};
use crate::{
    limits::{MANIFEST_BYTES, MANIFEST_PROCESSES, YAML_FAULTS},
    yaml::{Diagnostic, Fault},
};

/// `PORT` of the first process, and the distance to the next one: foreman's numbers.
const FIRST_PORT: u32 = 5000;
const PORT_STEP: u32 = 100;

/// Reads `text`, a Procfile that came from `origin`; `.env` is not read.
///
/// # Errors
/// Everything that is wrong with it, each with its place.
pub fn procfile(text: &str, origin: &Path) -> Result<Manifest, ManifestErrors> {
    let mut nothing = |_: &Path| Err(std::io::ErrorKind::NotFound.into());
    read(text, origin, &folder_of(origin), &mut nothing)
}

pub(super) fn read(
    text: &str,
    origin: &Path,
    folder: &Path,
    files: &mut ReadFile<'_>,
) -> Result<Manifest, ManifestErrors> {
    if text.len() > MANIFEST_BYTES {
        let message = format!("it has more than {MANIFEST_BYTES} bytes");
        return Err(Diagnostic::of_file(origin, message, None).into());
    }
    let variables = environment::beside(folder, files).map_err(|errors| ManifestErrors { errors })?;
    let mut processes: BTreeMap<String, ProcessSpec> = BTreeMap::new();
    let mut faults = Vec::new();
    let mut at = 0;
    for whole in text.split_inclusive('\n') {
        let (start, line) = (at, whole.trim_end());
        at += whole.len();
        if line.trim_start().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        let mut report = |span, message: String, help| {
            if faults.len() < YAML_FAULTS {
                faults.push(Fault { span, field: String::new(), message, help });
            }
        };
        let Some((name, command)) = line.split_once(':').map(|(name, command)| (name.trim(), command.trim()))
        else {
            report(start..start + line.len(), "expected `name: command line`".to_owned(), None);
            continue;
        };
        let span = start..start + name.len();
        if let Err((message, help)) = process_name(name) {
            report(span, message, help);
        } else if command.is_empty() || command.contains('\0') {
            report(span, format!("`{name}` has no command"), None);
        } else if processes.contains_key(name) {
            report(span, format!("`{name}` is here twice"), Some("remove one of the two".to_owned()));
        } else if processes.len() == MANIFEST_PROCESSES {
            report(span, format!("at most {MANIFEST_PROCESSES} processes"), None);
        } else {
            let order = u32::try_from(processes.len()).unwrap_or(0);
            let argv = ["/bin/sh", "-c", command].map(str::to_owned).to_vec();
            let mut spec = ProcessSpec::new(name, ComponentKind::Process, argv);
            spec.environment.clone_from(&variables);
            let port = (FIRST_PORT + PORT_STEP * order).to_string();
            spec.environment.insert("PORT".to_owned(), Some(port));
            spec.environment.insert("GRACE_REPLICA".to_owned(), Some("1".to_owned()));
            spec.working_dir = (!folder.as_os_str().is_empty()).then(|| folder.to_owned());
            processes.insert(name.to_owned(), spec);
        }
    }
    if faults.is_empty() {
        Ok(Manifest { processes, ..Manifest::default() })
    } else {
        let errors = faults.into_iter().map(|fault| Diagnostic::new(origin, text, fault)).collect();
        Err(ManifestErrors { errors })
    }
}
