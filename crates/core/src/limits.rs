//! Every bound of this crate, with the reason for its number and what happens when it is reached (law 6).

use std::time::Duration;

/// One line of a program's output, in bytes. A pipe holds 64 KiB, so one line never takes more memory than the kernel
/// already spends on it. A longer line is written in pieces that are marked as such.
pub const LINE_BYTES: usize = 64 << 10;

/// Bytes taken from one pipe before the next one has its turn: a pipe's default capacity. The rest waits in the
/// pipe, so a flooding program slows only itself down.
pub const READ_BYTES: usize = 64 << 10;

/// Bytes drained from one pipe when its last lines are asked for: the capacity of the largest pipe that an ordinary user
/// may make. What a program that goes on writing adds after that is not waited for.
pub const DRAIN_BYTES: usize = 1 << 20;

/// Lines of each component that are kept in memory for status and failure reports. Older ones are in its log file.
pub const RECENT_LINES: usize = 50;

/// Bytes that those lines may take for one component. The oldest are dropped first.
pub const RECENT_BYTES: usize = 16 << 10;

/// One line in a report, in bytes. Longer ones are cut, with a mark.
pub const RECENT_LINE_BYTES: usize = 1 << 10;

/// Runs of one component whose output is still read: a program's children may hold its pipe after it ended. Past it, the
/// oldest run's output is no longer read.
pub const OPEN_RUNS: usize = 4;

/// Commands that wait for the output thread, which takes them within one turn of its loop unless the disk hangs. Past it,
/// the caller is told that the thread is busy.
pub const OUTPUT_COMMANDS: usize = 256;

/// Notices of the output thread that wait while the control plane does not take them. The oldest are dropped.
pub const OUTPUT_NOTICES: usize = 1024;

/// Time between two attempts to write a log that could not be written, and between two attempts to hand over notices that
/// nobody took. Short enough that a disk with room again is used at once, long enough to cost nothing.
pub const OUTPUT_RETRY: Duration = Duration::from_millis(250);

/// Time between two notices of lost output for one component, and between two looks at whether its file was deleted.
pub const OUTPUT_REPORT: Duration = Duration::from_secs(1);
