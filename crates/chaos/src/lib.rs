//! Scenarios, the runner that attacks a running Grace and judges it, and the evidence of a run.
//!
//! | Module | What it holds |
//! |---|---|
//! | [`condition`] | CEL expressions over facts |
//! | [`scenario`] | what is done to a running Grace, and what is expected of it |
//! | [`safeguard`] | what the system does by itself, and how a run recognises that it did |
//! | [`plan`] | from a scenario and what runs now to what will be done |
//! | [`runner`] | the decisions of a run, pure |
//! | [`run`](mod@run) | the shell around them |
//! | [`record`] | what a run was: the content of `incident.json`, and what the runner calls to keep evidence |
//! | [`evidence`] | the folder of a run, filled while it goes on |
//! | [`report`] | the page for people |
//! | [`bundle`] | all of it in one file, and its check anywhere |
//! | [`limits`] | every bound, with its reason |

pub mod bundle;
pub mod condition;
pub mod evidence;
pub mod limits;
mod log_folder;
pub mod plan;
pub mod record;
pub mod report;
pub mod run;
pub mod runner;
pub mod safeguard;
pub mod scenario;
