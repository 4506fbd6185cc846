//! Every bound of this crate, with the reason for its number and what happens when it is reached.

use std::time::Duration;

/// A scenario or safeguard file. The largest built-in one has 4 KiB; past this the file is refused before it is parsed.
pub const SCENARIO_BYTES: usize = 256 << 10;

/// Scenario files in one folder. Each is read to list them; past this the folder is refused, since it is the wrong one.
pub const SCENARIO_FILES: usize = 1000;

/// A CEL expression. The parser's work grows with it; past this it is refused.
pub const CONDITION_BYTES: usize = 4096;

/// Loops (`all`, `exists`, `map`, `filter`) inside loops of a CEL expression. Each level multiplies the work by the length of a
/// list: two levels over [`EVENTS`] are millions of steps, three would be billions. Deeper ones are refused.
pub const CONDITION_LOOPS: usize = 2;

/// Brackets and choices (`?:`) inside each other in a CEL expression: the parser recurses for each, through a dozen functions.
/// Deeper ones are refused before they are parsed.
pub const CONDITION_NESTING: usize = 24;

/// Operations one inside the other in a CEL expression, such as `1 + 1 + 1`: its evaluation recurses for each. More are refused.
pub const CONDITION_DEPTH: usize = 64;

/// Stack for reading a CEL expression: 16 KiB for each operator that [`CONDITION_BYTES`] hold. Only what is used is taken.
pub const CONDITION_STACK: usize = 32 << 20;

/// Characters of an evaluation's outcome that are told. The library's errors quote whole values.
pub const DETAIL_CHARS: usize = 400;

/// Entries in each list of a scenario: faults, probes, verifications, names. More are refused.
pub const SCENARIO_ENTRIES: usize = 64;

/// Faults of one run, after targets were found for them. The injector holds a descriptor and a deadline for each.
pub const FAULTS: usize = 64;

/// One line of text in a scenario, such as a title or a name; and its description.
pub const LINE_BYTES: usize = 200;
/// See [`LINE_BYTES`].
pub const DESCRIPTION_BYTES: usize = 4096;

/// A fault begins, lasts, and is recovered from within this: a run that takes longer than some hours cannot be watched.
pub const LONGEST: Duration = Duration::from_secs(3600);
/// The shortest fault with a duration: below this the injector's own work would be most of it.
pub const SHORTEST_FAULT: Duration = Duration::from_millis(10);
/// The shortest time that may be asked of a recovery: one round of observation.
pub const SHORTEST_RECOVERY: Duration = Duration::from_millis(100);

/// Writers of one load. Each waits for its answer, so this many requests are under way at most.
pub const WRITERS: u32 = 256;
/// Records a second of each writer. The log seals some tens of thousands in all; a load that is slower than its rate goes as
/// fast as it can.
pub const WRITER_RATE: u32 = 10_000;
/// Bytes of one record of a load, so that it stays within one entry of the log.
pub const RECORD_BYTES: u64 = 32 << 10;
/// Records that a load remembers, to look for them afterwards. At the bound it stops sending, and says so.
pub const LOAD_RECORDS: u64 = 2_000_000;

/// Events (narratives) of one run that conditions see. A run with more has them as no fact, so that a condition on them cannot be
/// evaluated: a partial list would make `all` true for the wrong reason.
pub const EVENTS: usize = 2000;

/// Narratives of one run that are kept as evidence. Further ones are left out, and that is said.
pub const NARRATIVES: usize = 50_000;

/// Bytes of journals read in one round of observation.
pub const JOURNAL_ROUND_BYTES: usize = 1 << 20;

/// Between two looks at the system while faults are on: short enough to see components down together that are back within a
/// tenth of a second, long enough to cost under 5 % of a processor.
pub const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Between two dumps of the control plane's state and of resources, as evidence.
pub const DUMP_EVERY: Duration = Duration::from_secs(5);

/// Dumps at transitions that may follow each other at once: a dozen kernels that die and come back within a second are shown one by
/// one. A dump costs some milliseconds, in which nothing else is looked at; past this the causes wait for the next one.
pub const DUMP_BURST: u32 = 32;
/// After this, one more may be taken: a system that restarts all the time is no reason to do nothing but dump.
pub const DUMP_REFILL: Duration = Duration::from_secs(1);
/// Causes that one dump names; further ones are counted.
pub const DUMP_CAUSES: usize = 32;
/// How long a control plane that did not answer is not asked again for a dump: what hangs would hold up the run each time.
pub const ASK_AGAIN: Duration = Duration::from_secs(2);

/// Between two samples of resources in the first [`FINE_FOR`] of a run, so that the plots of a short run show curves: a sample of 30
/// components takes a millisecond.
pub const SAMPLE_EVERY: Duration = Duration::from_secs(1);
/// See [`SAMPLE_EVERY`].
pub const FINE_FOR: Duration = Duration::from_secs(60);

/// How long a probe of the steady state may take to hold, before and after the faults, where the scenario says nothing.
pub const STEADY_WITHIN: Duration = Duration::from_secs(10);

/// How long past its own bounds the injector is waited for, to prove a fault or its end. It gives up by itself after 30 s and
/// says so; this is for one that says nothing.
pub const INJECTOR_PATIENCE: Duration = Duration::from_secs(45);

/// How long the facts may take to be gathered after the recovery: the log has to be caught up with.
pub const GATHER_PATIENCE: Duration = Duration::from_secs(10);

/// Entries of the log before a run that are looked through for the last one of each source. Most are found within the last
/// hundreds; where a source's last entry lies further back than this, its first one within the run is taken as it comes.
pub const LOG_LOOK_BACK: u64 = 100_000;
/// Entries that a run may add to the log and that are looked through. Past this, continuity is no fact.
pub const LOG_ENTRIES: u64 = 3_000_000;

/// Messages of the bus that wait to be stored as evidence. Further ones are counted and dropped.
pub const HEARD_MESSAGES: usize = 4096;
/// Bytes of one such message that are kept.
pub const HEARD_BYTES: usize = 64 << 10;
