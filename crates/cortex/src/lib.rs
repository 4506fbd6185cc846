//! Layer 3: what may be done without a person, judged before anything is done.
//!
//! ```text
//! Request (who, which type of intent, context) ─┬─► policies (Cedar) ─► permit with a tier, forbid, or nothing that permits ─┐
//!                                               └─► charter ─► score, term by term                                           ├─► Judgement
//! the state of things (a live emergency grant) ──────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! The judgement is pure: the same request, policies, charter and state give the same judgement, with its reasons.
//!
//! | Module | What it holds |
//! |---|---|
//! | [`case`] | what the cortex and the kernel `governance` tell each other |
//! | [`change`] | intents that change governance itself, and what they name |
//! | [`charter`] | the pillars of the mission, and the score of an intent |
//! | [`command`] | what the cortex can be asked, and what it answers |
//! | [`governance`] | the kernel: approvals, reviews, emergencies, and what is decided by |
//! | [`judge`] | policies, tier and score together: allowed, denied, or what is waited for |
//! | [`limits`] | every bound, with its reason |
//! | [`policy`] | policies in Cedar: read, checked, and asked |
//! | [`proposed`] | what other policies or another charter would mean |
//! | [`request`] | who asks for what |
//! | [`router`] | decides what is asked for, waits for people and votes, and hands on what is allowed: a decider, and its process |
//! | [`rules`] | what is decided by, read once for each generation |
//! | [`tier`] | the five tiers of autonomy |
//! | [`unified`] | unified logic: who votes, and how ballots are counted |
//!
//! Not here: running anything (Layer 2), and what each voter but governance looks at (the kernels of Layers 1 and 2).

pub mod case;
pub mod change;
pub mod charter;
pub mod command;
pub mod governance;
pub mod judge;
pub mod limits;
pub mod policy;
pub mod proposed;
pub mod request;
pub mod router;
pub mod rules;
pub mod tier;
pub mod unified;
