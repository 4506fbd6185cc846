//! Snapshots: a file each, named by the last record whose effect it contains.
//!
//! Format, 120 bytes and then the state, numbers as little-endian u64: magic `GRACESN1`, position, size, digest of the state (32), digest of
//! the record (32), the seal of these ([`chain::seal`], 32).

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::Path,
};

use super::place::{self, SNAPSHOT, failed};
use crate::{Digest, Seq, SnapshotInfo, StoreError, chain, chain::Head, journal::check_size, limits};

const MAGIC: &[u8; 8] = b"GRACESN1";
const HEADER: usize = 120;

/// Puts the snapshot of everything up to `at` in place, and drops those that are too many.
pub(super) fn put(folder: &Path, at: Head, state: &[u8]) -> Result<SnapshotInfo, StoreError> {
    check_size("a snapshot", state.len(), limits::SNAPSHOT_BYTES)?;
    let info = SnapshotInfo { seq: at.seq, digest: chain::digest(state), size_bytes: state.len() as u64 };
    let path = place::file(folder, SNAPSHOT, at.seq.0);
    place::put(&path, &[&encode(&info, at.digest), state]).map_err(|e| failed(&path, &e))?;
    let all = numbers(folder)?;
    let kept = all.len().saturating_sub(limits::SNAPSHOTS_KEPT as usize);
    remove(folder, &all[..kept])?;
    Ok(info)
}

/// The positions of the snapshots, oldest first.
pub(super) fn numbers(folder: &Path) -> Result<Vec<u64>, StoreError> {
    place::numbered(folder, SNAPSHOT).map_err(|e| failed(folder, &e))
}

pub(super) fn remove(folder: &Path, numbers: &[u64]) -> Result<(), StoreError> {
    for number in numbers {
        let path = place::file(folder, SNAPSHOT, *number);
        match fs::remove_file(&path) {
            // Another handle was quicker.
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(&path, &e)),
            _ => {}
        }
    }
    Ok(())
}

/// What is known of the snapshot at `seq`, and the digest of the record there; its state is left unread.
pub(super) fn info(folder: &Path, seq: Seq) -> Result<(SnapshotInfo, Digest), StoreError> {
    open(folder, seq).map(|(info, chain, _)| (info, chain))
}

/// The snapshot at `seq`, whole, and the digest of the record there.
pub(super) fn read(folder: &Path, seq: Seq) -> Result<(Vec<u8>, Digest), StoreError> {
    let (info, chain, file) = open(folder, seq)?;
    let mut state = Vec::new();
    let limit = limits::SNAPSHOT_BYTES as u64 + 1;
    file.take(limit)
        .read_to_end(&mut state)
        .map_err(|e| failed(&place::file(folder, SNAPSHOT, seq.0), &e))?;
    if state.len() as u64 != info.size_bytes || chain::digest(&state) != info.digest {
        return Err(corrupt(folder, seq, "its digest does not match"));
    }
    Ok((state, chain))
}

fn open(folder: &Path, seq: Seq) -> Result<(SnapshotInfo, Digest, File), StoreError> {
    let path = place::file(folder, SNAPSHOT, seq.0);
    let mut file = match File::open(&path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Err(StoreError::Range { seq, detail: "there is no snapshot at it".to_owned() });
        }
        Err(e) => return Err(failed(&path, &e)),
    };
    let mut bytes = [0u8; HEADER];
    match file.read_exact(&mut bytes) {
        Err(e) if e.kind() != io::ErrorKind::UnexpectedEof => return Err(failed(&path, &e)),
        _ => {}
    }
    match decode(&bytes) {
        Some((info, chain)) if info.seq == seq => Ok((info, chain, file)),
        _ => Err(corrupt(folder, seq, "its seal does not match")),
    }
}

fn encode(info: &SnapshotInfo, chain: Digest) -> [u8; HEADER] {
    let mut bytes = [0u8; HEADER];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..16].copy_from_slice(&info.seq.0.to_le_bytes());
    bytes[16..24].copy_from_slice(&info.size_bytes.to_le_bytes());
    bytes[24..56].copy_from_slice(&info.digest.0);
    bytes[56..88].copy_from_slice(&chain.0);
    bytes[88..].copy_from_slice(&chain::seal(info.seq, info.size_bytes, info.digest, chain).0);
    bytes
}

fn decode(bytes: &[u8; HEADER]) -> Option<(SnapshotInfo, Digest)> {
    let number = |at: usize| Some(u64::from_le_bytes(bytes[at..at + 8].try_into().ok()?));
    let digest = |at: usize| Some(Digest(bytes[at..at + 32].try_into().ok()?));
    let info = SnapshotInfo { seq: Seq(number(8)?), size_bytes: number(16)?, digest: digest(24)? };
    let chain = digest(56)?;
    (encode(&info, chain) == *bytes).then_some((info, chain))
}

pub(super) fn corrupt(journal: &Path, seq: Seq, detail: &str) -> StoreError {
    StoreError::Corrupt {
        what: format!("snapshot {} of {}", seq.0, journal.display()),
        detail: detail.to_owned(),
    }
}
