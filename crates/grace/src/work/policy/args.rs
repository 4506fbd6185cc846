//! The command line of `grace policy`.

use std::path::PathBuf;

use clap::Subcommand;

use crate::work::letters::Letters;

/// `grace policy`.
#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// List policies: what they fired, what was stopped, and what is stuck
    #[command(after_help = "\
Examples:
  grace policy list
  grace policy list --json        for scripts: one policy a line")]
    List,
    /// Show one policy with its dead letters
    #[command(after_help = "\
Examples:
  grace policy show too_many_refunds
  grace why too_many_refunds      what was decided about it")]
    Show {
        /// Which
        name: String,
    },
    /// Look for loops, for policies that never act, and for what may not have been meant
    #[command(after_help = "\
Examples:
  grace policy lint grace.yaml                  the policies of a manifest; Grace need not run
  grace policy lint refunds.yaml audit.yaml     of several files together

Status 0 if there are no errors, 1 if there are, 2 if a file cannot be read. Warnings are no errors.")]
    Lint {
        /// Manifests, or files with `policies:`
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Say what would follow from an event, and why not the rest; nothing happens
    #[command(after_help = "\
Examples:
  grace policy test event.json                     in the running instance, with its counts as they are
  grace policy test event.json --file grace.yaml   by a file's policies; Grace need not run

event.json is a CloudEvent; id and time may be left out:
  {\"type\": \"com.shop.refund\", \"source\": \"/shop\", \"data\": {\"customer\": \"ann\"}}")]
    Test {
        /// A CloudEvent in JSON; - for standard input
        #[arg(value_name = "EVENT.json")]
        event: PathBuf,
        /// A manifest, or a file with `policies:`
        #[arg(long, short)]
        file: Option<PathBuf>,
    },
    /// Let a policy that rests take part again
    #[command(after_help = "\
Examples:
  grace policy reset too_many_refunds     after its cascade was stopped; otherwise it is tried after a while")]
    Reset {
        /// Which
        name: String,
    },
    /// Try dead letters again
    #[command(after_help = "\
Examples:
  grace policy requeue too_many_refunds          all of them
  grace policy requeue too_many_refunds KEY      one, by the key that `show` names")]
    Requeue(Letters),
    /// Throw dead letters away
    #[command(after_help = "\
Examples:
  grace policy discard too_many_refunds          all of them
  grace policy discard too_many_refunds KEY      one, by the key that `show` names")]
    Discard(Letters),
}
