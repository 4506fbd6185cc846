//! What the user asks Grace to run.
//!
//! [`model`] is the validated manifest that the rest of Grace works with: every default filled in, every replica a
//! process of its own, every reference checked.

pub mod model;

pub use model::*;
