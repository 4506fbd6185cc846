//! C2SP tlog-tiles: which files a log has, what they are called, and how entries lie in a bundle.
//!
//! A tile of level L holds up to 256 consecutive hashes of height 8·L; a bundle holds the entries under one tile of level
//! 0. The rightmost of each are partial until 256 are there. [`Resource`] names one, and [`resources`] all of a tree.
//!
//! Deliberately not here: reading ([`crate::files`]) and writing ([`crate::append`]).

use std::fmt::{self, Write as _};

use crate::limits::{ENTRY_BYTES, TILE_WIDTH};

/// The path of the checkpoint.
pub const CHECKPOINT_PATH: &str = "checkpoint";

/// What a resource holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Entries.
    Entries,
    /// Hashes of height 8 × this level, 0 to 63.
    Tile(u8),
}

/// A tile or an entry bundle, full or partial. Shown as its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resource {
    /// Hashes of a level, or entries.
    pub kind: Kind,
    /// Its place among those of its kind, from 0.
    pub index: u64,
    /// Hashes or entries in it, 1 to 256; 256 is full.
    pub width: u16,
}

impl Resource {
    /// The resource of this kind at `index` in a tree of `size` entries; `None` if such a tree has none.
    #[must_use]
    pub fn in_tree(kind: Kind, index: u64, size: u64) -> Option<Self> {
        let level = match kind {
            Kind::Entries => 0,
            Kind::Tile(level) => level,
        };
        let hashes = size.checked_shr(8 * u32::from(level)).unwrap_or(0);
        let width = hashes.saturating_sub(index.checked_mul(TILE_WIDTH)?).min(TILE_WIDTH);
        (width > 0).then(|| Self { kind, index, width: u16::try_from(width).unwrap_or(256) })
    }

    /// Whether it is full, and so will never change.
    #[must_use]
    pub fn is_full(&self) -> bool {
        u64::from(self.width) == TILE_WIDTH
    }

    /// The full resource at the same place.
    #[must_use]
    pub fn full(self) -> Self {
        Self { width: 256, ..self }
    }

    /// The folder of the partial ones at the same place. Once the full one is there, nobody needs it.
    #[must_use]
    pub fn partials_folder(self) -> String {
        format!("{}.p", self.full())
    }

    /// Reads a path. `None` for all but the one way to write it: no superfluous zeros, no width of 0 or 256.
    #[must_use]
    pub fn parse(path: &str) -> Option<Self> {
        let (kind, rest) = path.strip_prefix("tile/")?.split_once('/')?;
        let kind = match kind {
            "entries" => Kind::Entries,
            level => Kind::Tile(level.parse().ok().filter(|level| *level < 64)?),
        };
        let (number, width) = match rest.split_once(".p/") {
            Some((number, width)) => (number, width.parse().ok().filter(|width| (1..256).contains(width))?),
            None => (rest, 256),
        };
        let mut index = 0u64;
        for group in number.split('/') {
            let group: u64 = group.strip_prefix('x').unwrap_or(group).parse().ok()?;
            index = index.checked_mul(1000)?.checked_add(group)?;
        }
        let resource = Self { kind, index, width };
        // Signs, missing or superfluous zeros and a misplaced `x` all give another text than the one read.
        (resource.to_string() == path).then_some(resource)
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Entries => f.write_str("tile/entries/")?,
            Kind::Tile(level) => write!(f, "tile/{level}/")?,
        }
        let mut divisor = 1;
        while self.index / divisor >= 1000 {
            divisor *= 1000;
        }
        while divisor > 1 {
            write!(f, "x{:03}/", self.index / divisor % 1000)?;
            divisor /= 1000;
        }
        write!(f, "{:03}", self.index % 1000)?;
        if self.is_full() { Ok(()) } else { write!(f, ".p/{}", self.width) }
    }
}

/// Every resource of a tree of `size` entries: bundles, then tiles from level 0 up.
pub fn resources(size: u64) -> impl Iterator<Item = Resource> {
    let kinds = std::iter::once(Kind::Entries).chain((0..8).map(Kind::Tile));
    kinds.flat_map(move |kind| {
        let at = move |index| Resource::in_tree(kind, index, size);
        (0..).map_while(at)
    })
}

/// Appends one entry to a bundle: two bytes of length, big-endian, and the entry.
///
/// Returns `false`, with nothing written, for an entry over [`ENTRY_BYTES`].
#[must_use]
pub fn push_entry(bundle: &mut Vec<u8>, entry: &[u8]) -> bool {
    let Ok(length) = u16::try_from(entry.len()) else { return false };
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(entry);
    true
}

/// The entries of a bundle, in order, without copying. Ends early where the bytes do not make whole entries;
/// [`Entries::rest`] then holds what is left.
#[derive(Debug, Clone)]
pub struct Entries<'a> {
    rest: &'a [u8],
}

impl<'a> Entries<'a> {
    /// Begins at the start of `bundle`.
    #[must_use]
    pub const fn of(bundle: &'a [u8]) -> Self {
        Self { rest: bundle }
    }

    /// What has not been read: empty at the end of a whole bundle.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.rest.split_first_chunk()?;
        let (entry, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        self.rest = rest;
        Some(entry)
    }
}

/// A name as it stands in an error: long ones are cut, since they come from outside.
pub(crate) fn shown(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars().take(80) {
        // Writing to a string does not fail.
        let _ = write!(out, "{}", c.escape_debug());
    }
    out
}

const _: () = assert!(ENTRY_BYTES == 0xffff, "push_entry's 16 bits");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_of_the_specification() {
        let tile = |level, index, width| Resource { kind: Kind::Tile(level), index, width };
        for (resource, path) in [
            (tile(0, 1_234_067, 256), "tile/0/x001/x234/067"),
            (tile(0, 0, 256), "tile/0/000"),
            (tile(63, 999, 1), "tile/63/999.p/1"),
            (tile(2, 1000, 255), "tile/2/x001/000.p/255"),
            (Resource { kind: Kind::Entries, index: 273, width: 112 }, "tile/entries/273.p/112"),
        ] {
            assert_eq!(resource.to_string(), path);
            assert_eq!(Resource::parse(path), Some(resource));
        }
        for wrong in [
            "",
            "tile",
            "tile/0",
            "tile/0/",
            "tile/64/000",
            "tile/00/000",
            "tile/0/0",
            "tile/0/0000",
            "tile/0/x000/001",
            "tile/0/001/000",
            "tile/0/x001",
            "tile/0/+01",
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/01",
            "tile/0/000.p/",
            "tile/0/x18446744073709551616/000",
            "tile/entries/000/",
            "/tile/0/000",
            "tile/0/x001/x234/067 ",
            "tile/data/000",
            "tile/0/xx01/000",
            "tile/-0/000",
            "tile/0/000.p/+1",
            "checkpoint",
        ] {
            assert_eq!(Resource::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_tree_of_70_000_has_what_the_specification_counts() {
        let all: Vec<Resource> = resources(70_000).collect();
        let of =
            |kind: Kind, full: bool| all.iter().filter(|r| r.kind == kind && r.is_full() == full).count();
        assert_eq!((of(Kind::Tile(0), true), of(Kind::Tile(0), false)), (273, 1));
        assert_eq!((of(Kind::Tile(1), true), of(Kind::Tile(1), false)), (1, 1));
        assert_eq!((of(Kind::Tile(2), true), of(Kind::Tile(2), false), of(Kind::Tile(3), false)), (0, 1, 0));
        let widths: Vec<u16> = all.iter().filter(|r| !r.is_full()).map(|r| r.width).collect();
        assert_eq!(widths, [112, 112, 17, 1]);
        assert_eq!(resources(0).count(), 0);
        let names: Vec<String> = resources(256).map(|r| r.to_string()).collect();
        assert_eq!(names, ["tile/entries/000", "tile/0/000", "tile/1/000.p/1"]);
    }

    proptest! {
        #[test]
        fn every_resource_survives_its_path(level in 0u8..64, entries: bool, index: u64, width in 1u16..=256) {
            let kind = if entries { Kind::Entries } else { Kind::Tile(level) };
            let resource = Resource { kind, index, width };
            prop_assert_eq!(Resource::parse(&resource.to_string()), Some(resource));
        }

        #[test]
        fn no_path_is_too_strange(path in "(tile/)?[0-9x/.p+a-z-]{0,40}", any in ".*") {
            for path in [path, any] {
                if let Some(resource) = Resource::parse(&path) {
                    prop_assert_eq!(resource.to_string(), path);
                }
            }
        }

        #[test]
        fn bundles_give_back_their_entries(entries: Vec<Vec<u8>>, cut: prop::sample::Index) {
            let mut bundle = Vec::new();
            for entry in &entries {
                prop_assert!(push_entry(&mut bundle, entry));
            }
            let mut read = Entries::of(&bundle);
            prop_assert!(read.by_ref().eq(entries.iter().map(Vec::as_slice)));
            prop_assert!(read.rest().is_empty());
            let mut cut_short = Entries::of(&bundle[..cut.index(bundle.len() + 1)]);
            prop_assert!(cut_short.by_ref().zip(&entries).all(|(read, entry)| read == entry));
        }
    }
}
