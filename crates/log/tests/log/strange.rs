//! Whatever bytes a file holds, nothing panics, and nothing but the log's own bytes is called whole.

use std::sync::LazyLock;

use grace_log::{
    append::Appender,
    checkpoint::Trust,
    files::read_entry,
    proof::{prove_consistency, prove_inclusion},
    proof_file::ProofFile,
    tile::resources,
    verify::verify,
};
use proptest::prelude::*;

use crate::written_out::{Folder, folder, key};

static WHOLE: LazyLock<Folder> = LazyLock::new(|| folder(600));

fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        prop::collection::vec(prop::sample::select(vec![0u8, 1, 2, 255, b'\n', b'0']), 0..9000),
        Just(vec![0; 8192]),
    ]
}

proptest! {
    #[test]
    fn any_files_at_all(changes in prop::collection::vec((any::<prop::sample::Index>(), prop::option::of(any_bytes())), 1..6)) {
        let mut folder = WHOLE.clone();
        for (which, bytes) in changes {
            let path = which.get(&WHOLE.keys().collect::<Vec<_>>()).to_string();
            match bytes {
                Some(bytes) => folder.insert(path, bytes),
                None => folder.remove(&path),
            };
        }
        let trust = Trust::in_log(key().verifier().clone());
        let checkpoint = trust.open(&WHOLE["checkpoint"]).unwrap().checkpoint;
        prop_assert_eq!(verify(&folder, &trust, &[]).is_ok(), folder == *WHOLE);
        for index in [0, 300, 599] {
            let _ = (prove_inclusion(&folder, index, 600), prove_consistency(&folder, index, 600));
            let _ = read_entry(&folder, 600, index);
        }
        let _ = Appender::resume(&checkpoint, &folder);
    }

    #[test]
    fn any_proof_file(bytes: Vec<u8>, text in "c2sp.org/tlog-proof@v1\n(extra [A-Za-z=]{0,9}\n)?(index [0-9]{0,25}\n)?([A-Za-z0-9+/]{43}=\n){0,3}(.|\n)*") {
        for bytes in [bytes.as_slice(), text.as_bytes()] {
            if let Ok(file) = ProofFile::parse(bytes) {
                prop_assert_eq!(file.to_string().into_bytes(), bytes);
            }
        }
    }

    #[test]
    fn any_size(size: u64, index: u64) {
        prop_assert!(resources(size).take(3).count() <= 3);
        let _ = (prove_inclusion(&*WHOLE, index, size), prove_consistency(&*WHOLE, index, size));
        let _ = read_entry(&*WHOLE, size, index);
    }
}
