//! RFC 6962, section 2.1, as it stands there: slow, recursive, and with the incremental hasher. And logs to test on.

use std::collections::BTreeMap;

use grace_log::{
    append::{Appender, Plan},
    hash::Hash,
    note::SignerKey,
};
use grace_types::chance::SeededEntropy;
use sha2::{Digest, Sha256};

pub(crate) type Folder = BTreeMap<String, Vec<u8>>;

pub(crate) fn leaf(entry: &[u8]) -> Hash {
    Hash(Sha256::new().chain_update([0]).chain_update(entry).finalize().into())
}

fn node(left: Hash, right: Hash) -> Hash {
    Hash(Sha256::new().chain_update([1]).chain_update(left.0).chain_update(right.0).finalize().into())
}

fn split(n: usize) -> usize {
    let mut k = 1;
    while k * 2 < n {
        k *= 2;
    }
    k
}

/// MTH.
pub(crate) fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash(Sha256::digest([]).into()),
        [one] => *one,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            node(root(left), root(right))
        }
    }
}

/// PATH.
pub(crate) fn path(m: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let k = split(leaves.len());
    let (left, right) = leaves.split_at(k);
    let (mut proof, last) =
        if m < k { (path(m, left), root(right)) } else { (path(m - k, right), root(left)) };
    proof.push(last);
    proof
}

/// PROOF.
pub(crate) fn consistency(m: usize, leaves: &[Hash]) -> Vec<Hash> {
    if m == 0 { Vec::new() } else { subproof(m, leaves, true) }
}

fn subproof(m: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
    if m == leaves.len() {
        return if whole { Vec::new() } else { vec![root(leaves)] };
    }
    let k = split(leaves.len());
    let (left, right) = leaves.split_at(k);
    let (mut proof, last) = if m <= k {
        (subproof(m, left, whole), root(right))
    } else {
        (subproof(m - k, right, false), root(left))
    };
    proof.push(last);
    proof
}

pub(crate) const ORIGIN: &str = "log.example/test";

pub(crate) fn key() -> SignerKey {
    SignerKey::generate(ORIGIN, &mut SeededEntropy::new(11)).unwrap()
}

/// Entries of every length up to 40, the empty one too.
pub(crate) fn entry(index: u64) -> Vec<u8> {
    index.to_be_bytes().repeat(6)[..usize::try_from(index * 7 % 41).unwrap()].to_vec()
}

pub(crate) fn leaves(size: u64) -> Vec<Hash> {
    (0..size).map(|index| leaf(&entry(index))).collect()
}

pub(crate) fn carry_out(plan: &Plan, folder: &mut Folder) {
    for write in &plan.writes {
        folder.insert(write.path.clone(), write.bytes.clone());
    }
    for gone in &plan.superseded {
        folder.retain(|path, _| !path.starts_with(&format!("{gone}/")));
    }
}

/// The folder of a log of `size` entries, written in one batch.
pub(crate) fn folder(size: u64) -> Folder {
    let (mut appender, mut folder) = (Appender::new(), Folder::new());
    for index in 0..size {
        appender.append(&entry(index)).unwrap();
    }
    carry_out(&appender.seal(ORIGIN, &[&key()]).unwrap(), &mut folder);
    folder
}
