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

/// Commands that wait for the output thread, which takes them within one turn of its loop unless the disk hangs: room for a
/// boot of as many programs as a manifest may have, which are all attached at once. Past it, the caller is told that the
/// thread is busy.
pub const OUTPUT_COMMANDS: usize = 2048;

/// Notices of the output thread that wait while the control plane does not take them. The oldest are dropped.
pub const OUTPUT_NOTICES: usize = 1024;

/// Time between two attempts to write a log that could not be written, and between two attempts to hand over notices that
/// nobody took. Short enough that a disk with room again is used at once, long enough to cost nothing.
pub const OUTPUT_RETRY: Duration = Duration::from_millis(250);

/// Time between two notices of lost output for one component, and between two looks at whether its file was deleted.
pub const OUTPUT_REPORT: Duration = Duration::from_secs(1);

/// Connections to the control socket at one time; a further one waits in the listen queue. People and scripts ask for
/// status; nothing else does.
pub const CONTROL_CONNECTIONS: usize = 64;

/// One request on the control socket, in bytes. A longer one is refused.
pub const CONTROL_REQUEST_BYTES: u64 = 64 << 10;

/// Time that a client of the control socket has for sending its request. It is cut off after it.
pub const CONTROL_REQUEST_TIME: Duration = Duration::from_secs(5);

/// Time that a client of the control socket has for taking an answer, beyond what the socket's buffer holds of it. It is cut off
/// after it.
pub const CONTROL_ANSWER_TIME: Duration = Duration::from_secs(5);

/// Things that happened and wait for the control plane's loop. Whoever reports one waits while it is full; each source
/// (a process, a probe, a connection) has at most one or two under way.
pub const HAPPENINGS: usize = 4096;

/// Records handed to the journal at once. The batch is synced as one.
pub const RECORDER_BATCH: usize = 256;

/// Records that wait for the journal while it cannot be written, in the control plane. The guardian keeps the same tail;
/// past it the oldest are dropped and counted.
pub const RECORDER_PENDING: usize = 4096;

/// Events of the control plane that wait for the bus. Past it the oldest are dropped: the journal has them all.
pub const VOICE_PENDING: usize = 1024;

/// One sd_notify datagram, in bytes: what systemd takes. A longer one is ignored, as systemd does.
pub const NOTIFY_BYTES: usize = 4096;

/// A life line is muted for this long at most: the longest fault that an injector takes. A longer one is refused.
pub const LONGEST_MUTE: Duration = grace_faults::limits::LONGEST;

/// File descriptors that are taken out of one datagram, only to be closed. The kernel itself closes what does not fit.
pub const NOTIFY_FDS: usize = 8;

/// Datagrams read before another task has its turn, so that one chatty sender cannot keep the thread.
pub const NOTIFY_BURST: usize = 64;

/// Bytes of a probe's output that are kept for its failure's reason. The rest is read and dropped.
pub const PROBE_OUTPUT_BYTES: usize = 2 << 10;

/// The status line and headers of a probe's HTTP answer. A longer head is a failure: no health endpoint needs one.
pub const PROBE_HEAD_BYTES: usize = 16 << 10;

/// Orders to the broker that wait. Each is a few microseconds of its loop; whoever gives one waits while it is full.
pub const BROKER_COMMANDS: usize = 64;

/// Events of the broker that wait to be published. When it is full they are dropped and counted (`events_dropped`), so that a
/// client that does nothing but break the rules cannot hold the broker up.
pub const BROKER_EVENTS: usize = 1024;

/// Queries to the broker's kernel that wait. When it is full the asker's messages wait in the bus client, within its bound.
pub const BROKER_QUERIES: usize = 64;

/// Time between two publications of the broker's counters: a third of the usual time between two scrapes.
pub const BROKER_TELEMETRY: Duration = Duration::from_secs(5);

/// Components in one round of the health monitor, and names that its state remembers. More than one machine runs; further ones
/// are left out of the round, and the round says how many.
pub const MONITORED: usize = 4096;

/// Alert rules. A manifest with more is refused by the health monitor, which goes on with the former ones.
pub const ALERT_RULES: usize = 512;

/// Alerts that are pending, firing or recovering at one time. Further ones are not raised until others end.
pub const ALERTS: usize = 4096;

/// Alerts that ended and are still shown. The oldest is forgotten; the journal has all of them.
pub const ALERTS_ENDED: usize = 100;

/// Descendants of a component whose CPU time and memory are added to its own. The rest is not counted.
pub const DESCENDANTS: usize = 256;

/// Time between two rounds of the health monitor.
pub const HEALTH_ROUND: Duration = Duration::from_secs(2);

/// The same while something is starting: whoever looks right after the boot should not see what was measured before it was ready.
pub const HEALTH_ROUND_STARTING: Duration = Duration::from_millis(250);

/// How long the control plane may take to tell its status before the round is left out.
pub const STATUS_TIMEOUT: Duration = Duration::from_secs(1);

/// From the broker's lame-duck notice to its end. Its clients are told to go and their buffers are flushed; on one machine that
/// takes milliseconds, and the control plane itself, a client to the last, is not waited for any longer.
pub const BUS_LAME_DUCK: Duration = Duration::from_millis(300);

/// Journals set aside as damaged in one life of the control plane whose readable rest is shipped. That there are more takes a disk
/// on which nothing lasts; of further ones nothing is shipped.
pub const JOURNALS_SET_ASIDE: usize = 2;
