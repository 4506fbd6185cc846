//! Known keys and notes, damaged ones, and a witness to test with.

use grace_types::chance::SeededEntropy;
use proptest::prelude::*;

use super::*;

// The example in the documentation of Go's sumdb/note, from which the format comes.
const SECRET: &str = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
const PUBLIC: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const NOTE: &str = "If you think cryptography is the answer to your problem,\n\
    then you don't know what your problem is.\n\n\
    — PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

/// A witness, to test with.
pub(crate) struct Witness(SigningKey, pub(crate) VerifierKey);

impl Witness {
    pub(crate) fn new(name: &str) -> Self {
        let key = SigningKey::from_bytes(&[name.len() as u8; 32]);
        let verifier = VerifierKey::new(name, Algorithm::Cosignature, key.verifying_key()).unwrap();
        Self(key, verifier)
    }

    pub(crate) fn cosign(&self, time_seconds: u64, text: &str) -> Signature {
        let signature = self.0.sign(cosigned_message(time_seconds, text).as_bytes()).to_bytes();
        let bytes = [&time_seconds.to_be_bytes(), signature.as_slice()].concat();
        Signature { name: self.1.name.clone(), id: self.1.id, bytes }
    }
}

fn signer(name: &str) -> SignerKey {
    SignerKey::generate(name, &mut SeededEntropy::new(1)).unwrap()
}

#[test]
fn the_known_note_is_made_and_verified() {
    let signer = SignerKey::from_secret_text(SECRET).unwrap();
    assert_eq!((signer.to_secret_text().as_str(), signer.verifier().to_string().as_str()), (SECRET, PUBLIC));
    let key: VerifierKey = PUBLIC.parse().unwrap();
    let mut note = Note::parse(NOTE.as_bytes()).unwrap();
    assert_eq!(note.to_string(), NOTE);
    assert_eq!(note.verify(std::slice::from_ref(&key)), Ok(vec![Verified { key: 0, time_seconds: None }]));
    assert_eq!(note.signatures, [signer.sign(&note.text)]);
    assert!(!format!("{signer:?}").contains("AYEKFALV"), "no secret in {signer:?}");

    note.text.push_str("Or so.\n");
    assert_eq!(note.verify(&[key]), Err(NoteError::Invalid("PeterNeumann".into())));
}

#[test]
fn unknown_signatures_are_ignored_and_known_bad_ones_are_not() {
    let (log, other, witness) = (signer("log.example/a"), signer("log.example/b"), Witness::new("w.example"));
    let text = "log.example/a\n0\n";
    let note = Note {
        text: text.into(),
        signatures: vec![
            other.sign(text),
            Signature { name: "strange".into(), id: 7, bytes: vec![1] },
            witness.cosign(1_700_000_000, text),
            log.sign(text),
            log.sign(text),
        ],
    };
    let note = Note::parse(note.to_string().as_bytes()).unwrap();
    let keys = [log.verifier().clone(), witness.1.clone()];
    let cosigned = Verified { key: 1, time_seconds: Some(1_700_000_000) };
    assert_eq!(note.verify(&keys), Ok(vec![cosigned, Verified { key: 0, time_seconds: None }]));
    assert_eq!(note.verify(&[signer("log.example/c").verifier().clone()]), Err(NoteError::Unsigned));
    // The same name with another id, and the same id with another name, are other keys.
    let namesake = SignerKey::from_seed("log.example/a", &[9; 32]).unwrap();
    assert_eq!(note.verify(&[namesake.verifier().clone()]), Err(NoteError::Unsigned));

    let mut forged = note.clone();
    forged.signatures[2].bytes[7] ^= 1;
    assert_eq!(forged.verify(&keys), Err(NoteError::Invalid("w.example".into())), "another time");
    let mut forged = note;
    forged.signatures[2] = witness.cosign(1 << 63, text);
    assert_eq!(forged.verify(&keys), Err(NoteError::Invalid("w.example".into())), "a time past the bound");
}

#[test]
fn damaged_keys_are_refused() {
    let damaged = PUBLIC.replace("c74f20a3", "c74f20a4");
    for (text, error) in [
        (damaged.as_str(), KeyError::Id),
        ("PeterNeumann+c74f20a3+AxpcMQ==", KeyError::Unsupported),
        ("PeterNeumann+c74f20a3+ARpcMQ==", KeyError::Malformed),
        ("Peter Neumann+c74f20a3+ARpcMQ==", KeyError::Name),
        ("PeterNeumann++74f20a3+ARpcMQ==", KeyError::Malformed),
        ("PeterNeumann", KeyError::Malformed),
        ("", KeyError::Malformed),
        (SECRET, KeyError::Malformed),
    ] {
        assert_eq!(text.parse::<VerifierKey>(), Err(error), "{text}");
    }
    for text in [PUBLIC, &SECRET.replace("Neumann", "Newman"), &SECRET[..SECRET.len() - 1]] {
        assert!(SignerKey::from_secret_text(text).is_err(), "{text}");
    }
    assert_eq!(SignerKey::generate("a+b", &mut SeededEntropy::new(1)).err(), Some(KeyError::Name));
}

#[test]
fn every_flipped_bit_of_a_note_is_refused() {
    let key: VerifierKey = PUBLIC.parse().unwrap();
    let signatures = NOTE.len() - NOTE.lines().last().unwrap().len();
    for bit in 0..NOTE.len() * 8 {
        // Of the text every byte, in turn each of its bits; of the signature each bit.
        if bit / 8 < signatures && bit % 8 != (bit / 8) % 8 {
            continue;
        }
        let mut bytes = NOTE.as_bytes().to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let opened = Note::parse(&bytes).and_then(|note| note.verify(std::slice::from_ref(&key)));
        assert!(opened.is_err(), "bit {bit}");
    }
}

#[test]
fn bounds_hold() {
    let line = NOTE.lines().last().unwrap();
    let many = |count: usize| format!("text\n\n{}", format!("{line}\n").repeat(count));
    assert!(Note::parse(many(NOTE_SIGNATURES).as_bytes()).is_ok());
    assert!(Note::parse(many(NOTE_SIGNATURES + 1).as_bytes()).is_err());
    assert_eq!(Note::parse(&[b'a'; NOTE_BYTES + 1]), Err(NoteError::TooLong));
    for wrong in [
        "",
        "\n",
        "\n\n",
        "a\n\n",
        "a\n\n\n",
        "a\n\nb\n",
        "a\n\n— b AAAA\n",
        "a\n\n— b AAAAAA==",
        "a\r\n\n— b AAAAAA==\n",
    ] {
        assert!(Note::parse(wrong.as_bytes()).is_err(), "{wrong:?}");
    }
}

proptest! {
    #[test]
    fn no_bytes_are_too_strange(bytes: Vec<u8>, text in "(.|\n|— |PRIVATE\\+KEY\\+|\\+)*") {
        for bytes in [bytes.as_slice(), text.as_bytes()] {
            if let Ok(note) = Note::parse(bytes) {
                prop_assert_eq!(note.to_string().into_bytes(), bytes);
            }
        }
        let _ = text.parse::<VerifierKey>();
        let _ = SignerKey::from_secret_text(&text);
    }
}
