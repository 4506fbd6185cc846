//! The five tiers of autonomy: what is owed before an intent runs, and after.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A tier. The numbers are names, not an order: see [`Tier::strictness`].
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(try_from = "u8", into = "u8")]
#[schemars(with = "u8")]
pub enum Tier {
    /// A person has to approve it.
    Approval,
    /// It runs, and is reviewed afterwards.
    Reviewed,
    /// It runs.
    Autonomous,
    /// It runs once unified logic has voted for it.
    Voted,
    /// It runs under a live emergency grant, and is reviewed afterwards.
    Emergency,
}

impl Tier {
    /// By number.
    pub const ALL: [Self; 5] =
        [Self::Approval, Self::Reviewed, Self::Autonomous, Self::Voted, Self::Emergency];

    /// Its number, 0 to 4.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// Where several policies permit the same, the strictest tier counts: a person before a grant, a grant before a vote, a vote before a
    /// review, a review before nothing.
    #[must_use]
    pub const fn strictness(self) -> u8 {
        match self {
            Self::Autonomous => 0,
            Self::Reviewed => 1,
            Self::Voted => 2,
            Self::Emergency => 3,
            Self::Approval => 4,
        }
    }

    /// Whether somebody has to look at it afterwards.
    #[must_use]
    pub const fn owes_review(self) -> bool {
        matches!(self, Self::Reviewed | Self::Emergency)
    }

    /// What it means, in a few words.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Approval => "a person has to approve it",
            Self::Reviewed => "it runs, and is reviewed afterwards",
            Self::Autonomous => "it runs by itself",
            Self::Voted => "unified logic has to vote for it",
            Self::Emergency => "it runs only under a live emergency grant, and is reviewed afterwards",
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.number())
    }
}

impl From<Tier> for u8 {
    fn from(tier: Tier) -> Self {
        tier.number()
    }
}

impl TryFrom<u8> for Tier {
    type Error = &'static str;

    fn try_from(number: u8) -> Result<Self, Self::Error> {
        Self::ALL.get(usize::from(number)).copied().ok_or("a tier is a number from 0 to 4")
    }
}

impl FromStr for Tier {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<u8>().map_err(|_| "a tier is a number from 0 to 4")?.try_into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_name_the_tiers_and_nothing_else_does() {
        for tier in Tier::ALL {
            assert_eq!(tier.to_string().parse(), Ok(tier));
        }
        for wrong in ["5", "-1", "", "two", "256"] {
            assert!(wrong.parse::<Tier>().is_err(), "{wrong}");
        }
    }
}
