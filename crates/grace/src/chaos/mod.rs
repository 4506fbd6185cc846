//! `grace chaos`: lists scenarios, runs them on the running instance, and ends a run.
//!
//! ```text
//! library ─► scenario ─► plan (who is hit: from the status) ─► grace_chaos::run ─► show: lines, or one JSON object a run
//!                                                                   ▲
//!                              watch (control socket), signals ─────┘
//! ```
//!
//! What is decided is decided in `grace_chaos`; this is its hold on the control socket, the terminal and the signals.

mod abort;
pub(crate) mod args;
mod show;
mod watch;

use std::{
    collections::BTreeMap,
    sync::mpsc::{Receiver, sync_channel},
    thread,
};

use grace_chaos::{
    plan::{self, Component, Plan},
    run::{self, Assignment, BusLogin, LockError, Outcome, Place, RunError},
    safeguard::Safeguard,
    scenario::{Library, LibraryError, Scenario},
};
use grace_core::{instance::Instance, spawn::own_program, status::Status};
use grace_types::chance::OsEntropy;
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};

use self::args::{Chaos, Run, Where};
use crate::{
    control,
    failure::{Exit, Failure},
    output::Output,
};

/// Runs a command of `grace chaos`.
pub(crate) fn run(instance: &Instance, command: &Chaos, out: &mut Output) -> Result<Exit, Failure> {
    match command {
        Chaos::List(place) => list(instance, place, out),
        Chaos::Run(args) => run_all(instance, args, out),
        Chaos::Abort => abort::run(instance, out),
    }
}

fn library(instance: &Instance, place: &Where) -> Library {
    Library::new(Some(place.scenarios.clone().unwrap_or_else(|| instance.data().join("scenarios"))))
}

fn list(instance: &Instance, place: &Where, out: &mut Output) -> Result<Exit, Failure> {
    let library = library(instance, place);
    let ids = library.ids().map_err(not_loaded)?;
    let (mut sound, mut bad) = (Vec::new(), Vec::new());
    for id in ids.keys() {
        match library.load(id) {
            Ok(scenario) => sound.push(scenario),
            Err(error) => bad.push(error),
        }
    }
    show::list(&sound, out)?;
    match bad.into_iter().next() {
        // The good ones are of use all the same.
        Some(error) => Err(not_loaded(error)),
        None => Ok(Exit::Done),
    }
}

/// What is to be run, with all that could be found wrong before anything is attacked.
struct Job {
    scenario: Scenario,
    safeguards: BTreeMap<String, Option<Safeguard>>,
}

fn run_all(instance: &Instance, args: &Run, out: &mut Output) -> Result<Exit, Failure> {
    let library = library(instance, &args.place);
    let ids: Vec<String> =
        if args.all { library.ids().map_err(not_loaded)?.into_keys().collect() } else { args.ids.clone() };
    let mut jobs = Vec::new();
    for id in &ids {
        let scenario = library.load(id).map_err(not_loaded)?;
        let folder = instance.data().join("safeguards");
        let safeguards = Safeguard::find(&scenario.safeguards, Some(&folder));
        let safeguards = safeguards.map_err(|errors| not_loaded(LibraryError::Bad(errors)))?;
        jobs.push(Job { scenario, safeguards });
    }
    let status = control::status(instance)?;
    if args.dry_run {
        for job in &jobs {
            show::plan(&job.scenario, &planned(&job.scenario, &status)?, &job.safeguards, &status, out)?;
        }
        return Ok(Exit::Done);
    }
    let place = place(instance)?;
    let stops = stops().map_err(|error| system(&error))?;
    let watch = watch::Watch::start(instance, &status).map_err(|error| system(&error))?;
    let mut passed = true;
    for job in &jobs {
        let outcome = run_one(job, &place, &watch, &stops, out)?;
        passed &= outcome.record.judgement.passed;
        let ended = outcome.record.judgement.reasons.iter().any(|reason| reason.code == "chaos.aborted");
        if ended {
            break;
        }
    }
    Ok(if passed { Exit::Done } else { Exit::Failed })
}

fn run_one(
    job: &Job,
    place: &Place,
    watch: &watch::Watch,
    stops: &Receiver<String>,
    out: &mut Output,
) -> Result<Outcome, Failure> {
    let plan = planned(&job.scenario, &watch.newest()?)?;
    let assignment = Assignment { scenario: &job.scenario, plan: &plan, safeguards: &job.safeguards, place };
    let mut told = show::Teller::new(&job.scenario, out);
    let outcome =
        run::run(&assignment, watch, stops, &mut |news| told.tell(news)).map_err(|error| not_run(&error))?;
    show::outcome(&outcome, out)?;
    Ok(outcome)
}

fn planned(scenario: &Scenario, status: &Status) -> Result<Plan, Failure> {
    let components = serde_json::to_value(status)
        .map_err(|error| error.to_string())
        .and_then(|status| Component::all(&status))
        .map_err(|what| Failure::new(Exit::Unreachable, "not_reachable", what))?;
    plan::plan(scenario, &components, &mut OsEntropy).map_err(|wrong| {
        let detail: Vec<String> =
            wrong.iter().map(|one| format!("{}: error: {one}", scenario.origin)).collect();
        let what = "the scenario cannot be run on this instance, and nothing was attacked";
        Failure::new(Exit::Usage, "bad_target", what)
            .at(&scenario.id)
            .detail(detail.join("\n"))
            .help("`grace status` shows what runs; `--dry-run` who would be hit")
    })
}

fn place(instance: &Instance) -> Result<Place, Failure> {
    let path = instance.operator_url();
    let unreadable = |what: String| {
        Failure::new(Exit::Unreachable, "not_reachable", what)
            .at(&path.display())
            .help("the control plane writes it when it starts; is the instance just starting or stopping?")
    };
    let url = std::fs::read_to_string(&path).map_err(|error| unreadable(error.to_string()))?;
    let login =
        url.trim().strip_prefix("nats://").and_then(|rest| rest.rsplit_once('@')).map(|(login, _)| login);
    let Some((user, password)) = login.and_then(|login| login.split_once(':')) else {
        return Err(unreadable("it holds no login of the bus".to_owned()));
    };
    Ok(Place {
        data: instance.data().to_owned(),
        program: own_program(),
        login: BusLogin {
            socket: instance.bus_socket(),
            user: user.to_owned(),
            password: password.to_owned(),
        },
        version: env!("CARGO_PKG_VERSION").to_owned(),
    })
}

/// Ctrl-C and its like, as they come. The second one does not wait: whatever is on is undone by the injector.
fn stops() -> std::io::Result<Receiver<String>> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let (send, stops) = sync_channel(1);
    let forward = move || {
        let mut asked = false;
        for signal in &mut signals {
            if asked {
                std::process::exit(1);
            }
            asked = true;
            let by = match signal {
                SIGINT => "Ctrl-C",
                SIGHUP => "the end of its terminal",
                _ => "SIGTERM",
            };
            let _ = send.send(by.to_owned());
        }
    };
    thread::Builder::new().name("signals".into()).spawn(forward)?;
    Ok(stops)
}

fn system(error: &std::io::Error) -> Failure {
    Failure::new(Exit::Failed, "system", format!("the system refused something that a run needs: {error}"))
}

fn not_loaded(error: LibraryError) -> Failure {
    match error {
        LibraryError::NotFound { ref help, .. } => {
            let help = help.clone().unwrap_or_else(|| "`grace chaos list` shows them".to_owned());
            Failure::new(Exit::Usage, "no_scenario", error.to_string()).help(help)
        }
        LibraryError::Bad(errors) => {
            let what = match errors.errors.len() {
                1 => "the scenario has a fault, and nothing was attacked".to_owned(),
                n => format!("the scenario has {n} faults, and nothing was attacked"),
            };
            Failure::new(Exit::Usage, "bad_scenario", what)
                .detail(errors.to_string())
                .help("correct it, and try it with `grace chaos run ID --dry-run`")
        }
        LibraryError::Folder { .. } => Failure::new(Exit::Usage, "bad_scenario", error.to_string()),
    }
}

fn not_run(error: &RunError) -> Failure {
    let failure = |code: &str| Failure::new(Exit::Failed, code, error.to_string());
    match error {
        RunError::Lock(LockError::Held(holder)) => {
            let who = holder
                .as_ref()
                .map(|holder| format!("{} of {}, process {}", holder.run, holder.scenario, holder.pid));
            failure("run_under_way")
                .at(&who.unwrap_or_else(|| "another process".to_owned()))
                .help("wait for its end, or end it with `grace chaos abort`")
        }
        RunError::Lock(LockError::Io { .. }) | RunError::Evidence(_) => failure("not_writable"),
        RunError::Journal(_) => {
            failure("run_failed").help("what the run had on was undone; look at the named journal")
        }
        RunError::Injector(_) => {
            failure("run_failed").help("nothing was attacked; `grace doctor` looks at the host")
        }
        _ => failure("system"),
    }
}
