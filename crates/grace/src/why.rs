//! `grace why`: what led to an event and what it led to, as a tree with reasons.

use std::{fmt::Write as _, io::Write as _};

use grace_api::narratives::story::{Story, story};
use grace_core::{instance::Instance, kernels::clarity::journals};
use grace_store::narrative::{NarrativeDb, Told};

use crate::{
    failure::{Exit, Failure},
    limits,
    narratives::{self, args::Why, tell},
    output::Output,
    style::{Style, tame},
};

/// Runs `grace why`.
pub(crate) fn run(instance: &Instance, args: &Why, out: &mut Output) -> Result<Exit, Failure> {
    let db = narratives::open(instance)?;
    let found = story(&db, &args.id).map_err(|e| narratives::unreadable(&e, instance))?;
    let Some(story) = found else { return Err(unknown(&db, instance, &args.id)) };
    if out.json {
        out.json_line(&story.object())?;
    } else {
        write!(out, "{}", text(&story, out.style))?;
        out.flush()?;
        if let Some(decided) = story.decided {
            let name = tame(&args.id);
            let which = if decided {
                "the latest that the control plane decided about it"
            } else {
                "the latest that was told; the control plane decided nothing about it"
            };
            // Not on standard output, which holds the story and nothing else.
            let _ = writeln!(std::io::stderr(), "{which}. Everything: `grace narratives --about {name}`");
        }
    }
    Ok(Exit::Done)
}

fn unknown(db: &NarrativeDb, instance: &Instance, asked: &str) -> Failure {
    let waiting = waiting(db, instance);
    let help = if waiting > 0 {
        format!("some records wait to be told ({waiting}): ask again, or `grace narratives rebuild`")
    } else {
        "it takes the id of an event, correlation, intent, task or chaos run (evt_…, cor_…, int_…, tsk_…, run_…), or a name that events \
         are about; `grace narratives` shows these"
            .to_owned()
    };
    Failure::new(Exit::Usage, "not_found", format!("nothing was told of `{}`", tame(asked)))
        .at(&db.path().display())
        .help(help)
}

/// Records in the journals that the database does not have.
fn waiting(db: &NarrativeDb, instance: &Instance) -> u64 {
    let step = || {};
    let Ok(found) = journals::open(&instance.journals(), &step) else { return 0 };
    let missing = |(source, mut reader): (_, Box<dyn grace_store::JournalReader>)| {
        let (last, next) = (reader.last().ok()?.0, db.next(&source).ok()?);
        Some((last + 1).saturating_sub(next))
    };
    found.journals.into_iter().filter_map(missing).sum()
}

fn text(story: &Story, style: Style) -> String {
    let mut text = String::new();
    let tree = story.tree();
    for (n, (told, levels)) in tree.iter().enumerate() {
        let has_effects = tree.get(n + 1).is_some_and(|(_, next)| next.len() > levels.len());
        node(story, told, levels, has_effects, style, &mut text);
    }
    if story.cut {
        let _ = writeln!(text, "{}", style.warn("there is more than is shown here; ask for one of these"));
    }
    text
}

fn node(story: &Story, told: &Told, levels: &[bool], has_effects: bool, style: Style, text: &mut String) {
    let narrative = &told.narrative;
    // A chain may be long; a terminal is not that wide.
    let ancestors = &levels[..levels.len().saturating_sub(1)];
    let drawn = &ancestors[ancestors.len().saturating_sub(limits::WHY_DEPTH)..];
    let before: String = drawn.iter().map(|last| if *last { "   " } else { "│  " }).collect();
    let (branch, under) = match levels.last() {
        Some(true) => ("└─ ", "   "),
        Some(false) => ("├─ ", "│  "),
        None => ("", ""),
    };
    let place =
        if narrative.place.is_empty() { String::new() } else { format!(" {}", tame(&narrative.place)) };
    let what = format!("{} {}{place}", tame(&narrative.who), tame(narrative.action()));
    let asked = story.asked == Some(narrative.id);
    let what = if asked { style.good(&format!("{what}  ◄ asked")) } else { what };
    let proof =
        told.log_index.map_or_else(|| "not in the log yet".to_owned(), |index| format!("log {index}"));
    let _ = writeln!(text, "{before}{branch}{}  {what}", style.dim(&tell::time(narrative.time)));
    let rail = format!("{before}{under}{}", if has_effects { "│  " } else { "   " });
    for reason in &narrative.why {
        let _ = writeln!(
            text,
            "{rail}because {} {}",
            tame(&reason.text),
            style.dim(&format!("({})", tame(&reason.code)))
        );
    }
    let _ = writeln!(text, "{rail}by {}", tame(&narrative.how));
    let _ = writeln!(text, "{rail}{}", style.dim(&format!("{}, {proof}", narrative.id)));
}
