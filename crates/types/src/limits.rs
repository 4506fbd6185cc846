//! Every bound in one place, with the reason for its number and what happens when it is reached.
//!
//! Law 6: every queue is bounded. A limit that lives next to the code it guards is found by nobody.

use std::time::Duration;

/// A hybrid logical clock believes a remote stamp at most this far ahead of its own: ten minutes, twice the skew that
/// the clock-skew scenario injects. Past it the stamp is ordered as if it were ours.
pub const HLC_MAX_DRIFT: Duration = Duration::from_secs(600);

/// Payload of one event. CloudEvents asks intermediaries to carry at least 64 KiB; sixteen times that keeps one
/// event below the broker's default `max_payload`. Larger events are refused.
pub const EVENT_DATA_BYTES: usize = 1 << 20;

/// One CloudEvents attribute. Larger ones are refused.
pub const EVENT_ATTRIBUTE_BYTES: usize = 4096;

/// A manifest or an environment file. Hand-written ones have kilobytes; past this the file is refused before it is
/// parsed, so that a wrong path (a log, a disk image) cannot fill the memory.
pub const MANIFEST_BYTES: usize = 1 << 20;

/// Processes in one manifest, replicas counted. Each costs a pidfd, pipes and a log; the default limit of 1,024 open
/// files is met first without raising it. More are refused.
pub const MANIFEST_PROCESSES: usize = 1000;

/// Replicas of one entry of a manifest.
pub const MANIFEST_REPLICAS: u32 = 100;

/// An address of another service, in a manifest. Browsers and proxies take as many; a longer one is refused.
pub const URL_BYTES: usize = 2048;

/// A name of a process: it becomes a file name and one word of a subject. 63 is the bound of a DNS label.
pub const NAME_BYTES: usize = 63;

/// A regular expression in a manifest: its text, and its compiled size in bytes. Larger ones are refused.
pub const REGEX_BYTES: usize = 1024;
/// See [`REGEX_BYTES`].
pub const REGEX_COMPILED_BYTES: usize = 1 << 20;

/// Nesting of a YAML file. The manifest needs 6; the decoder recurses, so the bound protects the stack.
pub const YAML_DEPTH: usize = 48;

/// Values in a YAML file, aliases counted at each use: a thousand processes of a hundred values. More are refused.
pub const YAML_NODES: usize = 100_000;

/// Bytes of text in a YAML file after aliases, against files that grow when they are read.
pub const YAML_EXPANDED_BYTES: usize = 4 << 20;

/// Faults reported about one file. Past it the rest is dropped: nobody reads more in one go.
pub const YAML_FAULTS: usize = 50;
