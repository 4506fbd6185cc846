//! Bytes to files: nothing is unpacked before its digest was checked, nothing past the bounds, and no name leads anywhere.

use std::io::{self, Read};

use sha2::{Digest as _, Sha256};

use super::{
    Files, is_sound, limits,
    pack::{TRAILER, TRAILER_BYTES, header},
};

/// Why bytes are not a bundle.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// Longer than any bundle.
    #[error("the file is longer than {} bytes: no bundle is", limits::BUNDLE_BYTES)]
    TooLong,
    /// It does not end as a bundle does.
    #[error("not a bundle, or cut short: the last frame, which holds its digest, is not there")]
    NoTrailer,
    /// Some byte is not what it was.
    #[error("the bundle was altered: its bytes do not have the digest that stands at its end")]
    Altered,
    /// Whole, but not what a bundle is inside.
    #[error("the bundle cannot be unpacked: {0}")]
    Broken(#[from] io::Error),
    /// A name that no bundle has.
    #[error("the bundle has a file whose name cannot be one: {0:?}")]
    Name(String),
    /// Something else than a file, or files out of order, or one twice.
    #[error("the bundle is not packed as bundles are: {0}")]
    Form(&'static str),
    /// More than the bounds.
    #[error("the bundle holds more than {} files or {} bytes", limits::FILES, limits::FILES_BYTES)]
    TooMuch,
}

/// Unpacks a bundle.
///
/// # Errors
/// See [`UnpackError`].
pub fn unpack(bytes: &[u8]) -> Result<Files, UnpackError> {
    if bytes.len() > limits::BUNDLE_BYTES {
        return Err(UnpackError::TooLong);
    }
    let at = bytes.len().checked_sub(TRAILER_BYTES).ok_or(UnpackError::NoTrailer)?;
    let (body, trailer) = bytes.split_at(at);
    let digest = trailer.strip_prefix(&TRAILER).ok_or(UnpackError::NoTrailer)?;
    if Sha256::digest(&bytes[..at + TRAILER.len()])[..] != *digest {
        return Err(UnpackError::Altered);
    }
    let mut decoder = zstd::Decoder::with_buffer(body)?;
    decoder.window_log_max(limits::WINDOW_LOG)?;
    read_archive(decoder)
}

fn read_archive(decoder: impl Read) -> Result<Files, UnpackError> {
    // Headers and padding come to at most two blocks a file, and the end to two more; tar itself pads to 20.
    let bound = limits::FILES_BYTES as u64 + (limits::FILES as u64 + 10) * 1024;
    let mut archive = tar::Archive::new(decoder.take(bound));
    let (mut files, mut total) = (Files::new(), 0u64);
    // Raw, so that no header changes what a later one means.
    for entry in archive.entries()?.raw(true) {
        let mut entry = entry?;
        if entry.header().entry_type() != tar::EntryType::Regular {
            return Err(UnpackError::Form("it has something else than files"));
        }
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if !is_sound(&name) {
            return Err(UnpackError::Name(name));
        }
        if files.last_key_value().is_some_and(|(last, _)| *last >= name) {
            return Err(UnpackError::Form("its files are not in order, or one is there twice"));
        }
        let size = entry.header().size()?;
        total = total.saturating_add(size);
        if total > limits::FILES_BYTES as u64 || files.len() >= limits::FILES {
            return Err(UnpackError::TooMuch);
        }
        // Another program that unpacks it should not see more than was checked here: an owner, or rights.
        if entry.header().as_bytes() != header(&name, size)?.as_bytes() {
            return Err(UnpackError::Form("a file's header says more than its name and size"));
        }
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        if bytes.len() as u64 != size {
            return Err(UnpackError::Form("a file is cut short"));
        }
        files.insert(name, bytes);
    }
    // Some programs go on where others see the end.
    let mut rest = archive.into_inner();
    let mut block = [0; 4096];
    loop {
        match rest.read(&mut block)? {
            0 => return Ok(files),
            n if block[..n].iter().all(|byte| *byte == 0) => {}
            _ => return Err(UnpackError::Form("something follows its end")),
        }
    }
}
