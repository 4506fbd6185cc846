//! C2SP tlog-proof: an inclusion proof and its signed checkpoint in one text file (`.tlog-proof`), to be verified by whoever has
//! the entry and the log's key, with no log at hand.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{
    checkpoint::{CheckpointError, Opened, Trust, decimal},
    files::{Files, ReadError},
    hash::{Hash, leaf_hash},
    limits::{PROOF_EXTRA_BYTES, PROOF_FILE_BYTES, PROOF_HASHES},
    note::{Note, NoteError},
    proof::{ProofError, prove_inclusion, verify_inclusion},
};

const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// A proof that some entry is in a log. Shown as the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProofFile {
    /// Opaque bytes beside the proof; nothing vouches for them. Grace writes none.
    pub extra: Option<Vec<u8>>,
    /// The entry's place in the log.
    pub index: u64,
    /// The audit path.
    pub path: Vec<Hash>,
    /// The signed checkpoint.
    pub checkpoint: Note,
}

/// Why a text is not a proof file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofFileError {
    /// Longer than any proof needs to be.
    #[error("the proof is longer than {PROOF_FILE_BYTES} bytes")]
    TooLong,
    /// A line is not what stands there in this format.
    #[error("line {line} is not {expected}")]
    Malformed {
        /// From 1.
        line: usize,
        /// What should stand there.
        expected: &'static str,
    },
    /// The note at its end.
    #[error("the checkpoint in the proof: {0}")]
    Note(#[from] NoteError),
}

/// Why a proof file proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofFileVerifyError {
    /// Its checkpoint cannot be trusted.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The entry is not where the proof says.
    #[error(transparent)]
    Proof(#[from] ProofError),
}

impl ProofFile {
    /// The proof of entry `index` of a log, from its tiles and the signed `checkpoint` over `size` entries.
    ///
    /// # Errors
    ///
    /// A tile cannot be read, or the log has no such entry.
    pub fn make(files: &impl Files, index: u64, size: u64, checkpoint: Note) -> Result<Self, ReadError> {
        Ok(Self { extra: None, index, path: prove_inclusion(files, index, size)?, checkpoint })
    }

    /// Reads a file. Nothing is verified yet.
    ///
    /// # Errors
    ///
    /// It is too long or malformed.
    pub fn parse(bytes: &[u8]) -> Result<Self, ProofFileError> {
        if bytes.len() > PROOF_FILE_BYTES {
            return Err(ProofFileError::TooLong);
        }
        let malformed = |line, expected| ProofFileError::Malformed { line, expected };
        let mut rest = std::str::from_utf8(bytes).map_err(|_| malformed(1, "UTF-8"))?;
        let mut number = 0;
        let mut line = || {
            number += 1;
            let (line, after) =
                rest.split_once('\n').ok_or(malformed(number, "there: the file is cut short"))?;
            rest = after;
            Ok::<_, ProofFileError>((number, line))
        };

        let (_, header) = line()?;
        if header != HEADER {
            return Err(malformed(1, "`c2sp.org/tlog-proof@v1`"));
        }
        let (mut at, mut text) = line()?;
        let mut extra = None;
        if let Some(base64) = text.strip_prefix("extra ") {
            let decoded = STANDARD.decode(base64).ok().filter(|bytes| bytes.len() <= PROOF_EXTRA_BYTES);
            extra = Some(decoded.ok_or(malformed(at, "`extra` and base64 within the bound"))?);
            (at, text) = line()?;
        }
        let index = text.strip_prefix("index ").and_then(decimal);
        let index = index.ok_or(malformed(at, "`index` and a decimal number"))?;
        let mut path = Vec::new();
        loop {
            let (at, text) = line()?;
            if text.is_empty() {
                break;
            }
            if path.len() == PROOF_HASHES {
                return Err(malformed(at, "the end of the proof, which has too many hashes"));
            }
            path.push(Hash::from_base64(text).ok_or(malformed(at, "a hash in base64"))?);
        }
        Ok(Self { extra, index, path, checkpoint: Note::parse(rest.as_bytes())? })
    }

    /// Checks that `entry` is in the log that `trust` describes, at [`ProofFile::index`]. Needs no log and no network.
    ///
    /// # Errors
    ///
    /// The checkpoint is not to be trusted, or the proof does not lead from the entry to its root.
    pub fn verify(&self, entry: &[u8], trust: &Trust) -> Result<Opened, ProofFileVerifyError> {
        let opened = trust.open(self.checkpoint.to_string().as_bytes())?;
        let Opened { checkpoint, .. } = &opened;
        verify_inclusion(leaf_hash(entry), self.index, checkpoint.size, checkpoint.root, &self.path)?;
        Ok(opened)
    }
}

impl fmt::Display for ProofFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}")?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", STANDARD.encode(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        self.path.iter().try_for_each(|hash| writeln!(f, "{hash}"))?;
        write!(f, "\n{}", self.checkpoint)
    }
}
