//! Every bound of this crate, with the reason for its number and what happens when it is reached.

use std::time::Duration;

/// The shortest fault. A shorter one could end before it is proved; it is refused.
pub const SHORTEST: Duration = Duration::from_millis(10);

/// The longest fault. Whatever does not show in ten minutes does not show in an hour, and a forgotten fault must end the same
/// evening. A longer one is refused.
pub const LONGEST: Duration = Duration::from_secs(600);

/// Faults of one injector at one time. Each holds a pidfd and a file; a scenario has a handful. Further ones are refused.
pub const FAULTS: usize = 64;

/// Orders in the life of one injector, whose ids it remembers to refuse a second fault of one name. Further ones are refused: a
/// run of hours starts another injector.
pub const ORDERS: usize = 1024;

/// Components, and processes, that are to be spared. A manifest has at most a thousand. Further ones are refused.
pub const SPARED: usize = 4096;

/// One line between runner and injector. The longest names a thousand spared components of 63 bytes. A longer one is refused, and
/// skipped up to its end.
pub const LINE_BYTES: usize = 128 << 10;

/// Reports that wait in the injector while nobody reads them. Past it they are dropped: the runner is stopped or gone, and the
/// faults' deadlines do not wait for it.
pub const REPORT_BYTES: usize = 256 << 10;

/// Time in which a kill or a stop must show. The kernel takes microseconds; a process that waits for a disk that hangs takes
/// as long as that. Then the fault has failed.
pub const SIGNAL_PROOF: Duration = Duration::from_secs(5);

/// Time in which a muted process must have said something that was dropped: many intervals of any watchdog in use. Then the
/// fault has failed.
pub const MUTE_PROOF: Duration = Duration::from_secs(30);

/// Between two looks at what a signal has done.
pub const SIGNAL_LOOK: Duration = Duration::from_millis(5);

/// Between two looks at how much a muted process said. Half of the shortest heartbeat interval that is of use: the count must
/// be seen before the watchdog acts and the process is gone.
pub const MUTE_LOOK: Duration = Duration::from_millis(50);

/// Between two tries to undo.
pub const UNDO_RETRY: Duration = Duration::from_millis(250);

/// How long the injector tries to undo. Then it says so and leaves the record, which the control plane sweeps for as long as it
/// takes.
pub const UNDO_TIME: Duration = Duration::from_secs(30);

/// How far past its deadline a fault may be before the sweep takes it from a living injector: its loop may wait for a disk.
pub const SWEEP_GRACE: Duration = Duration::from_secs(2);

/// Files looked at in one sweep. The rest has its turn in the next.
pub const SWEEP_FILES: usize = 256;

/// A record's file. Ours are under 1 KiB; a larger one is not ours and is reported.
pub const RECORD_BYTES: u64 = 16 << 10;

/// What is read of a process's environment. Linux itself bounds a program's arguments and environment to a quarter of its stack,
/// 2 MiB by default. What comes after it is not seen, and the process is refused.
pub const ENVIRONMENT_BYTES: u64 = 4 << 20;

/// Life-line requests that wait for the thread that makes them: one a fault, and one for its undo.
pub const DESK: usize = 2 * FAULTS;

/// How long a client waits for the injector to take an order, to be up, or to be gone after it has nothing more to do.
pub const CLIENT_PATIENCE: Duration = Duration::from_secs(10);

/// The last words of an injector that ends may take this long to be read.
pub const LAST_WORDS: Duration = Duration::from_secs(1);
