//! `grace verify` on a bundle and a proof that are committed: what it prints, and what it refuses.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    binary::{Ran, command, grace},
    golden,
};

/// A bundle that another version may have made, and the key of its log.
fn committed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../chaos/src/bundle/golden")
}

#[test]
fn every_text() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path();
    for name in ["bundle.tar.zst", "log.vkey"] {
        fs::copy(committed().join(name), place.join(name)).unwrap();
    }
    let mut spoilt = fs::read(place.join("bundle.tar.zst")).unwrap();
    spoilt[100] ^= 1;
    fs::write(place.join("spoilt"), &spoilt).unwrap();
    // The public key of another log, of the same name.
    let vkey = fs::read_to_string(place.join("log.vkey")).unwrap();
    let name = vkey.split('+').next().unwrap();
    let mut entropy = grace_types::chance::SeededEntropy::new(77);
    let other = grace_log::note::SignerKey::generate(name, &mut entropy).unwrap();
    fs::write(place.join("other.vkey"), format!("{}\n", other.verifier())).unwrap();
    let files = grace_chaos::bundle::unpack(&fs::read(place.join("bundle.tar.zst")).unwrap()).unwrap();
    fs::write(place.join("3.json"), &files[&grace_chaos::bundle::entry_name(3)]).unwrap();
    fs::write(place.join("4.json"), &files[&grace_chaos::bundle::entry_name(4)]).unwrap();
    fs::write(place.join("3.tlog-proof"), &files[&grace_chaos::bundle::proof_name(3)]).unwrap();
    let mut texts = String::new();
    for (args, code) in [
        (&["verify", "bundle.tar.zst", "--key", "log.vkey"][..], 0),
        (&["verify", "bundle.tar.zst", "--key", "log.vkey", "--json"], 0),
        (&["verify", "bundle.tar.zst"], 0),
        (&["verify", "bundle.tar.zst", "--key", "other.vkey"], 1),
        (&["verify", "spoilt"], 1),
        (&["verify", "spoilt", "--json"], 1),
        (&["verify", "log.vkey"], 1),
        (&["verify", "nowhere"], 2),
        (&["verify", "bundle.tar.zst", "--key", "nowhere"], 2),
        (&["verify", "3.tlog-proof", "--entry", "3.json", "--key", "log.vkey"], 0),
        (&["verify", "3.tlog-proof", "--entry", "3.json", "--key", "log.vkey", "--json"], 0),
        (&["verify", "3.tlog-proof", "--entry", "log.vkey", "--key", "log.vkey"], 1),
        (&["verify", "3.tlog-proof", "--entry", "3.json", "--key", "other.vkey", "--json"], 1),
        (&["verify", "3.tlog-proof", "--entry", "3.json"], 2),
        (&["verify", "3.tlog-proof", "--key", "log.vkey"], 2),
        (&["verify", "bundle.tar.zst", "--entry", "3.json"], 2),
    ] {
        let Ran { code: got, stdout, stderr } = grace(place, args);
        assert_eq!(got, Some(code), "{args:?}\n{stdout}{stderr}");
        texts += &format!("$ grace {}\n{stdout}{stderr}[{code}]\n\n", args.join(" "));
    }
    golden::check("verify.txt", &texts);
}

#[test]
fn it_needs_no_home() {
    let mut command = command(&committed(), &["verify", "bundle.tar.zst", "--key", "log.vkey"]);
    let output = command.env_clear().output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}
