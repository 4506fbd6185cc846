//! Scenarios, the runner that attacks a running Grace and judges it, and the evidence of a run.
//!
//! | Module | What it holds |
//! |---|---|
//! | [`record`] | what a run was: the content of `incident.json`, and what the runner calls to keep evidence |

pub mod record;
