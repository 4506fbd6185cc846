//! `grace why`: what led to an event and what it led to, as a tree with reasons.
//!
//! The tree holds the event's causes up to the first that is known, everything of the same correlation, and what each of these caused. Its
//! edges are the causes that the components recorded; nothing is guessed from times.

use std::{
    collections::{HashMap, HashSet},
    fmt::Write as _,
    io::Write as _,
};

use grace_core::{instance::Instance, kernels::clarity::journals};
use grace_cortex::router;
use grace_orchestration::htm::{self, IntentId, TaskId};
use grace_store::{
    StoreError,
    narrative::{NarrativeDb, Told},
};
use grace_types::id::{CorrelationId, EventId};
use serde_json::{Value, json};

use crate::{
    failure::{Exit, Failure},
    limits,
    narratives::{self, args::Why, tell},
    output::Output,
    style::{Style, tame},
};

/// Whose decisions about a component come before what others say of it: the health monitor says something all the time.
const SUPERVISOR: &str = "control_plane";

/// Runs `grace why`.
pub(crate) fn run(instance: &Instance, args: &Why, out: &mut Output) -> Result<Exit, Failure> {
    let db = narratives::open(instance)?;
    let found = story(&db, &args.id).map_err(|e| narratives::unreadable(&e, instance))?;
    let Some(story) = found else { return Err(unknown(&db, instance, &args.id)) };
    if out.json {
        out.json_line(&story.object())?;
    } else {
        write!(out, "{}", story.text(out.style))?;
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
        "`grace narratives` shows ids; `grace status` shows names".to_owned()
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

/// Narratives that belong together.
#[derive(Debug)]
struct Story {
    /// The event that was asked for; `None` for a whole correlation.
    asked: Option<EventId>,
    /// For a component's name: whether it is the supervisor's own decision.
    decided: Option<bool>,
    /// In order.
    told: Vec<Told>,
    /// There is more than is shown.
    cut: bool,
}

fn story(db: &NarrativeDb, asked: &str) -> Result<Option<Story>, StoreError> {
    let most = limits::WHY_NARRATIVES;
    let mut story = Story { asked: None, decided: None, told: Vec::new(), cut: false };
    if let Ok(correlation) = asked.parse::<CorrelationId>() {
        story.told = db.story(correlation, most)?;
    } else if let Some(told) = of_work(db, asked, most)? {
        story.asked = told.iter().find(|told| told.narrative.place == asked).map(|told| told.narrative.id);
        story.cut = told.len() >= most;
        if let Some(first) = told.first() {
            story.told = db.causes(first)?;
            story.told.truncate(most / 2);
            story.told.extend(db.story(first.narrative.correlation, most)?);
        }
        story.told.extend(told);
    } else {
        let focus = match asked.parse::<EventId>() {
            Ok(id) => db.by_id(id)?,
            Err(_) => {
                let latest = db.latest_of(asked, SUPERVISOR)?;
                story.decided = latest.as_ref().map(|told| told.source.component == SUPERVISOR);
                latest
            }
        };
        let Some(focus) = focus else { return Ok(None) };
        story.asked = Some(focus.narrative.id);
        story.told = db.causes(&focus)?;
        story.told.truncate(most / 2);
        story.told.extend(db.story(focus.narrative.correlation, most)?);
        story.told.push(focus);
    }
    let mut seen = HashSet::new();
    story.told.retain(|told| seen.insert(told.narrative.id));
    // What they caused, and what that caused in turn.
    let mut next = 0;
    while let Some(told) = story.told.get(next) {
        let effects = db.effects(told.narrative.id, most)?;
        next += 1;
        for effect in effects {
            if seen.len() >= most {
                story.cut = true;
                break;
            }
            if seen.insert(effect.narrative.id) {
                story.told.push(effect);
            }
        }
    }
    story.cut |= story.told.len() >= most;
    story.told.sort_by_key(|told| told.position);
    Ok((!story.told.is_empty()).then_some(story))
}

/// What the cortex and the task manager recorded of an intent or a task, oldest first; `None` for what is neither. A dispatch is of a worker and of
/// many tasks: it is found by what it names.
fn of_work(db: &NarrativeDb, asked: &str, most: usize) -> Result<Option<Vec<Told>>, StoreError> {
    let names = if let Ok(intent) = asked.parse::<IntentId>() {
        // `tsk_3xq7k-42.`
        let task = intent.task(0).to_string();
        [format!("\"{intent}\""), format!("\"{}", task.trim_end_matches('0'))]
    } else if let Ok(task) = asked.parse::<TaskId>() {
        [format!("\"{task}\""), format!("\"{}\"", task.intent)]
    } else {
        return Ok(None);
    };
    let names = names.each_ref().map(String::as_str);
    let mut told = db.naming(router::shell::NAME, &names, most)?;
    told.extend(db.naming(htm::shell::NAME, &names, most)?);
    told.truncate(most);
    Ok((!told.is_empty()).then_some(told))
}

impl Story {
    /// Each narrative with its depth and whether it is the last at each level, in the order of a tree.
    fn tree(&self) -> Vec<(&Told, Vec<bool>)> {
        let ids: HashSet<EventId> = self.told.iter().map(|told| told.narrative.id).collect();
        let mut children: HashMap<EventId, Vec<&Told>> = HashMap::new();
        let mut roots = Vec::new();
        for told in &self.told {
            match told.narrative.causation.filter(|cause| ids.contains(cause) && *cause != told.narrative.id)
            {
                Some(cause) => children.entry(cause).or_default().push(told),
                None => roots.push(told),
            }
        }
        let mut tree = Vec::new();
        let mut placed = HashSet::new();
        let mut stack: Vec<(&Told, Vec<bool>)> =
            roots.into_iter().rev().map(|told| (told, Vec::new())).collect();
        // Events that cause each other in a circle hang from no root; the oldest of them stands in for one.
        let mut rest = self.told.iter();
        loop {
            while let Some((told, levels)) = stack.pop() {
                if !placed.insert(told.narrative.id) {
                    continue;
                }
                let below = children.remove(&told.narrative.id).unwrap_or_default();
                let count = below.len();
                for (n, child) in below.into_iter().enumerate().rev() {
                    let mut levels = levels.clone();
                    levels.push(n + 1 == count);
                    stack.push((child, levels));
                }
                tree.push((told, levels));
            }
            match rest.find(|told| !placed.contains(&told.narrative.id)) {
                Some(told) => stack.push((told, Vec::new())),
                None => return tree,
            }
        }
    }

    fn text(&self, style: Style) -> String {
        let mut text = String::new();
        let tree = self.tree();
        for (n, (told, levels)) in tree.iter().enumerate() {
            let has_effects = tree.get(n + 1).is_some_and(|(_, next)| next.len() > levels.len());
            self.node(told, levels, has_effects, style, &mut text);
        }
        if self.cut {
            let _ =
                writeln!(text, "{}", style.warn("there is more than is shown here; ask for one of these"));
        }
        text
    }

    fn node(&self, told: &Told, levels: &[bool], has_effects: bool, style: Style, text: &mut String) {
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
        let asked = self.asked == Some(narrative.id);
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

    fn object(&self) -> Value {
        let told: Vec<Value> = self
            .tree()
            .into_iter()
            .map(|(told, levels)| {
                let mut object = tell::object(told);
                object["depth"] = levels.len().into();
                object
            })
            .collect();
        json!({"asked": self.asked, "narratives": told, "complete": !self.cut})
    }
}
