//! Replays the fuzz target's corpus, so that what was found once is checked on every run.

#[path = "../../../fuzz/src/protocol.rs"]
mod protocol;

#[test]
fn the_corpus_holds() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/protocol");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("the corpus is there") {
        let path = entry.expect("readable").path();
        let bytes = std::fs::read(&path).expect("readable");
        // The name is what a failure has to tell.
        println!("{}", path.display());
        protocol::check(&bytes);
        count += 1;
    }
    assert!(count >= 10, "{count} files");
}
