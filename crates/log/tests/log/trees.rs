//! Roots, tiles and bundles against their definitions; batches, plans and resuming.

use grace_log::{
    append::{AppendError, Appender, ResumeError},
    checkpoint::Trust,
    files::read_entry,
    hash::Hash,
    limits::{ENTRY_BYTES, UNSEALED_BYTES},
    tile::{Kind, Resource, push_entry, resources},
};
use proptest::prelude::*;

use crate::written_out::{Folder, ORIGIN, carry_out, entry, folder, key, leaves, root};

/// The entries and roots that Certificate Transparency's implementations have shared since 2012.
const KNOWN: [(&str, &str); 8] = [
    ("", "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
    ("00", "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"),
    ("10", "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"),
    ("2021", "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"),
    ("3031", "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4"),
    ("40414243", "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef"),
    ("5051525354555657", "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c"),
    ("606162636465666768696a6b6c6d6e6f", "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"),
];

pub(crate) fn unhex(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect()
}

pub(crate) fn known_entries() -> Vec<Vec<u8>> {
    KNOWN.iter().map(|(entry, _)| unhex(entry)).collect()
}

#[test]
fn the_known_roots() {
    let mut appender = Appender::new();
    assert_eq!(appender.root(), Hash::EMPTY);
    for (index, (entry, root)) in (0..).zip(KNOWN) {
        assert_eq!(appender.append(&unhex(entry)), Ok(index));
        assert_eq!(appender.root().0.as_slice(), unhex(root), "{} entries", index + 1);
    }
}

#[test]
fn every_root_up_to_2_000() {
    let (leaves, mut appender) = (leaves(2000), Appender::new());
    for size in 0..=2000 {
        assert_eq!(appender.root(), root(&leaves[..size]), "{size} entries");
        assert_eq!(appender.append(&entry(size as u64)), Ok(size as u64));
    }
}

#[test]
fn every_tile_and_bundle_is_as_defined() {
    for size in [0, 1, 2, 255, 256, 257, 511, 512, 513, 2000, 65_536, 65_536 + 256 + 3] {
        let (folder, leaves) = (folder(size), leaves(size));
        let all: Vec<Resource> = resources(size).collect();
        for resource in &all {
            let width = u64::from(resource.width);
            let expected = match resource.kind {
                Kind::Entries => {
                    let mut bundle = Vec::new();
                    for index in resource.index * 256..resource.index * 256 + width {
                        assert!(push_entry(&mut bundle, &entry(index)));
                    }
                    bundle
                }
                Kind::Tile(level) => {
                    let span = 256usize.pow(u32::from(level));
                    let first = usize::try_from(resource.index * 256).unwrap();
                    let hash = |n: usize| root(&leaves[n * span..(n + 1) * span]).0;
                    (first..first + usize::from(resource.width)).flat_map(hash).collect()
                }
            };
            assert!(folder.get(&resource.to_string()) == Some(&expected), "{resource} of {size}");
        }
        assert_eq!(folder.len(), all.len() + 1, "and nothing else but the checkpoint, in a log of {size}");
        let opened = Trust::in_log(key().verifier().clone()).open(&folder["checkpoint"]).unwrap();
        assert_eq!((opened.checkpoint.size, opened.checkpoint.root), (size, root(&leaves)));
    }
}

#[test]
fn a_plan_is_in_order_and_holds_only_what_changed() {
    let mut appender = Appender::new();
    let mut paths = |count: u64| {
        for _ in 0..count {
            appender.append(&entry(appender.size())).unwrap();
        }
        let plan = appender.seal(ORIGIN, &[&key()]).unwrap();
        let paths: Vec<String> = plan.writes.into_iter().map(|write| write.path).collect();
        (paths.join(" "), plan.superseded.join(" "))
    };
    assert_eq!(paths(0), ("checkpoint".into(), String::new()));
    assert_eq!(paths(3), ("tile/entries/000.p/3 tile/0/000.p/3 checkpoint".into(), String::new()));
    assert_eq!(paths(0), ("checkpoint".into(), String::new()));
    assert_eq!(
        paths(254),
        (
            "tile/entries/000 tile/entries/001.p/1 tile/0/000 tile/0/001.p/1 tile/1/000.p/1 checkpoint"
                .into(),
            "tile/entries/000.p tile/0/000.p".into()
        )
    );
    assert_eq!(paths(1), ("tile/entries/001.p/2 tile/0/001.p/2 checkpoint".into(), String::new()));
    assert_eq!(
        paths(254),
        (
            "tile/entries/001 tile/0/001 tile/1/000.p/2 checkpoint".into(),
            "tile/entries/001.p tile/0/001.p".into()
        )
    );
}

#[test]
fn entries_and_batches_have_bounds() {
    let mut appender = Appender::new();
    let longest = vec![7; ENTRY_BYTES];
    assert_eq!(appender.append(&vec![7; ENTRY_BYTES + 1]), Err(AppendError::TooLong(65_536)));
    assert_eq!((appender.size(), appender.append(&longest)), (0, Ok(0)));
    let full = loop {
        if let Err(error) = appender.append(&longest) {
            break error;
        }
    };
    assert_eq!(full, AppendError::BatchFull);
    assert!(appender.unsealed() * 65_537 >= UNSEALED_BYTES as u64);
    let mut folder = Folder::new();
    carry_out(&appender.seal(ORIGIN, &[&key()]).unwrap(), &mut folder);
    assert_eq!((appender.unsealed(), appender.append(&longest)), (0, Ok(appender.size() - 1)));
    assert_eq!(read_entry(&folder, 1024, 1023).unwrap(), longest);
    assert!(read_entry(&folder, 1024, 1024).is_err());
}

#[test]
fn resuming_refuses_what_does_not_fit() {
    let whole = folder(300);
    let checkpoint = Trust::in_log(key().verifier().clone()).open(&whole["checkpoint"]).unwrap().checkpoint;
    let spoilt = |path: &str, spoil: fn(&mut Vec<u8>)| {
        let mut folder = whole.clone();
        spoil(folder.get_mut(path).unwrap());
        Appender::resume(&checkpoint, &folder).unwrap_err().to_string()
    };
    let flip = |bytes: &mut Vec<u8>| *bytes.last_mut().unwrap() ^= 1;
    assert!(spoilt("tile/0/001.p/44", flip).contains("the right edge have the root"));
    assert!(spoilt("tile/1/000.p/1", flip).contains("the right edge have the root"));
    assert_eq!(
        spoilt("tile/entries/001.p/44", flip),
        "entry 299 in tile/entries/001.p/44 does not hash to its leaf"
    );
    let cut = |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() - 1);
    assert!(spoilt("tile/0/001.p/44", cut).contains("has 1407 bytes and should have 1408"));
    assert!(spoilt("tile/entries/001.p/44", cut).contains("breaks at entry 299"));
    let mut folder = whole;
    folder.remove("tile/entries/001.p/44");
    assert!(matches!(Appender::resume(&checkpoint, &folder), Err(ResumeError::Read(_))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn batches_and_restarts_leave_no_trace(batches in prop::collection::vec((0u64..400, any::<bool>(), any::<bool>()), 1..9)) {
        let (mut appender, mut there, mut size) = (Appender::new(), Folder::new(), 0);
        for (count, restart, crash) in batches {
            if crash {
                // A batch that is written in part, but for its checkpoint, and lost.
                let mut lost = appender.clone();
                for index in 0..count {
                    lost.append(&entry(index + 9)).unwrap();
                }
                let mut plan = lost.seal(ORIGIN, &[&key()]).unwrap();
                plan.writes.truncate(plan.writes.len() / 2);
                plan.superseded.clear();
                carry_out(&plan, &mut there);
            }
            for index in size..size + count {
                prop_assert_eq!(appender.append(&entry(index)), Ok(index));
            }
            size += count;
            let plan = appender.seal(ORIGIN, &[&key()]).unwrap();
            carry_out(&plan, &mut there);
            if restart {
                appender = Appender::resume(&plan.checkpoint, &there).unwrap();
                prop_assert_eq!((appender.size(), appender.root()), (size, plan.checkpoint.root));
            }
        }
        for (path, bytes) in folder(size) {
            prop_assert!(there.get(&path) == Some(&bytes), "{}", path);
        }
    }

    #[test]
    fn large_trees(size in 2_000u64..90_000) {
        let mut appender = Appender::new();
        for index in 0..size {
            appender.append(&entry(index)).unwrap();
            if index % 60_000 == 59_999 {
                appender.seal(ORIGIN, &[&key()]).unwrap();
            }
        }
        prop_assert_eq!(appender.root(), root(&leaves(size)));
    }
}
