//! C2SP tlog-checkpoint: what a log commits to, as the text of a signed note.
//!
//! [`Checkpoint`] is the text; [`Trust`] says whose word counts and opens a note; [`Checkpoint::relation_to`] tells an older
//! checkpoint and a fork.

use std::fmt;

use crate::{
    hash::Hash,
    limits::{NAME_BYTES, TREE_SIZE},
    note::{Algorithm, Note, NoteError, SignerKey, VerifierKey},
};

/// A log's origin, size and root. Shown as the text that is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Names the log: a schema-less URL.
    pub origin: String,
    /// Entries.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
    /// Lines that mean nothing here. Grace writes none.
    pub extensions: Vec<String>,
}

/// Why a checkpoint is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The note around it.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The text is not a checkpoint's.
    #[error("not a checkpoint: {0}")]
    Malformed(&'static str),
    /// The checkpoint of another log.
    #[error("the checkpoint is of the log {} and not of {}", crate::tile::shown(.found), crate::tile::shown(.expected))]
    Origin {
        /// What it says.
        found: String,
        /// What was asked for.
        expected: String,
    },
    /// Witnesses signed it, but the log did not.
    #[error("the log's own key has not signed the checkpoint")]
    NotByLog,
    /// Fewer known witnesses than asked for.
    #[error("{found} of the known witnesses have cosigned the checkpoint; {needed} are needed")]
    Witnesses {
        /// Cosignatures by known witnesses.
        found: usize,
        /// How many must be there.
        needed: usize,
    },
    /// Nobody to sign with.
    #[error("a checkpoint needs at least one signer")]
    NoSigner,
}

/// How a checkpoint stands to another one of the same log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// Size and root are the same.
    Same,
    /// It has more entries: a consistency proof must show that nothing older was changed.
    Ahead,
    /// It has fewer entries: shown as the newest, it is a rollback.
    Behind,
    /// As many entries and another root: the log told two stories.
    Fork,
}

impl Checkpoint {
    /// A checkpoint without extension lines.
    ///
    /// # Errors
    ///
    /// The origin is empty, too long or has control characters, or the size is past the bound.
    pub fn new(origin: &str, size: u64, root: Hash) -> Result<Self, CheckpointError> {
        if !(1..=NAME_BYTES).contains(&origin.len()) || origin.contains(char::is_control) {
            return Err(CheckpointError::Malformed(
                "the origin is empty, too long or has control characters",
            ));
        }
        if size > TREE_SIZE {
            return Err(CheckpointError::Malformed("the size is past what a log can have"));
        }
        Ok(Self { origin: origin.to_owned(), size, root, extensions: Vec::new() })
    }

    /// Reads the text of a note.
    ///
    /// # Errors
    ///
    /// It is not a checkpoint.
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let malformed = CheckpointError::Malformed;
        let text = text.strip_suffix('\n').ok_or(malformed("it does not end in a newline"))?;
        let mut lines = text.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(malformed("it has fewer than three lines"));
        };
        let size = decimal(size).ok_or(malformed("the second line is not a size"))?;
        let root = Hash::from_base64(root).ok_or(malformed("the third line is not a root hash"))?;
        let extensions: Vec<String> = lines.map(str::to_owned).collect();
        if extensions.iter().any(String::is_empty) {
            return Err(malformed("it has an empty line"));
        }
        Ok(Self { extensions, ..Self::new(origin, size, root)? })
    }

    /// The checkpoint as a note signed by each of `signers`.
    ///
    /// # Errors
    ///
    /// There is no signer.
    pub fn sign(&self, signers: &[&SignerKey]) -> Result<String, CheckpointError> {
        if signers.is_empty() {
            return Err(CheckpointError::NoSigner);
        }
        let text = self.to_string();
        let signatures = signers.iter().map(|signer| signer.sign(&text)).collect();
        Ok(Note { text, signatures }.to_string())
    }

    /// How this checkpoint stands to `other`, one of the same log that is known to be true.
    #[must_use]
    pub fn relation_to(&self, other: &Self) -> Relation {
        if self.size > other.size {
            Relation::Ahead
        } else if self.size < other.size {
            Relation::Behind
        } else if self.root == other.root {
            Relation::Same
        } else {
            Relation::Fork
        }
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.size, self.root)?;
        self.extensions.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// A decimal number without superfluous zeros or signs.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    text.parse::<u64>().ok().filter(|number| number.to_string() == text)
}

/// Whose word counts: the log's, and that of as many witnesses as asked for.
#[derive(Debug, Clone)]
pub struct Trust {
    /// The origin that the checkpoint must have.
    pub origin: String,
    /// The log's key; it must have signed.
    pub log: VerifierKey,
    /// Witnesses that are known.
    pub witnesses: Vec<VerifierKey>,
    /// How many of them must have cosigned.
    pub quorum: usize,
}

/// A checkpoint whose signatures were checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// What it says.
    pub checkpoint: Checkpoint,
    /// The known witnesses that have cosigned.
    pub cosigned: Vec<Cosigned>,
}

/// A witness's word: at this time it had seen no larger tree of the log, and the log had only grown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cosigned {
    /// The witness.
    pub witness: String,
    /// When, in seconds since 1970.
    pub time_seconds: u64,
}

impl Trust {
    /// Trusts the log's key alone, for a log whose origin is its key's name.
    #[must_use]
    pub fn in_log(log: VerifierKey) -> Self {
        Self { origin: log.name().to_owned(), log, witnesses: Vec::new(), quorum: 0 }
    }

    /// Opens a signed checkpoint.
    ///
    /// # Errors
    ///
    /// It is malformed, of another log, altered, not signed by the log, or cosigned by too few witnesses.
    pub fn open(&self, note: &[u8]) -> Result<Opened, CheckpointError> {
        let note = Note::parse(note)?;
        let mut keys = vec![self.log.clone()];
        keys.extend(self.witnesses.iter().filter(|key| key.algorithm() == Algorithm::Cosignature).cloned());
        let verified = note.verify(&keys)?;
        if verified.iter().all(|signature| signature.key != 0) {
            return Err(CheckpointError::NotByLog);
        }
        let checkpoint = Checkpoint::parse(&note.text)?;
        if checkpoint.origin != self.origin {
            return Err(CheckpointError::Origin { found: checkpoint.origin, expected: self.origin.clone() });
        }
        let cosigned: Vec<Cosigned> = verified
            .iter()
            .filter(|signature| signature.key != 0)
            .filter_map(|signature| {
                let witness = keys.get(signature.key)?.name().to_owned();
                Some(Cosigned { witness, time_seconds: signature.time_seconds? })
            })
            .collect();
        if cosigned.len() < self.quorum {
            return Err(CheckpointError::Witnesses { found: cosigned.len(), needed: self.quorum });
        }
        Ok(Opened { checkpoint, cosigned })
    }
}

#[cfg(test)]
mod tests {
    use grace_types::chance::SeededEntropy;
    use proptest::prelude::*;

    use super::*;
    use crate::note::tests::Witness;

    const EXAMPLE: &str =
        "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

    fn log() -> SignerKey {
        SignerKey::generate("example.com/behind-the-sofa", &mut SeededEntropy::new(3)).unwrap()
    }

    #[test]
    fn the_specifications_example_is_read_and_written() {
        let checkpoint = Checkpoint::parse(EXAMPLE).unwrap();
        assert_eq!(
            (checkpoint.origin.as_str(), checkpoint.size),
            ("example.com/behind-the-sofa", 20_852_163)
        );
        assert_eq!(checkpoint.to_string(), EXAMPLE);
        let extended = format!("{EXAMPLE}one\ntwo three\n");
        let checkpoint = Checkpoint::parse(&extended).unwrap();
        assert_eq!(checkpoint.extensions, ["one", "two three"]);
        assert_eq!(checkpoint.to_string(), extended);
    }

    #[test]
    fn malformed_ones_are_refused() {
        let long = "a".repeat(NAME_BYTES + 1);
        for (from, to) in [
            ("example.com/behind-the-sofa", ""),
            ("example.com/behind-the-sofa", long.as_str()),
            ("20852163", "020852163"),
            ("20852163", "+20852163"),
            ("20852163", "-1"),
            ("20852163", ""),
            ("20852163", "4611686018427387905"),
            ("20852163", "18446744073709551616"),
            ("CsUY", "CsU"),
            ("q2I=\n", "q2I="),
            ("q2I=\n", "q2I=\n\n"),
            ("q2I=\n", "q2I=\n\nx\n"),
            ("20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n", "20852163\n"),
        ] {
            let text = EXAMPLE.replace(from, to);
            assert!(Checkpoint::parse(&text).is_err(), "{text:?}");
        }
        assert_eq!(Checkpoint::parse(EXAMPLE).unwrap().sign(&[]), Err(CheckpointError::NoSigner));
    }

    #[test]
    fn trust_asks_for_log_origin_and_quorum() {
        let (log, first, second) = (log(), Witness::new("w.example/1"), Witness::new("second.example"));
        let checkpoint = Checkpoint::parse(EXAMPLE).unwrap();
        let signed = checkpoint.sign(&[&log]).unwrap();
        let mut trust = Trust::in_log(log.verifier().clone());
        assert_eq!(trust.open(signed.as_bytes()).unwrap().checkpoint, checkpoint);

        trust.witnesses = vec![first.1.clone(), second.1.clone()];
        trust.quorum = 1;
        assert_eq!(trust.open(signed.as_bytes()), Err(CheckpointError::Witnesses { found: 0, needed: 1 }));
        let cosigned = format!("{signed}{}\n", second.cosign(1_679_315_147, EXAMPLE));
        let expected = [Cosigned { witness: "second.example".into(), time_seconds: 1_679_315_147 }];
        assert_eq!(trust.open(cosigned.as_bytes()).unwrap().cosigned, expected);
        trust.quorum = 2;
        assert!(matches!(trust.open(cosigned.as_bytes()), Err(CheckpointError::Witnesses { found: 1, .. })));

        let by_witness_alone = format!("{EXAMPLE}\n{}\n", first.cosign(1, EXAMPLE));
        assert_eq!(trust.open(by_witness_alone.as_bytes()), Err(CheckpointError::NotByLog));
        trust.origin = "example.com/else".into();
        assert!(matches!(trust.open(signed.as_bytes()), Err(CheckpointError::Origin { .. })));
    }

    #[test]
    fn relations() {
        let at = |size, root| Checkpoint::new("o", size, Hash([root; 32])).unwrap();
        let known = at(5, 1);
        assert_eq!(at(5, 1).relation_to(&known), Relation::Same);
        assert_eq!(at(6, 1).relation_to(&known), Relation::Ahead);
        assert_eq!(at(4, 1).relation_to(&known), Relation::Behind);
        assert_eq!(at(5, 2).relation_to(&known), Relation::Fork);
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in "(.|\n)*", size: u64, extension in "(\n.{0,9}){0,3}") {
            let likely = format!("o\n{size}\n{}{extension}\n", Hash::EMPTY);
            for text in [text, likely] {
                if let Ok(checkpoint) = Checkpoint::parse(&text) {
                    prop_assert_eq!(checkpoint.to_string(), text);
                }
            }
        }
    }
}
