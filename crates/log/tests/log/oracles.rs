//! Three other implementations must agree: tlog_tiles and signed_note (ported from Go's checksum database), and ct-merkle.

use ct_merkle::{RootHash, mem_backed_tree::MemoryBackedTree};
use grace_log::{
    append::Appender,
    checkpoint::{Checkpoint, Trust},
    hash::Hash,
    note::{Note, SignerKey, VerifierKey},
    proof::{prove_consistency, prove_inclusion, verify_consistency, verify_inclusion},
    tile::{Kind, Resource, resources},
};
use sha2::Sha256;
use signed_note::{Signer as _, Verifier as _};
use tlog_tiles::{
    Tile, TileHashReader, TileReader, check_record, check_tree, prove_record, prove_tree, tree_hash,
};

use crate::written_out::{Folder, ORIGIN, carry_out, entry, folder, key, leaf, leaves, root};

/// Our files, as tlog_tiles reads them.
struct Reader<'a>(&'a Folder);

impl TileReader for Reader<'_> {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
        Ok(tiles.iter().map(|tile| self.0[&our_path(tile)].clone()).collect())
    }

    fn save_tiles(&self, _tiles: &[Tile], _data: &[Vec<u8>]) {}
}

/// Go's paths state the tile's height (8) and call entries data; C2SP's do not.
fn our_path(tile: &Tile) -> String {
    tile.path().replacen("tile/8/", "tile/", 1).replacen("tile/data/", "tile/entries/", 1)
}

fn theirs(hash: Hash) -> tlog_tiles::Hash {
    tlog_tiles::Hash(hash.0)
}

#[test]
fn tlog_tiles_reads_our_tiles_and_proofs() {
    for size in [1, 2, 255, 256, 257, 700, 66_000] {
        let (folder, leaves) = (folder(size), leaves(size));
        let now = theirs(root(&leaves));
        let files = Reader(&folder);
        // It checks each tile against the root as it reads.
        let reader = TileHashReader::new(size, now, &files);
        assert_eq!(tree_hash(size, &reader).unwrap(), now);
        for index in [0, size / 3, size / 2, size - 1] {
            let ours = prove_inclusion(&folder, index, size).unwrap();
            let proof = prove_record(size, index, &reader).unwrap();
            assert_eq!(ours.iter().copied().map(theirs).collect::<Vec<_>>(), proof, "{index} in {size}");
            let leaf = leaf(&entry(index));
            assert!(check_record(&proof, size, now, index, theirs(leaf)).is_ok());
            assert!(verify_inclusion(leaf, index, size, Hash(now.0), &ours).is_ok());

            let old = index + 1;
            let then = root(&leaves[..usize::try_from(old).unwrap()]);
            let ours = prove_consistency(&folder, old, size).unwrap();
            let proof = prove_tree(size, old, &reader).unwrap();
            assert_eq!(ours.iter().copied().map(theirs).collect::<Vec<_>>(), proof, "{old} to {size}");
            assert!(check_tree(&proof, size, now, old, theirs(then)).is_ok());
            assert!(verify_consistency(old, then, size, Hash(now.0), &ours).is_ok());
        }
    }
}

#[test]
fn tlog_tiles_names_the_same_files() {
    for (before, size) in [(0, 1), (0, 70_000), (300, 513), (255, 256), (65_535, 65_537)] {
        let mut expected: Vec<String> = Tile::new_tiles(8, before, size).iter().map(our_path).collect();
        let (mut appender, mut folder) = (Appender::new(), Folder::new());
        while appender.size() < before {
            appender.append(&entry(appender.size())).unwrap();
        }
        carry_out(&appender.seal(ORIGIN, &[&key()]).unwrap(), &mut folder);
        while appender.size() < size {
            appender.append(&entry(appender.size())).unwrap();
        }
        let plan = appender.seal(ORIGIN, &[&key()]).unwrap();
        let ours = plan.writes.iter().map(|write| write.path.clone());
        let mut ours: Vec<String> =
            ours.filter(|path| path.starts_with("tile/") && !path.starts_with("tile/entries")).collect();
        expected.sort_unstable();
        ours.sort_unstable();
        assert_eq!(ours, expected, "{before} to {size}");
    }
    for resource in
        resources(70_000).chain([Resource { kind: Kind::Entries, index: 1_234_067_008, width: 9 }])
    {
        let path = match resource.kind {
            Kind::Entries => resource.to_string().replacen("tile/entries/", "tile/8/data/", 1),
            Kind::Tile(_) => resource.to_string().replacen("tile/", "tile/8/", 1),
        };
        let tile = Tile::from_path(&path).unwrap();
        assert_eq!((tile.level_index(), tile.width()), (resource.index, u32::from(resource.width)));
    }
}

#[test]
fn ct_merkle_agrees_on_roots_and_accepts_our_proofs() {
    let mut tree = MemoryBackedTree::<Sha256, Vec<u8>>::new();
    let (leaves, mut old_roots) = (leaves(80), Vec::new());
    for size in 1..=80u64 {
        tree.push(entry(size - 1));
        let (n, folder, now) = (usize::try_from(size).unwrap(), folder(size), tree.root());
        assert_eq!(now.as_bytes().as_slice(), root(&leaves[..n]).0);
        for index in 0..size {
            let ours = prove_inclusion(&folder, index, size).unwrap();
            let bytes: Vec<u8> = ours.iter().flat_map(|hash| hash.0).collect();
            let proof = ct_merkle::InclusionProof::<Sha256>::try_from_bytes(bytes).unwrap();
            now.verify_inclusion(&entry(index), index, &proof).unwrap();
        }
        old_roots.push(RootHash::<Sha256>::new(*now.as_bytes(), size));
        for old in &old_roots {
            let ours = prove_consistency(&folder, old.num_leaves(), size).unwrap();
            let bytes: Vec<u8> = ours.iter().flat_map(|hash| hash.0).collect();
            let proof = ct_merkle::ConsistencyProof::<Sha256>::try_from_bytes(bytes).unwrap();
            now.verify_consistency(old, &proof).unwrap();
        }
    }
}

#[test]
fn notes_and_keys_go_both_ways() {
    let ours = key();
    let checkpoint = Checkpoint::new(ORIGIN, 5, root(&leaves(5))).unwrap();
    let signed = checkpoint.sign(&[&ours]).unwrap();

    // Theirs opens ours.
    let verifier = signed_note::StandardVerifier::new(&ours.verifier().to_string()).unwrap();
    assert_eq!((verifier.name(), verifier.key_id()), (ORIGIN, ours.verifier().id()));
    let verifiers = signed_note::VerifierList::new(vec![Box::new(verifier)]);
    let note = signed_note::Note::from_bytes(signed.as_bytes()).unwrap();
    let (verified, unknown) = note.verify(&verifiers).unwrap();
    assert_eq!((verified.len(), unknown.len()), (1, 0));
    let read = tlog_tiles::Checkpoint::from_bytes(note.text()).unwrap();
    assert_eq!((read.origin(), read.size(), read.hash().0), (ORIGIN, 5, checkpoint.root.0));
    assert_eq!(read.to_bytes(), checkpoint.to_string().as_bytes());

    // Ours opens theirs, and signs the same with the same key.
    let signer = signed_note::StandardSigner::new(&ours.to_secret_text()).unwrap();
    let mut note = signed_note::Note::new(checkpoint.to_string().as_bytes(), &[]).unwrap();
    note.add_sigs(&[&signer]).unwrap();
    assert_eq!(note.to_bytes(), signed.as_bytes());
    let again = SignerKey::from_secret_text(&ours.to_secret_text()).unwrap();
    let verifier: VerifierKey = again.verifier().to_string().parse().unwrap();
    assert_eq!(Trust::in_log(verifier).open(&note.to_bytes()).unwrap().checkpoint, checkpoint);
    assert_eq!(Note::parse(signed.as_bytes()).unwrap().signatures[0].id, signer.key_id());
}
