//! Words for a component's log, which is where its standard error goes.

use std::io::Write as _;

/// Writes one line to standard error. That nobody reads it any more, or that the disk of the log is full, is no reason to end
/// who speaks, as `eprintln!` would with a panic.
pub fn tell(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
