//! `grace narratives`: who did what, when, where, why and how, read from the database file, so that it works with everything down.

pub(crate) mod args;
pub(crate) mod tell;

use std::io::Write as _;

use grace_core::{
    instance::Instance,
    kernels::clarity::{database, journals},
};
use grace_store::{
    StoreError, limits as store,
    narrative::{NarrativeDb, Order, Query, Rebuilt, set_aside},
};
use grace_types::time::{Clock as _, SystemClock};
use serde_json::json;

use self::args::{Command, Filter, Narratives};
use crate::{
    control,
    failure::{Exit, Failure},
    output::Output,
    style::tame,
};

/// Runs `grace narratives`.
pub(crate) fn run(instance: &Instance, args: &Narratives, out: &mut Output) -> Result<Exit, Failure> {
    match args.command {
        Some(Command::Rebuild { accept_loss }) => rebuild(instance, accept_loss, out),
        None => find(instance, &args.filter, out),
    }
}

/// Opens the database of an instance for reading.
pub(crate) fn open(instance: &Instance) -> Result<NarrativeDb, Failure> {
    NarrativeDb::open_read_only(database(instance.data())).map_err(|e| unreadable(&e, instance))
}

/// What a failure of the database means to a person.
pub(crate) fn unreadable(error: &StoreError, instance: &Instance) -> Failure {
    let path = database(instance.data());
    match error {
        StoreError::Missing { .. } => {
            Failure::new(Exit::Usage, "no_narratives", "nothing has been told here yet")
                .at(&path.display())
                .help("`grace up` begins it; --data DIR names another instance; `grace narratives rebuild` reads the journals that are there")
        }
        StoreError::Corrupt { .. } => {
            Failure::new(Exit::Failed, "narratives_unreadable", format!("the narratives are damaged: {error}"))
                .at(&path.display())
                .help("`grace narratives rebuild` makes them again from the journals")
        }
        _ => Failure::new(Exit::Failed, "narratives_unreadable", format!("the narratives cannot be read: {error}"))
            .at(&path.display())
            .help("try again; `grace doctor` looks at the folder"),
    }
}

fn find(instance: &Instance, filter: &Filter, out: &mut Output) -> Result<Exit, Failure> {
    let db = open(instance)?;
    let now = SystemClock.now().wall;
    let mut query = Query {
        source: None,
        actor: filter.actor.clone(),
        place: filter.about.clone(),
        action: filter.action.clone(),
        text: filter.text.clone(),
        correlation: None,
        since: filter.since.map(|when| when.from(now)),
        until: filter.until.map(|when| when.from(now)),
        order: if filter.oldest_first { Order::OldestFirst } else { Order::NewestFirst },
        after: filter.after,
        limit: 0,
    };
    let width = out.width();
    let mut left = filter.limit;
    let mut begun = false;
    while left > 0 {
        query.limit = left.min(store::NARRATIVE_PAGE);
        let page = db.find(&query).map_err(|e| unreadable(&e, instance))?;
        if !out.json && !begun && !page.told.is_empty() {
            writeln!(out, "{}", out.style.dim(&tell::head()))?;
            begun = true;
        }
        left -= page.told.len();
        for told in &page.told {
            if out.json {
                writeln!(out, "{}", grace_api::narratives::object(told))?;
            } else {
                let line = tell::line(told, width, out.style);
                writeln!(out, "{line}")?;
            }
        }
        query.after = page.next;
        if query.after.is_none() {
            break;
        }
    }
    out.flush()?;
    if !out.json {
        // Not on standard output, which holds rows and nothing else.
        let _ = match query.after.filter(|_| left == 0) {
            Some(next) if filter.limit > 0 => {
                writeln!(std::io::stderr(), "there are more: the same with --after {next}")
            }
            _ if !begun => writeln!(std::io::stderr(), "nothing of this kind was told"),
            _ => Ok(()),
        };
    }
    Ok(Exit::Done)
}

fn rebuild(instance: &Instance, accept_loss: bool, out: &mut Output) -> Result<Exit, Failure> {
    let path = database(instance.data());
    if !instance.data().is_dir() {
        return Err(unreadable(
            &StoreError::Missing { path: path.display().to_string(), detail: String::new() },
            instance,
        ));
    }
    let step = || {};
    let found = journals::open(&instance.journals(), &step).map_err(|e| {
        Failure::new(Exit::Failed, "not_rebuilt", format!("the journals cannot be listed: {e}"))
            .at(&instance.journals().display())
            .help("`grace doctor` looks at the folder")
    })?;
    let mut db = match NarrativeDb::open(&path) {
        Err(StoreError::Corrupt { .. }) => {
            // Whoever has it open would go on writing to the file that was set aside.
            if control::status(instance).is_ok() {
                return Err(Failure::new(Exit::Failed, "not_rebuilt", "the database is damaged, and in use")
                    .at(&path.display())
                    .help("`grace restart clarity`: it sets the file aside, and everything is told again"));
            }
            let aside = path.with_extension(format!("damaged-{}.db", SystemClock.now().wall.as_millis()));
            set_aside(&path, &aside).and_then(|()| NarrativeDb::open(&path))
        }
        opened => opened,
    }
    .map_err(|e| unreadable(&e, instance))?;
    let rebuilt = db.rebuild(found.journals, accept_loss).map_err(|e| unreadable(&e, instance))?;
    let unreadable: Vec<String> = found.unreadable.iter().map(ToString::to_string).collect();
    report(&rebuilt, &unreadable, db.path(), out)
}

fn report(
    rebuilt: &Rebuilt,
    unreadable: &[String],
    path: &std::path::Path,
    out: &mut Output,
) -> Result<Exit, Failure> {
    let lost: Vec<String> = rebuilt
        .lost
        .iter()
        .map(|lost| format!("{}: records {} to {}: {}", lost.source, lost.has + 1, lost.had, lost.detail))
        .collect();
    if !rebuilt.done {
        return Err(Failure::new(
            Exit::Failed,
            "would_lose",
            "the journals do not give all that was told; nothing was changed",
        )
        .at(&path.display())
        .help("put the journals back, or accept the loss: `grace narratives rebuild --accept-loss`")
        .detail(tame_lines(&[unreadable, &lost].concat())));
    }
    if out.json {
        let told = json!({"records": rebuilt.records, "journals": rebuilt.journals, "lost": lost, "unreadable": unreadable});
        out.json_line(&told)?;
    } else {
        let warnings = tame_lines(&[unreadable, &lost].concat());
        let plural = |n: u64| if n == 1 { "" } else { "s" };
        let (records, journals) = (rebuilt.records, rebuilt.journals as u64);
        writeln!(
            out,
            "{records} record{} of {journals} journal{} told again",
            plural(records),
            plural(journals)
        )?;
        write!(out, "{warnings}")?;
        out.flush()?;
    }
    Ok(Exit::Done)
}

fn tame_lines(lines: &[String]) -> String {
    lines.iter().map(|line| tame(line) + "\n").collect()
}
