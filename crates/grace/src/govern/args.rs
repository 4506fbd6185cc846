//! The command lines of `grace approvals`, `grace reviews`, `grace emergency` and `grace governance`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand};

use crate::narratives::args::{When, when};

/// `grace approvals`.
#[derive(Debug, Subcommand)]
pub(crate) enum Approvals {
    /// List what waits for somebody to say yes, the longest first
    #[command(after_help = "\
Examples:
  grace approvals list
  grace approvals list --closed   what was decided, the latest first")]
    List {
        /// What was decided instead of what waits
        #[arg(long)]
        closed: bool,
    },
    /// Show one with everything that an approver signs
    #[command(after_help = "\
Examples:
  grace approvals show int_3xq7k-42")]
    Show {
        /// Which intent
        id: String,
    },
    /// Say yes, signed with your key
    #[command(after_help = "\
Examples:
  grace approvals approve int_3xq7k-42
  grace approvals approve int_3xq7k-42 --as ann --reason 'seen and tested'
  grace approvals approve int_3xq7k-42 --as ann --case case.json    for an instance elsewhere")]
    Approve(Answer),
    /// Say no, signed with your key
    #[command(after_help = "\
Examples:
  grace approvals deny int_3xq7k-42 --reason 'not on a Friday'")]
    Deny(Answer),
    /// Make a key for an approver, and have it enrolled
    #[command(after_help = "\
Examples:
  grace approvals enroll ann      the first one counts at once
  grace approvals enroll bob      later ones once an approver says yes

The private key stays in $XDG_CONFIG_HOME/grace/approvers/NAME.key; Grace gets the public one.")]
    Enroll {
        /// Lower-case letters, digits, and any of .-_@
        name: String,
        /// The private key's file, made where there is none
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
        /// Who asks [default: NAME]
        #[arg(long, value_name = "WHO")]
        actor: Option<String>,
    },
    /// Let an approver go, once another one says yes
    #[command(after_help = "\
Examples:
  grace approvals dismiss bob --reason 'left the team'")]
    Dismiss {
        /// Whom
        name: String,
        /// Why
        #[arg(long)]
        reason: String,
        /// Who asks [default: $USER]
        #[arg(long, value_name = "WHO")]
        actor: Option<String>,
    },
    /// List who may approve
    #[command(after_help = "\
Examples:
  grace approvals approvers")]
    Approvers,
}

/// A yes or a no.
#[derive(Debug, Args)]
pub(crate) struct Answer {
    /// Which intent
    pub(crate) id: String,
    /// Why
    #[arg(long)]
    pub(crate) reason: Option<String>,
    /// Whose key [default: $USER]
    #[arg(long = "as", value_name = "NAME")]
    pub(crate) who: Option<String>,
    /// The private key's file [default: $XDG_CONFIG_HOME/grace/approvers/NAME.key]
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// Sign what this file holds (GET /v1/approvals/ID), and print it for POST /v1/approvals/ID/approve or
    /// deny; Grace need not run here
    #[arg(long, value_name = "FILE")]
    pub(crate) case: Option<PathBuf>,
}

/// `grace reviews`.
#[derive(Debug, Subcommand)]
pub(crate) enum Reviews {
    /// List what ran and is still to be looked at
    #[command(after_help = "\
Examples:
  grace reviews list
  grace reviews list --closed     what was looked at, the latest first")]
    List {
        /// What was looked at instead
        #[arg(long)]
        closed: bool,
    },
    /// Show one
    #[command(after_help = "\
Examples:
  grace reviews show int_3xq7k-42")]
    Show {
        /// Which intent
        id: String,
    },
    /// Nothing is wrong with it
    #[command(after_help = "\
Examples:
  grace reviews accept int_3xq7k-42")]
    Accept {
        /// Which intent
        id: String,
        /// What there is to say
        #[arg(long)]
        note: Option<String>,
        /// Who looked [default: $USER]
        #[arg(long, value_name = "WHO")]
        actor: Option<String>,
    },
    /// Something is wrong with it
    #[command(after_help = "\
Examples:
  grace reviews flag int_3xq7k-42 --note 'why at night?'")]
    Flag {
        /// Which intent
        id: String,
        /// What
        #[arg(long)]
        note: String,
        /// Who looked [default: $USER]
        #[arg(long, value_name = "WHO")]
        actor: Option<String>,
    },
}

/// `grace emergency`.
#[derive(Debug, Subcommand)]
pub(crate) enum Emergency {
    /// Declare one: tier 4 runs until it is over
    #[command(after_help = "\
Examples:
  grace emergency begin --reason 'the disk fails' --for 15m
  grace emergency begin --reason 'the disk fails' --for 15m --actor ann")]
    Begin {
        /// Why
        #[arg(long)]
        reason: String,
        /// For how long, at most 4h
        #[arg(long = "for", value_name = "TIME", value_parser = period)]
        lasts: Duration,
        /// Which operator may act in it [default: whoever a policy lets ask]
        #[arg(long, value_name = "WHO")]
        actor: Option<String>,
        /// Who declares it [default: $USER]
        #[arg(long, value_name = "WHO")]
        by: Option<String>,
    },
    /// List those that are live, and those that were
    #[command(after_help = "\
Examples:
  grace emergency list")]
    List,
    /// End one before its time
    #[command(after_help = "\
Examples:
  grace emergency end emg-1")]
    End {
        /// Which
        id: String,
        /// Who ends it [default: $USER]
        #[arg(long, value_name = "WHO")]
        by: Option<String>,
    },
}

/// `grace governance`.
#[derive(Debug, Subcommand)]
pub(crate) enum Governance {
    /// Show a generation with its policies and its charter
    #[command(after_help = "\
Examples:
  grace governance show           the one in force
  grace governance show 2")]
    Show {
        /// Which [default: the one in force]
        number: Option<u64>,
    },
    /// List the generations that are kept
    #[command(after_help = "\
Examples:
  grace governance history")]
    History,
    /// Ask people for other policies, another charter, or both
    #[command(after_help = "\
Examples:
  grace governance propose --policies new.cedar --reason 'agents may read'
  grace governance propose --generation 2 --reason 'back to what worked'")]
    Propose {
        /// All policies, in Cedar: a file, or a folder of .cedar files
        #[arg(long, value_name = "FILE|DIR")]
        policies: Option<PathBuf>,
        /// The whole charter, in YAML
        #[arg(long, value_name = "FILE")]
        charter: Option<PathBuf>,
        /// What an earlier generation held
        #[arg(long, value_name = "N", conflicts_with_all = ["policies", "charter"])]
        generation: Option<u64>,
        /// Why
        #[arg(long)]
        reason: String,
        /// Who asks [default: $USER]
        #[arg(long, value_name = "WHO")]
        actor: Option<String>,
    },
    /// Hold policies and charter to cases that people wrote down; Grace need not run
    #[command(after_help = "\
Examples:
  grace governance test cases.yaml                      what is in force
  grace governance test cases.yaml --policies new/ --charter new.yaml

A case names an intent and what should become of it: see examples/governance/cases.yaml. Every case
that fails is shown with what was expected, what was decided, and why.
Exit status: 0 all passed, 1 some did not, 2 a file is not as it should be.")]
    Test {
        /// Files of cases, in YAML
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        #[command(flatten)]
        proposed: Proposed,
    },
    /// Show what differs between two sets of policies and charters, and what that means
    #[command(after_help = "\
Examples:
  grace governance diff --policies new/                 against what is in force
  grace governance diff --policies new/ --against old/
  grace governance diff --intent int_3xq7k-42           before saying yes to it

First what is written differently: policies by their @id, fields of the charter. Then what becomes of
every type of intent for every kind of actor, where it is not the same: over every emergency grant,
circumstance, actor and target that the policies tell apart by their scopes.")]
    Diff {
        #[command(flatten)]
        proposed: Proposed,
        /// Compare with these policies instead of those in force
        #[arg(long, value_name = "FILE|DIR")]
        against: Option<PathBuf>,
    },
    /// Judge again what was asked for, and list what would have been decided differently
    #[command(after_help = "\
Examples:
  grace governance replay --policies new/
  grace governance replay --charter new.yaml --since 7d --limit 3
  grace governance replay --policies new/ --json

Reads the tamper-evident log's files, so it works with no Grace running. What people and voters said
afterwards is not asked again: each intent is compared as it was first decided. What was in force gives
no difference; what cannot be replayed is counted, with the reason.")]
    Replay {
        #[command(flatten)]
        proposed: Proposed,
        /// Not before: `1h` ago, or an RFC 3339 time
        #[arg(long, value_name = "TIME", value_parser = when)]
        since: Option<When>,
        /// Not after: `10m` ago, or an RFC 3339 time
        #[arg(long, value_name = "TIME", value_parser = when)]
        until: Option<When>,
        /// At most this many intents of each group
        #[arg(long, short = 'n', value_name = "N", default_value_t = 5)]
        limit: usize,
    },
    /// Check a file of policies (.cedar) or a charter; Grace need not run
    #[command(after_help = "\
Examples:
  grace governance lint new.cedar
  grace governance lint charter.yaml")]
    Lint {
        /// Which
        file: PathBuf,
    },
}

/// What is looked at instead of what is in force.
#[derive(Debug, Default, Args)]
pub(crate) struct Proposed {
    /// All policies, in Cedar: a file, or a folder of .cedar files [default: those in force]
    #[arg(long, value_name = "FILE|DIR")]
    pub(crate) policies: Option<PathBuf>,
    /// The whole charter, in YAML [default: the one in force]
    #[arg(long, value_name = "FILE")]
    pub(crate) charter: Option<PathBuf>,
    /// What this intent would put in force
    #[arg(long, value_name = "ID", conflicts_with_all = ["policies", "charter"])]
    pub(crate) intent: Option<String>,
}

fn period(text: &str) -> Result<Duration, String> {
    grace_types::manifest::units::duration(text).map_err(|bad| bad.message)
}
