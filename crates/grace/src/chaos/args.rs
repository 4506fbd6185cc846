//! The command line of `grace chaos`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `grace chaos`.
#[derive(Debug, Subcommand)]
pub(crate) enum Chaos {
    /// Show the scenarios that there are
    #[command(after_help = "\
Examples:
  grace chaos list                those built in, and those in the data folder's scenarios/
  grace chaos list --json         for scripts: [{\"id\": …, \"title\": …, \"layer\": …}]")]
    List(Where),
    /// Attack the running instance as a scenario says, judge what happens, and keep the evidence
    Run(Run),
    /// End the run under way; everything that it has on is undone
    #[command(after_help = "\
Examples:
  grace chaos abort               returns when the system is clean again")]
    Abort,
}

/// Where scenarios are looked for.
#[derive(Debug, Args)]
pub(crate) struct Where {
    /// Folder of your own scenarios, ID.yaml each [default: scenarios/ in the data folder]
    #[arg(long, value_name = "DIR")]
    pub(crate) scenarios: Option<PathBuf>,
}

/// `grace chaos run`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  grace chaos run dirt-critical-kernel-kill --dry-run     who would be hit, when, and who is spared
  grace chaos run dirt-critical-kernel-kill               do it: 0 if the system withstood, 1 if not
  grace chaos run ./mine.yaml --json                      a scenario of your own; for scripts
  grace chaos run --all                                   one after the other

Ctrl-C ends a run and undoes what it has on. So does its death: a process of its own holds the
faults, and undoes them when the run is gone. The evidence lies in runs/ of the data folder.")]
pub(crate) struct Run {
    /// Which scenarios: ids, or paths of files
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
    pub(crate) ids: Vec<String>,
    /// Every scenario that there is
    #[arg(long)]
    pub(crate) all: bool,
    /// Print what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) place: Where,
}
