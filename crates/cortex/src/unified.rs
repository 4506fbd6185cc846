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
//! Not here: what each voter looks at, and how ballots travel.

use std::collections::BTreeMap;

use grace_kernel::vote::{BadBallot, Ballot, Proposal, Vote};
use grace_log::note::{KeyError, VerifierKey};
use grace_types::{reason::Reason, time::Timestamp};
use serde::{Deserialize, Serialize};

use crate::limits;

#[cfg(test)]
mod tests;

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

/// Why a ballot does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotCounted {
    /// Forged, of nobody who may vote, or no ballot.
    #[error(transparent)]
    Ballot(#[from] BadBallot),
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

/// A vote under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Poll {
    /// On what.
    pub proposal: Proposal,
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
    pub const fn open(proposal: Proposal) -> Self {
        Self { proposal, notes: BTreeMap::new() }
    }

    /// Checks a ballot that came at `now`. `Some` with the voter's name if it is to be added; `None` if it was counted before.
    ///
    /// # Errors
    /// It does not count.
    pub fn check(
        &self,
        note: &str,
        electorate: &Electorate,
        now: Timestamp,
    ) -> Result<Option<String>, NotCounted> {
        let ballot = Ballot::read(note, &electorate.keys)?;
        if ballot.intent != self.proposal.intent || ballot.digest != self.proposal.digest {
            return Err(NotCounted::Other);
        }
        match self.notes.get(&ballot.voter) {
            Some(counted) if counted == note => Ok(None),
            Some(_) => Err(NotCounted::Twice(ballot.voter)),
            None if now >= self.proposal.until => Err(NotCounted::Over(self.proposal.until)),
            None => Ok(Some(ballot.voter)),
        }
    }

    /// Adds a ballot that was checked.
    pub fn add(&mut self, voter: String, note: String) {
        self.notes.insert(voter, note);
    }

    /// Counts. Pure: the same notes, electorate and time give the same count.
    #[must_use]
    pub fn count(&self, electorate: &Electorate, now: Timestamp) -> Count {
        let mut reasons = Vec::new();
        let mut tally = Tally::default();
        for (name, voter) in &electorate.voters {
            let note = self.notes.get(name);
            // A note whose signature is no longer good (the voter has another key since) does not count.
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
