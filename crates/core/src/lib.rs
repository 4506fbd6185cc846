//! Layer 1: the guardian, the control plane, and the built-in kernels.
//!
//! | Module | What it holds |
//! |---|---|
//! | [`instance`] | where an instance keeps its files, and who it is |
//! | [`guardian`] | the small parent that outlives the control plane |
//! | [`supervisor`] | the rules of supervision, pure |
//! | [`control_plane`] | the shell around them |
//! | [`spawn`] | starting processes |
//! | [`cgroup`] | resource limits by control groups |
//! | [`control`] | the protocol of the control socket, and its client |
//! | [`status`] | what `grace status` reports |
//! | [`limits`] | every bound of this crate |
//! | [`output`] | captures, keeps and reads back what the components print |
//! | [`probe`] | checks whether a process is ready or alive |
//! | [`notify`] | the receiving side of sd_notify |
//! | [`procfs`] | samples of processes and of the machine from `/proc` |
//! | [`kernels`] | the built-in kernels |

// `eprintln!` panics when the log that it writes to is on a full disk: `grace_kernel::process::tell` does not.
#![warn(clippy::print_stderr)]

pub mod cgroup;
pub mod control;
pub mod control_plane;
pub mod guardian;
pub mod instance;
pub mod kernels;
pub mod limits;
pub mod notify;
pub mod output;
pub mod probe;
pub mod procfs;
mod readable;
pub mod spawn;
pub mod status;
pub mod supervisor;
