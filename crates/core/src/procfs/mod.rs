//! Samples of processes and of the machine from `/proc`.
//!
//! Each call reads one or two small files, so that sampling every process every other second costs nothing to speak of.
//! Everything here races with processes that end: that is an ordinary error ([`std::io::ErrorKind::NotFound`], or ESRCH
//! from a file that was open already), never a panic.
//!
//! Formats: proc_pid_stat(5), proc_pid_smaps(5), proc_net(5), and the kernel's `Documentation/accounting/psi.rst`.
//!
//! | Module | What it holds |
//! |---|---|
//! | [`process`] | one process: identity, CPU time, memory, children, environment |
//! | [`machine`] | pressure, boot id, who holds a TCP port |

pub mod machine;
pub mod process;

use std::io;

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what} is not in the form that Linux documents"))
}
