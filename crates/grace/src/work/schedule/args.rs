//! The command line of `grace schedule`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use grace_orchestration::{period::Period, scheduler};
use grace_types::time::Timestamp;
use serde::Deserialize as _;
use serde_json::Value;

use crate::work::letters::Letters;

/// `grace schedule`.
#[derive(Debug, Subcommand)]
pub(crate) enum Schedule {
    /// List schedules: what fires when, what fired, and what did not
    #[command(after_help = "\
Examples:
  grace schedule list
  grace schedule list --json      for scripts: one schedule a line")]
    List,
    /// Show one schedule with its next times and dead letters
    #[command(after_help = "\
Examples:
  grace schedule show nightly
  grace schedule show nightly -n 20
  grace why nightly               what was decided about it")]
    Show {
        /// Which
        name: String,
        /// How many of its next times
        #[arg(long, short = 'n', value_name = "N", default_value_t = 5)]
        times: usize,
    },
    /// Print the next times of a schedule, or of a pattern
    Next(Next),
    /// Add a schedule beside those of the manifest, or replace one that was added
    Add(Box<Add>),
    /// Remove a schedule that was added, with what waits to be delivered for it
    #[command(after_help = "\
Examples:
  grace schedule remove nightly")]
    Remove {
        /// Which
        name: String,
    },
    /// Have a schedule fire no more until it is resumed
    #[command(after_help = "\
Examples:
  grace schedule pause nightly    what its times would have been passes unnoticed")]
    Pause {
        /// Which
        name: String,
    },
    /// Have a paused schedule fire again
    #[command(after_help = "\
Examples:
  grace schedule resume nightly")]
    Resume {
        /// Which
        name: String,
    },
    /// Have a schedule fire now, beside its times, paused or not
    #[command(after_help = "\
Examples:
  grace schedule run nightly      the key that it prints is that of the intent")]
    Run {
        /// Which
        name: String,
    },
    /// Try dead letters again
    #[command(after_help = "\
Examples:
  grace schedule requeue nightly          all of them
  grace schedule requeue nightly KEY      one, by the key that `show` names")]
    Requeue(Letters),
    /// Throw dead letters away
    #[command(after_help = "\
Examples:
  grace schedule discard nightly          all of them
  grace schedule discard nightly KEY      one, by the key that `show` names")]
    Discard(Letters),
}

/// `grace schedule next`.
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("whose").args(["name", "cron"]).required(true),
    after_help = "\
Examples:
  grace schedule next nightly -n 3
  grace schedule next --cron '30 2 * * *' --zone Europe/Berlin
  grace schedule next --cron '*/15 8-18 * * mon-fri' --from 2027-03-28T00:00:00Z

With --cron, Grace need not run: it is the way to try a pattern out. A time that the clocks skip fires at the
first moment after the gap; one that comes twice fires once."
)]
pub(crate) struct Next {
    /// Which schedule
    pub(super) name: Option<String>,
    /// A pattern: minute hour day month weekday, or six fields with seconds first
    #[arg(long, value_name = "PATTERN")]
    pub(super) cron: Option<String>,
    /// Its time zone, such as Europe/Berlin; UTC when left out
    #[arg(long, requires = "cron")]
    pub(super) zone: Option<String>,
    /// After this time (RFC 3339) rather than now
    #[arg(long, value_name = "TIME", requires = "cron")]
    pub(super) from: Option<Timestamp>,
    /// How many
    #[arg(long, short = 'n', value_name = "N", default_value_t = 5)]
    pub(super) times: usize,
}

/// `grace schedule add`.
#[derive(Debug, Args)]
#[command(
    override_usage = "grace schedule add <NAME> --cron <PATTERN> --submit <TYPE> [OPTIONS]\n       \
                      grace schedule add <NAME> --file <FILE>",
    group = ArgGroup::new("when").args(["file", "cron", "once", "every", "after"]).required(true),
    group = ArgGroup::new("what").args(["file", "submit", "publish"]).required(true),
    after_help = "\
Examples:
  grace schedule add nightly --cron '30 2 * * *' --zone Europe/Berlin --submit backup
  grace schedule add ping --every 5m --jitter 10s --publish com.shop.ping
  grace schedule add launch --once 2027-01-01T00:00:00Z --submit launch --payload '{\"n\": 1}'
  grace schedule add nightly --file nightly.yaml

It is on disk when the command returns, and outlives a restart. What the manifest declares is changed there."
)]
pub(crate) struct Add {
    /// Its name
    pub(super) name: String,
    /// What it is, in YAML or JSON: `when`, `action` and the rest; - for standard input
    #[arg(long, short, conflicts_with_all = ["jitter", "overlap", "misfire"])]
    pub(super) file: Option<PathBuf>,
    /// A pattern: minute hour day month weekday, or six fields with seconds first
    #[arg(long, value_name = "PATTERN", help_heading = "When")]
    pub(super) cron: Option<String>,
    /// The pattern's time zone, such as Europe/Berlin; UTC when left out
    #[arg(long, requires = "cron", help_heading = "When")]
    pub(super) zone: Option<String>,
    /// Once, at this time (RFC 3339)
    #[arg(long, value_name = "TIME", help_heading = "When")]
    pub(super) once: Option<Timestamp>,
    /// Again and again, such as 5m; at least 1s
    #[arg(long, value_name = "SPAN", value_parser = period, help_heading = "When")]
    pub(super) every: Option<Period>,
    /// Once, this long from now, such as 10m
    #[arg(long, value_name = "SPAN", value_parser = period, help_heading = "When")]
    pub(super) after: Option<Period>,
    /// Submit an intent of this type
    #[arg(long, value_name = "TYPE", help_heading = "What")]
    pub(super) submit: Option<String>,
    /// Publish an event of this type
    #[arg(long, value_name = "TYPE", help_heading = "What")]
    pub(super) publish: Option<String>,
    /// The intent's payload, or the event's data; texts in it may hold ${ CEL }
    #[arg(long, value_name = "JSON", value_parser = json, conflicts_with = "file", help_heading = "What")]
    pub(super) payload: Option<Value>,
    /// Put each occurrence off by up to this, at random
    #[arg(long, value_name = "SPAN", value_parser = period)]
    pub(super) jitter: Option<Period>,
    /// What if the occurrence before still runs [default: allow]
    #[arg(long, value_enum)]
    pub(super) overlap: Option<Overlap>,
    /// What of occurrences that are late [default: run-once]
    #[arg(long, value_enum)]
    pub(super) misfire: Option<Misfire>,
}

/// What if the occurrence before still runs.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Overlap {
    Allow,
    Skip,
    Queue,
}

impl From<Overlap> for scheduler::Overlap {
    fn from(overlap: Overlap) -> Self {
        match overlap {
            Overlap::Allow => Self::Allow,
            Overlap::Skip => Self::Skip,
            Overlap::Queue => Self::Queue,
        }
    }
}

/// What of occurrences that are late.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Misfire {
    Skip,
    RunOnce,
    RunAll,
}

impl From<Misfire> for scheduler::Misfire {
    fn from(misfire: Misfire) -> Self {
        match misfire {
            Misfire::Skip => Self::Skip,
            Misfire::RunOnce => Self::RunOnce,
            Misfire::RunAll => Self::RunAll,
        }
    }
}

fn period(text: &str) -> Result<Period, String> {
    Period::deserialize(Value::from(text)).map_err(|e| e.to_string())
}

fn json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|e| format!("this is not JSON: {e}"))
}
