//! The command line of `grace token`.

use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use grace_api::bearer::Scope;

/// `grace token`.
#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Make a token and print it: it is shown this once
    #[command(after_help = "\
Examples:
  grace token create --actor ci --scope intents:submit --scope intents:read --ttl 24h
  grace token create --actor claude --kind agent --scope hooks --ttl 30d
  TOKEN=$(grace token create --actor ci --scope evaluate --ttl 1h)

A token says who asks, and which part of the interface is open to him. What he is allowed is for
policies to say: those that Grace brings along allow remote actors nothing. Works with Grace running
or not. Nobody gets an operator's token: an operator is known by being at this machine.")]
    Create {
        /// For whom it speaks: lower-case letters, digits, - and _
        #[arg(long, value_name = "NAME")]
        actor: String,
        /// What kind of actor that is
        #[arg(long, value_enum, default_value_t = Kind::Remote)]
        kind: Kind,
        /// What it may be used for; repeat for several: intents:submit, intents:read, approvals:read,
        /// approvals:decide, reviews:read, narratives:read, evaluate, evaluate:others, hooks
        #[arg(long = "scope", value_name = "SCOPE", required = true)]
        scopes: Vec<Scope>,
        /// For how long, at most 365d
        #[arg(long, value_name = "TIME", value_parser = period)]
        ttl: Duration,
        /// How many requests a second, at most 10000
        #[arg(long, value_name = "N", default_value_t = grace_api::limits::TOKEN_PER_SECOND,
              value_parser = clap::value_parser!(u32).range(1..=i64::from(grace_api::limits::TOKEN_PER_SECOND_MOST)))]
        rate: u32,
    },
    /// List tokens, those that ended in the last 30 days included
    #[command(after_help = "\
Examples:
  grace token list
  grace token list --json         for scripts, an object a line")]
    List,
    /// Make a token worth nothing, from the next request on
    #[command(after_help = "\
Examples:
  grace token revoke tok_4f9a2c1b")]
    Revoke {
        /// Which: the part before the dot
        id: String,
    },
}

/// What kind of actor a token speaks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    Agent,
    Remote,
}

fn period(text: &str) -> Result<Duration, String> {
    let period = grace_types::manifest::units::duration(text).map_err(|bad| bad.message)?;
    let most = grace_api::limits::TOKEN_TIME;
    let fits = !period.is_zero() && period <= most;
    fits.then_some(period).ok_or_else(|| "a time above 0, and at most 365d".to_owned())
}
