//! The command line as clap sees it: names, help texts, examples. What a command does lives in its own module.
//!
//! The internal entry points (`guardian`, `control-plane`, `injector`, `kernel NAME`) are not here: [`crate::internal`] takes
//! them before clap builds its tree, which a supervised process would carry in memory for nothing.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Keeps your programs running, and writes down why.
#[derive(Debug, Parser)]
#[command(
    name = "grace",
    version,
    max_term_width = 100,
    after_help = "\
Examples:
  grace up                        run the built-in kernels and ./grace.yaml, if there is one
  grace up --detach               the same, in the background, once everything is ready
  grace status                    what runs, and since when
  grace doctor                    what this host lacks, and what that means

Exit status:
  0  done
  1  what was asked for failed
  2  wrong usage or bad input
  3  Grace is not running, or cannot be reached"
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
pub(crate) struct Globals {
    /// Folder of the instance's files [default: $GRACE_DATA, else $XDG_STATE_HOME/grace, else ~/.local/state/grace]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Global options")]
    pub(crate) data: Option<PathBuf>,
    /// Print JSON, and errors as JSON on standard error
    #[arg(long, global = true, help_heading = "Global options")]
    pub(crate) json: bool,
    /// When to use colours; NO_COLOR turns `auto` into `never`
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "WHEN",
        help_heading = "Global options"
    )]
    pub(crate) color: Color,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Color {
    // Comments here would become help texts, and make every help page twice as long.
    #[default]
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start everything, and stay until it is stopped
    Up(Up),
    /// Stop everything, in order, and wait for the end
    #[command(after_help = "\
Examples:
  grace down                      dependents first, each with its own signal and timeout
  grace --data /srv/shop down     another instance")]
    Down,
    /// Show every component: state, process, restarts, health
    #[command(after_help = "\
Examples:
  grace status                    a table; works with the bus and every kernel dead
  grace status --watch            again after every change
  grace status --json             for scripts: {\"state\": …, \"components\": […]}")]
    Status {
        /// Print again after every change, until interrupted
        #[arg(long, short)]
        watch: bool,
    },
    /// Show what a component printed
    Logs(Logs),
    /// Stop a component's process and start a new one
    #[command(after_help = "\
Examples:
  grace restart web               also one that failed or stopped; its restart count begins anew")]
    Restart(Name),
    /// Stop a component in place (SIGSTOP); its watchdog and probes wait
    #[command(after_help = "\
Examples:
  grace pause worker              hold it, with its memory, to look at it
  grace resume worker             let it go on")]
    Pause(Name),
    /// Let a paused component go on
    #[command(after_help = "\
Examples:
  grace resume worker             its watchdog and probes begin again")]
    Resume(Name),
    /// Ask for something to be done, and see what became of it
    #[command(after_help = "\
Examples:
  grace intent submit resize_image --actor ann --payload '{\"path\": \"in.png\"}'
  grace intent list               what was asked for
  grace intent show int_3xq7k-42  one intent with its tasks")]
    Intent {
        #[command(subcommand)]
        command: crate::work::args::Intent,
    },
    /// Look at tasks, end them, and give them another chance
    #[command(after_help = "\
Examples:
  grace task list --dead          what failed for good
  grace task retry tsk_3xq7k-42.0
  grace task cancel int_3xq7k-42  end an intent with all its tasks")]
    Task {
        #[command(subcommand)]
        command: crate::work::args::Task,
    },
    /// See which events set off what, and try it out
    #[command(after_help = "\
Examples:
  grace trigger list              what is subscribed, how often it fired, and what is stuck
  grace trigger test event.json   what this event would set off, and why not the rest
  grace trigger requeue thumbnails")]
    Trigger {
        #[command(subcommand)]
        command: crate::work::trigger::args::Trigger,
    },
    /// See what follows from events, check it, and try it out
    #[command(after_help = "\
Examples:
  grace policy list               what is in force, how often it fired, and what rests
  grace policy lint grace.yaml    loops, and policies that never act; Grace need not run
  grace policy test event.json    what would follow from this event, and why not the rest")]
    Policy {
        #[command(subcommand)]
        command: crate::work::policy::args::Policy,
    },
    /// See what is to be done at which times, and change it
    #[command(after_help = "\
Examples:
  grace schedule list             what fires next
  grace schedule next --cron '30 2 * * *' --zone Europe/Berlin
  grace schedule run nightly      now, beside its times
  grace schedule add ping --every 5m --submit ping")]
    Schedule {
        #[command(subcommand)]
        command: crate::work::schedule::args::Schedule,
    },
    /// See what waits for a person, and say yes or no
    #[command(after_help = "\
Examples:
  grace approvals enroll ann      make a key; the first approver counts at once
  grace approvals list            what waits
  grace approvals approve int_3xq7k-42 --as ann")]
    Approvals {
        #[command(subcommand)]
        command: crate::govern::args::Approvals,
    },
    /// Look at what ran without being asked about first
    #[command(after_help = "\
Examples:
  grace reviews list
  grace reviews flag int_3xq7k-42 --note 'why at night?'")]
    Reviews {
        #[command(subcommand)]
        command: crate::govern::args::Reviews,
    },
    /// Give leave to act in an emergency, for a time
    #[command(after_help = "\
Examples:
  grace emergency begin --reason 'the disk fails' --for 15m
  grace emergency end emg-1")]
    Emergency {
        #[command(subcommand)]
        command: crate::govern::args::Emergency,
    },
    /// See and change what is decided by: policies and the charter
    #[command(after_help = "\
Examples:
  grace governance show           what is in force
  grace governance test cases.yaml --policies new/
  grace governance lint new.cedar
  grace governance propose --policies new.cedar --reason 'agents may read'")]
    Governance {
        #[command(subcommand)]
        command: crate::govern::args::Governance,
    },
    /// Decide on what a coding agent is about to do, as its hook
    #[command(after_help = "\
Examples:
  grace hook install claude-code --dry-run     the settings with which it asks Grace
  grace hook claude-code < call.json           what those settings run: the hook's JSON in, its answer out")]
    Hook {
        #[command(subcommand)]
        command: crate::hook::args::Hook,
    },
    /// Say who may ask over HTTP, and for what
    #[command(after_help = "\
Examples:
  grace token create --actor ci --scope intents:submit --ttl 24h
  grace token list
  grace token revoke tok_4f9a2c1b")]
    Token {
        #[command(subcommand)]
        command: crate::token::args::Token,
    },
    /// Serve Grace's tools over the Model Context Protocol, or put another server behind Grace
    Mcp(crate::mcp::args::Mcp),
    /// Search what was decided: who, what, when, where, why and how
    Narratives(crate::narratives::args::Narratives),
    /// Show what led to something, and what it led to
    Why(crate::narratives::args::Why),
    /// Look into the tamper-evident log, and check it
    #[command(after_help = "\
Examples:
  grace log tail -f               what is decided, as it is sealed
  grace log verify                is every bit of the log as it was signed?
  grace log fsck                  and does it hold every record of every journal?

All of it works on the files alone, with Grace running or not.")]
    Log {
        #[command(subcommand)]
        command: crate::log::args::Log,
    },
    /// Check a bundle of evidence, or the proof of one log entry, anywhere
    Verify(crate::verify::Verify),
    /// Attack the running instance on purpose, and judge what happens
    #[command(after_help = "\
Examples:
  grace chaos list                                        the scenarios that there are
  grace chaos run dirt-critical-kernel-kill --dry-run     who would be hit, and when
  grace chaos run dirt-critical-kernel-kill               0 if the system withstood it, 1 if not
  grace chaos abort                                       end the run under way")]
    Chaos {
        #[command(subcommand)]
        command: crate::chaos::args::Chaos,
    },
    /// Check what this host offers, and say what each lack means
    #[command(after_help = "\
Examples:
  grace doctor                    one row a check; status 1 if Grace cannot run here
  grace doctor --data /srv/shop   for an instance whose files would lie there
  grace doctor --json             for scripts: [{\"check\": …, \"ok\": …}]")]
    Doctor,
}

/// `grace up`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  grace up                        ./grace.yaml, ./grace.yml or ./Procfile, if there is one
  grace up --manifest shop.yaml   this manifest
  grace up --check                validate it and print the order in which things would start
  grace up --detach               in the background: 0 once everything is ready, 1 with what is not

Without a manifest the built-in kernels run alone. Ctrl-C stops everything in order. Under systemd
(Type=notify), readiness and stopping are reported to it.")]
pub(crate) struct Up {
    /// What to run: a manifest in YAML, or a Procfile
    #[arg(long, short, value_name = "FILE")]
    pub(crate) manifest: Option<PathBuf>,
    /// Return once everything is ready, and leave it running
    #[arg(long, short)]
    pub(crate) detach: bool,
    /// Validate, print the boot plan, and start nothing
    #[arg(long, conflicts_with_all = ["detach", "timeout"])]
    pub(crate) check: bool,
    /// How many seconds --detach waits for everything to be ready
    #[arg(long, value_name = "SECONDS", default_value = "120", value_parser = seconds, requires = "detach")]
    pub(crate) timeout: Duration,
}

/// `grace logs`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  grace logs web                  its last 100 lines, over rotated files, with Grace running or not
  grace logs web -n 20 -f         the last 20, then what is added, until interrupted")]
pub(crate) struct Logs {
    /// Which component
    pub(crate) name: String,
    /// Go on with what is added
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// How many of its last lines
    #[arg(long, short = 'n', value_name = "N", default_value_t = 100)]
    pub(crate) lines: usize,
}

/// A component.
#[derive(Debug, Args)]
pub(crate) struct Name {
    /// Which component
    pub(crate) name: String,
}

/// Whole or broken seconds; a day is more than anybody waits.
fn seconds(text: &str) -> Result<Duration, String> {
    let wrong = || "a number of seconds above 0, and at most 86400".to_owned();
    let seconds: f64 = text.parse().map_err(|_| wrong())?;
    if seconds > 0.0 && seconds <= 86_400.0 { Ok(Duration::from_secs_f64(seconds)) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_shows_examples() {
        for command in Cli::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.starts_with("Examples:\n"), "{}", command.get_name());
        }
    }

    #[test]
    fn seconds_have_bounds() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for wrong in ["", "0", "-1", "NaN", "inf", "1e9", "5m"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
