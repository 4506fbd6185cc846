//! The partial files of earlier sizes, which a log may keep until the full ones are there: each must be the beginning of
//! what stands in its place now. Where it is not, what lies beneath tells which of the two was altered.

use super::{Problem, Report};
use crate::{
    files::{Files, Read, read, read_bundle, read_tile},
    hash::{Hash, leaf_hash, root_of},
    tile::{CHECKPOINT_PATH, Entries, Kind, Resource},
};

/// Compares the older partial files of a log of `size` entries, and lists what is not part of it.
pub(super) fn compare(files: &impl Files, size: u64, report: &mut Report) {
    let mut paths = match files.list() {
        Ok(paths) => paths,
        Err(error) => return report.add("tile", Problem::Unreadable(error.to_string())),
    };
    paths.sort_unstable();
    for path in paths {
        if path == CHECKPOINT_PATH {
            continue;
        }
        let Some(resource) = Resource::parse(&path) else {
            report.unknown.push(path);
            continue;
        };
        match Resource::in_tree(resource.kind, resource.index, size) {
            Some(now) if now.width == resource.width => {}
            Some(now) if now.width > resource.width => {
                if !is_beginning(files, resource, now) {
                    report.add(path, Problem::Stale);
                }
            }
            _ => report.unsealed.push(path),
        }
    }
}

/// Whether the file of `old` is the beginning of `now`, or at least of what `now` should be.
fn is_beginning(files: &impl Files, old: Resource, now: Resource) -> bool {
    let Ok(Read { bytes: old_bytes, .. }) = read(files, old) else { return false };
    match old.kind {
        Kind::Entries => {
            if read_bundle(files, now).is_ok_and(|now_bytes| {
                let mut entries = Entries::of(&now_bytes);
                let whole = entries.by_ref().take(usize::from(old.width)).count() == usize::from(old.width);
                whole
                    && now_bytes.len() - entries.rest().len() == old_bytes.len()
                    && now_bytes.starts_with(&old_bytes)
            }) {
                return true;
            }
            let Ok(leaves) = read_tile(files, Resource { kind: Kind::Tile(0), ..now }) else { return false };
            let mut entries = Entries::of(&old_bytes);
            let leaves = &leaves.as_chunks().0[..usize::from(old.width)];
            leaves.iter().all(|leaf| entries.next().is_some_and(|entry| leaf_hash(entry).0 == *leaf))
                && entries.rest().is_empty()
        }
        Kind::Tile(level) => {
            if old_bytes.len() != usize::from(old.width) * 32 {
                return false;
            }
            if read_tile(files, now).is_ok_and(|now_bytes| now_bytes.starts_with(&old_bytes)) {
                return true;
            }
            let beneath = hashes_beneath(files, level, now);
            old_bytes.as_chunks().0.iter().zip(0..).all(|(hash, place)| beneath(place) == Some(Hash(*hash)))
        }
    }
}

/// What the hashes of the tile `now` should be, one place at a time, from what lies under it.
fn hashes_beneath<'a>(files: &'a impl Files, level: u8, now: Resource) -> impl Fn(u64) -> Option<Hash> + 'a {
    let bundle =
        (level == 0).then(|| read_bundle(files, Resource { kind: Kind::Entries, ..now }).ok()).flatten();
    move |place| {
        if level == 0 {
            let entry = Entries::of(bundle.as_ref()?).nth(usize::try_from(place).ok()?)?;
            return Some(leaf_hash(entry));
        }
        let index = now.index * 256 + place;
        let below = Resource { kind: Kind::Tile(level - 1), index, width: 256 };
        Some(root_of(read_tile(files, below).ok()?.as_chunks().0))
    }
}
