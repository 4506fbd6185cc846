//! Files → a validated [`Manifest`]. The only IO in this crate, bounded: no file is read past [`MANIFEST_BYTES`].

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::{checks::Checks, errors::ManifestErrors, model::Manifest, procfile, raw::RawManifest};
use crate::{
    limits::MANIFEST_BYTES,
    yaml::{Diagnostic, Document, Fault},
};

/// Gives the text of a file; how [`parse_with`] gets at environment files.
pub type ReadFile<'a> = dyn FnMut(&Path) -> io::Result<String> + 'a;

/// Reads the manifest at `path` and the environment files that it names. Relative paths in it start at its folder. A
/// file called `Procfile` (or `Procfile.something`) is read as one.
///
/// # Errors
/// Everything that is wrong with it, each with its place.
pub fn load(path: &Path) -> Result<Manifest, ManifestErrors> {
    let bytes = read_bytes(path).map_err(|error| {
        let help =
            (error.kind() == io::ErrorKind::NotFound).then(|| "give its path with --manifest".to_owned());
        Diagnostic::of_file(path, format!("cannot be read: {error}"), help)
    })?;
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => return Err(not_utf8(path, &error).into()),
    };
    // The supervisor runs elsewhere, so the folder has to be absolute; errors keep the path as it was given.
    let absolute = std::path::absolute(path)
        .map_err(|error| Diagnostic::of_file(path, format!("has no absolute path: {error}"), None))?;
    let folder = absolute.parent().map(Path::to_owned).unwrap_or_default();
    if is_procfile(path) {
        procfile::read(&text, path, &folder, &mut read_text)
    } else {
        read(&text, path, folder, &mut read_text)
    }
}

/// As [`load`], of a `text` that came from `origin`; paths stay relative if `origin` is.
///
/// # Errors
/// Everything that is wrong with it, each with its place.
pub fn parse(text: &str, origin: &Path) -> Result<Manifest, ManifestErrors> {
    parse_with(text, origin, &mut read_text)
}

/// As [`parse`], with environment files from `files`: no IO of its own.
///
/// # Errors
/// Everything that is wrong with it, each with its place.
pub fn parse_with<'a>(
    text: &str,
    origin: &Path,
    files: &'a mut ReadFile<'a>,
) -> Result<Manifest, ManifestErrors> {
    read(text, origin, folder_of(origin), files)
}

pub(super) fn folder_of(origin: &Path) -> PathBuf {
    origin.parent().map(Path::to_owned).unwrap_or_default()
}

fn read<'a>(
    text: &str,
    origin: &Path,
    folder: PathBuf,
    files: &'a mut ReadFile<'a>,
) -> Result<Manifest, ManifestErrors> {
    if text.len() > MANIFEST_BYTES {
        return Err(Diagnostic::of_file(origin, too_large().to_string(), None).into());
    }
    let mut document = Document::parse(text);
    document.ignore_root_keys(|key| key.starts_with("x-"));
    let raw: Option<RawManifest> = document.decode();
    let mut checks = Checks { document: &mut document, folder, read: files, elsewhere: Vec::new() };
    let manifest = raw.map(|raw| checks.manifest(&raw));
    let elsewhere = checks.elsewhere;
    match manifest {
        Some(manifest) if document.is_sound() && elsewhere.is_empty() => Ok(manifest),
        _ => {
            let faults = document.into_faults().into_iter();
            let mut errors: Vec<Diagnostic> =
                faults.map(|fault| Diagnostic::new(origin, text, fault)).collect();
            errors.extend(elsewhere);
            Err(ManifestErrors { errors })
        }
    }
}

fn is_procfile(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    name == "Procfile" || name.starts_with("Procfile.")
}

fn too_large() -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, format!("it has more than {MANIFEST_BYTES} bytes"))
}

fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MANIFEST_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > MANIFEST_BYTES { Err(too_large()) } else { Ok(bytes) }
}

/// The text of a file that belongs to a manifest.
///
/// # Errors
/// It cannot be read, is no UTF-8 text, or has more than [`MANIFEST_BYTES`].
pub fn read_text(path: &Path) -> io::Result<String> {
    let not_text = |_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text");
    String::from_utf8(read_bytes(path)?).map_err(not_text)
}

fn not_utf8(path: &Path, error: &std::string::FromUtf8Error) -> Diagnostic {
    let at = error.utf8_error().valid_up_to();
    let text = String::from_utf8_lossy(error.as_bytes());
    let fault = Fault {
        span: at..at,
        field: String::new(),
        message: "a manifest is UTF-8 text, and this byte is not".to_owned(),
        help: None,
    };
    Diagnostic::new(path, &text, fault)
}
