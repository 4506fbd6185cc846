//! `grace intent` and `grace task`: asks the cortex and the task manager over the bus.
//!
//! ```text
//! args ─► road (the operator's URL) ─► grace.cmd.cortex (intents), grace.cmd.htm (their tasks) ─► show: lines, or JSON
//! ```
//!
//! Not here: what led to something (`grace why`), which is told with everything down.

pub(crate) mod args;
mod file;
pub(crate) mod intent;
mod letters;
pub(crate) mod policy;
pub(crate) mod schedule;
mod show;
pub(crate) mod trigger;

use std::io::Read as _;

use grace_core::instance::Instance;
use grace_orchestration::{
    htm::{
        BadId, Command, Htm, IntentId, Refusal, Reply, TaskId,
        command::{Query, Refused},
        shell,
        view::{IntentState, IntentView, TaskState},
    },
    intent::Json,
    limits,
};

use self::args::{Intent, Submit, Task};
use crate::{
    failure::{Exit, Failure},
    output::Output,
    road::{self, Asked},
};

impl Asked for Htm {
    const COMPONENT: &'static str = shell::NAME;
    const CALLED: &'static str = "the task manager";

    fn refused(refusal: Refusal) -> Failure {
        let exit = match refusal.code.as_str() {
            "unknown_intent" | "unknown_task" | "unknown_type" | "bad_request" => Exit::Usage,
            _ => Exit::Failed,
        };
        let code = match refusal.code.as_str() {
            "unknown_intent" | "unknown_task" => "not_found",
            "over" | "not_dead" | "compensated" => "wrong_state",
            other => other,
        };
        Failure::new(exit, code, refusal.message)
    }
}

type Road = road::Road<Htm>;

/// Runs a command of `grace intent`.
pub(crate) fn intent(instance: &Instance, command: &Intent, out: &mut Output) -> Result<Exit, Failure> {
    match command {
        Intent::Submit(args) => intent::submit(instance, args, out),
        Intent::List { state, lines } => intent::list(instance, *state, *lines, out),
        Intent::Show { id } => intent::show(instance, id.parse().map_err(|e| bad_id(&e))?, out),
        Intent::Types => types(&Road::to(instance)?, None, out),
        Intent::Pause { kind, reason } => {
            let (name, reason) = (kind.clone(), reason.clone());
            switch(instance, kind, Command::Pause { name, reason }, out)
        }
        Intent::Resume { kind, reason } => {
            let (name, reason) = (kind.clone(), reason.clone());
            switch(instance, kind, Command::Resume { name, reason }, out)
        }
    }
}

/// Pauses or resumes a type, and shows what it is at then.
fn switch(instance: &Instance, kind: &str, command: Command, out: &mut Output) -> Result<Exit, Failure> {
    let road = Road::to(instance)?;
    road.order(command)?;
    types(&road, Some(kind), out)
}

/// Shows all types, or one.
fn types(road: &Road, only: Option<&str>, out: &mut Output) -> Result<Exit, Failure> {
    let Reply::Overview(overview) = road.ask(Command::Query(Query::Overview))? else { return Err(odd()) };
    let wanted = overview.types.iter().filter(|(name, _)| only.is_none_or(|only| only == *name));
    show::types(wanted, out)?;
    if !out.json && only.is_none() {
        show::stuck(&overview.stuck, out)?;
    }
    Ok(Exit::Done)
}

/// Runs a command of `grace task`.
pub(crate) fn task(instance: &Instance, command: &Task, out: &mut Output) -> Result<Exit, Failure> {
    match command {
        Task::List { dead: false, state, lines } => {
            let (intents, more) = intents(&Road::to(instance)?, None, *lines)?;
            let state = state.map(TaskState::from);
            let tasks = intents.into_iter().flat_map(|intent| intent.tasks);
            let tasks: Vec<_> = tasks.filter(|task| state.is_none_or(|state| task.state == state)).collect();
            show::tasks(&tasks, more, out)?;
        }
        Task::List { dead: true, lines, .. } => {
            let reply = Road::to(instance)?.ask(Command::Query(Query::DeadLetters { limit: *lines }))?;
            let Reply::DeadLetters { tasks, more } = reply else { return Err(odd()) };
            show::tasks(&tasks, more, out)?;
        }
        Task::Show { id } => {
            let id: TaskId = id.parse().map_err(|e| bad_id(&e))?;
            let Reply::Task(task) = Road::to(instance)?.ask(Command::Query(Query::Task(id)))? else {
                return Err(odd());
            };
            show::task(&task, out)?;
        }
        Task::Cancel { id, reason } => {
            let intent = id.parse().or_else(|e| id.parse().map(|task: TaskId| task.intent).map_err(|_| e));
            let intent: IntentId = intent.map_err(|e| bad_id(&e))?;
            let road = Road::to(instance)?;
            road.order(Command::Cancel { intent, reason: reason.clone() })?;
            show::intent(&intent::after(fetch(&road, intent)?), out)?;
        }
        Task::Retry { id, reason } => {
            let task: TaskId = id.parse().map_err(|e| bad_id(&e))?;
            let road = Road::to(instance)?;
            road.order(Command::Retry { task, reason: reason.clone() })?;
            show::intent(&intent::after(fetch(&road, task.intent)?), out)?;
        }
    }
    Ok(Exit::Done)
}

/// The payload as it was given, once it is JSON.
fn payload(args: &Submit) -> Result<Json, Failure> {
    let (place, text) = match (args.payload.as_deref(), &args.payload_file) {
        (Some("-"), _) => ("standard input".to_owned(), read("standard input", std::io::stdin())?),
        (Some(text), _) => ("--payload".to_owned(), text.to_owned()),
        (None, Some(path)) => {
            let place = path.display().to_string();
            let file = std::fs::File::open(path).map_err(|e| unreadable(&place, &e))?;
            let text = read(&place, file)?;
            (place, text)
        }
        (None, None) => return Ok(Json::default()),
    };
    if text.len() > limits::PAYLOAD_BYTES {
        let what = format!("the payload is too large: at most {} bytes are taken", limits::PAYLOAD_BYTES);
        return Err(Failure::new(Exit::Usage, "bad_payload", what)
            .at(&place)
            .help("put it into a file, and its path into the payload"));
    }
    let value = serde_json::from_str(&text).map_err(|e| {
        let wrong = |what: String| Failure::new(Exit::Usage, "bad_payload", what).at(&place);
        let reason = e.to_string();
        // The parser's own bound, which has no name of its own.
        if reason.starts_with("recursion limit") {
            return wrong("the payload is nested too deep: at most 127 levels are taken".to_owned())
                .help("put it into a file, and its path into the payload");
        }
        wrong(format!("the payload is not JSON: {reason}"))
            .help("write it as in --payload '{\"path\": \"in.png\"}'")
    })?;
    Ok(Json::of(&value))
}

/// All of it, as far as a payload may be long; one byte more is too long to be taken.
fn read(place: &str, from: impl std::io::Read) -> Result<String, Failure> {
    let mut text = String::new();
    let read = from.take(limits::PAYLOAD_BYTES as u64 + 1).read_to_string(&mut text);
    read.map_err(|e| unreadable(place, &e))?;
    Ok(text)
}

fn unreadable(place: &str, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Usage, "unreadable_file", format!("it cannot be read: {error}")).at(&place)
}

fn millis(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn refused(Refused { code, message, violations }: Refused) -> Failure {
    let (exit, code) = match code.as_str() {
        "invalid" | "too_large" => (Exit::Usage, "bad_payload"),
        "unknown_type" => (Exit::Usage, "unknown_type"),
        // As governance says it of what would change it.
        "bad_request" | "bad_policies" | "bad_charter" | "bad_key" | "bad_name" | "not_found" => {
            (Exit::Usage, code.as_str())
        }
        other => (Exit::Failed, other),
    };
    let mut told: Vec<String> = violations.iter().map(ToString::to_string).collect();
    let what = match violations.len() {
        // Every fault of policies and charters on a line of its own.
        0 => match message.split_once(":\n") {
            Some((what, faults)) => {
                told.push(faults.to_owned());
                what.to_owned()
            }
            None => message,
        },
        1 => "the payload does not fit its type, and nothing was taken".to_owned(),
        n => format!("the payload does not fit its type in {n} places, and nothing was taken"),
    };
    let failure = Failure::new(exit, code, what);
    if told.is_empty() { failure } else { failure.detail(told.join("\n")) }
}

fn fetch(road: &Road, id: IntentId) -> Result<IntentView, Failure> {
    match road.ask(Command::Query(Query::Intent(id)))? {
        Reply::Intent(intent) => Ok(*intent),
        _ => Err(odd()),
    }
}

fn intents(
    road: &Road,
    state: Option<IntentState>,
    limit: usize,
) -> Result<(Vec<IntentView>, bool), Failure> {
    match road.ask(Command::Query(Query::Intents { state, limit, before: None }))? {
        Reply::Intents { intents, more } => Ok((intents, more)),
        _ => Err(odd()),
    }
}

fn bad_id(error: &BadId) -> Failure {
    Failure::new(Exit::Usage, "bad_id", error.to_string()).help("`grace intent list` shows the ids")
}

fn odd() -> Failure {
    Failure::new(Exit::Failed, "bad_request", "the task manager answered something else than was asked")
        .help("use a CLI of the same version")
}
