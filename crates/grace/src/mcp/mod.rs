//! `grace mcp`: Grace's tools for clients of the Model Context Protocol, and other servers behind it.

pub(crate) mod args;

use std::{path::Path, process::ExitStatus};

use grace_api::{
    mcp::{
        line::Line,
        proxy,
        server::{self, Server, Who},
    },
    narratives::Reader,
};
use grace_core::{instance::Instance, kernels::clarity::database};
use tokio::{io::BufReader, process::Command as Process, runtime::Runtime};

use self::args::{Command, Mcp, Proxy};
use crate::{
    failure::{Exit, Failure},
    hook,
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
    let narratives = Reader::of(database(instance.data()));
    let server = Server { line: Line::to(instance.clone()), who: Who::Agent(agent), narratives };
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
