//! `digests.json`: what each file of a bundle is.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{DIGESTS, Files, JUDGED, JUDGED_PROOF, SEAL, SEAL_PROOF, UNSEALED};

/// Version of this form.
pub const FORMAT: u32 = 1;

/// The digests of a bundle's files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Digests {
    /// [`FORMAT`].
    pub format: u32,
    /// The run.
    pub run: String,
    /// Sorted by name.
    pub files: Vec<FileDigest>,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileDigest {
    /// Its name.
    pub name: String,
    /// SHA-256 in hexadecimal.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
}

impl Digests {
    /// The digests of all `files` that are to have one.
    #[must_use]
    pub fn of(run: &str, files: &Files) -> Self {
        let listed = files.iter().filter(|(name, _)| is_listed(name));
        let digest = |(name, bytes): (&String, &Vec<u8>)| FileDigest {
            name: name.clone(),
            sha256: sha256(bytes),
            size: bytes.len() as u64,
        };
        Self { format: FORMAT, run: run.to_owned(), files: listed.map(digest).collect() }
    }
}

/// Whether a file has its digest here: not this list itself, and not what can only be made once it is sealed.
#[must_use]
pub fn is_listed(name: &str) -> bool {
    ![DIGESTS, JUDGED, JUDGED_PROOF, SEAL, SEAL_PROOF, UNSEALED].contains(&name)
}

/// SHA-256 in hexadecimal.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}
