//! The kernel `governance`: what people owe and say, who may act in an emergency, and what the cortex decides by.
//!
//! ```text
//! cortex ─ Owe ─► grace.governance.owe ─► cases ◄─ Approve, Deny (signed), Accept, Flag ─ grace.cmd.governance ◄─ people
//! cortex ◄─ grace.cortex.govern ─ Resolve, Carried, Adopt ─ what it has not taken yet
//! control plane ─ emergency declared, resolved ─► leave for self_healing, bounded and signed
//! ```
//!
//! **Approvals.** An answer counts when an enrolled approver signed it over exactly this case ([`binding`]), in time, and did not ask for it
//! himself. As many different people as the case says (`@quorum` in the policies, or one) have to say yes; one no is a no; silence until its
//! end is a no.
//!
//! **What changes it** (later approvers, other policies, another charter) is an intent like any other, on whatever road it comes: it says
//! whether that could be done and by how many people before it is decided, and carries it out once it is allowed. The first approver alone is
//! taken at the operator's word.
//!
//! **Generations.** Policies and charter have one number. A set that cannot be read, or after which nobody could change it any more, is
//! refused before anybody is asked. An approved one is in force once the cortex has confirmed it; until then, and if it refuses, the old one
//! decides.
//!
//! **Ends.** What ends at a time ends when either clock says so: the wall clock may be set back, the other one does not outlive a boot.
//!
//! What the cortex has not taken yet is in the state: the shell asks for it and tells it again until there is an answer.

mod approvals;
pub mod binding;
mod changes;
pub mod command;
mod decider;
mod emergency;
pub mod event;
mod generations;
mod people;
mod query;
pub mod shell;
pub mod state;
#[cfg(test)]
mod tests;
mod view;

pub use command::{Command, Query, Refusal, Reply};
pub use decider::Governance;
pub use generations::check;
