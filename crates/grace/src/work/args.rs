//! The command lines of `grace intent` and `grace task`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand, ValueEnum};
use grace_cortex::command::DecisionState;
use grace_orchestration::{
    htm::view::{IntentState, TaskState as TaskStage},
    intent,
};
use grace_types::manifest::units;

/// `grace intent`.
#[derive(Debug, Subcommand)]
pub(crate) enum Intent {
    /// Ask for something to be done
    Submit(Submit),
    /// List intents, newest first
    #[command(after_help = "\
Examples:
  grace intent list               the last 20
  grace intent list --state failed -n 100
  grace intent list --json        for scripts: one intent a line, as `show` prints it")]
    List {
        /// Only those at this state
        #[arg(long, value_enum)]
        state: Option<State>,
        /// How many at most
        #[arg(long, short = 'n', value_name = "N", default_value_t = 20)]
        lines: usize,
    },
    /// Show one intent with its tasks
    #[command(after_help = "\
Examples:
  grace intent show int_3xq7k-42
  grace intent show int_3xq7k-42 --json
  grace why int_3xq7k-42          who wanted it, and why it was taken")]
    Show {
        /// Which, such as `int_3xq7k-42`
        id: String,
    },
    /// List the types of intents, with what waits and runs, and the kinds of their tasks
    #[command(after_help = "\
Examples:
  grace intent types              `exec, http` at the end of a line: what its workers must offer
  grace intent types --json       for scripts: one type a line")]
    Types,
    /// Give out no task of a type until it is resumed; intents of it are still taken, and wait
    #[command(after_help = "\
Examples:
  grace intent pause resize_image --reason 'the disk is full'
  grace intent resume resize_image")]
    Pause {
        /// Its name
        #[arg(value_name = "TYPE")]
        kind: String,
        /// Why; it is recorded
        #[arg(long, default_value = "asked for by the operator")]
        reason: String,
    },
    /// Give out tasks of a paused type again
    #[command(after_help = "\
Examples:
  grace intent resume resize_image --reason 'the disk has room again'")]
    Resume {
        /// Its name
        #[arg(value_name = "TYPE")]
        kind: String,
        /// Why; it is recorded
        #[arg(long, default_value = "asked for by the operator")]
        reason: String,
    },
}

/// `grace intent submit`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  grace intent submit resize_image --actor ann --payload '{\"path\": \"in.png\"}'
  grace intent submit resize_image --actor ann --payload-file job.json --wait
  grace intent submit nightly --actor cron --key 2026-11-23 --priority low --delay 2h --deadline 6h
  make-job | grace intent submit resize_image --actor ann --payload -

Types of intents are declared under `intents:` in the manifest. The cortex decides first, by policies: allowed (status 0), waiting for
a person (status 0), or denied (status 1). The same --key gives the same intent and the same decision, however often it is submitted.
Once the id is printed, both are on disk.")]
pub(crate) struct Submit {
    /// Its type
    #[arg(value_name = "TYPE")]
    pub(crate) kind: String,
    /// Who wants it
    #[arg(long, value_name = "NAME")]
    pub(crate) actor: String,
    /// What it is about; `-` reads it from standard input
    #[arg(long, value_name = "JSON", conflicts_with = "payload_file")]
    pub(crate) payload: Option<String>,
    /// The same from a file
    #[arg(long, value_name = "FILE")]
    pub(crate) payload_file: Option<PathBuf>,
    /// How urgent it is; the type says it otherwise
    #[arg(long, value_enum)]
    pub(crate) priority: Option<Priority>,
    /// How long it may take before it counts as late, such as 5m; the type says it otherwise
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) deadline: Option<Duration>,
    /// Do not begin before this time is over, such as 30s
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) delay: Option<Duration>,
    /// Idempotency key
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,
    /// What it is about, for policies; `instance` when not given
    #[arg(long, value_name = "NAME")]
    pub(crate) target: Option<String>,
    /// People outside would notice
    #[arg(long)]
    pub(crate) user_facing: bool,
    /// It is about an emergency
    #[arg(long)]
    pub(crate) emergency: bool,
    /// How much revenue depends on it, 0.0 to 1.0
    #[arg(long, value_name = "PART", value_parser = part)]
    pub(crate) revenue_impact: Option<f64>,
    /// Wait until it is over; status 1 unless it succeeded
    #[arg(long)]
    pub(crate) wait: bool,
}

fn part(text: &str) -> Result<f64, String> {
    let part = text.parse().ok().filter(|part| (0.0..=1.0).contains(part));
    part.ok_or_else(|| "a number from 0.0 to 1.0".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    units::duration(text).map_err(|e| match e.help {
        Some(help) => format!("{}; {help}", e.message),
        None => e.message,
    })
}

/// How urgent.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Priority {
    Critical,
    High,
    Normal,
    Low,
}

impl From<Priority> for intent::Priority {
    fn from(priority: Priority) -> Self {
        match priority {
            Priority::Critical => Self::Critical,
            Priority::High => Self::High,
            Priority::Normal => Self::Normal,
            Priority::Low => Self::Low,
        }
    }
}

/// What an intent is at.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum State {
    Waiting,
    Running,
    Compensating,
    Succeeded,
    Failed,
    Cancelled,
    Denied,
}

impl State {
    /// In the task manager's words; it knows nothing of what is denied.
    pub(crate) const fn at_work(self) -> Option<IntentState> {
        match self {
            Self::Waiting => Some(IntentState::Waiting),
            Self::Running => Some(IntentState::Running),
            Self::Compensating => Some(IntentState::Compensating),
            Self::Succeeded => Some(IntentState::Succeeded),
            Self::Failed => Some(IntentState::Failed),
            Self::Cancelled => Some(IntentState::Cancelled),
            Self::Denied => None,
        }
    }

    /// In the cortex's words; what runs is the task manager's to say.
    pub(crate) const fn decided(self) -> Option<DecisionState> {
        match self {
            Self::Waiting => Some(DecisionState::Waiting),
            Self::Succeeded => Some(DecisionState::Succeeded),
            Self::Failed => Some(DecisionState::Failed),
            Self::Denied => Some(DecisionState::Denied),
            Self::Running | Self::Compensating | Self::Cancelled => None,
        }
    }
}

/// What a task is at.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum TaskState {
    Blocked,
    Delayed,
    Waiting,
    Running,
    Succeeded,
    Dead,
    Cancelled,
}

impl From<TaskState> for TaskStage {
    fn from(state: TaskState) -> Self {
        match state {
            TaskState::Blocked => Self::Blocked,
            TaskState::Delayed => Self::Delayed,
            TaskState::Waiting => Self::Waiting,
            TaskState::Running => Self::Running,
            TaskState::Succeeded => Self::Succeeded,
            TaskState::Dead => Self::Dead,
            TaskState::Cancelled => Self::Cancelled,
        }
    }
}

/// `grace task`.
#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// List tasks of the newest intents, or dead letters
    #[command(after_help = "\
Examples:
  grace task list                 tasks of the last 20 intents
  grace task list --state running
  grace task list --dead          tasks that failed for good; `grace task retry` gives another chance
  grace task list --json          for scripts: one task a line")]
    List {
        /// Only tasks that failed for good
        #[arg(long, conflicts_with = "state")]
        dead: bool,
        /// Only those at this state
        #[arg(long, value_enum)]
        state: Option<TaskState>,
        /// Of how many intents, or how many dead letters, at most
        #[arg(long, short = 'n', value_name = "N", default_value_t = 20)]
        lines: usize,
    },
    /// Show one task
    #[command(after_help = "\
Examples:
  grace task show tsk_3xq7k-42.0  its state, its worker, what came out or why it failed
  grace why tsk_3xq7k-42.0        what was decided about it")]
    Show {
        /// Which, such as `tsk_3xq7k-42.0`
        id: String,
    },
    /// End an intent: what waits is dropped, what runs is stopped, what was done is compensated
    #[command(after_help = "\
Examples:
  grace task cancel int_3xq7k-42 --reason 'wrong folder'
  grace task cancel tsk_3xq7k-42.0          the task's whole intent")]
    Cancel {
        /// An intent, or a task of it
        id: String,
        /// Why; it is recorded
        #[arg(long, default_value = "asked for by the operator")]
        reason: String,
    },
    /// Give a task that failed for good another chance
    #[command(after_help = "\
Examples:
  grace task retry tsk_3xq7k-42.0 --reason 'the disk has room again'")]
    Retry {
        /// Which
        id: String,
        /// Why; it is recorded
        #[arg(long, default_value = "asked for by the operator")]
        reason: String,
    },
}
