//! Files to bytes. The same files give the same bytes: sorted names, no times, no owners.

use std::io::{self, Write as _};

use sha2::{Digest as _, Sha256};

use super::{Files, is_sound, limits};

/// zstd's default: a higher level takes far longer for some per cent.
const LEVEL: i32 = 3;

/// A skippable frame (RFC 8878, section 3.1.2), which other decoders pass over: its magic number and its length, both
/// little-endian.
pub(super) const TRAILER: [u8; 8] = *b"\x50\x2a\x4d\x18\x20\0\0\0";
/// With the digest in it.
pub(super) const TRAILER_BYTES: usize = TRAILER.len() + 32;

/// What stands before a file: all of it follows from its name and size.
pub(super) fn header(name: &str, size_bytes: u64) -> io::Result<tar::Header> {
    let mut header = tar::Header::new_ustar();
    header.set_path(name)?;
    header.set_size(size_bytes);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    Ok(header)
}

/// Packs `files`.
///
/// # Errors
/// A name cannot be one, or the files are too many or too large.
pub fn pack(files: &Files) -> io::Result<Vec<u8>> {
    let total: usize = files.values().map(Vec::len).sum();
    if files.len() > limits::FILES || total > limits::FILES_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the evidence is too large for a bundle"));
    }
    let mut encoder = zstd::Encoder::new(Vec::new(), LEVEL)?;
    encoder.include_checksum(true)?;
    encoder.window_log(limits::WINDOW_LOG)?;
    let mut archive = tar::Builder::new(encoder);
    for (name, bytes) in files {
        if !is_sound(name) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("`{name}` cannot be a file's name"),
            ));
        }
        archive.append(&header(name, bytes.len() as u64)?, bytes.as_slice())?;
    }
    let mut packed = archive.into_inner()?.finish()?;
    packed.write_all(&TRAILER)?;
    let digest = Sha256::digest(&packed);
    packed.extend_from_slice(&digest);
    if packed.len() > limits::BUNDLE_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the bundle is too large"));
    }
    Ok(packed)
}
