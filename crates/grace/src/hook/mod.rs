//! `grace hook AGENT`: a coding agent's hook, which asks the cortex about what the agent is about to do.
//!
//! ```text
//! standard input (bounded) ─► call ─► mapping (DATA/hooks.yaml, the embedded one) ─► the bus, as `agents` ─► answer, exit status
//! ```
//!
//! Whatever goes wrong on the way is a no in the agent's dialect: most agents take any other end of a hook for "go on". It runs before
//! each use of a tool, so it reads two small files, opens one connection and is gone.

pub(crate) mod args;
mod install;

use std::io::{self, Read, Write as _};

use grace_api::{
    hooks::{
        agent::Agent,
        answer::{Answer, Verdict, answer},
        ask::{self, ask, away},
        call::{self, Call},
        file::{bounded, load},
        mapping::{Mapping, Meaning},
    },
    limits,
    mcp::line::Line,
};
use grace_core::instance::Instance;
use grace_cortex::request::{Actor, ActorKind};
use grace_types::time::SystemClock;

use self::args::Hook;
use crate::{
    failure::{Exit, Failure},
    output::Output,
};

/// Runs a command of `grace hook`.
pub(crate) fn run(instance: &Instance, command: &Hook, out: &mut Output) -> Result<Exit, Failure> {
    let agent = match command {
        Hook::ClaudeCode => Agent::ClaudeCode,
        Hook::Codex => Agent::Codex,
        Hook::Gemini => Agent::Gemini,
        Hook::Cursor => Agent::Cursor,
        Hook::Install(args) => return install::install(instance, args, out),
    };
    // Nothing here may panic; if something does, the end of the process is still a no.
    std::panic::set_hook(Box::new(|panic| {
        let _ = writeln!(io::stderr(), "Grace: {panic}");
        std::process::exit(2);
    }));
    let said = judge(instance, agent, io::stdin());
    // An answer that could not be given is a no, too.
    let told = out.write_all(said.stdout.as_bytes()).and_then(|()| out.flush());
    let _ = io::stderr().write_all(said.stderr.as_bytes());
    Ok(if said.exit == 0 && told.is_ok() { Exit::Done } else { Exit::Usage })
}

fn judge(instance: &Instance, agent: Agent, input: impl Read) -> Answer {
    let heard = bounded(input, limits::HOOK_BYTES)
        .map_err(|e| format!("the hook's input cannot be read: {e}"))
        .and_then(|input| call::read(agent, &input));
    match ask::question(agent, heard, || mapping(instance)) {
        Ok((call, meaning)) => answer(agent, Some(&call), &asked(instance, &call, &meaning)),
        Err(said) => said,
    }
}

/// The user's rules before Grace's own.
pub(crate) fn mapping(instance: &Instance) -> Result<Mapping, String> {
    load(&instance.hooks()).map_err(|e| e.to_string())
}

fn asked(instance: &Instance, call: &Call, meaning: &Meaning) -> Verdict {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return away(meaning.unreachable, "there is no room for another process");
    };
    let actor = Actor { kind: ActorKind::Agent, name: call.agent.name().to_owned() };
    runtime.block_on(async {
        match Line::to(instance.clone()).bus() {
            Ok(bus) => ask(&bus, &SystemClock, &actor, call, meaning).await,
            Err(why) => away(meaning.unreachable, &why),
        }
    })
}
