//! Unified logic: kernels with views of their own vote on what no policy alone should decide.
//!
//! ```text
//! Proposal ─► Poll ◄─ ballots (signed notes) ── voters
//!              └─► count: open, carried or lost, with every ballot told
//! ```
//!
//! Fail closed: with too small an electorate, too few ballots, a voter with a veto that stays silent, a tie or the end of its time a
//! proposal is lost. A poll holds the notes themselves, so that whoever has the electorate's keys can count it again.
//!
//! The electorate of a poll is what was known when it began, and who became known since: a voter that gets another key votes with it from
//! the next poll on. It is in the poll, so that a recount takes nothing else.
//!
//! Not here: what each voter looks at, and how ballots travel.

use std::collections::BTreeMap;

use grace_kernel::vote::{BadBallot, Ballot, Proposal, Vote};
use grace_log::note::{KeyError, VerifierKey};
use grace_types::{intent::asked::BallotView, reason::Reason, time::Timestamp};
use serde::{Deserialize, Serialize};

use crate::limits;

#[cfg(test)]
mod tests;

/// Who may vote, by name: kernels with views of their own. How much each ballot weighs, and whether its no settles it.
pub const VOTERS: [(&str, u32, bool); 5] = [
    ("governance", 1, true),
    ("health_monitor", 1, false),
    ("layer2_watchdog", 1, false),
    ("clarity", 1, false),
    ("immutable_log", 1, false),
];

/// One who may vote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Voter {
    /// How much its ballot weighs, from 1.
    pub weight: u32,
    /// Its no settles it, and without its ballot nothing is carried.
    #[serde(default)]
    pub veto: bool,
    /// Its public key (C2SP signed-note); the name in it is the voter's.
    pub key: String,
}

/// Everybody who may vote, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Electorate {
    voters: BTreeMap<String, Voter>,
    /// In the order of `voters`.
    keys: Vec<VerifierKey>,
}

/// Why somebody cannot be a voter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the voter {name}: {what}")]
pub struct BadVoter {
    name: String,
    what: String,
}

impl Electorate {
    /// Of these voters.
    ///
    /// # Errors
    /// A key is not one or belongs to another name, a weight is out of its bounds, or they are too many.
    pub fn new(voters: BTreeMap<String, Voter>) -> Result<Self, BadVoter> {
        let wrong = |name: &str, what: String| BadVoter { name: name.to_owned(), what };
        if let Some(one_more) = voters.keys().nth(limits::VOTERS) {
            return Err(wrong(one_more, format!("there are at most {} voters", limits::VOTERS)));
        }
        let mut keys = Vec::with_capacity(voters.len());
        for (name, voter) in &voters {
            let key: VerifierKey = voter.key.parse().map_err(|e: KeyError| wrong(name, e.to_string()))?;
            if key.name() != name {
                return Err(wrong(name, format!("its key is {}'s", key.name())));
            }
            if !(1..=limits::VOTE_WEIGHT).contains(&voter.weight) {
                let (most, found) = (limits::VOTE_WEIGHT, voter.weight);
                return Err(wrong(name, format!("a weight is 1 to {most}, found {found}")));
            }
            keys.push(key);
        }
        Ok(Self { voters, keys })
    }

    /// The voters, by name.
    #[must_use]
    pub const fn voters(&self) -> &BTreeMap<String, Voter> {
        &self.voters
    }
}

/// The voter of this name with this key, if it is one of [`VOTERS`].
///
/// # Errors
/// Why it is none.
pub fn voter(name: &str, key: &str) -> Result<Voter, BadVoter> {
    let Some((_, weight, veto)) = VOTERS.iter().find(|(known, ..)| *known == name) else {
        return Err(BadVoter { name: name.to_owned(), what: "it has no vote".to_owned() });
    };
    let voter = Voter { weight: *weight, veto: *veto, key: key.to_owned() };
    Electorate::new(BTreeMap::from([(name.to_owned(), voter.clone())]))?;
    Ok(voter)
}

/// Why a ballot does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotCounted {
    /// Forged, of nobody who may vote, or no ballot.
    #[error(transparent)]
    Ballot(#[from] BadBallot),
    /// Signed by another than it came from.
    #[error("{from} sent a ballot that {signed} signed: nobody votes for another")]
    Identity {
        /// Who sent it.
        from: String,
        /// Whose key signed.
        signed: String,
    },
    /// On something else.
    #[error("the ballot is on another proposal")]
    Other,
    /// The voter has voted. The same note again counts once and is no error.
    #[error("{0} has voted already")]
    Twice(String),
    /// Too late.
    #[error("the vote is over since {0}")]
    Over(Timestamp),
}

impl NotCounted {
    /// A stable code for machines.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Ballot(_) => "ballot.unsound",
            Self::Identity { .. } => "ballot.identity",
            Self::Other => "ballot.other",
            Self::Twice(_) => "ballot.twice",
            Self::Over(_) => "ballot.late",
        }
    }
}

/// A vote under way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Poll {
    /// On what.
    pub proposal: Proposal,
    /// Who may vote, by name.
    pub voters: BTreeMap<String, Voter>,
    /// The notes that count, by voter.
    pub notes: BTreeMap<String, String>,
}

/// How a vote stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Ballots are out that may still change it.
    Open,
    /// It may run.
    Carried,
    /// It may not.
    Lost,
}

/// A count, with why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// How it stands.
    pub standing: Standing,
    /// What each voter said, and what the count rests on.
    pub reasons: Vec<Reason>,
}

impl Poll {
    /// Opens a vote.
    #[must_use]
    pub const fn open(proposal: Proposal, voters: BTreeMap<String, Voter>) -> Self {
        Self { proposal, voters, notes: BTreeMap::new() }
    }

    /// Its voters, ready to be checked. One that cannot be read is nobody, with whom nothing is carried.
    fn electorate(&self) -> Electorate {
        Electorate::new(self.voters.clone()).unwrap_or_default()
    }

    /// Somebody became known. Whoever was known before keeps the key that it had.
    pub fn join(&mut self, name: &str, voter: &Voter) {
        self.voters.entry(name.to_owned()).or_insert_with(|| voter.clone());
    }

    /// Checks a ballot that came from the voter `from` at `now`. `Some` if it is to be added; `None` if it was counted before.
    ///
    /// # Errors
    /// It does not count.
    pub fn check(&self, note: &str, from: &str, now: Timestamp) -> Result<Option<Ballot>, NotCounted> {
        let ballot = Ballot::read(note, &self.electorate().keys)?;
        if ballot.voter != from {
            return Err(NotCounted::Identity { from: from.to_owned(), signed: ballot.voter });
        }
        if ballot.intent != self.proposal.intent || ballot.digest != self.proposal.digest {
            return Err(NotCounted::Other);
        }
        match self.notes.get(&ballot.voter) {
            Some(counted) if counted == note => Ok(None),
            Some(_) => Err(NotCounted::Twice(ballot.voter)),
            None if now >= self.proposal.until => Err(NotCounted::Over(self.proposal.until)),
            None => Ok(Some(ballot)),
        }
    }

    /// Adds a ballot that was checked.
    pub fn add(&mut self, voter: String, note: String) {
        self.notes.insert(voter, note);
    }

    /// The ballots that count, as they are shown.
    #[must_use]
    pub fn ballots(&self) -> Vec<BallotView> {
        let electorate = self.electorate();
        let shown = |(name, note): (&String, &String)| {
            let Ballot { vote, time, reasons, .. } = Ballot::read(note, &electorate.keys).ok()?;
            let Voter { weight, veto, .. } = electorate.voters.get(name)?;
            let vote = vote.word().to_owned();
            Some(BallotView { voter: name.clone(), vote, weight: *weight, veto: *veto, time, reasons })
        };
        self.notes.iter().filter_map(shown).collect()
    }

    /// Counts. Pure: the same notes, voters and time give the same count.
    #[must_use]
    pub fn count(&self, now: Timestamp) -> Count {
        let electorate = self.electorate();
        let mut reasons = Vec::new();
        let mut tally = Tally::default();
        for (name, voter) in &electorate.voters {
            let note = self.notes.get(name);
            // It was good when it came; one that is not by now was changed on its way here.
            let ballot = note.and_then(|note| Ballot::read(note, &electorate.keys).ok());
            tally.add(name, voter, ballot.as_ref().map(|ballot| ballot.vote));
            if let Some(Ballot { vote, reasons: said, .. }) = ballot {
                let said: Vec<&str> = said.iter().map(|reason| reason.text.as_str()).collect();
                let told = format!("{name} (weight {}) says {vote}: {}", voter.weight, said.join("; "));
                reasons.push(Reason::new(format!("vote.{vote}"), told));
            }
        }
        let (standing, reason) = tally.standing(electorate.voters.len(), now >= self.proposal.until);
        reasons.push(reason);
        Count { standing, reasons }
    }
}

/// Ballots, added up.
#[derive(Debug, Default)]
struct Tally<'e> {
    /// Weights.
    yes: u32,
    no: u32,
    out: u32,
    /// Voters that said yes or no.
    cast: usize,
    /// Voters that said nothing yet.
    silent: usize,
    vetoed_by: Option<&'e str>,
    veto_silent: Option<&'e str>,
}

impl<'e> Tally<'e> {
    fn add(&mut self, name: &'e str, voter: &Voter, vote: Option<Vote>) {
        match vote {
            Some(Vote::Yes) => self.yes += voter.weight,
            Some(Vote::No) => {
                self.no += voter.weight;
                if voter.veto {
                    self.vetoed_by = Some(name);
                }
            }
            Some(Vote::Abstain) => {}
            None => {
                self.out += voter.weight;
                self.silent += 1;
                if voter.veto {
                    self.veto_silent = Some(name);
                }
            }
        }
        if matches!(vote, Some(Vote::Yes | Vote::No)) {
            self.cast += 1;
        }
    }

    fn standing(&self, voters: usize, over: bool) -> (Standing, Reason) {
        let Self { yes, no, out, cast, silent, .. } = *self;
        let (quorum, least) = (limits::QUORUM, limits::LEAST_VOTERS);
        let lost = |code: &str, text: String| (Standing::Lost, Reason::new(code, text));
        if voters < least && !over {
            let told = format!("{voters} are known who may vote, and it takes at least {least}");
            return (Standing::Open, Reason::new("vote.open", told));
        }
        if voters < least {
            return lost("vote.electorate", format!("{voters} may vote, and it takes at least {least}"));
        }
        if let Some(name) = self.vetoed_by {
            return lost("vote.veto", format!("{name} has a veto, and says no"));
        }
        if cast + silent < quorum {
            return lost(
                "vote.quorum",
                format!("{cast} said yes or no and {silent} are out: fewer than the quorum of {quorum}"),
            );
        }
        if no >= yes + out {
            return lost(
                "vote.majority",
                format!("weights of {yes} for it and {no} against it: no majority"),
            );
        }
        let settled = cast >= quorum && yes > no + out && self.veto_silent.is_none();
        if settled || (over && cast >= quorum && yes > no && self.veto_silent.is_none()) {
            let told = format!("weights of {yes} for it and {no} against it, from {cast} voters");
            return (Standing::Carried, Reason::new("vote.majority", told));
        }
        if !over {
            return (
                Standing::Open,
                Reason::new("vote.open", format!("{silent} of {voters} have not voted")),
            );
        }
        if cast < quorum {
            return lost("vote.quorum", format!("{cast} voted in time, and the quorum is {quorum}"));
        }
        if let Some(name) = self.veto_silent {
            return lost("vote.silent", format!("{name} has a veto, and said nothing in time"));
        }
        lost("vote.majority", format!("weights of {yes} for it and {no} against it: no majority"))
    }
}
