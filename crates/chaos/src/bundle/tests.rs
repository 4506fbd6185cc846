//! Every way to spoil a bundle, and what the check calls it.

use std::fs;

use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::{
    pack::{TRAILER, TRAILER_BYTES, header},
    *,
};
use crate::{evidence::tests::Data, record::Judgement};

/// A sealed bundle and its log.
fn sealed() -> (Data, Vec<u8>) {
    let data = Data::new();
    let bytes = fs::read(data.sealed(3)).unwrap();
    (data, bytes)
}

#[test]
fn the_same_files_give_the_same_bytes_and_come_back() {
    let files: Files = [("a/b.json", "x"), ("a.txt", ""), ("c", "1234")]
        .map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec()))
        .into();
    let packed = pack(&files).unwrap();
    assert_eq!(pack(&files).unwrap(), packed);
    assert_eq!(unpack(&packed).unwrap(), files);
    for name in ["", "/a", "../a", "a/../b", "a//b", "a/", ".a", "a b", "ä", "a\\b", &"a".repeat(101)] {
        assert!(!is_sound(name) && pack(&Files::from([(name.to_owned(), vec![])])).is_err(), "{name}");
    }
}

#[test]
fn a_changed_byte_is_found_wherever_it_is() {
    let (_, bytes) = sealed();
    for at in 0..bytes.len() {
        let mut spoilt = bytes.clone();
        spoilt[at] ^= 1 << (at % 8);
        assert!(matches!(unpack(&spoilt), Err(UnpackError::Altered | UnpackError::NoTrailer)), "byte {at}");
    }
    for length in (0..bytes.len()).step_by(97).chain([bytes.len() - 1]) {
        assert!(unpack(&bytes[..length]).is_err(), "{length} bytes");
    }
    assert!(unpack(&[bytes.as_slice(), b"x"].concat()).is_err());
}

/// What is wrong once `change` was made, and the bundle packed anew by somebody who knows how.
fn spoilt(data: &Data, bytes: &[u8], change: impl FnOnce(&mut Files)) -> Vec<String> {
    let mut files = unpack(bytes).unwrap();
    change(&mut files);
    verify(&unpack(&pack(&files).unwrap()).unwrap(), Some(data.key())).errors
}

fn flip(files: &mut Files, name: &str) {
    let bytes = files.get_mut(name).unwrap();
    if bytes.is_empty() {
        return bytes.push(1);
    }
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
}

#[test]
fn a_changed_file_is_named_even_if_all_is_packed_anew() {
    let (data, bytes) = sealed();
    let names: Vec<String> = unpack(&bytes).unwrap().into_keys().collect();
    assert!(names.len() > 18, "{names:?}");
    for name in &names {
        let errors = spoilt(&data, &bytes, |files| flip(files, name));
        // Of `digests.json`, the first that is not what it says may be a file; of an entry, its proof.
        let named = |error: &String| {
            error.starts_with(name.as_str()) || [DIGESTS, SEAL, JUDGED].contains(&name.as_str())
        };
        assert!(errors.iter().any(named), "{name}: {errors:?}");
        let errors = spoilt(&data, &bytes, |files| drop(files.remove(name)));
        assert!(errors.iter().any(|error| error.contains("missing")), "{name}: {errors:?}");
    }
}

#[test]
fn one_who_writes_the_digests_anew_is_found_by_the_seal() {
    let (data, bytes) = sealed();
    let errors = spoilt(&data, &bytes, |files| {
        let text = String::from_utf8(files[INCIDENT].clone()).unwrap();
        files.insert(INCIDENT.into(), text.replace("\"passed\": true", "\"passed\": false").into_bytes());
        let digests = digests::Digests::of(crate::evidence::tests::RUN, files);
        files.insert(DIGESTS.into(), serde_json::to_vec_pretty(&digests).unwrap());
    });
    assert!(
        matches!(&errors[..], [only] if only.starts_with("seal.json: it holds another digest")),
        "{errors:?}"
    );
    // What has no digest has its own proof, or no place.
    let more = spoilt(&data, &bytes, |files| drop(files.insert(UNSEALED.into(), b"why".to_vec())));
    assert_eq!(more, ["unsealed.txt: the bundle has a seal, so this file has no place in it"]);

    let added = spoilt(&data, &bytes, |files| drop(files.insert("dumps/9.json".into(), vec![])));
    assert_eq!(added, ["dumps/9.json: the file is not in digests.json: it was added"]);
    let strange = spoilt(&data, &bytes, |files| drop(files.insert("run.sh".into(), vec![])));
    assert!(strange.contains(&"run.sh: this file is no part of a bundle".to_owned()), "{strange:?}");
}

#[test]
fn a_seal_of_something_else_is_no_seal() {
    let (data, bytes) = sealed();
    // Another entry of the log, with a proof that holds.
    let errors = spoilt(&data, &bytes, |files| {
        files.insert(SEAL.into(), files[&entry_name(3)].clone());
        files.insert(SEAL_PROOF.into(), files[&proof_name(3)].clone());
    });
    assert_eq!(errors, ["seal.json: it seals nothing"]);
    let errors =
        spoilt(&data, &bytes, |files| drop(files.insert(SEAL_PROOF.into(), files[&proof_name(3)].clone())));
    assert!(errors[0].starts_with("seal.tlog-proof: "), "{errors:?}");
}

#[test]
fn a_record_that_contradicts_the_judgement_in_the_log_is_found_though_it_was_sealed() {
    let passed = crate::evidence::tests::record().judgement;
    let mut reasons = passed.reasons.clone();
    reasons[0].text = "something else".into();
    for (judged, told) in [
        (
            Judgement { passed: false, ..passed.clone() },
            "the run passed, which is not what the log holds: failed",
        ),
        (Judgement { reasons, ..passed }, "its reasons are not those that the log holds"),
    ] {
        let data = Data::new();
        let bytes = fs::read(data.sealed_with(2, &judged)).unwrap();
        let errors = verify(&unpack(&bytes).unwrap(), Some(data.key())).errors;
        assert!(
            matches!(&errors[..], [only] if only.starts_with("incident.json: ") && only.contains(told)),
            "{errors:?}"
        );
    }
    // Another run's judgement, and an entry that is none.
    let (data, bytes) = sealed();
    for (index, told) in [(6, "judged.json: it judges another run"), (3, "judged.json: it judges nothing")] {
        let folder = crate::log_folder::LogFolder::of(data.folder.path());
        let entry = grace_log::files::read_entry(&folder, 10, index).unwrap();
        let errors = spoilt(&data, &bytes, |files| drop(files.insert(JUDGED.into(), entry)));
        assert_eq!(errors, [told]);
    }
}

#[test]
fn what_another_program_would_unpack_is_what_was_checked() {
    let archive = |mode: u32, after: &[u8]| {
        let mut header = header("a", 1).unwrap();
        header.set_mode(mode);
        header.set_cksum();
        let mut archive = tar::Builder::new(Vec::new());
        archive.append(&header, &b"x"[..]).unwrap();
        packed(&[&archive.into_inner().unwrap(), after].concat())
    };
    assert_eq!(unpack(&archive(0o644, &[0; 1024])).unwrap().len(), 1);
    assert!(matches!(unpack(&archive(0o4755, &[])), Err(UnpackError::Form(_))), "rights");
    let hidden = header("b", 0).unwrap();
    assert!(
        matches!(unpack(&archive(0o644, hidden.as_bytes())), Err(UnpackError::Form(_))),
        "a second archive"
    );
}

#[test]
fn entries_that_were_swapped_or_left_out_are_named() {
    let (data, bytes) = sealed();
    let errors = spoilt(&data, &bytes, |files| {
        let (a, b) = (files[&proof_name(3)].clone(), files[&proof_name(5)].clone());
        files.extend([(proof_name(3), b), (proof_name(5), a)]);
    });
    assert!(errors.iter().any(|error| error.ends_with("it proves entry 5")), "{errors:?}");
    let errors = spoilt(&data, &bytes, |files| {
        files.insert(LEFT_OUT.into(), serde_json::to_vec(&LeftOut { from: 0, to: u64::MAX }).unwrap());
    });
    assert!(
        errors.contains(&"log/left_out.json: no such entries are between the checkpoints".to_owned()),
        "{errors:?}"
    );
}

/// An archive with the digest at its end, made by hand.
fn packed(archive: &[u8]) -> Vec<u8> {
    let mut bytes = zstd::encode_all(archive, 3).unwrap();
    bytes.extend_from_slice(&TRAILER);
    let digest = Sha256::digest(&bytes);
    bytes.extend_from_slice(&digest);
    bytes
}

fn archive(entries: &[(&str, tar::EntryType, u64)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, kind, size) in entries {
        let mut header = tar::Header::new_ustar();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(*kind);
        header.set_size(*size);
        header.set_mode(0o644);
        header.set_cksum();
        bytes.extend_from_slice(header.as_bytes());
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

#[test]
fn archives_that_mean_harm_are_refused() {
    use tar::EntryType::{Directory, GNULongName, Regular, Symlink, XHeader};
    for name in ["../evil", "/etc/passwd", "a/../../b", ".hidden", "a b"] {
        let made = packed(&archive(&[(name, Regular, 0)]));
        assert!(matches!(unpack(&made), Err(UnpackError::Name(_))), "{name}");
    }
    for kind in [Directory, Symlink, GNULongName, XHeader] {
        let made = packed(&archive(&[("a", kind, 0)]));
        assert!(matches!(unpack(&made), Err(UnpackError::Form(_))), "{kind:?}");
    }
    for names in [["b", "a"], ["a", "a"]] {
        let made = packed(&archive(&names.map(|name| (name, Regular, 0))));
        assert!(matches!(unpack(&made), Err(UnpackError::Form(_))), "{names:?}");
    }
    for size in [1, 1 << 20] {
        assert!(unpack(&packed(&archive(&[("a", Regular, size)])[..512])).is_err(), "cut short at {size}");
    }
    let huge = packed(&archive(&[("a", Regular, limits::FILES_BYTES as u64 + 1)]));
    assert!(matches!(unpack(&huge), Err(UnpackError::TooMuch)));
    for rubbish in [&b""[..], b"x", &[0; TRAILER_BYTES], &packed(b"rubbish")[..], &packed(&[7; 4096])[..]] {
        assert!(unpack(rubbish).map_or(true, |files| files.is_empty()), "{} bytes", rubbish.len());
    }
}

#[test]
fn a_small_file_that_unpacks_to_more_than_the_bounds_is_refused() {
    // Many files of many zeros: some kilobytes that stand for more than is taken.
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    let zeros = vec![0; 64 << 20];
    for name in ["a", "b", "c", "d", "e", "f", "g"] {
        use std::io::Write as _;
        let header = header(name, zeros.len() as u64).unwrap();
        encoder.write_all(header.as_bytes()).unwrap();
        encoder.write_all(&zeros).unwrap();
    }
    let mut bytes = encoder.finish().unwrap();
    bytes.extend_from_slice(&TRAILER);
    let digest = Sha256::digest(&bytes);
    bytes.extend_from_slice(&digest);
    assert!(bytes.len() < 1 << 20);
    assert!(matches!(unpack(&bytes), Err(UnpackError::TooMuch)));
}

#[test]
fn an_incident_of_another_form_is_named() {
    let (data, bytes) = sealed();
    for wrong in [json!({}), json!([]), json!({"format": 1, "run": 5})] {
        let errors = spoilt(&data, &bytes, |files| {
            drop(files.insert(INCIDENT.into(), wrong.to_string().into_bytes()));
        });
        assert!(
            errors.iter().any(|error| error.contains("not of the form that an incident has")),
            "{errors:?}"
        );
    }
}

#[test]
fn a_bundle_of_an_earlier_version_is_still_accepted() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bundle/golden");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let (data, bytes) = sealed();
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("bundle.tar.zst"), bytes).unwrap();
        fs::write(path.join("log.vkey"), format!("{}\n", data.key())).unwrap();
    }
    let key = fs::read_to_string(path.join("log.vkey")).unwrap().trim().parse().unwrap();
    let verdict = verify(&unpack(&fs::read(path.join("bundle.tar.zst")).unwrap()).unwrap(), Some(&key));
    assert_eq!((verdict.errors, verdict.entries), (vec![], 3));
}
