//! Layer 2: what turns events and requests into work that is done once, by somebody, with a reason.
//!
//! Everything here is a pure decider or a pure part of one (no clock, no IO, no chance but what comes as an argument), but for two
//! shells: the task manager's (`htm::shell`, `htm::desk`) and the worker.
//!
//! | Module | What it holds |
//! |---|---|
//! | [`clockwork`] | lets time pass for a decider that says when it next has something to do |
//! | [`delivery`] | work that must reach somebody: lanes with rate, breaker, retries and dead letters |
//! | [`expression`] | CEL over JSON, and `${ CEL }` in texts |
//! | [`htm`] | the hierarchical task manager: durable trees of tasks, workers, leases |
//! | [`intent`] | types of intents: payload schema, plan, mappings; compiled and checked |
//! | [`limits`] | the bounds of intents and of the task manager, with their reasons |
//! | [`pattern`] | patterns of event types, and finding those that match |
//! | [`period`] | spans of time as people write them |
//! | [`policies`] | event policies: rules over events and their counts, and what stops their loops |
//! | [`scheduler`] | what is to be done at a time: cron, once, every, after |
//! | [`seen`] | which events were taken lately, so that a copy is known as one |
//! | [`steady`] | a line of time that goes on over steps of the clock and boots |
//! | [`triggers`] | the trigger mesh: events that set off intents and other events |
//! | [`watchdog`] | what is not as it should be in Layer 2, and telemetry of it |
//! | [`worker`] | the process that runs tasks |
//! | [`written`] | intents, triggers, policies and schedules from YAML, with every fault at its place |

pub mod clockwork;
pub mod delivery;
pub mod expression;
pub mod htm;
pub mod intent;
pub mod limits;
pub mod pattern;
pub mod period;
pub mod policies;
pub mod scheduler;
pub mod seen;
pub mod steady;
pub mod triggers;
pub mod watchdog;
pub mod worker;
pub mod written;
