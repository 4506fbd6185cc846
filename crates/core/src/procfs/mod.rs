//! Samples of processes and of the machine from `/proc`.
//!
//! Each call reads one or two small files, so that sampling every process every other second costs nothing to speak of.
//! Everything here races with processes that end: that is `None`, an empty list or an ordinary error, never a panic.
//!
//! Formats: proc_pid_stat(5), proc_pid_smaps(5), proc_net(5), and the kernel's `Documentation/accounting/psi.rst`.
//!
//! | Module | What it holds |
//! |---|---|
//! | `process` | one process: identity, CPU time, memory, children, environment |
//! | `machine` | pressure, boot id, who holds a port or a socket |

mod machine;
mod process;

use std::io;

pub use machine::{Pressure, Resource, Stall, peer_of, pressure, tcp_port_holder};
pub use process::{
    Stat, adopted, children, environment_variable, processes_with_environment, proportional_bytes,
    start_ticks, stat,
};

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what} is not in the form that Linux documents"))
}
