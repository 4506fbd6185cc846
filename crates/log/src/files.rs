//! How the library sees a log's folder: a trait that the shell implements over files, HTTP or memory.
//!
//! A partial tile may be gone once the full one is there, so reading one falls back to the full one's beginning
//! (C2SP tlog-tiles, "Partial Tiles").

use std::{borrow::Cow, collections::BTreeMap, io};

use crate::{
    limits::{BUNDLE_BYTES, TILE_BYTES},
    tile::{Entries, Kind, Resource},
};

/// The files of one log. Paths are relative to the log's folder, with `/`.
pub trait Files {
    /// The bytes of the file at `path`; `None` if there is none.
    ///
    /// Of a file longer than `limit`, at least `limit + 1` bytes are to be given (and no more need be read): the caller
    /// sees that it is too long.
    ///
    /// # Errors
    ///
    /// The file may be there and could not be read.
    fn read(&self, path: &str, limit: usize) -> io::Result<Option<Cow<'_, [u8]>>>;

    /// The path of every file in the folder, in any order.
    ///
    /// # Errors
    ///
    /// The folder could not be listed.
    fn list(&self) -> io::Result<Vec<String>>;
}

/// A log in memory, for tests, for the simulator, and for one unpacked from a bundle of evidence.
impl Files for BTreeMap<String, Vec<u8>> {
    fn read(&self, path: &str, _limit: usize) -> io::Result<Option<Cow<'_, [u8]>>> {
        Ok(self.get(path).map(|bytes| Cow::Borrowed(bytes.as_slice())))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.keys().cloned().collect())
    }
}

/// Why a tile, bundle or checkpoint could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no such file.
    #[error("{path} is missing")]
    Missing {
        /// The file's path.
        path: String,
    },
    /// It could not be read.
    #[error("{path} cannot be read: {error}")]
    Io {
        /// The file's path.
        path: String,
        /// What the shell met.
        error: io::Error,
    },
    /// A tile of another length than its width says.
    #[error("{path} has {found} bytes and should have {expected}")]
    Length {
        /// The file's path.
        path: String,
        /// Bytes there.
        found: usize,
        /// Bytes that belong there.
        expected: usize,
    },
    /// A bundle that is cut short or goes on after its last entry.
    #[error("{path} does not hold whole entries up to its width: it breaks at entry {index}")]
    Bundle {
        /// The file's path.
        path: String,
        /// The index in the log of the first entry that is not whole, or that should not be there.
        index: u64,
    },
    /// Something was asked of a tree that does not have it.
    #[error("a tree of {size} entries has no {what}")]
    Outside {
        /// Entries in the tree.
        size: u64,
        /// What was asked for.
        what: String,
    },
}

/// What was read of a resource.
pub(crate) struct Read<'a> {
    /// The path that was there: the resource's own, or its full one's.
    pub(crate) path: String,
    /// Its bytes.
    pub(crate) bytes: Cow<'a, [u8]>,
    /// Entries or hashes that belong in the file that was there.
    pub(crate) width: usize,
}

/// Reads `resource`, or the full one if that is all there is. The length is not judged yet.
pub(crate) fn read<'a>(files: &'a impl Files, resource: Resource) -> Result<Read<'a>, ReadError> {
    let limit = if resource.kind == Kind::Entries { BUNDLE_BYTES } else { TILE_BYTES };
    for candidate in [resource, resource.full()] {
        let path = candidate.to_string();
        match files.read(&path, limit) {
            Ok(Some(bytes)) => return Ok(Read { path, bytes, width: usize::from(candidate.width) }),
            Ok(None) => {}
            Err(error) => return Err(ReadError::Io { path, error }),
        }
    }
    Err(ReadError::Missing { path: resource.to_string() })
}

/// The hashes of a tile, exactly as many as its width.
pub(crate) fn read_tile<'a>(files: &'a impl Files, tile: Resource) -> Result<Cow<'a, [u8]>, ReadError> {
    let Read { path, bytes, width } = read(files, tile)?;
    if bytes.len() != width * 32 {
        return Err(ReadError::Length { path, found: bytes.len(), expected: width * 32 });
    }
    Ok(first(bytes, usize::from(tile.width) * 32))
}

fn first(bytes: Cow<'_, [u8]>, wanted: usize) -> Cow<'_, [u8]> {
    match bytes {
        Cow::Borrowed(all) => Cow::Borrowed(&all[..wanted]),
        Cow::Owned(mut all) => {
            all.truncate(wanted);
            Cow::Owned(all)
        }
    }
}

/// The bytes of a bundle's first entries, exactly as many as its width.
pub(crate) fn read_bundle<'a>(files: &'a impl Files, bundle: Resource) -> Result<Cow<'a, [u8]>, ReadError> {
    let Read { path, bytes, width } = read(files, bundle)?;
    let (mut entries, mut whole, mut wanted_bytes) = (Entries::of(&bytes), 0, 0);
    while whole < width && entries.next().is_some() {
        whole += 1;
        if whole == usize::from(bundle.width) {
            wanted_bytes = bytes.len() - entries.rest().len();
        }
    }
    if whole < width || !entries.rest().is_empty() {
        return Err(ReadError::Bundle { path, index: bundle.index * 256 + whole as u64 });
    }
    Ok(first(bytes, wanted_bytes))
}

/// One entry of a tree of `size`.
///
/// The entry is not verified: give its [`crate::hash::leaf_hash`] to [`crate::proof::verify_inclusion`] with a proof.
///
/// # Errors
///
/// Its bundle is missing, unreadable or malformed, or the tree does not reach that far.
pub fn read_entry(files: &impl Files, size: u64, index: u64) -> Result<Vec<u8>, ReadError> {
    let outside = || ReadError::Outside { size, what: format!("entry {index}") };
    if index >= size {
        return Err(outside());
    }
    let resource = Resource::in_tree(Kind::Entries, index / 256, size).ok_or_else(outside)?;
    let bundle = read_bundle(files, resource)?;
    let at = usize::try_from(index % 256).unwrap_or(0);
    Entries::of(&bundle).nth(at).map(<[u8]>::to_vec).ok_or_else(outside)
}
