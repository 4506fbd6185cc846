//! Fault injectors that prove their bite and undo themselves.
//!
//! ```text
//! runner ─ client ══ stdin, stdout: lines of JSON ══ injector, a process of its own
//!                                                      ├─ order ─► checks ─► DATA/faults/<id>.json, synced
//!                                                      ├─ bite ─► proof ─► deadline ─► undo ─► proof ─► file removed
//!                                                      └─ LifeLine ─► control plane
//! control plane ─ sweep ─► what an injector that died, or is late, left behind
//! ```
//!
//! A fault cleans up after itself: its deadline is held by the injector, which outlives the runner, and what is needed to undo it
//! is on disk before it begins, so that the control plane can undo it without the injector. A fault that cannot be proved to
//! have taken effect within a bound has failed, and is undone.
//!
//! | Module | What it holds |
//! |---|---|
//! | `order` | what can be asked for, and its bounds |
//! | `report` | what the injector is told and what it answers, with the proofs |
//! | `injection` | one fault from its order to its end: pure |
//! | [`process`] | a process, named so that a reused pid is never mistaken for it |
//! | [`journal`] | the record that makes a fault's undo survive the injector, and the sweep |
//! | [`injector`] | the injector's process |
//! | [`client`] | how a runner speaks to it |
//! | `life_line` | what the control plane must offer for the life line to be muted |
//!
//! Not here: which faults a scenario needs and when (the runner), and what the system makes of them (its own detectors).
//! A fault of another kind is a variant of [`Fault`], its checks and its hands in [`injector`], and its undo in the sweep.

pub mod client;
mod injection;
pub mod injector;
pub mod journal;
mod life_line;
pub mod limits;
mod lines;
mod order;
pub mod process;
mod report;

pub use injection::{Injection, Input, Step};
pub use life_line::{LifeLine, LifeLineState};
pub use order::{Fault, FaultOrder, OrderFault, ProcessTarget};
pub use report::{BiteProof, RefusalCode, Report, Request, UndoCause, UndoProof};
