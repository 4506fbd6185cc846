//! The log against definitions written out, published vectors, and three other implementations.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say so and stop")]

#[path = "log/oracles.rs"]
mod oracles;
#[path = "log/proofs.rs"]
mod proofs;
#[path = "log/strange.rs"]
mod strange;
#[path = "log/trees.rs"]
mod trees;
#[path = "log/written_out.rs"]
mod written_out;
