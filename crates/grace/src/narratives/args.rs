//! The command line of `grace narratives` and `grace why`.

use std::time::Duration;

use clap::{Args, Subcommand};
use grace_store::narrative::Position;
use grace_types::{manifest::units, time::Timestamp};

/// `grace narratives`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "\
Examples:
  grace narratives                the newest 50: when, who, what, where, and why
  grace narratives --since 1h --actor control_plane --action restart
  grace narratives --text '\"exit status\" web'
                                  words in quotes stand in that order; `exit*` begins so
  grace narratives --about web --json
                                  for scripts: one {\"id\": …, \"why\": […], \"log_index\": …} a line
  grace narratives rebuild        make them all again from the journals

Newest first, in the order of causes and effects even when a clock was stepped. Reads the database
file itself, so it works with everything down. `grace why ID` shows what led to one and came of it.")]
pub(crate) struct Narratives {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) filter: Filter,
}

/// What else there is to do with narratives.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make all narratives again from the journals
    #[command(after_help = "\
Examples:
  grace narratives rebuild                  with Grace running or not
  grace narratives rebuild --accept-loss    also when a journal is damaged or gone

One transaction: a crash leaves what was there, and readers see the old ones until it is done. What
the journals do not give any more is named, and nothing is changed unless you accept the loss.")]
    Rebuild {
        /// Also when the journals give less than was told
        #[arg(long)]
        accept_loss: bool,
    },
}

/// What is looked for. Everything that is given must hold.
#[derive(Debug, Args)]
pub(crate) struct Filter {
    /// Who decided or asked, exactly
    #[arg(long, value_name = "NAME")]
    pub(crate) actor: Option<String>,
    /// The component or resource that it concerns, exactly
    #[arg(long, value_name = "NAME")]
    pub(crate) about: Option<String>,
    /// What was done: `started`, a whole type, or the beginning of either
    #[arg(long, value_name = "WORD")]
    pub(crate) action: Option<String>,
    /// Words that occur in reasons, names and particulars
    #[arg(long, value_name = "WORDS", value_parser = words)]
    pub(crate) text: Option<String>,
    /// Not before: `1h` ago, or an RFC 3339 time
    #[arg(long, value_name = "TIME", value_parser = when)]
    pub(crate) since: Option<When>,
    /// Not after: `10m` ago, or an RFC 3339 time
    #[arg(long, value_name = "TIME", value_parser = when)]
    pub(crate) until: Option<When>,
    /// At most this many
    #[arg(long, short = 'n', value_name = "N", default_value_t = 50)]
    pub(crate) limit: usize,
    /// Go on behind this one: `cursor` of the last that was shown
    #[arg(long, value_name = "CURSOR")]
    pub(crate) after: Option<Position>,
    /// The oldest first
    #[arg(long)]
    pub(crate) oldest_first: bool,
}

/// `grace why`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  grace why web                   the latest about the component `web`, with its causes and effects
  grace why evt_01JDC5M3Q8V5S0A6T4ZK2H9XWB
  grace why cor_01JDC5M3Q8V5S0A6T4ZK2H9XWB --json
  grace why int_3xq7k-42          an intent, with its tasks; `tsk_3xq7k-42.0`: one of these
  grace why run_01JDC5M3Q8V5S0A6T4ZK2H9XWB
                                  a run of a chaos scenario, from its start to its judgement

What caused it, what it caused, and everything of the same correlation, as a tree with times,
reasons and the entries of the tamper-evident log that prove them. Of a component's name it is the
latest that the control plane decided about it; `grace narratives --about NAME` shows everything.
Works with everything down.")]
pub(crate) struct Why {
    /// The id of an event, correlation, intent, task or chaos run, or a name that events are about, such as a component's
    pub(crate) id: String,
}

/// A moment as people give it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// So long ago.
    Ago(Duration),
    /// Then.
    At(Timestamp),
}

impl When {
    /// The moment, seen from `now`.
    pub(crate) fn from(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Ago(ago) => now.minus(ago),
            Self::At(time) => time,
        }
    }
}

pub(crate) fn when(text: &str) -> Result<When, String> {
    if let Ok(ago) = units::duration(text) {
        return Ok(When::Ago(ago));
    }
    text.parse()
        .map(When::At)
        .map_err(|_| "a time such as `90s`, `1h` or `2d` ago, or 2026-11-23T08:15:30Z".to_owned())
}

pub(crate) fn words(text: &str) -> Result<String, String> {
    if grace_store::narrative::Query::has_words(text) {
        Ok(text.to_owned())
    } else {
        Err("there is no word to look for".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        let now = Timestamp::from_nanos(1_000_000_000_000);
        assert_eq!(when("1m").unwrap().from(now), Timestamp::from_nanos(940_000_000_000));
        assert_eq!(when("1970-01-01T00:00:05Z").unwrap().from(now), Timestamp::from_nanos(5_000_000_000));
        for wrong in ["", "yesterday", "5", "-1h"] {
            assert!(when(wrong).is_err(), "{wrong}");
        }
        assert!(words("--- \"").is_err() && words("a").is_ok());
    }
}
