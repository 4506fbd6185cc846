//! The command lines of `grace mcp`.

use std::{ffi::OsString, time::Duration};

use clap::{Args, Subcommand};
use grace_types::manifest::units;

/// `grace mcp`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "\
Examples:
  claude mcp add grace -- grace mcp --as claude    Grace's tools for an agent
  grace mcp proxy --name files -- npx server-filesystem /home/ann/shop
                                                   another server behind Grace

Speaks the Model Context Protocol on standard input and output. The tools: submit_intent,
intent_status, list_approvals, query_narratives, why. The HTTP interface has the same at /mcp, for
whoever has a token.")]
pub(crate) struct Mcp {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) who: Who,
}

/// Whose client it is.
#[derive(Debug, Args)]
pub(crate) struct Who {
    /// The agent that asks, as it stands in records and policies
    #[arg(long = "as", value_name = "NAME", default_value = "mcp", value_parser = token)]
    pub(crate) agent: String,
}

/// What else there is to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run another server, and let no call of its tools through that is not allowed
    #[command(after_help = "\
Examples:
  grace mcp proxy -- python3 server.py                       for the client instead of `python3 server.py`
  grace mcp proxy --as claude --name mail --wait 2m -- ./mail-server

Each tools/call is an intent, of the type that hooks.yaml gives to mcp__NAME__TOOL. Annotations of
the server's may make it stricter, never laxer. What needs a person waits as long as --wait says, and
is answered with its ticket then. No answer of Grace's is a no.")]
    Proxy(Proxy),
}

/// `grace mcp proxy`.
#[derive(Debug, Args)]
pub(crate) struct Proxy {
    #[command(flatten)]
    pub(crate) who: Who,
    /// What the server is called in rules and records [default: the command's name]
    #[arg(long, value_name = "SERVER", value_parser = token)]
    pub(crate) name: Option<String>,
    /// How long a call waits for a person or a vote: 0s to 10m
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = patience)]
    pub(crate) wait: Duration,
    /// The server's command line
    #[arg(required = true, last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

/// A name that can be a token of a subject.
pub(crate) fn token(text: &str) -> Result<String, String> {
    let sound = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if !text.is_empty() && text.len() <= 64 && text.chars().all(sound) {
        Ok(text.to_owned())
    } else {
        Err("a name has 1 to 64 of a-z, A-Z, 0-9, `_` and `-`".to_owned())
    }
}

fn patience(text: &str) -> Result<Duration, String> {
    let time = if text == "0s" { Ok(Duration::ZERO) } else { units::duration(text) };
    match time {
        Ok(time) if time <= Duration::from_secs(600) => Ok(time),
        _ => Err("a time such as `30s` or `2m`, at most 10m".to_owned()),
    }
}
