//! Work end to end: intents, the task manager and its workers as real processes, and what becomes of them when they are killed.
#![allow(clippy::unwrap_used, reason = "tests")]

mod instance;

#[path = "work/bench.rs"]
mod bench;
#[path = "work/commands.rs"]
mod commands;
#[path = "work/full.rs"]
mod full;
#[path = "work/http.rs"]
mod http;
#[path = "work/idle.rs"]
mod idle;
#[path = "work/include.rs"]
mod include;
#[path = "work/input.rs"]
mod input;
#[path = "work/kills.rs"]
mod kills;
#[path = "work/liars.rs"]
mod liars;
#[path = "work/line.rs"]
mod line;
#[path = "work/own_worker.rs"]
mod own_worker;
#[path = "work/reserve.rs"]
mod reserve;
#[path = "work/steps.rs"]
mod steps;
