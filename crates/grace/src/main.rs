//! The `grace` binary.

fn main() {}
