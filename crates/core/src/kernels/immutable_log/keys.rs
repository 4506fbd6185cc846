//! The log's key: made on first start, and never silently again.

use std::{io, path::Path, str::FromStr};

use grace_log::note::{KeyError, SignerKey, VerifierKey};
use grace_types::chance::Entropy;

use super::{
    PENDING, PUBLIC_KEY, SECRET_KEY,
    disk::{self, Disk, real::RealDisk},
    limits::KEY_FILE_BYTES,
};

/// Why there is no key to sign or to check with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// There is no such file.
    #[error("{path} is missing")]
    Missing {
        /// Relative to the data folder.
        path: &'static str,
    },
    /// It could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// Relative to the data folder.
        path: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// It is no key.
    #[error("{path}: {error}; put the right file back, since no other key can continue this log")]
    Damaged {
        /// Relative to the data folder.
        path: &'static str,
        /// What is wrong with it.
        error: KeyError,
    },
    /// The two halves do not belong together.
    #[error("{PUBLIC_KEY} is not the public half of {SECRET_KEY}; put the right files back")]
    Halves,
}

/// The key with which signatures of the log in `data` are checked: from `keys/immutable_log.vkey`.
///
/// # Errors
/// The file is missing, unreadable or no key.
pub fn verifier_key(data: &Path) -> Result<VerifierKey, KeyFileError> {
    let text = read(&RealDisk::at(data), PUBLIC_KEY)?.ok_or(KeyFileError::Missing { path: PUBLIC_KEY })?;
    parse(PUBLIC_KEY, &text)
}

/// The secret key, if there is one. Its public half is written again where it is missing.
pub(super) fn load(disk: &dyn Disk) -> Result<Option<SignerKey>, KeyFileError> {
    let Some(text) = read(disk, SECRET_KEY)? else { return Ok(None) };
    let damaged = |error| KeyFileError::Damaged { path: SECRET_KEY, error };
    let key = SignerKey::from_secret_text(text.trim_end()).map_err(damaged)?;
    match read(disk, PUBLIC_KEY)? {
        Some(text) if parse(PUBLIC_KEY, &text)? == *key.verifier() => {}
        Some(_) => return Err(KeyFileError::Halves),
        None => write(disk, PUBLIC_KEY, &key.verifier().to_string())?,
    }
    Ok(Some(key))
}

/// Makes a key with a name of its own, which is the log's origin.
pub(super) fn make(disk: &dyn Disk, entropy: &mut dyn Entropy) -> Result<SignerKey, KeyFileError> {
    let mut name = [0; 8];
    entropy.fill(&mut name);
    let name = format!("grace/{:016x}", u64::from_be_bytes(name));
    let key = SignerKey::generate(&name, entropy)
        .map_err(|error| KeyFileError::Damaged { path: SECRET_KEY, error })?;
    write(disk, SECRET_KEY, &key.to_secret_text())?;
    write(disk, PUBLIC_KEY, &key.verifier().to_string())?;
    Ok(key)
}

fn parse(path: &'static str, text: &str) -> Result<VerifierKey, KeyFileError> {
    VerifierKey::from_str(text.trim_end()).map_err(|error| KeyFileError::Damaged { path, error })
}

fn read(disk: &dyn Disk, path: &'static str) -> Result<Option<String>, KeyFileError> {
    let bytes = disk.read(path, KEY_FILE_BYTES).map_err(|source| KeyFileError::Io { path, source })?;
    bytes
        .map(String::from_utf8)
        .transpose()
        .map_err(|_| KeyFileError::Damaged { path, error: KeyError::Malformed })
}

fn write(disk: &dyn Disk, path: &'static str, text: &str) -> Result<(), KeyFileError> {
    let fresh = format!("{PENDING}/key.new");
    disk::replace(disk, path, &fresh, format!("{text}\n").as_bytes())
        .and_then(|()| disk.sync(""))
        .map_err(|source| KeyFileError::Io { path, source })
}
