//! C2SP tlog-witness: asking a witness to cosign a checkpoint (`add-checkpoint`), without the HTTP around it.
//!
//! ```text
//! stored size ─► AddCheckpoint::make ─► body ─► POST ─► status, body ─► read_reply ─► the checkpoint with the cosignature
//!                        ▲                                                  └► Conflict: it has seen another size
//!                        └───────────────────── once more, from that size ◄────────────┘
//! ```
//!
//! A witness signs only what extends the last tree that it signed, so a checkpoint that it cosigned cannot be taken back:
//! kept as a known checkpoint, it lets [`crate::verify`] find a rollback, a fork or a rewritten past.

use std::fmt;

use crate::{
    checkpoint::{Checkpoint, CheckpointError, Cosigned, decimal},
    files::{Files, ReadError},
    hash::Hash,
    limits::{NOTE_BYTES, NOTE_SIGNATURES, WITNESS_PROOF_HASHES},
    note::{Note, NoteError, Signature, VerifierKey},
    proof::prove_consistency,
};

/// What a witness is asked. Shown as the body of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// Entries in the last checkpoint that this witness cosigned; 0 for none.
    pub old: u64,
    /// That the new tree begins with the old one. Empty if `old` is 0 or the new size.
    pub proof: Vec<Hash>,
    /// The new checkpoint, signed by the log.
    pub checkpoint: Note,
}

/// Why a body is no request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// A line is not what stands there in this format.
    #[error("line {line} is not {expected}")]
    Malformed {
        /// From 1.
        line: usize,
        /// What should stand there.
        expected: &'static str,
    },
    /// The checkpoint at its end.
    #[error(transparent)]
    Note(#[from] NoteError),
}

impl AddCheckpoint {
    /// The request to cosign `checkpoint`, over `size` entries, by a witness that has seen the first `old` of them.
    ///
    /// # Errors
    ///
    /// A tile cannot be read, or `old` is larger than `size`.
    pub fn make(files: &impl Files, old: u64, size: u64, checkpoint: Note) -> Result<Self, ReadError> {
        Ok(Self { old, proof: prove_consistency(files, old, size)?, checkpoint })
    }

    /// Reads a body, as a witness does. Nothing is verified yet.
    ///
    /// # Errors
    ///
    /// It is malformed.
    pub fn parse(body: &[u8]) -> Result<Self, RequestError> {
        let malformed = |line, expected| RequestError::Malformed { line, expected };
        let mut rest = std::str::from_utf8(body).map_err(|_| malformed(1, "UTF-8"))?;
        let mut number = 0;
        let mut line = || {
            number += 1;
            let (line, after) =
                rest.split_once('\n').ok_or(malformed(number, "there: the body is cut short"))?;
            rest = after;
            Ok::<_, RequestError>((number, line))
        };
        let (_, first) = line()?;
        let old = first.strip_prefix("old ").and_then(decimal);
        let old = old.ok_or(malformed(1, "`old` and a decimal number"))?;
        let mut proof = Vec::new();
        loop {
            let (at, text) = line()?;
            if text.is_empty() {
                break;
            }
            if proof.len() == WITNESS_PROOF_HASHES {
                return Err(malformed(at, "the end of the proof, which has too many hashes"));
            }
            proof.push(Hash::from_base64(text).ok_or(malformed(at, "a hash in base64"))?);
        }
        Ok(Self { old, proof, checkpoint: Note::parse(rest.as_bytes())? })
    }
}

impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old)?;
        self.proof.iter().try_for_each(|hash| writeln!(f, "{hash}"))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

/// What a witness answered that can be gone on with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// It cosigned.
    Cosigned {
        /// The checkpoint with its cosignature added.
        checkpoint: Note,
        /// Who, and when.
        by: Cosigned,
    },
    /// It has cosigned a tree of another size than the request said: ask again from there.
    Conflict {
        /// Entries in the last tree that it cosigned.
        size: u64,
    },
}

/// Why there is no cosignature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// 404.
    #[error("the witness does not know this log: give its operator the log's origin and verifier key")]
    UnknownLog,
    /// 403.
    #[error("the witness trusts none of the keys that signed the checkpoint")]
    NotTrusted,
    /// 409 (version 1.0 of the protocol) or 422 (1.1) for a request from the very size that the witness has.
    #[error("the witness has cosigned another tree of {size} entries: this log, or a copy of it, forked")]
    Fork {
        /// Entries in both trees.
        size: u64,
    },
    /// 409 with a size past the log's.
    #[error("the witness has cosigned {witnessed} entries and this log has {size}: the log was rolled back")]
    RolledBack {
        /// Entries here.
        size: u64,
        /// Entries that it has seen.
        witnessed: u64,
    },
    /// 422 for a request from an earlier size.
    #[error(
        "the witness finds that this log is not an extension of what it cosigned: the past was rewritten"
    )]
    Rewritten,
    /// Another status.
    #[error("the witness answered with HTTP status {0}")]
    Status(u16),
    /// The answer is not of the form that belongs to its status.
    #[error("the witness's answer is not of the form that the protocol asks for: {0}")]
    Malformed(&'static str),
    /// No cosignature by the witness's key, or a wrong one.
    #[error("no cosignature in the answer: {0}")]
    Cosignature(NoteError),
    /// What was asked for is no checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

/// Reads the answer to `request`: its HTTP status and body. Cosignatures of other keys than `witness` are ignored.
///
/// # Errors
///
/// There is no cosignature, and asking again would not bring one.
pub fn read_reply(
    request: &AddCheckpoint,
    status: u16,
    body: &[u8],
    witness: &VerifierKey,
) -> Result<Reply, ReplyError> {
    match status {
        200 => cosigned(request, body, witness),
        403 => Err(ReplyError::NotTrusted),
        404 => Err(ReplyError::UnknownLog),
        409 => conflict(request, body),
        422 => match Checkpoint::parse(&request.checkpoint.text)?.size {
            size if size == request.old => Err(ReplyError::Fork { size }),
            _ => Err(ReplyError::Rewritten),
        },
        other => Err(ReplyError::Status(other)),
    }
}

fn conflict(request: &AddCheckpoint, body: &[u8]) -> Result<Reply, ReplyError> {
    let ours = Checkpoint::parse(&request.checkpoint.text)?.size;
    let stated = std::str::from_utf8(body).ok().and_then(|text| decimal(text.strip_suffix('\n')?));
    match stated {
        Some(size) if size > ours => Err(ReplyError::RolledBack { size: ours, witnessed: size }),
        Some(size) if size != request.old => Ok(Reply::Conflict { size }),
        // The specification asks for a size in the body only where the sizes differ.
        _ if request.old == ours => Err(ReplyError::Fork { size: ours }),
        _ => Err(ReplyError::Malformed("a conflict without another size")),
    }
}

fn cosigned(request: &AddCheckpoint, body: &[u8], witness: &VerifierKey) -> Result<Reply, ReplyError> {
    if body.len() > NOTE_BYTES {
        return Err(ReplyError::Malformed("it is too long"));
    }
    let text = std::str::from_utf8(body).map_err(|_| ReplyError::Malformed("it is not UTF-8"))?;
    let lines = text.strip_suffix('\n').ok_or(ReplyError::Malformed("the last line is cut short"))?;
    let signatures: Option<Vec<Signature>> =
        lines.split('\n').take(NOTE_SIGNATURES).map(Signature::parse).collect();
    let signatures = signatures.ok_or(ReplyError::Malformed("a line is not a signature"))?;
    let by_witness: Vec<Signature> = signatures.into_iter().filter(|s| s.is_by(witness)).collect();
    let answered = Note { text: request.checkpoint.text.clone(), signatures: by_witness };
    let verified = answered.verify(std::slice::from_ref(witness)).map_err(ReplyError::Cosignature)?;
    let time_seconds = verified.first().and_then(|signature| signature.time_seconds);
    let time_seconds = time_seconds.ok_or(ReplyError::Malformed("a plain signature, without a time"))?;

    let mut checkpoint = request.checkpoint.clone();
    // An older cosignature by the same key would only add length.
    checkpoint.signatures.retain(|signature| !signature.is_by(witness));
    checkpoint.signatures.extend(answered.signatures);
    Ok(Reply::Cosigned { checkpoint, by: Cosigned { witness: witness.name().to_owned(), time_seconds } })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use grace_types::chance::SeededEntropy;
    use proptest::prelude::*;

    use super::*;
    use crate::{
        append::Appender,
        checkpoint::Trust,
        note::{SignerKey, tests::Witness},
        proof::verify_consistency,
    };

    type Folder = BTreeMap<String, Vec<u8>>;
    const ORIGIN: &str = "log.example/witnessed";
    /// The example of the specification.
    const EXAMPLE: &str = "old 20852014\n\
        PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\n\
        jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=\n\
        5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=\n\
        /6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=\n\n\
        example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
        — example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n\
        — example.com/behind-the-sofa opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEjw6QUXTS5Rovnzv++qbSzm9Q=\n";

    fn key() -> SignerKey {
        SignerKey::generate(ORIGIN, &mut SeededEntropy::new(5)).unwrap()
    }

    /// A log of `size` entries that depend on `salt`, and its checkpoint.
    fn log(size: u64, salt: u8) -> (Folder, Note) {
        let mut appender = Appender::new();
        for index in 0..size {
            appender.append(&[salt, u8::try_from(index % 251).unwrap()]).unwrap();
        }
        let plan = appender.seal(ORIGIN, &[&key()]).unwrap();
        let folder: Folder = plan.writes.into_iter().map(|write| (write.path, write.bytes)).collect();
        let note = Note::parse(&folder["checkpoint"]).unwrap();
        (folder, note)
    }

    /// A witness that does what the specification says it must.
    struct Server {
        witness: Witness,
        latest: Option<Checkpoint>,
    }

    impl Server {
        fn answer(&mut self, body: &str) -> (u16, String) {
            let Ok(request) = AddCheckpoint::parse(body.as_bytes()) else { return (400, String::new()) };
            let Ok(checkpoint) = Checkpoint::parse(&request.checkpoint.text) else {
                return (400, String::new());
            };
            if checkpoint.origin != ORIGIN {
                return (404, String::new());
            }
            let trust = Trust::in_log(key().verifier().clone());
            if trust.open(request.checkpoint.to_string().as_bytes()).is_err() {
                return (403, String::new());
            }
            if request.old > checkpoint.size {
                return (400, String::new());
            }
            let latest = self.latest.clone().unwrap_or(Checkpoint::new(ORIGIN, 0, Hash::EMPTY).unwrap());
            if request.old != latest.size
                || (latest.size == checkpoint.size && latest.root != checkpoint.root)
            {
                return (409, format!("{}\n", latest.size));
            }
            let (old, new) = (&latest, &checkpoint);
            if verify_consistency(old.size, old.root, new.size, new.root, &request.proof).is_err() {
                return (422, String::new());
            }
            self.latest = Some(checkpoint);
            let cosignature = self.witness.cosign(1_700_000_000, &request.checkpoint.text);
            (200, format!("— strange AAAAAAE=\n{cosignature}\n"))
        }
    }

    fn ask(server: &mut Server, log: &(Folder, Note), size: u64, old: u64) -> Result<Reply, ReplyError> {
        let request = AddCheckpoint::make(&log.0, old, size, log.1.clone()).unwrap();
        let (status, body) = server.answer(&request.to_string());
        read_reply(&request, status, body.as_bytes(), &server.witness.1)
    }

    #[test]
    fn the_specifications_example_is_read_and_written() {
        let request = AddCheckpoint::parse(EXAMPLE.as_bytes()).unwrap();
        assert_eq!((request.old, request.proof.len()), (20_852_014, 4));
        assert_eq!(request.to_string(), EXAMPLE);
        for (from, to) in [
            ("old 2", "old 02"),
            ("old 2", "2"),
            ("PlRN", "PlR"),
            ("Kj/0=\n\n", "Kj/0=\n"),
            ("— ", "- "),
            ("old 20852014\n", &format!("old 1\n{}", format!("{}\n", Hash::EMPTY).repeat(64))),
        ] {
            assert!(AddCheckpoint::parse(EXAMPLE.replace(from, to).as_bytes()).is_err(), "{from} {to}");
        }
    }

    #[test]
    fn a_growing_log_is_cosigned_and_anything_else_is_not() {
        let mut server = Server { witness: Witness::new("witness.example"), latest: None };
        let grown = |size| (log(size, 0), size);
        for ((log, size), old) in [(grown(3), 0), (grown(300), 3), (grown(300), 300), (grown(70_000), 300)] {
            let Reply::Cosigned { checkpoint, by } = ask(&mut server, &log, size, old).unwrap() else {
                panic!("{size}")
            };
            assert_eq!(by, Cosigned { witness: "witness.example".into(), time_seconds: 1_700_000_000 });
            let mut trust = Trust::in_log(key().verifier().clone());
            (trust.witnesses, trust.quorum) = (vec![server.witness.1.clone()], 1);
            let opened = trust.open(checkpoint.to_string().as_bytes()).unwrap();
            assert_eq!((opened.checkpoint.size, opened.cosigned), (size, vec![by]));
        }
        // Somebody who has forgotten what the witness has seen is told, and goes on from there.
        let larger = log(70_001, 0);
        assert_eq!(ask(&mut server, &larger, 70_001, 0), Ok(Reply::Conflict { size: 70_000 }));
        assert_eq!(
            ask(&mut server, &log(300, 0), 300, 300),
            Err(ReplyError::RolledBack { size: 300, witnessed: 70_000 })
        );
        assert_eq!(ask(&mut server, &log(70_000, 1), 70_000, 70_000), Err(ReplyError::Fork { size: 70_000 }));
        assert_eq!(ask(&mut server, &log(70_001, 1), 70_001, 70_000), Err(ReplyError::Rewritten));
        assert!(matches!(ask(&mut server, &larger, 70_001, 70_000), Ok(Reply::Cosigned { .. })));
    }

    #[test]
    fn answers_that_bring_nothing_are_named() {
        let (folder, note) = log(5, 0);
        let request = AddCheckpoint::make(&folder, 2, 5, note.clone()).unwrap();
        let (witness, other) = (Witness::new("witness.example"), Witness::new("other.example"));
        let read = |status, body: &str| read_reply(&request, status, body.as_bytes(), &witness.1);
        assert_eq!(read(404, ""), Err(ReplyError::UnknownLog));
        assert_eq!(read(403, ""), Err(ReplyError::NotTrusted));
        assert_eq!(read(422, ""), Err(ReplyError::Rewritten));
        let same = AddCheckpoint::make(&folder, 5, 5, note.clone()).unwrap();
        assert_eq!(read_reply(&same, 422, b"", &witness.1), Err(ReplyError::Fork { size: 5 }));
        assert_eq!(read(500, "5\n"), Err(ReplyError::Status(500)));
        assert_eq!(read(409, "3\n"), Ok(Reply::Conflict { size: 3 }));
        for body in ["", "2\n", "3", "03\n", "x\n", "3\n4\n"] {
            assert!(matches!(read(409, body), Err(ReplyError::Malformed(_))), "{body}");
        }
        let by_other = format!("{}\n", other.cosign(1, &note.text));
        assert_eq!(read(200, &by_other), Err(ReplyError::Cosignature(NoteError::Unsigned)));
        let wrong = format!("{}\n", witness.cosign(1, "another text\n"));
        assert!(matches!(read(200, &wrong), Err(ReplyError::Cosignature(NoteError::Invalid(_)))));
        for body in ["", "\n", "— x\n", wrong.trim_end()] {
            assert!(matches!(read(200, body), Err(ReplyError::Malformed(_))), "{body}");
        }
        let long = by_other.repeat(NOTE_BYTES / by_other.len() + 1);
        assert!(matches!(read(200, &long), Err(ReplyError::Malformed(_))));
    }

    proptest! {
        #[test]
        fn no_body_is_too_strange(any in "(.|\n)*", old: u64, middle in "([A-Za-z0-9+/=]{0,44}\n){0,3}") {
            for body in [any, format!("old {old}\n{middle}\n{}", log(1, 0).1)] {
                if let Ok(request) = AddCheckpoint::parse(body.as_bytes()) {
                    prop_assert_eq!(request.to_string(), body);
                }
            }
        }
    }
}
