//! The file of rules, read.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use super::mapping::Mapping;
use crate::limits;

/// The rules in the file at `path` before Grace's own; those alone where there is no file.
///
/// # Errors
/// It cannot be read, is too large, or has faults: nothing is allowed then.
pub fn load(path: &Path) -> io::Result<Mapping> {
    let named = |kind: io::ErrorKind, why: &str| io::Error::new(kind, format!("{}: {why}", path.display()));
    let faults = |e| io::Error::other(format!("{e}"));
    let text = match File::open(path).and_then(|file| bounded(file, limits::HOOK_MAPPING_BYTES)) {
        Ok(bytes) if bytes.len() > limits::HOOK_MAPPING_BYTES => {
            let most = limits::HOOK_MAPPING_BYTES;
            let why = format!("at most {most} bytes are read, and nothing is allowed");
            return Err(named(io::ErrorKind::InvalidData, &why));
        }
        Ok(bytes) => {
            String::from_utf8(bytes).map_err(|e| named(io::ErrorKind::InvalidData, &e.to_string()))?
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Mapping::read(None).map_err(faults),
        Err(e) => return Err(named(e.kind(), &e.to_string())),
    };
    Mapping::read(Some((&text, path))).map_err(faults)
}

/// All of it, and one byte more than may be where it is too long.
///
/// # Errors
/// It cannot be read.
pub fn bounded(from: impl Read, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(most as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
