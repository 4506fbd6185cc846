//! The command line of `grace trigger`.

use std::path::PathBuf;

use clap::Subcommand;

use crate::work::letters::Letters;

/// `grace trigger`.
#[derive(Debug, Subcommand)]
pub(crate) enum Trigger {
    /// List subscriptions: what they fired, what waits, and what is stuck
    #[command(after_help = "\
Examples:
  grace trigger list
  grace trigger list --json       for scripts: one subscription a line")]
    List,
    /// Show one subscription with its dead letters
    #[command(after_help = "\
Examples:
  grace trigger show thumbnails
  grace why thumbnails            what was decided about it")]
    Show {
        /// Which
        name: String,
    },
    /// Add a subscription beside those of the manifest, or replace one that was added
    #[command(after_help = "\
Examples:
  grace trigger add thumbnails --file thumbnails.yaml
  grace trigger add audit -f - < audit.json

It is on disk when the command returns, and outlives a restart. What the manifest declares is changed there.")]
    Add {
        /// Its name
        name: String,
        /// What it is, in YAML or JSON: `types`, `filter`, `throttle`, `action`; - for standard input
        #[arg(long, short)]
        file: PathBuf,
    },
    /// Remove a subscription that was added, with what waits in its queue
    #[command(after_help = "\
Examples:
  grace trigger remove thumbnails")]
    Remove {
        /// Which
        name: String,
    },
    /// Say what an event would set off, and why not the rest; nothing happens
    #[command(after_help = "\
Examples:
  grace trigger test event.json                     in the running instance, as it is now
  grace trigger test event.json --file grace.yaml   by a file's triggers; Grace need not run

event.json is a CloudEvent; id and time may be left out:
  {\"type\": \"com.shop.picture.added\", \"source\": \"/shop\", \"data\": {\"path\": \"a.png\"}}")]
    Test {
        /// A CloudEvent in JSON; - for standard input
        #[arg(value_name = "EVENT.json")]
        event: PathBuf,
        /// A manifest, or a file with `triggers:`
        #[arg(long, short)]
        file: Option<PathBuf>,
    },
    /// Try dead letters again
    #[command(after_help = "\
Examples:
  grace trigger requeue thumbnails            all of them
  grace trigger requeue thumbnails KEY        one, by the key that `show` names")]
    Requeue(Letters),
    /// Throw dead letters away
    #[command(after_help = "\
Examples:
  grace trigger discard thumbnails            all of them
  grace trigger discard thumbnails KEY        one, by the key that `show` names")]
    Discard(Letters),
}
