//! What is put to the vote, and a voter's ballot: a signed note that a stranger can check.
//!
//! ```text
//! Proposal ─► voter: its own view ─► Ballot::sign (by the voter's key) ─► note ─► Ballot::read (against the keys of the electorate)
//! ```
//!
//! A ballot is a text with an Ed25519 signature under it (C2SP signed-note):
//!
//! ```text
//! grace ballot v1
//! intent int_3xq7k-42
//! digest 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
//! vote yes
//! time 2026-05-17T09:30:00.000000000Z
//! why health.score every component is well
//!
//! — health_monitor 7Wj0…
//! ```
//!
//! Who voted is the name of the key that signed, never a line of the text, so that no voter can say that it is another.
//!
//! Not here: who may vote and how ballots are counted, which is the cortex's to say.

use std::{fmt, str::FromStr};

use grace_log::note::{Note, NoteError, SignerKey, VerifierKey};
use grace_types::{
    intent::{IntentId, asked::Circumstances},
    reason::Reason,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::limits;

const HEADING: &str = "grace ballot v1";

/// What is put to the vote.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proposal {
    /// Which intent.
    pub intent: IntentId,
    /// SHA-256 over the intent as it was asked for, lowercase hex: what a ballot is bound to.
    pub digest: String,
    /// The intent's type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Who asked.
    pub actor: String,
    /// What kind of actor that is, such as `operator`.
    pub actor_kind: String,
    /// What it is about.
    pub target: String,
    /// What matters besides.
    #[serde(default)]
    pub circumstances: Circumstances,
    /// Since when it is open.
    pub since: Timestamp,
    /// When it ends, decided or not.
    pub until: Timestamp,
}

/// What a voter says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Vote {
    /// Nothing in its view speaks against it.
    Yes,
    /// Something does.
    No,
    /// Its view says nothing about it.
    Abstain,
}

impl Vote {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Yes, Self::No, Self::Abstain];

    /// As it is written.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Abstain => "abstain",
        }
    }
}

impl fmt::Display for Vote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Why a note is not a ballot that counts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadBallot {
    /// Not signed by one of the electorate, or forged.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// Signed by more than one.
    #[error("a ballot is signed by one voter, this one by {0}")]
    Signatures(usize),
    /// Not the lines of a ballot.
    #[error("not a ballot: {0}")]
    Malformed(&'static str),
}

/// A voter's ballot, whose signature was good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ballot {
    /// Who voted: the name of the key that signed.
    pub voter: String,
    /// On which intent.
    pub intent: IntentId,
    /// The proposal's digest.
    pub digest: String,
    /// What it says.
    pub vote: Vote,
    /// When, by the voter's clock.
    pub time: Timestamp,
    /// Why; at least one.
    pub reasons: Vec<Reason>,
}

impl Ballot {
    /// Signs a ballot on `proposal`. At most [`limits::BALLOT_REASONS`] reasons are told, each shortened to what fits its line.
    #[must_use]
    pub fn sign(
        proposal: &Proposal,
        vote: Vote,
        reasons: &[Reason],
        now: Timestamp,
        key: &SignerKey,
    ) -> String {
        let Proposal { intent, digest, .. } = proposal;
        let mut text = format!("{HEADING}\nintent {intent}\ndigest {digest}\nvote {vote}\ntime {now}\n");
        for reason in reasons.iter().take(limits::BALLOT_REASONS) {
            text.push_str(&format!(
                "why {} {}\n",
                on_one_line(&reason.code, '_'),
                on_one_line(&reason.text, ' ')
            ));
        }
        Note { signatures: vec![key.sign(&text)], text }.to_string()
    }

    /// On which intent a note says that it is. Nothing of it is checked.
    #[must_use]
    pub fn claims(note: &str) -> Option<IntentId> {
        note.lines().nth(1)?.strip_prefix("intent ")?.parse().ok()
    }

    /// Reads a ballot that one of `electorate` signed.
    ///
    /// # Errors
    /// It is forged, nobody of the electorate has signed it, or it is not a ballot.
    pub fn read(note: &str, electorate: &[VerifierKey]) -> Result<Self, BadBallot> {
        let note = Note::parse(note.as_bytes())?;
        let by = note.verify(electorate)?;
        // A second name under a ballot would be a voter who votes with another's hand.
        if note.signatures.len() != 1 {
            return Err(BadBallot::Signatures(note.signatures.len()));
        }
        let mut lines = note.text.lines();
        if lines.next() != Some(HEADING) {
            return Err(BadBallot::Malformed("its first line is not `grace ballot v1`"));
        }
        let (intent, digest) = (field(lines.next(), "intent ")?, field(lines.next(), "digest ")?);
        let vote: String = field(lines.next(), "vote ")?;
        let vote = Vote::ALL.into_iter().find(|known| known.word() == vote);
        let vote = vote.ok_or(BadBallot::Malformed("`vote` is yes, no or abstain"))?;
        let time = field(lines.next(), "time ")?;
        let reason = |line: &str| {
            let (code, text) = line.strip_prefix("why ")?.split_once(' ')?;
            Some(Reason::new(code, text))
        };
        let reasons: Option<Vec<Reason>> = lines.map(reason).collect();
        let reasons = reasons.ok_or(BadBallot::Malformed("its last lines read `why CODE TEXT`"))?;
        if reasons.is_empty() || reasons.len() > limits::BALLOT_REASONS {
            return Err(BadBallot::Malformed("it gives no reason, or too many"));
        }
        let voter = by.first().map(|by| electorate[by.key].name().to_owned()).unwrap_or_default();
        Ok(Self { voter, intent, digest, vote, time, reasons })
    }
}

fn field<V: FromStr>(line: Option<&str>, name: &'static str) -> Result<V, BadBallot> {
    let value = line.and_then(|line| line.strip_prefix(name)).and_then(|value| value.parse().ok());
    value.ok_or(BadBallot::Malformed("after the first line come `intent`, `digest`, `vote` and `time`"))
}

/// Whatever a reason says, it cannot add lines to a ballot.
fn on_one_line(text: &str, blank: char) -> String {
    let plain =
        text.chars().map(|c| if c.is_control() || (blank != ' ' && c.is_whitespace()) { blank } else { c });
    let line: String = plain.take(limits::BALLOT_LINE_CHARS).collect();
    if line.is_empty() { "-".to_owned() } else { line }
}

#[cfg(test)]
mod tests {
    use grace_types::{chance::SeededEntropy, intent::Era};

    use super::*;

    fn key(name: &str, seed: u64) -> SignerKey {
        SignerKey::generate(name, &mut SeededEntropy::new(seed)).unwrap()
    }

    fn proposal() -> Proposal {
        Proposal {
            intent: IntentId::new(Era::from_bits(7), 42),
            digest: "9f86".to_owned(),
            kind: "self_improve".to_owned(),
            actor: "ana".to_owned(),
            actor_kind: "operator".to_owned(),
            target: "instance".to_owned(),
            circumstances: Circumstances::default(),
            since: Timestamp::from_nanos(0),
            until: Timestamp::from_nanos(60_000_000_000),
        }
    }

    #[test]
    fn a_ballot_survives_its_note() {
        let key = key("health_monitor", 1);
        let reasons = [Reason::new("health.score", "every component is well"), Reason::new("a b", "")];
        let note = Ballot::sign(&proposal(), Vote::Yes, &reasons, Timestamp::from_nanos(5), &key);
        let read = Ballot::read(&note, &[key.verifier().clone()]).unwrap();
        assert_eq!(
            (read.voter.as_str(), read.vote, read.intent),
            ("health_monitor", Vote::Yes, proposal().intent)
        );
        assert_eq!(read.time, Timestamp::from_nanos(5));
        assert_eq!((Ballot::claims(&note), Ballot::claims("x")), (Some(read.intent), None));
        assert_eq!(read.reasons, [reasons[0].clone(), Reason::new("a_b", "-")]);
    }

    #[test]
    fn what_a_reason_says_adds_no_line() {
        let key = key("clarity", 1);
        let reasons = [Reason::new("x\nvote no", "all is well\nvote no\n\n— clarity AAAA")];
        let note = Ballot::sign(&proposal(), Vote::Yes, &reasons, Timestamp::from_nanos(5), &key);
        assert_eq!(Ballot::read(&note, &[key.verifier().clone()]).unwrap().vote, Vote::Yes, "{note}");
    }

    #[test]
    fn a_ballot_that_was_altered_or_is_anothers_is_refused() {
        let (own, other) = (key("clarity", 1), key("governance", 2));
        let reasons = [Reason::new("a", "b")];
        let note = Ballot::sign(&proposal(), Vote::No, &reasons, Timestamp::from_nanos(5), &own);
        let keys = [own.verifier().clone(), other.verifier().clone()];
        let read = |note: &str| Ballot::read(note, &keys).unwrap_err().to_string();
        assert!(read(&note.replace("vote no", "vote yes")).contains("forged"));
        assert!(read(&note.replace("— clarity", "— governance")).contains("no known key"));
        // Another key under the same name is not known either.
        let liar = key("governance", 3);
        let lie = Ballot::sign(&proposal(), Vote::Yes, &reasons, Timestamp::from_nanos(5), &liar);
        assert!(read(&lie).contains("no known key"));
        let both = Note::parse(note.as_bytes()).unwrap();
        let both =
            Note { signatures: [both.signatures.clone(), vec![other.sign(&both.text)]].concat(), ..both };
        assert!(read(&both.to_string()).contains("by 2"));
        let empty = Ballot::sign(&proposal(), Vote::Yes, &[], Timestamp::from_nanos(5), &own);
        assert!(read(&empty).contains("no reason"));
        for broken in ["", "grace ballot v1\n", "x\n\n— clarity AAAAAAA=\n"] {
            assert!(Ballot::read(broken, &keys).is_err());
        }
    }
}
