//! `grace mcp`: Grace's tools for clients of the Model Context Protocol, and other servers behind it.

pub(crate) mod args;

use std::{path::Path, process::ExitStatus, sync::Arc};

use grace_api::mcp::{
    line::Line,
    proxy,
    server::{self, Evidence, Server, Wanted},
};
use grace_core::instance::Instance;
use grace_store::{
    limits as store,
    narrative::{Order, Query},
};
use grace_types::time::{Clock as _, SystemClock};
use serde_json::Value;
use tokio::{io::BufReader, process::Command as Process, runtime::Runtime};

use self::args::{Command, Mcp, Proxy};
use crate::{
    failure::{Exit, Failure},
    hook, narratives, why,
};

/// Runs `grace mcp`.
pub(crate) fn run(instance: &Instance, args: &Mcp) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Failure::new(Exit::Failed, "system", e.to_string()))?;
    let ended = match &args.command {
        Some(Command::Proxy(args)) => behind(&runtime, instance, args),
        None => serve(&runtime, instance, args.who.agent.clone()),
    };
    // A read of standard input that is under way cannot be called off.
    runtime.shutdown_background();
    ended
}

fn serve(runtime: &Runtime, instance: &Instance, agent: String) -> Result<Exit, Failure> {
    let evidence = Arc::new(Files(instance.clone()));
    let server = Server { line: Line::to(instance.clone()), agent, evidence };
    runtime.block_on(server::serve(server)).map_err(|why| {
        Failure::new(Exit::Usage, "bad_request", format!("the client does not speak the protocol: {why}"))
            .help("a client starts this; see `grace mcp --help`")
    })?;
    Ok(Exit::Done)
}

fn behind(runtime: &Runtime, instance: &Instance, args: &Proxy) -> Result<Exit, Failure> {
    let [program, rest @ ..] = args.command.as_slice() else {
        return Err(Failure::new(Exit::Usage, "bad_request", "which server?"));
    };
    let named = Path::new(program).file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let named =
        named.and_then(|stem| args::token(&stem.replace(|c: char| !c.is_ascii_alphanumeric(), "_")).ok());
    let mapping = hook::mapping(instance)
        .map_err(|why| Failure::new(Exit::Usage, "bad_mapping", why).at(&instance.hooks().display()))?;
    let proxy = proxy::Proxy {
        line: Line::to(instance.clone()),
        mapping,
        agent: args.who.agent.clone(),
        server: args.name.clone().or(named).unwrap_or_else(|| "server".to_owned()),
        wait: args.wait,
    };
    let mut command = Process::new(program);
    command.args(rest);
    let status = runtime.block_on(async {
        let client = (BufReader::new(tokio::io::stdin()), tokio::io::stdout());
        proxy::run(proxy, command, client).await
    });
    let status = status.map_err(|e| {
        Failure::new(Exit::Usage, "unreadable_file", format!("the server cannot be started: {e}"))
            .at(&program.to_string_lossy())
    })?;
    Ok(if ExitStatus::success(&status) { Exit::Done } else { Exit::Failed })
}

/// The narratives of an instance, read from their file.
struct Files(Instance);

impl Evidence for Files {
    fn narratives(&self, wanted: &Wanted) -> Result<Value, String> {
        let now = SystemClock.now().wall;
        let since = wanted.since.as_deref().map(narratives::args::when).transpose()?;
        let text = wanted.text.as_deref().map(narratives::args::words).transpose()?;
        let query = Query {
            source: None,
            actor: wanted.actor.clone(),
            place: wanted.about.clone(),
            action: wanted.action.clone(),
            text,
            correlation: None,
            since: since.map(|when| when.from(now)),
            until: None,
            order: Order::NewestFirst,
            after: None,
            limit: wanted.limit.min(store::NARRATIVE_PAGE),
        };
        let told = |failure: Failure| failure.what;
        let db = narratives::open(&self.0).map_err(told)?;
        let page = db.find(&query).map_err(|e| told(narratives::unreadable(&e, &self.0)))?;
        Ok(page.told.iter().map(grace_api::narratives::object).collect())
    }

    fn why(&self, id: &str) -> Result<Value, String> {
        why::object(&self.0, id).map_err(|failure| failure.what)
    }
}
