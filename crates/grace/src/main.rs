//! The `grace` binary: the command line, and the entry points that Grace starts itself with.
//!
//! ```text
//! arguments ─► internal ─► guardian, control plane, kernels        (never by a person)
//!           └► args ─► up, down, status, logs, orders, doctor ─► control ─► the control socket
//!                         └► front ─► progress ─► lines
//! ```
//!
//! Commands return an [`Exit`] or a [`Failure`]; only `main` prints failures and ends the process. There is no async
//! runtime here but for questions to components of Layer 2 (`road`), and nothing is decided here: the control plane decides, this shows.

mod args;
mod chaos;
mod control;
mod doctor;
mod failure;
mod front;
mod govern;
mod hook;
mod internal;
mod layers;
mod limits;
mod log;
mod logs;
mod mcp;
mod narratives;
mod output;
mod place;
mod progress;
mod road;
mod status;
mod style;
mod systemd;
mod table;
mod token;
mod up;
mod verify;
mod why;
mod work;

use std::{ffi::OsString, io::Write as _, process::ExitCode};

use clap::Parser as _;
use grace_core::{control::Request, instance::Instance};

use crate::{
    args::{Cli, Command},
    failure::{BROKEN_PIPE, Exit, Failure},
    output::Output,
    style::Style,
};

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    if let Some(internal) = internal::parse(&args) {
        return internal::run(internal);
    }
    let cli = Cli::parse();
    let mut out = Output::new(&cli.globals);
    match run(cli.command, cli.globals.data, &mut out) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            // Nobody is left to read it.
            if failure.code != BROKEN_PIPE {
                let style = Style::choose(cli.globals.color, &std::io::stderr());
                let text = if cli.globals.json { failure.json() } else { failure.text(style) };
                let _ = std::io::stderr().write_all(text.as_bytes());
            }
            failure.exit.into()
        }
    }
}

fn run(command: Command, data: Option<std::path::PathBuf>, out: &mut Output) -> Result<Exit, Failure> {
    // What is checked anywhere is checked where nothing has a place for an instance, too.
    if let Command::Verify(args) = &command {
        return verify::run(args, out);
    }
    let instance = place::instance(data)?;
    match command {
        Command::Up(args) => up::up(&instance, &args, out),
        Command::Down => up::down(&instance, out),
        Command::Status { watch } => status::run(&instance, watch, out),
        Command::Logs(args) => logs::run(&instance, &args, out),
        Command::Restart(args) => order(&instance, &Request::Restart { name: args.name }, out),
        Command::Pause(args) => order(&instance, &Request::Pause { name: args.name }, out),
        Command::Resume(args) => order(&instance, &Request::Resume { name: args.name }, out),
        Command::Narratives(args) => narratives::run(&instance, &args, out),
        Command::Why(args) => why::run(&instance, &args, out),
        Command::Intent { command } => work::intent(&instance, &command, out),
        Command::Task { command } => work::task(&instance, &command, out),
        Command::Trigger { command } => work::trigger::run(&instance, command, out),
        Command::Policy { command } => work::policy::run(&instance, command, out),
        Command::Schedule { command } => work::schedule::run(&instance, command, out),
        Command::Approvals { command } => govern::approvals(&instance, &command, out),
        Command::Reviews { command } => govern::reviews(&instance, &command, out),
        Command::Emergency { command } => govern::emergency(&instance, &command, out),
        Command::Governance { command } => govern::governance(&instance, &command, out),
        Command::Hook { command } => hook::run(&instance, &command, out),
        Command::Token { command } => token::run(&instance, &command, out),
        Command::Mcp(args) => mcp::run(&instance, &args),
        Command::Log { command } => log::run(&instance, &command, out),
        Command::Verify(args) => verify::run(&args, out),
        Command::Chaos { command } => chaos::run(&instance, &command, out),
        Command::Doctor => doctor::run(&instance, out),
    }
}

/// One request, one sentence.
fn order(instance: &Instance, request: &Request, out: &mut Output) -> Result<Exit, Failure> {
    out.message(&control::order(instance, request)?)?;
    Ok(Exit::Done)
}
